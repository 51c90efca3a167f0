package twill

import (
	"context"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// Then returns the future of fn's result for the value of f. If f fails, fn is
// not called and the new future fails with the same error. f may be a [*Job].
// Then is the equivalent of Twisted's addCallback, but returns a new future and
// does not change f.
//
// See [Future] for the goroutine that runs fn and for what happens if it
// panics. With Go 1.27 and later Then is also a method.
func Then[T, U any](f FutureOf[T], fn func(T) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Then with a nil function")
	}
	n := &thenNode[T, U]{fn: fn}
	n.start(n, source(f))
	return &n.f
}

// Handle returns the future of fn's result. fn is called with the value and the
// error of f; if f fails, the value is zero. Handle is the equivalent of
// addBoth.
func Handle[T, U any](f FutureOf[T], fn func(T, error) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Handle with a nil function")
	}
	return handle(source(f), fn)
}

func handle[T, U any](f *Future[T], fn func(T, error) (U, error)) *Future[U] {
	n := &handleNode[T, U]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Catch returns a future of f's value or, if f fails, of fn's result for the
// error: fn may recover by returning a value. Catch is the equivalent of
// addErrback.
func (f *Future[T]) Catch(fn func(error) (T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Catch with a nil function")
	}
	n := &catchNode[T]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Finally calls fn when f settles, and returns a future that settles as f does.
// If fn panics, the new future fails with the [*PanicError].
func (f *Future[T]) Finally(fn func()) *Future[T] {
	if fn == nil {
		panic("twill: Finally with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn()
		return v, err
	})
}

// Tap calls fn with the result of f, and returns a future that settles as f
// does. Tap does not mark an error as handled.
func (f *Future[T]) Tap(fn func(T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Tap with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn(v, err)
		return v, err
	})
}

// OnSettled calls fn with the result of f when f settles. If f has settled, fn
// is called at once or, while handlers of f run, after them. Like
// [context.AfterFunc], OnSettled returns a function that ends the watch. That
// function reports whether it ended the watch: it returns false if fn was
// called or is about to be called, or if the watch was ended before.
//
// fn runs as every handler does, on the goroutine that settles f, and should
// not block. Unlike a handler it only watches: OnSettled makes no new future,
// does not keep f from being canceled, and does not handle a failure. A panic
// of fn goes to [OnUnhandled].
func (f *Future[T]) OnSettled(fn func(T, error)) (stop func() bool) {
	return watch(f, fn).stop
}

// watch is a function of its own so that the compiler can inline OnSettled: if
// its caller does not use stop, then stop is not allocated.
func watch[T any](f *Future[T], fn func(T, error)) *watching {
	if fn == nil {
		panic("twill: OnSettled with a nil function")
	}
	w := &watchNode[T]{src: f, fn: fn}
	w.link.Do = w
	if !f.core.Add(&w.link, 0) {
		settle.Run(w, nil)
	}
	return &w.watching
}

// ThenFuture is [Then] for a handler that returns a future: the new future
// settles as the handler's future does. A cancel of the new future goes to f
// while f is pending, and to the handler's future afterwards. ThenFuture is the
// equivalent of a callback that returns a Deferred.
//
// If the handler returns nil, the new future fails. If the handler's future
// waits for the new future, the new future fails with [ErrCycle].
func ThenFuture[T, U any](f FutureOf[T], fn func(T) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: ThenFuture with a nil function")
	}
	n := &adoptNode[T, U]{onValue: fn}
	n.start(n, source(f))
	return &n.f
}

// HandleFuture is [Handle] for a handler that returns a future; see
// [ThenFuture].
func HandleFuture[T, U any](f FutureOf[T], fn func(T, error) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: HandleFuture with a nil function")
	}
	n := &adoptNode[T, U]{onBoth: fn}
	n.start(n, source(f))
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

// Timeout returns a future that settles as f does if f settles within d, and
// otherwise fails with a [*TimeoutError]. It is the equivalent of Twisted's
// addTimeout.
//
// After d, f is canceled as by [Future.Cancel]. If the outcome of that cancel
// is a value, supplied by a canceler or by a handler in between, the new future
// settles with it. If the new future is still pending when the cancel has
// returned, because a handler is running or has recovered by starting something
// new, it takes the result of f if f has settled; otherwise it detaches from f
// and fails at once. If f has no other dependents, whatever f waits for at that
// moment is canceled too; [Future.Shield] protects work that must finish. The
// new future therefore ends after d, plus the time that the cancelers and
// handlers called by that cancel take.
//
// A value that arrives later is dropped. To bound the acquisition of something
// that must be released, put the Timeout before the handler, as in
// Then(q.Get().Timeout(d), fn), and not after it.
func (f *Future[T]) Timeout(d time.Duration) *Future[T] {
	n := &timeoutNode[T]{after: d}
	n.start(n, f)
	if n.f.core.Settled() {
		return &n.f
	}
	if d <= 0 {
		n.expire()
		return &n.f
	}
	timer := time.AfterFunc(d, n.expire)
	if w, ok := n.f.core.Begin(); ok {
		n.timer = timer
		n.f.core.Unlock(w)
	} else {
		timer.Stop()
	}
	return &n.f
}

// WithContext returns a future that settles as f does if f settles before ctx
// ends, and otherwise fails with a [*CanceledError] for [context.Cause] of ctx.
// If f has a value, the new future has it even if ctx has ended. If f fails
// because ctx has ended, for example because a function returns ctx.Err(), the
// error is the same.
//
// When ctx ends, f is canceled as by [Future.Cancel], and the new future ends
// with the outcome of that cancel, or at once, as described for
// [Future.Timeout]. Values that arrive later are dropped, as described there.
func (f *Future[T]) WithContext(ctx context.Context) *Future[T] {
	if ctx == nil {
		panic("twill: WithContext with a nil context")
	}
	n := &contextNode[T]{ctx: ctx}
	n.start(n, f)
	if n.f.core.Settled() {
		return &n.f
	}
	if ctx.Err() != nil {
		n.expire(ctx)
		return &n.f
	}
	stop := context.AfterFunc(ctx, func() { n.expire(ctx) })
	if w, ok := n.f.core.Begin(); ok {
		n.stop = stop
		n.f.core.Unlock(w)
	} else {
		stop()
	}
	return &n.f
}

// Shield returns a future that settles as f does but never passes a cancel to
// f: if the new future is canceled, it fails at once with a [*CanceledError],
// and f goes on.
func (f *Future[T]) Shield() *Future[T] {
	n := &shieldNode[T]{}
	n.start(n, f)
	return &n.f
}

// Via returns a future that settles as f does, inside a function that is given
// to run. The handlers of the new future, and everything that follows them, run
// where run runs its argument, and not on the goroutine that settles f. run
// must call its argument once, now or later, as the Go methods of
// [sync.WaitGroup] and of an errgroup do, and as func(fn func()) { go fn() }
// does. If run panics, the new future fails with the [*PanicError].
//
// A Cancel, a Timeout or the end of a context ends the new future at once, even
// if its function has not been run yet. The handlers then run on the goroutine
// that cancels.
func (f *Future[T]) Via(run func(func())) *Future[T] {
	if run == nil {
		panic("twill: Via with a nil function")
	}
	n := &viaNode[T]{run: run}
	n.start(n, f)
	return &n.f
}

// derived is a future that continues another future: the future, and the link
// by which it listens, in one allocation.
type derived[T, U any] struct {
	f    Future[U]
	link settle.Link
	src  *Future[T] // until f settles; changed with the lock of f held
}

// start adds n, the node in which d is embedded, to the listeners of src.
func (d *derived[T, U]) start(n settle.Node, src *Future[T]) {
	if src == nil {
		panic("twill: nil future")
	}
	settle.Made(&d.f.core)
	d.src = src
	d.link.Do = n
	d.f.core.SetUp(&d.link)
	if !src.core.Add(&d.link, 1) {
		settle.Run(n, nil)
	}
}

// requests records the cancels that have passed through a future that changes
// its source: the first unanswered cancel, and the latest. They are passed on
// to the next source. The lock of the future guards requests.
type requests struct{ ask, later *settle.Failure }

// note is called by Source.
func (r *requests) note(ask *settle.Failure) {
	switch {
	case ask == nil || ask == r.ask:
		return
	case r.asked() == nil:
		r.ask, r.later = ask, nil
	default:
		r.ask, r.later = r.asked(), ask
	}
	ask.Hold()
}

// asked returns the first unanswered cancel, or nil.
func (r *requests) asked() *settle.Failure {
	for _, ask := range []*settle.Failure{r.ask, r.later} {
		if ask != nil && !ask.Answered() {
			return ask
		}
	}
	return nil
}

// pass is called when c, the core of the future, has come to wait for a new
// source that a cancel can reach. It passes on a cancel that arrived earlier,
// unless that cancel was answered by the outcome with which the future has
// continued.
func (r *requests) pass(c *settle.Core) {
	w := c.Lock()
	ask := r.asked()
	c.Unlock(w)
	if ask != nil {
		c.Cancel(ask)
	}
}

// Source returns the future that d continues.
func (d *derived[T, U]) Source(*settle.Failure) (*settle.Core, bool) {
	return &d.src.core, false
}

// Owner is the core of the future.
func (d *derived[T, U]) Owner() *settle.Core { return &d.f.core }

// incoming returns the failure with which d continues, or nil for the value of
// src.
func (d *derived[T, U]) incoming(left *settle.Failure) *settle.Failure {
	if left == nil {
		left = d.src.core.Failure()
	}
	return left
}

// answer settles d with the result of a handler that was called with fail. A
// handler that returns the very error that it was given has not handled the
// failure.
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
	// Nothing else can settle d, and nothing reads the value before d has settled.
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

// Abort fails the future with the panic or exit of the handler. If the handler
// was called with a failure, that failure is handled.
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

type watchNode[T any] struct {
	watching
	src *Future[T]
	fn  func(T, error)
}

// watching is the part of a watch without the type of the value: a method value
// of a type with parameters is allocated even if it is not used.
type watching struct {
	link settle.Link // its node is the watch
}

func (w *watching) stop() bool {
	return w.link.Do.(interface{ watched() *settle.Core }).watched().Remove(&w.link, 0)
}

func (w *watchNode[T]) watched() *settle.Core { return &w.src.core }

// Fire calls the function.
func (w *watchNode[T]) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	var err error
	if fail := w.src.core.Failure(); fail != nil {
		err = fail.Err
	}
	w.fn(w.src.val, err)
	return nil, nil
}

// Abort reports a panic of the function, as there is no future that could fail
// with it.
func (w *watchNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	if err != ErrGoexit {
		report(err)
	}
	return nil, nil
}

// Source returns nil: nothing is canceled through a watch.
func (w *watchNode[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (w *watchNode[T]) Owner() *settle.Core { return nil }

// adoptNode listens first to src and then to the future that the handler
// returned. It has a second link, because a cancel that takes the node off src
// may move the node to the handler's future while other goroutines still read
// the link on src, which is pending.
type adoptNode[T, U any] struct {
	derived[T, U]
	onValue func(T) *Future[U] // one of the two, until it is called
	onBoth  func(T, error) *Future[U]
	inner   *Future[U]  // set and cleared with the lock of f held
	second  settle.Link // the link on inner; not empty if the handler has returned
	requests
}

// Source returns the inner future if there is one, and src before that.
func (n *adoptNode[T, U]) Source(ask *settle.Failure) (*settle.Core, bool) {
	n.note(ask)
	if n.inner != nil {
		return &n.inner.core, false
	}
	return &n.src.core, false
}

// Fire runs the handler first, and takes the result of the inner future
// afterwards.
func (n *adoptNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if n.inner != nil {
		if left != nil {
			return n.fail(left)
		}
		return n.take()
	}
	fail := n.incoming(left)
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
					same.Take() // joined to the handler's failure
				}
				n.second.Do = n
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
	// From here on other goroutines may fire n.
	if c.Depends(&inner.core) && inner.core.Remove(&n.second, 1) {
		return n.fail(settle.NewFailure(ErrCycle))
	}
	n.pass(c)
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
	n.src, n.inner, n.requests = nil, nil, requests{}
	n.f.val = inner.val
	return c, c.Publish(w, nil)
}

func (n *adoptNode[T, U]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w := c.Lock()
	n.src, n.inner, n.requests = nil, nil, requests{}
	return c, c.Publish(w, fail)
}

// Abort fails the future with the panic or exit of the handler. If the
// goroutine exits after the handler has returned, in a canceler that adopt
// runs, n is not affected.
func (n *adoptNode[T, U]) Abort(err error) (*settle.Core, *settle.Link) {
	if n.second.Do != nil {
		return nil, nil
	}
	return n.fail(settle.NewFailure(err))
}

// bound is a future that ends at some moment whatever happens upstream. Two
// goroutines may fire it at that moment; the first of them decides the outcome.
type bound[T any] struct {
	derived[T, T]
	request *settle.Failure // the cancel that ends it; guarded by the lock of f
}

// end cancels upstream, and ends n, the node in which b is embedded, if the
// cancel did not end it. again is the failure with which n ends in that case,
// and the request that cancels what upstream has started after the first
// request.
func (b *bound[T]) end(n settle.Node, request, again *settle.Failure) {
	c := &b.f.core
	w, ok := c.Begin()
	if !ok {
		return
	}
	b.request = request
	c.Unlock(w)
	request.Bound()
	defer b.detach(n, again) // runs even if a handler ends the goroutine
	c.Cancel(request)
}

func (b *bound[T]) detach(n settle.Node, again *settle.Failure) {
	src, _ := b.state()
	if src == nil {
		return
	}
	was, last := src.core.Detach(&b.link)
	switch {
	case was:
		if last {
			defer src.core.Cancel(settle.NewCancel(again.Err))
		}
		settle.Run(n, again)
	case src.core.Settled():
		settle.Run(n, nil)
	}
}

// state returns the source, or nil if b has settled, and the request.
func (b *bound[T]) state() (src *Future[T], request *settle.Failure) {
	w := b.f.core.Lock()
	src, request = b.src, b.request
	b.f.core.Unlock(w)
	return src, request
}

// settle settles b with the value of src or with fail. The caller holds the
// lock of b's future, with word w.
func (b *bound[T]) settle(w uint32, src *Future[T], fail *settle.Failure) (*settle.Core, *settle.Link) {
	b.src, b.request = nil, nil
	if fail == nil {
		b.f.val = src.val
	}
	return &b.f.core, b.f.core.Publish(w, fail)
}

type timeoutNode[T any] struct {
	bound[T]
	after time.Duration
	timer *time.Timer // guarded by the lock of f
}

func (n *timeoutNode[T]) expire() {
	err := &TimeoutError{After: n.after}
	n.end(n, canceled(err), canceled(err))
}

// Fire passes the outcome on. A cancellation becomes a timeout if the time is
// over.
func (n *timeoutNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w := c.Lock()
	src, request, timer := n.src, n.request, n.timer
	c.Unlock(w)
	if src == nil {
		return nil, nil
	}
	if timer != nil {
		timer.Stop()
	}
	fail := left
	if fail == nil {
		fail = src.core.Failure()
	}
	if fail != nil && request != nil && isCancel(fail.Err) {
		if fail.Incident {
			report(fail.Err) // the timeout replaces it, and would hide the panic of a canceler
		}
		fail = n.timedOut(fail, request)
	}
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	n.timer = nil
	return n.settle(w, src, fail)
}

// timedOut returns the failure of a future whose time was over when its source
// failed with fail, as the result of request. It keeps what else fail contains.
func (n *timeoutNode[T]) timedOut(fail, request *settle.Failure) *settle.Failure {
	err := &TimeoutError{After: n.after}
	if !fail.Canceled {
		err.Err = fail.Err
	}
	timeout := settle.NewFailure(err)
	timeout.Expected = fail.Expected || fail.Canceled && (fail.EndedWork() || request.EndedWork())
	fail.Take()
	return timeout
}

type contextNode[T any] struct {
	bound[T]
	// With the lock of f held, until f settles.
	ctx  context.Context
	stop func() bool
}

func (n *contextNode[T]) expire(ctx context.Context) {
	n.end(n, canceledBy(ctx), canceledBy(ctx))
}

// Fire passes the outcome on. A failure caused by the end of ctx is the same
// error, whether the watch on ctx or the source noticed the end first.
func (n *contextNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w := c.Lock()
	src, ctx, stop := n.src, n.ctx, n.stop
	c.Unlock(w)
	if src == nil {
		return nil, nil
	}
	if stop != nil {
		stop()
	}
	fail := left
	if fail == nil {
		fail = src.core.Failure()
	}
	if fail != nil && !fail.Canceled && ctx.Err() != nil && isEndOf(ctx, fail.Err) {
		if cause := context.Cause(ctx); !is(cause, context.DeadlineExceeded) || !is(fail.Err, cause) {
			fail.Take()
			fail = canceledBy(ctx)
		}
	}
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	n.ctx, n.stop = nil, nil
	return n.settle(w, src, fail)
}

type shieldNode[T any] struct{ derived[T, T] }

// Source returns src, and stops every cancel.
func (n *shieldNode[T]) Source(*settle.Failure) (*settle.Core, bool) {
	return &n.src.core, true
}

// Fire passes the outcome on.
func (n *shieldNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	return pass(&n.derived, n.incoming(left))
}

// viaNode listens first to src, and then waits until run calls its argument.
type viaNode[T any] struct {
	derived[T, T]
	requests
	run func(func()) // nil after src has settled; guarded by the lock of f
}

// Source returns nil after src has settled.
func (n *viaNode[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if n.run == nil {
		return nil, false
	}
	n.note(ask)
	return &n.src.core, false
}

// Fire gives the outcome to run, or ends the wait for run.
func (n *viaNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	var val T
	if left != nil {
		return n.deliver(val, left)
	}
	c := &n.f.core
	w := c.Lock()
	src, run := n.src, n.run
	n.run = nil
	c.Unlock(w)
	// From here on a cancel may end the future.
	n.pass(c)
	fail := src.core.Failure()
	if fail == nil {
		val = src.val
	}
	run(func() { // even if a cancel has ended the future just now, as one a moment later
		if core, list := n.deliver(val, fail); list != nil {
			settle.Drain(core, list)
		}
	})
	return nil, nil
}

// deliver settles n, unless it has ended before. A failure that arrives later
// is reported, as the failure of a future that nothing waits for is.
func (n *viaNode[T]) deliver(v T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w, ok := c.Begin()
	if !ok {
		if fail != nil && (!fail.Canceled || fail.Incident) {
			new(settle.Core).Preset(fail)
		}
		return nil, nil
	}
	n.src, n.requests = nil, requests{}
	n.f.val = v
	return c, c.Publish(w, fail)
}

// Abort is called if run panics or ends its goroutine.
func (n *viaNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	var zero T
	return n.deliver(zero, settle.NewFailure(err))
}

// FutureOf is a future of T. Only *Future[T] and types that embed a Future[T],
// such as [*Job] and [*DeferredList], implement it.
type FutureOf[T any] interface {
	AnyFuture
	future() *Future[T]
}

// future returns f.
func (f *Future[T]) future() *Future[T] { return f }

// source returns f as a *Future[T], or nil if f is nil.
func source[T any](f FutureOf[T]) *Future[T] {
	if f == nil {
		return nil
	}
	return f.future()
}
