//go:build suites

package stress_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestPriorityQueueHandlersMayUseIt(t *testing.T) {
	q := twill.NewPriorityQueue[int](nil)
	kit.Watchdog(t, func() {
		var got []int
		for range 3 {
			q.Get().Tap(func(v int, _ error) {
				got = append(got, v)
				q.Put(v+1, 0)
				q.Len()
				q.Snapshot()
			})
		}
		kit.PQPut(t, q, 1, 0)
		require.Equal(t, []int{1, 2, 3}, got)
		kit.RequireValue(t, 4, q.Get())
		q.Get().Tap(func(int, error) { q.Close() })
		q.Get().Tap(func(int, error) { q.Close() })
		kit.PQPut(t, q, 1, 0)
	})
}

// TestPriorityQueueHandlerThatEndsTheGoroutine: a handler ends the goroutine
// that puts or closes, and no lock stays held.
func TestPriorityQueueHandlerThatEndsTheGoroutine(t *testing.T) {
	q := twill.NewPriorityQueue[int](nil)
	var others []*twill.Future[int]
	exiting := func() {
		q.Get().Tap(func(int, error) { runtime.Goexit() })
		others = append(others, q.Get())
	}
	kit.Watchdog(t, func() {
		exiting()
		var puts sync.WaitGroup
		puts.Go(func() { q.Put(1, 0) })
		puts.Wait()
		q.Put(2, 0)
		kit.RequireValue(t, 2, others[0])
		exiting()
		puts.Go(q.Close)
		_, err := others[1].Await(context.Background())
		require.ErrorIs(t, err, twill.ErrClosed)
	})
}

// TestPriorityQueueReleases: after a value has left the queue, neither the
// queue nor a handle keeps it.
func TestPriorityQueueReleases(t *testing.T) {
	type big struct{ _ [1 << 10]byte }
	q := twill.NewPriorityQueue[*big](nil)
	var gone []weak.Pointer[big]
	var handles []*twill.PriorityItem[*big]
	func() {
		waiting := q.Get()
		for n := range 100 {
			v := new(big)
			gone = append(gone, weak.Make(v))
			handles = append(handles, kit.PQPut(t, q, v, n%3))
		}
		waiting.Poll()
		for _, x := range handles[:50] {
			x.Remove()
		}
		require.Len(t, kit.PQDrain(q), 50)
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		return !slices.ContainsFunc(gone, func(w weak.Pointer[big]) bool { return w.Value() != nil })
	}, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(q)
	runtime.KeepAlive(handles)
}

// TestPriorityQueueAgainstModel compares the queue with a sorted slice.
func TestPriorityQueueAgainstModel(t *testing.T) {
	type entry struct {
		priority, seq int
		item          *twill.PriorityItem[string]
	}
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 3))
		size := random.IntN(8)
		q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: size})
		var m []entry
		sorted := func() (values []string) {
			slices.SortFunc(m, func(a, b entry) int {
				if a.priority != b.priority {
					return a.priority - b.priority
				}
				return a.seq - b.seq
			})
			values = []string{}
			for _, e := range m {
				values = append(values, strconv.Itoa(e.seq))
			}
			return values
		}
		for seq := range 300 {
			switch random.IntN(5) {
			case 0, 1:
				priority := random.IntN(4)
				item, err := q.Put(strconv.Itoa(seq), priority)
				if size > 0 && len(m) == size {
					require.ErrorIs(t, err, twill.ErrQueueFull)
					continue
				}
				require.NoError(t, err)
				m = append(m, entry{priority, seq, item})
			case 2:
				v, ok := q.TryGet()
				require.Equal(t, len(m) > 0, ok)
				if ok {
					require.Equal(t, sorted()[0], v)
					m = m[1:]
				}
			case 3:
				if len(m) > 0 {
					k := random.IntN(len(m))
					m[k].priority = random.IntN(4)
					require.True(t, m[k].item.Reprioritize(m[k].priority))
				}
			case 4:
				if len(m) > 0 && random.IntN(3) == 0 {
					k := random.IntN(len(m))
					require.True(t, m[k].item.Remove())
					m = slices.Delete(m, k, k+1)
				}
			}
			require.Equal(t, sorted(), q.Snapshot())
			require.Equal(t, len(m), q.Len())
		}
	}
}
