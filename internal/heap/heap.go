// Package heap orders pending jobs and queued items: it is a min-heap by
// priority and, among equals, by sequence number.
//
// Unlike container/heap it calls no function to compare: the keys are in the
// slots, four children side by side, so that comparing reads no item. Each item
// contains its [Place], so that it can be moved or removed by handle in O(log
// n). Vacated slots are zeroed and their chunks released, so that the heap does
// not keep a removed item in memory.
//
// No call copies the heap, however large it is: it grows and shrinks by a chunk
// of slots, and a [Snapshot] shares the chunks until they change.
//
// A Heap is not safe for concurrent use: its owner holds a lock.
package heap

// Place is the position of an item in its heap. The zero value is the place of
// an item that is in no heap.
type Place struct {
	at int32 // index of the item's slot, plus one; unchanged after the item has left
}

func (p *Place) place() *Place { return p }

// Item is a pointer to a struct that embeds [Place].
type Item interface {
	comparable
	place() *Place
}

// Heap is a min-heap of items that embed their places. The zero value is empty
// and ready to use.
type Heap[T Item] = By[T, embedded[T]]

// embedded returns the place of an [Item].
type embedded[T Item] struct{}

func (embedded[T]) Place(x T) *Place { return x.place() }

// Finder returns the place of an item. It is a struct without fields: its zero
// value is used.
type Finder[T any] interface {
	Place(x T) *Place
}

// Entry is an item and its key.
type Entry[T any] struct {
	Key
	Item T
}

// By is a min-heap of items whose places F returns, for items that are exported
// structs and must not embed anything. The zero value is empty and ready to
// use.
type By[T comparable, F Finder[T]] struct {
	slots[T]
}

func (h *By[T, F]) place(x T) *Place {
	var find F
	return find.Place(x)
}

// Has reports whether x is in this heap.
func (h *By[T, F]) Has(x T) bool {
	i := int(h.place(x).at) - 1
	return i >= 0 && i < h.n && h.at(i).Item == x
}

// Push adds x, which must be in no heap, with the key k. It takes O(1) if no
// entry comes after k, which is always the case if all priorities are equal.
func (h *By[T, F]) Push(x T, k Key) {
	h.grow()
	h.up(h.n-1, Entry[T]{k, x})
}

// Pop removes and returns the first item of a heap that is not empty.
func (h *By[T, F]) Pop() Entry[T] {
	return h.removeAt(h.first())
}

// Remove removes x, which must be in this heap.
func (h *By[T, F]) Remove(x T) Entry[T] {
	return h.removeAt(int(h.place(x).at) - 1)
}

// Reprioritize changes the priority of x, which must be in this heap. Its
// sequence number does not change.
func (h *By[T, F]) Reprioritize(x T, priority int64) {
	i := int(h.place(x).at) - 1
	e := *h.at(i)
	e.Priority = priority
	h.fit(i, e)
}

// Clear empties the heap, in O(1), and returns its former entries.
func (h *By[T, F]) Clear() Snapshot[T] {
	s := Snapshot[T]{h.slots}
	h.slots = slots[T]{}
	return s
}

// removeAt removes the item in slot i and moves the last item there.
func (h *By[T, F]) removeAt(i int) Entry[T] {
	last := h.shrink()
	if i == h.n {
		return last
	}
	e := *h.at(i)
	h.fit(i, last)
	return e
}

// fit writes e into slot i, which is free, or moves it up or down from there.
func (h *By[T, F]) fit(i int, e Entry[T]) {
	if i >= arity && e.Before(h.at(parent(i)).Key) {
		h.up(i, e)
	} else {
		h.down(i, e)
	}
}

// up moves the free slot i towards the roots until e fits.
func (h *By[T, F]) up(i int, e Entry[T]) {
	free := h.own(i)
	for i >= arity {
		above := h.at(parent(i))
		if !e.Before(above.Key) {
			break
		}
		h.put(free, i, *above)
		i = parent(i)
		free = h.own(i)
	}
	h.put(free, i, e)
}

// down moves the free slot i towards the leaves until e fits.
func (h *By[T, F]) down(i int, e Entry[T]) {
	free := h.own(i)
	for first := child(i); first < h.n; first = child(i) {
		below := h.ownSiblings(first)
		l := least(below[:min(arity, h.n-first)])
		if !below[l].Before(e.Key) {
			break
		}
		h.put(free, i, below[l])
		i, free = first+l, &below[l]
	}
	h.put(free, i, e)
}

// put writes e into the slot with index i.
func (h *By[T, F]) put(slot *Entry[T], i int, e Entry[T]) {
	*slot = e
	h.place(e.Item).at = int32(i) + 1
}
