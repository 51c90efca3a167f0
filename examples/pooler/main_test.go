//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `A alerts the supervisor
  ring: We have a problem in the boiler room!
B alerts the supervisor
C alerts the supervisor
D alerts the supervisor
  ring: The coffee machine is empty.
calls underway: 2
  C gets no answer: twill: canceled: saw the smoke
  D gets no answer: engaged
  A is told: I am on my way
  B is told: I am on my way
E alerts the supervisor
  ring: We have a problem in the boiler room!
F alerts the supervisor
  E gets no answer: twill: canceled: the fire is out
  hung up: nothing but smoke
  F gets no answer: twill: canceled: nothing but smoke
6 alerts, of which 3 were merged
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out))
	require.Equal(t, want, out.String())
}
