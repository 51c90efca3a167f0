package twill

import (
	"context"
	"fmt"
	"slices"

	"github.com/twillgo/twill/internal/settle"
)

// SetWidth changes how many jobs may run at once. Widening starts as many as
// it makes room for; narrowing interrupts none, and as many as are too many are
// not followed by others when they end. With 0 no job is started. While q is
// paused the width is only noted; a stopped q starts nothing whatever it is. A
// negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) SetWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	now := q.lock()
	q.setWidthLocked(n)
	q.commit(now)
	return nil
}

// Pause keeps q from starting jobs; it may be called again. Jobs that are
// underway go on; the future settles when the calls of all have returned and
// their futures have settled. If q is resumed before, it is cancelled with
// [ErrResumed] as the cause. Cancelling it does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Pause() *Future[struct{}] {
	now := q.lock()
	if !q.paused {
		q.paused = true
		q.emitLocked(EventPaused, nil)
	}
	if q.workers == 0 {
		q.commit(now)
		return Resolved(struct{}{})
	}
	if q.drained == nil {
		q.drained = NewPromise[struct{}]()
	}
	drained := q.drained
	q.commit(now)
	return drained.Future().Shield()
}

// Resume ends a pause and starts as many jobs as the width allows. It does
// nothing if q is not paused, and returns [ErrStopped] if q is stopped.
func (q *ResizableDispatchQueue[A, R]) Resume() error {
	return q.resume(func() {})
}

// ResumeWidth is Resume with a new width; it sets that also if q is not
// paused. A negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) ResumeWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	return q.resume(func() { q.setWidthLocked(n) })
}

// Reprioritize gives a pending job another priority. Among those of the same
// priority it stands where it would if it had been put with that one. It
// returns [ErrNotPending] if j does not wait in q.
func (q *ResizableDispatchQueue[A, R]) Reprioritize(j *Job[A, R], priority int) error {
	if j == nil || j.q != q {
		return ErrNotPending
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.state != JobPending {
		return ErrNotPending
	}
	q.reprioritizeLocked(j, priority)
	return nil
}

// Clear cancels every pending job, in order, and returns how many there were.
func (q *ResizableDispatchQueue[A, R]) Clear() int {
	now := q.lock()
	left := q.snapshotLocked()
	for _, h := range []*jobHeap[A, R]{&q.pending, &q.delayed} {
		for e := range h.All() {
			q.endLocked(e.Item, JobCanceled, now)
		}
		h.Clear()
	}
	q.setDueTimerLocked(now)
	signals := q.advanceLocked(now)
	q.mu.Unlock()
	jobs := left.inOrder()
	fail := canceled(nil)
	defer signals.settle() // also if a handler ends the goroutine
	each(jobs, func(j *Job[A, R]) {
		j.extra.release()
		if ctx := j.ctx.Load(); ctx != nil {
			ctx.end(ErrCanceled)
		}
		var none R
		j.settle(none, fail)
	})
	return len(jobs)
}

// Use puts a hook around the calls that are started from now on, to time, log,
// limit or change them. It calls next for the call itself, with the context or one made from it, and returns
// what is to count as the call's result; it need not call next, and may call it
// retryLocked. The first hook is the outermost. It runs on the goroutine of the call
// and is part of it: it holds the slot, and a panic is the job's failure. With
// a Retry it is around each attempt.
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

// Limiter says how fast jobs may start: Wait returns when one may, or with an
// error. It must heed the context, which ends when nobody waits any more. A
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface {
	Wait(ctx context.Context) error
}

// SetRate changes how fast jobs may start; nil takes the limit away. Each start of a call, also
// one that is a retry, takes one Wait of the limiter, which is made when a job
// could start otherwise and before it is decided which: a job that is
// more urgent and comes meanwhile is the one to start. A Wait that was
// underway is given up, so that SetRate with the same limiter has a new
// setting of that count at once.
//
// If Wait returns an error, or panics, the job that is the next to start fails
// with that: nothing is lost in silence. One Wait at a time is underway, on a
// goroutine of its own.
func (q *ResizableDispatchQueue[A, R]) SetRate(limiter Limiter) {
	now := q.lock()
	q.stopLimiterLocked()
	q.rate.limiter, q.rate.permit = limiter, false
	q.rate.changes++
	q.emitLocked(EventRate, nil)
	q.commit(now)
}

// Empty returns a future that settles when no job is pending or underway: at
// once if it is so now. The futures of all jobs have settled, except for one that
// another goroutine is cancelling before its start at this moment. If q is stopped with
// jobs left over it fails with [ErrStopped]. Cancelling it does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Empty() *Future[struct{}] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.emptyLocked()
}

// Drain ends the queue after its work: from now on nothing is put, and when the
// jobs that are pending or underway have ended, also those with a delay, the queue is
// stopped. If ctx ends before, Drain stops it by [ResizableDispatchQueue.StopNow]
// and returns the jobs left over with the cause of ctx, at once: first those it has
// cancelled, whose calls may not have returned yet, then the pending ones.
//
// A paused queue does not get there by itself. If somebody else stops the queue
// meanwhile Drain returns what is left over, with [ErrStopped]. It must not be
// called by a job.
func (q *ResizableDispatchQueue[A, R]) Drain(ctx context.Context) ([]*Job[A, R], error) {
	if ctx == nil {
		panic("twill: Drain with a nil context")
	}
	now := q.lock()
	q.closing = true
	q.refusePuttersLocked(now)
	empty := q.emptyLocked()
	q.mu.Unlock()

	_, err := empty.Await(ctx)
	if r, over := empty.Poll(); over { // ctx may have any cause, also ErrStopped
		left, _ := q.Stop().Await(context.Background())
		if len(left) > 0 { // also if all of them were underway, and cancelled by StopNow
			return left, ErrStopped
		}
		return left, r.Err
	}
	empty.Catch(func(error) (struct{}, error) { return struct{}{}, nil }) // nobody waits for it any more
	kill := canceled(ErrStopped)
	now = q.lock()
	killed := q.stopLocked(kill, now)
	left := q.snapshotLocked()
	signals := q.advanceLocked(now)
	q.mu.Unlock()
	q.settleKilled(killed, kill)
	signals.settle()
	return append(killed, left.inOrder()...), err
}

// Stop ends the queue for good: no job is put or started any more, and the
// width is 0. Jobs that are underway go on. The future settles when the calls of
// all have returned and their futures have settled. It holds the jobs left
// endLocked, in the order in which they would have started, to be saved and put
// retryLocked another day, by [ResizableDispatchQueue.Restore]. They stay pending: they can be listed, moved and
// cancelled, but their futures do not settle by themselves;
// [ResizableDispatchQueue.Clear] cancels them.
//
// Stop may be called again, and every future gets the same list. It may be
// called by a job; its future does not settle before that job ends. Cancelling
// the future does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Stop() *Future[[]*Job[A, R]] {
	return q.stopWith(nil)
}

// StopNow is Stop, and cancels the jobs that are underway, with [ErrStopped] as
// the cause. They are the first in the list, in the order in which they were
// started. After a Stop it cancels those that are still underway.
func (q *ResizableDispatchQueue[A, R]) StopNow() *Future[[]*Job[A, R]] {
	return q.stopWith(canceled(ErrStopped))
}

func (q *ResizableDispatchQueue[A, R]) setWidthLocked(n int) {
	if q.width != n {
		q.width = n
		q.emitLocked(EventWidth, nil)
	}
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

func (q *ResizableDispatchQueue[A, R]) reprioritizeLocked(j *Job[A, R], priority int) {
	j.priority = priority
	if q.pending.Has(j) {
		q.pending.Reprioritize(j, q.rankLocked(j))
	}
	q.emitLocked(EventReprioritized, j)
}

// rateLimit is the rate limit of a queue; the queue's lock guards it.
type rateLimit struct {
	limiter     Limiter      // nil: no limit
	changes     int          // of the limiter
	permit      bool         // one job may start
	limiterWait *limiterWait // waits for a permit, if somebody does
}

// open reports whether a job may start.
func (p *rateLimit) open() bool { return p.limiter == nil || p.permit }

// pass is open, and uses the permit up.
func (p *rateLimit) pass() bool {
	open := p.open()
	p.permit = false
	return open
}

// limiterWait is a goroutine that waits for permits.
type limiterWait struct {
	limiter Limiter
	changes int  // as they were when it began
	waiting bool // in the limiter's Wait
	ctx     context.Context
	cancel  context.CancelFunc
}

// limiterLoop waits for one permit.
func (p *limiterWait) wait() (err error) {
	defer func() {
		if v := recover(); v != nil {
			p.waiting, err = false, caught(v)
		}
	}()
	p.waiting = true
	err = p.limiter.Wait(p.ctx)
	p.waiting = false
	return err
}

// updateLimiterLocked has a limiterWait if, and only if, a job waits for nothing but a permit;
// the lock must be held.
func (q *ResizableDispatchQueue[A, R]) updateLimiterLocked() {
	p := &q.rate
	if p.limiter == nil {
		return
	}
	if !q.canBeginLocked(q.workers + 1) {
		q.stopLimiterLocked()
		return
	}
	if p.limiterWait != nil {
		return
	}
	w := &limiterWait{limiter: p.limiter, changes: p.changes}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(q.opts.Context))
	p.limiterWait = w
	go q.limiterLoop(w)
}

// stopLimiterLocked sends the limiterWait away; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) stopLimiterLocked() {
	if p := q.rate.limiterWait; p != nil {
		q.rate.limiterWait = nil
		p.cancel()
	}
}

// limiterLoop gets permits until nobody needs one.
func (q *ResizableDispatchQueue[A, R]) limiterLoop(p *limiterWait) {
	returned := false
	defer func() {
		if returned {
			p.cancel()
			return
		}
		// runtime.Goexit, of the limiter or of a handler of a job that it failed,
		// or of both.
		defer q.replaceLimiterLoop(p)
		if p.waiting {
			p.waiting = false
			q.limiterReturned(p, ErrGoexit)
		}
	}()
	for q.limiterReturned(p, p.wait()) {
	}
	returned = true
}

// replaceLimiterLoop has another goroutine go on with p, if it is still needed.
func (q *ResizableDispatchQueue[A, R]) replaceLimiterLoop(p *limiterWait) {
	q.mu.Lock()
	on := q.rate.limiterWait == p
	q.mu.Unlock()
	if !on {
		p.cancel()
		return
	}
	go q.limiterLoop(p)
}

// limiterReturned takes what p has waited for, and reports whether p goes on.
func (q *ResizableDispatchQueue[A, R]) limiterReturned(p *limiterWait, err error) (on bool) {
	now := q.lock()
	on = q.rate.limiterWait == p
	var failed *Job[A, R]
	switch {
	case err == nil:
		// Also one that nobody needs now is kept: the limiter has counted it.
		q.rate.permit = q.rate.permit || p.changes == q.rate.changes
	case on && q.pending.Len() > 0:
		failed = q.pending.Pop().Item
		q.endLocked(failed, JobFailed, now)
	}
	signals := q.advanceLocked(now)
	on = on && q.rate.limiterWait == p
	q.mu.Unlock()

	defer signals.settle() // also if a handler ends the goroutine
	if failed != nil {
		failed.extra.release()
		if ctx := failed.ctx.Load(); ctx != nil {
			ctx.end(context.Canceled)
		}
		var none R
		failed.settleResult(none, fmt.Errorf("twill: rate limit: %w", err))
	}
	return on
}

func (q *ResizableDispatchQueue[A, R]) emptyLocked() *Future[struct{}] {
	switch {
	case q.workers == 0 && q.pendingLenLocked() == 0:
		return Resolved(struct{}{})
	case q.closed:
		return Rejected[struct{}](ErrStopped)
	}
	if q.empty == nil {
		q.empty = NewPromise[struct{}]()
	}
	return q.empty.Future().Shield()
}

func (q *ResizableDispatchQueue[A, R]) stopWith(kill *settle.Failure) *Future[[]*Job[A, R]] {
	now := q.lock()
	killed := q.stopLocked(kill, now)
	leftovers := q.leftovers
	signals := q.advanceLocked(now)
	q.mu.Unlock()

	q.settleKilled(killed, kill)
	signals.settle()
	// Each caller has a list and a future of its own.
	return Then(leftovers.Future().Shield(), func(jobs []*Job[A, R]) ([]*Job[A, R], error) {
		return slices.Clone(jobs), nil
	})
}

// stopLocked stops q and returns the jobs underway that it has given up with kill, if
// that is not nil; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) stopLocked(kill *settle.Failure, now instant) (killed []*Job[A, R]) {
	if !q.stopped {
		q.stopped = true
		q.width = 0
		q.leftovers = NewPromise[[]*Job[A, R]]()
		q.setDueTimerLocked(now)
		q.refusePuttersLocked(now)
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

// settleKilled settles what halt gave up.
func (q *ResizableDispatchQueue[A, R]) settleKilled(killed []*Job[A, R], kill *settle.Failure) {
	for _, j := range killed {
		j.ctx.Load().end(ErrStopped)
	}
	each(killed, func(j *Job[A, R]) {
		var none R
		j.settle(none, kill)
	})
}

// idleSignalsLocked is what settles when the last worker has gone.
type idleSignals[A, R any] struct {
	drained   *Promise[struct{}]
	empty     *Promise[struct{}]
	leftovers *Promise[[]*Job[A, R]]
	killed    []*Job[A, R]
	left      pendingSnapshot[A, R]
}

// idleSignalsLocked takes what is to be settled, if this is the time; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) idleSignalsLocked() *idleSignals[A, R] {
	if q.workers > 0 {
		return nil
	}
	closes := q.stopped && !q.closed
	empties := q.empty != nil && (q.pendingLenLocked() == 0 || closes)
	if q.drained == nil && !empties && !closes {
		return nil
	}
	r := &idleSignals[A, R]{drained: q.drained}
	q.drained = nil
	if empties {
		r.empty, q.empty = q.empty, nil
	}
	if closes {
		q.closed = true
		r.leftovers = q.leftovers
		r.killed, q.killed = q.killed, nil
		r.left = q.snapshotLocked()
		if q.stats.Retries > 0 {
			q.releasePendingLocked()
		}
		q.events.Close()
		q.ended.Close()
	}
	return r
}

// settle is called without the lock.
func (r *idleSignals[A, R]) settle() {
	if r == nil {
		return
	}
	if r.leftovers != nil {
		defer func() { // also if a handler of another ends the goroutine
			left := r.left.inOrder()
			for _, j := range left {
				if ctx := j.ctx.Load(); ctx != nil { // of a job that was to be tried again
					ctx.end(ErrStopped)
				}
			}
			r.leftovers.Resolve(append(r.killed, left...))
		}()
	}
	if r.empty != nil {
		defer func() {
			var stopped error
			if r.leftovers != nil && r.left.len() > 0 {
				stopped = ErrStopped
			}
			r.empty.Settle(struct{}{}, stopped)
		}()
	}
	if r.drained != nil {
		r.drained.Resolve(struct{}{})
	}
}

// releasePendingLocked has the jobs that are left over wait for nothing more, nor keep
// what is the budget's of their retries; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) releasePendingLocked() {
	for _, h := range []*jobHeap[A, R]{&q.pending, &q.delayed} {
		for e := range h.All() {
			e.Item.extra.release()
		}
	}
}
