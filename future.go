package twill

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/settle"
)

// How a future is built, and why:
//
// A future is one allocation: a word of bits, the head of the list of
// listeners, a pointer, and the value: 32 bytes for a Future[int]. The pointer
// leads to the future's source until the future settles, and to its failure
// from then on. The future that Then or a similar function makes carries, in
// the same allocation, the handler and the links that hang it on the list of
// the future before it: 80 bytes a link. Adding a listener allocates nothing.
//
// The list is doubly linked because every listener may leave: a wait that is
// given up, a loser of a race, a chain that is canceled. As the links are
// inside the listener, removing it is O(1) and leaves nothing behind. A slice
// would need a search, a lock-free stack would need tombstones.
//
// One bit of the word is a spin lock. It protects a few assignments, and never
// an allocation, user code or another lock, so contention is negligible. Unlike
// a lock-free stack it allows removing a listener from the middle.
//
// Settling takes the whole list under the lock and runs it without the lock: a
// depth-first loop over an explicit stack that stays empty for a chain of any
// length. The settler owns the list that it took, so a listener needs no state
// of its own to run only once. Listeners that are added while the loop runs are
// appended, and the same loop runs them; this keeps them in order.
//
// One defer catches the panics of all listeners. It is set up again only after
// a listener has panicked.
//
// internal/settle contains this part, without types and with its own tests.

// Future is the result of work that may not have finished: a value of type T,
// or an error. It settles once, and never changes afterwards. It is the
// consumer's side of Twisted's Deferred; [Promise] is the producer's side.
//
// Futures are made by [Go], [Call], a [Promise], [Resolved], [Rejected],
// [After], [FromChan] and [FromContext], and from other futures by [Then],
// [Handle] and similar functions. The zero value cannot be used, as nothing
// settles it. A Future must not be copied. It is used as *Future[T], by any
// number of goroutines, which share its value.
//
// # Handlers
//
// Any number of handlers may be added, before and after the future settles,
// from any goroutine. Each handler sees the same result and runs exactly once;
// handlers run in the order in which they were added. A handler runs on the
// goroutine that settles the future. If the future has settled and its handlers
// have run, a new handler runs on the goroutine that adds it, before the call
// that adds it returns. [Future.Via] moves handlers elsewhere. A handler never
// runs under a lock of this package and may call anything in it, but it should
// not block, as other handlers wait for it. In particular it must not wait for
// another handler of the same future. If a handler panics or ends its
// goroutine, the future of its result fails with a [*PanicError] or
// [ErrGoexit], and the other handlers run.
//
// # Memory model
//
// The call that settles a future synchronizes before every handler that is run
// with the result and before every return of Await and Poll that returns it.
type Future[T any] struct {
	core settle.Core
	val  T // written with the lock held, before the settled bit
}

// Result is the value or the error of a settled future.
type Result[T any] struct {
	Value T
	Err   error
}

// AnyFuture is a future of any type. Only *Future[T] and types that embed a
// Future, such as [*Job], implement it. Its methods are those of [Future].
type AnyFuture interface {
	Done() <-chan struct{}
	Context() context.Context
	Cancel(cause error) bool
	base() *settle.Core
	withoutValue() *Future[struct{}]
}

// Go starts fn on its own goroutine and returns the future of its result. It
// calls fn even if ctx has ended, as fn may own something that it has to
// release.
//
// Canceling the future ends fn's context with the cause and fails the future at
// once, so the settled future may outlive its function. A value that fn returns
// after that is dropped; [GoWith] can release it. If ctx ends, fn's context
// ends too, and the future settles when fn returns. An Await with the same ctx
// does not wait for that, and may return while fn is still running. To wait
// until functions have returned, start them in a pool by [GoIn].
//
// If fn panics, the future fails with a [*PanicError]; if fn calls
// [runtime.Goexit], it fails with [ErrGoexit]. If the future was settled
// before, the error goes to [OnUnhandled]. [NoValue] adapts a function that
// returns only an error. Go, with Await inside fn, is the equivalent of
// Twisted's inlineCallbacks.
func Go[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Future[T] {
	checkGo("Go", ctx, fn == nil)
	n := newGoNode[T](ctx)
	go n.run(fn)
	return n.f
}

// GoIn is [Go] in a pool that waits for the function: the future is a member of
// the pool, and the pool is not empty until fn has returned, even if the future
// was canceled long before. A shutdown that cancels the pool and waits for its
// [Pool.Empty] can then close what the functions use.
//
// If the pool is closed, the future fails with [ErrClosed]. Even then fn is
// called, with a context that has ended with that cause, and the pool is not
// empty until fn has returned.
func GoIn[T any](pool *Pool, ctx context.Context, fn func(ctx context.Context) (T, error)) *Future[T] {
	if pool == nil {
		panic("twill: GoIn with a nil pool")
	}
	checkGo("GoIn", ctx, fn == nil)
	return GoWith(ctx, fn, &GoOptions[T]{Pool: pool})
}

// GoOptions are the options of [GoWith]. The zero value makes GoWith the same
// as [Go].
type GoOptions[T any] struct {
	// Pool, if not nil, is not empty until the function, and Discard if it is
	// called, have returned; see [GoIn].
	Pool *Pool

	// Discard, if not nil, is called with a value that the function returned
	// without an error after its future was canceled, for example to close a
	// connection. It runs on the function's goroutine. If it panics, the panic
	// goes to [OnUnhandled].
	Discard func(v T)
}

// GoWith is [Go] with options. Nil options mean the zero value.
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

// NoValue adapts a function that returns only an error to [Go], [Retry],
// [RunWith] and other functions that expect a value as well.
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

// Call runs fn on the caller's goroutine and returns its result as a settled
// future. If fn panics, the future fails with a [*PanicError]. Call is the
// equivalent of Twisted's maybeDeferred.
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

// Resolved returns a future that is settled with v. It is the equivalent of
// Twisted's succeed.
func Resolved[T any](v T) *Future[T] {
	f := &Future[T]{val: v}
	settle.Made(&f.core)
	f.core.Preset(nil)
	return f
}

// Rejected returns a future that has failed with err. It is the equivalent of
// Twisted's fail. It panics if err is nil.
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

// After returns a future that settles with v after d. Canceling it stops the
// timer.
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

// FromChan returns a future of the next value received from ch. If ch is
// closed, the future fails with [ErrClosed]. FromChan receives at most one
// value, on a goroutine that ends when it has received the value or when the
// future is canceled. Canceling never loses a value: it has either settled the
// future or is still in ch.
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
// It never succeeds. Canceling it detaches it from ctx.
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
// returns [context.Cause] of ctx. A result that exists is returned even if ctx
// has ended. The context limits the wait, not the work: to end the work, use
// [Future.Cancel] or [Future.WithContext]. An abandoned wait leaves nothing
// behind. Await panics if ctx is nil.
func (f *Future[T]) Await(ctx context.Context) (T, error) {
	if ctx == nil {
		panic("twill: Await with a nil context")
	}
	if f.core.Succeeded() { // without a call of a function
		return f.val, nil
	}
	if !f.core.Settled() {
		if err := f.core.Wait(ctx); err != nil {
			var zero T
			return zero, err
		}
	}
	return f.result()
}

// Poll returns the result of f and true, or false if f has not settled. It
// never blocks.
func (f *Future[T]) Poll() (Result[T], bool) {
	if !f.core.Settled() {
		return Result[T]{}, false
	}
	v, err := f.result()
	return Result[T]{v, err}, true
}

// Done returns a channel that is closed when f settles, before any handler
// runs. It is for use in select. Every call returns the same channel. Done does
// not make the caller a dependent in the sense of [Future.Cancel], and does not
// handle an error.
func (f *Future[T]) Done() <-chan struct{} {
	if b := f.bridge(); b != nil {
		return b.ctx.Done()
	}
	return closedChan
}

// Context returns a context that ends when f settles. Its cause is f's error if
// f failed, and [context.Canceled] otherwise. See [Future.Done].
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

// Cancel requests that f end with a [*CanceledError] with cause, which may be
// nil. It reports whether this call ended something that way. It returns false
// if f is settled, if its own handler is already running, or if a canceler
// settled it with another result.
//
// The request goes up the chain to the pending future that f waits for; through
// [ThenFuture], to the future that its handler returned. There the canceler
// runs, and its outcome comes down again through the handlers, which may clean
// up or recover. A future that has other dependents - handlers, Awaits,
// follows, lists - is not canceled: only the future below it detaches, at once,
// and its handlers see the [*CanceledError]. The shared future is canceled when
// its last dependent detaches.
//
// Cancel is the equivalent of Deferred.cancel. A panic of a canceler is
// contained.
func (f *Future[T]) Cancel(cause error) bool {
	if f.core.Settled() {
		return false
	}
	return f.core.Cancel(canceled(cause))
}

// String returns the type, and the state of f and, if f failed, the type of its
// error.
func (f *Future[T]) String() string {
	return printed("Future", stateOf(&f.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (f *Future[T]) GoString() string { return f.String() }

// LogValue returns the text of String, for package slog.
func (f *Future[T]) LogValue() slog.Value { return slog.StringValue(f.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb and, in
// debug mode, the places where f was made, settled and canceled for %+v.
func (f *Future[T]) Format(s fmt.State, verb rune) {
	formatText(s, verb, f.String())
	if verb == 'v' && s.Flag('+') {
		if o := settle.OriginOf(&f.core); o != nil {
			fmt.Fprintf(s, "\n%s", o)
		}
	}
}

// base returns the core of f, or nil if f is nil.
func (f *Future[T]) base() *settle.Core {
	if f == nil {
		return nil
	}
	return &f.core
}

// result returns what a settled f holds, and marks its failure as handled.
func (f *Future[T]) result() (T, error) {
	if fail := f.core.Failure(); fail != nil {
		fail.Take()
		return f.val, fail.Err
	}
	return f.val, nil
}

// settle settles f by hand; all such calls go through it. It reports whether f
// was pending.
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

// fail settles f with a failure, and reports whether f was pending.
func (f *Future[T]) fail(fail *settle.Failure) bool {
	var zero T
	return f.settle(zero, fail)
}

// A leaver listens to something on behalf of a future that may be settled by
// hand first. In that case its leave method is called.
type leaver interface{ leave() }

// An answerer runs the cancelers of a future. answering returns the request to
// cancel that the caller answers, if the caller is such a canceler and is about
// to settle the future.
type answerer interface{ answering() *settle.Failure }

// answer records that f, whose canceler runs and whose lock is held with word
// w, is about to be settled by that canceler, if it is. It returns what Begin
// returns.
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

// root is a future that is settled by hand and does something when it is
// canceled.
type root[T any] struct {
	f    Future[T]
	link settle.Link
}

// Source returns nil: a root is canceled itself.
func (r *root[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the future.
func (r *root[T]) Owner() *settle.Core { return &r.f.core }

// Abort is not called: roots run no user code on a cancel.
func (r *root[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return r.end(settle.NewFailure(err))
}

// end settles the root unless it is settled.
func (r *root[T]) end(fail *settle.Failure) (*settle.Core, *settle.Link) {
	return settleFailed(&r.f.core, fail)
}

// settleFailed settles c with fail unless c is settled.
func settleFailed(c *settle.Core, fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	return c, c.Publish(w, fail)
}

// goNode is the state of a function started by Go. The future is an allocation
// of its own, so that a settled future does not keep the context.
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

// runWith runs fn, gives a late value to discard, and removes m from its pool
// at the end. discard and m may be nil.
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

// returned settles the future with the function's result, and reports whether
// the future was pending.
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

// Source returns nil: the future is canceled itself.
func (n *goNode[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the future.
func (n *goNode[T]) Owner() *settle.Core { return &n.f.core }

// Fire fails the future, so that a result of the function cannot settle it
// first, and then ends the function's context.
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

// Abort is called if ending the context panics, which can happen only with a
// context that was not made by package context.
func (n *goNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&n.f.core, settle.NewFailure(err))
}

// discardLate calls discard with a value that was returned after its future had
// settled.
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
	timer *time.Timer // with the lock of f held, until f settles
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
	// With the lock of f held, until f settles; nil if ch had a value at once.
	quit    chan struct{} // closed to end receive
	decided chan struct{} // closed when receive has published a value, or has none
}

// receive has the channels as arguments, as a settled future does not keep
// them.
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

// Fire stops the receiving goroutine, and waits until the goroutine has
// published a value or has none. This wait depends on no user code.
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

// fromContext watches a context for a future. The future is an allocation of
// its own for the same reason as in goNode.
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

// Source returns nil: the future is canceled itself.
func (n *fromContext) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the future.
func (n *fromContext) Owner() *settle.Core { return &n.f.core }

// Fire detaches n from the context.
func (n *fromContext) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n.stop()
	return settleFailed(&n.f.core, left)
}

// Abort is not called: Fire runs no user code.
func (n *fromContext) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&n.f.core, settle.NewFailure(err))
}

// bridge returns the only bridge of f, or nil if f is settled.
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

// Source returns nil: nothing is canceled through a bridge.
func (b *bridgeNode) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (b *bridgeNode) Owner() *settle.Core { return nil }
