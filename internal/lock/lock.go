//go:build !yield && !explore

// Package lock has the locks of what is built on futures. They are those of
// package sync; the build tags "yield" and "explore" have something happen at
// their boundaries, the places where another goroutine may come between.
package lock

import "sync"

// Mutex is a [sync.Mutex].
type Mutex = sync.Mutex

// RWMutex is a [sync.RWMutex].
type RWMutex = sync.RWMutex
