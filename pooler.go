package twill

import (
	"context"
	"errors"
	"iter"
)

// ErrReentrant is the failure of a call of a [Pooler], or of a
// [Dict.GetOrCompute], that was made from within the call that it would have to
// wait for.
var ErrReentrant = errors.New("twill: call waits for itself")

// Pooler calls a function once for all who ask for the same thing at the same
// time. Unlike golang.org/x/sync/singleflight it gives everyone a future of
// their own, ends a call when nobody waits for it any more, and turns a panic into an
// error. Unlike a cache it keeps no results: a call made when the one before
// has ended goes through. It mirrors DeferredPooler.
//
// Use [NewPooler] or one of its variants; the zero value panics. A Pooler must not
// be copied. Its methods may be called by several goroutines. The result is shared by all
// who asked; the Pooler keeps no reference to it.
//
// # What a call is
//
// Calls with equal keys share the one that is underway. The function gets a
// context with the values of the first caller's context, and neither its
// deadline nor its end. That context ends when the last caller has left, by a Cancel of
// the future or because their own context ended, and when the function has
// returned. A caller who leaves does not touch the others.
//
// Nobody joins a call that was cancelled, or whose function has returned. The
// function never runs twice at a time for one key: a call that comes after all
// callers have left starts when the cancelled one has returned, unless [Pooler.Forget]
// says otherwise. A key is free before its results are handed out, in the order in
// which the callers came: a handler that calls again gets a new call.
//
// If the function panics or ends its goroutine, that is the failure of all
// callers, a [*PanicError] or [ErrGoexit], and the key is free. A call that is made
// for the same key from within the function, with the context it was given or one made
// from that, fails with [ErrReentrant] instead of waiting for itself.
//
// The function of NewPooler runs on a goroutine of its own; so do the handlers of
// its futures. A key that does not equal itself, such as a NaN, is shared
// with nobody; an interface that cannot be compared panics at the caller.
type Pooler[A, V any] struct {
	p pooling[A, V]
}

// pooling is a [table] without the type of its key.
type pooling[A, V any] interface {
	call(ctx context.Context, arg A) *Future[V]
	forget(arg A) bool
	cancelAll(cause error)
	underway() []A
	stats() PoolerStats
	empty() *Future[struct{}]
}

// NewPooler returns a pooler of fn, whose argument is the key.
func NewPooler[K comparable, V any](fn func(ctx context.Context, key K) (V, error)) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPooler with a nil function")
	}
	return NewPoolerFunc(func(k K) K { return k }, fn)
}

// NewPoolerFunc returns a pooler of fn, with arguments that are no map key: calls
// are equal if keyOf gives equal keys, and of these fn gets the argument of the
// first. keyOf runs on the goroutine of the caller, under no lock.
func NewPoolerFunc[A any, K comparable, V any](keyOf func(A) K, fn func(ctx context.Context, arg A) (V, error)) *Pooler[A, V] {
	if keyOf == nil || fn == nil {
		panic("twill: NewPoolerFunc with a nil function")
	}
	return &Pooler[A, V]{&table[A, K, V]{keyOf: keyOf, fn: fn}}
}

// NewPoolerFuture returns a pooler of a function that returns a future. fn
// starts on the goroutine of the first caller, before Call returns, and should
// not block; the call is underway until its future settles, on whose goroutine the
// callers' handlers run. When the last caller leaves, that future is cancelled
// by the rules of [Future.Cancel].
func NewPoolerFuture[K comparable, V any](fn func(ctx context.Context, key K) *Future[V]) *Pooler[K, V] {
	if fn == nil {
		panic("twill: NewPoolerFuture with a nil function")
	}
	return &Pooler[K, V]{&table[K, K, V]{keyOf: func(k K) K { return k }, start: fn}}
}

// Call calls the function, or joins the call for an equal key that is underway.
// If ctx ends, the caller leaves, and the future fails with a
// [*CanceledError] whose cause is that of ctx; so it does, and nothing is
// called, if ctx has ended already.
func (p *Pooler[A, V]) Call(ctx context.Context, arg A) *Future[V] {
	if ctx == nil {
		panic("twill: Call with a nil context")
	}
	return p.made().call(ctx, arg)
}

// Forget lets the next call with an equal key go through at once, even if one is
// underway: that goes on for those who have joined it. It reports whether one
// was.
func (p *Pooler[A, V]) Forget(arg A) bool { return p.made().forget(arg) }

// CancelAll cancels the futures of all callers, in the order in which the calls
// started and the callers came, each by its own Cancel(cause).
func (p *Pooler[A, V]) CancelAll(cause error) { p.made().cancelAll(cause) }

// Empty returns a future that settles when no function is underway: at once if
// that is so now. Calls whose callers have left count until their function has
// returned.
func (p *Pooler[A, V]) Empty() *Future[struct{}] { return p.made().empty() }

// Len returns the number of functions that are underway.
func (p *Pooler[A, V]) Len() int { return p.Stats().Underway }

// All walks the arguments of the calls that are underway, in the order in which
// they started, as they are when the walk begins.
func (p *Pooler[A, V]) All() iter.Seq[A] {
	t := p.made()
	return func(yield func(A) bool) {
		for _, arg := range t.underway() {
			if !yield(arg) {
				return
			}
		}
	}
}

// Stats tells how the pooler is doing.
func (p *Pooler[A, V]) Stats() PoolerStats { return p.made().stats() }

// PoolerStats is what [Pooler.Stats] tells.
type PoolerStats struct {
	Calls    uint64 // calls of Call that were let in
	Merged   uint64 // those of them that joined another one's call
	Underway int    // functions that are underway
	Waiting  int    // callers that wait for their result
}

func (p *Pooler[A, V]) made() pooling[A, V] {
	if p.p == nil {
		panic("twill: a Pooler is made by NewPooler")
	}
	return p.p
}
