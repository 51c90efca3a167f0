package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestCancelNested(t *testing.T) {
	t.Run("cancelNestedDeferred: the cancel goes to the inner future", func(t *testing.T) {
		outside, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		outerRuns, innerRuns := countCancels(outside), countCancels(inner)
		outer := twill.ThenFuture(outside.Future(), returning(inner.Future()))
		outside.Resolve(1)
		require.True(t, outer.Cancel(errFirst))
		require.Zero(t, *outerRuns)
		require.Equal(t, 1, *innerRuns)
		requireCanceled(t, errFirst, inner.Future())
		requireCanceled(t, errFirst, outer)
		requireValue(t, 1, outside.Future())
	})
	t.Run("two levels down", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := countCancels(p)
		middle := twill.ThenFuture(twill.Resolved(0), returning(twill.Then(p.Future(), add(1))))
		outer := twill.ThenFuture(twill.Resolved(0), returning(middle))
		outer.Cancel(nil)
		require.Equal(t, 1, *runs)
		requireCanceled(t, nil, outer)
	})
	t.Run("the outcome of the inner canceller comes back", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		inner.OnCancel(func(error) { inner.Resolve(5) })
		outer := twill.Then(twill.ThenFuture(twill.Resolved(0), returning(inner.Future())), add(1))
		outer.Cancel(nil)
		requireValue(t, 6, outer)
	})
	t.Run("cancelling the inner future itself fails the outer one", func(t *testing.T) {
		inner := twill.NewPromise[int]()
		outer := twill.ThenFuture(twill.Resolved(0), returning(inner.Future()))
		require.True(t, inner.Future().Cancel(errFirst))
		requireCanceled(t, errFirst, outer)
	})
	t.Run("a cancel while the handler runs goes to the future that it returns", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		var told error
		inner.OnCancel(func(cause error) { told = cause })
		var outer *twill.Future[int]
		outer = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] {
			outer.Cancel(errFirst)
			outer.Cancel(errSecond)
			return inner.Future()
		})
		p.Resolve(1)
		require.Same(t, errFirst, told)
		requireCanceled(t, errFirst, outer)
	})
	t.Run("a cancel is not sticky: a handler may start over", func(t *testing.T) {
		p, again := twill.NewPromise[int](), twill.NewPromise[int]()
		tip := p.Future().CatchFuture(func(error) *twill.Future[int] { return again.Future() })
		tip.Cancel(errFirst)
		requirePending(t, tip)
		again.Resolve(3)
		requireValue(t, 3, tip)
	})
}
