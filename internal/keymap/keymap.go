// Package keymap is a map for keys that are added and removed all the time. A
// Go map keeps the memory for the largest number of keys that it ever held; a
// Map releases it when it is empty. A single key, the usual case if keys are
// calls underway, needs no hashing.
//
// A Map is not safe for concurrent use: its owner holds a lock.
package keymap

import "iter"

// Findable reports whether k equals itself, as every key does except a NaN and
// keys that contain one. A map never finds or deletes a key that is not
// findable.
func Findable[K comparable](k K) bool {
	same := k
	return same == k
}

// small is the number of keys up to which an empty map keeps its memory, so
// that using a few keys at a time does not allocate a new map each time.
const small = 64

// Map is a map. The zero value is empty and ready to use.
type Map[K comparable, V any] struct {
	one  bool // key and v are the only entry, and m is empty
	key  K
	v    V
	m    map[K]V
	peak int // largest number of keys since m was made
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int {
	if m.one {
		return 1
	}
	return len(m.m)
}

// Get returns the value of k, or the zero value if there is none. Like all
// methods with a key it panics, as a map does, if k is an interface whose value
// cannot be compared.
func (m *Map[K, V]) Get(k K) V {
	if m.one && m.key == k {
		return m.v
	}
	return m.m[k]
}

// Set stores v as the value of k.
func (m *Map[K, V]) Set(k K, v V) {
	if m.one && m.key == k || !m.one && len(m.m) == 0 {
		_ = m.m[k] // panics if k cannot be compared
		m.one, m.key, m.v = true, k, v
		return
	}
	if m.m == nil {
		m.m = make(map[K]V)
	}
	m.m[k] = v
	if m.one {
		m.m[m.key] = m.v
		m.empty()
	}
	m.peak = max(m.peak, len(m.m))
}

// empty removes the only entry.
func (m *Map[K, V]) empty() {
	var none struct {
		k K
		v V
	}
	m.one, m.key, m.v = false, none.k, none.v
}

// Delete removes k.
func (m *Map[K, V]) Delete(k K) {
	if m.one && m.key == k {
		m.empty()
		return
	}
	delete(m.m, k)
	if len(m.m) == 0 && m.peak > small {
		m.m, m.peak = nil, 0
	}
}

// All yields the keys and values, in no particular order. The map must not
// change during the iteration.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.one {
			yield(m.key, m.v)
			return
		}
		for k, v := range m.m {
			if !yield(k, v) {
				return
			}
		}
	}
}
