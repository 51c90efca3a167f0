package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsALineForEachTenth(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, false)
	for sent := 0; sent <= 37; sent++ {
		p.Show(Tally{Total: 37, Sent: sent, Underway: 2})
		p.Show(Tally{Total: 37, Sent: sent, Underway: 2})
	}
	p.End()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	require.Equal(t, "4 of 37, 2 underway, 0 retried, 0 failed", lines[0])
	require.Equal(t, "37 of 37, 2 underway, 0 retried, 0 failed", lines[9])
}

func TestProgressIsABarOnATerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewProgress(&out, true)
		time.Sleep(10 * time.Second)
		p.Show(Tally{Total: 200, Sent: 100, Underway: 5, Retried: 3})
		require.Equal(t, "\r[###############...............] 100 of 200, 5 underway, 3 retried, 0 failed, 10 s left", out.String())
		out.Reset()
		p.Show(Tally{Total: 200, Sent: 199, Failed: 1})
		require.Equal(t, "\r[##############################] 200 of 200, 0 underway, 0 retried, 1 failed           ", out.String())
		out.Reset()
		p.End()
		p.End()
		require.Equal(t, "\n", out.String())
	})
}

func TestAFileIsNoTerminal(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	defer file.Close()
	require.False(t, isTerminal(file))
	require.False(t, isTerminal(&bytes.Buffer{}))
}

func TestTheTallyKeepsThePeak(t *testing.T) {
	var c counter
	for _, n := range []int{1, 1, -1, 1, 1, -1, -1} {
		c.change(func(t *Tally) { t.Underway += n })
	}
	require.Equal(t, Tally{Underway: 1, Peak: 3}, c.now())
}
