package jetstream_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds each wait of a test. It is reached only if something is
// wrong.
const patience = 2 * time.Minute

// withPatience returns a context that ends when a test has waited too long.
func withPatience(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("%s: no patience left", t.Name()))
	t.Cleanup(cancel)
	return ctx
}

// receive returns what comes out of a channel.
func receive[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("nothing was sent")
		panic("not reached")
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, holds func() bool, what string) {
	t.Helper()
	require.Eventually(t, holds, patience, 2*time.Millisecond, what)
}

// child is a test of this binary that runs as a process of its own.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// childURL is the environment variable that has the servers' address for a
// child.
const childURL = "TWILL_TEST_CHILD"

// isChild returns the servers' address for a test that is a child, and skips
// the test otherwise.
func isChild(t *testing.T) string {
	url := os.Getenv(childURL)
	if url == "" {
		t.Skip("runs as a child of another test")
	}
	return url
}

// startChild runs a test as a process of its own, until the end of this test.
func startChild(t *testing.T, test, url string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.count=1", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), childURL+"="+url)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	stdin, err := cmd.StdinPipe() // closed when this process is gone, even by SIGKILL
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &child{cmd: cmd, lines: bufio.NewScanner(out)}
}

// line waits for a line that the child prints by say, and returns it.
func (c *child) line(t *testing.T) string {
	t.Helper()
	for c.lines.Scan() {
		if text, ok := strings.CutPrefix(c.lines.Text(), "child: "); ok {
			return text
		}
	}
	t.Fatal("the child has ended")
	return ""
}

func (c *child) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	require.NoError(t, c.cmd.Process.Signal(s))
}

// say prints a line for the parent of a child.
func say(text string) { fmt.Println("child: " + text) }

// orphaned ends a child whose parent is gone.
func orphaned() {
	_, _ = os.Stdin.Read(make([]byte, 1))
	os.Exit(1)
}

// notifyUSR1 calls fn when this process gets SIGUSR1.
func notifyUSR1(fn func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, syscall.SIGUSR1)
	go func() {
		<-ch
		fn()
	}()
}

// settled waits until there are at most n goroutines.
func settled(t testing.TB, n int) {
	t.Helper()
	for began := time.Now(); runtime.NumGoroutine() > n; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > patience/2 {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines instead of %d:\n%s", runtime.NumGoroutine(), n, stacks[:runtime.Stack(stacks, true)])
		}
	}
}
