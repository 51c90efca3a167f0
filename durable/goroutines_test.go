package durable

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/dispatch"
)

func TestGoroutinesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(goroutines)
		for range 3 {
			var wg sync.WaitGroup
			wg.Add(3 * maxIdle)
			for range 3 * maxIdle {
				g.run(wg.Done)
			}
			wg.Wait()
			synctest.Wait()
			require.LessOrEqual(t, len(g.idle), maxIdle)
		}
		g.trim()
		require.Empty(t, g.idle)

		g.run(runtime.Goexit)
		synctest.Wait()
		require.Empty(t, g.idle, "it is none to be kept")
		g.run(func() {})
		synctest.Wait()
		require.Len(t, g.idle, 1)

		// One that blocks keeps nothing from running.
		block := make(chan struct{})
		ran := 0
		g.run(func() { <-block })
		g.run(func() { ran++ })
		synctest.Wait()
		require.Equal(t, 1, ran)
		g.close()
		close(block)
		g.run(func() { ran++ })
		synctest.Wait()
		require.Equal(t, 2, ran)
		require.Empty(t, g.idle)
		// The test fails if a goroutine is left.
	})
}

// What is written of a job is what its record says.
func TestRowIsTheRecord(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, twill.Snooze(time.Hour) }, nil)
	defer q.Stop()
	check := func(j *twill.Job[int, int]) {
		t.Helper()
		r, row := j.Record(), dispatch.RowOf(j)
		require.Equal(t, dispatch.Row{
			Priority: r.Priority, State: uint8(r.State), Again: r.Again, Attempts: r.Attempts, Queued: toMillis(r.Queued),
			Due: toMillis(r.Due), Expires: toMillis(r.Expires), Started: toMillis(r.Started), Ended: toMillis(r.Stopped),
		}, row)
	}
	snoozes, err := q.Put(1, 7)
	require.NoError(t, err)
	for snoozes.State() != twill.JobPending || snoozes.StartedAt().IsZero() {
		runtime.Gosched()
	}
	check(snoozes)
	later, err := q.Put(1, -7, twill.JobOptions{Held: true, At: time.Now().Add(time.Hour), Expires: time.Now().Add(2 * time.Hour), Key: "k"})
	require.NoError(t, err)
	check(later)
	later.Cancel(nil)
	check(later)
	far, err := q.Put(1, 0, twill.JobOptions{At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	check(far)
	far.Cancel(nil)
}
