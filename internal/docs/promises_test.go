//go:build suites

package docs_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every promise in the table has tests, and all of them exist.
func TestPromisesHaveTheirTests(t *testing.T) {
	text, err := os.ReadFile("docs/promises.md")
	require.NoError(t, err)
	exists := map[string]map[string]bool{} // by folder and name
	var promises []string
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]?\d+) \| (.+) \| (.+) \|$`).FindAllStringSubmatch(string(text), -1) {
		promises = append(promises, row[1])
		names := regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[3], -1)
		require.NotEmpty(t, names, "the tests of %s", row[1])
		for _, name := range names {
			folder, test := filepath.Split(name[1])
			if exists[folder] == nil {
				exists[folder] = testsIn(t, filepath.Join(".", folder))
			}
			require.True(t, exists[folder][test], "%s names %s, which does not exist", row[1], name[1])
		}
	}
	want := slices.Concat(
		numbered("F", 1, 14), numbered("R", 1, 11), numbered("Y", 1, 13), numbered("P", 1, 10), numbered("W", 1, 5), numbered("L", 1, 6),
		numbered("Q", 1, 22), numbered("", 1, 16), numbered("", 18, 30), numbered("", 35, 37), numbered("T", 1, 7), numbered("O", 1, 13),
		numbered("K", 2, 14), numbered("K", 16, 19), numbered("C", 1, 10),
		numbered("J", 1, 20), numbered("D", 1, 30),
	)
	require.Subset(t, promises, want)
	slices.Sort(promises)
	require.Len(t, slices.Compact(slices.Clone(promises)), len(promises), "each number once")
}

func numbered(letter string, from, to int) (names []string) {
	for n := from; n <= to; n++ {
		names = append(names, fmt.Sprint(letter, n))
	}
	return names
}

// testsIn returns the names of the tests and fuzz tests in a folder, whatever
// their build tags.
func testsIn(t *testing.T, folder string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	require.NoError(t, err)
	require.NotEmpty(t, files, "tests in %q", folder)
	found := map[string]bool{}
	for _, file := range files {
		if strings.Contains(file, "go127") {
			continue // cannot be parsed before Go 1.27
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && regexp.MustCompile(`^(Test|Fuzz)[A-Z]`).MatchString(fn.Name.Name) {
				found[fn.Name.Name] = true
			}
		}
	}
	require.NotEmpty(t, slices.Sorted(maps.Keys(found)))
	return found
}
