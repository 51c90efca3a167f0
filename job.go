package twill

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// JobState is where a job is in its life.
type JobState uint8

// A job is pending, then underway, then has finished or failed; it can be
// cancelled when pending or underway. The last three are final.
const (
	JobPending  JobState = iota // waits for a slot
	JobUnderway                 // its call was started
	JobFinished                 // its call returned a value
	JobFailed                   // its call returned an error, panicked or exited, or its time was over
	JobCanceled                 // it was cancelled before its call returned, if that was started
)

// String returns the name in capitals, as in "PENDING".
func (s JobState) String() string {
	switch s {
	case JobPending:
		return "PENDING"
	case JobUnderway:
		return "UNDERWAY"
	case JobFinished:
		return "FINISHED"
	case JobFailed:
		return "FAILED"
	case JobCanceled:
		return "CANCELED"
	}
	return "JobState(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText returns the name, so that JSON has it too.
func (s JobState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *JobState) UnmarshalText(text []byte) error {
	for state := JobPending; state <= JobCanceled; state++ {
		if state.String() == string(text) {
			*s = state
			return nil
		}
	}
	return fmt.Errorf("twill: unknown job state %q", text)
}

// Job is one call of a [ResizableDispatchQueue] and the future of its result.
// It is made by Put. Its methods may be called by several goroutines.
//
// Cancel takes a pending job out of the queue, and tells one that is underway
// to end by its context; either way the future fails at once, with a
// [*CanceledError], and what the call returns later is dropped. A chain that
// hangs on the future cancels the job too if it is the only one that depends on it.
//
// State is set before the future settles: who has the result sees it.
type Job[A, R any] struct {
	Future[R]

	link settle.Link // leads a cancel to jobHook
	q    *ResizableDispatchQueue[A, R]

	arg A

	// Guarded by q.mu.
	priority int
	queued   int64 // these three as q.now gives them, 0 for not yet
	started  int64
	stopped  int64
	// The place among the jobs underway, with nothing exported.
	//lint:ignore U1000 internal/list uses it
	links[*Job[A, R]] //nolint:unused
	//lint:ignore U1000 internal/heap uses it
	place //nolint:unused // in q.pending
	state JobState

	// ctx is made when the call asks for it; see jobContext. It is read
	// without the lock, and changed with it.
	ctx  atomic.Pointer[realContext]
	more *jobMore // nil for most
}

func newJob[A, R any](q *ResizableDispatchQueue[A, R], arg A, priority int) *Job[A, R] {
	j := &Job[A, R]{q: q, arg: arg, priority: priority}
	j.link.Do = jobHook[A, R]{j}
	j.core.SetUp(&j.link)
	made(&j.core)
	return j
}

// Arg returns the argument given to Put. The job keeps it, also when ended.
func (j *Job[A, R]) Arg() A { return j.arg }

// Priority returns the priority that j has or, once it was started, had.
func (j *Job[A, R]) Priority() int {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.priority
}

// State returns where j is in its life.
func (j *Job[A, R]) State() JobState {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.state
}

// Key returns the key j was put with.
func (j *Job[A, R]) Key() string {
	if j.more == nil {
		return ""
	}
	return j.more.key
}

// Attempts returns how often j's call was started.
func (j *Job[A, R]) Attempts() int {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.attempts()
}

func (j *Job[A, R]) attempts() int {
	switch {
	case j.more != nil:
		return j.more.attempts
	case j.started != 0:
		return 1
	}
	return 0
}

// Due returns when j may start, the zero time if it may at any time: the end of
// its delay or, once it was started, of the pause before the latest attempt.
func (j *Job[A, R]) Due() time.Time {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.q.time(j.due())
}

func (j *Job[A, R]) due() int64 {
	if j.more == nil {
		return 0
	}
	return j.more.due
}

// since is from when on j could have been started.
func (j *Job[A, R]) since() int64 {
	if j.more == nil {
		return j.queued
	}
	return j.more.since
}

// holdBack has j, which has a jobMore and was not started, wait until due, if
// that is not 0.
func (j *Job[A, R]) holdBack(due int64) {
	j.more.due, j.more.since = due, j.queued
	if due != 0 {
		j.more.since = max(j.queued, due)
	}
}

// Queued returns when j was put.
func (j *Job[A, R]) Queued() time.Time { return j.time(&j.queued) }

// Started returns when j's call was started, the latest if there were several,
// the zero time if it was not.
func (j *Job[A, R]) Started() time.Time { return j.time(&j.started) }

// Stopped returns when j finished, failed or was cancelled, the zero time if it
// has not yet. The call of a cancelled job may have returned later.
func (j *Job[A, R]) Stopped() time.Time { return j.time(&j.stopped) }

func (j *Job[A, R]) time(at *int64) time.Time {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.q.time(*at)
}

// jobHook is a Job as a [settle.Node]: its canceller. One pointer wide, it
// fits an interface without an allocation.
type jobHook[A, R any] struct{ j *Job[A, R] }

// Source is nil: a job is cancelled itself.
func (h jobHook[A, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Fire is called when the job is cancelled. The lock under which jobs are
// started and ended decides whether that comes in time.
func (h jobHook[A, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	j, q := h.j, h.j.q
	now := q.now()
	q.mu.Lock()
	waits := j.state == JobPending
	switch j.state {
	case JobPending:
		q.withdraw(j)
		q.over(j, JobCanceled, now)
	case JobUnderway:
		q.giveUp(j, JobCanceled, left, now)
	default:
		q.mu.Unlock()
		return nil, nil // whoever ended the job settles its future
	}
	ctx := j.ctx.Load()
	rest := q.advance(now)
	q.mu.Unlock()

	if waits {
		j.more.release()
	}
	if ctx != nil {
		ctx.end(endCause(left))
	}
	if rest == nil {
		return h.end(left)
	}
	// What waits for the queue to be empty is to find no pending job.
	defer rest.settle() // also if a handler ends the goroutine
	var none R
	j.settle(none, left)
	return nil, nil
}

// Abort is called if ending the context panics, which takes one of the user's
// own make.
func (h jobHook[A, R]) Abort(err error) (*settle.Core, *settle.Link) {
	return h.end(settle.NewFailure(err))
}

func (h jobHook[A, R]) end(fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &h.j.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	return c, c.Publish(w, fail)
}
