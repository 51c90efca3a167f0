package twill

import "github.com/twillgo/twill/internal/settle"

// Then returns the future of fn's result. If f fails, fn is not called and the
// new future fails with the same error. It mirrors addCallback, but gives a new
// future and leaves f as it is.
//
// See [Future] for the goroutine that runs fn and for what happens if it
// panics. On Go 1.27 and later it is also a method.
func Then[T, U any](f *Future[T], fn func(T) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Then with a nil function")
	}
	n := &thenNode[T, U]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Handle returns the future of fn's result, called with the value or the error
// of f; with an error the value is zero. It mirrors addBoth.
func Handle[T, U any](f *Future[T], fn func(T, error) (U, error)) *Future[U] {
	if fn == nil {
		panic("twill: Handle with a nil function")
	}
	return handle(f, fn)
}

func handle[T, U any](f *Future[T], fn func(T, error) (U, error)) *Future[U] {
	n := &handleNode[T, U]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Catch returns a future of f's value or, if f fails, of fn's result for the
// error, which may recover with a value. It mirrors addErrback.
func (f *Future[T]) Catch(fn func(error) (T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Catch with a nil function")
	}
	n := &catchNode[T]{fn: fn}
	n.start(n, f)
	return &n.f
}

// Finally returns a future that settles as f does, after fn was called. If fn
// panics, the new future fails with that.
func (f *Future[T]) Finally(fn func()) *Future[T] {
	if fn == nil {
		panic("twill: Finally with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn()
		return v, err
	})
}

// Tap returns a future that settles as f does, after fn has seen the result.
// The error counts as passed on, not as taken: somebody should still handle it.
func (f *Future[T]) Tap(fn func(T, error)) *Future[T] {
	if fn == nil {
		panic("twill: Tap with a nil function")
	}
	return handle(f, func(v T, err error) (T, error) {
		fn(v, err)
		return v, err
	})
}

// derived is a future that continues another one: the future, and the link by
// which it listens, in one allocation.
type derived[T, U any] struct {
	f    Future[U]
	link settle.Link
	src  *Future[T] // until f settles; changed under the lock of f
}

// start hangs n, the node that d is embedded in, on src.
func (d *derived[T, U]) start(n settle.Node, src *Future[T]) {
	d.prepare(n, src)
	d.attach()
}

// prepare is the first half of start: from here on d may be cancelled, though
// that finds no link to go on by.
func (d *derived[T, U]) prepare(n settle.Node, src *Future[T]) {
	if src == nil {
		panic("twill: nil future")
	}
	made(&d.f.core)
	d.src = src
	d.link.Do = n
	d.f.core.SetUp(&d.link)
}

// attach is the second half. Between the two, only the caller knows d, and so
// src is still there.
func (d *derived[T, U]) attach() {
	if !d.src.core.Add(&d.link, 1) {
		settle.Run(d.link.Do, nil)
	}
}

// Source is the future that d continues.
func (d *derived[T, U]) Source(*settle.Failure) (*settle.Core, bool) {
	return &d.src.core, false
}

// incoming is the failure with which d goes on, nil for the value of src.
func (d *derived[T, U]) incoming(left *settle.Failure) *settle.Failure {
	if left == nil {
		if left = d.src.core.Failure(); left != nil {
			left.Take()
		}
	}
	return left
}

// conclude settles d with the result of a handler.
func (d *derived[T, U]) conclude(v U, err error) (*settle.Core, *settle.Link) {
	if err != nil {
		return d.fail(settle.NewFailure(err))
	}
	// Nobody else may settle d, and nobody reads the value before that is done.
	d.f.val = v
	if d.f.core.Succeed() {
		d.src = nil
		return nil, nil
	}
	w := d.f.core.Lock()
	d.src = nil
	return &d.f.core, d.f.core.Publish(w, nil)
}

func (d *derived[T, U]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	w, fail := d.f.core.LockToFail(fail)
	d.src = nil
	return &d.f.core, d.f.core.Publish(w, fail)
}

// pass settles d as its source has settled, or with fail.
func pass[T any](d *derived[T, T], fail *settle.Failure) (*settle.Core, *settle.Link) {
	if fail != nil {
		return d.fail(fail)
	}
	return d.conclude(d.src.val, nil)
}

// Abort makes what stopped a handler the failure of its future.
func (d *derived[T, U]) Abort(err error) (*settle.Core, *settle.Link) {
	return d.fail(settle.NewFailure(err))
}

type thenNode[T, U any] struct {
	derived[T, U]
	fn func(T) (U, error)
}

// Fire runs the handler if there is a value for it.
func (n *thenNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		return n.fail(fail)
	}
	return n.conclude(fn(n.src.val))
}

type handleNode[T, U any] struct {
	derived[T, U]
	fn func(T, error) (U, error)
}

// Fire runs the handler.
func (n *handleNode[T, U]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		var zero T
		return n.conclude(fn(zero, fail.Err))
	}
	return n.conclude(fn(n.src.val, nil))
}

type catchNode[T any] struct {
	derived[T, T]
	fn func(error) (T, error)
}

// Fire runs the handler if there is an error for it.
func (n *catchNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	fn := n.fn
	n.fn = nil
	if fail := n.incoming(left); fail != nil {
		return n.conclude(fn(fail.Err))
	}
	return n.conclude(n.src.val, nil)
}
