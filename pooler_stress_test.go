package twill_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// What must hold whoever calls, leaves and forgets when: a function runs once
// at a time for a key, and only while somebody waits or it was cancelled; every
// caller is told, and of a call that had not ended when they came.
func TestPoolerStress(t *testing.T) {
	for seed := range uint64(60) {
		newPoolerStress(seed).run(t)
	}
}

type poolerStress struct {
	seed    uint64
	pooler  *twill.Pooler[int, uint64]
	running [3]atomic.Int32
	clock   atomic.Uint64
	futures atomic.Int64
	settled atomic.Int64
	twice   atomic.Bool
}

func newPoolerStress(seed uint64) *poolerStress {
	s := &poolerStress{seed: seed}
	if seed%2 == 0 {
		s.pooler = twill.NewPooler(s.call)
	} else {
		s.pooler = twill.NewPoolerFuture(func(ctx context.Context, key int) *twill.Future[uint64] {
			// A goroutine that is cancelled goes on: the pooler has to be told when
			// it has returned.
			work := twill.Go(ctx, func(ctx context.Context) (uint64, error) { return s.call(ctx, key) })
			return work.Shield().CatchFuture(func(error) *twill.Future[uint64] { return work.Shield() })
		})
	}
	return s
}

func (s *poolerStress) call(ctx context.Context, key int) (uint64, error) {
	if s.running[key].Add(1) > 1 {
		s.twice.Store(true)
	}
	defer s.running[key].Add(-1)
	n := rand.IntN(8)
	for range n {
		runtime.Gosched()
	}
	switch {
	case n == 1:
		return 0, kit.ErrBoom
	case n == 2:
		panic(kit.ErrBoom)
	case n == 3 && s.seed%2 == 0:
		runtime.Goexit()
	case n == 4 && ctx.Err() != nil:
		return 0, context.Cause(ctx)
	}
	return s.clock.Add(1), nil
}

func (s *poolerStress) run(t *testing.T) {
	kit.Watchdog(t, func() {
		var wg sync.WaitGroup
		for g := range 4 {
			rnd := rand.New(rand.NewPCG(s.seed, uint64(g)))
			wg.Go(func() {
				for range 80 {
					s.step(t, rnd)
				}
			})
		}
		wg.Wait()
		kit.AwaitValue(t, s.pooler.Empty(), struct{}{})
	})
	require.Eventually(t, func() bool { return s.futures.Load() == s.settled.Load() }, 5*time.Second, time.Millisecond)
	stats := s.pooler.Stats()
	require.Zero(t, stats.Underway)
	require.Zero(t, stats.Waiting)
	require.Zero(t, twill.Flights(s.pooler))
	require.False(t, s.twice.Load(), "seed %d: two at a time", s.seed)
}

func (s *poolerStress) step(t *testing.T, rnd *rand.Rand) {
	ctx, cancel := context.WithCancel(context.Background())
	if rnd.IntN(2) == 0 {
		defer cancel()
	} else {
		ctx = context.Background()
	}
	f := s.pooler.Call(ctx, rnd.IntN(len(s.running)))
	s.futures.Add(1)
	f.Tap(func(uint64, error) { s.settled.Add(1) })
	switch rnd.IntN(5) {
	case 0:
		f.Cancel(nil)
	case 1:
		go f.Cancel(kit.ErrFirst)
	case 2:
		go cancel()
	}
	_, err := f.Await(context.Background())
	switch {
	case err == nil, errors.Is(err, kit.ErrBoom), errors.Is(err, twill.ErrGoexit), errors.Is(err, context.Canceled):
	default:
		t.Error(err)
	}
	cancel()
}

func TestPoolerMillionKeysLeaveNothing(t *testing.T) {
	keys := 1_000_000
	if testing.Short() {
		keys = 50_000
	}
	var held []*twill.Promise[int]
	p := twill.NewPoolerFuture(func(_ context.Context, key int) *twill.Future[int] {
		if key%2 == 0 {
			return twill.Resolved(key)
		}
		promise := twill.NewPromise[int]()
		held = append(held, promise)
		return promise.Future()
	})
	batch := func(from, n int) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for k := range n {
			f := p.Call(ctx, from+k)
			if k%4 == 1 {
				f.Cancel(nil)
			}
		}
		for _, promise := range held {
			promise.Resolve(1)
		}
		held = nil
	}
	batch(0, 1000)
	before := kit.HeapInUse()
	for from := 0; from < keys; from += keys / 4 {
		batch(from, keys/4)
	}
	require.Less(t, float64(kit.HeapInUse())-float64(before), 128*1024.0)
	require.Equal(t, twill.PoolerStats{Calls: uint64(keys + 1000)}, p.Stats())
	require.Zero(t, twill.Flights(p))
}

// Callers that join and leave a call that goes on.
func TestPoolerCallersWhoLeaveLeaveNothing(t *testing.T) {
	var promise twill.Promise[int]
	p := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return promise.Future() })
	stay := p.Call(t.Context(), 1)
	long, end := context.WithCancel(t.Context())
	defer end()
	join := func(n int) {
		for i := range n {
			p.Call(long, 1).Cancel(nil)
			ctx, cancel := context.WithCancel(t.Context())
			f := p.Call(ctx, 1)
			if i%2 == 0 {
				f.Cancel(nil)
			}
			cancel()
			f.Await(context.Background())
			p.Empty().Cancel(nil)
		}
	}
	join(100)
	before := kit.HeapInUse()
	join(20_000)
	require.Less(t, float64(kit.HeapInUse())-float64(before), 256*1024.0)
	require.Equal(t, 1, p.Stats().Waiting)
	promise.Resolve(1)
	kit.RequireValue(t, 1, stay)
}

func TestPoolerAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := context.Background()
	settled := twill.Resolved(1)
	ready := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return settled })
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { ready.Call(ctx, 1) }), 1.0, "a miss is one")
	never := twill.NewPromise[int]().Future()
	busy := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return never })
	first := busy.Call(ctx, 1)
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { busy.Call(ctx, 1) }), 1.0, "a joiner is one")
	runtime.KeepAlive(first)
}
