package twill

import (
	"context"
	"time"

	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/settle"
)

// How it is built, and why so.
//
// A future is one allocation: a word of bits, the head of the list of
// listeners, a pointer that is the way up until the future settles and the way
// to its failure from then on, and the value: 32 bytes for a Future[int]. The
// futures that Then and its like make carry, in the same allocation, the
// handler and the links by which they hang on the list of the future before
// them: 80 bytes a link. Nothing is allocated to listen.
//
// The list is doubly linked because everything that listens may leave: a wait
// that is given up, a loser of a race, a chain that is canceled. With the
// links inside the listener that is O(1) and leaves nothing behind; a slice
// would need a search, a lock-free stack tombstones.
//
// The lock is one bit of the word. Under it are a few assignments, never an
// allocation, a call of user code or another lock, so that it is as good as
// lock-free; unlike that, it can take a listener out of the middle.
//
// Settling takes the whole list under the lock and runs it without: a loop,
// depth first, over an explicit stack that stays empty for a chain, whatever
// its length. The settler owns the list it took, so that a listener needs no
// state of its own to be run once. Listeners that come while the loop runs are
// appended, and the loop takes them too; this is what keeps them in order.
//
// The loop catches panics with one defer that is set up once for all
// listeners, and again only after one of them has used it.
//
// internal/settle holds that part, without types and with its own tests.

// Future is a result that is not there yet: a value of type T, or an error.
// It settles once, and never changes afterwards. It is Twisted's Deferred,
// seen from the side of those who wait.
//
// Futures are made by [Go], [Call], a [Promise], [Resolved], [Rejected],
// [After], [FromChan], [FromContext], and from other futures by [Then],
// [Handle] and their like. The zero value is of no use: nothing settles it. A
// Future must not be copied; it is always used as *Future[T], by any number of
// goroutines. Its value is shared by all who see it.
//
// # Handlers
//
// Any number of handlers may be added, before and after the future settles, and
// from any goroutine. Each sees the same result, runs exactly once, and in the
// order of adding. A handler runs on the goroutine that settles the future or,
// if it is settled and its handlers have run, on the one that adds the handler,
// before the call that adds it returns; [Future.Via] moves it elsewhere. It
// never runs under a lock of this package, and may call anything here, but it
// should not block: others wait for it. In particular it must not wait for
// another handler of the same future. If it panics or ends its goroutine, the
// future it was to give fails with a [*PanicError] or [ErrGoexit], and the
// other handlers run.
//
// # Memory model
//
// The call that settles a future synchronizes before every handler that is run
// with the result and before every return of Await and Poll that gives it.
type Future[T any] struct {
	core settle.Core
	val  T // written under the lock, before the settled bit
}

// Result is a settled future's value or error.
type Result[T any] struct {
	Value T
	Err   error
}

// AnyFuture is a future of any type: every *Future[T] is one, and nothing else
// but what embeds one, such as a [*Job]. Its methods are those of [Future].
type AnyFuture interface {
	Done() <-chan struct{}
	Context() context.Context
	Cancel(cause error) bool
	base() *settle.Core
	withoutValue() *Future[struct{}]
}

// Go starts fn on a goroutine of its own and returns the future of its result.
// It calls fn even if ctx has ended, as fn may own what it has to release.
//
// A Cancel of the future ends fn's context with the cause and fails the future
// at once: a settled future may outlive its function. What fn returns after
// that is dropped; [GoWith] can release it. If ctx ends, fn's context ends too,
// and the future settles when fn returns: an Await with the same ctx does not
// wait for that, and may return while fn still runs. To wait until functions
// have returned, start them by [GoIn] in a pool.
//
// A panic of fn is a [*PanicError], its [runtime.Goexit] an [ErrGoexit]; either
// goes to [OnUnhandled] if the future was settled before. [NoValue] makes a
// function for Go of one that returns only an error. With Await inside fn, Go
// is what inlineCallbacks is in Twisted.
func Go[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Future[T] {
	checkGo("Go", ctx, fn == nil)
	n := newGoNode[T](ctx)
	go n.run(fn)
	return n.f
}

// GoIn is [Go] for a function that pool waits for: the future is in the pool,
// and the pool is not empty until fn has returned, even if the future was
// canceled long before. A shutdown that cancels the pool and waits for its
// [Pool.Empty] may close what the functions use.
//
// If the pool was closed the future fails with [ErrClosed]. Even then fn is
// called, with a context that has ended for that cause, and keeps the pool from
// being empty until it has returned.
func GoIn[T any](pool *Pool, ctx context.Context, fn func(ctx context.Context) (T, error)) *Future[T] {
	if pool == nil {
		panic("twill: GoIn with a nil pool")
	}
	checkGo("GoIn", ctx, fn == nil)
	return GoWith(ctx, fn, &GoOptions[T]{Pool: pool})
}

// GoOptions are the options of [GoWith]. The zero value is [Go].
type GoOptions[T any] struct {
	// Pool, if it is not nil, is not empty until the function has returned and
	// Discard, if it is called, too; see [GoIn].
	Pool *Pool

	// Discard, if it is not nil, is called with a value that the function has
	// returned, without an error, after its future was canceled: to close a
	// connection, say, that nobody else will. It runs on the function's
	// goroutine. A panic of it goes to [OnUnhandled].
	Discard func(v T)
}

// GoWith is [Go] with options; nil is the zero value.
func GoWith[T any](ctx context.Context, fn func(ctx context.Context) (T, error), opts *GoOptions[T]) *Future[T] {
	checkGo("GoWith", ctx, fn == nil)
	n := newGoNode[T](ctx)
	if opts == nil {
		go n.run(fn)
		return n.f
	}
	if opts.Pool == nil {
		go n.runWith(fn, opts.Discard, nil)
		return n.f
	}
	m, open := opts.Pool.enter(n.f)
	if !open {
		n.Context.End(ErrClosed)
		n.f.fail(settle.NewFailure(ErrClosed))
	}
	go n.runWith(fn, opts.Discard, m)
	return n.f
}

func checkGo(name string, ctx context.Context, noFunc bool) {
	if ctx == nil {
		panic("twill: " + name + " with a nil context")
	}
	if noFunc {
		panic("twill: " + name + " with a nil function")
	}
}

// NoValue makes a function with an empty value of one that returns only an
// error, for [Go], [Retry], [RunWith] and others.
func NoValue(fn func(ctx context.Context) error) func(ctx context.Context) (struct{}, error) {
	if fn == nil {
		panic("twill: NoValue with a nil function")
	}
	return func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) }
}

// NoValueArg is [NoValue] for a function with an argument, for
// [NewResizableDispatchQueue], [NewPooler], [Race], [Map] and others.
func NoValueArg[A any](fn func(ctx context.Context, arg A) error) func(ctx context.Context, arg A) (struct{}, error) {
	if fn == nil {
		panic("twill: NoValueArg with a nil function")
	}
	return func(ctx context.Context, arg A) (struct{}, error) { return struct{}{}, fn(ctx, arg) }
}

// Call runs fn now, on the caller's goroutine, and returns its result as a
// settled future. A panic is a [*PanicError]. It mirrors maybeDeferred.
func Call[T any](fn func() (T, error)) (f *Future[T]) {
	if fn == nil {
		panic("twill: Call with a nil function")
	}
	done := false
	defer func() {
		if !done {
			if v := recover(); v != nil {
				f = Rejected[T](caught(v))
			}
		}
	}()
	v, err := fn()
	done = true
	if err != nil {
		return Rejected[T](err)
	}
	return Resolved(v)
}

// Resolved returns a future that is settled with v; Twisted's succeed.
func Resolved[T any](v T) *Future[T] {
	f := &Future[T]{val: v}
	settle.Made(&f.core)
	f.core.Preset(nil)
	return f
}

// Rejected returns a future that has failed with err; Twisted's fail. It panics
// if err is nil.
func Rejected[T any](err error) *Future[T] {
	if err == nil {
		panic("twill: Rejected with a nil error")
	}
	f := &Future[T]{}
	settle.Made(&f.core)
	f.core.Preset(settle.NewFailure(err))
	return f
}

// failedFuture returns a future that has failed with fail.
func failedFuture[T any](fail *settle.Failure) *Future[T] {
	f := &Future[T]{}
	settle.Made(&f.core)
	f.core.Preset(fail)
	return f
}

// After returns a future that settles with v after d. A Cancel stops the timer.
func After[T any](d time.Duration, v T) *Future[T] {
	n := &afterNode[T]{}
	settle.Made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	timer := time.AfterFunc(d, func() { n.elapsed(v) })
	if w, ok := n.f.core.Begin(); ok {
		n.timer = timer
		n.f.core.Unlock(w)
	}
	return &n.f
}

// FromChan returns a future of the next value received from ch; a ch that is
// closed fails it with [ErrClosed]. It receives one value at most, on a
// goroutine that lives until then or until Cancel. No value is lost to a
// cancel: one that was received settles the future, and one that was not is
// still in ch.
func FromChan[T any](ch <-chan T) *Future[T] {
	if ch == nil {
		panic("twill: FromChan with a nil channel")
	}
	n := &chanNode[T]{}
	settle.Made(&n.f.core)
	select {
	case v, ok := <-ch:
		n.received(v, ok)
		return &n.f
	default:
	}
	n.quit, n.decided = make(chan struct{}), make(chan struct{})
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	go n.receive(ch, n.quit, n.decided)
	return &n.f
}

// FromContext returns a future that fails with [context.Cause] when ctx ends.
// It never succeeds. A Cancel of it detaches it from ctx.
func FromContext(ctx context.Context) *Future[struct{}] {
	if ctx == nil {
		panic("twill: FromContext with a nil context")
	}
	n := &fromContext{f: new(Future[struct{}])}
	settle.Made(&n.f.core)
	if ctx.Err() != nil {
		n.ended(ctx)
		return n.f
	}
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	n.stop = context.AfterFunc(ctx, func() { n.ended(ctx) })
	return n.f
}

// Await blocks until f settles, and returns its result, or until ctx ends, and
// returns [context.Cause] of it. A result that is there wins over a context
// that has ended. The context bounds the waiting, not the work: to end that,
// use [Future.Cancel] or [Future.WithContext]. A wait that is given up leaves
// nothing behind. Await panics if ctx is nil.
func (f *Future[T]) Await(ctx context.Context) (T, error) {
	if ctx == nil {
		panic("twill: Await with a nil context")
	}
	if !f.core.Settled() {
		if err := f.core.Wait(ctx); err != nil {
			var zero T
			return zero, err
		}
	}
	return f.result()
}

// Poll returns the result and true if f has settled. It never blocks.
func (f *Future[T]) Poll() (Result[T], bool) {
	if !f.core.Settled() {
		return Result[T]{}, false
	}
	v, err := f.result()
	return Result[T]{v, err}, true
}

// Done returns a channel that is closed when f settles, before any handler
// runs: the bridge to select. Calling it again gives the same channel. Watching
// it is no interest in the sense of [Future.Cancel], and takes no error.
func (f *Future[T]) Done() <-chan struct{} {
	if b := f.bridge(); b != nil {
		return b.ctx.Done()
	}
	return closedChan
}

// Context returns a context that ends when f settles: with f's error as its
// cause if f failed, [context.Canceled] otherwise. See [Future.Done].
func (f *Future[T]) Context() context.Context {
	if b := f.bridge(); b != nil {
		return b.ctx
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var err error
	if fail := f.core.Failure(); fail != nil {
		err = fail.Err
	}
	cancel(err)
	return ctx
}

// Cancel asks for f to end with a [*CanceledError] for cause, which may be nil.
// It reports whether this call ended something that way: it is false if f is
// settled, if its own handler is already running, or if a canceler settled it
// with a result of its own.
//
// The request goes up the chain to the pending future on which f hangs; through
// [ThenFuture], to the one its handler returned. That one's canceler runs, and
// its outcome comes down again through the handlers, which may clean up or
// recover. But a future that others depend on too - by a handler, an Await, a
// Follow or a list - is left alone: then the one below it leaves, at once, and
// its handlers see the [*CanceledError]. The last to leave takes it down.
//
// It mirrors Deferred.cancel; a canceler that panics is contained.
func (f *Future[T]) Cancel(cause error) bool {
	if f.core.Settled() {
		return false
	}
	return f.core.Cancel(canceled(cause))
}

// base is the core of f; nil if f is.
func (f *Future[T]) base() *settle.Core {
	if f == nil {
		return nil
	}
	return &f.core
}

// result is what a settled f holds. Its failure is taken by that.
func (f *Future[T]) result() (T, error) {
	if fail := f.core.Failure(); fail != nil {
		fail.Take()
		return f.val, fail.Err
	}
	return f.val, nil
}

// settle is the one way by which a future is settled by hand. It reports
// whether f was pending.
func (f *Future[T]) settle(v T, fail *settle.Failure) bool {
	w, ok := f.core.Begin()
	if !ok {
		return false
	}
	if settle.Underway(w) {
		if w, ok = f.answer(w); !ok {
			return false
		}
	}
	f.val = v
	if fail == nil {
		if f.core.PublishAlone(w) {
			return true
		}
		if n := f.core.PublishQuiet(w); n != nil {
			if c, list := n.Fire(nil); list != nil {
				settle.Drain(c, list)
			}
			return true
		}
	}
	up := f.core.Up()
	list := f.core.Publish(w, fail)
	if up != nil {
		if h, ok := up.Do.(leaver); ok {
			h.leave()
		}
	}
	if list != nil {
		settle.Drain(&f.core, list)
	}
	return true
}

// settleResult is settle for what a function returned.
func (f *Future[T]) settleResult(v T, err error) bool {
	if err != nil {
		return f.fail(settle.NewFailure(err))
	}
	return f.settle(v, nil)
}

// fail settles f with a failure, and reports whether f was pending.
func (f *Future[T]) fail(fail *settle.Failure) bool {
	var zero T
	return f.settle(zero, fail)
}

// A leaver listens to something for a future that may be settled by hand
// before. Then its leave is called.
type leaver interface{ leave() }

// An answerer runs the cancelers of a future. It knows which request to cancel
// is answered by the caller, if that is such a canceler and about to settle the
// future.
type answerer interface{ answering() *settle.Failure }

// answer notes that f, whose canceler runs and whose lock is held with word w,
// is about to be settled by it, if it is. The result is that of Begin.
func (f *Future[T]) answer(w uint32) (uint32, bool) {
	up := f.core.Up()
	f.core.Unlock(w)
	h, ok := up.Do.(answerer)
	if !ok {
		return f.core.Begin()
	}
	request := h.answering()
	w, ok = f.core.Begin()
	if ok && request != nil {
		request.Answer()
	}
	return w, ok
}

// root is a future that is settled by hand and has something to do when it is
// canceled.
type root[T any] struct {
	f    Future[T]
	link settle.Link
}

// Source is nil: a root is canceled itself.
func (r *root[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Abort is not called: what roots do on a cancel is not user code.
func (r *root[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return r.end(settle.NewFailure(err))
}

// end settles the root unless that was done.
func (r *root[T]) end(fail *settle.Failure) (*settle.Core, *settle.Link) {
	return settleFailed(&r.f.core, fail)
}

// settleFailed settles c with fail unless it was settled.
func settleFailed(c *settle.Core, fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	return c, c.Publish(w, fail)
}

// goNode is what belongs to the function of a Go. The future is an allocation
// of its own: settled, it does not keep the context.
type goNode[T any] struct {
	lazyctx.Context
	f    *Future[T]
	link settle.Link
}

func newGoNode[T any](ctx context.Context) *goNode[T] {
	n := &goNode[T]{f: new(Future[T])}
	n.Base = ctx
	settle.Made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	return n
}

func (n *goNode[T]) run(fn func(context.Context) (T, error)) {
	done := false
	defer func() {
		if !done {
			n.stopped(caught(recover()))
		}
	}()
	v, err := fn(&n.Context)
	done = true
	n.returned(v, err)
}

// runWith is run for a value that may be discarded and a member of a pool that
// leaves at the end; both may be nil.
func (n *goNode[T]) runWith(fn func(context.Context) (T, error), discard func(T), m *running) {
	done := false
	defer func() {
		if m != nil {
			defer m.returned.settle(struct{}{}, nil)
		}
		if !done {
			n.stopped(caught(recover()))
		}
	}()
	v, err := fn(&n.Context)
	done = true
	if !n.returned(v, err) && err == nil && discard != nil {
		discardLate(discard, v)
	}
}

// returned settles the future with what the function returned, and reports
// whether it was pending.
func (n *goNode[T]) returned(v T, err error) bool {
	n.Context.End(nil)
	if err != nil {
		return n.f.fail(failureOf(n.Base, err))
	}
	return n.f.settle(v, nil)
}

// stopped settles the future with the panic or exit that ended the function.
func (n *goNode[T]) stopped(err error) {
	n.Context.End(err)
	if !n.f.fail(settle.NewFailure(err)) {
		report(err)
	}
}

// Source is nil: the future is canceled itself.
func (n *goNode[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Fire fails the future, so that the function cannot come first with a result,
// and then ends the function's context.
func (n *goNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	left.EndsWork()
	core, list := settleFailed(&n.f.core, left)
	if ce, ok := left.Err.(*CanceledError); ok && ce.Cause != nil {
		n.Context.End(ce.Cause)
	} else {
		n.Context.End(left.Err)
	}
	return core, list
}

// Abort is called if ending the context panics, which takes a context that was
// not made by package context.
func (n *goNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&n.f.core, settle.NewFailure(err))
}

// discardLate calls discard with a value that came too late for its future.
func discardLate[T any](discard func(T), v T) {
	done := false
	defer func() {
		if !done {
			reportPanic(recover())
		}
	}()
	discard(v)
	done = true
}

type afterNode[T any] struct {
	root[T]
	timer *time.Timer // under the lock of f, and until that settles
}

func (n *afterNode[T]) elapsed(v T) {
	if w, ok := n.f.core.Begin(); ok {
		n.timer = nil
		n.f.val = v
		if list := n.f.core.Publish(w, nil); list != nil {
			settle.Drain(&n.f.core, list)
		}
	}
}

// Fire stops the timer.
func (n *afterNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := n.f.core.Begin()
	if !ok {
		return nil, nil
	}
	timer := n.timer
	n.timer = nil
	n.f.core.Unlock(w)
	timer.Stop()
	return n.end(left)
}

type chanNode[T any] struct {
	root[T]
	// Under the lock of f, and until that settles; nil if ch had a value at
	// once.
	quit    chan struct{} // closed to end receive
	decided chan struct{} // closed when receive has a value, which is published, or none
}

// receive is given the channels, which a settled future does not keep.
func (n *chanNode[T]) receive(ch <-chan T, quit <-chan struct{}, decided chan<- struct{}) {
	select {
	case v, ok := <-ch:
		n.received(v, ok)
	case <-quit:
		close(decided)
	}
}

func (n *chanNode[T]) received(v T, open bool) {
	var fail *settle.Failure
	if !open {
		fail = settle.NewFailure(ErrClosed)
	}
	w, _ := n.f.core.Begin() // a cancel waits for decided
	n.f.val = v
	decided := n.decided
	n.quit, n.decided = nil, nil
	list := n.f.core.Publish(w, fail)
	if decided != nil {
		close(decided)
	}
	if list != nil {
		settle.Drain(&n.f.core, list)
	}
}

// Fire stops the receiving goroutine, and waits until that has published a
// value or has none, which depends on no user code.
func (n *chanNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := n.f.core.Begin()
	if !ok {
		return nil, nil
	}
	quit, decided := n.quit, n.decided
	n.f.core.Unlock(w)
	close(quit)
	<-decided
	if w, ok = n.f.core.Begin(); !ok {
		return nil, nil
	}
	n.quit, n.decided = nil, nil
	return &n.f.core, n.f.core.Publish(w, left)
}

// fromContext watches a context for a future, which is an allocation of its own
// for the reason of goNode.
type fromContext struct {
	f    *Future[struct{}]
	link settle.Link
	stop func() bool
}

func (n *fromContext) ended(ctx context.Context) {
	fail := settle.NewFailure(context.Cause(ctx))
	fail.Expected = true
	n.f.fail(fail)
}

// Source is nil: the future is canceled itself.
func (n *fromContext) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Fire detaches n from the context.
func (n *fromContext) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n.stop()
	return settleFailed(&n.f.core, left)
}

// Abort is not called: Fire runs no user code.
func (n *fromContext) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&n.f.core, settle.NewFailure(err))
}

// bridge is the one bridge of f, nil if f is settled.
func (f *Future[T]) bridge() *bridgeNode {
	if f.core.Settled() {
		return nil
	}
	n := f.core.Bridged()
	if n == nil {
		b := &bridgeNode{src: &f.core}
		b.ctx, b.cancel = context.WithCancelCause(context.Background())
		b.link.Do = b
		var ok bool
		if n, ok = f.core.Bridge(&b.link); !ok {
			return nil
		}
	}
	return n.(*bridgeNode)
}

var closedChan = func() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

type bridgeNode struct {
	link   settle.Link
	src    *settle.Core
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Fire ends the context.
func (b *bridgeNode) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	var err error
	if fail := b.src.Failure(); fail != nil {
		err = fail.Err
	}
	b.src = nil
	b.cancel(err)
	return nil, nil
}

// Abort is not called: Fire runs no user code.
func (b *bridgeNode) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source is nil: nothing is canceled by way of a bridge.
func (b *bridgeNode) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }
