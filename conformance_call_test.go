package twill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// maybeDeferred is Call here, and ThenFuture for a function that returns a future.
func TestCall(t *testing.T) {
	t.Run("maybeDeferredSync", func(t *testing.T) {
		kit.RequireValue(t, 3, twill.Call(func() (int, error) { return 3, nil }))
	})
	t.Run("maybeDeferredSyncFailure", func(t *testing.T) {
		kit.RequireFailure(t, kit.ErrFirst, twill.Call(func() (int, error) { return 0, kit.ErrFirst }))
	})
	t.Run("maybeDeferredSyncException", func(t *testing.T) {
		f := twill.Call(func() (int, error) { panic("out of paper") })
		result, ok := f.Poll()
		require.True(t, ok)
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
		require.Equal(t, "out of paper", panicked.Value)
	})
	t.Run("maybeDeferredAsync", func(t *testing.T) {
		p := twill.NewPromise[int]()
		f := twill.ThenFuture(twill.Resolved(0), kit.Returning(p.Future()))
		kit.RequirePending(t, f)
		p.Resolve(1)
		kit.RequireValue(t, 1, f)
	})
	t.Run("maybeDeferredAsyncError", func(t *testing.T) {
		p := twill.NewPromise[int]()
		f := twill.ThenFuture(twill.Resolved(0), kit.Returning(p.Future()))
		p.Reject(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, f)
	})
}

// asFuture and fromFuture: the way out to channels and contexts, and back.
func TestBridges(t *testing.T) {
	closed := func(ch <-chan struct{}) bool {
		select {
		case <-ch:
			return true
		default:
			return false
		}
	}
	t.Run("test_asFuture: Done and Context end with the future", func(t *testing.T) {
		p := twill.NewPromise[int]()
		done, ctx := p.Future().Done(), p.Future().Context()
		require.False(t, closed(done))
		require.NoError(t, ctx.Err())
		p.Resolve(1)
		require.True(t, closed(done))
		require.True(t, closed(ctx.Done()))
		kit.RequireValue(t, 1, p.Future())
	})
	t.Run("a future that is settled already", func(t *testing.T) {
		require.True(t, closed(twill.Resolved(1).Done()))
		require.True(t, closed(twill.Resolved(1).Context().Done()))
	})
	t.Run("test_asFutureFailure: the context tells why", func(t *testing.T) {
		p := twill.NewPromise[int]()
		ctx := p.Future().Context()
		p.Reject(kit.ErrFirst)
		require.True(t, closed(ctx.Done()))
		require.ErrorIs(t, context.Cause(ctx), kit.ErrFirst)
	})
	t.Run("test_asFutureSuccessCancel: one who only watches is left alone by a cancel", func(t *testing.T) {
		p := twill.NewPromise[int]()
		done := p.Future().Done()
		tip := twill.Then(p.Future(), kit.Add(1))
		tip.Cancel(nil)
		require.True(t, closed(done), "watching keeps nothing alive")
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("test_fromFuture: a channel's value", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			f := twill.FromChan(ch)
			synctest.Wait()
			kit.RequirePending(t, f)
			ch <- 4
			synctest.Wait()
			kit.RequireValue(t, 4, f)
		})
	})
	t.Run("a channel that is closed fails the future", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			close(ch)
			f := twill.FromChan(ch)
			synctest.Wait()
			kit.RequireFailure(t, twill.ErrClosed, f)
		})
	})
	t.Run("test_fromFutureDeferredCancelled: a cancelled future takes nothing from its channel", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ch := make(chan int)
			f := twill.FromChan(ch)
			synctest.Wait()
			require.True(t, f.Cancel(kit.ErrFirst))
			synctest.Wait()
			select {
			case ch <- 1:
				t.Error("the value was taken")
			case <-time.After(time.Second):
			}
			kit.RequireCanceled(t, kit.ErrFirst, f)
		})
	})
	t.Run("test_fromFutureFutureCancelled: a context's cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			f := twill.FromContext(ctx)
			kit.RequirePending(t, f)
			cancel(kit.ErrFirst)
			synctest.Wait()
			kit.RequireFailure(t, kit.ErrFirst, f)
		})
	})
	t.Run("cancelling the future of a context does not end the context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := twill.FromContext(ctx)
		require.True(t, f.Cancel(nil))
		require.NoError(t, ctx.Err())
		kit.RequireCanceled(t, nil, f)
	})
	t.Run("a deadline's cause", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			f := twill.FromContext(ctx)
			time.Sleep(time.Minute)
			synctest.Wait()
			kit.RequireFailure(t, context.DeadlineExceeded, f)
		})
	})
}
