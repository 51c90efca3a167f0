package twill

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/twillgo/twill/internal/settle"
)

// Promise is the producer's side of a future: it settles the future. Twisted's
// Deferred is both sides in one. Give [Promise.Future] to consumers and keep
// the promise.
//
// The zero value is a pending promise. A Promise must not be copied after first
// use. All methods may be called concurrently: of all calls that would settle
// the promise, including Cancel on its future, exactly one does.
type Promise[T any] struct {
	f Future[T]
}

// NewPromise returns a pending promise, as new(Promise[T]) does.
func NewPromise[T any]() *Promise[T] {
	p := new(Promise[T])
	settle.Made(&p.f.core)
	return p
}

// Future returns the future that p settles. Every call returns the same future.
func (p *Promise[T]) Future() *Future[T] {
	settle.Made(&p.f.core)
	return &p.f
}

// Resolve settles the future with v, and reports whether this call did so; it
// returns false if the future was settled before. The handlers run before
// Resolve returns.
func (p *Promise[T]) Resolve(v T) bool { return p.f.settle(v, nil) }

// Reject settles the future with err, and reports whether this call did so. It
// panics if err is nil.
func (p *Promise[T]) Reject(err error) bool {
	if err == nil {
		panic("twill: Reject with a nil error")
	}
	var zero T
	return p.f.settle(zero, settle.NewFailure(err))
}

// Settle is Resolve(v) if err is nil, and Reject(err) otherwise. Use it for the
// results of a call.
func (p *Promise[T]) Settle(v T, err error) bool {
	if err != nil {
		return p.Reject(err)
	}
	return p.Resolve(v)
}

// OnCancel registers fn as a canceler. When the future is canceled, fn runs
// once, on the goroutine that cancels. Its argument is the cause given to
// Cancel, or [ErrCanceled] if that cause is nil. fn should stop the work, and
// may settle p with any result. If it does not settle p, the future fails with
// a [*CanceledError]. A panic of fn is contained, and joined to the cause in
// that error.
//
// Several cancelers run in the order in which they were added. On a settled
// promise OnCancel does nothing. A canceler is the equivalent of the canceler
// of a Deferred.
func (p *Promise[T]) OnCancel(fn func(cause error)) {
	if fn == nil {
		panic("twill: OnCancel with a nil function")
	}
	c := &canceler{fn: fn}
	if h, w, ok := p.hook(); ok {
		if h.last == nil {
			h.first = c
		} else {
			h.last.next = c
		}
		h.last = c
		p.f.core.Unlock(w)
	}
}

// Follow makes p settle with the result of f. It returns false, and does
// nothing, if p is already settled or already follows a future. If p is settled
// in another way first, it no longer follows f. f keeps its result for its
// other consumers.
//
// If f is canceled while p follows it, the cancelers of p run, and then p takes
// the outcome of f. A cancel of p's future is passed to f, or only detaches p
// if f has other dependents. If following f makes p wait for itself, p fails
// with [ErrCycle]. Follow is the equivalent of Twisted's chainDeferred.
func (p *Promise[T]) Follow(f *Future[T]) bool {
	if f == nil {
		panic("twill: Follow of a nil future")
	}
	h, w, ok := p.hook()
	if !ok {
		return false
	}
	if h.src != nil {
		p.f.core.Unlock(w)
		return false
	}
	if settle.Underway(w) { // a canceler may follow a settled future, but not wait
		p.f.core.Unlock(w)
		r, ok := f.Poll()
		return ok && p.Settle(r.Value, r.Err)
	}
	h.src = f
	p.f.core.Unlock(w)
	h.stale = f.core.Settled() || f.core.Asked()
	if !f.core.Add(&h.link, 1) {
		h.stale = true
		settle.Run(h, nil)
		return true
	}
	if p.f.core.Depends(&f.core) && f.core.Remove(&h.link, 1) {
		var zero T
		p.f.settle(zero, settle.NewFailure(ErrCycle))
		return true
	}
	// A cancel between naming the source and listening to it found no link.
	if p.f.core.Settled() {
		h.leave()
	} else {
		h.pass(&p.f.core)
	}
	return true
}

// String returns the type, and the state of p's future.
func (p *Promise[T]) String() string {
	return printed("Promise", stateOf(&p.f.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (p *Promise[T]) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Promise[T]) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Promise[T]) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

// hook is the state of a promise that has cancelers or follows a future. The
// lock of f guards src, ask and the list of cancelers; the rest belongs to the
// single goroutine that runs the cancelers.
type hook[T any] struct {
	link  settle.Link
	f     *Future[T]
	src   *Future[T] // set once, and not after a canceler was started
	stale bool       // src received a cancel before p followed it
	requests
	first, last *canceler

	// The request that runs the cancelers, and the goroutine that runs them, if
	// the request is held below f. The lock of f guards both.
	request *settle.Failure
	runner  uint64

	val  T
	fail *settle.Failure // what f is settled with after the cancelers
	err  error           // the panics of the cancelers
}

type canceler struct {
	fn   func(error)
	next *canceler
}

// hook returns p's hook with p's lock held, and makes the hook if there is
// none. If p is settled, ok is false and the lock is not held.
func (p *Promise[T]) hook() (h *hook[T], w uint32, ok bool) {
	for {
		if w, ok = p.f.core.Begin(); !ok {
			return nil, 0, false
		}
		if up := p.f.core.Up(); up != nil {
			return up.Do.(*hook[T]), w, true
		}
		if h != nil {
			p.f.core.SetUp(&h.link)
			return h, w, true
		}
		p.f.core.Unlock(w)
		h = &hook[T]{f: &p.f}
		h.link.Do = h
	}
}

// Source returns the future that p follows.
func (h *hook[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if h.src == nil {
		return nil, false
	}
	h.note(ask)
	return &h.src.core, false
}

// Owner is the core of the future.
func (h *hook[T]) Owner() *settle.Core { return &h.f.core }

func (h *hook[T]) asked() *settle.Failure {
	w := h.f.core.Lock()
	ask := h.ask
	h.f.core.Unlock(w)
	return ask
}

// Fire is called when the followed future settles, or with the failure of a
// cancel of f itself.
func (h *hook[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	var val T
	fail, gone := left, left != nil
	if left == nil {
		val = h.src.val
		if fail = h.src.core.Failure(); fail != nil {
			gone = fail.Canceled
		}
		gone = !h.stale && (gone || h.src.core.Asked())
	}
	// A cancel that found no source has already taken the right to start.
	if gone && (left != nil && h.src == nil || h.f.core.Starts()) {
		h.val, h.fail = val, fail
		if left != nil && left.Held() {
			runner := settle.Goroutine()
			w := h.f.core.Lock()
			h.request, h.runner = left, runner
			h.f.core.Unlock(w)
		}
		return h.cancel()
	}
	return h.end(val, fail)
}

// cancel runs the cancelers and then settles f, unless a canceler has.
func (h *hook[T]) cancel() (*settle.Core, *settle.Link) {
	cause := h.cause()
	for fn := h.next(); fn != nil; fn = h.next() {
		fn(cause)
	}
	val, fail, err := h.val, h.fail, h.err
	if err != nil {
		if fail == nil || !fail.Canceled {
			report(err)
		} else {
			if cause != ErrCanceled {
				err = errors.Join(cause, err)
			}
			fail.Take()
			fail = canceled(err)
			fail.Incident = true
		}
	}
	return h.end(val, fail)
}

// cause returns the argument of the cancelers: the cause of the cancel that f
// is to fail with or, if src has answered with another result, of the cancel
// that was passed to src.
func (h *hook[T]) cause() error {
	if h.fail != nil && h.fail.Canceled {
		return causeOf(h.fail.Err)
	}
	if ask := h.asked(); ask != nil {
		return causeOf(ask.Err)
	}
	return ErrCanceled
}

func (h *hook[T]) next() func(error) {
	w := h.f.core.Lock()
	c := h.first
	if c != nil {
		if h.first = c.next; h.first == nil {
			h.last = nil
		}
	}
	h.f.core.Unlock(w)
	if c == nil {
		return nil
	}
	return c.fn
}

// Abort continues with the next canceler after a canceler has panicked.
func (h *hook[T]) Abort(err error) (*settle.Core, *settle.Link) {
	h.err = errors.Join(h.err, err)
	return h.cancel()
}

// answering returns the request that the caller answers by settling f, if the
// caller is one of the cancelers of f, which run. It returns nil if another
// goroutine settles f, such as that of work that has not stopped yet.
func (h *hook[T]) answering() *settle.Failure {
	w := h.f.core.Lock()
	request, runner := h.request, h.runner
	h.f.core.Unlock(w)
	if request == nil || runner != settle.Goroutine() {
		return nil
	}
	return request
}

func (h *hook[T]) end(val T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &h.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	h.f.val = val
	if h.request != nil && fail != nil && fail.Canceled {
		h.request.Answer() // fail may be another record, if a canceler panicked
	}
	list := c.Publish(w, fail)
	h.leave()
	return c, list
}

// leave stops following: f was settled another way.
func (h *hook[T]) leave() {
	w := h.f.core.Lock()
	src := h.src
	h.first, h.last = nil, nil
	h.f.core.Unlock(w)
	if src != nil {
		src.core.Remove(&h.link, 1)
	}
}
