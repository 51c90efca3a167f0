package twill

import (
	"context"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// ErrReentrant is the failure of a call of a [Pooler], or of a
// [Dict.GetOrCompute], that was made from within the call that it would have to
// wait for.
var ErrReentrant = errors.New("twill: call waits for itself")

// Pooler calls a function once for all who ask for the same thing at the same
// time. Unlike golang.org/x/sync/singleflight it gives everyone a future of
// their own, ends a call when nobody waits for it any more, and turns a panic into an
// error. Unlike a cache it keeps no results: a call made when the one before
// has ended goes through. It mirrors DeferredPooler.
//
// Use [NewPooler] or one of its variants; the zero value panics. A Pooler must not
// be copied. Its methods may be called by several goroutines. The result is shared by all
// who asked; the Pooler keeps no reference to it.
//
// # What a call is
//
// Calls with equal keys share the one that is underway. The function gets a
// context with the values of the first caller's context, and neither its
// deadline nor its end. That context ends when the last caller has left, by a Cancel of
// the future or because their own context ended, and when the function has
// returned. A caller who leaves does not touch the others.
//
// Nobody joins a call that was cancelled, or whose function has returned. The
// function never runs twice at a time for one key: a call that comes after all
// callers have left starts when the cancelled one has returned, unless [Pooler.Forget]
// says otherwise. A key is free before its results are handed out, in the order in
// which the callers came: a handler that calls again gets a new call.
//
// If the function panics or ends its goroutine, that is the failure of all
// callers, a [*PanicError] or [ErrGoexit], and the key is free. A call that is made
// for the same key from within the function, with the context it was given or one made
// from that, fails with [ErrReentrant] instead of waiting for itself.
//
// The function of NewPooler runs on a goroutine of its own; so do the handlers of
// its futures. A key that does not equal itself, such as a NaN, is shared
// with nobody; an interface that cannot be compared panics at the caller.
type Pooler[A, V any] struct {
	p pooling[A, V]
}

// pooling is a [table] without the type of its key.
type pooling[A, V any] interface {
	call(ctx context.Context, arg A) *Future[V]
	forget(arg A) bool
	cancelAll(cause error)
	underway() []A
	stats() PoolerStats
	empty() *Future[struct{}]
}

// NewPooler returns a pooler of fn, whose argument is the key.
func NewPooler[K comparable, V any](fn func(ctx context.Context, key K) (V, error)) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPooler with a nil function")
	}
	return NewPoolerFunc(func(k K) K { return k }, fn)
}

// NewPoolerFunc returns a pooler of fn, with arguments that are no map key: calls
// are equal if keyOf gives equal keys, and of these fn gets the argument of the
// first. keyOf runs on the goroutine of the caller, under no lock.
func NewPoolerFunc[A any, K comparable, V any](keyOf func(A) K, fn func(ctx context.Context, arg A) (V, error)) *Pooler[A, V] {
	if keyOf == nil || fn == nil {
		panic("twill: NewPoolerFunc with a nil function")
	}
	return &Pooler[A, V]{&table[A, K, V]{keyOf: keyOf, fn: fn}}
}

// NewPoolerFuture returns a pooler of a function that returns a future. fn
// starts on the goroutine of the first caller, before Call returns, and should
// not block; the call is underway until its future settles, on whose goroutine the
// callers' handlers run. When the last caller leaves, that future is cancelled
// by the rules of [Future.Cancel].
func NewPoolerFuture[K comparable, V any](fn func(ctx context.Context, key K) *Future[V]) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPoolerFuture with a nil function")
	}
	return &Pooler[K, V]{&table[K, K, V]{keyOf: func(k K) K { return k }, start: fn}}
}

// Call calls the function, or joins the call for an equal key that is underway.
// If ctx ends, the caller leaves, and the future fails with a
// [*CanceledError] whose cause is that of ctx; so it does, and nothing is
// called, if ctx has ended already.
func (p *Pooler[A, V]) Call(ctx context.Context, arg A) *Future[V] {
	if ctx == nil {
		panic("twill: Call with a nil context")
	}
	return p.made().call(ctx, arg)
}

// Forget lets the next call with an equal key go through at once, even if one is
// underway: that goes on for those who have joined it. It reports whether one
// was.
func (p *Pooler[A, V]) Forget(arg A) bool { return p.made().forget(arg) }

// CancelAll cancels the futures of all callers, in the order in which the calls
// started and the callers came, each by its own Cancel(cause).
func (p *Pooler[A, V]) CancelAll(cause error) { p.made().cancelAll(cause) }

// Empty returns a future that settles when no function is underway: at once if
// that is so now. Calls whose callers have left count until their function has
// returned.
func (p *Pooler[A, V]) Empty() *Future[struct{}] { return p.made().empty() }

// Len returns the number of functions that are underway.
func (p *Pooler[A, V]) Len() int { return p.Stats().Underway }

// All walks the arguments of the calls that are underway, in the order in which
// they started, as they are when the walk begins.
func (p *Pooler[A, V]) All() iter.Seq[A] {
	t := p.made()
	return func(yield func(A) bool) {
		for _, arg := range t.underway() {
			if !yield(arg) {
				return
			}
		}
	}
}

// Stats tells how the pooler is doing.
func (p *Pooler[A, V]) Stats() PoolerStats { return p.made().stats() }

// PoolerStats is what [Pooler.Stats] tells.
type PoolerStats struct {
	Calls    uint64 // calls of Call that were let in
	Merged   uint64 // those of them that joined another one's call
	Underway int    // functions that are underway
	Waiting  int    // callers that wait for their result
}

func (p *Pooler[A, V]) made() pooling[A, V] {
	if p.p == nil {
		panic("twill: a Pooler is made by NewPooler")
	}
	return p.p
}

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
		fl.End(cause)
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

// flight is one call of the function, and the context it is given.
type flight[A any, K comparable, V any] struct {
	lazyctx.Context
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
	return fl.Context.Value(key)
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
	fl.End(nil)
	if idle != nil { // told last, and also if a handler ends the goroutine
		defer each(idle, func(w *waiter[struct{}]) { w.serve(nil, struct{}{}) })
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
	idle    list.List[*waiter[struct{}]]
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
	settle.Made(&c.f.core)
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
		ctx = fl.Base
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
	fl.Base = context.Background()
	if ctx != fl.Base {
		fl.Base = context.WithoutCancel(ctx)
	}
	fl.first.prepare(fl)
	return fl
}

// begin notes that a flight is about to be launched; the lock must be held.
func (t *table[A, K, V]) begin(fl *flight[A, K, V]) {
	fl.begun = true
	t.running.PushBack(fl)
	if keymap.Findable(fl.key) { // else it could not be taken out again
		t.flights.Set(fl.key, fl)
	}
}

// finish takes a flight out whose function has returned. It returns the one
// that has waited for that, if any, already begun, and those who have waited
// for the pooler to be empty.
func (t *table[A, K, V]) finish(fl *flight[A, K, V]) (next *flight[A, K, V], idle []*waiter[struct{}]) {
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

func (t *table[A, K, V]) empty() *Future[struct{}] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running.Len() == 0 {
		return Resolved(struct{}{})
	}
	w := new(waiter[struct{}])
	w.init(t)
	t.idle.PushBack(w)
	return &w.f
}

func (t *table[A, K, V]) cancelAll(cause error) {
	t.mu.Lock()
	all := make([]*Future[V], 0, t.waiting)
	for fl := range t.running.All() {
		for at := fl; at != nil; at = at.next {
			for c := at.callers.head; c != nil; c = c.next {
				all = append(all, &c.f)
			}
		}
	}
	t.mu.Unlock()
	each(all, func(f *Future[V]) { f.Cancel(cause) })
}

func (t *table[A, K, V]) underway() []A {
	t.mu.Lock()
	defer t.mu.Unlock()
	args := make([]A, 0, t.running.Len())
	for fl := range t.running.All() {
		args = append(args, fl.arg)
	}
	return args
}

func (t *table[A, K, V]) stats() PoolerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return PoolerStats{Calls: t.calls, Merged: t.merged, Underway: t.running.Len(), Waiting: t.waiting}
}

// leave takes a future of Empty out of the line.
func (t *table[A, K, V]) leave(w *waiter[struct{}]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idle.Remove(w)
}

func (t *table[A, K, V]) target(w *waiter[struct{}]) *Future[struct{}] { return &w.f }
