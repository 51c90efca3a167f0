//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `photo:
  attempt 1: status 504, again in 0s
  attempt 2: status 504, again in 10ms
  got the bytes of photo
fresh:
  attempt 1: status 404, again in 0s
  attempt 2: status 504, again in 10ms
  got the bytes of fresh
gone:
  attempt 1: status 504, again in 0s
  attempt 2: status 404, again in 10ms
  attempt 3: status 504, again in 20ms
  attempts 4, first status 504, last status 404
  gave up: twill: error is not retryable: status 404
secret:
  attempts 1, first status 403, last status 403
  gave up: twill: error is not retryable: status 403
down:
  attempt 1: status 504, again in 0s
  attempt 2: status 504, again in 10ms
  attempt 3: status 504, again in 20ms
  attempt 4: status 504, again in 40ms
  attempts 5, first status 504, last status 504
  gave up: twill: no retries left
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
