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
	e := c.climb(fail)
	if e.many == nil {
		return e.run(fail)
	}
	k := new(canceling)
	k.begin(e.many, fail)
	Run(k, nil)
	return k.won
}

// climbed is where a climb came to: one of the first three.
type climbed struct {
	many Many  // waits for several
	node Node  // is to be fired with the request: it left its source or,
	root *Core // if this is not nil, is the hook of that core
	core *Core // was settled with the request, and
	list *Link // these are its listeners
}

// run runs what is to be run, and reports whether the request has settled
// something.
func (e *climbed) run(fail *Failure) bool {
	switch {
	case e.node != nil:
		Run(e.node, fail)
		return e.root == nil || e.root.Canceled()
	case e.list != nil:
		Drain(e.core, e.list)
	}
	return e.core != nil
}

// climb is Cancel up to where there is something to run.
func (c *Core) climb(fail *Failure) climbed {
	for start, steps := c, 1; ; steps++ {
		w := c.Lock()
		if w&settled != 0 {
			// The node that listened to c a moment ago holds the request, and passes it
			// on to what it then waits for.
			c.Unlock(w)
			return climbed{}
		}
		w |= asked
		up := c.up
		var src *Core
		var hold bool
		if up != nil {
			src, hold = up.Do.Source(fail)
			if m, ok := up.Do.(Many); ok {
				c.Unlock(w)
				return climbed{many: m}
			}
		}
		if src == nil {
			return c.cancelRoot(w, up, fail)
		}
		c.Unlock(w)

		switch src.release(up, hold) {
		case left:
			fail.Answer()
			return climbed{node: up.Do}
		case kept:
			if c = src; c == start || steps%1024 == 0 {
				runtime.Gosched() // perhaps a cycle, which another goroutine is about to break
			}
		case off:
			return climbed{}
		}
	}
}

// cancelRoot ends a core that has no source; its lock is held.
func (c *Core) cancelRoot(w uint32, up *Link, fail *Failure) climbed {
	switch {
	case up == nil:
		return climbed{core: c, list: c.Publish(w, fail)}
	case w&underway != 0:
		c.Unlock(w)
		return climbed{}
	}
	c.Unlock(w | underway)
	return climbed{node: up.Do, root: c}
}

// canceling is a cancel that goes to the members of a list, and to those of
// lists among them. It is a node that takes a step each time it is fired, and
// between two steps the loop runs what the first has settled. So no cancel runs
// within another one, however deep lists are nested.
type canceling struct {
	todo []cursor
	root *Core // whose hook the last step has fired
	won  bool

	again *Core // is canceled once more in the end, if nothing depends on it
	cause error // of that
	then  Node  // is fired after that; may be nil

	step           firing // runs before the next step
	stepAt, selfAt Link   // where step and this node wait for their turns
}

// cursor is a list whose members are being asked.
type cursor struct {
	many Many
	fail *Failure
	i    int
}

// begin lets fail go to the members of m.
func (k *canceling) begin(m Many, fail *Failure) {
	m.Ask(fail)
	k.todo = append(k.todo, cursor{many: m, fail: fail})
}

// Fire goes on until there is something to run.
func (k *canceling) Fire(*Failure) (*Core, *Link) {
	if k.root != nil {
		k.won = k.root.Canceled() || k.won
		k.root = nil
	}
	for len(k.todo) > 0 {
		last := len(k.todo) - 1
		top := &k.todo[last]
		src, l := top.many.Member(top.i)
		if src == nil {
			f := firing{node: top.many, left: top.fail}
			k.todo[last] = cursor{}
			k.todo = k.todo[:last]
			return k.run(f)
		}
		top.i++
		switch src.release(l, false) {
		case left:
			k.won = true
			return k.run(firing{node: l.Do, left: top.fail})
		case kept:
			own := NewCancel(top.fail.Err)
			own.Hold() // by the list, which is to know whether it is answered
			if top.fail.IsBound() {
				own.Bound()
			}
			top.many.Asked(top.i-1, own)
			if f, ok := k.climb(src, own); ok {
				return k.run(f)
			}
		}
	}
	if c := k.again; c != nil {
		k.again = nil
		if !c.Settled() && c.Users() == 0 {
			if f, ok := k.climb(c, NewCancel(k.cause)); ok {
				return k.run(f)
			}
			return k.Fire(nil)
		}
	}
	if k.then == nil {
		return nil, nil
	}
	core, list := k.run(firing{node: k.then})
	k.stepAt.next = nil // this was the last step
	return core, list
}

// climb is Core.climb. It returns what is to be run, if there is something.
func (k *canceling) climb(c *Core, fail *Failure) (f firing, ok bool) {
	e := c.climb(fail)
	switch {
	case e.many != nil:
		k.begin(e.many, fail)
	case e.node != nil:
		if k.root = e.root; k.root == nil {
			k.won = true
		}
		return firing{node: e.node, left: fail}, true
	case e.core != nil:
		k.won = true
		return firing{core: e.core, list: e.list}, e.list != nil
	}
	return firing{}, false
}

// run returns to the loop what it is to run, with the next step after it.
func (k *canceling) run(f firing) (*Core, *Link) {
	k.step = f
	k.stepAt.Do, k.selfAt.Do = &k.step, k
	k.stepAt.next, k.selfAt.next = &k.selfAt, nil
	return nil, &k.stepAt
}

// Abort is not called: Fire runs no user code.
func (k *canceling) Abort(error) (*Core, *Link) { return nil, nil }

// Source is nil: this is no future.
func (k *canceling) Source(*Failure) (*Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (k *canceling) Owner() *Core { return nil }

// firing fires a node with a failure or, without a node, runs the listeners of
// a core.
type firing struct {
	node Node
	left *Failure
	core *Core
	list *Link
}

// Fire does so.
func (f *firing) Fire(*Failure) (*Core, *Link) {
	if f.node == nil {
		return f.core, f.list
	}
	return f.node.Fire(f.left)
}

// Abort is that of the node.
func (f *firing) Abort(err error) (*Core, *Link) { return f.node.Abort(err) }

// Source is nil: this is no future.
func (f *firing) Source(*Failure) (*Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (f *firing) Owner() *Core { return nil }

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

// Leave takes l off c, of which its owner loses interest: the last to leave
// cancels c with err. It does nothing if c has settled. If lists are to be
// canceled by that, Leave returns what is to be run, for the loop, which then
// fires the node then, if that is not nil; otherwise all is done, and list is
// nil.
func (c *Core) Leave(l *Link, fail *Failure, then Node) (list *Link) {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return nil
	}
	c.unlink(l)
	c.users--
	if c.users == 0 && c.up == nil { // a promise without a canceler, as most losers are
		e := c.cancelRoot(w|asked, nil, fail)
		e.run(fail)
		return nil
	}
	last := c.users == 0
	c.Unlock(w)
	if !last {
		return nil
	}
	return c.abandon(fail, then)
}

// abandon cancels c, on which no other core depends, because the last that did
// has left with fail. If a bound has led to that, what c waits for after this
// cancel is canceled, too: no node is left that could use an answer. The result
// is that of Leave.
func (c *Core) abandon(fail *Failure, then Node) (list *Link) {
	again := fail.IsBound()
	for {
		own := NewCancel(fail.Err) // a request of its own: fail may be that of many
		e := c.climb(own)
		if e.many != nil {
			k := &canceling{then: then}
			if again {
				k.again, k.cause = c, fail.Err
			}
			k.begin(e.many, own)
			_, list = k.Fire(nil)
			return list
		}
		e.run(own)
		if !again || c.Settled() || c.Users() != 0 {
			return nil
		}
		again = false
	}
}

// Deserted reports whether c, whose lock is held with word w, is being canceled
// and has no dependents: then no future is left that could use its value.
func (c *Core) Deserted(w uint32) bool { return w&underway != 0 && c.users == 0 }

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
