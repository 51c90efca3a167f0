package heap_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/heap"
)

type node struct {
	heap.Place
	name int
	_    *int // a pointer, so that the item has its own block of memory, however short a word is
}

// model is the simple implementation to compare with: a slice that is sorted
// for every comparison.
type model []heap.Entry[*node]

func (m model) sorted() model {
	m = slices.Clone(m)
	slices.SortFunc(m, func(a, b heap.Entry[*node]) int {
		return cmp.Or(cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Seq, b.Seq))
	})
	return m
}

func (m model) first() heap.Entry[*node] {
	return slices.MinFunc(m, func(a, b heap.Entry[*node]) int { return a.Compare(b.Key) })
}

func (m model) items() []*node {
	items := make([]*node, len(m))
	for i, e := range m {
		items[i] = e.Item
	}
	return items
}

func TestBefore(t *testing.T) {
	for _, c := range []struct {
		a, b heap.Key
		want bool
	}{
		{heap.Key{Priority: 1, Seq: 2}, heap.Key{Priority: 2, Seq: 1}, true},
		{heap.Key{Priority: 2, Seq: 1}, heap.Key{Priority: 1, Seq: 2}, false},
		{heap.Key{Priority: 1, Seq: 1}, heap.Key{Priority: 1, Seq: 2}, true},
		{heap.Key{Priority: 1, Seq: 2}, heap.Key{Priority: 1, Seq: 1}, false},
		{heap.Key{Priority: 1, Seq: 1}, heap.Key{Priority: 1, Seq: 1}, false},
		{heap.Key{Priority: -1, Seq: 9}, heap.Key{}, true},
	} {
		require.Equal(t, c.want, c.a.Before(c.b), "%v before %v", c.a, c.b)
		require.Equal(t, c.want, c.a.Compare(c.b) < 0, "%v compared with %v", c.a, c.b)
		require.Equal(t, c.a == c.b, c.a.Compare(c.b) == 0, "%v compared with %v", c.a, c.b)
	}
}

func TestEmpty(t *testing.T) {
	var h heap.Heap[*node]
	require.Zero(t, h.Len())
	require.Empty(t, h.First(3))
	require.Empty(t, h.Snapshot().Sorted())
	require.Empty(t, h.Clear().Sorted())
	require.False(t, h.Has(&node{}))
	for range h.InOrder() {
		t.Fatal("an empty heap has nothing to walk")
	}
}

func TestEqualPrioritiesComeOutInTheirOrder(t *testing.T) {
	var h heap.Heap[*node]
	for i := range 1000 {
		h.Push(&node{name: i}, heap.Key{Priority: 7, Seq: uint64(i)})
	}
	for i := range 1000 {
		require.Equal(t, i, h.Pop().Item.name)
	}
}

func TestPushBackUnderTheOldKeyTakesTheOldPlace(t *testing.T) {
	var h heap.Heap[*node]
	for i := range 10 {
		h.Push(&node{name: i}, heap.Key{Seq: uint64(i)})
	}
	first := h.Pop()
	h.Push(first.Item, first.Key)
	require.Equal(t, first, h.Pop())
}

func TestHasTellsHeapsApart(t *testing.T) {
	var one, other heap.Heap[*node]
	x, y := &node{}, &node{}
	one.Push(x, heap.Key{})
	other.Push(y, heap.Key{})
	require.True(t, one.Has(x))
	require.False(t, other.Has(x))
	require.False(t, one.Has(y))
	one.Remove(x)
	require.False(t, one.Has(x))
}

// TestAgainstModel drives a heap and a sorted slice with the same random calls.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		levels := []int64{1, 3, 8, 1 << 30}[seed%4]
		script := make([]byte, 1500)
		random := rand.New(rand.NewPCG(seed, 1))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			runScript(t, script, func() int64 { return random.Int64N(levels) - levels/2 })
		})
	}
}

func FuzzAgainstModel(f *testing.F) {
	f.Add([]byte{0, 0, 0, 128, 200, 0, 0, 250})
	f.Fuzz(func(t *testing.T, script []byte) {
		random := rand.New(rand.NewPCG(uint64(len(script)), 2))
		runScript(t, script, func() int64 { return random.Int64N(5) })
	})
}

// runScript makes one call for each byte of script. Some calls take a snapshot,
// which is compared only after all calls.
func runScript(t *testing.T, script []byte, priority func() int64) {
	t.Helper()
	var h heap.Heap[*node]
	var m model
	var snapshots snapshots
	defer func() { snapshots.check(t) }()
	for seq, b := range script {
		pick := seq * 7919
		switch {
		case b < 110 || len(m) == 0:
			e := heap.Entry[*node]{Key: heap.Key{Priority: priority(), Seq: uint64(seq)}, Item: &node{name: seq}}
			h.Push(e.Item, e.Key)
			m = append(m, e)
		case b < 160:
			want := m.sorted()[0]
			require.Equal(t, want, h.Pop())
			m = slices.DeleteFunc(m, func(e heap.Entry[*node]) bool { return e.Item == want.Item })
		case b < 190:
			want := m[pick%len(m)]
			require.Equal(t, want, h.Remove(want.Item))
			m = slices.Delete(m, pick%len(m), pick%len(m)+1)
		case b < 240:
			e := &m[pick%len(m)]
			e.Priority = priority()
			h.Reprioritize(e.Item, e.Priority)
		case b < 250:
			n := pick % (len(m) + 3)
			require.Equal(t, m.sorted()[:min(n, len(m))].items(), append([]*node{}, h.First(n)...))
		case b < 254:
			snapshots.take(&h, m)
		default:
			require.Equal(t, m.sorted(), model(h.Clear().Sorted()))
			m = nil
		}
		if len(m) > 0 {
			require.Equal(t, m.first(), h.Peek())
		}
		require.Equal(t, len(m), h.Len())
	}
	for _, e := range m {
		require.True(t, h.Has(e.Item))
	}
	entries := h.Snapshot().Sorted()
	require.True(t, slices.Equal(m.sorted(), entries), "Snapshot")
	require.ElementsMatch(t, entries, slices.Collect(h.All()))
	require.True(t, slices.Equal(m.sorted(), slices.Collect(h.InOrder())), "InOrder")
	for _, want := range m.sorted() {
		require.Equal(t, want, h.Pop())
		require.False(t, h.Has(want.Item))
	}
}

func TestWhatLeftIsReleased(t *testing.T) {
	var h heap.Heap[*node]
	const n = 1000
	var gone []weak.Pointer[node]
	fill := func() {
		var nodes []*node
		for i := range n {
			x := &node{name: i}
			h.Push(x, heap.Key{Priority: int64(i % 3), Seq: uint64(i)})
			nodes = append(nodes, x)
		}
		for i, x := range nodes {
			gone = append(gone, weak.Make(x))
			if i%2 == 0 {
				h.Remove(x)
			}
		}
		for h.Len() > 10 {
			h.Pop()
		}
	}
	fill()
	require.Eventually(t, func() bool {
		runtime.GC()
		alive := 0
		for _, w := range gone {
			if w.Value() != nil {
				alive++
			}
		}
		return alive == 10
	}, 10*time.Second, time.Millisecond, "popped and removed items must not stay reachable")
	runtime.KeepAlive(&h)
}

func TestArrayShrinks(t *testing.T) {
	var h heap.Heap[*node]
	const n = 1 << 16
	for i := range n {
		h.Push(&node{}, heap.Key{Seq: uint64(i)})
	}
	require.GreaterOrEqual(t, heap.Cap(&h), n)
	require.LessOrEqual(t, heap.Cap(&h), n+heap.ChunkSize)
	for h.Len() > 0 {
		require.LessOrEqual(t, heap.Cap(&h), max(64, min(8*h.Len()+8, h.Len()+2*heap.ChunkSize)))
		h.Pop()
	}
	require.LessOrEqual(t, heap.Cap(&h), 64)
}

// TestNoCopyingAboutABoundary pushes and pops at every length around the powers
// of two and around whole chunks: growing and shrinking must not alternate.
func TestNoCopyingAboutABoundary(t *testing.T) {
	var h heap.Heap[*node]
	x := &node{}
	for i := range 2*heap.ChunkSize + 10 {
		h.Push(&node{}, heap.Key{Seq: uint64(i)})
		h.Push(x, heap.Key{Priority: -1})
		h.Pop()
		require.Zero(t, testing.AllocsPerRun(3, func() {
			h.Push(x, heap.Key{Priority: -1})
			h.Pop()
		}), "at %d", i)
	}
}
