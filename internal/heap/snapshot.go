package heap

import (
	"iter"
	"slices"
)

// Snapshot is the content of a heap at one moment. It does not change and needs
// no lock: several goroutines may read it while the heap changes. While it is
// reachable, it keeps all its items in memory.
//
// It has the order of the items, but not a copy of what they contain, which
// their owner must guard.
type Snapshot[T any] struct {
	slots[T]
}

// Snapshot returns the content of the heap. It copies one or two words for each
// chunk of slots. After that, the first change of each chunk copies the chunk,
// even if the snapshot was dropped.
func (h *By[T, F]) Snapshot() Snapshot[T] {
	used := h.table[:(h.n+chunkSize-1)/chunkSize]
	for i := range used {
		used[i].shared = true
	}
	return Snapshot[T]{slots[T]{slices.Clone(used), h.n}}
}

// SnapshotOf returns a snapshot of entries, which may be in any order.
func SnapshotOf[T any](entries []Entry[T]) (s Snapshot[T]) {
	for i, e := range sortEntries(entries) { // in order, so each slot comes after its parent
		s.grow()
		*s.at(i) = e
	}
	return s
}

// Sorted returns the entries in the order in which the heap would pop them.
func (s Snapshot[T]) Sorted() []Entry[T] {
	return sortEntries(slices.AppendSeq(make([]Entry[T], 0, s.n), s.All()))
}

// All yields the entries in no order. A heap must not change during the
// iteration.
func (s *slots[T]) All() iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		for i := range s.n {
			if !yield(*s.at(i)) {
				return
			}
		}
	}
}
