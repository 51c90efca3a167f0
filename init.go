package twill

import (
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// Init is a value that takes time to make, such as a connection, and what is to
// be done with it already: calls made before it is ready wait their turn. Unlike a
// [sync.Once] it blocks nobody, and a failure may be tried again. It mirrors
// deferredInitMixin and TxDeferredInitMeta.
//
// Use [NewInit]; the zero value panics. An Init must not be copied. It may be used
// by several goroutines. The value is shared by all calls.
//
// Calls are made with [Do], [DoFuture] and [Method]. Those that wait run in the order in
// which they came, one after another, on the goroutine that made the value;
// also one that comes while they run, from inside of them or not, waits until
// they are through. A call made after that runs at once on the caller's goroutine.
// A panic fails its own call alone.
//
// If the making fails, every call that waits and every later one fails with
// that error. A Cancel of a call gives up that call alone.
type Init[T any] struct {
	f *Future[T] // depended on by calls that hold every cancel from below
}

// NewInit starts fn on a goroutine of its own and returns the Init of its
// value. fn's context ends with ctx and by [Init.Cancel].
func NewInit[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Init[T] {
	if ctx == nil {
		panic("twill: NewInit with a nil context")
	}
	if fn == nil {
		panic("twill: NewInit with a nil function")
	}
	return &Init[T]{Go(ctx, fn)}
}

// Ready returns a future of the value itself. A Cancel of it leaves the making
// alone.
func (in *Init[T]) Ready() *Future[T] { return in.made().Shield() }

// Cancel ends the making, as [Future.Cancel] does for [Go]: all calls that
// wait, and later ones, fail with a [*CanceledError]. It reports whether it came
// in time.
func (in *Init[T]) Cancel(cause error) bool { return in.made().Cancel(cause) }

// Method returns a function that calls method with [Do]: with a method
// expression, such as (*DB).Query for an Init[*DB], the method of the value
// that works from the start.
func Method[T, A, R any](in *Init[T], method func(T, A) (R, error)) func(A) *Future[R] {
	in.made()
	if method == nil {
		panic("twill: Method with a nil function")
	}
	return func(arg A) *Future[R] {
		return Do(in, func(v T) (R, error) { return method(v, arg) })
	}
}

// Do returns a future of fn's result, called with the value of in when that is
// ready and the calls before have been made. fn should not block if it may have
// to wait, as others wait for it then; see [DoFuture].
func Do[T, R any](in *Init[T], fn func(T) (R, error)) *Future[R] {
	if fn == nil {
		panic("twill: Do with a nil function")
	}
	n := &initNode[T, R]{thenNode[T, R]{fn: fn}}
	n.start(n, in.made())
	return &n.f
}

// DoFuture is [Do] for a function that returns a future, as one that blocks
// can do by [Go]. Calls start in their order, and may overlap from then on.
func DoFuture[T, R any](in *Init[T], fn func(T) *Future[R]) *Future[R] {
	if fn == nil {
		panic("twill: DoFuture with a nil function")
	}
	n := &initAdoptNode[T, R]{adoptNode[T, R]{onValue: fn}}
	n.start(n, in.made())
	return &n.f
}

// NewInitRetry is [NewInit] that calls fn again when it has failed, after each
// of the pauses in backoff; when there are no more, or ctx ends, the making has
// failed. Calls wait as long as it goes on. A panic is not tried again.
func NewInitRetry[T any](ctx context.Context, fn func(ctx context.Context) (T, error), backoff iter.Seq[time.Duration]) *Init[T] {
	if ctx == nil {
		panic("twill: NewInitRetry with a nil context")
	}
	if fn == nil || backoff == nil {
		panic("twill: NewInitRetry with a nil function")
	}
	return &Init[T]{Go(ctx, func(ctx context.Context) (T, error) {
		v, err := fn(ctx)
		if err == nil {
			return v, nil
		}
		for pause := range backoff {
			if ended := sleep(ctx, pause); ended != nil {
				return v, fmt.Errorf("twill: gave up: %w; last failure: %w", ended, err)
			}
			if v, err = fn(ctx); err == nil {
				return v, nil
			}
		}
		return v, err
	})}
}

// sleep returns after d, or when ctx ends with the cause of that.
func sleep(ctx context.Context, d time.Duration) error {
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

func (in *Init[T]) made() *Future[T] {
	if in == nil || in.f == nil {
		panic("twill: an Init is made by NewInit")
	}
	return in.f
}

// initNode is a call that keeps a cancel from the Init.
type initNode[T, R any] struct{ thenNode[T, R] }

// Source holds the Init.
func (n *initNode[T, R]) Source(*settle.Failure) (*settle.Core, bool) { return &n.src.core, true }

// initAdoptNode is the same for DoFuture, until the function has returned a
// future: to that one it listens as an adoptNode does.
type initAdoptNode[T, R any] struct{ adoptNode[T, R] }

// Source holds the Init.
func (n *initAdoptNode[T, R]) Source(ask *settle.Failure) (*settle.Core, bool) {
	src, _ := n.adoptNode.Source(ask)
	return src, true
}
