package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestCancelWithoutCanceller(t *testing.T) {
	t.Run("noCancellerCancels", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(nil))
		kit.RequireCanceled(t, nil, p.Future())
	})
	t.Run("raisesAfterCancelAndCallback: late values are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		require.False(t, p.Resolve(1))
		require.False(t, p.Resolve(1))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("raisesAfterCancelAndErrback: late failures are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		require.False(t, p.Reject(kit.ErrSecond))
		require.False(t, p.Reject(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancel: the second changes nothing", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(kit.ErrFirst))
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancelAfterCancelAndCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancelAfterCancelAndErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(kit.ErrFirst)
		p.Reject(kit.ErrSecond)
		require.False(t, p.Future().Cancel(kit.ErrSecond))
		kit.RequireCanceled(t, kit.ErrFirst, p.Future())
	})
}

func TestCancelWithCanceller(t *testing.T) {
	t.Run("simpleCanceller: it runs, and later results are refused", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		require.True(t, p.Future().Cancel(nil))
		require.Equal(t, 1, *runs)
		kit.RequireCanceled(t, nil, p.Future())
		require.False(t, p.Resolve(1))
		require.False(t, p.Reject(kit.ErrFirst))
	})
	t.Run("cancellerMultipleCancel: it runs once", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Future().Cancel(nil)
		p.Future().Cancel(nil)
		require.Equal(t, 1, *runs)
	})
	t.Run("a cancel from the canceller does not run it again", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := 0
		p.OnCancel(func(error) {
			runs++
			p.Future().Cancel(kit.ErrSecond)
		})
		p.Future().Cancel(kit.ErrFirst)
		require.Equal(t, 1, runs)
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("cancellerArg: it is told the cause", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var told error
		p.OnCancel(func(cause error) { told = cause })
		p.Future().Cancel(kit.ErrFirst)
		require.Same(t, kit.ErrFirst, told)
	})
	t.Run("cancelAfterCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		kit.RequireValue(t, 1, p.Future())
	})
	t.Run("cancelAfterErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		p.Reject(kit.ErrFirst)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		result, _ := p.Future().Poll()
		require.Same(t, kit.ErrFirst, result.Err)
	})
	t.Run("cancellerThatErrbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Reject(kit.ErrFirst)) })
		p.Future().Cancel(nil)
		result, _ := p.Future().Poll()
		require.Same(t, kit.ErrFirst, result.Err)
	})
	t.Run("cancellerThatCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Resolve(8)) })
		p.Future().Cancel(nil)
		kit.RequireValue(t, 8, p.Future())
	})
	t.Run("a canceller that panics: cancelled all the same, joined with the panic", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { panic(kit.ErrFirst) })
		p.Future().Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
		kit.RequireFailure(t, kit.ErrFirst, p.Future())
		result, _ := p.Future().Poll()
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
	})
}
