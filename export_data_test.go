package twill

// Slots is the number of keys that d has anything of.
func Slots[K comparable, V any](d *Dict[K, V]) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.slots.Len()
}

// Flights is the number of keys that p has anything of.
func Flights[K comparable, V any](p *Pooler[K, V]) int {
	t := p.p.(*table[K, K, V])
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.flights.Len()
}
