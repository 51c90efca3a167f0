package durable

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// Job is one job of a [Queue] and the future of its result. It is made by Put,
// and by [Queue.Find] for a job of an earlier process. Its methods may be
// called by several goroutines.
//
// The future settles when the end of the job is on disk: what was seen of it
// stays true after a crash. It fails as that of a [twill.Job] does: with the
// error of the last call, a [*twill.RetryError], a [*twill.TimeoutError],
// [twill.ErrExpired] or a [*twill.CanceledError]. That of a job that has ended
// in an earlier process fails with an [*EndError]. If the end cannot be
// written, the future is canceled with an error that is [ErrBroken]; after the
// disk has failed, so are those of all pending jobs, which run when the file is
// opened again.
//
// Canceling a chain that starts at the job cancels the job too if it has no
// other dependents. While the end of the job is written, such a cancel ends the
// future, and the job has ended as it did.
type Job[A, R any] struct {
	*twill.Future[R]

	q       *Queue[A, R]
	inner   *twill.Job[*Job[A, R], R] // nil for one that had ended when it was found
	id      int64                     // guarded by q.mu, as it is changed if a put is merged into another
	crashes uint16
	bits    atomic.Uint32
	more    *more // what few jobs have; guarded by q.mu
}

// The bits of a job.
const (
	bitCanceled  = 1 << iota // by Cancel of the job itself
	bitSubmitted             // its end is on its way to the disk
	bitParked                // its kind is not known
	bitDead                  // it is to be kept aside
	bitAgain                 // it was restored behind another one
	bitRefused               // it could not be written
	bitAdopting              // the lock of the queue is held while its future is made
)

// more is what few jobs have.
type more struct {
	timeout time.Duration
	policy  string
	retries int64
	held    bool // by JobOptions.Held
	key     string
	result  atomic.Pointer[[]byte] // of the latest call that has returned; not guarded
	lastErr string
	insert  *insert // until it is on its way to the disk
	begun   *start  // of the call that is next, written by Queue.begin
	past    *store.Job
}

func (h *Job[A, R]) set(bit uint32)      { h.bits.Or(bit) }
func (h *Job[A, R]) clear(bit uint32)    { h.bits.And(^bit) }
func (h *Job[A, R]) has(bit uint32) bool { return h.bits.Load()&bit != 0 }

// aliasOf makes h, which a put into real has left in memory as the argument of
// that, as good as real. It is called with the lock of the queue.
func (h *Job[A, R]) aliasOf(real *Job[A, R]) {
	h.Future, h.inner, h.id, h.crashes, h.more = real.Future, real.inner, real.id, real.crashes, real.moreLocked()
}

// moreLocked returns what few jobs have.
func (h *Job[A, R]) moreLocked() *more {
	if h.more == nil {
		h.more = new(more)
	}
	return h.more
}

// past is what the file has of a job that had ended when it was found, else
// nil.
func (h *Job[A, R]) past() *store.Job {
	if h.inner == nil && h.more != nil {
		return h.more.past
	}
	return nil
}

// ID returns the name of the job, which is the same in all processes. The
// function finds it in its context by [JobID], and the receiver of its work can
// tell by it whether the work was done before.
func (h *Job[A, R]) ID() string { return strconv.FormatInt(h.id, 10) }

// Arg reads the argument from the file, by the latest put if several were
// merged. It returns an error that is [ErrNoJob] if the job has ended and is
// not kept.
func (h *Job[A, R]) Arg() (A, error) { return h.q.arg(h.id) }

// Cancel ends the job with a [*twill.CanceledError] for cause, as [twill.Job]
// does, and returns when that is on disk: after a crash the job does not run
// again. It reports whether this call has ended the job.
func (h *Job[A, R]) Cancel(cause error) bool {
	if h.inner == nil {
		return false
	}
	h.set(bitCanceled)
	if !h.inner.Cancel(cause) {
		return false
	}
	_, err := h.Await(context.Background())
	return h.inner.State() == twill.JobCanceled && !errors.Is(err, ErrBroken) && !errors.Is(err, ErrClosed)
}

// Release lets a job start that was put with JobOptions.Held, when that is on
// disk, and reports whether it was held until now.
func (h *Job[A, R]) Release() bool {
	if h.inner == nil {
		return false
	}
	q := h.q
	q.mu.Lock()
	if h.more == nil || !h.more.held || h.inner.State() != twill.JobPending {
		q.mu.Unlock()
		return false
	}
	h.more.held = false
	wait := q.updateLocked(h)
	q.mu.Unlock()
	if wait() != nil {
		return false
	}
	return h.inner.Release()
}

// Priority returns the priority that the job has or had at last.
func (h *Job[A, R]) Priority() int { return h.Record().Priority }

// State returns where the job is in its life. A dead job has failed.
func (h *Job[A, R]) State() twill.JobState {
	if h.inner != nil {
		return h.inner.State()
	}
	return stateOf(h.past().State)
}

// Key returns the key that the job was put with.
func (h *Job[A, R]) Key() string {
	if h.inner != nil {
		return h.inner.Key()
	}
	return h.past().Key
}

// Group returns the group that the job was put with.
func (h *Job[A, R]) Group() string {
	if h.inner != nil {
		return h.inner.Group()
	}
	return h.past().Group
}

// Attempts returns how often the job's call was started, by all processes,
// without the calls that returned [twill.Snooze] and those that a stop has
// interrupted.
func (h *Job[A, R]) Attempts() int {
	if h.inner != nil {
		return h.inner.Attempts()
	}
	return int(h.past().Attempts)
}

// Crashes returns how many calls of the job have ended with the process.
func (h *Job[A, R]) Crashes() int {
	if h.inner != nil {
		return int(h.crashes)
	}
	return int(h.past().Crashes)
}

// Parked reports whether the job waits for a process that knows its kind.
func (h *Job[A, R]) Parked() bool {
	return h.inner != nil && h.has(bitParked) && h.inner.State() == twill.JobPending
}

// Dead reports whether the job is dead: it has crashed the process too often,
// or its argument is damaged.
func (h *Job[A, R]) Dead() bool {
	if h.inner != nil {
		return h.has(bitDead)
	}
	return h.past().State == store.Dead
}

// Record returns the settings and times of the job. The argument is not in it:
// it is on disk.
func (h *Job[A, R]) Record() twill.JobRecord[struct{}] {
	if p := h.past(); p != nil {
		return recordOf(p, struct{}{})
	}
	r := h.inner.Record()
	if h.Parked() {
		r.Due = time.Time{} // it waits for a process, not for a time
	}
	return twill.JobRecord[struct{}]{
		ID: h.ID(), Priority: r.Priority, State: r.State, Key: r.Key, Group: r.Group, KeyBytes: r.KeyBytes, GroupBytes: r.GroupBytes,
		Again: r.Again, Attempts: r.Attempts, Queued: r.Queued, Due: r.Due, Expires: r.Expires, Started: r.Started, Stopped: r.Stopped,
	}
}

// recordOf is what the file has of a job as a record.
func recordOf[T any](p *store.Job, arg T) twill.JobRecord[T] {
	return twill.JobRecord[T]{
		ID: strconv.FormatInt(p.ID, 10), Arg: arg, Priority: int(p.Priority), State: stateOf(p.State), Key: p.Key, Group: p.Group,
		Again: p.Again, Attempts: int(p.Attempts), Queued: toTime(p.Queued), Due: toTime(p.Due), Expires: toTime(p.Expires),
		Started: toTime(p.Started), Stopped: toTime(p.Ended),
	}
}

// stateOf is a state of the file as one of the queue.
func stateOf(s store.State) twill.JobState {
	switch s {
	case store.Underway:
		return twill.JobUnderway
	case store.Finished:
		return twill.JobFinished
	case store.Failed, store.Dead:
		return twill.JobFailed
	case store.Canceled:
		return twill.JobCanceled
	}
	return twill.JobPending
}

// toMillis is t as the file has it: rounded up, so that no job starts early.
func toMillis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Millisecond - 1).UnixMilli()
}

func toTime(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// rowLocked is what the file is to have of a live job.
func (h *Job[A, R]) rowLocked() store.Job {
	r := h.inner.Record()
	row := h.baseRow(&r)
	row.Again = r.Again || h.has(bitAgain)
	switch {
	case r.State == twill.JobUnderway:
		row.State = store.Underway
	case h.has(bitParked):
		row.State = store.Parked
	}
	if m := h.more; m != nil {
		row.Timeout, row.Policy, row.Retries, row.Held, row.Error = int64(m.timeout), m.policy, m.retries, m.held, m.lastErr
	}
	return row
}

// baseRow is what the queue in memory knows of a job, as the file has it.
func (h *Job[A, R]) baseRow(r *twill.JobRecord[*Job[A, R]]) store.Job {
	return store.Job{
		ID: h.id, Priority: int64(r.Priority), Queued: toMillis(r.Queued), Due: toMillis(r.Due), Started: toMillis(r.Started),
		Expires: toMillis(r.Expires), Attempts: int64(r.Attempts), Crashes: int64(h.crashes), Key: r.Key, Group: r.Group,
	}
}

// EndError is the failure of a job that has ended in an earlier process: what
// the file has of its error. [errors.Is] finds [ErrDead], [twill.ErrCanceled],
// [twill.ErrExpired], [twill.ErrGoexit], [twill.ErrRetriesExhausted] and
// [context.DeadlineExceeded] in it where they were in the error.
type EndError struct {
	ID    string
	State twill.JobState
	Text  string // of the error

	is []error
}

func (e *EndError) Error() string {
	return "durable: job " + e.ID + " " + e.State.String() + ": " + e.Text
}

// Unwrap returns the known errors that were found in the error.
func (e *EndError) Unwrap() []error { return e.is }

// kinds are the errors that are found again in an EndError, each with the
// letter for it in the file.
var kinds = []struct {
	letter byte
	err    error
}{
	{'c', twill.ErrCanceled},
	{'x', twill.ErrExpired},
	{'g', twill.ErrGoexit},
	{'r', twill.ErrRetriesExhausted},
	{'t', context.DeadlineExceeded},
	{'d', ErrDead},
	{'m', ErrDamaged},
	{'n', ErrNotKept},
}

// kindOf returns the letters of the errors in err. It calls methods of the
// user's errors.
func kindOf(err error) string {
	var b []byte
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			b = append(b, k.letter)
		}
	}
	return string(b)
}

// maxErrorText bounds what is kept of an error.
const maxErrorText = 8 << 10

// describe returns the text of err and its kind. A panic of a method of the
// error is contained.
func describe(err error) (text, kind string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("%T (its text is a panic)", err)
		}
	}()
	kind = kindOf(err)
	text = err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return text, kind
}

// endError is the failure of a job as the file has it.
func endError(p *store.Job) error {
	e := &EndError{ID: strconv.FormatInt(p.ID, 10), State: stateOf(p.State), Text: p.Error}
	for _, k := range kinds {
		for i := range len(p.Kind) {
			if p.Kind[i] == k.letter {
				e.is = append(e.is, k.err)
			}
		}
	}
	return e
}
