package twill

import (
	"context"
	"iter"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

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
	made(&g.f.core)
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
