package settle

import "runtime"

// Cancel asks for c to end with fail. The request travels up, core by core,
// as long as the one below is the only one that depends on the next. It
// reports whether it settled something with fail:
//
//   - at a core without a source it runs the canceller, at most once, and
//     settles the core with fail unless the canceller did otherwise;
//   - at a core whose source others need too, or which is shielded from
//     below, the link leaves the source, and its node fires with fail;
//   - at a core whose handler is running it leaves only a mark: one that waits
//     for the future its handler returns passes the request on to that one.
//   - at a core that waits for several it asks them all, in their order, and
//     then fires the node with fail.
func (c *Core) Cancel(fail *Failure) bool {
	if Tracing.Load() {
		trace(c, "canceled")
	}
	won, many := c.climb(fail)
	if many == nil {
		return won
	}
	type cursor struct {
		m Many
		i int
	}
	for todo := []cursor{{m: many}}; len(todo) > 0; {
		top := &todo[len(todo)-1]
		src, l := top.m.Member(top.i)
		top.i++
		if src == nil {
			many, todo = top.m, todo[:len(todo)-1]
			Run(many, fail)
			continue
		}
		switch src.release(l, false) {
		case left:
			Run(l.Do, fail)
			won = true
		case kept:
			w, m := src.climb(fail)
			won = won || w
			if m != nil {
				todo = append(todo, cursor{m: m})
			}
		}
	}
	return won
}

// climb is Cancel up to a core that waits for several others, whose node it
// returns.
func (c *Core) climb(fail *Failure) (won bool, many Many) {
	start := c
	var between *Core // was found between two sources
	for {
		w := c.Lock()
		if w&settled != 0 {
			c.Unlock(w)
			if c == start {
				return false, nil
			}
			// It settled before the cancel was there, and what hung on it may
			// hang on something else by now: that one is to hear of the cancel.
			c = start
			continue
		}
		w |= asked
		if c == between {
			// The mark is set before the link is looked at again; who makes a
			// link looks at the mark afterwards. One of the two sees the other.
			w |= stuck
		}
		up := c.up
		var src *Core
		var hold bool
		if up != nil {
			src, hold = up.Do.Source(fail)
			if m, ok := up.Do.(Many); ok {
				c.Unlock(w)
				return false, m
			}
		}
		if src == nil {
			return c.cancelRoot(w, up, fail), nil
		}
		c.Unlock(w)

		switch src.release(up, hold) {
		case left:
			Run(up.Do, fail)
			return true, nil
		case kept:
			if c = src; c == start {
				runtime.Gosched() // a cycle, which somebody else is about to open
			}
		case off:
			if c == between {
				return false, nil
			}
			between = c
		}
	}
}

// What became of a link when its owner was cancelled.
type released int

const (
	off  released = iota // it is not on the list, or c has settled
	left                 // it was taken off
	kept                 // it stays: c is to be cancelled, as nobody else needs it
)

// release takes l off c if others depend on c, or if hold is true.
func (c *Core) release(l *Link, hold bool) released {
	w := c.Lock()
	defer c.Unlock(w)
	if w&settled != 0 || l.next == nil {
		return off
	}
	if !hold && c.users <= 1 {
		return kept
	}
	c.unlink(l)
	c.users--
	return left
}

// cancelRoot ends a core that has no source; its lock is held.
func (c *Core) cancelRoot(w uint32, up *Link, fail *Failure) bool {
	if up == nil {
		if list := c.Publish(w, fail); list != nil {
			Drain(c, list)
		}
		return true
	}
	if w&underway != 0 {
		c.Unlock(w)
		return false
	}
	c.Unlock(w | underway)
	Run(up.Do, fail)
	return c.Canceled()
}

// Starts takes the right to run the canceller of c, which only one caller
// gets, and reports whether it did.
func (c *Core) Starts() bool {
	w := c.Lock()
	if w&(settled|underway) != 0 {
		c.Unlock(w)
		return false
	}
	c.Unlock(w | underway)
	return true
}

// Leave takes l off c, of which its owner loses interest: the last to leave
// cancels c with err. It does nothing if c has settled.
func (c *Core) Leave(l *Link, fail *Failure) {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return
	}
	c.unlink(l)
	c.users--
	if c.users == 0 && c.up == nil { // a promise without a canceller, as most losers are
		c.cancelRoot(w|asked, nil, fail)
		return
	}
	last := c.users == 0
	c.Unlock(w)
	if last {
		c.Cancel(fail)
	}
}
