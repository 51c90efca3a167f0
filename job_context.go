package twill

import (
	"context"
	"errors"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// jobContext is a Job as the context of its call. A context that can be
// cancelled costs more than the rest of a job, so it is made only when the call
// asks for what needs it: one that merely passes values down, or does not use
// its context, pays nothing.
type jobContext[A, R any] struct{ j *Job[A, R] }

// realContext is what stands behind a jobContext from then on.
type realContext struct {
	context.Context // nil if the job was given up before its call asked
	cancel          context.CancelCauseFunc
	fail            *settle.Failure // with which the job was given up; guarded by q.mu
}

// end cancels the context, if there is one. It must be called without the lock:
// contexts made from it may be of the user's own make.
func (c *realContext) end(cause error) {
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// giveUp ends j, which is underway, before its call has returned; the lock must be
// held. Without it the caller then ends j.ctx and settles j with fail.
func (q *ResizableDispatchQueue[A, R]) giveUp(j *Job[A, R], state JobState, fail *settle.Failure, now int64) {
	q.over(j, state, now)
	if c := j.ctx.Load(); c != nil {
		c.fail = fail
	} else {
		j.ctx.Store(&realContext{fail: fail})
	}
}

// endCause is the cause with which fail ends a context.
func endCause(fail *settle.Failure) error {
	if fail.Canceled {
		return causeOf(fail.Err)
	}
	if e, ok := errors.AsType[*TimeoutError](fail.Err); ok {
		return e
	}
	return fail.Err
}

// real returns the context behind c, making it if this is the first need.
func (c jobContext[A, R]) real() context.Context {
	j := c.j
	if r := j.ctx.Load(); r != nil && r.Context != nil {
		return r.Context
	}
	ctx, cancel := context.WithCancelCause(j.q.opts.Context) // may be user code: not under the lock
	r := &realContext{Context: ctx, cancel: cancel}

	j.q.mu.Lock()
	old := j.ctx.Load()
	lost := old != nil && old.Context != nil
	if !lost {
		if old != nil {
			r.fail = old.fail
		}
		j.ctx.Store(r)
	}
	over, fail := j.state > JobUnderway, r.fail
	j.q.mu.Unlock()

	switch {
	case lost: // another goroutine of the call was first
		cancel(nil)
		return old.Context
	case fail != nil:
		cancel(endCause(fail))
	case over:
		cancel(nil)
	}
	return ctx
}

// Deadline is that of the queue's context.
func (c jobContext[A, R]) Deadline() (time.Time, bool) { return c.j.q.opts.Context.Deadline() }

// Done ends when the job is cancelled, and when its call has returned.
func (c jobContext[A, R]) Done() <-chan struct{} { return c.real().Done() }

// Err is non-nil when Done has ended.
func (c jobContext[A, R]) Err() error { return c.real().Err() }

// Value is that of the queue's context, or of the real one if there is such or
// should be: [context.Cause] asks for the latter by a key of its own.
func (c jobContext[A, R]) Value(key any) any {
	if c.j.ctx.Load() == nil {
		return c.j.q.opts.Context.Value(key)
	}
	return c.real().Value(key)
}

// String keeps fmt from reading the fields.
func (c jobContext[A, R]) String() string { return "twill.Job context" }
