package twill_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// work runs until it is canceled or ended by hand. It counts the requests to
// end.
type work struct {
	p     *twill.Promise[int]
	begun atomic.Bool
	ended atomic.Int32
}

func newWork() *work {
	w := &work{p: twill.NewPromise[int]()}
	w.p.OnCancel(func(error) { w.ended.Add(1) })
	return w
}

// requireEnded fails the test unless w was requested to end exactly once, or
// was not begun.
func (w *work) requireEnded(t *testing.T) {
	t.Helper()
	if w.begun.Load() {
		require.Equal(t, 1, int(w.ended.Load()))
	}
}

func (w *work) future() *twill.Future[int] {
	w.begun.Store(true)
	return w.p.Future()
}

// ends are the ways to end a future from below.
var ends = map[string]func(f *twill.Future[int], d time.Duration) *twill.Future[int]{
	"Timeout": func(f *twill.Future[int], d time.Duration) *twill.Future[int] { return f.Timeout(d) },
	"WithContext": func(f *twill.Future[int], d time.Duration) *twill.Future[int] {
		ctx, cancel := context.WithTimeout(context.Background(), d)
		f = f.WithContext(ctx)
		f.Tap(func(int, error) { cancel() })
		return f
	},
	"Cancel": func(f *twill.Future[int], d time.Duration) *twill.Future[int] {
		time.AfterFunc(d, func() { f.Cancel(context.DeadlineExceeded) })
		return f
	},
}

// adopters make a future that waits for f, and then for the result of next.
var adopters = map[string]func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int]{
	"ThenFuture": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.ThenFuture(f, func(int) *twill.Future[int] { return next() })
	},
	"HandleFuture": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.HandleFuture(f, func(int, error) *twill.Future[int] { return next() })
	},
	"CatchFuture": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		f = twill.Then(f, func(int) (int, error) { return 0, kit.ErrBoom })
		return f.CatchFuture(func(error) *twill.Future[int] { return next() })
	},
	"Follow": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		var p twill.Promise[int]
		p.Follow(twill.ThenFuture(f, func(int) *twill.Future[int] { return next() }))
		return p.Future()
	},
	"Series": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.Series(0, func(int) *twill.Future[int] {
			return twill.ThenFuture(f, func(int) *twill.Future[int] { return next() })
		})
	},
	"list": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.Any(twill.ThenFuture(f, func(int) *twill.Future[int] { return next() }))
	},
	"list above": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.ThenFuture(twill.All(f, twill.Resolved(1)), func([]int) *twill.Future[int] { return next() })
	},
	"RunWithFuture": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		var l twill.Lock
		return twill.ThenFuture(f, func(int) *twill.Future[int] { return twill.RunWithFuture(&l, next) })
	},
	"Via": func(f *twill.Future[int], next func() *twill.Future[int]) *twill.Future[int] {
		return twill.ThenFuture(f.Via(func(fn func()) { go fn() }), func(int) *twill.Future[int] { return next() })
	},
}

// A cancel or a bound arrives while a handler further up is running: what the
// chain waits for next is canceled, once, and does not run on.
func TestACancelDuringAHandlerAboveIsNotForgotten(t *testing.T) {
	for end, bound := range ends {
		for kind, adopt := range adopters {
			for depth := 1; depth <= 3; depth++ {
				t.Run(fmt.Sprint(end, "/", kind, "/", depth), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p := twill.NewPromise[int]()
						f := twill.Then(p.Future(), func(v int) (int, error) {
							time.Sleep(30 * time.Millisecond)
							return v, nil
						})
						w := newWork()
						for i := depth; i > 0; i-- {
							f = adopt(f, func() *twill.Future[int] {
								if i > 1 {
									return twill.Resolved(i)
								}
								return w.future()
							})
						}
						f = bound(f, 10*time.Millisecond)
						start := time.Now()
						go p.Resolve(1)
						_, err := f.Await(t.Context())
						require.ErrorIs(t, err, context.DeadlineExceeded)
						if end != "Cancel" {
							require.Equal(t, 10*time.Millisecond, time.Since(start), "a bound ends at its time")
						}
						synctest.Wait()
						time.Sleep(time.Second)
						w.requireEnded(t)
					})
				})
			}
		}
	}
}

// The function that a canceler stops settles the root with a value, while the
// canceler waits for that.
func TestARootThatSettlesWhileItsCancelerRuns(t *testing.T) {
	for end, bound := range ends {
		for kind, adopt := range adopters {
			t.Run(end+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := twill.NewPromise[int]()
					stop, gone := make(chan struct{}), make(chan struct{})
					go func() {
						<-stop
						p.Resolve(1)
						close(gone)
					}()
					p.OnCancel(func(error) {
						close(stop)
						<-gone
					})
					w := newWork()
					f := bound(adopt(p.Future(), w.future), time.Millisecond)
					_, err := f.Await(t.Context())
					require.ErrorIs(t, err, context.DeadlineExceeded)
					synctest.Wait()
					w.requireEnded(t)
				})
			})
		}
	}
}

// A value with which a canceler answers a cancel is an outcome of that cancel:
// what a handler starts with it is not canceled, unless a bound has left it
// without dependents.
func TestWhatACancelerAnswersIsNotCanceled(t *testing.T) {
	for end, bound := range ends {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := twill.NewPromise[int]()
				p.OnCancel(func(error) { p.Resolve(1) })
				w := newWork()
				f := bound(twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return w.future() }), time.Millisecond)
				time.Sleep(time.Second)
				synctest.Wait()
				_, settled := f.Poll()
				if end == "Cancel" {
					require.False(t, settled)
					require.Zero(t, int(w.ended.Load()))
					w.p.Resolve(7)
					kit.RequireValue(t, 7, f)
					return
				}
				require.True(t, settled)
				require.Equal(t, 1, int(w.ended.Load()))
			})
		})
	}
}

// A handler recovers from the cancel by starting something new: a Cancel does
// not cancel the new work, and a bound ends after its time and cancels it,
// once. A Shield protects it.
func TestAHandlerThatRecoversByStartingAnew(t *testing.T) {
	for end, bound := range ends {
		for _, shielded := range []bool{false, true} {
			for depth := range 3 {
				t.Run(fmt.Sprint(end, "/", shielded, "/", depth), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						first, again := newWork(), newWork()
						f := first.future().CatchFuture(func(error) *twill.Future[int] {
							if shielded {
								return again.future().Shield()
							}
							return again.future()
						})
						for range depth {
							f = twill.ThenFuture(f, func(v int) *twill.Future[int] { return twill.Resolved(v) })
						}
						start := time.Now()
						f = bound(f, 10*time.Millisecond)
						time.Sleep(time.Second)
						require.Equal(t, 1, int(first.ended.Load()))
						_, settled := f.Poll()
						require.Equal(t, end != "Cancel", settled)
						if settled {
							_, err := f.Await(t.Context())
							require.ErrorIs(t, err, context.DeadlineExceeded)
						}
						want := 1
						if end == "Cancel" || shielded {
							want = 0
						}
						require.Equal(t, want, int(again.ended.Load()))
						require.Equal(t, time.Second, time.Since(start))
						again.p.Resolve(3)
						synctest.Wait()
						if end == "Cancel" {
							kit.RequireValue(t, 3, f)
						}
					})
				})
			}
		}
	}
}

// A slow canceler delays the bound that has started it, and no other bound.
func TestASecondBoundDoesNotWaitForACanceler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) {
			time.Sleep(time.Minute)
			p.Resolve(1)
		})
		w := newWork()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		f := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return w.future() })
		inner := f.Timeout(time.Second)
		outer := inner.WithContext(ctx)
		start := time.Now()
		_, err := outer.Await(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 2*time.Second, time.Since(start))
		time.Sleep(time.Hour)
		kit.RequireFailure(t, context.DeadlineExceeded, inner)
		require.Equal(t, 1, int(w.ended.Load()), "nothing waits for it")
	})
}

// run is called for each job that ends, even when a cancel of the new future
// comes in that moment.
func TestViaRunsForEachEnd(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		_ = ctx.Done() // so that the future settles some time after the call has ended
		return n, nil
	}, &twill.DispatchOptions{Width: 2})
	var runs sync.WaitGroup
	for i := range 20_000 {
		runs.Add(1)
		via := kit.PutJob(t, q, i, 0).Via(func(fn func()) {
			fn()
			runs.Done()
		})
		for range i % 50 {
			_, _ = via.Poll()
		}
		via.Cancel(nil)
	}
	done := twill.Go(t.Context(), func(context.Context) (struct{}, error) {
		runs.Wait()
		return struct{}{}, nil
	})
	kit.AwaitValue(t, done, struct{}{})
}

// A future that waits in its executor's queue ends at once.
func TestViaEndsWhileItsExecutorIsBusy(t *testing.T) {
	for end, bound := range ends {
		for _, blocks := range []bool{false, true} { // the executor blocks its caller
			t.Run(fmt.Sprint(end, "/", blocks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var queue []func()
					free := make(chan struct{})
					busy := func(fn func()) {
						if blocks {
							<-free
						}
						queue = append(queue, fn)
					}
					p := twill.NewPromise[int]()
					f := p.Future().Via(busy)
					ran := false
					f.Tap(func(int, error) { ran = true })
					f = twill.Then(f, kit.Same[int])
					f = bound(f, 5*time.Millisecond)
					start := time.Now()
					go p.Resolve(1)
					_, err := f.Await(t.Context())
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.Equal(t, 5*time.Millisecond, time.Since(start))
					close(free)
					synctest.Wait()
					require.Len(t, queue, 1)
					queue[0]()
					require.True(t, ran)
				})
			})
		}
	}
	synctest.Test(t, func(t *testing.T) {
		f := twill.Resolved(1).Via(func(func()) {}).Timeout(5 * time.Millisecond)
		_, err := f.Await(t.Context())
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
	})
}

// A source that has settled, but whose earlier handlers are slow, passes its
// outcome to the bound.
func TestABoundTakesAnOutcomeThatIsThere(t *testing.T) {
	for _, end := range []string{"Timeout", "WithContext"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := twill.NewPromise[int]()
				p.Future().Tap(func(int, error) { time.Sleep(time.Hour) })
				f := ends[end](p.Future(), time.Second)
				start := time.Now()
				go p.Resolve(1)
				kit.AwaitValue(t, f, 1)
				require.Equal(t, time.Second, time.Since(start))
				time.Sleep(time.Hour)
			})
		})
	}
}

// A handler or canceler that ends the goroutine of a bound does not keep the
// bound from ending.
func TestABoundEndsThoughItsGoroutineExits(t *testing.T) {
	for _, end := range []string{"Timeout", "WithContext"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWork()
				p := twill.NewPromise[int]()
				p.OnCancel(func(error) { runtime.Goexit() })
				recovered := p.Future().CatchFuture(func(error) *twill.Future[int] { return w.future() })
				f := ends[end](recovered, time.Second)
				f.Tap(func(int, error) { runtime.Goexit() })
				_, err := f.Await(t.Context())
				require.ErrorIs(t, err, context.DeadlineExceeded)
				synctest.Wait()
				require.Equal(t, 1, int(w.ended.Load()))
			})
		})
	}
}

// One deadline is one error, whether the context or the source is noticed
// first; an existing value is passed on.
func TestWithContextGivesOneError(t *testing.T) {
	for _, cause := range []error{kit.ErrBoom, context.DeadlineExceeded, nil} {
		for round := range 300 {
			ctx, cancel := context.WithCancelCause(context.Background())
			var f *twill.Future[int]
			var p twill.Promise[int]
			switch round % 3 {
			case 0:
				f = twill.Go(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })
			case 1:
				f = twill.Go(ctx, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) })
			case 2:
				f = p.Future()
			}
			f = f.WithContext(ctx)
			cancel(cause)
			if round%3 == 2 {
				p.Reject(ctx.Err())
			}
			_, err := f.Await(t.Context())
			require.ErrorIs(t, err, context.Cause(ctx))
			if cause != context.DeadlineExceeded {
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, twill.ErrCanceled)
			} else {
				require.NotErrorIs(t, err, context.Canceled)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := twill.NewPromise[int]()
	f := p.Future().WithContext(ctx)
	cancel()
	if p.Resolve(1) {
		kit.RequireValue(t, 1, f)
	}
	kit.RequireValue(t, 1, twill.Resolved(1).WithContext(ctx))
}

// In a look-up followed by a fetch, no end of a context is lost, however close
// it is to the end of the look-up.
func TestNoTimeoutIsLostInARace(t *testing.T) {
	rounds := 20_000
	if testing.Short() {
		rounds = 2_000
	}
	kit.Watchdog(t, func() {
		for i := range rounds {
			ctx, cancel := context.WithCancel(context.Background())
			p := twill.NewPromise[int]()
			w := newWork()
			f := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return w.future() })
			if i%2 == 0 {
				f = f.WithContext(ctx)
			}
			var wg sync.WaitGroup
			wg.Go(func() { p.Resolve(1) })
			if i%2 == 0 {
				wg.Go(cancel)
			} else {
				wg.Go(func() { f.Cancel(nil) })
			}
			wg.Wait()
			_, err := f.Await(context.Background())
			if !errors.Is(err, twill.ErrCanceled) {
				t.Errorf("round %d: %v", i, err)
			}
			cancel()
		}
	})
}

func TestOnSettled(t *testing.T) {
	t.Run("sees the result, once, and in its turn", func(t *testing.T) {
		var order []string
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) { order = append(order, "tap") })
		stop := p.Future().OnSettled(func(v int, err error) { order = append(order, fmt.Sprint(v, err)) })
		require.Equal(t, 1, kit.Users(p.Future()), "a watch is no dependent")
		p.Resolve(1)
		require.False(t, stop())
		p.Future().OnSettled(func(v int, err error) { order = append(order, fmt.Sprint(v, err)) })
		require.Equal(t, []string{"tap", "1 <nil>", "1 <nil>"}, order)
	})
	t.Run("stops", func(t *testing.T) {
		p := twill.NewPromise[int]()
		stop := p.Future().OnSettled(func(int, error) { t.Error("called") })
		require.True(t, stop())
		require.False(t, stop())
		require.Zero(t, kit.Listeners(p.Future()))
		p.Resolve(1)
	})
	t.Run("handles nothing", func(t *testing.T) {
		r := kit.CollectReports(t)
		kit.Drop(func() { twill.Rejected[int](kit.ErrBoom).OnSettled(func(int, error) {}) })
		r.Await(t, kit.ErrBoom)
		p := twill.NewPromise[int]()
		q := twill.Then(p.Future(), kit.Same[int])
		p.Future().OnSettled(func(int, error) {})
		q.Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, p.Future())
	})
	t.Run("reports a panic", func(t *testing.T) {
		r := kit.CollectReports(t)
		p := twill.NewPromise[int]()
		p.Future().OnSettled(func(int, error) { panic(kit.ErrFirst) })
		after := twill.Then(p.Future(), kit.Same[int])
		p.Resolve(1)
		kit.RequireValue(t, 1, after)
		r.Await(t, kit.ErrFirst)
	})
	t.Run("costs little", func(t *testing.T) {
		if kit.RaceEnabled {
			t.Skip("the race detector allocates")
		}
		fn := func(int, error) {}
		base := testing.AllocsPerRun(100, func() { new(twill.Promise[int]).Resolve(1) })
		got := testing.AllocsPerRun(100, func() {
			p := twill.NewPromise[int]()
			p.Future().OnSettled(fn)
			p.Resolve(1)
		})
		require.LessOrEqual(t, got, base+2, "the watch, and its stop")
	})
}
