//go:build explore

package settle

import "context"

// Hooks are called at the places where the order of goroutines matters, for a
// test that decides on it. Nil ones are not called.
var Hooks struct {
	Lock   func(*Core) // before the lock is taken
	Unlock func(*Core) // after it was given back
	Look   func(*Core) // before the word is read without the lock
	Swap   func(*Core) // before it is changed without

	// Park is called before a Wait blocks, and returns when one of the two
	// channels is ready, and says whether it is the context's that counts.
	Park func(c *Core, woken <-chan struct{}, ctx context.Context) (ended bool)
}

func atLock(c *Core) { at(Hooks.Lock, c) }

func atUnlock(c *Core) { at(Hooks.Unlock, c) }

func atLook(c *Core) { at(Hooks.Look, c) }

func atSwap(c *Core) { at(Hooks.Swap, c) }

func at(hook func(*Core), c *Core) {
	if hook != nil {
		hook(c)
	}
}

// atPark leaves one channel ready, so that the select that follows has no
// choice of its own. It returns the channel that ends the wait besides woken.
func atPark(c *Core, woken <-chan struct{}, ctx context.Context, done <-chan struct{}) <-chan struct{} {
	if Hooks.Park == nil {
		return done
	}
	if !Hooks.Park(c, woken, ctx) {
		return nil
	}
	select {
	case <-woken:
	default:
	}
	return done
}
