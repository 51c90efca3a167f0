package keymap_test

import (
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/keymap"
)

// TestMapIsAMap makes the same random calls of a Map and a Go map, which must
// agree.
func TestMapIsAMap(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var m keymap.Map[string, int]
		want := map[string]int{}
		for range 100 {
			k, v := string(rune('a'+rnd.IntN(1+int(seed%4)))), rnd.Int()
			switch rnd.IntN(3) {
			case 0:
				m.Delete(k)
				delete(want, k)
			default:
				m.Set(k, v)
				want[k] = v
			}
			require.Equal(t, len(want), m.Len())
			require.Equal(t, want[k], m.Get(k))
			require.Equal(t, want, maps.Collect(m.All()))
			for range m.All() {
				break
			}
		}
	}
}

func TestUncomparableKeyPanics(t *testing.T) {
	var m keymap.Map[any, int]
	panics := func() {
		require.Panics(t, func() { m.Get([]int{}) })
		require.Panics(t, func() { m.Set([]int{}, 1) })
		require.Panics(t, func() { m.Delete([]int{}) })
	}
	for i := range 3 {
		panics()
		require.Equal(t, i, m.Len())
		m.Set(i, i)
	}
}

// A key that does not equal itself is kept and not found, as in a map.
func TestNaN(t *testing.T) {
	var m keymap.Map[float64, int]
	for n := range 3 {
		require.Equal(t, n, m.Len())
		m.Set(math.NaN(), 1)
		m.Delete(math.NaN())
		require.Zero(t, m.Get(math.NaN()))
	}
}

// A Go map would keep about forty bytes for each key.
func TestEmptyMapGivesMemoryBack(t *testing.T) {
	const keys = 200_000
	var m keymap.Map[int, int]
	fill := func(from int) {
		for k := range keys {
			m.Set(from+k, k)
		}
		for k := range keys {
			m.Delete(from + k)
		}
	}
	before := heap()
	fill(0)
	require.Less(t, float64(heap())-float64(before), 64*1024.0)
	fill(keys)
	require.Zero(t, m.Len())
	runtime.KeepAlive(&m)
}

func TestDeletedValuesAreLetGo(t *testing.T) {
	var m keymap.Map[int, *[64]int]
	v := new([64]int)
	gone := weak.Make(v)
	m.Set(1, v)
	m.Set(2, v)
	m.Delete(2)
	m.Delete(1)
	m.Set(3, v)
	m.Delete(3)
	runtime.KeepAlive(v)
	runtime.GC()
	require.Nil(t, gone.Value())
	runtime.KeepAlive(&m)
}

// Using a few keys at a time allocates nothing.
func TestFewKeysKeepTheMap(t *testing.T) {
	var m keymap.Map[int, int]
	k := 0
	step := func() {
		m.Set(k, k)
		m.Set(k+1, k)
		m.Delete(k)
		m.Delete(k + 1)
		k++
	}
	step()
	require.Zero(t, testing.AllocsPerRun(1000, step))
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func TestFindable(t *testing.T) {
	require.True(t, keymap.Findable(1.5))
	require.True(t, keymap.Findable(any("a")))
	require.False(t, keymap.Findable(math.NaN()))
	require.False(t, keymap.Findable(any(math.NaN())))
	require.False(t, keymap.Findable([2]float64{0, math.NaN()}))
	require.Panics(t, func() { keymap.Findable(any([]int{})) })
}
