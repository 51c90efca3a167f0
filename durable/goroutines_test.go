package durable

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

func TestGoroutinesAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := new(goroutines)
		for range 3 {
			var wg sync.WaitGroup
			wg.Add(3 * maxIdle)
			for range 3 * maxIdle {
				g.run(wg.Done)
			}
			wg.Wait()
			synctest.Wait()
			require.LessOrEqual(t, len(g.idle), maxIdle)
		}
		g.trim()
		require.Empty(t, g.idle)

		g.run(runtime.Goexit)
		synctest.Wait()
		require.Empty(t, g.idle, "it is none to be kept")
		g.run(func() {})
		synctest.Wait()
		require.Len(t, g.idle, 1)

		// One that blocks keeps nothing from running.
		block := make(chan struct{})
		ran := 0
		g.run(func() { <-block })
		g.run(func() { ran++ })
		synctest.Wait()
		require.Equal(t, 1, ran)
		g.close()
		close(block)
		g.run(func() { ran++ })
		synctest.Wait()
		require.Equal(t, 2, ran)
		require.Empty(t, g.idle)
		// The test fails if a goroutine is left.
	})
}
