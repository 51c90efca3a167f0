package settle

import (
	"context"
	"sync"
)

// Parker blocks one goroutine at a time, until another one wakes it. Nothing
// but the Wake that it received may have to do with a Parker that is kept for
// later use.
type Parker struct {
	woken chan struct{} // capacity 1: Wake never blocks
	kept  bool          // in no bubble of testing/synctest, whose channels must stay in it
}

var parkers = sync.Pool{New: func() any { return &Parker{woken: make(chan struct{}, 1), kept: true} }}

// NewParker returns a Parker, maybe one that was used before.
func NewParker() *Parker {
	if inBubble() {
		return &Parker{woken: make(chan struct{}, 1)}
	}
	return parkers.Get().(*Parker)
}

// Keep keeps p for a later NewParker. Each Wake must have been received by a
// Park.
func (p *Parker) Keep() {
	if p.kept {
		parkers.Put(p)
	}
}

// MayStay reports whether the caller may use p, which was used before: either
// of them may be in a bubble of testing/synctest.
func (p *Parker) MayStay() bool { return p.kept && !inBubble() }

// Wake wakes the goroutine that is in Park or, if there is none, the next one.
// It is called once for each Park that does not return an error.
func (p *Parker) Wake() {
	atWake(p)
	p.woken <- struct{}{}
}

// Park blocks until Wake is called and returns nil, or until ctx ends and
// returns its cause, which is never nil.
func (p *Parker) Park(ctx context.Context) error {
	woken, done := atPark(p, p.woken, ctx, ctx.Done())
	if done == nil {
		<-woken // half the cost of a select
		return nil
	}
	select {
	case <-woken:
		return nil
	case <-done:
		return causeOf(ctx)
	}
}
