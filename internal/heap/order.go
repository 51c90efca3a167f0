package heap

import (
	"cmp"
	"iter"
	"slices"
)

// Key is the key by which a heap is ordered.
type Key struct {
	Priority int64  // lower comes first
	Seq      uint64 // among equal priorities, lower comes first; unique in a heap
}

// Before reports whether k is popped before l.
func (k Key) Before(l Key) bool {
	return k.Priority < l.Priority || k.Priority == l.Priority && k.Seq < l.Seq
}

// Compare returns a negative number if k is popped before l, and a positive one
// if after it.
func (k Key) Compare(l Key) int {
	return cmp.Or(cmp.Compare(k.Priority, l.Priority), cmp.Compare(k.Seq, l.Seq))
}

// Sort returns a copy of xs in the order of their keys. Only the keys are
// sorted: a sort of each type would be several kilobytes of code.
func Sort[T any](xs []T, key func(T) Key) []T {
	order := make([]numbered, len(xs))
	for i, x := range xs {
		order[i] = numbered{key(x), i}
	}
	slices.SortFunc(order, func(a, b numbered) int { return a.Compare(b.Key) })
	sorted := make([]T, len(xs))
	for i, o := range order {
		sorted[i] = xs[o.i]
	}
	return sorted
}

type numbered struct {
	Key
	i int
}

func sortEntries[T any](entries []Entry[T]) []Entry[T] {
	return Sort(entries, func(e Entry[T]) Key { return e.Key })
}

// least returns the index of the first entry; entries must not be empty.
func least[T any](entries []Entry[T]) int {
	l, key := 0, entries[0].Key
	for i := 1; i < len(entries); i++ {
		if k := entries[i].Key; k.Before(key) {
			l, key = i, k
		}
	}
	return l
}

// first returns the slot of the first entry; the heap must not be empty.
func (s *slots[T]) first() int { return least(s.children(-1)) }

// Peek returns the entry that Pop would remove. The heap must not be empty.
func (s *slots[T]) Peek() Entry[T] { return *s.at(s.first()) }

// First returns the first n items, in order, or all if there are fewer. It
// takes O(n log n) however large the heap is.
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

// InOrder yields the entries in the order in which they would be popped, and
// removes none of them. The first n steps take O(n log n). The heap must not
// change during the iteration.
func (s *slots[T]) InOrder() iter.Seq[Entry[T]] { return inOrder(s) }

// Merged yields the entries of all snapshots in one order. For k snapshots, it
// takes O(k log k) before the first step.
func Merged[T any](snapshots ...Snapshot[T]) iter.Seq[Entry[T]] {
	sources := make([]*slots[T], len(snapshots))
	for i := range snapshots {
		sources[i] = &snapshots[i].slots
	}
	return inOrder(sources...)
}

// inOrder yields the entries of all sources in one order.
//
// It maintains a frontier: the slots that have not been yielded and whose
// parents have. The next entry is always the first one in the frontier.
func inOrder[T any](sources ...*slots[T]) iter.Seq[Entry[T]] {
	return func(yield func(Entry[T]) bool) {
		f := make(frontier, 0, 256) // enough for a page
		open := func(source, i int32) {
			for c, e := range sources[source].children(int(i)) {
				f.push(frontierSlot{e.Key, source, int32(child(int(i)) + c)})
			}
		}
		for source := range sources {
			open(int32(source), -1)
		}
		for len(f) > 0 {
			next := f.pop()
			if !yield(*sources[next.source].at(int(next.slot))) {
				return
			}
			open(next.source, next.slot)
		}
	}
}

// frontier is a binary min-heap of slots.
type frontier []frontierSlot

type frontierSlot struct {
	Key
	source, slot int32
}

func (f *frontier) push(s frontierSlot) {
	*f = append(*f, s)
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

func (f *frontier) pop() frontierSlot {
	open := *f
	n := len(open) - 1
	first := open[0]
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
	return first
}
