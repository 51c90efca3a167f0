package twill_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestPoolIsEmptyAtFirst(t *testing.T) {
	var p twill.Pool
	require.Zero(t, p.Len())
	_, ok := p.Empty().Poll()
	require.True(t, ok)
	next := p.NextEmpty()
	kit.RequirePending(t, next)
	require.Equal(t, 1, p.Stats().Waiting)
}

func TestPoolTellsWhenItEmpties(t *testing.T) {
	var p twill.Pool
	a, b, c := twill.NewPromise[int](), twill.NewPromise[string](), twill.NewPromise[int]()
	for _, f := range []twill.AnyFuture{a.Future(), b.Future(), c.Future()} {
		require.NoError(t, p.Add(f))
	}
	require.Equal(t, 3, p.Len())
	var order []string
	p.Empty().Tap(func(struct{}, error) { order = append(order, "empty") })
	p.NextEmpty().Tap(func(struct{}, error) { order = append(order, "next") })
	a.Resolve(1)
	b.Reject(kit.ErrBoom)
	require.Equal(t, 1, p.Len())
	require.Empty(t, order)
	c.Future().Cancel(nil)
	require.Zero(t, p.Len())
	require.Equal(t, []string{"empty", "next"}, order)
}

func TestPoolLeavesResultsAlone(t *testing.T) {
	reports := kit.CollectReports(t)
	var p twill.Pool
	func() {
		a, b := twill.NewPromise[int](), twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		require.NoError(t, p.Add(b.Future()))
		a.Resolve(1)
		b.Reject(kit.ErrFirst)
		kit.AwaitValue(t, a.Future(), 1)
	}()
	reports.Await(t, kit.ErrFirst) // the pool has not handled it
}

// Bug of the original: with such a future the pool was never empty.
func TestPoolAddOfASettledFuture(t *testing.T) {
	var p twill.Pool
	require.NoError(t, p.Add(twill.Resolved(1)))
	require.NoError(t, p.Add(twill.Rejected[int](kit.ErrBoom)))
	require.Zero(t, p.Len())
	_, ok := p.Empty().Poll()
	require.True(t, ok)
}

// Bug of the original: a KeyError became the result of the future.
func TestPoolAddTwice(t *testing.T) {
	var p twill.Pool
	a := twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	require.NoError(t, p.Add(a.Future()))
	require.Equal(t, 1, p.Len())
	empty := p.Empty()
	a.Resolve(1)
	require.Zero(t, p.Len())
	_, ok := empty.Poll()
	require.True(t, ok)
	kit.AwaitValue(t, a.Future(), 1)
}

func TestPoolIsReusable(t *testing.T) {
	var p twill.Pool
	for round := range 3 {
		a := twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		next := p.NextEmpty()
		a.Resolve(round)
		_, ok := next.Poll()
		require.True(t, ok)
	}
	require.EqualValues(t, 3, p.Stats().Added)
	require.Equal(t, 1, p.Stats().Peak)
}

func TestPoolWaiterMayAddAndAskAgain(t *testing.T) {
	var p twill.Pool
	a, b := twill.NewPromise[int](), twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	var again *twill.Future[struct{}]
	p.Empty().Tap(func(struct{}, error) {
		require.NoError(t, p.Add(b.Future()))
		again = p.Empty()
	})
	kit.Watchdog(t, func() { a.Resolve(1) })
	kit.RequirePending(t, again)
	b.Resolve(2)
	_, ok := again.Poll()
	require.True(t, ok)
}

func TestPoolCanceledWaiterLeaves(t *testing.T) {
	var p twill.Pool
	a := twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	one, two := p.Empty(), p.Empty()
	require.True(t, one.Cancel(nil))
	require.Equal(t, 1, p.Stats().Waiting)
	kit.AwaitError(t, one, twill.ErrCanceled)
	a.Resolve(1)
	kit.AwaitValue(t, two, struct{}{})
}

func TestPoolCancelAll(t *testing.T) {
	var p twill.Pool
	a, b := twill.NewPromise[int](), twill.NewPromise[string]()
	var order []string
	a.OnCancel(func(error) { order = append(order, "a") })
	b.OnCancel(func(error) { order = append(order, "b") })
	require.NoError(t, p.Add(a.Future()))
	require.NoError(t, p.Add(twill.Then(b.Future(), kit.Same[string])))
	p.CancelAll(kit.ErrBoom)
	require.Equal(t, []string{"a", "b"}, order)
	require.Zero(t, p.Len())
	kit.AwaitError(t, a.Future(), kit.ErrBoom)
	kit.AwaitError(t, b.Future(), kit.ErrBoom)
}

func TestPoolIsNoInterest(t *testing.T) {
	var p twill.Pool
	a := twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	require.True(t, twill.Then(a.Future(), kit.Same[int]).Cancel(nil))
	kit.AwaitError(t, a.Future(), twill.ErrCanceled)
}

func TestPoolClose(t *testing.T) {
	var p twill.Pool
	a := twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	p.Close()
	p.Close()
	require.ErrorIs(t, p.Add(twill.NewPromise[int]().Future()), twill.ErrClosed)
	require.Equal(t, 1, p.Len())
	empty := p.Empty()
	a.Resolve(1)
	kit.AwaitValue(t, empty, struct{}{})
}

func TestPoolWaterMarks(t *testing.T) {
	var log []int
	p := twill.NewPool(&twill.PoolOptions{
		High: 3, OnHigh: func(n int) { log = append(log, n) },
		Low: 1, OnLow: func(n int) { log = append(log, -n) },
	})
	var promises []*twill.Promise[int]
	add := func() {
		a := twill.NewPromise[int]()
		promises = append(promises, a)
		require.NoError(t, p.Add(a.Future()))
	}
	settle := func() {
		promises[0].Resolve(1)
		promises = promises[1:]
	}
	add()
	add()
	settle()
	require.Empty(t, log, "the low mark means nothing before the high one")
	add()
	add()
	add()
	require.Equal(t, []int{3}, log)
	settle()
	settle()
	settle()
	require.Equal(t, []int{3, -1}, log)
	add()
	add()
	require.Equal(t, []int{3, -1, 3}, log)
}

// Two goroutines cross the marks: if OnHigh were called last, a source would
// wait forever.
func TestPoolWaterMarksAreToldInTurn(t *testing.T) {
	for name, high := range map[string]int{"one": 1, "two": 2} {
		t.Run(name, func(t *testing.T) {
			var log []int // not guarded, as calls never overlap
			var p *twill.Pool
			p = twill.NewPool(&twill.PoolOptions{
				High: high, OnHigh: func(n int) {
					p.CancelAll(nil) // OnLow must wait
					log = append(log, n)
				},
				OnLow: func(n int) { log = append(log, -n-10) },
			})
			for range high {
				require.NoError(t, p.Add(twill.NewPromise[int]().Future()))
			}
			require.Equal(t, []int{high, -10}, log)

			log = nil
			q := twill.NewPool(&twill.PoolOptions{
				High: high, OnHigh: func(n int) { log = append(log, n) },
				OnLow: func(n int) { log = append(log, -n-10) },
			})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for range 500 {
						var a twill.Promise[int]
						q.Add(a.Future())
						a.Resolve(1)
					}
				})
			}
			wg.Wait()
			for i, n := range log {
				require.Equal(t, i%2 == 0, n > 0, "call %d: %d", i, n)
			}
			require.Zero(t, len(log)%2, "the last was low")
		})
	}
}

// Waits settle and marks are called, whatever handlers do; all other futures
// are canceled.
func TestPoolTellsAllWhateverHandlersDo(t *testing.T) {
	reports := kit.CollectReports(t)
	low := make(chan int, 1)
	p := twill.NewPool(&twill.PoolOptions{High: 2, OnLow: func(n int) { low <- n }})
	a, b := twill.NewPromise[int](), twill.NewPromise[int]()
	require.NoError(t, p.Add(a.Future()))
	require.NoError(t, p.Add(b.Future()))
	exit := func() { runtime.Goexit() }
	one, two := p.Empty(), p.Empty()
	exits, last := one.Finally(exit), two.Finally(func() {})
	canceled := a.Future().Finally(exit)
	go p.CancelAll(kit.ErrFirst)
	kit.AwaitError(t, b.Future(), kit.ErrFirst)
	kit.AwaitError(t, canceled, twill.ErrGoexit)
	kit.AwaitError(t, exits, twill.ErrGoexit)
	kit.AwaitValue(t, last, struct{}{})
	require.Zero(t, <-low)
	require.Empty(t, reports.Of(twill.ErrGoexit), "it was the handlers' futures'")
}

func TestPoolPanickingWaterMark(t *testing.T) {
	reports := kit.CollectReports(t)
	low := make(chan int)
	p := twill.NewPool(&twill.PoolOptions{
		High: 1, OnHigh: func(int) { panic(kit.ErrSecond) },
		OnLow: func(n int) { low <- n; runtime.Goexit() },
	})
	for range 2 {
		a := twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		empty := p.Empty()
		go a.Resolve(1)
		require.Zero(t, <-low)
		kit.AwaitValue(t, empty, struct{}{})
		reports.Await(t, kit.ErrSecond)
	}
}

func TestPoolAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p twill.Pool
		a, b := twill.NewPromise[int](), twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		time.Sleep(time.Minute)
		require.NoError(t, p.Add(b.Future()))
		time.Sleep(time.Second)
		require.Equal(t, []time.Duration{time.Minute + time.Second, time.Second}, p.Stats().Ages)
		a.Resolve(1)
		require.Equal(t, []time.Duration{time.Second}, p.Stats().Ages)
	})
}

// The clock is read with the lock held: no age is negative, and the first
// future added is the oldest.
func TestPoolAgesWhileOthersAdd(t *testing.T) {
	var p twill.Pool
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 3000 {
				var a twill.Promise[int]
				if err := p.Add(a.Future()); err != nil {
					t.Error(err)
				}
				a.Resolve(1)
			}
		})
	}
	for p.Stats().Added < 9000 {
		ages := p.Stats().Ages
		for i, age := range ages {
			require.GreaterOrEqual(t, age, time.Duration(0))
			require.LessOrEqual(t, age, ages[max(0, i-1)])
		}
	}
	wg.Wait()
}

func TestPoolFromManyGoroutines(t *testing.T) {
	var p twill.Pool
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 300 {
				a := twill.NewPromise[int]()
				if err := p.Add(a.Future()); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					p.Empty().Cancel(nil)
				}
				go a.Resolve(1)
			}
		})
	}
	wg.Wait()
	kit.AwaitValue(t, p.Empty(), struct{}{})
	require.EqualValues(t, 2400, p.Stats().Added)
	runtime.KeepAlive(&p)
}

func TestPoolMisuse(t *testing.T) {
	var p twill.Pool
	var none *twill.Future[int]
	for _, f := range []twill.AnyFuture{nil, none} {
		require.PanicsWithValue(t, "twill: Add of a nil future", func() { _ = p.Add(f) })
	}
	for _, o := range []twill.PoolOptions{{High: 1, Low: 1}, {High: 2, Low: -1}, {Low: 1}} {
		require.Panics(t, func() { twill.NewPool(&o) })
	}
	require.NotNil(t, twill.NewPool(nil))
	require.False(t, errors.Is(twill.ErrClosed, twill.ErrCanceled))
}

func TestPoolEmptyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p twill.Pool
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(kit.ErrBoom)
		require.NoError(t, p.EmptyWait(ended), "it is empty")
		a := twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		require.Equal(t, kit.ErrBoom, p.EmptyWait(ended))
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		require.Equal(t, context.DeadlineExceeded, p.EmptyWait(ctx))
		require.Zero(t, p.Stats().Waiting)
		time.AfterFunc(time.Second, func() { a.Resolve(1) })
		require.NoError(t, p.EmptyWait(t.Context()))
		var none context.Context
		require.PanicsWithValue(t, "twill: EmptyWait with a nil context", func() { _ = p.EmptyWait(none) })
	})
}

// A pool that becomes empty after the end of the context is too late.
func TestPoolEmptyWaitAfterTheEnd(t *testing.T) {
	for range 300 {
		var p twill.Pool
		a := twill.NewPromise[int]()
		require.NoError(t, p.Add(a.Future()))
		ctx, cancel := context.WithCancelCause(context.Background())
		errs := make(chan error)
		go func() { errs <- p.EmptyWait(ctx) }()
		for p.Stats().Waiting == 0 {
			runtime.Gosched()
		}
		cancel(kit.ErrBoom)
		a.Resolve(1)
		require.Equal(t, kit.ErrBoom, <-errs)
	}
}

// The pool of a GoIn is not empty before its function has returned.
func TestGoInWaitsForTheFunction(t *testing.T) {
	for name, end := range map[string]func(pool *twill.Pool, f *twill.Future[int], gate chan error){
		"returned": func(_ *twill.Pool, _ *twill.Future[int], gate chan error) { gate <- nil },
		"failed":   func(_ *twill.Pool, _ *twill.Future[int], gate chan error) { gate <- kit.ErrBoom },
		"canceled": func(_ *twill.Pool, f *twill.Future[int], gate chan error) { f.Cancel(nil); gate <- nil },
		"canceled with the pool": func(pool *twill.Pool, f *twill.Future[int], gate chan error) {
			pool.CancelAll(kit.ErrFirst)
			_, err := f.Await(context.Background())
			require.ErrorIs(t, err, kit.ErrFirst)
			gate <- nil
		},
		"panicked": func(_ *twill.Pool, _ *twill.Future[int], gate chan error) { close(gate) },
		"exited":   func(_ *twill.Pool, f *twill.Future[int], gate chan error) { f.Cancel(nil); gate <- twill.ErrGoexit },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pool twill.Pool
				gate, returned := make(chan error), false
				f := twill.GoIn(&pool, t.Context(), func(context.Context) (int, error) {
					defer func() { returned = true }()
					err, ok := <-gate
					switch {
					case !ok:
						panic(kit.ErrBoom)
					case err == twill.ErrGoexit:
						runtime.Goexit()
					}
					return 1, err
				})
				require.Equal(t, 1, pool.Len())
				empty := pool.Empty()
				empty.Tap(func(struct{}, error) { require.True(t, returned) })
				if name != "canceled with the pool" && name != "returned" {
					f.Cancel(nil)
					synctest.Wait()
					kit.RequirePending(t, empty)
				}
				end(&pool, f, gate)
				kit.AwaitValue(t, empty, struct{}{})
				require.Zero(t, pool.Len())
			})
		})
	}
}

// After Close the function is still called, as it may own something that it has
// to release.
func TestGoInOfAClosedPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var pool twill.Pool
		pool.Close()
		gate := make(chan struct{})
		var cause error
		f := twill.GoIn(&pool, t.Context(), func(ctx context.Context) (int, error) {
			<-gate
			cause = context.Cause(ctx)
			return 1, nil
		})
		kit.RequireFailure(t, twill.ErrClosed, f)
		empty := pool.Empty()
		kit.RequirePending(t, empty)
		close(gate)
		kit.AwaitValue(t, empty, struct{}{})
		require.Equal(t, twill.ErrClosed, cause)
	})
}
