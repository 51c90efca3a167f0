//go:build suites

package main

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `shutting down, in the pool: 3
late request: 503 Service Unavailable: shutting down <nil>
answer: 200 OK: Hello, Ada <nil>
answer: 200 OK: Hello, Bob <nil>
answer: 200 OK: Hello, Cleo <nil>
drained, in the pool: 0
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}

func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out strings.Builder
	require.ErrorIs(t, run(ctx, &out), context.Canceled)
	require.Empty(t, out.String())
}
