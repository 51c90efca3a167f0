//go:build yield && !explore

package settle

import (
	"context"
	"math/rand/v2"
	"runtime"
)

const nearby = 0

// yield now and then lets another goroutine run at the boundaries of a lock,
// where an interleaving that the code does not expect would show.
func yield() {
	if rand.Uint32()&3 == 0 {
		runtime.Gosched()
	}
}

func atLock(*Core) { yield() }

func atUnlock(*Core) { yield() }

func atLook(*Core) { yield() }

func atSwap(*Core) { yield() }

func atCycle(*Core) {}

func atWake(*Parker) { yield() }

func atPark(_ any, woken <-chan struct{}, _ context.Context, done <-chan struct{}) (<-chan struct{}, <-chan struct{}) {
	return woken, done
}
