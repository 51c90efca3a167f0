package twill_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/twillgo/twill"
)

const dictBenchKeys = 1 << 16

// BenchmarkDictHit is a get of a key that is there, from all processors at
// once, by Dict and by sync.Map.
func BenchmarkDictHit(b *testing.B) {
	keys := make([]string, dictBenchKeys)
	var d twill.Dict[string, int]
	var m sync.Map
	for i := range keys {
		keys[i] = "key" + strconv.Itoa(i)
		d.Set(keys[i], i)
		m.Store(keys[i], i)
	}
	run := func(name string, get func(k string)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					get(keys[(i*7919)%dictBenchKeys])
				}
			})
		})
	}
	run("Lookup", func(k string) { d.Lookup(k) })
	run("Get", func(k string) { d.Get(k).Poll() })
	run("sync.Map", func(k string) { m.Load(k) })
}

// BenchmarkDictSet is a set of a key that is there.
func BenchmarkDictSet(b *testing.B) {
	var d twill.Dict[int, int]
	var m sync.Map
	b.Run("Set", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			d.Set(i%1000, i)
		}
	})
	b.Run("sync.Map", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Store(i%1000, i)
		}
	})
}

// BenchmarkDictExchange is a get of a missing key, the set that settles it, and
// a delete; and the same for a thousand gets of one key, per get.
func BenchmarkDictExchange(b *testing.B) {
	for _, gets := range []int{1, 1000} {
		b.Run(strconv.Itoa(gets), func(b *testing.B) {
			var d twill.Dict[int, int]
			b.ReportAllocs()
			for n := b.N; n > 0; n -= gets {
				for range gets {
					d.Get(n)
				}
				d.Set(n, n)
				d.Delete(n)
			}
		})
	}
}
