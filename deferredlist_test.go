package twill_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestDeferredListWaitsForAll(t *testing.T) {
	ps, fs := kit.Promises(3)
	l := twill.NewDeferredList(fs, 0)
	fs[0] = nil // the list has a copy
	ps[2].Resolve(30)
	ps[0].Reject(kit.ErrBoom)
	kit.RequirePending(t, &l.Future)
	ps[1].Resolve(20)
	kit.AwaitValue(t, &l.Future, twill.ListResult[int]{
		Results: []twill.Result[int]{{Err: kit.ErrBoom}, {Value: 20}, {Value: 30}}, Index: -1,
	})
}

func TestDeferredListFireOnOneCallback(t *testing.T) {
	ps, fs := kit.Promises(3)
	l := twill.NewDeferredList(fs, twill.FireOnOneCallback)
	ps[0].Reject(kit.ErrBoom)
	kit.RequirePending(t, &l.Future)
	ps[2].Resolve(30)
	kit.AwaitValue(t, &l.Future, twill.ListResult[int]{Index: 2, Value: 30})
	kit.RequirePending(t, fs[1]) // it is not canceled
	require.Zero(t, kit.Listeners(fs[1]))

	ps, fs = kit.Promises(2)
	l = twill.NewDeferredList(fs, twill.FireOnOneCallback)
	ps[1].Reject(kit.ErrSecond)
	ps[0].Reject(kit.ErrFirst)
	kit.AwaitValue(t, &l.Future, twill.ListResult[int]{
		Results: []twill.Result[int]{{Err: kit.ErrFirst}, {Err: kit.ErrSecond}}, Index: -1,
	})
}

func TestDeferredListFireOnOneErrback(t *testing.T) {
	ps, fs := kit.Promises(3)
	l := twill.NewDeferredList(fs, twill.FireOnOneErrback)
	ps[0].Resolve(1)
	ps[1].Reject(kit.ErrBoom)
	_, err := l.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: kit.ErrBoom}, err)
	require.EqualError(t, err, "twill: future 1: boom")
	require.ErrorIs(t, err, kit.ErrBoom)
	kit.RequirePending(t, fs[2])

	both := twill.NewDeferredList([]*twill.Future[int]{fs[2], twill.Resolved(5)},
		twill.FireOnOneCallback|twill.FireOnOneErrback)
	kit.AwaitValue(t, &both.Future, twill.ListResult[int]{Index: 1, Value: 5})
}

func TestDeferredListErrorsStayUnlessConsumed(t *testing.T) {
	reports := kit.CollectReports(t)
	func() {
		ps, fs := kit.Promises(3)
		twill.NewDeferredList(fs[:1], 0)
		twill.NewDeferredList(fs[1:], twill.ConsumeErrors|twill.FireOnOneCallback)
		ps[0].Reject(kit.ErrFirst)
		ps[1].Resolve(1)
		ps[2].Reject(kit.ErrSecond) // after the list has fired
	}()
	reports.Await(t, kit.ErrFirst)
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrSecond))
}

func TestDeferredListOfSettled(t *testing.T) {
	l := twill.NewDeferredList([]*twill.Future[int]{twill.Resolved(1), twill.Rejected[int](kit.ErrBoom)}, 0)
	r, ok := l.Poll()
	require.True(t, ok)
	require.Equal(t, []twill.Result[int]{{Value: 1}, {Err: kit.ErrBoom}}, r.Value.Results)
}

func TestDeferredListOfLists(t *testing.T) {
	ps, fs := kit.Promises(2)
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
	kit.AwaitValue(t, &twill.NewDeferredList[int](nil, 0).Future, twill.ListResult[int]{Results: []twill.Result[int]{}, Index: -1})
	kit.AwaitValue(t, &twill.NewDeferredList[int](nil, twill.FireOnOneErrback).Future,
		twill.ListResult[int]{Results: []twill.Result[int]{}, Index: -1})
	kit.AwaitError(t, &twill.NewDeferredList[int](nil, twill.FireOnOneCallback).Future, twill.ErrEmpty)
	kit.AwaitValue(t, twill.All[int](), []int{})
	kit.AwaitValue(t, twill.AllSettled[int](), []twill.Result[int]{})
	kit.AwaitError(t, twill.Any[int](), twill.ErrEmpty)
	kit.AwaitError(t, twill.First[int](), twill.ErrEmpty)
	kit.AwaitError(t, twill.Some[int](1), twill.ErrEmpty)
	kit.AwaitValue(t, twill.Some[int](0), []int{})
	kit.AwaitValue(t, twill.Join(), struct{}{})
	kit.AwaitValue(t, twill.AllMap(map[string]*twill.Future[int]{}), map[string]int{})
	kit.AwaitValue(t, twill.AllSettledMap(map[string]*twill.Future[int]{}), map[string]twill.Result[int]{})
}

func TestAll(t *testing.T) {
	ps, fs := kit.Promises(3)
	all := twill.All(fs...)
	ps[1].Resolve(2)
	ps[2].Resolve(3)
	kit.RequirePending(t, all)
	ps[0].Resolve(1)
	kit.AwaitValue(t, all, []int{1, 2, 3})
}

func TestAllStopsAtTheFirstFailure(t *testing.T) {
	ps, fs := kit.Promises(4)
	shared := twill.Then(fs[2], kit.Same[int])
	var cause error
	ps[3].OnCancel(func(err error) { cause = err })
	all := twill.All(fs...)
	ps[1].Reject(kit.ErrBoom)
	_, err := all.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: kit.ErrBoom}, err)
	kit.AwaitError(t, fs[0], twill.ErrCanceled)
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)
	require.ErrorIs(t, cause, twill.ErrNotNeeded)
	kit.RequirePending(t, fs[2]) // it has another dependent
	ps[2].Resolve(5)
	kit.AwaitValue(t, shared, 5)
}

// A future that has failed already cancels the futures after it.
func TestAllOfARejectedOne(t *testing.T) {
	_, fs := kit.Promises(2)
	all := twill.All(fs[0], twill.Rejected[int](kit.ErrBoom), fs[1])
	kit.AwaitError(t, all, kit.ErrBoom)
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)
	kit.AwaitError(t, fs[1], twill.ErrNotNeeded)
}

func TestAllTakesErrors(t *testing.T) {
	reports := kit.CollectReports(t)
	func() {
		all := twill.All(twill.Rejected[int](kit.ErrFirst), twill.Rejected[int](kit.ErrSecond))
		_, err := all.Await(t.Context())
		require.ErrorIs(t, err, kit.ErrFirst)
	}()
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrFirst))
	require.Empty(t, reports.Of(kit.ErrSecond))
}

func TestAllSettled(t *testing.T) {
	ps, fs := kit.Promises(2)
	all := twill.AllSettled(fs...)
	ps[1].Reject(kit.ErrBoom)
	kit.RequirePending(t, all)
	ps[0].Resolve(1)
	kit.AwaitValue(t, all, []twill.Result[int]{{Value: 1}, {Err: kit.ErrBoom}})
}

func TestAny(t *testing.T) {
	ps, fs := kit.Promises(3)
	one := twill.Any(fs...)
	ps[0].Reject(kit.ErrBoom)
	kit.RequirePending(t, one)
	ps[2].Resolve(3)
	kit.AwaitValue(t, one, 3)
	kit.AwaitError(t, fs[1], twill.ErrNotNeeded)
	require.Zero(t, kit.Listeners(fs[1]))
}

func TestAnyWhenAllFail(t *testing.T) {
	ps, fs := kit.Promises(2)
	one := twill.Any(fs...)
	ps[1].Reject(kit.ErrSecond)
	ps[0].Reject(kit.ErrFirst)
	_, err := one.Await(t.Context())
	var all *twill.AllFailedError
	require.ErrorAs(t, err, &all)
	require.Equal(t, []error{kit.ErrFirst, kit.ErrSecond}, all.Errs)
	require.ErrorIs(t, err, kit.ErrFirst)
	require.ErrorIs(t, err, kit.ErrSecond)
	require.EqualError(t, err, "twill: all 2 futures failed, the first with: first failure")
}

// The losers are canceled before the winner's value is seen, in their order.
func TestAnyCancelsLosersFirst(t *testing.T) {
	ps, fs := kit.Promises(3)
	var order []string
	for i := range 2 {
		ps[i].OnCancel(func(error) { order = append(order, fmt.Sprint("loser ", i)) })
	}
	twill.Any(fs...).Tap(func(int, error) { order = append(order, "winner") })
	ps[2].Resolve(1)
	require.Equal(t, []string{"loser 0", "loser 1", "winner"}, order)
}

// Bug of the original: then the race never settled.
func TestAnyWithAPanickingCanceler(t *testing.T) {
	ps, fs := kit.Promises(2)
	ps[0].OnCancel(func(error) { panic("stone") })
	one := twill.Any(fs...)
	require.True(t, ps[1].Resolve(1))
	kit.AwaitValue(t, one, 1)
	kit.AwaitError(t, fs[0], twill.ErrCanceled)
}

func TestFirst(t *testing.T) {
	ps, fs := kit.Promises(3)
	first := twill.First(fs...)
	ps[1].Resolve(2)
	kit.AwaitValue(t, first, 2)
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)

	ps, fs = kit.Promises(2)
	first = twill.First(fs...)
	ps[1].Reject(kit.ErrBoom)
	_, err := first.Await(t.Context())
	require.Equal(t, &twill.IndexError{Index: 1, Err: kit.ErrBoom}, err)
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)
}

func TestSome(t *testing.T) {
	ps, fs := kit.Promises(5)
	some := twill.Some(2, fs...)
	ps[3].Resolve(30)
	ps[0].Reject(kit.ErrFirst)
	ps[4].Reject(kit.ErrSecond)
	kit.RequirePending(t, some)
	ps[1].Resolve(10)
	kit.AwaitValue(t, some, []int{30, 10}) // in order of arrival
	kit.AwaitError(t, fs[2], twill.ErrNotNeeded)

	one := twill.Some(1, twill.Rejected[int](kit.ErrBoom), twill.Resolved(1), twill.Resolved(2))
	kit.AwaitValue(t, one, []int{1})
	all := twill.Some(3, twill.Resolved(1), twill.Resolved(2), twill.Resolved(3))
	kit.AwaitValue(t, all, []int{1, 2, 3})
}

func TestSomeThatCannotSucceedAnyMore(t *testing.T) {
	reports := kit.CollectReports(t)
	kit.Drop(func() {
		ps, fs := kit.Promises(5)
		some := twill.Some(4, fs...)
		ps[3].Reject(kit.ErrSecond)
		ps[0].Resolve(1)
		kit.RequirePending(t, some)
		ps[1].Reject(kit.ErrFirst)
		_, err := some.Await(t.Context())
		var failed *twill.AllFailedError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, []error{kit.ErrFirst, kit.ErrSecond}, failed.Errs, "in the order of the members")
		require.EqualError(t, err, "twill: 2 of 5 futures failed, the first with: first failure")
		kit.AwaitError(t, fs[2], twill.ErrNotNeeded)
		kit.AwaitError(t, fs[4], twill.ErrNotNeeded)
	})
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrFirst))

	_, err := kit.AwaitSoon(twill.Some(2, twill.Rejected[int](kit.ErrFirst), twill.Rejected[int](kit.ErrSecond)))
	require.EqualError(t, err, "twill: 1 of 2 futures failed, the first with: first failure")
}

// A count that no result can change decides at once, and releases all members.
func TestSomeOfNoneOrTooMany(t *testing.T) {
	_, fs := kit.Promises(3)
	others := twill.Then(fs[1], kit.Same[int])
	kit.RequireValue(t, []int{}, twill.Some(0, fs...))
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)
	kit.AwaitError(t, fs[2], twill.ErrNotNeeded)
	kit.RequirePending(t, others)

	few := twill.Some(3, fs[1], twill.Resolved(1))
	kit.RequireFailure(t, twill.ErrEmpty, few)
	_, err := kit.AwaitSoon(few)
	require.EqualError(t, err, "twill: no futures: 3 of 2 values")
	kit.RequirePending(t, others)
	require.Equal(t, 1, kit.Users(fs[1]))
	require.PanicsWithValue(t, "twill: Some with a count of -1", func() { twill.Some(-1, fs...) })
}

// Members of several types, one of them a job.
func TestJoin(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, s string) (string, error) { return s, nil }, nil)
	job := kit.PutJob(t, q, "5", 0)
	p, empty := twill.NewPromise[int](), twill.NewPromise[struct{}]()
	joined := twill.Join(job, p.Future(), empty.Future(), twill.NewDeferredList([]*twill.Future[int]{p.Future()}, 0))
	kit.AwaitValue(t, &job.Future, "5")
	p.Resolve(1)
	kit.RequirePending(t, joined)
	empty.Resolve(struct{}{})
	kit.AwaitValue(t, joined, struct{}{})

	_, fs := kit.Promises(2)
	others := twill.Then(fs[1], kit.Same[int])
	_, err := kit.AwaitSoon(twill.Join(fs[0], twill.Rejected[string](kit.ErrBoom), fs[1]))
	require.Equal(t, &twill.IndexError{Index: 1, Err: kit.ErrBoom}, err)
	kit.AwaitError(t, fs[0], twill.ErrNotNeeded)
	kit.RequirePending(t, others)
	for i, members := range [][]twill.AnyFuture{{nil}, {p.Future(), (*twill.Future[string])(nil)}} {
		require.PanicsWithValue(t, fmt.Sprintf("twill: list of futures: number %d is nil", i), func() { twill.Join(members...) })
	}
}

func addUp(a, b int) (int, error) { return a + b, nil }

func TestCombine(t *testing.T) {
	n, s := twill.NewPromise[int](), twill.NewPromise[string]()
	repeat := func(n int, s string) (string, error) { return strings.Repeat(s, n), nil }
	both := twill.Combine(n.Future(), s.Future(), repeat)
	s.Resolve("ab")
	kit.RequirePending(t, both)
	n.Resolve(2)
	kit.RequireValue(t, "abab", both)

	var hangs twill.Promise[int]
	failed := twill.Combine(hangs.Future(), twill.Rejected[string](kit.ErrBoom), func(int, string) (int, error) {
		t.Error("called")
		return 0, nil
	})
	_, err := kit.AwaitSoon(failed)
	require.Equal(t, &twill.IndexError{Index: 1, Err: kit.ErrBoom}, err)
	kit.AwaitError(t, hangs.Future(), twill.ErrNotNeeded)
	kit.RequireFailure(t, kit.ErrFirst, twill.Combine(twill.Resolved(1), twill.Resolved(2), func(int, int) (int, error) { panic(kit.ErrFirst) }))

	var a, b twill.Promise[int]
	sum := twill.Combine(a.Future(), b.Future(), addUp)
	require.True(t, sum.Cancel(kit.ErrFirst))
	kit.RequireFailure(t, kit.ErrFirst, a.Future())
	kit.RequireFailure(t, kit.ErrFirst, b.Future())

	same := twill.NewPromise[int]() // both of one
	double := twill.Combine(same.Future(), same.Future(), addUp)
	same.Resolve(4)
	kit.RequireValue(t, 8, double)
	require.PanicsWithValue(t, "twill: Combine of a nil future", func() { twill.Combine(nil, same.Future(), addUp) })
	require.PanicsWithValue(t, "twill: Combine of a nil future", func() { twill.Combine(same.Future(), (*twill.Future[int])(nil), addUp) })
	require.PanicsWithValue(t, "twill: Combine with a nil function", func() { twill.Combine[int, int, int](same.Future(), same.Future(), nil) })
}

// Jobs and lists work where a list of futures is expected.
func TestFutures(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	jobs, err := q.PutAll([]int{3, 1, 2}, 0)
	require.NoError(t, err)
	kit.AwaitValue(t, twill.All(twill.Futures(jobs)...), []int{3, 1, 2})
	sum := twill.Combine(jobs[0], jobs[1], addUp)
	kit.AwaitValue(t, sum, 4)
	lists := []*twill.DeferredList[int]{twill.NewDeferredList(twill.Futures(jobs), 0)}
	r, err := kit.AwaitSoon(twill.All(twill.Futures(lists)...))
	require.NoError(t, err)
	require.Len(t, r[0].Results, 3)
	require.Empty(t, twill.Futures([]*twill.Job[int, int]{}))

	// The same in a chain.
	kit.AwaitValue(t, twill.Then(jobs[0], kit.Add(1)), 4)
	kit.AwaitValue(t, twill.Handle(jobs[1], func(v int, err error) (int, error) { return v, err }), 1)
	kit.AwaitValue(t, twill.ThenFuture(jobs[2], func(v int) *twill.Future[int] { return twill.Resolved(v) }), 2)
	kit.AwaitValue(t, twill.HandleFuture(lists[0], func(l twill.ListResult[int], _ error) *twill.Future[int] {
		return twill.Resolved(len(l.Results))
	}), 3)
	require.PanicsWithValue(t, "twill: nil future", func() { twill.Then(nil, kit.Same[int]) })
}

// A Timeout of an AllSettled succeeds with the results that exist.
func TestAllSettledTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hangs twill.Promise[int]
		f := twill.AllSettled(twill.Resolved(1), hangs.Future()).Timeout(time.Second)
		results, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, twill.Result[int]{Value: 1}, results[0])
		require.ErrorIs(t, results[1].Err, context.DeadlineExceeded)
	})
}

// One backend answers, one is late, and one ignores its context.
func TestPartialAnswersAtADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		backend := func(took time.Duration, stubborn bool) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				if stubborn {
					ctx = context.Background()
				}
				_, err := kit.Sleep(ctx, took)
				return 1, err
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		answers := map[string]*twill.Future[int]{
			"quick":    twill.Go(ctx, backend(time.Millisecond, false)),
			"late":     twill.Go(ctx, backend(time.Hour, false)),
			"stubborn": twill.Go(ctx, backend(time.Hour, true)),
		}
		results, err := twill.AllSettledMap(answers).WithContext(ctx).Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(begin))
		require.Equal(t, twill.Result[int]{Value: 1}, results["quick"])
		require.ErrorIs(t, results["late"].Err, context.DeadlineExceeded)
		require.ErrorIs(t, results["stubborn"].Err, context.DeadlineExceeded)
		time.Sleep(2 * time.Hour) // until the third backend has returned
	})
}

func TestListCancelGoesToTheMembers(t *testing.T) {
	for name, list := range map[string]func(fs []*twill.Future[int]) twill.AnyFuture{
		"DeferredList": func(fs []*twill.Future[int]) twill.AnyFuture { return twill.NewDeferredList(fs, 0) },
		"All":          func(fs []*twill.Future[int]) twill.AnyFuture { return twill.All(fs...) },
		"AllSettled":   func(fs []*twill.Future[int]) twill.AnyFuture { return twill.AllSettled(fs...) },
		"Any":          func(fs []*twill.Future[int]) twill.AnyFuture { return twill.Any(fs...) },
		"First":        func(fs []*twill.Future[int]) twill.AnyFuture { return twill.First(fs...) },
		"Some":         func(fs []*twill.Future[int]) twill.AnyFuture { return twill.Some(2, fs...) },
		"Join":         func(fs []*twill.Future[int]) twill.AnyFuture { return twill.Join(fs[0], fs[1], fs[2]) },
		"AllMap": func(fs []*twill.Future[int]) twill.AnyFuture {
			return twill.AllMap(map[string]*twill.Future[int]{"a": fs[0], "b": fs[1], "c": fs[2]})
		},
		"All of All": func(fs []*twill.Future[int]) twill.AnyFuture {
			return twill.All(twill.All(fs[:2]...), twill.All(fs[2:]...))
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, fs := kit.Promises(3)
			others := twill.Then(fs[1], kit.Same[int])
			l := list(fs)
			require.True(t, l.Cancel(kit.ErrBoom))
			<-l.Done()
			kit.AwaitError(t, fs[0], kit.ErrBoom)
			kit.AwaitError(t, fs[2], kit.ErrBoom)
			kit.RequirePending(t, others)
			require.Equal(t, 1, kit.Users(fs[1]), "the list has left")
			require.False(t, l.Cancel(nil))
		})
	}
}

// A cancel makes a list fail only through its members, and can be repeated.
func TestListCancelMayBeAnswered(t *testing.T) {
	first, second := twill.NewPromise[int](), twill.NewPromise[int]()
	stubborn := first.Future().CatchFuture(func(error) *twill.Future[int] { return second.Future() })
	l := twill.AllSettled(stubborn)
	require.True(t, l.Cancel(nil))
	kit.RequirePending(t, l)
	require.True(t, l.Cancel(nil))
	_, err := second.Future().Await(t.Context())
	require.ErrorIs(t, err, twill.ErrCanceled)
	_, ok := l.Poll()
	require.True(t, ok)
}

// A list handles the errors of members that it no longer needed when a cancel
// decided it.
func TestDeferredListConsumesErrorsAfterACancel(t *testing.T) {
	reports := kit.CollectReports(t)
	kit.Drop(func() {
		var first, inner twill.Promise[int]
		first.OnCancel(func(error) { first.Resolve(1) })
		fs := []*twill.Future[int]{first.Future(), stubborn(&inner)}
		l := twill.NewDeferredList(fs, twill.FireOnOneCallback|twill.ConsumeErrors)
		l.Cancel(nil)
		kit.RequireValue(t, twill.ListResult[int]{Value: 1}, &l.Future)
		inner.Reject(kit.ErrSecond)
	})
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrSecond))
}

// stubborn returns a future that answers a cancel by waiting for inner.
func stubborn(inner *twill.Promise[int]) *twill.Future[int] {
	return new(twill.Promise[int]).Future().CatchFuture(func(error) *twill.Future[int] { return inner.Future() })
}

// A cancel does not reach members of a list that was decided during the cancel.
func TestDeferredListDecidedDuringACancel(t *testing.T) {
	var first, second, third twill.Promise[int]
	fs := []*twill.Future[int]{first.Future(), stubborn(&second), stubborn(&third)}
	l := twill.NewDeferredList(fs, twill.FireOnOneCallback|twill.ConsumeErrors)
	third.OnCancel(func(error) { t.Error("it was asked") })
	first.OnCancel(func(error) {
		l.Cancel(nil) // the other members answer by waiting for something else
		second.Resolve(2)
		kit.RequireValue(t, twill.ListResult[int]{Index: 1, Value: 2}, &l.Future)
	})
	l.Cancel(nil)
	kit.RequirePending(t, fs[2])
	require.Zero(t, kit.Users(fs[2]))
}

func TestListInACycle(t *testing.T) {
	p := twill.NewPromise[int]()
	all := twill.All(twill.Resolved(1), twill.Then(p.Future(), kit.Same[int]))
	require.True(t, p.Follow(twill.Then(all, func([]int) (int, error) { return 0, nil })))
	kit.AwaitError(t, p.Future(), twill.ErrCycle)
	kit.AwaitError(t, all, twill.ErrCycle)
}

func TestMapLists(t *testing.T) {
	a, b := twill.NewPromise[int](), twill.NewPromise[int]()
	m := map[string]*twill.Future[int]{"a": a.Future(), "b": b.Future()}
	all, settled := twill.AllMap(m), twill.AllSettledMap(m)
	delete(m, "b") // the map was read
	a.Resolve(1)
	kit.RequirePending(t, all)
	b.Resolve(2)
	kit.AwaitValue(t, all, map[string]int{"a": 1, "b": 2})
	kit.AwaitValue(t, settled, map[string]twill.Result[int]{"a": {Value: 1}, "b": {Value: 2}})

	c := twill.NewPromise[int]()
	all = twill.AllMap(map[string]*twill.Future[int]{"c": c.Future(), "d": twill.Rejected[int](kit.ErrBoom)})
	_, err := all.Await(t.Context())
	require.Equal(t, &twill.KeyError{Key: "d", Err: kit.ErrBoom}, err)
	require.EqualError(t, err, "twill: future of key d: boom")
	require.True(t, errors.Is(err, kit.ErrBoom))
	kit.AwaitError(t, c.Future(), twill.ErrNotNeeded)
}

func TestListMisuse(t *testing.T) {
	f := twill.NewPromise[int]().Future()
	require.PanicsWithValue(t, "twill: list of futures: number 1 is nil", func() { twill.All(f, nil) })
	require.PanicsWithValue(t, "twill: map of futures: that of key x is nil",
		func() { twill.AllMap(map[string]*twill.Future[int]{"x": nil}) })
	require.Zero(t, kit.Listeners(f))
}

// Members that settle on other goroutines while the list is made and while it
// is canceled.
func TestListsFromManyGoroutines(t *testing.T) {
	for round := range 300 {
		ps, fs := kit.Promises(8)
		for i, p := range ps {
			go func() {
				if i == round%8 {
					p.Reject(kit.ErrBoom)
				} else {
					p.Resolve(i)
				}
			}()
		}
		all, settled := twill.All(fs...), twill.AllSettled(fs...)
		one, first, some := twill.Any(fs...), twill.First(fs...), twill.Some(4, fs...)
		list := twill.NewDeferredList(fs, twill.FireOnOneErrback)
		go settled.Cancel(nil)
		_, _ = kit.AwaitSoon(all)
		_, _ = kit.AwaitSoon(first)
		if values, err := kit.AwaitSoon(some); err == nil {
			require.Len(t, values, 4)
		} else {
			require.NotErrorIs(t, err, twill.ErrEmpty)
		}
		_, err := kit.AwaitSoon(settled)
		require.NoError(t, err)
		_, err = kit.AwaitSoon(one)
		require.NotErrorIs(t, err, twill.ErrEmpty)
		_, _ = kit.AwaitSoon(&list.Future)
		for _, f := range fs {
			_, err := kit.AwaitSoon(f)
			if err != nil && !errors.Is(err, twill.ErrCanceled) {
				require.ErrorIs(t, err, kit.ErrBoom)
			}
		}
	}
}

func TestListScalesToAMillion(t *testing.T) {
	n := 1_000_000
	if !kit.Long() {
		n = 50_000
	}
	ps, fs := kit.Promises(n)
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
	kit.SmallStack(t)
	for range n / 10 {
		f = twill.Then(twill.All(f), func(v []int) (int, error) { return v[0], nil })
	}
	require.True(t, f.Cancel(nil))
	kit.AwaitError(t, p.Future(), twill.ErrCanceled)
}

func TestAsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := []*twill.Future[string]{
			twill.After(3*time.Second, "slow"), twill.After(time.Second, "fast"),
			twill.Rejected[string](kit.ErrBoom), twill.After(2*time.Second, "medium"),
		}
		var order []int
		for i, r := range twill.AsCompleted(t.Context(), fs...) {
			order = append(order, i)
			want, err := fs[i].Await(t.Context())
			require.Equal(t, twill.Result[string]{Value: want, Err: err}, r)
		}
		require.Equal(t, []int{2, 1, 3, 0}, order)
	})
}

func TestAsCompletedLeavesNothing(t *testing.T) {
	ps, fs := kit.Promises(3)
	ps[1].Resolve(1)
	for i := range twill.AsCompleted(t.Context(), fs...) {
		require.Equal(t, 1, i)
		break
	}
	for _, i := range []int{0, 2} {
		kit.RequirePending(t, fs[i])
		require.Zero(t, kit.Listeners(fs[i]))
		require.Zero(t, kit.Users(fs[i]))
	}
	for range twill.AsCompleted[int](t.Context()) {
		t.Fatal("nothing to yield")
	}
}

func TestAsCompletedEndsWithItsContext(t *testing.T) {
	ps, fs := kit.Promises(2)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ps[0].Resolve(1)
	var got []int
	for i, r := range twill.AsCompleted(ctx, fs...) {
		if got = append(got, i); i == 0 {
			cancel(kit.ErrBoom)
		} else {
			require.Equal(t, kit.ErrBoom, r.Err)
		}
	}
	require.Equal(t, []int{0, -1}, got)
	require.Zero(t, kit.Listeners(fs[1]))
}

// Existing results are yielded even if the context has ended, and not by
// chance.
func TestAsCompletedPrefersResults(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrBoom)
	pending := twill.NewPromise[int]().Future()
	for range 20 {
		var got []int
		for i, r := range twill.AsCompleted(ctx, pending, twill.Resolved(1), twill.Resolved(2)) {
			if got = append(got, i); i < 0 {
				require.Equal(t, kit.ErrBoom, r.Err)
			}
		}
		require.Equal(t, []int{1, 2, -1}, got)
	}
}

func sleepy(ctx context.Context, n int) (int, error) {
	select {
	case <-time.After(time.Duration(10-n) * time.Second):
		if n == 4 {
			return 0, kit.ErrBoom
		}
		return n * n, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestMapIsInOrderAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var underway atomic.Int32
		var counts kit.Record[int32]
		var got []int
		var failed []int
		n := 0
		for v, err := range twill.Map(t.Context(), count(10), 3, func(ctx context.Context, n int) (int, error) {
			counts.Add(underway.Add(1))
			defer underway.Add(-1)
			return sleepy(ctx, n)
		}) {
			if err != nil {
				require.ErrorIs(t, err, kit.ErrBoom)
				failed = append(failed, n)
			} else {
				got = append(got, v)
			}
			n++
		}
		require.Equal(t, []int{0, 1, 4, 9, 25, 36, 49, 64, 81}, got)
		require.Equal(t, []int{4}, failed)
		require.EqualValues(t, 3, slices.Max(counts.All()))
		require.Less(t, time.Since(begin), 30*time.Second)
	})
}

func TestMapCompletedIsInOrderOfCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		for n, r := range twill.MapCompleted(t.Context(), count(4), 4, sleepy) {
			order = append(order, n)
			require.NoError(t, r.Err)
			require.Equal(t, n*n, r.Value)
		}
		require.Equal(t, []int{3, 2, 1, 0}, order)
	})
}

func TestMapEndsWhenTheLoopDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		wait := func(ctx context.Context, n int) (int, error) {
			if n == 0 {
				return 0, nil
			}
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), twill.ErrNotNeeded)
			ended.Add(1)
			return 0, nil
		}
		for range twill.Map(t.Context(), count(100), 4, wait) {
			break
		}
		synctest.Wait()
		require.EqualValues(t, 3, ended.Load())
		for range twill.MapCompleted(t.Context(), count(100), 4, wait) {
			break
		}
		synctest.Wait()
		require.EqualValues(t, 6, ended.Load())
	})
}

func TestMapEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stubborn := func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Hour)
			return n, nil
		}
		time.AfterFunc(time.Second, func() { cancel(kit.ErrBoom) })
		var errs []error
		for _, err := range twill.Map(ctx, count(100), 3, stubborn) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 3)
		n := 0
		for _, r := range twill.MapCompleted(ctx, count(100), 3, stubborn) {
			n++
			errs = append(errs, r.Err)
		}
		require.Equal(t, 1, n, "nothing begins after the end, which is said once")
		for _, err := range errs {
			require.ErrorIs(t, err, kit.ErrBoom)
		}
		time.Sleep(2 * time.Hour) // until the remaining calls have returned
	})
}

func TestMapCompletedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(kit.ErrBoom) })
		seen := make(map[int]bool)
		for n, r := range twill.MapCompleted(ctx, count(100), 3, func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Hour)
			return n, nil
		}) {
			seen[n] = true
			require.Equal(t, kit.ErrBoom, r.Err)
		}
		require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen)
		time.Sleep(2 * time.Hour)
	})
}

// A call for which the loop no longer waits may fail in any way.
func TestMapDropsWhatComesTooLate(t *testing.T) {
	reports := kit.CollectReports(t)
	late := func(ctx context.Context, n int) (int, error) {
		if n == 0 {
			return 0, nil
		}
		<-ctx.Done()
		return 0, kit.ErrSecond
	}
	synctest.Test(t, func(t *testing.T) {
		for range twill.Map(t.Context(), count(9), 3, late) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, err := range twill.Map(ctx, count(3), 3, late) {
			cancel()
			require.True(t, err == nil || errors.Is(err, context.Canceled) || err == kit.ErrSecond)
		}
		for range twill.MapCompleted(t.Context(), count(9), 3, late) {
			break
		}
	})
	reports.SettleGarbage(t)
	require.Empty(t, reports.Of(kit.ErrSecond))
}

// A very large width means no limit, and costs nothing.
func TestMapOfAnyWidth(t *testing.T) {
	square := func(_ context.Context, n int) (int, error) { return n * n, nil }
	var got []int
	for v, err := range twill.Map(t.Context(), count(5), math.MaxInt, square) {
		require.NoError(t, err)
		got = append(got, v)
	}
	require.Equal(t, []int{0, 1, 4, 9, 16}, got)
	clear(got)
	for n, r := range twill.MapCompleted(t.Context(), count(5), math.MaxInt, square) {
		require.NoError(t, r.Err)
		got[n] = r.Value
	}
	require.Equal(t, []int{0, 1, 4, 9, 16}, got)
}

// A call may have ended before the loop listens to it: its result is then added
// by the goroutine that takes it, which must not block.
func TestMapCompletedOfManyThatEndAtOnce(t *testing.T) {
	const width = 3000
	kit.Watchdog(t, func() {
		seen := make(map[int]bool)
		for n, r := range twill.MapCompleted(t.Context(), count(2*width), width, func(_ context.Context, n int) (int, error) { return n, nil }) {
			require.Equal(t, n, r.Value)
			seen[n] = true
		}
		require.Len(t, seen, 2*width)
	})
}

func TestMapContainsPanics(t *testing.T) {
	for _, r := range twill.MapCompleted(t.Context(), count(1), 1, func(context.Context, int) (int, error) { panic(kit.ErrBoom) }) {
		require.ErrorIs(t, r.Err, kit.ErrBoom)
	}
	for _, err := range twill.Map(t.Context(), count(1), 1, func(context.Context, int) (int, error) {
		runtime.Goexit()
		return 0, nil
	}) {
		require.ErrorIs(t, err, twill.ErrGoexit)
	}
}

func TestMapMisuse(t *testing.T) {
	var none context.Context
	fn := func(context.Context, int) (int, error) { return 0, nil }
	for what, call := range map[string]func(){
		"twill: Map with a nil context":           func() { twill.Map(none, count(1), 1, fn) },
		"twill: Map with a nil sequence":          func() { twill.Map[int](t.Context(), nil, 1, fn) },
		"twill: Map with a width of 0":            func() { twill.Map(t.Context(), count(1), 0, fn) },
		"twill: MapCompleted with a width of -1":  func() { twill.MapCompleted(t.Context(), count(1), -1, fn) },
		"twill: Map with a nil function":          func() { twill.Map[int, int](t.Context(), count(1), 1, nil) },
		"twill: AsCompleted with a nil context":   func() { twill.AsCompleted[int](none) },
		"twill: list of futures: number 0 is nil": func() { twill.AsCompleted[int](t.Context(), nil) },
	} {
		require.PanicsWithValue(t, what, call)
	}
	require.Equal(t, []int{0, 1}, slices.Collect(count(2)))
	require.False(t, errors.Is(twill.ErrNotNeeded, twill.ErrCanceled))
}

// failures returns the errors that a Map yields, and the number of values.
func failures(seq iter.Seq2[int, error]) (values int, errs []error) {
	for _, err := range seq {
		if err != nil {
			errs = append(errs, err)
		} else {
			values++
		}
	}
	return values, errs
}

// completed gives a MapCompleted the signature of a Map.
func completed(seq iter.Seq2[int, twill.Result[int]]) iter.Seq2[int, error] {
	return func(yield func(int, error) bool) {
		for _, r := range seq {
			if !yield(r.Value, r.Err) {
				return
			}
		}
	}
}

type mapFunc func(ctx context.Context, seq iter.Seq[int], width int, fn func(context.Context, int) (int, error)) iter.Seq2[int, error]

var bothMaps = map[string]mapFunc{
	"Map": twill.Map[int, int],
	"MapCompleted": func(ctx context.Context, seq iter.Seq[int], width int, fn func(context.Context, int) (int, error)) iter.Seq2[int, error] {
		return completed(twill.MapCompleted(ctx, seq, width, fn))
	},
}

// After the end of its context a Map yielded a partial list without an error.
func TestMapNeverEndsSilently(t *testing.T) {
	for name, mapped := range bothMaps {
		t.Run(name+" after the end", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(kit.ErrBoom)
			seq := func(func(int) bool) { t.Error("a value was taken") }
			values, errs := failures(mapped(ctx, seq, 3, func(context.Context, int) (int, error) {
				t.Error("a call was made")
				return 0, nil
			}))
			require.Zero(t, values)
			require.Equal(t, []error{kit.ErrBoom}, errs)
		})
		t.Run(name+" at an end that all calls survive", func(t *testing.T) {
			for round := range 100 {
				ctx, cancel := context.WithCancelCause(t.Context())
				var calls atomic.Int32
				values, errs := failures(mapped(ctx, count(10), 1+round%4, func(_ context.Context, n int) (int, error) {
					calls.Add(1)
					if n == 3 {
						cancel(kit.ErrBoom)
					}
					return n, nil
				}))
				for _, err := range errs {
					require.Equal(t, kit.ErrBoom, err)
				}
				require.LessOrEqual(t, values, int(calls.Load()))
				require.True(t, len(errs) > 0 || values == 10, "only %d values, and no error", values)
			}
		})
		t.Run(name+" at an end between two values", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			taken := 0
			seq := func(yield func(int) bool) {
				for n := range 10 {
					if taken++; !yield(n) {
						return
					}
				}
			}
			var got []int
			var errs []error
			for n, err := range mapped(ctx, seq, 1, func(_ context.Context, n int) (int, error) { return n, nil }) {
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if got = append(got, n); n == 2 {
					cancel(kit.ErrBoom)
				}
			}
			require.Equal(t, []int{0, 1, 2}, got)
			require.Equal(t, []error{kit.ErrBoom}, errs, "once")
			require.Equal(t, 3, taken, "no value is taken after the end")
		})
		t.Run(name+" at an end while the sequence waits", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				seq := func(yield func(int) bool) {
					if !yield(0) {
						return
					}
					cancel(kit.ErrBoom)
					yield(1)
				}
				var called kit.Record[int]
				_, errs := failures(mapped(ctx, seq, 3, func(_ context.Context, n int) (int, error) {
					called.Add(n)
					return n, nil
				}))
				require.NotEmpty(t, errs)
				for _, err := range errs {
					require.Equal(t, kit.ErrBoom, err)
				}
				synctest.Wait()
				require.NotContains(t, called.All(), 1)
			})
		})
		t.Run(name+" that saw all", func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			gate := make(chan struct{})
			seq := func(yield func(int) bool) {
				for n := range 3 {
					if !yield(n) {
						return
					}
				}
				close(gate)
			}
			values := 0
			for _, err := range mapped(ctx, seq, 5, func(_ context.Context, n int) (int, error) { <-gate; return n, nil }) {
				if err == nil {
					values++
					if values == 3 {
						cancel(kit.ErrBoom)
					}
				}
			}
			cancel(nil)
			require.Equal(t, 3, values)
		})
	}
}

// A context whose Err is set before its Done is closed, and one whose Done is
// closed first.
func TestMapLooksAtErr(t *testing.T) {
	for name, mapped := range bothMaps {
		t.Run(name, func(t *testing.T) {
			early := &errContext{Context: context.Background()} // Err without Done
			values, errs := failures(mapped(early, count(5), 1, func(_ context.Context, n int) (int, error) {
				if n == 1 {
					early.err.Store(&kit.ErrBoom)
				}
				return n, nil
			}))
			require.LessOrEqual(t, values, 2)
			require.Equal(t, []error{kit.ErrBoom}, errs)

			late := &errContext{Context: context.Background(), done: make(chan struct{})} // Done without Err
			close(late.done)
			gate := make(chan struct{})
			_, errs = failures(mapped(late, count(1), 1, func(context.Context, int) (int, error) { <-gate; return 0, nil }))
			close(gate)
			require.Len(t, errs, 1)
			require.Len(t, errs, 1)
			require.Error(t, errs[0])
		})
	}
}

// errContext is a context whose Err and Done the test controls.
type errContext struct {
	context.Context
	err  atomic.Pointer[error]
	done chan struct{}
}

func (c *errContext) Err() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (c *errContext) Done() <-chan struct{} { return c.done }

// A value that was taken before there was room for its call was lost by a
// break.
func TestMapTakesNothingAhead(t *testing.T) {
	for name, mapped := range bothMaps {
		t.Run(name, func(t *testing.T) {
			for width := 1; width <= 4; width++ {
				var q twill.Queue[int]
				for n := range 10 {
					require.NoError(t, q.Put(n))
				}
				for range mapped(t.Context(), q.All(t.Context()), width, func(_ context.Context, n int) (int, error) {
					return n, nil
				}) {
					break
				}
				require.Equal(t, 10-width, q.Len(), "one value for each of %d places", width)
			}
		})
	}
}

// The slice was read while the loop ran.
func TestLazyListsCopyTheirSlice(t *testing.T) {
	fs := []*twill.Future[int]{twill.Resolved(1), twill.Resolved(2), twill.Resolved(3)}
	completed := twill.AsCompleted(t.Context(), fs...)
	fs[0] = nil
	var got []int
	for i, r := range completed {
		require.NoError(t, r.Err)
		fs[2], fs[1] = new(twill.Promise[int]).Future(), nil
		require.Equal(t, i+1, r.Value)
		got = append(got, r.Value)
	}
	require.Equal(t, []int{1, 2, 3}, got)
}

// The end of the context and a result that coincide do not hide each other.
func TestAsCompletedWithContextsOfOtherMakes(t *testing.T) {
	early := &errContext{Context: context.Background()}
	early.err.Store(&kit.ErrBoom)
	late := &errContext{Context: context.Background(), done: make(chan struct{})}
	close(late.done)
	for _, ctx := range []context.Context{early, late} {
		var got []int
		for i, r := range twill.AsCompleted(ctx, new(twill.Promise[int]).Future(), twill.Resolved(1)) {
			got = append(got, i)
			require.Equal(t, i < 0, r.Err != nil)
		}
		require.Equal(t, []int{1, -1}, got)
	}
}

// A panic of a call that the loop has left is reported.
func TestMapReportsPanicsOfCallsItLeaves(t *testing.T) {
	for name, mapped := range bothMaps {
		t.Run(name, func(t *testing.T) {
			reports := kit.CollectReports(t)
			synctest.Test(t, func(t *testing.T) {
				for range mapped(t.Context(), count(3), 3, func(ctx context.Context, n int) (int, error) {
					switch time.Sleep(time.Duration(n+1) * time.Second); n {
					case 1:
						panic(kit.ErrFirst) // while the loop is still running
					case 2:
						<-ctx.Done()
						panic(kit.ErrSecond)
					}
					return n, nil
				}) {
					time.Sleep(time.Minute)
					break
				}
			})
			reports.Await(t, kit.ErrFirst)
			reports.Await(t, kit.ErrSecond)
		})
	}
}
