package twill

import (
	"context"
	"time"
)

// jobMore is what few jobs have.
type jobMore struct {
	// Guarded by the queue's lock.
	seq      uint64 // number among equals, for a job that is pending again
	due      int64  // not to be started before; 0 is at any time
	since    int64  // waits from then on for its first start
	attempts int
	soFar    *RetryError // the attempts that have failed, while there may be others

	key     string
	refuse  bool
	timeout time.Duration
	timer   *time.Timer // for the timeout, from the first call on
	retry   *jobRetry
}

// release lets go of what an ended job does not need. Only the worker that has
// ended it, or who took it out of the queue, may call it.
func (m *jobMore) release() {
	if m == nil {
		return
	}
	if m.timer != nil {
		m.timer.Stop()
	}
	if m.retry != nil {
		m.retry.state.refund()
	}
}

// callWith is call for a job that has more to it.
func (q *ResizableDispatchQueue[A, R]) callWith(j *Job[A, R], m *jobMore) (v R, err error) {
	var ctx context.Context = jobContext[A, R]{j}
	if m.timeout > 0 && m.timer == nil {
		m.timer = time.AfterFunc(m.timeout, func() { q.expire(j) })
	}
	r := m.retry
	if r == nil {
		return q.hooked(ctx, j)
	}
	if reason := r.before(ctx, m.timeout); reason != nil {
		return v, reason
	}
	// Each attempt has a context of its own, which ends when it is over.
	if d := r.opts.AttemptTimeout; d > 0 {
		return tryFor(ctx, d, func(ctx context.Context) (R, error) { return q.hooked(ctx, j) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return q.hooked(ctx, j)
}

// again makes j, which was underway, pending until its pause is over; the lock
// must be held. If the queue was stopped meanwhile, that is where it stays.
func (q *ResizableDispatchQueue[A, R]) again(j *Job[A, R], now int64) {
	m := j.more
	m.due = later(now, m.retry.state.delay)
	m.soFar = m.retry.soFar
	j.state = JobPending
	q.stats.Retries++
	q.tell(EventRetry, j)
	q.enqueue(j, now)
}

// jobRetry is the retrying of one job. It belongs to the worker that has the
// job, and in the pauses to whoever takes it out of the queue.
type jobRetry struct {
	opts   *RetryOptions
	state  retryState
	pauses lookahead
	soFar  *RetryError // the attempts that have failed
	exited error       // what the job fails with, as one of the user's functions has ended the goroutine
}

// before is called before each attempt, and returns the reason not to make it.
func (r *jobRetry) before(ctx context.Context, timeout time.Duration) (reason error) {
	if r.state.ctx == nil {
		r.state.begin(ctx, r.opts, time.Now())
		if end := r.state.start.Add(timeout); timeout > 0 && (!r.state.bounded || end.Before(r.state.deadline)) {
			r.state.deadline, r.state.bounded = end, true
		}
		return r.end(r.state.ended())
	}
	return r.end(r.contain(r.state.resume))
}

// after is called after each attempt with its error, if it failed, and returns whether
// there is to be another, and the error with which the job ends if not.
func (r *jobRetry) after(err error) (again bool, _ error) {
	switch {
	case r.state.over && r.exited != nil:
		return false, r.exited
	case r.state.over:
		return false, err
	case err == nil:
		r.state.succeeded()
		return false, nil
	}
	reason := r.contain(func() error {
		if reason := r.state.failed(err); reason != nil {
			return reason
		}
		d, ok := r.pauses.next(r.opts.backoff())
		if !ok {
			return ErrRetriesExhausted
		}
		_, reason := r.state.pause(d)
		return reason
	})
	if reason != nil {
		return false, r.end(reason)
	}
	r.soFar = r.state.report(nil)
	return true, nil
}

// end is the error with which the job ends, if there is a reason to.
func (r *jobRetry) end(reason error) error {
	if reason == nil {
		return nil
	}
	return r.state.gaveUp(reason)
}

// contain calls fn, which calls the user's functions. A panic is a reason to
// end, and so is the exit of the goroutine; nothing is owed to the budget then.
func (r *jobRetry) contain(fn func() error) (reason error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		r.state.refund()
		if v := recover(); v != nil {
			reason = caught(v)
			return
		}
		r.exited = r.end(ErrGoexit)
	}()
	reason = fn()
	returned = true
	return reason
}
