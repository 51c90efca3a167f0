package ring_test

import (
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/ring"
)

func TestAgainstASlice(t *testing.T) {
	for seed := range uint64(100) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var b ring.Buffer[int]
		var model []int
		bias := 1 + rnd.IntN(9)
		for i := range 2000 {
			if i%500 == 0 {
				bias = 10 - bias
			}
			if rnd.IntN(10) < bias {
				b.Push(i)
				model = append(model, i)
			} else if len(model) > 0 {
				require.Equal(t, model[0], b.Pop())
				model = model[1:]
			}
			require.Equal(t, len(model), b.Len())
			if len(model) > 0 {
				at := rnd.IntN(len(model))
				require.Equal(t, model[at], b.At(at))
			}
		}
	}
}

func TestTakenValuesAreReleased(t *testing.T) {
	var b ring.Buffer[*[1024]byte]
	var weaks []weak.Pointer[[1024]byte]
	for range 100 {
		v := new([1024]byte)
		weaks = append(weaks, weak.Make(v))
		b.Push(v)
	}
	for range 99 {
		b.Pop()
	}
	require.Eventually(t, func() bool {
		runtime.GC()
		for _, w := range weaks[:99] {
			if w.Value() != nil {
				return false
			}
		}
		return true
	}, 5*time.Second, time.Millisecond)
	require.NotNil(t, weaks[99].Value())
	runtime.KeepAlive(&b)
}

// Other implementations copy their array again and again around a boundary.
func TestPutAndGetAtABoundaryDoNotCopy(t *testing.T) {
	for _, n := range []int{1 << 10, 1 << 14} {
		for _, at := range []int{n - 1, n, n + 1, n / 2, n / 4, n/4 - 1} {
			var b ring.Buffer[int]
			for i := range n {
				b.Push(i)
			}
			for b.Len() > at {
				b.Pop()
			}
			b.Push(0)
			b.Pop()
			require.Zero(t, testing.AllocsPerRun(100, func() {
				b.Push(1)
				b.Pop()
			}), "%d of %d", at, n)
		}
	}
}
