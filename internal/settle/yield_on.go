//go:build yield && !explore

package settle

import (
	"context"
	"math/rand/v2"
	"runtime"
)

// yield lets another goroutine run, now and then, at the boundaries of a lock:
// the places where an interleaving that the code forgot would show.
func yield() {
	if rand.Uint32()&3 == 0 {
		runtime.Gosched()
	}
}

func atLock(*Core) { yield() }

func atUnlock(*Core) { yield() }

func atLook(*Core) { yield() }

func atSwap(*Core) { yield() }

func atPark(_ *Core, _ <-chan struct{}, _ context.Context, done <-chan struct{}) <-chan struct{} {
	return done
}
