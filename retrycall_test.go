package twill_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// A call that pauses, or whose attempt is underway elsewhere, holds no
// goroutine.
func TestRetryingCallHoldsNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		// Those of timers that went off count until they have left for good.
		most := runtime.NumGoroutine() + 500
		var calls []*twill.Future[int]
		for range 1000 {
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, &twill.RetryOptions{Backoff: twill.Exponential(time.Minute, 2)}).Start(ctx)
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

// A call may be started again and again; txretry told of failures of the run before.
func TestRetryingCallKeepsNothingOfItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		opts := &twill.RetryOptions{Backoff: twill.FromSlice(time.Second), NewTester: twill.RetryAtMost(1, func(error) bool { return true })}
		call := twill.NewRetryingCall(func(context.Context) (int, error) {
			n++
			return n, []error{errOne, nil, errTwo, errMore}[(n-1)%4]
		}, opts)
		opts.Backoff = twill.FromSlice() // the call has its own
		for k := range 3 {
			awaitValue(t, call.Start(t.Context()), 4*k+2)
			_, err := call.Start(t.Context()).Await(t.Context())
			require.Equal(t, []error{errTwo, errMore}, requireRetryError(t, err).Errs)
		}
	})
}

// Any number of retries without a pause are made by a loop.
func TestRetryingCallNeedsNoStack(t *testing.T) {
	smallStack(t)
	n := 0
	call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
		if n++; n == 50_000 {
			return twill.Resolved(5)
		}
		return twill.Rejected[int](io.EOF)
	}, &twill.RetryOptions{Backoff: twill.Constant(0)})
	awaitValue(t, call.Start(t.Context()), 5)
}

// The pauses are those of the sequence also where it is read bit by bit.
func TestRetryingCallReadsLongSequences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, n := range []int{0, 1, 15, 16, 17, 31, 32, 33, 5000} {
			var pauses []time.Duration
			fn, _ := failing(-1)
			_, err := twill.NewRetryingCall(fn, &twill.RetryOptions{
				Backoff: twill.Limit(twill.Linear(1, 1), n),
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
			}, &twill.RetryOptions{Backoff: twill.Constant(0)}).Start(context.Background())
			tip := f.Tap(func(int, error) {})
			first.Reject(io.EOF)
			awaitError(t, tip, twill.ErrCycle)
			awaitError(t, tip, io.EOF)
		})
	}
}

func TestRetryingCallOfNoFuture(t *testing.T) {
	n := 0
	f := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { n++; return nil }, nil).Start(t.Context())
	_, err := awaitSoon(f)
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

// A call that has ended lets go of its function, options and errors' owners.
func TestRetryingCallIsReleased(t *testing.T) {
	var w weak.Pointer[resource]
	var f *twill.Future[int]
	func() {
		held := new(resource)
		w = weak.Make(held)
		f = twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			runtime.KeepAlive(held)
			return twill.Resolved(5)
		}, nil).Start(t.Context())
	}()
	require.True(t, released(w))
	awaitValue(t, f, 5)
}

// Of failures that nobody takes, that of the call is reported, and not those of
// its attempts.
func TestRetryingCallUnhandled(t *testing.T) {
	r := collectReports(t)
	start := func(failures int, attempt func(fn func() (int, error)) *twill.Future[int]) {
		drop(func() {
			fn, _ := failing(failures)
			twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
				return attempt(func() (int, error) { return fn(ctx) })
			}, &twill.RetryOptions{Backoff: twill.FromSlice(0)}).Start(context.Background())
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
	r.settleGarbage(t)
	require.Empty(t, r.of(errOne), "both have succeeded in the end")
	start(2, twill.Call[int])
	r.await(t, errOne)
	r.settleGarbage(t)
	require.Len(t, r.of(errOne), 1)
	require.ErrorIs(t, r.of(errOne)[0], twill.ErrRetriesExhausted)
}

// A call whose retries are used up was not reported if one of its attempts had
// been cancelled by itself.
func TestRetryingCallUnhandledAfterACancelledAttempt(t *testing.T) {
	r := collectReports(t)
	usedUp := func(last error) *twill.Future[int] {
		attempts := 0
		return twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			if attempts++; attempts == 1 {
				return twill.Rejected[int](context.Canceled)
			}
			return twill.Rejected[int](last)
		}, &twill.RetryOptions{Backoff: twill.FromSlice(0)}).Start(context.Background())
	}
	drop(func() {
		usedUp(errOne)
		twill.All(usedUp(errBoom))
		new(twill.Promise[int]).Future().Cancel(&twill.RetryError{Reason: errBoom})
		ended, end := context.WithCancel(context.Background())
		end()
		twill.NewRetryingCall(func(context.Context) (int, error) { return 0, errTwo }, nil).Start(ended)
	})
	r.await(t, errOne)
	r.await(t, errBoom)
	r.settleGarbage(t)
	require.Len(t, r.of(errBoom), 1, "the cancel is no incident")
	require.Empty(t, r.of(context.Canceled)[2:], "the call that was cancelled is no incident")
}
