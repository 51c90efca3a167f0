package main

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

// quick makes a run take no time, which makes its numbers meaningless.
func quick(t *testing.T, args ...string) []string {
	many := work.Many
	work.Many = 1000
	t.Cleanup(func() { work.Many = many })
	return append([]string{"-count", "1", "-benchtime", "1ns"}, args...)
}

func TestJSONHasAnObjectForEachWork(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, exitOK, run(quick(t, "-json", "-group", "futures"), &out, io.Discard))
	var rows []map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &rows))
	works := work.Group("futures")
	require.Len(t, rows, len(works))
	for i, r := range rows {
		require.Equal(t, "futures", r["group"])
		require.Equal(t, works[i].Name, r["work"])
		require.Contains(t, r["beside"], works[i].Beside[0].Who)
		for _, key := range []string{"ours_ns", "beside_ns"} {
			require.Positive(t, r[key], "%s of %s", key, r["work"])
		}
		for _, key := range []string{"ratio", "goal", "ours_allocs", "ours_bytes"} {
			require.IsType(t, 0.0, r[key], "%s of %s", key, r["work"])
		}
		require.Len(t, r, 9)
	}
}

func TestTableHasALineForEachWork(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, exitOK, run(quick(t, "-peers", "-run", "Then"), &out, io.Discard))
	lines := strings.Split(out.String(), "\n")
	require.Contains(t, lines[0], "ratio")
	require.Equal(t, "futures", strings.TrimSpace(lines[1]))
	require.Contains(t, lines[2], "one type-changing Then")
	require.Contains(t, lines[3], "one type-changing Then, beside a second channel")
	require.Contains(t, lines[4], "1M pending")
	require.Contains(t, lines[5], "livekit")
}

func TestWhatCannotBeRunIsAnError(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-group", "queues"}, exitFailed, `no group is called "queues"`},
		{[]string{"-run", "nonsense"}, exitFailed, `no work matches "nonsense"`},
		{[]string{"-run", "("}, exitUsage, "missing closing"},
		{[]string{"-count", "0"}, exitUsage, "-count"},
		{[]string{"futures"}, exitUsage, `what is "futures"?`},
		{[]string{"-h"}, exitOK, "-group"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, c.code, run(c.args, &out, &errs), c.args)
		require.Contains(t, errs.String(), c.says)
		require.Empty(t, out.String())
	}
}

func TestEveryGroupHasWorks(t *testing.T) {
	var works []work.Work
	for _, group := range groups {
		chosen, err := choose(options{group: group, match: regexp.MustCompile("")})
		require.NoError(t, err)
		works = append(works, chosen...)
	}
	require.Len(t, works, len(work.All()))
}

func TestMissedGoals(t *testing.T) {
	works := work.Group("futures")
	first := works[0]
	ok := pair{ours: result{ns: 40, allocs: 1, bytes: 32}, theirs: result{ns: 100}, ratio: 0.4}
	require.Empty(t, assess(first, ok).misses)
	bad := pair{ours: result{ns: 60, allocs: 2, bytes: 80}, theirs: result{ns: 100}, ratio: 0.6}
	require.Len(t, assess(first, bad).misses, 3)

	pending := works[slices.IndexFunc(works, func(w work.Work) bool { return w.Bytes })]
	sizes := func(bare, then float64) pair {
		ours := result{bytes: int64(bare), extra: map[string]float64{work.EachBytes: bare, work.ThenBytes: then}}
		theirs := result{bytes: 128}
		return pair{ours, theirs, ratio(pending, ours, theirs)}
	}
	r := assess(pending, sizes(32, 112))
	require.Empty(t, r.misses)
	require.Equal(t, 0.25, r.Ratio)
	require.Equal(t, 0.5, *r.Goal)
	require.Len(t, assess(pending, sizes(32, 200)).misses, 1)
	require.Len(t, assess(pending, sizes(80, 112)).misses, 2)
}

func TestMedian(t *testing.T) {
	var rounds [][]result
	for _, ns := range []float64{50, 10, 40, 20, 30} {
		rounds = append(rounds, []result{{ns: ns}, {ns: 10}})
	}
	m := median(work.Work{}, rounds, 1)
	require.Equal(t, 3.0, m.ratio)
	require.Equal(t, 30.0, m.ours.ns)
}

func TestRound(t *testing.T) {
	for v, want := range map[float64]float64{0: 0, 1234567: 1235000, 0.123456: 0.1235, 12: 12} {
		require.InDelta(t, want, round(v), 1e-9)
	}
}
