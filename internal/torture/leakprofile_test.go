//go:build goexperiment.goroutineleakprofile

package torture_test

import (
	"bytes"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The garbage collector knows which goroutines nothing can ever wake. Of those
// of the soaks there is none.
func TestNoGoroutineIsLeaked(t *testing.T) {
	for name, soak := range soaks {
		t.Run(name, func(t *testing.T) {
			fn := soak(t)
			for range times(20, 50) {
				fn()
			}
			require.Empty(t, leaked(t))
		})
	}
	t.Run("a planted one is found", func(t *testing.T) {
		go plantedLeak(make(chan int))
		for began := time.Now(); !strings.Contains(leaked(t), "plantedLeak"); runtime.Gosched() { // until it waits
			require.Less(t, time.Since(began), 20*time.Second)
		}
	})
}

// plantedLeak waits for ever, to see that this is noticed.
func plantedLeak(ch chan int) { <-ch }

// leaked is the stacks of the goroutines that are leaked.
func leaked(t *testing.T) string {
	var b bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutineleak").WriteTo(&b, 1))
	_, stacks, _ := strings.Cut(b.String(), "\n")
	return strings.TrimSpace(stacks)
}
