package twill

import "context"

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
