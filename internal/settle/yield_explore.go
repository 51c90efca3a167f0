//go:build explore

package settle

import "context"

const nearby = 0

// Hooks are called at the places where the order of goroutines matters, by a
// test that decides that order. A nil hook is not called.
var Hooks struct {
	Lock   func(*Core)   // before the lock is acquired
	Unlock func(*Core)   // after it was released
	Look   func(*Core)   // before the word is read without the lock
	Swap   func(*Core)   // before the word is changed without the lock
	Cycle  func(*Core)   // where another goroutine has to continue first
	Wake   func(*Parker) // before a parked goroutine is woken

	// Park is called before a wait for a core or for a Wake blocks. It returns
	// when one of the two channels is ready, and reports whether the channel of
	// the context counts.
	Park func(of any, woken <-chan struct{}, ctx context.Context) (ended bool)
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

func atWake(p *Parker) {
	if Hooks.Wake != nil {
		Hooks.Wake(p)
	}
}

// atPark returns the channels of the wait that follows. Only one of them is not
// nil, so that the wait has no choice.
func atPark(of any, woken <-chan struct{}, ctx context.Context, done <-chan struct{}) (<-chan struct{}, <-chan struct{}) {
	switch {
	case Hooks.Park == nil:
		return woken, done
	case Hooks.Park(of, woken, ctx):
		return nil, done
	}
	return woken, nil
}
