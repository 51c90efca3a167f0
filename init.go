package twill

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
)

// Init holds a value that is constructed in the background, such as a
// connection, and a line of calls that need the value: calls made before it is
// ready are queued. Unlike [sync.Once], Init blocks no caller. It is the
// equivalent of the recipes deferredInitMixin and TxDeferredInitMeta.
//
// Init is constructed by [NewInit]; the zero value panics. An Init must not be
// copied. Its methods may be called concurrently. All calls share the value.
//
// [Method] and [MethodContext] make functions that call a method of the value.
// Any other call is Then(in.Ready(), fn), or ThenFuture for a function that
// returns a future. Queued calls run one after another, in the order in which
// they were made, on the goroutine that constructed the value. A call made
// while they run, even by one of them, runs after them. Later calls run at
// once, on the goroutine of the caller. A call should not block, because it
// delays the calls after it. A panic fails only its own call.
//
// If the construction fails, every queued call and every later call fails with
// the same error. To try again, construct the value by [Retry]:
//
//	NewInit(ctx, func(ctx context.Context) (*DB, error) { return twill.Retry(ctx, connect, opts) })
//
// Canceling the future of a call cancels only that call.
type Init[T any] struct {
	f *Future[T] // never canceled by its dependents: all of them are shields
}

// NewInit starts fn on its own goroutine and returns the [Init] of fn's value.
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

// Ready returns a future of the value. Canceling that future does not cancel
// the construction.
func (in *Init[T]) Ready() *Future[T] { return in.made().Shield() }

// Cancel cancels the construction, as [Future.Cancel] does for [Go]: all queued
// calls and all later calls fail with a [*CanceledError]. It returns false if
// the value was ready or the construction had failed.
func (in *Init[T]) Cancel(cause error) bool { return in.made().Cancel(cause) }

// String returns the type, and whether the value is ready.
func (in *Init[T]) String() string {
	return printed("Init", in.printedState(), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (in *Init[T]) GoString() string { return in.String() }

// LogValue returns the text of String, for package slog.
func (in *Init[T]) LogValue() slog.Value { return slog.StringValue(in.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (in *Init[T]) Format(s fmt.State, verb rune) { formatText(s, verb, in.String()) }

func (in *Init[T]) printedState() string {
	if in.f == nil {
		return "not created by NewInit"
	}
	return stateOf(&in.f.core)
}

func (in *Init[T]) made() *Future[T] {
	if in == nil || in.f == nil {
		panic("twill: Init not created by NewInit")
	}
	return in.f
}

// Method returns a function that calls method when the [Init] in is ready, and
// returns the future of the result. With a method expression, such as
// (*DB).Query for an Init[*DB], that function is the method of a value that may
// still be under construction. For a method that takes a context see
// [MethodContext].
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
// (*DB).QueryContext. Each call of the method is started by [Go], on its own
// goroutine, and may block. Calls start in the order in which they were made,
// and may overlap.
//
// Canceling the future ends the wait, or the context of the method. If ctx ends
// before the [Init] is ready, or has ended before the call, the method is not
// called and the future fails with a [*CanceledError] for [context.Cause]. If
// ctx ends later, the method decides.
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
			if ctx.Err() != nil { // the watch on ctx may be late
				return endedFuture[R](ctx)
			}
			return Go(ctx, func(ctx context.Context) (R, error) { return method(v, ctx, arg) })
		})
	}
}
