package twill_test

import (
	"context"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// What a future costs, in bytes and allocations, which depends on nothing but
// the size of a pointer.

func TestSizes(t *testing.T) {
	sizes := []uintptr{32, 32, 40, 80}
	if unsafe.Sizeof(uintptr(0)) == 4 {
		sizes = []uintptr{20, 20, 24, 44}
	}
	require.Equal(t, sizes, []uintptr{
		unsafe.Sizeof(twill.Future[int]{}),
		unsafe.Sizeof(twill.Promise[int]{}),
		unsafe.Sizeof(twill.Future[string]{}),
		twill.SizeOfThen,
	})
}

func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	settled := twill.Resolved(1)
	pending := twill.NewPromise[int]().Future()
	ended, end := context.WithCancel(t.Context())
	end()
	handler := func(v int) (int, error) { return v, nil }
	for _, c := range []struct {
		name string
		want float64
		fn   func()
	}{
		{"create, resolve, read", 1, func() {
			p := twill.NewPromise[int]()
			p.Resolve(1)
			_, _ = p.Future().Await(ctx)
		}},
		{"read a settled one", 0, func() { _, _ = settled.Await(ctx) }},
		{"poll a settled one", 0, func() { settled.Poll() }},
		{"attach a handler, then resolve", 2, func() {
			p := twill.NewPromise[int]()
			twill.Then(p.Future(), handler)
			p.Resolve(1)
		}},
		{"a handler on a settled one", 1, func() { twill.Then(settled, handler) }},
		{"chain of 100", 101, func() {
			p := twill.NewPromise[int]()
			f := p.Future()
			for range 100 {
				f = twill.Then(f, handler)
			}
			p.Resolve(1)
		}},
		{"a wait that is given up", 0, func() { _, _ = pending.Await(ended) }},
		{"Done of a settled one", 0, func() { settled.Done() }},
		{"Go and Await", 2, func() {
			_, _ = twill.Go(ctx, func(context.Context) (int, error) { return 1, nil }).Await(ctx)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.LessOrEqual(t, testing.AllocsPerRun(200, c.fn), c.want)
		})
	}
}

// A blocked wait takes its waiter from a pool.
func TestBlockedAwaitAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector drops from pools at random")
	}
	promises := make(chan *twill.Promise[int])
	go func() {
		for p := range promises {
			p.Resolve(1)
		}
	}()
	defer close(promises)
	n := testing.AllocsPerRun(1000, func() {
		p := twill.NewPromise[int]()
		promises <- p
		_, _ = p.Future().Await(t.Context())
	})
	require.LessOrEqual(t, n, 1.0, "only the promise")
}
