package twill

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// Dict is a map in which a get of a missing key is a future: it is settled
// when somebody sets the key. Unlike a [sync.Map] it is a place to exchange
// values that are not there yet. It mirrors the DeferredDict by which Twisted
// programs do that.
//
// The zero value is empty and ready to use. A Dict must not be copied after first
// use. Its methods may be called by several goroutines; a Set synchronizes
// before what sees its value. Keys and values belong to the caller; the
// values are handed out to everyone who gets them. As in a map, a key that does
// not equal itself, such as a NaN, is never found, and one that cannot be
// compared panics.
//
// A Set stores first, and then settles the futures that wait for its key, in
// the order in which they came: their handlers run on the goroutine that sets,
// under no lock, and may use the Dict, also for the same key.
type Dict[K comparable, V any] struct {
	// mu guards the fields below. Under it are map accesses and list
	// operations; futures are settled and functions called without it.
	mu      sched.RWMutex
	slots   keymap.Map[K, *dictSlot[K, V]]
	never   dictSlot[K, V] // the line of keys that do not equal themselves
	n       int            // slots that hold a value; the others are waited for
	waiting int            // waiters, on all lines
	came    uint64         // waiters that ever came
	closed  error          // what a wait would fail with; nil while open
	pooler  *Pooler[computation[K, V], V]
}

// dictSlot is what there is of a key: one of the two.
type dictSlot[K comparable, V any] struct {
	value *Future[V]                   // settled, and shared by all who get it
	line  list.List[*dictWaiter[K, V]] // those who wait
}

// Get returns a future of the value of k: a settled one if k is there, and else
// one that is settled by the next Set of k. That one fails with what Fail
// says, and when the Dict is closed. A Cancel of it withdraws the get.
func (d *Dict[K, V]) Get(k K) *Future[V] {
	if f := d.value(k); f != nil {
		return f
	}
	w := &dictWaiter[K, V]{d: d, k: k}
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	settle.Made(&w.f.core)
	f, err := d.wait(w)
	if err != nil {
		return Rejected[V](err)
	}
	return f
}

// value is the future of k's value, nil if there is none.
func (d *Dict[K, V]) value(k K) *Future[V] {
	d.mu.RLock()
	defer d.mu.RUnlock() // also if k cannot be compared
	return d.slots.Get(k).future()
}

// future is that of the value; nil if there is none, or no slot.
func (s *dictSlot[K, V]) future() *Future[V] {
	if s == nil {
		return nil
	}
	return s.value
}

// Lookup returns the value of k, and whether k is there. It never waits.
func (d *Dict[K, V]) Lookup(k K) (V, bool) {
	if f := d.value(k); f != nil {
		return f.val, true
	}
	var none V
	return none, false
}

// Set stores v as the value of k, in place of the one that may be there, and
// gives it to all who wait for k. After Close it returns [ErrClosed].
func (d *Dict[K, V]) Set(k K, v V) error {
	_, waiters, err := d.store(k, Resolved(v), func(*Future[V]) bool { return true })
	tell(waiters, v, nil)
	return err
}

// store makes f the value of k if what is there now, nil for nothing, is right.
// It returns what is there afterwards, and those to be told of f.
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
		d.slots.Set(k, &dictSlot[K, V]{value: f})
		return f, waiters, nil
	}
	slot.value = f
	return f, d.take(slot), nil
}

// Fail has those who wait for k now fail with err. Nothing is stored: the next
// Get of k waits again. If k is there, nobody waits, and Fail does nothing. It
// panics if err is nil.
func (d *Dict[K, V]) Fail(k K, err error) {
	if err == nil {
		panic("twill: Fail with a nil error")
	}
	var none V
	tell(d.remove(k), none, err)
}

// remove takes those who wait for k out.
func (d *Dict[K, V]) remove(k K) (waiters list.List[*dictWaiter[K, V]]) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(k)
	if slot == nil || slot.value != nil {
		return waiters
	}
	d.slots.Delete(k)
	return d.take(slot)
}

// Delete takes k out, and reports whether it was there. Those who wait for k, as
// it was not, go on waiting.
func (d *Dict[K, V]) Delete(k K) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slots.Get(k).future() == nil {
		return false
	}
	d.n--
	d.slots.Delete(k)
	return true
}

// Update sets k to what fn makes of its value, and returns that. ok tells fn
// whether k is there; if not, old is zero. If fn returns an error nothing is
// changed, and Update returns that error, or [ErrClosed] after Close.
//
// fn runs on the caller's goroutine, under no lock. If k was changed meanwhile,
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
			tell(waiters, v, nil)
			return v, nil
		}
	}
}

// Len returns the number of keys that are there.
func (d *Dict[K, V]) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.n
}

// All walks the keys that are there and their values, in no particular order,
// as they are when the walk begins. The body of the loop may use the Dict.
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

// Waiting returns the number of futures that wait for a key, WaitingFor that
// for one key.
func (d *Dict[K, V]) Waiting() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.waiting
}

// WaitingFor returns the number of futures that wait for k.
func (d *Dict[K, V]) WaitingFor(k K) int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if slot := d.slots.Get(k); slot != nil {
		return slot.line.Len()
	}
	return 0
}

// Close has all who wait fail with err, in the order in which they came, and
// every later wait fail with it at once; if err is nil, with [ErrClosed]. What is
// there can still be got and deleted; setting it gives ErrClosed. A second Close
// does nothing.
func (d *Dict[K, V]) Close(err error) {
	if err == nil {
		err = ErrClosed
	}
	each(d.close(err), func(w *dictWaiter[K, V]) { w.fail(err) })
}

// close takes all who wait out.
func (d *Dict[K, V]) close(err error) []*dictWaiter[K, V] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		return nil
	}
	d.closed = err
	all := make([]*dictWaiter[K, V], 0, d.waiting)
	take := func(slot *dictSlot[K, V]) {
		line := d.take(slot)
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
	take(&d.never)
	for _, k := range keys {
		d.slots.Delete(k)
	}
	slices.SortFunc(all, func(a, b *dictWaiter[K, V]) int { return cmp.Compare(a.came, b.came) })
	return all
}

// dictWaiter is the future of a get of a missing key.
type dictWaiter[K comparable, V any] struct {
	root[V]
	list.Links[*dictWaiter[K, V]]
	d    *Dict[K, V]
	k    K
	slot *dictSlot[K, V] // on whose line it is, nil if on none; guarded by d.mu
	came uint64
}

// wait puts w into the line of its key. It returns its future, or that of the
// value if it came meanwhile.
func (d *Dict[K, V]) wait(w *dictWaiter[K, V]) (*Future[V], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(w.k)
	if f := slot.future(); f != nil {
		return f, nil
	}
	if d.closed != nil {
		return nil, d.closed
	}
	switch {
	case !keymap.Findable(w.k):
		slot = &d.never // in slots it could not be taken out again
	case slot == nil:
		slot = new(dictSlot[K, V])
		d.slots.Set(w.k, slot)
	}
	w.slot = slot
	slot.line.PushBack(w)
	d.came++
	w.came = d.came
	d.waiting++
	return &w.f, nil
}

// take empties the line of a slot; the lock must be held. From then on the
// waiters' links are the caller's alone.
func (d *Dict[K, V]) take(slot *dictSlot[K, V]) list.List[*dictWaiter[K, V]] {
	line := slot.line
	for w := range line.All() {
		w.slot = nil
	}
	d.waiting -= line.Len()
	slot.line = list.List[*dictWaiter[K, V]]{}
	return line
}

// tell settles the futures of those who waited. If a handler ends the
// goroutine, a fresh one goes on.
func tell[K comparable, V any](waiters list.List[*dictWaiter[K, V]], v V, err error) {
	defer func() {
		if waiters.Len() > 0 {
			go tell(waiters, v, err)
		}
	}()
	for w, ok := waiters.PopFront(); ok; w, ok = waiters.PopFront() {
		w.f.settleResult(v, err)
	}
}

// part takes w out of its line, and reports whether it was there: if not, it was
// settled, or whoever took it out is about to do that. The last one takes the
// line out of the Dict.
func (w *dictWaiter[K, V]) part() bool {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := w.slot
	if slot == nil {
		return false
	}
	slot.line.Remove(w)
	w.slot = nil
	d.waiting--
	if slot.line.Len() == 0 {
		d.slots.Delete(w.k)
	}
	return true
}

// waits reports whether w is on a line.
func (w *dictWaiter[K, V]) waits() bool {
	w.d.mu.RLock()
	defer w.d.mu.RUnlock()
	return w.slot != nil
}

func (w *dictWaiter[K, V]) fail(err error) {
	var none V
	w.f.settle(none, settle.NewFailure(err))
}

// Fire is called when the get is cancelled.
func (w *dictWaiter[K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.part()
	return w.end(left)
}

// GetOrCompute is Get that has fn called, on a goroutine of its own, to make
// the value of a missing key. Those who ask for the same key while fn runs share
// that one call. Its value is stored, unless the key was set meanwhile: then that is
// what everybody gets, at the time it was set. If fn fails, panics or ends its
// goroutine, the futures of GetOrCompute fail with that and nothing is stored;
// those of Get go on waiting. What fn makes for a key that does not equal itself
// goes to the one who asked, and is not stored.
//
// fn gets a context with the values of ctx, which ends when nobody needs fn any more:
// when the last of these futures was cancelled, or their contexts ended, or the key
// was set. As with a [Pooler], fn is never called twice at a time for a key, and a
// GetOrCompute for a key within fn for the same key fails with [ErrReentrant].
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
	pooler, err := d.computing()
	if err != nil {
		return Rejected[V](err)
	}
	w := &computeWaiter[K, V]{dictWaiter: dictWaiter[K, V]{d: d, k: k}}
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	settle.Made(&w.f.core)

	f, err := d.wait(&w.dictWaiter)
	if err != nil {
		return Rejected[V](err)
	}
	if f != &w.f {
		return f // it came meanwhile
	}
	w.call.Store(w.ask(ctx, pooler, computation[K, V]{k, fn}))
	if w.f.core.Settled() {
		w.leave() // it was settled before there was a call to leave
	}
	return &w.f
}

// computation is what the Dict's pooler is called with.
type computation[K comparable, V any] struct {
	k  K
	fn func(context.Context) (V, error)
}

// computing is the pooler that calls the functions of GetOrCompute.
func (d *Dict[K, V]) computing() (*Pooler[computation[K, V], V], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		return nil, d.closed
	}
	if d.pooler == nil {
		d.pooler = NewPoolerFunc(func(c computation[K, V]) K { return c.k }, d.compute)
	}
	return d.pooler, nil
}

func (d *Dict[K, V]) compute(ctx context.Context, c computation[K, V]) (V, error) {
	if v, ok := d.Lookup(c.k); ok {
		return v, nil // set since it was missing
	}
	v, err := c.fn(ctx)
	if err != nil || ctx.Err() != nil { // what nobody needs is not stored
		return v, err
	}
	if !keymap.Findable(c.k) {
		return v, nil // nobody would find it; each caller gets what it made
	}
	now, waiters, err := d.store(c.k, Resolved(v), func(now *Future[V]) bool { return now == nil })
	tell(waiters, v, nil)
	if err != nil {
		return v, err
	}
	return now.val, nil
}

// computeWaiter is a dictWaiter that keeps a call of the pooler going.
type computeWaiter[K comparable, V any] struct {
	dictWaiter[K, V]
	call atomic.Pointer[Future[struct{}]]
}

// ask calls the function, or joins the call that is underway. Its success comes
// to w by way of the Dict, where it is stored.
func (w *computeWaiter[K, V]) ask(ctx context.Context, pooler *Pooler[computation[K, V], V], c computation[K, V]) *Future[struct{}] {
	return HandleFuture(pooler.Call(ctx, c), func(v V, err error) *Future[struct{}] {
		switch {
		case err == nil && keymap.Findable(c.k):
			if w.waits() {
				return w.ask(ctx, pooler, c) // stored and deleted again before w came
			}
		case w.part(): // else it gets a value that was stored meanwhile
			w.f.settleResult(v, err)
		}
		return Resolved(struct{}{})
	})
}

// leave is called when the key was set, or the wait failed.
func (w *computeWaiter[K, V]) leave() {
	if call := w.call.Load(); call != nil {
		call.Cancel(ErrNotNeeded)
	}
}

// Fire is called when the wait is cancelled.
func (w *computeWaiter[K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.part()
	core, list := w.end(left) // before the call, whose failure would come first
	if call := w.call.Load(); call != nil {
		call.Cancel(causeOf(left.Err))
	}
	return core, list
}
