package twill

import "context"

// Init is a value whose construction takes time, such as a connection, and a
// line for the calls that need it: calls made before it is ready wait. Unlike
// [sync.Once] it blocks no caller. It is the equivalent of deferredInitMixin and
// TxDeferredInitMeta.
//
// Use [NewInit]; the zero value panics. An Init must not be copied. It may be
// used by several goroutines. The value is shared by all calls.
//
// [Method] and [MethodContext] make functions that call a method of the value.
// Any other call is Then(in.Ready(), fn), or ThenFuture for a function that
// returns a future. Calls that wait run one after another, in the order in which
// they were made, on the goroutine that made the value. A call made while they
// run, even by one of them, comes after them. Later calls run at once, on the
// goroutine of the caller. A call should not block, because it delays the calls
// after it. A panic fails only its own call.
//
// If the construction fails, every call that waits and every later call fails
// with that error. To try again, construct the value by [Retry]:
//
//	NewInit(ctx, func(ctx context.Context) (*DB, error) { return twill.Retry(ctx, connect, opts) })
//
// A Cancel of a call gives up only that call.
type Init[T any] struct {
	f *Future[T] // never canceled by its dependents, which are all shields
}

// NewInit starts fn on a goroutine of its own and returns the Init of its value.
// The context of fn ends with ctx and by [Init.Cancel]. If ctx has ended, fn is
// not called, and every call fails with a [*CanceledError] for [context.Cause].
func NewInit[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Init[T] {
	if ctx == nil {
		panic("twill: NewInit with a nil context")
	}
	if fn == nil {
		panic("twill: NewInit with a nil function")
	}
	if ctx.Err() != nil {
		return &Init[T]{endedFuture[T](ctx)}
	}
	return &Init[T]{Go(ctx, fn)}
}

// Ready returns a future of the value itself. A Cancel of that future does not
// cancel the construction.
func (in *Init[T]) Ready() *Future[T] { return in.made().Shield() }

// Cancel ends the construction, as [Future.Cancel] does for [Go]: all calls that
// wait, and all later calls, fail with a [*CanceledError]. It reports whether the
// value was not ready yet.
func (in *Init[T]) Cancel(cause error) bool { return in.made().Cancel(cause) }

func (in *Init[T]) made() *Future[T] {
	if in == nil || in.f == nil {
		panic("twill: Init not created by NewInit")
	}
	return in.f
}

// Method returns a function that calls method when in is ready, and returns the
// future of the result. With a method expression, such as (*DB).Query for an
// Init[*DB], that function is the method of a value that may still be under
// construction. For a method that takes a context see [MethodContext].
func Method[T, A, R any](in *Init[T], method func(T, A) (R, error)) func(A) *Future[R] {
	in.made()
	if method == nil {
		panic("twill: Method with a nil function")
	}
	return func(arg A) *Future[R] {
		return Then(in.Ready(), func(v T) (R, error) { return method(v, arg) })
	}
}

// MethodContext is [Method] for a method that takes a context, such as
// (*DB).QueryContext. The method is called by [Go], on a goroutine of its own, and
// may block. Calls start in the order in which they were made, and then overlap.
//
// A Cancel of the future ends the wait, or the context of the method. If ctx ends
// before in is ready, or has ended before the call, the method is not called and
// the future fails with a [*CanceledError] for [context.Cause]. If ctx ends
// later, the method decides.
func MethodContext[T, A, R any](in *Init[T], method func(T, context.Context, A) (R, error)) func(context.Context, A) *Future[R] {
	in.made()
	if method == nil {
		panic("twill: MethodContext with a nil function")
	}
	return func(ctx context.Context, arg A) *Future[R] {
		if ctx == nil {
			panic("twill: call with a nil context")
		}
		if ctx.Err() != nil {
			return endedFuture[R](ctx)
		}
		ready := in.Ready()
		if ctx.Done() != nil {
			ready = ready.WithContext(ctx)
		}
		return ThenFuture(ready, func(v T) *Future[R] {
			if ctx.Err() != nil { // what watches ctx may be late
				return endedFuture[R](ctx)
			}
			return Go(ctx, func(ctx context.Context) (R, error) { return method(v, ctx, arg) })
		})
	}
}
