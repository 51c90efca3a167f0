package twill_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// The traps into which this queue fell once.

// The size leaves out what is delayed.
func TestTrapSizeCountsDelayedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		kit.PutOpts(t, q, 1, 0, twill.JobOptions{After: time.Hour})
		kit.RequireSize(t, q, 0, 1)
	})
}

// A time beyond all bounds becomes one long ago.
func TestTrapDelaysThatOverflow(t *testing.T) {
	for name, o := range map[string]twill.JobOptions{
		"After": {After: math.MaxInt64},
		"At":    {At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Retry": {Retry: &twill.RetryOptions{Backoff: twill.Constant(math.MaxInt64)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
					time.Sleep(time.Minute)
					return 0, kit.ErrFirst
				}, nil)
				time.Sleep(time.Second)
				j := kit.PutOpts(t, q, 1, 0, o)
				time.Sleep(time.Hour)
				require.Equal(t, twill.JobPending, j.State())
				require.Greater(t, time.Until(j.Due()), 200*365*24*time.Hour)
			})
		})
	}
}

// A delayed put waits for room, and nobody wakes it when its time has come.
func TestTrapDelayedPutWaitFindsASlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Size: -1})
		start := time.Now()
		j, err := q.PutWait(t.Context(), 1, 0, twill.JobOptions{After: time.Second})
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(start))
		kit.AwaitValue(t, &j.Future, 1)
	})
}

// A delayed put that waits for room holds up those behind it, for which there
// is a slot.
func TestTrapDelayedPutWaitHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		kit.PutJob(t, q, time.Second, 0)
		starts := make(chan time.Duration, 2)
		began := time.Now()
		for _, o := range []twill.JobOptions{{After: time.Minute}, {}} {
			go func() {
				j, err := q.PutWait(t.Context(), time.Second, 0, o)
				require.NoError(t, err)
				starts <- j.Started().Sub(began)
			}()
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		require.Equal(t, time.Second, <-starts)
		require.Equal(t, time.Minute, <-starts)
	})
}

// A put that waits is counted as one that was refused.
func TestTrapPutWaitThatWaitsIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		kit.PutJob(t, q, time.Second, 0)
		_, err := q.PutWait(t.Context(), time.Second, 0)
		require.NoError(t, err)
		require.Zero(t, q.Stats().Refused)
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, err = q.PutWait(ctx, time.Second, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, uint64(1), q.Stats().Refused)
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
	})
}

// With ageing, a job that is tried again has lost its place.
func TestTrapRetryKeepsItsPlaceAlsoWithAgeing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			order = append(order, n)
			time.Sleep(time.Second)
			if len(order) == 1 {
				return 0, kit.ErrFirst
			}
			return n, nil
		}, &twill.DispatchOptions{Ageing: time.Minute, Retry: &twill.RetryOptions{Backoff: twill.Constant(0)}})
		for n := range 3 {
			kit.PutJob(t, q, n, 0)
		}
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 0, 1, 2}, order)
	})
}

// A handler that ends its goroutine takes what was to be settled next with it.
func TestTrapHandlerThatExitsLosesNoWaiter(t *testing.T) {
	for name, end := range map[string]func(*twill.ResizableDispatchQueue[int, int], *twill.Job[int, int]){
		"cancel": func(_ *twill.ResizableDispatchQueue[int, int], j *twill.Job[int, int]) { j.Cancel(nil) },
		"clear":  func(q *twill.ResizableDispatchQueue[int, int], _ *twill.Job[int, int]) { q.Clear() },
		"limiter": func(q *twill.ResizableDispatchQueue[int, int], _ *twill.Job[int, int]) {
			q.SetRate(noLimiter{})
			q.Resume()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				q.Pause()
				j := kit.PutJob(t, q, 1, 0)
				j.Tap(func(int, error) { runtime.Goexit() })
				empty := q.Empty()
				go end(q, j)
				synctest.Wait()
				kit.RequireValue(t, struct{}{}, empty)
			})
		})
	}
}

// noLimiter lets nothing pass.
type noLimiter struct{}

func (noLimiter) Wait(context.Context) error { return errors.New("no more today") }

// A job that fails between two attempts leaves its context behind.
func TestTrapJobFailedByTheLimiterReleasesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &countingContext{Context: t.Context()}
		var q *twill.ResizableDispatchQueue[int, int]
		q = twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			require.Equal(t, 1, base.children)
			q.SetRate(noLimiter{})
			return 0, kit.ErrFirst
		}, &twill.DispatchOptions{Context: base})
		j := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Retry: &twill.RetryOptions{Backoff: twill.Constant(time.Second)}})
		_, err := j.Await(t.Context())
		require.ErrorContains(t, err, "no more today")
		synctest.Wait()
		require.Zero(t, base.children)
	})
}

// So does one that is to be tried again and is left over.
func TestTrapJobLeftOverReleasesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &countingContext{Context: t.Context()}
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, kit.ErrFirst },
			&twill.DispatchOptions{Context: base, Retry: &twill.RetryOptions{Backoff: twill.Constant(time.Hour)}})
		j := kit.PutJob(t, q, 1, 0)
		synctest.Wait()
		require.Equal(t, 1, base.children)
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []*twill.Job[int, int]{j}, left)
		require.Zero(t, base.children)
		kit.RequirePending(t, &j.Future)
	})
}

// countingContext counts the contexts that wait for its end.
type countingContext struct {
	context.Context
	children int
}

func (c *countingContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.children++
	return func() bool { c.children--; return true }
}

// A drain that has given up is told of as a failure that nobody looked at.
func TestTrapDrainThatGaveUpIsNotUnhandled(t *testing.T) {
	r := kit.CollectReports(t)
	func() {
		fn, gate := kit.Gated()
		q := twill.NewResizableDispatchQueue(fn, nil)
		kit.PutAll(1, 2)(t, q)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		left, err := q.Drain(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []int{1, 2}, kit.Args(left))
		gate <- nil
		_, err = q.Stop().Await(t.Context())
		require.NoError(t, err)
	}()
	r.SettleGarbage(t)
	require.Empty(t, r.Of(twill.ErrStopped))
}

// A call ends its goroutine and so does a handler of its job, in the last
// moments of that goroutine: then nobody was left to go on.
func TestTrapCallAndHandlerBothExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			if n > 0 {
				runtime.Goexit()
			}
			return n, nil
		}, nil)
		q.Pause()
		for n := range 3 {
			kit.PutJob(t, q, n, -n).Tap(func(int, error) { runtime.Goexit() })
		}
		require.NoError(t, q.Resume())
		synctest.Wait()
		kit.RequireSize(t, q, 0, 0)
		kit.RequireValue(t, struct{}{}, q.Empty())
	})
}

// The same with a limiter in place of the call.
func TestTrapLimiterAndHandlerBothExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := 0
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Rate: kit.LimiterFunc(func(context.Context) error {
			waits++
			runtime.Goexit()
			return nil
		})})
		q.Pause()
		for n := range 3 {
			kit.PutJob(t, q, n, 0).Tap(func(int, error) { runtime.Goexit() })
		}
		require.NoError(t, q.Resume())
		synctest.Wait()
		kit.RequireSize(t, q, 0, 0)
		require.EqualValues(t, 3, q.Stats().Failed)
		require.Equal(t, 3, waits, "one for each job")
	})
}

// The timer for a job that is gone keeps the queue until it goes off.
func TestTrapAlarmForNobody(t *testing.T) {
	delayed := twill.JobOptions{After: time.Hour, Key: "key"}
	for name, end := range map[string]func(q *twill.ResizableDispatchQueue[int, int]){
		"cancel": func(q *twill.ResizableDispatchQueue[int, int]) { q.Pending()[0].Cancel(nil) },
		"clear":  func(q *twill.ResizableDispatchQueue[int, int]) { q.Clear() },
		"stop":   func(q *twill.ResizableDispatchQueue[int, int]) { q.Stop() },
		"join":   func(q *twill.ResizableDispatchQueue[int, int]) { q.Put(1, 0, twill.JobOptions{Key: "key"}) },
	} {
		t.Run(name, func(t *testing.T) {
			var kept weak.Pointer[twill.ResizableDispatchQueue[int, int]]
			kit.Drop(func() {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				kept = weak.Make(q)
				kit.PutOpts(t, q, 1, 0, delayed)
				end(q)
			})
			require.Eventually(t, func() bool {
				runtime.GC()
				return kept.Value() == nil
			}, 10*time.Second, time.Millisecond)
		})
	}
}

// And it still goes off for those that are left.
func TestTrapAlarmIsSetAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		start := time.Now()
		for range 3 {
			kit.PutOpts(t, q, 0, 0, twill.JobOptions{After: time.Second}).Cancel(nil)
			later := kit.PutOpts(t, q, 0, 0, twill.JobOptions{After: time.Hour})
			kit.PutOpts(t, q, 0, 0, twill.JobOptions{After: time.Minute}).Cancel(nil)
			_, err := later.Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, time.Hour, time.Since(start))
			start = time.Now()
		}
	})
}
