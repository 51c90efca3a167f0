package twill

import (
	"iter"
	"time"
)

// RetryOptions say what comes after an attempt that failed, for [Retry] and
// [RetryingCall]. The zero value, and nil, go on after any error with the pauses
// of [SimpleBackoff].
//
// Options may be used by any number of calls at the same time, which do not
// change them; what their functions share is for these to guard. The functions run
// under no lock, one at a time for each call, on the goroutine that goes on with
// it. If one panics the call ends with that, a [*PanicError].
type RetryOptions struct {
	// Backoff yields the pauses between attempts; the call ends when there are no
	// more, so that n pauses allow n+1 attempts. A negative pause counts as 0.
	// nil is SimpleBackoff(). Each call iterates over it from the start, a
	// RetryingCall several times and some pauses ahead.
	Backoff iter.Seq[time.Duration]

	// Tester is asked about the error of every failed attempt. It returns nil
	// to go on, or an error to end the call with. A nil Tester goes on.
	// It is not asked about a Permanent error or a panic, which end the call, nor
	// if the context has ended.
	Tester func(err error) error

	// NewTester makes a tester for one call, which may keep what it has seen. It
	// is called after the first failure. If there is a Tester too, that is asked
	// first.
	NewTester func() func(err error) error

	// MaxElapsed is the time from the start of the call within which an attempt
	// may begin: if the next pause would end later, it is not made. It does
	// not end an attempt. 0 or less is no limit. A deadline of the context bounds
	// the pauses in the same way.
	MaxElapsed time.Duration

	// AttemptTimeout bounds each attempt: its context ends after that time, with
	// a *TimeoutError as the cause. 0 or less is no limit.
	AttemptTimeout time.Duration

	// MaxRetryAfter is the longest pause that a RetryAfterError may ask for; 0
	// is a minute, and with less than 0 nobody may ask.
	MaxRetryAfter time.Duration

	// Budget, if it is not nil, has to allow each retry.
	Budget *Budget

	// OnPause is called when an attempt has failed and another is to be made,
	// before the pause.
	OnPause func(RetryEvent)

	// OnRetry is called after the pause, right before each attempt but the
	// first: as often as there are retries. If the context ends meanwhile, there
	// is none.
	OnRetry func(RetryEvent)
}

// RetryEvent is what the hooks of [RetryOptions] are told.
type RetryEvent struct {
	Attempt int           // number of the attempt that failed, from 1
	Delay   time.Duration // the pause after it
	Elapsed time.Duration // since the call began; see RetryError
	Err     error         // what it failed with
}

var defaultRetry RetryOptions

func (o *RetryOptions) backoff() iter.Seq[time.Duration] {
	if o.Backoff == nil {
		return simpleBackoff
	}
	return o.Backoff
}

func (o *RetryOptions) maxRetryAfter() time.Duration {
	if o.MaxRetryAfter == 0 {
		return time.Minute
	}
	return o.MaxRetryAfter
}

// begin reads the clock if somebody asks for the time of the first attempt.
func (o *RetryOptions) begin() (t time.Time) {
	if o.MaxElapsed > 0 || o.OnPause != nil || o.OnRetry != nil {
		t = time.Now()
	}
	return t
}
