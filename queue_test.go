package twill_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	var q twill.Queue[int]
	for i := range 3 {
		require.NoError(t, q.Put(i))
	}
	require.Equal(t, 3, q.Len())
	awaitValue(t, q.Get(), 0)
	v, ok := q.TryGet()
	require.True(t, ok)
	require.Equal(t, 1, v)
	awaitValue(t, q.Get(), 2)
	_, ok = q.TryGet()
	require.False(t, ok)
	require.Zero(t, q.Len())
}

func TestQueueServesTheLongestWaiting(t *testing.T) {
	var q twill.Queue[string]
	a, b := q.Get(), q.Get()
	require.Equal(t, 2, q.Waiting())
	require.NoError(t, q.Put("x"))
	awaitValue(t, a, "x")
	requirePending(t, b)
	require.NoError(t, q.Put("y"))
	awaitValue(t, b, "y")
	require.Zero(t, q.Waiting())
	require.Zero(t, q.Len())
}

func TestQueueLimits(t *testing.T) {
	q := twill.NewQueue[int](&twill.QueueOptions{Size: 2, Backlog: 2})
	a, b := q.Get(), q.Get()
	awaitError(t, q.Get(), twill.ErrQueueUnderflow)
	for i := range 4 {
		require.NoError(t, q.Put(i))
	}
	require.ErrorIs(t, q.Put(4), twill.ErrQueueOverflow)
	awaitValue(t, a, 0)
	awaitValue(t, b, 1)
	require.Equal(t, 2, q.Len())

	none := twill.NewQueue[int](&twill.QueueOptions{Size: -1, Backlog: -1})
	require.ErrorIs(t, none.Put(1), twill.ErrQueueOverflow)
	awaitError(t, none.Get(), twill.ErrQueueUnderflow)

	onlyWaiting := twill.NewQueue[int](&twill.QueueOptions{Size: -1})
	get := onlyWaiting.Get()
	require.NoError(t, onlyWaiting.Put(5))
	awaitValue(t, get, 5)
}

func TestQueueCancelledGetLosesNothing(t *testing.T) {
	var q twill.Queue[int]
	a, b := q.Get(), q.Get()
	require.True(t, a.Cancel(nil))
	require.Equal(t, 1, q.Waiting())
	require.NoError(t, q.Put(1))
	awaitValue(t, b, 1)
	require.False(t, b.Cancel(nil), "after delivery it does nothing")

	// And by a chain.
	c := q.Get()
	require.True(t, twill.Then(c, same[int]).Cancel(nil))
	require.NoError(t, q.Put(2))
	require.Equal(t, 1, q.Len())
}

func TestQueueHandlersMayUseTheQueue(t *testing.T) {
	var q twill.Queue[int]
	var got []int
	var again func(v int, err error)
	again = func(v int, err error) {
		got = append(got, v)
		if v < 3 {
			q.Get().Tap(again)
			require.NoError(t, q.Put(v+1))
		}
	}
	q.Get().Tap(again)
	watchdog(t, func() { require.NoError(t, q.Put(1)) })
	require.Equal(t, []int{1, 2, 3}, got)
}

func TestQueueClose(t *testing.T) {
	var q twill.Queue[int]
	waiting := q.Get()
	q.Close()
	q.Close()
	awaitError(t, waiting, twill.ErrClosed)
	require.ErrorIs(t, q.Put(1), twill.ErrClosed)
	require.ErrorIs(t, q.PutWait(t.Context(), 1), twill.ErrClosed)
	awaitError(t, q.Get(), twill.ErrClosed)

	var full twill.Queue[int]
	require.NoError(t, full.Put(1))
	full.Close()
	awaitValue(t, full.Get(), 1)
	awaitError(t, full.Get(), twill.ErrClosed)
	_, ok := full.TryGet()
	require.False(t, ok)
}

func TestQueuePutWait(t *testing.T) {
	for name, size := range map[string]int{"of one": 1, "of none": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewQueue[int](&twill.QueueOptions{Size: size})
				if size > 0 {
					require.NoError(t, q.PutWait(t.Context(), 0))
				}
				var order []int
				for i := 1; i <= 3; i++ {
					go func() {
						require.NoError(t, q.PutWait(t.Context(), i))
						order = append(order, i)
					}()
					synctest.Wait()
				}
				require.Empty(t, order)
				first := 0
				if size < 0 {
					first = 1
				}
				for i := first; i <= 3; i++ {
					synctest.Wait()
					awaitValue(t, q.Get(), i)
				}
				synctest.Wait()
				require.Equal(t, []int{1, 2, 3}, order)
			})
		})
	}
}

// The handlers of the get that it serves keep nobody from putting.
func TestQueuePutWaitOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Size: 3})
		gate := make(chan struct{})
		q.Get().Tap(func(int, error) {
			require.NoError(t, q.PutWait(t.Context(), 2))
			<-gate
		})
		go func() { require.NoError(t, q.PutWait(t.Context(), 1)) }()
		synctest.Wait()
		go func() { require.NoError(t, q.PutWait(t.Context(), 3)) }()
		synctest.Wait()
		require.Equal(t, 2, q.Len())
		close(gate)
		synctest.Wait()
		awaitValue(t, q.Get(), 2)
		awaitValue(t, q.Get(), 3)
	})
}

func TestQueuePutWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Size: 1})
		require.NoError(t, q.Put(1))
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 3)
		for i := range 2 { // the first in line and one behind
			go func() { errs <- q.PutWait(ctx, 10+i) }()
			synctest.Wait()
		}
		go func() { errs <- q.PutWait(t.Context(), 2) }()
		synctest.Wait()
		cancel(errBoom)
		require.ErrorIs(t, <-errs, errBoom)
		require.ErrorIs(t, <-errs, errBoom)
		require.ErrorIs(t, q.PutWait(ctx, 3), errBoom)
		synctest.Wait()
		awaitValue(t, q.Get(), 1)
		require.NoError(t, <-errs)
		awaitValue(t, q.Get(), 2)

		require.NoError(t, q.Put(4))
		go func() { errs <- q.PutWait(t.Context(), 5) }()
		go func() { errs <- q.PutWait(t.Context(), 6) }()
		synctest.Wait()
		q.Close()
		require.ErrorIs(t, <-errs, twill.ErrClosed)
		require.ErrorIs(t, <-errs, twill.ErrClosed)
	})
}

func TestQueueAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Backlog: -1})
		go func() {
			for i := range 5 {
				time.Sleep(time.Second)
				require.NoError(t, q.Put(i))
			}
			q.Close()
		}()
		require.Equal(t, []int{0, 1, 2, 3, 4}, slices.Collect(q.All(t.Context())))

		var p twill.Queue[int]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Empty(t, slices.Collect(p.All(ctx)))
		require.Zero(t, p.Waiting())
		require.NoError(t, p.Put(1))
		for v := range p.All(t.Context()) {
			require.Equal(t, 1, v)
			break
		}
	})
}

// Every item is got once, whatever is cancelled, given up or closed meanwhile.
func TestQueueFromManyGoroutines(t *testing.T) {
	q := twill.NewQueue[int](&twill.QueueOptions{Size: 8})
	const putters, each = 4, 500
	var got [putters * each]atomic.Int32
	var wg, puts sync.WaitGroup
	for p := range putters {
		puts.Go(func() {
			for i := range each {
				if err := q.PutWait(t.Context(), p*each+i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for g := range 4 {
		wg.Go(func() {
			switch g % 2 {
			case 0:
				for v := range q.All(t.Context()) {
					got[v].Add(1)
				}
			case 1:
				for {
					f := q.Get()
					f.Tap(func(v int, err error) {
						if err == nil {
							got[v].Add(1)
						}
					})
					f.Cancel(nil)
					if r, _ := f.Poll(); r.Err == twill.ErrClosed {
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	puts.Wait()
	q.Close()
	watchdog(t, wg.Wait)
	for v := range got {
		require.EqualValues(t, 1, got[v].Load(), "item %d", v)
	}
}

func TestQueueScales(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	var q twill.Queue[int]
	gets := make([]*twill.Future[int], n)
	for i := range gets {
		gets[i] = q.Get()
	}
	for i := n - 1; i > 0; i -= 2 { // from the middle, in O(1)
		require.True(t, gets[i].Cancel(nil))
	}
	for i := range n {
		require.NoError(t, q.Put(i))
	}
	require.Equal(t, n/2, q.Len())
	for i := range n / 2 {
		v, ok := q.TryGet()
		require.True(t, ok)
		require.Equal(t, n/2+i, v)
	}
}

func TestQueueMisuse(t *testing.T) {
	var q twill.Queue[int]
	var none context.Context
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { _ = q.PutWait(none, 1) })
	require.PanicsWithValue(t, "twill: All with a nil context", func() { q.All(none) })
}

func TestQueueAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var q twill.Queue[int]
	require.NoError(t, q.Put(0))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = q.Put(1)
		q.TryGet()
	}))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_ = q.Put(1)
		q.Get()
	}), 1.0)
	q.TryGet()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		q.Get()
		_ = q.Put(1)
	}), 1.0)
}

// TestQueuePutsInHandlersNestABit: a queue is a pool of things that are put back by
// the handlers of those who got them; the stack stays small.
func TestQueuePutsInHandlersNestABit(t *testing.T) {
	gets := 300_000
	if testing.Short() {
		gets = 50_000
	}
	smallStack(t)
	var q twill.Queue[int]
	var pq twill.PriorityQueue[int]
	var line twill.Queue[int]
	for name, c := range map[string]struct {
		get func() *twill.Future[int]
		put func(int)
	}{
		"Queue":         {q.Get, func(v int) { q.Put(v) }},
		"PutWait":       {line.Get, func(v int) { line.PutWait(context.Background(), v) }},
		"PriorityQueue": {pq.Get, func(v int) { pq.Put(v, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			last := make(chan struct{})
			for i := range gets {
				c.get().Tap(func(v int, _ error) {
					if v != i {
						t.Errorf("number %d came out of order", i)
					}
					if i == gets-1 {
						close(last)
						return
					}
					c.put(v + 1)
				})
			}
			c.put(0)
			<-last
		})
	}
}
