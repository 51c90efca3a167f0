package heap

import "slices"

const (
	// arity is the number of children of a slot: with four, a heap is half as deep
	// as with two, and four children fit in two cache lines.
	arity = 4

	// chunkSize is the number of slots in a chunk, which is the most that is
	// copied to write one slot. 2048 slots of 24 bytes are six pages of the
	// runtime, which rounds up chunks of less than 32 KB.
	chunkSize = 2048

	// minCap is the size at which a single chunk is no longer halved.
	minCap = 64
)

// slots is an array of entries in chunks of chunkSize; a single chunk is no
// larger than necessary. The slots from n on are zero.
//
// The first four slots are the children of a root that does not exist, the next
// four are the children of slot 0, and so on. Siblings therefore begin at a
// multiple of four, and are in one chunk.
type slots[T any] struct {
	table []chunk[T]
	n     int
}

// chunk is a part of the slots. A chunk that is shared with a [Snapshot] is
// never written again: to change it, own replaces it by a copy.
type chunk[T any] struct {
	slots  []siblings[T]
	shared bool
}

// siblings are the children of one slot.
type siblings[T any] [arity]Entry[T]

// parent returns the slot above i, which must not be one of the roots.
func parent(i int) int { return i/arity - 1 }

// child returns the first of the four slots below i. The slots below -1 are the
// roots.
func child(i int) int { return (i + 1) * arity }

// Len returns the number of items.
func (s *slots[T]) Len() int { return s.n }

// at returns slot i for reading.
func (s *slots[T]) at(i int) *Entry[T] {
	return &s.table[uint(i)/chunkSize].slots[uint(i)%chunkSize/arity][uint(i)%arity]
}

// own returns slot i for writing.
func (s *slots[T]) own(i int) *Entry[T] {
	return &s.ownSiblings(i)[uint(i)%arity]
}

// ownSiblings returns slot i and its siblings for writing.
func (s *slots[T]) ownSiblings(i int) *siblings[T] {
	c := &s.table[uint(i)/chunkSize]
	if c.shared {
		c.resize(len(c.slots))
	}
	return &c.slots[uint(i)%chunkSize/arity]
}

// children returns the slots below i that are in use, for reading.
func (s *slots[T]) children(i int) []Entry[T] {
	first := child(i)
	if first >= s.n {
		return nil
	}
	return s.table[uint(first)/chunkSize].slots[uint(first)%chunkSize/arity][:min(arity, s.n-first)]
}

// grow adds a slot, which is zero.
func (s *slots[T]) grow() {
	c := s.n / chunkSize
	switch {
	case c == len(s.table):
		size := chunkSize / arity
		if c == 0 {
			size = 1
		}
		s.table = append(s.table, chunk[T]{slots: make([]siblings[T], size)})
	case s.n%chunkSize == len(s.table[c].slots)*arity:
		size := 2 * len(s.table[c].slots)
		if c == 0 && size < minCap/arity/4 {
			size *= 2 // the first few slots grow in fewer steps
		}
		s.table[c].resize(size)
	}
	s.n++
}

// shrink removes the last slot and returns what it contained. A chunk is
// released when it is empty and the chunk before it is half empty. A single
// chunk is halved when three quarters of it are empty. A length that alternates
// around a boundary therefore does not allocate each time.
func (s *slots[T]) shrink() Entry[T] {
	s.n--
	slot := s.own(s.n)
	e := *slot
	*slot = Entry[T]{} // so that the chunk does not keep the item alive
	last := len(s.table) - 1
	switch size := len(s.table[last].slots); {
	case last > 0 && s.n <= last*chunkSize-chunkSize/2:
		s.table[last] = chunk[T]{}
		s.table = s.table[:last]
		if last < cap(s.table)/4 {
			s.table = slices.Clone(s.table)
		}
	case last == 0 && s.n < size*arity/4 && size > minCap/arity:
		s.table[last].resize(size / 2)
	}
	return e
}

// resize allocates new slots for the chunk, for size times four entries.
func (c *chunk[T]) resize(size int) {
	own := make([]siblings[T], size)
	copy(own, c.slots)
	*c = chunk[T]{slots: own}
}
