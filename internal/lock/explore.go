//go:build explore

package lock

// Hooks are called at the boundaries of every lock, for a test that decides on
// the order of goroutines. Nil ones are not called.
var Hooks struct {
	Before func(lock any, read bool) // it is taken
	After  func(lock any)            // it was given back
}

func before(lock any, read bool) {
	if Hooks.Before != nil {
		Hooks.Before(lock, read)
	}
}

func after(lock any) {
	if Hooks.After != nil {
		Hooks.After(lock)
	}
}
