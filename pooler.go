package twill

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"sync/atomic"

	"github.com/twillgo/twill/internal/keymap"
	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
	"github.com/twillgo/twill/internal/waitgraph"
)

// ErrReentrant is the failure of a call of a [Pooler], or of a
// [Dict.GetOrCompute], that would wait for a call from within which it was
// made.
var ErrReentrant = errors.New("twill: reentrant call")

// Pooler merges calls: it calls a function once for all callers that request
// the same key at the same time. Unlike golang.org/x/sync/singleflight it
// returns a separate future to each caller, cancels a call when its last caller
// leaves, and turns a panic into an error. Unlike a cache it keeps no results:
// a call made after the previous one has ended calls the function again. Pooler
// is the equivalent of the recipe DeferredPooler.
//
// Pooler is constructed by [NewPooler], [NewPoolerFunc] or [NewPoolerFuture];
// the zero value panics. A Pooler must not be copied. Its methods may be called
// concurrently. All callers of a call share its result; the Pooler keeps no
// reference to it.
//
// # Calls
//
// Calls with equal keys share the call underway. The function's context carries
// the values of the first caller's context but not its deadline or
// cancellation. It ends when the last caller has left, because its future was
// canceled or its own context has ended, and when the function has returned. A
// caller that leaves does not affect the others.
//
// A new caller does not join a call that was canceled, or whose function has
// returned. Calls of the function for one key never overlap: a call made after
// all callers have left starts when the canceled one has returned, unless
// [Pooler.Forget] was called. It does not start if the contexts of all its
// callers have ended by then. Results are delivered in the order in which the
// callers joined, and after the key is free: a handler that calls again starts
// a new call.
//
// If the function panics or ends its goroutine, the futures of all callers fail
// with a [*PanicError] or [ErrGoexit], and the key is free.
//
// The function of NewPooler runs on its own goroutine, and so do the handlers
// of its futures; see [Pooler.Do] for the exception. A key that does not equal
// itself, such as a NaN, is never shared; a key of an interface type that
// cannot be compared panics in the caller.
//
// # Calls from within a call
//
// A function that calls a Pooler, its own or another one, must pass on the
// context that it was given, or one derived from it. A call that would then
// wait for itself fails with [ErrReentrant] instead: a call with the key of a
// call from within which it is made, or of a call that waits for such a call,
// directly or through other keys and other Poolers. For a call that the
// function does not wait for, use a context without these values.
type Pooler[A, V any] struct {
	p pooling[A, V]
}

// pooling is a [poolerTable] without the type of its key.
type pooling[A, V any] interface {
	call(ctx context.Context, arg A) *Future[V]
	do(ctx context.Context, arg A) (V, error)
	forget(arg A) bool
	cancelAll(cause error)
	underway() []A
	stats() PoolerStats
	empty() *Future[struct{}]
}

// PoolerOptions are the settings of a [Pooler].
type PoolerOptions[V any] struct {
	// Discard, if not nil, is called with a value that the function returned,
	// without an error, after all its callers had left, to release the value. It
	// runs on the goroutine on which the call ended, before the futures of
	// [Pooler.Empty] settle. A panic of it goes to [OnUnhandled].
	Discard func(V)
}

// NewPooler returns a [Pooler] of fn, whose argument is the key. If there are
// several opts, the fields that are set in a later one replace those of an
// earlier one.
func NewPooler[K comparable, V any](fn func(ctx context.Context, key K) (V, error), opts ...PoolerOptions[V]) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPooler with a nil function")
	}
	return NewPoolerFunc(func(k K) K { return k }, fn, opts...)
}

// NewPoolerFunc returns a [Pooler] of fn for arguments that are not map keys.
// Calls are equal if keyOf returns equal keys; fn is called with the argument
// of the first of them. keyOf runs on the goroutine of the caller, under no
// lock.
func NewPoolerFunc[A any, K comparable, V any](keyOf func(A) K, fn func(ctx context.Context, arg A) (V, error), opts ...PoolerOptions[V]) *Pooler[A, V] {
	if keyOf == nil || fn == nil {
		panic("twill: NewPoolerFunc with a nil function")
	}
	return &Pooler[A, V]{&poolerTable[A, K, V]{keyOf: keyOf, fn: fn, discard: discardOf(opts)}}
}

// NewPoolerFuture returns a [Pooler] of a function that returns a future. fn
// runs on the goroutine of the first caller, before Call returns, and should
// not block. The call is underway until the future settles; the callers'
// handlers run on the goroutine that settles it. When the last caller leaves,
// that future is canceled by the rules of [Future.Cancel].
func NewPoolerFuture[K comparable, V any](fn func(ctx context.Context, key K) *Future[V], opts ...PoolerOptions[V]) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPoolerFuture with a nil function")
	}
	return &Pooler[K, V]{&poolerTable[K, K, V]{keyOf: func(k K) K { return k }, start: fn, discard: discardOf(opts)}}
}

func discardOf[V any](opts []PoolerOptions[V]) (discard func(V)) {
	for _, o := range opts {
		if o.Discard != nil {
			discard = o.Discard
		}
	}
	return discard
}

// Call calls the function, or joins the call for an equal key that is underway,
// and returns the future of the result.
//
// If ctx ends first, the caller leaves and its future fails: with
// [context.Cause] of ctx if that is a deadline, and otherwise with a
// [*CanceledError] for that cause. If ctx has ended already, the function is
// not called.
func (p *Pooler[A, V]) Call(ctx context.Context, arg A) *Future[V] {
	if ctx == nil {
		panic("twill: Call with a nil context")
	}
	return p.table().call(ctx, arg)
}

// Do is Call that waits for the result: it returns what Call(ctx,
// arg).Await(ctx) returns. If ctx cannot end, because its Done is nil, and
// there is no call underway to join, the function of NewPooler and
// NewPoolerFunc runs on the goroutine of Do, and so do the handlers of callers
// that join. Such a caller cannot leave; if the function ends the goroutine, it
// ends that of Do.
func (p *Pooler[A, V]) Do(ctx context.Context, arg A) (V, error) {
	if ctx == nil {
		panic("twill: Do with a nil context")
	}
	return p.table().do(ctx, arg)
}

// Forget makes the next call with an equal key call the function at once, even
// if a call is underway, which continues for its callers. It reports whether a
// call was underway.
func (p *Pooler[A, V]) Forget(arg A) bool { return p.table().forget(arg) }

// CancelAll cancels the futures of all callers by their Cancel(cause), in the
// order in which the calls started and the callers joined. It ends the context
// of a call that runs on the goroutine of [Pooler.Do].
func (p *Pooler[A, V]) CancelAll(cause error) { p.table().cancelAll(cause) }

// Empty returns a future that settles when no function is underway, at once if
// none is now. A call whose callers have left counts until its function has
// returned.
func (p *Pooler[A, V]) Empty() *Future[struct{}] { return p.table().empty() }

// Len returns the number of functions that are underway.
func (p *Pooler[A, V]) Len() int { return p.Stats().Underway }

// All iterates over the arguments of the calls that are underway when the loop
// begins, in the order in which they started.
func (p *Pooler[A, V]) All() iter.Seq[A] {
	t := p.table()
	return func(yield func(A) bool) {
		for _, arg := range t.underway() {
			if !yield(arg) {
				return
			}
		}
	}
}

// Stats returns the numbers of calls so far and now.
func (p *Pooler[A, V]) Stats() PoolerStats { return p.table().stats() }

// String returns the type, and how many calls are underway.
func (p *Pooler[A, V]) String() string {
	return printed("Pooler", p.printedState(), reflect.TypeFor[A](), reflect.TypeFor[V]())
}

// GoString returns the text of String, for %#v.
func (p *Pooler[A, V]) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Pooler[A, V]) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Pooler[A, V]) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

func (p *Pooler[A, V]) printedState() string {
	if p.p == nil {
		return "not created by NewPooler"
	}
	return fmt.Sprintf("%d underway", p.Len())
}

// PoolerStats is the result of [Pooler.Stats].
type PoolerStats struct {
	Calls    uint64 // calls of Call and Do that were admitted
	Merged   uint64 // calls among these that joined another call
	Underway int    // functions that are underway
	Waiting  int    // callers that wait for their result
}

func (p *Pooler[A, V]) table() pooling[A, V] {
	if p.p == nil {
		panic("twill: Pooler not created by NewPooler")
	}
	return p.p
}

// poolerTable holds the calls of a [Pooler].
type poolerTable[A any, K comparable, V any] struct {
	keyOf   func(A) K
	fn      func(context.Context, A) (V, error) // one of the two
	start   func(context.Context, A) *Future[V]
	discard func(V)

	// mu guards the fields below, and the fields of calls and callers where it is
	// noted. It is not held while functions are called, contexts are checked or
	// ended, and futures are settled.
	mu      sched.Mutex
	joined  keymap.Map[K, *poolerCall[A, K, V]] // calls to join or to wait for
	running list.List[*poolerCall[A, K, V]]     // calls underway, including forgotten ones
	idle    list.List[*waiter[struct{}]]
	calls   uint64
	merged  uint64
	waiting int // number of callers
}

// poolerCall is one call of the function, and the context it is given.
type poolerCall[A any, K comparable, V any] struct {
	lazyctx.Context
	list.Links[*poolerCall[A, K, V]]
	node waitgraph.Node // if it has returned, no caller joins
	arg  A
	key  K

	table atomic.Pointer[poolerTable[A, K, V]] // nil once the call is finished

	// The table's lock guards these fields, and callers until the call is
	// finished. After that callers belongs to the goroutine that delivers.
	callers   poolerCallers[A, K, V]
	inDo      bool                 // a caller of Do runs it, and cannot leave
	begun     bool                 // it does not wait in line for another call
	abandoned bool                 // it was canceled, because all callers have left
	expired   bool                 // the last caller left because its context ended
	finished  bool                 // it was removed from the table
	taken     bool                 // a caller has accepted the result
	next      *poolerCall[A, K, V] // starts when this one has returned
	before    *poolerCall[A, K, V] // the call of which this is next
	source    *settle.Core         // of the future that start returned
	inner     *Future[struct{}]    // depends on that future
	cause     *error               // of the cancel, if inner did not exist yet
}

// Value makes the calls from within which another call is made visible to it.
func (c *poolerCall[A, K, V]) Value(key any) any {
	if key == (withinKey{}) {
		return &c.node
	}
	return c.Context.Value(key)
}

// withinKey is the key of the innermost call, of any Pooler, in a context.
type withinKey struct{}

// within returns the innermost call from within which ctx was made, or nil if
// there is none.
func within(ctx context.Context) *waitgraph.Node {
	n, _ := ctx.Value(withinKey{}).(*waitgraph.Node)
	return n
}

// String keeps fmt from reading the fields.
func (c *poolerCall[A, K, V]) String() string { return "twill.Pooler context" }

// overLocked reports whether the result exists, so that no caller joins: from
// the moment when the function's future has settled, before its handlers have
// run.
func (c *poolerCall[A, K, V]) overLocked() bool {
	return c.node.Returned() || c.source != nil && c.source.Peek()
}

// poolerCaller is the future of one caller.
type poolerCaller[A any, K comparable, V any] struct {
	root[V]
	next, prev *poolerCaller[A, K, V] // guarded like the list of callers
	more       *callerMore            // guarded like the list; nil for most
	call       *poolerCall[A, K, V]   // guarded by the lock of f
}

// callerMore is what a caller has whose context can end, or which calls from
// within another call.
type callerMore struct {
	ctx    context.Context // nil if it cannot end
	stop   func() bool     // ends the watch on ctx; may be nil
	within *waitgraph.Node
}

// firstCall is a call and its first caller in one allocation, for calls that
// hold nothing that a settled future must not hold.
type firstCall[A any, K comparable, V any] struct {
	poolerCall[A, K, V]
	caller poolerCaller[A, K, V]
}

func (t *poolerTable[A, K, V]) call(ctx context.Context, arg A) *Future[V] {
	if ctx.Err() != nil {
		return failedFuture[V](contextFailure(ctx))
	}
	key, in := t.keyOf(arg), within(ctx)
	var more *callerMore
	if in != nil {
		more = &callerMore{within: in}
	}
	c, first := t.join(ctx, arg, key, in, more)
	if c == nil {
		return Rejected[V](ErrReentrant)
	}
	if first != nil {
		defer t.startCall(first) // even if ctx panics: others may have joined
	}
	if ctx.Done() != nil {
		t.watch(ctx, c)
	}
	return &c.f
}

// watch makes c leave when the caller's context ends.
func (t *poolerTable[A, K, V]) watch(ctx context.Context, c *poolerCaller[A, K, V]) {
	stop := context.AfterFunc(ctx, func() { c.contextEnded(ctx) })
	more := &callerMore{ctx: ctx, stop: stop}
	call := c.current()
	waits := false
	t.mu.Lock()
	if call != nil && !call.finished && call.callers.has(c) {
		waits = true
		if c.more != nil {
			more.within = c.more.within
		}
		c.more = more
	}
	t.mu.Unlock()
	if !waits {
		stop()
	}
}

// do is call for a caller that waits. It needs no watch on its context, and
// needs no future if it runs the function itself.
func (t *poolerTable[A, K, V]) do(ctx context.Context, arg A) (V, error) {
	var zero V
	if ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	key, in := t.keyOf(arg), within(ctx)
	var more *callerMore
	if ctx.Done() != nil {
		more = &callerMore{ctx: ctx, within: in}
	} else {
		if t.fn != nil {
			if call := t.beginInDo(ctx, arg, key, in); call != nil {
				return t.runInDo(call, in)
			}
		}
		if in != nil {
			more = &callerMore{within: in}
		}
	}
	c, first := t.join(ctx, arg, key, in, more)
	if c == nil {
		return zero, ErrReentrant
	}
	if first != nil {
		t.startCall(first)
	}
	if _, err := c.f.Await(ctx); err != nil && !c.f.core.Settled() {
		c.contextEnded(ctx)
	}
	fail := c.f.core.Failure()
	if fail == nil {
		return c.f.val, nil
	}
	fail.Take()
	if fail.Canceled && ctx.Err() != nil {
		return zero, context.Cause(ctx)
	}
	return zero, fail.Err
}

// beginInDo begins a call for a caller that runs it, unless there is a call to
// join or to wait for.
func (t *poolerTable[A, K, V]) beginInDo(ctx context.Context, arg A, key K, in *waitgraph.Node) *poolerCall[A, K, V] {
	t.mu.Lock()
	defer t.mu.Unlock() // deferred, as a key that cannot be compared panics
	if call := t.joined.Get(key); call != nil && (call.abandoned || !call.overLocked()) {
		return nil
	}
	call := new(poolerCall[A, K, V])
	t.initCall(call, ctx, arg, key, in)
	in.Wait(&call.node) // the call waits for nothing, so this closes no cycle
	call.inDo = true
	t.calls++
	t.waiting++
	t.beginLocked(call)
	return call
}

func (t *poolerTable[A, K, V]) runInDo(call *poolerCall[A, K, V], in *waitgraph.Node) (v V, err error) {
	returned := false
	defer func() {
		if !returned { // the function ends the goroutine
			v, err = *new(V), ErrGoexit
		}
		in.Done(&call.node)
		if next := t.finishCall(call, v, err); next != nil {
			go t.runCalls(next)
		}
	}()
	v, err = t.callFunction(call)
	returned = true
	return v, err
}

// join finds the call for a key and adds a caller to it. It also returns that
// call if it has to be started. It returns no caller if the caller would have
// to wait for a call from within which it calls.
func (t *poolerTable[A, K, V]) join(ctx context.Context, arg A, key K, in *waitgraph.Node, more *callerMore) (c *poolerCaller[A, K, V], first *poolerCall[A, K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock() // deferred, as a key that cannot be compared panics
	call := t.joined.Get(key)
	if in != nil && call != nil && !call.overLocked() && in.Within(&call.node) {
		return nil, nil
	}
	isNew := false
	switch {
	case call != nil && call.abandoned && call.next != nil:
		call = call.next
	case call != nil && call.abandoned:
		before := call
		call, c = t.newCall(ctx, arg, key, in)
		call.before = before
		call.node.Wait(&before.node)
		isNew = true
	case call != nil && !call.overLocked():
	default: // there is no call, or it is too late to join it
		call, c = t.newCall(ctx, arg, key, in)
		isNew = true
	}
	if in != nil && !in.Wait(&call.node) {
		return nil, nil
	}
	t.calls++
	t.waiting++
	switch {
	case !isNew:
		t.merged++
		c = new(poolerCaller[A, K, V])
	case call.before != nil:
		call.before.next = call
	default:
		t.beginLocked(call)
		first = call
	}
	c.more, c.call = more, call
	settle.Made(&c.f.core)
	c.link.Do = c
	c.f.core.SetUp(&c.link)
	call.callers.push(c)
	return c, first
}

// newCall makes a call and its first caller.
func (t *poolerTable[A, K, V]) newCall(ctx context.Context, arg A, key K, in *waitgraph.Node) (call *poolerCall[A, K, V], c *poolerCaller[A, K, V]) {
	if ctx == context.Background() {
		both := new(firstCall[A, K, V])
		call, c = &both.poolerCall, &both.caller
	} else {
		call, c = new(poolerCall[A, K, V]), new(poolerCaller[A, K, V])
	}
	t.initCall(call, ctx, arg, key, in)
	return call, c
}

func (t *poolerTable[A, K, V]) initCall(call *poolerCall[A, K, V], ctx context.Context, arg A, key K, in *waitgraph.Node) {
	call.arg, call.key, call.node.Outer = arg, key, in
	call.table.Store(t)
	call.Base = context.Background()
	if ctx != call.Base {
		call.Base = context.WithoutCancel(ctx)
	}
}

// beginLocked records that a call is about to be started.
func (t *poolerTable[A, K, V]) beginLocked(call *poolerCall[A, K, V]) {
	call.begun = true
	t.running.PushBack(call)
	if keymap.Findable(call.key) { // otherwise it could not be removed again
		t.joined.Set(call.key, call)
	}
}

// startCall starts a call that was begun.
func (t *poolerTable[A, K, V]) startCall(call *poolerCall[A, K, V]) {
	if t.start == nil {
		go t.runCalls(call)
		return
	}
	for call != nil {
		call = t.startFuture(call)
	}
}

// runCalls is the goroutine of a call, and of the calls that wait in line for
// it.
func (t *poolerTable[A, K, V]) runCalls(call *poolerCall[A, K, V]) {
	defer func() {
		if call != nil { // the function ends the goroutine
			if next := t.finishCall(call, *new(V), ErrGoexit); next != nil {
				go t.runCalls(next)
			}
		}
	}()
	for call != nil {
		var v V
		err := ErrCanceled
		if t.wanted(call) {
			v, err = t.callFunction(call)
		}
		ended := call
		call = nil
		call = t.finishCall(ended, v, err)
	}
}

// callFunction calls the function. A panic becomes an error.
func (t *poolerTable[A, K, V]) callFunction(call *poolerCall[A, K, V]) (v V, err error) {
	returned := false
	defer func() {
		if !returned {
			if p := recover(); p != nil {
				err = caught(p)
			}
		}
	}()
	v, err = t.fn(call, call.arg)
	returned = true
	return v, err
}

// startFuture calls a function that returns a future. It returns the call to
// start next, if this one has ended already.
func (t *poolerTable[A, K, V]) startFuture(call *poolerCall[A, K, V]) (next *poolerCall[A, K, V]) {
	var zero V
	if !t.wanted(call) {
		return t.finishCall(call, zero, ErrCanceled)
	}
	returned := false
	defer func() {
		if !returned {
			err := caught(recover())
			if next = t.finishCall(call, zero, err); err == ErrGoexit && next != nil {
				go t.startCall(next)
			}
		}
	}()
	f := t.start(call, call.arg)
	returned = true
	if f == nil {
		f = Rejected[V](errNoFuture)
	}
	if f.core.Settled() {
		v, err := f.result()
		return t.finishCall(call, v, err)
	}
	inner := handle(f, func(v V, err error) (struct{}, error) {
		if next := t.finishCall(call, v, err); next != nil {
			t.startCall(next)
		}
		return struct{}{}, nil
	})
	t.mu.Lock()
	cause := call.cause
	if !call.finished {
		call.source, call.inner = &f.core, inner
	}
	t.mu.Unlock()
	if cause != nil { // abandoned before there was a future to cancel
		inner.Cancel(*cause)
	}
	return nil
}

// wanted reports whether the function of a call that is about to start should
// be called: not if the last caller has left because its context ended. Watches
// on contexts may be late, so wanted checks the contexts itself, until it finds
// a caller that waits.
func (t *poolerTable[A, K, V]) wanted(call *poolerCall[A, K, V]) bool {
	for {
		var ctx context.Context
		t.mu.Lock()
		c := call.callers.head
		if c != nil && c.more != nil {
			ctx = c.more.ctx
		}
		expired := call.expired
		t.mu.Unlock()
		if ctx == nil || ctx.Err() == nil {
			return !expired
		}
		c.contextEnded(ctx)
	}
}

// finishCall delivers the result of a call whose function has returned, and
// returns the call that has waited in line for it, if there is one. In that
// case the call was abandoned, and no handlers run here.
func (t *poolerTable[A, K, V]) finishCall(call *poolerCall[A, K, V], v V, err error) (next *poolerCall[A, K, V]) {
	call.node.Return() // from here on no caller joins
	if err != nil || t.discard == nil || call.inDo {
		return t.deliverCall(call, v, err)
	}
	return t.deliverOrDiscard(call, v)
}

// deliverOrDiscard is finishCall for a value that is released if nothing
// accepts it. It is a function of its own because the goroutine of a call would
// otherwise outgrow its first stack, which triples the time of a call.
func (t *poolerTable[A, K, V]) deliverOrDiscard(call *poolerCall[A, K, V], v V) (next *poolerCall[A, K, V]) {
	if t.hasCallers(call) {
		next = t.deliverCall(call, v, nil)
		if !call.taken { // all callers have just left
			if next != nil {
				go t.startCall(next) // runs even if Discard ends the goroutine
				next = nil
			}
			discardLate(t.discard, v)
		}
		return next
	}
	discarded := false
	defer func() {
		next = t.deliverCall(call, v, nil)
		if !discarded && next != nil { // Discard ends the goroutine
			go t.startCall(next)
		}
	}()
	discardLate(t.discard, v) // before the key is free, and a future of Empty settles
	discarded = true
	return nil
}

func (t *poolerTable[A, K, V]) hasCallers(call *poolerCall[A, K, V]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return call.callers.n > 0
}

// deliverCall is finishCall for a call whose late values need no care.
func (t *poolerTable[A, K, V]) deliverCall(call *poolerCall[A, K, V], v V, err error) (next *poolerCall[A, K, V]) {
	next, idle := t.removeCall(call)
	call.End(nil)
	if idle != nil { // runs last, and even if a handler ends the goroutine
		defer each(idle, func(w *waiter[struct{}]) { w.serve(nil, struct{}{}) })
	}
	if _, ok := err.(*PanicError); ok && call.callers.n == 0 && !call.inDo {
		report(err)
	}
	var fail *settle.Failure
	if err != nil {
		v, fail = *new(V), settle.NewFailure(err)
	}
	if call.callers.n > 0 {
		call.deliver(v, fail)
	}
	return next
}

// removeCall removes a call whose function has returned from the table. It
// returns the call that has waited in line for it, already begun, and the
// futures of Empty to settle.
func (t *poolerTable[A, K, V]) removeCall(call *poolerCall[A, K, V]) (next *poolerCall[A, K, V], idle []*waiter[struct{}]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	call.finished = true
	t.waiting -= call.callers.n
	if call.inDo {
		t.waiting--
	}
	t.running.Remove(call)
	if t.joined.Get(call.key) == call {
		if next = t.promoteLocked(call); next == nil {
			t.joined.Delete(call.key)
		}
	}
	if t.running.Len() == 0 {
		for w, ok := t.idle.PopFront(); ok; w, ok = t.idle.PopFront() {
			idle = append(idle, w)
		}
	}
	if !call.inDo { // otherwise no future is part of the call
		call.clear()
		call.table.Store(nil)
	}
	return next, idle
}

// clear drops the fields of a call that has ended, because a future may keep
// the call.
func (c *poolerCall[A, K, V]) clear() {
	var none struct {
		arg A
		key K
	}
	c.arg, c.key, c.source, c.inner, c.cause = none.arg, none.key, nil, nil, nil
}

// promoteLocked begins the call that waits in line for call, if there is one.
func (t *poolerTable[A, K, V]) promoteLocked(call *poolerCall[A, K, V]) *poolerCall[A, K, V] {
	next := call.next
	if next != nil {
		call.next, next.before = nil, nil
		next.node.Done(&call.node)
		t.beginLocked(next)
	}
	return next
}

// deliver settles the callers' futures. If a handler ends the goroutine, a new
// goroutine continues.
func (c *poolerCall[A, K, V]) deliver(v V, fail *settle.Failure) {
	done := false
	defer func() {
		if !done {
			go c.deliver(v, fail)
		}
	}()
	for caller := c.callers.pop(); caller != nil; caller = c.callers.pop() {
		caller.deliver(c, v, fail)
	}
	done = true
}

// deliver settles the caller's future.
func (c *poolerCaller[A, K, V]) deliver(call *poolerCall[A, K, V], v V, fail *settle.Failure) {
	if c.more != nil {
		c.more.release(&call.node)
		c.more = nil
	}
	w, ok := c.f.core.Begin()
	if !ok {
		return // the caller has left
	}
	call.taken = true
	c.f.val, c.call = v, nil
	if list := c.f.core.Publish(w, fail); list != nil {
		settle.Drain(&c.f.core, list)
	}
}

// release drops what a caller that no longer waits for call does not need.
func (m *callerMore) release(call *waitgraph.Node) {
	if m.stop != nil {
		m.stop()
	}
	m.within.Done(call)
}

// current returns the call that c waits for, or nil if its future has settled.
func (c *poolerCaller[A, K, V]) current() *poolerCall[A, K, V] {
	w, ok := c.f.core.Begin()
	if !ok {
		return nil
	}
	call := c.call
	c.f.core.Unlock(w)
	return call
}

// contextEnded makes a caller leave because its context has ended.
func (c *poolerCaller[A, K, V]) contextEnded(ctx context.Context) {
	c.leave(context.Cause(ctx), true)
	if core, list := c.fail(contextFailure(ctx)); list != nil {
		settle.Drain(core, list)
	}
}

// Fire makes a caller leave because its future is canceled.
func (c *poolerCaller[A, K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if c.leave(causeOf(left.Err), false) {
		left.EndsWork()
	}
	return c.fail(left)
}

// Abort is not called: Fire runs no user code.
func (c *poolerCaller[A, K, V]) Abort(err error) (*settle.Core, *settle.Link) {
	return c.fail(settle.NewFailure(err))
}

func (c *poolerCaller[A, K, V]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := c.f.core.Begin()
	if !ok {
		return nil, nil
	}
	c.call = nil
	return &c.f.core, c.f.core.Publish(w, fail)
}

// leave removes the caller from its call. If it was the last caller, the call
// is abandoned: its context ends and its future is canceled, or, if it waits in
// line, it is never made. leave reports whether the call was abandoned.
func (c *poolerCaller[A, K, V]) leave(cause error, expired bool) bool {
	call := c.current()
	if call == nil {
		return false
	}
	t := call.table.Load()
	if t == nil {
		return false // the result is being delivered
	}
	more, inner, abandoned := t.removeCaller(call, c, cause, expired)
	if more != nil {
		more.release(&call.node)
	}
	if abandoned {
		call.End(cause)
		if inner != nil {
			inner.Cancel(cause)
		}
	}
	return abandoned
}

// removeCaller is the part of leave that needs the lock. It does nothing if the
// caller no longer waits.
func (t *poolerTable[A, K, V]) removeCaller(call *poolerCall[A, K, V], c *poolerCaller[A, K, V], cause error, expired bool) (more *callerMore, inner *Future[struct{}], abandoned bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if call.finished || !call.callers.remove(c) {
		return nil, nil, false
	}
	t.waiting--
	more, c.more = c.more, nil
	switch {
	case call.callers.n > 0 || call.inDo:
	case !call.begun:
		call.node.Done(&call.before.node)
		call.before.next, call.before = nil, nil
		call.clear()
	default:
		call.abandoned, call.expired, abandoned = true, expired, true
		if inner = call.inner; inner == nil {
			kept := cause // a copy, so that cause is allocated only if it is kept
			call.cause = &kept
		}
	}
	return more, inner, abandoned
}

func (t *poolerTable[A, K, V]) forget(arg A) bool {
	call, next := t.drop(t.keyOf(arg))
	if next != nil {
		t.startCall(next)
	}
	return call != nil
}

// drop removes the call for a key from the calls that can be joined or waited
// for.
func (t *poolerTable[A, K, V]) drop(key K) (call, next *poolerCall[A, K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if call = t.joined.Get(key); call != nil {
		if next = t.promoteLocked(call); next == nil {
			t.joined.Delete(key)
		}
	}
	return call, next
}

func (t *poolerTable[A, K, V]) cancelAll(cause error) {
	t.mu.Lock()
	futures := make([]*Future[V], 0, t.waiting)
	var inDo []*poolerCall[A, K, V]
	for call := range t.running.All() {
		if call.inDo && !call.abandoned {
			call.abandoned = true
			inDo = append(inDo, call)
		}
		for at := call; at != nil; at = at.next {
			for c := at.callers.head; c != nil; c = c.next {
				futures = append(futures, &c.f)
			}
		}
	}
	t.mu.Unlock()
	for _, call := range inDo {
		call.End(cause)
	}
	each(futures, func(f *Future[V]) { f.Cancel(cause) })
}

func (t *poolerTable[A, K, V]) underway() []A {
	t.mu.Lock()
	defer t.mu.Unlock()
	args := make([]A, 0, t.running.Len())
	for call := range t.running.All() {
		args = append(args, call.arg)
	}
	return args
}

func (t *poolerTable[A, K, V]) stats() PoolerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return PoolerStats{Calls: t.calls, Merged: t.merged, Underway: t.running.Len(), Waiting: t.waiting}
}

func (t *poolerTable[A, K, V]) empty() *Future[struct{}] {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running.Len() == 0 {
		return Resolved(struct{}{})
	}
	w := new(futureWaiter[struct{}])
	w.init(t)
	t.idle.PushBack(&w.waiter)
	return &w.f
}

// leave removes a future of Empty from the line.
func (t *poolerTable[A, K, V]) leave(w *waiter[struct{}]) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.idle.Remove(w)
}

// poolerCallers is a list of callers. Callers are many and short-lived: this
// list, which is made for them, takes half the time of a [list.List].
type poolerCallers[A any, K comparable, V any] struct {
	head, tail *poolerCaller[A, K, V]
	n          int
}

func (l *poolerCallers[A, K, V]) push(c *poolerCaller[A, K, V]) {
	if c.prev = l.tail; c.prev == nil {
		l.head = c
	} else {
		c.prev.next = c
	}
	l.tail = c
	l.n++
}

// pop removes and returns the first caller, or nil if there is none.
func (l *poolerCallers[A, K, V]) pop() *poolerCaller[A, K, V] {
	c := l.head
	if c != nil {
		l.remove(c)
	}
	return c
}

// has reports whether c is on the list.
func (l *poolerCallers[A, K, V]) has(c *poolerCaller[A, K, V]) bool {
	return c.prev != nil || l.head == c
}

// remove removes c, and reports whether it was on the list.
func (l *poolerCallers[A, K, V]) remove(c *poolerCaller[A, K, V]) bool {
	if !l.has(c) {
		return false
	}
	if c.prev == nil {
		l.head = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.tail = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.next, c.prev = nil, nil
	l.n--
	return true
}
