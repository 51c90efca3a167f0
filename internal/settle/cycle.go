package settle

import (
	"math"
	"runtime"
	"slices"
	"sync/atomic"
)

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

// A core is closed when all cores that it waits for, directly or through
// others, are closed or settled. A core that is not closed is therefore not
// among the cores that a closed core waits for: a check that reaches a closed
// core ends there, and each core is visited once. docs/internals.md shows why
// that is right while other goroutines add links.

// Depends reports whether c waits for itself, after its link was added to src:
// whether a way up from src leads to c. Links are added before they are
// checked, so that if several goroutines close a cycle together, at least one
// of them finds it.
func (c *Core) Depends(src *Core) bool {
	w := c.Lock()
	alone := c.head == nil
	c.Unlock(w)
	if alone && w&wanted == 0 {
		return false // nothing waits for c
	}
	s := search{c: c}
	defer s.count()
	if w&wanted == 0 {
		found, over := s.near(src)
		if over {
			return found
		}
		if s.close(src) {
			return false
		}
		found, _ = s.up(src, math.MaxInt)
		return found
	}
	// c may be among what a closed core waits for. What c waits for is to be
	// closed, whatever comes out.
	for {
		ok := s.close(src)
		if s.exact(src) {
			return true
		}
		if ok {
			return false
		}
		runtime.Gosched() // a cycle of others, which one of them is about to open
		atCycle(c)
	}
}

// search is one check of whether c waits for itself.
type search struct {
	c     *Core
	steps int // the cores looked at, but for those of near
}

// walked is how many cores all checks have looked at that were not over soon.
var walked atomic.Uint64

// Walked returns how many cores all checks for cycles have looked at so far,
// but for the first few of each. It is for tests.
func Walked() uint64 { return walked.Load() }

func (s *search) count() {
	if s.steps > 0 {
		walked.Add(uint64(s.steps))
	}
}

// near walks up the first few cores, and reports whether it came to c and
// whether the search is over. It closes nothing: most searches end here.
func (s *search) near(src *Core) (found, over bool) {
	for range nearby {
		if src == s.c {
			return true, true
		}
		if src.look()&closed != 0 {
			return false, true
		}
		next, many := src.above()
		switch {
		case many != nil:
			return false, false
		case next == nil:
			return false, true
		}
		src = next
	}
	return false, false
}

// close closes src and all that it waits for. It reports false, and closes only
// a part, if it comes to c or goes round in a cycle.
func (s *search) close(src *Core) bool {
	if src == s.c {
		return false
	}
	var few [8]visit
	path := append(few[:0], visit{core: src})
	turtle, steps, limit := src, 0, 64 // Brent's method
	for len(path) > 0 {
		s.steps++
		next := path[len(path)-1].next(s)
		if next == nil {
			path[len(path)-1] = visit{}
			path = path[:len(path)-1]
			continue
		}
		if next == s.c || next == turtle {
			return false
		}
		if steps++; steps == limit {
			turtle, steps, limit = next, 0, limit*2
		}
		path = append(path, visit{core: next})
	}
	return true
}

// visit is a core on its way to be closed.
type visit struct {
	core *Core
	// What the core waits for by up needs not be closed first: src is closed
	// or settled, or up is not on it.
	up  *Link
	src *Core
	i   int // of a Many: nor do the members before this one
}

// next closes the core, or returns what is to be closed before. A core that is
// about to be closed is marked as wanted before its link is looked for, so that
// a goroutine that adds the link afterwards, and reads the mark then, closes
// what the link leads to.
func (v *visit) next(s *search) *Core {
	for all := false; ; {
		w := v.core.Lock()
		if w&(settled|closed) != 0 {
			v.core.Unlock(w)
			return nil
		}
		up := v.core.up
		var src *Core
		var many Many
		if up != nil {
			if many, _ = up.Do.(Many); many == nil {
				src, _ = up.Do.Source(nil)
			}
		}
		if all || many == nil && (src == nil || up == v.up && src == v.src) {
			v.core.Unlock(w | wanted | closed)
			return nil
		}
		v.core.Unlock(w | wanted)
		if many == nil {
			if src.waitedFor(up) {
				return src
			}
			v.up, v.src = up, src
			continue
		}
		for {
			src, l := many.Member(v.i)
			if src == nil {
				all = true
				break
			}
			if src.waitedFor(l) {
				return src
			}
			v.i++
			s.steps++
		}
	}
}

// waitedFor reports whether c is neither settled nor closed, and l is on it.
func (c *Core) waitedFor(l *Link) bool {
	return c.look()&(settled|closed) == 0 && c.has(l)
}

// exact searches upwards from src and downwards from c by turns, a few cores
// at first and then more: a cycle has both, so that the shorter search decides
// that there is none. Only that upwards says that there is one.
func (s *search) exact(src *Core) bool {
	for limit := 64; ; limit *= 4 {
		if found, over := s.up(src, limit); over {
			return found
		}
		if found, over := s.down(src, limit); over {
			if found {
				found, _ = s.up(src, math.MaxInt)
			}
			return found
		}
	}
}

// up searches for c in what src waits for, and reports whether the search is
// over: not if it has looked at as many cores as limit.
func (s *search) up(src *Core, limit int) (found, over bool) {
	type fork struct {
		many Many
		i    int
	}
	var forks []fork
	var seen map[*Core]bool // from the first fork on
	turtle, steps, lap := src, 0, 64
	for n := 0; src != nil || len(forks) > 0; n++ {
		s.steps++
		if n == limit {
			return false, false
		}
		if src == nil {
			f := &forks[len(forks)-1]
			next, l := f.many.Member(f.i)
			f.i++
			switch {
			case next == nil:
				forks = forks[:len(forks)-1]
				continue
			case seen[next] || !next.has(l):
				continue
			}
			src = next
		}
		if src == s.c {
			return true, true
		}
		next, many := src.above()
		switch {
		case many != nil:
			if seen == nil {
				seen = make(map[*Core]bool)
			}
			seen[src] = true
			forks, src = append(forks, fork{many: many}), nil
		case seen != nil:
			seen[src] = true
			if src = next; seen[src] {
				src = nil
			}
		default:
			if src = next; src == turtle {
				return false, true // a cycle of others
			}
			if steps++; steps == lap {
				turtle, steps, lap = src, 0, lap*2
			}
		}
	}
	return false, true
}

// down searches for src in what waits for c. Like up it may end early.
func (s *search) down(src *Core, limit int) (found, over bool) {
	const most = 1024 // listeners looked at while a lock is held
	var few [64]*Core
	todo := append(few[:0], s.c)
	var seen map[*Core]bool // from the second search on
	if limit > 64 {
		seen = make(map[*Core]bool)
	}
	for n := 0; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if c == src {
			return true, true
		}
		if seen != nil {
			if seen[c] {
				continue
			}
			seen[c] = true
		}
		room := max(min(limit-n, most), 0)
		todo = slices.Grow(todo, room) // nothing is allocated under the lock
		var all bool
		before := len(todo)
		todo, n, all = c.below(todo, n, room)
		s.steps += 1 + len(todo) - before
		if !all {
			return false, false
		}
		n++
	}
	return false, true
}

// below appends the cores that listen to c to the list, if there are no more
// than room listeners, whose number it adds to n.
func (c *Core) below(list []*Core, n, room int) (_ []*Core, _ int, all bool) {
	w := c.Lock()
	defer c.Unlock(w)
	if w&settled != 0 || c.head == nil {
		return list, n, true
	}
	for l := c.head; ; {
		if room == 0 {
			return list, n, false
		}
		if owner := l.Do.Owner(); owner != nil {
			list = append(list, owner)
		}
		room--
		n++
		if l = l.next; l == c.head {
			return list, n, true
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
