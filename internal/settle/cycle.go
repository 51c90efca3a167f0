package settle

// Many is a node that listens to several cores, such as that of a list.
type Many interface {
	Node
	// Member is the core number i and the link on it, nil after the last. It
	// may be called at any time.
	Member(i int) (*Core, *Link)

	// Ask is called when a cancel of the node's own core begins to go to the
	// members, and Fire, with the same failure, when it has gone to all.
	Ask(fail *Failure)
	// Asked is called before fail, a request of its own, goes to member i.
	Asked(i int, fail *Failure)
}

// Depends reports whether c waits for itself, after its link was put on src:
// whether a way up from src leads to c. Links are made before they are
// checked, so that of two goroutines that close a cycle together at least one
// sees it. A cycle of others is noticed by Brent's method, and is theirs.
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

// dependsAny goes on where the way up forks.
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

// above is what c waits for: one core, several, or none. c no longer waits for
// a core from which a cancel has removed it.
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

// has reports whether l, a link on c or on nothing, is on it, or was when c
// settled.
func (c *Core) has(l *Link) bool {
	w := c.Lock()
	on := w&settled != 0 || l.next != nil
	c.Unlock(w)
	return on
}
