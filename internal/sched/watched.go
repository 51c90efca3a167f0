//go:build yield || explore

package sched

import "sync"

// Mutex is a [sync.Mutex] that calls hooks at its boundaries.
type Mutex struct{ mu sync.Mutex }

// Lock locks m.
func (m *Mutex) Lock() {
	before(m, false)
	m.mu.Lock()
}

// Unlock unlocks m.
func (m *Mutex) Unlock() {
	m.mu.Unlock()
	after(m)
}

// RWMutex is a [sync.RWMutex] that calls hooks at its boundaries.
type RWMutex struct{ mu sync.RWMutex }

// Lock locks m for writing.
func (m *RWMutex) Lock() {
	before(m, false)
	m.mu.Lock()
}

// Unlock unlocks m.
func (m *RWMutex) Unlock() {
	m.mu.Unlock()
	after(m)
}

// RLock locks m for reading.
func (m *RWMutex) RLock() {
	before(m, true)
	m.mu.RLock()
}

// RUnlock undoes an RLock.
func (m *RWMutex) RUnlock() {
	m.mu.RUnlock()
	after(m)
}
