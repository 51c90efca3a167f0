package twill

import "fmt"

// AllMap is [All] for a map of futures: a future of the map of their values. The
// map is read once, at the call. The first failure fails it, with a [*KeyError] that names
// the key, and cancels the rest if nobody else needs them.
func AllMap[K comparable, T any](m map[K]*Future[T]) *Future[map[K]T] {
	keys, fs := entries(m)
	values := make([]T, len(fs))
	g := &gather[T, map[K]T]{
		f: new(Future[map[K]T]), onError: true, leaves: true, takes: true,
		store: func(i int, v T, _ error) { values[i] = v },
		all: func() (map[K]T, error) {
			out := make(map[K]T, len(keys))
			for i, k := range keys {
				out[k] = values[i]
			}
			return out, nil
		},
		blame: func(i int, err error) error { return &KeyError{keys[i], err} },
	}
	g.start(fs)
	return g.f
}

// SettledMap is [Settled] for a map of futures: a future of the map of their
// results. It never fails.
func SettledMap[K comparable, T any](m map[K]*Future[T]) *Future[map[K]Result[T]] {
	keys, fs := entries(m)
	results := make([]Result[T], len(fs))
	g := &gather[T, map[K]Result[T]]{
		f: new(Future[map[K]Result[T]]), takes: true,
		store: func(i int, v T, err error) { results[i] = Result[T]{v, err} },
		all: func() (map[K]Result[T], error) {
			out := make(map[K]Result[T], len(keys))
			for i, k := range keys {
				out[k] = results[i]
			}
			return out, nil
		},
	}
	g.start(fs)
	return g.f
}

func entries[K comparable, T any](m map[K]*Future[T]) (keys []K, fs []*Future[T]) {
	keys, fs = make([]K, 0, len(m)), make([]*Future[T], 0, len(m))
	for k, f := range m {
		if f == nil {
			panic(fmt.Sprintf("twill: map of futures: that of key %v is nil", k))
		}
		keys, fs = append(keys, k), append(fs, f)
	}
	return keys, fs
}

// KeyError is the failure of a map of futures because of one of them.
type KeyError struct {
	Key any
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("twill: future of key %v: %v", e.Key, e.Err) }

// Unwrap returns the error of the key's future.
func (e *KeyError) Unwrap() error { return e.Err }
