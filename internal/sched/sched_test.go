package sched_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/sched"
)

// Whatever hooks do at its boundaries, one goroutine at a time holds a lock;
// otherwise the race detector reports it.
func TestOneAtATime(t *testing.T) {
	var m sched.Mutex
	var rw sched.RWMutex
	one, two, seen := 0, 0, 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				m.Lock()
				one++
				m.Unlock()
				rw.Lock()
				two++
				rw.Unlock()
				rw.RLock()
				last := two
				rw.RUnlock()
				m.Lock()
				seen = max(seen, last)
				m.Unlock()
			}
		})
	}
	wg.Wait()
	require.Equal(t, []int{4000, 4000, 4000}, []int{one, two, seen})
}
