//go:build suites

package main

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The output of the list: the poems in the order of the requests.
const want = `
The Tyger
Tyger Tyger, burning bright,
In the forests of the night;
What immortal hand or eye,
Could frame thy fearful symmetry?

Who Has Seen the Wind?
Who has seen the wind?
Neither I nor you:
But when the leaves hang trembling,
The wind is passing through.

Ozymandias: failed: broke off after 40 of 108 bytes: unexpected EOF

Hope
Hope is the thing with feathers
That perches in the soul,
And sings the tune without the words,
And never stops at all,

The Raven: failed: dial tcp: refused
`

func TestRun(t *testing.T) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, 20, time.Millisecond))
	text := regexp.MustCompile(`dial tcp .*refused.*`).ReplaceAllString(out.String(), "dial tcp: refused")

	each, all, ok := strings.Cut(text, "All when all are in:\n")
	require.True(t, ok, text)
	each, ok = strings.CutPrefix(each, "Each as it comes:\n")
	require.True(t, ok, text)

	poems := strings.Split(want, "\n\n")
	for i, poem := range poems {
		poems[i] = strings.TrimSpace(poem) + "\n"
	}
	require.Equal(t, poems, split(all))
	came := split(each) // in any order
	slices.Sort(came)
	slices.Sort(poems)
	require.Equal(t, poems, came)
}

func split(text string) []string {
	return strings.Split(strings.TrimPrefix(text, "-- "), "-- ")
}

func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, interrupt)
	var out strings.Builder
	require.ErrorIs(t, run(ctx, &out, 1, time.Hour), context.Canceled)
	require.NotContains(t, out.String(), "burning bright")
}
