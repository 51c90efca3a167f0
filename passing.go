package twill

import (
	"sync/atomic"

	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// maxPassing bounds how deep the handlers of those who wait nest, where each
// passes what it got on to the next: that is one call within the other, and a
// line of a million would need a stack as deep.
const maxPassing = 100

// passing settles futures that wait in a line.
type passing struct {
	n atomic.Int32 // of the futures whose handlers it runs at this moment
}

// give settles f with v and reports whether f was pending. Its handlers run now
// or, when those of a hundred others do, on a goroutine of their own.
func give[T any](p *passing, f *Future[T], v T) bool {
	c := &f.core
	w, ok := c.Begin()
	if !ok {
		return false
	}
	f.val = v
	list := c.Publish(w, nil)
	if list == nil {
		return true
	}
	if p.n.Add(1) > maxPassing {
		sched.Go(func() { p.run(c, list) })
	} else {
		p.run(c, list)
	}
	return true
}

func (p *passing) run(c *settle.Core, list *settle.Link) {
	defer p.n.Add(-1)
	settle.Drain(c, list)
}
