package twill

// Item is the handle of a value in a [PriorityQueue], as Put returns it. It
// speaks of the value only while that is queued: once it was got or taken out,
// the item does not keep it in memory. Its methods may be called by several
// goroutines.
type Item[T any] struct {
	q *PriorityQueue[T]

	// Guarded by q.mu.
	//lint:ignore U1000 internal/heap uses it
	place      //nolint:unused // in q.items
	value    T // not written while queued, nor read when not
	priority int
}

// forget lets go of the value of an item that is queued no longer.
func (x *Item[T]) forget() {
	var none T
	x.value = none
}

// Value returns the value and true while it is queued.
func (x *Item[T]) Value() (v T, queued bool) {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if x.q.items.Has(x) {
		return x.value, true
	}
	return v, false
}

// Priority returns the priority that the value has or, if it is no longer
// queued, had last.
func (x *Item[T]) Priority() int {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	return x.priority
}

// Reprioritize gives the value another priority, and reports whether it was
// still queued. Among those of the same priority it stands where it would if it
// had been put with that one: the order of putting counts. It takes O(log n).
func (x *Item[T]) Reprioritize(priority int) bool {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Reprioritize(x, int64(priority))
	x.priority = priority
	return true
}

// Remove takes the value out of the queue, and reports whether it was still
// there: then nobody has got it and nobody will. It takes O(log n).
func (x *Item[T]) Remove() bool {
	x.q.mu.Lock()
	defer x.q.mu.Unlock()
	if !x.q.items.Has(x) {
		return false
	}
	x.q.items.Remove(x)
	x.q.release(x)
	x.q.admit()
	return true
}
