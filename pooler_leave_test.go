package twill_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// singleflight gives the first caller's cancel to everybody; so did the
// original.
func TestPoolerOnlyTheLastCallerToLeaveEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		first, leave := context.WithCancelCause(t.Context())
		one, two, three := p.Call(first, "a"), p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
		synctest.Wait()

		leave(errFirst)
		synctest.Wait()
		requireFailure(t, errFirst, one)
		requireFailure(t, twill.ErrCanceled, one)
		require.NoError(t, c.ctxs[0].Err())

		require.True(t, two.Cancel(errSecond))
		requireFailure(t, errSecond, two)
		require.NoError(t, c.ctxs[0].Err())
		requirePending(t, three)
		require.Equal(t, 1, p.Stats().Waiting)

		require.True(t, three.Cancel(errBoom))
		requireFailure(t, errBoom, three)
		require.Equal(t, errBoom, context.Cause(c.ctxs[0]))
		synctest.Wait()
		require.Zero(t, p.Stats().Underway)
	})
}

func TestPoolerCallWithAnEndedContext(t *testing.T) {
	var c calls
	p := twill.NewPooler(c.fn)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	f := p.Call(ctx, "a")
	requireFailure(t, errBoom, f)
	requireFailure(t, twill.ErrCanceled, f)
	require.Zero(t, p.Stats())
}

type contextKey string

// The values are the first caller's; the deadline and the end are not.
func TestPoolerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), contextKey("who"), "first"), time.Second)
		defer cancel()
		one := p.Call(ctx, "a")
		two := p.Call(context.WithValue(t.Context(), contextKey("who"), "second"), "a")
		synctest.Wait()
		fnCtx := c.ctxs[0]
		require.Equal(t, "first", fnCtx.Value(contextKey("who")))
		_, ok := fnCtx.Deadline()
		require.False(t, ok)
		time.Sleep(2 * time.Second)
		requireFailure(t, context.DeadlineExceeded, one)
		require.NoError(t, fnCtx.Err())
		require.NoError(t, context.Cause(fnCtx))
		child, end := context.WithCancel(fnCtx)
		defer end()
		require.Equal(t, "first", child.Value(contextKey("who")))

		c.result("a") <- 1
		awaitValue(t, two, 1)
		synctest.Wait()
		require.ErrorIs(t, fnCtx.Err(), context.Canceled, "it ends with the call")
		require.ErrorIs(t, child.Err(), context.Canceled)
		require.Equal(t, "twill.Pooler context", fnCtx.(interface{ String() string }).String())
	})
}

// A function that asks for the end of its context only when it is over.
func TestPoolerContextAskedLate(t *testing.T) {
	var late context.Context
	p := twill.NewPooler(func(ctx context.Context, _ int) (int, error) {
		late = ctx
		return 1, nil
	})
	awaitValue(t, p.Call(t.Context(), 1), 1)
	<-late.Done()
	require.ErrorIs(t, late.Err(), context.Canceled)
	require.ErrorIs(t, context.Cause(late), context.Canceled)
}

// janos/singleflight#4 and tailscale#18924: not twice at a time, and nobody
// joins a call that was cancelled.
func TestPoolerCallAfterACancelledOneWaitsForItToReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{stubborn: true}
		p := twill.NewPooler(c.fn)
		require.True(t, p.Call(t.Context(), "a").Cancel(nil))
		one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 1, c.count(), "never two at a time")
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 1, Underway: 1, Waiting: 2}, p.Stats())

		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, 2, c.count(), "it has returned")
		requirePending(t, one)
		require.NoError(t, c.ctxs[1].Err())
		c.result("a") <- 2
		synctest.Wait()
		requireValue(t, 2, one)
		requireValue(t, 2, two)
		require.Zero(t, p.Stats().Underway)
	})
}

func TestPoolerCallInLineIsNeverMadeOnceLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{stubborn: true}
		p := twill.NewPooler(c.fn)
		p.Call(t.Context(), "a").Cancel(nil)
		one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
		require.True(t, one.Cancel(nil))
		require.True(t, two.Cancel(nil))
		require.Equal(t, 1, p.Stats().Underway)
		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, 1, c.count())
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 1}, p.Stats())

		p.Call(t.Context(), "a").Cancel(nil)
		p.Call(t.Context(), "a").Cancel(nil)
		three := p.Call(t.Context(), "a")
		synctest.Wait()
		c.result("a") <- 2
		synctest.Wait()
		c.result("a") <- 3
		awaitValue(t, three, 3)
		require.Equal(t, 3, c.count())
	})
}

func TestPoolerForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{stubborn: true}
		p := twill.NewPooler(c.fn)
		require.False(t, p.Forget("a"))
		one := p.Call(t.Context(), "a")
		require.True(t, p.Forget("a"))
		require.False(t, p.Forget("a"))
		two := p.Call(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 2, c.count())
		require.Equal(t, 2, p.Len())
		require.True(t, two.Cancel(nil))
		three := p.Call(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 2, c.count(), "it waits for the cancelled one")
		require.True(t, p.Forget("a"))
		synctest.Wait()
		require.Equal(t, 3, c.count(), "it need not wait any longer")
		joined := p.Call(t.Context(), "a")
		for range 3 {
			c.result("a") <- 5
		}
		synctest.Wait()
		requireValue(t, 5, one)
		requireValue(t, 5, three)
		requireValue(t, 5, joined)
		require.Zero(t, p.Len())
	})
}

func TestPoolerEmptyAndCancelAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{stubborn: true}
		p := twill.NewPooler(c.fn)
		requireValue(t, struct{}{}, p.Empty())
		var order []int
		call := func(i int, key string) *twill.Future[int] {
			f := p.Call(t.Context(), key)
			f.Tap(func(int, error) { order = append(order, i) })
			return f
		}
		left := call(0, "b")
		left.Cancel(nil)
		order = nil
		call(3, "a")
		call(1, "b")
		call(2, "b")
		f := call(4, "a")
		empty, gone := p.Empty(), p.Empty()
		require.True(t, gone.Cancel(nil))
		p.CancelAll(errBoom)
		require.Equal(t, []int{1, 2, 3, 4}, order)
		requireFailure(t, errBoom, f)
		requirePending(t, empty)
		require.Equal(t, twill.PoolerStats{Calls: 5, Merged: 2, Underway: 2}, p.Stats())
		c.result("a") <- 1
		synctest.Wait()
		requirePending(t, empty)
		c.result("b") <- 1
		synctest.Wait()
		requireValue(t, struct{}{}, empty)
		require.Equal(t, 2, c.count())
	})
}

// Empty comes after the results, whatever their handlers do.
func TestPoolerEmptyIsToldLast(t *testing.T) {
	var c promised
	p := twill.NewPoolerFuture(c.fn)
	var log []string
	p.Empty().Tap(func(struct{}, error) { log = append(log, "empty before") })
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
	empty := p.Empty()
	empty.Tap(func(struct{}, error) { log = append(log, "empty") })
	one.Tap(func(int, error) { log = append(log, "told") })
	c.promises[0].Resolve(1)
	requireValue(t, 1, two)
	require.Equal(t, []string{"empty before", "told", "empty"}, log)

	twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	last := p.Call(t.Context(), "a")
	empty = p.Empty()
	go c.promises[1].Resolve(2)
	awaitValue(t, empty, struct{}{})
	awaitValue(t, last, 2)
}
