package twill

import "github.com/twillgo/twill/internal/settle"

// Executor runs functions: each on its own goroutine, on one of a bounded
// number, or one after another on an event loop. *sync.WaitGroup is one, and so
// are the pools of several packages. Go must run f exactly once, then or later.
type Executor interface {
	Go(f func())
}

// ExecutorFunc makes an [Executor] of a function.
type ExecutorFunc func(f func())

// Go calls e(f).
func (e ExecutorFunc) Go(f func()) { e(f) }

// Goroutines is the [Executor] that starts a goroutine for each function.
var Goroutines Executor = ExecutorFunc(func(f func()) { go f() })

// Via returns a future that settles as f does, on the executor: the handlers
// added to it, and what follows them, run there instead of on the goroutine that
// settles f. If the executor's Go panics, the future fails with that.
func (f *Future[T]) Via(ex Executor) *Future[T] {
	if ex == nil {
		panic("twill: Via with a nil executor")
	}
	n := &viaNode[T]{ex: ex}
	n.start(n, f)
	return &n.f
}

type viaNode[T any] struct {
	derived[T, T]
	ex Executor
}

// Fire hands the outcome to the executor.
func (n *viaNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	var val T
	fail := n.incoming(left)
	if fail == nil {
		val = n.src.val
	} else if left == nil {
		fail = fail.Clone()
	}
	ex := n.ex
	n.ex = nil
	ex.Go(func() {
		if core, list := n.deliver(val, fail); list != nil {
			settle.Drain(core, list)
		}
	})
	return nil, nil
}

// deliver settles n, unless the executor ran it before.
func (n *viaNode[T]) deliver(v T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	n.src = nil
	n.f.val = v
	return c, c.Publish(w, fail)
}

// Abort is called if the executor panics.
func (n *viaNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	var zero T
	return n.deliver(zero, settle.NewFailure(err))
}
