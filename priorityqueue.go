package twill

import (
	"slices"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// PriorityQueue is a queue from which the item with the lowest priority number
// is got first and, among equals, the one that was put first. Unlike a heap or
// a channel it answers a get on an empty queue with a future: the gets that
// wait are served in the order in which they came, by whatever is put next. It
// mirrors the DeferredPriorityQueue of txRDQ.
//
// The zero value is an empty queue without limits, ready to use. A
// PriorityQueue must not be copied after first use. Its methods may be called
// by several goroutines. What is put belongs to the one who gets it; the queue
// keeps no reference to it after that.
//
// A Put that serves a waiting get settles its future: the handlers run on the
// goroutine that puts, under no lock, and may use the queue. Only when a hundred
// puts do that at the same time, mostly as each is called by a handler of the one
// before, the next one leaves them to a fresh goroutine.
type PriorityQueue[T any] struct {
	size, backlog int // as in QueueOptions

	snapshot sched.Mutex // held, before mu, while a Snapshot reads values

	mu      sched.Mutex // guards the seven below
	items   heap.Heap[*Item[T]]
	putters heap.Heap[*putter[T]] // the PutWaits that wait; empty unless items is full
	getters list.List[*getter[T]] // the gets that wait; empty unless items and putters are
	seq     uint64                // number of the last put
	closed  bool

	passing passing

	reading bool       // a Snapshot reads values, without mu
	left    []*Item[T] // what has left since it began, and has its value still
}

// NewPriorityQueue returns an empty queue with the limits in opts. If opts is
// nil there are none, as in the zero value.
func NewPriorityQueue[T any](opts *QueueOptions) *PriorityQueue[T] {
	q := new(PriorityQueue[T])
	if opts != nil {
		q.size, q.backlog = opts.Size, opts.Backlog
	}
	return q
}

// Put gives v to the get that has waited longest or, if none waits, queues it.
// The item returned is the handle by which v can be moved or taken out while
// it is queued. Put does not block: it returns [ErrQueueOverflow] if the queue
// is full, [ErrClosed] if it is closed, and has put nothing then.
func (q *PriorityQueue[T]) Put(v T, priority int) (*Item[T], error) {
	item := &Item[T]{q: q, value: v, priority: priority}
	q.mu.Lock()
	key := q.nextKey(priority)
	handed, err := q.hand(item)
	if !handed && err == nil {
		if atLimit(q.items.Len(), q.size) {
			err = ErrQueueOverflow
		} else {
			q.items.Push(item, key)
		}
	}
	q.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return item, nil
}

// nextKey is the place of a put that comes now; the lock must be held.
func (q *PriorityQueue[T]) nextKey(priority int) heap.Key {
	q.seq++
	return heap.Key{Priority: int64(priority), Seq: q.seq}
}

// hand gives item's value to a get that waits, and reports whether there was
// one. The lock must be held; it is given back while a future is settled, since
// that runs user code. A get that was cancelled meanwhile did not take the
// value: then it is the turn of the next or, the caller has kept the item's
// key, of the item's place in the queue.
func (q *PriorityQueue[T]) hand(item *Item[T]) (handed bool, err error) {
	for !q.closed {
		g, ok := q.getters.PopFront()
		if !ok {
			return false, nil
		}
		q.mu.Unlock()
		handed = give(&q.passing, &g.f, item.value)
		q.mu.Lock()
		if handed {
			q.release(item)
			return true, nil
		}
	}
	return false, ErrClosed
}

// TryGet takes the first item. It reports false, and does not wait, if the
// queue is empty.
func (q *PriorityQueue[T]) TryGet() (T, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.take()
}

// take takes the first item; the lock must be held.
func (q *PriorityQueue[T]) take() (v T, ok bool) {
	q.admit() // before, not after: the first PutWait may be the first of all
	if q.items.Len() == 0 {
		return v, false
	}
	return q.release(q.items.Pop().Item), true
}

// release returns the value of an item that is queued no longer and forgets it,
// unless a Snapshot may be about to read it; the lock must be held.
func (q *PriorityQueue[T]) release(x *Item[T]) T {
	v := x.value
	if q.reading {
		q.left = append(q.left, x)
	} else {
		x.forget()
	}
	return v
}

// Len returns the number of items queued.
func (q *PriorityQueue[T]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.items.Len()
}

// Waiting returns the number of gets that wait for an item.
func (q *PriorityQueue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.getters.Len()
}

// Snapshot returns the values queued, in the order in which they would be got
// now. The queue can be used meanwhile, however long it is; a second Snapshot
// waits for the first.
func (q *PriorityQueue[T]) Snapshot() []T {
	type entry struct {
		heap.Key
		value T
	}
	q.snapshot.Lock()
	q.mu.Lock()
	items := q.items.Snapshot()
	q.reading = true
	q.mu.Unlock()

	entries := make([]entry, 0, items.Len())
	for e := range items.All() {
		entries = append(entries, entry{e.Key, e.Item.value})
	}

	q.mu.Lock()
	q.reading = false
	left := q.left
	q.left = nil
	q.mu.Unlock()
	for _, x := range left {
		x.forget()
	}
	q.snapshot.Unlock()

	slices.SortFunc(entries, func(a, b entry) int { return a.Compare(b.Key) })
	values := make([]T, len(entries))
	for i, e := range entries {
		values[i] = e.value
	}
	return values
}

// Close ends the putting: from now on Put returns [ErrClosed]. The gets and the
// PutWaits that wait fail with ErrClosed. What is queued can still be got; when
// nothing is left, a get fails with ErrClosed at once. A second Close does
// nothing.
func (q *PriorityQueue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	getters := slices.Collect(q.getters.All())
	for _, g := range getters {
		q.getters.Remove(g)
	}
	putters := q.putters.Clear()
	q.mu.Unlock()
	for p := range putters.All() {
		p.Item.admitted <- ErrClosed
	}
	each(getters, func(g *getter[T]) {
		var none T
		g.f.settle(none, settle.NewFailure(ErrClosed))
	})
}
