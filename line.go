package twill

import (
	"sync/atomic"

	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// onSettled calls fn, which must not panic, when c settles; at once if it has.
// It is no interest in c.
func onSettled(c *settle.Core, fn func()) {
	o := &observer{fn: fn}
	o.link.Do = o
	if !c.Add(&o.link, 0) {
		settle.Run(o, nil)
	}
}

type observer struct {
	link settle.Link
	fn   func()
}

// Fire calls the function.
func (o *observer) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	fn := o.fn
	o.fn = nil
	fn()
	return nil, nil
}

// Abort has nothing to do: no future hangs on an observer.
func (o *observer) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source is nil: nothing is cancelled by way of an observer.
func (o *observer) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

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

// each calls fn, which settles a future, for every one of xs. If a handler ends
// the goroutine, a fresh one goes on: the other futures are not forgotten.
func each[T any](xs []T, fn func(T)) {
	i := 0
	defer func() {
		if i < len(xs) {
			go each(xs[i+1:], fn)
		}
	}()
	for ; i < len(xs); i++ {
		fn(xs[i])
	}
}
