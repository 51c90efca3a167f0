package twill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// How a future fails other than by an error of the code it runs.
var (
	// ErrCanceled is what a [*CanceledError] Is: the future was cancelled.
	ErrCanceled = errors.New("twill: canceled")

	// ErrGoexit is the failure of a future whose function or handler ended its
	// goroutine with [runtime.Goexit], as t.FailNow does.
	ErrGoexit = errors.New("twill: function called runtime.Goexit")

	// ErrEmpty is the failure of [Any], [First] and a [DeferredList] with
	// FireOnOneCallback that have no members.
	ErrEmpty = errors.New("twill: no futures")

	// ErrNotNeeded is the cause of the cancel of a future whose result a list no
	// longer needs.
	ErrNotNeeded = errors.New("twill: result no longer needed")

	// ErrCycle is the failure of a future that was made to wait for itself,
	// directly or through others.
	ErrCycle = errors.New("twill: future waits for itself")
)

// ErrClosed is returned by what adds to a pool, a queue or a dictionary that was
// closed, and is the failure of what still waited for one, and of [FromChan]
// when its channel is closed.
var ErrClosed = errors.New("twill: closed")

// CanceledError is the failure of a future that was cancelled.
// errors.Is(err, ErrCanceled) and errors.Is(err, context.Canceled) hold for it.
type CanceledError struct {
	// Cause is what was given to Cancel; it may be nil. If a canceller
	// panicked, its [*PanicError] is joined to it.
	Cause error
}

func (e *CanceledError) Error() string {
	if e.Cause == nil {
		return ErrCanceled.Error()
	}
	return ErrCanceled.Error() + ": " + e.Cause.Error()
}

// Is reports whether target is [ErrCanceled] or [context.Canceled].
func (e *CanceledError) Is(target error) bool {
	return target == ErrCanceled || target == context.Canceled
}

// Unwrap returns the cause.
func (e *CanceledError) Unwrap() error { return e.Cause }

// PanicError is the failure of a future whose function or handler panicked.
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

// TimeoutError is the failure of a future that [Future.Timeout] ended.
// errors.Is(err, context.DeadlineExceeded) holds for it.
type TimeoutError struct {
	After time.Duration // the time it was given
}

func (e *TimeoutError) Error() string { return "twill: timed out after " + e.After.String() }

// Is reports whether target is [context.DeadlineExceeded].
func (e *TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// Timeout reports true, as the errors of package net do.
func (e *TimeoutError) Timeout() bool { return true }

// OnUnhandled sets the function that is told of failures nobody took, and
// returns the one it replaces; nil is silence. By default they are logged by
// [slog.Error] as "unhandled error in future".
//
// A failure is taken by a handler, an Await, a Poll or a Follow; a handler that
// passes it on hands it to its own future. A failed future that becomes garbage
// with its failure untaken is reported once, some time after, as the garbage collector
// comes by. A future that was cancelled is no incident and not reported, unless
// a canceller panicked.
// Also reported, at once, is the panic of a function whose future was settled before.
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
// they were made, settled and cancelled; the format verb %+v shows that, and so does
// the report of an unhandled failure. It costs a few microseconds and some
// hundred bytes for each future. The environment variable TWILLDEBUG=1 turns it on from the start.
func SetDebug(on bool) { settle.Tracing.Store(on) }

func init() {
	settle.Caught = caught
	settle.Unhandled = isIncident
	settle.Report = func(fail *settle.Failure) {
		if fail.Origin != nil {
			report(&tracedError{fail.Err, fail.Origin})
			return
		}
		report(fail.Err)
	}
	OnUnhandled(logUnhandled)
	SetDebug(os.Getenv("TWILLDEBUG") == "1")
}

// unhandled is the function that OnUnhandled set; nil for silence.
var unhandled atomic.Pointer[func(error)]

func logUnhandled(err error) {
	args := []any{"error", err}
	var t *tracedError
	if errors.As(err, &t) {
		args = append(args, "trace", t.origin.String())
	}
	slog.Error("unhandled error in future", args...)
}

// tracedError is an unhandled error with its future's origin, which %+v shows.
type tracedError struct {
	error
	origin *settle.Origin
}

func (e *tracedError) Unwrap() error { return e.error }

// Format shows the origin for %+v.
func (e *tracedError) Format(s fmt.State, verb rune) {
	fmt.Fprint(s, e.Error())
	if verb == 'v' && s.Flag('+') {
		fmt.Fprintf(s, "\n%s", e.origin)
	}
}

// isIncident reports whether the failure of c is to be reported if nobody
// takes it.
func isIncident(c *settle.Core, fail *settle.Failure) bool {
	if unhandled.Load() == nil || isHarmless(fail.Err) {
		return false
	}
	if o := settle.OriginOf(c); o != nil {
		fail.Origin = o
	}
	return true
}

// isHarmless reports whether err is that of a cancel, in which no canceller
// panicked. One whose methods panic is not.
func isHarmless(err error) (is bool) {
	defer func() { _ = recover() }()
	if !errors.Is(outcome(err), context.Canceled) {
		return false
	}
	_, panicked := errors.AsType[*PanicError](err)
	return !panicked
}

// outcome is err or, if that is of retries, also as those of a list's member, the
// reason why they ended: an attempt may have been cancelled by itself.
func outcome(err error) error {
	for why := err; why != nil; why = errors.Unwrap(why) {
		switch e := why.(type) {
		case interface{ outcome() error }:
			return e.outcome()
		case *CanceledError: // whatever its cause
			return err
		}
	}
	return err
}

// report tells of err without waiting for it.
func report(err error) {
	if fn := unhandled.Load(); fn != nil {
		go func() {
			defer func() {
				if v := recover(); v != nil {
					slog.Error("twill: the function set by OnUnhandled panicked", "panic", v, "error", err)
				}
			}()
			(*fn)(err)
		}()
	}
}

// errNoFuture is the failure of a chain whose handler returned a nil future.
var errNoFuture = errors.New("twill: handler returned a nil future")

// caught is what a panic with v, or an exit of the goroutine if v is nil, is
// as an error. It is called by the function that recovers, where the stack of the
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

// isCancel reports whether err is the outcome of a cancel. One whose methods
// panic, as those of a nil pointer do that was returned as an error, is not.
func isCancel(err error) (is bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, ErrCanceled)
}

// causeOf is what a canceller is told of err, the outcome of a cancel.
func causeOf(err error) (cause error) {
	cause = ErrCanceled
	defer func() { _ = recover() }()
	if ce, ok := errors.AsType[*CanceledError](err); ok && ce.Cause != nil {
		cause = ce.Cause
	}
	return cause
}
