package twill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

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
	queued   instant // these three as q.now gives them, 0 for not yet
	started  instant
	ended    instant
	links    list.Links[*Job[A, R]] // in q.underway
	place    heap.Place             // in q.pending or q.delayed
	state    JobState

	// ctx is made when the call asks for it; see jobContext. It is read
	// without the lock, and changed with it.
	ctx   atomic.Pointer[realJobContext]
	extra *jobExtra // nil for most
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
	if j.extra == nil {
		return ""
	}
	return j.extra.key
}

// Attempts returns how often j's call was started.
func (j *Job[A, R]) Attempts() int {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.attempts()
}

// QueuedAt returns when j was put.
func (j *Job[A, R]) QueuedAt() time.Time { return j.time(&j.queued) }

// DueAt returns when j may start, the zero time if it may at any time: the end of
// its delay or, once it was started, of the pause before the latest attempt.
func (j *Job[A, R]) DueAt() time.Time {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.q.clock.Time(j.due())
}

// StartedAt returns when j's call was started, the latest if there were several,
// the zero time if it was not.
func (j *Job[A, R]) StartedAt() time.Time { return j.time(&j.started) }

// EndedAt returns when j finished, failed or was cancelled, the zero time if it
// has not yet. The call of a cancelled job may have returned later.
func (j *Job[A, R]) EndedAt() time.Time { return j.time(&j.ended) }

// Record returns what is to be saved of j.
func (j *Job[A, R]) Record() JobRecord[A] {
	q := j.q
	q.mu.Lock()
	defer q.mu.Unlock()
	return JobRecord[A]{
		Arg: j.arg, Priority: j.priority, State: j.state, Key: j.Key(), Attempts: j.attempts(),
		Queued: q.clock.Time(j.queued), Due: q.clock.Time(j.due()), Started: q.clock.Time(j.started), Stopped: q.clock.Time(j.ended),
	}
}

// MarshalJSON returns the Record of j.
func (j *Job[A, R]) MarshalJSON() ([]byte, error) { return json.Marshal(j.Record()) }

// JobOptions are the settings of one job. The zero value of each is its default.
type JobOptions struct {
	// At and After delay a job: it is not started before that time, or before that
	// much time has passed. Only one of the two may be set. Until then it is
	// pending, behind all jobs that are due; the order among those has
	// nothing to do with when they became so.
	At    time.Time
	After time.Duration

	// Timeout bounds the time from the start of the job's first call, with all
	// others and the pauses between them: then the job fails with a
	// [*TimeoutError] and the call's context ends. The slot is free when the call has
	// returned. 0 is the queue's Timeout, and less is no limit.
	Timeout time.Duration

	// Retry says how a job whose call fails is tried again; nil is the queue's
	// Retry. In the pauses the job is pending and holds no slot; afterwards it
	// has the place among equals that it had at first. In the end it fails with a
	// [*RetryError].
	Retry *RetryOptions

	// Key, if it is not empty, makes the job the only one of that key: while it is
	// pending or underway, a Put with the same key adds none but returns it.
	// If that Put has a lower priority and the job is pending, the job gets
	// that priority; if it comes with a shorter delay, that too. The argument stays
	// as it was. Who wants to leave such a job without ending it for the others
	// cancels a future derived from it, as by Tap.
	//
	// The key is free when the job's future settles. The call of a job that was
	// cancelled may go on until it heeds its context.
	Key string

	// Refuse has a Put whose Key is in use return ErrDuplicateJob with the job.
	Refuse bool
}

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

// String returns the name, as in "pending".
func (s JobState) String() string {
	switch s {
	case JobPending:
		return "pending"
	case JobUnderway:
		return "underway"
	case JobFinished:
		return "finished"
	case JobFailed:
		return "failed"
	case JobCanceled:
		return "canceled"
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

// JobRecord is what a job is saved as. In JSON, a [Job] is its JobRecord, and a
// list of them, as Stop gives it, is what Restore takes once it was read again.
type JobRecord[A any] struct {
	Arg      A         `json:"arg"`
	Priority int       `json:"priority"`
	State    JobState  `json:"state"`
	Key      string    `json:"key,omitempty"`
	Attempts int       `json:"attempts"`
	Queued   time.Time `json:"queued"`
	Due      time.Time `json:"due,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Stopped  time.Time `json:"stopped,omitzero"`
}

// firstSeq is the number before that of the first job put; those of jobs that are
// restored lie below.
const firstSeq = 1 << 63

// Restore puts jobs that were saved back, to be run again whatever their State
// was: in the order of the records, and before all jobs of the same
// priority that were put or restored earlier; with Ageing, the time since they were
// queued decides among those. They keep the time at which they
// were queued, and the number of attempts; Timeout and Retry are the queue's,
// and a retry begins anew. Size does not count here, as they were let in once.
//
// Restore returns the jobs in the order of the records. If a key is used twice or
// in use, or an attempts' number is negative, the error names the record, and nothing was added; after a stop
// it is [ErrStopped].
func (q *ResizableDispatchQueue[A, R]) Restore(records []JobRecord[A]) ([]*Job[A, R], error) {
	jobs := make([]*Job[A, R], len(records))
	keys := make(map[string]int)
	for i, r := range records {
		if r.Attempts < 0 {
			return nil, fmt.Errorf("twill: restoring record %d: %d attempts", i, r.Attempts)
		}
		if first, used := keys[r.Key]; used && r.Key != "" {
			return nil, fmt.Errorf("twill: restoring record %d: key %q is that of record %d, too", i, r.Key, first)
		}
		keys[r.Key] = i
		j := q.newJob(r.Arg, r.Priority, []JobOptions{{At: r.Due, Key: r.Key}})
		if j.extra == nil {
			j.extra = &jobExtra{}
		}
		j.extra.attempts = r.Attempts
		j.queued = q.clock.At(r.Queued)
		jobs[i] = j
	}
	now := q.lock()
	defer q.commit(now)
	if q.stopped || q.closing {
		return nil, ErrStopped
	}
	for i, r := range records {
		if r.Key != "" && q.keys[r.Key] != nil {
			return nil, fmt.Errorf("twill: restoring record %d: %w: %q", i, ErrDuplicateJob, r.Key)
		}
	}
	q.restored -= uint64(len(jobs))
	for i, j := range jobs {
		q.acceptLocked(j, q.restored+uint64(i), now)
	}
	q.restoreAgesLocked(jobs, now)
	for _, j := range jobs {
		q.enqueueLocked(j, now)
	}
	return jobs, nil
}

// restoreAgesLocked has a job that was tried before stand behind none that follows it in the
// records. With ageing its age decides, and of that they only tell that it is not
// more than the time since it was queued, nor less than that since its last pause.
// The lock must be held.
func (q *ResizableDispatchQueue[A, R]) restoreAgesLocked(jobs []*Job[A, R], now instant) {
	if q.opts.Ageing == 0 {
		return
	}
	next := int64(math.MaxInt64 / 2) // no rank is above that
	for _, j := range slices.Backward(jobs) {
		m := j.extra
		if m.due > now {
			continue
		}
		if m.attempts > 0 {
			m.since -= min(max(instant(q.rankLocked(j)-next), 0), m.since-j.queued)
		}
		next = q.rankLocked(j)
	}
}

func newJob[A, R any](q *ResizableDispatchQueue[A, R], arg A, priority int) *Job[A, R] {
	j := &Job[A, R]{q: q, arg: arg, priority: priority}
	j.link.Do = jobHook[A, R]{j}
	j.core.SetUp(&j.link)
	settle.Made(&j.core)
	return j
}

// jobLinks and jobPlaces find what lists and heaps keep in a job.
type (
	jobLinks[A, R any]  struct{}
	jobPlaces[A, R any] struct{}
)

func (jobLinks[A, R]) Links(j *Job[A, R]) *list.Links[*Job[A, R]] { return &j.links }

func (jobPlaces[A, R]) Place(j *Job[A, R]) *heap.Place { return &j.place }

// jobHeap is a heap of jobs.
type jobHeap[A, R any] = heap.By[*Job[A, R], jobPlaces[A, R]]

func (j *Job[A, R]) time(at *instant) time.Time {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.q.clock.Time(*at)
}

func (j *Job[A, R]) attempts() int {
	switch {
	case j.extra != nil:
		return j.extra.attempts
	case j.started != 0:
		return 1
	}
	return 0
}

func (j *Job[A, R]) due() instant {
	if j.extra == nil {
		return 0
	}
	return j.extra.due
}

// since is from when on j could have been started.
func (j *Job[A, R]) since() instant {
	if j.extra == nil {
		return j.queued
	}
	return j.extra.since
}

// setDueLocked has j, which has a jobExtra and was not started, wait until due, if
// that is not 0.
func (j *Job[A, R]) setDueLocked(due instant) {
	j.extra.due, j.extra.since = due, j.queued
	if due != 0 {
		j.extra.since = max(j.queued, due)
	}
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
	now := q.lock()
	waits := j.state == JobPending
	switch j.state {
	case JobPending:
		q.removePendingLocked(j)
		q.endLocked(j, JobCanceled, now)
	case JobUnderway:
		q.abortLocked(j, JobCanceled, left, now)
	default:
		q.mu.Unlock()
		return nil, nil // whoever ended the job settles its future
	}
	ctx := j.ctx.Load()
	signals := q.advanceLocked(now)
	q.mu.Unlock()

	if waits {
		j.extra.release()
	}
	left.EndsWork()
	if ctx != nil {
		ctx.end(endCause(left))
	}
	if signals == nil {
		return h.end(left)
	}
	// What waits for the queue to be empty is to find no pending job.
	defer signals.settle() // also if a handler ends the goroutine
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

// jobContext is a Job as the context of its call. A context that can be
// cancelled costs more than the rest of a job, so it is made only when the call
// asks for what needs it: one that merely passes values down, or does not use
// its context, pays nothing.
type jobContext[A, R any] struct{ j *Job[A, R] }

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

// real returns the context behind c, making it if this is the first need.
func (c jobContext[A, R]) real() context.Context {
	j := c.j
	if r := j.ctx.Load(); r != nil && r.Context != nil {
		return r.Context
	}
	ctx, cancel := context.WithCancelCause(j.q.opts.Context) // may be user code: not under the lock
	r := &realJobContext{Context: ctx, cancel: cancel}

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

// realJobContext is what stands behind a jobContext from then on.
type realJobContext struct {
	context.Context // nil if the job was given up before its call asked
	cancel          context.CancelCauseFunc
	fail            *settle.Failure // with which the job was given up; guarded by q.mu
}

// finishCall cancels the context, if there is one. It must be called without the lock:
// contexts made from it may be of the user's own make.
func (c *realJobContext) end(cause error) {
	if c.cancel != nil {
		c.cancel(cause)
	}
}

// abortLocked ends j, which is underway, before its call has returned; the lock must be
// held. Without it the caller then ends j.ctx and settles j with fail.
func (q *ResizableDispatchQueue[A, R]) abortLocked(j *Job[A, R], state JobState, fail *settle.Failure, now instant) {
	q.endLocked(j, state, now)
	if c := j.ctx.Load(); c != nil {
		c.fail = fail
	} else {
		j.ctx.Store(&realJobContext{fail: fail})
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

// jobExtra is what few jobs have.
type jobExtra struct {
	// Guarded by the queue's lock.
	seq      uint64  // number among equals, for a job that is pending again
	due      instant // not to be started before; 0 is at any time
	since    instant // waits from then on for its first start
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
func (m *jobExtra) release() {
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

// callExtra is call for a job that has more to it.
func (q *ResizableDispatchQueue[A, R]) callExtra(j *Job[A, R], m *jobExtra) (v R, err error) {
	var ctx context.Context = jobContext[A, R]{j}
	if m.timeout > 0 && m.timer == nil {
		m.timer = time.AfterFunc(m.timeout, func() { q.timeOut(j) })
	}
	r := m.retry
	if r == nil {
		return q.callHooked(ctx, j)
	}
	if reason := r.before(ctx, m.timeout); reason != nil {
		return v, reason
	}
	// Each attempt has a context of its own, which ends when it is over.
	if d := r.opts.AttemptTimeout; d > 0 {
		return tryFor(ctx, d, func(ctx context.Context) (R, error) { return q.callHooked(ctx, j) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return q.callHooked(ctx, j)
}

// retryLocked makes j, which was underway, pending until its pause is over; the lock
// must be held. If the queue was stopped meanwhile, that is where it stays.
func (q *ResizableDispatchQueue[A, R]) retryLocked(j *Job[A, R], now instant) {
	m := j.extra
	m.due = now.Add(m.retry.state.delay)
	m.soFar = m.retry.soFar
	j.state = JobPending
	q.stats.Retries++
	q.emitLocked(EventRetry, j)
	q.enqueueLocked(j, now)
}

// timeOut fails j, whose time is over. It runs on the goroutine of the timer.
func (q *ResizableDispatchQueue[A, R]) timeOut(j *Job[A, R]) {
	timeout := &TimeoutError{After: j.extra.timeout}
	now := q.lock()
	var err error = timeout
	if sofar := j.extra.soFar; sofar != nil {
		all := *sofar
		all.Reason, all.Elapsed = timeout, j.extra.timeout
		err = &all
	}
	fail := settle.NewFailure(err)
	fail.Expected = true // the end of the job's own context
	waits := j.state == JobPending
	switch j.state {
	case JobUnderway:
		q.abortLocked(j, JobFailed, fail, now)
	case JobPending:
		if q.stopped { // it is left over
			q.mu.Unlock()
			return
		}
		q.removePendingLocked(j)
		q.endLocked(j, JobFailed, now)
	default:
		q.mu.Unlock()
		return
	}
	ctx := j.ctx.Load()
	signals := q.advanceLocked(now)
	q.mu.Unlock()

	if waits {
		j.extra.release()
	}
	if ctx != nil {
		ctx.end(timeout)
	}
	defer signals.settle() // also if a handler ends the goroutine
	var none R
	j.settle(none, fail)
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

// finishCall is the error with which the job ends, if there is a reason to.
func (r *jobRetry) end(reason error) error {
	if reason == nil {
		return nil
	}
	return r.state.gaveUp(reason)
}

// contain calls fn, which calls the user's functions. A panic is a reason to
// finishCall, and so is the exit of the goroutine; nothing is owed to the budget then.
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
