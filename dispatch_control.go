package twill

import (
	"context"
	"slices"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// SetWidth changes the maximum number of jobs underway. Widening starts jobs at
// once; narrowing interrupts no job, and no job starts until enough jobs have
// finished. With 0 no job is started. While q is paused, the new width is
// recorded, and used after Resume. SetWidth returns [ErrNegativeWidth] for a
// negative n, and [ErrStopped] if q is stopped.
func (q *ResizableDispatchQueue[A, R]) SetWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	now := q.lock()
	defer q.commit(now)
	if q.stopped {
		return ErrStopped
	}
	q.setWidthLocked(n)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) setWidthLocked(n int) {
	if q.width != n {
		q.width = n
		q.emitLocked(EventWidth, nil)
	}
}

// Pause keeps q from starting jobs; it may be called again. Jobs that are
// underway go on. The future settles when all their calls have returned and
// their futures have settled. If q is resumed first, it is canceled with
// [ErrResumed] as the cause. Canceling it has no effect on q.
func (q *ResizableDispatchQueue[A, R]) Pause() *Future[struct{}] {
	now := q.lock()
	defer q.commit(now)
	if !q.paused {
		q.paused = true
		q.emitLocked(EventPaused, nil)
	}
	if q.workers == 0 {
		return Resolved(struct{}{})
	}
	return shieldOf(&q.drained)
}

// shieldOf returns a shield of the future of *p, which it makes if *p is nil.
func shieldOf(p **Promise[struct{}]) *Future[struct{}] {
	if *p == nil {
		*p = NewPromise[struct{}]()
	}
	return (*p).Future().Shield()
}

// Resume ends a pause and starts as many jobs as the width allows. It does
// nothing if q is not paused, and returns [ErrStopped] if q is stopped.
func (q *ResizableDispatchQueue[A, R]) Resume() error {
	return q.resume(func() {})
}

// ResumeWidth is Resume with a new width, which it sets even if q is not
// paused. A negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) ResumeWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	return q.resume(func() { q.setWidthLocked(n) })
}

func (q *ResizableDispatchQueue[A, R]) resume(change func()) error {
	now := q.lock()
	if q.stopped {
		q.mu.Unlock()
		return ErrStopped
	}
	change()
	if q.paused {
		q.paused = false
		q.emitLocked(EventResumed, nil)
	}
	drained := q.drained
	q.drained = nil
	q.commit(now)
	if drained != nil {
		drained.f.settle(struct{}{}, canceled(ErrResumed))
	}
	return nil
}

// Reprioritize changes the priority of a pending job. Among jobs of the new
// priority the job has the place that it would have if it had been put with
// that priority. Reprioritize returns [ErrNotPending] if j is not pending in q.
func (q *ResizableDispatchQueue[A, R]) Reprioritize(j *Job[A, R], priority int) error {
	if j == nil || j.queue() != q {
		return ErrNotPending
	}
	now := q.lock()
	defer q.commit(now)
	if j.state != JobPending {
		return ErrNotPending
	}
	q.reprioritizeLocked(j, priority, now)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) reprioritizeLocked(j *Job[A, R], priority int, now instant) {
	g := j.group()
	switch {
	case q.delayed.Has(j):
		j.priority = priority
	case g == nil:
		j.priority = priority
		q.pending.Reprioritize(j, q.rankLocked(j))
	default:
		q.removeFromGroupLocked(g, j)
		j.priority = priority
		q.pushAgainLocked(g, j, now)
	}
	q.emitLocked(EventReprioritized, j)
}

// Clear cancels every pending job, in order, and returns the number of these
// jobs.
func (q *ResizableDispatchQueue[A, R]) Clear() int {
	now := q.lock()
	left := q.snapshotLocked()
	jobs := left.inOrder()
	q.clearPendingLocked()
	for _, j := range jobs {
		q.endLocked(j, JobCanceled, now)
	}
	q.setDueTimerLocked(now)
	signals := q.advance(now)
	fail := canceled(nil)
	defer signals.settle() // runs even if a handler ends the goroutine
	each(jobs, func(j *Job[A, R]) {
		if m := j.extra.Load(); m != nil {
			m.release()
			j.ctx.End(ErrCanceled)
			m.dropContext()
		}
		var zero R
		j.settle(zero, fail)
	})
	return len(jobs)
}

// clearPendingLocked removes all jobs from where they wait.
func (q *ResizableDispatchQueue[A, R]) clearPendingLocked() {
	q.pending.Clear()
	q.delayed.Clear()
	for _, g := range q.groups.byName {
		g.heap.Clear()
		g.head = nil
	}
	q.groups.waiting = 0
}

// Use adds a hook around all calls that are started from now on, to time, log,
// limit or change them. The hook calls next to make the call, with its own
// context or one derived from it, and returns the result of the call. It need
// not call next, and may call it again. The first hook is the outermost. A hook
// runs on the goroutine of the call and is part of it: it holds the slot, and
// its panic fails the job. With a Retry the hook is called for each attempt.
func (q *ResizableDispatchQueue[A, R]) Use(hook func(ctx context.Context, j *Job[A, R], next func(context.Context) (R, error)) (R, error)) {
	if hook == nil {
		panic("twill: Use of a nil function")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hooks = append(q.hooks, hook)
	run := func(ctx context.Context, j *Job[A, R]) (R, error) { return q.fn(ctx, j.arg) }
	for _, hook := range slices.Backward(q.hooks) {
		inner := run
		run = func(ctx context.Context, j *Job[A, R]) (R, error) {
			return hook(ctx, j, func(ctx context.Context) (R, error) { return inner(ctx, j) })
		}
	}
	q.run.Store(&run)
}

// Limiter limits the rate at which jobs start: Wait returns nil when a job may
// start. It must heed the context, which ends when no job waits. A
// *rate.Limiter of golang.org/x/time/rate is a Limiter.
type Limiter interface {
	Wait(ctx context.Context) error
}

// SetRate changes the rate limit; nil removes it. Each attempt, including
// retries, calls Wait once. Wait is called when a job could otherwise start,
// and before the job is chosen, so a more urgent job that is put while Wait
// blocks starts first. SetRate ends a Wait that is underway, so that SetRate
// with the same limiter applies a new setting of the limiter at once.
//
// If Wait returns an error, or panics, no job starts until a later Wait
// succeeds. Wait is called again after 100 ms; the time doubles with each
// further failure in a row, up to 30 s. No job fails because of the limiter,
// and the queue is not paused: Paused remains false. Stats has the error and
// the time of the first failure in a row, and each row of failures causes one
// event.
//
// At most one Wait at a time is underway, on its own goroutine.
func (q *ResizableDispatchQueue[A, R]) SetRate(limiter Limiter) {
	now := q.lock()
	q.stopLimiterLocked()
	q.rate = rateLimit{limiter: limiter, changes: q.rate.changes + 1}
	q.emitLocked(EventRate, nil)
	q.commit(now)
}

// Empty returns a future that settles when no job is pending or underway, at
// once if there is none now. At that moment the futures of all jobs have
// settled, except for a job that another goroutine is just canceling before its
// start. If q is stopped with jobs left over, the future fails with
// [ErrStopped]. Canceling it has no effect on q.
func (q *ResizableDispatchQueue[A, R]) Empty() *Future[struct{}] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.emptyLocked()
}

func (q *ResizableDispatchQueue[A, R]) emptyLocked() *Future[struct{}] {
	switch {
	case q.workers == 0 && q.isEmptyLocked():
		return Resolved(struct{}{})
	case q.closed:
		return Rejected[struct{}](ErrStopped)
	}
	return shieldOf(&q.empty)
}

// isEmptyLocked reports whether no job is pending, or about to be put by a
// PutWait that was admitted.
func (q *ResizableDispatchQueue[A, R]) isEmptyLocked() bool {
	return q.pendingLenLocked() == 0 && q.line.reserved == 0
}

// NoneUnderway returns a future that settles when no job is underway, at once
// if there is none now. Unlike [ResizableDispatchQueue.Pause] it does not keep
// jobs from starting. Canceling it has no effect on q.
func (q *ResizableDispatchQueue[A, R]) NoneUnderway() *Future[struct{}] {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.workers == 0 {
		return Resolved(struct{}{})
	}
	return shieldOf(&q.idle)
}

// PendingBelow returns a future that settles when fewer than n jobs are
// pending, at once if that is so now. It fails with [ErrStopped] if q is
// stopped with n or more jobs left over, or if n is not positive. Canceling it
// has no effect on q. A producer that loads work in portions can wait for it;
// PutWait with a Size does the same for one job.
func (q *ResizableDispatchQueue[A, R]) PendingBelow(n int) *Future[struct{}] {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.pendingLenLocked() < n:
		return Resolved(struct{}{})
	case q.closed || n <= 0:
		return Rejected[struct{}](ErrStopped)
	}
	if q.below == nil {
		q.below = make(map[int]*Promise[struct{}])
	}
	p := q.below[n]
	defer func() { q.below[n] = p }()
	return shieldOf(&p)
}

// Drain ends the queue after its work. From now on no job can be put. When all
// jobs that are pending or underway have ended, including delayed jobs, the
// queue is stopped. If ctx ends first, Drain stops the queue as
// [ResizableDispatchQueue.StopNow] does, and at once returns the jobs left over
// with the cause of ctx: first the jobs that it has canceled, whose calls may
// not have returned, and then the pending jobs.
//
// Drain refuses jobs that are put by running jobs, too. If jobs put other jobs,
// wait for [ResizableDispatchQueue.Empty] first, and then call Drain. A paused
// queue, a queue of width 0 and a queue with a held job do not become empty by
// themselves. If the queue is stopped by another call, Drain returns the jobs
// left over with [ErrStopped]. It must not be called by a job.
func (q *ResizableDispatchQueue[A, R]) Drain(ctx context.Context) ([]*Job[A, R], error) {
	if ctx == nil {
		panic("twill: Drain with a nil context")
	}
	now := q.lock()
	q.closing = true
	q.refuseWaitersLocked(now)
	empty := q.emptyLocked()
	q.commit(now)

	_, err := empty.Await(ctx)
	if r, over := empty.Poll(); over { // ctx may have any cause, even ErrStopped
		left, _ := q.Stop().Await(context.Background())
		if len(left) > 0 { // even if all of them were underway, and StopNow has canceled them
			return left, ErrStopped
		}
		return left, r.Err
	}
	empty.Catch(func(error) (struct{}, error) { return struct{}{}, nil }) // nothing waits for it
	kill := canceled(ErrStopped)
	now = q.lock()
	killed := q.stopLocked(kill, now)
	left := q.snapshotLocked()
	signals := q.advance(now)
	q.settleKilled(killed, kill)
	signals.settle()
	return append(killed, left.inOrder()...), err
}

// Stop ends the queue for good: no job can be put or started after it, and the
// width is 0. Jobs that are underway go on. The future settles when all their
// calls have returned and their futures have settled. Its value is the list of
// the jobs left over, in the order in which they would have started; they can
// be saved, and put again later by [ResizableDispatchQueue.Restore]. They stay
// pending: they can be listed and canceled, but their futures do not settle by
// themselves. [ResizableDispatchQueue.Clear] cancels them.
//
// Stop refuses jobs that are put by running jobs. If jobs put other jobs, as in
// a crawler, call Pause, wait for its future, and then call Stop: no work is
// lost, as the jobs put last are left over. If that wait has to be bounded,
// call StopNow after it, and let the function put no job after its context has
// ended.
//
// Stop may be called again; each future has the same list. It may be called by
// a job, but its future does not settle before that job ends. Canceling the
// future has no effect on q.
func (q *ResizableDispatchQueue[A, R]) Stop() *Future[[]*Job[A, R]] {
	return q.stop(nil)
}

// StopNow is Stop that also cancels the jobs that are underway, with
// [ErrStopped] as the cause. They are first in the list, in the order in which
// they were started. After a Stop it cancels the jobs that are still underway.
func (q *ResizableDispatchQueue[A, R]) StopNow() *Future[[]*Job[A, R]] {
	return q.stop(canceled(ErrStopped))
}

func (q *ResizableDispatchQueue[A, R]) stop(kill *settle.Failure) *Future[[]*Job[A, R]] {
	now := q.lock()
	killed := q.stopLocked(kill, now)
	leftovers := q.leftovers
	signals := q.advance(now)

	q.settleKilled(killed, kill)
	signals.settle()
	// Each caller has its own list and future.
	return Then(leftovers.Future().Shield(), func(jobs []*Job[A, R]) ([]*Job[A, R], error) {
		return slices.Clone(jobs), nil
	})
}

// stopLocked stops q. If kill is not nil it ends the jobs underway with it, and
// returns them.
func (q *ResizableDispatchQueue[A, R]) stopLocked(kill *settle.Failure, now instant) (killed []*Job[A, R]) {
	if !q.stopped {
		q.moveDueLocked(now)
		q.stopped = true
		q.width = 0
		q.leftovers = NewPromise[[]*Job[A, R]]()
		q.setDueTimerLocked(now)
		q.refuseWaitersLocked(now)
		q.emitLocked(EventStopped, nil)
	}
	if kill == nil {
		return nil
	}
	for j := range q.underway.All() {
		if j.state == JobUnderway {
			q.abortLocked(j, JobCanceled, kill, now)
			killed = append(killed, j)
		}
	}
	q.killed = append(q.killed, killed...)
	return killed
}

// settleKilled settles the jobs that stopLocked has ended.
func (q *ResizableDispatchQueue[A, R]) settleKilled(killed []*Job[A, R], kill *settle.Failure) {
	for _, j := range killed {
		j.ctx.End(ErrStopped)
	}
	each(killed, func(j *Job[A, R]) {
		var zero R
		j.settle(zero, kill)
	})
}

// rateLimit is the rate limit of a queue; the queue's lock guards it.
type rateLimit struct {
	limiter Limiter // nil means no limit
	changes int     // number of changes of the limiter
	permit  bool    // one job may start
	waiter  *limiterWait
	since   instant // the time since which it holds jobs back

	failing instant       // time of the first failed Wait in a row; 0 means that the last Wait succeeded
	err     error         // the error of the last failed Wait
	pause   time.Duration // the pause before the next Wait
	retryAt instant       // the time of the next Wait
}

// The pauses between failed Waits.
const (
	firstLimiterPause = 100 * time.Millisecond
	maxLimiterPause   = 30 * time.Second
)

// open reports whether a job may start.
func (r *rateLimit) open() bool { return r.limiter == nil || r.permit }

// limiterWait is a goroutine that waits for permits.
type limiterWait struct {
	limiter Limiter
	changes int       // the number of changes when it began
	pause   time.Time // the goroutine sleeps until then
	waiting bool      // the goroutine is in the limiter's Wait
	ctx     context.Context
	cancel  context.CancelFunc
}

// updateLimiterLocked starts a goroutine that waits for a permit if a job waits
// only for the rate limit, and stops it if no job does.
func (q *ResizableDispatchQueue[A, R]) updateLimiterLocked(now instant) {
	r := &q.rate
	if r.limiter == nil {
		return
	}
	if !q.canBeginLocked(q.workers + 1) {
		q.stopLimiterLocked()
		return
	}
	if r.waiter != nil {
		return
	}
	if r.since == 0 {
		r.since = now
	}
	w := &limiterWait{limiter: r.limiter, changes: r.changes}
	if r.failing != 0 {
		w.pause = time.Now().Add(r.retryAt.Sub(now))
	}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(q.opts.Context))
	r.waiter = w
	go q.waitForPermits(w)
}

// stopLimiterLocked ends the wait for a permit, if there is one.
func (q *ResizableDispatchQueue[A, R]) stopLimiterLocked() {
	q.rate.since = 0
	if w := q.rate.waiter; w != nil {
		q.rate.waiter = nil
		w.cancel()
	}
}

// waitForPermits waits for permits until no permit is needed.
func (q *ResizableDispatchQueue[A, R]) waitForPermits(w *limiterWait) {
	returned := false
	defer func() {
		if returned {
			w.cancel()
			return
		}
		// For runtime.Goexit by the limiter, or by a handler of a future that settles
		// here.
		defer q.replaceLimiterWait(w)
		if w.waiting {
			w.waiting = false
			q.limiterReturned(w, ErrGoexit)
		}
	}()
	for w.sleep() && q.limiterReturned(w, w.wait()) {
	}
	returned = true
}

// replaceLimiterWait makes a new goroutine continue with w, if w is still
// needed.
func (q *ResizableDispatchQueue[A, R]) replaceLimiterWait(w *limiterWait) {
	q.mu.Lock()
	needed := q.rate.waiter == w
	q.mu.Unlock()
	if !needed {
		w.cancel()
		return
	}
	go q.waitForPermits(w)
}

// sleep returns after the pause, if there is a pause, and reports whether the
// wait is still needed.
func (w *limiterWait) sleep() bool {
	if w.pause.IsZero() {
		return true
	}
	timer := time.NewTimer(time.Until(w.pause))
	defer timer.Stop()
	w.pause = time.Time{}
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// wait waits for one permit.
func (w *limiterWait) wait() (err error) {
	defer func() {
		if v := recover(); v != nil {
			w.waiting, err = false, caught(v)
		}
	}()
	w.waiting = true
	err = w.limiter.Wait(w.ctx)
	w.waiting = false
	return err
}

// limiterReturned handles the result of a Wait, and reports whether w
// continues.
func (q *ResizableDispatchQueue[A, R]) limiterReturned(w *limiterWait, err error) bool {
	now := q.lock()
	r := &q.rate
	switch {
	case w.changes != r.changes: // the limiter was replaced
	case err == nil:
		// A permit that is not needed now is kept, as the limiter has counted it.
		r.permit = true
		r.failing, r.err, r.pause = 0, nil, 0
	case r.waiter == w: // otherwise its context was ended
		first := r.failing == 0
		r.pause = min(max(2*r.pause, firstLimiterPause), maxLimiterPause)
		r.err, r.retryAt = err, now.Add(r.pause)
		w.pause = time.Now().Add(r.pause)
		if first {
			r.failing = now
			q.emitErrorLocked(EventRateFailed, err)
		}
	}
	signals := q.advanceLocked(now)
	goOn := r.waiter == w
	q.unlock()
	signals.settle()
	return goOn
}

// signals has the futures that a change of the queue settles after unlocking.
type signals[A, R any] struct {
	failed    []failedJob[A, R]    // jobs that have ended without a call
	below     []*Promise[struct{}] // of PendingBelow
	refused   []*Promise[struct{}] // of PendingBelow, because the queue is stopped
	idle      *Promise[struct{}]
	drained   *Promise[struct{}]
	empty     *Promise[struct{}]
	leftovers *Promise[[]*Job[A, R]]
	killed    []*Job[A, R]
	left      pendingSnapshot[A, R]
}

// signalsLocked returns what is to be settled now, or nil if there is nothing.
func (q *ResizableDispatchQueue[A, R]) signalsLocked() *signals[A, R] {
	var s *signals[A, R]
	if len(q.failed) > 0 || len(q.below) > 0 {
		s = q.earlySignalsLocked()
	}
	if q.workers > 0 {
		return s
	}
	closes := q.stopped && !q.closed
	empties := q.empty != nil && (q.isEmptyLocked() || closes)
	if q.drained == nil && q.idle == nil && !empties && !closes {
		return s
	}
	if s == nil {
		s = new(signals[A, R])
	}
	s.drained, s.idle = q.drained, q.idle
	q.drained, q.idle = nil, nil
	if empties {
		s.empty, q.empty = q.empty, nil
	}
	if closes {
		q.closed = true
		s.leftovers = q.leftovers
		s.killed, q.killed = q.killed, nil
		s.left = q.snapshotLocked()
		if q.stats.Retries+q.stats.Snoozed > 0 {
			for _, j := range s.left.all() {
				j.extra.Load().release()
			}
		}
		for n, p := range q.below {
			delete(q.below, n)
			s.refused = append(s.refused, p)
		}
		q.events.Close()
		q.ended.Close()
	}
	return s
}

// earlySignalsLocked collects what is settled even while jobs run.
func (q *ResizableDispatchQueue[A, R]) earlySignalsLocked() *signals[A, R] {
	s := &signals[A, R]{failed: q.failed}
	q.failed = nil
	pending := q.pendingLenLocked()
	for n, p := range q.below {
		if pending < n {
			delete(q.below, n)
			s.below = append(s.below, p)
		}
	}
	if s.failed == nil && s.below == nil {
		return nil
	}
	return s
}

// settle is called without the lock. The futures settle even if a handler of
// one of them ends the goroutine.
func (s *signals[A, R]) settle() {
	if s == nil {
		return
	}
	if s.leftovers != nil {
		defer func() {
			left := s.left.inOrder()
			for _, j := range left {
				if m := j.extra.Load(); m != nil { // nil for a job without extra settings
					j.ctx.End(ErrStopped)
				}
			}
			s.leftovers.Resolve(append(s.killed, left...))
		}()
	}
	if s.empty != nil {
		defer func() {
			var stopped error
			if s.leftovers != nil && s.left.len() > 0 {
				stopped = ErrStopped
			}
			s.empty.Settle(struct{}{}, stopped)
		}()
	}
	if s.drained != nil {
		defer s.drained.Resolve(struct{}{})
	}
	if s.idle != nil {
		defer s.idle.Resolve(struct{}{})
	}
	defer each(s.refused, func(p *Promise[struct{}]) { p.Reject(ErrStopped) })
	defer each(s.below, func(p *Promise[struct{}]) { p.Resolve(struct{}{}) })
	each(s.failed, failedJob[A, R].settle)
}
