package twill

import (
	"context"
	"fmt"
	"slices"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/settle"
)

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
	q.reprioritize(j, priority)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) reprioritize(j *Job[A, R], priority int) {
	j.priority = priority
	if q.pending.Has(j) {
		q.pending.Reprioritize(j, q.rank(j))
	}
	q.tell(EventReprioritized, j)
}

// SetWidth changes how many jobs may run at once. Widening starts as many as
// it makes room for; narrowing interrupts none, and as many as are too many are
// not followed by others when they end. With 0 no job is started. While q is
// paused the width is only noted; a stopped q starts nothing whatever it is. A
// negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) SetWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	now := q.now()
	q.mu.Lock()
	q.setWidth(n)
	q.unlock(now)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) setWidth(n int) {
	if q.width != n {
		q.width = n
		q.tell(EventWidth, nil)
	}
}

// Pause keeps q from starting jobs; it may be called again. Jobs that are
// underway go on; the future settles when the calls of all have returned and
// their futures have settled. If q is resumed before, it is cancelled with
// [ErrResumed] as the cause. Cancelling it does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Pause() *Future[struct{}] {
	now := q.now()
	q.mu.Lock()
	if !q.paused {
		q.paused = true
		q.tell(EventPaused, nil)
	}
	if q.workers == 0 {
		q.unlock(now)
		return Resolved(struct{}{})
	}
	if q.drained == nil {
		q.drained = NewPromise[struct{}]()
	}
	drained := q.drained
	q.unlock(now)
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
	return q.resume(func() { q.setWidth(n) })
}

func (q *ResizableDispatchQueue[A, R]) resume(change func()) error {
	now := q.now()
	q.mu.Lock()
	if q.stopped {
		q.mu.Unlock()
		return ErrStopped
	}
	change()
	if q.paused {
		q.paused = false
		q.tell(EventResumed, nil)
	}
	drained := q.drained
	q.drained = nil
	q.unlock(now)
	if drained != nil {
		drained.f.settle(struct{}{}, canceled(ErrResumed))
	}
	return nil
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
	now := q.now()
	q.mu.Lock()
	q.hush()
	q.pace.limiter, q.pace.permit = limiter, false
	q.pace.changes++
	q.tell(EventRate, nil)
	q.unlock(now)
}

// pacing is the rate limit of a queue; the queue's lock guards it.
type pacing struct {
	limiter Limiter // nil: no limit
	changes int     // of the limiter
	permit  bool    // one job may start
	pacer   *pacer  // waits for a permit, if somebody does
}

// open reports whether a job may start.
func (p *pacing) open() bool { return p.limiter == nil || p.permit }

// pass is open, and uses the permit up.
func (p *pacing) pass() bool {
	open := p.open()
	p.permit = false
	return open
}

// pacer is a goroutine that waits for permits.
type pacer struct {
	limiter Limiter
	changes int  // as they were when it began
	waiting bool // in the limiter's Wait
	ctx     context.Context
	cancel  context.CancelFunc
}

// keepPace has a pacer if, and only if, a job waits for nothing but a permit;
// the lock must be held.
func (q *ResizableDispatchQueue[A, R]) keepPace() {
	p := &q.pace
	if p.limiter == nil {
		return
	}
	if !q.mayBegin(q.workers + 1) {
		q.hush()
		return
	}
	if p.pacer != nil {
		return
	}
	w := &pacer{limiter: p.limiter, changes: p.changes}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(q.opts.Context))
	p.pacer = w
	go q.wait(w)
}

// hush sends the pacer away; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) hush() {
	if p := q.pace.pacer; p != nil {
		q.pace.pacer = nil
		p.cancel()
	}
}

// wait gets permits until nobody needs one.
func (q *ResizableDispatchQueue[A, R]) wait(p *pacer) {
	returned := false
	defer func() {
		if returned {
			p.cancel()
			return
		}
		// runtime.Goexit, of the limiter or of a handler of a job that it failed,
		// or of both.
		defer q.relayPacer(p)
		if p.waiting {
			p.waiting = false
			q.permit(p, ErrGoexit)
		}
	}()
	for q.permit(p, p.wait()) {
	}
	returned = true
}

// relayPacer has another goroutine go on with p, if it is still needed.
func (q *ResizableDispatchQueue[A, R]) relayPacer(p *pacer) {
	q.mu.Lock()
	on := q.pace.pacer == p
	q.mu.Unlock()
	if !on {
		p.cancel()
		return
	}
	go q.wait(p)
}

// wait waits for one permit.
func (p *pacer) wait() (err error) {
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

// permit takes what p has waited for, and reports whether p goes on.
func (q *ResizableDispatchQueue[A, R]) permit(p *pacer, err error) (on bool) {
	now := q.now()
	q.mu.Lock()
	on = q.pace.pacer == p
	var failed *Job[A, R]
	switch {
	case err == nil:
		// Also one that nobody needs now is kept: the limiter has counted it.
		q.pace.permit = q.pace.permit || p.changes == q.pace.changes
	case on && q.pending.Len() > 0:
		failed = q.pending.Pop().Item
		q.over(failed, JobFailed, now)
	}
	rest := q.advance(now)
	on = on && q.pace.pacer == p
	q.mu.Unlock()

	defer rest.settle() // also if a handler ends the goroutine
	if failed != nil {
		failed.more.release()
		if ctx := failed.ctx.Load(); ctx != nil {
			ctx.end(context.Canceled)
		}
		var none R
		failed.settleResult(none, fmt.Errorf("twill: rate limit: %w", err))
	}
	return on
}

// Use puts a hook around the calls that are started from now on, to time, log,
// limit or change them. It calls next for the call itself, with the context or one made from it, and returns
// what is to count as the call's result; it need not call next, and may call it
// again. The first hook is the outermost. It runs on the goroutine of the call
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

// Stop ends the queue for good: no job is put or started any more, and the
// width is 0. Jobs that are underway go on. The future settles when the calls of
// all have returned and their futures have settled. It holds the jobs left
// over, in the order in which they would have started, to be saved and put
// again another day, by [ResizableDispatchQueue.Restore]. They stay pending: they can be listed, moved and
// cancelled, but their futures do not settle by themselves;
// [ResizableDispatchQueue.Clear] cancels them.
//
// Stop may be called again, and every future gets the same list. It may be
// called by a job; its future does not settle before that job ends. Cancelling
// the future does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Stop() *Future[[]*Job[A, R]] {
	return q.stop(nil)
}

// StopNow is Stop, and cancels the jobs that are underway, with [ErrStopped] as
// the cause. They are the first in the list, in the order in which they were
// started. After a Stop it cancels those that are still underway.
func (q *ResizableDispatchQueue[A, R]) StopNow() *Future[[]*Job[A, R]] {
	return q.stop(canceled(ErrStopped))
}

func (q *ResizableDispatchQueue[A, R]) stop(kill *settle.Failure) *Future[[]*Job[A, R]] {
	now := q.now()
	q.mu.Lock()
	killed := q.halt(kill, now)
	leftovers := q.leftovers
	rest := q.advance(now)
	q.mu.Unlock()

	q.letGo(killed, kill)
	rest.settle()
	// Each caller has a list and a future of its own.
	return Then(leftovers.Future().Shield(), func(jobs []*Job[A, R]) ([]*Job[A, R], error) {
		return slices.Clone(jobs), nil
	})
}

// halt stops q and returns the jobs underway that it has given up with kill, if
// that is not nil; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) halt(kill *settle.Failure, now int64) (killed []*Job[A, R]) {
	if !q.stopped {
		q.stopped = true
		q.width = 0
		q.leftovers = NewPromise[[]*Job[A, R]]()
		q.setAlarm(now)
		q.refuseAll(now)
		q.tell(EventStopped, nil)
	}
	if kill == nil {
		return nil
	}
	for j := range q.underway.All() {
		if j.state == JobUnderway {
			q.giveUp(j, JobCanceled, kill, now)
			killed = append(killed, j)
		}
	}
	q.killed = append(q.killed, killed...)
	return killed
}

// letGo settles what halt gave up.
func (q *ResizableDispatchQueue[A, R]) letGo(killed []*Job[A, R], kill *settle.Failure) {
	for _, j := range killed {
		j.ctx.Load().end(ErrStopped)
	}
	each(killed, func(j *Job[A, R]) {
		var none R
		j.settle(none, kill)
	})
}

// Clear cancels every pending job, in order, and returns how many there were.
func (q *ResizableDispatchQueue[A, R]) Clear() int {
	now := q.now()
	q.mu.Lock()
	left := q.waitingJobs()
	for _, h := range []*heap.Heap[*Job[A, R]]{&q.pending, &q.delayed} {
		for e := range h.All() {
			q.over(e.Item, JobCanceled, now)
		}
		h.Clear()
	}
	q.setAlarm(now)
	rest := q.advance(now)
	q.mu.Unlock()
	jobs := left.inOrder()
	fail := canceled(nil)
	defer rest.settle() // also if a handler ends the goroutine
	each(jobs, func(j *Job[A, R]) {
		j.more.release()
		if ctx := j.ctx.Load(); ctx != nil {
			ctx.end(ErrCanceled)
		}
		var none R
		j.settle(none, fail)
	})
	return len(jobs)
}

// abandon has the jobs that are left over wait for nothing more, nor keep
// what is the budget's of their retries; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) abandon() {
	for _, h := range []*heap.Heap[*Job[A, R]]{&q.pending, &q.delayed} {
		for e := range h.All() {
			e.Item.more.release()
		}
	}
}

// rest is what settles when the last worker has gone.
type rest[A, R any] struct {
	drained   *Promise[struct{}]
	empty     *Promise[struct{}]
	leftovers *Promise[[]*Job[A, R]]
	killed    []*Job[A, R]
	left      waitingJobs[A, R]
}

// rest takes what is to be settled, if this is the time; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) rest() *rest[A, R] {
	if q.workers > 0 {
		return nil
	}
	closes := q.stopped && !q.closed
	empties := q.empty != nil && (q.waiting() == 0 || closes)
	if q.drained == nil && !empties && !closes {
		return nil
	}
	r := &rest[A, R]{drained: q.drained}
	q.drained = nil
	if empties {
		r.empty, q.empty = q.empty, nil
	}
	if closes {
		q.closed = true
		r.leftovers = q.leftovers
		r.killed, q.killed = q.killed, nil
		r.left = q.waitingJobs()
		if q.stats.Retries > 0 {
			q.abandon()
		}
		q.events.close()
		q.ended.close()
	}
	return r
}

// settle is called without the lock.
func (r *rest[A, R]) settle() {
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

// Empty returns a future that settles when no job is pending or underway: at
// once if it is so now. The futures of all jobs have settled, except for one that
// another goroutine is cancelling before its start at this moment. If q is stopped with
// jobs left over it fails with [ErrStopped]. Cancelling it does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Empty() *Future[struct{}] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.whenEmpty()
}

func (q *ResizableDispatchQueue[A, R]) whenEmpty() *Future[struct{}] {
	switch {
	case q.workers == 0 && q.waiting() == 0:
		return Resolved(struct{}{})
	case q.closed:
		return Rejected[struct{}](ErrStopped)
	}
	if q.empty == nil {
		q.empty = NewPromise[struct{}]()
	}
	return q.empty.Future().Shield()
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
	now := q.now()
	q.mu.Lock()
	q.closing = true
	q.refuseAll(now)
	empty := q.whenEmpty()
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
	now = q.now()
	q.mu.Lock()
	killed := q.halt(kill, now)
	left := q.waitingJobs()
	rest := q.advance(now)
	q.mu.Unlock()
	q.letGo(killed, kill)
	rest.settle()
	return append(killed, left.inOrder()...), err
}
