// Package ring is a first-in-first-out buffer that grows and shrinks.
//
// A Buffer is not safe for concurrent use: its owner holds a lock.
package ring

// minCap is the capacity below which a buffer does not shrink.
const minCap = 16

// Buffer is a queue of values in a circular slice. Pop zeroes the slot, so that
// the buffer does not keep a removed value in memory. A full buffer is doubled,
// and a buffer that is three quarters empty is halved, so that no length makes
// it copy at every step. The zero value is empty.
type Buffer[T any] struct {
	slots []T // the length is a power of two
	first int
	n     int
}

// Len returns the number of values.
func (b *Buffer[T]) Len() int { return b.n }

// Push adds v as the last value.
func (b *Buffer[T]) Push(v T) {
	if b.n == len(b.slots) {
		b.resize(max(minCap, 2*b.n))
	}
	b.slots[(b.first+b.n)&(len(b.slots)-1)] = v
	b.n++
}

// Pop removes and returns the first value of a buffer that is not empty.
func (b *Buffer[T]) Pop() T {
	var none T
	v := b.slots[b.first]
	b.slots[b.first] = none
	b.first = (b.first + 1) & (len(b.slots) - 1)
	b.n--
	if c := len(b.slots); c > minCap && b.n < c/4 {
		b.resize(c / 2)
	}
	return v
}

// At returns value number i, from 0 for the first.
func (b *Buffer[T]) At(i int) T { return b.slots[(b.first+i)&(len(b.slots)-1)] }

func (b *Buffer[T]) resize(c int) {
	slots := make([]T, c)
	end := min(b.first+b.n, len(b.slots))
	k := copy(slots, b.slots[b.first:end])
	copy(slots[k:], b.slots[:b.n-k])
	b.slots, b.first = slots, 0
}
