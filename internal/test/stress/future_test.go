//go:build suites

package stress_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// TestStress runs a hundred rounds in which goroutines chain, follow, cancel,
// await and settle futures that they share. In the end every future has
// settled, every handler has run once, and no future has a listener left. Run
// it with -race -tags yield, which lets other goroutines run at every lock.
func TestStress(t *testing.T) {
	for seed := range uint64(100) {
		kit.Watchdog(t, func() { newStress(seed).run(t) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

type stress struct {
	seed     uint64
	promises [6]twill.Promise[int]
	pool     twill.Pool

	mu      sync.Mutex
	futures []*twill.Future[int] // guarded by mu
	added   atomic.Int64         // number of handlers that must run
	ran     atomic.Int64
	double  atomic.Int64
}

func newStress(seed uint64) *stress {
	s := &stress{seed: seed}
	for i := range s.promises {
		s.futures = append(s.futures, s.promises[i].Future())
	}
	return s
}

func (s *stress) run(t *testing.T) {
	var wg sync.WaitGroup
	for g := range 4 {
		rnd := rand.New(rand.NewPCG(s.seed, uint64(g)))
		wg.Go(func() {
			for range 40 {
				s.step(rnd)
			}
		})
	}
	wg.Wait()
	for i := range s.promises {
		s.promises[i].Resolve(i)
	}
	for _, f := range s.futures {
		_, _ = kit.AwaitSoon(f)
		if r, ok := f.Poll(); !ok {
			t.Errorf("pending: %v", r)
		}
		require.Eventually(t, func() bool { return kit.Listeners(f) == 0 }, 5*time.Second, time.Millisecond)
	}
	kit.AwaitValue(t, s.pool.Empty(), struct{}{})
	require.Equal(t, s.added.Load(), s.ran.Load(), "handlers added and run")
	require.Zero(t, s.double.Load(), "handlers run twice")
}

func (s *stress) pick(rnd *rand.Rand) *twill.Future[int] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.futures[rnd.IntN(len(s.futures))]
}

func (s *stress) keep(f *twill.Future[int]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.futures = append(s.futures, f)
}

// once is called by a handler that must run exactly once.
func (s *stress) once() func() {
	s.added.Add(1)
	var ran atomic.Bool
	return func() {
		s.ran.Add(1)
		if ran.Swap(true) {
			s.double.Add(1)
		}
	}
}

func (s *stress) step(rnd *rand.Rand) {
	f := s.pick(rnd)
	p := &s.promises[rnd.IntN(len(s.promises))]
	switch rnd.IntN(19) {
	case 0, 1:
		ran := s.once()
		s.keep(twill.Handle(f, func(v int, err error) (int, error) { ran(); return v, err }))
	case 2:
		ran := s.once()
		s.keep(f.Finally(func() { ran(); panic("stone") }))
	case 3, 4:
		ran, inner := s.once(), s.pick(rnd)
		s.keep(twill.HandleFuture(f, func(int, error) *twill.Future[int] { ran(); return inner }))
	case 5:
		s.keep(f.Catch(func(error) (int, error) { return 1, nil }))
	case 6:
		p.Follow(f)
	case 7, 8:
		f.Cancel(nil)
	case 9:
		p.OnCancel(func(error) { p.Resolve(2) })
	case 10:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(50))*time.Microsecond)
		_, _ = f.Await(ctx)
		cancel()
	case 11:
		s.keep(f.Shield())
	case 12:
		s.keep(f.Timeout(time.Duration(rnd.IntN(100)) * time.Microsecond))
	case 13:
		f.Done()
		_ = s.pool.Add(f)
	case 14:
		s.keep(f.Via(func(f func()) { go f() }))
	case 15:
		s.keep(twill.Any(f, s.pick(rnd)))
	case 16:
		s.keep(twill.Then(twill.All(f, s.pick(rnd), f), func(v []int) (int, error) { return v[0], nil }))
	case 17:
		s.keep(twill.Then(twill.AllSettled(f, s.pick(rnd)), func([]twill.Result[int]) (int, error) { return 0, nil }))
	case 18:
		if rnd.IntN(3) == 0 {
			p.Settle(3, errors.New("rejected"))
		}
	}
}
