package twill_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// The cancellation cases of test_inlinecb: a function that waits for a future,
// here on a goroutine of its own. Two things differ by design: the future of
// Go fails at once, so what a late function makes of its cancel is dropped;
// and Await bounds only the waiting, so the function that wants its own wait
// to take the awaited future down asks for that with WithContext.
func TestGoCancellation(t *testing.T) {
	type result struct {
		value int
		err   error
	}
	for _, setting := range []struct {
		name          string
		stacked, wait int // goroutines around the one that waits; waits that end before the cancel
	}{
		{"direct", 0, 0}, {"stacked", 1, 0}, {"twice stacked", 2, 0}, {"second wait", 0, 1}, {"stacked, second wait", 1, 1},
	} {
		// start runs a function that waits as the setting says and then does what end says.
		start := func(t *testing.T, p *twill.Promise[int], end func(err error) (int, error)) (*twill.Future[int], *result) {
			seen := new(result)
			fn := func(ctx context.Context) (int, error) {
				for range setting.wait {
					if _, err := twill.Resolved(0).Await(ctx); err != nil {
						return 0, err
					}
				}
				_, err := p.Future().WithContext(ctx).Await(ctx)
				seen.value, seen.err = end(err)
				return seen.value, seen.err
			}
			for range setting.stacked {
				inner := fn
				fn = func(ctx context.Context) (int, error) {
					f := twill.Go(ctx, inner)
					return f.WithContext(ctx).Await(ctx)
				}
			}
			f := twill.Go(t.Context(), fn)
			synctest.Wait()
			kit.RequirePending(t, f)
			return f, seen
		}
		cases := map[string]func(t *testing.T){
			"cascadeCancellingOnCancel": func(t *testing.T) {
				p := twill.NewPromise[int]()
				runs := kit.CountCancels(p)
				f, _ := start(t, p, func(err error) (int, error) { return 0, err })
				require.True(t, f.Cancel(kit.ErrFirst))
				kit.RequireCanceled(t, kit.ErrFirst, f)
				synctest.Wait()
				require.Equal(t, 1, *runs)
				kit.RequireFailure(t, twill.ErrCanceled, p.Future())
			},
			"errorFromCanceledDeferred: the function sees the cause": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(err error) (int, error) { return 0, err })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.ErrorIs(t, seen.err, kit.ErrFirst)
			},
			"errorToErrorTranslation: dropped": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) { return 0, kit.ErrSecond })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Same(t, kit.ErrSecond, seen.err)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
			"errorToSuccessTranslation: dropped": func(t *testing.T) {
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) { return 5, nil })
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Equal(t, 5, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
			"asynchronousCancellation: the function goes on waiting for something else": func(t *testing.T) {
				held := make(chan struct{})
				release := sync.OnceFunc(func() { close(held) })
				defer release()
				f, seen := start(t, twill.NewPromise[int](), func(error) (int, error) {
					<-held
					return 6, nil
				})
				f.Cancel(kit.ErrFirst)
				synctest.Wait()
				require.Zero(t, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
				release()
				synctest.Wait()
				require.Equal(t, 6, seen.value)
				kit.RequireCanceled(t, kit.ErrFirst, f)
			},
		}
		for name, test := range cases {
			t.Run(fmt.Sprintf("%s/%s", setting.name, name), func(t *testing.T) { synctest.Test(t, test) })
		}
	}
}

func TestGo(t *testing.T) {
	t.Run("stackUsage: thousands of futures that are ready", func(t *testing.T) {
		f := twill.Go(t.Context(), func(ctx context.Context) (sum int, err error) {
			for i := range 5000 {
				v, err := twill.Resolved(i).Await(ctx)
				if err != nil {
					return 0, err
				}
				sum += v
			}
			return sum, nil
		})
		sum, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5000*4999/2, sum)
	})
	t.Run("a function that never waits", func(t *testing.T) {
		v, err := twill.Go(t.Context(), func(context.Context) (int, error) { return 2, nil }).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, v)
	})
	t.Run("a panic", func(t *testing.T) {
		_, err := twill.Go(t.Context(), func(context.Context) (int, error) { panic(kit.ErrFirst) }).Await(t.Context())
		require.ErrorIs(t, err, kit.ErrFirst)
		var panicked *twill.PanicError
		require.ErrorAs(t, err, &panicked)
	})
	t.Run("an abandoned wait leaves the function running", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			f := twill.Go(t.Context(), func(context.Context) (int, error) {
				<-release
				return 3, nil
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			cancel(kit.ErrFirst)
			_, err := f.Await(ctx)
			require.ErrorIs(t, err, kit.ErrFirst)
			kit.RequirePending(t, f)
			close(release)
			synctest.Wait()
			kit.RequireValue(t, 3, f)
		})
	})
}
