package twill

import (
	"context"
)

// Acquirer is what [RunWith] and [RunWithFuture] wait for: a [*Lock], a
// [*Semaphore], or what a program puts around these. The function that the
// future gives releases what was acquired; it is called once.
type Acquirer interface {
	Acquire() *Future[func()]
}

// Run is [RunWith] for a function without a value.
func (s *Semaphore) Run(ctx context.Context, fn func(context.Context) error) *Future[struct{}] {
	if fn == nil {
		panic("twill: Run with a nil function")
	}
	return RunWith(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

// RunWith starts fn, like [Go], as soon as it has acquired a, which it releases
// when fn returns, panics or ends its goroutine, and not before: while fn runs
// the token is taken, even if the future is cancelled.
//
// A Cancel of the future, and an end of ctx, give up the wait: then fn is not
// called. If fn runs, a Cancel ends its context and fails the future at once;
// and an end of ctx ends its context. It mirrors the run method of DeferredLock
// and DeferredSemaphore for functions that block.
func RunWith[T any](ctx context.Context, a Acquirer, fn func(context.Context) (T, error)) *Future[T] {
	if ctx == nil {
		panic("twill: RunWith with a nil context")
	}
	if a == nil {
		panic("twill: RunWith with nothing to acquire")
	}
	if fn == nil {
		panic("twill: RunWith with a nil function")
	}
	if ctx.Err() != nil {
		return Rejected[T](&CanceledError{context.Cause(ctx)})
	}
	token := a.Acquire()
	if ctx.Done() != nil {
		token = token.WithContext(ctx)
	}
	return ThenFuture(token, func(release func()) *Future[T] {
		n := newGoNode[T](ctx)
		go n.runHolding(release, fn)
		return &n.f
	})
}

// runHolding is run for a function that holds a token, which is released before
// the future settles. It settles with what fn returned also if a handler of the
// next one in line ends the goroutine.
func (n *goNode[T]) runHolding(release func(), fn func(context.Context) (T, error)) {
	var v T
	var err, stop error
	defer func() {
		if stop != nil {
			n.stopped(stop)
		} else {
			n.returned(v, err)
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			stop = caught(r)
		}
	}()
	defer release()
	stop = ErrGoexit
	v, err = fn(&n.lazyContext)
	stop = nil
}

// RunWithFuture calls fn when it has acquired a, which it releases when the
// future that fn returns has settled. It gives that future's result. fn runs
// on the caller's goroutine if a was free, and otherwise on the one that releases it:
// it should not block.
//
// A Cancel gives up the wait: then fn is not called. If it was called, the
// Cancel goes to its future by the rules of [Future.Cancel]; if others depend
// on that one, it goes on and keeps the token until it settles. It mirrors the
// run method of DeferredLock and DeferredSemaphore.
func RunWithFuture[T any](a Acquirer, fn func() *Future[T]) *Future[T] {
	if a == nil {
		panic("twill: RunWithFuture with nothing to acquire")
	}
	if fn == nil {
		panic("twill: RunWithFuture with a nil function")
	}
	return ThenFuture(a.Acquire(), func(release func()) *Future[T] {
		var f *Future[T]
		defer func() {
			if f == nil { // fn returned nil, panicked or ended its goroutine
				release()
			}
		}()
		if f = fn(); f != nil {
			// The first listener if f is new: released before anybody hears of it.
			onSettled(&f.core, release)
		}
		return f
	})
}
