package torture_test

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// soaks repeat one thing, beside an object that lives on. Anything that is left
// behind each time shows as a slope of the heap.
var soaks = map[string]func(t *testing.T) func(){
	"abandoned awaits": func(t *testing.T) func() {
		pending := new(twill.Promise[int])
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		return func() {
			_, err := pending.Future().Await(ended)
			require.ErrorIs(t, err, context.Canceled)
		}
	},
	"awaits that time out": func(t *testing.T) func() {
		pending := new(twill.Promise[int])
		return func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
			defer cancel()
			_, err := pending.Future().Await(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
	},
	"listeners that leave": func(t *testing.T) func() {
		shared := new(twill.Promise[int])
		shared.Future().Tap(func(int, error) {})
		return func() {
			f := twill.ThenFuture(twill.Then(shared.Future(), double), twill.Resolved[int])
			require.True(t, f.Cancel(nil))
		}
	},
	"followers that are settled by hand": func(t *testing.T) func() {
		shared := new(twill.Promise[int])
		return func() {
			var p twill.Promise[int]
			p.OnCancel(func(error) {})
			require.True(t, p.Follow(shared.Future()))
			require.True(t, p.Resolve(1))
		}
	},
	"shields that are canceled": func(t *testing.T) func() {
		shared := new(twill.Promise[int])
		return func() { require.True(t, shared.Future().Shield().Cancel(nil)) }
	},
	"losers of an Any that live on": func(t *testing.T) func() {
		shared := new(twill.Promise[int])
		shared.Future().Tap(func(int, error) {})
		return func() {
			var p twill.Promise[int]
			f := twill.Any(shared.Future(), p.Future())
			p.Resolve(1)
			require.NoError(t, failure(f))
		}
	},
	"losers of an All that live on": func(t *testing.T) func() {
		shared := new(twill.Promise[int])
		shared.Future().Tap(func(int, error) {})
		return func() { require.Error(t, failure(twill.All(shared.Future(), twill.Rejected[int](errFailed)))) }
	},
	"waits on a context that lives on": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		return func() {
			var p twill.Promise[int]
			f := p.Future().WithContext(ctx)
			p.Resolve(1)
			require.NoError(t, failure(f))
			require.True(t, twill.FromContext(ctx).Cancel(nil))
		}
	},
	"timers that were not needed": func(t *testing.T) func() {
		return func() {
			var p twill.Promise[int]
			f := p.Future().Timeout(time.Hour)
			p.Resolve(1)
			require.NoError(t, failure(f))
			require.True(t, twill.After(time.Hour, 1).Cancel(nil))
		}
	},
	"goroutines that are canceled": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		return func() {
			ended := make(chan struct{})
			f := twill.Go(ctx, func(ctx context.Context) (int, error) { defer close(ended); <-ctx.Done(); return 0, nil })
			require.True(t, f.Cancel(nil))
			<-ended
		}
	},
	"goroutines that succeed under one parent": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		return func() {
			v, err := twill.Go(ctx, func(ctx context.Context) (int, error) { return 1, ctx.Err() }).Await(context.Background())
			require.NoError(t, err)
			require.Equal(t, 1, v)
		}
	},
	"receives that are canceled": func(t *testing.T) func() {
		ch := make(chan int)
		return func() { require.True(t, twill.FromChan(ch).Cancel(nil)) }
	},
	"members of a pool": func(t *testing.T) func() {
		pool := new(twill.Pool)
		return func() {
			var p twill.Promise[int]
			require.NoError(t, pool.Add(p.Future()))
			next := pool.NextEmpty()
			pool.CancelAll(nil)
			require.NoError(t, failure(next))
			require.True(t, pool.NextEmpty().Cancel(nil))
		}
	},
	"failures nobody takes": func(t *testing.T) func() {
		var told atomic.Int64
		previous := twill.OnUnhandled(func(error) { told.Add(1) })
		t.Cleanup(func() { twill.OnUnhandled(previous) })
		// Each report is a goroutine, for which the runtime keeps memory, so at most
		// this many run at a time.
		const batch = 500
		conc(3*batch, func(int) {})
		made := int64(0)
		return func() {
			if made%batch == 0 { // the previous batch is reported by now
				require.Eventually(t, func() bool { runtime.GC(); return told.Load() >= made-batch }, 20*time.Second, 100*time.Microsecond)
			}
			made++
			twill.Rejected[int](errFailed)
		}
	},
	"futures in debug mode": func(t *testing.T) func() {
		twill.SetDebug(true)
		t.Cleanup(func() { twill.SetDebug(false) })
		return func() { twill.Then(twill.Resolved(1), double).Cancel(nil) }
	},
}
