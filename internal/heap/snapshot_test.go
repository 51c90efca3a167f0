package heap_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/heap"
)

// snapshots are snapshots with the content that each of them must have.
type snapshots []struct {
	heap.Snapshot[*node]
	want model
}

func (s *snapshots) take(h *heap.Heap[*node], m model) {
	*s = append(*s, struct {
		heap.Snapshot[*node]
		want model
	}{h.Snapshot(), m.sorted()})
}

func (s snapshots) check(t *testing.T) {
	t.Helper()
	for _, s := range s {
		require.Equal(t, len(s.want), s.Len())
		require.True(t, slices.Equal(s.want, s.Sorted()), "Sorted")
		require.True(t, slices.Equal(s.want, slices.Collect(s.InOrder())), "InOrder")
		require.ElementsMatch(t, s.want[:min(50, len(s.want))].items(), s.First(50), "First")
		require.Equal(t, len(s.want), len(slices.Collect(s.All())), "All")
		if len(s.want) > 0 {
			require.Equal(t, s.want[0], s.Peek())
		}
	}
}

// bulk is a heap of many chunks, its entries, and random calls.
type bulk struct {
	heap.Heap[*node]
	entries model
	random  *rand.Rand
	seq     uint64
}

func newBulk(n int) *bulk {
	b := &bulk{random: rand.New(rand.NewPCG(1, uint64(n)))}
	for range n {
		b.push()
	}
	return b
}

// push and the functions below keep b.entries[i].Item.name == i.
func (b *bulk) push() {
	b.seq++
	e := heap.Entry[*node]{Key: heap.Key{Priority: b.random.Int64N(8), Seq: b.seq}, Item: &node{name: len(b.entries)}}
	b.Push(e.Item, e.Key)
	b.entries = append(b.entries, e)
}

func (b *bulk) drop(x *node) {
	last := b.entries[len(b.entries)-1]
	last.Item.name = x.name
	b.entries[x.name] = last
	b.entries = b.entries[:len(b.entries)-1]
}

func (b *bulk) step() {
	switch b.random.IntN(4) {
	case 0:
		b.push()
	case 1:
		if b.Len() > 0 {
			b.drop(b.Pop().Item)
		}
	case 2:
		if b.Len() > 0 {
			e := b.entries[b.random.IntN(len(b.entries))]
			b.Remove(e.Item)
			b.drop(e.Item)
		}
	default:
		if b.Len() > 0 {
			e := &b.entries[b.random.IntN(len(b.entries))]
			e.Priority = b.random.Int64N(8)
			b.Reprioritize(e.Item, e.Priority)
		}
	}
}

func TestSnapshotStaysWhileManyChunksChange(t *testing.T) {
	for _, n := range []int{0, 1, heap.ChunkSize - 1, heap.ChunkSize, heap.ChunkSize + 1, 4*heap.ChunkSize + 7} {
		b := newBulk(n)
		var kept snapshots
		for range 5 {
			kept.take(&b.Heap, b.entries)
			kept.take(&b.Heap, b.entries)
			for range 1000 {
				b.step()
			}
		}
		for b.Len() > 0 {
			b.drop(b.Pop().Item)
		}
		for range n {
			b.push()
		}
		kept.check(t)
		require.Equal(t, b.entries.sorted(), model(b.Clear().Sorted()))
	}
}

// TestSnapshotIsReadWithoutTheLock is for the race detector.
func TestSnapshotIsReadWithoutTheLock(t *testing.T) {
	var mu sync.Mutex
	b := newBulk(3 * heap.ChunkSize)
	var readers sync.WaitGroup
	for range 10 {
		mu.Lock()
		s := b.Snapshot()
		mu.Unlock()
		readers.Go(func() {
			var last heap.Key
			n := 0
			for e := range s.InOrder() {
				if n > 0 && !last.Before(e.Key) || e.Item == nil {
					t.Error("a snapshot must be in order")
					return
				}
				last = e.Key
				n++
			}
			if n != s.Len() || len(s.Sorted()) != n {
				t.Error("a snapshot must be complete")
			}
		})
		for range 1000 {
			mu.Lock()
			b.step()
			mu.Unlock()
		}
	}
	readers.Wait()
}

func TestSnapshotKeepsItemsNoLongerThanItself(t *testing.T) {
	const n = 3 * heap.ChunkSize
	var h heap.Heap[*node]
	var gone []weak.Pointer[node]
	for i := range n {
		x := &node{name: i}
		gone = append(gone, weak.Make(x))
		h.Push(x, heap.Key{Seq: uint64(i)})
	}
	alive := func() (n int) {
		runtime.GC()
		for _, w := range gone {
			if w.Value() != nil {
				n++
			}
		}
		return n
	}
	s := h.Snapshot()
	h.Snapshot() // dropped at once
	for h.Len() > 10 {
		h.Pop()
	}
	require.Equal(t, n, alive(), "what a snapshot shows")
	runtime.KeepAlive(&s)
	require.Eventually(t, func() bool { return alive() == 10 }, 10*time.Second, time.Millisecond,
		"what a snapshot showed must not stay reachable")
	runtime.KeepAlive(&h)
}

// TestSnapshotCopiesLittle bounds the bytes that are copied with the owner's
// lock held, by the snapshot and by the calls that follow.
func TestSnapshotCopiesLittle(t *testing.T) {
	const chunk = heap.ChunkSize * unsafe.Sizeof(heap.Entry[*node]{})
	const n = 50 * heap.ChunkSize
	b := newBulk(n)
	allocated := func(fn func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fn()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	var s heap.Snapshot[*node]
	require.LessOrEqual(t, allocated(func() { s = b.Snapshot() }), uint64(chunk/8))
	for range 100 {
		require.LessOrEqual(t, allocated(func() { b.Pop() }), uint64(9*chunk), "as the heap is deep")
	}
	require.LessOrEqual(t, allocated(func() {
		for b.Len() > n/2 {
			b.Pop()
		}
	}), uint64(55*chunk), "each chunk once")
	require.Equal(t, n, s.Len())
}

func TestMemoryPerEntry(t *testing.T) {
	const n = 1_000_000
	nodes := make([]node, n)
	var h heap.Heap[*node]
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range nodes {
		h.Push(&nodes[i], heap.Key{Seq: uint64(i)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.LessOrEqual(t, float64(after.HeapAlloc-before.HeapAlloc)/n, 24*1.02)
	runtime.KeepAlive(&h)
	runtime.KeepAlive(nodes)
}

func TestMerged(t *testing.T) {
	require.Empty(t, slices.Collect(heap.Merged[*node]()))
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 5))
		var snapshots []heap.Snapshot[*node]
		var all model
		for range random.IntN(6) {
			var h heap.Heap[*node]
			var entries []heap.Entry[*node]
			for range random.IntN(5000) {
				e := heap.Entry[*node]{Key: heap.Key{Priority: random.Int64N(3), Seq: random.Uint64()}, Item: &node{}}
				all = append(all, e)
				entries = append(entries, e)
				h.Push(e.Item, e.Key)
			}
			if seed%2 == 0 {
				snapshots = append(snapshots, heap.SnapshotOf(entries))
			} else {
				snapshots = append(snapshots, h.Snapshot())
			}
		}
		want := []heap.Entry[*node](all.sorted())
		n := 0
		for e := range heap.Merged(snapshots...) {
			require.True(t, want[n] == e)
			n++
		}
		require.Len(t, want, n)
		for e := range heap.Merged(snapshots...) {
			require.True(t, want[0] == e)
			break
		}
	}
}
