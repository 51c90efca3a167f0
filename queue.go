package twill

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
	"golang.org/x/sync/semaphore"
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

// Get takes the first item: at once if there is one, or else when one is put.
// Its future fails with [ErrQueueUnderflow] if as many gets wait as the queue
// allows, and with [ErrClosed] if the queue is closed and empty. Cancelling it
// withdraws the get; no item is lost by that, not even if one is put at the
// same time.
func (q *Queue[T]) Get() *Future[T] { return q.get(q.backlog) }

func (q *Queue[T]) get(backlog int) *Future[T] {
	q.mu.Lock()
	v, ok := q.take()
	switch {
	case ok:
		q.mu.Unlock()
		return Resolved(v)
	case q.closed:
		q.mu.Unlock()
		return Rejected[T](ErrClosed)
	case atLimit(q.getters.Len(), backlog):
		q.mu.Unlock()
		return Rejected[T](ErrQueueUnderflow)
	}
	g := &queueGetter[T]{q: q}
	g.link.Do = g
	g.f.core.SetUp(&g.link)
	settle.Made(&g.f.core)
	q.getters.PushBack(g)
	q.mu.Unlock()
	return &g.f
}

// queueGetter is a get that waits.
type queueGetter[T any] struct {
	root[T]
	list.Links[*queueGetter[T]]
	q *Queue[T]
}

// Fire is called when the get is cancelled. If a put took it out of the line
// before, the two race to settle the future, and the put hears who won.
func (g *queueGetter[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	g.q.mu.Lock()
	g.q.getters.Remove(g)
	g.q.mu.Unlock()
	return g.end(left)
}

// PutWait is Put, but waits while the queue is full; those that wait come in
// in the order in which they came. It returns [context.Cause] of ctx if that ends
// first, and [ErrClosed] if the queue is closed; then nothing was put.
func (q *Queue[T]) PutWait(ctx context.Context, v T) error {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	turn := q.line()
	if turn.Acquire(ctx, 1) != nil {
		return context.Cause(ctx)
	}
	q.mu.Lock()
	for g, waits := q.getters.PopFront(); waits; g, waits = q.getters.PopFront() {
		q.mu.Unlock()
		if list, ok := fulfil(&g.f, v); ok {
			turn.Release(1) // its handlers may take long, or use PutWait
			q.passing.run(&g.f.core, list)
			return nil
		}
		q.mu.Lock()
	}
	defer turn.Release(1)

	put, err := q.put(v) // which settles nothing, as no get waits
	if put || err != nil {
		q.mu.Unlock()
		return err
	}
	p := &queuePutter[T]{v: v, admitted: make(chan error, 1)}
	q.first = p
	q.mu.Unlock()

	select {
	case err = <-p.admitted:
		return err
	case <-ctx.Done():
	}
	q.mu.Lock()
	left := q.first == p
	if left {
		q.first = nil
	}
	q.mu.Unlock()
	if left {
		return context.Cause(ctx)
	}
	return <-p.admitted // it came in, or the queue was closed, before
}

// line is the semaphore at which PutWaits stand in line, made on first use.
func (q *Queue[T]) line() *semaphore.Weighted {
	if turn := q.turn.Load(); turn != nil {
		return turn
	}
	q.turn.CompareAndSwap(nil, semaphore.NewWeighted(1))
	return q.turn.Load()
}

// queuePutter is the PutWait that is first in line.
type queuePutter[T any] struct {
	v        T
	admitted chan error // capacity 1, so that a send never blocks
}

// Close ends the putting: from now on Put returns [ErrClosed]. The gets and the
// PutWaits that wait fail with ErrClosed. What is queued can still be got; when
// nothing is left, a get fails with ErrClosed at once. A second Close does
// nothing.
func (q *Queue[T]) Close() {
	q.mu.Lock()
	q.closed = true
	var getters []*queueGetter[T]
	for g, ok := q.getters.PopFront(); ok; g, ok = q.getters.PopFront() {
		getters = append(getters, g)
	}
	p := q.first
	q.first = nil
	q.mu.Unlock()
	if p != nil {
		p.admitted <- ErrClosed
	}
	each(getters, func(g *queueGetter[T]) {
		var none T
		g.f.settle(none, settle.NewFailure(ErrClosed))
	})
}

// All takes items out, the first one each time, and waits when there are none.
// It ends when ctx ends or when the queue is closed and empty. Its waiting does
// not count towards Backlog and loses no item. Several loops may share a
// queue; each item goes to one of them.
func (q *Queue[T]) All(ctx context.Context) iter.Seq[T] {
	if ctx == nil {
		panic("twill: All with a nil context")
	}
	return takeAll(ctx, q.TryGet, func() *Future[T] { return q.get(0) })
}

// takeAll is All of both kinds of queue.
func takeAll[T any](ctx context.Context, try func() (T, bool), get func() *Future[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for ctx.Err() == nil {
			v, ok := try()
			if !ok {
				f := get()
				var err error
				if v, err = f.Await(ctx); err != nil && !f.Cancel(context.Cause(ctx)) {
					// It settled with this error, or with an item at the moment
					// ctx ended, which must not be lost.
					v, err = f.Await(context.Background())
				}
				ok = err == nil
			}
			if !ok || !yield(v) {
				return
			}
		}
	}
}

// What a queue answers when it cannot do what it is asked.
var (
	// ErrQueueOverflow is returned by Put when as many items are queued as the
	// queue's Size allows.
	ErrQueueOverflow = errors.New("twill: queue is full")

	// ErrQueueUnderflow is the failure of a Get when as many gets wait as the
	// queue's Backlog allows.
	ErrQueueUnderflow = errors.New("twill: too many gets wait")
)

// QueueOptions are the limits of a queue. The zero value sets none.
type QueueOptions struct {
	// Size is how many items may be queued: 0 sets no limit, and with a
	// negative Size none may, so that a Put succeeds only if a Get waits for
	// it. A DeferredQueue says None and 0 for those.
	Size int

	// Backlog is how many gets may wait: 0 sets no limit, and with a negative
	// Backlog none may, so that a Get succeeds only if an item is queued. A
	// DeferredQueue says None and 0 for those.
	Backlog int
}

// atLimit reports whether n is as many as limit, an option that counts from
// one, allows.
func atLimit(n, limit int) bool {
	return limit < 0 || limit > 0 && n >= limit
}

// Embedded under these names in an exported type, what the internal packages
// know an item by is no exported field of it. A linter that sees only this
// package takes the fields for unused.
type (
	//lint:ignore U1000 see above
	place = heap.Place //nolint:unused
	//lint:ignore U1000 see above
	links[T any] = list.Links[T] //nolint:unused
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

// Item is the handle of a value in a [PriorityQueue], as Put returns it. It
// speaks of the value only while that is queued: once it was got or taken out,
// the item does not keep it in memory. Its methods may be called by several
// goroutines.
type Item[T any] struct {
	q *PriorityQueue[T]

	// Guarded by q.mu.
	//lint:ignore U1000 internal/heap uses it
	place      //nolint:unused // in q.items
	value    T // not written while queued, nor read when not
	priority int
}

// forget lets go of the value of an item that is queued no longer.
func (x *Item[T]) forget() {
	var none T
	x.value = none
}

// Value returns the value and true while it is queued.
func (x *Item[T]) Value() (v T, queued bool) {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if x.q.items.Has(x) {
		return x.value, true
	}
	return v, false
}

// Priority returns the priority that the value has or, if it is no longer
// queued, had last.
func (x *Item[T]) Priority() int {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	return x.priority
}

// Reprioritize gives the value another priority, and reports whether it was
// still queued. Among those of the same priority it stands where it would if it
// had been put with that one: the order of putting counts. It takes O(log n).
func (x *Item[T]) Reprioritize(priority int) bool {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Reprioritize(x, int64(priority))
	x.priority = priority
	return true
}

// Remove takes the value out of the queue, and reports whether it was still
// there: then nobody has got it and nobody will. It takes O(log n).
func (x *Item[T]) Remove() bool {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Remove(x)
	x.q.release(x)
	x.q.admit()
	return true
}

// Get takes the first item: at once if there is one, or else when one is put.
// Its future fails with [ErrQueueUnderflow] if as many gets wait as the queue
// allows, and with [ErrClosed] if the queue is closed and empty. Cancelling it
// withdraws the get; no item is lost by that, not even if one is put at the
// same time.
func (q *PriorityQueue[T]) Get() *Future[T] {
	return q.get(q.backlog)
}

func (q *PriorityQueue[T]) get(backlog int) *Future[T] {
	q.mu.Lock()
	v, ok := q.take()
	switch {
	case ok:
		q.mu.Unlock()
		return Resolved(v)
	case q.closed:
		q.mu.Unlock()
		return Rejected[T](ErrClosed)
	case atLimit(q.getters.Len(), backlog):
		q.mu.Unlock()
		return Rejected[T](ErrQueueUnderflow)
	}
	g := &getter[T]{q: q}
	g.link.Do = g
	g.f.core.SetUp(&g.link)
	settle.Made(&g.f.core)
	q.getters.PushBack(g)
	q.mu.Unlock()
	return &g.f
}

// getter is a get that waits.
type getter[T any] struct {
	root[T]
	list.Links[*getter[T]]
	q *PriorityQueue[T]
}

// Fire is called when the get is cancelled. If a put took it out of the line
// before, the two race to settle the future, and the put hears who won.
func (g *getter[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	g.q.mu.Lock()
	g.q.getters.Remove(g)
	g.q.mu.Unlock()
	return g.end(left)
}

// PutWait is Put, but waits while the queue is full. If several wait, the one
// with the lowest priority comes in first. It returns [context.Cause] of ctx if that
// ends first, and [ErrClosed] if the queue is closed; then nothing was put.
func (q *PriorityQueue[T]) PutWait(ctx context.Context, v T, priority int) (*Item[T], error) {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	item := &Item[T]{q: q, value: v, priority: priority}
	q.mu.Lock()
	key := q.nextKey(priority)
	handed, err := q.hand(item)
	if handed || err != nil || !atLimit(q.items.Len(), q.size) {
		if !handed && err == nil {
			q.items.Push(item, key)
		}
		q.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return item, nil
	}
	p := &putter[T]{item: item, admitted: make(chan error, 1)}
	q.putters.Push(p, key)
	q.mu.Unlock()

	select {
	case err = <-p.admitted:
	case <-ctx.Done():
		q.mu.Lock()
		left := q.putters.Has(p)
		if left {
			q.putters.Remove(p)
		}
		q.mu.Unlock()
		if left {
			return nil, context.Cause(ctx)
		}
		err = <-p.admitted // it came in, or the queue was closed, before
	}
	if err != nil {
		return nil, err
	}
	return item, nil
}

// putter is a PutWait that waits.
type putter[T any] struct {
	heap.Place
	item     *Item[T]
	admitted chan error // capacity 1, so that a send never blocks
}

// admit lets the first of the PutWaits in; the lock must be held.
func (q *PriorityQueue[T]) admit() {
	if q.putters.Len() > 0 {
		p := q.putters.Pop()
		q.items.Push(p.Item.item, p.Key)
		p.Item.admitted <- nil
	}
}

// All takes items out, the first one each time, and waits when there are none.
// It ends when ctx ends or when the queue is closed and empty. Its waiting does
// not count towards Backlog and loses no item. Several loops may share a
// queue; each item goes to one of them.
func (q *PriorityQueue[T]) All(ctx context.Context) iter.Seq[T] {
	if ctx == nil {
		panic("twill: All with a nil context")
	}
	return takeAll(ctx, q.TryGet, func() *Future[T] { return q.get(0) })
}
