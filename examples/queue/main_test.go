//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `Three wait for meals, one of them leaves, two meals are ready.
  Bob leaves: twill: canceled: shift is over
  Ada serves soup
  Cleo serves risotto
  0 meals and 0 waiters left
The counter holds two meals, and one may wait for one.
  no room for pie: twill: queue is full
  served soup
  served risotto
  served pie
  one too many waits: twill: too many pending gets
A cook cooks, a waiter serves, the kitchen closes.
  served soup
  served risotto
  served pie
  3 cooked, and a put now: twill: closed
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
