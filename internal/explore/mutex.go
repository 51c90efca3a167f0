package explore

// Mutex is a lock for scenarios: the explorer sees when it is locked and waited
// for.
type Mutex struct {
	Name string
	held bool
}

// Lock locks m, and waits until no thread holds it.
func (m *Mutex) Lock(r *Run) {
	r.Block("lock "+m.Name, m, func() bool { return !m.held })
	m.held = true
}

// Unlock unlocks m.
func (m *Mutex) Unlock(r *Run) {
	m.held = false
	r.Point("unlocked "+m.Name, m)
}
