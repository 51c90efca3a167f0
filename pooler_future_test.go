package twill_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// promised is a function to pool whose futures the test settles.
type promised struct {
	ctxs     []context.Context
	promises []*twill.Promise[int]
}

func (c *promised) fn(ctx context.Context, _ string) *twill.Future[int] {
	p := twill.NewPromise[int]()
	c.ctxs, c.promises = append(c.ctxs, ctx), append(c.promises, p)
	return p.Future()
}

func TestPoolerFutureShares(t *testing.T) {
	var c promised
	p := twill.NewPoolerFuture(c.fn)
	caller := goid()
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
	require.Len(t, c.promises, 1, "it started on the goroutine of the caller")
	require.Equal(t, twill.PoolerStats{Calls: 2, Merged: 1, Underway: 1, Waiting: 2}, p.Stats())
	var again *twill.Future[int]
	one.Tap(func(int, error) {
		require.Equal(t, caller, goid())
		again = p.Call(t.Context(), "a")
	})
	c.promises[0].Resolve(7)
	requireValue(t, 7, one)
	requireValue(t, 7, two)
	require.ErrorIs(t, c.ctxs[0].Err(), context.Canceled)
	requirePending(t, again)
	c.promises[1].Reject(errBoom)
	requireFailure(t, errBoom, again)
	require.Zero(t, p.Stats().Underway)
}

// A result is never handed to a caller who asked after it was computed, not even
// to a handler that hears of it before the pooler does.
func TestPoolerFutureIsNotJoinedOnceItsFutureHasSettled(t *testing.T) {
	var again *twill.Future[int]
	var promises []*twill.Promise[int]
	var p *twill.Pooler[string, int]
	p = twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
		made := twill.NewPromise[int]()
		if promises = append(promises, made); len(promises) == 1 {
			made.Future().Tap(func(int, error) { again = p.Call(t.Context(), "a") })
		}
		return made.Future()
	})
	first := p.Call(t.Context(), "a")
	promises[0].Resolve(1)
	requireValue(t, 1, first)
	requirePending(t, again)
	require.Len(t, promises, 2)
	require.Equal(t, twill.PoolerStats{Calls: 2, Underway: 1, Waiting: 1}, p.Stats())
	promises[1].Resolve(2)
	requireValue(t, 2, again)
	require.Zero(t, p.Len())
}

// Such calls cannot be shared: they have ended when they return.
func TestPoolerFutureOfASettledFuture(t *testing.T) {
	n := 0
	p := twill.NewPoolerFuture(func(_ context.Context, key string) *twill.Future[int] {
		if n++; key == "bad" {
			return twill.Rejected[int](errBoom)
		}
		return twill.Resolved(n)
	})
	requireValue(t, 1, p.Call(t.Context(), "a"))
	requireValue(t, 2, p.Call(t.Context(), "a"))
	requireFailure(t, errBoom, p.Call(t.Context(), "bad"))
	require.Zero(t, p.Stats().Underway)
}

func TestPoolerFutureIsCancelledByTheLastToLeave(t *testing.T) {
	var c promised
	p := twill.NewPoolerFuture(c.fn)
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
	require.True(t, one.Cancel(errFirst))
	requirePending(t, c.promises[0].Future())
	require.True(t, two.Cancel(errSecond))
	requireFailure(t, errSecond, c.promises[0].Future())
	require.Equal(t, errSecond, context.Cause(c.ctxs[0]))
	require.Zero(t, p.Stats().Underway)

	// A future that others need too goes on without us; the key is free.
	three := p.Call(t.Context(), "a")
	keep := twill.Then(c.promises[1].Future(), same[int])
	require.True(t, three.Cancel(nil))
	requirePending(t, keep)
	require.Zero(t, p.Stats().Underway)
	four := p.Call(t.Context(), "a")
	c.promises[1].Resolve(1)
	requireValue(t, 1, keep)
	c.promises[2].Resolve(2)
	requireValue(t, 2, four)
}

// A canceller that takes its time: the next call waits for it.
func TestPoolerFutureNextCallWaitsForASlowCancel(t *testing.T) {
	var promises, cleanups []*twill.Promise[int]
	p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
		work, cleanup := twill.NewPromise[int](), twill.NewPromise[int]()
		promises, cleanups = append(promises, work), append(cleanups, cleanup)
		return work.Future().CatchFuture(func(error) *twill.Future[int] { return cleanup.Future().Shield() })
	})
	require.True(t, p.Call(t.Context(), "a").Cancel(nil))
	requireFailure(t, twill.ErrCanceled, promises[0].Future())
	next := p.Call(t.Context(), "a")
	require.Len(t, promises, 1)
	cleanups[0].Resolve(0)
	require.Len(t, promises, 2)
	promises[1].Resolve(3)
	requireValue(t, 3, next)
}

// Bug of the original: a function that raised left its key for ever, and all
// later callers hung.
func TestPoolerFutureWhateverTheFunctionDoes(t *testing.T) {
	n := 0
	p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
		switch n++; n {
		case 1:
			panic(errBoom)
		case 2:
			return nil
		case 3:
			runtime.Goexit()
		}
		return twill.Resolved(n)
	})
	requireFailure(t, errBoom, p.Call(t.Context(), "a"))
	_, err := awaitSoon(p.Call(t.Context(), "a"))
	require.ErrorContains(t, err, "nil future")
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		p.Call(t.Context(), "a")
		t.Error("the goroutine goes on exiting")
	}()
	<-exited
	require.Zero(t, p.Stats().Underway)
	requireValue(t, 4, p.Call(t.Context(), "a"))
}

// Those who join while the function itself still runs.
func TestPoolerFutureJoinedWhileTheFunctionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, exit := range []bool{false, true} {
			entered, gate := make(chan struct{}), make(chan struct{})
			p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
				close(entered)
				<-gate
				if exit {
					runtime.Goexit()
				}
				return twill.Resolved(1)
			})
			go p.Call(t.Context(), "a")
			<-entered
			joined := p.Call(t.Context(), "a")
			requirePending(t, joined)
			close(gate)
			synctest.Wait()
			if exit {
				requireFailure(t, twill.ErrGoexit, joined)
			} else {
				requireValue(t, 1, joined)
			}
			require.Zero(t, p.Stats().Underway)
		}
	})
}

// All leave while the function still runs: its future is cancelled when there
// is one, and then the next call is made.
func TestPoolerFutureLeftWhileTheFunctionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var c promised
		p := twill.NewPoolerFuture(func(ctx context.Context, key string) *twill.Future[int] {
			if len(c.ctxs) == 0 {
				f := c.fn(ctx, key)
				<-gate
				return f
			}
			return c.fn(ctx, key)
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		go p.Call(ctx, "a")
		synctest.Wait()
		cancel(errBoom)
		synctest.Wait()
		require.Equal(t, errBoom, context.Cause(c.ctxs[0]))
		next := p.Call(t.Context(), "a")
		require.Len(t, c.promises, 1)
		close(gate)
		synctest.Wait()
		requireFailure(t, errBoom, c.promises[0].Future())
		require.Len(t, c.promises, 2)
		c.promises[1].Resolve(2)
		requireValue(t, 2, next)
	})
}

// The same, and then the function ends its goroutine: the next call is made on
// another one.
func TestPoolerFutureLeftAndThenExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		n := 0
		p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
			if n++; n == 1 {
				<-gate
				runtime.Goexit()
			}
			return twill.Resolved(n)
		})
		ctx, cancel := context.WithCancel(t.Context())
		go p.Call(ctx, "a")
		synctest.Wait()
		cancel()
		synctest.Wait()
		next := p.Call(t.Context(), "a")
		close(gate)
		awaitValue(t, next, 2)
		synctest.Wait()
		require.Zero(t, p.Stats().Underway)
	})
}

// endlessContext calls a function when it is asked for its Done: at a moment
// between the joining and the watching.
type endlessContext struct {
	context.Context
	hook func()
	done chan struct{}
}

func (c endlessContext) Done() <-chan struct{} {
	c.hook()
	return c.done
}

// The context of a caller who has been told already is not watched on: the
// goroutine that would do it is gone.
func TestPoolerEndsBeforeTheContextIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c promised
		p := twill.NewPoolerFuture(c.fn)
		p.Call(t.Context(), "a")
		resolve := func() { c.promises[0].Resolve(1) }
		requireValue(t, 1, p.Call(endlessContext{context.Background(), resolve, make(chan struct{})}, "a"))
	})
}

// What a caller keeps is the result, not what it was made from.
func TestPoolerLetsGoOfArguments(t *testing.T) {
	p := twill.NewPoolerFunc(
		func(*[64]int) int { return 1 },
		func(context.Context, *[64]int) (int, error) { return 2, nil })
	var gone weak.Pointer[[64]int]
	var f *twill.Future[int]
	func() {
		big := new([64]int)
		gone = weak.Make(big)
		f = p.Call(t.Context(), big)
	}()
	awaitValue(t, f, 2)
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(f)
}

// The same for a call that stood in line and is never made.
func TestPoolerLetsGoOfArgumentsInLine(t *testing.T) {
	gate := make(chan struct{})
	defer close(gate)
	p := twill.NewPoolerFunc(
		func(*[64]int) int { return 1 },
		func(context.Context, *[64]int) (int, error) { <-gate; return 2, nil })
	p.Call(t.Context(), nil).Cancel(nil)
	var gone weak.Pointer[[64]int]
	var f *twill.Future[int]
	func() {
		big := new([64]int)
		gone = weak.Make(big)
		f = p.Call(t.Context(), big)
	}()
	require.True(t, f.Cancel(nil))
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(f)
}

func TestPoolerFutureReentrantCallFails(t *testing.T) {
	var p *twill.Pooler[string, int]
	p = twill.NewPoolerFuture(func(ctx context.Context, key string) *twill.Future[int] {
		return twill.Then(p.Call(ctx, key), same[int])
	})
	requireFailure(t, twill.ErrReentrant, p.Call(t.Context(), "a"))

	// Also from a handler, later.
	var work twill.Promise[int]
	p = twill.NewPoolerFuture(func(ctx context.Context, key string) *twill.Future[int] {
		return twill.ThenFuture(work.Future(), func(int) *twill.Future[int] { return p.Call(ctx, key) })
	})
	f := p.Call(t.Context(), "a")
	work.Resolve(1)
	requireFailure(t, twill.ErrReentrant, f)
}

func TestPoolerFutureForget(t *testing.T) {
	var c promised
	p := twill.NewPoolerFuture(c.fn)
	one := p.Call(t.Context(), "a")
	require.True(t, p.Forget("a"))
	two := p.Call(t.Context(), "a")
	require.Len(t, c.promises, 2)
	c.promises[0].Resolve(1)
	c.promises[1].Resolve(2)
	requireValue(t, 1, one)
	requireValue(t, 2, two)
	require.Zero(t, p.Stats().Underway)
}

// One call after another is cancelled, and each starts the next: a loop, not
// a recursion.
func TestPoolerFutureManyCancelsInARow(t *testing.T) {
	smallStack(t)
	p := twill.NewPoolerFuture(func(ctx context.Context, _ string) *twill.Future[int] {
		return twill.NewPromise[int]().Future()
	})
	for range 10_000 {
		f := p.Call(t.Context(), "a")
		require.True(t, f.Cancel(nil))
	}
	require.Zero(t, p.Stats().Underway)
}

// A pooler that waits for a pooler: the last to leave ends both.
func TestPoolerOfAPooler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := twill.NewPooler(func(ctx context.Context, _ string) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Second)
			return 0, context.Cause(ctx)
		})
		outer := twill.NewPoolerFuture(inner.Call)
		one, two := outer.Call(t.Context(), "a"), outer.Call(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 1, inner.Len())
		one.Cancel(nil)
		two.Cancel(errBoom)
		requireFailure(t, errBoom, two)
		synctest.Wait() // the end of the outer call's context may come first at the inner one
		require.Zero(t, outer.Len())
		_, err := inner.Empty().Await(t.Context())
		require.NoError(t, err)
		require.False(t, errors.Is(err, errBoom))
	})
}
