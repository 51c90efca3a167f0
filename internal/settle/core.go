// Package settle is the mechanism under a future: it settles once, runs the
// listeners in order by a loop, and carries a cancel upstream. It knows
// nothing of types: the values live in the generic structs around it.
//
// # Invariants
//
//   - A [Core] changes only while its lock bit is held. Nobody holds two of
//     these locks, allocates, or calls user code while holding one.
//   - The lists of listeners are intrusive, circular and doubly linked, so
//     that removing any listener is O(1) and costs no memory.
//   - A [Link] is ever on the list of one core only. While that core is
//     unsettled, the core's lock guards the link; from the moment it settles,
//     the goroutine that took the list owns its links alone. So a listener
//     that a cancel takes off and one that the settler runs are never the
//     same.
//   - After the settled bit is set, the outcome never changes and is read
//     without the lock.
package settle

import (
	"runtime"
	"sync/atomic"
)

// The bits of a core's word.
const (
	locked    uint32 = 1 << iota // somebody holds the lock
	settled                      // the outcome is there, for good
	draining                     // a goroutine runs the listeners
	late                         // listeners were added meanwhile
	asked                        // a cancel came by
	underway                     // the canceler was started
	canceled                     // settled by a cancel, not by hand
	observed                     // a listener depends on c, but takes no failure
	bridged                      // the first listener is the bridge
	failed                       // settled with a failure
	listened                     // somebody listens, or did
	quiet                        // nobody listens but a quiet one, if at all
	abandoned                    // a wait for the outcome was given up
)

// Core is the untyped part of a future. Its zero value is pending.
type Core struct {
	word  atomic.Uint32
	users int32 // listeners that depend on the outcome; guarded by the lock
	head  *Link // first listener; guarded by the lock
	// up is, until the core settles, the link by which it listens to its
	// source or by which its canceler is found (nil: neither); guarded by the
	// lock. From then on it is the link inside the [Failure], nil on success.
	up *Link
}

// spins is how often lock tries before it lets other goroutines run: the
// lock is held for a few instructions, so the holder is running or was
// preempted.
const spins = 4

// Lock takes the lock and returns the word as it was.
func (c *Core) Lock() uint32 {
	atLock(c)
	for i := 0; ; i++ {
		w := c.word.Load()
		if w&locked == 0 && c.word.CompareAndSwap(w, w|locked) {
			return w
		}
		if i >= spins {
			runtime.Gosched()
		}
	}
}

// Unlock stores w and gives the lock back.
func (c *Core) Unlock(w uint32) {
	c.word.Store(w)
	atUnlock(c)
}

// look is the word, read without the lock.
func (c *Core) look() uint32 {
	atLook(c)
	return c.word.Load()
}

// Settled reports whether the outcome is there.
func (c *Core) Settled() bool { return c.look()&settled != 0 }

// Peek is Settled for one who holds a lock other than c's.
func (c *Core) Peek() bool { return c.word.Load()&settled != 0 }

// Asked reports whether a cancel came by.
func (c *Core) Asked() bool { return c.look()&asked != 0 }

// Canceled reports whether it was a cancel that settled c.
func (c *Core) Canceled() bool { return c.look()&canceled != 0 }

// SetUp names the link by which c listens or is canceled. The lock must be
// held and c be unsettled, or c be known to no other goroutine yet.
func (c *Core) SetUp(l *Link) { c.up = l }

// Up is the link set by SetUp; the lock must be held and c be unsettled.
func (c *Core) Up() *Link { return c.up }

// Underway reports whether w, the word that Lock or Begin gave, is that of a
// core whose canceler was started.
func Underway(w uint32) bool { return w&underway != 0 }

// Preset settles c, which no other goroutine has seen yet.
func (c *Core) Preset(fail *Failure) {
	w := settled
	if fail != nil {
		c.up = &fail.Link
		fail.arm(c)
		w |= failed
	}
	c.word.Store(w)
}

// Succeed settles c, which only the caller may settle and whose value is in
// place, and reports whether it did: not if somebody listens, or looks at c
// right now. Most futures at the end of a chain have no listener, and need no
// lock for this. Up stays as it is, for nobody looks at it afterwards.
func (c *Core) Succeed() bool {
	atSwap(c)
	w := c.word.Load()
	return w&(locked|listened) == 0 && !Tracing.Load() && c.word.CompareAndSwap(w, w|settled)
}

// Begin takes the lock if c is unsettled, and reports whether it did. It must
// be followed by Publish or Unlock.
func (c *Core) Begin() (w uint32, ok bool) {
	if c.look()&settled != 0 {
		return 0, false
	}
	w = c.Lock()
	if w&settled != 0 {
		c.Unlock(w)
		return 0, false
	}
	return w, true
}

// PublishAlone is Publish of a success if nobody listens to c and it has no way
// up, as is mostly so, and small enough to be compiled into its caller. It
// reports whether it was so, and has done nothing if not.
func (c *Core) PublishAlone(w uint32) bool {
	if w&listened != 0 || c.up != nil || Tracing.Load() {
		return false
	}
	c.Unlock(w | settled)
	return true
}

// PublishQuiet is PublishAlone if only a quiet listener is there: it needs no
// loop that keeps the order of listeners and catches panics, which would cost as
// much as all the rest. It returns the node, for the caller to fire, or nil if it
// was not so.
func (c *Core) PublishQuiet(w uint32) Node {
	l := c.head
	if w&quiet == 0 || l == nil || c.up != nil || Tracing.Load() {
		return nil
	}
	c.head = nil
	l.next, l.prev = nil, nil
	c.Unlock(w | settled)
	return l.Do
}

// Publish settles c, whose lock is held with word w, gives the lock back and
// returns the listeners to run, if any: the caller passes them to [Drain], or
// returns them from [Node.Fire]. A nil failure is success. One that nobody waits
// for is armed, to be reported if nobody ever takes it.
func (c *Core) Publish(w uint32, fail *Failure) *Link {
	list, alone := c.head, fail != nil && c.alone(w)
	if fail == nil {
		c.up = nil
	} else {
		c.up = &fail.Link
		w |= failed
		if fail.Canceled {
			w |= canceled
			fail.Answer()
		}
	}
	c.publish(w|settled, list)
	if fail != nil {
		if w&abandoned != 0 {
			fail.abandoned()
		}
		if alone {
			fail.arm(c)
		}
	}
	return list
}

// publish gives the lock of a core that was just settled back, with list,
// taken off it, cut open.
func (c *Core) publish(w uint32, list *Link) {
	if list != nil {
		c.head = nil
		list.prev.next = nil
		w |= draining
	}
	c.Unlock(w)
	if Tracing.Load() {
		trace(c, "settled")
	}
}

// Failure is how c failed, nil if it did not; c must be settled.
func (c *Core) Failure() *Failure {
	if c.word.Load()&failed == 0 {
		return nil
	}
	return c.up.Do.(*Failure)
}

// finish ends the running of c's listeners, or returns those that were added
// meanwhile.
func (c *Core) finish() *Link {
	atSwap(c)
	w := c.word.Load()
	if w&(late|locked) == 0 && c.word.CompareAndSwap(w, w&^draining) {
		return nil
	}
	w = c.Lock()
	list := c.head
	if list == nil {
		c.Unlock(w &^ (draining | late))
		return nil
	}
	c.head = nil
	list.prev.next = nil
	c.Unlock(w &^ late)
	return list
}
