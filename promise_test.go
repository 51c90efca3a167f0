package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// The five examples of Terry Jones for chainDeferred, with what Follow does
// where chainDeferred raises AlreadyCalledError, loses the cancel or swallows
// the result.
func TestFollowExamples(t *testing.T) {
	t.Run("boom1: the target was canceled, then the source is resolved", func(t *testing.T) {
		source, target := twill.NewPromise[string](), twill.NewPromise[string]()
		runs := kit.CountCancels(target)
		kept := twill.Then(source.Future(), func(v string) (string, error) { return v, nil })
		require.True(t, target.Follow(source.Future()))
		target.Future().Cancel(nil)
		require.Equal(t, 1, *runs)
		require.True(t, source.Resolve("hey"))
		kit.RequireCanceled(t, nil, target.Future())
		kit.RequireValue(t, "hey", source.Future())
		kit.RequireValue(t, "hey", kept)
	})
	t.Run("boom1, nobody else needs the source: it is canceled with its last follower", func(t *testing.T) {
		source, target := twill.NewPromise[string](), twill.NewPromise[string]()
		runs := kit.CountCancels(source)
		target.Follow(source.Future())
		target.Future().Cancel(kit.ErrFirst)
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, kit.ErrFirst, source.Future())
		kit.RequireCanceled(t, kit.ErrFirst, target.Future())
		require.False(t, source.Resolve("hey"))
	})
	t.Run("boom2: the target was resolved by hand, then the source is", func(t *testing.T) {
		source, target := twill.NewPromise[string](), twill.NewPromise[string]()
		target.Follow(source.Future())
		require.True(t, target.Resolve("hey"))
		kit.RequirePending(t, source.Future())
		require.True(t, source.Resolve("you"))
		kit.RequireValue(t, "hey", target.Future())
		kit.RequireValue(t, "you", source.Future())
	})
	t.Run("uncalled: canceling the source runs both cancelers", func(t *testing.T) {
		var order []string
		make := func(name string) (*twill.Promise[string], *twill.Future[string]) {
			p := twill.NewPromise[string]()
			p.OnCancel(func(error) { order = append(order, "cancel "+name) })
			return p, p.Future().Catch(func(err error) (string, error) {
				require.ErrorIs(t, err, twill.ErrCanceled)
				order = append(order, "canceled "+name)
				return "", err
			})
		}
		_, one := make("one")
		target, two := make("two")
		target.Follow(one)
		one.Cancel(nil)
		require.ElementsMatch(t, []string{"cancel one", "canceled one", "cancel two", "canceled two"}, order)
		requireBefore(t, order, "cancel one", "canceled one")
		requireBefore(t, order, "cancel two", "canceled two")
		kit.RequireCanceled(t, nil, one)
		kit.RequireCanceled(t, nil, two)
	})
	t.Run("unexpected1: a handler added after the follower sees the value", func(t *testing.T) {
		source, target := twill.NewPromise[string](), twill.NewPromise[string]()
		target.Follow(source.Future())
		after := twill.Then(source.Future(), func(v string) (string, error) { return v + "!", nil })
		source.Resolve("hey")
		kit.RequireValue(t, "hey!", after)
		kit.RequireValue(t, "hey", target.Future())
	})
	t.Run("unexpected2: two followers both get the value", func(t *testing.T) {
		source, second, third := twill.NewPromise[string](), twill.NewPromise[string](), twill.NewPromise[string]()
		second.Follow(source.Future())
		third.Follow(source.Future())
		source.Resolve("hey")
		kit.RequireValue(t, "hey", second.Future())
		kit.RequireValue(t, "hey", third.Future())
	})
}

// requireBefore fails the test unless first is before second in order.
func requireBefore(t *testing.T, order []string, first, second string) {
	t.Helper()
	at := map[string]int{}
	for i, name := range order {
		at[name] = i
	}
	require.Contains(t, order, first)
	require.Contains(t, order, second)
	require.Less(t, at[first], at[second], "%v", order)
}

func TestFollow(t *testing.T) {
	t.Run("a failure, of which each follower has its own copy", func(t *testing.T) {
		source, target := twill.NewPromise[int](), twill.NewPromise[int]()
		target.Follow(source.Future())
		source.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, source.Future())
		kit.RequireFailure(t, kit.ErrFirst, target.Future())
	})
	t.Run("a source that is settled", func(t *testing.T) {
		value, failure := twill.NewPromise[int](), twill.NewPromise[int]()
		require.True(t, value.Follow(twill.Resolved(1)))
		require.True(t, failure.Follow(twill.Rejected[int](kit.ErrFirst)))
		kit.RequireValue(t, 1, value.Future())
		kit.RequireFailure(t, kit.ErrFirst, failure.Future())
	})
	t.Run("a target that is settled", func(t *testing.T) {
		source, target := twill.NewPromise[int](), twill.NewPromise[int]()
		target.Resolve(1)
		require.False(t, target.Follow(source.Future()))
		source.Resolve(2)
		kit.RequireValue(t, 1, target.Future())
	})
	t.Run("a source canceled before the follower came only hands on its failure", func(t *testing.T) {
		source, target := twill.NewPromise[int](), twill.NewPromise[int]()
		runs := kit.CountCancels(target)
		source.Future().Cancel(kit.ErrFirst)
		target.Follow(source.Future())
		kit.RequireCanceled(t, kit.ErrFirst, target.Future())
		require.Zero(t, *runs)
	})
	t.Run("the canceler of a target that follows a canceled source may decide", func(t *testing.T) {
		source, target := twill.NewPromise[int](), twill.NewPromise[int]()
		target.OnCancel(func(error) { target.Resolve(4) })
		target.Follow(source.Future())
		source.Future().Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, source.Future())
		kit.RequireValue(t, 4, target.Future())
	})
	t.Run("a target that was settled by hand has no canceler to run", func(t *testing.T) {
		source, target := twill.NewPromise[int](), twill.NewPromise[int]()
		runs := kit.CountCancels(target)
		target.Follow(source.Future())
		target.Resolve(1)
		source.Future().Cancel(nil)
		require.Zero(t, *runs)
		kit.RequireValue(t, 1, target.Future())
	})
	t.Run("itself", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Follow(p.Future())
		kit.RequireFailure(t, twill.ErrCycle, p.Future())
	})
	t.Run("each other", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		p.Follow(q.Future())
		q.Follow(p.Future())
		kit.RequireFailure(t, twill.ErrCycle, p.Future())
		kit.RequireFailure(t, twill.ErrCycle, q.Future())
	})
	t.Run("a thousand in a row", func(t *testing.T) {
		first := twill.NewPromise[int]()
		last := first.Future()
		for range 1000 {
			next := twill.NewPromise[int]()
			next.Follow(last)
			last = next.Future()
		}
		first.Resolve(1)
		kit.RequireValue(t, 1, last)
	})
}

// A future that has left its source by a cancel no longer waits for it:
// following it from the source is no cycle.
func TestFollowOfOneThatHasLeft(t *testing.T) {
	var p twill.Promise[int]
	again := twill.NewPromise[int]()
	left := p.Future().CatchFuture(func(error) *twill.Future[int] { return again.Future() })
	twill.Then(p.Future(), kit.Add(1)) // another dependent
	require.True(t, left.Cancel(nil))
	require.True(t, p.Follow(left))
	kit.RequirePending(t, p.Future())
	again.Resolve(1)
	kit.RequireValue(t, 1, p.Future())
}

// A cancel that is passed on has its own cause, and not that of an earlier
// cancel, which was answered.
func TestCancelPassedOnKeepsItsCause(t *testing.T) {
	var p, pending twill.Promise[int]
	twill.Then(p.Future(), kit.Add(1)) // another dependent
	var f *twill.Future[int]
	f = p.Future().CatchFuture(func(error) *twill.Future[int] {
		f.Cancel(kit.ErrSecond)
		return pending.Future()
	})
	f.Cancel(kit.ErrFirst)
	kit.RequireFailure(t, kit.ErrSecond, pending.Future())
	kit.RequireFailure(t, kit.ErrSecond, f)
}

// The cancelers of a target are called with the cause of the cancel, even if
// its source answers the cancel with a value or another error.
func TestCancelersOfATargetAreToldTheCause(t *testing.T) {
	for name, answer := range map[string]func(source *twill.Promise[int]) bool{
		"nothing":  func(*twill.Promise[int]) bool { return true },
		"a value":  func(source *twill.Promise[int]) bool { return source.Resolve(1) },
		"an error": func(source *twill.Promise[int]) bool { return source.Reject(kit.ErrSecond) },
	} {
		t.Run(name, func(t *testing.T) {
			var source, target twill.Promise[int]
			var told error
			source.OnCancel(func(error) { require.True(t, answer(&source)) })
			target.OnCancel(func(cause error) { told = cause })
			require.True(t, target.Follow(source.Future()))
			target.Future().Cancel(kit.ErrFirst)
			require.Equal(t, kit.ErrFirst, told)
		})
	}
}
