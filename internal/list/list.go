// Package list is a doubly linked list whose links lie in its items, so that
// an item is added, found and taken out in O(1) and costs no allocation.
//
// A List is not safe for use by several goroutines: its owner holds a lock.
package list

import "iter"

// Links are an item's links. A type embeds them to become an [Item]; the zero
// value is that of an item that is in no list.
type Links[T any] struct {
	next, prev T // a circle: both are the zero T outside a list
}

func (l *Links[T]) links() *Links[T] { return l }

// Item is a pointer to a struct that embeds [Links] of such pointers.
type Item[T any] interface {
	comparable
	links() *Links[T]
}

// List is a list of items. The zero value is empty and ready to use.
type List[T Item[T]] struct {
	first T
	n     int
}

// Len returns the number of items.
func (l *List[T]) Len() int { return l.n }

// PushBack adds x, which must be in no list, as the last item.
func (l *List[T]) PushBack(x T) {
	to := x.links()
	if l.n == 0 {
		to.next, to.prev = x, x
		l.first = x
	} else {
		first := l.first.links()
		to.next, to.prev = l.first, first.prev
		first.prev.links().next = x
		first.prev = x
	}
	l.n++
}

// Front returns the first item, and reports false if there is none.
func (l *List[T]) Front() (x T, ok bool) { return l.first, l.n > 0 }

// PopFront takes out the first item, and reports false if there is none.
func (l *List[T]) PopFront() (x T, ok bool) {
	if l.n == 0 {
		return x, false
	}
	x = l.first
	l.Remove(x)
	return x, true
}

// Remove takes out x, which may be in this list or in none, and reports
// whether it was there.
func (l *List[T]) Remove(x T) bool {
	var none T
	at := x.links()
	if at.next == none {
		return false
	}
	if l.n--; l.n == 0 {
		l.first = none
	} else {
		at.prev.links().next = at.next
		at.next.links().prev = at.prev
		if l.first == x {
			l.first = at.next
		}
	}
	at.next, at.prev = none, none
	return true
}

// All walks the items from the first to the last. The list must not change
// meanwhile.
func (l *List[T]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		x := l.first
		for range l.n {
			if !yield(x) {
				return
			}
			x = x.links().next
		}
	}
}
