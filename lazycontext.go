package twill

import (
	"context"
	"sync/atomic"
	"time"
)

// lazyContext is a context under base that is ended by its owner, too. One that
// can be cancelled costs more than the rest of a call, so it is made only when
// somebody asks for what needs it: a function that merely passes its context
// down, or does not use it, pays nothing.
type lazyContext struct {
	base context.Context
	made atomic.Pointer[madeContext]
}

// madeContext is the real one; without a Context, the mark that it has ended
// before anybody asked.
type madeContext struct {
	context.Context
	cancel context.CancelCauseFunc
	cause  error
}

var endedContext = new(madeContext)

// end ends the context; the first time counts.
func (c *lazyContext) end(cause error) {
	for {
		m := c.made.Load()
		if m != nil {
			if m.Context != nil {
				m.cancel(cause)
			}
			return
		}
		ended := endedContext
		if cause != nil {
			ended = &madeContext{cause: cause}
		}
		if c.made.CompareAndSwap(nil, ended) {
			return
		}
	}
}

func (c *lazyContext) real() context.Context {
	for {
		m := c.made.Load()
		if m != nil && m.Context != nil {
			return m.Context
		}
		ctx, cancel := context.WithCancelCause(c.base)
		if m != nil {
			cancel(m.cause)
		}
		if c.made.CompareAndSwap(m, &madeContext{Context: ctx, cancel: cancel}) {
			return ctx
		}
		cancel(nil)
	}
}

// Deadline is that of base.
func (c *lazyContext) Deadline() (deadline time.Time, ok bool) { return c.base.Deadline() }

// Done is closed when the context has ended.
func (c *lazyContext) Done() <-chan struct{} { return c.real().Done() }

// Err is not nil when the context has ended.
func (c *lazyContext) Err() error {
	if c.made.Load() == nil {
		return c.base.Err()
	}
	return c.real().Err()
}

// Value is that of base. [context.Cause] asks the real one, if there is one or
// should be, by a key of its own.
func (c *lazyContext) Value(key any) any {
	if c.made.Load() == nil {
		return c.base.Value(key)
	}
	return c.real().Value(key)
}

// String keeps fmt from reading the fields.
func (c *lazyContext) String() string { return "twill context" }
