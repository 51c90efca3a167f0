package twill_test

import (
	"maps"
	"sync"
	"testing"

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
