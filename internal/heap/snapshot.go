package heap
import "slices"
type Snapshot[T Item] struct { entries []Entry[T] }
func (h *Heap[T]) Snapshot() Snapshot[T] { return Snapshot[T]{slices.Clone(h.slots)} }
func (s Snapshot[T]) Len() int { return len(s.entries) }
func (s Snapshot[T]) Sorted() []Entry[T] { Sort(s.entries); return s.entries }
func (s Snapshot[T]) First(n int) []T { Sort(s.entries); var r []T; for i := range min(n, len(s.entries)) { r = append(r, s.entries[i].Item) }; return r }
func (h *Heap[T]) Peek() Entry[T] { return h.slots[0] }
