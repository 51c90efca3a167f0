//go:build suites

package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const want = `four calls made; done: false
the first call: no Ada
users: 2 <nil>
Ada is in London <nil>
Alan is in Wilmslow <nil>
users: 1 <nil> after attempts: 3
no users, as there is no such database: true
no cities, for the same reason: true
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
