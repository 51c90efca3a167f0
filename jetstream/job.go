package jetstream

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"github.com/twillgo/twill"
)

// Job is a job of a [Queue], and the future of its result, wherever it runs. It
// is made by Put in the process that puts it, and by lists and Find elsewhere.
// Its methods may be called by several goroutines. Those that return what may
// have changed ask the scheduler, and if none answers return what was known
// last.
//
// When the outcome arrives, the handlers of the future run on a goroutine of
// their own: one that blocks keeps no other job waiting. A Cancel and a Close
// run them on the goroutine of the call.
//
// Cancel stores the outcome "canceled" for the job, unless it has another. It
// waits for the cluster, at most for Options.Wait; if that does not answer, the
// future is canceled and the job may go on. It does not wait for a scheduler if
// none is to be expected: the next one finds the outcome.
type Job[A, R any] struct {
	*twill.Future[R]
	p    twill.Promise[R]
	q    *Queue[A, R]
	id   string
	made time.Time
	// decided is set when the outcome is known: a cancel of the future does not go
	// to the cluster any longer.
	decided atomic.Bool
	known   chan struct{} // closed when the scheduler has taken the put

	// Guarded by q.mu.
	arg      A
	priority int
	key      string
	group    string
	put      *wirePut // until it was taken
	inbox    uint64   // its message, 0 if that is not known
	missed   int      // how often nothing knew it
	outcome  *outcome
	other    *Job[A, R] // the job that it has joined, or that has its key
	refused  error
	last     *jobView
}

func newJob[A, R any](q *Queue[A, R], id string, arg A) *Job[A, R] {
	j := &Job[A, R]{q: q, id: id, arg: arg, made: time.Now(), known: make(chan struct{})}
	j.Future = j.p.Future()
	j.p.OnCancel(j.cancel)
	return j
}

// takenLocked notes that the scheduler has taken the put.
func (j *Job[A, R]) takenLocked() {
	j.put = nil
	select {
	case <-j.known:
	default:
		close(j.known)
	}
}

// fail fails j, whatever has become of it elsewhere.
func (j *Job[A, R]) fail(err error) {
	j.decided.Store(true)
	j.p.Future().Cancel(err)
}

// handled keeps a failure of j from being reported.
func (j *Job[A, R]) handled() {
	j.Catch(func(error) (r R, _ error) { return r, nil })
}

// cancel is called when the future is canceled.
func (j *Job[A, R]) cancel(cause error) {
	q := j.q
	q.mu.Lock()
	decided := j.decided.Load() || j.outcome != nil || q.closed
	q.mu.Unlock()
	if decided {
		return
	}
	ctx, cancel := q.bounded()
	defer cancel()
	got, _, err := q.decideCanceled(ctx, j.id, cause)
	if err != nil { // it goes on trying, but the future does not wait
		go func() { _, _, _ = q.decideCanceled(q.n.ctx, j.id, cause) }()
		q.n.report(err)
		return
	}
	if got.State != outCanceled {
		q.settle(got)
		return
	}
	q.mu.Lock()
	j.outcome = got
	delete(q.jobs, j.id)
	q.mu.Unlock()
}

// decideCanceled stores the outcome "canceled", unless there is one, and tells
// the scheduler. It reports whether this call has stored it.
func (q *Queue[A, R]) decideCanceled(ctx context.Context, id string, cause error) (got *outcome, own bool, err error) {
	o := &outcome{
		Version: wireVersion, ID: id, State: outCanceled, By: q.n.id, Nonce: nuid.Next(),
		Error: encodeError(&twill.CanceledError{Cause: cause}),
	}
	got, err = q.n.st.decide(ctx, o)
	if err != nil {
		return nil, false, err
	}
	own = got.Nonce == o.Nonce
	if got.State == outJoined || got.State == outRefused {
		return got, own, nil
	}
	// The scheduler drops the job. A later one finds the outcome when it begins.
	// One that is just beginning may have missed it, and is asked in a while.
	tell := func(ctx context.Context, d time.Duration, ask func(context.Context, *request) (*reply, error)) error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		_, err := ask(ctx, &request{Op: opEnded, ID: id, State: got.State})
		return err
	}
	if tell(ctx, q.n.opts.Lease, q.n.askSoon) != nil {
		go tell(q.n.ctx, 4*q.n.opts.Lease, q.n.ask)
	}
	return got, own, nil
}

// ID returns the id of j, which is unique among all queues.
func (j *Job[A, R]) ID() string { return j.id }

// Arg returns the argument. If puts of other processes have replaced it, this
// process may not know the latest.
func (j *Job[A, R]) Arg() A {
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	return j.arg
}

// Key returns the key that j was put with.
func (j *Job[A, R]) Key() string { return j.key }

// Group returns the group that j was put with.
func (j *Job[A, R]) Group() string { return j.group }

// Priority returns the priority that j has or, once it was started, had.
func (j *Job[A, R]) Priority() int {
	if v := j.view(); v != nil {
		return v.Record.Priority
	}
	return j.priority
}

// State returns where j is in its life.
func (j *Job[A, R]) State() twill.JobState {
	if r, settled := j.Poll(); settled {
		j.q.mu.Lock()
		defer j.q.mu.Unlock()
		switch {
		case j.outcome != nil && j.outcome.State != outJoined:
			return j.outcome.state()
		case j.other != nil && j.other.outcome != nil:
			return j.other.outcome.state()
		case isError(r.Err, twill.ErrCanceled):
			return twill.JobCanceled
		}
		return twill.JobFailed // nothing is known of its end
	}
	if v := j.view(); v != nil {
		return v.State
	}
	return twill.JobPending
}

// Attempts returns how often j's call was started, without those that returned
// [twill.Snooze], and those whose workers were lost.
func (j *Job[A, R]) Attempts() int {
	j.q.mu.Lock()
	o := j.outcome
	j.q.mu.Unlock()
	if o != nil && o.Attempts > 0 {
		return o.Attempts
	}
	if v := j.view(); v != nil {
		return v.Record.Attempts
	}
	return 0
}

// Worker returns the name of the process that runs j, "" if none does.
func (j *Job[A, R]) Worker() string {
	if _, settled := j.Poll(); settled {
		return ""
	}
	if v := j.view(); v != nil {
		return v.Worker
	}
	return ""
}

// Release lets a job start that was put with Held, and reports whether it was
// held until now. If another process has become the scheduler since the Put,
// the job starts before its equals.
func (j *Job[A, R]) Release() bool {
	rep, err := j.q.do(&request{Op: opRelease, ID: j.id})
	return err == nil && rep.Done
}

// Record returns what lists show of j. The times are by this machine's clock.
func (j *Job[A, R]) Record() twill.JobRecord[A] {
	v := j.view()
	if v == nil {
		v = &jobView{Record: record{ID: j.id, Priority: j.priority, Key: j.key, Group: j.group}}
	}
	r := recordOf(v, j.Arg(), j.q.n.now())
	r.State = j.State()
	return r
}

// recordOf is v with the argument as it is shown, and times by the clock that
// says now.
func recordOf[A any](v *jobView, arg A, now time.Time) twill.JobRecord[A] {
	ago := func(d time.Duration) time.Time {
		if d == 0 {
			return time.Time{}
		}
		return now.Add(-d)
	}
	return twill.JobRecord[A]{
		ID: v.Record.ID, Arg: arg, Priority: v.Record.Priority, State: v.State, Key: v.Record.Key, Group: v.Record.Group,
		Again: v.Record.Follows, Attempts: v.Record.Attempts, Queued: ago(v.Queued), Due: ago(v.Due), Expires: ago(v.Expire),
		Started: ago(v.Start), Stopped: ago(v.End),
	}
}

// MarshalJSON returns the Record of j.
func (j *Job[A, R]) MarshalJSON() ([]byte, error) { return json.Marshal(j.Record()) }

// view asks the scheduler for j.
func (j *Job[A, R]) view() *jobView {
	rep, err := j.q.do(&request{Op: opJob, ID: j.id})
	j.q.mu.Lock()
	defer j.q.mu.Unlock()
	if err == nil && rep.Record != nil {
		j.last = rep.Record
		var arg A
		if json.Unmarshal(j.last.Record.Arg, &arg) == nil {
			j.arg = arg
		}
	}
	return j.last
}
