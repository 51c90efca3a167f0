//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `asked for soup
asked for risotto
asked for pie
asked for cake
asked for pie
waiting: 5
produced pie
  pie is 9
  pie is 9
produced tea
produced soup
  soup is 12
asked for tea
  tea is 9
asked for tea
  tea is 4
  no cake: out of flour
  no risotto: the kitchen is closed
asked for salad
  no salad: the kitchen is closed
there: 3 waiting: 0
4 squared is 16
2 squared is 4
5 squared is 25
1 squared is 1
3 squared is 9
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(&out))
	require.Equal(t, want, out.String())
}
