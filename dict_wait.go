package twill

import (
	"cmp"
	"slices"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

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
	case !findable(w.k):
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

// findable reports whether k equals itself, as all but a NaN and what holds one
// do.
func findable[K comparable](k K) bool {
	same := k
	return same == k
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
