package twill_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// promisedAttempts returns a function that makes a future for each attempt, which the
// test settles, and those made so far.
func promisedAttempts() (fn func(context.Context) *twill.Future[int], made *[]*twill.Promise[int]) {
	made = new([]*twill.Promise[int])
	return func(context.Context) *twill.Future[int] {
		p := twill.NewPromise[int]()
		*made = append(*made, p)
		return p.Future()
	}, made
}

// Failure 37: a cancel was swallowed, or ended in something else depending on
// when it came. Failure 7: an attempt was made after a cancel in a hook, or
// after the pause that was cancelled.
func TestRetryingCallCancel(t *testing.T) {
	reason := errors.New("no longer of interest")
	minute := twill.Constant(time.Minute)
	for _, c := range []struct {
		name string
		run  func(t *testing.T) *twill.Future[int] // a call that is cancelled in the attempt it makes last
		want int                                   // attempts
	}{
		{"in an attempt that is a future", func(t *testing.T) *twill.Future[int] {
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
			require.True(t, f.Cancel(reason))
			require.False(t, (*made)[0].Resolve(1), "it was cancelled too")
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
				Backoff: twill.Constant(0), Tester: func(error) error { f.Cancel(reason); return nil },
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
			}, &twill.RetryOptions{Backoff: twill.Constant(0)}).Start(t.Context())
			first.Reject(errOne)
			require.False(t, second.Resolve(1), "it was cancelled as soon as it was there")
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

// A cancel that comes while the function runs goes to the attempt it returns, and
// whatever the canceller of that does is not the call's concern.
func TestRetryingCallCancellerExits(t *testing.T) {
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
			}, &twill.RetryOptions{Backoff: twill.Constant(0)}).Start(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				first.Reject(errOne)
			}()
			<-done
			awaitError(t, f, twill.ErrCanceled)
			awaitError(t, f, errMore)
			awaitError(t, f, errOne)
		})
	}
}

// What the canceller of an attempt makes of a cancel is the outcome of the
// call, which is not retried.
func TestRetryingCallCancellerDecides(t *testing.T) {
	fn, made := promisedAttempts()
	f := twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
	(*made)[0].OnCancel(func(error) { (*made)[0].Resolve(7) })
	require.False(t, f.Cancel(nil))
	awaitValue(t, f, 7)

	f = twill.NewRetryingCallFuture(fn, nil).Start(t.Context())
	(*made)[1].OnCancel(func(error) { (*made)[1].Reject(io.EOF) })
	require.False(t, f.Cancel(errMore))
	awaitError(t, f, io.EOF)
	awaitError(t, f, twill.ErrCanceled)
	awaitError(t, f, errMore)
	require.Len(t, *made, 2)
}

// An attempt whose future others depend on is left to them.
func TestRetryingCallLeavesSharedAttempts(t *testing.T) {
	for name, ctx := range map[string]context.Context{"a context that ends": t.Context(), "one that does not": context.Background()} {
		t.Run(name, func(t *testing.T) {
			shared := twill.NewPromise[int]()
			other := twill.Then(shared.Future(), func(v int) (int, error) { return v, nil })
			call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return shared.Future() }, nil)
			f := call.Start(ctx)
			require.True(t, f.Cancel(errMore))
			awaitError(t, f, twill.ErrCanceled)
			awaitError(t, f, errMore)

			timed := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return shared.Future() },
				&twill.RetryOptions{AttemptTimeout: time.Millisecond, Backoff: twill.FromSlice()}).Start(ctx)
			awaitError(t, timed, context.DeadlineExceeded)
			require.True(t, shared.Resolve(7))
			awaitValue(t, other, 7)
		})
	}
}

// A context that ends does for a call what a cancel does.
func TestRetryingCallEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, pause := range []bool{false, true} {
			ctx, cancel := context.WithCancelCause(t.Context())
			fn, made := promisedAttempts()
			f := twill.NewRetryingCallFuture(fn, &twill.RetryOptions{Backoff: twill.Constant(time.Minute)}).Start(ctx)
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
