package twill

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// DeferredList is a future of the results of several futures, its members. The
// flags of [NewDeferredList] determine when it settles. It has exactly the
// semantics of Twisted's DeferredList. New code should use [All], [AllSettled],
// [Any], [First] or [Some], which say more plainly what they mean.
//
// DeferredList is constructed by [NewDeferredList]; the zero value never
// settles. A DeferredList must not be copied. It is a future with all methods
// of [Future], and works as a [FutureOf]. A cancel of it is passed to the
// members, in their order, by the rules of [Future.Cancel]; the list then
// settles with their outcomes. By itself a DeferredList never cancels a member.
type DeferredList[T any] struct {
	Future[ListResult[T]]
}

// ListResult is the value of a [DeferredList].
type ListResult[T any] struct {
	// Results are the results of all members, in their order. They are nil if
	// the list settled because of one value.
	Results []Result[T]
	// Index is the index of the member whose value settled the list, by
	// FireOnOneCallback, and Value is that value. Otherwise Index is -1.
	Index int
	Value T
}

// ListFlags determine when a [DeferredList] settles.
type ListFlags uint8

const (
	// FireOnOneCallback makes the list succeed as soon as a member succeeds.
	FireOnOneCallback ListFlags = 1 << iota
	// FireOnOneErrback makes the list fail as soon as a member fails, with an
	// [*IndexError].
	FireOnOneErrback
	// ConsumeErrors makes the list handle the errors of its members. Without it,
	// the failure of a member is reported to [OnUnhandled] unless something else
	// handles it.
	ConsumeErrors
)

// NewDeferredList returns a [DeferredList] of fs, which is copied. Without
// flags it succeeds when all members have settled, with all results. A list
// without members succeeds at once. With FireOnOneCallback it fails instead,
// with [ErrEmpty]; Twisted's list never fires.
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

// String returns the type, and the state of l.
func (l *DeferredList[T]) String() string {
	return printed("DeferredList", stateOf(&l.core), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (l *DeferredList[T]) GoString() string { return l.String() }

// LogValue returns the text of String, for package slog.
func (l *DeferredList[T]) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (l *DeferredList[T]) Format(s fmt.State, verb rune) { formatText(s, verb, l.String()) }

// All returns a future of the values of fs, in their order. It fails as soon as
// one of fs fails, with an [*IndexError] that has the index of that member. It
// then releases the other futures, canceling those that have no other
// dependents, with [ErrNotNeeded] as the cause. Without members it succeeds at
// once. For futures of several types see [Join] and [Combine]; for jobs,
// [Futures]. All is the equivalent of Twisted's gatherResults.
//
// All, [AllSettled], [Any], [First] and [Some] handle the errors of their
// members, and copy fs. A cancel of their future is passed to the members, in
// their order, by the rules of [Future.Cancel].
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

// AllMap is [All] for a map of futures: it returns a future of the map of their
// values. m is read once, during the call. On the first failure the future
// fails with a [*KeyError] that has the key, and releases the other futures.
func AllMap[K comparable, T any](m map[K]*Future[T]) *Future[map[K]T] {
	keys, fs := entries(m)
	values := make([]T, len(fs))
	g := &gather[T, map[K]T]{
		f: new(Future[map[K]T]), onError: true, leaves: true, takes: true,
		store: func(i int, v T, _ error) { values[i] = v },
		all: func() (map[K]T, error) {
			out := make(map[K]T, len(keys))
			for i, k := range keys {
				out[k] = values[i]
			}
			return out, nil
		},
		blame: func(i int, err error) error { return &KeyError{keys[i], err} },
	}
	g.start(fs)
	return g.f
}

// AllSettled returns a future of the results of fs, in their order, when all of
// them have settled. It never fails by itself. If it is canceled, or ended by a
// [Future.Timeout], the members that end by that have failed, and the future
// succeeds with the results: a partial answer. It fails only if a member does
// not end when it is canceled. If that is because the member has other
// dependents, the future detaches and fails with the [*TimeoutError] or
// [*CanceledError].
func AllSettled[T any](fs ...*Future[T]) *Future[[]Result[T]] {
	results := make([]Result[T], len(fs))
	g := &gather[T, []Result[T]]{
		f: new(Future[[]Result[T]]), takes: true,
		store: func(i int, v T, err error) { results[i] = Result[T]{v, err} },
		all:   func() ([]Result[T], error) { return results, nil },
	}
	g.start(fs)
	return g.f
}

// AllSettledMap is [AllSettled] for a map of futures: it returns a future of
// the map of their results.
func AllSettledMap[K comparable, T any](m map[K]*Future[T]) *Future[map[K]Result[T]] {
	keys, fs := entries(m)
	results := make([]Result[T], len(fs))
	g := &gather[T, map[K]Result[T]]{
		f: new(Future[map[K]Result[T]]), takes: true,
		store: func(i int, v T, err error) { results[i] = Result[T]{v, err} },
		all: func() (map[K]Result[T], error) {
			out := make(map[K]Result[T], len(keys))
			for i, k := range keys {
				out[k] = results[i]
			}
			return out, nil
		},
	}
	g.start(fs)
	return g.f
}

// Any returns a future of the first value among fs. It then releases the other
// futures, canceling those that have no other dependents. A failure does not
// count unless all fail; then the future fails with an [*AllFailedError].
// Without members it fails with [ErrEmpty]. To start functions instead of
// watching futures see [Race]. Any is the equivalent of Twisted's race.
//
// Do not use Any for futures whose values must be released or returned: in
// Any(a.Get(), b.Get()) or Any(l1.Acquire(), l2.Acquire()) both may have
// settled before Any could cancel one, and the second item or token is lost.
// For queues use [GetAny].
func Any[T any](fs ...*Future[T]) *Future[T] {
	failures := make([]error, len(fs))
	g := &gather[T, T]{
		f: new(Future[T]), onValue: true, leaves: true, takes: true, ends: true,
		one:   func(_ int, v T) T { return v },
		store: func(i int, _ T, err error) { failures[i] = err },
		all: func() (T, error) {
			var none T
			return none, &AllFailedError{Errs: failures}
		},
	}
	g.start(fs)
	return g.f
}

// First returns a future of the first result among fs, a value or an error. An
// error is wrapped in an [*IndexError]. First then releases the other futures,
// canceling those that have no other dependents. Without members it fails with
// [ErrEmpty]. The warning of [Any] about items and tokens applies here too.
func First[T any](fs ...*Future[T]) *Future[T] {
	g := &gather[T, T]{
		f: new(Future[T]), onValue: true, onError: true, leaves: true, takes: true,
		one: func(_ int, v T) T { return v },
	}
	g.start(fs)
	return g.f
}

// Some returns a future of the first n values among fs, in the order in which
// they arrived: a quorum. It then releases the other futures, canceling those
// that have no other dependents. As soon as so many have failed that n values
// are impossible, it fails with an [*AllFailedError] of these failures, and
// releases the others too.
//
// Some(0, fs...) succeeds at once with no values. With fewer than n futures it
// fails at once with an error that Is [ErrEmpty]. Both release all of fs. Some
// panics if n is negative. The warning of [Any] about items and tokens applies
// here too.
func Some[T any](n int, fs ...*Future[T]) *Future[[]T] {
	if n < 0 {
		panic(fmt.Sprintf("twill: Some with a count of %d", n))
	}
	spare := len(fs) - n // failures after which n values are still possible
	values := places[T]{kept: make([]T, min(n, len(fs)))}
	failures := places[IndexError]{kept: make([]IndexError, max(spare+1, 0))}
	g := &gather[T, []T]{
		f: new(Future[[]T]), leaves: true, takes: true, ends: true,
		store: func(i int, v T, err error) {
			if err != nil {
				failures.add(IndexError{i, err})
			} else {
				values.add(v)
			}
		},
		enough: func() bool { return values.full() || failures.full() },
		all: func() ([]T, error) {
			if values.full() {
				return values.kept, nil
			}
			slices.SortFunc(failures.kept, func(a, b IndexError) int { return a.Index - b.Index })
			errs := make([]error, len(failures.kept))
			for i, e := range failures.kept {
				errs[i] = e.Err
			}
			return nil, &AllFailedError{Errs: errs, of: len(fs)}
		},
	}
	if n == 0 || spare < 0 { // the outcome does not depend on a result
		g.decided.Store(true)
		if spare < 0 {
			g.fail = settle.NewFailure(fmt.Errorf("%w: %d of %d values", ErrEmpty, n, len(fs)))
		} else {
			g.val = values.kept
		}
		g.start(fs)
		if c, list := g.conclude(); list != nil {
			settle.Drain(c, list)
		}
		return g.f
	}
	g.start(fs)
	return g.f
}

// Join is [All] for futures of several types, such as jobs, without their
// values: after it has succeeded, a Poll of each member returns its value. It
// fails as soon as one of fs fails, with an [*IndexError], and releases the
// others.
func Join(fs ...AnyFuture) *Future[struct{}] {
	members := make([]*Future[struct{}], len(fs))
	for i, f := range fs {
		if f == nil || f.base() == nil {
			panic(fmt.Sprintf("twill: list of futures: number %d is nil", i))
		}
		members[i] = f.withoutValue()
	}
	return Then(All(members...), func([]struct{}) (struct{}, error) { return struct{}{}, nil })
}

// withoutValue returns a future that settles when f does; f itself if it has no
// value.
func (f *Future[T]) withoutValue() *Future[struct{}] {
	if void, ok := any(f).(*Future[struct{}]); ok {
		return void
	}
	return Then(f, func(T) (struct{}, error) { return struct{}{}, nil })
}

// Combine returns a future of fn's result for the values of a and b, which may
// be of different types. It fails as soon as a or b fails, as [Join] does, with
// an [*IndexError] of 0 or 1; then fn is not called. See [Future] for the
// goroutine that runs fn and for what happens if it panics.
func Combine[A, B, C any](a FutureOf[A], b FutureOf[B], fn func(A, B) (C, error)) *Future[C] {
	if fn == nil {
		panic("twill: Combine with a nil function")
	}
	fa, fb := source(a), source(b)
	if fa == nil || fb == nil {
		panic("twill: Combine of a nil future")
	}
	return Then(Join(fa, fb), func(struct{}) (C, error) { return fn(fa.val, fb.val) })
}

// Futures returns the futures of jobs, or of other values that are a
// [FutureOf], for functions that take a list: All(Futures(jobs)...).
func Futures[F FutureOf[T], T any](fs []F) []*Future[T] {
	futures := make([]*Future[T], len(fs))
	for i, f := range fs {
		futures[i] = f.future()
	}
	return futures
}

// AsCompleted returns an iterator over the results of fs in the order in which
// they settle, each with its index in fs. The loop blocks between results. If
// ctx ends first, the loop yields the results that are available and then index
// -1 with [context.Cause], and ends. A loop that ends early, by a break or by
// ctx, leaves nothing behind and cancels nothing.
//
// fs is copied. The iterator may be used once. Yielding an error handles it.
func AsCompleted[T any](ctx context.Context, fs ...*Future[T]) iter.Seq2[int, Result[T]] {
	if ctx == nil {
		panic("twill: AsCompleted with a nil context")
	}
	checkMembers(fs)
	fs = slices.Clone(fs)
	return func(yield func(int, Result[T]) bool) {
		line := newArrivals[int]()
		nodes := make([]arrival[int], len(fs))
		for i, f := range fs {
			nodes[i] = arrival[int]{line: line, v: i}
			nodes[i].listen(&f.core, 1)
		}
		defer func() {
			for i, f := range fs {
				f.core.Remove(&nodes[i].link, 1)
			}
		}()
		for range fs {
			i, ok := line.next(ctx)
			if !ok {
				yield(-1, Result[T]{Err: endOf(ctx)})
				return
			}
			r, _ := fs[i].Poll()
			if !yield(i, r) {
				return
			}
		}
	}
}

// Map calls fn for each value of seq, at most width calls at a time, each on
// its own goroutine, and yields the results in the order of seq. An error does
// not end the loop; break out of it to stop. A panic of fn is yielded as a
// [*PanicError].
//
// seq runs on the goroutine of the loop. A value is taken from seq only when a
// call for it may begin. Therefore at most width calls are ahead of the result
// that the loop waits for, and a break out of the loop loses no value of seq.
//
// After a break out of the loop, the contexts of the calls underway end with
// [ErrNotNeeded], and their results are dropped. After ctx ends, no call begins
// and no value is taken. The loop then yields the results of the calls underway
// that have returned, and [context.Cause] for each of the others. If values of
// seq may be left and [context.Cause] was not yielded for a call, the loop ends
// with a zero R and [context.Cause]: a loop without an error has seen all of
// seq. In both cases calls may still be running after the loop has ended.
//
// Map panics if width is less than 1.
func Map[A, R any](ctx context.Context, seq iter.Seq[A], width int, fn func(ctx context.Context, a A) (R, error)) iter.Seq2[R, error] {
	checkMap("Map", ctx, seq == nil, width, fn == nil)
	return func(yield func(R, error) bool) {
		m := mapping[A, R]{ctx: ctx, fn: fn}
		var window []*Future[R] // underway, in the order of seq
		defer func() {
			for _, f := range window {
				m.drop(f, ErrNotNeeded)
			}
		}()
		next := func() bool {
			r := m.result(window[0])
			window[0] = nil
			window = window[1:]
			return yield(r.Value, r.Err)
		}
		more := ctx.Err() != nil // seq may have values for which no call was made
		if !more {
			for a := range seq {
				window = append(window, m.call(a))
				if len(window) == width && !next() {
					return
				}
				if more = ctx.Err() != nil; more {
					break
				}
			}
		}
		for len(window) > 0 {
			if !next() {
				return
			}
		}
		if more && !m.told {
			var none R
			yield(none, endOf(ctx))
		}
	}
}

// MapCompleted is [Map] that yields the results in the order in which the calls
// return, each with the value that was the argument of its call. If ctx ends
// and values of seq may be left, the last pair is a zero A and [context.Cause].
func MapCompleted[A, R any](ctx context.Context, seq iter.Seq[A], width int, fn func(ctx context.Context, a A) (R, error)) iter.Seq2[A, Result[R]] {
	checkMap("MapCompleted", ctx, seq == nil, width, fn == nil)
	return func(yield func(A, Result[R]) bool) {
		m := mapping[A, R]{ctx: ctx, fn: fn}
		line := newArrivals[*mapCall[A, R]]()
		var underway list.List[*mapCall[A, R]] // in the order of seq
		defer func() {
			for c := range underway.All() {
				m.drop(c.f, ErrNotNeeded)
			}
		}()
		inLine := true // until ctx has ended and the line is empty
		next := func() bool {
			var c *mapCall[A, R]
			if inLine {
				c, inLine = line.next(ctx)
			}
			if !inLine {
				c, _ = underway.Front()
			}
			underway.Remove(c)
			return yield(c.arg, m.result(c.f))
		}
		more := ctx.Err() != nil // seq may have values for which no call was made
		if !more {
			for a := range seq {
				c := &mapCall[A, R]{arg: a, f: m.call(a)}
				c.arrival = arrival[*mapCall[A, R]]{line: line, v: c}
				underway.PushBack(c)
				c.listen(&c.f.core, 0)
				if underway.Len() == width && !next() {
					return
				}
				if more = ctx.Err() != nil; more {
					break
				}
			}
		}
		for underway.Len() > 0 {
			if !next() {
				return
			}
		}
		if more && !m.told {
			var none A
			yield(none, Result[R]{Err: endOf(ctx)})
		}
	}
}

// IndexError is the failure of a list caused by one member.
type IndexError struct {
	Index int
	Err   error
}

func (e *IndexError) Error() string { return fmt.Sprintf("twill: future %d: %v", e.Index, e.Err) }

// Unwrap returns the error of the member.
func (e *IndexError) Unwrap() error { return e.Err }

// KeyError is the failure of a map of futures caused by one of them.
type KeyError struct {
	Key any
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("twill: future of key %v: %v", e.Key, e.Err) }

// Unwrap returns the error of the future.
func (e *KeyError) Unwrap() error { return e.Err }

// AllFailedError is the failure of [Any] and of a [Race] when all members or
// functions have failed, and of [Some] when too many members have failed.
type AllFailedError struct {
	Errs []error // of the failed members, in their order

	of int // the number of members of a Some, of which not all have failed
}

func (e *AllFailedError) Error() string {
	switch {
	case len(e.Errs) == 0:
		return "twill: all futures failed"
	case e.of > len(e.Errs):
		return fmt.Sprintf("twill: %d of %d futures failed, the first with: %v", len(e.Errs), e.of, e.Errs[0])
	}
	return fmt.Sprintf("twill: all %d futures failed, the first with: %v", len(e.Errs), e.Errs[0])
}

// Unwrap returns the errors of the members.
func (e *AllFailedError) Unwrap() []error { return e.Errs }

// places keeps the first values that are added, by several goroutines
// concurrently.
type places[T any] struct {
	kept   []T
	added  atomic.Int64
	stored atomic.Int64 // number of values in kept
}

func (p *places[T]) add(v T) {
	if at := p.added.Add(1); at <= int64(len(p.kept)) {
		p.kept[at-1] = v
		p.stored.Add(1)
	}
}

// full reports whether all of kept is stored, and may be read.
func (p *places[T]) full() bool { return p.stored.Load() == int64(len(p.kept)) }

func entries[K comparable, T any](m map[K]*Future[T]) (keys []K, fs []*Future[T]) {
	keys, fs = make([]K, 0, len(m)), make([]*Future[T], 0, len(m))
	for k, f := range m {
		if f == nil {
			panic(fmt.Sprintf("twill: map of futures: that of key %v is nil", k))
		}
		keys, fs = append(keys, k), append(fs, f)
	}
	return keys, fs
}

var _ settle.Many = (*gather[int, int])(nil)

// gather is the mechanism of the lists. One compare-and-swap determines which
// member decides the outcome: the first value, the first error, or the last of
// all results. Only the goroutine that wins it calls conclude. Earlier results
// are written to places of their own, and counted after that.
type gather[T, R any] struct {
	link    settle.Link // the up link of f; on no list
	f       *Future[R]
	members []member[T, R]
	missing atomic.Int32 // number of results
	decided atomic.Bool
	// About failed members, if a failure does not decide: whether one was not
	// canceled, and whether one is to be reported.
	failures, loud atomic.Bool
	asked          atomic.Pointer[listCancel] // the cancel that is passed to the members

	onValue bool // the first value decides
	onError bool // the first error decides
	leaves  bool // detaches from losers, which may cancel them
	takes   bool // handles the members' errors
	ends    bool // a cancel that no member answers to fails f

	store  func(i int, v T, err error)  // keeps a result; nil if results are not needed
	one    func(i int, v T) R           // the outcome for the first value
	enough func() bool                  // reports whether the results so far decide; nil if only all do
	all    func() (R, error)            // the outcome for all results, or enough
	blame  func(i int, err error) error // the outcome for the first error; nil for an IndexError

	// Used only by the goroutine that decided:
	val  R
	fail *settle.Failure
	gone int // number of members that were left
	by   int // the member that decided, or allMembers
}

// listCancel is a cancel that is being passed to the members of a list.
type listCancel struct {
	fail    *settle.Failure                  // the request
	members []atomic.Pointer[settle.Failure] // the requests made to the members
}

// memberLeft stands for the request to a member from which the cancel only
// detached the list, because the member has other dependents.
var memberLeft = settle.NewCancel(ErrCanceled)

func init() { memberLeft.Answer() }

const allMembers = -1

// answered reports whether the cancel caused the outcome of member i, or of any
// member if i is allMembers.
func (c *listCancel) answered(i int) bool {
	if i != allMembers {
		r := c.members[i].Load()
		return r != nil && r.Answered()
	}
	for i := range c.members {
		if c.answered(i) {
			return true
		}
	}
	return false
}

// member is the listener of a gather on one future.
type member[T, R any] struct {
	link settle.Link
	g    *gather[T, R]
	src  *Future[T]
	i    int
}

func (g *gather[T, R]) start(fs []*Future[T]) {
	checkMembers(fs)
	settle.Made(&g.f.core)
	if len(fs) == 0 {
		if !g.decided.Load() {
			g.empty()
		}
		return
	}
	g.members = make([]member[T, R], len(fs))
	for i, f := range fs {
		m := &g.members[i]
		m.g, m.src, m.i = g, f, i
		m.link.Do = m
	}
	g.missing.Store(int32(len(fs)))
	g.link.Do = g
	g.f.core.SetUp(&g.link)
	for i := range g.members {
		g.members[i].join()
	}
}

func (g *gather[T, R]) empty() {
	if g.onValue || g.all == nil {
		g.f.settle(g.val, settle.NewFailure(ErrEmpty))
		return
	}
	v, _ := g.all()
	g.f.settle(v, nil)
}

// join starts to listen to the member's future.
func (m *member[T, R]) join() {
	c := &m.src.core
	var manner settle.Manner
	if !m.g.takes {
		manner |= settle.Observing
	}
	if !m.g.onValue && m.g.enough == nil { // a value is only counted, and the last member leaves no others
		manner |= settle.Quiet
	}
	switch {
	case !c.AddAs(&m.link, manner):
		if c, list := m.Fire(nil); list != nil {
			settle.Drain(c, list)
		}
	case m.g.decided.Load(): // the goroutine that decided may have passed before the link was added
		if list := m.part(nil); list != nil {
			settle.Drain(nil, list)
		}
	}
}

// Fire records the result of a member, or that a cancel has detached it.
func (m *member[T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	g, fail := m.g, left
	if left == nil {
		if fail = m.src.core.Failure(); fail != nil && g.takes {
			fail.Take()
		}
	} else if ask := g.asked.Load(); ask != nil {
		ask.members[m.i].Store(memberLeft)
	}
	if g.decided.Load() {
		return nil, nil
	}
	if fail != nil {
		return g.failed(m.i, fail)
	}
	return g.succeeded(m.i, m.src.val)
}

func (g *gather[T, R]) succeeded(i int, v T) (*settle.Core, *settle.Link) {
	if !g.onValue {
		g.store(i, v, nil)
		return g.count()
	}
	if !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	g.val, g.by = g.one(i, v), i
	return g.conclude()
}

func (g *gather[T, R]) failed(i int, fail *settle.Failure) (*settle.Core, *settle.Link) {
	err := fail.Err
	if !g.onError {
		var none T
		if !fail.Canceled {
			g.failures.Store(true)
		}
		if !fail.Silent() {
			g.loud.Store(true)
		}
		g.store(i, none, err)
		return g.count()
	}
	if !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	if g.blame != nil {
		err = g.blame(i, err)
	} else {
		err = &IndexError{i, err}
	}
	g.fail, g.by = settle.Wrap(err, fail), i
	return g.conclude()
}

// count is called after a result was stored.
func (g *gather[T, R]) count() (*settle.Core, *settle.Link) {
	last := g.missing.Add(-1) == 0
	if !last && (g.enough == nil || !g.enough()) || !g.decided.CompareAndSwap(false, true) {
		return nil, nil
	}
	var err error
	if g.val, err = g.all(); err != nil {
		// Canceled if all failures are, and not reported if none is to be reported.
		g.fail = settle.NewFailure(err)
		g.fail.Canceled, g.fail.Expected = !g.failures.Load(), !g.loud.Load()
		g.fail.Incident = g.fail.Canceled && !g.fail.Expected
	}
	g.by = allMembers
	if last {
		g.gone = len(g.members) // no member is left to release
	}
	return g.conclude()
}

// conclude detaches from the other members, in their order, and then settles
// the list.
func (g *gather[T, R]) conclude() (*settle.Core, *settle.Link) {
	for g.gone < len(g.members) {
		m := &g.members[g.gone]
		g.gone++
		if list := m.part(conclusion[T, R]{g}); list != nil {
			return nil, list // the loop goes on with the conclusion
		}
	}
	if ask := g.asked.Load(); ask != nil && ask.answered(g.by) {
		ask.fail.Answer()
	}
	c := &g.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	g.f.val = g.val
	return c, c.Publish(w, g.fail)
}

// conclusion is a node that continues the conclude of a list, after a list
// among its members was canceled: by the loop, so that no conclude nests in
// another.
type conclusion[T, R any] struct{ *gather[T, R] }

// Fire continues it.
func (c conclusion[T, R]) Fire(*settle.Failure) (*settle.Core, *settle.Link) { return c.conclude() }

// part stops listening, because the outcome is decided. If there is something
// to run for that, it returns a list that ends with the node then.
func (m *member[T, R]) part(then settle.Node) *settle.Link {
	c := &m.src.core
	ask := m.g.asked.Load()
	switch {
	case m.g.leaves && ask != nil:
		return c.Leave(&m.link, ask.fail, then)
	case m.g.leaves:
		return c.Leave(&m.link, notNeeded, then)
	case ask != nil:
		// The cancel has not passed here yet; Fire parts from what it leaves.
	case c.Remove(&m.link, 1) && m.g.takes:
		onSettled(c, func() { // with a link of its own: a cancel of the list may still read the member's link
			if fail := c.Failure(); fail != nil {
				fail.Take()
			}
		})
	}
	return nil
}

// notNeeded is the failure of the losers of a list: one record for all of them,
// since it is never reported.
var notNeeded = settle.NewCancel(&CanceledError{Cause: ErrNotNeeded})

func init() { notNeeded.Take() }

// Abort is called if the goroutine exits in a canceler of a member that was
// detached.
func (m *member[T, R]) Abort(error) (*settle.Core, *settle.Link) { return m.g.conclude() }

// Passive reports whether the member's failure may be reported as unhandled.
func (m *member[T, R]) Passive() bool { return !m.g.takes }

// Source returns nil: a list is reached from below by the link of the gather.
func (m *member[T, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the list.
func (m *member[T, R]) Owner() *settle.Core { return &m.g.f.core }

// Source returns nil: there are several sources.
func (g *gather[T, R]) Source(*settle.Failure) (*settle.Core, bool) {
	return nil, false
}

// Owner is the core of the list.
func (g *gather[T, R]) Owner() *settle.Core { return &g.f.core }

// Ask records that a cancel is being passed to the members.
func (g *gather[T, R]) Ask(fail *settle.Failure) {
	fail.Hold()
	g.asked.Store(&listCancel{fail, make([]atomic.Pointer[settle.Failure], len(g.members))})
}

// Asked records the request to member i.
func (g *gather[T, R]) Asked(i int, fail *settle.Failure) {
	if ask := g.asked.Load(); ask != nil {
		ask.members[i].Store(fail)
	}
}

// Member returns the core of member i, to which a cancel of the list is passed.
func (g *gather[T, R]) Member(i int) (*settle.Core, *settle.Link) {
	if i >= len(g.members) {
		return nil, nil
	}
	return &g.members[i].src.core, &g.members[i].link
}

// Fire is called after all members were asked to cancel. Members that are still
// pending have answered by waiting for something else, and are not asked again.
func (g *gather[T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	if g.ends && g.decided.CompareAndSwap(false, true) {
		if !left.IsBound() { // otherwise conclude detaches them
			for i := range g.members {
				g.members[i].src.core.Remove(&g.members[i].link, 1)
			}
			g.gone = len(g.members)
		}
		g.fail, g.by = left, allMembers
		return g.conclude()
	}
	g.asked.Store(nil)
	if g.decided.Load() && !g.leaves {
		for i := range g.members {
			g.members[i].part(nil) // which cancels nothing
		}
	}
	return nil, nil
}

// Abort does the same as a member's.
func (g *gather[T, R]) Abort(error) (*settle.Core, *settle.Link) { return g.conclude() }

// arrivals is a line of values; each value is added when a future settles.
type arrivals[T any] struct {
	mu   sched.Mutex
	line ring.Buffer[T] // guarded by mu
	wake chan struct{}  // of capacity 1
}

func newArrivals[T any]() *arrivals[T] { return &arrivals[T]{wake: make(chan struct{}, 1)} }

// add appends v to the line. It never blocks.
func (l *arrivals[T]) add(v T) {
	l.mu.Lock()
	l.line.Push(v)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// next removes the first value from the line, and waits for one if necessary.
// It returns false if the line is empty and ctx has ended.
func (l *arrivals[T]) next(ctx context.Context) (v T, ok bool) {
	for ended := ctx.Err() != nil; ; {
		if v, ok = l.take(); ok || ended {
			return v, ok
		}
		select {
		case <-l.wake:
			ended = ctx.Err() != nil
		case <-ctx.Done():
			ended = true
		}
	}
}

func (l *arrivals[T]) take() (v T, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.line.Len() == 0 {
		return v, false
	}
	return l.line.Pop(), true
}

// arrival adds its value to the line when its future settles.
type arrival[T any] struct {
	link settle.Link
	line *arrivals[T]
	v    T
}

func (a *arrival[T]) listen(c *settle.Core, interest int32) {
	a.link.Do = a
	if !c.Add(&a.link, interest) {
		a.line.add(a.v)
	}
}

// Fire adds the value.
func (a *arrival[T]) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	a.line.add(a.v)
	return nil, nil
}

// Abort is not called: Fire runs no user code.
func (a *arrival[T]) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source returns nil: nothing is canceled through an arrival.
func (a *arrival[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (a *arrival[T]) Owner() *settle.Core { return nil }

// mapping is one loop over a Map or a MapCompleted.
type mapping[A, R any] struct {
	ctx  context.Context
	fn   func(context.Context, A) (R, error)
	told bool // the cause of ctx was yielded
}

// mapCall is one call of a MapCompleted.
type mapCall[A, R any] struct {
	list.Links[*mapCall[A, R]]
	arrival[*mapCall[A, R]]
	arg A
	f   *Future[R]
}

// call begins the call for a. If ctx ended while seq yielded a, there is no
// call: the future fails with the cause.
func (m *mapping[A, R]) call(a A) *Future[R] {
	if m.ctx.Err() != nil {
		return Rejected[R](endOf(m.ctx))
	}
	return Go(m.ctx, func(ctx context.Context) (R, error) { return m.fn(ctx, a) })
}

// result waits for the call f until ctx ends, and returns its result.
func (m *mapping[A, R]) result(f *Future[R]) Result[R] {
	v, err := f.Await(m.ctx)
	if err != nil && (m.ctx.Err() != nil || !f.core.Settled()) {
		end := endOf(m.ctx)
		m.drop(f, end)
		if isEndOf(m.ctx, err) {
			m.told = true
			err = end
		}
	}
	return Result[R]{v, err}
}

// drop cancels f. If f has already failed, the failure is not reported unless
// it is a panic.
func (m *mapping[A, R]) drop(f *Future[R], cause error) {
	if f.Cancel(cause) {
		return
	}
	if fail := f.core.Failure(); fail != nil && !isStop(fail.Err) {
		fail.Take()
	}
}

// endOf returns the cause with which ctx has ended.
func endOf(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return context.Canceled // for a ctx that is done before its Err returns an error
}

func checkMap(name string, ctx context.Context, noSeq bool, width int, noFunc bool) {
	switch {
	case ctx == nil:
		panic("twill: " + name + " with a nil context")
	case noSeq:
		panic("twill: " + name + " with a nil sequence")
	case width < 1:
		panic(fmt.Sprintf("twill: %s with a width of %d", name, width))
	case noFunc:
		panic("twill: " + name + " with a nil function")
	}
}

func checkMembers[T any](fs []*Future[T]) {
	for i, f := range fs {
		if f == nil {
			panic(fmt.Sprintf("twill: list of futures: number %d is nil", i))
		}
	}
}
