package twill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/twillgo/twill/internal/settle"
)

// The failures of a future other than the errors of user code.
var (
	// ErrCanceled is the target that every [*CanceledError] Is: the future was
	// canceled.
	ErrCanceled = errors.New("twill: canceled")

	// ErrGoexit is the failure of a future whose function or handler ended its
	// goroutine with [runtime.Goexit], as t.FailNow does.
	ErrGoexit = errors.New("twill: function called runtime.Goexit")

	// ErrEmpty is the failure of [Any], [First] and a [DeferredList] with
	// FireOnOneCallback that have no members.
	ErrEmpty = errors.New("twill: no futures")

	// ErrNotNeeded is the cancellation cause when a list no longer needs a member.
	ErrNotNeeded = errors.New("twill: result no longer needed")

	// ErrCycle is the failure of a future that would wait for itself, directly or
	// through others.
	ErrCycle = errors.New("twill: future waits for itself")
)

// ErrClosed is returned when something is added to a closed pool, queue or
// dictionary. It is also the failure of the futures that waited for an item
// when it was closed, and of [FromChan] when its channel is closed.
var ErrClosed = errors.New("twill: closed")

// CanceledError is the failure of a future that was canceled. It Is
// [ErrCanceled]. It Is [context.Canceled] too, unless a deadline was the
// reason: then it Is [context.DeadlineExceeded], because its cause is, as a
// [*TimeoutError] is, or because the deadline of a context has passed that has
// a cause of its own. One deadline is one error, whether it cancels a future
// or makes a function return.
type CanceledError struct {
	// Cause is the cause given to Cancel; it may be nil. If a canceler panicked,
	// the [*PanicError] is joined to it.
	Cause error

	deadline bool // of a context, which Cause does not tell
}

func (e *CanceledError) Error() string {
	if e.Cause == nil {
		return ErrCanceled.Error()
	}
	return ErrCanceled.Error() + ": " + errorText(e.Cause)
}

// Is reports whether target is [ErrCanceled], or [context.DeadlineExceeded] if
// a deadline was the reason and [context.Canceled] if not.
func (e *CanceledError) Is(target error) bool {
	switch target {
	case ErrCanceled:
		return true
	case context.Canceled:
		return !e.deadline && !is(e.Cause, context.DeadlineExceeded)
	case context.DeadlineExceeded:
		return e.deadline
	}
	return false
}

// Unwrap returns the cause.
func (e *CanceledError) Unwrap() error { return e.Cause }

// PanicError is the failure of a future whose function or handler panicked. The
// format verb %+v prints the stack too.
type PanicError struct {
	Value any    // the argument of panic
	Stack []byte // the stack of the goroutine, as [debug.Stack] formats it
}

func (e *PanicError) Error() string { return fmt.Sprintf("twill: panic: %v", e.Value) }

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Format implements [fmt.Formatter]. All verbs print the text; %+v adds the
// stack.
func (e *PanicError) Format(s fmt.State, verb rune) {
	if e == nil {
		fmt.Fprint(s, "<nil>")
		return
	}
	formatText(s, verb, e.Error())
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "\n%s", e.Stack)
	}
}

// TimeoutError is the failure of a future that [Future.Timeout] ended. It Is
// [context.DeadlineExceeded].
type TimeoutError struct {
	After time.Duration // the duration given to Timeout

	// Err is what else is known about the ended work, such as the other failures
	// of a list or the failure of a clean-up; usually nil.
	Err error
}

func (e *TimeoutError) Error() string {
	text := "twill: timed out after " + e.After.String()
	if e.Err != nil {
		text += ": " + errorText(e.Err)
	}
	return text
}

// Is reports whether target is [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns Err.
func (e *TimeoutError) Unwrap() error { return e.Err }

// Timeout reports true, as the errors of package net do.
func (e *TimeoutError) Timeout() bool { return true }

// OnUnhandled sets the function that is called with unhandled failures, and
// returns the function that it replaces. A nil function discards them. By
// default they are logged by [slog.Error] as "unhandled error in future", with
// the stack of a panic.
//
// A failure is handled by a handler that is called with it, an Await or Poll
// that returns it, a Follow, or a list. One failure is one record, and handled
// anywhere is handled. A future that fails without its handler being called
// shares the record of its source, and so does a Tap, a Finally or a handler
// that returns the very error that it was given. A Tap for metrics is therefore
// silent beside an Await that returns the error; so is a branch that is
// dropped. A wrapped or new error is a new record. A record that was not
// handled is reported once, some time after the last future that holds it
// became garbage.
//
// The following failures are not reported:
//
//   - a cancellation, unless a canceler panicked;
//   - the failure of a function whose context has ended, if the failure Is that
//     context's Err or cause. If the function joins other errors to it, as
//     [errors.Join] does, those are reported;
//   - the failure of a future on which at least one Await was made, if all its
//     Awaits have given up.
//
// An unhandled panic or Goexit is always reported, at once if its future was
// settled before. Any other failure is reported, even during a shutdown.
//
// The record keeps its error until it is handled or reported. An error that
// refers to a future that failed with it, such as an error with a [*Job] in it,
// keeps both in memory. If it is not handled, it is never reported.
//
// fn runs on its own goroutine, and may be called concurrently.
func OnUnhandled(fn func(err error)) (previous func(err error)) {
	var old *func(error)
	if fn == nil {
		old = unhandled.Swap(nil)
	} else {
		old = unhandled.Swap(&fn)
	}
	if old == nil {
		return nil
	}
	return *old
}

// SetDebug turns debug mode on or off. In debug mode futures record where they
// were made, settled and canceled. The format verb %+v and the report of an
// unhandled failure show these places. Debug mode costs a few microseconds and
// some hundred bytes for each future. The environment variable TWILLDEBUG=1
// turns it on at the start.
func SetDebug(on bool) { settle.Tracing.Store(on) }

func init() {
	settle.Caught = caught
	settle.Unhandled = isReported
	settle.Stopped = isStop
	settle.Report = func(err error, origin *settle.Origin) {
		if origin != nil {
			err = &tracedError{err, origin}
		}
		report(err)
	}
	OnUnhandled(logUnhandled)
	SetDebug(os.Getenv("TWILLDEBUG") == "1")
}

// unhandled is the function set by OnUnhandled, or nil.
var unhandled atomic.Pointer[func(error)]

func logUnhandled(err error) {
	args := []any{"error", plainError{err}}
	if p, ok := as[*PanicError](err); ok && p != nil {
		args = append(args, "stack", string(p.Stack))
	}
	if t, ok := err.(*tracedError); ok {
		args = append(args, "trace", t.origin.String())
	}
	slog.Error("unhandled error in future", args...)
}

// plainError prints the text of an error for every verb, because a
// [slog.TextHandler] formats errors with %+v.
type plainError struct{ err error }

func (e plainError) Error() string { return errorText(e.err) }

func (e plainError) Unwrap() error { return e.err }

// tracedError is an unhandled error with the origin of its future, which %+v
// prints.
type tracedError struct {
	error
	origin *settle.Origin
}

func (e *tracedError) Unwrap() error { return e.error }

// Format prints the origin for %+v.
func (e *tracedError) Format(s fmt.State, verb rune) {
	if verb != 'v' || !s.Flag('+') {
		formatText(s, verb, e.Error())
		return
	}
	fmt.Fprintf(s, "%+v\n%s", e.error, e.origin)
}

// isReported reports whether a failure is reported if it is not handled.
func isReported(fail *settle.Failure) bool {
	if unhandled.Load() == nil {
		return false
	}
	if fail.Silent() {
		return false
	}
	// A function has passed on the error of its Await of a canceled future.
	ce, ok := fail.Err.(*CanceledError)
	return !ok || ce == nil || fail.Incident || isStop(ce)
}

// How the types of this package print: their type and their state and, if a
// future failed, the type of the error. Values, keys, arguments and texts of
// errors belong to the user: they may refer to the value that is printed, and
// may be secret. Every type has the four methods, as fmt would print the fields
// of a type that lacks one of them.

// stateOf returns the state of a future as text.
func stateOf(c *settle.Core) string {
	if !c.Settled() {
		return "pending"
	}
	if fail := c.Failure(); fail != nil {
		return fmt.Sprintf("failed: %T", fail.Err)
	}
	return "resolved"
}

// printed returns the text of a value of a generic type.
func printed(name, state string, of ...reflect.Type) string {
	text := name
	for i, t := range of {
		if i == 0 {
			text += "["
		} else {
			text += ","
		}
		text += t.String()
	}
	if len(of) > 0 {
		text += "]"
	}
	if state != "" {
		text += "(" + state + ")"
	}
	return text
}

// formatText prints text as verb prints a string. %v ignores flags.
func formatText(s fmt.State, verb rune, text string) {
	if verb == 'v' {
		verb = 's'
	}
	fmt.Fprintf(s, fmt.FormatString(s, verb), text)
}

// isStop reports whether err is or wraps a panic or an exited goroutine.
func isStop(err error) bool {
	_, panicked := as[*PanicError](err)
	return panicked || is(err, ErrGoexit)
}

// failureOf records err, the error of work that was given ctx.
func failureOf(ctx context.Context, err error) *settle.Failure {
	fail := settle.NewFailure(err)
	fail.Expected = ctx.Err() != nil && isEndOf(ctx, err)
	return fail
}

// isEndOf reports whether err consists only of the end of ctx, and ctx has
// ended.
func isEndOf(ctx context.Context, err error) bool {
	end, cause := ctx.Err(), context.Cause(ctx)
	return consistsOf(err, func(e error) bool { return isSelf(e, end) || isSelf(e, cause) })
}

// answered records err, which was returned by a handler that was called with
// fail. If err is the very error of fail, it returns fail.
func answered(fail *settle.Failure, err error) *settle.Failure {
	if isSame(err, fail.Err) {
		return fail
	}
	fail.Take()
	other := settle.NewFailure(err)
	other.Expected = fail.Silent() && consistsOf(err, func(e error) bool { return isSame(e, fail.Err) })
	return other
}

// consistsOf reports whether err, or an error that it wraps, has the property.
// If err joins several errors, all of them must have it. [fmt.Errorf] with
// several %w describes one failure, so one of its errors is enough. An error
// whose methods panic does not have the property, and neither does a panic.
func consistsOf(err error, property func(error) bool) (all bool) {
	defer func() {
		if recover() != nil {
			all = false
		}
	}()
	if o, ok := err.(interface{ outcome() error }); ok {
		err = o.outcome()
	}
	if _, ok := err.(*PanicError); ok || err == nil {
		return false
	}
	if property(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return consistsOf(e.Unwrap(), property)
	case interface{ Unwrap() []error }:
		one, errs := reflect.TypeOf(err) == fmtErrors, e.Unwrap()
		if len(errs) == 0 {
			return false
		}
		for _, err := range errs {
			if consistsOf(err, property) == one {
				return one
			}
		}
		return !one
	}
	return false
}

var fmtErrors = reflect.TypeOf(fmt.Errorf("%w%w", ErrCanceled, ErrClosed))

// isSelf reports whether err itself, and not only an error that it wraps, is
// target.
func isSelf(err, target error) bool {
	if isSame(err, target) {
		return true
	}
	x, ok := err.(interface{ Is(error) bool })
	return ok && x.Is(target)
}

// isSame reports whether a and b are the very same error. It compares their
// words, as errors of some types must not be compared by ==.
func isSame(a, b error) bool {
	return *(*[2]uintptr)(unsafe.Pointer(&a)) == *(*[2]uintptr)(unsafe.Pointer(&b))
}

// is is [errors.Is] for an error whose methods may panic, such as a nil pointer
// that was returned as an error.
func is(err, target error) (ok bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// as is [errors.AsType] for an error whose methods may panic.
func as[E error](err error) (e E, ok bool) {
	defer func() { _ = recover() }()
	return errors.AsType[E](err)
}

// errorText returns the text of an error whose methods may panic.
func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprint(err) // describes the panic of Error
		}
	}()
	return err.Error()
}

// report passes err to the function set by OnUnhandled, and does not wait for
// it.
func report(err error) {
	if fn := unhandled.Load(); fn != nil {
		go func() {
			defer func() {
				if v := recover(); v != nil {
					slog.Error("twill: the function set by OnUnhandled panicked", "panic", v, "error", plainError{err})
				}
			}()
			(*fn)(err)
		}()
	}
}

// errNoFuture is the failure of a chain whose handler returned a nil future.
var errNoFuture = errors.New("twill: handler returned a nil future")

// caught returns the error for a panic with v or, if v is nil, for an exit of
// the goroutine. The function that recovers calls it, as the stack of the panic
// is available there.
func caught(v any) error {
	if v == nil {
		return ErrGoexit
	}
	return &PanicError{Value: v, Stack: debug.Stack()}
}

// endedFuture returns a future that was canceled by the end of ctx.
func endedFuture[T any](ctx context.Context) *Future[T] {
	f := new(Future[T])
	settle.Made(&f.core)
	f.settle(f.val, canceledBy(ctx))
	return f
}

// reportPanic reports what ended a callback that has no future. Its argument is
// the result of recover, which is nil for a Goexit.
func reportPanic(panicked any) { report(caught(panicked)) }

// canceled returns the failure of a future that was canceled for cause.
func canceled(cause error) *settle.Failure {
	return settle.NewCancel(&CanceledError{Cause: cause})
}

// canceledBy returns the failure of a future that was canceled by the end of
// ctx.
func canceledBy(ctx context.Context) *settle.Failure {
	cause := context.Cause(ctx)
	err := &CanceledError{Cause: cause}
	err.deadline = is(ctx.Err(), context.DeadlineExceeded) && !is(cause, context.DeadlineExceeded)
	return settle.NewCancel(err)
}

// contextFailure returns the failure of a future that ends because ctx has
// ended. If the cause of ctx is a deadline, the failure is [context.Cause]
// itself, so that a caller that waits with the same context gets the same error
// whichever notices first.
func contextFailure(ctx context.Context) *settle.Failure {
	cause := context.Cause(ctx)
	if is(cause, context.DeadlineExceeded) {
		return settle.NewCancel(cause)
	}
	return canceledBy(ctx)
}

// isCancel reports whether err is, or wraps, the error of a cancel.
func isCancel(err error) bool { return is(err, ErrCanceled) }

// causeOf returns the argument of a canceler, if err is the outcome of a
// cancel.
func causeOf(err error) error {
	if ce, ok := as[*CanceledError](err); ok && ce != nil && ce.Cause != nil {
		return ce.Cause
	}
	return ErrCanceled
}
