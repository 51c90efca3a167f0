package twill

import "github.com/twillgo/twill/internal/settle"

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
	made(&p.f.core)
	return p
}

// Future is the future that p settles; always the same one.
func (p *Promise[T]) Future() *Future[T] {
	made(&p.f.core)
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

// OnCancel has fn run when the future is cancelled: at most once, on the
// goroutine that cancels, with the cause given to Cancel, or [ErrCanceled] if
// that was nil. fn should stop the work; it may settle p with any result. If
// it does not, the future fails with a [*CanceledError]. A panic of fn is
// contained, and joined to that error's cause.
//
// Several functions run in the order in which they were added. On a settled
// promise OnCancel does nothing. It mirrors the canceller of a Deferred.
func (p *Promise[T]) OnCancel(fn func(cause error)) {
	if fn == nil {
		panic("twill: OnCancel with a nil function")
	}
	c := &canceller{fn: fn}
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
// If f is cancelled while p follows it, the functions given to OnCancel run,
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
	if settle.Underway(w) { // a canceller may follow what is there, but not wait
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
	} else if ask := h.asked(); ask != nil {
		p.f.core.Cancel(ask)
	}
	return true
}
