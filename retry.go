package twill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Retry calls fn until it succeeds, and returns its value, or until there is a
// reason to give up, and returns a [*RetryError] with the reason and the errors of all
// attempts. opts say how it goes on; they may be nil. It blocks: [RetryingCall]
// gives a future.
//
// If ctx has ended, fn is not called. If it ends later, that ends a pause at once, and
// the attempt underway if fn heeds its context: Retry returns when fn does. An
// attempt that succeeds has succeeded, whether ctx has ended or not.
//
// fn's context is ctx or, with an AttemptTimeout, one of its own for each
// attempt, which ends when fn returns. A panic of fn ends the call with a
// [*PanicError] and is not retried.
func Retry[T any](ctx context.Context, fn func(ctx context.Context) (T, error), opts *RetryOptions) (T, error) {
	if ctx == nil {
		panic("twill: Retry with a nil context")
	}
	if fn == nil {
		panic("twill: Retry with a nil function")
	}
	if opts == nil {
		opts = &defaultRetry
	}
	if ctx.Err() != nil {
		var zero T
		return zero, &RetryError{Reason: ended(ctx)}
	}
	// Nothing is made before the first attempt: most calls need no other.
	start := opts.begin()
	v, err := tryOnce(ctx, fn, opts)
	if err != nil {
		return retry(ctx, fn, opts, start, err)
	}
	if opts.Budget != nil {
		opts.Budget.earn()
	}
	return v, nil
}

// retry is what Retry does after the first attempt failed with err.
func retry[T any](ctx context.Context, fn func(context.Context) (T, error), opts *RetryOptions, start time.Time, err error) (v T, failure error) {
	var zero T
	r := new(retryState)
	r.begin(ctx, opts, start)
	defer func() {
		p := recover() // a panic that was not fn's
		if !r.over {   // nor if the goroutine exits
			r.refund()
		}
		if p != nil {
			v, failure = zero, r.gaveUp(caught(p))
		}
	}()
	if reason := r.failed(err); reason != nil {
		return zero, r.gaveUp(reason)
	}
	for d := range opts.backoff() {
		d, reason := r.pause(d)
		if reason == nil {
			r.sleep(d)
			reason = r.resume()
		}
		if reason == nil {
			v, err := tryOnce(ctx, fn, opts)
			if err == nil {
				r.succeeded()
				return v, nil
			}
			reason = r.failed(err)
		}
		if reason != nil {
			return zero, r.gaveUp(reason)
		}
	}
	return zero, r.gaveUp(ErrRetriesExhausted)
}

// tryOnce makes an attempt. A panic of fn is an error.
func tryOnce[T any](ctx context.Context, fn func(context.Context) (T, error), opts *RetryOptions) (v T, err error) {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				err = caught(p)
			}
		}
	}()
	if d := opts.AttemptTimeout; d > 0 {
		v, err = tryFor(ctx, d, fn)
	} else {
		v, err = fn(ctx)
	}
	returned = true
	return v, err
}

// tryFor calls fn with a context of its own that ends after d.
func tryFor[T any](ctx context.Context, d time.Duration, fn func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d, &TimeoutError{After: d})
	defer cancel()
	return fn(ctx)
}

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

// retryState is what is known of one call, and the rules by which it goes on:
// the same for [Retry], which loops, and for a [RetryingCall], which does not
// block. One goroutine at a time uses it.
//
// The steps are: an attempt, failed, pause, the pause itself, resume, and the
// next attempt. Each step returns the reason to end the call, if there is one.
type retryState struct {
	ctx      context.Context // of the call, as long as that lasts
	opts     *RetryOptions
	canceled func() error      // the reason if the call was cancelled; nil for Retry
	tester   func(error) error // made by NewTester
	start    time.Time
	deadline time.Time     // of ctx
	bounded  bool          // there is a deadline
	timer    *time.Timer   // used again for each pause of Retry
	delay    time.Duration // the last pause
	attempts int           // those that failed
	last     error         // what the last of them failed with
	said     traits        // what that says
	errs     []error       // of all, at most maxRetryErrs
	few      [4]error      // where errs is at first
	token    bool          // was taken for a retry that is not made yet, or not through
	over     bool          // succeeded or gaveUp was called
}

// begin starts the bookkeeping, at the latest when the first attempt has
// failed.
func (r *retryState) begin(ctx context.Context, opts *RetryOptions, start time.Time) {
	r.ctx, r.opts, r.start = ctx, opts, start
	r.deadline, r.bounded = ctx.Deadline()
	r.errs = r.few[:0]
	if r.start.IsZero() {
		r.start = time.Now()
	}
}

// failed notes that an attempt failed with err.
func (r *retryState) failed(err error) error {
	r.note(unmarked(err))
	r.said = traits{}
	r.said.look(err)
	if r.said.fatal {
		r.refund()
		return unmarked(err)
	}
	reason := r.ended()
	if reason == nil {
		if stop := r.test(err); stop != nil {
			reason = &stopError{ErrNotRetryable, unmarked(stop)}
		}
	}
	if b := r.opts.Budget; b != nil && reason == nil {
		r.token = b.fail() // that for this attempt is spent, as it was made
	}
	return reason
}

func (r *retryState) note(err error) {
	r.attempts++
	r.last = err
	if len(r.errs) < maxRetryErrs {
		r.errs = append(r.errs, err)
	} else {
		r.errs[r.place(r.attempts)] = err
	}
}

// place is where the error of attempt n is kept: behind the first one, the
// others take turns.
func (r *retryState) place(n int) int { return 1 + (n-2)%(maxRetryErrs-1) }

// test asks the mark of Permanent and the testers.
func (r *retryState) test(err error) (stop error) {
	if r.said.permanent {
		return err
	}
	if t := r.opts.Tester; t != nil {
		stop = t(err)
	}
	if stop != nil || r.opts.NewTester == nil {
		return stop
	}
	if r.tester == nil {
		r.tester = r.opts.NewTester()
	}
	return r.tester(err)
}

// pause returns how long to wait for the next attempt if the sequence says d.
func (r *retryState) pause(d time.Duration) (time.Duration, error) {
	d = max(d, 0, min(r.said.after, r.opts.maxRetryAfter()))
	if r.bounded && d >= time.Until(r.deadline) {
		return 0, &stopError{context.DeadlineExceeded, errPauseTooLong}
	}
	if most := r.opts.MaxElapsed; most > 0 && d >= most-time.Since(r.start) {
		return 0, ErrMaxElapsed
	}
	if r.opts.Budget != nil && !r.token {
		return 0, ErrNoBudget
	}
	r.delay = d
	r.tell(r.opts.OnPause)
	return d, nil
}

// sleep returns after d, or when the context ends.
func (r *retryState) sleep(d time.Duration) {
	if d == 0 {
		return
	}
	if r.timer == nil {
		r.timer = time.NewTimer(d)
	} else {
		r.timer.Reset(d)
	}
	select {
	case <-r.timer.C:
	case <-r.ctx.Done():
	}
}

// resume is called after the pause, as the next attempt is about to be made.
func (r *retryState) resume() error {
	reason := r.ended()
	if reason == nil && r.opts.OnRetry != nil {
		r.tell(r.opts.OnRetry)
		reason = r.ended()
	}
	if reason != nil {
		r.refund()
	}
	return reason
}

func (r *retryState) tell(hook func(RetryEvent)) {
	if hook != nil {
		hook(RetryEvent{r.attempts, r.delay, time.Since(r.start), r.last})
	}
}

// ended is the reason if the call was cancelled or its context has ended.
func (r *retryState) ended() error {
	if r.canceled != nil {
		if reason := r.canceled(); reason != nil {
			return reason
		}
	}
	if r.ctx.Err() != nil {
		return ended(r.ctx)
	}
	return nil
}

// succeeded is called when an attempt has succeeded.
func (r *retryState) succeeded() {
	r.token = false
	r.over = true
	if b := r.opts.Budget; b != nil {
		b.earn()
	}
}

// refund gives a token back that was taken for a retry that is not made.
func (r *retryState) refund() {
	if r.token {
		r.token = false
		r.opts.Budget.refund()
	}
}

// gaveUp ends the call. A token that was not given back by now is spent.
func (r *retryState) gaveUp(reason error) *RetryError {
	r.token = false
	r.over = true
	return r.report(reason)
}

// report tells of the attempts so far.
func (r *retryState) report(reason error) *RetryError {
	errs := slices.Clone(r.errs)
	if r.attempts > maxRetryErrs {
		oldest := r.place(r.attempts + 1)
		errs = slices.Concat(r.errs[:1], r.errs[oldest:], r.errs[1:oldest])
	}
	return &RetryError{Reason: reason, Attempts: r.attempts, Elapsed: time.Since(r.start), Errs: errs}
}

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

// outcome is why the call ended: an attempt alone may have been canceled.
func (e *RetryError) outcome() error { return e.Reason }

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

// A failure tester looks at the error of an attempt and returns nil if the call
// is to go on, or an error to stop with; see Tester in [RetryOptions].

// Permanent returns err marked as one that is not to be retried: a function
// returns it to end its call. The mark is for [Retry] and [RetryingCall] and
// does not show otherwise; Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// unmarked is err without the mark that Permanent put around it.
func unmarked(err error) error {
	for {
		e, ok := err.(*permanentError)
		if !ok {
			return err
		}
		err = e.err
	}
}

// RetryIf returns a tester that goes on with errors for which retry reports
// true, and stops with others.
func RetryIf(retry func(err error) bool) func(err error) error {
	if retry == nil {
		panic("twill: RetryIf with a nil function")
	}
	return func(err error) error {
		if retry(err) {
			return nil
		}
		return err
	}
}

// RetryAtMost returns a maker of testers, for NewTester in [RetryOptions], that go on
// with any error, but only n times in a call with one that match reports true for. So the
// tester of the recipe, to which exactly one 404 is allowed, is
// RetryAtMost(1, is404).
func RetryAtMost(n int, match func(err error) bool) func() func(err error) error {
	if match == nil {
		panic("twill: RetryAtMost with a nil function")
	}
	return func() func(error) error {
		left := n
		return func(err error) error {
			if !match(err) {
				return nil
			}
			if left <= 0 {
				return err
			}
			left--
			return nil
		}
	}
}

// traits is what an error says about another attempt, wherever in its tree.
type traits struct {
	fatal     bool          // it shows a fault of the program, which another attempt cannot help
	permanent bool          // it is marked so
	after     time.Duration // the first time that a RetryAfterError asks for
}

// look adds what err says. One walk for all, because it is made for every
// failed attempt.
func (t *traits) look(err error) {
	for err != nil {
		switch e := err.(type) {
		case *PanicError:
			t.fatal = true
		case *permanentError:
			t.permanent = true
		case *RetryAfterError:
			if e != nil && t.after <= 0 {
				t.after = e.After
			}
		case *RetryError: // of a call inside: what it ended with, and not what went before
			if e == nil {
				return
			}
			t.look(e.Reason)
			err = e.Last()
			continue
		}
		if err == ErrGoexit || err == errNoFuture {
			t.fatal = true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				t.look(err)
			}
			return
		default:
			return
		}
	}
}

// RetryAfterError is the error of an attempt together with the time after which
// the server asked to be tried again. [Retry] and a [RetryingCall] find it also
// where it is wrapped, and pause for that long if it is longer than their own
// pause, but no longer than MaxRetryAfter.
type RetryAfterError struct {
	After time.Duration // 0 or less says nothing
	Err   error
}

func (e *RetryAfterError) Error() string {
	if e == nil || e.Err == nil {
		return "twill: retry later"
	}
	return e.Err.Error()
}

// Unwrap returns the error of the attempt.
func (e *RetryAfterError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// RetryAfter returns err as a [*RetryAfterError], or nil if err is nil.
func RetryAfter(after time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return &RetryAfterError{After: after, Err: err}
}

// RetryAfterHeader is [RetryAfter] with the time that the Retry-After field of an
// HTTP response asks for: header is a [net/http.Header]. Seconds and the three
// forms of dates in HTTP are understood; a date is compared with the clock of
// this machine. Where the field is missing, says something else, or says a time
// that is over, err is returned as it is.
func RetryAfterHeader(header map[string][]string, err error) error {
	if fields := header["Retry-After"]; len(fields) > 0 && err != nil {
		if after := parseRetryAfter(fields[0]); after > 0 {
			return RetryAfter(after, err)
		}
	}
	return err
}

// The dates of HTTP, the one in use first (RFC 9110, section 5.6.7).
var httpDates = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC}

// parseRetryAfter returns the time that a field asks for, 0 or less if it asks
// for none. The largest duration stands for what is larger.
func parseRetryAfter(field string) time.Duration {
	field = strings.Trim(field, " \t")
	if field == "" {
		return 0
	}
	if strings.Trim(field, "0123456789") == "" {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil || n > math.MaxInt64/int64(time.Second) {
			return math.MaxInt64
		}
		return time.Duration(n) * time.Second
	}
	for _, layout := range httpDates {
		if t, err := time.Parse(layout, field); err == nil {
			return time.Until(t)
		}
	}
	return 0
}
