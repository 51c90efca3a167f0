//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `1. No members: the list is settled from the start.
   list: []
2. One member: the list settles when that does.
   resolve a
   list: [a]
3. Two members: the list settles with the last of them.
   resolve a
   resolve b
   list: [a, b]
4. The results are in the order of the members, whoever settles first.
   resolve b
   resolve a
   list: [a, b]
5. A failure is a result like others, and ConsumeErrors takes it.
   resolve a
   reject: b is broken
   list: [a, failure: b is broken]
6. Without ConsumeErrors the list only watches, so that the failure is reported.
   resolve a
   reject: b is broken
   list: [a, failure: b is broken]
   unhandled: b is broken
7. A failure handled before the list sees it is none.
   resolve a
   reject: b is broken
   list: [a, instead of b]
`

func TestRun(t *testing.T) {
	var out strings.Builder
	run(&out)
	require.Equal(t, want, out.String())
}
