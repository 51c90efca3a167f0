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
// reason to stop, and returns a [*RetryError] with the reason and the errors of
// all attempts. opts determine when and how fn is called again; they may be
// nil. Retry blocks; a [RetryingCall] returns a future.
//
// No attempt begins after ctx has ended. The end of ctx ends a pause at once.
// It ends an attempt underway if fn heeds its context: Retry returns when fn
// does. An attempt that succeeds is a success even if ctx has ended.
//
// fn is called on the caller's goroutine. Its context is ctx or, with an
// AttemptTimeout, a separate context for each attempt, which ends when fn
// returns. A panic of fn ends the call with a [*PanicError] and is not retried.
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
	// Nothing is allocated before the first attempt, as most calls need no other.
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

// RetryOptions determine what follows a failed attempt of [Retry], of a
// [RetryingCall] or of a job of a [ResizableDispatchQueue]. The zero value, and
// nil, retry after any error with the default Backoff.
//
// RetryOptions may be shared by concurrent calls and are never modified.
// Callbacks must synchronize any state they share. They run under no lock, one
// at a time for each call, on the goroutine that continues the call. If a
// callback panics, the call ends with a [*PanicError].
type RetryOptions struct {
	// Backoff yields the pauses between attempts. The call ends when the sequence
	// does, so that n pauses allow n+1 attempts. A negative pause counts as 0. A
	// nil Backoff means the default, EqualJitter(SimpleBackoff()): the first retry
	// at once, then nine more after pauses that grow to at most 2.56 seconds.
	//
	// Each call iterates over Backoff from the start. A RetryingCall and a job do
	// so again for each pause and skip the pauses that they have used; from the
	// 33rd pause on they read up to a sixteenth ahead.
	Backoff iter.Seq[time.Duration]

	// NewTester makes the failure tester of one call: a function that is called
	// with the error of each failed attempt and returns nil to go on, or an error
	// to end the call with. NewTester is called after the first failure, so that
	// the tester may keep state for its call; [RetryIf] makes a tester without
	// state. With a nil NewTester the call goes on after any error.
	//
	// The tester is not called for a [Permanent] error or a panic, which end the
	// call, nor if the context has ended.
	NewTester func() func(err error) error

	// MaxElapsed is the time since the start of the call within which an attempt
	// may begin. The call ends without a pause that would last longer, and without
	// an attempt that cannot begin in time, for example because the job's queue
	// was paused or a timer was late. MaxElapsed does not end an attempt. 0 or
	// less means no limit. A deadline of the context limits the pauses in the same
	// way.
	MaxElapsed time.Duration

	// AttemptTimeout limits each attempt: its context ends after that time, with a
	// [*TimeoutError] as the cause. 0 or less means no limit.
	AttemptTimeout time.Duration

	// MaxRetryAfter is the longest pause that a [RetryAfterError] can ask for.
	// 0 means one minute; a negative value ignores such requests.
	MaxRetryAfter time.Duration

	// Budget, if not nil, must allow each retry.
	Budget *Budget

	// OnPause is called before each pause, when an attempt has failed and another
	// attempt is to follow.
	OnPause func(RetryEvent)

	// OnRetry is called after the pause, right before each attempt but the first.
	// If the context ends in OnRetry, the attempt is not made.
	OnRetry func(RetryEvent)
}

// RetryEvent is the argument of the hooks of [RetryOptions].
type RetryEvent struct {
	Attempt int           // number of the attempt that failed, from 1
	Delay   time.Duration // the pause after it
	Elapsed time.Duration // the time since the call began; see RetryError
	Err     error         // the error of the attempt
}

// RetryIf returns a NewTester for [RetryOptions] whose testers go on after
// errors for which retry returns true, and end the call with any other error.
func RetryIf(retry func(err error) bool) func() func(err error) error {
	if retry == nil {
		panic("twill: RetryIf with a nil function")
	}
	tester := func(err error) error {
		if retry(err) {
			return nil
		}
		return err
	}
	return func() func(error) error { return tester }
}

// Permanent returns err marked as not retryable. A function returns it to end
// its call. [Retry] and [RetryingCall] remove the mark from the errors that
// they return. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

// unmarked returns err without the mark that Permanent put around it.
func unmarked(err error) error {
	for {
		e, ok := err.(*permanentError)
		if !ok {
			return err
		}
		err = e.err
	}
}

// RetryAfterError is the error of an attempt together with the time after which
// the server asked for the next attempt. [Retry] and [RetryingCall] find it
// even if it is wrapped, and pause for that time if it is longer than their own
// pause, up to MaxRetryAfter.
type RetryAfterError struct {
	After time.Duration // 0 or less means no request
	Err   error
}

func (e *RetryAfterError) Error() string {
	if e == nil || e.Err == nil {
		return "twill: server asked to retry later"
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

// RetryAfterHeader is [RetryAfter] with the time in the Retry-After field of an
// HTTP response; header is a [net/http.Header]. It understands seconds and the
// three date formats of HTTP, and compares dates with the clock of this
// machine. If the field is missing, malformed or names a time in the past, err
// is returned as it is.
func RetryAfterHeader(header map[string][]string, err error) error {
	if fields := header["Retry-After"]; len(fields) > 0 && err != nil {
		if after := parseRetryAfter(fields[0]); after > 0 {
			return RetryAfter(after, err)
		}
	}
	return err
}

// The reasons why a call of [Retry] or of a [RetryingCall] ended, if not
// because of its context, a cancel or a panic. [errors.Is] finds one of them in
// the Reason of a [*RetryError].
var (
	// ErrRetriesExhausted is the reason if the sequence of pauses has ended.
	ErrRetriesExhausted = errors.New("twill: no retries left")

	// ErrNotRetryable is the reason if the error was [Permanent], or if the
	// failure tester returned an error, which is in the Reason too.
	ErrNotRetryable = errors.New("twill: error is not retryable")

	// ErrMaxElapsed is the reason if the next attempt could not begin within
	// MaxElapsed.
	ErrMaxElapsed = errors.New("twill: retry time limit exceeded")

	// ErrNoBudget is the reason if the [Budget] did not allow a retry.
	ErrNoBudget = errors.New("twill: retry budget used up")
)

// RetryError is the failure of [Retry] and of a [RetryingCall]. [errors.Is] and
// [errors.As] find the reason and the errors of the attempts in it, the latest
// attempt first.
type RetryError struct {
	// Reason is the reason why there was no further attempt:
	//
	//   - ErrRetriesExhausted, ErrMaxElapsed or ErrNoBudget,
	//   - an error that is ErrNotRetryable and the tester's error,
	//   - an error that is the Err and the cause of the context that has ended,
	//   - an error that is context.DeadlineExceeded if the pause would have
	//     passed the deadline of the context,
	//   - a *CanceledError if the future of a RetryingCall was canceled,
	//   - a *PanicError or ErrGoexit, from the function or from a tester, hook
	//     or sequence.
	Reason error

	// Attempts is the number of attempts made: 0 if the context had ended
	// before the call.
	Attempts int

	// Elapsed is the time since the call began, including attempts and pauses.
	// Retry reads the clock before the first attempt only if it has a MaxElapsed
	// or a hook, as that would cost more than the rest of a call that succeeds.
	// Otherwise Elapsed does not include the first attempt.
	Elapsed time.Duration

	// Errs are the errors of the attempts in their order, without the mark of
	// [Permanent]. If there are more than 100, the first error and the last 99 are
	// kept.
	Errs []error
}

// maxRetryErrs limits the number of errors that are kept, as a call may go on
// for weeks.
const maxRetryErrs = 100

// outcome returns the reason why the call ended, because the error of an
// attempt may be a cancellation that is not the call's.
func (e *RetryError) outcome() error { return e.Reason }

func (e *RetryError) Error() string {
	reason := fmt.Sprint(e.Reason)
	short := strings.TrimPrefix(reason, "twill: ")
	if e.Attempts == 0 {
		return "twill: not attempted: " + short
	}
	s := ""
	if e.Attempts > 1 {
		s = "s"
	}
	text := fmt.Sprintf("twill: gave up after %d attempt%s in %v: %s", e.Attempts, s, e.Elapsed, short)
	if len(e.Errs) == 0 {
		return text
	}
	last := fmt.Sprint(e.Last())
	if stop, ok := e.Reason.(*stopError); last == reason || ok && last == fmt.Sprint(stop.err) {
		return text // the text of the last error is in the reason already
	}
	return text + "; last error: " + last
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

// First returns the error of the first attempt, with which the RetryingCall of
// txretry fails. It is nil if there was no attempt.
func (e *RetryError) First() error {
	if len(e.Errs) == 0 {
		return nil
	}
	return e.Errs[0]
}

// Last returns the error of the last attempt, or nil if there was none.
func (e *RetryError) Last() error {
	if len(e.Errs) == 0 {
		return nil
	}
	return e.Errs[len(e.Errs)-1]
}

// stopError is a reason that consists of two errors: its kind, and the error
// itself.
type stopError struct{ kind, err error }

func (e *stopError) Error() string { return fmt.Sprintf("%v: %v", e.kind, e.err) }

func (e *stopError) Unwrap() []error { return []error{e.kind, e.err} }

var errPauseTooLong = errors.New("next retry would exceed the deadline")

// ended returns the reason to end a call whose context has ended.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err {
		return err
	}
	return &stopError{err, cause}
}

var defaultRetry RetryOptions

func (o *RetryOptions) backoff() iter.Seq[time.Duration] {
	if o.Backoff == nil {
		return defaultBackoff
	}
	return o.Backoff
}

var defaultBackoff = EqualJitter(simpleBackoff)

func (o *RetryOptions) maxRetryAfter() time.Duration {
	if o.MaxRetryAfter == 0 {
		return time.Minute
	}
	return o.MaxRetryAfter
}

// begin reads the clock if the time of the first attempt is needed.
func (o *RetryOptions) begin() (t time.Time) {
	if o.MaxElapsed > 0 || o.OnPause != nil || o.OnRetry != nil {
		t = time.Now()
	}
	return t
}

// tryOnce makes an attempt. A panic of fn becomes an error.
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

// tryFor calls fn with a context that ends after d.
func tryFor[T any](ctx context.Context, d time.Duration, fn func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d, &TimeoutError{After: d})
	defer cancel()
	return fn(ctx)
}

// retry is the rest of Retry, after the first attempt failed with err.
func retry[T any](ctx context.Context, fn func(context.Context) (T, error), opts *RetryOptions, start time.Time, err error) (v T, failure error) {
	var zero T
	r := new(retryState)
	r.begin(ctx, opts, start)
	defer func() {
		p := recover() // a panic of a hook, a tester or the sequence
		if !r.over {   // after a panic, or while the goroutine exits
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

// retryState is the state of one call and the rules by which it continues.
// [Retry], which loops, a [RetryingCall], which does not block, and a job,
// which goes back to its queue, share these rules. A retryState is used by one
// goroutine at a time.
//
// The steps are: an attempt; failed; pause, which returns how long to wait; the
// wait; resume; the next attempt. Each step returns the reason to end the call,
// or nil. However long the wait took, resume decides whether the attempt may
// still begin.
type retryState struct {
	ctx      context.Context // of the call
	opts     *RetryOptions
	canceled func() error      // returns why the call was canceled; nil for Retry
	tester   func(error) error // made by NewTester
	start    time.Time
	deadline time.Time     // of ctx
	bounded  bool          // whether there is a deadline
	timer    *time.Timer   // reused for each pause of Retry
	delay    time.Duration // the last pause
	attempts int           // number of failed attempts
	last     error         // error of the last failed attempt
	hints    hints         // found in that error
	errs     []error       // errors of the attempts, at most maxRetryErrs
	few      [4]error      // the first memory of errs
	token    bool          // a token is taken for the next retry, or for the retry underway
	over     bool          // succeeded or gaveUp was called
}

// begin starts the bookkeeping, no later than when the first attempt has
// failed.
func (r *retryState) begin(ctx context.Context, opts *RetryOptions, start time.Time) {
	r.ctx, r.opts, r.start = ctx, opts, start
	r.deadline, r.bounded = ctx.Deadline()
	r.errs = r.few[:0]
	if r.start.IsZero() {
		r.start = time.Now()
	}
}

// failed records that an attempt failed with err.
func (r *retryState) failed(err error) error {
	r.record(unmarked(err))
	r.hints = hints{}
	r.hints.find(err)
	if r.hints.fatal {
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
		r.token = b.fail() // the token of this attempt is spent, as it was made
	}
	return reason
}

func (r *retryState) record(err error) {
	r.attempts++
	r.last = err
	switch n := len(r.errs); {
	case n == maxRetryErrs:
		r.errs[r.indexOf(r.attempts)] = err
		return
	case n == cap(r.errs): // grows twice, from 4 to 20 to 100
		r.errs = slices.Grow(r.errs, min(4*n, maxRetryErrs-n))
	}
	r.errs = append(r.errs, err)
}

// indexOf returns the index of the error of attempt n: the first error keeps
// its place, the others take turns behind it.
func (r *retryState) indexOf(n int) int { return 1 + (n-2)%(maxRetryErrs-1) }

// test returns the error to stop with, if err is permanent or the tester
// returns an error.
func (r *retryState) test(err error) (stop error) {
	if r.hints.permanent {
		return err
	}
	if r.opts.NewTester == nil {
		return nil
	}
	if r.tester == nil {
		r.tester = r.opts.NewTester()
	}
	return r.tester(err)
}

// pause returns how long to wait for the next attempt if the sequence yields d.
func (r *retryState) pause(d time.Duration) (time.Duration, error) {
	d = max(d, 0, min(r.hints.after, r.opts.maxRetryAfter()))
	if r.bounded && d >= time.Until(r.deadline) {
		return 0, &stopError{context.DeadlineExceeded, errPauseTooLong}
	}
	if r.late(d) {
		return 0, ErrMaxElapsed
	}
	if r.opts.Budget != nil && !r.token {
		return 0, ErrNoBudget
	}
	r.delay = d
	r.call(r.opts.OnPause)
	return d, nil
}

// late reports whether an attempt after a further wait of d would begin too
// late.
func (r *retryState) late(d time.Duration) bool {
	limit := r.opts.MaxElapsed
	return limit > 0 && d > limit-time.Since(r.start)
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

// resume is called after the wait, before the next attempt is made. It checks
// the context and the clock again: the wait may have been longer than planned.
func (r *retryState) resume() error {
	reason := r.blocked()
	if reason == nil && r.opts.OnRetry != nil {
		r.call(r.opts.OnRetry)
		reason = r.blocked()
	}
	if reason != nil {
		r.refund()
	}
	return reason
}

// resumeSnoozed is resume for a job whose latest call asked to be made later.
func (r *retryState) resumeSnoozed() error {
	reason := r.blocked()
	if reason != nil {
		r.refund()
	}
	return reason
}

// blocked returns the reason why no attempt may begin now.
func (r *retryState) blocked() error {
	reason := r.ended()
	if reason == nil && r.late(0) {
		reason = ErrMaxElapsed
	}
	return reason
}

// ended returns the reason if the call was canceled or its context has ended.
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

func (r *retryState) call(hook func(RetryEvent)) {
	if hook != nil {
		hook(RetryEvent{r.attempts, r.delay, time.Since(r.start), r.last})
	}
}

// succeeded ends the call after an attempt that has succeeded.
func (r *retryState) succeeded() {
	r.token = false
	r.over = true
	if b := r.opts.Budget; b != nil {
		b.earn()
	}
}

// refund returns a token that was taken for a retry that is not made.
func (r *retryState) refund() {
	if r.token {
		r.token = false
		r.opts.Budget.refund()
	}
}

// gaveUp ends the call. A token that was not returned before is spent.
func (r *retryState) gaveUp(reason error) *RetryError {
	r.token = false
	r.over = true
	return r.report(reason)
}

// report returns the attempts so far as an error.
func (r *retryState) report(reason error) *RetryError {
	errs := slices.Clone(r.errs)
	if r.attempts > maxRetryErrs {
		oldest := r.indexOf(r.attempts + 1)
		errs = slices.Concat(r.errs[:1], r.errs[oldest:], r.errs[1:oldest])
	}
	return &RetryError{Reason: reason, Attempts: r.attempts, Elapsed: time.Since(r.start), Errs: errs}
}

// hints are the requests about further attempts found in the tree of an error.
type hints struct {
	fatal     bool          // the program has a bug
	permanent bool          // marked by Permanent
	after     time.Duration // the time of the first RetryAfterError
}

// find adds the hints in err. It finds all of them in one walk, because it is
// called for every failed attempt.
func (h *hints) find(err error) {
	for err != nil {
		switch e := err.(type) {
		case *PanicError:
			h.fatal = true
		case *permanentError:
			h.permanent = true
		case *RetryAfterError:
			if e != nil && h.after <= 0 {
				h.after = e.After
			}
		case *RetryError: // of a call inside; only its reason counts
			if e == nil {
				return
			}
			h.find(e.Reason)
			err = e.Last()
			continue
		}
		if isSame(err, ErrGoexit) || isSame(err, errNoFuture) {
			h.fatal = true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				h.find(err)
			}
			return
		default:
			return
		}
	}
}

// The date formats of HTTP, the one in use first (RFC 9110, section 5.6.7).
var httpDates = [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC}

// parseRetryAfter returns the time in a Retry-After field, or 0 or less if
// there is none. Values that are too large count as the largest duration.
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
