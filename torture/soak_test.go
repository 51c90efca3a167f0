package torture_test

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/twillgo/twill"
)

var errFailed = errors.New("failed")

func double(v int) (int, error) { return 2 * v, nil }

// failure is the error of a future that is settled.
func failure[T any](f *twill.Future[T]) error {
	r, ok := f.Poll()
	if !ok {
		return errors.New("pending")
	}
	return r.Err
}

// TestSoaks takes each a few thousand times, with -long a million times.
func TestSoaks(t *testing.T) {
	for name, soak := range soaks {
		t.Run(name, func(t *testing.T) { flat(t, times(4000, 250), soak(t)) })
	}
}

// flat fails the test if the heap grows with the number of calls of fn, in
// rounds of n calls: each of several rounds by more than a byte a call.
func flat(t *testing.T, n int, fn func()) {
	t.Helper()
	var sizes []uint64
	for i := range 6 {
		for range n {
			fn()
		}
		sizes = append(sizes, heap())
		if i > 0 && sizes[i] <= sizes[i-1]+uint64(n) {
			return
		}
	}
	t.Fatalf("with every %d calls the heap has grown: %d bytes", n, sizes)
}

// heap is the size of what is reachable.
func heap() uint64 {
	for range 3 {
		runtime.GC() // cleanups run after one, and free what the next one takes
		time.Sleep(time.Millisecond)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
