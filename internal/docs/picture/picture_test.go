//go:build suites

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each picture of the documents is up to date with its description.
func TestPicturesAreUpToDate(t *testing.T) {
	names, err := filepath.Glob("../../../docs/pictures/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		p, err := parse(string(text))
		require.NoError(t, err, name)
		drawn, err := os.ReadFile(strings.TrimSuffix(name, ".txt") + ".svg")
		require.NoError(t, err)
		require.Equal(t, p.svg(), string(drawn), "%s is old: go run ./internal/docs/picture", name)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"circle a", `line 2: no such thing as "circle"`},
		{`box a 0 0 done "a" "b"`, `line 2: no state "done"`},
		{"passes a b", `line 2: no box `},
		{"box a", "line 2: EOF"},
	} {
		_, err := parse("title T\n" + c.line)
		require.ErrorContains(t, err, c.want)
	}
	_, err := parse("# nothing\n")
	require.EqualError(t, err, "no title")
}
