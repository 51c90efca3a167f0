package twill

import (
	"fmt"

	"github.com/twillgo/twill/internal/settle"
)

// DeferredList is a future of the results of several futures, its members. The
// flags of [NewDeferredList] say when it settles. It mirrors Twisted's, exactly;
// in new code one of [All], [Settled], [Any] and [First] says better what is
// meant.
//
// Use NewDeferredList: the zero value never settles. A DeferredList must not be
// copied. Being a future, it has all its methods, and &l.Future can be a member
// of another list. A Cancel of it is passed to the members, in their order, by the
// rules of [Future.Cancel]; the list then settles with what they make of it. By itself
// it never cancels a member.
type DeferredList[T any] struct {
	Future[ListResult[T]]
}

// ListResult is what a [DeferredList] succeeds with.
type ListResult[T any] struct {
	// Results are those of all members, in their order, and nil if the list
	// settled because of one value.
	Results []Result[T]
	// Index is the member whose value settled the list, by FireOnOneCallback,
	// and Value is that value. Otherwise Index is -1.
	Index int
	Value T
}

// ListFlags say when a [DeferredList] settles.
type ListFlags uint8

const (
	// FireOnOneCallback has the list succeed with the first member that does.
	FireOnOneCallback ListFlags = 1 << iota
	// FireOnOneErrback has the list fail with the first member that does, with
	// an [*IndexError].
	FireOnOneErrback
	// ConsumeErrors has the list take its members' errors. Without it, a member
	// that fails is still reported to [OnUnhandled] if nobody else takes that.
	ConsumeErrors
)

// NewDeferredList returns the list of fs, which is copied. Without flags it
// succeeds when all members have settled, with all results. A list without members
// succeeds at once, except with FireOnOneCallback: it fails with [ErrEmpty],
// where Twisted's hangs.
func NewDeferredList[T any](fs []*Future[T], flags ListFlags) *DeferredList[T] {
	l := new(DeferredList[T])
	results := make([]Result[T], len(fs))
	g := &gather[T, ListResult[T]]{
		f:       &l.Future,
		onValue: flags&FireOnOneCallback != 0,
		onError: flags&FireOnOneErrback != 0,
		takes:   flags&ConsumeErrors != 0,
		store:   func(i int, v T, err error) { results[i] = Result[T]{v, err} },
		one:     func(i int, v T) ListResult[T] { return ListResult[T]{Index: i, Value: v} },
		all:     func() (ListResult[T], error) { return ListResult[T]{Results: results, Index: -1}, nil },
	}
	g.start(fs)
	return l
}

// All returns a future of the values of fs, in their order. It fails as soon as
// one of them does, with an [*IndexError] that names it; then it stops depending on the
// others, which cancels those that nobody else needs. Without members it
// succeeds at once. It mirrors gatherResults.
//
// All, Settled, Any and First take their members' errors. A Cancel of the new
// future is passed to the members, in their order, by the rules of [Future.Cancel].
func All[T any](fs ...*Future[T]) *Future[[]T] {
	values := make([]T, len(fs))
	g := &gather[T, []T]{
		f: new(Future[[]T]), onError: true, leaves: true, takes: true,
		store: func(i int, v T, _ error) { values[i] = v },
		all:   func() ([]T, error) { return values, nil },
	}
	g.start(fs)
	return g.f
}

// Settled returns a future of the results of fs, in their order, when all have
// settled. It never fails.
func Settled[T any](fs ...*Future[T]) *Future[[]Result[T]] {
	results := make([]Result[T], len(fs))
	g := &gather[T, []Result[T]]{
		f: new(Future[[]Result[T]]), takes: true,
		store: func(i int, v T, err error) { results[i] = Result[T]{v, err} },
		all:   func() ([]Result[T], error) { return results, nil },
	}
	g.start(fs)
	return g.f
}

// Any returns a future of the first value among fs. Then it stops depending on
// the others, which cancels those that nobody else needs. If all fail, it fails with an
// [*AllFailedError], and without members with [ErrEmpty]. It mirrors Twisted's
// race.
func Any[T any](fs ...*Future[T]) *Future[T] {
	return anyOf(func(_ int, v T) T { return v }, fs)
}

// AnyIndexed is [Any] that also tells whose value it is.
func AnyIndexed[T any](fs ...*Future[T]) *Future[Indexed[T]] {
	return anyOf(func(i int, v T) Indexed[T] { return Indexed[T]{i, v} }, fs)
}

// Indexed is a value and the index of the future it came from.
type Indexed[T any] struct {
	Index int
	Value T
}

func anyOf[T, R any](one func(int, T) R, fs []*Future[T]) *Future[R] {
	failures := make([]error, len(fs))
	g := &gather[T, R]{
		f: new(Future[R]), onValue: true, leaves: true, takes: true, ends: true, one: one,
		store: func(i int, _ T, err error) { failures[i] = err },
		all: func() (R, error) {
			var none R
			return none, &AllFailedError{failures}
		},
	}
	g.start(fs)
	return g.f
}

// First returns a future of the first result among fs, be it a value or an
// error, which is then an [*IndexError]. Then it stops depending on the others,
// which cancels those that nobody else needs. Without members it fails with [ErrEmpty].
func First[T any](fs ...*Future[T]) *Future[T] {
	return firstOf(func(_ int, v T) T { return v }, fs)
}

// FirstIndexed is [First] that also tells whose value it is.
func FirstIndexed[T any](fs ...*Future[T]) *Future[Indexed[T]] {
	return firstOf(func(i int, v T) Indexed[T] { return Indexed[T]{i, v} }, fs)
}

func firstOf[T, R any](one func(int, T) R, fs []*Future[T]) *Future[R] {
	g := &gather[T, R]{
		f: new(Future[R]), onValue: true, onError: true, leaves: true, takes: true, one: one,
	}
	g.start(fs)
	return g.f
}

// IndexError is the failure of a list because of one member's.
type IndexError struct {
	Index int
	Err   error
}

func (e *IndexError) Error() string { return fmt.Sprintf("twill: future %d: %v", e.Index, e.Err) }

// Unwrap returns the member's error.
func (e *IndexError) Unwrap() error { return e.Err }

// AllFailedError is the failure of [Any] when all its members have failed.
type AllFailedError struct {
	Errs []error // of the members, in their order
}

func (e *AllFailedError) Error() string {
	if len(e.Errs) == 0 {
		return "twill: all futures failed"
	}
	return fmt.Sprintf("twill: all %d futures failed, the first with: %v", len(e.Errs), e.Errs[0])
}

// Unwrap returns the members' errors.
func (e *AllFailedError) Unwrap() []error { return e.Errs }

var _ settle.Many = (*gather[int, int])(nil)
