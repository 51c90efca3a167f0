package twill

import (
	"context"
	"time"

	"github.com/twillgo/twill/internal/settle"
)

// Go starts fn on a goroutine of its own and returns the future of its result.
// A Cancel of that future ends fn's context with the cause and fails the
// future at once; what fn returns after that is dropped. If ctx ends, fn's context
// ends too, and the future settles when fn returns: an Await with the same ctx
// does not wait for that, and may return while fn still runs.
//
// A panic of fn is a [*PanicError], its [runtime.Goexit] an [ErrGoexit]; a panic
// that comes too late for the future goes to [OnUnhandled]. With Await inside
// fn it is what inlineCallbacks is in Twisted.
func Go[T any](ctx context.Context, fn func(ctx context.Context) (T, error)) *Future[T] {
	if ctx == nil {
		panic("twill: Go with a nil context")
	}
	if fn == nil {
		panic("twill: Go with a nil function")
	}
	n := newGoNode[T](ctx)
	go n.run(fn)
	return &n.f
}

type goNode[T any] struct {
	root[T]
	lazyContext
}

func newGoNode[T any](ctx context.Context) *goNode[T] {
	n := &goNode[T]{}
	n.base = ctx
	made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	return n
}

func (n *goNode[T]) run(fn func(context.Context) (T, error)) {
	done := false
	defer func() {
		if !done {
			n.stopped(caught(recover()))
		}
	}()
	v, err := fn(&n.lazyContext)
	done = true
	n.returned(v, err)
}

// returned settles the future with what the function returned.
func (n *goNode[T]) returned(v T, err error) {
	n.lazyContext.end(nil)
	n.f.settleResult(v, err)
}

// stopped settles the future with the panic or exit that ended the function.
func (n *goNode[T]) stopped(err error) {
	n.lazyContext.end(err)
	var zero T
	if !n.f.settle(zero, settle.NewFailure(err)) && err != ErrGoexit {
		report(err)
	}
}

// Fire cancels fn's context, when fn can no longer come first with a result.
func (n *goNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	core, list := n.root.end(left)
	if ce, ok := left.Err.(*CanceledError); ok && ce.Cause != nil {
		n.lazyContext.end(ce.Cause)
	} else {
		n.lazyContext.end(left.Err)
	}
	return core, list
}

// root is a future that is settled by hand and has something to do when it is
// cancelled.
type root[T any] struct {
	f    Future[T]
	link settle.Link
}

// Source is nil: a root is cancelled itself.
func (r *root[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Abort is not called: what roots do on a cancel is not user code.
func (r *root[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return r.end(settle.NewFailure(err))
}

// end settles the root unless that was done.
func (r *root[T]) end(fail *settle.Failure) (*settle.Core, *settle.Link) {
	return settleFailed(&r.f.core, fail)
}

// settleFailed settles c with fail unless it was settled.
func settleFailed(c *settle.Core, fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	return c, c.Publish(w, fail)
}

func (f *Future[T]) settleResult(v T, err error) bool {
	if err == nil {
		return f.settle(v, nil)
	}
	var zero T
	return f.settle(zero, settle.NewFailure(err))
}

// Call runs fn now, on the caller's goroutine, and returns its result as a
// settled future. A panic is a [*PanicError]. It mirrors maybeDeferred.
func Call[T any](fn func() (T, error)) (f *Future[T]) {
	if fn == nil {
		panic("twill: Call with a nil function")
	}
	done := false
	defer func() {
		if !done {
			if v := recover(); v != nil {
				f = Rejected[T](caught(v))
			}
		}
	}()
	v, err := fn()
	done = true
	if err != nil {
		return Rejected[T](err)
	}
	return Resolved(v)
}

// Resolved returns a future that is settled with v; Twisted's succeed.
func Resolved[T any](v T) *Future[T] {
	f := &Future[T]{val: v}
	made(&f.core)
	f.core.Preset(nil)
	return f
}

// Rejected returns a future that has failed with err; Twisted's fail. It panics
// if err is nil.
func Rejected[T any](err error) *Future[T] {
	if err == nil {
		panic("twill: Rejected with a nil error")
	}
	f := &Future[T]{}
	made(&f.core)
	f.core.Preset(settle.NewFailure(err))
	return f
}

// After returns a future that settles with v when d is over. A Cancel stops the
// timer.
func After[T any](d time.Duration, v T) *Future[T] {
	n := &afterNode[T]{}
	made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	n.timer = time.AfterFunc(d, func() { n.f.settle(v, nil) })
	return &n.f
}

type afterNode[T any] struct {
	root[T]
	timer *time.Timer
}

// Fire stops the timer.
func (n *afterNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n.timer.Stop()
	return n.end(left)
}
