package explore

// Mutex is a lock for scenarios: the explorer sees it taken and waited for.
type Mutex struct {
	Name string
	held bool
}

// Lock takes m, waiting until nobody holds it.
func (m *Mutex) Lock(r *Run) {
	r.Block("lock "+m.Name, m, func() bool { return !m.held })
	m.held = true
}

// Unlock gives m back.
func (m *Mutex) Unlock(r *Run) {
	m.held = false
	r.Point("unlocked "+m.Name, m)
}
