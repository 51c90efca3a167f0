package settle

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
func (c *Core) Cancel(fail *Failure) bool {
	if Tracing.Load() {
		Trace(c, "canceled")
	}
	var between *Core // was found between two sources
	for {
		w := c.Lock()
		if w&settled != 0 {
			c.Unlock(w)
			return false
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
		}
		if src == nil {
			return c.cancelRoot(w, up, fail)
		}
		c.Unlock(w)

		w = src.Lock()
		if w&settled != 0 || up.next == nil {
			src.Unlock(w)
			if c == between {
				return false
			}
			between = c
			continue
		}
		if hold || src.users > 1 {
			src.unlink(up)
			src.users--
			src.Unlock(w)
			Run(up.Do, fail)
			return true
		}
		src.Unlock(w)
		c = src
	}
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
// takes c down with fail. It does nothing if c has settled.
func (c *Core) Leave(l *Link, fail *Failure) {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return
	}
	c.unlink(l)
	c.users--
	last := c.users == 0
	c.Unlock(w)
	if last {
		c.Cancel(fail)
	}
}
