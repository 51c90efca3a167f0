// Package settle is the mechanism of a future: it settles once, runs the
// listeners in order by a loop, and passes a cancel upstream. It is independent
// of types: the values are in the generic structs that contain a core.
//
// # Invariants
//
//   - A [Core] changes only while its lock bit is held. A goroutine never holds
//     two of these locks, and never allocates or calls user code while it holds
//     one.
//   - The lists of listeners are intrusive, circular and doubly linked, so
//     that removing any listener is O(1) and costs no memory.
//   - A [Link] is only ever on the list of one core. While that core is
//     unsettled, the core's lock guards the link. From the moment it settles,
//     only the goroutine that took the list uses its links. A listener is
//     therefore either removed by a cancel or run by the settler, and never
//     both.
//   - After the settled bit is set, the outcome never changes and is read
//     without the lock.
package settle

import (
	"runtime"
	"sync/atomic"
)

// The bits of a core's word.
const (
	locked    uint32 = 1 << iota // a goroutine holds the lock
	settled                      // the outcome exists, and never changes
	draining                     // a goroutine runs the listeners
	late                         // listeners were added after that goroutine had taken the list
	asked                        // a cancel has passed through
	underway                     // the canceler was started
	canceled                     // settled by a cancel, and not by hand
	observed                     // a listener depends on c, but does not handle failures
	bridged                      // the first listener is the bridge
	failed                       // settled with a failure
	listened                     // a listener was added
	quiet                        // the only listener, if there is one, is quiet
	abandoned                    // a wait for the outcome was given up
	wanted                       // to be closed, or closed; see cycle.go
	closed                       // all that it waits for is closed or settled
)

// Core is the untyped part of a future. Its zero value is pending.
type Core struct {
	word  atomic.Uint32
	users int32 // listeners that depend on the outcome; guarded by the lock
	head  *Link // first listener; guarded by the lock
	// up is guarded by the lock until the core settles. Until then it is the link
	// by which the core listens to its source, or by which its canceler is found;
	// nil if it has neither. After that it is the link inside the [Failure], or
	// nil on success.
	up *Link
}

// spins is how often Lock tries before it lets other goroutines run. The lock
// is held for a few instructions, so the holder is running or was preempted.
const spins = 4

// Lock acquires the lock and returns the word as it was.
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

// Unlock stores w and releases the lock.
func (c *Core) Unlock(w uint32) {
	c.word.Store(w)
	atUnlock(c)
}

// look returns the word, read without the lock.
func (c *Core) look() uint32 {
	atLook(c)
	return c.word.Load()
}

// Settled reports whether c has settled.
func (c *Core) Settled() bool { return c.look()&settled != 0 }

// Succeeded reports whether c is settled without a failure.
func (c *Core) Succeeded() bool { return c.look()&(settled|failed) == settled }

// Peek is Settled for a caller that holds a lock other than c's.
func (c *Core) Peek() bool { return c.word.Load()&settled != 0 }

// Asked reports whether a cancel has passed through c.
func (c *Core) Asked() bool { return c.look()&asked != 0 }

// Canceled reports whether a cancel has settled c.
func (c *Core) Canceled() bool { return c.look()&canceled != 0 }

// SetUp sets the link by which c listens or is canceled. The lock must be held
// and c be unsettled, or no other goroutine may know c yet.
func (c *Core) SetUp(l *Link) { c.up = l }

// Up returns the link set by SetUp. The lock must be held and c be unsettled.
func (c *Core) Up() *Link { return c.up }

// Underway reports whether w, a word returned by Lock or Begin, is that of a
// core whose canceler was started.
func Underway(w uint32) bool { return w&underway != 0 }

// Preset settles c, which no other goroutine knows yet.
func (c *Core) Preset(fail *Failure) {
	w := settled
	if fail != nil {
		c.up = &fail.Link
		fail.arm(c)
		w |= failed
	}
	c.word.Store(w)
}

// Succeed settles c, which only the caller may settle and whose value is set,
// and reports whether it did: it does nothing if c has a listener, or if
// another goroutine holds its lock. Most futures at the end of a chain have no
// listener, and need no lock for this. up does not change, as nothing reads it
// afterwards.
func (c *Core) Succeed() bool {
	atSwap(c)
	w := c.word.Load()
	return w&(locked|listened) == 0 && !Tracing.Load() && c.word.CompareAndSwap(w, w|settled)
}

// Begin acquires the lock if c is unsettled, and reports whether it did. After
// it, Publish or Unlock must be called.
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

// PublishAlone is Publish of a success if c has no listeners and up is nil,
// which is usual. It is small enough to be inlined. It reports whether it has
// published, and has done nothing otherwise.
func (c *Core) PublishAlone(w uint32) bool {
	if w&listened != 0 || c.up != nil || Tracing.Load() {
		return false
	}
	c.Unlock(w | settled)
	return true
}

// PublishQuiet is PublishAlone if the only listener is a quiet one. Such a
// listener does not need the loop that keeps the order of listeners and catches
// panics, which would cost as much as everything else. PublishQuiet returns the
// node, which the caller fires, or nil if it has done nothing.
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

// Publish settles c, whose lock is held with word w, releases the lock and
// returns the listeners to run, if any: the caller passes them to [Drain], or
// returns them from [Node.Fire]. A nil failure means success. A failure of a
// core without dependents is armed, to be reported if it is never handled.
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

// publish releases the lock of a core that was just settled. list was taken off
// the core; publish turns the circle into a list that ends with nil.
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

// Failure returns the failure of c, or nil if c succeeded. c must be settled.
func (c *Core) Failure() *Failure {
	if c.word.Load()&failed == 0 {
		return nil
	}
	return c.up.Do.(*Failure)
}

// finish ends the running of c's listeners, or returns the listeners that were
// added since the last list was taken.
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
