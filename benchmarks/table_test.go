package benchmarks_test

import (
	"cmp"
	"flag"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func few(t *testing.T) {
	many := work.Many
	work.Many = 1000
	t.Cleanup(func() { work.Many = many })
}

// twice makes testing.Benchmark run its function with N = 2 in the end.
func twice(t *testing.T) {
	old := flag.Lookup("test.benchtime").Value.String()
	require.NoError(t, flag.Set("test.benchtime", "2x"))
	t.Cleanup(func() { require.NoError(t, flag.Set("test.benchtime", old)) })
}

// No body fails, and all bodies that do the same work have the same result,
// which is not that of an operation that has failed.
func TestEveryBodyDoesItsWork(t *testing.T) {
	few(t)
	twice(t)
	result := func(run func(b *testing.B), who string) string {
		work.Sink, work.SinkString = -1, ""
		require.Equal(t, 2, testing.Benchmark(run).N, who)
		return cmp.Or(work.SinkString, strconv.Itoa(work.Sink))
	}
	for _, w := range work.All() {
		t.Run(w.Name, func(t *testing.T) {
			ours := result(w.Ours, work.Us)
			require.NotEqual(t, "0", ours)
			for _, p := range w.Beside {
				theirs := result(p.Run, p.Who)
				switch {
				case w.Bytes: // the bytes count, and a listener that gives up has no result
				case p.Who == "hedgedhttp":
					require.Equal(t, strconv.Itoa(http.StatusOK), theirs)
				default:
					require.Equal(t, ours, theirs, p.Who)
				}
			}
		})
	}
}

func TestTableIsSound(t *testing.T) {
	names := map[string]bool{}
	for _, w := range work.All() {
		require.False(t, names[w.Name], "%q is there twice", w.Name)
		names[w.Name] = true
		require.NotEmpty(t, w.Beside, w.Name)
		if w.Bytes {
			require.Equal(t, work.EachBytes, w.Limits[0].Metric, w.Name)
		}
		whos := map[string]bool{work.Us: true}
		for _, p := range w.Beside {
			require.False(t, whos[p.Who], "%q is there twice for %q", p.Who, w.Name)
			whos[p.Who] = true
		}
	}
}

// Every work has a benchmark function, and every benchmark function a work.
func TestBenchmarkFunctionsAreThoseOfTheTable(t *testing.T) {
	called := regexp.MustCompile(`work\.Run\(b, "(.*)"\)`)
	for _, group := range []string{"futures", "dispatch", "retry", "data"} {
		src, err := os.ReadFile(group + "_test.go")
		require.NoError(t, err)
		var got, want []string
		for _, m := range called.FindAllStringSubmatch(string(src), -1) {
			got = append(got, m[1])
		}
		for _, w := range work.Group(group) {
			want = append(want, w.Name)
		}
		require.Equal(t, want, got)
	}
}

// The README shows a line for each work, in order.
func TestReadmeHasTheWholeTable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	var shown []string
	for l := range strings.Lines(string(readme)) {
		for _, w := range work.All() {
			if strings.HasPrefix(l, "  "+w.Name+"  ") {
				shown = append(shown, w.Name)
			}
		}
	}
	var want []string
	for _, w := range work.All() {
		want = append(want, w.Name)
	}
	require.Equal(t, want, shown)
}
