package settle

// Add adds l to the end of the listeners. interest is 1 if the owner of l
// depends on the outcome, so that a cancel by another owner does not cancel c,
// and 0 for an observer. Add returns false, and adds nothing, if c is settled
// and no goroutine is running its listeners: then the caller runs the node,
// with [Run].
func (c *Core) Add(l *Link, interest int32) bool { return c.add(l, interest, 0) }

// Manner is the way in which a listener listens.
type Manner uint32

const (
	// Observing is the manner of a [Passive] node.
	Observing = Manner(observed)
	// Quiet is the manner of a node that runs no user code when it is fired with a
	// success, except by the list that it returns.
	Quiet = Manner(quiet)
)

// AddAs is Add with an interest of 1.
func (c *Core) AddAs(l *Link, m Manner) bool { return c.add(l, 1, uint32(m)) }

func (c *Core) add(l *Link, interest int32, bits uint32) bool {
	if c.look()&(settled|draining) == settled {
		return false
	}
	w := c.Lock()
	if w&settled != 0 {
		if w&draining == 0 {
			c.Unlock(w)
			return false
		}
		w |= late
	}
	w &^= quiet
	if c.head != nil {
		bits &^= quiet
	}
	c.push(l)
	c.users += interest
	c.Unlock(w | bits | listened)
	return true
}

// Passive is a node that may leave a failure to be reported as unhandled.
type Passive interface{ Passive() bool }

// alone reports whether no listener would handle a failure of c: c has no
// dependents, or only observing ones.
func (c *Core) alone(w uint32) bool {
	if c.users == 0 {
		return true
	}
	if w&observed == 0 {
		return false
	}
	takers := c.users
	for l := c.head; l != nil; {
		if p, ok := l.Do.(Passive); ok && p.Passive() {
			takers--
		}
		if l = l.next; l == c.head {
			break
		}
	}
	return takers == 0
}

// AddPending is Add for callers that use an existing outcome at once instead of
// waiting for their turn: it returns false if c is settled.
func (c *Core) AddPending(l *Link, interest int32) bool {
	w, ok := c.Begin()
	if !ok {
		return false
	}
	c.push(l)
	c.users += interest
	c.Unlock(w&^quiet | listened)
	return true
}

// Remove removes l, added with the same interest, from the listeners, and
// reports whether it was among them: if not, c has settled and l was run or is
// about to be.
func (c *Core) Remove(l *Link, interest int32) bool {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return false
	}
	c.unlink(l)
	c.users -= interest
	c.Unlock(w)
	return true
}

// giveUp is Remove of a wait for the outcome.
func (c *Core) giveUp(l *Link) bool {
	w := c.Lock()
	if w&settled != 0 || l.next == nil {
		c.Unlock(w)
		return false
	}
	c.unlink(l)
	c.users--
	c.Unlock(w | abandoned)
	return true
}

// Bridge returns the node installed by an earlier Bridge on c, or installs l
// as the first listener. It reports false if c is settled.
func (c *Core) Bridge(l *Link) (Node, bool) {
	w := c.Lock()
	if w&settled != 0 {
		c.Unlock(w)
		return nil, false
	}
	if w&bridged == 0 {
		c.push(l)
		c.head = l
		w = w&^quiet | bridged | listened
	}
	do := c.head.Do
	c.Unlock(w)
	return do, true
}

// Bridged returns the node installed by Bridge, if there is one and c is
// pending.
func (c *Core) Bridged() Node {
	w := c.Lock()
	var do Node
	if w&(bridged|settled) == bridged {
		do = c.head.Do
	}
	c.Unlock(w)
	return do
}

// Users returns the number of listeners that depend on the outcome. Listeners
// returns the number of all listeners, and walks the list. Both are for tests.
func (c *Core) Users() int {
	w := c.Lock()
	n := c.users
	c.Unlock(w)
	return int(n)
}

// Listeners returns the number of links on c's list.
func (c *Core) Listeners() (n int) {
	w := c.Lock()
	if l := c.head; l != nil {
		for n = 1; l.next != c.head; n++ {
			l = l.next
		}
	}
	c.Unlock(w)
	return n
}
