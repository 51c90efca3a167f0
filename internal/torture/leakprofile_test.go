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

// The garbage collector knows which goroutines can never be woken. The soaks
// leave none.
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

// plantedLeak waits forever, so that the test can see whether this is noticed.
func plantedLeak(ch chan int) { <-ch }

// leaked returns the stacks of the leaked goroutines.
func leaked(t *testing.T) string {
	var b bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutineleak").WriteTo(&b, 1))
	_, stacks, _ := strings.Cut(b.String(), "\n")
	return strings.TrimSpace(stacks)
}
