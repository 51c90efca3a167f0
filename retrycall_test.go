package twill_test

import (
	"context"
	"errors"
	"io"
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

// A call that pauses, or whose attempt is underway elsewhere, uses no
// goroutine.
func TestRetryingCallHoldsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// The goroutines of timers that have fired count until they have ended.
		most := runtime.NumGoroutine() + 500
		var calls []*twill.Future[int]
		for range 1000 {
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, &twill.RetryOptions{Backoff: twill.ExponentialBackoff(time.Minute, 2)}).Start(ctx)
			calls = append(calls, f)
			(*made)[0].Reject(io.EOF)
		}
		require.LessOrEqual(t, runtime.NumGoroutine(), most, "while a thousand calls pause")
		time.Sleep(time.Minute)
		synctest.Wait()
		require.LessOrEqual(t, runtime.NumGoroutine(), most, "while the second attempts are underway")
		for _, f := range calls {
			require.True(t, f.Cancel(nil))
		}
	})
}

// A call may be started again and again; txretry returned failures of the
// previous run.
func TestRetryingCallKeepsNothingOfItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		opts := &twill.RetryOptions{Backoff: kit.Pauses(time.Second), NewTester: kit.AtMost(1, func(error) bool { return true })}
		call := twill.NewRetryingCall(func(context.Context) (int, error) {
			n++
			return n, []error{errOne, nil, errTwo, errMore}[(n-1)%4]
		}, opts)
		opts.Backoff = kit.Pauses() // the call has its own copy
		for k := range 3 {
			kit.AwaitValue(t, call.Start(t.Context()), 4*k+2)
			_, err := call.Start(t.Context()).Await(t.Context())
			require.Equal(t, []error{errTwo, errMore}, requireRetryError(t, err).Errs)
		}
	})
}

// Any number of retries without a pause are made in a loop.
func TestRetryingCallNeedsNoStack(t *testing.T) {
	kit.SmallStack(t)
	n := 0
	call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
		if n++; n == 50_000 {
			return twill.Resolved(5)
		}
		return twill.Rejected[int](io.EOF)
	}, &twill.RetryOptions{Backoff: twill.ConstantBackoff(0)})
	kit.AwaitValue(t, call.Start(t.Context()), 5)
}

// The pauses are those of the sequence, even if it is read in portions.
func TestRetryingCallReadsLongSequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 5000} {
			var pauses []time.Duration
			fn, _ := failing(-1)
			_, err := twill.NewRetryingCall(fn, &twill.RetryOptions{
				Backoff: twill.LimitBackoff(twill.LinearBackoff(1, 1), n),
				OnPause: func(e twill.RetryEvent) { pauses = append(pauses, e.Delay) },
			}).Start(t.Context()).Await(t.Context())
			require.Equal(t, twill.ErrRetriesExhausted, requireRetryError(t, err).Reason)
			require.Len(t, pauses, n)
			require.True(t, slices.IsSorted(pauses))
			require.True(t, n == 0 || pauses[n-1] == time.Duration(n))
		}
	})
}

// A call that waits for itself fails, as any future does.
func TestRetryingCallCycle(t *testing.T) {
	for name, through := range map[string]func(f *twill.Future[int]) *twill.Future[int]{
		"directly":       func(f *twill.Future[int]) *twill.Future[int] { return f },
		"through others": func(f *twill.Future[int]) *twill.Future[int] { return f.Finally(func() {}).Shield() },
	} {
		t.Run(name, func(t *testing.T) {
			first := twill.NewPromise[int]()
			var f *twill.Future[int]
			f = twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
				if f == nil {
					return first.Future()
				}
				return through(f)
			}, &twill.RetryOptions{Backoff: twill.ConstantBackoff(0)}).Start(context.Background())
			tip := f.Tap(func(int, error) {})
			first.Reject(io.EOF)
			kit.AwaitError(t, tip, twill.ErrCycle)
			kit.AwaitError(t, tip, io.EOF)
		})
	}
}

func TestRetryingCallOfNoFuture(t *testing.T) {
	n := 0
	f := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { n++; return nil }, nil).Start(t.Context())
	_, err := kit.AwaitSoon(f)
	require.ErrorContains(t, err, "nil future")
	require.Equal(t, 1, n, "another attempt would not help")
}

// The context of an attempt ends with it, and with the cause of the timeout.
func TestRetryingCallContextOfAFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ctxs []context.Context
		v, err := twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
			if ctxs = append(ctxs, ctx); len(ctxs) == 3 {
				return twill.After(time.Second, 5)
			}
			return twill.NewPromise[int]().Future()
		}, &twill.RetryOptions{AttemptTimeout: time.Minute}).Start(t.Context()).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, v)
		for i, ctx := range ctxs {
			var timeout *twill.TimeoutError
			require.Error(t, ctx.Err())
			require.Equal(t, i < 2, errors.As(context.Cause(ctx), &timeout))
		}
	})
}

// A call that has ended releases its function, options and the objects that its
// errors refer to.
func TestRetryingCallIsReleased(t *testing.T) {
	var w weak.Pointer[kit.Resource]
	var f *twill.Future[int]
	func() {
		held := new(kit.Resource)
		w = weak.Make(held)
		f = twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			runtime.KeepAlive(held)
			return twill.Resolved(5)
		}, nil).Start(t.Context())
	}()
	require.True(t, kit.Released(w))
	kit.AwaitValue(t, f, 5)
}

// If no failure is handled, that of the call is reported, and those of its
// attempts are not.
func TestRetryingCallUnhandled(t *testing.T) {
	r := kit.CollectReports(t)
	start := func(failures int, attempt func(fn func() (int, error)) *twill.Future[int]) {
		kit.Drop(func() {
			fn, _ := failing(failures)
			twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
				return attempt(func() (int, error) { return fn(ctx) })
			}, &twill.RetryOptions{Backoff: kit.Pauses(0)}).Start(context.Background())
		})
	}
	start(1, twill.Call[int])
	var p *twill.Promise[int]
	start(1, func(fn func() (int, error)) *twill.Future[int] {
		if p != nil {
			return twill.Call(fn)
		}
		p = twill.NewPromise[int]()
		_, _ = fn()
		return p.Future()
	})
	p.Reject(errOne)
	p = nil
	r.SettleGarbage(t)
	require.Empty(t, r.Of(errOne), "both have succeeded in the end")
	start(2, twill.Call[int])
	r.Await(t, errOne)
	r.SettleGarbage(t)
	require.Len(t, r.Of(errOne), 1)
	require.ErrorIs(t, r.Of(errOne)[0], twill.ErrRetriesExhausted)
}

// A call whose retries were exhausted was not reported if one of its attempts
// had been canceled by itself.
func TestRetryingCallUnhandledAfterACanceledAttempt(t *testing.T) {
	r := kit.CollectReports(t)
	usedUp := func(last error) *twill.Future[int] {
		attempts := 0
		return twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			if attempts++; attempts == 1 {
				return twill.Rejected[int](context.Canceled)
			}
			return twill.Rejected[int](last)
		}, &twill.RetryOptions{Backoff: kit.Pauses(0)}).Start(context.Background())
	}
	kit.Drop(func() {
		usedUp(errOne)
		twill.All(usedUp(kit.ErrBoom))
		new(twill.Promise[int]).Future().Cancel(&twill.RetryError{Reason: kit.ErrBoom})
		ended, end := context.WithCancel(context.Background())
		end()
		twill.NewRetryingCall(func(context.Context) (int, error) { return 0, errTwo }, nil).Start(ended)
	})
	r.Await(t, errOne)
	r.Await(t, kit.ErrBoom)
	r.SettleGarbage(t)
	require.Len(t, r.Of(kit.ErrBoom), 1, "the cancel is no incident")
	require.Empty(t, r.Of(context.Canceled)[2:], "the call that was canceled is no incident")
}

// promisedAttempts returns a function that makes a future for each attempt,
// which the test settles, and the futures made so far.
func promisedAttempts() (fn func(context.Context) *twill.Future[int], made *[]*twill.Promise[int]) {
	made = new([]*twill.Promise[int])
	return func(context.Context) *twill.Future[int] {
		p := twill.NewPromise[int]()
		*made = append(*made, p)
		return p.Future()
	}, made
}

// Failure 37: a cancel was swallowed, or its outcome depended on its time.
// Failure 7: an attempt was made after a cancel in a hook, or after the
// canceled pause.
func TestRetryingCallCancel(t *testing.T) {
	reason := errors.New("no longer of interest")
	minute := twill.ConstantBackoff(time.Minute)
	for _, c := range []struct {
		name string
		run  func(t *testing.T) *twill.Future[int] // returns a call that is canceled in its last attempt
		want int                                   // number of attempts
	}{
		{"in an attempt that is a future", func(t *testing.T) *twill.Future[int] {
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
			require.True(t, f.Cancel(reason))
			require.False(t, (*made)[0].Resolve(1), "it was canceled too")
			return f
		}, 1},
		{"in an attempt that blocks", func(t *testing.T) *twill.Future[int] {
			ended := make(chan error, 1)
			f := twill.NewRetryingCall(func(ctx context.Context) (int, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return 0, io.EOF
			}, nil).Start(t.Context())
			synctest.Wait()
			require.True(t, f.Cancel(reason))
			require.Equal(t, reason, <-ended)
			return f
		}, 1},
		{"in an attempt that heeds its context alone", func(t *testing.T) *twill.Future[int] {
			var ctxs []context.Context
			f := twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
				ctxs = append(ctxs, ctx)
				return twill.NewPromise[int]().Future()
			}, &twill.RetryOptions{AttemptTimeout: time.Minute}).Start(t.Context())
			require.True(t, f.Cancel(reason))
			require.Equal(t, reason, context.Cause(ctxs[0]))
			return f
		}, 1},
		{"in a pause", func(t *testing.T) *twill.Future[int] {
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, &twill.RetryOptions{Backoff: minute}).Start(t.Context())
			(*made)[0].Reject(errOne)
			require.True(t, f.Cancel(reason))
			time.Sleep(time.Hour)
			require.Len(t, *made, 1, "the timer does not go off")
			return f
		}, 1},
		{"in the hook before the pause", func(t *testing.T) (f *twill.Future[int]) {
			fn, made := promisedAttempts()
			f = twill.NewRetryingCallFuture(fn, &twill.RetryOptions{
				Backoff: minute, OnPause: func(twill.RetryEvent) { f.Cancel(reason) },
			}).Start(t.Context())
			(*made)[0].Reject(errOne)
			return f
		}, 1},
		{"in the hook before the attempt", func(t *testing.T) (f *twill.Future[int]) {
			fn, made := promisedAttempts()
			f = twill.NewRetryingCallFuture(fn, &twill.RetryOptions{
				Backoff: minute, OnRetry: func(twill.RetryEvent) { f.Cancel(reason) },
			}).Start(t.Context())
			(*made)[0].Reject(errOne)
			time.Sleep(time.Hour)
			require.Len(t, *made, 1)
			return f
		}, 1},
		{"in the tester", func(t *testing.T) (f *twill.Future[int]) {
			fn, made := promisedAttempts()
			f = twill.NewRetryingCallFuture(fn, &twill.RetryOptions{
				Backoff: twill.ConstantBackoff(0), NewTester: kit.Tester(func(error) error { f.Cancel(reason); return nil }),
			}).Start(t.Context())
			(*made)[0].Reject(errOne)
			require.Len(t, *made, 1)
			return f
		}, 1},
		{"in the function", func(t *testing.T) (f *twill.Future[int]) {
			first, second := twill.NewPromise[int](), twill.NewPromise[int]()
			f = twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
				if _, settled := first.Future().Poll(); !settled {
					return first.Future()
				}
				f.Cancel(reason)
				return second.Future()
			}, &twill.RetryOptions{Backoff: twill.ConstantBackoff(0)}).Start(t.Context())
			first.Reject(errOne)
			require.False(t, second.Resolve(1), "it was canceled as soon as it was there")
			return f
		}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, settled := c.run(t).Poll()
				require.True(t, settled, "at once")
				e := requireRetryError(t, r.Err)
				require.ErrorIs(t, e.Reason, twill.ErrCanceled)
				require.ErrorIs(t, e.Reason, reason)
				require.ErrorIs(t, r.Err, context.Canceled)
				require.Equal(t, c.want, e.Attempts)
			})
		})
	}
}

// A cancel that arrives while the function runs goes to the attempt that it
// returns; what the canceler of that attempt does, does not affect the call.
func TestRetryingCallCancelerExits(t *testing.T) {
	for name, stop := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			first, second := twill.NewPromise[int](), twill.NewPromise[int]()
			second.OnCancel(func(error) { stop() })
			var f *twill.Future[int]
			f = twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
				if f == nil {
					return first.Future()
				}
				f.Cancel(errMore)
				return second.Future()
			}, &twill.RetryOptions{Backoff: twill.ConstantBackoff(0)}).Start(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				first.Reject(errOne)
			}()
			<-done
			kit.AwaitError(t, f, twill.ErrCanceled)
			kit.AwaitError(t, f, errMore)
			kit.AwaitError(t, f, errOne)
		})
	}
}

// The result that the canceler of an attempt supplies is the outcome of the
// call, which is not retried.
func TestRetryingCallCancelerDecides(t *testing.T) {
	fn, made := promisedAttempts()
	f := twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
	(*made)[0].OnCancel(func(error) { (*made)[0].Resolve(7) })
	require.False(t, f.Cancel(nil))
	kit.AwaitValue(t, f, 7)

	f = twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
	(*made)[1].OnCancel(func(error) { (*made)[1].Reject(io.EOF) })
	require.False(t, f.Cancel(errMore))
	kit.AwaitError(t, f, io.EOF)
	kit.AwaitError(t, f, twill.ErrCanceled)
	kit.AwaitError(t, f, errMore)
	require.Len(t, *made, 2)
}

// An attempt whose future has other dependents is not canceled.
func TestRetryingCallLeavesSharedAttempts(t *testing.T) {
	for name, ctx := range map[string]context.Context{"a context that ends": t.Context(), "one that does not": context.Background()} {
		t.Run(name, func(t *testing.T) {
			shared := twill.NewPromise[int]()
			other := twill.Then(shared.Future(), func(v int) (int, error) { return v, nil })
			call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return shared.Future() }, nil)
			f := call.Start(ctx)
			require.True(t, f.Cancel(errMore))
			kit.AwaitError(t, f, twill.ErrCanceled)
			kit.AwaitError(t, f, errMore)

			timed := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return shared.Future() },
				&twill.RetryOptions{AttemptTimeout: time.Millisecond, Backoff: kit.Pauses()}).Start(ctx)
			kit.AwaitError(t, timed, context.DeadlineExceeded)
			require.True(t, shared.Resolve(7))
			kit.AwaitValue(t, other, 7)
		})
	}
}

// The end of the context has the same effect as a cancel.
func TestRetryingCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, pause := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Minute)}).Start(ctx)
			if pause {
				(*made)[0].Reject(errOne)
			}
			cancel(errMore)
			synctest.Wait()
			r, settled := f.Poll()
			require.True(t, settled)
			require.ErrorIs(t, requireRetryError(t, r.Err).Reason, errMore)
			require.ErrorIs(t, r.Err, context.Canceled)
			require.Len(t, *made, 1)
			require.False(t, (*made)[0].Resolve(1))
		}
	})
}

// Attempts that settle, calls that are canceled and contexts that end, all on
// their own goroutines at about the same moment: each call ends once, leaves no
// attempt behind, and no token is lost.
func TestRetryingCallStress(t *testing.T) {
	rounds := 1500
	if !kit.Long() || kit.RaceEnabled {
		rounds = 500
	}
	budget := twill.NewBudget(1_000_000, 1)
	var others sync.WaitGroup
	var retries atomic.Int64
	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var made []*twill.Promise[int]
		call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			p := twill.NewPromise[int]()
			mu.Lock()
			made = append(made, p)
			n := len(made)
			mu.Unlock()
			others.Go(func() {
				if rand.IntN(2) == 0 {
					time.Sleep(rand.N(20 * time.Microsecond))
				}
				if n == 4 || rand.IntN(8) == 0 {
					p.Resolve(5)
				} else {
					p.Reject(io.EOF)
				}
			})
			return p.Future()
		}, &twill.RetryOptions{
			Backoff: twill.FullJitter(twill.ConstantBackoff(rand.N(10 * time.Microsecond))), AttemptTimeout: time.Minute, Budget: budget,
			OnRetry: func(twill.RetryEvent) { retries.Add(1) },
		})
		f := call.Start(ctx)
		others.Go(func() {
			time.Sleep(rand.N(40 * time.Microsecond))
			if rand.IntN(2) == 0 {
				f.Cancel(nil)
			} else {
				cancel()
			}
		})
		v, err := kit.AwaitSoon(f)
		var e *twill.RetryError
		switch {
		case err == nil:
			require.Equal(t, 5, v)
		case !errors.As(err, &e) || !errors.Is(e.Reason, context.Canceled):
			t.Fatalf("neither a value nor canceled: %v", err)
		}
		cancel()
		mu.Lock()
		for _, p := range made {
			_, settled := p.Future().Poll()
			require.True(t, settled)
		}
		mu.Unlock()
	}
	others.Wait()
	require.LessOrEqual(t, 1_000_000-budget.Tokens(), float64(retries.Load()), "only retries that were made cost something")
}
