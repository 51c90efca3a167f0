//go:build explore

package sched

// Hooks are called at the boundaries of every lock, by a test that decides the
// order of goroutines. A nil hook is not called.
var Hooks struct {
	Before func(lock any, read bool) // before the lock is acquired
	After  func(lock any)            // after it was released
	Go     func(fn func())           // instead of starting a goroutine
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

// Go calls fn on a new goroutine.
func Go(fn func()) {
	if Hooks.Go != nil {
		Hooks.Go(fn)
		return
	}
	go fn()
}
