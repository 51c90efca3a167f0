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
no users: no such database
no cities: no such database
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out))
	require.Equal(t, want, out.String())
}
