package twill

import (
	"context"

	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
)

// table is the calls of a [Pooler]. In flights is, for each key, the call that
// is joined or waited for; in running are those whose function is underway:
// these, and the ones that were forgotten.
type table[A any, K comparable, V any] struct {
	keyOf func(A) K
	fn    func(context.Context, A) (V, error) // one of these two
	start func(context.Context, A) *Future[V]

	// mu guards the fields below, and the fields of flights and callers that
	// say so. Functions are called, contexts ended and futures settled without it.
	mu      sched.Mutex
	flights keymap.Map[K, *flight[A, K, V]]
	running list.List[*flight[A, K, V]]
	idle    list.List[*idleWaiter[A, K, V]]
	calls   uint64
	merged  uint64
	waiting int // callers
}

func (t *table[A, K, V]) call(ctx context.Context, arg A) *Future[V] {
	key := t.keyOf(arg)
	if ctx.Err() != nil {
		return Rejected[V](&CanceledError{context.Cause(ctx)})
	}
	c, first := t.join(ctx, arg, key, t.within(ctx, key))
	if c == nil {
		return Rejected[V](ErrReentrant)
	}
	made(&c.f.core)
	if first != nil {
		return t.lead(ctx, c, first)
	}
	if ctx.Done() != nil {
		t.watch(ctx, c)
	}
	return &c.f
}

// lead is the end of call for the first caller of a flight.
func (t *table[A, K, V]) lead(ctx context.Context, c *poolerCaller[A, K, V], first *flight[A, K, V]) *Future[V] {
	defer t.launch(first) // also if ctx panics: others may have joined
	if ctx.Done() != nil {
		t.watch(ctx, c)
	}
	return &c.f
}

// within is the flight for key inside which ctx was made, nil if none. There
// may be several, if they were forgotten: only the innermost can still be joined.
func (t *table[A, K, V]) within(ctx context.Context, key K) *flight[A, K, V] {
	for {
		fl, ok := ctx.Value(t).(*flight[A, K, V])
		if !ok || fl.key == key {
			return fl
		}
		ctx = fl.base
	}
}

// join finds the flight for a key, and puts a new caller on it. It returns a
// flight that has to be launched, if there is one; and no caller, if that would
// have to wait for the flight within which it is made.
func (t *table[A, K, V]) join(ctx context.Context, arg A, key K, within *flight[A, K, V]) (c *poolerCaller[A, K, V], first *flight[A, K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock() // also if the key cannot be compared
	fl := t.flights.Get(key)
	if fl != nil && fl == within && !fl.over() {
		return nil, nil
	}
	t.calls++
	switch {
	case fl != nil && fl.deserted && fl.next != nil:
		fl = fl.next
		c = t.board(fl)
	case fl != nil && fl.deserted:
		fl.next = t.newFlight(ctx, arg, key)
		fl.next.before = fl
		fl = fl.next
		c = &fl.first
	case fl != nil && !fl.over():
		c = t.board(fl)
	default: // there is none, or one too late to join
		first = t.newFlight(ctx, arg, key)
		t.begin(first)
		fl, c = first, &first.first
	}
	fl.callers.push(c)
	t.waiting++
	return c, first
}

// board makes another caller of a flight.
func (t *table[A, K, V]) board(fl *flight[A, K, V]) *poolerCaller[A, K, V] {
	c := new(poolerCaller[A, K, V])
	c.prepare(fl)
	t.merged++
	return c
}

// newFlight makes a flight with its first caller.
func (t *table[A, K, V]) newFlight(ctx context.Context, arg A, key K) *flight[A, K, V] {
	fl := &flight[A, K, V]{t: t, arg: arg, key: key}
	fl.base = context.Background()
	if ctx != fl.base {
		fl.base = context.WithoutCancel(ctx)
	}
	fl.first.prepare(fl)
	return fl
}

// begin notes that a flight is about to be launched; the lock must be held.
func (t *table[A, K, V]) begin(fl *flight[A, K, V]) {
	fl.begun = true
	t.running.PushBack(fl)
	if findable(fl.key) { // else it could not be taken out again
		t.flights.Set(fl.key, fl)
	}
}

// finish takes a flight out whose function has returned. It returns the one
// that has waited for that, if any, already begun, and those who have waited
// for the pooler to be empty.
func (t *table[A, K, V]) finish(fl *flight[A, K, V]) (next *flight[A, K, V], idle []*idleWaiter[A, K, V]) {
	var none A
	t.mu.Lock()
	defer t.mu.Unlock()
	fl.finished = true
	fl.arg, fl.source, fl.inner = none, nil, nil // the first caller's future keeps the flight
	t.waiting -= fl.callers.n
	t.running.Remove(fl)
	if t.flights.Get(fl.key) == fl {
		if next = t.promote(fl); next == nil {
			t.flights.Delete(fl.key)
		}
	}
	if t.running.Len() == 0 {
		for w, ok := t.idle.PopFront(); ok; w, ok = t.idle.PopFront() {
			idle = append(idle, w)
		}
	}
	return next, idle
}

// promote begins the flight that waits for fl, if any; the lock must be held.
func (t *table[A, K, V]) promote(fl *flight[A, K, V]) *flight[A, K, V] {
	next := fl.next
	if next != nil {
		fl.next, next.before = nil, nil
		t.begin(next)
	}
	return next
}

func (t *table[A, K, V]) forget(arg A) bool {
	key := t.keyOf(arg)
	fl, next := t.drop(key)
	if next != nil {
		t.launch(next)
	}
	return fl != nil
}

// drop takes the flight for a key out of those that are joined or waited for.
func (t *table[A, K, V]) drop(key K) (fl, next *flight[A, K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fl = t.flights.Get(key); fl != nil {
		if next = t.promote(fl); next == nil {
			t.flights.Delete(key)
		}
	}
	return fl, next
}
