//go:build !yield && !explore

package settle

import "context"

// nearby is how many cores a check for a cycle looks at before it closes any.
const nearby = 16

// These functions mark the places where another goroutine may interleave:
// before locking, after unlocking, before a read or swap of the word without
// the lock, and before a wait and its end. With the build tags "yield" and
// "explore" they are not empty.
func atLock(*Core) {}

func atUnlock(*Core) {}

func atLook(*Core) {}

func atSwap(*Core) {}

func atCycle(*Core) {}

func atWake(*Parker) {}

func atPark(_ any, woken <-chan struct{}, _ context.Context, done <-chan struct{}) (<-chan struct{}, <-chan struct{}) {
	return woken, done
}
