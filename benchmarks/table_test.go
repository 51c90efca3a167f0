package benchmarks_test

import (
	"flag"
	"os"
	"regexp"
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

// once has testing.Benchmark run its function with an N of 1.
func once(t *testing.T) {
	old := flag.Lookup("test.benchtime").Value.String()
	require.NoError(t, flag.Set("test.benchtime", "1x"))
	t.Cleanup(func() { require.NoError(t, flag.Set("test.benchtime", old)) })
}

func TestEveryBodyDoesItsWork(t *testing.T) {
	few(t)
	once(t)
	for _, w := range work.All() {
		t.Run(w.Name, func(t *testing.T) {
			require.Equal(t, 1, testing.Benchmark(w.Ours).N)
			for _, p := range w.Beside {
				require.Equal(t, 1, testing.Benchmark(p.Run).N, p.Who)
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
