package twill_test

import (
	"context"
	"errors"
	"math"
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

// calls is a function to pool: every call of it waits for a result, or for the
// end of its context, and is counted.
type calls struct {
	mu       sync.Mutex
	results  map[string]chan int
	ctxs     []context.Context
	stubborn bool // waits for the result even if the context ends
}

func (c *calls) result(key string) chan int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results = map[string]chan int{}
	}
	if c.results[key] == nil {
		c.results[key] = make(chan int)
	}
	return c.results[key]
}

func (c *calls) fn(ctx context.Context, key string) (int, error) {
	result := c.result(key)
	c.mu.Lock()
	c.ctxs = append(c.ctxs, ctx)
	c.mu.Unlock()
	done := ctx.Done()
	if c.stubborn {
		done = nil
	}
	select {
	case v := <-result:
		if v < 0 {
			return 0, errBoom
		}
		return v, nil
	case <-done:
		return 0, context.Cause(ctx)
	}
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ctxs)
}

func TestPoolerSharesTheCallUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		ctx := t.Context()
		one, two, other := p.Call(ctx, "a"), p.Call(ctx, "a"), p.Call(ctx, "b")
		require.NotSame(t, one, two)
		synctest.Wait()
		require.Equal(t, 2, c.count())
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 1, Underway: 2, Waiting: 3}, p.Stats())
		require.Equal(t, []string{"a", "b"}, slices.Collect(p.All()))
		require.Equal(t, 2, p.Len())
		for range p.All() {
			break
		}

		c.result("a") <- 7
		synctest.Wait()
		requireValue(t, 7, one)
		requireValue(t, 7, two)
		requirePending(t, other)

		again := p.Call(ctx, "a")
		synctest.Wait()
		require.Equal(t, 3, c.count(), "the next call goes through")
		c.result("a") <- -1
		c.result("b") <- 8
		synctest.Wait()
		requireFailure(t, errBoom, again)
		requireValue(t, 8, other)
		require.Equal(t, twill.PoolerStats{Calls: 4, Merged: 1}, p.Stats())
	})
}

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

// The end of a forgotten call leaves the new one alone.
func TestPoolerForgottenCallEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c promised
		p := twill.NewPoolerFuture(c.fn)
		p.Call(t.Context(), "a")
		p.Forget("a")
		p.Call(t.Context(), "a")
		c.promises[0].Resolve(1)
		joined := p.Call(t.Context(), "a")
		require.Len(t, c.promises, 2)
		c.promises[1].Resolve(2)
		requireValue(t, 2, joined)
	})
}

// Bug of the original: a follower that asked again when it was told got the
// old value, for ever.
func TestPoolerKeyIsFreeBeforeResultsAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		var again [2]*twill.Future[int]
		for i := range again {
			p.Call(t.Context(), "a").Tap(func(int, error) { again[i] = p.Call(t.Context(), "a") })
		}
		synctest.Wait()
		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, 2, c.count())
		requirePending(t, again[0])
		c.result("a") <- 2
		synctest.Wait()
		requireValue(t, 2, again[0])
		requireValue(t, 2, again[1])
	})
}

// Bug of the original: the first caller was told last.
func TestPoolerTellsInTheOrderOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		var order []int
		for i := range 10 {
			f := p.Call(t.Context(), "a")
			f.Tap(func(int, error) { order = append(order, i) })
			if i == 4 {
				f.Cancel(nil)
				order = nil
			}
		}
		synctest.Wait()
		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 5, 6, 7, 8, 9}, order)
	})
}

// golang/go#33519, #67087 and others: all callers hear of it, and the key is
// free.
func TestPoolerPanicAndExitFreeTheKey(t *testing.T) {
	for name, do := range map[string]func(){
		"panic": func() { panic(errBoom) },
		"exit":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			want := errBoom
			if name == "exit" {
				want = twill.ErrGoexit
			}
			synctest.Test(t, func(t *testing.T) {
				gate := make(chan struct{})
				n := 0
				p := twill.NewPooler(func(context.Context, string) (int, error) {
					<-gate
					if n++; n == 1 {
						do()
					}
					return n, nil
				})
				one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
				close(gate)
				awaitError(t, one, want)
				awaitError(t, two, want)
				awaitValue(t, p.Call(t.Context(), "a"), 2)
				synctest.Wait()
				require.Zero(t, p.Stats().Underway)
			})
		})
	}
}

// The same for a call that others wait for.
func TestPoolerPanicOfACancelledCallStartsTheNext(t *testing.T) {
	reports := collectReports(t)
	for _, do := range []func(){func() { panic(errBoom) }, runtime.Goexit} {
		gate := make(chan struct{})
		var n atomic.Int64
		p := twill.NewPooler(func(context.Context, string) (int, error) {
			if n.Add(1) == 1 {
				<-gate
				do()
			}
			return 2, nil
		})
		p.Call(t.Context(), "a").Cancel(nil)
		next := p.Call(t.Context(), "a")
		close(gate)
		awaitValue(t, next, 2)
	}
	reports.await(t, errBoom) // nobody was left to take it
}

// A handler that ends the goroutine keeps nobody from being told.
func TestPoolerTellsAllWhateverHandlersDo(t *testing.T) {
	gate := make(chan struct{})
	p := twill.NewPooler(func(context.Context, string) (int, error) { <-gate; return 1, nil })
	one := twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	two := twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { panic(errBoom) })
	three := p.Call(t.Context(), "a")
	close(gate)
	awaitError(t, one, twill.ErrGoexit)
	awaitError(t, two, errBoom)
	awaitValue(t, three, 1)
	awaitValue(t, p.Empty(), struct{}{})
}

// singleflight.Do deadlocks.
func TestPoolerReentrantCallFails(t *testing.T) {
	var p *twill.Pooler[string, string]
	p = twill.NewPooler(func(ctx context.Context, key string) (string, error) {
		switch key {
		case "itself":
			return p.Call(ctx, key).Await(ctx)
		case "by a child context":
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return p.Call(ctx, key).Await(ctx)
		case "by way of another":
			return p.Call(ctx, "another").Await(ctx)
		case "another":
			return p.Call(ctx, "by way of another").Await(ctx)
		}
		return p.Call(ctx, "other").Await(ctx)
	})
	for _, key := range []string{"itself", "by a child context", "by way of another"} {
		awaitError(t, p.Call(t.Context(), key), twill.ErrReentrant)
	}
	awaitValue(t, p.Empty(), struct{}{})

	q := twill.NewPooler(func(ctx context.Context, key int) (int, error) {
		if key == 0 {
			return 1, nil
		}
		v, err := p.Call(ctx, "itself").Await(ctx)
		require.Empty(t, v)
		return 0, err
	})
	_ = q.Call(t.Context(), 1)
	awaitError(t, q.Call(t.Context(), 1), twill.ErrReentrant)
	awaitValue(t, q.Call(t.Context(), 0), 1)
}

// A context that outlived its call, or a call that was forgotten, is no
// reason to fail.
func TestPoolerCallThatOnlyLooksReentrant(t *testing.T) {
	var kept context.Context
	n := 0
	var p *twill.Pooler[string, int]
	p = twill.NewPooler(func(ctx context.Context, _ string) (int, error) {
		n++
		kept = ctx
		return n, nil
	})
	awaitValue(t, p.Call(t.Context(), "a"), 1)
	awaitValue(t, p.Empty(), struct{}{})
	awaitError(t, p.Call(kept, "a"), context.Canceled) // it has ended
	awaitValue(t, p.Call(context.WithoutCancel(kept), "a"), 2)

	p = twill.NewPooler(func(ctx context.Context, key string) (int, error) {
		if n++; n > 4 {
			return n, nil
		}
		p.Forget(key)
		return p.Call(ctx, key).Await(ctx)
	})
	awaitValue(t, p.Call(t.Context(), "a"), 5)
}

// A cancelled call that waits for the next one of its key would wait for itself.
func TestPoolerReentrantCallOfACancelledCall(t *testing.T) {
	started := make(chan struct{})
	failed := make(chan error, 1)
	var p *twill.Pooler[string, int]
	p = twill.NewPooler(func(ctx context.Context, key string) (int, error) {
		close(started)
		<-ctx.Done()
		v, err := p.Call(context.WithoutCancel(ctx), key).Await(t.Context())
		failed <- err
		return v, err
	})
	f := p.Call(t.Context(), "a")
	<-started
	f.Cancel(nil)
	require.ErrorIs(t, <-failed, twill.ErrReentrant)
}

type request struct {
	user string
	tags []string // no map key can have these
}

func TestPoolerFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := twill.NewPoolerFunc(
			func(r request) string { return r.user },
			func(_ context.Context, r request) (int, error) { <-gate; return len(r.tags), nil })
		one := p.Call(t.Context(), request{"ada", []string{"x", "y"}})
		two := p.Call(t.Context(), request{"ada", nil})
		three := p.Call(t.Context(), request{"bob", nil})
		require.Equal(t, 2, p.Len())
		require.Equal(t, []request{{"ada", []string{"x", "y"}}, {"bob", nil}}, slices.Collect(p.All()))
		close(gate)
		awaitValue(t, one, 2)
		awaitValue(t, two, 2)
		awaitValue(t, three, 0)
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

func TestPoolerOddKeys(t *testing.T) {
	p := twill.NewPooler(func(_ context.Context, key any) (any, error) { return key, nil })
	require.Panics(t, func() { p.Call(t.Context(), []int{}) })
	watchdog(t, func() { awaitValue[any](t, p.Call(t.Context(), "usable"), "usable") })

	gate := make(chan struct{})
	nan := twill.NewPooler(func(context.Context, float64) (int, error) { <-gate; return 1, nil })
	one, two := nan.Call(t.Context(), math.NaN()), nan.Call(t.Context(), math.NaN())
	require.Equal(t, 2, nan.Len())
	close(gate)
	awaitValue(t, one, 1)
	awaitValue(t, two, 1)
	awaitValue(t, nan.Empty(), struct{}{})
	require.Zero(t, twill.Flights(nan))
}

func TestPoolerMisuse(t *testing.T) {
	var zero twill.Pooler[string, int]
	var noContext context.Context
	p := twill.NewPooler(func(context.Context, string) (int, error) { return 0, nil })
	for what, fn := range map[string]func(){
		"NewPooler with a nil function":       func() { twill.NewPooler[string, int](nil) },
		"NewPoolerFunc with a nil function":   func() { twill.NewPoolerFunc[string, int, int](nil, nil) },
		"NewPoolerFuture with a nil function": func() { twill.NewPoolerFuture[string, int](nil) },
		"Call with a nil context":             func() { p.Call(noContext, "a") },
		"a Pooler is made by NewPooler":       func() { zero.Call(t.Context(), "a") },
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, fn) })
	}
	require.Zero(t, p.Stats())
	require.False(t, errors.Is(twill.ErrReentrant, twill.ErrCanceled))
}
