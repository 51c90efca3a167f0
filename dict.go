package twill

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"sync/atomic"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// Dict is a map in which a get of a missing key returns a future that is
// settled when the key is set. Unlike [sync.Map], it is a place to exchange
// values that are not available yet. It is the equivalent of the recipe
// DeferredDict.
//
// The zero value is empty and ready to use. A Dict must not be copied after
// first use. Its methods may be called concurrently; a Set synchronizes before
// every get that returns its value. Keys and values belong to the caller; all
// callers that get a value share it. As in a map, a key that does not equal
// itself, such as a NaN, is never found, and a key that cannot be compared
// panics.
//
// Set first stores the value, and then settles the futures that wait for the
// key, in the order in which they were made: their handlers run on the
// goroutine that calls Set, under no lock, and may use the Dict, even for the
// same key.
type Dict[K comparable, V any] struct {
	// mu guards the fields below. Only map accesses and list operations are made
	// while it is held; futures are settled and functions called without it.
	mu      sched.RWMutex
	slots   keymap.Map[K, *dictSlot[K, V]]
	never   *dictSlot[K, V] // the line of keys that do not equal themselves; made on first use
	n       int             // number of slots with a value; the others have waiters
	waiting int             // number of waiters, in all lines
	came    uint64          // number of the last waiter
	closed  error           // the failure of gets that would wait; nil if open

	pooler *Pooler[computation, any] // made by the first GetOrCompute
}

// dictSlot is the state of a key: either a value or a line of waiters.
type dictSlot[K comparable, V any] struct {
	value     *Future[V]                   // settled, and shared by all gets
	line      list.List[*dictWaiter[K, V]] // after it was taken, no waiter is added to it
	forgotten uint64                       // number of the last waiter whose computation is not stored
	d         *Dict[K, V]
	k         K
}

// Get returns a future of the value of k. The future is settled if k is set,
// and otherwise the next Set of k settles it. It fails with the error of a Fail
// for k, and with the error of Close. Canceling it withdraws the get.
//
// An Await that gives up does not withdraw the get, which takes memory until
// the key is set. To bound the wait by a context, use [Dict.GetWait].
func (d *Dict[K, V]) Get(k K) *Future[V] {
	if f := d.value(k); f != nil {
		return f
	}
	w := new(dictWaiter[K, V])
	w.init(w)
	f, _, err := d.wait(w, k)
	if err != nil {
		return Rejected[V](err)
	}
	return f
}

// GetWait returns the value of k, and blocks until k is set. If ctx ends first,
// it returns [context.Cause] of ctx and leaves nothing behind. It returns the
// error of a Fail for k, and the error of Close.
func (d *Dict[K, V]) GetWait(ctx context.Context, k K) (V, error) {
	var none V
	if ctx == nil {
		panic("twill: GetWait with a nil context")
	}
	if f := d.value(k); f != nil {
		return f.val, nil
	}
	if ctx.Err() != nil {
		return none, context.Cause(ctx)
	}
	w := &dictWaiter[K, V]{ctx: ctx}
	w.init(w)
	f, slot, err := d.wait(w, k)
	switch {
	case err != nil:
		return none, err
	case slot == nil:
		return f.val, nil // it was set after the first lookup
	}
	if err := w.f.core.Wait(ctx); err != nil {
		if slot.remove(w) {
			return none, err
		}
		_ = w.f.core.Wait(context.Background()) // another goroutine serves or refuses it now
	}
	if w.f.core.Canceled() {
		return none, context.Cause(ctx)
	}
	return w.f.result()
}

// Lookup returns the value of k, and whether k is set. It never waits.
func (d *Dict[K, V]) Lookup(k K) (V, bool) {
	if f := d.value(k); f != nil {
		return f.val, true
	}
	var none V
	return none, false
}

// Set stores v as the value of k, replacing the previous value, and gives it to
// all gets that wait for k. After Close it returns [ErrClosed].
func (d *Dict[K, V]) Set(k K, v V) error {
	_, waiters, err := d.store(k, Resolved(v), func(*Future[V]) bool { return true })
	serveAll(waiters, v, nil)
	return err
}

// Fail makes the gets that now wait for k fail with err. Nothing is stored: the
// next Get of k waits again. If k is set, no get waits for it, and Fail does
// nothing. It panics if err is nil.
func (d *Dict[K, V]) Fail(k K, err error) {
	if err == nil {
		panic("twill: Fail with a nil error")
	}
	var none V
	serveAll(d.takeMissing(k), none, err)
}

// Delete removes k, and reports whether it was set. If it was not set, the gets
// that wait for k continue to wait.
//
// A function that GetOrCompute is running for k is forgotten, as by
// [Dict.Forget]: its value is not stored after the Delete.
func (d *Dict[K, V]) Delete(k K) bool {
	d.forgetCall(k)
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(k)
	if slot.future() == nil {
		slot.forgetLocked()
		return false
	}
	d.n--
	d.slots.Delete(k)
	return true
}

// Update sets k to the value that fn returns for its present value, and returns
// the new value. ok is true if k is set; otherwise old is zero. If fn returns
// an error, nothing changes and Update returns that error. After Close it
// returns [ErrClosed].
//
// fn runs on the caller's goroutine, under no lock. If k changes while fn runs,
// fn is called again with the newer value.
func (d *Dict[K, V]) Update(k K, fn func(old V, ok bool) (V, error)) (V, error) {
	if fn == nil {
		panic("twill: Update with a nil function")
	}
	var none V
	for now := d.value(k); ; {
		old := none
		if now != nil {
			old = now.val
		}
		v, err := fn(old, now != nil)
		if err != nil {
			return none, err
		}
		f, seen := Resolved(v), now
		var waiters list.List[*dictWaiter[K, V]]
		now, waiters, err = d.store(k, f, func(now *Future[V]) bool { return now == seen })
		if err != nil {
			return none, err
		}
		if now == f {
			serveAll(waiters, v, nil)
			return v, nil
		}
	}
}

// GetOrCompute is Get that calls fn, on a new goroutine, to compute the value
// of a missing key. Concurrent calls for the same key share one call of fn. Its
// value is stored, unless the key is set before fn returns: then all futures
// have the value that was set, as soon as it is set. If fn fails, panics or
// ends its goroutine, the futures of GetOrCompute fail with that error and
// nothing is stored; the futures of Get continue to wait. A value for a key
// that does not equal itself is given to the caller, and not stored.
//
// fn's context has the values of ctx. It ends when the value is no longer
// needed: when all of these futures were canceled or the contexts of their
// callers have ended, or when the key is set. As with a [Pooler], fn is never
// called while another call for the same key is running, except after
// [Dict.Forget] and Delete. It is not called if the contexts of all callers
// have ended. If fn calls GetOrCompute for the same key, that call fails with
// [ErrReentrant]. A future whose context ends fails with a [*CanceledError] for
// the cause.
func (d *Dict[K, V]) GetOrCompute(ctx context.Context, k K, fn func(context.Context) (V, error)) *Future[V] {
	if ctx == nil {
		panic("twill: GetOrCompute with a nil context")
	}
	if fn == nil {
		panic("twill: GetOrCompute with a nil function")
	}
	if f := d.value(k); f != nil {
		return f
	}
	if ctx.Err() != nil {
		return endedFuture[V](ctx)
	}
	pooler, err := d.computing()
	if err != nil {
		return Rejected[V](err)
	}
	w := new(computeWaiter[K, V])
	w.ctx = ctx
	w.init(w)
	f, slot, err := d.wait(&w.dictWaiter, k)
	switch {
	case err != nil:
		return Rejected[V](err)
	case slot == nil:
		return f // it was set after the first lookup
	}
	came := w.came
	call := w.ask(ctx, slot, pooler, computation{k, func(ctx context.Context) (any, error) {
		return d.compute(ctx, k, fn, slot, came)
	}})
	w.call.Store(call)
	if w.f.core.Settled() {
		w.leave() // it was settled before it could leave a call
	}
	return &w.f
}

// Forget makes the next GetOrCompute for k call its function at once, even if
// another function is running for k. That function goes on, and its callers get
// its value or failure, but the value is not stored. Forget reports whether a
// function was running.
func (d *Dict[K, V]) Forget(k K) bool {
	forgot := d.forgetCall(k)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.slots.Get(k).forgetLocked()
	return forgot
}

// Len returns the number of keys that are set.
func (d *Dict[K, V]) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.n
}

// All iterates over the keys that are set and their values, in no particular
// order, as they are when the loop begins. The body of the loop may use the
// Dict.
func (d *Dict[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		type entry struct {
			k K
			v V
		}
		d.mu.RLock()
		entries := make([]entry, 0, d.n)
		for k, slot := range d.slots.All() {
			if slot.value != nil {
				entries = append(entries, entry{k, slot.value.val})
			}
		}
		d.mu.RUnlock()
		for _, e := range entries {
			if !yield(e.k, e.v) {
				return
			}
		}
	}
}

// Waiting returns the number of waiting gets, for all keys together.
func (d *Dict[K, V]) Waiting() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.waiting
}

// WaitingFor returns the number of gets that wait for k.
func (d *Dict[K, V]) WaitingFor(k K) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if slot := d.slots.Get(k); slot != nil {
		return slot.line.Len()
	}
	return 0
}

// Close makes all waiting gets fail with err, in the order in which they were
// made, and every later get of a missing key fail with err at once. A nil err
// means [ErrClosed]. Values that are set can still be read and deleted; Set
// returns ErrClosed. A second Close does nothing.
func (d *Dict[K, V]) Close(err error) {
	if err == nil {
		err = ErrClosed
	}
	var none V
	each(d.close(err), func(w *dictWaiter[K, V]) { w.serve(none, err) })
}

// String returns the type, and how many keys d has and how many gets wait.
func (d *Dict[K, V]) String() string {
	return printed("Dict", fmt.Sprintf("%d keys, %d waiting", d.Len(), d.Waiting()), reflect.TypeFor[K](), reflect.TypeFor[V]())
}

// GoString returns the text of String, for %#v.
func (d *Dict[K, V]) GoString() string { return d.String() }

// LogValue returns the text of String, for package slog.
func (d *Dict[K, V]) LogValue() slog.Value { return slog.StringValue(d.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (d *Dict[K, V]) Format(s fmt.State, verb rune) { formatText(s, verb, d.String()) }

// value returns the future of k's value, or nil if k is not set.
func (d *Dict[K, V]) value(k K) *Future[V] {
	d.mu.RLock()
	defer d.mu.RUnlock() // deferred, as a key that cannot be compared panics
	return d.slots.Get(k).future()
}

// future returns the future of the value, or nil if there is no value, or no
// slot.
func (s *dictSlot[K, V]) future() *Future[V] {
	if s == nil {
		return nil
	}
	return s.value
}

// store makes f the value of k if right returns true for the present value,
// which is nil if k is not set. It returns the value afterwards, and the
// waiters to serve with f.
func (d *Dict[K, V]) store(k K, f *Future[V], right func(now *Future[V]) bool) (now *Future[V], waiters list.List[*dictWaiter[K, V]], err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(k)
	now = slot.future()
	if d.closed != nil {
		return now, waiters, ErrClosed
	}
	if !right(now) {
		return now, waiters, nil
	}
	if now == nil {
		d.n++
	}
	if slot == nil {
		d.slots.Set(k, &dictSlot[K, V]{value: f, d: d})
		return f, waiters, nil
	}
	slot.value = f
	return f, d.takeLocked(slot), nil
}

// takeMissing removes the line of k from the Dict, and returns it, if k is not
// set.
func (d *Dict[K, V]) takeMissing(k K) (waiters list.List[*dictWaiter[K, V]]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(k)
	if slot == nil || slot.value != nil {
		return waiters
	}
	d.slots.Delete(k)
	return d.takeLocked(slot)
}

// takeLocked empties the line of a slot. No waiter is added to it from then on,
// and only the caller uses the links of its waiters.
func (d *Dict[K, V]) takeLocked(slot *dictSlot[K, V]) list.List[*dictWaiter[K, V]] {
	line := slot.line
	d.waiting -= line.Len()
	slot.line = list.List[*dictWaiter[K, V]]{}
	return line
}

// close removes all waiters.
func (d *Dict[K, V]) close(err error) []*dictWaiter[K, V] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		return nil
	}
	d.closed = err
	all := make([]*dictWaiter[K, V], 0, d.waiting)
	take := func(slot *dictSlot[K, V]) {
		line := d.takeLocked(slot)
		for w, ok := line.PopFront(); ok; w, ok = line.PopFront() {
			all = append(all, w)
		}
	}
	var keys []K
	for k, slot := range d.slots.All() {
		if slot.value == nil {
			keys = append(keys, k)
			take(slot)
		}
	}
	if d.never != nil {
		take(d.never)
	}
	for _, k := range keys {
		d.slots.Delete(k)
	}
	return heap.Sort(all, func(w *dictWaiter[K, V]) heap.Key { return heap.Key{Seq: w.came} })
}

// dictWaiter is a get of a missing key. Unlike a [waiter] it receives a value
// that others receive too; its line is that of a key.
type dictWaiter[K comparable, V any] struct {
	root[V]
	list.Links[*dictWaiter[K, V]]
	slot *dictSlot[K, V] // the slot whose line it is or was in
	came uint64          // its number
	ctx  context.Context // bounds the wait; may be nil
}

func (w *dictWaiter[K, V]) init(node settle.Node) {
	w.link.Do = node
	w.f.core.SetUp(&w.link)
	settle.Made(&w.f.core)
}

// wait adds w to the line of k, and returns its future and the slot. If k is
// set it returns the future of the value, and no slot.
func (d *Dict[K, V]) wait(w *dictWaiter[K, V], k K) (*Future[V], *dictSlot[K, V], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(k)
	if f := slot.future(); f != nil {
		return f, nil, nil
	}
	if d.closed != nil {
		return nil, nil, d.closed
	}
	switch {
	case !keymap.Findable(k): // such a key could not be removed from slots again
		if slot = d.never; slot == nil {
			slot = &dictSlot[K, V]{d: d, k: k}
			d.never = slot
		}
	case slot == nil:
		slot = &dictSlot[K, V]{d: d, k: k}
		d.slots.Set(k, slot)
	}
	w.slot = slot
	slot.line.PushBack(w)
	d.came++
	w.came = d.came
	d.waiting++
	return &w.f, slot, nil
}

// remove takes w out of the line, and reports whether it was in the line. If
// the line is empty after that, the key is removed from the Dict.
func (s *dictSlot[K, V]) remove(w *dictWaiter[K, V]) bool {
	d := s.d // s.k cannot be found in a map if s is d.never
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.line.Len() == 0 || !s.line.Remove(w) { // the links of a line that was taken must not be read
		return false
	}
	d.waiting--
	if s.line.Len() == 0 {
		d.slots.Delete(s.k)
	}
	return true
}

// has reports whether w is in the line.
func (s *dictSlot[K, V]) has(w *dictWaiter[K, V]) bool {
	s.d.mu.RLock()
	defer s.d.mu.RUnlock()
	return s.line.Len() > 0 && s.line.Has(w)
}

// serve settles the future of a waiter that was taken out of its line. If the
// context of its caller has ended, the future is canceled.
func (w *dictWaiter[K, V]) serve(v V, err error) {
	var none V
	var fail *settle.Failure
	switch {
	case w.ctx != nil && w.ctx.Err() != nil:
		v, fail = none, canceledBy(w.ctx)
	case err != nil:
		v, fail = none, settle.NewFailure(err)
	}
	word, ok := w.f.core.Begin()
	if !ok {
		return
	}
	w.f.val = v
	w.ctx = nil
	if !settle.Underway(word) { // otherwise a cancel may still need the slot
		w.slot = nil
	}
	list := w.f.core.Publish(word, fail)
	if h, ok := w.link.Do.(leaver); ok {
		h.leave()
	}
	if list != nil {
		settle.Drain(&w.f.core, list)
	}
}

// serveAll serves waiters in their order. If a handler ends the goroutine, a
// new goroutine continues.
func serveAll[K comparable, V any](waiters list.List[*dictWaiter[K, V]], v V, err error) {
	defer func() {
		if waiters.Len() > 0 {
			go serveAll(waiters, v, err)
		}
	}()
	for w, ok := waiters.PopFront(); ok; w, ok = waiters.PopFront() {
		w.serve(v, err)
	}
}

// Fire is called when the get is canceled.
func (w *dictWaiter[K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.leaveLine()
	return w.end(left)
}

// leaveLine takes w out of its line because of a cancel.
func (w *dictWaiter[K, V]) leaveLine() {
	if w.slot.remove(w) {
		w.slot, w.ctx = nil, nil
	}
}

// computation is the argument of the pooler of a Dict. That pooler has the same
// type for all types of Dicts, since a pooler is much code: its keys are those
// of the Dict, and its results are of type computed.
type computation struct {
	k  any
	fn func(context.Context) (any, error)
}

// computed is the result of a computation.
type computed[V any] struct {
	v      V
	stored bool // by this call or by another
}

// computing is the pooler that calls the functions of GetOrCompute.
func (d *Dict[K, V]) computing() (*Pooler[computation, any], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		return nil, d.closed
	}
	if d.pooler == nil {
		d.pooler = newComputing()
	}
	return d.pooler, nil
}

func newComputing() *Pooler[computation, any] {
	return NewPoolerFunc(
		func(c computation) any { return c.k },
		func(ctx context.Context, c computation) (any, error) { return c.fn(ctx) },
	)
}

// compute calls fn for k. slot is that of the first caller, whose number is
// came.
func (d *Dict[K, V]) compute(ctx context.Context, k K, fn func(context.Context) (V, error), slot *dictSlot[K, V], came uint64) (computed[V], error) {
	if v, ok := d.Lookup(k); ok {
		return computed[V]{v, true}, nil // set after the get found it missing
	}
	v, err := fn(ctx)
	if !keymap.Findable(k) || err != nil || ctx.Err() != nil { // a value that is no longer needed is not stored
		return computed[V]{v: v}, err
	}
	f := Resolved(v)
	now, waiters, err := d.store(k, f, func(now *Future[V]) bool {
		return now == nil && d.slots.Get(k) == slot && slot.forgotten < came
	})
	if err != nil || now == nil {
		return computed[V]{v: v}, err
	}
	if now == f {
		serveAll(waiters, v, nil)
	}
	return computed[V]{now.val, true}, nil
}

// forgetCall makes the next GetOrCompute for k start its own call.
func (d *Dict[K, V]) forgetCall(k K) bool {
	d.mu.RLock()
	pooler := d.pooler
	d.mu.RUnlock()
	return pooler != nil && pooler.Forget(computation{k: k})
}

// forgetLocked prevents the value that is being computed from being stored.
func (s *dictSlot[K, V]) forgetLocked() {
	if s != nil {
		s.forgotten = s.d.came
	}
}

// computeWaiter is a dictWaiter that is a caller of the pooler.
type computeWaiter[K comparable, V any] struct {
	dictWaiter[K, V]
	call atomic.Pointer[Future[struct{}]]
}

// ask calls the function, or joins the running call. A value that is stored
// reaches w through the Dict.
func (w *computeWaiter[K, V]) ask(ctx context.Context, slot *dictSlot[K, V], pooler *Pooler[computation, any], c computation) *Future[struct{}] {
	return HandleFuture(pooler.Call(ctx, c), func(result any, err error) *Future[struct{}] {
		got, _ := result.(computed[V]) // or zero, after an error
		switch {
		case err == nil && got.stored:
			if slot.has(&w.dictWaiter) {
				return w.ask(ctx, slot, pooler, c) // stored and deleted again before w was in line
			}
		case slot.remove(&w.dictWaiter): // otherwise it gets a value that another goroutine has stored
			w.serve(got.v, err)
		}
		return Resolved(struct{}{})
	})
}

// leave is called when the key is set, or the wait has failed.
func (w *computeWaiter[K, V]) leave() {
	if call := w.call.Swap(nil); call != nil {
		call.Cancel(ErrNotNeeded)
	}
}

// Fire is called when the wait is canceled.
func (w *computeWaiter[K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.leaveLine()
	core, list := w.end(left) // before the call is left, whose failure would come first
	if call := w.call.Swap(nil); call != nil {
		call.Cancel(causeOf(left.Err))
	}
	return core, list
}
