package torture_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

var errFailed = errors.New("failed")

func double(v int) (int, error) { return 2 * v, nil }

// failure returns the error of a settled future.
func failure[T any](f *twill.Future[T]) error {
	r, ok := f.Poll()
	if !ok {
		return errors.New("pending")
	}
	return r.Err
}

// TestSoaks runs each soak about ten thousand times, with -long a million
// times.
func TestSoaks(t *testing.T) {
	for name, soak := range soaks {
		t.Run(name, func(t *testing.T) { flat(t, times(4000, 63), soak(t)) })
	}
}

// flat fails the test if the heap grows with the number of calls of fn.
func flat(t *testing.T, n int, fn func()) {
	t.Helper()
	if sizes := slope(n, fn); sizes != nil {
		t.Fatalf("with every %d calls the heap has grown: %d bytes", n, sizes)
	}
}

// slope returns the sizes of the heap after rounds of n calls each, or nil if
// the heap grew by at most a byte for each call while the number of calls
// doubled. A single additional round would not be enough: a map or slice that
// grows allocates in large steps, and many rounds use memory that it has
// already.
func slope(n int, fn func()) (sizes []uint64) {
	for rounds := 1; rounds <= 12; rounds++ {
		for range n {
			fn()
		}
		sizes = append(sizes, heap())
		if half := rounds / 2; half > 1 && sizes[rounds-1] <= sizes[half-1]+uint64((rounds-half)*n) {
			return nil
		}
	}
	return sizes
}

// Anything that is kept is found, even entries of a map.
func TestASlopeIsSeen(t *testing.T) {
	k, words, objects, byKey := 0, []int(nil), []*int(nil), map[int]int{}
	for name, leak := range map[string]func(){
		"slice":    func() { words = append(words, k) },
		"pointers": func() { objects = append(objects, new(int)) },
		"map":      func() { k++; byKey[k] = k },
	} {
		require.NotNil(t, slope(4000, leak), name)
	}
	runtime.KeepAlive(words)
	runtime.KeepAlive(objects)
	runtime.KeepAlive(byKey)
}

// heap returns the size of the reachable heap.
func heap() uint64 {
	for range 3 {
		runtime.GC() // cleanups run after a collection, and free what the next one collects
		time.Sleep(time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
