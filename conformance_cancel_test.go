package twill_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// requireCanceled fails the test unless f failed by a cancel with that cause.
func requireCanceled[T any](t *testing.T, cause error, f *twill.Future[T]) {
	t.Helper()
	requireFailure(t, twill.ErrCanceled, f)
	requireFailure(t, context.Canceled, f)
	result, _ := f.Poll()
	var canceled *twill.CanceledError
	require.ErrorAs(t, result.Err, &canceled)
	require.Equal(t, cause, canceled.Cause)
	if cause != nil {
		require.ErrorIs(t, result.Err, cause)
	}
}

// countCancels gives p a canceller that counts its runs.
func countCancels[T any](p *twill.Promise[T]) *int {
	runs := new(int)
	p.OnCancel(func(error) { *runs++ })
	return runs
}

func TestCancelWithoutCanceller(t *testing.T) {
	t.Run("noCancellerCancels", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(nil))
		requireCanceled(t, nil, p.Future())
	})
	t.Run("raisesAfterCancelAndCallback: late values are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(errFirst)
		require.False(t, p.Resolve(1))
		require.False(t, p.Resolve(1))
		requireCanceled(t, errFirst, p.Future())
	})
	t.Run("raisesAfterCancelAndErrback: late failures are refused, each of them", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(errFirst)
		require.False(t, p.Reject(errSecond))
		require.False(t, p.Reject(errSecond))
		requireCanceled(t, errFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancel: the second changes nothing", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Future().Cancel(errFirst))
		require.False(t, p.Future().Cancel(errSecond))
		requireCanceled(t, errFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancelAfterCancelAndCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(errFirst)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(errSecond))
		requireCanceled(t, errFirst, p.Future())
	})
	t.Run("noCancellerMultipleCancelAfterCancelAndErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.Future().Cancel(errFirst)
		p.Reject(errSecond)
		require.False(t, p.Future().Cancel(errSecond))
		requireCanceled(t, errFirst, p.Future())
	})
}

func TestCancelWithCanceller(t *testing.T) {
	t.Run("simpleCanceller: it runs, and later results are refused", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := countCancels(p)
		require.True(t, p.Future().Cancel(nil))
		require.Equal(t, 1, *runs)
		requireCanceled(t, nil, p.Future())
		require.False(t, p.Resolve(1))
		require.False(t, p.Reject(errFirst))
	})
	t.Run("cancellerMultipleCancel: it runs once", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := countCancels(p)
		p.Future().Cancel(nil)
		p.Future().Cancel(nil)
		require.Equal(t, 1, *runs)
	})
	t.Run("a cancel from the canceller does not run it again", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := 0
		p.OnCancel(func(error) {
			runs++
			p.Future().Cancel(errSecond)
		})
		p.Future().Cancel(errFirst)
		require.Equal(t, 1, runs)
		requireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("cancellerArg: it is told the cause", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var told error
		p.OnCancel(func(cause error) { told = cause })
		p.Future().Cancel(errFirst)
		require.Same(t, errFirst, told)
	})
	t.Run("cancelAfterCallback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := countCancels(p)
		p.Resolve(1)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		requireValue(t, 1, p.Future())
	})
	t.Run("cancelAfterErrback", func(t *testing.T) {
		p := twill.NewPromise[int]()
		runs := countCancels(p)
		p.Reject(errFirst)
		require.False(t, p.Future().Cancel(nil))
		require.Zero(t, *runs)
		result, _ := p.Future().Poll()
		require.Same(t, errFirst, result.Err)
	})
	t.Run("cancellerThatErrbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Reject(errFirst)) })
		p.Future().Cancel(nil)
		result, _ := p.Future().Poll()
		require.Same(t, errFirst, result.Err)
	})
	t.Run("cancellerThatCallbacks", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { require.True(t, p.Resolve(8)) })
		p.Future().Cancel(nil)
		requireValue(t, 8, p.Future())
	})
	t.Run("a canceller that panics: cancelled all the same, joined with the panic", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { panic(errFirst) })
		p.Future().Cancel(nil)
		requireFailure(t, twill.ErrCanceled, p.Future())
		requireFailure(t, errFirst, p.Future())
		result, _ := p.Future().Poll()
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
	})
}
