package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The systems that need nothing but this program run, and a row is printed for
// each of them.
func TestEmbedded(t *testing.T) {
	runSystems(t, "durable,raw,jetstream")
}

// The systems that need a server run where it is installed, with the server
// started and stopped.
func TestServers(t *testing.T) {
	for name, find := range map[string]func() (string, error){"asynq": findRedis, "river": findPostgres} {
		t.Run(name, func(t *testing.T) {
			if _, err := find(); err != nil {
				require.ErrorIs(t, err, errMissing)
				t.Skipf("!!! NOT COMPARED: %v", err)
			}
			runSystems(t, name)
		})
	}
}

func runSystems(t *testing.T, names string) {
	temp := t.TempDir()
	if os.Geteuid() != 0 { // else PostgreSQL, as another user, may not enter it
		t.Setenv("TMPDIR", temp)
	}
	var out, progress bytes.Buffer
	err := run(t.Context(), []string{"-systems", names, "-callers", "1,8", "-duration", "200ms", "-rounds", "1", "-json"}, &out, &progress)
	require.NoError(t, err, progress.String())
	var results []result
	require.NoError(t, json.Unmarshal(out.Bytes(), &results))
	require.Len(t, results, 2*len(strings.Split(names, ",")))
	for _, r := range results {
		require.Positive(t, r.Jobs, r.System)
		require.Positive(t, r.PerSec)
		require.LessOrEqual(t, r.P50, r.P99)
	}
	left, err := os.ReadDir(temp)
	require.NoError(t, err)
	require.Empty(t, left, "temporary folders are removed")
}

// The end of the context ends the program soon, with the cause.
func TestInterrupt(t *testing.T) {
	errStop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	began := time.Now()
	time.AfterFunc(300*time.Millisecond, func() { cancel(errStop) })
	err := run(ctx, []string{"-systems", "durable", "-callers", "4", "-duration", "10m"}, new(bytes.Buffer), new(bytes.Buffer))
	require.ErrorIs(t, err, errStop)
	require.Less(t, time.Since(began), time.Minute)
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-callers", "0"}, {"-callers", "x"}, {"-systems", "other"}, {"-duration", "0s"}, {"-rounds", "0"}, {"-payload", "0"}, {"more"}, {"-none"},
	} {
		require.Error(t, run(t.Context(), args, new(bytes.Buffer), new(bytes.Buffer)), "%v", args)
	}
	o, err := parse(nil, new(bytes.Buffer))
	require.NoError(t, err)
	require.Equal(t, []int{1, 64, 512}, o.callers)
	require.Len(t, o.systems, len(systems))
}

func TestTable(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, table(&out, []result{
		{System: "durable", Callers: 64, PerSec: 800, P50: 1234567 * time.Nanosecond, P99: 2 * time.Second},
		{System: "raw", Callers: 64, PerSec: 1000, P50: 12 * time.Microsecond, P99: 120 * time.Millisecond},
		{System: "durable", Callers: 1, PerSec: 10},
	}))
	require.Equal(t, `callers  system   jobs/s  p50     p99    of raw
64       durable  800     1.23ms  2s     0.80
64       raw      1000    12µs    120ms  1.00
1        durable  10      0s      0s     -
`, out.String())
	require.Equal(t, 2.0, median([]result{{PerSec: 3}, {PerSec: 2}, {PerSec: 1}}).PerSec)
}
