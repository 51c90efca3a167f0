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
	list, ok := fulfil(f, v)
	p.run(&f.core, list)
	return ok
}

// fulfil is the first half of give: the handlers are for the caller to run.
func fulfil[T any](f *Future[T], v T) (list *settle.Link, ok bool) {
	w, ok := f.core.Begin()
	if !ok {
		return nil, false
	}
	f.val = v
	return f.core.Publish(w, nil), true
}

// run is the second half.
func (p *passing) run(c *settle.Core, list *settle.Link) {
	switch {
	case list == nil:
	case p.n.Add(1) > maxPassing:
		sched.Go(func() { p.drain(c, list) })
	default:
		p.drain(c, list)
	}
}

func (p *passing) drain(c *settle.Core, list *settle.Link) {
	defer p.n.Add(-1)
	settle.Drain(c, list)
}
