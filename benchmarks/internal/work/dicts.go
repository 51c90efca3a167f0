package work

import (
	"context"
	"sync"
	"testing"

	"github.com/twillgo/twill"
)

const keys = 1000

// Get hit: the key is set.

func twillDictHit(b *testing.B) {
	ctx := context.Background()
	var d twill.Dict[int, int]
	for k := range keys {
		must(b, d.Set(k, k))
	}
	b.ResetTimer()
	for n := range b.N {
		Sink, _ = d.Get(n % keys).Await(ctx)
	}
}

func syncMapHit(b *testing.B) {
	var m sync.Map
	for k := range keys {
		m.Store(k, k)
	}
	b.ResetTimer()
	for n := range b.N {
		v, _ := m.Load(n % keys)
		Sink = v.(int)
	}
}

func mapHit(b *testing.B) {
	var mu sync.RWMutex
	m := map[int]int{}
	for k := range keys {
		m[k] = k
	}
	b.ResetTimer()
	for n := range b.N {
		mu.RLock()
		Sink = m[n%keys]
		mu.RUnlock()
	}
}

// Miss, set, fire: get all keys, then set them, then read the results of the
// gets.

func twillDictMiss(b *testing.B) {
	ctx := context.Background()
	gets := make([]*twill.Future[int], keys)
	for range b.N {
		var d twill.Dict[int, int]
		for k := range gets {
			gets[k] = d.Get(k)
		}
		for k := range gets {
			must(b, d.Set(k, k))
		}
		for _, f := range gets {
			Sink, _ = f.Await(ctx)
		}
	}
}

func syncMapMiss(b *testing.B) {
	type entry struct {
		set chan struct{}
		v   int
	}
	gets := make([]*entry, keys)
	for range b.N {
		var m sync.Map
		for k := range gets {
			e, _ := m.LoadOrStore(k, &entry{set: make(chan struct{})})
			gets[k] = e.(*entry)
		}
		for k := range gets {
			e, _ := m.Load(k)
			e.(*entry).v = k
			close(e.(*entry).set)
		}
		for _, e := range gets {
			<-e.set
			Sink = e.v
		}
	}
}
