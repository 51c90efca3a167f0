//go:build suites

package conformance_test

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
	"github.com/twillgo/twill/internal/test/kit"
)

func TestCancelWithoutCanceler(t *testing.T) {
	t.Run("noCancelerCancels", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(nil))
		kit.RequireCanceled(t, nil, p.Future())
	})
	t.Run("raisesAfterCancelAndCallback: late values are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		require.False(t, p.Resolve(1))
		require.False(t, p.Resolve(1))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("raisesAfterCancelAndErrback: late failures are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		require.False(t, p.Reject(kit.ErrSecond))
		require.False(t, p.Reject(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancelerMultipleCancel: the second changes nothing", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(kit.ErrFirst))
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancelerMultipleCancelAfterCancelAndCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancelerMultipleCancelAfterCancelAndErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		p.Reject(kit.ErrSecond)
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
}

func TestCancelWithCanceler(t *testing.T) {
	t.Run("simpleCanceler: it runs, and later results are refused", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		require.True(t, p.Future().Cancel(nil))
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, nil, p.Future())
		require.False(t, p.Resolve(1))
		require.False(t, p.Reject(kit.ErrFirst))
	})
	t.Run("cancelerMultipleCancel: it runs once", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Future().Cancel(nil)
		p.Future().Cancel(nil)
		require.Equal(t, 1, *runs)
	})
	t.Run("a cancel from the canceler does not run it again", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := 0
		p.OnCancel(func(error) {
			runs++
			p.Future().Cancel(kit.ErrSecond)
		})
		p.Future().Cancel(kit.ErrFirst)
		require.Equal(t, 1, runs)
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("cancelerArg: it is told the cause", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var told error
		p.OnCancel(func(cause error) { told = cause })
		p.Future().Cancel(kit.ErrFirst)
		require.Same(t, kit.ErrFirst, told)
	})
	t.Run("cancelAfterCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		kit.RequireValue(t, 1, p.Future())
	})
	t.Run("cancelAfterErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Reject(kit.ErrFirst)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		result, _ := p.Future().Poll()
		require.Same(t, kit.ErrFirst, result.Err)
	})
	t.Run("cancelerThatErrbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Reject(kit.ErrFirst)) })
		p.Future().Cancel(nil)
		result, _ := p.Future().Poll()
		require.Same(t, kit.ErrFirst, result.Err)
	})
	t.Run("cancelerThatCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Resolve(8)) })
		p.Future().Cancel(nil)
		kit.RequireValue(t, 8, p.Future())
	})
	t.Run("a canceler that panics: canceled all the same, joined with the panic", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { panic(kit.ErrFirst) })
		p.Future().Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
		kit.RequireFailure(t, kit.ErrFirst, p.Future())
		result, _ := p.Future().Poll()
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
	})
}

func TestCancelNested(t *testing.T) {
	t.Run("cancelNestedDeferred: the cancel goes to the inner future", func(t *testing.T) {
		outside, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outerRuns, innerRuns := kit.CountCancels(outside), kit.CountCancels(inner)
		outer := twill.ThenFuture(outside.Future(), kit.Returning(inner.Future()))
		outside.Resolve(1)
		require.True(t, outer.Cancel(kit.ErrFirst))
		require.Zero(t, *outerRuns)
		require.Equal(t, 1, *innerRuns)
		kit.RequireCanceled(t, kit.ErrFirst, inner.Future())
		kit.RequireCanceled(t, kit.ErrFirst, outer)
		kit.RequireValue(t, 1, outside.Future())
	})
	t.Run("two levels down", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		middle := twill.ThenFuture(twill.Resolved(0), kit.Returning(twill.Then(p.Future(), kit.Add(1))))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(middle))
		outer.Cancel(nil)
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, nil, outer)
	})
	t.Run("the outcome of the inner canceler comes back", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		inner.OnCancel(func(error) { inner.Resolve(5) })
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future())), kit.Add(1))
		outer.Cancel(nil)
		kit.RequireValue(t, 6, outer)
	})
	t.Run("canceling the inner future itself fails the outer one", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		require.True(t, inner.Future().Cancel(kit.ErrFirst))
		kit.RequireCanceled(t, kit.ErrFirst, outer)
	})
	t.Run("a cancel while the handler runs goes to the future that it returns", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		var told error
		inner.OnCancel(func(cause error) { told = cause })
		var outer *twill.Future[int]
		outer = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] {
			outer.Cancel(kit.ErrFirst)
			outer.Cancel(kit.ErrSecond)
			return inner.Future()
		})
		p.Resolve(1)
		require.Same(t, kit.ErrFirst, told)
		kit.RequireCanceled(t, kit.ErrFirst, outer)
	})
	t.Run("a cancel is not sticky: a handler may start over", func(t *testing.T) {
		p, again := twill.NewPromise[int](), twill.NewPromise[int]()
		tip := p.Future().CatchFuture(func(error) *twill.Future[int] { return again.Future() })
		tip.Cancel(kit.ErrFirst)
		kit.RequirePending(t, tip)
		again.Resolve(3)
		kit.RequireValue(t, 3, tip)
	})
}

// A DeferredList passes a cancel on to its members, and settles with their
// outcomes, by its flags.
func TestDeferredListCancel(t *testing.T) {
	list := func(flags twill.ListFlags) ([]*twill.Promise[int], *twill.DeferredList[int]) {
		ps, fs := kit.Promises(2)
		return ps, twill.NewDeferredList(fs, flags)
	}
	requireResults := func(t *testing.T, l *twill.DeferredList[int], check func(r []twill.Result[int])) {
		t.Helper()
		r, ok := l.Poll()
		require.True(t, ok)
		require.NoError(t, r.Err)
		require.Equal(t, -1, r.Value.Index)
		require.Len(t, r.Value.Results, 2)
		check(r.Value.Results)
	}
	bothCanceled := func(r []twill.Result[int]) {
		require.ErrorIs(t, r[0].Err, twill.ErrCanceled)
		require.ErrorIs(t, r[1].Err, twill.ErrCanceled)
	}
	t.Run("cancelDeferredList", func(t *testing.T) {
		_, l := list(0)
		require.True(t, l.Cancel(nil))
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListCallback: a member's canceler gives a value", func(t *testing.T) {
		ps, l := list(0)
		ps[0].OnCancel(func(error) { ps[0].Resolve(7) })
		l.Cancel(nil)
		requireResults(t, l, func(r []twill.Result[int]) {
			require.Equal(t, twill.Result[int]{Value: 7}, r[0])
			require.ErrorIs(t, r[1].Err, twill.ErrCanceled)
		})
	})
	t.Run("cancelDeferredListWithFireOnOneCallback", func(t *testing.T) {
		_, l := list(twill.FireOnOneCallback)
		l.Cancel(nil)
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListWithFireOnOneCallbackAndDeferredCallback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneCallback)
		ps[1].OnCancel(func(error) { ps[1].Resolve(7) })
		l.Cancel(nil)
		kit.RequireValue(t, twill.ListResult[int]{Index: 1, Value: 7}, &l.Future)
		kit.RequireCanceled(t, nil, ps[0].Future())
	})
	t.Run("cancelDeferredListWithFireOnOneErrback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		l.Cancel(kit.ErrFirst)
		r, ok := l.Poll()
		require.True(t, ok)
		var at *twill.IndexError
		require.ErrorAs(t, r.Err, &at)
		require.Zero(t, at.Index)
		require.ErrorIs(t, r.Err, twill.ErrCanceled)
		require.ErrorIs(t, r.Err, kit.ErrFirst)
		kit.RequireCanceled(t, kit.ErrFirst, ps[1].Future())
	})
	t.Run("cancelDeferredListWithFireOnOneErrbackAllDeferredsCallback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		for i, p := range ps {
			p.OnCancel(func(error) { p.Resolve(i) })
		}
		l.Cancel(nil)
		requireResults(t, l, func(r []twill.Result[int]) {
			require.Equal(t, []twill.Result[int]{{Value: 0}, {Value: 1}}, r)
		})
	})
	t.Run("cancelDeferredListWithOriginalDeferreds: one that was canceled by hand before", func(t *testing.T) {
		ps, l := list(0)
		runs := kit.CountCancels(ps[1])
		ps[0].Future().Cancel(kit.ErrFirst)
		l.Cancel(kit.ErrSecond)
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, kit.ErrFirst, ps[0].Future())
		kit.RequireCanceled(t, kit.ErrSecond, ps[1].Future())
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListWithException: a canceler that panics keeps none from being canceled", func(t *testing.T) {
		ps, l := list(0)
		ps[0].OnCancel(func(error) { panic(kit.ErrBoom) })
		runs := kit.CountCancels(ps[1])
		l.Cancel(nil)
		require.Equal(t, 1, *runs)
		requireResults(t, l, bothCanceled)
		kit.RequireFailure(t, kit.ErrBoom, ps[0].Future())
	})
	t.Run("cancelFiredOnOneCallbackDeferredList: the rest is left alone", func(t *testing.T) {
		ps, l := list(twill.FireOnOneCallback)
		ps[0].Resolve(1)
		require.False(t, l.Cancel(nil))
		kit.RequirePending(t, ps[1].Future())
		kit.RequireValue(t, twill.ListResult[int]{Index: 0, Value: 1}, &l.Future)
	})
	t.Run("cancelFiredOnOneErrbackDeferredList: the rest is left alone", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		ps[0].Reject(kit.ErrFirst)
		require.False(t, l.Cancel(nil))
		kit.RequirePending(t, ps[1].Future())
		kit.RequireFailure(t, kit.ErrFirst, &l.Future)
	})
}

func TestAllCancel(t *testing.T) {
	t.Run("cancelGatherResults: it is the first member's cancel", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		all := twill.All(fs...)
		require.True(t, all.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, twill.ErrCanceled, all)
		kit.RequireFailure(t, kit.ErrFirst, all)
		for _, p := range ps {
			kit.RequireCanceled(t, kit.ErrFirst, p.Future())
		}
	})
	t.Run("cancelGatherResultsWithAllDeferredsCallback", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		for i, p := range ps {
			p.OnCancel(func(error) { p.Resolve(i) })
		}
		all := twill.All(fs...)
		all.Cancel(nil)
		kit.RequireValue(t, []int{0, 1}, all)
	})
}

func TestAnyCancel(t *testing.T) {
	t.Run("test_cancel: all are canceled, and say so", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		one := twill.Any(fs...)
		require.True(t, one.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, twill.ErrCanceled, one)
		for _, p := range ps {
			kit.RequireCanceled(t, kit.ErrFirst, p.Future())
		}
	})
	t.Run("test_resultFromCancel: a canceler's value wins", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		ps[1].OnCancel(func(error) { ps[1].Resolve(7) })
		one := twill.Any(fs...)
		one.Cancel(nil)
		kit.RequireValue(t, 7, one)
		kit.RequireCanceled(t, nil, ps[0].Future())
	})
	t.Run("test_resultAfterCancel: what a loser says later is of no interest", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		one := twill.Any(fs...)
		ps[0].Resolve(1)
		require.False(t, ps[1].Resolve(2))
		require.False(t, ps[1].Reject(kit.ErrFirst))
		kit.RequireValue(t, 1, one)
	})
}

// A canceler, and what it refers to, is released as soon as its future settles.
func TestCancelerIsReleased(t *testing.T) {
	install := func(p *twill.Promise[int]) weak.Pointer[kit.Resource] {
		held := new(kit.Resource)
		p.OnCancel(func(error) { runtime.KeepAlive(held) })
		return weak.Make(held)
	}
	settle := map[string]func(p *twill.Promise[int]){
		"canceler_circular_reference_callback": func(p *twill.Promise[int]) { p.Resolve(1) },
		"canceler_circular_reference_errback":  func(p *twill.Promise[int]) { p.Reject(errors.New("failure")) },
		"canceled":                             func(p *twill.Promise[int]) { p.Future().Cancel(nil) },
	}
	for name, settle := range settle {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPromise[int]()
			w := install(p)
			runtime.GC()
			require.NotNil(t, w.Value(), "still pending")
			settle(p)
			require.True(t, kit.Released(w))
			runtime.KeepAlive(p)
		})
	}
	t.Run("canceler_circular_reference_non_final: also while the chain goes on", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		w := install(p)
		tip := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		p.Resolve(1)
		kit.RequirePending(t, tip)
		require.True(t, kit.Released(w))
		runtime.KeepAlive(p)
		runtime.KeepAlive(inner)
	})
}

// A timer or context that has not ended does not keep a future that has
// settled, whatever settled it.
func TestSettledLeavesTimersAndContexts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type fut = *twill.Future[*kit.Resource]
	wraps := map[string]func(f fut) fut{
		"Timeout":     func(f fut) fut { return f.Timeout(time.Hour) },
		"WithContext": func(f fut) fut { return f.WithContext(ctx) },
	}
	settles := map[string]func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool{
		"resolved": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool { return p.Resolve(held) },
		"rejected": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool { return p.Reject(holding{held}) },
		"canceled": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool {
			return f.Cancel(holding{held})
		},
	}
	for name, wrap := range wraps {
		for how, settle := range settles {
			t.Run(name+", "+how, func(t *testing.T) {
				var w weak.Pointer[kit.Resource]
				kit.Drop(func() {
					p := twill.NewPromise[*kit.Resource]()
					f := wrap(p.Future())
					held := new(kit.Resource)
					w = weak.Make(held)
					require.True(t, settle(p, f, held))
					r, ok := f.Poll()
					require.True(t, ok)
					require.Equal(t, how == "resolved", r.Err == nil)
				})
				require.True(t, kit.Released(w))
			})
		}
	}
	require.NoError(t, ctx.Err())
}

// holding is an error that refers to a resource.
type holding struct{ held *kit.Resource }

func (holding) Error() string { return "holding" }

// requireTimedOut fails the test unless f failed by a timeout of d.
func requireTimedOut[T any](t *testing.T, d time.Duration, f *twill.Future[T]) {
	t.Helper()
	kit.RequireFailure(t, context.DeadlineExceeded, f)
	result, _ := f.Poll()
	var late *twill.TimeoutError
	require.ErrorAs(t, result.Err, &late)
	require.Equal(t, d, late.After)
}

// custom is the equivalent of addTimeout's onTimeoutCancel: a Catch after the
// timeout that returns a value.
func custom(f *twill.Future[int]) *twill.Future[int] {
	return f.Catch(func(err error) (int, error) {
		if late := new(twill.TimeoutError); errors.As(err, &late) {
			return -1, nil
		}
		return 0, err
	})
}

// TestAddTimeout has the 18 cases of DeferredAddTimeoutTests, each in a bubble
// of virtual time.
func TestAddTimeout(t *testing.T) {
	const second = time.Second
	// sleep lets time pass in the bubble, and waits until everything that is due
	// has happened.
	sleep := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	tests := map[string]func(t *testing.T, p *twill.Promise[int]){
		"timeoutChainable": func(t *testing.T, p *twill.Promise[int]) {
			tip := twill.Then(p.Future().Timeout(second), kit.Add(1))
			p.Resolve(1)
			kit.RequireValue(t, 2, tip)
		},
		"successResultBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			p.Resolve(1)
			kit.RequireValue(t, 1, f)
			sleep(2 * second)
			kit.RequireValue(t, 1, f)
		},
		"successResultBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			p.Resolve(1)
			sleep(2 * second)
			kit.RequireValue(t, 1, f)
		},
		"failureBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			p.Reject(kit.ErrFirst)
			kit.RequireFailure(t, kit.ErrFirst, f)
			sleep(2 * second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"failureBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			p.Reject(kit.ErrFirst)
			sleep(2 * second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"timedOut": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			sleep(second - 1)
			kit.RequirePending(t, f)
			sleep(1)
			requireTimedOut(t, second, f)
			kit.RequireFailure(t, twill.ErrCanceled, p.Future())
		},
		"timedOutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			sleep(second)
			kit.RequireValue(t, -1, f)
		},
		"timedOutProvidedCancelSuccess": func(t *testing.T, p *twill.Promise[int]) {
			p.OnCancel(func(error) { p.Resolve(7) })
			f := p.Future().Timeout(second)
			sleep(second)
			kit.RequireValue(t, 7, f)
		},
		"timedOutProvidedCancelFailure": func(t *testing.T, p *twill.Promise[int]) {
			p.OnCancel(func(error) { p.Reject(kit.ErrFirst) })
			f := p.Future().Timeout(second)
			sleep(second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"cancelBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			f.Cancel(kit.ErrFirst)
			kit.RequireCanceled(t, kit.ErrFirst, f)
			sleep(2 * second)
			kit.RequireCanceled(t, kit.ErrFirst, f)
		},
		"cancelBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			f.Cancel(kit.ErrFirst)
			sleep(2 * second)
			kit.RequireCanceled(t, kit.ErrFirst, f)
		},
		"providedCancelCalledBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			runs := kit.CountCancels(p)
			f := custom(p.Future().Timeout(second))
			f.Cancel(nil)
			sleep(2 * second)
			require.Equal(t, 1, *runs)
			kit.RequireCanceled(t, nil, f)
		},
		"errbackAddedBeforeTimeout: it sees the cancel, what it returns passes": func(t *testing.T, p *twill.Promise[int]) {
			var seen error
			f := p.Future().Catch(func(err error) (int, error) {
				seen = err
				return 0, kit.ErrFirst
			}).Timeout(second)
			sleep(second)
			require.ErrorIs(t, seen, twill.ErrCanceled)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"errbackAddedBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Catch(func(error) (int, error) { return 0, kit.ErrFirst }).Timeout(second))
			sleep(second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"errbackAddedBeforeTimeoutSuppressesCancellation": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Catch(func(error) (int, error) { return 4, nil }).Timeout(second)
			sleep(second)
			kit.RequireValue(t, 4, f)
		},
		"errbackAddedBeforeTimeoutSuppressesCancellationCustom": func(t *testing.T, p *twill.Promise[int]) {
			ran := false
			f := p.Future().Catch(func(error) (int, error) { return 4, nil }).Timeout(second)
			f = twill.Handle(f, func(v int, err error) (int, error) { ran = true; return v, err })
			sleep(second)
			require.True(t, ran)
			kit.RequireValue(t, 4, f)
		},
		"callbackAddedToCancelerBeforeTimeout: a handler before it passes the cancel on": func(t *testing.T, p *twill.Promise[int]) {
			f := twill.Then(p.Future(), kit.Unexpected[int](t)).Timeout(second)
			sleep(second)
			requireTimedOut(t, second, f)
		},
		"callbackAddedToCancelerBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(twill.Then(p.Future(), kit.Unexpected[int](t)).Timeout(second))
			sleep(second)
			kit.RequireValue(t, -1, f)
		},
		"an inner future that it waits for is canceled": func(t *testing.T, p *twill.Promise[int]) {
			inner := twill.NewPromise[int]()
			runs := kit.CountCancels(inner)
			f := twill.ThenFuture(p.Future(), kit.Returning(inner.Future())).Timeout(second)
			p.Resolve(1)
			sleep(second)
			require.Equal(t, 1, *runs)
			requireTimedOut(t, second, f)
		},
		"what is added below it is not covered": func(t *testing.T, p *twill.Promise[int]) {
			inner := twill.NewPromise[int]()
			f := twill.ThenFuture(p.Future().Timeout(second), kit.Returning(inner.Future()))
			p.Resolve(1)
			sleep(2 * second)
			kit.RequirePending(t, f)
			inner.Resolve(2)
			kit.RequireValue(t, 2, f)
		},
		"the shorter of two wins": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second).Timeout(3 * second)
			sleep(second)
			requireTimedOut(t, second, f)
		},
		"no time at all": func(t *testing.T, p *twill.Promise[int]) {
			kit.RequireValue(t, 1, twill.Resolved(1).Timeout(0))
			requireTimedOut(t, 0, p.Future().Timeout(0))
			requireTimedOut(t, -second, twill.NewPromise[int]().Future().Timeout(-second))
		},
		"one who gives up leaves a future that others need": func(t *testing.T, p *twill.Promise[int]) {
			other := twill.Then(p.Future(), kit.Add(1))
			f := p.Future().Timeout(second)
			sleep(second)
			requireTimedOut(t, second, f)
			kit.RequirePending(t, p.Future())
			p.Resolve(1)
			kit.RequireValue(t, 2, other)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, twill.NewPromise[int]()) })
		})
	}
}
