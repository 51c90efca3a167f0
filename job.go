package twill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// Job is one call of a [ResizableDispatchQueue] and the future of its result.
// It is returned by [ResizableDispatchQueue.Put]. Its methods may be called
// concurrently.
//
// Cancel removes a pending job from the queue, and ends the context of a job
// that is underway. In both cases the future fails at once, with a
// [*CanceledError], and what the call returns later is dropped. A cancel of a
// chain that starts at the job cancels the job too, if the job has no other
// dependents.
//
// The state is set before the future settles: a goroutine that has the result
// sees the final state. A job that has ended keeps its argument, its options
// and its times.
type Job[A, R any] struct {
	Future[R]

	link settle.Link     // leads a cancel to jobHook
	home *jobGroup[A, R] // its group, or the queue's groupTable.none; set before Put returns

	arg A // guarded by the queue's lock if there are extra settings, otherwise never changed

	// Guarded by the queue's lock.
	priority int
	seq      uint64 // the number of the job: its place among equals, and its ID; never changed after Put has returned
	queued   instant
	started  instant
	ended    instant
	links    list.Links[*Job[A, R]] // in underway
	place    heap.Place             // in pending, delayed or the heap of its group
	state    JobState

	ctx   lazyctx.State
	extra atomic.Pointer[jobExtra[A, R]] // settings that few jobs have; set with the lock held, removed by Release
}

// ID returns a name of j that is unique in its queue: a number or, for a
// restored job, the ID in its JobRecord.
func (j *Job[A, R]) ID() string {
	if m := j.extra.Load(); m != nil && m.id != "" {
		return m.id
	}
	return strconv.FormatInt(int64(j.seq-firstSeq), 10)
}

// Arg returns the argument that was given to Put. A later Put with the same key
// and Again or Debounce replaces it. A job that has ended keeps its argument.
func (j *Job[A, R]) Arg() A {
	if j.extra.Load() != nil {
		j.lock()
		defer j.unlock()
	}
	return j.arg
}

// Priority returns the priority of j. After j was started it no longer changes.
func (j *Job[A, R]) Priority() int {
	j.lock()
	defer j.unlock()
	return j.priority
}

// State returns the state of j.
func (j *Job[A, R]) State() JobState {
	j.lock()
	defer j.unlock()
	return j.state
}

// Key returns the key that j was put with.
func (j *Job[A, R]) Key() string {
	if m := j.extra.Load(); m != nil {
		return m.key
	}
	return ""
}

// Group returns the group that j was put with.
func (j *Job[A, R]) Group() string {
	return j.home.name
}

// Attempts returns how many calls of j were started, without calls that
// returned [Snooze].
func (j *Job[A, R]) Attempts() int {
	j.lock()
	defer j.unlock()
	return j.attempts()
}

// QueuedAt returns when j was put.
func (j *Job[A, R]) QueuedAt() time.Time { return j.time(&j.queued) }

// DueAt returns the time from which j may start: the end of its delay or, after
// its first call, of the pause before its latest call. It is zero if j may
// start at any time.
func (j *Job[A, R]) DueAt() time.Time {
	j.lock()
	defer j.unlock()
	return j.queue().clock.Time(j.due())
}

// StartedAt returns when j's latest call was started, or zero if no call was.
func (j *Job[A, R]) StartedAt() time.Time { return j.time(&j.started) }

// EndedAt returns when j finished, failed or was canceled, or zero if it has
// not ended. The call of a canceled job may have returned later.
func (j *Job[A, R]) EndedAt() time.Time { return j.time(&j.ended) }

// Release lets a job start that was put with Held, and reports whether the job
// was held until now.
func (j *Job[A, R]) Release() bool {
	q := j.queue()
	now := q.lock()
	defer q.commit(now)
	m := j.extra.Load()
	if m == nil || !m.held || j.state != JobPending {
		return false
	}
	m.held = false
	if m.isPlain() {
		j.extra.Store(nil)
	}
	q.requeueLocked(j, now)
	return true
}

// Record returns the record of j from which it can be restored.
func (j *Job[A, R]) Record() JobRecord[A] {
	q := j.queue()
	q.mu.Lock()
	defer q.mu.Unlock()
	wall := q.clock.Wall()
	r := JobRecord[A]{
		ID: j.ID(), Arg: j.arg, Priority: j.priority, State: j.state, Key: j.Key(), Group: j.Group(), Attempts: j.attempts(),
		Queued: wall.Time(j.queued), Due: wall.Time(j.due()), Started: wall.Time(j.started), Stopped: wall.Time(j.ended),
	}
	if m := j.extra.Load(); m != nil {
		r.Expires, r.Again = wall.Time(m.expires), m.follows
	}
	if !utf8.ValidString(r.Key) {
		r.KeyBytes = []byte(r.Key)
	}
	if !utf8.ValidString(r.Group) {
		r.GroupBytes = []byte(r.Group)
	}
	return r
}

// MarshalJSON returns the JSON of the Record of j. If JSON cannot write the
// argument, MarshalJSON fails, and so does writing a list with this job in it;
// the other jobs can be written one by one. A struct that embeds a Job is
// written as the job alone: use a field with a name, or embed the JobRecord.
func (j *Job[A, R]) MarshalJSON() ([]byte, error) { return json.Marshal(j.Record()) }

// String returns the type, and the state of j and, if j failed, the type of its
// error.
func (j *Job[A, R]) String() string {
	return printed("Job", jobState(j.State(), &j.core), reflect.TypeFor[A](), reflect.TypeFor[R]())
}

// GoString returns the text of String, for %#v.
func (j *Job[A, R]) GoString() string { return j.String() }

// LogValue returns the text of String, for package slog.
func (j *Job[A, R]) LogValue() slog.Value { return slog.StringValue(j.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (j *Job[A, R]) Format(s fmt.State, verb rune) { formatText(s, verb, j.String()) }

// jobState is the state of a job, and how its future failed.
func jobState(state JobState, c *settle.Core) string {
	if state == JobFailed && c.Settled() {
		return stateOf(c)
	}
	return state.String()
}

// JobOptions are the settings of one job. The zero value of each field is its
// default.
type JobOptions struct {
	// At and After delay a job: it is not started before the time At, or before
	// After has passed. Only one of the two may be set. Until then the job is
	// pending, behind all jobs that are due.
	At    time.Time
	After time.Duration

	// Expires is the time by which the job has to be started: if no call of it was
	// started by then, it fails with [ErrExpired].
	Expires time.Time

	// Timeout bounds the time from the start of the job's first call to the end of
	// the job, including retries and the pauses before them, even while the queue
	// is paused. Its end is the deadline of the calls' context: at that time the
	// context's Err is [context.DeadlineExceeded] and its cause a [*TimeoutError],
	// and the job fails with a [*TimeoutError] that unwraps to the errors of its
	// calls. The job is not retried after that. Its slot is free when the call has
	// returned. 0 means the queue's Timeout, and a negative value no limit.
	Timeout time.Duration

	// Retry determines how a job whose call fails is tried again; nil means the
	// queue's Retry. In the pauses between calls the job is pending and holds no
	// slot; after a pause it has the same place among equals as at first. A job
	// that is not tried again fails with a [*RetryError].
	Retry *RetryOptions

	// Key, if not empty, makes the job the only job with that key. While it is
	// pending or underway, a Put with the same key adds no job and returns this
	// job. If the Put has a lower priority number and the job is pending, the job
	// gets that priority. If the Put has a shorter delay and the job was not
	// called before, the job gets that delay. The argument does not change.
	//
	// To stop waiting for a shared job without canceling it, cancel a future
	// derived from it, for example with Tap. The key is free when the job's future
	// settles. The call of a canceled job may go on until it heeds its context.
	Key string

	// Refuse makes a Put whose Key is in use return [ErrDuplicateJob] with the job
	// that has the key.
	Refuse bool

	// Again makes a Put whose Key belongs to a job that is underway add a job that
	// runs after that job, with the new argument. At most one such job waits:
	// later Puts with Again replace its argument and return it. If the job with
	// the key is pending and no other waits for it, its own argument is replaced.
	// Therefore the last call for a key has the argument of the last Put. Calls
	// for one key do not overlap, except with the call of a canceled job.
	Again bool

	// Debounce makes a Put whose Key belongs to a pending job replace the job's
	// argument and, if no call of the job was made yet, move its due time to its
	// own, later or earlier. With After, the job runs when no Put was made for
	// that time.
	Debounce bool

	// Group is the name of the job's group, such as a host or a user. The
	// [GroupLimit] of a group limits how many of its jobs run, and how many start
	// per second. Jobs of other groups are not affected. A job that waits for its
	// group holds no slot.
	Group string

	// Context, if not nil, supplies values for the job's context, such as those of
	// a trace; hooks see them. Values of the queue's Context come second. The end
	// and the deadline of Context have no effect on the job.
	Context context.Context

	// Held keeps the job from starting until Release is called, whatever its due
	// time. It is pending, counts for Size, and has its Key. A program that writes
	// jobs to a disk can put a job with Held, write it, and then release or cancel
	// it.
	Held bool
}

// isPlain reports whether a job with options o needs no extra settings.
func (o *JobOptions) isPlain() bool {
	return o.Timeout <= 0 && o.Retry == nil && o.Key == "" && o.At.IsZero() && o.After <= 0 && o.Expires.IsZero() &&
		o.Context == nil && !o.Held
}

// key returns the Key in o, which may be nil.
func (o *JobOptions) key() string {
	if o == nil {
		return ""
	}
	return o.Key
}

// groupName returns the name of the group in o, which may be nil.
func (o *JobOptions) groupName() string {
	if o == nil {
		return ""
	}
	return o.Group
}

// merge merges opts into all: the fields that are set in later options replace
// those of earlier options.
func (all *JobOptions) merge(opts []JobOptions) {
	for i := range opts {
		o := &opts[i]
		if !o.At.IsZero() && o.After != 0 {
			panic("twill: JobOptions with both At and After")
		}
		if !o.At.IsZero() || o.After != 0 {
			all.At, all.After = o.At, o.After
		}
		if !o.Expires.IsZero() {
			all.Expires = o.Expires
		}
		if o.Timeout != 0 {
			all.Timeout = o.Timeout
		}
		if o.Retry != nil {
			all.Retry = o.Retry
		}
		if o.Key != "" {
			all.Key = o.Key
		}
		if o.Group != "" {
			all.Group = o.Group
		}
		if o.Context != nil {
			all.Context = o.Context
		}
		all.Refuse = all.Refuse || o.Refuse
		all.Again = all.Again || o.Again
		all.Debounce = all.Debounce || o.Debounce
		all.Held = all.Held || o.Held
	}
}

// Snooze returns an error with which the function of a job postpones the job:
// the job is pending again, holds no slot, and is due after d. Among equals it
// then has the place that it had at first. If d is not positive, the job is due
// at once, behind its equals, as if it were put again: it lets the jobs that
// wait start first. The call does not count as an attempt, the time of the
// snooze does not count for MaxElapsed, and the hooks and the failure tester of
// Retry are not called. A Timeout continues. Returned by other functions, it is
// an ordinary error.
func Snooze(d time.Duration) error { return &snoozeError{max(d, 0)} }

type snoozeError struct{ d time.Duration }

func (e *snoozeError) Error() string { return "twill: snoozed for " + e.d.String() }

// SnoozedFor returns the time by which err, which a call has returned,
// postpones its job, and reports whether it does: err is an error of [Snooze],
// or wraps one. A hook of [ResizableDispatchQueue.Use] distinguishes by it a
// call that snoozes from a call that has failed.
func SnoozedFor(err error) (d time.Duration, ok bool) {
	if err == nil {
		return 0, false
	}
	d = snoozeOf(err)
	return max(d, 0), d >= 0
}

// snoozeOf returns the time by which err, which a call has returned, postpones
// a job. It is negative if err is not from Snooze.
func snoozeOf(err error) (d time.Duration) {
	d = -1
	defer func() { _ = recover() }() // the methods of an error may panic
	if e, ok := errors.AsType[*snoozeError](err); ok {
		d = e.d
	}
	return d
}

// JobState is the state of a [Job].
type JobState uint8

// A job is pending, then underway, and then has finished or failed. A job that
// is pending or underway can be canceled. The last three states are final. A
// job that is to be called again is pending in between.
const (
	JobPending  JobState = iota // waits for a slot
	JobUnderway                 // its call was started
	JobFinished                 // its call returned a value
	JobFailed                   // its call returned an error, panicked or exited, or its time limit was exceeded
	JobCanceled                 // it was canceled before its call returned
)

var jobStates = [...]string{"pending", "underway", "finished", "failed", "canceled"}

// String returns the name, as in "pending".
func (s JobState) String() string {
	if int(s) < len(jobStates) {
		return jobStates[s]
	}
	return "JobState(" + strconv.Itoa(int(s)) + ")"
}

// MarshalText returns the name, which JSON uses.
func (s JobState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name.
func (s *JobState) UnmarshalText(text []byte) error {
	i := slices.Index(jobStates[:], string(text))
	if i < 0 {
		return fmt.Errorf("twill: unknown job state %q", text)
	}
	*s = JobState(i)
	return nil
}

// JobRecord is a job in the form in which it is saved. The JSON of a [Job] is
// that of its JobRecord; a list of jobs, as Stop returns it, can be read as a
// list of records for Restore. If JSON cannot write some of the arguments, such
// as a NaN, write the records one by one, and save those that fail in another
// form.
type JobRecord[A any] struct {
	ID       string   `json:"id,omitempty"`
	Arg      A        `json:"arg"`
	Priority int      `json:"priority"`
	State    JobState `json:"state"`
	Key      string   `json:"key,omitempty"`
	Group    string   `json:"group,omitempty"`

	// KeyBytes and GroupBytes are Key and Group if these are not UTF-8, which JSON
	// cannot write. Restore uses them if they are set.
	KeyBytes   []byte `json:"keyBytes,omitempty"`
	GroupBytes []byte `json:"groupBytes,omitempty"`

	Again    bool      `json:"again,omitempty"` // waits for an earlier run of its key
	Attempts int       `json:"attempts"`
	Queued   time.Time `json:"queued"`
	Due      time.Time `json:"due,omitzero"`
	Expires  time.Time `json:"expires,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Stopped  time.Time `json:"stopped,omitzero"`

	// Options has the Timeout, Retry, Context and Held of the restored job;
	// Restore ignores its other fields. They are not part of the JSON, and Record
	// does not set them. A program that keeps such settings elsewhere sets them
	// here.
	Options JobOptions `json:"-"`
}

// firstSeq is the number before that of the first job that is put; the numbers
// of restored jobs are below it.
const firstSeq = 1 << 63

// Restore puts saved jobs back, to be run again whatever their State was. They
// are put in the order of the records, before all jobs of the same priority
// that were put or restored earlier; with Ageing, the time since they were
// queued determines the order among these. Restored jobs keep the time at which
// they were queued, their ID, key and group, the time at which they expire, and
// the number of attempts. Their Timeout and Retry are the queue's, unless the
// record's Options have others, and their retries begin anew. Size does not
// limit Restore, as the jobs were admitted once.
//
// Restore returns the jobs in the order of the records. If a key is used twice
// or in use, or a number of attempts is negative, the error names the record,
// and nothing was added. After a stop Restore returns [ErrStopped]. Call
// Restore before the first Put: otherwise the ID of a record may have been used
// by a Put.
func (q *ResizableDispatchQueue[A, R]) Restore(records []JobRecord[A]) ([]*Job[A, R], error) {
	jobs := make([]*Job[A, R], len(records))
	opts := make([]JobOptions, len(records))
	last := make(map[string]int) // the last record of each key
	follows := make([]bool, len(records))
	for i := range records {
		r := &records[i]
		key, group := r.Key, r.Group
		if r.KeyBytes != nil {
			key = string(r.KeyBytes)
		}
		if r.GroupBytes != nil {
			group = string(r.GroupBytes)
		}
		if r.Attempts < 0 {
			return nil, fmt.Errorf("twill: restoring record %d: %d attempts", i, r.Attempts)
		}
		if key != "" {
			if first, used := last[key]; used {
				// A job that was put to run after another with the same key is saved with
				// that job.
				if follows[first] || !r.Again && records[first].State == JobPending {
					return nil, fmt.Errorf("twill: restoring record %d: key %q of record %d: %w", i, key, first, ErrDuplicateJob)
				}
				follows[i] = true
			}
			last[key] = i
		}
		o := &opts[i]
		*o = JobOptions{
			At: r.Due, Key: key, Group: group, Expires: r.Expires,
			Timeout: r.Options.Timeout, Retry: r.Options.Retry, Context: r.Options.Context, Held: r.Options.Held,
		}
		if r.Attempts > 0 || !r.Started.IsZero() {
			o.Expires = time.Time{} // it was started in time
		}
		q.setDefaults(o)
		jobs[i] = q.newJob(r.Arg, r.Priority, o)
		jobs[i].queued = q.clock.At(r.Queued)
		m := jobs[i].extra.Load()
		if m == nil {
			if r.ID == "" && r.Attempts == 0 && q.opts.Ageing == 0 {
				continue // it is as small as one that was put
			}
			m = new(jobExtra[A, R])
			jobs[i].extra.Store(m)
		}
		m.attempts = r.Attempts
		m.id = r.ID
	}
	now := q.lock()
	defer q.commit(now)
	if q.stopped || q.closing {
		return nil, ErrStopped
	}
	for i, j := range jobs {
		if m := j.extra.Load(); m != nil && m.key != "" && q.keys[m.key] != nil {
			return nil, fmt.Errorf("twill: restoring record %d: %w: %q", i, ErrDuplicateJob, m.key)
		}
	}
	q.restored -= uint64(len(jobs))
	for i, j := range jobs {
		q.skipIDLocked(records[i].ID)
		j.queued = min(j.queued, now) // a time in the future would put the job behind all others
		if follows[i] {
			if current := q.keys[j.extra.Load().key]; current != nil { // else that has expired
				j.extra.Load().follows = true
				current.extra.Load().next = j
			}
		}
		q.acceptLocked(j, &opts[i], q.restored+uint64(i), now)
		if id := records[i].ID; id != "" {
			q.keepIDLocked(id, j)
		}
	}
	q.restoreAgesLocked(jobs, now)
	for _, j := range jobs {
		q.enqueueLocked(j, now)
	}
	return jobs, nil
}

// skipIDLocked makes sure that the numbers of later jobs differ from a restored
// ID.
func (q *ResizableDispatchQueue[A, R]) skipIDLocked(id string) {
	if n, err := strconv.ParseInt(id, 10, 64); err == nil && n > 0 && n < math.MaxInt64/2 {
		q.seq = max(q.seq, firstSeq+uint64(n))
	}
}

// keepIDLocked lets FindID find j, whose ID is not its place.
func (q *ResizableDispatchQueue[A, R]) keepIDLocked(id string, j *Job[A, R]) {
	if q.byID == nil {
		q.byID = make(map[string]*Job[A, R])
	}
	q.byID[id] = j
}

// forgetIDLocked undoes keepIDLocked for j, which has ended.
func (q *ResizableDispatchQueue[A, R]) forgetIDLocked(j *Job[A, R]) {
	m := j.extra.Load()
	if m.id == "" && m.place.Load() == 0 {
		return
	}
	if id := j.ID(); q.byID[id] == j {
		delete(q.byID, id)
	}
}

// restoreAgesLocked gives each job that was called before an age that puts it
// before the records after it. With ageing the age determines the order. The
// records only show that the age is at most the time since the job was queued,
// and at least the time since its last pause.
func (q *ResizableDispatchQueue[A, R]) restoreAgesLocked(jobs []*Job[A, R], now instant) {
	if q.opts.Ageing == 0 {
		return
	}
	next := int64(math.MaxInt64 / 2) // no rank is higher
	for _, j := range slices.Backward(jobs) {
		m := j.extra.Load()
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
	j := &Job[A, R]{home: &q.groups.none, arg: arg, priority: priority}
	j.link.Do = jobHook[A, R]{j}
	j.core.SetUp(&j.link)
	settle.Made(&j.core)
	return j
}

// jobLinks and jobPlaces return the fields of a job that lists and heaps use.
type (
	jobLinks[A, R any]  struct{}
	jobPlaces[A, R any] struct{}
)

func (jobLinks[A, R]) Links(j *Job[A, R]) *list.Links[*Job[A, R]] { return &j.links }

func (jobPlaces[A, R]) Place(j *Job[A, R]) *heap.Place { return &j.place }

// jobHeap is a heap of jobs.
type jobHeap[A, R any] = heap.By[*Job[A, R], jobPlaces[A, R]]

func (j *Job[A, R]) queue() *ResizableDispatchQueue[A, R] { return j.home.q }

func (j *Job[A, R]) lock()   { j.queue().mu.Lock() }
func (j *Job[A, R]) unlock() { j.queue().mu.Unlock() }

func (j *Job[A, R]) time(at *instant) time.Time {
	j.lock()
	defer j.unlock()
	return j.queue().clock.Time(*at)
}

func (j *Job[A, R]) attempts() int {
	m := j.extra.Load()
	switch {
	case m != nil:
		return m.attempts
	case !j.started.IsZero():
		return 1
	}
	return 0
}

// group returns the group of j, or nil.
func (j *Job[A, R]) group() *jobGroup[A, R] {
	if j.home == &j.home.q.groups.none {
		return nil
	}
	return j.home
}

func (j *Job[A, R]) due() instant {
	if m := j.extra.Load(); m != nil {
		return m.due
	}
	return 0
}

// number returns the place of j among equals.
func (j *Job[A, R]) number() uint64 {
	if m := j.extra.Load(); m != nil {
		if place := m.place.Load(); place != 0 {
			return place
		}
	}
	return j.seq
}

// since returns the time from which j could have been started.
func (j *Job[A, R]) since() instant {
	if m := j.extra.Load(); m != nil {
		return m.since
	}
	return j.queued
}

// setDueLocked makes j, which has extra settings and was not started, due at
// the given time, or at any time if it is 0.
func (j *Job[A, R]) setDueLocked(due instant) {
	m := j.extra.Load()
	m.due, m.since = due, j.queued
	if due != 0 {
		m.since = max(j.queued, due)
	}
}

// extraLocked returns the extra settings of j, and adds them if j has none.
func (j *Job[A, R]) extraLocked() *jobExtra[A, R] {
	m := j.extra.Load()
	if m == nil {
		m = &jobExtra[A, R]{since: j.queued}
		if !j.started.IsZero() {
			m.attempts = 1
		}
		j.extra.Store(m)
	}
	return m
}

// jobHook makes a Job a [settle.Node], as its canceler. It is one pointer wide,
// so that converting it to an interface does not allocate.
type jobHook[A, R any] struct{ j *Job[A, R] }

// Source returns nil: the job itself is canceled.
func (h jobHook[A, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the job.
func (h jobHook[A, R]) Owner() *settle.Core { return &h.j.core }

// Fire is called when the job is canceled. The lock of the queue, under which
// jobs are started and ended, determines whether the cancel is in time.
func (h jobHook[A, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	j, q := h.j, h.j.queue()
	now := q.lock()
	pending := j.state == JobPending
	switch j.state {
	case JobPending:
		q.removePendingLocked(j, now)
		q.endLocked(j, JobCanceled, now)
	case JobUnderway:
		q.abortLocked(j, JobCanceled, left, now)
	default:
		q.mu.Unlock()
		return nil, nil // the goroutine that has ended the job settles its future
	}
	signals := q.advance(now)

	m := j.extra.Load()
	if pending {
		m.release()
	}
	left.EndsWork()
	if m != nil { // otherwise no call has a context
		j.ctx.End(endCause(left))
	}
	if pending {
		m.dropContext()
	}
	if signals == nil {
		return h.end(left)
	}
	// A wait for the queue to be empty must find no pending job.
	defer signals.settle() // runs even if a handler ends the goroutine
	var zero R
	j.settle(zero, left)
	return nil, nil
}

// Abort is called if ending the context panics, which can happen only with a
// context of the user's own.
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

// abortLocked ends j, which is underway, before its call has returned. After
// unlocking, the caller ends j.ctx and settles j with fail.
func (q *ResizableDispatchQueue[A, R]) abortLocked(j *Job[A, R], state JobState, fail *settle.Failure, now instant) {
	j.extraLocked().fail = fail
	q.endLocked(j, state, now)
}

// endCause returns the cause with which fail ends a context.
func endCause(fail *settle.Failure) error {
	if fail.Canceled {
		return causeOf(fail.Err)
	}
	if e, ok := errors.AsType[*TimeoutError](fail.Err); ok {
		return e
	}
	return fail.Err
}

// jobContext is a plain job as the context of its call. It is one pointer, so
// that a function that only passes its context on, or does not use it, costs
// nothing.
type jobContext[A, R any] struct{ j *Job[A, R] }

func (c jobContext[A, R]) base() context.Context { return c.j.queue().opts.Context }

// Deadline returns the deadline of the queue's context.
func (c jobContext[A, R]) Deadline() (time.Time, bool) { return c.base().Deadline() }

// Done returns a channel that is closed when the job is canceled, and when its
// call has returned.
func (c jobContext[A, R]) Done() <-chan struct{} {
	return c.j.ctx.Under(c.base()).Done()
}

// Err is not nil after Done is closed.
func (c jobContext[A, R]) Err() error { return c.j.ctx.Err(c.base()) }

// Value returns the value of the queue's context.
func (c jobContext[A, R]) Value(key any) any { return c.j.ctx.Value(c.base(), key) }

// String keeps fmt from reading the fields.
func (c jobContext[A, R]) String() string { return "twill.Job context" }

// extraContext is the context of the calls of a job that has its own values or
// deadline.
type extraContext struct {
	base  context.Context
	state *lazyctx.State
}

// Deadline returns the deadline of the base.
func (c *extraContext) Deadline() (time.Time, bool) { return c.base.Deadline() }

// Done returns a channel that is closed when the job is canceled, when its time
// limit is exceeded, and when its call has returned.
func (c *extraContext) Done() <-chan struct{} { return c.state.Under(c.base).Done() }

// Err is not nil after Done is closed.
func (c *extraContext) Err() error { return c.state.Err(c.base) }

// Value returns the value of the base.
func (c *extraContext) Value(key any) any { return c.state.Value(c.base, key) }

// String keeps fmt from reading the fields.
func (c *extraContext) String() string { return "twill.Job context" }

// valuesContext is a context with the values of another context before its own.
type valuesContext struct {
	context.Context
	values context.Context
}

// Value looks up key in the other context first.
func (c *valuesContext) Value(key any) any {
	if v := c.values.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// String keeps fmt from reading the fields.
func (c *valuesContext) String() string { return "twill.Job context" }

// jobExtra has the settings that few jobs have.
type jobExtra[A, R any] struct {
	// Guarded by the queue's lock.
	place    atomic.Uint64 // its place among equals, if it has lost that of its number
	due      instant       // the job must not start earlier; 0 means at any time
	since    instant       // the time from which the job could have been started
	expires  instant       // the first call must start earlier; 0 means never
	deadline instant       // the end of the Timeout, set by the first call
	attempts int
	soFar    *RetryError     // the failed attempts, if there may be another attempt
	fail     *settle.Failure // the failure by which the job was ended while underway
	next     *Job[A, R]      // the job that runs after this one, with the same key
	follows  bool            // waits for an earlier run of its key
	held     bool            // waits for Release

	id      string
	key     string
	timeout time.Duration

	// These fields belong to the goroutine that has the job: its worker, or the
	// goroutine that took it from where it waits.
	timer       *time.Timer // of the timeout, and before the first call of Expires
	retry       *jobRetry
	values      context.Context    // the context whose values come first
	context     context.Context    // the context of the calls
	stopContext context.CancelFunc // stops the timer of its deadline
	late        *TimeoutError      // the cause at the deadline
}

// isPlain reports whether m, the settings of a job that was never called, is
// equal to having none.
func (m *jobExtra[A, R]) isPlain() bool {
	return m.due == 0 && m.expires == 0 && m.attempts == 0 && m.next == nil && !m.follows && !m.held &&
		m.id == "" && m.key == "" && m.timeout <= 0 && m.retry == nil && m.values == nil
}

// expired reports whether it is too late for the first call of j.
func (m *jobExtra[A, R]) expired(j *Job[A, R], now instant) bool {
	return m.expires != 0 && j.started.IsZero() && now >= m.expires
}

// timedOut reports whether a call that has failed with err at the given time
// fails the job by its timeout. That is so if the time limit is exceeded, or
// would be exceeded by the pause before another attempt.
func (m *jobExtra[A, R]) timedOut(err error, now instant) bool {
	if m.deadline == 0 || panicOf(err) != nil || err == ErrGoexit {
		return false
	}
	if now >= m.deadline {
		return true
	}
	e, ok := err.(*RetryError)
	return ok && m.retry != nil && m.retry.bound && errors.Is(e.Reason, errPauseTooLong)
}

// timeoutError returns the failure of a job whose time limit is exceeded. err
// is the error of its last call, and may be nil.
func (m *jobExtra[A, R]) timeoutError(err error) error {
	if err == nil && m.soFar != nil {
		all := *m.soFar
		all.Reason, all.Elapsed = context.DeadlineExceeded, m.timeout
		err = &all
	}
	if e, ok := err.(*TimeoutError); ok && e == m.late {
		return e // the function has returned the cause of its context
	}
	return &TimeoutError{After: m.timeout, Err: err}
}

func (m *jobExtra[A, R]) stopTimer() {
	if m.timer != nil {
		m.timer.Stop()
		m.timer = nil
	}
}

// release releases what a job that has ended does not need.
func (m *jobExtra[A, R]) release() {
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

// dropContext drops the context of a job that has ended. The context was ended
// before.
func (m *jobExtra[A, R]) dropContext() {
	if m == nil {
		return
	}
	if m.stopContext != nil {
		m.stopContext()
	}
	m.values, m.context, m.stopContext = nil, nil, nil
}

// callExtra is callJob for a job with extra settings.
func (q *ResizableDispatchQueue[A, R]) callExtra(j *Job[A, R], m *jobExtra[A, R]) (v R, err error) {
	ctx := q.contextOf(j, m)
	if m.timeout > 0 && m.timer == nil { // DispatchOptions.Go may have taken some of the time
		m.timer = sched.AfterFunc(max(m.deadline.Sub(q.clock.Now()), 0), func() { q.timeOut(j) })
	}
	r := m.retry
	if r == nil {
		return q.callHooked(ctx, j)
	}
	if reason := r.before(ctx, q.opts.Context); reason != nil {
		return v, reason
	}
	// Each attempt has its own context, which ends with the attempt.
	if d := r.opts.AttemptTimeout; d > 0 {
		return tryFor(ctx, d, func(ctx context.Context) (R, error) { return q.callHooked(ctx, j) })
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return q.callHooked(ctx, j)
}

// contextOf returns the context for the calls of j.
func (q *ResizableDispatchQueue[A, R]) contextOf(j *Job[A, R], m *jobExtra[A, R]) context.Context {
	if m.timeout <= 0 && m.values == nil {
		return jobContext[A, R]{j}
	}
	if m.context == nil {
		base := q.opts.Context
		if m.values != nil {
			base = &valuesContext{base, m.values}
		}
		if m.timeout > 0 {
			q.mu.Lock()
			end := q.clock.Time(m.deadline)
			q.mu.Unlock()
			m.late = &TimeoutError{After: m.timeout}
			base, m.stopContext = context.WithDeadlineCause(base, end, m.late)
		}
		m.context = &extraContext{base, &j.ctx}
	}
	return m.context
}

// retryLocked makes j, which was underway, pending until its pause is over. If
// the queue is stopped, j stays pending.
func (q *ResizableDispatchQueue[A, R]) retryLocked(j *Job[A, R], now instant) {
	m := j.extra.Load()
	m.due = now.Add(m.retry.state.delay)
	m.soFar = m.retry.soFar
	j.state = JobPending
	q.stats.Retries++
	q.emitLocked(EventRetry, j)
	q.enqueueLocked(j, now)
	q.letJoinLocked(j)
	if g := j.group(); g != nil {
		q.updateGroupLocked(g, now)
	}
}

// snoozeLocked makes j, which was underway, pending for d. With no d it loses
// its place: it would start before its equals again.
func (q *ResizableDispatchQueue[A, R]) snoozeLocked(j *Job[A, R], d time.Duration, now instant) {
	m := j.extraLocked()
	m.due = now.Add(d)
	if d == 0 {
		q.seq++
		m.place.Store(q.seq)
		m.since = now
		q.keepIDLocked(j.ID(), j)
	}
	m.attempts--
	j.state = JobPending
	q.stats.Snoozed++
	q.emitLocked(EventSnoozed, j)
	q.enqueueLocked(j, now)
	q.letJoinLocked(j)
	if g := j.group(); g != nil {
		q.updateGroupLocked(g, now)
	}
}

// timeOut fails j, whose time limit is exceeded. It runs on the goroutine of
// the timer.
func (q *ResizableDispatchQueue[A, R]) timeOut(j *Job[A, R]) {
	now := q.lock()
	m := j.extra.Load()
	switch {
	case j.state == JobUnderway:
		fail := settle.NewFailure(m.timeoutError(nil))
		fail.Expected = true // the end of the job's own context is not reported
		q.abortLocked(j, JobFailed, fail, now)
		signals := q.advance(now)
		// The context has its own timer, which sets its cause.
		defer signals.settle() // runs even if a handler ends the goroutine
		var zero R
		j.settle(zero, fail)
		return
	case j.state == JobPending && !q.stopped: // otherwise the job stays left over
		q.removePendingLocked(j, now)
		q.failLocked(j, m.timeoutError(nil), now)
	}
	q.commit(now)
}

// expire fails j if it was not started in time. It runs on the goroutine of the
// timer.
func (q *ResizableDispatchQueue[A, R]) expire(j *Job[A, R]) {
	now := q.lock()
	if j.state == JobPending && j.started.IsZero() && !q.stopped {
		q.removePendingLocked(j, now)
		q.failLocked(j, ErrExpired, now)
	}
	q.commit(now)
}

// jobRetry is the state of the retries of one job. It belongs to the worker
// that has the job, and in the pauses to the goroutine that takes the job from
// where it waits.
type jobRetry struct {
	opts    *RetryOptions
	state   retryState
	pauses  lookahead
	bound   bool        // the deadline is the end of the job's timeout
	snoozed time.Time   // when the latest call returned Snooze, if it did
	soFar   *RetryError // the failed attempts
	exited  error       // the failure of the job, if a function of the user has ended the goroutine
}

// before is called before each attempt, and returns the reason for not making
// it. parent is the queue's context. An attempt after a snooze replaces the
// attempt that snoozed: no hook is called, and the time of the snooze does not
// count.
func (r *jobRetry) before(ctx, parent context.Context) (reason error) {
	resume := r.state.resume
	switch {
	case r.state.ctx == nil:
		r.state.begin(ctx, r.opts, time.Now())
		end, bounded := parent.Deadline()
		r.bound = r.state.bounded && !(bounded && end.Equal(r.state.deadline))
		return r.end(r.state.ended())
	case !r.snoozed.IsZero():
		r.state.start = r.state.start.Add(time.Since(r.snoozed))
		r.snoozed = time.Time{}
		resume = r.state.resumeSnoozed
	}
	return r.end(r.contain(resume))
}

// after is called after each attempt with its error, if the attempt failed. It
// reports whether there is another attempt, and otherwise returns the error
// with which the job ends.
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

// end returns the error with which the job ends, if there is a reason to end
// it.
func (r *jobRetry) end(reason error) error {
	if reason == nil {
		return nil
	}
	return r.state.gaveUp(reason)
}

// contain calls fn, which calls functions of the user. A panic or an exit of
// the goroutine is returned as a reason to end; in that case the token of the
// budget is returned too.
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
