package heap

import (
	"iter"
	"slices"
)

// Sort puts entries into the order in which a heap gives them out.
func Sort[T any](entries []Entry[T]) {
	slices.SortFunc(entries, func(a, b Entry[T]) int { return a.Compare(b.Key) })
}

// Entries returns a copy of what is in the heap, in no order. A caller that
// holds a lock sorts it, with [Sort], after giving the lock back.
func (h *Heap[T]) Entries() []Entry[T] {
	return slices.Clone(h.slots)
}

// All walks the heap in no order. The heap must not change meanwhile.
func (h *Heap[T]) All() iter.Seq[Entry[T]] {
	return slices.Values(h.slots)
}

// Clear empties the heap and returns what was in it, in no order.
func (h *Heap[T]) Clear() []Entry[T] {
	entries := h.slots
	h.slots = nil
	for _, e := range entries {
		e.Item.place().at = 0
	}
	return entries
}

// First returns the n items that come out first, in order, or all if there are
// fewer. It takes O(n log n) however many items the heap holds.
func (h *Heap[T]) First(n int) []T {
	n = min(n, h.Len())
	if n <= 0 {
		return nil
	}
	first := make([]T, 0, n)
	for e := range h.InOrder() {
		first = append(first, e.Item)
		if len(first) == n {
			break
		}
	}
	return first
}

// InOrder walks the heap in the order in which it would be emptied and leaves
// it as it is. The first n steps take O(n log n). The heap must not change
// meanwhile.
//
// It keeps a frontier, the slots whose parent has been given out but not they
// themselves: the next entry is always the first of those.
func (h *Heap[T]) InOrder() iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		if len(h.slots) == 0 {
			return
		}
		f := frontier[T]{slots: h.slots}
		f.push(0)
		for len(f.open) > 0 {
			i := f.pop()
			if !yield(h.slots[i]) {
				return
			}
			for child := i*arity + 1; child < min(i*arity+1+arity, len(h.slots)); child++ {
				f.push(child)
			}
		}
	}
}

// frontier is a binary min-heap of slots, by index.
type frontier[T any] struct {
	slots []Entry[T]
	open  []int
}

func (f *frontier[T]) before(i, j int) bool {
	return f.slots[f.open[i]].Before(f.slots[f.open[j]].Key)
}

func (f *frontier[T]) push(slot int) {
	f.open = append(f.open, slot)
	for i := len(f.open) - 1; i > 0; {
		parent := (i - 1) / 2
		if !f.before(i, parent) {
			break
		}
		f.open[i], f.open[parent] = f.open[parent], f.open[i]
		i = parent
	}
}

func (f *frontier[T]) pop() int {
	first, n := f.open[0], len(f.open)-1
	f.open[0] = f.open[n]
	f.open = f.open[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && f.before(child+1, child) {
			child++
		}
		if !f.before(child, i) {
			break
		}
		f.open[i], f.open[child] = f.open[child], f.open[i]
		i = child
	}
	return first
}
