package settle

// Link is an element of a core's list of listeners. It is embedded in the
// listener, so that listening allocates nothing.
type Link struct {
	next, prev *Link
	// Do runs when the core settles. It is set before the link is added.
	Do Node
}

// Node is a listener: a derived future, a waiter, a member of a list.
type Node interface {
	// Fire continues with the outcome of the source or, if left is not nil, with
	// left: then a cancel has removed the node from its source. Fire may run user
	// code and panic. If it settles a core that has listeners, it returns both
	// instead of running them. A list without a core has nodes to be fired.
	Fire(left *Failure) (*Core, *Link)

	// Abort is called, instead of Fire returning, when Fire (or Abort itself) has
	// panicked or its goroutine exits; err is the error for that.
	Abort(err error) (*Core, *Link)

	// Source returns the core to which the node listens now, or nil if there is
	// none. It is called with the lock of the node's own core held. ask is the
	// cancel that passes through, or nil if the caller only reads. If hold is true
	// the source must not be canceled from here.
	Source(ask *Failure) (src *Core, hold bool)

	// Owner is the core that the node settles, nil if it settles none. Like
	// Source it only reads, under a lock.
	Owner() *Core
}

// push adds l to the end of the circle.
func (c *Core) push(l *Link) {
	if c.head == nil {
		l.next, l.prev = l, l
		c.head = l
		return
	}
	first, last := c.head, c.head.prev
	l.next, l.prev = first, last
	last.next, first.prev = l, l
}

// unlink removes l from the circle.
func (c *Core) unlink(l *Link) {
	if l.next == l {
		c.head = nil
	} else {
		l.prev.next, l.next.prev = l.next, l.prev
		if c.head == l {
			c.head = l.next
		}
	}
	l.next, l.prev = nil, nil
}
