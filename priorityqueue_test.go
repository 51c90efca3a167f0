package twill_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func pqPut[T any](t testing.TB, q *twill.PriorityQueue[T], v T, priority int) *twill.Item[T] {
	t.Helper()
	x, err := q.Put(v, priority)
	require.NoError(t, err)
	return x
}

// pqDrain takes out all there is.
func pqDrain[T any](q *twill.PriorityQueue[T]) []T {
	values := []T{}
	for v, ok := q.TryGet(); ok; v, ok = q.TryGet() {
		values = append(values, v)
	}
	return values
}

func TestPriorityQueueEmpty(t *testing.T) {
	var q twill.PriorityQueue[int]
	require.Zero(t, q.Len())
	require.Zero(t, q.Waiting())
	require.Empty(t, q.Snapshot())
	_, ok := q.TryGet()
	require.False(t, ok)
}

func TestPriorityQueueSimplePriorities(t *testing.T) {
	var q twill.PriorityQueue[string]
	pqPut(t, &q, "a", 20)
	pqPut(t, &q, "b", 10)
	pqPut(t, &q, "c", 15)
	require.Equal(t, 3, q.Len())
	require.Equal(t, []string{"b", "c", "a"}, q.Snapshot())
	require.Equal(t, 3, q.Len(), "a snapshot takes nothing")
	for _, want := range []string{"b", "c", "a"} {
		requireValue(t, want, q.Get())
	}
}

func TestPriorityQueueSameValueTwice(t *testing.T) {
	var q twill.PriorityQueue[string]
	pqPut(t, &q, "a", 1)
	pqPut(t, &q, "a", 0)
	require.Equal(t, []string{"a", "a"}, pqDrain(&q))
}

func TestPriorityQueueStable(t *testing.T) {
	var q twill.PriorityQueue[int]
	values := rand.Perm(100)
	for _, v := range values {
		pqPut(t, &q, v, 5)
	}
	require.Equal(t, values, q.Snapshot())
	require.Equal(t, values, pqDrain(&q))
}

func TestPriorityQueueReprioritize(t *testing.T) {
	var q twill.PriorityQueue[string]
	a, b, c := pqPut(t, &q, "a", 20), pqPut(t, &q, "b", 10), pqPut(t, &q, "c", 15)
	require.True(t, c.Reprioritize(7))
	require.True(t, a.Reprioritize(8))
	require.Equal(t, 8, a.Priority())
	require.Equal(t, []string{"c", "a", "b"}, q.Snapshot())

	require.True(t, a.Reprioritize(10))
	require.True(t, c.Reprioritize(10))
	require.Equal(t, []string{"a", "b", "c"}, q.Snapshot(), "among equals, the order of putting")
	require.True(t, b.Reprioritize(10))
	require.Equal(t, []string{"a", "b", "c"}, q.Snapshot(), "the same priority changes nothing")

	require.True(t, b.Remove())
	require.False(t, b.Remove())
	require.False(t, b.Reprioritize(1))
	requireValue(t, "a", q.Get())
	require.False(t, a.Remove())
	require.False(t, a.Reprioritize(1))
	require.Equal(t, 10, a.Priority())
	require.Equal(t, []string{"c"}, pqDrain(&q))
}

// Bugs of the original: moving an item left its old place behind, so that the
// count was one too high and a later get failed; and in a full queue the item was
// lost, for want of room for itself.
func TestPriorityQueueReprioritizeKeepsTheCountAlsoWhenFull(t *testing.T) {
	q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 2})
	a, b := pqPut(t, q, "a", 1), pqPut(t, q, "b", 2)
	for range 10 {
		require.True(t, a.Reprioritize(3))
		require.Equal(t, []string{"b", "a"}, q.Snapshot())
		require.True(t, a.Reprioritize(1))
		require.Equal(t, []string{"a", "b"}, q.Snapshot())
		require.Equal(t, 2, q.Len())
	}
	require.True(t, a.Reprioritize(9))
	_, err := q.Put("c", 0)
	require.Equal(t, twill.ErrQueueOverflow, err, "it is as full as before")
	require.True(t, b.Remove())
	pqPut(t, q, "b", 10) // the same again
	requireValue(t, "a", q.Get())
	requireValue(t, "b", q.Get())
	requirePending(t, q.Get())
}

func TestPriorityQueueRemove(t *testing.T) {
	var q twill.PriorityQueue[string]
	a := pqPut(t, &q, "a", 0)
	require.True(t, a.Remove())
	pqPut(t, &q, "b", 0)
	requireValue(t, "b", q.Get())
	require.Zero(t, q.Len())
}

func TestPriorityQueueItemSpeaksOfWhatIsQueued(t *testing.T) {
	var q twill.PriorityQueue[string]
	a := pqPut(t, &q, "a", 3)
	v, queued := a.Value()
	require.True(t, queued)
	require.Equal(t, "a", v)
	requireValue(t, "a", q.Get())
	v, queued = a.Value()
	require.False(t, queued)
	require.Empty(t, v)

	get := q.Get()
	handed := pqPut(t, &q, "b", 4)
	requireValue(t, "b", get)
	_, queued = handed.Value()
	require.False(t, queued, "it never waited")
	require.False(t, handed.Remove())
	require.False(t, handed.Reprioritize(1))
	require.Equal(t, 4, handed.Priority())
}

// TestPriorityQueueLimits is testQueue of the original.
func TestPriorityQueueLimits(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 2, Backlog: 2})
	first, second := q.Get(), q.Get()
	requireFailure(t, twill.ErrQueueUnderflow, q.Get())
	require.Equal(t, 2, q.Waiting())
	pqPut(t, q, 1, 9)
	requireValue(t, 1, first)
	requirePending(t, second)
	pqPut(t, q, 2, 0)
	requireValue(t, 2, second)

	pqPut(t, q, 3, 9)
	pqPut(t, q, 4, 9)
	_, err := q.Put(5, 0)
	require.ErrorIs(t, err, twill.ErrQueueOverflow)
	require.Equal(t, []int{3, 4}, pqDrain(q))

	unlimited := twill.NewPriorityQueue[int](nil)
	for n := range 100 {
		unlimited.Get()
		require.Equal(t, n+1, unlimited.Waiting())
	}
}

func TestPriorityQueueNegativeLimits(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1})
	_, err := q.Put(1, 0)
	require.ErrorIs(t, err, twill.ErrQueueOverflow)
	get := q.Get()
	pqPut(t, q, 2, 0)
	requireValue(t, 2, get)

	q = twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1})
	requireFailure(t, twill.ErrQueueUnderflow, q.Get())
	pqPut(t, q, 3, 0)
	requireValue(t, 3, q.Get())
}

// TestPriorityQueueSnapshotWhileItIsEmptied: what is got while a Snapshot reads
// is in it all the same, whole, and is not kept afterwards.
func TestPriorityQueueSnapshotWhileItIsEmptied(t *testing.T) {
	var q twill.PriorityQueue[*int]
	const n = 4000
	items := make([]*twill.Item[*int], n)
	gone := make([]weak.Pointer[int], n)
	for i := range n {
		v := new(int)
		*v = i
		gone[i] = weak.Make(v)
		items[i], _ = q.Put(v, 0)
	}
	var emptying sync.WaitGroup
	emptying.Go(func() {
		for i := 0; i < n; i += 2 {
			_, ok := q.TryGet()
			if !ok || !items[n-1-i/2].Remove() {
				t.Error("half are got, half removed")
				return
			}
		}
	})
	for q.Len() > 0 {
		values := q.Snapshot()
		for i, v := range values {
			require.Equal(t, *values[0]+i, *v, "a snapshot is of one moment")
		}
	}
	emptying.Wait()
	require.Eventually(t, func() bool {
		runtime.GC()
		return !slices.ContainsFunc(gone, func(w weak.Pointer[int]) bool { return w.Value() != nil })
	}, 10*time.Second, time.Millisecond, "an item keeps no value that has left")
	runtime.KeepAlive(items)
	runtime.KeepAlive(&q)
}
