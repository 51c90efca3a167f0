//go:build yield || explore

package sched

import "sync"

// Mutex is a [sync.Mutex] with something happening at its boundaries.
type Mutex struct{ mu sync.Mutex }

// Lock takes m.
func (m *Mutex) Lock() {
	before(m, false)
	m.mu.Lock()
}

// Unlock gives m back.
func (m *Mutex) Unlock() {
	m.mu.Unlock()
	after(m)
}

// RWMutex is a [sync.RWMutex] with something happening at its boundaries.
type RWMutex struct{ mu sync.RWMutex }

// Lock takes m for writing.
func (m *RWMutex) Lock() {
	before(m, false)
	m.mu.Lock()
}

// Unlock gives m back.
func (m *RWMutex) Unlock() {
	m.mu.Unlock()
	after(m)
}

// RLock takes m for reading.
func (m *RWMutex) RLock() {
	before(m, true)
	m.mu.RLock()
}

// RUnlock gives m back.
func (m *RWMutex) RUnlock() {
	m.mu.RUnlock()
	after(m)
}
