package twill_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// rdqCall runs fn once, as a job of a queue over base, and waits until it has
// returned.
func rdqCall(t *testing.T, base context.Context, fn func(ctx context.Context, j func() *twill.Job[int, int])) {
	t.Helper()
	var j *twill.Job[int, int]
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		fn(ctx, func() *twill.Job[int, int] { <-put; return j })
		return n, nil
	}, &twill.DispatchOptions{Context: base})
	j = rdqPut(t, q, 1, 0)
	close(put)
	j.Await(t.Context())
	_, err := q.Stop().Await(t.Context())
	require.NoError(t, err)
}

type rdqKey struct{}

func TestJobContextComesFromTheBase(t *testing.T) {
	base := context.WithValue(t.Context(), rdqKey{}, "value")
	base, cancel := context.WithTimeoutCause(base, time.Hour, errFirst)
	defer cancel()
	deadline, _ := base.Deadline()
	rdqCall(t, base, func(ctx context.Context, _ func() *twill.Job[int, int]) {
		require.Equal(t, "value", ctx.Value(rdqKey{}))
		got, ok := ctx.Deadline()
		require.True(t, ok)
		require.Equal(t, deadline, got)
		require.NoError(t, ctx.Err())
		require.Equal(t, "value", ctx.Value(rdqKey{}), "also of the real one")
		require.NoError(t, context.Cause(ctx))
		require.Equal(t, "twill.Job context", fmt.Sprint(ctx))
	})
}

func TestJobContextEndsWithTheBase(t *testing.T) {
	for name, early := range map[string]bool{"asked before": true, "asked after": false} {
		t.Run(name, func(t *testing.T) {
			base, cancel := context.WithCancelCause(t.Context())
			rdqCall(t, base, func(ctx context.Context, _ func() *twill.Job[int, int]) {
				if early {
					require.NoError(t, ctx.Err())
				}
				cancel(errFirst)
				require.ErrorIs(t, context.Cause(ctx), errFirst)
				<-ctx.Done()
				require.ErrorIs(t, ctx.Err(), context.Canceled)
				require.ErrorIs(t, context.Cause(ctx), errFirst)
			})
		})
	}
}

func TestJobContextEndsWithTheJob(t *testing.T) {
	type probe func(ctx context.Context)
	probes := map[string]probe{
		"nothing": func(context.Context) {},
		"Err":     func(ctx context.Context) { require.NoError(t, ctx.Err()) },
		"Done":    func(ctx context.Context) { ctx.Done() },
		"Value":   func(ctx context.Context) { ctx.Value(rdqKey{}) },
		"Cause":   func(ctx context.Context) { require.NoError(t, context.Cause(ctx)) },
	}
	for name, probe := range probes {
		t.Run("cancelled after "+name, func(t *testing.T) {
			rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
				probe(ctx)
				require.True(t, j().Cancel(errFirst))
				require.ErrorIs(t, context.Cause(ctx), errFirst)
				<-ctx.Done()
				require.ErrorIs(t, ctx.Err(), context.Canceled)
			})
		})
		t.Run("returned after "+name, func(t *testing.T) {
			var kept context.Context
			rdqCall(t, nil, func(ctx context.Context, _ func() *twill.Job[int, int]) {
				probe(ctx)
				kept = ctx
			})
			<-kept.Done()
			require.ErrorIs(t, kept.Err(), context.Canceled)
			require.ErrorIs(t, context.Cause(kept), context.Canceled)
		})
		t.Run("cancelled and returned after "+name, func(t *testing.T) {
			var kept context.Context
			rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
				probe(ctx)
				kept = ctx
				j().Cancel(errFirst)
			})
			<-kept.Done()
			require.ErrorIs(t, context.Cause(kept), errFirst)
		})
	}
}

func TestJobContextCancelWithoutACause(t *testing.T) {
	rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
		j().Cancel(nil)
		require.ErrorIs(t, context.Cause(ctx), twill.ErrCanceled)
	})
}

func TestJobContextIsAParent(t *testing.T) {
	rdqCall(t, nil, func(ctx context.Context, j func() *twill.Job[int, int]) {
		child, cancel := context.WithCancel(context.WithValue(ctx, rdqKey{}, 1))
		defer cancel()
		called := make(chan struct{})
		defer context.AfterFunc(ctx, func() { close(called) })()
		require.NoError(t, child.Err())
		j().Cancel(errFirst)
		<-child.Done()
		require.ErrorIs(t, context.Cause(child), errFirst)
		<-called
	})
}

// rdqOddContext is a context of nobody's make that has something to say about
// being asked.
type rdqOddContext struct {
	context.Context
	asked func()
}

func (c rdqOddContext) Done() <-chan struct{} { c.asked(); return c.Context.Done() }

func TestJobContextAsksTheBaseUnderNoLock(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	q = twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		ctx.Done()
		return n, nil
	}, &twill.DispatchOptions{Context: rdqOddContext{base, func() { q.Size(); q.Pending() }}})
	watchdog(t, func() {
		_, err := rdqPut(t, q, 1, 0).Await(context.Background())
		require.NoError(t, err)
	})
}

func TestJobContextRaces(t *testing.T) {
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range 500 {
		rdqCall(t, base, func(ctx context.Context, j func() *twill.Job[int, int]) {
			for range 3 {
				go func() {
					<-ctx.Done()
					ctx.Err()
				}()
			}
			go j().Cancel(errFirst)
		})
	}
}

func TestJobContextUnusedCostsNothing(t *testing.T) {
	run := func(fn func(context.Context, int) (int, error)) float64 {
		q := twill.NewResizableDispatchQueue(fn, nil)
		const jobs = 200     // in one run, since AllocsPerRun rounds down
		least := math.Inf(1) // a process that is held up allocates more, as workers end that would have gone on
		for range 5 {
			least = min(least, testing.AllocsPerRun(1, func() {
				for range jobs {
					rdqPut(t, q, 1, 0).Await(context.Background())
				}
			})/jobs)
		}
		return least
	}
	without := run(rdqSame)
	values := run(func(ctx context.Context, n int) (int, error) { ctx.Value(rdqKey{}); ctx.Deadline(); return n, nil })
	with := run(func(ctx context.Context, n int) (int, error) { return n, ctx.Err() })
	require.Less(t, without, 4.0)
	require.InDelta(t, without, values, 0.5)
	require.Greater(t, with, without+1.5)
}

// TestJobCancelThatComesTooLateForTheCall: between the return of the call and
// the settling of the future, the base context is told; then a cancel comes.
func TestJobCancelThatComesTooLateForTheCall(t *testing.T) {
	base, cancel := context.WithCancel(t.Context())
	defer cancel()
	var j *twill.Job[int, int]
	var late []bool
	odd := rdqOddContext{base, func() {
		if j.State() == twill.JobFinished {
			late = append(late, j.Cancel(errFirst))
		}
	}}
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-put
		ctx.Done()
		return n, nil
	}, &twill.DispatchOptions{Context: odd})
	j = rdqPut(t, q, 1, 0)
	close(put)
	v, err := j.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, v)
	require.Equal(t, []bool{false}, late)
}
