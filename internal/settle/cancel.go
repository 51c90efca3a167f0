package settle

import "runtime"

// Cancel requests that c end with fail. The request goes up, core by core, as
// long as each core is the only dependent of the next core. Cancel reports
// whether it settled something with fail:
//
//   - at a core without a source it runs the canceler, at most once, and
//     settles the core with fail unless the canceler has settled it;
//   - at a core whose source has other dependents, or that is shielded from
//     below, it removes the link from the source and fires its node with fail;
//   - at a core whose source has settled it ends: a node that continues by
//     waiting for something else has kept the request, and passes it on;
//   - at a core with several sources it passes a separate request to each of
//     them, in their order, and then fires the node with fail.
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
			own.Hold() // held by the list, which needs to know whether it is answered
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

// climb does the work of Cancel up to a core with several sources, whose node
// it returns.
func (c *Core) climb(fail *Failure) (won bool, many Many) {
	for start, steps := c, 1; ; steps++ {
		w := c.Lock()
		if w&settled != 0 {
			// The node that listened to c a moment ago holds the request, and passes it
			// on to what it then waits for.
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
				runtime.Gosched() // perhaps a cycle, which another goroutine is about to break
			}
		case off:
			return false, nil
		}
	}
}

// The results of release: what happened to a link when its owner was canceled.
type released int

const (
	off  released = iota // it is not on the list, or c has settled
	left                 // it was removed
	kept                 // it stays: c is to be canceled, as it has no other dependents
)

// release removes l from c if c has other dependents, or if hold is true.
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

// cancelRoot ends a core that has no source. The caller holds its lock.
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

// Starts claims the right to run the canceler of c, which only one caller gets,
// and reports whether it did.
func (c *Core) Starts() bool {
	w := c.Lock()
	if w&(settled|underway) != 0 {
		c.Unlock(w)
		return false
	}
	c.Unlock(w | underway)
	return true
}

// Leave removes l from c, because its owner no longer depends on c. If there
// are no dependents left, it cancels c with fail. It does nothing if c has
// settled.
func (c *Core) Leave(l *Link, fail *Failure) {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return
	}
	c.unlink(l)
	c.users--
	if c.users == 0 && c.up == nil { // a promise without a canceler, as with most losers
		c.cancelRoot(w|asked, nil, fail)
		return
	}
	last := c.users == 0
	c.Unlock(w)
	if last {
		c.abandon(fail)
	}
}

// abandon cancels c, which has no dependents left, because the last dependent
// has left with fail. If a bound caused that, what c waits for after this
// cancel is canceled too, as no node is left that could use an answer.
func (c *Core) abandon(fail *Failure) {
	again := fail.IsBound()
	c.Cancel(NewCancel(fail.Err)) // a separate request, as fail may be shared by many
	if again && !c.Settled() && c.Users() == 0 {
		c.Cancel(NewCancel(fail.Err))
	}
}

// Detach removes l from c because its owner ends without c. It reports whether
// l was on c, and whether it was the last dependent of c; in that case the
// caller cancels c.
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
	held     uint32 = 1 << iota // a node passes it on to what it next waits for
	answered                    // it has caused an outcome, which is passed down
	bounding                    // it comes from a bound, which waits for no answer
)

// Hold records that a node keeps the request f, and passes it on to what it
// next waits for if f has not been answered by then.
func (f *Failure) Hold() { f.mark(held) }

// Held reports whether a node keeps the request f.
func (f *Failure) Held() bool { return f.marks.Load()&held != 0 }

// Answer records that the request f has caused an outcome that is about to be
// passed down: what is started with that outcome is not canceled by f.
func (f *Failure) Answer() { f.mark(answered) }

// Answered reports whether the request f has caused an outcome.
func (f *Failure) Answered() bool { return f.marks.Load()&answered != 0 }

// Bound records that the request f comes from a bound: a timeout or a context.
func (f *Failure) Bound() { f.mark(bounding) }

// IsBound reports whether the request f comes from a bound. If a handler
// recovers from it by starting something new, that is canceled too, unless
// something waits for it.
func (f *Failure) IsBound() bool { return f.marks.Load()&bounding != 0 }

func (f *Failure) mark(bit uint32) {
	if f.marks.Load()&bit == 0 {
		f.marks.Or(bit)
	}
}
