//go:build explore

package settle

import "context"

const nearby = 0

// Hooks are called at the places where the order of goroutines matters, by a
// test that decides that order. A nil hook is not called.
var Hooks struct {
	Lock   func(*Core) // before the lock is acquired
	Unlock func(*Core) // after it was released
	Look   func(*Core) // before the word is read without the lock
	Swap   func(*Core) // before the word is changed without the lock
	Cycle  func(*Core) // where another goroutine has to continue first

	// Park is called before a Wait blocks. It returns when one of the two channels
	// is ready, and reports whether the channel of the context counts.
	Park func(c *Core, woken <-chan struct{}, ctx context.Context) (ended bool)
}

func atLock(c *Core) { at(Hooks.Lock, c) }

func atUnlock(c *Core) { at(Hooks.Unlock, c) }

func atLook(c *Core) { at(Hooks.Look, c) }

func atSwap(c *Core) { at(Hooks.Swap, c) }

func atCycle(c *Core) { at(Hooks.Cycle, c) }

func at(hook func(*Core), c *Core) {
	if hook != nil {
		hook(c)
	}
}

// atPark leaves only one channel ready, so that the select that follows has no
// choice. It returns the channel that ends the wait besides woken.
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
