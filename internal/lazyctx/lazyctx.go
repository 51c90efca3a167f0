// Package lazyctx has contexts that are made when they are first needed. A
// cancelable context costs more than the rest of a short call, so a function
// that does not use its context, or only passes it on, does not pay for it.
package lazyctx

import (
	"context"
	"sync/atomic"
	"time"
)

// Context is a context under Base that its owner can end. Base must be set
// before the first use. A Context must not be copied.
type Context struct {
	Base context.Context
	State
}

// Deadline returns the deadline of the base.
func (c *Context) Deadline() (deadline time.Time, ok bool) { return c.Base.Deadline() }

// Done returns a channel that is closed when the context ends.
func (c *Context) Done() <-chan struct{} { return c.State.Under(c.Base).Done() }

// Err returns the reason why the context has ended, or nil.
func (c *Context) Err() error { return c.State.Err(c.Base) }

// Value returns the value of the base for key.
func (c *Context) Value(key any) any { return c.State.Value(c.Base, key) }

// String keeps fmt from reading the fields.
func (c *Context) String() string { return "twill context" }

// State is a context without its base, for an owner that can compute the base:
// every method has the base as an argument, which must be the same in each
// call. The zero value is a context that has not ended.
type State struct {
	made atomic.Pointer[made]
}

// made is the cancelable context behind a State. Without a Context it marks a
// State that ended before its context was made.
type made struct {
	context.Context
	cancel context.CancelCauseFunc
	cause  error
}

var ended = new(made)

// End ends the context with cause; the first call counts. It runs functions
// that were registered with the context, which may be user code.
func (s *State) End(cause error) {
	for {
		m := s.made.Load()
		if m != nil {
			if m.Context != nil {
				m.cancel(cause)
			}
			return
		}
		end := ended
		if cause != nil {
			end = &made{cause: cause}
		}
		if s.made.CompareAndSwap(nil, end) {
			return
		}
	}
}

// Made reports whether the context was made, or has ended before that.
func (s *State) Made() bool { return s.made.Load() != nil }

// Under returns the cancelable context, which is made by the first call.
func (s *State) Under(base context.Context) context.Context {
	for {
		m := s.made.Load()
		if m != nil && m.Context != nil {
			return m.Context
		}
		ctx, cancel := context.WithCancelCause(base)
		if m != nil {
			cancel(m.cause)
		}
		if s.made.CompareAndSwap(m, &made{Context: ctx, cancel: cancel}) {
			return ctx
		}
		cancel(nil)
	}
}

// Err returns the reason why the context has ended, or nil.
func (s *State) Err(base context.Context) error {
	if s.made.Load() == nil {
		return base.Err()
	}
	return s.Under(base).Err()
}

// Value returns the value of base for key. [context.Cause] looks up the
// cancelable context by its own key; in that case Value asks the cancelable
// context, if it exists or has to exist.
func (s *State) Value(base context.Context, key any) any {
	if s.made.Load() == nil {
		return base.Value(key)
	}
	return s.Under(base).Value(key)
}
