package twill

import (
	"slices"

	"github.com/twillgo/twill/internal/heap"
)

// Pending returns the jobs that wait, in the order in which they would start:
// those that are due, and behind them the others, by the time at which they are.
func (q *ResizableDispatchQueue[A, R]) Pending() []*Job[A, R] {
	q.mu.Lock()
	w := q.waitingJobs()
	q.mu.Unlock()
	return w.inOrder()
}

// PendingPage returns up to n of the jobs that Pending would, without the first
// from. The first pages of a long queue cost a small part of Pending. It panics if
// from or n is negative.
func (q *ResizableDispatchQueue[A, R]) PendingPage(from, n int) []*Job[A, R] {
	if from < 0 || n < 0 {
		panic("twill: PendingPage with a negative number")
	}
	q.mu.Lock()
	w := q.waitingJobs()
	q.mu.Unlock()
	return w.page(from, n)
}

// waitingJobs is what is pending at one moment.
type waitingJobs[A, R any] struct {
	due, delayed heap.Snapshot[*Job[A, R]]
}

// waitingJobs is called with the lock, and what it returns used without, as
// sorting takes its time.
func (q *ResizableDispatchQueue[A, R]) waitingJobs() waitingJobs[A, R] {
	return waitingJobs[A, R]{q.pending.Snapshot(), q.delayed.Snapshot()}
}

func (w waitingJobs[A, R]) len() int { return w.due.Len() + w.delayed.Len() }

func (w waitingJobs[A, R]) inOrder() []*Job[A, R] {
	jobs := make([]*Job[A, R], 0, w.len())
	for _, e := range slices.Concat(w.due.Sorted(), w.delayed.Sorted()) {
		jobs = append(jobs, e.Item)
	}
	return jobs
}

func (w waitingJobs[A, R]) page(from, n int) []*Job[A, R] {
	if from >= w.len() {
		return nil
	}
	to := from + min(n, w.len()-from)
	jobs := w.due.First(to)
	if more := to - len(jobs); more > 0 {
		jobs = append(jobs, w.delayed.First(more)...)
	}
	return jobs[from:]
}

// Underway returns the jobs whose calls have not returned, in the order in
// which they were started. A job that was cancelled stays among them until its
// call returns; its State tells.
func (q *ResizableDispatchQueue[A, R]) Underway() []*Job[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.AppendSeq(make([]*Job[A, R], 0, q.underway.Len()), q.underway.All())
}

// Size returns how many jobs Underway and Pending would list.
func (q *ResizableDispatchQueue[A, R]) Size() (underway, pending int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway.Len(), q.waiting()
}

// Width returns how many jobs may run at once. It is not changed by a pause,
// and 0 after a stop.
func (q *ResizableDispatchQueue[A, R]) Width() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.width
}

// Paused reports whether q was paused and not resumed.
func (q *ResizableDispatchQueue[A, R]) Paused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.paused
}

// Stopped reports whether q was stopped.
func (q *ResizableDispatchQueue[A, R]) Stopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stopped
}
