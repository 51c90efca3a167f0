package twill

import (
	"iter"

	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
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
	made(&w.f.core)
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
