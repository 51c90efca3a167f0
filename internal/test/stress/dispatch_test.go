//go:build suites

package stress_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// TestDispatchStress calls everything from several goroutines: every future
// settles, no call is made twice, and no more calls run than the largest width
// allows.
func TestDispatchStress(t *testing.T) {
	rounds, puts := 20, 300
	if !kit.Long() {
		rounds = 3
	}
	for round := range rounds {
		rdqStress(t, uint64(round), puts)
	}
}

func rdqStress(t *testing.T, seed uint64, puts int) {
	const putters, widest = 4, 5
	var running, most atomic.Int32
	calls := make([]atomic.Int32, putters*puts)
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		now := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
		}
		calls[n].Add(1)
		switch n % 11 {
		case 0:
			panic(n)
		case 1:
			runtime.Goexit()
		case 2:
			return n, context.Cause(ctx)
		case 3:
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Microsecond):
			}
		}
		return n, nil
	}, &twill.DispatchOptions{Width: widest})

	var all sync.WaitGroup
	jobs := make([][]*twill.Job[int, int], putters)
	for p := range putters {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(p)))
			for n := range puts {
				j, err := q.Put(p*puts+n, random.IntN(4))
				if err != nil {
					t.Error(err)
					return
				}
				jobs[p] = append(jobs[p], j)
				switch random.IntN(4) {
				case 0:
					jobs[p][random.IntN(len(jobs[p]))].Cancel(nil)
				case 1:
					q.Reprioritize(jobs[p][random.IntN(len(jobs[p]))], random.IntN(4))
				}
			}
		})
	}
	all.Go(func() {
		random := rand.New(rand.NewPCG(seed, 99))
		for range puts {
			switch random.IntN(6) {
			case 0:
				q.SetWidth(random.IntN(widest + 1))
			case 1:
				q.Pause()
			case 2:
				q.Resume()
			case 3:
				q.ResumeWidth(random.IntN(widest + 1))
			case 4:
				q.Underway()
				q.Pending()
			case 5:
				runtime.Gosched()
			}
		}
	})
	kit.Watchdog(t, func() {
		all.Wait()
		if err := q.ResumeWidth(widest); err != nil {
			t.Error(err)
		}
		for _, list := range jobs {
			for _, j := range list {
				v, err := j.Await(context.Background())
				if state := j.State(); (err == nil) != (state == twill.JobFinished) || err == nil && v != j.Arg() {
					t.Errorf("seed %d: job %d is %v with %v, %v", seed, j.Arg(), state, v, err)
				}
			}
		}
		q.Stop().Await(context.Background())
	})
	require.LessOrEqual(t, most.Load(), int32(widest))
	for n := range calls {
		require.LessOrEqual(t, calls[n].Load(), int32(1), "calls of job %d", n)
	}
	kit.RequireSize(t, q, 0, 0)
}

// TestDispatchStressStop stops queues while they work.
func TestDispatchStressStop(t *testing.T) {
	for round := range 200 {
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			if n%3 == 0 {
				<-ctx.Done()
			}
			return n, nil
		}, &twill.DispatchOptions{Width: 3})
		var puts, stops sync.WaitGroup
		for p := range 2 {
			puts.Go(func() {
				for n := range 20 {
					if j, err := q.Put(3*n+p, n%2); err == nil && n%5 == 0 {
						j.Cancel(nil)
					}
				}
			})
		}
		kit.Watchdog(t, func() {
			for i := range 3 {
				stops.Go(func() {
					stop := q.StopNow
					if i == round%3 {
						stop = q.Stop
					}
					if _, err := stop().Await(context.Background()); err != nil {
						t.Error(err)
					}
				})
			}
			stops.Wait()
			puts.Wait()
		})
		underway, _ := q.Size()
		require.Zero(t, underway)
	}
}

// TestDispatchMemory limits the cost of a pending job, with everything that
// belongs to it, to 200 bytes.
func TestDispatchMemory(t *testing.T) {
	if !kit.Long() {
		t.Skip("makes a million jobs")
	}
	const n = 1_000_000
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	before := kit.HeapInUse()
	for i := range n {
		q.Put(i, i%8)
	}
	each := float64(kit.HeapInUse()-before) / n
	t.Logf("%.0f bytes for each pending job", each)
	require.LessOrEqual(t, each, 200.0)
	require.Equal(t, n, q.Clear())
	require.Less(t, float64(kit.HeapInUse())-float64(before), 1e6, "all is given back")
	runtime.KeepAlive(q)
}
