package twill

import (
	"context"

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
// that is given up, a loser of a race, a chain that is cancelled. With the
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
// [After], [FromChan], [FromContext], and from other futures by [Then], [Handle]
// and their like. The zero value is of no use: nothing settles it. A Future must not
// be copied; it is always used as *Future[T], by any number of goroutines. Its
// value is shared by all who see it.
//
// # Handlers
//
// Any number of handlers may be added, before and after the future settles,
// and from any goroutine. Each sees the same result, runs exactly once, and in
// the order of adding. A handler runs on the goroutine that settles the future or, if it
// is settled and its handlers have run, on the one that adds the handler, before
// the call that adds it returns; [Future.Via] moves it elsewhere. It never runs under a lock of
// this package, and may call anything here, but it should not block: others wait for
// it. In particular it must not wait for another handler of the same future.
// If it panics or ends its goroutine, the future it was to give fails with a
// [*PanicError] or [ErrGoexit], and the other handlers run.
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
}

// base is the core of f; nil if f is.
func (f *Future[T]) base() *settle.Core {
	if f == nil {
		return nil
	}
	return &f.core
}

// Await blocks until f settles, and returns its result, or until ctx ends, and
// returns [context.Cause] of it. A result that is there wins over a context
// that has ended. The context bounds the waiting, not the work: to end that, use
// [Future.Cancel] or [Future.WithContext]. A wait that is given up leaves
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

// A leaver listens to something in the name of a future that may be settled by
// hand meanwhile; then it is told to leave.
type leaver interface{ leave() }

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
