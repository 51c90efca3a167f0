package twill_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestPutAllStartsNothingBeforeAllAreIn(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
	q.Pause()
	first := rdqPut(t, q, 9, 5)
	jobs, err := q.PutAll([]int{1, 2, 3}, 5)
	require.NoError(t, err)
	require.Equal(t, []int{9, 1, 2, 3}, rdqArgs(q.Pending()))
	require.Equal(t, []int{1, 2, 3}, rdqArgs(jobs))
	require.NoError(t, q.Resume())
	_, err = jobs[2].Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, twill.JobFinished, first.State())

	// With a free slot the urgent one of a batch is not overtaken by the first.
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 2})
		jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
		require.NoError(t, err)
		requireSize(t, q, 2, 1)
		require.Equal(t, twill.JobPending, jobs[2].State())
		time.Sleep(time.Second)
		synctest.Wait()
		requireSize(t, q, 0, 0)
	})
}

func TestPutAllIsAllOrNothing(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2, Size: 3})
	_, err := q.PutAll([]int{1, 2, 3, 4, 5, 6}, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	requireSize(t, q, 0, 0)
	_, err = q.PutAll([]int{1, 2, 3, 4, 5}, 0)
	require.NoError(t, err, "two slots and three places")
	requireSize(t, q, 2, 3)
	for range 5 {
		gate <- nil
	}
	q.Stop()
	_, err = q.PutAll([]int{1}, 0)
	require.ErrorIs(t, err, twill.ErrStopped)
	require.EqualValues(t, 7, q.Stats().Refused)
}

func TestPutWaitLetsInInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: 1})
		rdqPut(t, q, time.Second, 0)
		rdqPut(t, q, time.Second, 0)
		_, err := q.Put(time.Second, 0)
		require.ErrorIs(t, err, twill.ErrQueueFull)
		var order record[int]
		start := time.Now()
		for n := range 3 {
			go func() {
				_, err := q.PutWait(t.Context(), time.Second, 0)
				require.NoError(t, err)
				require.Equal(t, time.Duration(n+1)*time.Second, time.Since(start))
				order.add(n)
			}()
			synctest.Wait()
		}
		_, err = q.Put(time.Second, -1)
		require.ErrorIs(t, err, twill.ErrQueueFull, "others wait longer")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2}, order.all())
		require.EqualValues(t, 5, q.Stats().Finished)
	})
}

// TestPutWaitIsLetInBy has every way in which room is made.
func TestPutWaitIsLetInBy(t *testing.T) {
	type queue = twill.ResizableDispatchQueue[time.Duration, time.Duration]
	for name, makeRoom := range map[string]func(t *testing.T, q *queue, pending *twill.Job[time.Duration, time.Duration]){
		"a job that ends": func(*testing.T, *queue, *twill.Job[time.Duration, time.Duration]) { time.Sleep(time.Hour) },
		"a cancel":        func(_ *testing.T, _ *queue, j *twill.Job[time.Duration, time.Duration]) { j.Cancel(nil) },
		"Clear":           func(_ *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) { q.Clear() },
		"SetWidth": func(t *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) {
			require.NoError(t, q.SetWidth(2))
		},
		"Resume after Pause": func(t *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) {
			q.Pause()
			require.NoError(t, q.ResumeWidth(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: 1})
				rdqPut(t, q, time.Hour, 0)
				pending := rdqPut(t, q, time.Hour, 0)
				in := false
				go func() {
					j, err := q.PutWait(t.Context(), time.Minute, 0)
					require.NoError(t, err)
					require.Equal(t, time.Minute, j.Arg())
					in = true
				}()
				synctest.Wait()
				require.False(t, in)
				makeRoom(t, q, pending)
				synctest.Wait()
				require.True(t, in)
				q.Clear()
				q.StopNow()
			})
		})
	}
}

func TestPutWaitWithoutPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: -1})
		start := time.Now()
		for n := range 3 {
			_, err := q.PutWait(t.Context(), time.Second, 0)
			require.NoError(t, err)
			require.Equal(t, time.Duration(n)*time.Second, time.Since(start), "the slot is free, and none may wait")
			requireSize(t, q, 1, 0)
		}
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func TestPutWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: 1})
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(errBoom)
		_, err := q.PutWait(ended, time.Second, 0)
		require.ErrorIs(t, err, errBoom, "also if there is room")
		requireSize(t, q, 0, 0)

		rdqPut(t, q, time.Hour, 0)
		rdqPut(t, q, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		var errs record[error]
		go func() {
			_, err := q.PutWait(ctx, time.Second, 0)
			errs.add(err)
		}()
		synctest.Wait()
		go func() {
			_, err := q.PutWait(t.Context(), time.Second, 0)
			errs.add(err)
		}()
		synctest.Wait()
		cancel(errBoom)
		synctest.Wait()
		require.Equal(t, []error{errBoom}, errs.all())
		require.Equal(t, 1, q.Clear(), "who gave up is not let in")
		synctest.Wait()
		require.Equal(t, []error{errBoom, nil}, errs.all(), "the next one is")
		q.StopNow()
	})
}

func TestPutWaitEndsWithTheQueue(t *testing.T) {
	for name, end := range map[string]func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]){
		"Stop":    func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) { q.Stop() },
		"StopNow": func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) { q.StopNow() },
		"Drain": func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			q.Drain(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: 1})
				rdqPut(t, q, time.Hour, 0)
				rdqPut(t, q, time.Hour, 0)
				var refused atomic.Int32
				for range 3 {
					go func() {
						_, err := q.PutWait(t.Context(), time.Second, 0)
						require.ErrorIs(t, err, twill.ErrStopped)
						refused.Add(1)
					}()
				}
				synctest.Wait()
				end(q)
				synctest.Wait()
				require.EqualValues(t, 3, refused.Load())
				q.StopNow()
			})
		})
	}
}

func TestPutWithBadOptions(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	require.PanicsWithValue(t, "twill: Put with more than one JobOptions", func() {
		q.Put(1, 0, twill.JobOptions{}, twill.JobOptions{})
	})
	require.PanicsWithValue(t, "twill: JobOptions with both At and After", func() {
		q.Put(1, 0, twill.JobOptions{At: time.Now(), After: time.Second})
	})
	//lint:ignore SA1012 that is what is tested
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { q.PutWait(nil, 1, 0) }) //nolint:staticcheck
	requireSize(t, q, 0, 0)
}

func TestPendingPage(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	q.Pause()
	for n := range 50 {
		rdqPut(t, q, n, n*37%50)
	}
	for n := range 5 {
		_, err := q.Put(100+n, -1, twill.JobOptions{After: time.Duration(5-n) * time.Hour})
		require.NoError(t, err)
	}
	all := rdqArgs(q.Pending())
	require.Len(t, all, 55)
	require.Equal(t, []int{104, 103, 102, 101, 100}, all[50:], "those that are not due come last")
	for _, page := range [][2]int{{0, 10}, {10, 10}, {45, 10}, {50, 10}, {0, 1000}, {54, 1}, {55, 1}, {99, 3}, {0, 0}} {
		from, n := page[0], page[1]
		want := all[min(from, 55):min(from+n, 55)]
		require.Equal(t, slices.Clone(want), append([]int{}, rdqArgs(q.PendingPage(from, n))...), "page %v", page)
	}
	require.Panics(t, func() { q.PendingPage(-1, 1) })
	require.Panics(t, func() { q.PendingPage(0, -1) })
}

// TestFuturesHoldTheirSlot: a function that returns futures.
func TestFuturesHoldTheirSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var promises []*twill.Promise[int]
		q := twill.NewResizableDispatchQueueFuture(func(_ context.Context, n int) *twill.Future[int] {
			if n < 0 {
				return nil
			}
			p := twill.NewPromise[int]()
			promises = append(promises, p)
			return p.Future()
		}, nil)
		one, two, three := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0), rdqPut(t, q, 3, 0)
		none := rdqPut(t, q, -1, 0)
		synctest.Wait()
		requireSize(t, q, 1, 3)
		promises[0].Resolve(7)
		synctest.Wait()
		requireValue(t, 7, &one.Future)
		requireSize(t, q, 1, 2)
		var cause error
		promises[1].OnCancel(func(err error) { cause = err })
		two.Cancel(errBoom)
		synctest.Wait()
		require.ErrorIs(t, cause, errBoom, "a cancel goes on to the future")
		requireFailure(t, errBoom, &two.Future)
		promises[2].Reject(errFirst)
		synctest.Wait()
		requireFailure(t, errFirst, &three.Future)
		_, err := none.Await(t.Context())
		require.ErrorContains(t, err, "nil future")
	})
}

func TestAFutureThatOthersNeedIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twill.NewPromise[int]()
		shared := twill.Then(p.Future(), func(n int) (int, error) { return n, nil })
		q := twill.NewResizableDispatchQueueFuture(func(context.Context, int) *twill.Future[int] { return p.Future() }, nil)
		j, next := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
		synctest.Wait()
		j.Cancel(nil)
		synctest.Wait()
		requirePending(t, shared)
		require.Equal(t, twill.JobUnderway, next.State(), "the slot is free")
		p.Resolve(3)
		synctest.Wait()
		requireValue(t, 3, shared)
		requireValue(t, 3, &next.Future)
	})
}

func TestHooksGoAroundCalls(t *testing.T) {
	var order []string
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		order = append(order, "call "+ctx.Value(hookKey{}).(string))
		return n, nil
	}, nil)
	q.Use(func(ctx context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		order = append(order, "outer")
		v, err := next(context.WithValue(ctx, hookKey{}, "with value"))
		order = append(order, "after")
		return v + j.Arg(), err
	})
	q.Use(func(ctx context.Context, _ *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		order = append(order, "inner")
		return next(ctx)
	})
	v, err := rdqPut(t, q, 21, 0).Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 42, v)
	require.Equal(t, []string{"outer", "inner", "call with value", "after"}, order)

	q.Use(func(_ context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		if j.Arg() < 0 {
			return 0, errBoom
		}
		panic("hook")
	})
	_, err = rdqPut(t, q, -1, 0).Await(t.Context())
	require.ErrorIs(t, err, errBoom, "a hook may refuse")
	_, err = rdqPut(t, q, 1, 0).Await(t.Context())
	_, panicked := errors.AsType[*twill.PanicError](err)
	require.True(t, panicked)
	require.Panics(t, func() { q.Use(nil) })
}

type hookKey struct{}
