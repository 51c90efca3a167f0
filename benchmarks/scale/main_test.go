package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestShowsEverySize(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scale.svg")
	var out bytes.Buffer
	require.Equal(t, exitOK, run([]string{"-max", "10000", "-count", "1", "-o", file}, &out, io.Discard))
	lines := strings.Split(out.String(), "\n")
	require.Len(t, strings.Fields(lines[0]), 1+len(columns)+3, "%s: one name has three words, one has two", lines[0])
	for i, size := range []string{"10", "100", "1k", "10k", "goal at 10k"} {
		require.Truef(t, strings.HasPrefix(lines[1+i], size+"  "), "%q", lines[1+i])
	}
	svg, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 4*6, bytes.Count(svg, []byte("<circle ")), "a point for each size and line")
}

func TestMeasuresWhatIsThere(t *testing.T) {
	r := once(2000)
	require.Equal(t, 2000, r.pending)
	require.InDelta(t, 200, r.bytes, 80, "bytes of a job")
	for name, v := range map[string]float64{"put": r.put, "finish": r.finish, "cancel": r.cancel, "reprioritize": r.reprioritize, "page": r.page} {
		require.Positive(t, v, name)
	}
	require.Less(t, r.kept, int64(mostKept))
}

func TestGoals(t *testing.T) {
	before := row{pending: 1_000_000, bytes: 200, put: 400, finish: 300, cancel: 500, reprioritize: 600, page: mostPage}
	last := before
	last.pending, last.bytes, last.put, last.finish, last.cancel, last.kept = 10_000_000, 219, 599, 449, 1999, mostKept
	var out bytes.Buffer
	missed, err := table(&out, []row{before, last})
	require.NoError(t, err)
	require.False(t, missed, out.String())

	last.bytes, last.put, last.finish, last.cancel, last.reprioritize, last.kept = 221, 601, 451, 2001, 2001, mostKept+1
	before.page = mostPage + 1
	out.Reset()
	missed, err = table(&out, []row{before, last})
	require.NoError(t, err)
	require.True(t, missed)
	for _, c := range columns {
		require.Contains(t, out.String(), "missed: "+c.name+": ")
	}
}

func TestWhatCannotBeRunIsAnError(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-max", "20000"}, exitUsage, "-max is 20000"},
		{[]string{"-max", "100"}, exitUsage, "-max is 100"},
		{[]string{"-count", "0"}, exitUsage, "-count"},
		{[]string{"jobs"}, exitUsage, `what is "jobs"?`},
		{[]string{"-h"}, exitOK, "-max"},
	} {
		var out, errs bytes.Buffer
		require.Equal(t, c.code, run(c.args, &out, &errs), c.args)
		require.Contains(t, errs.String(), c.says)
		require.Empty(t, out.String())
	}
}
