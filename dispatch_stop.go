package twill

import (
	"slices"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/settle"
)

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
