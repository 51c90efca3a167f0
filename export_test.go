package twill

import "unsafe"

// Listeners is the number of links on f's list.
func Listeners[T any](f *Future[T]) int { return f.core.Listeners() }

// Users is the number of those that depend on f.
func Users[T any](f *Future[T]) int { return f.core.Users() }

// SizeOfThen is the size of what Then allocates for ints.
const SizeOfThen = unsafe.Sizeof(thenNode[int, int]{})

// LogUnhandled is what reports unhandled failures by default.
var LogUnhandled = logUnhandled
