package twill

import (
	"context"
	"time"
)

// Retry calls fn until it succeeds, and returns its value, or until there is a
// reason to give up, and returns a [*RetryError] with the reason and the errors of all
// attempts. opts say how it goes on; they may be nil. It blocks: [RetryingCall]
// gives a future.
//
// If ctx has ended, fn is not called. If it ends later, that ends a pause at once, and
// the attempt underway if fn heeds its context: Retry returns when fn does. An
// attempt that succeeds has succeeded, whether ctx has ended or not.
//
// fn's context is ctx or, with an AttemptTimeout, one of its own for each
// attempt, which ends when fn returns. A panic of fn ends the call with a
// [*PanicError] and is not retried.
func Retry[T any](ctx context.Context, fn func(ctx context.Context) (T, error), opts *RetryOptions) (T, error) {
	if ctx == nil {
		panic("twill: Retry with a nil context")
	}
	if fn == nil {
		panic("twill: Retry with a nil function")
	}
	if opts == nil {
		opts = &defaultRetry
	}
	if ctx.Err() != nil {
		var zero T
		return zero, &RetryError{Reason: ended(ctx)}
	}
	// Nothing is made before the first attempt: most calls need no other.
	start := opts.begin()
	v, err := tryOnce(ctx, fn, opts)
	if err != nil {
		return retry(ctx, fn, opts, start, err)
	}
	if opts.Budget != nil {
		opts.Budget.earn()
	}
	return v, nil
}

// retry is what Retry does after the first attempt failed with err.
func retry[T any](ctx context.Context, fn func(context.Context) (T, error), opts *RetryOptions, start time.Time, err error) (v T, failure error) {
	var zero T
	r := new(retryState)
	r.begin(ctx, opts, start)
	defer func() {
		p := recover() // a panic that was not fn's
		if !r.over {   // nor if the goroutine exits
			r.refund()
		}
		if p != nil {
			v, failure = zero, r.gaveUp(caught(p))
		}
	}()
	if reason := r.failed(err); reason != nil {
		return zero, r.gaveUp(reason)
	}
	for d := range opts.backoff() {
		d, reason := r.pause(d)
		if reason == nil {
			r.sleep(d)
			reason = r.resume()
		}
		if reason == nil {
			v, err := tryOnce(ctx, fn, opts)
			if err == nil {
				r.succeeded()
				return v, nil
			}
			reason = r.failed(err)
		}
		if reason != nil {
			return zero, r.gaveUp(reason)
		}
	}
	return zero, r.gaveUp(ErrRetriesExhausted)
}

// tryOnce makes an attempt. A panic of fn is an error.
func tryOnce[T any](ctx context.Context, fn func(context.Context) (T, error), opts *RetryOptions) (v T, err error) {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				err = caught(p)
			}
		}
	}()
	if d := opts.AttemptTimeout; d > 0 {
		v, err = tryFor(ctx, d, fn)
	} else {
		v, err = fn(ctx)
	}
	returned = true
	return v, err
}

// tryFor calls fn with a context of its own that ends after d.
func tryFor[T any](ctx context.Context, d time.Duration, fn func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d, &TimeoutError{d})
	defer cancel()
	return fn(ctx)
}
