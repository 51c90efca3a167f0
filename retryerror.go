package twill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Why a retrying call gave up, if not for a context, a cancel or a panic. Each
// is, or is found by [errors.Is] in, the Reason of a [*RetryError].
var (
	// ErrRetriesExhausted: the sequence of pauses has come to its end.
	ErrRetriesExhausted = errors.New("twill: no retries left")

	// ErrNotRetryable: the error was [Permanent], or a tester stopped with an
	// error, which is found in the Reason too.
	ErrNotRetryable = errors.New("twill: not to be retried")

	// ErrMaxElapsed: the next attempt would have begun after MaxElapsed.
	ErrMaxElapsed = errors.New("twill: maximal time for attempts is over")

	// ErrNoBudget: the [Budget] does not allow a retry.
	ErrNoBudget = errors.New("twill: retry budget used up")
)

// RetryError is the failure of [Retry] and of a [RetryingCall]. [errors.Is] and
// [errors.As] find the reason and the errors of the attempts in it, the latest
// attempt first.
type RetryError struct {
	// Reason says why there was no further attempt:
	//
	//   - ErrRetriesExhausted, ErrMaxElapsed or ErrNoBudget,
	//   - an error that is ErrNotRetryable and the tester's error,
	//   - an error that is the Err and the cause of the context that has ended,
	//   - one that is context.DeadlineExceeded if the pause would have passed
	//     the deadline of the context,
	//   - a *CanceledError if the future of a RetryingCall was cancelled,
	//   - a *PanicError or ErrGoexit, from the function or from a tester, hook
	//     or sequence.
	Reason error

	// Attempts is the number of attempts made; none if the context had ended
	// before.
	Attempts int

	// Elapsed is the time since the call began, attempts and pauses together.
	// Retry only reads the clock before the first attempt if it has a
	// MaxElapsed or a hook, as that would cost more than the rest of a call that
	// succeeds; without these, the time that attempt took is not included.
	Elapsed time.Duration

	// Errs are the errors of the attempts in their order, without the mark of
	// [Permanent]: all of them up to 100, from there on the first and the last
	// 99.
	Errs []error
}

// maxRetryErrs is the most errors kept, as a call may go on for weeks.
const maxRetryErrs = 100

func (e *RetryError) Error() string {
	reason := strings.TrimPrefix(fmt.Sprint(e.Reason), "twill: ")
	if e.Attempts == 0 {
		return "twill: not attempted: " + reason
	}
	s := ""
	if e.Attempts > 1 {
		s = "s"
	}
	text := fmt.Sprintf("twill: gave up after %d attempt%s in %v: %s", e.Attempts, s, e.Elapsed, reason)
	if len(e.Errs) > 0 {
		last := fmt.Sprint(e.Last())
		if !strings.HasSuffix(text, strings.TrimPrefix(last, "twill: ")) {
			text += "; last error: " + last
		}
	}
	return text
}

// Unwrap returns the reason and the errors of the attempts, the latest first.
func (e *RetryError) Unwrap() []error {
	errs := make([]error, 0, 1+len(e.Errs))
	if e.Reason != nil {
		errs = append(errs, e.Reason)
	}
	for _, err := range slices.Backward(e.Errs) {
		errs = append(errs, err)
	}
	return errs
}

// First returns the error of the first attempt, nil if there was none: that is
// what the recipe fails with.
func (e *RetryError) First() error {
	if len(e.Errs) == 0 {
		return nil
	}
	return e.Errs[0]
}

// Last returns the error of the last attempt, nil if there was none.
func (e *RetryError) Last() error {
	if len(e.Errs) == 0 {
		return nil
	}
	return e.Errs[len(e.Errs)-1]
}

// stopError is a reason that is two errors: what kind it is, and which.
type stopError struct{ kind, err error }

func (e *stopError) Error() string { return e.kind.Error() + ": " + e.err.Error() }

func (e *stopError) Unwrap() []error { return []error{e.kind, e.err} }

var errPauseTooLong = errors.New("the pause would pass the deadline")

// ended is why a call ends whose context has ended.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err {
		return err
	}
	return &stopError{err, cause}
}
