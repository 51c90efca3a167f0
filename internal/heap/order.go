package heap

import (
	"cmp"
	"iter"
)

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

// least returns the index of the entry that comes out first; there must be one.
func least[T any](entries []Entry[T]) int {
	l, key := 0, entries[0].Key
	for i := 1; i < len(entries); i++ {
		if k := entries[i].Key; k.Before(key) {
			l, key = i, k
		}
	}
	return l
}

// first is the slot of the entry that comes out first; there must be one.
func (s *slots[T]) first() int { return least(s.children(-1)) }

// Peek returns what Pop would take out. There must be an entry.
func (s *slots[T]) Peek() Entry[T] { return *s.at(s.first()) }

// First returns the n items that come out first, in order, or all if there are
// fewer. It takes O(n log n) however many items there are.
func (s *slots[T]) First(n int) []T {
	n = min(n, s.n)
	if n <= 0 {
		return nil
	}
	first := make([]T, 0, n)
	for e := range s.InOrder() {
		first = append(first, e.Item)
		if len(first) == n {
			break
		}
	}
	return first
}

// InOrder walks the entries in the order in which a heap gives them out, and
// takes none out. The first n steps take O(n log n). A heap must not change
// meanwhile.
//
// It keeps a frontier, the slots whose parent has been given out but not they
// themselves: the next entry is always the first of those.
func (s *slots[T]) InOrder() iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		f := make(frontier, 0, 256) // enough for a page
		open := func(i int) {
			for c, e := range s.children(i) {
				f.push(e.Key, child(i)+c)
			}
		}
		for open(-1); len(f) > 0; {
			i := f.pop()
			if !yield(*s.at(i)) {
				return
			}
			open(i)
		}
	}
}

// frontier is a binary min-heap of slots.
type frontier []struct {
	Key
	slot int
}

func (f *frontier) push(k Key, slot int) {
	*f = append(*f, struct {
		Key
		slot int
	}{k, slot})
	open := *f
	for i := len(open) - 1; i > 0; {
		parent := (i - 1) / 2
		if !open[i].Before(open[parent].Key) {
			break
		}
		open[i], open[parent] = open[parent], open[i]
		i = parent
	}
}

func (f *frontier) pop() (slot int) {
	open := *f
	n := len(open) - 1
	slot = open[0].slot
	open[0] = open[n]
	open = open[:n]
	*f = open
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			break
		}
		if child+1 < n && open[child+1].Before(open[child].Key) {
			child++
		}
		if !open[child].Before(open[i].Key) {
			break
		}
		open[i], open[child] = open[child], open[i]
		i = child
	}
	return slot
}
