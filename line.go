package twill

import (
	"context"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// waiter is a place in a line, such as the line of the gets of an empty queue.
// A future waits there, or a call that blocks.
//
// A waiter leaves its line with the lock of the owner held: when it is served
// or refused, or when it gives up. Therefore only one of these happens, unless
// one call waits in several lines.
type waiter[T any] struct {
	list.Links[*waiter[T]]
	served[T] // what waits
}

// served is what waits in a line. Its methods may run user code, and are called
// without any lock, after the waiter was taken out of its line.
type served[T any] interface {
	// serve gives it v, and reports whether v was accepted: v is not if the
	// future was canceled, or if the context of the call has ended. Handlers run
	// as described at deliveries.run.
	serve(d *deliveries, v T) bool

	// refuse ends its wait with an error.
	refuse(err error)
}

// waitingLine is the owner of a line.
type waitingLine[T any] interface {
	// leave takes w out of the line, and reports whether w was in it. It locks the
	// owner.
	leave(w *waiter[T]) bool
}

// futureWaiter is a future that waits in a line. If it is served and canceled
// at the same time, the two race to settle the future.
type futureWaiter[T any] struct {
	root[T]
	waiter[T]
	line waitingLine[T]
}

// init prepares w, which is new, before it is put into the line.
func (w *futureWaiter[T]) init(line waitingLine[T]) {
	w.served, w.line = w, line
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	settle.Made(&w.f.core)
}

// Fire is called when the future is canceled.
func (w *futureWaiter[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if w.line.leave(&w.waiter) {
		w.line = nil
	}
	return w.end(left)
}

func (w *futureWaiter[T]) serve(d *deliveries, v T) bool {
	word, ok := w.f.core.Begin()
	if !ok {
		return false
	}
	if w.f.core.Deserted(word) { // two bounds at once: one cancels w, one has detached
		w.f.core.Unlock(word)
		return false
	}
	w.f.val = v
	w.forget(word)
	d.run(&w.f.core, w.f.core.Publish(word, nil))
	return true
}

func (w *futureWaiter[T]) refuse(err error) {
	fail := settle.NewFailure(err)
	if word, ok := w.f.core.Begin(); ok {
		w.forget(word)
		if list := w.f.core.Publish(word, fail); list != nil {
			settle.Drain(&w.f.core, list)
		}
	}
}

// forget removes the reference to the line before the future is settled, as a
// settled future keeps only its result. A cancel that has already begun may
// still need the line.
func (w *futureWaiter[T]) forget(word uint32) {
	if !settle.Underway(word) {
		w.line = nil
	}
}

// blockedWaiter is a call that blocks until its context ends, such as GetWait.
// It is served only while that context has not ended.
type blockedWaiter[T any] struct {
	waiter[T]
	ctx    context.Context
	parker *settle.Parker
	v      T // the result, after a Wake
	err    error
	uses   uint32        // by calls, of a waiter that is kept for the next call
	ended  atomic.Uint32 // of these
}

// blockUntil returns the waiter of a call whose context is ctx.
func blockUntil[T any](ctx context.Context) *blockedWaiter[T] {
	b := &blockedWaiter[T]{ctx: ctx, parker: settle.NewParker()}
	b.served = b
	return b
}

func (b *blockedWaiter[T]) serve(_ *deliveries, v T) bool {
	ended := b.ctx.Err() != nil
	if ended {
		b.err = context.Cause(b.ctx)
	} else {
		b.v = v
	}
	b.parker.Wake() // b belongs to the call from here on
	return !ended
}

func (b *blockedWaiter[T]) refuse(err error) {
	if b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	b.err = err
	b.parker.Wake()
}

// await blocks until b, which is in line, is served or refused, and returns the
// result, or until the context ends, and returns its cause.
func (b *blockedWaiter[T]) await(line waitingLine[T]) (T, error) {
	if err := b.parker.Park(b.ctx); err != nil {
		if line.leave(&b.waiter) {
			var none T
			return none, err
		}
		// Another goroutine has taken b out of the line, and serves or refuses it
		// now.
		_ = b.parker.Park(context.Background())
	}
	return b.v, b.err
}

// end ends the use of b, whose await has returned.
func (b *blockedWaiter[T]) end() {
	if b.uses == 0 {
		b.parker.Keep()
		return
	}
	var none T
	b.ctx, b.v, b.err = nil, none, nil
	b.ended.Store(b.uses)
}

// spare has a waiter for one call at a time, so that a loop of calls that block
// allocates nothing. The lock of the line guards it.
type spare[T any] struct{ b *blockedWaiter[T] }

// blockUntilLocked is blockUntil that returns the waiter of an earlier call, if
// that has ended.
func (s *spare[T]) blockUntilLocked(ctx context.Context) *blockedWaiter[T] {
	b := s.b
	switch {
	case b == nil:
		b = blockUntil[T](ctx)
		s.b = b
	case b.uses != b.ended.Load():
		return blockUntil[T](ctx)
	case b.parker.MayStay():
		b.ctx = ctx
	default:
		b = blockUntil[T](ctx)
		s.b = b
	}
	b.uses++
	return b
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
