package twill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDone(t *testing.T) {
	p := twill.NewPromise[int]()
	f := p.Future()
	handled := false
	f.Tap(func(int, error) { handled = true })
	done := f.Done()
	require.Equal(t, done, f.Done(), "the same channel")
	require.Equal(t, 2, twill.Listeners(f))
	require.Equal(t, 1, twill.Users(f), "a watcher is no interest")
	select {
	case <-done:
		t.Fatal("closed too early")
	default:
	}
	early := false
	f.Tap(func(int, error) {
		select {
		case <-done:
			early = true
		default:
		}
	})
	p.Resolve(1)
	<-done
	<-f.Done()
	require.True(t, handled)
	require.True(t, early, "it is closed before handlers run")
}

func TestFutureContext(t *testing.T) {
	p := twill.NewPromise[int]()
	ctx := p.Future().Context()
	require.NoError(t, ctx.Err())
	p.Reject(errBoom)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	require.Equal(t, errBoom, context.Cause(ctx))
	require.Equal(t, errBoom, context.Cause(p.Future().Context()))
	require.Equal(t, context.Canceled, context.Cause(twill.Resolved(1).Context()))
}

func TestFromContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f, left := twill.FromContext(ctx), twill.FromContext(ctx)
		require.True(t, left.Cancel(errFirst))
		awaitError(t, left, errFirst)
		requirePending(t, f)
		cancel(errBoom)
		awaitError(t, f, errBoom)
		awaitError(t, twill.FromContext(ctx), errBoom)
	})
}

func TestFromChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan int, 1)
		ch <- 1
		f := twill.FromChan(ch)
		r, ok := f.Poll()
		require.True(t, ok, "a value that is there is taken at once")
		require.Equal(t, 1, r.Value)

		f = twill.FromChan(ch)
		synctest.Wait()
		requirePending(t, f)
		ch <- 2
		awaitValue(t, f, 2)

		f = twill.FromChan(ch)
		require.True(t, f.Cancel(nil))
		awaitError(t, f, twill.ErrCanceled)
		ch <- 3
		awaitValue(t, twill.FromChan(ch), 3)

		f = twill.FromChan(ch)
		close(ch)
		awaitError(t, f, twill.ErrClosed)
		awaitError(t, twill.FromChan(ch), twill.ErrClosed)
	})
}

// A value is either in the future or still in the channel.
func TestFromChanLosesNothing(t *testing.T) {
	for range 2000 {
		ch := make(chan int)
		f := twill.FromChan(ch)
		sent := make(chan bool)
		quit := make(chan struct{})
		go func() {
			select {
			case ch <- 1:
				sent <- true
			case <-quit:
				sent <- false
			}
		}()
		canceled := f.Cancel(nil)
		close(quit)
		got := <-sent
		if canceled {
			require.False(t, got, "received, and lost to the cancel")
		} else {
			require.True(t, got)
			awaitValue(t, f, 1)
		}
	}
}

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, left := twill.After(time.Minute, "tea"), twill.After(time.Hour, "cake")
		begin := time.Now()
		require.True(t, left.Cancel(nil))
		v, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tea", v)
		require.Equal(t, time.Minute, time.Since(begin))
		awaitError(t, left, twill.ErrCanceled)
	})
}

func TestWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var canceled error
		p := twill.NewPromise[int]()
		p.OnCancel(func(cause error) { canceled = cause })
		f := twill.Then(p.Future(), same[int]).WithContext(ctx)
		settled := twill.Resolved(1).WithContext(ctx)
		cancel(errBoom)
		awaitError(t, f, errBoom)
		awaitError(t, f, twill.ErrCanceled)
		require.Equal(t, errBoom, canceled)
		awaitValue(t, settled, 1)
		awaitValue(t, twill.Resolved(2).WithContext(ctx), 2)
		q := twill.NewPromise[int]()
		late := q.Future().WithContext(ctx)
		_, ok := late.Poll()
		require.True(t, ok, "an ended context cancels at once")
		awaitError(t, q.Future(), errBoom)
		awaitError(t, twill.Rejected[int](errFirst).WithContext(context.Background()), errFirst)
	})
}
