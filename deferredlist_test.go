package twill_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// promises makes n promises and their futures.
func promises(n int) ([]*twill.Promise[int], []*twill.Future[int]) {
	ps, fs := make([]*twill.Promise[int], n), make([]*twill.Future[int], n)
	for i := range ps {
		ps[i] = twill.NewPromise[int]()
		fs[i] = ps[i].Future()
	}
	return ps, fs
}

func TestDeferredListWaitsForAll(t *testing.T) {
	ps, fs := promises(3)
	l := twill.NewDeferredList(fs, 0)
	fs[0] = nil // the list has a copy
	ps[2].Resolve(30)
	ps[0].Reject(errBoom)
	requirePending(t, &l.Future)
	ps[1].Resolve(20)
	awaitValue(t, &l.Future, twill.ListResult[int]{
		Results: []twill.Result[int]{{Err: errBoom}, {Value: 20}, {Value: 30}}, Index: -1,
	})
}

func TestDeferredListFireOnOneCallback(t *testing.T) {
	ps, fs := promises(3)
	l := twill.NewDeferredList(fs, twill.FireOnOneCallback)
	ps[0].Reject(errBoom)
	requirePending(t, &l.Future)
	ps[2].Resolve(30)
	awaitValue(t, &l.Future, twill.ListResult[int]{Index: 2, Value: 30})
	requirePending(t, fs[1]) // it is not cancelled
	require.Zero(t, twill.Listeners(fs[1]))

	ps, fs = promises(2)
	l = twill.NewDeferredList(fs, twill.FireOnOneCallback)
	ps[1].Reject(errSecond)
	ps[0].Reject(errFirst)
	awaitValue(t, &l.Future, twill.ListResult[int]{
		Results: []twill.Result[int]{{Err: errFirst}, {Err: errSecond}}, Index: -1,
	})
}

func TestDeferredListFireOnOneErrback(t *testing.T) {
	ps, fs := promises(3)
	l := twill.NewDeferredList(fs, twill.FireOnOneErrback)
	ps[0].Resolve(1)
	ps[1].Reject(errBoom)
	_, err := l.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: errBoom}, err)
	require.EqualError(t, err, "twill: future 1: boom")
	require.ErrorIs(t, err, errBoom)
	requirePending(t, fs[2])

	both := twill.NewDeferredList([]*twill.Future[int]{fs[2], twill.Resolved(5)},
		twill.FireOnOneCallback|twill.FireOnOneErrback)
	awaitValue(t, &both.Future, twill.ListResult[int]{Index: 1, Value: 5})
}

func TestDeferredListErrorsStayUnlessConsumed(t *testing.T) {
	reports := collectReports(t)
	func() {
		ps, fs := promises(3)
		twill.NewDeferredList(fs[:1], 0)
		twill.NewDeferredList(fs[1:], twill.ConsumeErrors|twill.FireOnOneCallback)
		ps[0].Reject(errFirst)
		ps[1].Resolve(1)
		ps[2].Reject(errSecond) // after the list has fired
	}()
	reports.await(t, errFirst)
	reports.settleGarbage(t)
	require.Empty(t, reports.of(errSecond))
}

func TestDeferredListOfSettled(t *testing.T) {
	l := twill.NewDeferredList([]*twill.Future[int]{twill.Resolved(1), twill.Rejected[int](errBoom)}, 0)
	r, ok := l.Poll()
	require.True(t, ok)
	require.Equal(t, []twill.Result[int]{{Value: 1}, {Err: errBoom}}, r.Value.Results)
}

func TestDeferredListOfLists(t *testing.T) {
	ps, fs := promises(2)
	inner := []*twill.Future[twill.ListResult[int]]{
		&twill.NewDeferredList(fs[:1], 0).Future, &twill.NewDeferredList(fs[1:], 0).Future,
	}
	outer := twill.NewDeferredList(inner, 0)
	ps[0].Resolve(1)
	ps[1].Resolve(2)
	r, err := outer.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, r.Results[1].Value.Results[0].Value)
}

func TestListsWithoutMembers(t *testing.T) {
	awaitValue(t, &twill.NewDeferredList[int](nil, 0).Future, twill.ListResult[int]{Results: []twill.Result[int]{}, Index: -1})
	awaitValue(t, &twill.NewDeferredList[int](nil, twill.FireOnOneErrback).Future,
		twill.ListResult[int]{Results: []twill.Result[int]{}, Index: -1})
	awaitError(t, &twill.NewDeferredList[int](nil, twill.FireOnOneCallback).Future, twill.ErrEmpty)
	awaitValue(t, twill.All[int](), []int{})
	awaitValue(t, twill.Settled[int](), []twill.Result[int]{})
	awaitError(t, twill.Any[int](), twill.ErrEmpty)
	awaitError(t, twill.First[int](), twill.ErrEmpty)
	awaitError(t, twill.AnyIndexed[int](), twill.ErrEmpty)
	awaitError(t, twill.FirstIndexed[int](), twill.ErrEmpty)
	awaitValue(t, twill.AllMap(map[string]*twill.Future[int]{}), map[string]int{})
	awaitValue(t, twill.SettledMap(map[string]*twill.Future[int]{}), map[string]twill.Result[int]{})
}

func TestAll(t *testing.T) {
	ps, fs := promises(3)
	all := twill.All(fs...)
	ps[1].Resolve(2)
	ps[2].Resolve(3)
	requirePending(t, all)
	ps[0].Resolve(1)
	awaitValue(t, all, []int{1, 2, 3})
}

func TestAllStopsAtTheFirstFailure(t *testing.T) {
	ps, fs := promises(4)
	shared := twill.Then(fs[2], same[int])
	var cause error
	ps[3].OnCancel(func(err error) { cause = err })
	all := twill.All(fs...)
	ps[1].Reject(errBoom)
	_, err := all.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: errBoom}, err)
	awaitError(t, fs[0], twill.ErrCanceled)
	awaitError(t, fs[0], twill.ErrNotNeeded)
	require.ErrorIs(t, cause, twill.ErrNotNeeded)
	requirePending(t, fs[2]) // somebody else needs it
	ps[2].Resolve(5)
	awaitValue(t, shared, 5)
}

// A failure that is there already cancels those after it, too.
func TestAllOfARejectedOne(t *testing.T) {
	_, fs := promises(2)
	all := twill.All(fs[0], twill.Rejected[int](errBoom), fs[1])
	awaitError(t, all, errBoom)
	awaitError(t, fs[0], twill.ErrNotNeeded)
	awaitError(t, fs[1], twill.ErrNotNeeded)
}

func TestAllTakesErrors(t *testing.T) {
	reports := collectReports(t)
	func() {
		all := twill.All(twill.Rejected[int](errFirst), twill.Rejected[int](errSecond))
		_, err := all.Await(t.Context())
		require.ErrorIs(t, err, errFirst)
	}()
	reports.settleGarbage(t)
	require.Empty(t, reports.of(errFirst))
	require.Empty(t, reports.of(errSecond))
}

func TestSettled(t *testing.T) {
	ps, fs := promises(2)
	all := twill.Settled(fs...)
	ps[1].Reject(errBoom)
	requirePending(t, all)
	ps[0].Resolve(1)
	awaitValue(t, all, []twill.Result[int]{{Value: 1}, {Err: errBoom}})
}

func TestAny(t *testing.T) {
	ps, fs := promises(3)
	one, which := twill.Any(fs...), twill.AnyIndexed(fs...)
	ps[0].Reject(errBoom)
	requirePending(t, one)
	ps[2].Resolve(3)
	awaitValue(t, one, 3)
	awaitValue(t, which, twill.Indexed[int]{Index: 2, Value: 3})
	awaitError(t, fs[1], twill.ErrNotNeeded)
	require.Zero(t, twill.Listeners(fs[1]))
}

func TestAnyWhenAllFail(t *testing.T) {
	ps, fs := promises(2)
	one := twill.Any(fs...)
	ps[1].Reject(errSecond)
	ps[0].Reject(errFirst)
	_, err := one.Await(t.Context())
	var all *twill.AllFailedError
	require.ErrorAs(t, err, &all)
	require.Equal(t, []error{errFirst, errSecond}, all.Errs)
	require.ErrorIs(t, err, errFirst)
	require.ErrorIs(t, err, errSecond)
	require.EqualError(t, err, "twill: all 2 futures failed, the first with: first failure")
}

// The losers are cancelled before the winner's value is seen, in their order.
func TestAnyCancelsLosersFirst(t *testing.T) {
	ps, fs := promises(3)
	var order []string
	for i := range 2 {
		ps[i].OnCancel(func(error) { order = append(order, fmt.Sprint("loser ", i)) })
	}
	twill.Any(fs...).Tap(func(int, error) { order = append(order, "winner") })
	ps[2].Resolve(1)
	require.Equal(t, []string{"loser 0", "loser 1", "winner"}, order)
}

// Bug of the original: then the race never settled.
func TestAnyWithAPanickingCanceller(t *testing.T) {
	ps, fs := promises(2)
	ps[0].OnCancel(func(error) { panic("stone") })
	one := twill.Any(fs...)
	require.True(t, ps[1].Resolve(1))
	awaitValue(t, one, 1)
	awaitError(t, fs[0], twill.ErrCanceled)
}

func TestFirst(t *testing.T) {
	ps, fs := promises(3)
	first, which := twill.First(fs...), twill.FirstIndexed(fs...)
	ps[1].Resolve(2)
	awaitValue(t, first, 2)
	awaitValue(t, which, twill.Indexed[int]{Index: 1, Value: 2})
	awaitError(t, fs[0], twill.ErrNotNeeded)

	ps, fs = promises(2)
	first = twill.First(fs...)
	ps[1].Reject(errBoom)
	_, err := first.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: errBoom}, err)
	awaitError(t, fs[0], twill.ErrNotNeeded)
}

func TestListCancelGoesToTheMembers(t *testing.T) {
	for name, list := range map[string]func(fs []*twill.Future[int]) twill.AnyFuture{
		"DeferredList": func(fs []*twill.Future[int]) twill.AnyFuture { return twill.NewDeferredList(fs, 0) },
		"All":          func(fs []*twill.Future[int]) twill.AnyFuture { return twill.All(fs...) },
		"Settled":      func(fs []*twill.Future[int]) twill.AnyFuture { return twill.Settled(fs...) },
		"Any":          func(fs []*twill.Future[int]) twill.AnyFuture { return twill.Any(fs...) },
		"First":        func(fs []*twill.Future[int]) twill.AnyFuture { return twill.First(fs...) },
		"AllMap": func(fs []*twill.Future[int]) twill.AnyFuture {
			return twill.AllMap(map[int]*twill.Future[int]{0: fs[0], 1: fs[1], 2: fs[2]})
		},
		"All of All": func(fs []*twill.Future[int]) twill.AnyFuture {
			return twill.All(twill.All(fs[:2]...), twill.All(fs[2:]...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, fs := promises(3)
			others := twill.Then(fs[1], same[int])
			l := list(fs)
			require.True(t, l.Cancel(errBoom))
			<-l.Done()
			awaitError(t, fs[0], errBoom)
			awaitError(t, fs[2], errBoom)
			requirePending(t, others)
			require.Equal(t, 1, twill.Users(fs[1]), "the list has left")
			require.False(t, l.Cancel(nil))
		})
	}
}

// A list fails by a cancel only through its members, and may be asked again.
func TestListCancelMayBeAnswered(t *testing.T) {
	first, second := twill.NewPromise[int](), twill.NewPromise[int]()
	stubborn := first.Future().CatchFuture(func(error) *twill.Future[int] { return second.Future() })
	l := twill.Settled(stubborn)
	require.True(t, l.Cancel(nil))
	requirePending(t, l)
	require.True(t, l.Cancel(nil))
	_, err := second.Future().Await(t.Context())
	require.ErrorIs(t, err, twill.ErrCanceled)
	_, ok := l.Poll()
	require.True(t, ok)
}

// A list takes the errors of members that a cancel of it decided without.
func TestDeferredListConsumesErrorsAfterACancel(t *testing.T) {
	reports := collectReports(t)
	drop(func() {
		var first, inner twill.Promise[int]
		first.OnCancel(func(error) { first.Resolve(1) })
		fs := []*twill.Future[int]{first.Future(), stubborn(&inner)}
		l := twill.NewDeferredList(fs, twill.FireOnOneCallback|twill.ConsumeErrors)
		l.Cancel(nil)
		requireValue(t, twill.ListResult[int]{Value: 1}, &l.Future)
		inner.Reject(errSecond)
	})
	reports.settleGarbage(t)
	require.Empty(t, reports.of(errSecond))
}

// stubborn returns a future that answers a cancel by waiting for inner.
func stubborn(inner *twill.Promise[int]) *twill.Future[int] {
	return new(twill.Promise[int]).Future().CatchFuture(func(error) *twill.Future[int] { return inner.Future() })
}

// A cancel asks nobody of whom the list was decided, meanwhile, to have no need.
func TestDeferredListDecidedDuringACancel(t *testing.T) {
	var first, second, third twill.Promise[int]
	fs := []*twill.Future[int]{first.Future(), stubborn(&second), stubborn(&third)}
	l := twill.NewDeferredList(fs, twill.FireOnOneCallback|twill.ConsumeErrors)
	third.OnCancel(func(error) { t.Error("it was asked") })
	first.OnCancel(func(error) {
		l.Cancel(nil) // which the others answer by waiting for something else
		second.Resolve(2)
		requireValue(t, twill.ListResult[int]{Index: 1, Value: 2}, &l.Future)
	})
	l.Cancel(nil)
	requirePending(t, fs[2])
	require.Zero(t, twill.Users(fs[2]))
}

func TestListInACycle(t *testing.T) {
	p := twill.NewPromise[int]()
	all := twill.All(twill.Resolved(1), twill.Then(p.Future(), same[int]))
	require.True(t, p.Follow(twill.Then(all, func([]int) (int, error) { return 0, nil })))
	awaitError(t, p.Future(), twill.ErrCycle)
	awaitError(t, all, twill.ErrCycle)
}

func TestMapLists(t *testing.T) {
	a, b := twill.NewPromise[int](), twill.NewPromise[int]()
	m := map[string]*twill.Future[int]{"a": a.Future(), "b": b.Future()}
	all, settled := twill.AllMap(m), twill.SettledMap(m)
	delete(m, "b") // the map was read
	a.Resolve(1)
	requirePending(t, all)
	b.Resolve(2)
	awaitValue(t, all, map[string]int{"a": 1, "b": 2})
	awaitValue(t, settled, map[string]twill.Result[int]{"a": {Value: 1}, "b": {Value: 2}})

	c := twill.NewPromise[int]()
	all = twill.AllMap(map[string]*twill.Future[int]{"c": c.Future(), "d": twill.Rejected[int](errBoom)})
	_, err := all.Await(t.Context())
	require.Equal(t, &twill.KeyError{Key: "d", Err: errBoom}, err)
	require.EqualError(t, err, "twill: future of key d: boom")
	require.True(t, errors.Is(err, errBoom))
	awaitError(t, c.Future(), twill.ErrNotNeeded)
}

func TestListMisuse(t *testing.T) {
	f := twill.NewPromise[int]().Future()
	require.PanicsWithValue(t, "twill: list of futures: number 1 is nil", func() { twill.All(f, nil) })
	require.PanicsWithValue(t, "twill: map of futures: that of key x is nil",
		func() { twill.AllMap(map[string]*twill.Future[int]{"x": nil}) })
	require.Zero(t, twill.Listeners(f))
}

// Members that settle on other goroutines while the list is made and while it
// is cancelled.
func TestListsFromManyGoroutines(t *testing.T) {
	for round := range 300 {
		ps, fs := promises(8)
		for i, p := range ps {
			go func() {
				if i == round%8 {
					p.Reject(errBoom)
				} else {
					p.Resolve(i)
				}
			}()
		}
		all, settled := twill.All(fs...), twill.Settled(fs...)
		one, first := twill.Any(fs...), twill.First(fs...)
		list := twill.NewDeferredList(fs, twill.FireOnOneErrback)
		go settled.Cancel(nil)
		_, _ = awaitSoon(all)
		_, _ = awaitSoon(first)
		_, err := awaitSoon(settled)
		require.NoError(t, err)
		_, err = awaitSoon(one)
		require.NotErrorIs(t, err, twill.ErrEmpty)
		_, _ = awaitSoon(&list.Future)
		for _, f := range fs {
			_, err := awaitSoon(f)
			if err != nil && !errors.Is(err, twill.ErrCanceled) {
				require.ErrorIs(t, err, errBoom)
			}
		}
	}
}

func TestListScalesToAMillion(t *testing.T) {
	n := 1_000_000
	if testing.Short() {
		n = 50_000
	}
	ps, fs := promises(n)
	all := twill.All(fs...)
	for i, p := range ps {
		p.Resolve(i)
	}
	v, err := all.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, n-1, v[n-1])

	// Deep lists of lists, and a cancel through all of them.
	p := twill.NewPromise[int]()
	f := p.Future()
	smallStack(t)
	for range n / 10 {
		f = twill.Then(twill.All(f), func(v []int) (int, error) { return v[0], nil })
	}
	require.True(t, f.Cancel(nil))
	awaitError(t, p.Future(), twill.ErrCanceled)
}
