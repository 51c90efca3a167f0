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
// again another day. They stay pending: they can be listed, moved and
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
	if !q.stopped {
		q.stopped = true
		q.width = 0
		q.leftovers = NewPromise[[]*Job[A, R]]()
	}
	var killed []*Job[A, R]
	if kill != nil {
		for j := range q.underway.All() {
			if j.state == JobUnderway {
				q.cancelUnderway(j, kill, now)
				killed = append(killed, j)
			}
		}
		q.killed = append(q.killed, killed...)
	}
	leftovers := q.leftovers
	rest := q.rest()
	q.mu.Unlock()

	for _, j := range killed {
		j.ctx.Load().end(ErrStopped)
	}
	each(killed, func(j *Job[A, R]) {
		var none R
		j.settle(none, kill)
	})
	rest.settle()
	// Each caller has a list and a future of its own.
	return Then(leftovers.Future().Shield(), func(jobs []*Job[A, R]) ([]*Job[A, R], error) {
		return slices.Clone(jobs), nil
	})
}

// Clear cancels every pending job, in order, and returns how many there were.
func (q *ResizableDispatchQueue[A, R]) Clear() int {
	now := q.now()
	q.mu.Lock()
	entries := q.pending.Clear()
	for _, e := range entries {
		e.Item.state, e.Item.stopped = JobCanceled, now
	}
	q.mu.Unlock()
	fail := canceled(nil)
	each(inOrder(entries), func(j *Job[A, R]) {
		var none R
		j.settle(none, fail)
	})
	return len(entries)
}

// rest is what settles when the last worker has gone.
type rest[A, R any] struct {
	drained   *Promise[struct{}]
	leftovers *Promise[[]*Job[A, R]]
	killed    []*Job[A, R]
	pending   []heap.Entry[*Job[A, R]]
}

// rest takes what is to be settled, if this is the time; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) rest() (r rest[A, R]) {
	if q.workers > 0 {
		return r
	}
	r.drained, q.drained = q.drained, nil
	if q.stopped && !q.closed {
		q.closed = true
		r.leftovers = q.leftovers
		r.killed, q.killed = q.killed, nil
		r.pending = q.pending.Entries()
	}
	return r
}

// settle is called without the lock.
func (r rest[A, R]) settle() {
	if r.leftovers != nil {
		defer func() { // also if a handler of the other ends the goroutine
			r.leftovers.Resolve(append(r.killed, inOrder(r.pending)...))
		}()
	}
	if r.drained != nil {
		r.drained.Resolve(struct{}{})
	}
}
