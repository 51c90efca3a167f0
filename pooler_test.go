package twill_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// calls is a function for a pooler: every call waits for a result, or for the
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
			return 0, kit.ErrBoom
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
		kit.RequireValue(t, 7, one)
		kit.RequireValue(t, 7, two)
		kit.RequirePending(t, other)

		again := p.Call(ctx, "a")
		synctest.Wait()
		require.Equal(t, 3, c.count(), "the next call goes through")
		c.result("a") <- -1
		c.result("b") <- 8
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrBoom, again)
		kit.RequireValue(t, 8, other)
		require.Equal(t, twill.PoolerStats{Calls: 4, Merged: 1}, p.Stats())
	})
}

// The end of a forgotten call does not affect the new call.
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
		kit.RequireValue(t, 2, joined)
	})
}

// Bug of the original: a caller that called again in its handler got the old
// value, forever.
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
		kit.RequirePending(t, again[0])
		c.result("a") <- 2
		synctest.Wait()
		kit.RequireValue(t, 2, again[0])
		kit.RequireValue(t, 2, again[1])
	})
}

// Bug of the original: the first caller's handler ran last.
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

type request struct {
	user string
	tags []string // so it cannot be a map key
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
		kit.AwaitValue(t, one, 2)
		kit.AwaitValue(t, two, 2)
		kit.AwaitValue(t, three, 0)
	})
}

// Bugs of the original: two objects with a method of the same name shared their
// calls, and so did arguments whose hashes were equal.
func TestPoolersShareOnlyEqualKeysOfTheirOwn(t *testing.T) {
	type key struct{ user, tag string }
	gate := make(chan struct{})
	fn := func(by string) func(context.Context, key) (string, error) {
		return func(_ context.Context, k key) (string, error) { <-gate; return by + k.user + k.tag, nil }
	}
	one, two := twill.NewPooler(fn("1")), twill.NewPooler(fn("2"))
	var fs []*twill.Future[string]
	for _, p := range []*twill.Pooler[key, string]{one, two} {
		for _, k := range []key{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "b"}} {
			fs = append(fs, p.Call(t.Context(), k))
		}
	}
	require.Equal(t, twill.PoolerStats{Calls: 4, Merged: 1, Underway: 3, Waiting: 4}, one.Stats())
	require.Equal(t, one.Stats(), two.Stats())
	close(gate)
	for i, f := range fs {
		kit.AwaitValue(t, f, []string{"1ab", "2ab"}[i/4])
	}
}

// golang/go#33519, #67087 and others: the futures of all callers fail, and the
// key is free.
func TestPoolerPanicAndExitFreeTheKey(t *testing.T) {
	for name, do := range map[string]func(){
		"panic": func() { panic(kit.ErrBoom) },
		"exit":  runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			want := kit.ErrBoom
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
				kit.AwaitError(t, one, want)
				kit.AwaitError(t, two, want)
				kit.AwaitValue(t, p.Call(t.Context(), "a"), 2)
				synctest.Wait()
				require.Zero(t, p.Stats().Underway)
			})
		})
	}
}

// The same for a call for which others wait.
func TestPoolerPanicOfACanceledCallStartsTheNext(t *testing.T) {
	reports := kit.CollectReports(t)
	for _, do := range []func(){func() { panic(kit.ErrBoom) }, runtime.Goexit} {
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
		kit.AwaitValue(t, next, 2)
	}
	reports.Await(t, kit.ErrBoom) // there was no caller left to handle it
}

// A handler that ends the goroutine does not keep other futures from settling.
func TestPoolerTellsAllWhateverHandlersDo(t *testing.T) {
	gate := make(chan struct{})
	p := twill.NewPooler(func(context.Context, string) (int, error) { <-gate; return 1, nil })
	one := twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	two := twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { panic(kit.ErrBoom) })
	three := p.Call(t.Context(), "a")
	close(gate)
	kit.AwaitError(t, one, twill.ErrGoexit)
	kit.AwaitError(t, two, kit.ErrBoom)
	kit.AwaitValue(t, three, 1)
	kit.AwaitValue(t, p.Empty(), struct{}{})
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
		kit.AwaitError(t, p.Call(t.Context(), key), twill.ErrReentrant)
	}
	kit.AwaitValue(t, p.Empty(), struct{}{})

	q := twill.NewPooler(func(ctx context.Context, key int) (int, error) {
		if key == 0 {
			return 1, nil
		}
		v, err := p.Call(ctx, "itself").Await(ctx)
		require.Empty(t, v)
		return 0, err
	})
	_ = q.Call(t.Context(), 1)
	kit.AwaitError(t, q.Call(t.Context(), 1), twill.ErrReentrant)
	kit.AwaitValue(t, q.Call(t.Context(), 0), 1)
}

// A context that outlived its call, or a call that was forgotten, does not make
// a call fail.
func TestPoolerCallThatOnlyLooksReentrant(t *testing.T) {
	var kept context.Context
	n := 0
	var p *twill.Pooler[string, int]
	p = twill.NewPooler(func(ctx context.Context, _ string) (int, error) {
		n++
		kept = ctx
		return n, nil
	})
	kit.AwaitValue(t, p.Call(t.Context(), "a"), 1)
	kit.AwaitValue(t, p.Empty(), struct{}{})
	kit.AwaitError(t, p.Call(kept, "a"), context.Canceled) // it has ended
	kit.AwaitValue(t, p.Call(context.WithoutCancel(kept), "a"), 2)

	p = twill.NewPooler(func(ctx context.Context, key string) (int, error) {
		if n++; n > 4 {
			return n, nil
		}
		p.Forget(key)
		return p.Call(ctx, key).Await(ctx)
	})
	kit.AwaitValue(t, p.Call(t.Context(), "a"), 5)
}

// A canceled call that waits for the next call of its key would wait for
// itself.
func TestPoolerReentrantCallOfACanceledCall(t *testing.T) {
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

// panickyContext panics when the pooler starts to watch it.
type panickyContext struct{ context.Context }

func (panickyContext) Done() <-chan struct{} { panic(kit.ErrBoom) }

// The panic reaches the caller: a call that has never begun does not hold the
// key.
func TestPoolerContextThatPanics(t *testing.T) {
	p := twill.NewPooler(func(context.Context, string) (int, error) { return 1, nil })
	require.PanicsWithValue(t, kit.ErrBoom, func() { p.Call(panickyContext{context.Background()}, "a") })
	kit.AwaitValue(t, p.Call(t.Context(), "a"), 1)
	kit.AwaitValue(t, p.Empty(), struct{}{})
}

// A handler that ends the goroutine of CancelAll does not keep other callers
// from being canceled.
func TestPoolerCancelAllWhateverHandlersDo(t *testing.T) {
	p := twill.NewPooler(func(ctx context.Context, _ string) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "b")
	exits := one.Finally(runtime.Goexit)
	go p.CancelAll(kit.ErrFirst)
	kit.AwaitError(t, exits, twill.ErrGoexit)
	kit.AwaitError(t, two, kit.ErrFirst)
	kit.AwaitValue(t, p.Empty(), struct{}{})
}

func TestPoolerOddKeys(t *testing.T) {
	p := twill.NewPooler(func(_ context.Context, key any) (any, error) { return key, nil })
	require.Panics(t, func() { p.Call(t.Context(), []int{}) })
	kit.Watchdog(t, func() { kit.AwaitValue[any](t, p.Call(t.Context(), "usable"), "usable") })

	gate := make(chan struct{})
	nan := twill.NewPooler(func(context.Context, float64) (int, error) { <-gate; return 1, nil })
	one, two := nan.Call(t.Context(), math.NaN()), nan.Call(t.Context(), math.NaN())
	require.Equal(t, 2, nan.Len())
	close(gate)
	kit.AwaitValue(t, one, 1)
	kit.AwaitValue(t, two, 1)
	kit.AwaitValue(t, nan.Empty(), struct{}{})
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
		"Pooler not created by NewPooler":     func() { zero.Call(t.Context(), "a") },
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, fn) })
	}
	require.Zero(t, p.Stats())
	require.False(t, errors.Is(twill.ErrReentrant, twill.ErrCanceled))
}

// promised is a function for a pooler whose futures the test settles.
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
	caller := kit.Goid()
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
	require.Len(t, c.promises, 1, "it started on the goroutine of the caller")
	require.Equal(t, twill.PoolerStats{Calls: 2, Merged: 1, Underway: 1, Waiting: 2}, p.Stats())
	var again *twill.Future[int]
	one.Tap(func(int, error) {
		require.Equal(t, caller, kit.Goid())
		again = p.Call(t.Context(), "a")
	})
	c.promises[0].Resolve(7)
	kit.RequireValue(t, 7, one)
	kit.RequireValue(t, 7, two)
	require.ErrorIs(t, c.ctxs[0].Err(), context.Canceled)
	kit.RequirePending(t, again)
	c.promises[1].Reject(kit.ErrBoom)
	kit.RequireFailure(t, kit.ErrBoom, again)
	require.Zero(t, p.Stats().Underway)
}

// A caller never receives a result that was computed before it called, even if
// it calls in a handler that runs before the pooler's.
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
	kit.RequireValue(t, 1, first)
	kit.RequirePending(t, again)
	require.Len(t, promises, 2)
	require.Equal(t, twill.PoolerStats{Calls: 2, Underway: 1, Waiting: 1}, p.Stats())
	promises[1].Resolve(2)
	kit.RequireValue(t, 2, again)
	require.Zero(t, p.Len())
}

// Such calls cannot be shared: they have ended when they return.
func TestPoolerFutureOfASettledFuture(t *testing.T) {
	n := 0
	p := twill.NewPoolerFuture(func(_ context.Context, key string) *twill.Future[int] {
		if n++; key == "bad" {
			return twill.Rejected[int](kit.ErrBoom)
		}
		return twill.Resolved(n)
	})
	kit.RequireValue(t, 1, p.Call(t.Context(), "a"))
	kit.RequireValue(t, 2, p.Call(t.Context(), "a"))
	kit.RequireFailure(t, kit.ErrBoom, p.Call(t.Context(), "bad"))
	require.Zero(t, p.Stats().Underway)
}

func TestPoolerFutureIsCanceledByTheLastToLeave(t *testing.T) {
	var c promised
	p := twill.NewPoolerFuture(c.fn)
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
	require.True(t, one.Cancel(kit.ErrFirst))
	kit.RequirePending(t, c.promises[0].Future())
	require.True(t, two.Cancel(kit.ErrSecond))
	kit.RequireFailure(t, kit.ErrSecond, c.promises[0].Future())
	require.Equal(t, kit.ErrSecond, context.Cause(c.ctxs[0]))
	require.Zero(t, p.Stats().Underway)

	// A future with other dependents goes on without the pooler; the key is free.
	three := p.Call(t.Context(), "a")
	keep := twill.Then(c.promises[1].Future(), kit.Same[int])
	require.True(t, three.Cancel(nil))
	kit.RequirePending(t, keep)
	require.Zero(t, p.Stats().Underway)
	four := p.Call(t.Context(), "a")
	c.promises[1].Resolve(1)
	kit.RequireValue(t, 1, keep)
	c.promises[2].Resolve(2)
	kit.RequireValue(t, 2, four)
}

// A slow canceler: the next call waits for it.
func TestPoolerFutureNextCallWaitsForASlowCancel(t *testing.T) {
	var promises, cleanups []*twill.Promise[int]
	p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
		work, cleanup := twill.NewPromise[int](), twill.NewPromise[int]()
		promises, cleanups = append(promises, work), append(cleanups, cleanup)
		return work.Future().CatchFuture(func(error) *twill.Future[int] { return cleanup.Future().Shield() })
	})
	require.True(t, p.Call(t.Context(), "a").Cancel(nil))
	kit.RequireFailure(t, twill.ErrCanceled, promises[0].Future())
	next := p.Call(t.Context(), "a")
	require.Len(t, promises, 1)
	cleanups[0].Resolve(0)
	require.Len(t, promises, 2)
	promises[1].Resolve(3)
	kit.RequireValue(t, 3, next)
}

// Bug of the original: a function that raised kept its key forever, and all
// later callers waited.
func TestPoolerFutureWhateverTheFunctionDoes(t *testing.T) {
	n := 0
	p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
		switch n++; n {
		case 1:
			panic(kit.ErrBoom)
		case 2:
			return nil
		case 3:
			runtime.Goexit()
		}
		return twill.Resolved(n)
	})
	kit.RequireFailure(t, kit.ErrBoom, p.Call(t.Context(), "a"))
	_, err := kit.AwaitSoon(p.Call(t.Context(), "a"))
	require.ErrorContains(t, err, "nil future")
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		p.Call(t.Context(), "a")
		t.Error("the goroutine goes on exiting")
	}()
	<-exited
	require.Zero(t, p.Stats().Underway)
	kit.RequireValue(t, 4, p.Call(t.Context(), "a"))
}

// Callers join while the function itself is running.
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
			kit.RequirePending(t, joined)
			close(gate)
			synctest.Wait()
			if exit {
				kit.RequireFailure(t, twill.ErrGoexit, joined)
			} else {
				kit.RequireValue(t, 1, joined)
			}
			require.Zero(t, p.Stats().Underway)
		}
	})
}

// All callers leave while the function is running: its future is canceled when
// it exists, and then the next call is made.
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
		cancel(kit.ErrBoom)
		synctest.Wait()
		require.Equal(t, kit.ErrBoom, context.Cause(c.ctxs[0]))
		next := p.Call(t.Context(), "a")
		require.Len(t, c.promises, 1)
		close(gate)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrBoom, c.promises[0].Future())
		require.Len(t, c.promises, 2)
		c.promises[1].Resolve(2)
		kit.RequireValue(t, 2, next)
	})
}

// The same, and then the function ends its goroutine: the next call is made on
// another goroutine.
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
		kit.AwaitValue(t, next, 2)
		synctest.Wait()
		require.Zero(t, p.Stats().Underway)
	})
}

// endlessContext calls a function when its Done is called: at a moment between
// joining and watching.
type endlessContext struct {
	context.Context
	hook func()
	done chan struct{}
}

func (c endlessContext) Done() <-chan struct{} {
	c.hook()
	return c.done
}

// The context of a caller whose future has settled is no longer watched: the
// watching goroutine has ended.
func TestPoolerEndsBeforeTheContextIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c promised
		p := twill.NewPoolerFuture(c.fn)
		p.Call(t.Context(), "a")
		resolve := func() { c.promises[0].Resolve(1) }
		kit.RequireValue(t, 1, p.Call(endlessContext{context.Background(), resolve, make(chan struct{})}, "a"))
	})
}

// A caller keeps the result, and not what it was made from.
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
	kit.AwaitValue(t, f, 2)
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(f)
}

// The same for a call that waited in line and is never made.
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
		return twill.Then(p.Call(ctx, key), kit.Same[int])
	})
	kit.RequireFailure(t, twill.ErrReentrant, p.Call(t.Context(), "a"))

	// In a handler, later, too.
	var work twill.Promise[int]
	p = twill.NewPoolerFuture(func(ctx context.Context, key string) *twill.Future[int] {
		return twill.ThenFuture(work.Future(), func(int) *twill.Future[int] { return p.Call(ctx, key) })
	})
	f := p.Call(t.Context(), "a")
	work.Resolve(1)
	kit.RequireFailure(t, twill.ErrReentrant, f)
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
	kit.RequireValue(t, 1, one)
	kit.RequireValue(t, 2, two)
	require.Zero(t, p.Stats().Underway)
}

// Calls are canceled one after another, and each starts the next: in a loop,
// not a recursion.
func TestPoolerFutureManyCancelsInARow(t *testing.T) {
	kit.SmallStack(t)
	p := twill.NewPoolerFuture(func(ctx context.Context, _ string) *twill.Future[int] {
		return twill.NewPromise[int]().Future()
	})
	for range 10_000 {
		f := p.Call(t.Context(), "a")
		require.True(t, f.Cancel(nil))
	}
	require.Zero(t, p.Stats().Underway)
}

// A pooler that waits for a pooler: the last caller to leave ends both calls.
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
		two.Cancel(kit.ErrBoom)
		kit.RequireFailure(t, kit.ErrBoom, two)
		synctest.Wait() // the end of the outer call's context may reach the inner call first
		require.Zero(t, outer.Len())
		_, err := inner.Empty().Await(t.Context())
		require.NoError(t, err)
		require.False(t, errors.Is(err, kit.ErrBoom))
	})
}

// singleflight passes the first caller's cancel to all callers; so did the
// original.
func TestPoolerOnlyTheLastCallerToLeaveEndsTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		first, leave := context.WithCancelCause(t.Context())
		one, two, three := p.Call(first, "a"), p.Call(t.Context(), "a"), p.Call(t.Context(), "a")
		synctest.Wait()

		leave(kit.ErrFirst)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, one)
		kit.RequireFailure(t, twill.ErrCanceled, one)
		require.NoError(t, c.ctxs[0].Err())

		require.True(t, two.Cancel(kit.ErrSecond))
		kit.RequireFailure(t, kit.ErrSecond, two)
		require.NoError(t, c.ctxs[0].Err())
		kit.RequirePending(t, three)
		require.Equal(t, 1, p.Stats().Waiting)

		require.True(t, three.Cancel(kit.ErrBoom))
		kit.RequireFailure(t, kit.ErrBoom, three)
		require.Equal(t, kit.ErrBoom, context.Cause(c.ctxs[0]))
		synctest.Wait()
		require.Zero(t, p.Stats().Underway)
	})
}

func TestPoolerCallWithAnEndedContext(t *testing.T) {
	var c calls
	p := twill.NewPooler(c.fn)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrBoom)
	f := p.Call(ctx, "a")
	kit.RequireFailure(t, kit.ErrBoom, f)
	kit.RequireFailure(t, twill.ErrCanceled, f)
	require.Zero(t, p.Stats())
}

type contextKey string

// The values are those of the first caller; the deadline and the end are not.
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
		kit.RequireFailure(t, context.DeadlineExceeded, one)
		require.NoError(t, fnCtx.Err())
		require.NoError(t, context.Cause(fnCtx))
		child, end := context.WithCancel(fnCtx)
		defer end()
		require.Equal(t, "first", child.Value(contextKey("who")))

		c.result("a") <- 1
		kit.AwaitValue(t, two, 1)
		synctest.Wait()
		require.ErrorIs(t, fnCtx.Err(), context.Canceled, "it ends with the call")
		require.ErrorIs(t, child.Err(), context.Canceled)
		require.Equal(t, "twill.Pooler context", fnCtx.(interface{ String() string }).String())
	})
}

// A function that calls Done of its context only after the call is over.
func TestPoolerContextAskedLate(t *testing.T) {
	var late context.Context
	p := twill.NewPooler(func(ctx context.Context, _ int) (int, error) {
		late = ctx
		return 1, nil
	})
	kit.AwaitValue(t, p.Call(t.Context(), 1), 1)
	<-late.Done()
	require.ErrorIs(t, late.Err(), context.Canceled)
	require.ErrorIs(t, context.Cause(late), context.Canceled)
}

// janos/singleflight#4 and tailscale#18924: calls do not overlap, and no caller
// joins a call that was canceled.
func TestPoolerCallAfterACanceledOneWaitsForItToReturn(t *testing.T) {
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
		kit.RequirePending(t, one)
		require.NoError(t, c.ctxs[1].Err())
		c.result("a") <- 2
		synctest.Wait()
		kit.RequireValue(t, 2, one)
		kit.RequireValue(t, 2, two)
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
		kit.AwaitValue(t, three, 3)
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
		require.Equal(t, 2, c.count(), "it waits for the canceled one")
		require.True(t, p.Forget("a"))
		synctest.Wait()
		require.Equal(t, 3, c.count(), "it need not wait any longer")
		joined := p.Call(t.Context(), "a")
		for range 3 {
			c.result("a") <- 5
		}
		synctest.Wait()
		kit.RequireValue(t, 5, one)
		kit.RequireValue(t, 5, three)
		kit.RequireValue(t, 5, joined)
		require.Zero(t, p.Len())
	})
}

func TestPoolerEmptyAndCancelAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := calls{stubborn: true}
		p := twill.NewPooler(c.fn)
		kit.RequireValue(t, struct{}{}, p.Empty())
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
		p.CancelAll(kit.ErrBoom)
		require.Equal(t, []int{1, 2, 3, 4}, order)
		kit.RequireFailure(t, kit.ErrBoom, f)
		kit.RequirePending(t, empty)
		require.Equal(t, twill.PoolerStats{Calls: 5, Merged: 2, Underway: 2}, p.Stats())
		c.result("a") <- 1
		synctest.Wait()
		kit.RequirePending(t, empty)
		c.result("b") <- 1
		synctest.Wait()
		kit.RequireValue(t, struct{}{}, empty)
		require.Equal(t, 2, c.count())
	})
}

// Futures of Empty settle after the results, whatever their handlers do.
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
	kit.RequireValue(t, 1, two)
	require.Equal(t, []string{"empty before", "told", "empty"}, log)

	twill.Then(p.Call(t.Context(), "a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	last := p.Call(t.Context(), "a")
	empty = p.Empty()
	go c.promises[1].Resolve(2)
	kit.AwaitValue(t, empty, struct{}{})
	kit.AwaitValue(t, last, 2)
}

// The invariants whichever callers call, leave and forget: runs for one key do
// not overlap, and a function runs only while a caller waits or after it was
// canceled. Every caller gets a result, of a call that had not ended when it
// called.
func TestPoolerStress(t *testing.T) {
	for seed := range uint64(60) {
		newPoolerStress(seed).run(t)
	}
}

type poolerStress struct {
	seed    uint64
	pooler  *twill.Pooler[int, int]
	running [3]atomic.Int32
	clock   atomic.Int64
	futures atomic.Int64
	settled atomic.Int64
	twice   atomic.Bool
}

func newPoolerStress(seed uint64) *poolerStress {
	s := &poolerStress{seed: seed}
	if seed%2 == 0 {
		s.pooler = twill.NewPooler(s.call)
	} else {
		s.pooler = twill.NewPoolerFuture(func(ctx context.Context, key int) *twill.Future[int] {
			// The work goes on after its cancel: the pooler must see when it has
			// returned.
			work := twill.Go(ctx, func(ctx context.Context) (int, error) { return s.call(ctx, key) })
			return work.Shield().CatchFuture(func(error) *twill.Future[int] { return work.Shield() })
		})
	}
	return s
}

func (s *poolerStress) call(ctx context.Context, key int) (int, error) {
	if s.running[key].Add(1) > 1 {
		s.twice.Store(true)
	}
	defer s.running[key].Add(-1)
	n := rand.IntN(8)
	for range n {
		runtime.Gosched()
	}
	switch {
	case n == 1:
		return 0, kit.ErrBoom
	case n == 2:
		panic(kit.ErrBoom)
	case n == 3 && s.seed%2 == 0:
		runtime.Goexit()
	case n == 4 && ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	return int(s.clock.Add(1)), nil
}

func (s *poolerStress) run(t *testing.T) {
	kit.Watchdog(t, func() {
		var wg sync.WaitGroup
		for g := range 4 {
			rnd := rand.New(rand.NewPCG(s.seed, uint64(g)))
			wg.Go(func() {
				for range 80 {
					s.step(t, rnd)
				}
			})
		}
		wg.Wait()
		kit.AwaitValue(t, s.pooler.Empty(), struct{}{})
	})
	require.Eventually(t, func() bool { return s.futures.Load() == s.settled.Load() }, 5*time.Second, time.Millisecond)
	stats := s.pooler.Stats()
	require.Zero(t, stats.Underway)
	require.Zero(t, stats.Waiting)
	require.Zero(t, twill.Flights(s.pooler))
	require.False(t, s.twice.Load(), "seed %d: two at a time", s.seed)
}

func (s *poolerStress) step(t *testing.T, rnd *rand.Rand) {
	ctx, cancel := context.WithCancel(context.Background())
	if rnd.IntN(2) == 0 {
		defer cancel()
	} else {
		ctx = context.Background()
	}
	f := s.pooler.Call(ctx, rnd.IntN(len(s.running)))
	s.futures.Add(1)
	f.Tap(func(int, error) { s.settled.Add(1) })
	switch rnd.IntN(5) {
	case 0:
		f.Cancel(nil)
	case 1:
		go f.Cancel(kit.ErrFirst)
	case 2:
		go cancel()
	}
	_, err := f.Await(context.Background())
	switch {
	case err == nil, errors.Is(err, kit.ErrBoom), errors.Is(err, twill.ErrGoexit), errors.Is(err, context.Canceled):
	default:
		t.Error(err)
	}
	cancel()
}

func TestPoolerMillionKeysLeaveNothing(t *testing.T) {
	keys := 1_000_000
	if !kit.Long() {
		keys = 50_000
	}
	var held []*twill.Promise[int]
	p := twill.NewPoolerFuture(func(_ context.Context, key int) *twill.Future[int] {
		if key%2 == 0 {
			return twill.Resolved(key)
		}
		promise := twill.NewPromise[int]()
		held = append(held, promise)
		return promise.Future()
	})
	batch := func(from, n int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for k := range n {
			f := p.Call(ctx, from+k)
			if k%4 == 1 {
				f.Cancel(nil)
			}
		}
		for _, promise := range held {
			promise.Resolve(1)
		}
		held = nil
	}
	batch(0, 1000)
	before := kit.HeapInUse()
	for from := 0; from < keys; from += keys / 4 {
		batch(from, keys/4)
	}
	require.Less(t, float64(kit.HeapInUse())-float64(before), 128*1024.0)
	require.Equal(t, twill.PoolerStats{Calls: uint64(keys + 1000)}, p.Stats())
	require.Zero(t, twill.Flights(p))
}

// Callers that join and leave a call that goes on.
func TestPoolerCallersWhoLeaveLeaveNothing(t *testing.T) {
	var promise twill.Promise[int]
	p := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return promise.Future() })
	stay := p.Call(t.Context(), 1)
	long, end := context.WithCancel(t.Context())
	defer end()
	join := func(n int) {
		for i := range n {
			p.Call(long, 1).Cancel(nil)
			ctx, cancel := context.WithCancel(t.Context())
			f := p.Call(ctx, 1)
			if i%2 == 0 {
				f.Cancel(nil)
			}
			cancel()
			f.Await(context.Background())
			p.Empty().Cancel(nil)
		}
	}
	join(100)
	before := kit.HeapInUse()
	join(20_000)
	require.Less(t, float64(kit.HeapInUse())-float64(before), 256*1024.0)
	require.Equal(t, 1, p.Stats().Waiting)
	promise.Resolve(1)
	kit.RequireValue(t, 1, stay)
}

func TestPoolerAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := context.Background()
	settled := twill.Resolved(1)
	ready := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return settled })
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { ready.Call(ctx, 1) }), 1.0, "a miss is one")
	never := twill.NewPromise[int]().Future()
	busy := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return never })
	first := busy.Call(ctx, 1)
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { busy.Call(ctx, 1) }), 1.0, "a joiner is one")
	runtime.KeepAlive(first)
}

// K17: two keys that waited for each other blocked forever, though each context
// showed the call from within which it was made.
func TestPoolerKeysThatWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, chain := range map[string][]string{
			"two keys":       {"a", "b"},
			"three keys":     {"a", "b", "c"},
			"two poolers":    {"a", "B"},
			"three of three": {"a", "B", "c", "D"},
		} {
			var lower, upper *twill.Pooler[string, string]
			var mu sync.Mutex
			inside := map[string]bool{}
			all := make(chan struct{})
			fn := func(ctx context.Context, key string) (string, error) {
				mu.Lock()
				if inside[key] = true; len(inside) == len(chain) {
					close(all)
				}
				mu.Unlock()
				<-all
				next := chain[(slices.Index(chain, key)+1)%len(chain)]
				p := lower
				if next < "a" {
					p = upper
				}
				v, err := p.Call(ctx, next).Await(ctx)
				return v + key, err
			}
			lower, upper = twill.NewPooler(fn), twill.NewPooler(fn)
			var fs []*twill.Future[string]
			for _, key := range chain {
				p := lower
				if key < "a" {
					p = upper
				}
				fs = append(fs, p.Call(t.Context(), key))
			}
			for _, f := range fs {
				_, err := f.Await(t.Context())
				require.ErrorIs(t, err, twill.ErrReentrant, name)
			}
			synctest.Wait()
			require.Zero(t, lower.Len()+upper.Len())
		}
	})
}

// A call is refused only while the other call waits for it.
func TestPoolerKeysThatWaitedForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *twill.Pooler[string, int]
		left, gate := make(chan struct{}), make(chan struct{})
		p = twill.NewPooler(func(ctx context.Context, key string) (int, error) {
			switch key {
			case "a": // calls b, and then stops waiting for it
				p.Call(ctx, "b").Cancel(nil)
				close(left)
				<-gate
				return 1, nil
			case "b":
				<-left
				return p.Call(ctx, "a").Await(ctx)
			}
			return p.Do(ctx, "d")
		})
		b := p.Call(t.Context(), "b")
		a := p.Call(t.Context(), "a")
		synctest.Wait()
		close(gate)
		kit.AwaitValue(t, a, 1)
		kit.AwaitValue(t, b, 1)
	})
}

// K2: one deadline was sometimes reported as a cancel.
func TestPoolerOneDeadlineIsOneError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twill.NewPooler(func(ctx context.Context, key int) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		for key := range 300 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			f := p.Call(ctx, key)
			_, err := f.Await(ctx)
			require.Equal(t, context.DeadlineExceeded, err)
			_, err = f.Await(t.Context())
			require.Equal(t, context.DeadlineExceeded, err)
			_, err = p.Do(ctx, key)
			require.Equal(t, context.DeadlineExceeded, err)
			cancel()
		}
		synctest.Wait()
		require.Zero(t, p.Len())
	})
}

// K6: the futures of callers, first or joining, keep only their result.
func TestPoolerFuturesLetGoOfContexts(t *testing.T) {
	type key struct{}
	gate := make(chan struct{})
	var gone [3]weak.Pointer[[64]int]
	var fs [2]*twill.Future[int]
	func() {
		big := func(i int) *[64]int {
			v := new([64]int)
			gone[i] = weak.Make(v)
			return v
		}
		held := big(2)
		p := twill.NewPooler(func(context.Context, int) (int, error) { <-gate; return held[0] + 1, nil })
		for i := range fs {
			fs[i] = p.Call(context.WithValue(t.Context(), key{}, big(i)), 1)
		}
	}()
	close(gate)
	for _, f := range fs {
		kit.AwaitValue(t, f, 1)
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone[0].Value() == nil && gone[1].Value() == nil && gone[2].Value() == nil
	}, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(fs)
}

func TestPoolerDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var on []int
		p := twill.NewPooler(func(ctx context.Context, key string) (int, error) {
			on = append(on, kit.Goid())
			select {
			case <-gate:
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
			switch key {
			case "panic":
				panic(kit.ErrBoom)
			case "exit":
				runtime.Goexit()
			}
			return len(key), nil
		})
		do := func(ctx context.Context, key string) *twill.Future[int] {
			return twill.Go(context.Background(), func(context.Context) (int, error) { return p.Do(ctx, key) })
		}
		one := do(context.Background(), "key")
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		two, three := do(ctx, "key"), p.Call(t.Context(), "key")
		synctest.Wait()
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 2, Underway: 1, Waiting: 3}, p.Stats())
		cancel(kit.ErrFirst)
		kit.AwaitError(t, two, kit.ErrFirst)
		require.True(t, three.Cancel(nil))
		kit.RequirePending(t, one)
		close(gate)
		kit.AwaitValue(t, one, 3)
		require.Len(t, on, 1)
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 2}, p.Stats())

		for key, want := range map[string]error{"panic": kit.ErrBoom, "exit": twill.ErrGoexit} {
			kit.AwaitError(t, do(context.Background(), key), want)
			kit.AwaitError(t, do(t.Context(), key), want)
		}
		v, err := p.Do(context.Background(), "here")
		require.NoError(t, err)
		require.Equal(t, 4, v)
		require.Equal(t, kit.Goid(), on[len(on)-1], "it runs on the caller's goroutine")
		require.Zero(t, p.Stats().Underway)
	})
}

// CancelAll ends the context of a call on the goroutine of Do; other callers
// wait until it has returned.
func TestPoolerCancelAllAndDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, gate := 0, make(chan struct{})
		p := twill.NewPooler(func(ctx context.Context, key string) (int, error) {
			if calls++; calls > 1 {
				return calls, nil
			}
			<-ctx.Done()
			<-gate
			return 0, context.Cause(ctx)
		})
		one := twill.Go(context.Background(), func(context.Context) (int, error) { return p.Do(context.Background(), "a") })
		synctest.Wait()
		joined := p.Call(t.Context(), "a")
		p.CancelAll(kit.ErrBoom)
		kit.AwaitError(t, joined, kit.ErrBoom)
		next := p.Call(t.Context(), "a")
		synctest.Wait()
		require.Equal(t, 1, calls)
		close(gate)
		kit.AwaitError(t, one, kit.ErrBoom)
		kit.AwaitValue(t, next, 2)
		synctest.Wait()
		require.Zero(t, p.Stats().Underway)
	})
}

// Do of a function that returns a future waits for the future.
func TestPoolerDoOfFutures(t *testing.T) {
	p := twill.NewPoolerFuture(func(_ context.Context, key int) *twill.Future[int] { return twill.Resolved(key) })
	v, err := p.Do(context.Background(), 5)
	require.NoError(t, err)
	require.Equal(t, 5, v)
	var again *twill.Pooler[int, int]
	again = twill.NewPooler(func(ctx context.Context, key int) (int, error) { return again.Do(ctx, key) })
	_, err = again.Do(context.Background(), 1)
	require.ErrorIs(t, err, twill.ErrReentrant)
	_, err = again.Do(t.Context(), 1)
	require.ErrorIs(t, err, twill.ErrReentrant)
}

// A value that must be released goes to Discard if all its callers have left.
func TestPoolerDiscardsLateValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var discarded *kit.Record[int]
		discard := twill.PoolerOptions[int]{Discard: func(v int) { discarded.Add(v) }}
		seen := func() []int {
			synctest.Wait() // for the goroutine of the late function
			return discarded.All()
		}
		for name, p := range map[string]*twill.Pooler[int, int]{
			"function": twill.NewPooler(func(_ context.Context, key int) (int, error) { time.Sleep(time.Second); return key, nil }, discard),
			"future": twill.NewPoolerFuture(func(_ context.Context, key int) *twill.Future[int] {
				return twill.After(time.Second, key).Shield().CatchFuture(func(error) *twill.Future[int] { return twill.After(time.Second, key).Shield() })
			}, twill.PoolerOptions[int]{}, discard),
		} {
			discarded = new(kit.Record[int])
			p.Call(t.Context(), 1).Cancel(nil)
			next := p.Call(t.Context(), 1)
			empty := p.Empty()
			kit.AwaitValue(t, next, 1)
			kit.AwaitValue(t, empty, struct{}{})
			require.Equal(t, []int{1}, seen(), name)
			_, err := p.Do(context.Background(), 2)
			require.NoError(t, err)
			require.Equal(t, []int{1}, seen(), name)
		}
		discarded = new(kit.Record[int])
		failing := twill.NewPooler(func(context.Context, int) (int, error) { return 1, kit.ErrBoom }, discard)
		failing.Call(t.Context(), 1).Cancel(nil)
		kit.AwaitValue(t, failing.Empty(), struct{}{})
		require.Empty(t, seen(), "a failure has no value to discard")
	})
}

// A Discard that panics or ends its goroutine is reported, and the next call is
// made.
func TestPoolerDiscardThatFails(t *testing.T) {
	reports := kit.CollectReports(t)
	for want, fail := range map[error]func(){kit.ErrBoom: func() { panic(kit.ErrBoom) }, twill.ErrGoexit: runtime.Goexit} {
		gate := make(chan struct{})
		p := twill.NewPooler(func(context.Context, int) (int, error) { <-gate; return 1, nil }, twill.PoolerOptions[int]{Discard: func(int) { fail() }})
		p.Call(t.Context(), 1).Cancel(nil)
		next := p.Call(t.Context(), 1)
		close(gate)
		kit.AwaitValue(t, next, 1)
		kit.AwaitValue(t, p.Empty(), struct{}{})
		reports.Await(t, want)
	}
}
