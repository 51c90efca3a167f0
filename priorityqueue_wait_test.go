package twill_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestPriorityQueueLongestWaitingIsServedFirst(t *testing.T) {
	var q twill.PriorityQueue[int]
	var gets []*twill.Future[int]
	for range 4 {
		gets = append(gets, q.Get())
	}
	require.True(t, gets[1].Cancel(errFirst))
	require.Equal(t, 3, q.Waiting())
	for n, i := range []int{0, 2, 3} {
		pqPut(t, &q, n, -n)
		requireValue(t, n, gets[i])
	}
	requireFailure(t, errFirst, gets[1])
	require.Zero(t, q.Waiting())
}

func TestPriorityQueueCancelledGetLosesNothing(t *testing.T) {
	var q twill.PriorityQueue[int]
	get := q.Get()
	require.True(t, get.Cancel(nil))
	requireFailure(t, twill.ErrCanceled, get)
	pqPut(t, &q, 1, 0)
	require.Equal(t, 1, q.Len())
	requireValue(t, 1, q.Get())

	get = q.Get()
	pqPut(t, &q, 2, 0)
	require.False(t, get.Cancel(nil), "it has the item already")
	requireValue(t, 2, get)
}

// TestPriorityQueueAbandonedGetsLeaveNothing: also when there is a limit.
func TestPriorityQueueAbandonedGetsLeaveNothing(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: 1000})
	for range 1600 {
		get := q.Get()
		requirePending(t, get)
		get.Cancel(nil)
	}
	require.Zero(t, q.Waiting())
	requirePending(t, q.Get())
}

// TestPriorityQueueCancelRacesPut: each item is got once, whoever wins.
func TestPriorityQueueCancelRacesPut(t *testing.T) {
	for range 300 {
		var q twill.PriorityQueue[int]
		var gets []*twill.Future[int]
		for range 8 {
			gets = append(gets, q.Get())
		}
		var all sync.WaitGroup
		for p := range 2 {
			all.Go(func() {
				for n := range 5 {
					q.Put(5*p+n, n%2)
				}
			})
		}
		all.Go(func() {
			for i, get := range gets {
				if i%2 == 0 {
					get.Cancel(nil)
				}
			}
		})
		all.Wait()
		got := pqDrain(&q)
		for _, get := range gets {
			if r, ok := get.Poll(); ok && r.Err == nil {
				got = append(got, r.Value)
			}
		}
		slices.Sort(got)
		require.Equal(t, rdqUpTo(10), got)
	}
}

func TestPriorityQueuePutWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 1})
		ctx, cancel := context.WithCancelCause(t.Context())
		put := func(ctx context.Context, v string, priority int) (err *error) {
			err = new(error)
			*err = errSecond // still waiting
			go func() {
				item, e := q.PutWait(ctx, v, priority)
				require.Equal(t, e == nil, item != nil)
				*err = e
			}()
			synctest.Wait()
			return err
		}
		require.NoError(t, *put(ctx, "a", 5))
		b, c, d, e := put(t.Context(), "b", 5), put(t.Context(), "c", 1), put(ctx, "d", 0), put(t.Context(), "e", 5)
		for _, err := range []*error{b, c, d, e} {
			require.ErrorIs(t, *err, errSecond, "the queue is full")
		}
		_, err := q.Put("f", 0)
		require.ErrorIs(t, err, twill.ErrQueueOverflow)
		require.Equal(t, 1, q.Len())

		cancel(errFirst)
		synctest.Wait()
		require.ErrorIs(t, *d, errFirst)

		requireValue(t, "c", q.Get())
		synctest.Wait()
		require.NoError(t, *c, "it came in before a, which stays")
		require.ErrorIs(t, *b, errSecond)
		require.Equal(t, []string{"a"}, q.Snapshot())
		requireValue(t, "a", q.Get())
		synctest.Wait()
		require.NoError(t, *b)
		require.Equal(t, []string{"b"}, q.Snapshot())

		q.Close()
		synctest.Wait()
		require.ErrorIs(t, *e, twill.ErrClosed)
		_, err = q.PutWait(t.Context(), "g", 0)
		require.ErrorIs(t, err, twill.ErrClosed)
		require.Equal(t, []string{"b"}, pqDrain(q))
	})
}

func TestPriorityQueuePutWaitComesInWhenAnItemIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 1})
		first := pqPut(t, q, 1, 0)
		var second *twill.Item[int]
		go func() { second, _ = q.PutWait(t.Context(), 2, 0) }()
		synctest.Wait()
		require.True(t, first.Remove())
		synctest.Wait()
		require.Equal(t, []int{2}, q.Snapshot())
		require.True(t, second.Reprioritize(4))
	})
}

func TestPriorityQueuePutWaitWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1})
		go func() { q.PutWait(t.Context(), 1, 0) }()
		synctest.Wait()
		require.Zero(t, q.Len())
		requireValue(t, 1, q.Get())
		get := q.Get()
		_, err := q.PutWait(t.Context(), 2, 0)
		require.NoError(t, err)
		requireValue(t, 2, get)
	})
}

func TestPriorityQueuePutWaitWithAnEndedContext(t *testing.T) {
	var q twill.PriorityQueue[int]
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errFirst)
	_, err := q.PutWait(ctx, 1, 0)
	require.ErrorIs(t, err, errFirst)
	require.Zero(t, q.Len())
}

func TestPriorityQueueClose(t *testing.T) {
	var q twill.PriorityQueue[int]
	waiting := []*twill.Future[int]{q.Get(), q.Get()}
	q.Close()
	q.Close()
	for _, get := range waiting {
		requireFailure(t, twill.ErrClosed, get)
	}
	_, err := q.Put(1, 0)
	require.ErrorIs(t, err, twill.ErrClosed)
	requireFailure(t, twill.ErrClosed, q.Get())

	var filled twill.PriorityQueue[int]
	pqPut(t, &filled, 2, 2)
	one := pqPut(t, &filled, 1, 3)
	filled.Close()
	require.True(t, one.Reprioritize(1))
	requireValue(t, 1, filled.Get())
	requireValue(t, 2, filled.Get())
	requireFailure(t, twill.ErrClosed, filled.Get())
}

func TestPriorityQueueAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1})
		for _, n := range []int{3, 1, 2} {
			pqPut(t, q, n, n)
		}
		go func() {
			time.Sleep(time.Second)
			q.Put(4, 0)
			q.Put(5, 0)
			time.Sleep(time.Second)
			q.Close()
		}()
		require.Equal(t, []int{1, 2, 3, 4, 5}, slices.Collect(q.All(t.Context())))
		require.Empty(t, slices.Collect(q.All(t.Context())), "closed and empty")
	})
}

func TestPriorityQueueAllEndsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q twill.PriorityQueue[int]
		for n := range 3 {
			pqPut(t, &q, n, 0)
		}
		for v := range q.All(t.Context()) {
			require.Zero(t, v)
			break
		}
		require.Equal(t, 2, q.Len())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, []int{1, 2}, slices.Collect(q.All(ctx)))
		require.Zero(t, q.Waiting(), "it left no get behind")
		pqPut(t, &q, 3, 0)
		require.Empty(t, slices.Collect(q.All(ctx)), "ended before it began")
		require.Equal(t, 1, q.Len())
	})
}

// TestPriorityQueueStress moves numbers through a queue from and to several
// goroutines, with gets that are given up: each arrives once.
func TestPriorityQueueStress(t *testing.T) {
	const putters, puts = 4, 500
	for _, size := range []int{0, 1, -1} {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: size})
		var arrived [putters * puts]atomic.Int32
		var got atomic.Int32
		var put, taken sync.WaitGroup
		for p := range putters {
			put.Go(func() {
				for n := range puts {
					v := p*puts + n
					item, err := q.PutWait(context.Background(), v, rand.IntN(5))
					if err != nil {
						t.Error(err)
					}
					if n%7 == 0 && item.Remove() {
						arrived[v].Add(1)
						got.Add(1)
					}
					item.Reprioritize(rand.IntN(5))
				}
			})
		}
		take := func(v int) { arrived[v].Add(1); got.Add(1) }
		taken.Go(func() {
			for v := range q.All(context.Background()) {
				take(v)
			}
		})
		taken.Go(func() {
			for {
				get := q.Get()
				if rand.IntN(2) == 0 && get.Cancel(nil) {
					continue
				}
				v, err := get.Await(context.Background())
				if err != nil {
					return
				}
				take(v)
			}
		})
		taken.Go(func() {
			for got.Load() < putters*puts {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Microsecond)
				for v := range q.All(ctx) {
					take(v)
				}
				cancel()
			}
		})
		watchdog(t, func() { put.Wait(); q.Close(); taken.Wait() })
		for v := range arrived {
			require.Equal(t, int32(1), arrived[v].Load(), "size %d: arrivals of %d", size, v)
		}
	}
}
