package twill

import (
	"context"
	"slices"
	"time"
)

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
