package heap_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/twillgo/twill/internal/heap"
)

func BenchmarkHeap(b *testing.B) {
	for _, n := range []int{100, 1_000_000} {
		for _, levels := range []int{1, 8, 1 << 30} {
			b.Run(fmt.Sprintf("n=%d/levels=%d", n, levels), func(b *testing.B) {
				benchmarkHeap(b, n, func() int { return rand.IntN(levels) })
			})
		}
	}
}

func benchmarkHeap(b *testing.B, n int, priority func() int) {
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
}
