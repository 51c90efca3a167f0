package twill

import (
	"context"
	"iter"

	"golang.org/x/sync/semaphore"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

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
	made(&g.f.core)
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
