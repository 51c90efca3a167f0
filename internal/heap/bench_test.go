package heap_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twillgo/twill/internal/heap"
)

func BenchmarkHeap(b *testing.B) {
	for _, n := range []int{1000, 1_000_000, 4_000_000} {
		for _, levels := range []int64{1, 8, 1 << 30} {
			b.Run(fmt.Sprintf("n=%d/levels=%d", n, levels), func(b *testing.B) {
				benchmarkHeap(b, n, func() int64 { return rand.Int64N(levels) })
			})
		}
	}
}

func benchmarkHeap(b *testing.B, n int, priority func() int64) {
	var h heap.Heap[*node]
	nodes := make([]*node, n)
	var seq uint64
	push := func(x *node) { seq++; h.Push(x, heap.Key{Priority: priority(), Seq: seq}) }
	for i := range nodes {
		nodes[i] = &node{name: i}
		push(nodes[i])
	}
	b.Run("pop+push", func(b *testing.B) {
		for b.Loop() {
			push(h.Pop().Item)
		}
	})
	b.Run("remove+push", func(b *testing.B) {
		for b.Loop() {
			x := nodes[rand.IntN(n)]
			h.Remove(x)
			push(x)
		}
	})
	b.Run("reprioritize", func(b *testing.B) {
		for b.Loop() {
			h.Reprioritize(nodes[rand.IntN(n)], priority())
		}
	})
	b.Run("first100", func(b *testing.B) {
		for b.Loop() {
			h.First(100)
		}
	})
	b.Run("drain+fill", func(b *testing.B) {
		for b.Loop() {
			for h.Len() > 0 {
				h.Pop()
			}
			for _, x := range nodes {
				push(x)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/item")
	})
}

// BenchmarkGrow reports the longest of four million pushes.
func BenchmarkGrow(b *testing.B) {
	nodes := make([]node, 4_000_000)
	longest := time.Duration(1 << 62)
	for b.Loop() {
		var h heap.Heap[*node]
		var most time.Duration
		for i := range nodes {
			start := time.Now()
			h.Push(&nodes[i], heap.Key{Seq: uint64(i)})
			most = max(most, time.Since(start))
		}
		longest = min(longest, most)
	}
	b.ReportMetric(float64(longest.Microseconds()), "us-longest-push")
}

// BenchmarkSnapshot measures a heap of a million entries: taking a snapshot,
// sorting a page of it, and a thousand pops and pushes, which copy the chunks
// that they change. It reports the shortest time of each.
func BenchmarkSnapshot(b *testing.B) {
	var h heap.Heap[*node]
	var seq uint64
	push := func(x *node) {
		seq++
		h.Push(x, heap.Key{Priority: rand.Int64N(8), Seq: seq})
	}
	for range 1_000_000 {
		push(&node{})
	}
	names := []string{"ns-snapshot", "ns-first-100", "ns-first-pop+push", "ns-999-more"}
	least := []time.Duration{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64}
	for b.Loop() {
		var s heap.Snapshot[*node]
		for i, part := range []func(){
			func() { s = h.Snapshot() },
			func() { s.First(100) },
			func() { push(h.Pop().Item) },
			func() {
				for range 999 {
					push(h.Pop().Item)
				}
			},
		} {
			start := time.Now()
			part()
			least[i] = min(least[i], time.Since(start))
		}
	}
	for i, name := range names {
		b.ReportMetric(float64(least[i].Nanoseconds()), name)
	}
}
