//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `boom1: the one that follows is canceled, then the source fires.
  Twisted: AlreadyCalledError, which ends up in the source.
  here: d2's canceler runs
  here: d2 failed: twill: canceled
  here: resolving d1: false
  The same, but somebody else needs the source.
  here: e2 failed: twill: canceled
  here: e1 got hey
  here: resolving e1: true
boom2: one that follows is fired by hand, then the source fires.
  Twisted: AlreadyCalledError again.
  here: d2 got hey
  here: resolving d2: true
  here: resolving d1: true
uncalled: the source is canceled.
  Twisted: d2's canceler never runs.
  here: d1's canceler runs
  here: d1 failed: twill: canceled
  here: d2's canceler runs
  here: d2 failed: twill: canceled
  here: canceling d2 afterwards: false
unexpected1: the source has a callback too, after the chaining.
  Twisted: the callback is called with None.
  here: callback got hey
unexpected2: two follow one source.
  Twisted: the second of them gets None.
  here: d2 got hey
  here: d3 got hey
`

func TestRun(t *testing.T) {
	var out strings.Builder
	run(&out)
	require.Equal(t, want, out.String())
}
