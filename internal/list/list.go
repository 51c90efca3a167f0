// Package list is a doubly linked list whose links are inside its items, so
// that adding, finding and removing an item take O(1) and allocate nothing.
//
// A List is not safe for concurrent use: its owner holds a lock.
package list

import "iter"

// Links are an item's links. The zero value belongs to an item that is in no
// list.
type Links[T any] struct {
	next, prev T // a circle: both are the zero T outside a list
}

func (l *Links[T]) links() *Links[T] { return l }

// Item is a pointer to a struct that embeds [Links] of such pointers.
type Item[T any] interface {
	comparable
	links() *Links[T]
}

// List is a list of items that embed their links. The zero value is empty and
// ready to use.
type List[T Item[T]] = By[T, embedded[T]]

// embedded returns the links of an [Item].
type embedded[T Item[T]] struct{}

func (embedded[T]) Links(x T) *Links[T] { return x.links() }

// Finder returns the links of an item. It is a struct without fields: its zero
// value is used.
type Finder[T any] interface {
	Links(x T) *Links[T]
}

// By is a list of items whose links F returns, for items that are exported
// structs and must not embed anything. The zero value is empty and ready to
// use.
type By[T comparable, F Finder[T]] struct {
	first T
	n     int
}

func (l *By[T, F]) links(x T) *Links[T] {
	var find F
	return find.Links(x)
}

// Len returns the number of items.
func (l *By[T, F]) Len() int { return l.n }

// PushBack adds x, which must be in no list, as the last item.
func (l *By[T, F]) PushBack(x T) {
	to := l.links(x)
	if l.n == 0 {
		to.next, to.prev = x, x
		l.first = x
	} else {
		first := l.links(l.first)
		to.next, to.prev = l.first, first.prev
		l.links(first.prev).next = x
		first.prev = x
	}
	l.n++
}

// Front returns the first item, or false if there is none.
func (l *By[T, F]) Front() (x T, ok bool) { return l.first, l.n > 0 }

// PopFront removes and returns the first item, or returns false if there is
// none.
func (l *By[T, F]) PopFront() (x T, ok bool) {
	if l.n == 0 {
		return x, false
	}
	x = l.first
	l.Remove(x)
	return x, true
}

// Remove removes x, which may be in this list or in none, and reports whether
// it was in this list.
func (l *By[T, F]) Remove(x T) bool {
	var none T
	at := l.links(x)
	if at.next == none {
		return false
	}
	if l.n--; l.n == 0 {
		l.first = none
	} else {
		l.links(at.prev).next = at.next
		l.links(at.next).prev = at.prev
		if l.first == x {
			l.first = at.next
		}
	}
	at.next, at.prev = none, none
	return true
}

// Has reports whether x, which may be in this list or in none, is in this list.
func (l *By[T, F]) Has(x T) bool {
	var none T
	return l.links(x).next != none
}

// All yields the items from the first to the last. The list must not change
// during the iteration.
func (l *By[T, F]) All() iter.Seq[T] {
	return func(yield func(T) bool) {
		x := l.first
		for range l.n {
			if !yield(x) {
				return
			}
			x = l.links(x).next
		}
	}
}
