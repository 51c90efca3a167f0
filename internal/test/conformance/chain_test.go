//go:build suites

package conformance_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestChainBasics(t *testing.T) {
	t.Run("callbackWithoutArgs: a handler gets the value", func(t *testing.T) {
		p := twill.NewPromise[int]()
		child := twill.Then(p.Future(), kit.Add(1))
		kit.RequirePending(t, child)
		require.True(t, p.Resolve(1))
		kit.RequireValue(t, 2, child)
	})
	t.Run("twoCallbacks: each handler gets what the one before returned", func(t *testing.T) {
		p := twill.NewPromise[int]()
		tip := twill.Then(twill.Then(p.Future(), kit.Add(1)), kit.Add(10))
		p.Resolve(1)
		kit.RequireValue(t, 12, tip)
	})
	t.Run("addCallbacksNoneErrback: a missing side passes through", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		failed := twill.Then(p.Future(), kit.Unexpected[int](t))
		fine := q.Future().Catch(kit.Unexpected[error](t))
		p.Reject(kit.ErrFirst)
		q.Resolve(3)
		kit.RequireFailure(t, kit.ErrFirst, failed)
		kit.RequireValue(t, 3, fine)
	})
}

func TestChainImmediate(t *testing.T) {
	t.Run("immediateSuccess", func(t *testing.T) {
		ran := 0
		child := twill.Then(twill.Resolved(1), func(v int) (int, error) { ran++; return v, nil })
		require.Equal(t, 1, ran, "a settled future runs the handler at once")
		kit.RequireValue(t, 1, child)
	})
	t.Run("succeedMatchesManualSuccess", func(t *testing.T) {
		fail := func(int) (int, error) { return 0, kit.ErrFirst }
		p := twill.NewPromise[int]()
		p.Resolve(1)
		kit.RequireFailure(t, kit.ErrFirst, twill.Then(p.Future(), fail))
		kit.RequireFailure(t, kit.ErrFirst, twill.Then(twill.Resolved(1), fail))
	})
	t.Run("immediateFailure", func(t *testing.T) {
		child := twill.Rejected[int](kit.ErrFirst).Catch(func(err error) (int, error) {
			require.Same(t, kit.ErrFirst, err)
			return 4, nil
		})
		kit.RequireValue(t, 4, child)
	})
	t.Run("callbackErrors: returned", func(t *testing.T) {
		child := twill.Then(twill.Resolved(1), func(int) (int, error) { return 0, kit.ErrFirst })
		kit.RequireFailure(t, kit.ErrFirst, child)
	})
	t.Run("callbackErrors: raised", func(t *testing.T) {
		child := twill.Then(twill.Resolved(1), func(int) (int, error) { panic(kit.ErrFirst) })
		kit.RequireFailure(t, kit.ErrFirst, child)
		result, _ := child.Poll()
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
		require.Same(t, kit.ErrFirst, panicked.Value)
		require.NotEmpty(t, panicked.Stack)
	})
	t.Run("a failure goes to the next link, not to the other side of its own", func(t *testing.T) {
		calls := 0
		own := twill.Handle(twill.Resolved(1), func(_ int, err error) (int, error) {
			calls++
			require.NoError(t, err)
			return 0, kit.ErrFirst
		})
		kit.RequireValue(t, 5, own.Catch(func(error) (int, error) { return 5, nil }))
		require.Equal(t, 1, calls)
	})
}

func TestChainOrder(t *testing.T) {
	t.Run("callbackOrderPreserved", func(t *testing.T) {
		var order []int
		p := twill.NewPromise[int]()
		for i := range 5 {
			p.Future().Tap(func(int, error) { order = append(order, i) })
		}
		p.Resolve(0)
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
	})
	t.Run("innerCallbacksPreserved: the inner future keeps its value and its handlers", func(t *testing.T) {
		var order []string
		note := func(name string) func(int, error) {
			return func(v int, err error) {
				require.NoError(t, err)
				require.Equal(t, 7, v)
				order = append(order, name)
			}
		}
		inner := twill.NewPromise[int]()
		inner.Future().Tap(note("before"))
		outer := twill.ThenFuture(twill.Resolved(0), func(int) *twill.Future[int] { return inner.Future() })
		outer.Tap(note("outer"))
		inner.Future().Tap(note("after"))
		inner.Resolve(7)
		require.ElementsMatch(t, []string{"before", "outer", "after"}, order)
		require.Equal(t, "before", order[0])
		kit.RequireValue(t, 7, inner.Future())
		kit.RequireValue(t, 7, outer)
	})
	t.Run("reentrantRunCallbacks: a handler added by a handler runs after those added before", func(t *testing.T) {
		var order []int
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			order = append(order, 1)
			p.Future().Tap(func(int, error) { order = append(order, 3) })
		})
		p.Future().Tap(func(int, error) { order = append(order, 2) })
		p.Resolve(0)
		require.Equal(t, []int{1, 2, 3}, order)
	})
	t.Run("nonReentrantCallbacks: no handler runs inside another one of the same future", func(t *testing.T) {
		var inside, nested bool
		ran := 0
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			inside = true
			p.Future().Tap(func(int, error) { ran, nested = ran+1, inside })
			inside = false
		})
		p.Resolve(0)
		require.Equal(t, 1, ran)
		require.False(t, nested)
	})
	t.Run("reentrantRunCallbacksWithFailure", func(t *testing.T) {
		var child *twill.Future[int]
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			child = twill.Then(p.Future(), func(int) (int, error) { return 0, kit.ErrFirst })
		})
		p.Resolve(0)
		kit.RequireFailure(t, kit.ErrFirst, child)
		kit.RequireValue(t, 0, p.Future())
	})
	t.Run("boundedStackDepth: a handler far down a chain runs as near to the settler", func(t *testing.T) {
		depth := func(links int) (frames int) {
			p := twill.NewPromise[int]()
			tip := p.Future()
			for range links {
				tip = twill.Then(tip, kit.Add(1))
			}
			tip.Tap(func(int, error) { frames = runtime.Callers(0, make([]uintptr, 10_000)) })
			p.Resolve(0)
			return frames
		}
		require.Positive(t, depth(2))
		require.Equal(t, depth(2), depth(1000))
	})
}

// Where Twisted raises AlreadyCalledError, the late call returns false.
func TestAlreadySettled(t *testing.T) {
	settle := map[byte]func(p *twill.Promise[int], n int) bool{
		'C': func(p *twill.Promise[int], n int) bool { return p.Resolve(n) },
		'E': func(p *twill.Promise[int], n int) bool { return p.Reject(fmt.Errorf("failure %d", n)) },
	}
	for _, debug := range []bool{false, true} {
		for _, calls := range []string{"CC", "CE", "EE", "EC"} {
			t.Run(fmt.Sprintf("%s debug=%v", calls, debug), func(t *testing.T) {
				kit.WithDebug(t, debug)
				p := twill.NewPromise[int]()
				require.True(t, settle[calls[0]](p, 1))
				before, _ := p.Future().Poll()
				require.False(t, settle[calls[1]](p, 2))
				after, _ := p.Future().Poll()
				require.Equal(t, before, after)
				if calls[0] == 'E' {
					require.EqualError(t, after.Err, "failure 1")
				} else {
					require.Equal(t, 1, after.Value)
				}
			})
		}
	}
}

func TestDebugShowsWhere(t *testing.T) {
	const here = "chain_test.go"
	t.Run("NoDebugging", func(t *testing.T) {
		kit.WithDebug(t, false)
		p := twill.NewPromise[int]()
		p.Resolve(1)
		require.NotContains(t, fmt.Sprintf("%+v", p.Future()), here)
	})
	t.Run("where it was made and settled", func(t *testing.T) {
		kit.WithDebug(t, true)
		p := twill.NewPromise[int]()
		made := fmt.Sprintf("%+v", p.Future())
		require.Contains(t, made, here)
		p.Resolve(1)
		require.Greater(t, len(fmt.Sprintf("%+v", p.Future())), len(made), "the settler is shown too")
	})
	t.Run("SwitchDebugging: the settler is shown though debugging came later", func(t *testing.T) {
		kit.WithDebug(t, false)
		p := twill.NewPromise[int]()
		twill.SetDebug(true)
		p.Resolve(1)
		require.Contains(t, fmt.Sprintf("%+v", p.Future()), here)
	})
}

// maybeDeferred is Call here, and ThenFuture for a function that returns a
// future.
func TestCall(t *testing.T) {
	t.Run("maybeDeferredSync", func(t *testing.T) {
		kit.RequireValue(t, 3, twill.Call(func() (int, error) { return 3, nil }))
	})
	t.Run("maybeDeferredSyncFailure", func(t *testing.T) {
		kit.RequireFailure(t, kit.ErrFirst, twill.Call(func() (int, error) { return 0, kit.ErrFirst }))
	})
	t.Run("maybeDeferredSyncException", func(t *testing.T) {
		f := twill.Call(func() (int, error) { panic("out of paper") })
		result, ok := f.Poll()
		require.True(t, ok)
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
		require.Equal(t, "out of paper", panicked.Value)
	})
	t.Run("maybeDeferredAsync", func(t *testing.T) {
		p := twill.NewPromise[int]()
		f := twill.ThenFuture(twill.Resolved(0), kit.Returning(p.Future()))
		kit.RequirePending(t, f)
		p.Resolve(1)
		kit.RequireValue(t, 1, f)
	})
	t.Run("maybeDeferredAsyncError", func(t *testing.T) {
		p := twill.NewPromise[int]()
		f := twill.ThenFuture(twill.Resolved(0), kit.Returning(p.Future()))
		p.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, f)
	})
}

// asFuture and fromFuture: from futures to channels and contexts, and back.
func TestBridges(t *testing.T) {
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	t.Run("test_asFuture: Done and Context end with the future", func(t *testing.T) {
		p := twill.NewPromise[int]()
		done, ctx := p.Future().Done(), p.Future().Context()
		require.False(t, closed(done))
		require.NoError(t, ctx.Err())
		p.Resolve(1)
		require.True(t, closed(done))
		require.True(t, closed(ctx.Done()))
		kit.RequireValue(t, 1, p.Future())
	})
	t.Run("a future that is settled already", func(t *testing.T) {
		require.True(t, closed(twill.Resolved(1).Done()))
		require.True(t, closed(twill.Resolved(1).Context().Done()))
	})
	t.Run("test_asFutureFailure: the context tells why", func(t *testing.T) {
		p := twill.NewPromise[int]()
		ctx := p.Future().Context()
		p.Reject(kit.ErrFirst)
		require.True(t, closed(ctx.Done()))
		require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
	})
	t.Run("test_asFutureSuccessCancel: one who only watches is left alone by a cancel", func(t *testing.T) {
		p := twill.NewPromise[int]()
		done := p.Future().Done()
		tip := twill.Then(p.Future(), kit.Add(1))
		tip.Cancel(nil)
		require.True(t, closed(done), "watching keeps nothing alive")
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("test_fromFuture: a channel's value", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			f := twill.FromChan(ch)
			synctest.Wait()
			kit.RequirePending(t, f)
			ch <- 4
			synctest.Wait()
			kit.RequireValue(t, 4, f)
		})
	})
	t.Run("a channel that is closed fails the future", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			close(ch)
			f := twill.FromChan(ch)
			synctest.Wait()
			kit.RequireFailure(t, twill.ErrClosed, f)
		})
	})
	t.Run("test_fromFutureDeferredCanceled: a canceled future takes nothing from its channel", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			f := twill.FromChan(ch)
			synctest.Wait()
			require.True(t, f.Cancel(kit.ErrFirst))
			synctest.Wait()
			select {
			case ch <- 1:
				t.Error("the value was taken")
			case <-time.After(time.Second):
			}
			kit.RequireCanceled(t, kit.ErrFirst, f)
		})
	})
	t.Run("test_fromFutureFutureCanceled: a context's cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := twill.FromContext(ctx)
			kit.RequirePending(t, f)
			cancel(kit.ErrFirst)
			synctest.Wait()
			kit.RequireFailure(t, kit.ErrFirst, f)
		})
	})
	t.Run("canceling the future of a context does not end the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := twill.FromContext(ctx)
		require.True(t, f.Cancel(nil))
		require.NoError(t, ctx.Err())
		kit.RequireCanceled(t, nil, f)
	})
	t.Run("a deadline's cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f := twill.FromContext(ctx)
			time.Sleep(time.Minute)
			synctest.Wait()
			kit.RequireFailure(t, context.DeadlineExceeded, f)
		})
	})
}

// The cancellation cases of test_inlinecb: a function awaits a future, here on
// its own goroutine. There are two differences by design. The future of Go
// fails at once, so a result that the function returns after its cancel is
// dropped. Await limits only the wait, so a function that wants the end of its
// wait to cancel the awaited future uses WithContext.
func TestGoCancellation(t *testing.T) {
	type result struct {
		value int
		err   error
	}
	for _, setting := range []struct {
		name          string
		stacked, wait int // goroutines around the goroutine that waits; waits that end before the cancel
	}{
		{"direct", 0, 0}, {"stacked", 1, 0}, {"twice stacked", 2, 0}, {"second wait", 0, 1}, {"stacked, second wait", 1, 1},
	} {
		// start runs a function that waits as the setting determines and then does
		// what end determines.
		start := func(t *testing.T, p *twill.Promise[int], end func(err error) (int, error)) (*twill.Future[int], *result) {
			seen := new(result)
			fn := func(ctx context.Context) (int, error) {
				for range setting.wait {
					if _, err := twill.Resolved(0).Await(ctx); err != nil {
						return 0, err
					}
				}
				_, err := p.Future().WithContext(ctx).Await(ctx)
				seen.value, seen.err = end(err)
				return seen.value, seen.err
			}
			for range setting.stacked {
				inner := fn
				fn = func(ctx context.Context) (int, error) {
					f := twill.Go(ctx, inner)
					return f.WithContext(ctx).Await(ctx)
				}
			}
			f := twill.Go(t.Context(), fn)
			synctest.Wait()
			kit.RequirePending(t, f)
			return f, seen
		}
		cases := map[string]func(t *testing.T){
			"cascadeCancelingOnCancel": func(t *testing.T) {
				p := twill.NewPromise[int]()
				runs := kit.CountCancels(p)
				f, _ := start(t, p, func(err error) (int, error) { return 0, err })
				require.True(t, f.Cancel(kit.ErrFirst))
				kit.RequireCanceled(t, kit.ErrFirst, f)
				synctest.Wait()
				require.Equal(t, 1, *runs)
				kit.RequireFailure(t, twill.ErrCanceled, p.Future())
			},
			"errorFromCanceledDeferred: the function sees the cause": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(err error) (int, error) { return 0, err })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.ErrorIs(t, seen.err, kit.ErrFirst)
			},
			"errorToErrorTranslation: dropped": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) { return 0, kit.ErrSecond })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Same(t, kit.ErrSecond, seen.err)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
			"errorToSuccessTranslation: dropped": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) { return 5, nil })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Equal(t, 5, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
			"asynchronousCancellation: the function goes on waiting for something else": func(t *testing.T) {
				held := make(chan struct{})
				release := sync.OnceFunc(func() { close(held) })
				defer release()
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) {
					<-held
					return 6, nil
				})
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Zero(t, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
				release()
				synctest.Wait()
				require.Equal(t, 6, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
		}
		for name, test := range cases {
			t.Run(fmt.Sprintf("%s/%s", setting.name, name), func(t *testing.T) { synctest.Test(t, test) })
		}
	}
}

func TestGo(t *testing.T) {
	t.Run("stackUsage: thousands of futures that are ready", func(t *testing.T) {
		f := twill.Go(t.Context(), func(ctx context.Context) (sum int, err error) {
			for i := range 5000 {
				v, err := twill.Resolved(i).Await(ctx)
				if err != nil {
					return 0, err
				}
				sum += v
			}
			return sum, nil
		})
		sum, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5000*4999/2, sum)
	})
	t.Run("a function that never waits", func(t *testing.T) {
		v, err := twill.Go(t.Context(), func(context.Context) (int, error) { return 2, nil }).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, v)
	})
	t.Run("a panic", func(t *testing.T) {
		_, err := twill.Go(t.Context(), func(context.Context) (int, error) { panic(kit.ErrFirst) }).Await(t.Context())
		require.ErrorIs(t, err, kit.ErrFirst)
		var panicked *twill.PanicError
		require.ErrorAs(t, err, &panicked)
	})
	t.Run("an abandoned wait leaves the function running", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			f := twill.Go(t.Context(), func(context.Context) (int, error) {
				<-release
				return 3, nil
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(kit.ErrFirst)
			_, err := f.Await(ctx)
			require.ErrorIs(t, err, kit.ErrFirst)
			kit.RequirePending(t, f)
			close(release)
			synctest.Wait()
			kit.RequireValue(t, 3, f)
		})
	})
}

func TestInnerFuture(t *testing.T) {
	t.Run("callbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		p.Resolve(1)
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("callbackMaybeReturnsFailure: the inner failure arrives and can be handled", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		handled := outer.Catch(func(err error) (int, error) {
			require.Same(t, kit.ErrFirst, err)
			return 3, nil
		})
		p.Resolve(1)
		inner.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, outer)
		kit.RequireValue(t, 3, handled)
	})
	t.Run("errbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := p.Future().CatchFuture(func(error) *twill.Future[int] { return inner.Future() })
		p.Reject(kit.ErrFirst)
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("continueCallbackNotFirst: an inner chain is waited for to its end", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(twill.Then(first.Future(), kit.Add(1)), kit.Returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner))
		first.Resolve(1)
		kit.RequirePending(t, outer)
		second.Resolve(9)
		kit.RequireValue(t, 9, outer)
	})
	t.Run("synchronousImplicitChain", func(t *testing.T) {
		kit.RequireValue(t, 2, twill.ThenFuture(twill.Resolved(1), kit.Returning(twill.Resolved(2))))
	})
	t.Run("synchronousImplicitErrorChain", func(t *testing.T) {
		kit.RequireFailure(t, kit.ErrFirst, twill.ThenFuture(twill.Resolved(1), kit.Returning(twill.Rejected[int](kit.ErrFirst))))
	})
	t.Run("asynchronousImplicitChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), kit.Returning(inner.Future()))
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("asynchronousImplicitErrorChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), kit.Returning(inner.Future()))
		kit.RequirePending(t, outer)
		inner.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, outer)
	})
	t.Run("doubleAsynchronousImplicitChaining", func(t *testing.T) {
		first, second, third := twill.NewPromise[int](), twill.NewPromise[int](), twill.NewPromise[int]()
		middle := twill.ThenFuture(second.Future(), kit.Returning(first.Future()))
		last := twill.ThenFuture(third.Future(), kit.Returning(middle))
		third.Resolve(3)
		second.Resolve(2)
		kit.RequirePending(t, middle)
		kit.RequirePending(t, last)
		first.Resolve(1)
		kit.RequireValue(t, 1, middle)
		kit.RequireValue(t, 1, last)
	})
	t.Run("nestedAsynchronousChainedDeferreds", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := p.Future()
		middle := twill.ThenFuture(twill.Resolved(0), kit.Returning(innermost))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(middle))
		p.Resolve(1)
		for _, f := range []*twill.Future[int]{innermost, middle, outer} {
			kit.RequireValue(t, 1, f)
		}
	})
	t.Run("nestedAsynchronousChainedDeferredsWithExtraCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := twill.Then(p.Future(), kit.Add(10))
		middle := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(innermost)), kit.Add(100))
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(middle)), kit.Add(1000))
		p.Resolve(1)
		kit.RequireValue(t, 11, innermost)
		kit.RequireValue(t, 111, middle)
		kit.RequireValue(t, 1111, outer)
	})
	t.Run("resultOfDeferredResultOfDeferredOfFiredDeferredCalled", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(first.Future(), kit.Returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner))
		seen := 0
		outer.Tap(func(v int, err error) { seen = v })
		first.Resolve(1)
		require.Zero(t, seen)
		second.Resolve(5)
		require.Equal(t, 5, seen)
	})
	t.Run("two that return one future both get its value", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		one := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		two := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		inner.Resolve(6)
		kit.RequireValue(t, 6, one)
		kit.RequireValue(t, 6, two)
	})
	t.Run("a thousand futures one inside the other do not deepen the stack", func(t *testing.T) {
		depth := func(nested int) (frames int) {
			p := twill.NewPromise[int]()
			f := p.Future()
			for range nested {
				f = twill.ThenFuture(twill.Resolved(0), kit.Returning(f))
			}
			f.Tap(func(int, error) { frames = runtime.Callers(0, make([]uintptr, 10_000)) })
			p.Resolve(0)
			return frames
		}
		require.Positive(t, depth(2))
		require.Equal(t, depth(2), depth(1000))
	})
}

func TestInnerFutureCycle(t *testing.T) {
	t.Run("circularChainWarning: a handler that returns its own future", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var self *twill.Future[int]
		self = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return self })
		p.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, self)
	})
	t.Run("circularChainException: two that wait for each other", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		var one, two *twill.Future[int]
		one = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return two })
		two = twill.ThenFuture(q.Future(), func(int) *twill.Future[int] { return one })
		p.Resolve(1)
		kit.RequirePending(t, one)
		q.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, one)
		kit.RequireFailure(t, twill.ErrCycle, two)
	})
	t.Run("a handler that returns a future further down its own chain", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var tip *twill.Future[int]
		first := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return tip })
		tip = twill.Then(first, kit.Add(1))
		p.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, first)
		kit.RequireFailure(t, twill.ErrCycle, tip)
	})
}
