package twill

import (
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

// flight is one call of the function, and the context it is given.
type flight[A any, K comparable, V any] struct {
	lazyContext
	list.Links[*flight[A, K, V]]
	t     *table[A, K, V]
	arg   A
	key   K
	first poolerCaller[A, K, V]

	returned atomic.Bool // the function is back, or its future settled

	// t.mu guards these, and callers until the flight is finished; then they
	// belong to the goroutine that delivers.
	begun    bool // not one that waits for another
	deserted bool // all callers left, so that it was cancelled
	finished bool // it was taken out
	callers  poolerCallers[A, K, V]
	next     *flight[A, K, V]  // begins when this one, deserted, has returned; has callers
	before   *flight[A, K, V]  // the one whose next this is
	source   *settle.Core      // of a function that returns futures: that of its future
	inner    *Future[struct{}] // hangs on it
	cause    *error            // why it was deserted; set if inner is not there yet
}

// Value lets a call find the flights within which it is made: by their table.
func (fl *flight[A, K, V]) Value(key any) any {
	if key == any(fl.t) {
		return fl
	}
	return fl.lazyContext.Value(key)
}

// String keeps fmt from reading the fields.
func (fl *flight[A, K, V]) String() string { return "twill.Pooler context" }

// over reports whether the result is there, so that nobody joins any more: from
// when the function's future settled on, not only from when the handlers that it has
// itself put there have run. The table's lock must be held.
func (fl *flight[A, K, V]) over() bool {
	return fl.returned.Load() || fl.source != nil && fl.source.Peek()
}

// launch starts a flight that was begun.
func (t *table[A, K, V]) launch(fl *flight[A, K, V]) {
	if t.start == nil {
		go t.fly(fl)
		return
	}
	for fl != nil {
		fl = t.take(fl)
	}
}

// fly is the goroutine of a flight, and of those that wait for it.
func (t *table[A, K, V]) fly(fl *flight[A, K, V]) {
	called := true
	defer func() {
		if !called { // the function panicked or exits
			err := caught(recover())
			var none V
			if next := t.land(fl, none, err); next != nil {
				go t.fly(next)
			}
		}
	}()
	for fl != nil {
		called = false
		v, err := t.fn(fl, fl.arg)
		called = true
		fl = t.land(fl, v, err)
	}
}

// take calls a function that returns a future. It returns the flight to launch
// next, if this one has ended already.
func (t *table[A, K, V]) take(fl *flight[A, K, V]) (next *flight[A, K, V]) {
	called := false
	defer func() {
		if !called {
			err := caught(recover())
			var none V
			if next = t.land(fl, none, err); err == ErrGoexit && next != nil {
				go t.launch(next)
			}
		}
	}()
	f := t.start(fl, fl.arg)
	called = true
	if f == nil {
		f = Rejected[V](errNoFuture)
	}
	if f.core.Settled() {
		v, err := f.result()
		return t.land(fl, v, err)
	}
	inner := handle(f, func(v V, err error) (struct{}, error) {
		if next := t.land(fl, v, err); next != nil {
			t.launch(next)
		}
		return struct{}{}, nil
	})
	t.mu.Lock()
	fl.source, fl.inner = &f.core, inner
	cause := fl.cause
	t.mu.Unlock()
	if cause != nil { // deserted before there was a future to cancel
		inner.Cancel(*cause)
	}
	return nil
}

// land hands out the result of a flight whose function has returned. A flight
// that another one waits for has no callers any more: where there is a next, no user
// code runs here.
func (t *table[A, K, V]) land(fl *flight[A, K, V], v V, err error) (next *flight[A, K, V]) {
	fl.returned.Store(true) // from here on at the latest nobody joins
	next, idle := t.finish(fl)
	fl.end(nil)
	if idle != nil { // told last, and also if a handler ends the goroutine
		defer each(idle, func(w *idleWaiter[A, K, V]) { w.f.settle(struct{}{}, nil) })
	}
	if _, ok := err.(*PanicError); ok && fl.callers.n == 0 {
		report(err)
	}
	fl.deliver(v, err)
	return next
}

// deliver settles the callers' futures. If a handler ends the goroutine, a
// fresh one goes on.
func (fl *flight[A, K, V]) deliver(v V, err error) {
	done := false
	defer func() {
		if !done {
			go fl.deliver(v, err)
		}
	}()
	for c := fl.callers.pop(); c != nil; c = fl.callers.pop() {
		c.deliver(v, err)
	}
	done = true
}
