//go:build !yield && !explore

package settle

import "context"

// These mark the places where another goroutine may come between: before a
// lock, after it, before a look at the word or a swap of it without the lock, and
// before a wait. The build tags "yield" and "explore" have something happen there.
func atLock(*Core) {}

func atUnlock(*Core) {}

func atLook(*Core) {}

func atSwap(*Core) {}

func atPark(_ *Core, _ <-chan struct{}, _ context.Context, done <-chan struct{}) <-chan struct{} {
	return done
}
