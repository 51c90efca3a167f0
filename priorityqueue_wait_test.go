package twill_test

import (
	"context"
	"slices"
	"sync"
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
