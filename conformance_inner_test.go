package twill_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// returning gives a handler that returns f.
func returning(f *twill.Future[int]) func(int) *twill.Future[int] {
	return func(int) *twill.Future[int] { return f }
}

func TestInnerFuture(t *testing.T) {
	t.Run("callbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), returning(inner.Future()))
		p.Resolve(1)
		requirePending(t, outer)
		inner.Resolve(2)
		requireValue(t, 2, outer)
	})
	t.Run("callbackMaybeReturnsFailure: the inner failure arrives and can be handled", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := twill.ThenFuture(p.Future(), returning(inner.Future()))
		handled := outer.Catch(func(err error) (int, error) {
			require.Same(t, errFirst, err)
			return 3, nil
		})
		p.Resolve(1)
		inner.Reject(errFirst)
		requireFailure(t, errFirst, outer)
		requireValue(t, 3, handled)
	})
	t.Run("errbackReturnsDeferred", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outer := p.Future().CatchFuture(func(error) *twill.Future[int] { return inner.Future() })
		p.Reject(errFirst)
		requirePending(t, outer)
		inner.Resolve(2)
		requireValue(t, 2, outer)
	})
	t.Run("continueCallbackNotFirst: an inner chain is waited for to its end", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(twill.Then(first.Future(), add(1)), returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), returning(inner))
		first.Resolve(1)
		requirePending(t, outer)
		second.Resolve(9)
		requireValue(t, 9, outer)
	})
	t.Run("synchronousImplicitChain", func(t *testing.T) {
		requireValue(t, 2, twill.ThenFuture(twill.Resolved(1), returning(twill.Resolved(2))))
	})
	t.Run("synchronousImplicitErrorChain", func(t *testing.T) {
		requireFailure(t, errFirst, twill.ThenFuture(twill.Resolved(1), returning(twill.Rejected[int](errFirst))))
	})
	t.Run("asynchronousImplicitChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), returning(inner.Future()))
		requirePending(t, outer)
		inner.Resolve(2)
		requireValue(t, 2, outer)
	})
	t.Run("asynchronousImplicitErrorChain", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(1), returning(inner.Future()))
		requirePending(t, outer)
		inner.Reject(errFirst)
		requireFailure(t, errFirst, outer)
	})
	t.Run("doubleAsynchronousImplicitChaining", func(t *testing.T) {
		first, second, third := twill.NewPromise[int](), twill.NewPromise[int](), twill.NewPromise[int]()
		middle := twill.ThenFuture(second.Future(), returning(first.Future()))
		last := twill.ThenFuture(third.Future(), returning(middle))
		third.Resolve(3)
		second.Resolve(2)
		requirePending(t, middle)
		requirePending(t, last)
		first.Resolve(1)
		requireValue(t, 1, middle)
		requireValue(t, 1, last)
	})
	t.Run("nestedAsynchronousChainedDeferreds", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := p.Future()
		middle := twill.ThenFuture(twill.Resolved(0), returning(innermost))
		outer := twill.ThenFuture(twill.Resolved(0), returning(middle))
		p.Resolve(1)
		for _, f := range []*twill.Future[int]{innermost, middle, outer} {
			requireValue(t, 1, f)
		}
	})
	t.Run("nestedAsynchronousChainedDeferredsWithExtraCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		innermost := twill.Then(p.Future(), add(10))
		middle := twill.Then(twill.ThenFuture(twill.Resolved(0), returning(innermost)), add(100))
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), returning(middle)), add(1000))
		p.Resolve(1)
		requireValue(t, 11, innermost)
		requireValue(t, 111, middle)
		requireValue(t, 1111, outer)
	})
	t.Run("resultOfDeferredResultOfDeferredOfFiredDeferredCalled", func(t *testing.T) {
		first, second := twill.NewPromise[int](), twill.NewPromise[int]()
		inner := twill.ThenFuture(first.Future(), returning(second.Future()))
		outer := twill.ThenFuture(twill.Resolved(0), returning(inner))
		seen := 0
		outer.Tap(func(v int, err error) { seen = v })
		first.Resolve(1)
		require.Zero(t, seen)
		second.Resolve(5)
		require.Equal(t, 5, seen)
	})
	t.Run("two that return one future both get its value", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		one := twill.ThenFuture(twill.Resolved(0), returning(inner.Future()))
		two := twill.ThenFuture(twill.Resolved(0), returning(inner.Future()))
		inner.Resolve(6)
		requireValue(t, 6, one)
		requireValue(t, 6, two)
	})
	t.Run("a thousand futures one inside the other do not deepen the stack", func(t *testing.T) {
		depth := func(nested int) (frames int) {
			p := twill.NewPromise[int]()
			f := p.Future()
			for range nested {
				f = twill.ThenFuture(twill.Resolved(0), returning(f))
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
		requireFailure(t, twill.ErrCycle, self)
	})
	t.Run("circularChainException: two that wait for each other", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		var one, two *twill.Future[int]
		one = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return two })
		two = twill.ThenFuture(q.Future(), func(int) *twill.Future[int] { return one })
		p.Resolve(1)
		requirePending(t, one)
		q.Resolve(1)
		requireFailure(t, twill.ErrCycle, one)
		requireFailure(t, twill.ErrCycle, two)
	})
	t.Run("a handler that returns a future further down its own chain", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var tip *twill.Future[int]
		first := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return tip })
		tip = twill.Then(first, add(1))
		p.Resolve(1)
		requireFailure(t, twill.ErrCycle, first)
		requireFailure(t, twill.ErrCycle, tip)
	})
}
