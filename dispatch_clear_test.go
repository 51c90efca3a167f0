package twill_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDispatchStopFromInsideAJob(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	var inside *twill.Future[[]*twill.Job[int, int]]
	q = twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		inside = q.Stop()
		_, settled := inside.Poll()
		require.False(t, settled, "not before the job ends that stops")
		return n, nil
	}, nil)
	q.Pause()
	rdqPutAll(1, 2)(t, q)
	first := q.Pending()[0]
	require.NoError(t, q.Resume())
	watchdog(t, func() {
		_, err := first.Await(context.Background())
		require.NoError(t, err)
		left, err := q.Stop().Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, []int{2}, rdqArgs(left))
	})
	_, err := inside.Await(t.Context())
	require.NoError(t, err)
}

// TestDispatchPutRacingStop: a job runs, is left over, or was refused; never
// two of them and never none.
func TestDispatchPutRacingStop(t *testing.T) {
	for range 300 {
		var mu sync.Mutex
		ran := map[int]bool{}
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[n] = true
			return n, nil
		}, &twill.DispatchOptions{Width: 2})
		refused := map[int]bool{}
		var putters sync.WaitGroup
		const each, putting = 10, 3
		for p := range putting {
			putters.Go(func() {
				for n := range each {
					if _, err := q.Put(p*each+n, 0); err != nil {
						mu.Lock()
						refused[p*each+n] = true
						mu.Unlock()
					}
				}
			})
		}
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		putters.Wait()
		again, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.True(t, slices.Equal(left, again))
		over := map[int]bool{}
		for _, j := range left {
			over[j.Arg()] = true
		}
		for n := range each * putting {
			count := 0
			for _, set := range []map[int]bool{ran, refused, over} {
				if set[n] {
					count++
				}
			}
			require.Equal(t, 1, count, "job %d: ran %v, refused %v, left over %v", n, ran[n], refused[n], over[n])
		}
	}
}

func TestDispatchClear(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	first := rdqPut(t, q, 0, 0)
	var order []int
	for n := range 5 {
		rdqPut(t, q, n, -n).Tap(func(_ int, err error) {
			require.ErrorIs(t, err, twill.ErrCanceled)
			order = append(order, n)
		})
	}
	require.Equal(t, 5, q.Clear())
	require.Equal(t, []int{4, 3, 2, 1, 0}, order, "in the order of dispatch")
	requireSize(t, q, 1, 0)
	require.Zero(t, q.Clear())
	again := rdqPut(t, q, 6, 0)
	gate <- nil
	gate <- nil
	_, err := again.Await(t.Context())
	require.NoError(t, err)
	requireValue(t, 0, &first.Future)
}
