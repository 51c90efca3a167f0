package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestCancelNested(t *testing.T) {
	t.Run("cancelNestedDeferred: the cancel goes to the inner future", func(t *testing.T) {
		outside, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outerRuns, innerRuns := kit.CountCancels(outside), kit.CountCancels(inner)
		outer := twill.ThenFuture(outside.Future(), kit.Returning(inner.Future()))
		outside.Resolve(1)
		require.True(t, outer.Cancel(kit.ErrFirst))
		require.Zero(t, *outerRuns)
		require.Equal(t, 1, *innerRuns)
		kit.RequireCanceled(t, kit.ErrFirst, inner.Future())
		kit.RequireCanceled(t, kit.ErrFirst, outer)
		kit.RequireValue(t, 1, outside.Future())
	})
	t.Run("two levels down", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		middle := twill.ThenFuture(twill.Resolved(0), kit.Returning(twill.Then(p.Future(), kit.Add(1))))
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(middle))
		outer.Cancel(nil)
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, nil, outer)
	})
	t.Run("the outcome of the inner canceller comes back", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		inner.OnCancel(func(error) { inner.Resolve(5) })
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future())), kit.Add(1))
		outer.Cancel(nil)
		kit.RequireValue(t, 6, outer)
	})
	t.Run("cancelling the inner future itself fails the outer one", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
		require.True(t, inner.Future().Cancel(kit.ErrFirst))
		kit.RequireCanceled(t, kit.ErrFirst, outer)
	})
	t.Run("a cancel while the handler runs goes to the future that it returns", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		var told error
		inner.OnCancel(func(cause error) { told = cause })
		var outer *twill.Future[int]
		outer = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] {
			outer.Cancel(kit.ErrFirst)
			outer.Cancel(kit.ErrSecond)
			return inner.Future()
		})
		p.Resolve(1)
		require.Same(t, kit.ErrFirst, told)
		kit.RequireCanceled(t, kit.ErrFirst, outer)
	})
	t.Run("a cancel is not sticky: a handler may start over", func(t *testing.T) {
		p, again := twill.NewPromise[int](), twill.NewPromise[int]()
		tip := p.Future().CatchFuture(func(error) *twill.Future[int] { return again.Future() })
		tip.Cancel(kit.ErrFirst)
		kit.RequirePending(t, tip)
		again.Resolve(3)
		kit.RequireValue(t, 3, tip)
	})
}
