package twill

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// Cancel asks for f to end with a [*CanceledError] for cause, which may be nil.
// It reports whether this call ended something that way: it is false if f
// is settled, if its own handler is already running, or if a canceller settled it
// with a result of its own.
//
// The request goes up the chain to the pending future on which f hangs; through
// [ThenFuture], to the one its handler returned. That one's canceller runs,
// and its outcome comes down again through the handlers, which may clean up or
// recover. But a future that others depend on too - by a handler, an Await, a
// Follow or a list - is left alone: then the one below it leaves, at once, and its
// handlers see the [*CanceledError]. The last to leave takes it down.
//
// It mirrors Deferred.cancel; a canceller that panics is contained.
func (f *Future[T]) Cancel(cause error) bool {
	if f.core.Settled() {
		return false
	}
	return f.core.Cancel(canceled(cause))
}

// Shield returns a future that settles as f does, and that keeps every cancel
// from below away from f: the shield fails at once with a [*CanceledError], and
// f goes on.
func (f *Future[T]) Shield() *Future[T] {
	n := &shieldNode[T]{}
	n.start(n, f)
	return &n.f
}

type shieldNode[T any] struct{ derived[T, T] }

// Source holds the source.
func (n *shieldNode[T]) Source(*settle.Failure) (*settle.Core, bool) {
	return &n.src.core, true
}

// Fire passes the outcome on.
func (n *shieldNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	return pass(&n.derived, n.incoming(left))
}

// Timeout returns a future that settles as f does if that is within d, and
// fails with a [*TimeoutError] otherwise. When the time is over, f is cancelled by the
// rules of [Future.Cancel]; if its canceller gives a result, or a handler
// between recovers, that is passed on. It mirrors addTimeout.
func (f *Future[T]) Timeout(d time.Duration) *Future[T] {
	n := &timeoutNode[T]{after: d}
	if d <= 0 {
		n.start(n, f)
		n.expire()
		return &n.f
	}
	n.prepare(n, f)
	n.timer = time.AfterFunc(d, n.expire)
	n.attach()
	if n.expired.Load() {
		n.expire() // it came before there was anything to cancel
	}
	return &n.f
}

type timeoutNode[T any] struct {
	derived[T, T]
	after   time.Duration
	timer   *time.Timer
	expired atomic.Bool
}

func (n *timeoutNode[T]) expire() {
	n.expired.Store(true)
	n.f.Cancel(&TimeoutError{n.after})
}

// Fire passes the outcome on, and calls a cancel that was ours a timeout.
func (n *timeoutNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if n.timer != nil {
		n.timer.Stop()
	}
	fail := n.incoming(left)
	if fail != nil && n.expired.Load() && isCancel(fail.Err) {
		if fail.Incident {
			report(fail.Err) // a timeout does not tell that a canceller panicked
		}
		fail = settle.NewFailure(&TimeoutError{n.after})
	}
	return pass(&n.derived, fail)
}

// WithContext returns a future that settles as f does, and that is cancelled
// with [context.Cause] when ctx ends before.
func (f *Future[T]) WithContext(ctx context.Context) *Future[T] {
	if ctx == nil {
		panic("twill: WithContext with a nil context")
	}
	n := &contextNode[T]{}
	n.prepare(n, f)
	ended := func() { n.f.Cancel(context.Cause(ctx)) }
	if ctx.Err() == nil {
		n.stop = context.AfterFunc(ctx, ended)
	}
	n.attach()
	if ctx.Err() != nil {
		ended() // it may have ended before there was anything to cancel
	}
	return &n.f
}

type contextNode[T any] struct {
	derived[T, T]
	stop func() bool
}

// Fire passes the outcome on.
func (n *contextNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
	return pass(&n.derived, n.incoming(left))
}
