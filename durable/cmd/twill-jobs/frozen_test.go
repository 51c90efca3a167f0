//go:build linux || darwin || freebsd || netbsd || openbsd

package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A command does not wait forever for an owner that is stopped, although its
// connections are accepted, and names the process.
func TestFrozenOwner(t *testing.T) {
	f, owner := childOwner(t)
	require.NoError(t, owner.Process.Signal(syscall.SIGSTOP))
	var status syscall.WaitStatus
	_, err := syscall.Wait4(owner.Process.Pid, &status, syscall.WUNTRACED, nil)
	require.NoError(t, err)
	require.True(t, status.Stopped())
	for _, command := range []string{"info", "list"} {
		began := time.Now()
		r := twillJobs(t, f.path, command, "-wait", "2s")
		require.Equal(t, 1, r.status)
		require.Contains(t, r.err, fmt.Sprintf("process %d, has given no sign of life for 2s", owner.Process.Pid))
		require.Less(t, time.Since(began), 30*time.Second)
	}
	require.NoError(t, owner.Process.Signal(syscall.SIGCONT))
	require.Contains(t, f.ok(t, "list"), "10 jobs")
}
