package heap

import (
	"iter"
	"slices"
)

// Snapshot is what was in a heap at one moment. It does not change, and needs
// no lock: several goroutines may read it while the heap goes on. It keeps all
// that was in the heap in memory while it is reachable itself.
//
// It shows where the items lay, not what is in them: that is for their owner
// to guard.
type Snapshot[T any] struct {
	slots[T]
}

// Snapshot returns what is in the heap. It copies a word or two for each chunk
// of slots; afterwards the first change to each of them copies that chunk, also
// when the snapshot is gone.
func (h *By[T, F]) Snapshot() Snapshot[T] {
	used := h.table[:(h.n+chunkSize-1)/chunkSize]
	for i := range used {
		used[i].shared = true
	}
	return Snapshot[T]{slots[T]{slices.Clone(used), h.n}}
}

// Sorted returns the entries in the order in which a heap gives them out.
func (s Snapshot[T]) Sorted() []Entry[T] {
	entries := slices.AppendSeq(make([]Entry[T], 0, s.n), s.All())
	slices.SortFunc(entries, func(a, b Entry[T]) int { return a.Compare(b.Key) })
	return entries
}

// All walks the entries in no order. A heap must not change meanwhile.
func (s *slots[T]) All() iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		for i := range s.n {
			if !yield(*s.at(i)) {
				return
			}
		}
	}
}
