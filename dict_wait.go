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
	if line := d.slots.Get(k).line; line != nil {
		return line.Len()
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
	var keys []K
	for k, slot := range d.slots.All() {
		if slot.line != nil {
			keys = append(keys, k)
			all = append(all, d.take(slot.line)...)
		}
	}
	for _, k := range keys {
		d.slots.Delete(k)
	}
	slices.SortFunc(all, func(a, b *dictWaiter[K, V]) int { return cmp.Compare(a.came, b.came) })
	return all
}

// dictLine is those who wait for one key. It is in the key's slot while it is
// not empty.
type dictLine[K comparable, V any] struct {
	list.List[*dictWaiter[K, V]]
}

// dictWaiter is the future of a get of a missing key.
type dictWaiter[K comparable, V any] struct {
	root[V]
	list.Links[*dictWaiter[K, V]]
	d    *Dict[K, V]
	k    K
	line *dictLine[K, V] // nil when it is on none; guarded by d.mu
	came uint64
}

// wait puts w into the line of its key. It returns its future, or that of the
// value if it came meanwhile.
func (d *Dict[K, V]) wait(w *dictWaiter[K, V]) (*Future[V], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := d.slots.Get(w.k)
	if slot.value != nil {
		return slot.value, nil
	}
	if d.closed != nil {
		return nil, d.closed
	}
	if slot.line == nil {
		slot.line = new(dictLine[K, V])
		d.slots.Set(w.k, slot)
	}
	w.line = slot.line
	w.line.PushBack(w)
	d.came++
	w.came = d.came
	d.waiting++
	return &w.f, nil
}

// take empties a line, which may be nil; the lock must be held.
func (d *Dict[K, V]) take(line *dictLine[K, V]) []*dictWaiter[K, V] {
	if line == nil {
		return nil
	}
	all := make([]*dictWaiter[K, V], 0, line.Len())
	for w, ok := line.PopFront(); ok; w, ok = line.PopFront() {
		w.line = nil
		all = append(all, w)
	}
	d.waiting -= len(all)
	return all
}

// part takes w out of its line, if it is there. The last one takes the line
// out of the Dict.
func (w *dictWaiter[K, V]) part() {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	line := w.line
	if line == nil {
		return
	}
	line.Remove(w)
	w.line = nil
	d.waiting--
	if line.Len() == 0 {
		d.slots.Delete(w.k)
	}
}

// waits reports whether w is on a line.
func (w *dictWaiter[K, V]) waits() bool {
	w.d.mu.RLock()
	defer w.d.mu.RUnlock()
	return w.line != nil
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
