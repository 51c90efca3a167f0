package twill

import (
	"errors"

	"github.com/twillgo/twill/internal/settle"
)

// Promise is the side of a future that settles it; Twisted has both in one
// Deferred. Hand out [Promise.Future] and keep the promise.
//
// The zero value is a pending promise. A Promise must not be copied after first
// use. All methods may be called from any goroutine, at the same time: of all
// calls that would settle it, Cancel on its future among them, exactly one does.
type Promise[T any] struct {
	f Future[T]
}

// NewPromise returns a pending promise; new(Promise[T]) is as good.
func NewPromise[T any]() *Promise[T] {
	p := new(Promise[T])
	settle.Made(&p.f.core)
	return p
}

// Future is the future that p settles; always the same one.
func (p *Promise[T]) Future() *Future[T] {
	settle.Made(&p.f.core)
	return &p.f
}

// Resolve settles the future with v, and reports whether this call did so; false
// means that it was settled before. The handlers run before Resolve returns.
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

// Settle is Resolve(v) if err is nil and Reject(err) otherwise: the form for
// the results of a call.
func (p *Promise[T]) Settle(v T, err error) bool {
	if err != nil {
		return p.Reject(err)
	}
	return p.Resolve(v)
}

// OnCancel has fn run when the future is canceled: at most once, on the
// goroutine that cancels, with the cause given to Cancel, or [ErrCanceled] if
// that was nil. fn should stop the work; it may settle p with any result. If
// it does not, the future fails with a [*CanceledError]. A panic of fn is
// contained, and joined to that error's cause.
//
// Several functions run in the order in which they were added. On a settled
// promise OnCancel does nothing. It mirrors the canceler of a Deferred.
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

// Follow settles p as f settles, unless p is settled by then, and reports
// whether p follows f: false if p is settled or follows another already. f keeps its
// result for its other users.
//
// If f is canceled while p follows it, the functions given to OnCancel run,
// and then p takes the outcome of f. A cancel of p's future goes to f, or only
// leaves it if others depend on f. If p comes to wait for itself by
// this, it fails with [ErrCycle]. It mirrors chainDeferred.
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
	if settle.Underway(w) { // a canceler may follow what is there, but not wait
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
	// What came between naming the source and listening to it found no link.
	if p.f.core.Settled() {
		h.leave()
	} else {
		h.pass(&p.f.core)
	}
	return true
}

// hook is what hangs on a promise that can be canceled or follows a future.
// The lock of f guards src, ask and the list of cancelers; the rest belongs to the
// one goroutine that runs these.
type hook[T any] struct {
	link  settle.Link
	f     *Future[T]
	src   *Future[T] // set once, and not after a canceler was started
	stale bool       // a cancel that src has seen came before the following
	requests
	first, last *canceler

	// The request that runs the cancelers and the goroutine on which it does,
	// if the request is held below f; both under the lock of f.
	request *settle.Failure
	runner  uint64

	val  T
	fail *settle.Failure // what f is to be settled with when the cancelers are through
	err  error           // what they panicked with
}

type canceler struct {
	fn   func(error)
	next *canceler
}

// hook returns p's hook with p's lock held, making it first where there is
// none; not ok, and no lock, if p is settled.
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

// Source is the future that is followed.
func (h *hook[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if h.src == nil {
		return nil, false
	}
	h.note(ask)
	return &h.src.core, false
}

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
	// A cancel that found no source has taken the right to start already.
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

// cancel runs the cancelers and then settles f, if none of them did.
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

// cause is what the cancelers are told: that of the cancel by which f is to
// fail, or else, as src has answered otherwise, of the one that went to src.
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

// Abort goes on with the next canceler after one panicked.
func (h *hook[T]) Abort(err error) (*settle.Core, *settle.Link) {
	h.err = errors.Join(h.err, err)
	return h.cancel()
}

// answering is the request that an outcome answers which the caller is about to
// give to f, whose cancelers run: the caller is one of them. It is nil if the
// outcome comes from another goroutine, as that of work that was not stopped yet.
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

// leave ends the following: f was settled another way.
func (h *hook[T]) leave() {
	w := h.f.core.Lock()
	src := h.src
	h.first, h.last = nil, nil
	h.f.core.Unlock(w)
	if src != nil {
		src.core.Remove(&h.link, 1)
	}
}
