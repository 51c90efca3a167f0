//go:build !yield && !explore

// Package sched has the locks of what is built on futures, and starts its
// workers. These are the language's own; the build tags "yield" and "explore"
// have something happen at the boundaries of locks, the places where another
// goroutine may come between, and with the latter a test decides when a new
// goroutine runs.
package sched

import "sync"

// Mutex is a [sync.Mutex].
type Mutex = sync.Mutex

// RWMutex is a [sync.RWMutex].
type RWMutex = sync.RWMutex

// Go calls fn on a goroutine of its own.
func Go(fn func()) { go fn() }
