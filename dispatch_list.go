package twill

import (
	"slices"

	"github.com/twillgo/twill/internal/heap"
)

// Pending returns the jobs that wait, in the order in which they would start.
func (q *ResizableDispatchQueue[A, R]) Pending() []*Job[A, R] {
	q.mu.Lock()
	entries := q.pending.Entries()
	q.mu.Unlock()
	return inOrder(entries)
}

// inOrder sorts entries, which takes long enough not to do it under a lock.
func inOrder[A, R any](entries []heap.Entry[*Job[A, R]]) []*Job[A, R] {
	heap.Sort(entries)
	jobs := make([]*Job[A, R], len(entries))
	for i, e := range entries {
		jobs[i] = e.Item
	}
	return jobs
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
	return q.underway.Len(), q.pending.Len()
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
