package twill

import (
	"context"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// waiter is a future that waits in a line until its owner serves it, such as a
// get of an empty queue.
//
// A waiter leaves its line with the lock of the owner held: when it is served,
// or when its future is canceled. If both happen at the same time, the two race
// to settle the future, and serve reports whether the owner did.
type waiter[T any] struct {
	root[T]
	list.Links[*waiter[T]]
	owner waiterOwner[T]
}

// waiterOwner is the owner of a line of waiters.
type waiterOwner[T any] interface {
	// leave takes w out of its line, and reports whether w was in it. It locks the
	// owner.
	leave(w *waiter[T]) bool

	// target returns the future to settle when w is served, or nil if w must
	// not be served because its caller's context has ended. It may run user
	// code, and is called without any lock.
	target(w *waiter[T]) *Future[T]
}

// init prepares w, a new waiter, before it is put into a line.
func (w *waiter[T]) init(owner waiterOwner[T]) {
	w.owner = owner
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	settle.Made(&w.f.core)
}

// Fire is called when the future is canceled.
func (w *waiter[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if w.owner.leave(w) {
		w.owner = nil
	}
	return w.end(left)
}

// serve gives v to w, which was taken out of its line, and reports whether w
// accepted it: w does not if its future was canceled or its caller's context
// has ended. The handlers run as described at deliveries.run.
func (w *waiter[T]) serve(d *deliveries, v T) bool {
	f := w.owner.target(w)
	if f == nil {
		return false
	}
	word, ok := f.core.Begin()
	if !ok {
		return false
	}
	if f.core.Deserted(word) { // two bounds at once: one cancels w, one has detached
		f.core.Unlock(word)
		return false
	}
	f.val = v
	w.forget(word)
	d.run(&f.core, f.core.Publish(word, nil))
	return true
}

// fail is serve with an error.
func (w *waiter[T]) fail(err error) {
	if f := w.owner.target(w); f != nil {
		fail := settle.NewFailure(err)
		if word, ok := f.core.Begin(); ok {
			w.forget(word)
			if list := f.core.Publish(word, fail); list != nil {
				settle.Drain(&f.core, list)
			}
		}
	}
}

// forget removes the reference to the owner before the future is settled, as a
// settled future keeps only its result. A cancel that has already begun may
// still need the owner.
func (w *waiter[T]) forget(word uint32) {
	if !settle.Underway(word) {
		w.owner = nil
	}
}

// blockedWaiter is the waiter of a call that blocks until its context ends,
// such as GetWait. It is served only while that context has not ended.
type blockedWaiter[T any] struct {
	waiter[T]
	ctx context.Context
	at  waiterOwner[T] // the owner of the line
}

func (b *blockedWaiter[T]) init(ctx context.Context, at waiterOwner[T]) {
	b.ctx, b.at = ctx, at
	b.waiter.init(b)
}

func (b *blockedWaiter[T]) leave(w *waiter[T]) bool { return b.at.leave(w) }

// target refuses what arrives after the end of the context. The future then
// fails with the context's cause.
func (b *blockedWaiter[T]) target(*waiter[T]) *Future[T] { return targetUntil(b.ctx, &b.f) }

// await blocks until b, which is in its line, is served, and returns the
// result, or until the context ends, and returns its cause.
func (b *blockedWaiter[T]) await() (T, error) { return awaitServed(b.ctx, &b.waiter, b.at) }

// targetUntil returns f, which is never canceled, or nil if ctx has ended. In
// that case f fails with the cause of ctx.
func targetUntil[T any](ctx context.Context, f *Future[T]) *Future[T] {
	if ctx.Err() == nil {
		return f
	}
	var none T
	f.settle(none, settle.NewFailure(context.Cause(ctx)))
	return nil
}

// awaitServed blocks until w, which is in the line of at, is served or failed,
// or until ctx ends and w is taken out of the line.
func awaitServed[T any](ctx context.Context, w *waiter[T], at waiterOwner[T]) (T, error) {
	if err := w.f.core.Wait(ctx); err != nil {
		if at.leave(w) {
			var none T
			return none, err
		}
		// Another goroutine has taken w out of the line, and serves or refuses it
		// now.
		_ = w.f.core.Wait(context.Background())
	}
	return w.f.result()
}

// maxNested bounds how deeply handlers nest when each of them passes its item
// on to the next waiter. Each such call is made inside the one before, so a
// line of a million waiters would need a very deep stack.
const maxNested = 100

// deliveries counts the calls of run that are underway.
type deliveries struct{ running atomic.Int32 }

// run runs the listeners of c, which was settled, before it returns or, if
// maxNested other calls are running, on a new goroutine. A nil d counts
// nothing; it is for calls that do not nest.
func (d *deliveries) run(c *settle.Core, list *settle.Link) {
	switch {
	case list == nil:
	case d == nil:
		settle.Drain(c, list)
	case d.running.Add(1) > maxNested:
		sched.Go(func() { d.drain(c, list) })
	default:
		d.drain(c, list)
	}
}

func (d *deliveries) drain(c *settle.Core, list *settle.Link) {
	defer d.running.Add(-1)
	settle.Drain(c, list)
}

// each calls fn, which settles a future, for each of xs. If a handler ends the
// goroutine, a new goroutine continues, so that every future is settled.
func each[T any](xs []T, fn func(T)) {
	i := 0
	defer func() {
		if i < len(xs) {
			go each(xs[i+1:], fn)
		}
	}()
	for ; i < len(xs); i++ {
		fn(xs[i])
	}
}

// onSettled calls fn, which must not panic, when c settles, or at once if c has
// settled. It does not count as a dependent of c.
func onSettled(c *settle.Core, fn func()) {
	o := &observer{fn: fn}
	o.link.Do = o
	if !c.Add(&o.link, 0) {
		settle.Run(o, nil)
	}
}

type observer struct {
	link settle.Link
	fn   func()
}

// Fire calls the function.
func (o *observer) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	fn := o.fn
	o.fn = nil
	fn()
	return nil, nil
}

// Abort does nothing: no future depends on an observer.
func (o *observer) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source returns nil: no cancel passes through an observer.
func (o *observer) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (o *observer) Owner() *settle.Core { return nil }
