package twill

import "github.com/twillgo/twill/internal/settle"

// ThenFuture is [Then] for a handler that returns a future: the new future
// settles as that one does. A cancel of the new future goes to f while f is pending, and to
// the inner one afterwards. It mirrors a callback that returns a Deferred.
//
// A handler that returns nil makes the new future fail, one that returns a future
// which waits for the new one makes it fail with [ErrCycle].
func ThenFuture[T, U any](f *Future[T], fn func(T) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: ThenFuture with a nil function")
	}
	n := &adoptNode[T, U]{onValue: fn}
	n.start(n, f)
	return &n.f
}

// HandleFuture is [Handle] for a handler that returns a future; see
// [ThenFuture].
func HandleFuture[T, U any](f *Future[T], fn func(T, error) *Future[U]) *Future[U] {
	if fn == nil {
		panic("twill: HandleFuture with a nil function")
	}
	n := &adoptNode[T, U]{onBoth: fn}
	n.start(n, f)
	return &n.f
}

// CatchFuture is [Future.Catch] for a handler that returns a future; see
// [ThenFuture].
func (f *Future[T]) CatchFuture(fn func(error) *Future[T]) *Future[T] {
	if fn == nil {
		panic("twill: CatchFuture with a nil function")
	}
	n := &adoptNode[T, T]{onBoth: func(_ T, err error) *Future[T] {
		if err == nil {
			return f
		}
		return fn(err)
	}}
	n.start(n, f)
	return &n.f
}

// adoptNode listens to src first, and after that to the future that the handler
// returned: with a link of its own, because a cancel that takes the node off src
// may have it there while src is still pending and looked at.
type adoptNode[T, U any] struct {
	derived[T, U]
	onValue func(T) *Future[U] // one of these two, until it is called
	onBoth  func(T, error) *Future[U]
	inner   *Future[U]      // set and cleared under the lock of f
	second  settle.Link     // the one on inner
	ask     *settle.Failure // the first cancel that came by since src answered; under the lock of f
	ran     bool            // the handler has returned
}

// Source is the inner future once there is one.
func (n *adoptNode[T, U]) Source(ask *settle.Failure) (*settle.Core, bool) {
	if n.ask == nil {
		n.ask = ask
	}
	if n.inner != nil {
		return &n.inner.core, false
	}
	return &n.src.core, false
}

// Fire runs the handler at first, and takes the inner result afterwards.
func (n *adoptNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if n.inner != nil {
		if left != nil {
			return n.fail(left)
		}
		return n.take()
	}
	fail := n.incoming(left)
	w := n.f.core.Lock()
	if !settle.Stuck(w) {
		n.ask = nil // it went to src, which has answered it
	}
	n.f.core.Unlock(w)
	onValue, onBoth := n.onValue, n.onBoth
	n.onValue, n.onBoth = nil, nil
	var inner *Future[U]
	switch {
	case onValue == nil && fail != nil:
		var zero T
		inner = onBoth(zero, fail.Err)
	case onValue == nil:
		inner = onBoth(n.src.val, nil)
	case fail != nil:
		return n.fail(fail)
	default:
		inner = onValue(n.src.val)
	}
	n.ran = true
	if inner == nil {
		return n.fail(settle.NewFailure(errNoFuture))
	}
	return n.adopt(inner)
}

// adopt waits for the inner future.
func (n *adoptNode[T, U]) adopt(inner *Future[U]) (*settle.Core, *settle.Link) {
	c := &n.f.core
	n.second.Do = n
	w := c.Lock()
	n.inner = inner
	c.SetUp(&n.second)
	c.Unlock(w)
	if !inner.core.AddPending(&n.second, 1) {
		return n.take()
	}
	// From here on n may be fired by others.
	if c.Depends(&inner.core) && inner.core.Remove(&n.second, 1) {
		return n.fail(settle.NewFailure(ErrCycle))
	}
	// A cancel that came by before the link was made has left its mark only.
	if c.Stuck() {
		w = c.Lock()
		ask := n.ask
		c.Unlock(w)
		c.Cancel(ask)
	}
	return nil, nil
}

// take settles n as its inner future has settled.
func (n *adoptNode[T, U]) take() (*settle.Core, *settle.Link) {
	inner := n.inner
	if fail := inner.core.Failure(); fail != nil {
		fail.Take()
		return n.fail(fail)
	}
	c := &n.f.core
	w := c.Lock()
	n.src, n.inner, n.ask = nil, nil, nil
	n.f.val = inner.val
	return c, c.Publish(w, nil)
}

func (n *adoptNode[T, U]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w, fail := c.LockToFail(fail)
	n.src, n.inner, n.ask = nil, nil, nil
	return c, c.Publish(w, fail)
}

// Abort makes what stopped the handler the failure of its future. If the
// goroutine exits after the handler returned, in a canceller that adopt had to
// run, that is not n's concern.
func (n *adoptNode[T, U]) Abort(err error) (*settle.Core, *settle.Link) {
	if n.ran {
		return nil, nil
	}
	return n.fail(settle.NewFailure(err))
}
