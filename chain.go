package twill

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// Then returns the future of fn's result. If f fails, fn is not called and the
// new future fails with the same error. It mirrors addCallback, but gives a new
// future and leaves f as it is.
//
// See [Future] for the goroutine that runs fn and for what happens if it
// panics. On Go 1.27 and later it is also a method.
func Then[T, U any](f *Future[T], fn func(T) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Then with a nil function")
	}
	n := &thenNode[T, U]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Handle returns the future of fn's result, called with the value or the error
// of f; with an error the value is zero. It mirrors addBoth.
func Handle[T, U any](f *Future[T], fn func(T, error) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Handle with a nil function")
	}
	return handle(f, fn)
}

func handle[T, U any](f *Future[T], fn func(T, error) (U, error)) *Future[U] {
	n := &handleNode[T, U]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Catch returns a future of f's value or, if f fails, of fn's result for the
// error, which may recover with a value. It mirrors addErrback.
func (f *Future[T]) Catch(fn func(error) (T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Catch with a nil function")
	}
	n := &catchNode[T]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Finally returns a future that settles as f does, after fn was called. If fn
// panics, the new future fails with that.
func (f *Future[T]) Finally(fn func()) *Future[T] {
	if fn == nil {
		panic("twill: Finally with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn()
		return v, err
	})
}

// Tap returns a future that settles as f does, after fn has seen the result.
// The error counts as passed on, not as taken: somebody should still handle it.
func (f *Future[T]) Tap(fn func(T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Tap with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn(v, err)
		return v, err
	})
}

// ThenFuture is [Then] for a handler that returns a future: the new future
// settles as that one does. A cancel of the new future goes to f while f is pending, and to
// the inner one afterwards. It mirrors a callback that returns a Deferred.
//
// A handler that returns nil makes the new future fail, one that returns a future
// which waits for the new one makes it fail with [ErrCycle].
func ThenFuture[T, U any](f *Future[T], fn func(T) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: ThenFuture with a nil function")
	}
	n := &adoptNode[T, U]{onValue: fn}
	n.start(n, f)
	return &n.f
}

// HandleFuture is [Handle] for a handler that returns a future; see
// [ThenFuture].
func HandleFuture[T, U any](f *Future[T], fn func(T, error) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: HandleFuture with a nil function")
	}
	n := &adoptNode[T, U]{onBoth: fn}
	n.start(n, f)
	return &n.f
}

// CatchFuture is [Future.Catch] for a handler that returns a future; see
// [ThenFuture].
func (f *Future[T]) CatchFuture(fn func(error) *Future[T]) *Future[T] {
	if fn == nil {
		panic("twill: CatchFuture with a nil function")
	}
	n := &adoptNode[T, T]{onBoth: func(_ T, err error) *Future[T] {
		if err == nil {
			return f
		}
		return fn(err)
	}}
	n.start(n, f)
	return &n.f
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

// Shield returns a future that settles as f does, and that keeps every cancel
// from below away from f: the shield fails at once with a [*CanceledError], and
// f goes on.
func (f *Future[T]) Shield() *Future[T] {
	n := &shieldNode[T]{}
	n.start(n, f)
	return &n.f
}

// Executor runs functions: each on its own goroutine, on one of a bounded
// number, or one after another on an event loop. *sync.WaitGroup is one, and so
// are the pools of several packages. Go must run f exactly once, then or later.
type Executor interface {
	Go(f func())
}

// ExecutorFunc makes an [Executor] of a function.
type ExecutorFunc func(f func())

// Go calls e(f).
func (e ExecutorFunc) Go(f func()) { e(f) }

// Goroutines is the [Executor] that starts a goroutine for each function.
var Goroutines Executor = ExecutorFunc(func(f func()) { go f() })

// Via returns a future that settles as f does, on the executor: the handlers
// added to it, and what follows them, run there instead of on the goroutine that
// settles f. If the executor's Go panics, the future fails with that.
func (f *Future[T]) Via(ex Executor) *Future[T] {
	if ex == nil {
		panic("twill: Via with a nil executor")
	}
	n := &viaNode[T]{ex: ex}
	n.start(n, f)
	return &n.f
}

// derived is a future that continues another one: the future, and the link by
// which it listens, in one allocation.
type derived[T, U any] struct {
	f    Future[U]
	link settle.Link
	src  *Future[T] // until f settles; changed under the lock of f
}

// start hangs n, the node that d is embedded in, on src.
func (d *derived[T, U]) start(n settle.Node, src *Future[T]) {
	d.prepare(n, src)
	d.attach()
}

// prepare is the first half of start: from here on d may be cancelled, though
// that finds no link to go on by.
func (d *derived[T, U]) prepare(n settle.Node, src *Future[T]) {
	if src == nil {
		panic("twill: nil future")
	}
	settle.Made(&d.f.core)
	d.src = src
	d.link.Do = n
	d.f.core.SetUp(&d.link)
}

// attach is the second half. Between the two, only the caller knows d, and so
// src is still there.
func (d *derived[T, U]) attach() {
	if !d.src.core.Add(&d.link, 1) {
		settle.Run(d.link.Do, nil)
	}
}

// Source is the future that d continues.
func (d *derived[T, U]) Source(*settle.Failure) (*settle.Core, bool) {
	return &d.src.core, false
}

// incoming is the failure with which d goes on, nil for the value of src.
func (d *derived[T, U]) incoming(left *settle.Failure) *settle.Failure {
	if left == nil {
		left = d.src.core.Failure()
	}
	return left
}

// answer settles d with the result of a handler that was called with fail. One
// that returns the very error it was given has handled nothing.
func (d *derived[T, U]) answer(fail *settle.Failure, v U, err error) (*settle.Core, *settle.Link) {
	if err == nil {
		fail.Take()
		return d.conclude(v, nil)
	}
	return d.fail(answered(fail, err))
}

// conclude settles d with the result of a handler.
func (d *derived[T, U]) conclude(v U, err error) (*settle.Core, *settle.Link) {
	if err != nil {
		return d.fail(settle.NewFailure(err))
	}
	// Nobody else may settle d, and nobody reads the value before that is done.
	d.f.val = v
	if d.f.core.Succeed() {
		d.src = nil
		return nil, nil
	}
	w := d.f.core.Lock()
	d.src = nil
	return &d.f.core, d.f.core.Publish(w, nil)
}

func (d *derived[T, U]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	w := d.f.core.Lock()
	d.src = nil
	return &d.f.core, d.f.core.Publish(w, fail)
}

// Abort makes what stopped a handler the failure of its future. If the handler
// was called with a failure, it has handled that.
func (d *derived[T, U]) Abort(err error) (*settle.Core, *settle.Link) {
	if d.src.core.Settled() {
		if fail := d.src.core.Failure(); fail != nil {
			fail.Take()
		}
	}
	return d.fail(settle.NewFailure(err))
}

// pass settles d as its source has settled, or with fail.
func pass[T any](d *derived[T, T], fail *settle.Failure) (*settle.Core, *settle.Link) {
	if fail != nil {
		return d.fail(fail)
	}
	return d.conclude(d.src.val, nil)
}

type thenNode[T, U any] struct {
	derived[T, U]
	fn func(T) (U, error)
}

// Fire runs the handler if there is a value for it.
func (n *thenNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		return n.fail(fail)
	}
	return n.conclude(fn(n.src.val))
}

type handleNode[T, U any] struct {
	derived[T, U]
	fn func(T, error) (U, error)
}

// Fire runs the handler.
func (n *handleNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		var zero T
		v, err := fn(zero, fail.Err)
		return n.answer(fail, v, err)
	}
	return n.conclude(fn(n.src.val, nil))
}

type catchNode[T any] struct {
	derived[T, T]
	fn func(error) (T, error)
}

// Fire runs the handler if there is an error for it.
func (n *catchNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		v, err := fn(fail.Err)
		return n.answer(fail, v, err)
	}
	return n.conclude(n.src.val, nil)
}

// adoptNode listens to src first, and after that to the future that the handler
// returned: with a link of its own, because a cancel that takes the node off src
// may have it there while src is still pending and looked at.
type adoptNode[T, U any] struct {
	derived[T, U]
	onValue func(T) *Future[U] // one of these two, until it is called
	onBoth  func(T, error) *Future[U]
	inner   *Future[U]      // set and cleared under the lock of f
	second  settle.Link     // the one on inner
	ask     *settle.Failure // the first cancel that came by since src answered; under the lock of f
	ran     bool            // the handler has returned
}

// Source is the inner future once there is one.
func (n *adoptNode[T, U]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if n.ask == nil {
		n.ask = ask
	}
	if n.inner != nil {
		return &n.inner.core, false
	}
	return &n.src.core, false
}

// Fire runs the handler at first, and takes the inner result afterwards.
func (n *adoptNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if n.inner != nil {
		if left != nil {
			return n.fail(left)
		}
		return n.take()
	}
	fail := n.incoming(left)
	w := n.f.core.Lock()
	if !settle.Stuck(w) {
		n.ask = nil // it went to src, which has answered it
	}
	n.f.core.Unlock(w)
	onValue, onBoth := n.onValue, n.onBoth
	n.onValue, n.onBoth = nil, nil
	var inner *Future[U]
	switch {
	case onValue == nil && fail != nil:
		var zero T
		inner = onBoth(zero, fail.Err)
		if inner != nil && inner.core.Settled() {
			if same := inner.core.Failure(); same != nil && isSame(same.Err, fail.Err) {
				if same != fail {
					same.Take() // passed on, as one with the handler's
				}
				n.ran = true
				return n.fail(fail)
			}
		}
		fail.Take()
	case onValue == nil:
		inner = onBoth(n.src.val, nil)
	case fail != nil:
		return n.fail(fail)
	default:
		inner = onValue(n.src.val)
	}
	n.ran = true
	if inner == nil {
		return n.fail(settle.NewFailure(errNoFuture))
	}
	return n.adopt(inner)
}

// adopt waits for the inner future.
func (n *adoptNode[T, U]) adopt(inner *Future[U]) (*settle.Core, *settle.Link) {
	c := &n.f.core
	n.second.Do = n
	w := c.Lock()
	n.inner = inner
	c.SetUp(&n.second)
	c.Unlock(w)
	if !inner.core.AddPending(&n.second, 1) {
		return n.take()
	}
	// From here on n may be fired by others.
	if c.Depends(&inner.core) && inner.core.Remove(&n.second, 1) {
		return n.fail(settle.NewFailure(ErrCycle))
	}
	// A cancel that came by before the link was made has left its mark only.
	if c.Stuck() {
		w = c.Lock()
		ask := n.ask
		c.Unlock(w)
		c.Cancel(ask)
	}
	return nil, nil
}

// take settles n as its inner future has settled.
func (n *adoptNode[T, U]) take() (*settle.Core, *settle.Link) {
	inner := n.inner
	if fail := inner.core.Failure(); fail != nil {
		return n.fail(fail)
	}
	c := &n.f.core
	w := c.Lock()
	n.src, n.inner, n.ask = nil, nil, nil
	n.f.val = inner.val
	return c, c.Publish(w, nil)
}

func (n *adoptNode[T, U]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w := c.Lock()
	n.src, n.inner, n.ask = nil, nil, nil
	return c, c.Publish(w, fail)
}

// Abort makes what stopped the handler the failure of its future. If the
// goroutine exits after the handler returned, in a canceller that adopt had to
// run, that is not n's concern.
func (n *adoptNode[T, U]) Abort(err error) (*settle.Core, *settle.Link) {
	if n.ran {
		return nil, nil
	}
	return n.fail(settle.NewFailure(err))
}

type timeoutNode[T any] struct {
	derived[T, T]
	after   time.Duration
	timer   *time.Timer
	expired atomic.Bool
}

func (n *timeoutNode[T]) expire() {
	n.expired.Store(true)
	n.f.Cancel(&TimeoutError{After: n.after})
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
		timeout := settle.NewFailure(&TimeoutError{After: n.after})
		timeout.Expected = fail.EndedWork()
		fail = timeout
	}
	return pass(&n.derived, fail)
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

type shieldNode[T any] struct{ derived[T, T] }

// Source holds the source.
func (n *shieldNode[T]) Source(*settle.Failure) (*settle.Core, bool) {
	return &n.src.core, true
}

// Fire passes the outcome on.
func (n *shieldNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	return pass(&n.derived, n.incoming(left))
}

type viaNode[T any] struct {
	derived[T, T]
	ex Executor
}

// Fire hands the outcome to the executor.
func (n *viaNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	var val T
	fail := n.incoming(left)
	if fail == nil {
		val = n.src.val
	}
	ex := n.ex
	n.ex = nil
	ex.Go(func() {
		if core, list := n.deliver(val, fail); list != nil {
			settle.Drain(core, list)
		}
	})
	return nil, nil
}

// deliver settles n, unless the executor ran it before.
func (n *viaNode[T]) deliver(v T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	n.src = nil
	n.f.val = v
	return c, c.Publish(w, fail)
}

// Abort is called if the executor panics.
func (n *viaNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	var zero T
	return n.deliver(zero, settle.NewFailure(err))
}

// FutureOf is a future of T: a *Future[T], or what embeds a Future[T], such as a
// [*Job] or a [*DeferredList]. Only these implement it.
type FutureOf[T any] interface {
	AnyFuture
	future() *Future[T]
}

// future returns f.
func (f *Future[T]) future() *Future[T] { return f }
