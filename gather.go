package twill

import (
	"fmt"
	"sync/atomic"

	"github.com/twillgo/twill/internal/settle"
)

// gather is the mechanism of the lists. Who decides the outcome - the first
// value, the first error, or the last of all results - is settled by one
// compare-and-swap; that goroutine alone goes on to conclude. The results
// before that are written to places of their own, and counted afterwards.
type gather[T, R any] struct {
	link    settle.Link // the way up of f; on no list
	f       *Future[R]
	members []member[T, R]
	missing atomic.Int32 // results
	decided atomic.Bool
	asked   atomic.Pointer[settle.Failure] // the cancel that goes through the members

	onValue bool // the first value decides
	onError bool // the first error decides
	leaves  bool // losers are left, and so perhaps cancelled
	takes   bool // members' errors are taken
	ends    bool // a cancel that no member answers to fails f

	store func(i int, v T, err error)  // keeps one result; nil if none is needed
	one   func(i int, v T) R           // the outcome by the first value
	all   func() (R, error)            // the outcome by all results
	blame func(i int, err error) error // the outcome by the first error; nil for an IndexError

	// Of the goroutine that decided:
	val  R
	fail *settle.Failure
	gone int // members that were left
}

// member is a gather's place on one future.
type member[T, R any] struct {
	link settle.Link
	g    *gather[T, R]
	src  *Future[T]
	i    int
}

func (g *gather[T, R]) start(fs []*Future[T]) {
	for i, f := range fs {
		if f == nil {
			panic(fmt.Sprintf("twill: list of futures: number %d is nil", i))
		}
	}
	made(&g.f.core)
	if len(fs) == 0 {
		g.empty()
		return
	}
	g.members = make([]member[T, R], len(fs))
	for i, f := range fs {
		m := &g.members[i]
		m.g, m.src, m.i = g, f, i
		m.link.Do = m
	}
	g.missing.Store(int32(len(fs)))
	g.link.Do = g
	g.f.core.SetUp(&g.link)
	for i := range g.members {
		g.members[i].join()
	}
}

func (g *gather[T, R]) empty() {
	if g.onValue || g.all == nil {
		g.f.settle(g.val, settle.NewFailure(ErrEmpty))
		return
	}
	v, _ := g.all()
	g.f.settle(v, nil)
}

// join begins to listen to the member's future.
func (m *member[T, R]) join() {
	c := &m.src.core
	var manner settle.Manner
	if !m.g.takes {
		manner |= settle.Observing
	}
	if !m.g.onValue { // a value is only counted, and the last leaves nobody
		manner |= settle.Quiet
	}
	switch {
	case !c.AddAs(&m.link, manner):
		m.Fire(nil)
	case m.g.decided.Load():
		m.part() // whoever decided may have come by before the link was there
	}
}

// part ends the listening, because the outcome is decided.
func (m *member[T, R]) part() {
	c := &m.src.core
	ask := m.g.asked.Load()
	switch {
	case m.g.leaves && ask != nil:
		c.Leave(&m.link, settle.NewCancel(ask.Err))
	case m.g.leaves:
		c.Leave(&m.link, notNeeded)
	case ask != nil:
		// The cancel is still to come by; Fire parts from what it leaves.
	case c.Remove(&m.link, 1) && m.g.takes:
		onSettled(c, func() { // a link of its own: a cancel of the list may still look at the member's
			if fail := c.Failure(); fail != nil {
				fail.Take()
			}
		})
	}
}

// notNeeded is how the losers of a list are cancelled: one record for all of
// them, since it is never to be reported.
var notNeeded = settle.NewCancel(&CanceledError{Cause: ErrNotNeeded})

func init() { notNeeded.Take() }

// Fire notes the result of a member, or that it was left to a cancel.
func (m *member[T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	g, fail := m.g, left
	if left == nil {
		if fail = m.src.core.Failure(); fail != nil && g.takes {
			fail.Take()
		}
	}
	if g.decided.Load() {
		return nil, nil
	}
	if fail != nil {
		return g.failed(m.i, fail.Err)
	}
	return g.succeeded(m.i, m.src.val)
}

func (g *gather[T, R]) succeeded(i int, v T) (*settle.Core, *settle.Link) {
	if !g.onValue {
		g.store(i, v, nil)
		return g.count()
	}
	if !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	g.val = g.one(i, v)
	return g.conclude()
}

func (g *gather[T, R]) failed(i int, err error) (*settle.Core, *settle.Link) {
	if !g.onError {
		var none T
		g.store(i, none, err)
		return g.count()
	}
	if !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	if g.blame != nil {
		err = g.blame(i, err)
	} else {
		err = &IndexError{i, err}
	}
	g.fail = settle.NewFailure(err)
	return g.conclude()
}

// count is called after a result was stored.
func (g *gather[T, R]) count() (*settle.Core, *settle.Link) {
	if g.missing.Add(-1) > 0 || !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	var err error
	if g.val, err = g.all(); err != nil {
		g.fail = settle.NewFailure(err)
	}
	g.gone = len(g.members) // nobody is left to leave
	return g.conclude()
}

// conclude leaves the other members, in their order, and then settles the
// list.
func (g *gather[T, R]) conclude() (*settle.Core, *settle.Link) {
	for g.gone < len(g.members) {
		m := &g.members[g.gone]
		g.gone++
		m.part()
	}
	c := &g.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	g.f.val = g.val
	return c, c.Publish(w, g.fail)
}

// Abort is called if the goroutine exits in a canceller of a member that was
// left.
func (m *member[T, R]) Abort(error) (*settle.Core, *settle.Link) { return m.g.conclude() }

// Passive says whether the member's failure may be reported as unhandled.
func (m *member[T, R]) Passive() bool { return !m.g.takes }

// Source is nil: a list is found from below by the link of the gather.
func (m *member[T, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Member lets a cancel of the list go to the members.
func (g *gather[T, R]) Member(i int) (*settle.Core, *settle.Link) {
	if i >= len(g.members) {
		return nil, nil
	}
	return &g.members[i].src.core, &g.members[i].link
}

// Fire is called when all members were asked to cancel. Those that are still
// pending have answered by waiting for something else; they are not asked again.
func (g *gather[T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	g.asked.Store(nil)
	if g.ends && g.decided.CompareAndSwap(false, true) {
		for i := range g.members {
			g.members[i].src.core.Remove(&g.members[i].link, 1)
		}
		g.fail, g.gone = left, len(g.members)
		return g.conclude()
	}
	if g.decided.Load() && !g.leaves {
		for i := range g.members {
			g.members[i].part()
		}
	}
	return nil, nil
}

// Abort is like a member's.
func (g *gather[T, R]) Abort(error) (*settle.Core, *settle.Link) { return g.conclude() }

// Source notes that a cancel goes to the members; there are several of them.
func (g *gather[T, R]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if ask != nil {
		g.asked.Store(ask)
	}
	return nil, false
}
