package twill_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

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

// Everything at once, against what must hold in the end: every get is settled,
// with a value that was set for its key, or was cancelled.
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
