package twill

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/twillgo/twill/internal/settle"
)

// unhandled is the function that OnUnhandled set; nil for silence.
var unhandled atomic.Pointer[func(error)]

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

func logUnhandled(err error) {
	args := []any{"error", err}
	var t *tracedError
	if errors.As(err, &t) {
		args = append(args, "trace", t.origin.String())
	}
	slog.Error("unhandled error in future", args...)
}

func init() {
	OnUnhandled(logUnhandled)
	settle.Unhandled = isIncident
	settle.Report = func(fail *settle.Failure) {
		if o, ok := fail.Origin.(*origin); ok {
			report(&tracedError{fail.Err, o})
			return
		}
		report(fail.Err)
	}
}

// isIncident reports whether the failure of c is to be reported if nobody
// takes it.
func isIncident(c *settle.Core, fail *settle.Failure) bool {
	if unhandled.Load() == nil || isHarmless(fail.Err) {
		return false
	}
	if o := originOf(c); o != nil {
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
		case *RetryError:
			return e.Reason
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
