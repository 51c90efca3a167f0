package twill_test

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDictGetOfAMissingKeyIsSettledBySet(t *testing.T) {
	var d twill.Dict[string, int]
	f, other := d.Get("a"), d.Get("b")
	requirePending(t, f)
	require.Equal(t, 2, d.Waiting())
	require.Equal(t, 1, d.WaitingFor("a"))
	require.Zero(t, d.Len())
	require.NoError(t, d.Set("a", 1))
	requireValue(t, 1, f)
	requirePending(t, other)
	require.Equal(t, 1, d.Waiting())
	require.Zero(t, d.WaitingFor("a"))
	require.Equal(t, 1, d.Len())
}

func TestDictGetOfAKeyThatIsThere(t *testing.T) {
	var d twill.Dict[string, int]
	require.NoError(t, d.Set("a", 1))
	f := d.Get("a")
	requireValue(t, 1, f)
	require.False(t, f.Cancel(nil))
	require.NoError(t, d.Set("a", 2))
	requireValue(t, 1, f)
	requireValue(t, 2, d.Get("a"))
	v, ok := d.Lookup("a")
	require.True(t, ok)
	require.Equal(t, 2, v)
	_, ok = d.Lookup("b")
	require.False(t, ok)
	require.Zero(t, d.Waiting())
}

// Bug of the original: the value was stored after the waiters had been told,
// and a waiter that asked again broke the telling.
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
	watchdog(t, func() { d.Set("a", 7) })
	require.Len(t, again, 3)
	for _, f := range again {
		requireValue(t, 7, f)
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

// A handler that changes the key while others are still to be told: they get
// the value that was set when they waited, and new gets the newer state.
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
	watchdog(t, func() { d.Set("a", 1) })
	require.Equal(t, []int{2, 1, 3}, log)
	requireValue(t, 3, late)
	requireValue(t, 3, d.Get("a"))
	require.Zero(t, d.Waiting())
}

// Bug of the original: update, setdefault and the constructor told nobody.
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
	requireValue(t, 1, f)
	v, err = d.Update("a", count)
	require.NoError(t, err)
	require.Equal(t, 2, v)
	require.Equal(t, 1, d.Len())

	_, err = d.Update("a", func(int, bool) (int, error) { return 9, errBoom })
	require.ErrorIs(t, err, errBoom)
	requireValue(t, 2, d.Get("a"))
	_, err = d.Update("b", func(int, bool) (int, error) { return 9, errBoom })
	require.ErrorIs(t, err, errBoom)
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
	requireValue(t, 2000, d.Get("n"))
}

func TestDictFailStoresNothing(t *testing.T) {
	var d twill.Dict[string, int]
	one, two := d.Get("a"), d.Get("a")
	d.Fail("a", errBoom)
	requireFailure(t, errBoom, one)
	requireFailure(t, errBoom, two)
	again := d.Get("a")
	requirePending(t, again)
	d.Set("a", 1)
	requireValue(t, 1, again)
	d.Fail("a", errBoom)
	requireValue(t, 1, d.Get("a"))
	d.Fail("b", errBoom)
	requirePending(t, d.Get("b"))
}

func TestDictDeleteLeavesThoseWhoWait(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	require.False(t, d.Delete("a"))
	requirePending(t, f)
	d.Set("a", 1)
	require.True(t, d.Delete("a"))
	require.False(t, d.Delete("a"))
	require.Zero(t, d.Len())
	requireValue(t, 1, f)
	requirePending(t, d.Get("a"))
}

// Bug of the original: a get that was given up stayed until the key was set.
func TestDictCancelledGetLeavesNoTrace(t *testing.T) {
	var d twill.Dict[string, int]
	one, two := d.Get("a"), d.Get("a")
	require.True(t, one.Cancel(errBoom))
	awaitError(t, one, errBoom)
	require.Equal(t, 1, d.WaitingFor("a"))
	require.True(t, two.Cancel(nil))
	require.Zero(t, d.Waiting())
	require.Zero(t, twill.Slots(&d), "the last one took the key along")
	d.Set("a", 1)
	requireValue(t, 1, d.Get("a"))
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
	d.Close(errBoom)
	require.Len(t, order, 49)
	require.True(t, slices.IsSorted(order), "in the order in which they came, also across keys")
	requireFailure(t, errBoom, fs[0])
	require.Zero(t, d.Waiting())

	requireFailure(t, errBoom, d.Get(1))
	requireValue(t, 7, d.Get(0))
	require.ErrorIs(t, d.Set(1, 1), twill.ErrClosed)
	require.ErrorIs(t, d.Set(0, 1), twill.ErrClosed)
	_, err := d.Update(0, func(int, bool) (int, error) { return 1, nil })
	require.ErrorIs(t, err, twill.ErrClosed)
	d.Close(errFirst)
	requireFailure(t, errBoom, d.Get(1))
	requireValue(t, 7, d.Get(0))
	require.True(t, d.Delete(0))
	requireFailure(t, errBoom, d.Get(0))

	var e twill.Dict[int, int]
	f := e.Get(1)
	e.Close(nil)
	requireFailure(t, twill.ErrClosed, f)
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
	requirePending(t, waiting)
	d.Set("a", 1)
	d.Set("b", 2)
	for range d.All() {
		break
	}
}

// A handler that panics, or ends the goroutine of the Set, does not keep the
// others from being told.
func TestDictTellsAllWhateverHandlersDo(t *testing.T) {
	var d twill.Dict[string, int]
	twill.Then(d.Get("a"), func(int) (int, error) { panic(errBoom) })
	twill.Then(d.Get("a"), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	last := d.Get("a")
	go d.Set("a", 1)
	awaitValue(t, last, 1)
}

func TestDictKeyThatCannotBeCompared(t *testing.T) {
	var d twill.Dict[any, int]
	for _, fn := range []func(){
		func() { d.Get([]int{}) },
		func() { d.Lookup([]int{}) },
		func() { d.Set([]int{}, 1) },
		func() { d.Fail([]int{}, errBoom) },
		func() { d.Delete([]int{}) },
		func() { d.WaitingFor([]int{}) },
	} {
		require.Panics(t, fn)
	}
	watchdog(t, func() { d.Set("still usable", 1) })
	require.Equal(t, 1, d.Len())

	var nan twill.Dict[float64, int]
	nan.Set(math.NaN(), 1)
	_, ok := nan.Lookup(math.NaN())
	require.False(t, ok)
}

func TestDictMisuse(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	require.PanicsWithValue(t, "twill: Fail with a nil error", func() { d.Fail("a", nil) })
	require.PanicsWithValue(t, "twill: Update with a nil function", func() { d.Update("a", nil) })
	requirePending(t, f)
}

func TestDictLetsGoOfValues(t *testing.T) {
	var d twill.Dict[string, *[64]int]
	v := new([64]int)
	gone := weak.Make(v)
	f := d.Get("a")
	d.Set("a", v)
	require.True(t, d.Delete("a"))
	requireValue(t, v, f)
	runtime.KeepAlive(v)
	f = nil
	_ = f
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5e9, 1e6)
	runtime.KeepAlive(&d)
}

func TestDictMillionKeysLeaveNothing(t *testing.T) {
	keys := 1_000_000
	if testing.Short() {
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
			d.Fail(from+k, errBoom)
			d.Delete(from + k)
		}
	}
	batch(0, 1000)
	before := heapInUse()
	for from := 0; from < keys; from += keys / 4 {
		batch(from, keys/4)
	}
	require.Less(t, float64(heapInUse())-float64(before), 128*1024.0)
	require.Zero(t, d.Waiting())
	require.Zero(t, d.Len())
	require.Zero(t, twill.Slots(&d))
	runtime.KeepAlive(&d)
}

func TestDictAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	var d twill.Dict[string, int]
	d.Set("a", 1)
	require.Zero(t, testing.AllocsPerRun(200, func() { d.Lookup("a") }))
	require.Zero(t, testing.AllocsPerRun(200, func() { d.Get("a").Poll() }), "gets share one future")
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { d.Set("a", 2) }), 2.0)
}

// Everything at once, against what must hold in the end: every get is settled,
// with a value that was set for its key, or was cancelled.
func TestDictStress(t *testing.T) {
	for seed := range uint64(40) {
		var d twill.Dict[int, int]
		var mu sync.Mutex
		gets := map[*twill.Future[int]]int{}
		watchdog(t, func() {
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
							d.Fail(k, errBoom)
						}
					}
				})
			}
			wg.Wait()
			d.Close(nil)
			for f, k := range gets {
				v, err := awaitSoon(f)
				switch {
				case err == nil:
					require.Equal(t, k, v%10)
				case errors.Is(err, twill.ErrCanceled), errors.Is(err, errBoom), errors.Is(err, twill.ErrClosed):
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
