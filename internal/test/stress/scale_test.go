//go:build suites

package stress_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestScaleChainOfFiveMillionLinks(t *testing.T) {
	links := 5_000_000
	if !kit.Long() {
		links = 200_000
	}
	kit.SmallStack(t)
	inc := func(v int) (int, error) { return v + 1, nil }
	p := twill.NewPromise[int]()
	f := p.Future()
	for range links {
		f = twill.Then(f, inc)
	}
	p.Resolve(0)
	kit.AwaitValue(t, f, links)

	q := twill.NewPromise[int]()
	f = q.Future()
	for range links {
		f = twill.Then(f, inc)
	}
	require.True(t, f.Cancel(nil), "a cancel goes all the way up")
	kit.AwaitError(t, f, twill.ErrCanceled)
	kit.AwaitError(t, q.Future(), twill.ErrCanceled)
}

// TestScaleNestedFutures: each future is adopted by the future before it.
func TestScaleNestedFutures(t *testing.T) {
	depth := 1_000_000
	if !kit.Long() {
		depth = 100_000
	}
	kit.SmallStack(t)
	promises := make([]twill.Promise[int], depth)
	var next func(i int) *twill.Future[int]
	next = func(i int) *twill.Future[int] {
		if i == depth-1 {
			return promises[i].Future()
		}
		return twill.ThenFuture(promises[i].Future(), func(int) *twill.Future[int] { return next(i + 1) })
	}
	f := next(0)
	for i := range promises {
		promises[i].Resolve(i)
	}
	kit.AwaitValue(t, f, depth-1)

	// By Follow too, from the other end.
	follow := make([]twill.Promise[int], depth)
	for i := range depth - 1 {
		follow[i].Follow(follow[i+1].Future())
	}
	follow[depth-1].Resolve(7)
	kit.AwaitValue(t, follow[0].Future(), 7)
}

func TestScaleMillionWaiters(t *testing.T) {
	waiters := 1_000_000
	if !kit.Long() {
		waiters = 100_000
	}
	kit.SmallStack(t)
	p := twill.NewPromise[int]()
	ran := 0
	fs := make([]*twill.Future[int], waiters)
	for i := range fs {
		fs[i] = twill.Then(p.Future(), func(v int) (int, error) {
			if ran++; ran%100 == 2 {
				panic(kit.ErrBoom)
			}
			return v, nil
		})
	}
	p.Resolve(1)
	require.Equal(t, waiters, ran)
	kit.AwaitValue(t, fs[0], 1)
	kit.AwaitError(t, fs[1], kit.ErrBoom)
}

// TestScaleDeepTree: a tree that is deep on the left, for which the explicit
// stack is needed.
func TestScaleDeepTree(t *testing.T) {
	kit.SmallStack(t)
	const depth = 300_000
	p := twill.NewPromise[int]()
	var order []int
	f := p.Future()
	for i := range depth {
		next := twill.Then(f, kit.Same[int])
		f.Tap(func(int, error) { order = append(order, i) })
		f = next
	}
	p.Resolve(1)
	require.Len(t, order, depth)
	require.Equal(t, depth-1, order[0], "depth first")
	require.Equal(t, 0, order[depth-1])
}

func TestScaleAbandonedAwaitsLeaveNothing(t *testing.T) {
	waits := 1_000_000
	if !kit.Long() {
		waits = 50_000
	}
	p := twill.NewPromise[int]()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	abandon := func(n int) {
		for range n {
			if _, err := p.Future().Await(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
	}
	abandon(1000)
	before := kit.HeapInUse()
	abandon(waits)
	after := kit.HeapInUse()
	require.Zero(t, kit.Listeners(p.Future()))
	require.Zero(t, kit.Users(p.Future()))
	require.Less(t, float64(after)-float64(before), 256*1024.0)
	require.True(t, p.Resolve(1))
}

// The same for waits that have blocked for a while, many at a time.
func TestScaleAbandonedBlockedAwaits(t *testing.T) {
	p := twill.NewPromise[int]()
	round := func() {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for range 1000 {
			go func() {
				_, err := p.Future().Await(ctx)
				done <- err
			}()
		}
		// All are blocked at the same time in each round: the runtime keeps the
		// records of as many goroutines as there were at a time.
		for kit.Listeners(p.Future()) < 1000 {
			runtime.Gosched()
		}
		cancel()
		for range 1000 {
			require.ErrorIs(t, <-done, context.Canceled)
		}
		require.Zero(t, kit.Listeners(p.Future()))
	}
	for range 5 {
		round()
	}
	before := kit.HeapInUse()
	for range 30 {
		round()
	}
	require.Less(t, float64(kit.HeapInUse())-float64(before), 512*1024.0)
	runtime.KeepAlive(p)
}

// Other listeners that leave a pending future.
func TestScaleAbandonedListenersLeaveNothing(t *testing.T) {
	p := twill.NewPromise[int]()
	keep := twill.Then(p.Future(), kit.Same[int])
	leave := func(n int) {
		for range n {
			require.True(t, twill.Then(p.Future(), kit.Same[int]).Cancel(nil))
			require.True(t, p.Future().Shield().Cancel(nil))
			var q twill.Promise[int]
			q.Follow(p.Future())
			q.Resolve(1)
			p.Future().Done()
		}
	}
	leave(100)
	before := kit.HeapInUse()
	leave(20_000)
	require.Equal(t, 2, kit.Listeners(p.Future()), "keep and the bridge")
	require.Less(t, float64(kit.HeapInUse())-float64(before), 256*1024.0)
	p.Resolve(3)
	kit.AwaitValue(t, keep, 3)
}
