//go:build explore

package sched

// Hooks are called at the boundaries of every lock, for a test that decides on
// the order of goroutines. Nil ones are not called.
var Hooks struct {
	Before func(lock any, read bool) // it is taken
	After  func(lock any)            // it was given back
	Go     func(fn func())           // instead of a goroutine
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

// Go calls fn on a goroutine of its own.
func Go(fn func()) {
	if Hooks.Go != nil {
		Hooks.Go(fn)
		return
	}
	go fn()
}
