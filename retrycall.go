package twill

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// RetryingCall is a function that is called again when it fails, and the rules
// for that. Unlike [Retry] it does not block: a call that pauses needs a timer
// and no goroutine. It is the equivalent of the RetryingCall of txretry.
//
// RetryingCall is constructed by [NewRetryingCall] or [NewRetryingCallFuture];
// the zero value panics. A RetryingCall keeps no state of its calls: it may be
// started any number of times, concurrently, and copied.
type RetryingCall[T any] struct {
	fn     func(context.Context) (T, error) // one of the two
	future func(context.Context) *Future[T]
	opts   RetryOptions
}

// NewRetryingCall returns a [RetryingCall] of a function that blocks: each
// attempt is made by [Go], on its own goroutine. No attempt starts before the
// previous attempt has returned, even if that has exceeded its AttemptTimeout.
// opts may be nil, and are copied.
func NewRetryingCall[T any](fn func(ctx context.Context) (T, error), opts *RetryOptions) *RetryingCall[T] {
	if fn == nil {
		panic("twill: NewRetryingCall with a nil function")
	}
	if opts == nil {
		opts = &defaultRetry
	}
	return &RetryingCall[T]{fn: fn, opts: *opts}
}

// NewRetryingCallFuture is [NewRetryingCall] for a function that returns a
// future; it should not block. The first attempt runs on the goroutine of
// Start. Later attempts run on the goroutine of the timer or, without a pause,
// on the goroutine that settled the previous attempt.
//
// The function's context ends when the attempt is over, even if it succeeded.
// With an AttemptTimeout the future is canceled after that time, as by
// [Future.Timeout], and the call goes on: an attempt whose work does not heed
// its cancel may overlap with the next one.
func NewRetryingCallFuture[T any](fn func(ctx context.Context) *Future[T], opts *RetryOptions) *RetryingCall[T] {
	if fn == nil {
		panic("twill: NewRetryingCallFuture with a nil function")
	}
	if opts == nil {
		opts = &defaultRetry
	}
	return &RetryingCall[T]{future: fn, opts: *opts}
}

// Start begins a call and returns the future of its value. The future fails
// with a [*RetryError] when there is a reason to stop. No attempt begins after
// ctx has ended.
//
// Canceling the future ends the pause, or the attempt underway by the rules of
// [Future.Cancel]: an attempt whose future has other dependents goes on without
// this call, and an attempt whose canceler returns a value has succeeded. The
// end of ctx ends the pause, or the attempt as a Cancel does. In an attempt of
// a function that blocks it only ends the context, and the call lasts until the
// function returns.
func (c *RetryingCall[T]) Start(ctx context.Context) *Future[T] {
	if ctx == nil {
		panic("twill: Start with a nil context")
	}
	if c == nil || c.fn == nil && c.future == nil {
		panic("twill: RetryingCall not created by NewRetryingCall")
	}
	n := &retryNode[T]{call: *c}
	settle.Made(&n.f.core)
	n.state.begin(ctx, &n.call.opts, time.Now())
	n.state.canceled = n.canceled
	settle.Run(&retryWait[T]{n: n}, nil)
	return &n.f
}

// String returns the type, and the type of c.
func (c *RetryingCall[T]) String() string {
	return printed("RetryingCall", "", reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (c *RetryingCall[T]) GoString() string { return c.String() }

// LogValue returns the text of String, for package slog.
func (c *RetryingCall[T]) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (c *RetryingCall[T]) Format(s fmt.State, verb rune) { formatText(s, verb, c.String()) }

// retryNode is one call. One goroutine at a time continues it; only a cancel
// may read its requests concurrently.
type retryNode[T any] struct {
	f       Future[T]
	call    RetryingCall[T]
	state   retryState
	pauses  lookahead
	attempt bool                    // it waits for an attempt, not for a pause
	cancel  context.CancelCauseFunc // ends the attempt's context; may be nil
	stop    context.CancelFunc      // stops its timer; may be nil
	requests
}

// canceled returns the reason if the call was canceled.
func (n *retryNode[T]) canceled() error {
	if !n.f.core.Asked() {
		return nil
	}
	w := n.f.core.Lock()
	ask := n.ask
	n.f.core.Unlock(w)
	return ask.Err
}

// next handles the end of the attempt or pause over, which is nil at first, and
// returns the future to wait for next, or the reason to end the call.
func (n *retryNode[T]) next(over *Future[T]) (*Future[T], error) {
	if over == nil {
		if reason := n.state.ended(); reason != nil {
			return nil, reason
		}
		return n.try(), nil
	}
	fail := over.core.Failure()
	if fail != nil {
		fail.Take()
	}
	if n.attempt {
		n.release(fail.Err)
		if reason := n.state.failed(fail.Err); reason != nil {
			return nil, reason
		}
		d, ok := n.pauses.next(n.call.opts.backoff())
		if !ok {
			return nil, ErrRetriesExhausted
		}
		d, reason := n.state.pause(d)
		if reason != nil {
			return nil, reason
		}
		if d > 0 {
			var zero T
			n.attempt = false
			return n.within(After(d, zero)), nil
		}
	}
	if reason := n.state.resume(); reason != nil {
		return nil, reason
	}
	return n.try(), nil
}

// try makes an attempt.
func (n *retryNode[T]) try() *Future[T] {
	n.attempt = true
	ctx, d := n.state.ctx, n.call.opts.AttemptTimeout
	if n.call.fn != nil && d <= 0 {
		return Go(ctx, n.call.fn)
	}
	ctx, n.cancel = context.WithCancelCause(ctx)
	if d > 0 {
		ctx, n.stop = context.WithTimeoutCause(ctx, d, &TimeoutError{After: d})
	}
	if n.call.fn != nil {
		return Go(ctx, n.call.fn)
	}
	f := n.call.future(ctx)
	switch {
	case f == nil:
		return Rejected[T](errNoFuture)
	case f.core.Settled():
		return f
	case d > 0:
		f = f.Timeout(d)
	}
	return n.within(f)
}

// within returns f, canceled when the context of the call ends.
func (n *retryNode[T]) within(f *Future[T]) *Future[T] {
	if n.state.ctx.Done() == nil {
		return f
	}
	return f.WithContext(n.state.ctx)
}

// release ends the context, if there is one, of the attempt that ended with
// err.
func (n *retryNode[T]) release(err error) {
	if n.cancel == nil {
		return
	}
	var cause error
	if ask := n.canceled(); ask != nil {
		cause = causeOf(ask)
	} else if timeout, ok := err.(*TimeoutError); ok {
		cause = timeout // the future's timer may fire before the context's timer
	}
	n.cancel(cause)
	if n.stop != nil {
		n.stop()
	}
	n.cancel, n.stop = nil, nil
}

// retryWait is the wait of a call for one attempt or one pause. Each wait is a
// node with its own link, as a link can only be on one list. A cancel of the
// call is passed on to the future that it waits for. Between two waits the
// cancel is kept in requests.
type retryWait[T any] struct {
	link   settle.Link
	n      *retryNode[T]
	src    *Future[T] // the future it waits for; nil at the start
	handed bool       // another wait has taken over
}

// Source returns the future that the call waits for.
func (w *retryWait[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	w.n.note(ask)
	return &w.src.core, false
}

// Owner is the core of the future of the call.
func (w *retryWait[T]) Owner() *settle.Core { return &w.n.f.core }

// Fire continues the call when the attempt or the pause has ended, or ends the
// call if a cancel has detached it from an attempt that has other dependents.
func (w *retryWait[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n := w.n
	if left != nil {
		return n.fail(left.Err)
	}
	for over := w.src; ; {
		if over != nil && n.attempt && over.core.Failure() == nil {
			return n.succeed(over.val)
		}
		src, reason := n.next(over)
		if reason != nil {
			return n.fail(reason)
		}
		if !src.core.Settled() {
			if core, list, ok := w.waitFor(src); ok {
				return core, list
			}
		}
		over = src // continued by the loop, which needs no stack
	}
}

// waitFor makes the call continue when src settles. It returns false if src has
// settled already.
func (w *retryWait[T]) waitFor(src *Future[T]) (_ *settle.Core, _ *settle.Link, ok bool) {
	n, c := w.n, &w.n.f.core
	next := &retryWait[T]{n: n, src: src}
	next.link.Do = next
	word := c.Lock()
	c.SetUp(&next.link)
	c.Unlock(word)
	if !src.core.AddPending(&next.link, 1) {
		return nil, nil, false
	}
	// From here on another goroutine may continue n.
	w.handed = true
	if c.Depends(&src.core) && src.core.Remove(&next.link, 1) {
		core, list := n.fail(ErrCycle)
		return core, list, true
	}
	n.pass(c)
	return nil, nil, true
}

// Abort ends the call with the panic of one of its functions, or with the exit
// of the goroutine.
func (w *retryWait[T]) Abort(err error) (*settle.Core, *settle.Link) {
	if w.handed {
		return nil, nil
	}
	w.n.state.refund()
	return w.n.fail(err)
}

func (n *retryNode[T]) succeed(v T) (*settle.Core, *settle.Link) {
	n.state.succeeded()
	n.clear()
	w := n.f.core.Lock()
	n.f.val, n.requests = v, requests{}
	return &n.f.core, n.f.core.Publish(w, nil)
}

func (n *retryNode[T]) fail(reason error) (*settle.Core, *settle.Link) {
	fail := failureOf(n.state.ctx, n.state.gaveUp(reason))
	_, fail.Canceled = reason.(*CanceledError)
	n.clear()
	w := n.f.core.Lock()
	n.requests = requests{}
	return &n.f.core, n.f.core.Publish(w, fail)
}

// clear drops what the call held.
func (n *retryNode[T]) clear() {
	n.release(nil)
	n.call, n.state, n.pauses = RetryingCall[T]{}, retryState{}, lookahead{}
}
