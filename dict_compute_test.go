package twill_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDictGetOrComputeIsOneCallForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		var c calls
		compute := func(ctx context.Context) (int, error) { return c.fn(ctx, "a") }
		get := d.Get("a")
		one, two := d.GetOrCompute(t.Context(), "a", compute), d.GetOrCompute(t.Context(), "a", compute)
		synctest.Wait()
		require.Equal(t, 1, c.count())
		require.Equal(t, 3, d.WaitingFor("a"))
		var order []int
		for i, f := range []*twill.Future[int]{get, one, two} {
			f.Tap(func(int, error) { order = append(order, i) })
		}
		c.result("a") <- 5
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2}, order)
		requireValue(t, 5, two)
		requireValue(t, 5, d.Get("a"))
		requireValue(t, 5, d.GetOrCompute(t.Context(), "a", compute))
		require.Equal(t, 1, c.count())
		require.Zero(t, d.Waiting())
	})
}

// The failure is that of those who had it computed.
func TestDictGetOrComputeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		get := d.Get("a")
		for _, c := range []struct {
			want error
			fn   func(context.Context) (int, error)
		}{
			{errBoom, func(context.Context) (int, error) { return 1, errBoom }},
			{errFirst, func(context.Context) (int, error) { panic(errFirst) }},
			{twill.ErrGoexit, func(context.Context) (int, error) { runtime.Goexit(); return 1, nil }},
		} {
			f := d.GetOrCompute(t.Context(), "a", c.fn)
			synctest.Wait()
			requireFailure(t, c.want, f)
			requirePending(t, get)
			require.Equal(t, 1, d.Waiting())
			require.Zero(t, d.Len())
		}
		awaitValue(t, d.GetOrCompute(t.Context(), "a", func(context.Context) (int, error) { return 2, nil }), 2)
		requireValue(t, 2, get)
	})
}

// It was made again and again, as nobody found it.
func TestDictGetOrComputeForAKeyThatDoesNotEqualItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[float64, int32]
		var n atomic.Int32
		compute := func(context.Context) (int32, error) {
			if n.Add(1) == 3 {
				return 0, errBoom
			}
			return n.Load(), nil
		}
		awaitValue(t, d.GetOrCompute(t.Context(), math.NaN(), compute), 1)
		awaitValue(t, d.GetOrCompute(t.Context(), math.NaN(), compute), 2)
		awaitError(t, d.GetOrCompute(t.Context(), math.NaN(), compute), errBoom)
		require.Zero(t, d.Waiting())
		require.Zero(t, twill.Slots(&d))
	})
}

// The function has succeeded: that a handler of one who is told of it ends the
// goroutine is no failure of the others.
func TestDictGetOrComputeSucceedsWhateverHandlersDo(t *testing.T) {
	for range 20 {
		var d twill.Dict[string, int]
		gate := make(chan struct{})
		compute := func(context.Context) (int, error) { <-gate; return 1, nil }
		one, two := d.GetOrCompute(t.Context(), "a", compute), d.GetOrCompute(t.Context(), "a", compute)
		exits := twill.Then(one, func(int) (int, error) { runtime.Goexit(); return 0, nil })
		close(gate)
		awaitError(t, exits, twill.ErrGoexit)
		awaitValue(t, two, 1)
	}
}

// A Set answers at once, and then nobody needs the function any more.
func TestDictSetEndsTheComputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		c := calls{}
		f := d.GetOrCompute(t.Context(), "a", func(ctx context.Context) (int, error) { return c.fn(ctx, "a") })
		synctest.Wait()
		require.NoError(t, d.Set("a", 9))
		requireValue(t, 9, f)
		require.ErrorIs(t, context.Cause(c.ctxs[0]), twill.ErrNotNeeded)

		// A stubborn one is not stored over it, nor after a Delete.
		stubborn := calls{stubborn: true}
		f = d.GetOrCompute(t.Context(), "b", func(ctx context.Context) (int, error) { return stubborn.fn(ctx, "b") })
		synctest.Wait()
		d.Set("b", 1)
		d.Delete("b")
		stubborn.result("b") <- 2
		synctest.Wait()
		_, ok := d.Lookup("b")
		require.False(t, ok)
		requireValue(t, 1, f)
	})
}

func TestDictGetOrComputeEndsWithItsLastCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		var c calls
		compute := func(ctx context.Context) (int, error) { return c.fn(ctx, "a") }
		ctx, cancel := context.WithCancelCause(t.Context())
		one, two := d.GetOrCompute(ctx, "a", compute), d.GetOrCompute(t.Context(), "a", compute)
		get := d.Get("a")
		synctest.Wait()
		cancel(errFirst)
		synctest.Wait()
		requireFailure(t, errFirst, one)
		requirePending(t, two)
		require.NoError(t, c.ctxs[0].Err())
		require.True(t, two.Cancel(errSecond))
		require.Equal(t, errSecond, context.Cause(c.ctxs[0]))
		requirePending(t, get)
		require.Equal(t, 1, d.Waiting())
		requireFailure(t, errFirst, d.GetOrCompute(ctx, "b", compute))
		require.Equal(t, 1, d.Waiting())
		require.Equal(t, 1, c.count())
	})
}

func TestDictGetOrComputeWithinItselfFails(t *testing.T) {
	var d twill.Dict[string, int]
	var fn func(ctx context.Context) (int, error)
	fn = func(ctx context.Context) (int, error) { return d.GetOrCompute(ctx, "a", fn).Await(ctx) }
	awaitError(t, d.GetOrCompute(t.Context(), "a", fn), twill.ErrReentrant)
	require.Eventually(t, func() bool { return d.Waiting() == 0 }, 5e9, 1e6)
	require.Zero(t, twill.Slots(&d))
}

func TestDictGetOrComputeAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		var c calls
		compute := func(ctx context.Context) (int, error) { return c.fn(ctx, "a") }
		f := d.GetOrCompute(t.Context(), "a", compute)
		synctest.Wait()
		d.Close(errBoom)
		requireFailure(t, errBoom, f)
		require.ErrorIs(t, context.Cause(c.ctxs[0]), twill.ErrNotNeeded)
		requireFailure(t, errBoom, d.GetOrCompute(t.Context(), "a", compute))
		synctest.Wait()
		require.Equal(t, 1, c.count())
	})
}

// A handler deletes the value while others, for whom the function still counts
// as underway, are to be told; then it wants a new one.
func TestDictGetOrComputeAfterADeleteInBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		n := 0
		compute := func(context.Context) (int, error) { n++; return n, nil }
		one, two := d.GetOrCompute(t.Context(), "a", compute), d.GetOrCompute(t.Context(), "a", compute)
		var again *twill.Future[int]
		one.Tap(func(int, error) {
			d.Delete("a")
			again = d.GetOrCompute(t.Context(), "a", compute)
		})
		synctest.Wait()
		requireValue(t, 1, two)
		requireValue(t, 2, again)
		require.Zero(t, d.Waiting())
	})
}

// hookContext calls a function when it is asked for a value: at a moment
// between the wait and the call.
type hookContext struct {
	context.Context
	hook func()
}

func (c hookContext) Value(key any) any {
	c.hook()
	return c.Context.Value(key)
}

func TestDictSetBetweenTheWaitAndTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		set := sync.OnceFunc(func() { d.Set("a", 1) })
		f := d.GetOrCompute(hookContext{context.Background(), set}, "a", func(context.Context) (int, error) {
			t.Error("called")
			return 2, nil
		})
		requireValue(t, 1, f)

		set = sync.OnceFunc(func() { d.Set("b", 1); d.Delete("b") })
		f = d.GetOrCompute(hookContext{context.Background(), set}, "b", func(ctx context.Context) (int, error) {
			<-ctx.Done() // for nobody needs it
			return 2, nil
		})
		requireValue(t, 1, f)
		synctest.Wait()
		require.Zero(t, d.Len()-1)
	})
}

func TestDictGetOrComputeMisuse(t *testing.T) {
	var d twill.Dict[string, int]
	var noContext context.Context
	require.PanicsWithValue(t, "twill: GetOrCompute with a nil context", func() { d.GetOrCompute(noContext, "a", nil) })
	require.PanicsWithValue(t, "twill: GetOrCompute with a nil function", func() { d.GetOrCompute(t.Context(), "a", nil) })
	require.Zero(t, d.Waiting())
}

// Sets, deletes and cancels at the same time: nobody is forgotten, and a
// function never runs twice at a time for a key.
func TestDictGetOrComputeStress(t *testing.T) {
	for seed := range uint64(40) {
		var d twill.Dict[int, int]
		var running [2]atomic.Int32
		watchdog(t, func() {
			var wg sync.WaitGroup
			for g := range 4 {
				rnd := rand.New(rand.NewPCG(seed, uint64(g)))
				wg.Go(func() {
					for range 100 {
						k, n := rnd.IntN(2), rnd.IntN(6)
						f := d.GetOrCompute(context.Background(), k, func(ctx context.Context) (int, error) {
							if running[k].Add(1) > 1 {
								t.Error("two at a time")
							}
							defer running[k].Add(-1)
							for range n {
								runtime.Gosched()
							}
							if n == 0 {
								return 0, errBoom
							}
							return k, nil
						})
						switch n {
						case 1:
							go f.Cancel(nil)
						case 2, 3:
							d.Delete(k)
						case 4:
							d.Set(k, k)
						}
						v, err := f.Await(context.Background())
						if err == nil && v != k || err != nil && !errors.Is(err, errBoom) && !errors.Is(err, twill.ErrCanceled) {
							t.Error(v, err)
						}
					}
				})
			}
			wg.Wait()
		})
		require.Zero(t, d.Waiting())
		require.Equal(t, d.Len(), twill.Slots(&d))
	}
}
