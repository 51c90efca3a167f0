//go:build explore

package sched

import "time"

// Hooks are called at the boundaries of every lock, by a test that decides the
// order of goroutines. A nil hook is not called.
var Hooks struct {
	Before func(lock any, read bool) // before the lock is acquired
	After  func(lock any)            // after it was released
	Go     func(fn func())           // instead of starting a goroutine

	AfterFunc func(d time.Duration, fn func()) *time.Timer // instead of time.AfterFunc
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

// AfterFunc calls fn after d, on its own goroutine.
func AfterFunc(d time.Duration, fn func()) *time.Timer {
	if Hooks.AfterFunc != nil {
		return Hooks.AfterFunc(d, fn)
	}
	return time.AfterFunc(d, fn)
}
