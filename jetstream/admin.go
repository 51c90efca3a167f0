package jetstream

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// The methods of this file make a Queue one that the page of the module admin
// can show and steer.

// show is the argument as text.
func (q *Queue[A, R]) show(arg json.RawMessage) string {
	if q.n.opts.Show != nil {
		return q.n.opts.Show(arg)
	}
	const limit = 200
	if len(arg) > limit {
		return string(arg[:limit]) + "..."
	}
	return string(arg)
}

func (q *Queue[A, R]) records(state string, from int) iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		for v, err := range q.views(state, from) {
			if err != nil {
				q.n.report(err)
				return
			}
			if !yield(v.Record.ID, recordOf(v, q.show(v.Record.Arg), q.n.now())) {
				return
			}
		}
	}
}

// PendingJobs yields the pending jobs of the cluster in the order in which they
// would start, without the first from.
func (q *Queue[A, R]) PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]] {
	return q.records("pending", from)
}

// UnderwayJobs yields the jobs that workers have, in the order of their starts.
func (q *Queue[A, R]) UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return q.records("underway", 0)
}

// EndedJobs yields the latest jobs that have ended in the term of the present
// scheduler, 200 or more if there are as many, the latest first.
func (q *Queue[A, R]) EndedJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return q.records("ended", 0)
}

// FindJob returns the job with that id or, if there is none, the pending or
// underway job with that key.
func (q *Queue[A, R]) FindJob(idOrKey string) (id string, job twill.JobRecord[string], found bool) {
	for _, r := range []*request{{Op: opJob, ID: idOrKey}, {Op: opJob, Key: idOrKey}} {
		if rep, err := q.do(r); err == nil && rep.Record != nil {
			v := rep.Record
			return v.Record.ID, recordOf(v, q.show(v.Record.Arg), q.n.now()), true
		}
	}
	return "", job, false
}

// JobError returns the error with which a job has failed or was canceled, nil
// if there is none.
func (q *Queue[A, R]) JobError(id string) error {
	ctx, cancel := q.bounded()
	defer cancel()
	o, err := q.n.st.outcome(ctx, id)
	if err != nil || o == nil {
		return nil
	}
	return decodeError(o.Error)
}

// CancelJob cancels a job that is pending or underway, with the cause. It
// returns [twill.ErrNotPending] if the job has ended or there is none.
func (q *Queue[A, R]) CancelJob(id string, cause error) error {
	rep, err := q.do(&request{Op: opJob, ID: id})
	if err != nil {
		return err
	}
	if rep.Record.State > twill.JobUnderway {
		return twill.ErrNotPending
	}
	ctx, cancel := q.bounded()
	defer cancel()
	got, own, err := q.decideCanceled(ctx, id, cause)
	if err != nil {
		return err
	}
	if !own {
		return twill.ErrNotPending
	}
	q.settle(got)
	return nil
}

// ReprioritizeJob gives a pending job another priority. It returns
// [twill.ErrNotPending] if it is not pending.
func (q *Queue[A, R]) ReprioritizeJob(id string, priority int) error {
	_, err := q.do(&request{Op: opPrio, ID: id, N: priority})
	return err
}

// RunJobAgain puts the argument of an ended job once more, with its priority,
// key and group, and returns the id of the new job. It returns
// [twill.ErrNotPending] if the job is not among those that EndedJobs yields.
func (q *Queue[A, R]) RunJobAgain(id string) (newID string, err error) {
	rep, err := q.do(&request{Op: opAgain, ID: id})
	if err != nil {
		return "", err
	}
	rec := rep.Record.Record
	var arg A
	if err := json.Unmarshal(rec.Arg, &arg); err != nil {
		return "", err
	}
	job, err := q.Put(arg, rec.Priority, twill.JobOptions{Key: rec.Key, Group: rec.Group, Timeout: rec.Timeout})
	if err != nil {
		return "", err
	}
	return job.ID(), nil
}

// DrainJobs is Drain, and returns how many jobs are left over.
func (q *Queue[A, R]) DrainJobs(ctx context.Context) (left int, err error) {
	jobs, err := q.Drain(ctx)
	return len(jobs), err
}

// EachWorker calls yield for each of up to 1000 workers until yield returns
// false: with its name, the version of its program, the time of its last
// message by the clock of this process, how many jobs it has, and whether it
// schedules.
func (q *Queue[A, R]) EachWorker(yield func(name, version string, heartbeat time.Time, underway int, schedules bool) bool) {
	s := q.stats()
	now := q.n.now()
	for _, w := range s.Workers {
		if !yield(w.Name, w.Program, now.Add(-w.Beat), w.Running, w.Process == s.Process) {
			return
		}
	}
}

// Trouble returns why this process does not reach the queue, as far as it knows
// without asking: a connection that is closed or lost, streams that are missing
// ([ErrNoStream]), or no announcement of a scheduler for two leases
// ([ErrNoScheduler]). It returns nil if there is no trouble.
func (q *Queue[A, R]) Trouble() error {
	switch {
	case q.n.conn.IsClosed():
		return nats.ErrConnectionClosed
	case !q.n.conn.IsConnected():
		return nats.ErrDisconnected
	}
	return q.n.trouble()
}

// WhyPending returns what the job waits for, in a word, "" if it does not wait.
func (q *Queue[A, R]) WhyPending(id string) string {
	rep, err := q.do(&request{Op: opWhy, ID: id})
	if err != nil || rep.Reason == twill.WaitNone.String() {
		return ""
	}
	return rep.Reason
}
