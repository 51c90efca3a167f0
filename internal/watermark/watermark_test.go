package watermark_test

import (
	"math"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/watermark"
)

// tank is an owner of marks.
type tank struct {
	mu    sync.Mutex
	marks watermark.Marks
	calls []int // n at the high mark, -n at the low one
}

func (k *tank) set(n, low, high int) (call bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.marks.Watch(n, low, high)
}

func (k *tank) call() {
	k.marks.Call(&k.mu,
		func(n int) { k.calls = append(k.calls, n) },
		func(n int) { k.calls = append(k.calls, -n) },
		func(any) {})
}

func TestMarksAreCrossedInTurn(t *testing.T) {
	for _, c := range []struct {
		name      string
		low, high int
		levels    []int
		want      []int
	}{
		{"none", 0, 0, []int{1, 2, 3}, nil},
		{"up and down", 1, 3, []int{1, 2, 3, 4, 3, 2, 1, 0, 3}, []int{3, -1, 3}},
		{"by jumps", 1, 3, []int{9, 0, 9}, []int{9, 0, 9}},
		{"never high", 1, math.MaxInt, []int{5, 0}, nil},
		{"low without high", 1, 3, []int{2, 1, 0}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var k tank
			for _, n := range c.levels {
				if k.set(n, c.low, c.high) {
					k.call()
				}
			}
			require.Equal(t, c.want, k.calls)
		})
	}
}

// Crossings that are recorded while one goroutine makes calls are left to that
// goroutine.
func TestCallsAreMadeOneAtATime(t *testing.T) {
	var k tank
	require.True(t, k.set(2, 0, 2))
	require.False(t, k.set(0, 0, 2), "a call is due already")
	require.False(t, k.set(2, 0, 2))
	k.call()
	require.Equal(t, []int{2, 0, 2}, k.calls)
	require.True(t, k.set(0, 0, 2), "the goroutine has returned")
}

// A nil function is not called.
func TestNilFunctions(t *testing.T) {
	var k tank
	k.set(2, 0, 2)
	k.set(0, 0, 2)
	k.marks.Call(&k.mu, nil, nil, nil)
	require.True(t, k.set(2, 0, 2))
}

// The remaining calls are made even after a panic or a Goexit.
func TestCallsGoOnAfterAPanic(t *testing.T) {
	for name, end := range map[string]func(){
		"panic":  func() { panic("boom") },
		"Goexit": runtime.Goexit,
	} {
		t.Run(name, func(t *testing.T) {
			var k tank
			k.set(2, 0, 2)
			k.set(1, 1, 2)
			panicked, low := make(chan any, 1), make(chan int, 1)
			go k.marks.Call(&k.mu, func(int) { end() }, func(n int) { low <- n }, func(p any) { panicked <- p })
			p := <-panicked
			require.Equal(t, name == "panic", p != nil)
			require.Equal(t, 1, <-low)
		})
	}
}
