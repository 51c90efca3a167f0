package settle

import (
	"context"
	"sync"
	"time"
)

// waiter is one blocked Wait.
type waiter struct {
	link Link
	ch   chan struct{} // capacity 1: Fire never blocks
}

// Fire wakes the waiting goroutine.
func (w *waiter) Fire(*Failure) (*Core, *Link) {
	w.ch <- struct{}{}
	return nil, nil
}

// Abort is never called: Fire does not panic.
func (w *waiter) Abort(error) (*Core, *Link) { return nil, nil }

// Source returns nil: a waiter has no core of its own to cancel.
func (w *waiter) Source(*Failure) (*Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (w *waiter) Owner() *Core { return nil }

func newWaiter() *waiter {
	w := &waiter{ch: make(chan struct{}, 1)}
	w.link.Do = w
	return w
}

// waiters keeps waiters for the next Wait, so that a blocked wait allocates
// nothing.
var waiters = sync.Pool{New: func() any { return newWaiter() }}

// Wait blocks until c is settled and returns nil, or until ctx ends and
// returns its cause, which is never nil. Nothing is left on c in either case.
func (c *Core) Wait(ctx context.Context) error {
	done := ctx.Done() // user code, like all methods of ctx; called before anything has to be undone
	pooled := !inBubble()
	var w *waiter
	if pooled {
		w = waiters.Get().(*waiter)
	} else {
		w = newWaiter()
	}
	if c.AddPending(&w.link, 1) {
		woken, done := atPark(c, w.ch, ctx, done)
		if done == nil {
			<-woken // half the cost of a select
		} else {
			select {
			case <-woken:
			case <-done:
				if !c.giveUp(&w.link) {
					return nil // settled; w now belongs to the settler
				}
				if pooled {
					waiters.Put(w)
				}
				return causeOf(ctx)
			}
		}
	}
	if pooled {
		waiters.Put(w)
	}
	return nil
}

// causeOf returns the cause of ctx, whose Done is closed. A context that was
// not made by package context may close Done first, and have no error yet.
func causeOf(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.Canceled
}

var started = time.Now()

// inBubble reports whether the caller runs in a bubble of testing/synctest,
// whose channels must stay in it. No function of the standard library reports
// that. But the clocks of a bubble, including the monotonic clock, start in the
// year 2000, decades away from a clock that counts from the start of the
// machine.
//
// Reading the clock costs a quarter of what it saves: without it every blocking
// wait would have to allocate a waiter and its channel, 160 bytes in two
// allocations.
func inBubble() bool {
	d := time.Since(started)
	return d > 20*365*24*time.Hour || d < 0
}
