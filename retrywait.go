package twill

import "github.com/twillgo/twill/internal/settle"

// retryWait is a call that waits for an attempt or for a pause: a node with a
// link of its own for each, as a link is ever on one list only. A cancel of the
// call goes on to what it waits for; while the call goes on it finds only the
// one that is over, and leaves a mark there.
type retryWait[T any] struct {
	link   settle.Link
	n      *retryNode[T]
	src    *Future[T] // what it waits for; nil at the start
	handed bool       // the call waits for something else, and others go on with it
}

// Source is what the call waits for.
func (w *retryWait[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if w.n.ask == nil {
		w.n.ask = ask
	}
	return &w.src.core, false
}

// Fire goes on when the attempt or the pause is over, or ends the call if a cancel took it
// off an attempt that others depend on.
func (w *retryWait[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n := w.n
	if left != nil {
		return n.fail(left.Err)
	}
	for over := w.src; ; {
		if over != nil && n.attempt && over.core.Failure() == nil {
			return n.succeed(over.val)
		}
		src, reason := n.next(over)
		if reason != nil {
			return n.fail(reason)
		}
		if !src.core.Settled() {
			if core, list, ok := w.hand(src); ok {
				return core, list
			}
		}
		over = src // at once, and not by a call: the stack stays as it is
	}
}

// hand has the call go on when src settles; not ok if it has settled by now.
func (w *retryWait[T]) hand(src *Future[T]) (_ *settle.Core, _ *settle.Link, ok bool) {
	n, c := w.n, &w.n.f.core
	next := &retryWait[T]{n: n, src: src}
	next.link.Do = next
	word := c.Lock()
	c.SetUp(&next.link)
	c.Unlock(word)
	if !src.core.AddPending(&next.link, 1) {
		return nil, nil, false
	}
	// From here on others may go on with n.
	w.handed = true
	if c.Depends(&src.core) && src.core.Remove(&next.link, 1) {
		core, list := n.fail(ErrCycle)
		return core, list, true
	}
	// A cancel that came by before the link was made has left its mark only.
	if c.Stuck() {
		word = c.Lock()
		ask := n.ask
		c.Unlock(word)
		c.Cancel(ask)
	}
	return nil, nil, true
}

// Abort ends the call with what stopped it: a panic of one of its functions, or the exit of
// the goroutine.
func (w *retryWait[T]) Abort(err error) (*settle.Core, *settle.Link) {
	if w.handed {
		return nil, nil
	}
	w.n.state.refund()
	return w.n.fail(err)
}

func (n *retryNode[T]) succeed(v T) (*settle.Core, *settle.Link) {
	n.state.succeeded()
	n.end()
	w := n.f.core.Lock()
	n.f.val, n.ask = v, nil
	return &n.f.core, n.f.core.Publish(w, nil)
}

func (n *retryNode[T]) fail(reason error) (*settle.Core, *settle.Link) {
	fail := settle.NewFailure(n.state.gaveUp(reason))
	_, fail.Canceled = reason.(*CanceledError)
	n.end()
	w := n.f.core.Lock()
	n.ask = nil
	return &n.f.core, n.f.core.Publish(w, fail)
}

// end lets go of what the call held.
func (n *retryNode[T]) end() {
	n.release(nil)
	n.call, n.state, n.pauses = RetryingCall[T]{}, retryState{}, lookahead{}
}
