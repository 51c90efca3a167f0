package twill_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

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

func TestPriorityQueueMisuse(t *testing.T) {
	var q twill.PriorityQueue[int]
	var none context.Context
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { _, _ = q.PutWait(none, 1, 0) })
	require.PanicsWithValue(t, "twill: All with a nil context", func() { q.All(none) })
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
