package twill_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

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

// panickyContext panics when its caller is to be watched.
type panickyContext struct{ context.Context }

func (panickyContext) Done() <-chan struct{} { panic(errBoom) }

// Its panic is the caller's: the key is not held by a call that never began.
func TestPoolerContextThatPanics(t *testing.T) {
	p := twill.NewPooler(func(context.Context, string) (int, error) { return 1, nil })
	require.PanicsWithValue(t, errBoom, func() { p.Call(panickyContext{context.Background()}, "a") })
	awaitValue(t, p.Call(t.Context(), "a"), 1)
	awaitValue(t, p.Empty(), struct{}{})
}

// A handler that ends the goroutine of CancelAll spares nobody.
func TestPoolerCancelAllWhateverHandlersDo(t *testing.T) {
	p := twill.NewPooler(func(ctx context.Context, _ string) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	})
	one, two := p.Call(t.Context(), "a"), p.Call(t.Context(), "b")
	exits := one.Finally(runtime.Goexit)
	go p.CancelAll(errFirst)
	awaitError(t, exits, twill.ErrGoexit)
	awaitError(t, two, errFirst)
	awaitValue(t, p.Empty(), struct{}{})
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
