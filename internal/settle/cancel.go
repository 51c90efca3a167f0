package settle

import "runtime"

// Cancel asks for c to end with fail. The request travels up, core by core, as
// long as the core below is the only one that depends on the next. It reports
// whether it settled something with fail:
//
//   - at a core without a source it runs the canceler, at most once, and
//     settles the core with fail unless the canceler did otherwise;
//   - at a core whose source others need too, or which is shielded from below,
//     the link leaves the source, and its node fires with fail;
//   - at a core whose source has settled it ends: a node that goes on to wait for
//     something else has kept the request, and passes it on;
//   - at a core that waits for several it asks them all, in their order, each
//     with a request of its own, and then fires the node with fail.
func (c *Core) Cancel(fail *Failure) bool {
	if Tracing.Load() {
		trace(c, "canceled")
	}
	won, many := c.climb(fail)
	if many == nil {
		return won
	}
	type cursor struct {
		m    Many
		fail *Failure
		i    int
	}
	todo := []cursor{{m: many, fail: fail}}
	many.Ask(fail)
	for len(todo) > 0 {
		top := &todo[len(todo)-1]
		i := top.i
		src, l := top.m.Member(i)
		top.i++
		if src == nil {
			many, fail, todo = top.m, top.fail, todo[:len(todo)-1]
			Run(many, fail)
			continue
		}
		switch src.release(l, false) {
		case left:
			Run(l.Do, top.fail)
			won = true
		case kept:
			own := NewCancel(top.fail.Err)
			own.Hold() // by the list, which is to know whether it is answered
			if top.fail.IsBound() {
				own.Bound()
			}
			top.m.Asked(i, own)
			w, m := src.climb(own)
			won = won || w
			if m != nil {
				m.Ask(own)
				todo = append(todo, cursor{m: m, fail: own})
			}
		}
	}
	return won
}

// climb is Cancel up to a core that waits for several others, whose node it
// returns.
func (c *Core) climb(fail *Failure) (won bool, many Many) {
	for start, steps := c, 1; ; steps++ {
		w := c.Lock()
		if w&settled != 0 {
			// What hung on c a moment ago holds the request, and passes it on to
			// what it comes to wait for.
			c.Unlock(w)
			return false, nil
		}
		w |= asked
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
			fail.Answer()
			Run(up.Do, fail)
			return true, nil
		case kept:
			if c = src; c == start || steps%1024 == 0 {
				runtime.Gosched() // a cycle, perhaps, which another goroutine is about to open
			}
		case off:
			return false, nil
		}
	}
}

// What became of a link when its owner was canceled.
type released int

const (
	off  released = iota // it is not on the list, or c has settled
	left                 // it was taken off
	kept                 // it stays: c is to be canceled, as nobody else needs it
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

// Starts takes the right to run the canceler of c, which only one caller
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
	if c.users == 0 && c.up == nil { // a promise without a canceler, as most losers are
		c.cancelRoot(w|asked, nil, fail)
		return
	}
	last := c.users == 0
	c.Unlock(w)
	if last {
		c.abandon(fail)
	}
}

// abandon cancels c, on which no other core depends, because the last that did
// has left with fail. If a bound has led to that, what c waits for after this
// cancel is canceled, too: no node is left that could use an answer.
func (c *Core) abandon(fail *Failure) {
	again := fail.IsBound()
	c.Cancel(NewCancel(fail.Err)) // a request of its own: fail may be that of many
	if again && !c.Settled() && c.Users() == 0 {
		c.Cancel(NewCancel(fail.Err))
	}
}

// Detach takes l off c because its owner ends without c, and reports whether l
// was on c, and whether it was the last that depended on c: then the caller is
// to cancel c.
func (c *Core) Detach(l *Link) (was, last bool) {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return false, false
	}
	c.unlink(l)
	c.users--
	last = c.users == 0
	c.Unlock(w)
	return true, last
}

// The marks of a failure that is a request to cancel.
const (
	held     uint32 = 1 << iota // a node passes it on to what it comes to wait for
	answered                    // it has caused an outcome, which comes down
	bounding                    // it comes from a bound, which waits for no answer
)

// Hold notes that a node keeps the request f, to pass it on to what it comes to
// wait for if f was not answered by then.
func (f *Failure) Hold() { f.mark(held) }

// Held reports whether a node keeps the request f.
func (f *Failure) Held() bool { return f.marks.Load()&held != 0 }

// Answer notes that the request f has caused an outcome that is about to come
// down: what is started with it is not canceled by f.
func (f *Failure) Answer() { f.mark(answered) }

// Answered reports whether the request f has caused an outcome.
func (f *Failure) Answered() bool { return f.marks.Load()&answered != 0 }

// Bound notes that the request f comes from a bound: a timeout or a context.
func (f *Failure) Bound() { f.mark(bounding) }

// IsBound reports whether the request f comes from a bound. What recovers from
// it by starting something new is canceled, too, if nothing waits for that.
func (f *Failure) IsBound() bool { return f.marks.Load()&bounding != 0 }

func (f *Failure) mark(bit uint32) {
	if f.marks.Load()&bit == 0 {
		f.marks.Or(bit)
	}
}
