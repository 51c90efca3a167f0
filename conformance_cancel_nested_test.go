package twill_test

import (
	"errors"
	"runtime"
	"testing"
	"weak"

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
	t.Run("a cancel is not sticky: a handler may start over", func(t *testing.T) {
		p, again := twill.NewPromise[int](), twill.NewPromise[int]()
		tip := p.Future().CatchFuture(func(error) *twill.Future[int] { return again.Future() })
		tip.Cancel(errFirst)
		requirePending(t, tip)
		again.Resolve(3)
		requireValue(t, 3, tip)
	})
}

// A canceller, and what it holds, is let go as soon as its future is settled.
func TestCancellerIsReleased(t *testing.T) {
	type resource struct{ _ [64]byte }
	install := func(p *twill.Promise[int]) weak.Pointer[resource] {
		held := new(resource)
		p.OnCancel(func(error) { runtime.KeepAlive(held) })
		return weak.Make(held)
	}
	released := func(w weak.Pointer[resource]) bool {
		for range 10 {
			runtime.GC()
			if w.Value() == nil {
				return true
			}
		}
		return false
	}
	settle := map[string]func(p *twill.Promise[int]){
		"canceller_circular_reference_callback": func(p *twill.Promise[int]) { p.Resolve(1) },
		"canceller_circular_reference_errback":  func(p *twill.Promise[int]) { p.Reject(errors.New("failure")) },
		"cancelled":                             func(p *twill.Promise[int]) { p.Future().Cancel(nil) },
	}
	for name, settle := range settle {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPromise[int]()
			w := install(p)
			require.False(t, released(w), "still pending")
			settle(p)
			require.True(t, released(w))
			runtime.KeepAlive(p)
		})
	}
	t.Run("canceller_circular_reference_non_final: also while the chain goes on", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		w := install(p)
		tip := twill.ThenFuture(p.Future(), returning(inner.Future()))
		p.Resolve(1)
		requirePending(t, tip)
		require.True(t, released(w))
		runtime.KeepAlive(p)
		runtime.KeepAlive(inner)
	})
}
