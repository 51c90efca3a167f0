package jetstream

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// do asks the scheduler, for a call without a context. It does not wait for a
// scheduler if none is to be expected.
func (q *Queue[A, R]) do(r *request) (*reply, error) {
	ctx, cancel := q.bounded()
	defer cancel()
	rep, err := q.n.askSoon(ctx, r)
	if err != nil {
		return nil, err
	}
	switch rep.Error {
	case "":
		return rep, nil
	case codeNegative:
		return rep, twill.ErrNegativeWidth
	case codeNotPending, codeUnknown:
		return rep, twill.ErrNotPending
	case codeResumed:
		return rep, twill.ErrResumed
	}
	return rep, &Error{rep.Error}
}

// stoppedError is the error of a call that a stopped queue refuses.
func (q *Queue[A, R]) stoppedError() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stopped {
		return twill.ErrStopped
	}
	return nil
}

// SetWidth changes how many jobs are underway at once in the whole cluster, as
// in the root package. [Unlimited] leaves the limit to the workers. It returns
// when the journal has the change: from then on it holds, whichever process
// schedules.
func (q *Queue[A, R]) SetWidth(n int) error {
	if n < 0 {
		return twill.ErrNegativeWidth
	}
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opWidth, N: n})
	return err
}

// Width returns how many jobs may run at once in the whole cluster; [Unlimited]
// if only the workers limit them.
func (q *Queue[A, R]) Width() int { return q.stats().Width }

// SetWorkerWidth changes how many calls run at once in this process. Narrowing
// interrupts none. It returns [twill.ErrNegativeWidth] for a negative n, and
// [twill.ErrStopped] after a stop and if this process runs no jobs.
func (q *Queue[A, R]) SetWorkerWidth(n int) error {
	switch {
	case n < 0:
		return twill.ErrNegativeWidth
	case q.n.worker == nil:
		return twill.ErrStopped
	}
	if err := q.stoppedError(); err != nil {
		return err
	}
	q.n.worker.setWidth(n)
	return nil
}

// SetRate changes how many calls start per second in the whole cluster: retries
// and calls after a Snooze count. 0 means no limit. burst is how many calls
// start at once after a quiet time; 0 means 1. It returns when the journal has
// the change, which then holds instead of Options.Rate, whichever process
// schedules. After a change of the scheduler the first call waits as if others
// had just started, so that no more start than the rate allows.
func (q *Queue[A, R]) SetRate(perSecond float64, burst int) error {
	limit := rateConfig{perSecond, burst}
	if err := limit.check(); err != nil {
		return err
	}
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opRate, Rate: &limit})
	return err
}

// Rate returns what SetRate has set, zeros if there is no such limit or if no
// scheduler answers. It does not know Options.Rate.
func (q *Queue[A, R]) Rate() (perSecond float64, burst int) {
	if r := q.stats().Rate; r != nil {
		return r.PerSecond, r.Burst
	}
	return 0, 0
}

// hook is what Use adds.
type hook[A, R any] = func(ctx context.Context, arg A, next func(context.Context) (R, error)) (R, error)

// Use adds a hook around all calls that this process starts from now on, to
// time, log, limit or change them, as in the root package. The hook calls next
// to make the call, with its own context or one derived from it, and returns
// the result of the call. It need not call next, and may call it again. The
// first hook is the outermost. A hook runs on the goroutine of the call and is
// part of it: it holds the slot, and its panic fails the job. With a Retry the
// hook is called for each attempt. In place of the job it gets the argument,
// and [AttemptOf] its context. It panics if hook is nil.
func (q *Queue[A, R]) Use(hook func(ctx context.Context, arg A, next func(context.Context) (R, error)) (R, error)) {
	if hook == nil {
		panic("jetstream: Use of a nil function")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hooks = append(q.hooks, hook)
	run := q.fn
	for _, hook := range slices.Backward(q.hooks) {
		inner := run
		run = func(ctx context.Context, arg A) (R, error) {
			return hook(ctx, arg, func(ctx context.Context) (R, error) { return inner(ctx, arg) })
		}
	}
	q.run.Store(&run)
}

// Pause keeps the whole cluster from starting jobs, until a Resume by any
// process. The future settles when no call runs; a Resume cancels it, with
// [twill.ErrResumed] as the cause. If the cluster does not answer, it fails. It
// also fails, as do Empty, NoneUnderway and PendingBelow, with [ErrNoStream]
// when streams are missing, and with [nats.ErrConnectionClosed] when the
// connection is closed for good.
func (q *Queue[A, R]) Pause() *twill.Future[struct{}] {
	if _, err := q.do(&request{Op: opPause}); err != nil {
		return twill.Rejected[struct{}](err)
	}
	return q.await("paused", 0)
}

// Paused reports whether the queue was paused and not resumed.
func (q *Queue[A, R]) Paused() bool { return q.stats().Paused }

// Resume ends a pause. It returns [twill.ErrStopped] after a stop of q.
func (q *Queue[A, R]) Resume() error {
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opResume})
	return err
}

// ResumeWidth is Resume with a new width, which it sets even if the queue is
// not paused.
func (q *Queue[A, R]) ResumeWidth(n int) error {
	if n < 0 {
		return twill.ErrNegativeWidth
	}
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opResume, N: n, Set: true})
	return err
}

// SetGroupLimit gives a group a limit of its own, in the whole cluster.
func (q *Queue[A, R]) SetGroupLimit(group string, limit twill.GroupLimit) error {
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opGroup, Key: group, Limit: &limit})
	return err
}

// SetGroupLimits changes the limit of all groups that have none of their own.
func (q *Queue[A, R]) SetGroupLimits(limit twill.GroupLimit) error {
	if err := q.stoppedError(); err != nil {
		return err
	}
	_, err := q.do(&request{Op: opGroups, Limit: &limit})
	return err
}

// Reprioritize gives a pending job another priority. It returns
// [twill.ErrNotPending] if j is not pending.
func (q *Queue[A, R]) Reprioritize(j *Job[A, R], priority int) error {
	if j == nil || j.q != q {
		return twill.ErrNotPending
	}
	return q.ReprioritizeJob(j.id, priority)
}

// Clear cancels every pending job of the cluster and returns how many there
// were, 0 if the cluster does not answer.
func (q *Queue[A, R]) Clear() int {
	rep, err := q.do(&request{Op: opClear})
	if err != nil {
		q.n.report(err)
		return 0
	}
	return rep.N
}

// Find returns the job with that key that is pending or underway, and reports
// whether there is one.
func (q *Queue[A, R]) Find(key string) (*Job[A, R], bool) {
	if key == "" {
		return nil, false
	}
	rep, err := q.do(&request{Op: opJob, Key: key})
	if err != nil || rep.Record == nil {
		return nil, false
	}
	return q.handle(rep.Record.Record.ID, rep.Record), true
}

// Why returns what j waits for, as in the root package. If all slots of the
// workers are taken, that is [twill.WaitWidth].
func (q *Queue[A, R]) Why(j *Job[A, R]) (reason twill.WaitReason, until time.Time) {
	if j == nil || j.q != q {
		return twill.WaitNone, time.Time{}
	}
	rep, err := q.do(&request{Op: opWhy, ID: j.id})
	if err != nil {
		return twill.WaitNone, time.Time{}
	}
	for r := twill.WaitNone; r <= twill.WaitRate; r++ {
		if r.String() == rep.Reason {
			reason = r
		}
	}
	if rep.Until != 0 {
		until = q.n.now().Add(time.Duration(rep.Until))
	}
	return reason, until
}

// Pending returns the jobs that wait in the whole cluster, in the order in
// which they would start, as in the root package. For each job that this
// process has not put it begins to wait: use PendingPage for long lists. The
// list may have changed between its pages, of 1000 jobs at most.
//
// It returns nil if no scheduler answers, see Trouble, and a list of no jobs if
// none is pending. So do PendingPage and Underway.
func (q *Queue[A, R]) Pending() []*Job[A, R] { return q.list("pending", 0, -1) }

// PendingPage returns up to n of the jobs that Pending returns, without the
// first from.
func (q *Queue[A, R]) PendingPage(from, n int) []*Job[A, R] {
	if from < 0 || n < 0 {
		panic("jetstream: PendingPage: from and n must not be negative")
	}
	return q.list("pending", from, n)
}

// Underway returns the jobs that workers have, in the order of their starts,
// with those whose outcomes are being stored.
func (q *Queue[A, R]) Underway() []*Job[A, R] { return q.list("underway", 0, -1) }

func (q *Queue[A, R]) list(state string, from, n int) []*Job[A, R] {
	jobs := []*Job[A, R]{}
	if n == 0 {
		return jobs
	}
	for view, err := range q.views(state, from) {
		if err != nil {
			q.n.report(err)
			return nil
		}
		jobs = append(jobs, q.handle(view.Record.ID, view))
		if len(jobs) == n {
			break
		}
	}
	return jobs
}

// pageSize is how many jobs are asked for at once.
const pageSize = 500

// views yields what lists show of jobs, which it asks for a page at a time. It
// ends with an error if no scheduler answers.
func (q *Queue[A, R]) views(state string, from int) iter.Seq2[*jobView, error] {
	return func(yield func(*jobView, error) bool) {
		seen := map[string]bool{}
		for {
			rep, err := q.do(&request{Op: opList, State: state, First: from, N: pageSize})
			if err != nil {
				yield(nil, err)
				return
			}
			for i := range rep.Records {
				v := &rep.Records[i]
				if v.Record.ID == "" || seen[v.Record.ID] {
					continue
				}
				seen[v.Record.ID] = true
				if !yield(v, nil) {
					return
				}
			}
			if len(rep.Records) == 0 {
				return
			}
			from += len(rep.Records)
		}
	}
}

// Size returns how many jobs Underway and Pending would list.
func (q *Queue[A, R]) Size() (underway, pending int) {
	s := q.stats()
	return s.Underway, s.Pending
}

// stats asks for the numbers; they are zero if the cluster does not answer.
func (q *Queue[A, R]) stats() *wireStats {
	rep, err := q.do(&request{Op: opStats})
	if err != nil || rep.Stats == nil {
		q.n.report(err)
		return &wireStats{}
	}
	return rep.Stats
}

// Stats returns the numbers of the whole cluster, zero if it does not answer.
// What is counted was counted since the streams were made; the histograms and
// the throughput are those of the present scheduler. Refused includes the puts
// of other programs that cannot be read.
func (q *Queue[A, R]) Stats() twill.DispatchStats {
	w := q.stats()
	c := w.Counters
	s := twill.DispatchStats{
		Width: w.Width, Underway: w.Underway, Pending: w.Pending, Delayed: w.Delayed, Grouped: w.Grouped, Paused: w.Paused,
		Put: c.Put, Joined: c.Joined, Refused: c.Refused, Retries: c.Retries, Snoozed: c.Snoozed,
		Finished: c.Finished, Failed: c.Failed, Canceled: c.Canceled, Throughput: w.Throughput, RateError: w.RateError,
	}
	if w.Next != 0 {
		s.NextSince = q.n.now().Add(-time.Duration(w.Next))
	}
	if w.RateHeld != 0 {
		s.RateHeldSince = q.n.now().Add(-time.Duration(w.RateHeld))
	}
	if w.RateFails != 0 {
		s.RateFailingSince = q.n.now().Add(-time.Duration(w.RateFails))
	}
	for _, class := range w.Waiting {
		s.Waiting.AddN(time.Duration(class[0])-1, uint64(class[1]))
	}
	for _, class := range w.Running {
		s.Running.AddN(time.Duration(class[0])-1, uint64(class[1]))
	}
	return s
}

// Worker is a process that runs jobs, as Workers returns it.
type Worker struct {
	Process string // its id
	Name    string
	Version string        // of the program
	Width   int           // how many calls it runs at once
	Running int           // how many it runs
	Beat    time.Duration // since its last message
}

// Workers returns the processes that run jobs, 1000 at most, in no order, and
// the name of the scheduler; nothing if the cluster does not answer.
func (q *Queue[A, R]) Workers() (workers []Worker, scheduler string) {
	s := q.stats()
	for _, w := range s.Workers {
		workers = append(workers, Worker{w.Process, w.Name, w.Program, w.Width, w.Running, w.Beat})
	}
	return workers, s.Scheduler
}

// Empty returns a future that settles when no job is pending or underway in the
// whole cluster, those among them that this process has put before the call.
// Canceling it has no effect on the queue.
func (q *Queue[A, R]) Empty() *twill.Future[struct{}] { return q.await("empty", 0) }

// NoneUnderway returns a future that settles when no job is underway.
func (q *Queue[A, R]) NoneUnderway() *twill.Future[struct{}] { return q.await("idle", 0) }

// PendingBelow returns a future that settles when fewer than n jobs are
// pending. It fails with [twill.ErrStopped] if n is not positive.
func (q *Queue[A, R]) PendingBelow(n int) *twill.Future[struct{}] {
	if n <= 0 {
		return twill.Rejected[struct{}](twill.ErrStopped)
	}
	return q.await("below", n)
}

// await asks until it is so. The scheduler answers within a fourth of a lease.
func (q *Queue[A, R]) await(state string, n int) *twill.Future[struct{}] {
	p := twill.NewPromise[struct{}]()
	ctx, cancel := context.WithCancel(q.n.ctx)
	p.OnCancel(func(error) { cancel() })
	go func() {
		defer cancel()
		for {
			rep, err := q.n.ask(ctx, &request{Op: opAwait, State: state, N: n})
			switch {
			case q.n.ctx.Err() != nil:
				p.Future().Cancel(twill.ErrStopped)
				return
			case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, ErrNoStream):
				p.Reject(err)
				return
			case err != nil:
				if ctx.Err() != nil {
					return
				}
			case rep.Error == codeResumed:
				p.Future().Cancel(twill.ErrResumed)
				return
			case rep.Error != "":
				p.Reject(&Error{rep.Error})
				return
			case rep.Done:
				p.Resolve(struct{}{})
				return
			}
		}
	}()
	return p.Future()
}

// Stopped reports whether q was stopped.
func (q *Queue[A, R]) Stopped() bool { return q.stoppedError() != nil }

// Stop ends the part of this process in the queue: it puts no further jobs,
// takes none to run, and does not schedule. Calls that run here go on. The
// future settles when they have returned and their outcomes are stored. It
// holds the jobs that are pending in the cluster then, in order: other workers
// run them, and so does this program the next day, nothing has to be saved. The
// futures of jobs that were put here settle as before, until Close.
func (q *Queue[A, R]) Stop() *twill.Future[[]*Job[A, R]] { return q.stop(nil) }

// StopNow is Stop, and ends the contexts of the calls that run here, with
// [twill.ErrStopped] as the cause. The jobs whose calls return an error after
// that are handed back at once, as if they had not been called.
func (q *Queue[A, R]) StopNow() *twill.Future[[]*Job[A, R]] { return q.stop(twill.ErrStopped) }

func (q *Queue[A, R]) stop(cause error) *twill.Future[[]*Job[A, R]] {
	q.mu.Lock()
	q.stopped = true
	q.mu.Unlock()
	p := twill.NewPromise[[]*Job[A, R]]()
	var idle <-chan struct{}
	if w := q.n.worker; w != nil {
		idle = w.stop(cause)
	}
	go func() {
		if idle != nil {
			select {
			case <-idle:
			case <-q.n.ctx.Done():
			}
			ctx, cancel := context.WithTimeout(q.n.ctx, q.n.opts.Lease)
			q.n.worker.bye(ctx)
			cancel()
		}
		var left []*Job[A, R]
		if q.n.ctx.Err() == nil {
			left = q.Pending()
		}
		q.n.leave()
		p.Resolve(left)
	}()
	return p.Future().Shield()
}

// Drain ends the part of this process after the work of the queue: from now on
// q puts no job; when none is pending or underway in the cluster, q is stopped.
// Other processes may go on putting jobs, and Drain waits for these too. If ctx
// ends first, Drain stops q as StopNow does, and returns the jobs that are
// pending then, with the cause of ctx.
func (q *Queue[A, R]) Drain(ctx context.Context) ([]*Job[A, R], error) {
	if ctx == nil {
		panic("jetstream: Drain with a nil context")
	}
	q.mu.Lock()
	q.draining = true
	q.mu.Unlock()
	empty := q.Empty()
	_, err := empty.Await(ctx)
	stop := q.Stop
	if err != nil {
		empty.Cancel(nil)
		stop = q.StopNow
		if ctx.Err() == nil {
			err = errors.Join(twill.ErrStopped, err)
		}
	}
	left, _ := stop().Await(context.Background())
	if err == nil && len(left) > 0 {
		left = nil // put by others after that
	}
	return left, err
}
