package twill_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestInnerFuture(t *testing.T) {
	t.Run("callbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		p.Resolve(1)
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("callbackMaybeReturnsFailure: the inner failure arrives and can be handled", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		handled := outer.Catch(func(err error) (int, error) {
			require.Same(t, kit.ErrFirst, err)
			return 3, nil
		})
		p.Resolve(1)
		inner.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, outer)
		kit.RequireValue(t, 3, handled)
	})
	t.Run("errbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := p.Future().CatchFuture(func(error) *twill.Future[int] { return inner.Future() })
		p.Reject(kit.ErrFirst)
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("continueCallbackNotFirst: an inner chain is waited for to its end", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(twill.Then(first.Future(), kit.Add(1)), kit.Returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner))
		first.Resolve(1)
		kit.RequirePending(t, outer)
		second.Resolve(9)
		kit.RequireValue(t, 9, outer)
	})
	t.Run("synchronousImplicitChain", func(t *testing.T) {
		kit.RequireValue(t, 2, twill.ThenFuture(twill.Resolved(1), kit.Returning(twill.Resolved(2))))
	})
	t.Run("synchronousImplicitErrorChain", func(t *testing.T) {
		kit.RequireFailure(t, kit.ErrFirst, twill.ThenFuture(twill.Resolved(1), kit.Returning(twill.Rejected[int](kit.ErrFirst))))
	})
	t.Run("asynchronousImplicitChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), kit.Returning(inner.Future()))
		kit.RequirePending(t, outer)
		inner.Resolve(2)
		kit.RequireValue(t, 2, outer)
	})
	t.Run("asynchronousImplicitErrorChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), kit.Returning(inner.Future()))
		kit.RequirePending(t, outer)
		inner.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, outer)
	})
	t.Run("doubleAsynchronousImplicitChaining", func(t *testing.T) {
		first, second, third := twill.NewPromise[int](), twill.NewPromise[int](), twill.NewPromise[int]()
		middle := twill.ThenFuture(second.Future(), kit.Returning(first.Future()))
		last := twill.ThenFuture(third.Future(), kit.Returning(middle))
		third.Resolve(3)
		second.Resolve(2)
		kit.RequirePending(t, middle)
		kit.RequirePending(t, last)
		first.Resolve(1)
		kit.RequireValue(t, 1, middle)
		kit.RequireValue(t, 1, last)
	})
	t.Run("nestedAsynchronousChainedDeferreds", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := p.Future()
		middle := twill.ThenFuture(twill.Resolved(0), kit.Returning(innermost))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(middle))
		p.Resolve(1)
		for _, f := range []*twill.Future[int]{innermost, middle, outer} {
			kit.RequireValue(t, 1, f)
		}
	})
	t.Run("nestedAsynchronousChainedDeferredsWithExtraCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := twill.Then(p.Future(), kit.Add(10))
		middle := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(innermost)), kit.Add(100))
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(middle)), kit.Add(1000))
		p.Resolve(1)
		kit.RequireValue(t, 11, innermost)
		kit.RequireValue(t, 111, middle)
		kit.RequireValue(t, 1111, outer)
	})
	t.Run("resultOfDeferredResultOfDeferredOfFiredDeferredCalled", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(first.Future(), kit.Returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner))
		seen := 0
		outer.Tap(func(v int, err error) { seen = v })
		first.Resolve(1)
		require.Zero(t, seen)
		second.Resolve(5)
		require.Equal(t, 5, seen)
	})
	t.Run("two that return one future both get its value", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		one := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		two := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		inner.Resolve(6)
		kit.RequireValue(t, 6, one)
		kit.RequireValue(t, 6, two)
	})
	t.Run("a thousand futures one inside the other do not deepen the stack", func(t *testing.T) {
		depth := func(nested int) (frames int) {
			p := twill.NewPromise[int]()
			f := p.Future()
			for range nested {
				f = twill.ThenFuture(twill.Resolved(0), kit.Returning(f))
			}
			f.Tap(func(int, error) { frames = runtime.Callers(0, make([]uintptr, 10_000)) })
			p.Resolve(0)
			return frames
		}
		require.Positive(t, depth(2))
		require.Equal(t, depth(2), depth(1000))
	})
}

func TestInnerFutureCycle(t *testing.T) {
	t.Run("circularChainWarning: a handler that returns its own future", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var self *twill.Future[int]
		self = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return self })
		p.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, self)
	})
	t.Run("circularChainException: two that wait for each other", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		var one, two *twill.Future[int]
		one = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return two })
		two = twill.ThenFuture(q.Future(), func(int) *twill.Future[int] { return one })
		p.Resolve(1)
		kit.RequirePending(t, one)
		q.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, one)
		kit.RequireFailure(t, twill.ErrCycle, two)
	})
	t.Run("a handler that returns a future further down its own chain", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var tip *twill.Future[int]
		first := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return tip })
		tip = twill.Then(first, kit.Add(1))
		p.Resolve(1)
		kit.RequireFailure(t, twill.ErrCycle, first)
		kit.RequireFailure(t, twill.ErrCycle, tip)
	})
}
