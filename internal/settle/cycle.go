package settle

// Many is a node that listens to several cores, such as that of a list.
type Many interface {
	Node
	// Member returns the core of member i and the link on it, or nil after the
	// last member. It may be called at any time.
	Member(i int) (*Core, *Link)

	// Ask is called when a cancel of the node's own core starts to be passed to
	// the members. Fire is called, with the same failure, when it has been passed
	// to all.
	Ask(fail *Failure)
	// Asked is called before fail, a separate request, is passed to member i.
	Asked(i int, fail *Failure)
}

// Depends reports whether c waits for itself, after its link was added to src:
// whether a way up from src leads to c. Links are added before they are
// checked, so that if two goroutines close a cycle together, at least one of
// them finds it. A cycle of other cores is noticed by Brent's method, and left
// to the goroutines that have closed it.
func (c *Core) Depends(src *Core) bool {
	w := c.Lock()
	leaf := c.head == nil
	c.Unlock(w)
	if leaf {
		return false // nothing waits for c
	}
	turtle, steps, limit := src, 0, 64
	for src != nil {
		if src == c {
			return true
		}
		next, many := src.above()
		if many != nil {
			return c.dependsAny(many)
		}
		if src = next; src == turtle {
			return false
		}
		if steps++; steps == limit {
			turtle, steps, limit = src, 0, limit*2
		}
	}
	return false
}

// dependsAny continues where the way up branches.
func (c *Core) dependsAny(m Many) bool {
	seen := map[*Core]bool{nil: true}
	for todo := sources(nil, m); len(todo) > 0; {
		src := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if src == c {
			return true
		}
		if seen[src] {
			continue
		}
		seen[src] = true
		next, many := src.above()
		if many != nil {
			todo = sources(todo, many)
		}
		todo = append(todo, next)
	}
	return false
}

func sources(to []*Core, m Many) []*Core {
	for i := 0; ; i++ {
		src, l := m.Member(i)
		if src == nil {
			return to
		}
		if src.has(l) {
			to = append(to, src)
		}
	}
}

// above returns what c waits for: one core, several, or none. c no longer waits
// for a core from which a cancel has removed it.
func (c *Core) above() (next *Core, many Many) {
	w := c.Lock()
	var l *Link
	if w&settled == 0 && c.up != nil {
		l = c.up
		if m, ok := l.Do.(Many); ok {
			many = m
		} else {
			next, _ = l.Do.Source(nil)
		}
	}
	c.Unlock(w)
	if next != nil && !next.has(l) {
		next = nil
	}
	return next, many
}

// has reports whether l, a link on c or on no core, is on c, or was when c
// settled.
func (c *Core) has(l *Link) bool {
	w := c.Lock()
	on := w&settled != 0 || l.next != nil
	c.Unlock(w)
	return on
}
