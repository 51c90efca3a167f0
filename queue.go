package twill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// Errors of the queues.
var (
	// ErrQueueFull is returned by Put when as many items are queued, or jobs
	// pending, as the Size of the queue allows, or when calls of PutWait wait
	// for room.
	ErrQueueFull = errors.New("twill: queue is full")

	// ErrTooManyGets is the failure of a Get when as many gets wait as the
	// Backlog of the queue allows.
	ErrTooManyGets = errors.New("twill: too many pending gets")
)

// QueueOptions are the limits of a queue. The zero value sets none.
type QueueOptions struct {
	// Size is the maximum number of queued items. Zero means no limit. With a
	// negative Size nothing is queued: a Put succeeds only if a get waits for the
	// item. In Twisted's DeferredQueue these are None and 0.
	Size int

	// Backlog is the maximum number of waiting futures of Get. Zero means no
	// limit. With a negative Backlog no future may wait: a Get succeeds only if an
	// item is queued. GetWait, GetAny and All may always wait, and do not count.
	// In Twisted's DeferredQueue these are None and 0.
	Backlog int
}

// Queue is a first-in-first-out queue whose Get returns a future. Waiting gets
// are served in the order in which they were made. Unlike a channel it has no
// fixed capacity, a get can be passed on, chained and canceled, and Put never
// blocks. It is the equivalent of Twisted's DeferredQueue.
//
// The zero value is an empty queue without limits, ready to use. A Queue must
// not be copied after first use. Its methods may be called concurrently. An
// item belongs to the caller that gets it; the queue keeps no reference to it.
// A Put synchronizes before the get that returns its item.
//
// A loop that takes items should use [Queue.GetWait] or [Queue.All]. An item
// that settles a future of [Queue.Get] belongs to that future: if the future is
// dropped, the item is lost.
//
// A Put that serves a waiting get settles its future: the handlers run on the
// goroutine that calls Put, under no lock, and may use the queue. To bound the
// stack, handlers run on a new goroutine when 100 such calls are nested.
type Queue[T any] struct {
	size, backlog int // as in QueueOptions

	gets    getters[T]                 // gets.mu guards the fields below too
	items   ring.Buffer[T]             // empty if a get waits
	putters list.List[*queuePutter[T]] // empty unless items is full or a put is being admitted
}

// NewQueue returns an empty queue with the limits in opts, or without limits if
// opts is nil, as in the zero value.
func NewQueue[T any](opts *QueueOptions) *Queue[T] {
	q := new(Queue[T])
	if opts != nil {
		q.size, q.backlog = opts.Size, opts.Backlog
	}
	return q
}

// Put gives v to the get that has waited longest or, if none waits, queues it.
// It does not block: it returns [ErrQueueFull] if the queue is full or calls of
// PutWait wait for room, and [ErrClosed] if the queue is closed. After an error
// v was not put.
func (q *Queue[T]) Put(v T) error {
	locked, err := q.gets.lockToPut(v)
	if !locked {
		return err
	}
	full := q.putters.Len() > 0 || atLimit(q.items.Len(), q.size)
	if !full {
		q.items.Push(v)
	}
	q.gets.mu.Unlock()
	if full {
		return ErrQueueFull
	}
	return nil
}

// PutWait is Put that waits while the queue is full. Waiting calls are admitted
// in their order, and no Put overtakes them. PutWait returns [context.Cause] of
// ctx if ctx ends first, and [ErrClosed] if the queue is closed. After an error
// v was not put.
func (q *Queue[T]) PutWait(ctx context.Context, v T) error {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	ask := contextToAsk(ctx) // user code, like ctx.Err: not called with the lock held
	locked, err := q.gets.lockToPut(v)
	if !locked {
		return err
	}
	if q.putters.Len() == 0 && !atLimit(q.items.Len(), q.size) {
		q.items.Push(v)
		q.gets.mu.Unlock()
		return nil
	}
	p := &queuePutter[T]{v: v, blockedPut: blockedPut{ctx: ask, parker: settle.NewParker()}}
	q.putters.PushBack(p)
	q.gets.mu.Unlock()
	return p.await(ctx, &q.gets.mu, func() bool { return q.putters.Remove(p) })
}

// Get takes the first item: at once if there is one, and otherwise when one is
// put. The future fails with [ErrTooManyGets] if the Backlog of the queue is
// reached, and with [ErrClosed] if the queue is closed and empty. Canceling the
// future withdraws the get. Canceling never loses an item, even if one is put
// at the same time.
//
// The item belongs to the future. Do not bound the wait by the context of an
// Await: when the Await gives up, the get is still in line, and takes an item
// that is then lost. [Queue.GetWait] waits until a context ends and loses
// nothing. Do not use [Any] or [First] for gets of several queues: if two of
// the queues have an item, one item is lost. Use [GetAny].
func (q *Queue[T]) Get() *Future[T] { return get(q, q.backlog) }

// GetWait takes the first item, and waits until there is one. It returns
// [context.Cause] of ctx if ctx ends first, and [ErrClosed] if the queue is
// closed and empty. It loses nothing: an error means that no item was taken,
// and nothing is taken after ctx has ended.
func (q *Queue[T]) GetWait(ctx context.Context) (T, error) {
	if ctx == nil {
		panic("twill: GetWait with a nil context")
	}
	if ctx.Err() != nil {
		var none T
		return none, context.Cause(ctx)
	}
	q.gets.mu.Lock()
	switch {
	case q.putters.Len() > 0: // this case calls user code
		q.gets.mu.Unlock()
		return getWait(ctx, q)
	case q.items.Len() > 0:
		v := q.items.Pop()
		q.gets.mu.Unlock()
		return v, nil
	}
	return q.gets.waitAndUnlock(ctx)
}

// TryGet takes the first item, and returns true. If the queue is empty, it
// returns false and does not wait.
func (q *Queue[T]) TryGet() (v T, ok bool) {
	q.gets.mu.Lock()
	if q.putters.Len() > 0 {
		defer q.gets.mu.Unlock() // deferred, as a context that is checked may panic
		return q.takeLocked()
	}
	if ok = q.items.Len() > 0; ok {
		v = q.items.Pop()
	}
	q.gets.mu.Unlock()
	return v, ok
}

// All yields items, always the first of the queue, and waits while there are
// none. It ends when ctx ends, or when the queue is closed and empty: check
// ctx.Err afterwards to distinguish the two. It loses no item. Several loops
// may share a queue; each item goes to one of them.
func (q *Queue[T]) All(ctx context.Context) iter.Seq[T] {
	if ctx == nil {
		panic("twill: All with a nil context")
	}
	return takeAll(ctx, q)
}

// Len returns the number of queued items.
func (q *Queue[T]) Len() int {
	q.gets.mu.Lock()
	defer q.gets.mu.Unlock()
	return q.items.Len()
}

// Waiting returns the number of waiting gets.
func (q *Queue[T]) Waiting() int { return q.gets.waiting() }

// Clear removes all queued items and returns them in their order. Waiting calls
// of PutWait are admitted after that.
func (q *Queue[T]) Clear() []T {
	q.gets.mu.Lock()
	defer q.gets.mu.Unlock()
	items := make([]T, 0, q.items.Len())
	for q.items.Len() > 0 {
		items = append(items, q.items.Pop())
	}
	q.admitLocked()
	return items
}

// Close makes later calls of Put return [ErrClosed]. Waiting gets and calls of
// PutWait fail with ErrClosed. Queued items can still be taken; when there are
// none left, a get fails with ErrClosed at once. A second Close does nothing.
func (q *Queue[T]) Close() {
	q.gets.mu.Lock()
	for p, ok := q.putters.PopFront(); ok; p, ok = q.putters.PopFront() {
		p.refused(ErrClosed)
	}
	q.gets.closeAndUnlock()
}

// String returns the type, and how many items are queued and how many gets
// wait.
func (q *Queue[T]) String() string {
	return printed("Queue", fmt.Sprintf("%d queued, %d waiting", q.Len(), q.Waiting()), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (q *Queue[T]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *Queue[T]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *Queue[T]) Format(s fmt.State, verb rune) { formatText(s, verb, q.String()) }

// takeLocked takes the first item, and admits the first waiting put. It unlocks
// while it checks the contexts of puts.
func (q *Queue[T]) takeLocked() (v T, ok bool) {
	var asked *queuePutter[T]
	for q.items.Len() == 0 { // if Size is negative, or while puts are admitted
		p, ok := q.putters.Front()
		if !ok {
			return v, false
		}
		if q.mayAdmitLocked(p, &asked) {
			q.putters.Remove(p)
			p.admitted()
			return p.v, true
		}
	}
	v = q.items.Pop()
	if q.putters.Len() > 0 {
		q.admitLocked()
	}
	return v, true
}

// admitLocked admits waiting puts, in their order, while there is room.
func (q *Queue[T]) admitLocked() {
	var asked *queuePutter[T]
	for q.putters.Len() > 0 && !atLimit(q.items.Len(), q.size) {
		if p, _ := q.putters.Front(); q.mayAdmitLocked(p, &asked) {
			q.putters.Remove(p)
			q.items.Push(p.v)
			p.admitted()
		}
	}
}

// mayAdmitLocked reports whether p, the first waiting put, may be admitted. It
// unlocks to check p's context, and then returns false: the caller must look
// again for the first put, as it may have changed. asked records that p was
// checked.
func (q *Queue[T]) mayAdmitLocked(p *queuePutter[T], asked **queuePutter[T]) bool {
	if p.ctx == nil || *asked == p {
		return true
	}
	*asked = p
	if cause := p.endedLocked(&q.gets.mu); cause != nil && q.putters.Remove(p) {
		p.refused(cause)
	}
	return false
}

func (q *Queue[T]) readyLocked() bool { return q.items.Len() > 0 || q.putters.Len() > 0 }

func (q *Queue[T]) getters() *getters[T] { return &q.gets }

// queuePutter is a PutWait that waits.
type queuePutter[T any] struct {
	list.Links[*queuePutter[T]]
	blockedPut
	v T
}

// PriorityQueue is a queue that returns the item with the lowest priority
// number first and, among equals, the item that was put first. Unlike a heap or
// a channel, its Get returns a future; waiting gets are served in the order in
// which they were made, each by the next Put. It is the equivalent of txRDQ's
// DeferredPriorityQueue.
//
// The zero value is an empty queue without limits, ready to use. A
// PriorityQueue must not be copied after first use. Its methods may be called
// concurrently. An item belongs to the caller that gets it; the queue keeps no
// reference to it. A Put synchronizes before the get that returns its item.
//
// A Put that serves a waiting get settles its future: the handlers run on the
// goroutine that calls Put, under no lock, and may use the queue. To bound the
// stack, handlers run on a new goroutine when 100 such calls are nested.
type PriorityQueue[T any] struct {
	size, backlog int // as in QueueOptions

	snapshot sched.Mutex // held, before gets.mu, while values are read without gets.mu

	gets    getters[T]                    // gets.mu guards the fields below too
	items   heap.Heap[*PriorityItem[T]]   // empty if a get waits
	putters heap.Heap[*priorityPutter[T]] // empty unless items is full or a put is being admitted
	seq     uint64                        // number of the last put

	reading bool               // a Snapshot is reading values, without the lock
	removed []*PriorityItem[T] // items that have left the queue since then, with their values
}

// NewPriorityQueue returns an empty queue with the limits in opts, or without
// limits if opts is nil, as in the zero value.
func NewPriorityQueue[T any](opts *QueueOptions) *PriorityQueue[T] {
	q := new(PriorityQueue[T])
	if opts != nil {
		q.size, q.backlog = opts.Size, opts.Backlog
	}
	return q
}

// Put gives v to the get that has waited longest or, if none waits, queues it.
// It returns a handle that moves or removes v while v is queued. Put does not
// block: it returns [ErrQueueFull] if the queue is full or calls of PutWait
// wait for room, and [ErrClosed] if the queue is closed. After an error v was
// not put.
func (q *PriorityQueue[T]) Put(v T, priority int) (*PriorityItem[T], error) {
	item := &PriorityItem[T]{q: q, priority: priority}
	locked, err := q.gets.lockToPut(v)
	if locked {
		if q.putters.Len() > 0 || atLimit(q.items.Len(), q.size) {
			err = ErrQueueFull
		} else {
			item.value = v
			q.items.Push(item, q.nextKeyLocked(priority))
		}
		q.gets.mu.Unlock()
	}
	if err != nil {
		return nil, err
	}
	return item, nil
}

// PutWait is Put that waits while the queue is full. If several calls wait, the
// call with the lowest priority number is admitted first. PutWait returns
// [context.Cause] of ctx if ctx ends first, and [ErrClosed] if the queue is
// closed. After an error v was not put.
func (q *PriorityQueue[T]) PutWait(ctx context.Context, v T, priority int) (*PriorityItem[T], error) {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	ask := contextToAsk(ctx)
	item := &PriorityItem[T]{q: q, priority: priority}
	locked, err := q.gets.lockToPut(v)
	switch {
	case !locked:
	case q.putters.Len() == 0 && !atLimit(q.items.Len(), q.size):
		item.value = v
		q.items.Push(item, q.nextKeyLocked(priority))
		q.gets.mu.Unlock()
	default:
		item.value = v
		p := &priorityPutter[T]{item: item, blockedPut: blockedPut{ctx: ask, parker: settle.NewParker()}}
		q.putters.Push(p, q.nextKeyLocked(priority))
		q.gets.mu.Unlock()
		err = p.await(ctx, &q.gets.mu, func() bool { return q.removePutterLocked(p) })
	}
	if err != nil {
		return nil, err
	}
	return item, nil
}

// Get takes the first item: at once if there is one, and otherwise when one is
// put. The future fails with [ErrTooManyGets] if the Backlog of the queue is
// reached, and with [ErrClosed] if the queue is closed and empty. Canceling the
// future withdraws the get. Canceling never loses an item, even if one is put
// at the same time. To bound the wait by a context use [PriorityQueue.GetWait],
// and for several queues [GetAny]; [Queue.Get] says why.
func (q *PriorityQueue[T]) Get() *Future[T] { return get(q, q.backlog) }

// GetWait takes the first item, and waits until there is one. It returns
// [context.Cause] of ctx if ctx ends first, and [ErrClosed] if the queue is
// closed and empty. It loses nothing: an error means that no item was taken,
// and nothing is taken after ctx has ended.
func (q *PriorityQueue[T]) GetWait(ctx context.Context) (T, error) {
	if ctx == nil {
		panic("twill: GetWait with a nil context")
	}
	return getWait(ctx, q)
}

// TryGet takes the first item, and returns true. If the queue is empty, it
// returns false and does not wait.
func (q *PriorityQueue[T]) TryGet() (T, bool) {
	q.gets.mu.Lock()
	defer q.gets.mu.Unlock()
	return q.takeLocked()
}

// All yields items, always the first of the queue, and waits while there are
// none. It ends when ctx ends, or when the queue is closed and empty: check
// ctx.Err afterwards to distinguish the two. It loses no item. Several loops
// may share a queue; each item goes to one of them.
func (q *PriorityQueue[T]) All(ctx context.Context) iter.Seq[T] {
	if ctx == nil {
		panic("twill: All with a nil context")
	}
	return takeAll(ctx, q)
}

// Len returns the number of queued items.
func (q *PriorityQueue[T]) Len() int {
	q.gets.mu.Lock()
	defer q.gets.mu.Unlock()
	return q.items.Len()
}

// Waiting returns the number of waiting gets.
func (q *PriorityQueue[T]) Waiting() int { return q.gets.waiting() }

// Snapshot returns the queued values in the order in which they would be taken
// now. The queue can be used while Snapshot runs, however long the queue is; a
// second Snapshot waits for the first.
func (q *PriorityQueue[T]) Snapshot() []T {
	q.snapshot.Lock()
	defer q.snapshot.Unlock()
	q.gets.mu.Lock()
	items := q.items.Snapshot()
	q.reading = true
	q.gets.mu.Unlock()

	values := prioritized(items)

	q.gets.mu.Lock()
	q.reading = false
	removed := q.removed
	q.removed = nil
	q.gets.mu.Unlock()
	for _, x := range removed {
		x.forget()
	}
	return inOrder(values)
}

// Clear removes all queued items, and returns their values in the order in
// which they would have been taken. Waiting calls of PutWait are admitted after
// that. Clear waits for a Snapshot that is underway.
func (q *PriorityQueue[T]) Clear() []T {
	q.snapshot.Lock()
	defer q.snapshot.Unlock()
	q.gets.mu.Lock()
	items := q.items.Clear()
	q.admitLocked(0)
	q.gets.mu.Unlock()

	values := prioritized(items)
	for e := range items.All() {
		e.Item.forget()
	}
	return inOrder(values)
}

// Close makes later calls of Put return [ErrClosed]. Waiting gets and calls of
// PutWait fail with ErrClosed. Queued items can still be taken; when there are
// none left, a get fails with ErrClosed at once. A second Close does nothing.
func (q *PriorityQueue[T]) Close() {
	q.gets.mu.Lock()
	putters := q.putters.Clear()
	for p := range putters.All() {
		p.Item.refused(ErrClosed)
	}
	q.gets.closeAndUnlock()
}

// String returns the type, and how many items are queued and how many gets
// wait.
func (q *PriorityQueue[T]) String() string {
	return printed("PriorityQueue", fmt.Sprintf("%d queued, %d waiting", q.Len(), q.Waiting()), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (q *PriorityQueue[T]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *PriorityQueue[T]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *PriorityQueue[T]) Format(s fmt.State, verb rune) { formatText(s, verb, q.String()) }

// PriorityItem is the handle of a value in a [PriorityQueue], as returned by
// Put. It refers to the value only while the value is queued: after the value
// was taken or removed, the item does not keep it in memory. Its methods may be
// called concurrently.
type PriorityItem[T any] struct {
	q *PriorityQueue[T]

	// Guarded by q.gets.mu.
	//lint:ignore U1000 internal/heap uses it
	place      //nolint:unused // in q.items
	value    T // not written while queued, and not read otherwise
	priority int
}

// Value returns the value and true while it is queued.
func (x *PriorityItem[T]) Value() (v T, queued bool) {
	x.q.gets.mu.Lock()
	defer x.q.gets.mu.Unlock()
	if x.q.items.Has(x) {
		return x.value, true
	}
	return v, false
}

// Priority returns the priority of the value or, if the value is no longer
// queued, its last priority.
func (x *PriorityItem[T]) Priority() int {
	x.q.gets.mu.Lock()
	defer x.q.gets.mu.Unlock()
	return x.priority
}

// Reprioritize changes the priority of the value, and reports whether the value
// was still queued. Values of the same priority are ordered by their Put. It
// takes O(log n).
func (x *PriorityItem[T]) Reprioritize(priority int) bool {
	x.q.gets.mu.Lock()
	defer x.q.gets.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Reprioritize(x, int64(priority))
	x.priority = priority
	return true
}

// Remove removes the value from the queue, and reports whether it was still
// queued. If so, no get has received it or will receive it. It takes O(log n).
func (x *PriorityItem[T]) Remove() bool {
	x.q.gets.mu.Lock()
	defer x.q.gets.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Remove(x)
	x.q.releaseLocked(x)
	x.q.admitLocked(0)
	return true
}

// String returns the type, and whether x is queued, and its priority.
func (x *PriorityItem[T]) String() string {
	return printed("PriorityItem", x.printedState(), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (x *PriorityItem[T]) GoString() string { return x.String() }

// LogValue returns the text of String, for package slog.
func (x *PriorityItem[T]) LogValue() slog.Value { return slog.StringValue(x.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (x *PriorityItem[T]) Format(s fmt.State, verb rune) { formatText(s, verb, x.String()) }

func (x *PriorityItem[T]) printedState() string {
	if _, queued := x.Value(); !queued {
		return "not queued"
	}
	return fmt.Sprintf("priority %d", x.Priority())
}

// forget drops the value of an item that is no longer queued.
func (x *PriorityItem[T]) forget() {
	var none T
	x.value = none
}

// nextKeyLocked returns the place of a put that is made now.
func (q *PriorityQueue[T]) nextKeyLocked(priority int) heap.Key {
	q.seq++
	return heap.Key{Priority: int64(priority), Seq: q.seq}
}

// takeLocked takes the first item. It unlocks while it checks the contexts of
// waiting puts.
func (q *PriorityQueue[T]) takeLocked() (v T, ok bool) {
	q.admitLocked(1) // before the item is taken, as the first waiting put may be the first of all
	if q.items.Len() == 0 {
		return v, false
	}
	return q.releaseLocked(q.items.Pop().Item), true
}

// releaseLocked returns the value of an item that is no longer queued and drops
// it, unless a Snapshot may be about to read it.
func (q *PriorityQueue[T]) releaseLocked(x *PriorityItem[T]) T {
	v := x.value
	if q.reading {
		q.removed = append(q.removed, x)
	} else {
		x.forget()
	}
	return v
}

// admitLocked admits waiting puts, the lowest priority first, while there is
// room, with extra more places than the limit. It unlocks while it checks their
// contexts.
func (q *PriorityQueue[T]) admitLocked(extra int) {
	var asked *priorityPutter[T]
	for q.putters.Len() > 0 && q.items.Len()-extra < max(q.size, 0) {
		p := q.putters.Peek()
		if p.Item.ctx == nil || asked == p.Item {
			q.putters.Pop()
			q.items.Push(p.Item.item, p.Key)
			p.Item.admitted()
			continue
		}
		asked = p.Item
		if cause := asked.endedLocked(&q.gets.mu); cause != nil && q.removePutterLocked(asked) {
			asked.refused(cause)
		}
	}
}

func (q *PriorityQueue[T]) removePutterLocked(p *priorityPutter[T]) bool {
	waits := q.putters.Has(p)
	if waits {
		q.putters.Remove(p)
	}
	return waits
}

func (q *PriorityQueue[T]) readyLocked() bool { return q.items.Len() > 0 || q.putters.Len() > 0 }

func (q *PriorityQueue[T]) getters() *getters[T] { return &q.gets }

// priorityPutter is a PutWait that waits.
type priorityPutter[T any] struct {
	heap.Place
	blockedPut
	item *PriorityItem[T]
}

// prioritized reads the values of items.
func prioritized[T any](items heap.Snapshot[*PriorityItem[T]]) (values []prioritizedValue[T]) {
	values = make([]prioritizedValue[T], 0, items.Len())
	for e := range items.All() {
		values = append(values, prioritizedValue[T]{e.Key, e.Item.value})
	}
	return values
}

type prioritizedValue[T any] struct {
	heap.Key
	value T
}

// inOrder returns the values in the order of a queue.
func inOrder[T any](values []prioritizedValue[T]) []T {
	sorted := make([]T, len(values))
	for i, v := range heap.Sort(values, func(v prioritizedValue[T]) heap.Key { return v.Key }) {
		sorted[i] = v.value
	}
	return sorted
}

// AnyQueue is a [Queue] or a [PriorityQueue] of T, for [GetAny]. Only these
// types implement it.
type AnyQueue[T any] interface {
	Get() *Future[T]
	GetWait(ctx context.Context) (T, error)
	TryGet() (T, bool)
	Len() int

	getters() *getters[T]
	takeLocked() (T, bool)
	readyLocked() bool
}

// GetAny takes the first item of a queue that has one, and waits until a queue
// has one. If several queues have items, the item is taken from the first of
// these queues in qs: the order of qs is an order of preference. A queue that
// is closed and empty is skipped.
//
// GetAny returns [context.Cause] of ctx if ctx ends first, [ErrClosed] if all
// queues are closed and empty, and [ErrEmpty] if there is no queue. It loses
// nothing: it never takes more than one item, an error means that no item was
// taken, and nothing is taken after ctx has ended.
func GetAny[T any](ctx context.Context, qs ...AnyQueue[T]) (T, error) {
	var none T
	if ctx == nil {
		panic("twill: GetAny with a nil context")
	}
	for _, q := range qs {
		if q == nil {
			panic("twill: GetAny with a nil queue")
		}
	}
	if len(qs) == 0 {
		return none, ErrEmpty
	}
	for {
		if ctx.Err() != nil {
			return none, context.Cause(ctx)
		}
		for _, q := range qs {
			if v, ok := q.TryGet(); ok {
				return v, nil
			}
		}
		if v, err := getOfSeveral(ctx, qs); err != errLookAgain {
			return v, err
		}
	}
}

// errLookAgain ends a wait at several queues when one of them was closed, or
// has an item that it has not handed over.
var errLookAgain = errors.New("twill: look again")

// getOfSeveral waits in the lines of all queues until one of them serves it.
func getOfSeveral[T any](ctx context.Context, qs []AnyQueue[T]) (v T, err error) {
	a := &anyGet[T]{blockedWaiter: blockUntil[T](ctx)}
	type place struct {
		line *getters[T]
		w    *waiter[T]
	}
	places := make([]place, 0, len(qs))
	ready := false
	for _, q := range qs {
		g := q.getters()
		g.mu.Lock()
		if ready = q.readyLocked(); !ready && !g.closed {
			w := &waiter[T]{served: a}
			g.line.PushBack(w)
			places = append(places, place{g, w})
		}
		g.mu.Unlock()
		if ready {
			break
		}
	}
	switch {
	case ready:
		err = errLookAgain
	case len(places) == 0:
		return v, ErrClosed
	default:
		err = a.parker.Park(ctx)
	}
	if err != nil && !a.end() { // another goroutine serves or refuses it now
		_ = a.parker.Park(context.Background())
		err = nil
	}
	for _, p := range places {
		p.line.leave(p.w)
	}
	a.parker.Keep()
	if err != nil {
		return v, err
	}
	if a.err == ErrClosed {
		return v, errLookAgain // the others may be open
	}
	return a.v, a.err
}

// anyGet is a GetAny that waits in several lines, of which the first one serves
// or refuses it.
type anyGet[T any] struct {
	*blockedWaiter[T]
	mu    sched.Mutex
	ended bool
}

// end ends the wait, and reports whether it had not ended before.
func (a *anyGet[T]) end() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.ended
	a.ended = true
	return first
}

func (a *anyGet[T]) serve(d *deliveries, v T) bool { return a.end() && a.blockedWaiter.serve(d, v) }

func (a *anyGet[T]) refuse(err error) {
	if a.end() {
		a.blockedWaiter.refuse(err)
	}
}

// get implements Get of both kinds of queue.
func get[T any](q AnyQueue[T], backlog int) *Future[T] {
	g := q.getters()
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := q.takeLocked()
	switch {
	case ok:
		return Resolved(v)
	case g.closed:
		return Rejected[T](ErrClosed)
	case atLimit(g.futures, backlog):
		return Rejected[T](ErrTooManyGets)
	}
	w := new(futureWaiter[T])
	w.init(g)
	g.line.PushBack(&w.waiter)
	g.futures++
	return &w.f
}

// getWait implements GetWait of both kinds of queue.
func getWait[T any](ctx context.Context, q AnyQueue[T]) (v T, err error) {
	if ctx.Err() != nil {
		return v, context.Cause(ctx)
	}
	g := q.getters()
	g.mu.Lock()
	if v, ok := q.takeLocked(); ok {
		g.mu.Unlock()
		return v, nil
	}
	return g.waitAndUnlock(ctx)
}

// takeAll implements All of both kinds of queue.
func takeAll[T any](ctx context.Context, q AnyQueue[T]) iter.Seq[T] {
	return func(yield func(T) bool) {
		for {
			v, err := getWait(ctx, q)
			if err != nil || !yield(v) {
				return
			}
		}
	}
}

// getters is the line of the waiting gets of a queue of either kind.
type getters[T any] struct {
	mu      sched.Mutex           // guards the fields below, and the items of the queue
	line    list.List[*waiter[T]] // empty unless the queue has no items and no put waits
	futures int                   // number of futures of Get in line, which count towards Backlog
	closed  bool

	deliveries deliveries
	spare      spare[T]
}

// lockToPut gives v to the first get in line that accepts it. If there is none,
// it returns with the lock held, and the caller puts v elsewhere. If the queue
// is closed, it returns ErrClosed.
//
// The lock is not held while a future is settled, since that runs user code. A
// get that is canceled at that moment does not accept v, and v goes to the next
// get.
func (g *getters[T]) lockToPut(v T) (locked bool, err error) {
	g.mu.Lock()
	for {
		if g.closed {
			g.mu.Unlock()
			return false, ErrClosed
		}
		w, ok := g.line.PopFront()
		if !ok {
			return true, nil
		}
		g.leftLocked(w)
		g.mu.Unlock()
		if w.serve(&g.deliveries, v) {
			return false, nil
		}
		g.mu.Lock()
	}
}

func (g *getters[T]) leftLocked(w *waiter[T]) {
	if g.futures == 0 {
		return
	}
	if _, ok := w.served.(*futureWaiter[T]); ok {
		g.futures--
	}
}

// waitAndUnlock waits in the line of a queue that has no items.
func (g *getters[T]) waitAndUnlock(ctx context.Context) (v T, err error) {
	if g.closed {
		g.mu.Unlock()
		return v, ErrClosed
	}
	b := g.spare.blockUntilLocked(ctx)
	g.line.PushBack(&b.waiter)
	g.mu.Unlock()
	v, err = b.await(g)
	b.end()
	return v, err
}

// leave removes w from the line.
func (g *getters[T]) leave(w *waiter[T]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	waited := g.line.Remove(w)
	if waited {
		g.leftLocked(w)
	}
	return waited
}

func (g *getters[T]) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.line.Len()
}

// closeAndUnlock closes the queue and fails the waiting gets.
func (g *getters[T]) closeAndUnlock() {
	g.closed = true
	waiting := make([]*waiter[T], 0, g.line.Len())
	for w, ok := g.line.PopFront(); ok; w, ok = g.line.PopFront() {
		waiting = append(waiting, w)
	}
	g.futures = 0
	g.mu.Unlock()
	each(waiting, func(w *waiter[T]) { w.refuse(ErrClosed) })
}

// blockedPut is a PutWait that waits.
type blockedPut struct {
	ctx    context.Context // nil if it never ends
	parker *settle.Parker
	err    error // the result, after a Wake
}

// contextToAsk returns ctx, or nil if ctx never ends.
func contextToAsk(ctx context.Context) context.Context {
	if ctx.Done() == nil {
		return nil
	}
	return ctx
}

// endedLocked returns the cause of the context if it has ended. It unlocks mu
// while it asks, as a context may be user code.
func (p *blockedPut) endedLocked(mu *sched.Mutex) (cause error) {
	mu.Unlock()
	defer mu.Lock()
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	return nil
}

// admitted ends the wait with success, refused with a failure.
func (p *blockedPut) admitted() { p.parker.Wake() }

func (p *blockedPut) refused(err error) {
	p.err = err
	p.parker.Wake()
}

// await blocks until the put is admitted or refused, or until ctx ends.
// removeLocked removes the put from the waiting puts, with mu held.
func (p *blockedPut) await(ctx context.Context, mu *sched.Mutex, removeLocked func() bool) error {
	if err := p.parker.Park(ctx); err != nil {
		mu.Lock()
		waited := removeLocked()
		mu.Unlock()
		if waited {
			p.parker.Keep()
			return err
		}
		_ = p.parker.Park(context.Background()) // another goroutine admits or refuses it now
	}
	p.parker.Keep()
	return p.err
}

// atLimit reports whether n has reached limit, an option for which zero means
// no limit and a negative value means 0.
func atLimit(n, limit int) bool {
	return limit < 0 || limit > 0 && n >= limit
}

// These names hide the fields that internal packages embed in exported types. A
// linter that sees only this package takes the fields for unused.
type (
	//lint:ignore U1000 see above
	place = heap.Place //nolint:unused
	//lint:ignore U1000 see above
	links[T any] = list.Links[T] //nolint:unused
)
