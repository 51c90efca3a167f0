package twill_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// gated returns an Init that becomes ready with the value, or fails with the
// error, that is sent.
func gated(t *testing.T) (*twill.Init[int], chan any) {
	gate := make(chan any)
	return twill.NewInit(t.Context(), func(ctx context.Context) (int, error) {
		select {
		case v := <-gate:
			if err, failed := v.(error); failed {
				return 0, err
			}
			return v.(int), nil
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}), gate
}

func TestInitCallsWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		var order []int
		var fs []*twill.Future[string]
		for i := range 5 {
			fs = append(fs, twill.Then(in.Ready(), func(v int) (string, error) {
				order = append(order, i)
				return fmt.Sprint(v, i), nil
			}))
		}
		ready := in.Ready()
		synctest.Wait()
		require.Empty(t, order)
		gate <- 7
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
		kit.RequireValue(t, "7 3", fs[3])
		kit.RequireValue(t, 7, ready)

		// Once ready, a call runs at once, on the caller's goroutine.
		caller := kit.Goid()
		kit.RequireValue(t, caller, twill.Then(in.Ready(), func(int) (int, error) { return kit.Goid(), nil }))
	})
}

// Bug of the original: a call made while the queued calls ran overtook them.
func TestInitCallsMadeWhileTheOthersRunWaitTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		var order []string
		call := func(name string, more ...func()) *twill.Future[int] {
			return twill.Then(in.Ready(), func(int) (int, error) {
				order = append(order, name)
				for _, fn := range more {
					fn()
				}
				return 0, nil
			})
		}
		call("first", func() { call("inner", func() { call("innermost") }) })
		call("second").Tap(func(int, error) { call("handler") })
		call("third")
		gate <- 1
		synctest.Wait()
		require.Equal(t, []string{"first", "second", "third", "inner", "handler", "innermost"}, order)
	})
}

// Bug of the original: callers waited forever.
func TestInitFailureFailsAllCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		before := twill.Then(in.Ready(), kit.Unexpected[int](t))
		future := twill.ThenFuture(in.Ready(), func(int) *twill.Future[int] { t.Error("called"); return nil })
		gate <- kit.ErrBoom
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrBoom, before)
		kit.RequireFailure(t, kit.ErrBoom, future)
		kit.RequireFailure(t, kit.ErrBoom, twill.Then(in.Ready(), kit.Unexpected[int](t)))
		kit.RequireFailure(t, kit.ErrBoom, in.Ready())
	})
}

func TestInitPanicAndExitFailAllCalls(t *testing.T) {
	in := twill.NewInit(t.Context(), func(context.Context) (int, error) { panic(kit.ErrBoom) })
	kit.AwaitError(t, twill.Then(in.Ready(), kit.Unexpected[int](t)), kit.ErrBoom)
	in = twill.NewInit(t.Context(), func(context.Context) (int, error) { runtime.Goexit(); return 0, nil })
	kit.AwaitError(t, twill.Then(in.Ready(), kit.Unexpected[int](t)), twill.ErrGoexit)
}

// A failure without calls is reported.
func TestInitFailureWithoutCallsIsReported(t *testing.T) {
	reports := kit.CollectReports(t)
	twill.NewInit(t.Context(), func(context.Context) (int, error) { return 0, kit.ErrSecond })
	reports.Await(t, kit.ErrSecond)
}

func TestInitCancelOfACallIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		only := twill.Then(in.Ready(), kit.Unexpected[int](t))
		require.True(t, only.Cancel(kit.ErrBoom), "also the only one")
		kit.RequireFailure(t, kit.ErrBoom, only)
		ready := in.Ready()
		require.True(t, ready.Cancel(nil))
		future := twill.ThenFuture(in.Ready(), func(int) *twill.Future[int] { t.Error("called"); return nil })
		require.True(t, future.Cancel(nil))
		tip := twill.Then(twill.Then(in.Ready(), kit.Unexpected[int](t)), kit.Same[int])
		require.True(t, tip.Cancel(nil))
		timeout := twill.Then(in.Ready(), kit.Unexpected[int](t)).Timeout(time.Second)
		time.Sleep(2 * time.Second)
		kit.RequireFailure(t, context.DeadlineExceeded, timeout)

		kept := twill.Then(in.Ready(), kit.Same[int])
		gate <- 3
		synctest.Wait()
		kit.RequireValue(t, 3, kept)
	})
}

// After the wait, a cancel goes to the future that the function has returned.
func TestInitThenFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		var promises [3]twill.Promise[int]
		var fs [3]*twill.Future[int]
		for i := range fs {
			fs[i] = twill.ThenFuture(in.Ready(), func(int) *twill.Future[int] { return promises[i].Future() })
		}
		gate <- 1
		synctest.Wait()
		kit.RequirePending(t, fs[0])
		promises[1].Resolve(5)
		kit.RequireValue(t, 5, fs[1])
		require.True(t, fs[0].Cancel(kit.ErrBoom))
		kit.RequireFailure(t, kit.ErrBoom, promises[0].Future())
		kit.RequirePending(t, fs[2])
		late := twill.ThenFuture(in.Ready(), func(int) *twill.Future[int] { return promises[2].Future() })
		require.True(t, late.Cancel(nil))
		kit.RequirePending(t, fs[2])
		promises[2].Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, fs[2])
		kit.RequireValue(t, 1, in.Ready())
	})
}

func TestInitCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, _ := gated(t)
		f := twill.Then(in.Ready(), kit.Unexpected[int](t))
		require.True(t, in.Cancel(kit.ErrBoom))
		kit.RequireFailure(t, kit.ErrBoom, f)
		kit.RequireFailure(t, twill.ErrCanceled, twill.Then(in.Ready(), kit.Unexpected[int](t)))
		require.False(t, in.Cancel(nil))

		ctx, cancel := context.WithCancelCause(t.Context())
		in = twill.NewInit(ctx, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		f = twill.Then(in.Ready(), kit.Unexpected[int](t))
		cancel(kit.ErrFirst)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, f)
	})
}

// A panic, an exit and an error fail only one call.
func TestInitCallsFailAlone(t *testing.T) {
	in, gate := gated(t)
	one := twill.Then(in.Ready(), func(int) (int, error) { panic(kit.ErrFirst) })
	two := twill.Then(in.Ready(), func(int) (int, error) { return 0, kit.ErrSecond })
	exit := twill.Then(in.Ready(), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	last := twill.Then(in.Ready(), kit.Same[int])
	gate <- 2
	kit.AwaitError(t, one, kit.ErrFirst)
	kit.AwaitError(t, two, kit.ErrSecond)
	kit.AwaitError(t, exit, twill.ErrGoexit)
	kit.AwaitValue(t, last, 2)
	kit.AwaitError(t, twill.Then(in.Ready(), func(int) (int, error) { panic(kit.ErrFirst) }), kit.ErrFirst)
}

type multiplier struct{ by int }

func (m *multiplier) times(n int) (int, error) {
	if n < 0 {
		return 0, kit.ErrBoom
	}
	return m.by * n, nil
}

func TestInitMethod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := twill.NewInit(t.Context(), func(context.Context) (*multiplier, error) {
			time.Sleep(time.Second)
			return &multiplier{3}, nil
		})
		times := twill.Method(in, (*multiplier).times)
		one, two := times(2), times(-1)
		kit.RequirePending(t, one)
		kit.AwaitValue(t, one, 6)
		kit.AwaitError(t, two, kit.ErrBoom)
		synctest.Wait()
		kit.RequireValue(t, 12, times(4))
	})
}

// Bugs of the original: the result of the construction was lost, each use
// constructed the value again, and a second wrapped method replaced the first.
func TestInitMakesTheValueOnceForAllMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		in := twill.NewInit(t.Context(), func(context.Context) (*multiplier, error) {
			time.Sleep(time.Second)
			made++
			return &multiplier{3}, nil
		})
		times := twill.Method(in, (*multiplier).times)
		self := twill.Method(in, func(m *multiplier, _ struct{}) (*multiplier, error) { return m, nil })
		first, second := times(2), self(struct{}{})
		time.Sleep(time.Minute)
		kit.RequireValue(t, 6, first)
		value, err := in.Ready().Await(t.Context())
		require.NoError(t, err)
		kit.RequireValue(t, value, second)
		kit.RequireValue(t, value, self(struct{}{}))
		kit.RequireValue(t, 9, times(3))
		require.Equal(t, 1, made)
	})
}

// A construction that is retried: what NewInitRetry did.
func TestInitByRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		in := twill.NewInit(t.Context(), func(ctx context.Context) (int, error) {
			return twill.Retry(ctx, func(context.Context) (int, error) {
				if attempts++; attempts < 4 {
					return 0, kit.ErrBoom
				}
				return attempts, nil
			}, &twill.RetryOptions{Backoff: slices.Values([]time.Duration{time.Second, 0, time.Second})})
		})
		f := twill.Then(in.Ready(), kit.Same[int])
		synctest.Wait()
		kit.RequirePending(t, f)
		kit.AwaitValue(t, f, 4)

		attempts = 0
		in = twill.NewInit(t.Context(), func(ctx context.Context) (int, error) {
			return twill.Retry(ctx, func(context.Context) (int, error) { attempts++; return 0, twill.Permanent(kit.ErrBoom) }, nil)
		})
		kit.AwaitError(t, twill.Then(in.Ready(), kit.Unexpected[int](t)), kit.ErrBoom)
		require.Equal(t, 1, attempts, "an error that is permanent ends it")
	})
}

// A method with a context is called by Go, and not at all after the end of the
// context.
func TestInitMethodContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, gate := gated(t)
		var calls kit.Record[int]
		wait := twill.MethodContext(in, func(v int, ctx context.Context, n int) (int, error) {
			calls.Add(n)
			select {
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			case <-time.After(time.Hour):
				return v * n, nil
			}
		})
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := wait(t.Context(), 1), wait(t.Context(), 2)
		gone, ended, late := wait(t.Context(), 3), wait(ctx, 4), wait(ctx, 5)
		require.True(t, gone.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, kit.ErrFirst, gone)
		cancel(kit.ErrBoom)
		gate <- 10
		synctest.Wait()
		for _, f := range []*twill.Future[int]{ended, late, wait(ctx, 6)} {
			kit.RequireFailure(t, kit.ErrBoom, f)
			kit.RequireFailure(t, twill.ErrCanceled, f)
		}
		require.True(t, second.Cancel(kit.ErrSecond), "it ends the method")
		kit.RequireFailure(t, kit.ErrSecond, second)
		time.Sleep(2 * time.Hour)
		kit.RequireValue(t, 10, first)
		require.ElementsMatch(t, []int{1, 2}, calls.All())

		ctx, cancel = context.WithCancelCause(t.Context())
		underway := wait(ctx, 7)
		synctest.Wait()
		cancel(kit.ErrBoom)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrBoom, underway)
	})
}

// With a context that has ended nothing is constructed, and nothing is
// reported.
func TestInitAfterTheEndOfItsContext(t *testing.T) {
	reports := kit.CollectReports(t)
	kit.Drop(func() {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(kit.ErrBoom)
		in := twill.NewInit(ctx, func(context.Context) (int, error) { t.Error("called"); return 0, nil })
		kit.RequireFailure(t, kit.ErrBoom, twill.Then(in.Ready(), kit.Unexpected[int](t)))
		require.False(t, in.Cancel(nil))
	})
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrBoom))
}

func TestInitMisuse(t *testing.T) {
	var noContext context.Context
	var zero twill.Init[int]
	in, gate := gated(t)
	f := in.Ready()
	fn := func(context.Context) (int, error) { return 1, nil }
	for what, misuse := range map[string]func(){
		"NewInit with a nil context":        func() { twill.NewInit(noContext, fn) },
		"NewInit with a nil function":       func() { twill.NewInit[int](t.Context(), nil) },
		"Method with a nil function":        func() { twill.Method[int, int, int](in, nil) },
		"MethodContext with a nil function": func() { twill.MethodContext[int, int, int](in, nil) },
		"Init not created by NewInit":       func() { zero.Ready() },
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, misuse) })
	}
	gate <- 1
	kit.AwaitValue(t, f, 1)
}

func TestInitMillionCallsWait(t *testing.T) {
	waiting := 1_000_000
	if !kit.Long() || kit.RaceEnabled {
		waiting = 50_000
	}
	kit.SmallStack(t)
	in, gate := gated(t)
	sum := 0
	count := func(n int) {
		for range n {
			twill.Then(in.Ready(), func(v int) (int, error) { sum += v; return v, nil })
		}
	}
	count(waiting)
	last := twill.Then(in.Ready(), func(int) (int, error) { return sum, nil })
	gate <- 2
	v, err := last.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2*waiting, v)
	if !kit.RaceEnabled {
		add := func(v int) (int, error) { return v + 1, nil }
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { twill.Then(in.Ready(), add) }), 2.0, "only the futures")
	}
}

// Calls that are given up leave nothing behind in an Init whose construction is
// slow.
func TestInitCanceledCallsLeaveNothing(t *testing.T) {
	in, gate := gated(t)
	leave := func(n int) {
		for range n {
			twill.Then(in.Ready(), kit.Same[int]).Cancel(nil)
			in.Ready().Cancel(nil)
		}
	}
	leave(100)
	before := kit.HeapInUse()
	leave(20_000)
	require.Less(t, float64(kit.HeapInUse())-float64(before), 128*1024.0)
	gate <- 1
	kit.AwaitValue(t, in.Ready(), 1)
}
