package twill_test

import (
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

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

// In a map of waiters such a key could not be taken out again.
func TestDictWaitForAKeyThatDoesNotEqualItself(t *testing.T) {
	var d twill.Dict[float64, int]
	one, two := d.Get(math.NaN()), d.Get(math.NaN())
	require.NoError(t, d.Set(1, 1))
	require.Equal(t, 2, d.Waiting())
	require.True(t, one.Cancel(nil))
	require.Equal(t, 1, d.Waiting())
	require.Equal(t, 1, twill.Slots(&d), "that of the 1")
	d.Close(errBoom)
	requireFailure(t, errBoom, two)
	require.Zero(t, d.Waiting())
}

func TestDictMisuse(t *testing.T) {
	var d twill.Dict[string, int]
	f := d.Get("a")
	require.PanicsWithValue(t, "twill: Fail with a nil error", func() { d.Fail("a", nil) })
	require.PanicsWithValue(t, "twill: Update with a nil function", func() { d.Update("a", nil) })
	requirePending(t, f)
}
