//go:build !yield && !explore

// Package sched has the locks of the types that are built on futures, and
// starts their goroutines. Without build tags these are Go's own. With the tags
// "yield" and "explore" the boundaries of locks, where another goroutine may
// interleave, call hooks; with "explore" a test also decides when a new
// goroutine runs, and when a timer fires.
package sched

import (
	"sync"
	"time"
)

// Mutex is a [sync.Mutex].
type Mutex = sync.Mutex

// RWMutex is a [sync.RWMutex].
type RWMutex = sync.RWMutex

// Go calls fn on a new goroutine.
func Go(fn func()) { go fn() }

// AfterFunc is [time.AfterFunc].
func AfterFunc(d time.Duration, fn func()) *time.Timer { return time.AfterFunc(d, fn) }
