package settle

// Link is a place on a core's list of listeners. It is embedded in what
// listens, so that listening allocates nothing.
type Link struct {
	next, prev *Link
	// Do is what runs when the core settles; set before the link is added.
	Do Node
}

// Node is what hangs on a link: a derived future, a waiter, a member of a
// list.
type Node interface {
	// Fire continues with the outcome of the source, or, if left is not nil,
	// with left: then the node was taken off its source by a cancel. It may
	// run user code and panic. If it settled a core that has listeners, it
	// returns both instead of running them.
	Fire(left *Failure) (*Core, *Link)

	// Abort is called, instead of Fire returning, when Fire (or Abort itself)
	// panicked or its goroutine exits: err says which.
	Abort(err error) (*Core, *Link)

	// Source is the core that the node listens to now, nil if there is none.
	// It is called with the lock of the node's own core held. ask is the
	// cancel that passes by, nil if the caller only looks. If hold is true the
	// source is not to be canceled from here.
	Source(ask *Failure) (src *Core, hold bool)
}

// push puts l at the end of the circle.
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

// unlink takes l out of the circle.
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
