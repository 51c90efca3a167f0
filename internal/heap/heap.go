// Package heap is the order of jobs and items that wait: a min-heap by
// priority and, among equals, by sequence number.
//
// Unlike container/heap it calls nothing to compare: the keys lie in the
// slots, four children side by side, so that finding a place touches no item.
// Each item carries its [Place], so that it can be moved or taken out by
// handle in O(log n). Vacated slots are zeroed and an array three quarters
// empty is halved, so that what has left the heap is not kept in memory.
//
// A Heap is not safe for use by several goroutines: its owner holds a lock.
package heap

import "cmp"

// Place is where an item lies in its heap. A type embeds it to become an
// [Item]; the zero value is the place of an item that is in no heap.
type Place struct {
	at int32 // index of the item's slot, plus one
}

func (p *Place) place() *Place { return p }

// Item is a pointer to a struct that embeds [Place].
type Item interface {
	comparable
	place() *Place
}

// Key is what the heap is ordered by.
type Key struct {
	Priority int64  // lower comes first
	Seq      uint64 // among equal priorities, lower comes first; unique in a heap
}

// Before reports whether k comes out before l.
func (k Key) Before(l Key) bool {
	return k.Priority < l.Priority || k.Priority == l.Priority && k.Seq < l.Seq
}

// Compare is negative if k comes out before l, positive if after.
func (k Key) Compare(l Key) int {
	return cmp.Or(cmp.Compare(k.Priority, l.Priority), cmp.Compare(k.Seq, l.Seq))
}

// Entry is an item and the key it lies under.
type Entry[T any] struct {
	Key
	Item T
}

const (
	// arity is the number of children of a slot: with four, a heap is half as
	// deep as with two, and the four lie in one or two cache lines.
	arity = 4
	// minCap is the capacity at which the array is no longer halved.
	minCap = 64
)

// Heap is a min-heap of items. The zero value is empty and ready to use.
type Heap[T Item] struct {
	slots []Entry[T]
}

// Len returns the number of items.
func (h *Heap[T]) Len() int { return len(h.slots) }

// Has reports whether x is in this heap.
func (h *Heap[T]) Has(x T) bool {
	i := int(x.place().at) - 1
	return i >= 0 && i < len(h.slots) && h.slots[i].Item == x
}

// Push adds x, which must be in no heap, under k. It takes O(1) if nothing in
// the heap comes after k, as is always so while all priorities are equal.
func (h *Heap[T]) Push(x T, k Key) {
	h.slots = append(h.slots, Entry[T]{})
	h.up(len(h.slots)-1, Entry[T]{k, x})
}

// Pop takes out the first item of a heap that is not empty.
func (h *Heap[T]) Pop() Entry[T] {
	return h.removeAt(0)
}

// Remove takes out x, which must be in this heap.
func (h *Heap[T]) Remove(x T) Entry[T] {
	return h.removeAt(int(x.place().at) - 1)
}

// Reprioritize moves x, which must be in this heap, to another priority. It
// keeps its sequence number.
func (h *Heap[T]) Reprioritize(x T, priority int64) {
	i := int(x.place().at) - 1
	e := h.slots[i]
	e.Priority = priority
	h.fit(i, e)
}

// removeAt takes out the item in slot i and moves the last one there.
func (h *Heap[T]) removeAt(i int) Entry[T] {
	e := h.slots[i]
	e.Item.place().at = 0
	n := len(h.slots) - 1
	last := h.slots[n]
	h.slots[n] = Entry[T]{} // so that the array does not keep the item alive
	h.slots = h.slots[:n]
	if i < n {
		h.fit(i, last)
	}
	// Halved at a quarter only, so that a length about a boundary does not
	// copy the array again and again.
	if c := cap(h.slots); n < c/4 && c > minCap {
		h.slots = append(make([]Entry[T], 0, c/2), h.slots...)
	}
	return e
}

// fit puts e into slot i, which is free, or where it belongs seen from there.
func (h *Heap[T]) fit(i int, e Entry[T]) {
	if i > 0 && e.Before(h.slots[(i-1)/arity].Key) {
		h.up(i, e)
	} else {
		h.down(i, e)
	}
}

// up moves the free slot i towards the root until e fits.
func (h *Heap[T]) up(i int, e Entry[T]) {
	for i > 0 {
		parent := (i - 1) / arity
		if !e.Before(h.slots[parent].Key) {
			break
		}
		h.put(i, h.slots[parent])
		i = parent
	}
	h.put(i, e)
}

// down moves the free slot i towards the leaves until e fits.
func (h *Heap[T]) down(i int, e Entry[T]) {
	for {
		first := i*arity + 1
		if first >= len(h.slots) {
			break
		}
		least := first
		for child := first + 1; child < min(first+arity, len(h.slots)); child++ {
			if h.slots[child].Before(h.slots[least].Key) {
				least = child
			}
		}
		if !h.slots[least].Before(e.Key) {
			break
		}
		h.put(i, h.slots[least])
		i = least
	}
	h.put(i, e)
}

func (h *Heap[T]) put(i int, e Entry[T]) {
	h.slots[i] = e
	e.Item.place().at = int32(i) + 1
}
