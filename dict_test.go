package twill_test

import (
	"context"
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestDictGetOfAMissingKeyIsSettledBySet(t *testing.T) {
	var d twill.Dict[string, int]
	f, other := d.Get("a"), d.Get("b")
	kit.RequirePending(t, f)
	require.Equal(t, 2, d.Waiting())
	require.Equal(t, 1, d.WaitingFor("a"))
	require.Zero(t, d.Len())
	require.NoError(t, d.Set("a", 1))
	kit.RequireValue(t, 1, f)
	kit.RequirePending(t, other)
	require.Equal(t, 1, d.Waiting())
	require.Zero(t, d.WaitingFor("a"))
	require.Equal(t, 1, d.Len())
}

func TestDictGetOfAKeyThatIsThere(t *testing.T) {
	var d twill.Dict[string, int]
	require.NoError(t, d.Set("a", 1))
	f := d.Get("a")
	kit.RequireValue(t, 1, f)
	require.False(t, f.Cancel(nil))
	require.NoError(t, d.Set("a", 2))
	kit.RequireValue(t, 1, f)
	kit.RequireValue(t, 2, d.Get("a"))
	v, ok := d.Lookup("a")
	require.True(t, ok)
	require.Equal(t, 2, v)
	_, ok = d.Lookup("b")
	require.False(t, ok)
	require.Zero(t, d.Waiting())
}

// Bug of the original: the value was stored after the waiters had been called,
// and a waiter that called get again broke the others.
func TestDictStoresBeforeItTells(t *testing.T) {
	var d twill.Dict[string, int]
	var again []*twill.Future[int]
	for range 3 {
		d.Get("a").Tap(func(v int, _ error) {
			got, ok := d.Lookup("a")
			require.True(t, ok)
			require.Equal(t, v, got)
			require.Equal(t, 1, d.Len())
			again = append(again, d.Get("a"))
		})
	}
	kit.Watchdog(t, func() { d.Set("a", 7) })
	require.Len(t, again, 3)
	for _, f := range again {
		kit.RequireValue(t, 7, f)
	}
	require.Zero(t, d.Waiting())
}

// Bug of the original: a set of waiters has no order.
func TestDictTellsInTheOrderOfGets(t *testing.T) {
	var d twill.Dict[int, int]
	var order, want []int
	for i := range 100 {
		d.Get(5).Tap(func(int, error) { order = append(order, i) })
		want = append(want, i)
	}
	d.Set(5, 1)
	require.Equal(t, want, order)
}

// A handler changes the key while other handlers have not run yet: those get
// the value that was set for them, and new gets the newer state.
func TestDictHandlersMaySetDeleteAndGetAgain(t *testing.T) {
	var d twill.Dict[string, int]
	var log []int
	var late *twill.Future[int]
	note := func(v int, err error) {
		require.NoError(t, err)
		log = append(log, v)
	}
	d.Get("a").Tap(func(int, error) {
		d.Set("a", 2)
		d.Get("a").Tap(note)
		require.True(t, d.Delete("a"))
		late = d.Get("a")
		late.Tap(note)
	})
	d.Get("a").Tap(note)
	d.Get("a").Tap(func(int, error) { d.Set("a", 3) })
	kit.Watchdog(t, func() { d.Set("a", 1) })
	require.Equal(t, []int{2, 1, 3}, log)
	kit.RequireValue(t, 3, late)
	kit.RequireValue(t, 3, d.Get("a"))
	require.Zero(t, d.Waiting())
}

// Bug of the original: update, setdefault and the constructor called no
// waiters.
func TestDictUpdateTellsThoseWhoWait(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	count := func(old int, ok bool) (int, error) {
		require.Equal(t, ok, old > 0)
		return old + 1, nil
	}
	v, err := d.Update("a", count)
	require.NoError(t, err)
	require.Equal(t, 1, v)
	kit.RequireValue(t, 1, f)
	v, err = d.Update("a", count)
	require.NoError(t, err)
	require.Equal(t, 2, v)
	require.Equal(t, 1, d.Len())

	_, err = d.Update("a", func(int, bool) (int, error) { return 9, kit.ErrBoom })
	require.ErrorIs(t, err, kit.ErrBoom)
	kit.RequireValue(t, 2, d.Get("a"))
	_, err = d.Update("b", func(int, bool) (int, error) { return 9, kit.ErrBoom })
	require.ErrorIs(t, err, kit.ErrBoom)
	_, ok := d.Lookup("b")
	require.False(t, ok)
}

func TestDictUpdateSeesEveryChange(t *testing.T) {
	var d twill.Dict[string, int]
	calls := 0
	v, err := d.Update("a", func(old int, _ bool) (int, error) {
		if calls++; calls == 1 {
			d.Set("a", 10) // as another goroutine might
		}
		return old + 1, nil
	})
	require.NoError(t, err)
	require.Equal(t, 11, v)
	require.Equal(t, 2, calls)

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				d.Update("n", func(old int, _ bool) (int, error) { return old + 1, nil })
			}
		})
	}
	wg.Wait()
	kit.RequireValue(t, 2000, d.Get("n"))
}

func TestDictAll(t *testing.T) {
	var d twill.Dict[string, int]
	want := map[string]int{"a": 1, "b": 2, "c": 3}
	for k, v := range want {
		d.Set(k, v)
	}
	waiting := d.Get("d")
	require.Equal(t, want, maps.Collect(d.All()))
	for k := range d.All() {
		d.Delete(k) // legal inside the loop
	}
	require.Zero(t, d.Len())
	for range d.All() {
		t.Fatal("there is nothing")
	}
	kit.RequirePending(t, waiting)
	d.Set("a", 1)
	d.Set("b", 2)
	for range d.All() {
		break
	}
}

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
		kit.RequireValue(t, 5, two)
		kit.RequireValue(t, 5, d.Get("a"))
		kit.RequireValue(t, 5, d.GetOrCompute(t.Context(), "a", compute))
		require.Equal(t, 1, c.count())
		require.Zero(t, d.Waiting())
	})
}

// The failure fails the futures of GetOrCompute.
func TestDictGetOrComputeThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		get := d.Get("a")
		for _, c := range []struct {
			want error
			fn   func(context.Context) (int, error)
		}{
			{kit.ErrBoom, func(context.Context) (int, error) { return 1, kit.ErrBoom }},
			{kit.ErrFirst, func(context.Context) (int, error) { panic(kit.ErrFirst) }},
			{twill.ErrGoexit, func(context.Context) (int, error) { runtime.Goexit(); return 1, nil }},
		} {
			f := d.GetOrCompute(t.Context(), "a", c.fn)
			synctest.Wait()
			kit.RequireFailure(t, c.want, f)
			kit.RequirePending(t, get)
			require.Equal(t, 1, d.Waiting())
			require.Zero(t, d.Len())
		}
		kit.AwaitValue(t, d.GetOrCompute(t.Context(), "a", func(context.Context) (int, error) { return 2, nil }), 2)
		kit.RequireValue(t, 2, get)
	})
}

// It was computed again and again, as it was never found.
func TestDictGetOrComputeForAKeyThatDoesNotEqualItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[float64, int]
		var n atomic.Int32
		compute := func(context.Context) (int, error) {
			if n.Add(1) == 3 {
				return 0, kit.ErrBoom
			}
			return int(n.Load()), nil
		}
		kit.AwaitValue(t, d.GetOrCompute(t.Context(), math.NaN(), compute), 1)
		kit.AwaitValue(t, d.GetOrCompute(t.Context(), math.NaN(), compute), 2)
		kit.AwaitError(t, d.GetOrCompute(t.Context(), math.NaN(), compute), kit.ErrBoom)
		require.Zero(t, d.Waiting())
		require.Zero(t, twill.Slots(&d))
	})
}

// The function has succeeded: a handler that ends the goroutine is no failure
// for the other callers.
func TestDictGetOrComputeSucceedsWhateverHandlersDo(t *testing.T) {
	for range 20 {
		var d twill.Dict[string, int]
		gate := make(chan struct{})
		compute := func(context.Context) (int, error) { <-gate; return 1, nil }
		one, two := d.GetOrCompute(t.Context(), "a", compute), d.GetOrCompute(t.Context(), "a", compute)
		exits := twill.Then(one, func(int) (int, error) { runtime.Goexit(); return 0, nil })
		close(gate)
		kit.AwaitError(t, exits, twill.ErrGoexit)
		kit.AwaitValue(t, two, 1)
	}
}

// A Set settles the gets at once, and the function is no longer needed.
func TestDictSetEndsTheComputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		c := calls{}
		f := d.GetOrCompute(t.Context(), "a", func(ctx context.Context) (int, error) { return c.fn(ctx, "a") })
		synctest.Wait()
		require.NoError(t, d.Set("a", 9))
		kit.RequireValue(t, 9, f)
		require.ErrorIs(t, context.Cause(c.ctxs[0]), twill.ErrNotNeeded)

		// The value of a function that ignores its context does not replace the set
		// value, and is not stored after a Delete.
		stubborn := calls{stubborn: true}
		f = d.GetOrCompute(t.Context(), "b", func(ctx context.Context) (int, error) { return stubborn.fn(ctx, "b") })
		synctest.Wait()
		d.Set("b", 1)
		d.Delete("b")
		stubborn.result("b") <- 2
		synctest.Wait()
		_, ok := d.Lookup("b")
		require.False(t, ok)
		kit.RequireValue(t, 1, f)
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
		cancel(kit.ErrFirst)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, one)
		kit.RequirePending(t, two)
		require.NoError(t, c.ctxs[0].Err())
		require.True(t, two.Cancel(kit.ErrSecond))
		require.Equal(t, kit.ErrSecond, context.Cause(c.ctxs[0]))
		kit.RequirePending(t, get)
		require.Equal(t, 1, d.Waiting())
		kit.RequireFailure(t, kit.ErrFirst, d.GetOrCompute(ctx, "b", compute))
		require.Equal(t, 1, d.Waiting())
		require.Equal(t, 1, c.count())
	})
}

func TestDictGetOrComputeWithinItselfFails(t *testing.T) {
	var d twill.Dict[string, int]
	var fn func(ctx context.Context) (int, error)
	fn = func(ctx context.Context) (int, error) { return d.GetOrCompute(ctx, "a", fn).Await(ctx) }
	kit.AwaitError(t, d.GetOrCompute(t.Context(), "a", fn), twill.ErrReentrant)
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
		d.Close(kit.ErrBoom)
		kit.RequireFailure(t, kit.ErrBoom, f)
		require.ErrorIs(t, context.Cause(c.ctxs[0]), twill.ErrNotNeeded)
		kit.RequireFailure(t, kit.ErrBoom, d.GetOrCompute(t.Context(), "a", compute))
		synctest.Wait()
		require.Equal(t, 1, c.count())
	})
}

// A handler deletes the value before the other handlers have run, while the
// function still counts as underway, and then computes a new value.
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
		kit.RequireValue(t, 1, two)
		kit.RequireValue(t, 2, again)
		require.Zero(t, d.Waiting())
	})
}

// hookContext calls a function when its Value is called: at a moment between
// the wait and the call.
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
		kit.RequireValue(t, 1, f)

		set = sync.OnceFunc(func() { d.Set("b", 1); d.Delete("b") })
		f = d.GetOrCompute(hookContext{context.Background(), set}, "b", func(ctx context.Context) (int, error) {
			<-ctx.Done() // as its value is no longer needed
			return 2, nil
		})
		kit.RequireValue(t, 1, f)
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

// Concurrent sets, deletes and cancels: no waiter is forgotten, and functions
// for a key that is not deleted never overlap.
func TestDictGetOrComputeStress(t *testing.T) {
	for seed := range uint64(40) {
		var d twill.Dict[int, int]
		var running [2]atomic.Int32
		kit.Watchdog(t, func() {
			var wg sync.WaitGroup
			for g := range 4 {
				rnd := rand.New(rand.NewPCG(seed, uint64(g)))
				wg.Go(func() {
					for range 100 {
						k, n := rnd.IntN(2), rnd.IntN(6) // key 0 is never stored or deleted
						f := d.GetOrCompute(context.Background(), k, func(ctx context.Context) (int, error) {
							if running[k].Add(1) > 1 && k == 0 {
								t.Error("two at a time")
							}
							defer running[k].Add(-1)
							for range n {
								runtime.Gosched()
							}
							if n == 0 || k == 0 {
								return 0, kit.ErrBoom
							}
							return k, nil
						})
						switch {
						case n == 1:
							go f.Cancel(nil)
						case k == 0:
						case n == 2:
							d.Delete(k)
						case n == 3:
							d.Forget(k)
						case n == 4:
							d.Set(k, k)
						}
						v, err := f.Await(context.Background())
						if err == nil && v != k || err != nil && !errors.Is(err, kit.ErrBoom) && !errors.Is(err, twill.ErrCanceled) {
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

func TestDictFailStoresNothing(t *testing.T) {
	var d twill.Dict[string, int]
	one, two := d.Get("a"), d.Get("a")
	d.Fail("a", kit.ErrBoom)
	kit.RequireFailure(t, kit.ErrBoom, one)
	kit.RequireFailure(t, kit.ErrBoom, two)
	again := d.Get("a")
	kit.RequirePending(t, again)
	d.Set("a", 1)
	kit.RequireValue(t, 1, again)
	d.Fail("a", kit.ErrBoom)
	kit.RequireValue(t, 1, d.Get("a"))
	d.Fail("b", kit.ErrBoom)
	kit.RequirePending(t, d.Get("b"))
}

func TestDictDeleteLeavesThoseWhoWait(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	require.False(t, d.Delete("a"))
	kit.RequirePending(t, f)
	d.Set("a", 1)
	require.True(t, d.Delete("a"))
	require.False(t, d.Delete("a"))
	require.Zero(t, d.Len())
	kit.RequireValue(t, 1, f)
	kit.RequirePending(t, d.Get("a"))
}

// Bug of the original: a get that was given up stayed until the key was set.
func TestDictCanceledGetLeavesNoTrace(t *testing.T) {
	var d twill.Dict[string, int]
	one, two := d.Get("a"), d.Get("a")
	require.True(t, one.Cancel(kit.ErrBoom))
	kit.AwaitError(t, one, kit.ErrBoom)
	require.Equal(t, 1, d.WaitingFor("a"))
	require.True(t, two.Cancel(nil))
	require.Zero(t, d.Waiting())
	require.Zero(t, twill.Slots(&d), "the last one took the key along")
	d.Set("a", 1)
	kit.RequireValue(t, 1, d.Get("a"))
	require.False(t, one.Cancel(nil))
}

func TestDictClose(t *testing.T) {
	var d twill.Dict[int, int]
	d.Set(0, 7)
	var order []int
	var fs []*twill.Future[int]
	for i := range 50 {
		f := d.Get(1 + i%7)
		f.Tap(func(int, error) { order = append(order, i) })
		fs = append(fs, f)
	}
	fs[3].Cancel(nil)
	order = nil
	d.Close(kit.ErrBoom)
	require.Len(t, order, 49)
	require.True(t, slices.IsSorted(order), "in the order in which they came, also across keys")
	kit.RequireFailure(t, kit.ErrBoom, fs[0])
	require.Zero(t, d.Waiting())

	kit.RequireFailure(t, kit.ErrBoom, d.Get(1))
	kit.RequireValue(t, 7, d.Get(0))
	require.ErrorIs(t, d.Set(1, 1), twill.ErrClosed)
	require.ErrorIs(t, d.Set(0, 1), twill.ErrClosed)
	_, err := d.Update(0, func(int, bool) (int, error) { return 1, nil })
	require.ErrorIs(t, err, twill.ErrClosed)
	d.Close(kit.ErrFirst)
	kit.RequireFailure(t, kit.ErrBoom, d.Get(1))
	kit.RequireValue(t, 7, d.Get(0))
	require.True(t, d.Delete(0))
	kit.RequireFailure(t, kit.ErrBoom, d.Get(0))

	var e twill.Dict[int, int]
	f := e.Get(1)
	e.Close(nil)
	kit.RequireFailure(t, twill.ErrClosed, f)
}

// A handler that panics, or ends the goroutine of the Set, does not keep the
// other gets from settling.
func TestDictTellsAllWhateverHandlersDo(t *testing.T) {
	var d twill.Dict[string, int]
	twill.Then(d.Get("a"), func(int) (int, error) { panic(kit.ErrBoom) })
	twill.Then(d.Get("a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	last := d.Get("a")
	go d.Set("a", 1)
	kit.AwaitValue(t, last, 1)
}

func TestDictKeyThatCannotBeCompared(t *testing.T) {
	var d twill.Dict[any, int]
	for _, fn := range []func(){
		func() { d.Get([]int{}) },
		func() { d.Lookup([]int{}) },
		func() { d.Set([]int{}, 1) },
		func() { d.Fail([]int{}, kit.ErrBoom) },
		func() { d.Delete([]int{}) },
		func() { d.WaitingFor([]int{}) },
	} {
		require.Panics(t, fn)
	}
	kit.Watchdog(t, func() { d.Set("still usable", 1) })
	require.Equal(t, 1, d.Len())

	var nan twill.Dict[float64, int]
	nan.Set(math.NaN(), 1)
	_, ok := nan.Lookup(math.NaN())
	require.False(t, ok)
}

// In a map of waiters such a key could not be removed again.
func TestDictWaitForAKeyThatDoesNotEqualItself(t *testing.T) {
	var d twill.Dict[float64, int]
	one, two := d.Get(math.NaN()), d.Get(math.NaN())
	require.NoError(t, d.Set(1, 1))
	require.Equal(t, 2, d.Waiting())
	require.True(t, one.Cancel(nil))
	require.Equal(t, 1, d.Waiting())
	require.Equal(t, 1, twill.Slots(&d), "that of the 1")
	d.Close(kit.ErrBoom)
	kit.RequireFailure(t, kit.ErrBoom, two)
	require.Zero(t, d.Waiting())
}

func TestDictMisuse(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	require.PanicsWithValue(t, "twill: Fail with a nil error", func() { d.Fail("a", nil) })
	require.PanicsWithValue(t, "twill: Update with a nil function", func() { d.Update("a", nil) })
	kit.RequirePending(t, f)
}

func TestDictLetsGoOfValues(t *testing.T) {
	var d twill.Dict[string, *[64]int]
	v := new([64]int)
	gone := weak.Make(v)
	f := d.Get("a")
	d.Set("a", v)
	require.True(t, d.Delete("a"))
	kit.RequireValue(t, v, f)
	runtime.KeepAlive(v)
	f = nil
	_ = f
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5e9, 1e6)
	runtime.KeepAlive(&d)
}

func TestDictMillionKeysLeaveNothing(t *testing.T) {
	keys := 1_000_000
	if !kit.Long() {
		keys = 50_000
	}
	var d twill.Dict[int, int]
	batch := func(from, n int) {
		for k := range n {
			f := d.Get(from + k)
			switch k % 3 {
			case 0:
				d.Set(from+k, k)
			case 1:
				f.Cancel(nil)
			}
		}
		for k := range n {
			d.Fail(from+k, kit.ErrBoom)
			d.Delete(from + k)
		}
	}
	batch(0, 1000)
	before := kit.HeapInUse()
	for from := 0; from < keys; from += keys / 4 {
		batch(from, keys/4)
	}
	require.Less(t, float64(kit.HeapInUse())-float64(before), 128*1024.0)
	require.Zero(t, d.Waiting())
	require.Zero(t, d.Len())
	require.Zero(t, twill.Slots(&d))
	runtime.KeepAlive(&d)
}

func TestDictAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	var d twill.Dict[string, int]
	d.Set("a", 1)
	require.Zero(t, testing.AllocsPerRun(200, func() { d.Lookup("a") }))
	require.Zero(t, testing.AllocsPerRun(200, func() { d.Get("a").Poll() }), "gets share one future")
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { d.Set("a", 2) }), 2.0)
}

// Everything concurrently: in the end every get has settled, with a value that
// was set for its key, or was canceled.
func TestDictStress(t *testing.T) {
	for seed := range uint64(40) {
		var d twill.Dict[int, int]
		var mu sync.Mutex
		gets := map[*twill.Future[int]]int{}
		kit.Watchdog(t, func() {
			var wg sync.WaitGroup
			for g := range 4 {
				rnd := rand.New(rand.NewPCG(seed, uint64(g)))
				wg.Go(func() {
					for range 150 {
						k := rnd.IntN(4)
						switch rnd.IntN(8) {
						case 0, 1, 2:
							f := d.Get(k)
							mu.Lock()
							gets[f] = k
							mu.Unlock()
							if rnd.IntN(3) == 0 {
								go f.Cancel(nil)
							}
						case 3, 4:
							d.Set(k, 10*rnd.IntN(100)+k)
						case 5, 6:
							d.Delete(k)
						case 7:
							d.Fail(k, kit.ErrBoom)
						}
					}
				})
			}
			wg.Wait()
			d.Close(nil)
			for f, k := range gets {
				v, err := kit.AwaitSoon(f)
				switch {
				case err == nil:
					require.Equal(t, k, v%10)
				case errors.Is(err, twill.ErrCanceled), errors.Is(err, kit.ErrBoom), errors.Is(err, twill.ErrClosed):
				default:
					t.Error(err)
				}
			}
		})
		require.Zero(t, d.Waiting())
		require.Equal(t, twill.Slots(&d), d.Len())
		require.Equal(t, d.Len(), len(maps.Collect(d.All())))
	}
}

func TestDictGetWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d twill.Dict[string, int]
		require.NoError(t, d.Set("a", 1))
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(kit.ErrBoom)
		v, err := d.GetWait(ended, "a")
		require.NoError(t, err, "a value that is there is returned")
		require.Equal(t, 1, v)
		_, err = d.GetWait(ended, "b")
		require.Equal(t, kit.ErrBoom, err)

		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		_, err = d.GetWait(ctx, "b")
		require.Equal(t, context.DeadlineExceeded, err)
		require.Zero(t, d.Waiting())
		require.Equal(t, 1, twill.Slots(&d))

		type result struct {
			v   int
			err error
		}
		results := make(chan result)
		wait := func() {
			go func() {
				v, err := d.GetWait(t.Context(), "b")
				results <- result{v, err}
			}()
			synctest.Wait()
		}
		wait()
		d.Fail("b", kit.ErrFirst)
		require.Equal(t, result{0, kit.ErrFirst}, <-results)
		wait()
		require.NoError(t, d.Set("b", 2))
		require.Equal(t, result{2, nil}, <-results)
		d.Delete("b")
		wait()
		d.Close(kit.ErrSecond)
		require.Equal(t, result{0, kit.ErrSecond}, <-results)
		_, err = d.GetWait(t.Context(), "b")
		require.Equal(t, kit.ErrSecond, err)
		var none context.Context
		require.PanicsWithValue(t, "twill: GetWait with a nil context", func() { _, _ = d.GetWait(none, "a") })
	})
}

// A thousand waits that gave up left a thousand gets in line.
func TestWaitsThatGiveUpLeaveNothing(t *testing.T) {
	var d twill.Dict[int, int]
	var p twill.Pool
	stuck := twill.NewPromise[int]()
	require.NoError(t, p.Add(stuck.Future()))
	for range 1000 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		_, err := d.GetWait(ctx, 1)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Equal(t, context.DeadlineExceeded, p.EmptyWait(ctx))
		cancel()
	}
	require.Zero(t, d.Waiting())
	require.Zero(t, twill.Slots(&d))
	require.Zero(t, p.Stats().Waiting)
	stuck.Resolve(1)
}

// A value that is set after the end of the context is too late, whichever
// goroutine notices the end.
func TestDictGivesNothingAfterTheEndOfTheContext(t *testing.T) {
	for range 300 {
		var d twill.Dict[string, int]
		ctx, cancel := context.WithCancelCause(context.Background())
		errs := make(chan error)
		go func() {
			_, err := d.GetWait(ctx, "a")
			errs <- err
		}()
		for d.Waiting() == 0 {
			runtime.Gosched()
		}
		f := d.GetOrCompute(ctx, "a", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, context.Cause(ctx)
		})
		cancel(kit.ErrBoom)
		require.NoError(t, d.Set("a", 1))
		require.Equal(t, kit.ErrBoom, <-errs)
		_, err := kit.AwaitSoon(f)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Zero(t, d.Waiting())
	}
}

// What was underway when the key was deleted was stored afterwards.
func TestDictDeleteForgetsTheComputation(t *testing.T) {
	for name, forget := range map[string]func(d *twill.Dict[string, int]) bool{
		"Delete": func(d *twill.Dict[string, int]) bool { return !d.Delete("a") },
		"Forget": func(d *twill.Dict[string, int]) bool { return d.Forget("a") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var d twill.Dict[string, int]
				var gates [3]chan int
				n := 0
				compute := func(ctx context.Context) (int, error) {
					gate := gates[n]
					n++
					return <-gate, nil
				}
				for i := range gates {
					gates[i] = make(chan int)
				}
				get := d.Get("a")
				stale := d.GetOrCompute(t.Context(), "a", compute)
				synctest.Wait()
				require.True(t, forget(&d))
				gates[0] <- 1
				synctest.Wait()
				kit.RequireValue(t, 1, stale)
				kit.RequirePending(t, get)
				_, ok := d.Lookup("a")
				require.False(t, ok, "what was computed before is not stored")

				stale = d.GetOrCompute(t.Context(), "a", compute)
				synctest.Wait()
				require.True(t, forget(&d))
				fresh := d.GetOrCompute(t.Context(), "a", compute) // at once
				synctest.Wait()
				require.Equal(t, 3, n)
				gates[2] <- 3
				synctest.Wait()
				kit.RequireValue(t, 3, fresh)
				kit.RequireValue(t, 3, get)
				kit.RequireValue(t, 3, stale)
				close(gates[1])
				synctest.Wait()
				kit.RequireValue(t, 3, d.Get("a"))
				require.Zero(t, d.Waiting())
				require.False(t, d.Forget("a"))
			})
		})
	}
}

// A settled future keeps its value alone.
func TestDictGetKeepsNoDict(t *testing.T) {
	type key struct{ _ [64]byte }
	d := new(twill.Dict[*key, int])
	k, other := new(key), new(key)
	served, canceled, failed := d.Get(k), d.Get(k), d.Get(other)
	canceled.Cancel(nil)
	computed := d.GetOrCompute(context.WithValue(t.Context(), d, d), k, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, ctx.Err()
	})
	require.NoError(t, d.Set(k, 1))
	d.Close(kit.ErrBoom)
	goneDict, goneKey := weak.Make(d), weak.Make(k)
	d, k = nil, nil
	require.Eventually(t, func() bool {
		runtime.GC()
		return goneDict.Value() == nil && goneKey.Value() == nil
	}, 10*time.Second, time.Millisecond)
	kit.RequireValue(t, 1, served)
	kit.RequireValue(t, 1, computed)
	kit.RequireFailure(t, twill.ErrCanceled, canceled)
	kit.RequireFailure(t, kit.ErrBoom, failed)
	runtime.KeepAlive(other)
}
