package twill

import (
	"context"

	"github.com/twillgo/twill/internal/settle"
)

// poolerCaller is the future of one who called.
type poolerCaller[A any, K comparable, V any] struct {
	root[V]
	next, prev *poolerCaller[A, K, V] // on the list of callers; guarded like that
	fl         *flight[A, K, V]       // nil once the caller has left; guarded like stop
	stop       func() bool            // ends the watching of the caller's context; guarded like callers
}

// poolerCallers is a list of callers. They are many and short-lived: this one,
// which knows what is on it, takes half the time of a [list.List].
type poolerCallers[A any, K comparable, V any] struct {
	head, tail *poolerCaller[A, K, V]
	n          int
}

func (l *poolerCallers[A, K, V]) push(c *poolerCaller[A, K, V]) {
	if c.prev = l.tail; c.prev == nil {
		l.head = c
	} else {
		c.prev.next = c
	}
	l.tail = c
	l.n++
}

// pop takes the first one out; nil if there is none.
func (l *poolerCallers[A, K, V]) pop() *poolerCaller[A, K, V] {
	c := l.head
	if c != nil {
		l.remove(c)
	}
	return c
}

// remove takes c out, and reports whether it was there.
func (l *poolerCallers[A, K, V]) remove(c *poolerCaller[A, K, V]) bool {
	if c.prev == nil && l.head != c {
		return false
	}
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	l.n--
	return true
}

func (c *poolerCaller[A, K, V]) prepare(fl *flight[A, K, V]) {
	c.fl = fl
	c.link.Do = c
	c.f.core.SetUp(&c.link)
}

// deliver settles the caller's future.
func (c *poolerCaller[A, K, V]) deliver(v V, err error) {
	if c.stop != nil {
		c.stop()
	}
	var fail *settle.Failure
	if err != nil {
		var none V
		v, fail = none, settle.NewFailure(err)
	}
	if w, ok := c.f.core.Begin(); ok { // else the caller has left
		c.f.val = v
		if list := c.f.core.Publish(w, fail); list != nil {
			settle.Drain(&c.f.core, list)
		}
	}
}

// watch has c leave when the caller's context ends.
func (t *table[A, K, V]) watch(ctx context.Context, c *poolerCaller[A, K, V]) {
	stop := context.AfterFunc(ctx, func() { c.f.Cancel(context.Cause(ctx)) })
	t.mu.Lock()
	late := c.fl == nil || c.fl.finished
	if !late {
		c.stop = stop
	}
	t.mu.Unlock()
	if late {
		stop()
	}
}

// Fire is called when the future is cancelled: the caller leaves. The last one
// leaves the flight to nobody, before its context ends.
func (c *poolerCaller[A, K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fl, cause := c.fl, causeOf(left.Err)
	stop, inner, deserted := fl.leave(c, cause)
	if stop != nil {
		stop()
	}
	if deserted {
		fl.end(cause)
		if inner != nil {
			inner.Cancel(cause)
		}
	}
	return c.end(left)
}

// leave takes a caller out. It returns what to end: the watching of the
// caller's context and, if it was the last caller, the flight.
func (fl *flight[A, K, V]) leave(c *poolerCaller[A, K, V], cause error) (stop func() bool, inner *Future[struct{}], deserted bool) {
	fl.t.mu.Lock()
	defer fl.t.mu.Unlock()
	if fl.finished || !fl.callers.remove(c) {
		return nil, nil, false // delivered, which ends the watching
	}
	c.fl = nil
	fl.t.waiting--
	switch {
	case fl.callers.n > 0:
	case !fl.begun: // it is never called
		var none A
		fl.before.next, fl.before = nil, nil
		fl.arg = none
	default:
		fl.deserted, deserted = true, true
		if inner = fl.inner; inner == nil {
			kept := cause // and not each cause, to the heap
			fl.cause = &kept
		}
	}
	return c.stop, inner, deserted
}
