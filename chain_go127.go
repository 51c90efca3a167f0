//go:build go1.27

package twill

// Then is the function [Then] as a method, so that chains read from left to
// right.
func (f *Future[T]) Then[U any](fn func(T) (U, error)) *Future[U] { return Then(f, fn) }

// Handle is the function [Handle] as a method.
func (f *Future[T]) Handle[U any](fn func(T, error) (U, error)) *Future[U] { return Handle(f, fn) }

// ThenFuture is the function [ThenFuture] as a method.
func (f *Future[T]) ThenFuture[U any](fn func(T) *Future[U]) *Future[U] { return ThenFuture(f, fn) }

// HandleFuture is the function [HandleFuture] as a method.
func (f *Future[T]) HandleFuture[U any](fn func(T, error) *Future[U]) *Future[U] {
	return HandleFuture(f, fn)
}
