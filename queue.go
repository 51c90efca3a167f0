package twill

import (
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
)

// Queue is a first-in-first-out queue whose Get is a future: the gets that wait
// are served in the order in which they came, by whatever is put next. Unlike a
// channel it has no fixed capacity, a get can be handed on, chained and
// cancelled, and a Put never blocks. It mirrors DeferredQueue.
//
// The zero value is an empty queue without limits, ready to use. A Queue must
// not be copied after first use. Its methods may be called by several
// goroutines. What is put belongs to the one who gets it; the queue keeps no
// reference to it after that.
//
// A Put that serves a waiting get settles its future: the handlers run on the
// goroutine that puts, under no lock, and may use the queue. Only when a hundred
// puts do that at the same time, mostly as each is called by a handler of the one
// before, the next one leaves them to a fresh goroutine.
type Queue[T any] struct {
	size, backlog int // as in QueueOptions

	mu      sched.Mutex // guards the four below
	items   ring.Buffer[T]
	getters list.List[*queueGetter[T]] // the gets that wait; empty unless items is, and first nil
	first   *queuePutter[T]            // the PutWait whose turn it is; nil unless items is full
	closed  bool

	turn    atomic.Pointer[semaphore.Weighted] // to be first; the other PutWaits wait in line for it
	passing passing
}

// NewQueue returns an empty queue with the limits in opts. If opts is nil there
// are none, as in the zero value.
func NewQueue[T any](opts *QueueOptions) *Queue[T] {
	q := new(Queue[T])
	if opts != nil {
		q.size, q.backlog = opts.Size, opts.Backlog
	}
	return q
}

// Put gives v to the get that has waited longest or, if none waits, queues it.
// It does not block: it returns [ErrQueueOverflow] if the queue is full,
// [ErrClosed] if it is closed, and has put nothing then.
func (q *Queue[T]) Put(v T) error {
	q.mu.Lock()
	put, err := q.put(v)
	q.mu.Unlock()
	if !put && err == nil {
		return ErrQueueOverflow
	}
	return err
}

// put hands v to a get or queues it, and reports false if the queue is full.
// The lock must be held; it is given back while a future is settled, since that
// runs user code. A get that was cancelled meanwhile did not take the value:
// then it is the next one's turn.
func (q *Queue[T]) put(v T) (put bool, err error) {
	for !q.closed {
		g, ok := q.getters.PopFront()
		if !ok {
			if atLimit(q.items.Len(), q.size) {
				return false, nil
			}
			q.items.Push(v)
			return true, nil
		}
		q.mu.Unlock()
		taken := give(&q.passing, &g.f, v)
		q.mu.Lock()
		if taken {
			return true, nil
		}
	}
	return false, ErrClosed
}

// TryGet takes the first item. It reports false, and does not wait, if the
// queue is empty.
func (q *Queue[T]) TryGet() (T, bool) {
	q.mu.Lock()
	v, ok := q.take()
	q.mu.Unlock()
	return v, ok
}

// take takes the first item, and lets the first PutWait in; the lock must be
// held.
func (q *Queue[T]) take() (v T, ok bool) {
	p := q.first
	switch {
	case q.items.Len() > 0:
		v = q.items.Pop()
		if p != nil {
			q.items.Push(p.v)
		}
	case p != nil: // a queue that holds nothing
		v = p.v
	default:
		return v, false
	}
	if p != nil {
		q.first = nil
		p.admitted <- nil
	}
	return v, true
}

// Len returns the number of items queued.
func (q *Queue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.Len()
}

// Waiting returns the number of gets that wait for an item.
func (q *Queue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.getters.Len()
}
