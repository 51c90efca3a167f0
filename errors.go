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

// How a future fails other than by an error of the code it runs.
var (
	// ErrCanceled is what a [*CanceledError] Is: the future was canceled.
	ErrCanceled = errors.New("twill: canceled")

	// ErrGoexit is the failure of a future whose function or handler ended its
	// goroutine with [runtime.Goexit], as t.FailNow does.
	ErrGoexit = errors.New("twill: function called runtime.Goexit")

	// ErrEmpty is the failure of [Any], [First] and a [DeferredList] with
	// FireOnOneCallback that have no members.
	ErrEmpty = errors.New("twill: no futures")

	// ErrNotNeeded is the cause of the cancel of a future whose result a list
	// no longer needs.
	ErrNotNeeded = errors.New("twill: result no longer needed")

	// ErrCycle is the failure of a future that was made to wait for itself,
	// directly or through others.
	ErrCycle = errors.New("twill: future waits for itself")
)

// ErrClosed is returned by what adds to a pool, a queue or a dictionary that
// was closed, and is the failure of what still waited for one, and of
// [FromChan] when its channel is closed.
var ErrClosed = errors.New("twill: closed")

// CanceledError is the failure of a future that was canceled. It Is
// [ErrCanceled]. It Is [context.Canceled] too, unless its cause Is
// [context.DeadlineExceeded], as a [*TimeoutError] is: one deadline is one
// error, whether a future is canceled by it or a function returns because of
// it.
type CanceledError struct {
	// Cause is what was given to Cancel; it may be nil. If a canceler
	// panicked, its [*PanicError] is joined to it.
	Cause error
}

func (e *CanceledError) Error() string {
	if e.Cause == nil {
		return ErrCanceled.Error()
	}
	return ErrCanceled.Error() + ": " + errorText(e.Cause)
}

// Is reports whether target is [ErrCanceled] or, unless a deadline is the
// cause, [context.Canceled].
func (e *CanceledError) Is(target error) bool {
	return target == ErrCanceled || target == context.Canceled && !is(e.Cause, context.DeadlineExceeded)
}

// Unwrap returns the cause.
func (e *CanceledError) Unwrap() error { return e.Cause }

// PanicError is the failure of a future whose function or handler panicked. The
// format verb %+v prints the stack too.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // the stack of the goroutine, as [debug.Stack] formats it
}

func (e *PanicError) Error() string { return fmt.Sprintf("twill: panic: %v", e.Value) }

// Unwrap returns the value of the panic if that is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// Format implements [fmt.Formatter]: the text for every verb, and the stack for
// %+v.
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
	After time.Duration // the time it was given

	// Err is what else is known of the work that was ended, such as the other
	// failures of a list or that of a clean-up; mostly nil.
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

// OnUnhandled sets the function that is called with failures that were not
// handled, and returns the function that it replaces; nil discards them. By
// default they are logged by [slog.Error] as "unhandled error in future", with
// the stack of a panic.
//
// A failure is handled by a handler that is called with it, an Await or Poll
// that returns it, a Follow, or a list. One failure is one record, and handled
// anywhere is handled: all futures share it that fail without their handler
// being called, and those of a Tap, a Finally or a handler that returns the
// very error it was given. So a Tap for metrics is silent beside an Await that
// returns the error; so is a branch that is dropped. A wrapped or new error is
// a new record. A record that was not handled is reported once, some time after
// the last future that holds it became garbage.
//
// Not reported are
//
//   - a cancellation, unless a canceler panicked;
//   - the failure of a function whose context has ended, if it Is that context's
//     Err or cause. A function that joins others to it, as [errors.Join] does, is
//     reported for those;
//   - the failure of a future on which an Await was made, if all that were made
//     have given up.
//
// A panic, or a Goexit, is always reported if it was not handled; at once if
// its future was settled before. Any other failure is reported, during a
// shutdown too.
//
// The record keeps its error until it is handled or reported. An error that
// leads to a future that failed by it, such as one with a [*Job] in it, keeps
// both in memory until then, and is therefore never reported if it is not
// handled.
//
// fn runs on a goroutine of its own, and may be called by several at a time.
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

// SetDebug turns debug mode on or off. While it is on, futures record where
// they were made, settled and canceled; the format verb %+v shows that, and so
// does the report of an unhandled failure. It costs a few microseconds and some
// hundred bytes for each future. The environment variable TWILLDEBUG=1 turns it
// on from the start.
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

// unhandled is the function that OnUnhandled set; nil for silence.
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

// plainError is an error that prints its text for every verb: a
// [slog.TextHandler] formats errors with %+v.
type plainError struct{ err error }

func (e plainError) Error() string { return errorText(e.err) }

func (e plainError) Unwrap() error { return e.err }

// tracedError is an unhandled error with its future's origin, which %+v shows.
type tracedError struct {
	error
	origin *settle.Origin
}

func (e *tracedError) Unwrap() error { return e.error }

// Format shows the origin for %+v.
func (e *tracedError) Format(s fmt.State, verb rune) {
	if verb != 'v' || !s.Flag('+') {
		formatText(s, verb, e.Error())
		return
	}
	fmt.Fprintf(s, "%+v\n%s", e.error, e.origin)
}

// isReported reports whether a failure is to be reported if it is not handled.
func isReported(fail *settle.Failure) bool {
	if unhandled.Load() == nil {
		return false
	}
	if fail.Silent() {
		return false
	}
	// What an Await of a canceled future returned and a function passed on.
	ce, ok := fail.Err.(*CanceledError)
	return !ok || ce == nil || fail.Incident || isStop(ce)
}

// formatText prints text as a string is printed for verb, and for %v whatever
// the flags.
func formatText(s fmt.State, verb rune, text string) {
	if verb == 'v' {
		verb = 's'
	}
	fmt.Fprintf(s, fmt.FormatString(s, verb), text)
}

// isStop reports whether err tells of a panic or of an exited goroutine.
func isStop(err error) bool {
	_, panicked := as[*PanicError](err)
	return panicked || is(err, ErrGoexit)
}

// failureOf records err, with which the work that ctx was given to has ended.
func failureOf(ctx context.Context, err error) *settle.Failure {
	fail := settle.NewFailure(err)
	fail.Expected = ctx.Err() != nil && isEndOf(ctx, err)
	return fail
}

// isEndOf reports whether err says nothing but that ctx, which has ended, has.
func isEndOf(ctx context.Context, err error) bool {
	end, cause := ctx.Err(), context.Cause(ctx)
	return consistsOf(err, func(e error) bool { return isSelf(e, end) || isSelf(e, cause) })
}

// answered records err, which a handler has returned that was called with fail:
// the same failure if it is the very error.
func answered(fail *settle.Failure, err error) *settle.Failure {
	if isSame(err, fail.Err) {
		return fail
	}
	fail.Take()
	other := settle.NewFailure(err)
	other.Expected = fail.Silent() && consistsOf(err, func(e error) bool { return isSame(e, fail.Err) })
	return other
}

// consistsOf reports whether err is an error that has the property, or wraps
// one, and if several errors are joined in it whether all are. [fmt.Errorf]
// with several %w describes one failure, of which one error is enough. An error
// whose methods panic has no property, nor has that of a panic.
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

// isSame reports whether a and b are the very same error. Their words are
// compared, as errors of some types must not be compared by ==.
func isSame(a, b error) bool {
	return *(*[2]uintptr)(unsafe.Pointer(&a)) == *(*[2]uintptr)(unsafe.Pointer(&b))
}

// is is [errors.Is] for an error whose methods may panic, as those of a nil
// pointer do that was returned as an error.
func is(err, target error) (ok bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, target)
}

// as is [errors.AsType] for such an error.
func as[E error](err error) (e E, ok bool) {
	defer func() { _ = recover() }()
	return errors.AsType[E](err)
}

// errorText is the text of such an error.
func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprint(err) // says what is wrong with it
		}
	}()
	return err.Error()
}

// report tells of err without waiting for it.
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

// caught is what a panic with v, or an exit of the goroutine if v is nil, is as
// an error. It is called by the function that recovers, where the stack of the
// panic is still there.
func caught(v any) error {
	if v == nil {
		return ErrGoexit
	}
	return &PanicError{Value: v, Stack: debug.Stack()}
}

// endedFuture is a future that the end of ctx has canceled.
func endedFuture[T any](ctx context.Context) *Future[T] {
	f := new(Future[T])
	settle.Made(&f.core)
	f.settle(f.val, canceled(context.Cause(ctx)))
	return f
}

// reportPanic reports what ended a callback that no future stands for: what
// recover returned, nil for a Goexit.
func reportPanic(panicked any) { report(caught(panicked)) }

// canceled is the failure that a cancel for cause makes.
func canceled(cause error) *settle.Failure {
	return settle.NewCancel(&CanceledError{Cause: cause})
}

// contextFailure is the failure of a future that ends because ctx has ended. It
// is [context.Cause] itself if that is a deadline, so that a caller that waits
// with the same context gets the same error, whichever notices first.
func contextFailure(ctx context.Context) *settle.Failure {
	cause := context.Cause(ctx)
	if is(cause, context.DeadlineExceeded) {
		return settle.NewCancel(cause)
	}
	return canceled(cause)
}

// isCancel reports whether err is that of a cancel, or wraps one.
func isCancel(err error) bool { return is(err, ErrCanceled) }

// causeOf is the cause that a canceler is called with, if err is the outcome of
// a cancel.
func causeOf(err error) error {
	if ce, ok := as[*CanceledError](err); ok && ce != nil && ce.Cause != nil {
		return ce.Cause
	}
	return ErrCanceled
}
