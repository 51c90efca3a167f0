package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// A DeferredList hands a cancel on to its members, and fires with what becomes
// of them, by its own flags.
func TestDeferredListCancel(t *testing.T) {
	list := func(flags twill.ListFlags) ([]*twill.Promise[int], *twill.DeferredList[int]) {
		ps, fs := kit.Promises(2)
		return ps, twill.NewDeferredList(fs, flags)
	}
	requireResults := func(t *testing.T, l *twill.DeferredList[int], check func(r []twill.Result[int])) {
		t.Helper()
		r, ok := l.Poll()
		require.True(t, ok)
		require.NoError(t, r.Err)
		require.Equal(t, -1, r.Value.Index)
		require.Len(t, r.Value.Results, 2)
		check(r.Value.Results)
	}
	bothCanceled := func(r []twill.Result[int]) {
		require.ErrorIs(t, r[0].Err, twill.ErrCanceled)
		require.ErrorIs(t, r[1].Err, twill.ErrCanceled)
	}
	t.Run("cancelDeferredList", func(t *testing.T) {
		_, l := list(0)
		require.True(t, l.Cancel(nil))
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListCallback: a member's canceller gives a value", func(t *testing.T) {
		ps, l := list(0)
		ps[0].OnCancel(func(error) { ps[0].Resolve(7) })
		l.Cancel(nil)
		requireResults(t, l, func(r []twill.Result[int]) {
			require.Equal(t, twill.Result[int]{Value: 7}, r[0])
			require.ErrorIs(t, r[1].Err, twill.ErrCanceled)
		})
	})
	t.Run("cancelDeferredListWithFireOnOneCallback", func(t *testing.T) {
		_, l := list(twill.FireOnOneCallback)
		l.Cancel(nil)
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListWithFireOnOneCallbackAndDeferredCallback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneCallback)
		ps[1].OnCancel(func(error) { ps[1].Resolve(7) })
		l.Cancel(nil)
		kit.RequireValue(t, twill.ListResult[int]{Index: 1, Value: 7}, &l.Future)
		kit.RequireCanceled(t, nil, ps[0].Future())
	})
	t.Run("cancelDeferredListWithFireOnOneErrback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		l.Cancel(kit.ErrFirst)
		r, ok := l.Poll()
		require.True(t, ok)
		var at *twill.IndexError
		require.ErrorAs(t, r.Err, &at)
		require.Zero(t, at.Index)
		require.ErrorIs(t, r.Err, twill.ErrCanceled)
		require.ErrorIs(t, r.Err, kit.ErrFirst)
		kit.RequireCanceled(t, kit.ErrFirst, ps[1].Future())
	})
	t.Run("cancelDeferredListWithFireOnOneErrbackAllDeferredsCallback", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		for i, p := range ps {
			p.OnCancel(func(error) { p.Resolve(i) })
		}
		l.Cancel(nil)
		requireResults(t, l, func(r []twill.Result[int]) {
			require.Equal(t, []twill.Result[int]{{Value: 0}, {Value: 1}}, r)
		})
	})
	t.Run("cancelDeferredListWithOriginalDeferreds: one that was cancelled by hand before", func(t *testing.T) {
		ps, l := list(0)
		runs := kit.CountCancels(ps[1])
		ps[0].Future().Cancel(kit.ErrFirst)
		l.Cancel(kit.ErrSecond)
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, kit.ErrFirst, ps[0].Future())
		kit.RequireCanceled(t, kit.ErrSecond, ps[1].Future())
		requireResults(t, l, bothCanceled)
	})
	t.Run("cancelDeferredListWithException: a canceller that panics keeps none from being cancelled", func(t *testing.T) {
		ps, l := list(0)
		ps[0].OnCancel(func(error) { panic(kit.ErrBoom) })
		runs := kit.CountCancels(ps[1])
		l.Cancel(nil)
		require.Equal(t, 1, *runs)
		requireResults(t, l, bothCanceled)
		kit.RequireFailure(t, kit.ErrBoom, ps[0].Future())
	})
	t.Run("cancelFiredOnOneCallbackDeferredList: the rest is left alone", func(t *testing.T) {
		ps, l := list(twill.FireOnOneCallback)
		ps[0].Resolve(1)
		require.False(t, l.Cancel(nil))
		kit.RequirePending(t, ps[1].Future())
		kit.RequireValue(t, twill.ListResult[int]{Index: 0, Value: 1}, &l.Future)
	})
	t.Run("cancelFiredOnOneErrbackDeferredList: the rest is left alone", func(t *testing.T) {
		ps, l := list(twill.FireOnOneErrback)
		ps[0].Reject(kit.ErrFirst)
		require.False(t, l.Cancel(nil))
		kit.RequirePending(t, ps[1].Future())
		kit.RequireFailure(t, kit.ErrFirst, &l.Future)
	})
}

func TestAllCancel(t *testing.T) {
	t.Run("cancelGatherResults: it is the first member's cancel", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		all := twill.All(fs...)
		require.True(t, all.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, twill.ErrCanceled, all)
		kit.RequireFailure(t, kit.ErrFirst, all)
		for _, p := range ps {
			kit.RequireCanceled(t, kit.ErrFirst, p.Future())
		}
	})
	t.Run("cancelGatherResultsWithAllDeferredsCallback", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		for i, p := range ps {
			p.OnCancel(func(error) { p.Resolve(i) })
		}
		all := twill.All(fs...)
		all.Cancel(nil)
		kit.RequireValue(t, []int{0, 1}, all)
	})
}

func TestAnyCancel(t *testing.T) {
	t.Run("test_cancel: all are cancelled, and say so", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		one := twill.Any(fs...)
		require.True(t, one.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, twill.ErrCanceled, one)
		for _, p := range ps {
			kit.RequireCanceled(t, kit.ErrFirst, p.Future())
		}
	})
	t.Run("test_resultFromCancel: a canceller's value wins", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		ps[1].OnCancel(func(error) { ps[1].Resolve(7) })
		one := twill.Any(fs...)
		one.Cancel(nil)
		kit.RequireValue(t, 7, one)
		kit.RequireCanceled(t, nil, ps[0].Future())
	})
	t.Run("test_resultAfterCancel: what a loser says later is of no interest", func(t *testing.T) {
		ps, fs := kit.Promises(2)
		one := twill.Any(fs...)
		ps[0].Resolve(1)
		require.False(t, ps[1].Resolve(2))
		require.False(t, ps[1].Reject(kit.ErrFirst))
		kit.RequireValue(t, 1, one)
	})
}
