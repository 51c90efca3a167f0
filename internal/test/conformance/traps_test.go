//go:build suites

package conformance_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Faults of other queues, maps and mergers of calls. The comment of each test
// describes the fault, which must not occur here. The faults of dispatch queues
// are in dispatch_traps_test.go.

// Gets that were given up keep their place forever, until no more gets may
// wait.
func TestTrapAbandonedGetsTakeNoPlace(t *testing.T) {
	opts := &twill.QueueOptions{Size: 1, Backlog: 2}
	q, pq := twill.NewQueue[int](opts), twill.NewPriorityQueue[int](opts)
	for name, get := range map[string]func() *twill.Future[int]{"queue": q.Get, "priority queue": pq.Get} {
		t.Run(name, func(t *testing.T) {
			stays := get()
			for range 1600 {
				require.True(t, get().Cancel(nil))
			}
			kit.RequirePending(t, get())
			kit.RequireFailure(t, twill.ErrTooManyGets, get())
			kit.RequirePending(t, stays)
		})
	}
	require.Equal(t, []int{2, 2}, []int{q.Waiting(), pq.Waiting()})
}

// So do puts that were given up, and the next in line is never admitted.
func TestTrapAbandonedPutsTakeNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, pq := twill.NewQueue[int](&twill.QueueOptions{Size: 1}), twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 1})
		for name, x := range map[string]struct {
			put func(ctx context.Context, v int) error
			get func() (int, bool)
		}{
			"queue": {q.PutWait, q.TryGet},
			"priority queue": {func(ctx context.Context, v int) error {
				_, err := pq.PutWait(ctx, v, 0)
				return err
			}, pq.TryGet},
		} {
			require.NoError(t, x.put(t.Context(), 1), name)
			ctx, cancel := context.WithCancelCause(t.Context())
			for range 100 {
				go func() {
					if err := x.put(ctx, 2); err != kit.ErrFirst {
						t.Errorf("%s: %v", name, err)
					}
				}()
			}
			synctest.Wait()
			last := make(chan error, 1)
			go func() { last <- x.put(t.Context(), 3) }()
			synctest.Wait()
			cancel(kit.ErrFirst)
			synctest.Wait()
			for _, want := range []int{1, 3} {
				v, ok := x.get()
				require.True(t, ok, name)
				require.Equal(t, want, v, name)
				synctest.Wait()
			}
			require.NoError(t, <-last, name)
			_, ok := x.get()
			require.False(t, ok, name)
		}
	})
}

// Items that were taken out of a queue stay reachable through its array.
func TestTrapTakenItemsAreLetGo(t *testing.T) {
	var q twill.Queue[*kit.Resource]
	var pq twill.PriorityQueue[*kit.Resource]
	var d twill.Dict[int, *kit.Resource]
	var all []weak.Pointer[kit.Resource]
	kit.Drop(func() {
		put := func(r *kit.Resource) *kit.Resource {
			all = append(all, weak.Make(r))
			return r
		}
		for i := range 20 {
			require.NoError(t, q.Put(put(new(kit.Resource))))
			item, err := pq.Put(put(new(kit.Resource)), i%3)
			require.NoError(t, err)
			if i%2 == 0 {
				require.True(t, item.Remove())
			}
			require.NoError(t, d.Set(i, put(new(kit.Resource))))
		}
		for i := range 20 {
			q.TryGet()
			pq.TryGet()
			d.Delete(i)
		}
	})
	for _, w := range all {
		require.True(t, kit.Released(w))
	}
	require.Equal(t, []int{0, 0, 0}, []int{q.Len(), pq.Len(), d.Len()})
}

// Removing a waiter searches the line. With such a search this test would take
// hours.
func TestTrapLeavingALineIsNoWalk(t *testing.T) {
	n := 200_000
	if !kit.Long() {
		n = 50_000
	}
	var q twill.Queue[int]
	var pq twill.PriorityQueue[int]
	var d twill.Dict[int, int]
	var s twill.Semaphore
	_, _ = s.TryAcquire()
	p := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return twill.NewPromise[int]().Future() })
	for name, join := range map[string]func() twill.AnyFuture{
		"queue":          func() twill.AnyFuture { return q.Get() },
		"priority queue": func() twill.AnyFuture { return pq.Get() },
		"dict":           func() twill.AnyFuture { return d.Get(1) },
		"semaphore":      func() twill.AnyFuture { return s.Acquire() },
		"pooler":         func() twill.AnyFuture { return p.Call(context.Background(), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			all := make([]twill.AnyFuture, n)
			for i := range all {
				all[i] = join()
			}
			rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
			kit.Watchdog(t, func() {
				for _, f := range all {
					f.Cancel(nil)
				}
			})
		})
	}
	require.Equal(t, []int{0, 0, 0, 0, 0}, []int{q.Waiting(), pq.Waiting(), d.Waiting(), s.Waiting(), p.Stats().Waiting})
}

// A close loses queued items, or accepts items after it.
func TestTrapCloseLosesNoItem(t *testing.T) {
	var q twill.Queue[int]
	var pq twill.PriorityQueue[int]
	for i := range 100 {
		require.NoError(t, q.Put(i))
		_, err := pq.Put(i, 0)
		require.NoError(t, err)
	}
	q.Close()
	pq.Close()
	for i := range 100 {
		kit.RequireValue(t, i, q.Get())
		kit.RequireValue(t, i, pq.Get())
	}
	require.Equal(t, twill.ErrClosed, q.Put(1))
	_, err := pq.Put(1, 0)
	require.Equal(t, twill.ErrClosed, err)
	for _, get := range []*twill.Future[int]{q.Get(), pq.Get()} {
		kit.RequireFailure(t, twill.ErrClosed, get)
	}
}

// A put inside a handler that a put has called waits for itself, or overtakes.
func TestTrapPutFromInsideAHandler(t *testing.T) {
	var q twill.Queue[int]
	var got []int
	var next func(v int, err error)
	next = func(v int, err error) {
		require.NoError(t, err)
		if got = append(got, v); v < 5 {
			q.Get().Tap(next)
			require.NoError(t, q.Put(v+1))
		}
	}
	q.Get().Tap(next)
	kit.Watchdog(t, func() { require.NoError(t, q.Put(1)) })
	require.Equal(t, []int{1, 2, 3, 4, 5}, got)
	require.Equal(t, []int{0, 0}, []int{q.Len(), q.Waiting()})
}

// A call without callers is started.
func TestTrapAComputationInLineIsNotStartedForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[int, int]
		gate, calls := make(chan struct{}), 0
		compute := func(context.Context) (int, error) { calls++; <-gate; return 1, nil }
		d.GetOrCompute(t.Context(), 1, compute).Cancel(nil)
		synctest.Wait()
		d.GetOrCompute(t.Context(), 1, compute).Cancel(nil) // would run after the first
		close(gate)
		synctest.Wait()
		require.Equal(t, 1, calls)
		require.Zero(t, d.Waiting())
		require.Zero(t, d.Len(), "and what was made for nobody is not stored")
	})
}
