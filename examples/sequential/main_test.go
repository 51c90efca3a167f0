//go:build suites

package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const want = `going once...
9
12
immediate
18
failed: negative value: -7
going twice...
9
12
immediate
18
failed: negative value: -7
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, time.Millisecond))
	require.Equal(t, want, out.String())
}

func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	out := &interrupter{interrupt: interrupt}
	require.ErrorIs(t, run(ctx, out, time.Hour), context.Canceled)
	require.Equal(t, "going once...\n", out.String())
}

// interrupter interrupts a program when it has printed something.
type interrupter struct {
	strings.Builder
	interrupt func()
}

func (w *interrupter) Write(p []byte) (int, error) {
	defer w.interrupt()
	return w.Builder.Write(p)
}
