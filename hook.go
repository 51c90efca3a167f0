package twill

import (
	"errors"

	"github.com/twillgo/twill/internal/settle"
)

// hook is what hangs on a promise that can be cancelled or follows a future.
// The lock of f guards src, ask and the list of cancellers; the rest belongs to the
// one goroutine that runs these.
type hook[T any] struct {
	link        settle.Link
	f           *Future[T]
	src         *Future[T] // set once, and not after a canceller was started
	stale       bool       // a cancel that src has seen came before the following
	ask         *settle.Failure
	first, last *canceller

	val  T
	fail *settle.Failure // what f is to be settled with when the cancellers are through
	err  error           // what they panicked with
}

type canceller struct {
	fn   func(error)
	next *canceller
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
	if h.ask == nil {
		h.ask = ask
	}
	return &h.src.core, false
}

func (h *hook[T]) asked() *settle.Failure {
	w := h.f.core.Lock()
	ask := h.ask
	h.f.core.Unlock(w)
	return ask
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

// Fire is called when the followed future settles, or with the failure of a
// cancel of f itself.
func (h *hook[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	var val T
	fail, gone := left, left != nil
	if left == nil {
		val = h.src.val
		if fail = h.src.core.Failure(); fail != nil {
			fail.Take()
			gone = isCancel(fail.Err)
			fail = fail.Clone()
		}
		gone = !h.stale && (gone || h.src.core.Asked())
	}
	// A cancel that found no source has taken the right to start already.
	if gone && (left != nil && h.src == nil || h.f.core.Starts()) {
		h.val, h.fail = val, fail
		return h.cancel()
	}
	return h.end(val, fail)
}

// Abort goes on with the next canceller after one panicked.
func (h *hook[T]) Abort(err error) (*settle.Core, *settle.Link) {
	h.err = errors.Join(h.err, err)
	return h.cancel()
}

// cancel runs the cancellers and then settles f, if none of them did.
func (h *hook[T]) cancel() (*settle.Core, *settle.Link) {
	cause := h.cause()
	for fn := h.next(); fn != nil; fn = h.next() {
		fn(cause)
	}
	val, fail, err := h.val, h.fail, h.err
	if err != nil {
		if fail == nil || !isCancel(fail.Err) {
			report(err)
		} else {
			if cause != ErrCanceled {
				err = errors.Join(cause, err)
			}
			fail = canceled(err)
			fail.Incident = true
		}
	}
	return h.end(val, fail)
}

// cause is what the cancellers are told: that of the cancel by which f is to
// fail, or else, as src has answered otherwise, of the one that went to src.
func (h *hook[T]) cause() error {
	if h.fail != nil && isCancel(h.fail.Err) {
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

func (h *hook[T]) end(val T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &h.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	h.f.val = val
	list := c.Publish(w, fail)
	h.leave()
	return c, list
}

// isCancel reports whether err is the outcome of a cancel. One whose methods
// panic, as those of a nil pointer do that was returned as an error, is not.
func isCancel(err error) (is bool) {
	defer func() { _ = recover() }()
	return errors.Is(err, ErrCanceled)
}

// causeOf is what a canceller is told of err, the outcome of a cancel.
func causeOf(err error) (cause error) {
	cause = ErrCanceled
	defer func() { _ = recover() }()
	if ce, ok := errors.AsType[*CanceledError](err); ok && ce.Cause != nil {
		cause = ce.Cause
	}
	return cause
}
