//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `put 24 messages              underway  5, pending 19
cancel the last: canceled    underway  5, pending 18
widen to 10                  underway 10, pending 13
narrow to 7                  underway 10, pending 13
cancel one, move one up      underway 10, pending 12
next is +1 212 555 0122
paused, 10 let through       underway  0, pending 12
sent to +1 212 555 0100 <nil>
resume with 8                underway  8, pending  4
one of them is +1 212 555 0122
stopped, 8 let through       underway  0, pending  4
[{"Number":"+1 212 555 0118","Text":"Hello..."},{"Number":"+1 212 555 0119","Text":"Hello..."},{"Number":"+1 212 555 0120","Text":"Hello..."},{"Number":"+1 212 555 0121","Text":"Hello..."}]
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
