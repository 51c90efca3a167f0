//go:build suites

package conformance_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Faults of other queues. The comment of each test describes the fault, which
// must not occur here.

// The width is raised while a job is put, and no worker is woken.
func TestTrapLostWakeupOnResize(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	kit.Watchdog(t, func() {
		for n := range 20_000 {
			q.SetWidth(n % 2)
			wide := make(chan struct{})
			go func() { q.SetWidth(2); close(wide) }()
			j, err := q.Put(n, 0)
			require.NoError(t, err)
			<-wide
			_, err = j.Await(context.Background())
			require.NoError(t, err)
		}
	})
}

// A worker whose job panics or exits ends without waking another one.
func TestTrapLostWakeupOnWorkerExit(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		if n%2 == 0 {
			runtime.Goexit()
		}
		panic(n)
	}, nil)
	kit.Watchdog(t, func() {
		for n := range 10_000 {
			first, second := kit.PutJob(t, q, n, 0), kit.PutJob(t, q, n+1, 0)
			second.Await(context.Background())
			first.Await(context.Background())
		}
	})
}

// A job is found to be cancelable, and is started before it is canceled.
func TestTrapCancelVersusStart(t *testing.T) {
	const n = 5000
	var calls [n]atomic.Int32
	q := twill.NewResizableDispatchQueue(func(_ context.Context, i int) (int, error) {
		calls[i].Add(1)
		return i, nil
	}, &twill.DispatchOptions{Width: 2})
	var cancels sync.WaitGroup
	jobs := make([]*twill.Job[int, int], n)
	for i := range n {
		j := kit.PutJob(t, q, i, 0)
		jobs[i] = j
		cancels.Go(func() { j.Cancel(nil) })
	}
	cancels.Wait()
	_, err := q.Pause().Await(t.Context())
	require.NoError(t, err)
	for i, j := range jobs {
		_, settled := j.Poll()
		require.True(t, settled)
		require.LessOrEqual(t, calls[i].Load(), int32(1))
		switch state := j.State(); {
		case state == twill.JobFinished:
			kit.RequireValue(t, i, &j.Future)
			require.Equal(t, int32(1), calls[i].Load())
		case j.StartedAt().IsZero():
			require.Equal(t, twill.JobCanceled, state)
			require.Zero(t, calls[i].Load(), "canceled before its start and started all the same")
		default:
			require.Equal(t, twill.JobCanceled, state)
		}
	}
	kit.RequireSize(t, q, 0, 0)
}

// A resume during the drain is refused, and the queue stays paused.
func TestTrapResumeWhilePausing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.PutJob(t, q, time.Second, 0)
		second := kit.PutJob(t, q, time.Second, 0)
		q.Pause()
		require.NoError(t, q.SetWidth(1))
		require.NoError(t, q.Resume())
		require.False(t, q.Paused())
		_, err := second.Await(t.Context())
		require.NoError(t, err)
	})
}

// A second pause saves the width 0 that the first pause has set.
func TestTrapPauseTwice(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 3})
	q.Pause()
	q.Pause()
	require.NoError(t, q.Resume())
	require.Equal(t, 3, q.Width())
	_, err := kit.PutJob(t, q, 1, 0).Await(t.Context())
	require.NoError(t, err)
}

// A pause takes effect only after all jobs that are pending.
func TestTrapPauseDoesNotQueueBehindJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2})
		for range 1000 {
			kit.PutJob(t, q, time.Second, 0)
		}
		start := time.Now()
		_, err := q.Pause().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Second, time.Since(start))
		kit.RequireSize(t, q, 0, 998)
	})
}

// Narrowing blocks until excess workers have ended.
func TestTrapShrinkDoesNotJoinBusyWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 4})
		for range 8 {
			kit.PutJob(t, q, time.Second, 0)
		}
		start := time.Now()
		require.NoError(t, q.SetWidth(1))
		require.Equal(t, start, time.Now())
		kit.RequireSize(t, q, 4, 4)
		time.Sleep(1500 * time.Millisecond)
		kit.RequireSize(t, q, 1, 3)
		q.StopNow()
	})
}

// Canceled jobs stay in the queue until it is their turn.
func TestTrapCanceledJobsAreNotKept(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	var jobs []*twill.Job[int, int]
	for n := range 10_000 {
		jobs = append(jobs, kit.PutJob(t, q, n, n%7))
	}
	for n, j := range jobs {
		j.Cancel(nil)
		_, pending := q.Size()
		require.Equal(t, len(jobs)-n-1, pending)
	}
	require.Empty(t, q.Pending())
}

// A caller that waits for a canceled job waits until a worker is free.
func TestTrapCanceledQueueDoesNotWaitForDeadEntries(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	kit.PutJob(t, q, 0, 0)
	var all []*twill.Job[int, int]
	for n := range 1000 {
		all = append(all, kit.PutJob(t, q, n, 0))
	}
	require.Equal(t, 1000, q.Clear())
	for _, j := range all {
		_, err := j.Await(t.Context())
		require.ErrorIs(t, err, twill.ErrCanceled)
	}
	gate <- nil
}

// A put inside a job waits for the slot that the job holds.
func TestTrapPutFromInsideAJob(t *testing.T) {
	done := make(chan int)
	var q *twill.ResizableDispatchQueue[int, int]
	q = twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		if n == 0 {
			close(done)
			return 0, nil
		}
		_, err := q.Put(n-1, 0)
		return n, err
	}, nil)
	kit.Watchdog(t, func() {
		kit.PutJob(t, q, 1000, 0)
		<-done
	})
}

// A put inside a job of a full queue blocks instead of returning an error.
func TestTrapPutFromInsideAJobOfAFullQueue(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	q = twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		_, err := q.Put(n, 0)
		return n, err
	}, &twill.DispatchOptions{Size: -1})
	kit.Watchdog(t, func() {
		_, err := kit.PutJob(t, q, 1, 0).Await(context.Background())
		require.ErrorIs(t, err, twill.ErrQueueFull)
	})
}

// Callbacks run with a lock held, and must not call the queue.
func TestTrapHandlersMayUseTheQueue(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 2})
	use := func() {
		q.Put(1, 0)
		q.SetWidth(2)
		q.Pause()
		q.Resume()
		q.Pending()
		q.Underway()
		q.Clear()
	}
	kit.Watchdog(t, func() {
		for range 100 {
			kit.PutJob(t, q, 1, 0).Tap(func(int, error) { use() })
			q.Pause().Tap(func(struct{}, error) { use() })
			kit.PutJob(t, q, 2, 0).Tap(func(int, error) { use() })
			kit.PutJob(t, q, 3, 0).Tap(func(int, error) { use() }).Cancel(nil)
			q.Clear()
			q.Resume()
		}
		q.Stop().Tap(func([]*twill.Job[int, int], error) { use() }).Await(context.Background())
	})
}

// Jobs are lost by a stop, or put after it and never run.
func TestTrapStopLosesNoJob(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	for n := range 100 {
		kit.PutJob(t, q, n, 0)
	}
	stopped := q.Stop()
	gate <- nil
	left, err := stopped.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, kit.UpTo(100)[1:], kit.Args(left))
	require.Equal(t, 99, q.Clear())
	for _, j := range left {
		_, err := j.Await(t.Context())
		require.ErrorIs(t, err, twill.ErrCanceled)
	}
}

// Goroutines wait for jobs while the queue is idle.
func TestTrapNoGoroutineOfAnIdleQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if a goroutine is left
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 50})
		for n := range 1000 {
			kit.PutJob(t, q, n, 0)
		}
		synctest.Wait()
		q.Pause()
		kit.PutJob(t, q, 0, 0)
	})
}

// Further faults of other queues: of delays, timeouts, hooks, keys and waits.

// A job whose time limit is exceeded goes on, and another job has its slot.
func TestTrapTimeoutKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, d time.Duration) (time.Duration, error) {
			time.Sleep(d) // regardless of the context
			return d, nil
		}, &twill.DispatchOptions{Timeout: time.Minute})
		slow, next := kit.PutJob(t, q, time.Hour, 0), kit.PutJob(t, q, time.Second, 0)
		_, err := slow.Await(t.Context())
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, twill.JobFailed, slow.State())
		kit.RequireSize(t, q, 1, 1)
		v, err := next.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Second, v)
		require.Equal(t, time.Hour, next.StartedAt().Sub(slow.StartedAt()))
	})
}

// Among the jobs that are due, the job with the earliest due time starts first,
// whatever its priority.
func TestTrapReadyOrderIgnoresDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		kit.PutOpts(t, q, 3, 2, twill.JobOptions{After: time.Second})
		kit.PutOpts(t, q, 2, 1, twill.JobOptions{After: 3 * time.Second})
		kit.PutOpts(t, q, 1, 1, twill.JobOptions{After: 2 * time.Second})
		kit.PutJob(t, q, 4, 3)
		require.Equal(t, []int{4, 3, 1, 2}, kit.Args(q.Pending()), "while they are not due")
		time.Sleep(time.Minute)
		require.Equal(t, []int{2, 1, 3, 4}, kit.Args(q.Pending()), "by priority, and as they were put")
		_, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
	})
}

// A job of low priority never starts while urgent jobs keep arriving.
func TestTrapNoStarvationWithAgeing(t *testing.T) {
	served := func(ageing time.Duration) (low int) {
		synctest.Test(t, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(func(_ context.Context, priority int) (int, error) {
				time.Sleep(time.Second)
				low += priority
				return 0, nil
			}, &twill.DispatchOptions{Ageing: ageing})
			random := rand.New(rand.NewPCG(1, 2))
			for n := range 3000 { // each second 1.02 urgent jobs and 0.02 others, for one worker
				kit.PutJob(t, q, 0, 0)
				for priority := range 2 {
					if random.IntN(50) == 0 {
						kit.PutJob(t, q, priority, priority)
					}
				}
				if n == 0 {
					kit.PutJob(t, q, 0, 0)
				}
				time.Sleep(time.Second)
			}
			_, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
		})
		return low
	}
	strict, ageing := served(0), served(100*time.Second)
	require.LessOrEqual(t, strict, 1, "with priorities alone")
	require.Greater(t, ageing, 40, "of some sixty")
}

// A callback panics, and ends a worker, loses a slot or ends the process.
func TestTrapCallerPanicsInHooks(t *testing.T) {
	previous := twill.OnUnhandled(nil)
	t.Cleanup(func() { twill.OnUnhandled(previous) })
	boom := func() { panic(kit.ErrFirst) }
	for name, o := range map[string]twill.DispatchOptions{
		"nothing":  {},
		"marks":    {High: 1, OnHigh: func(int) { boom() }, OnLow: func(int) { runtime.Goexit() }},
		"tester":   {Retry: &twill.RetryOptions{NewTester: kit.Tester(func(error) error { panic(kit.ErrFirst) })}},
		"backoff":  {Retry: &twill.RetryOptions{Backoff: func(func(time.Duration) bool) { boom() }}},
		"on pause": {Retry: &twill.RetryOptions{OnPause: func(twill.RetryEvent) { boom() }}},
		"on retry": {Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(0), OnRetry: func(twill.RetryEvent) { runtime.Goexit() }}},
	} {
		t.Run(name, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return 0, kit.ErrSecond }, &o)
			q.Use(func(ctx context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
				if j.Arg() == 1 {
					boom()
				}
				return next(ctx)
			})
			kit.Watchdog(t, func() {
				for n := range 20 {
					j := kit.PutJob(t, q, n%2, 0)
					j.Tap(func(int, error) { boom() })
					_, err := j.Await(context.Background())
					require.Error(t, err)
					require.Equal(t, twill.JobFailed, j.State())
				}
				_, err := q.Drain(context.Background())
				require.NoError(t, err)
			})
			kit.RequireSize(t, q, 0, 0)
		})
	}
}

// The queue keeps jobs that it no longer needs: delayed, joined, retried and
// timed out jobs, and puts that were given up.
func TestTrapTakenItemsAreReleased(t *testing.T) {
	type big struct{ _ [1 << 10]byte }
	q := twill.NewResizableDispatchQueue(func(_ context.Context, arg *big) (int, error) { return 0, kit.ErrFirst }, &twill.DispatchOptions{Size: 1})
	var args []weak.Pointer[big]
	arg := func() *big {
		b := new(big)
		args = append(args, weak.Make(b))
		return b
	}
	func() {
		for _, o := range []twill.JobOptions{
			{}, {After: time.Millisecond}, {Timeout: time.Hour}, {Key: "key"},
			{Retry: &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Microsecond), 2)}},
		} {
			j, err := q.PutWait(t.Context(), arg(), 0, o)
			require.NoError(t, err)
			_, err = kit.AwaitSoon(&j.Future)
			require.ErrorIs(t, err, kit.ErrFirst)
		}
		q.Pause()
		kit.PutOpts(t, q, arg(), 0, twill.JobOptions{Key: "key", After: time.Hour})
		kit.PutOpts(t, q, arg(), 0, twill.JobOptions{Key: "key"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := q.PutWait(ctx, arg(), 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 1, q.Clear())
	}()
	require.Eventually(t, func() bool {
		runtime.GC()
		for _, arg := range args {
			if arg.Value() != nil {
				return false
			}
		}
		return true
	}, 10*time.Second, time.Millisecond)
	runtime.KeepAlive(q)
}

// A waiting put at the front that gives up blocks the puts behind it.
func TestTrapWaiterInFrontGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		kit.PutJob(t, q, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 2)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			go func() {
				_, err := q.PutWait(ctx, time.Second, 0)
				errs <- err
			}()
			synctest.Wait()
		}
		cancel(kit.ErrFirst)
		require.ErrorIs(t, <-errs, kit.ErrFirst)
		require.NoError(t, <-errs)
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
	})
}

// A put whose context has ended still takes room.
func TestTrapPutWithAContextThatHasEnded(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrFirst)
	for range 100 {
		_, err := q.PutWait(ctx, 1, 0)
		require.ErrorIs(t, err, kit.ErrFirst)
	}
	require.Zero(t, q.Stats().Put)
}

// A caller that leaves a shared job ends it for all callers, or a caller that
// puts after its end joins the ended job.
func TestTrapLeavingASharedJob(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	first := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "key"})
	second := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "key"})
	require.Same(t, first, second)
	one, other := first.Tap(func(int, error) {}), second.Tap(func(int, error) {})
	require.True(t, one.Cancel(nil))
	kit.RequirePending(t, other)
	require.True(t, other.Cancel(nil))
	kit.RequireFailure(t, twill.ErrCanceled, &first.Future)
	third := kit.PutOpts(t, q, 2, 0, twill.JobOptions{Key: "key"})
	require.NotSame(t, first, third, "the call of the first has not returned yet")
	gate <- nil
	gate <- nil
	kit.AwaitValue(t, &third.Future, 4)
}

// A stop that a job calls waits for itself, or for another stop.
func TestTrapStopFromEverywhere(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	q = twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
		q.Stop()
		q.StopNow()
		return 0, nil
	}, &twill.DispatchOptions{Width: 4})
	kit.Watchdog(t, func() {
		for n := range 8 {
			q.Put(n, 0)
			go q.Stop()
		}
		left, err := q.Stop().Await(context.Background())
		require.NoError(t, err)
		again, err := q.StopNow().Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, left, again)
	})
}

// Faults that this queue once had.

// The size did not count delayed jobs.
func TestTrapSizeCountsDelayedJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		kit.PutOpts(t, q, 1, 0, twill.JobOptions{After: time.Hour})
		kit.RequireSize(t, q, 0, 1)
	})
}

// A time in the far future became a time in the past.
func TestTrapDelaysThatOverflow(t *testing.T) {
	for name, o := range map[string]twill.JobOptions{
		"After": {After: math.MaxInt64},
		"At":    {At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"Retry": {Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(math.MaxInt64)}},
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
				require.Greater(t, time.Until(j.DueAt()), 200*365*24*time.Hour)
			})
		})
	}
}

// A delayed put waited for room, and was not woken when it was due.
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

// A delayed put that waited for room blocked the puts behind it, for which a
// slot was free.
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
				starts <- j.StartedAt().Sub(began)
			}()
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		require.Equal(t, time.Second, <-starts)
		require.Equal(t, time.Minute, <-starts)
	})
}

// A waiting put was counted as a refused one.
func TestTrapPutWaitThatWaitsIsNotRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		kit.PutJob(t, q, time.Second, 0)
		_, err := q.PutWait(t.Context(), time.Second, 0)
		require.NoError(t, err)
		require.Zero(t, q.Stats().Refused)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Millisecond, cancel) // while the put is in line
		_, err = q.PutWait(ctx, time.Second, 0)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, uint64(1), q.Stats().Refused)
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
	})
}

// With ageing, a job that was retried lost its place.
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
		}, &twill.DispatchOptions{Ageing: time.Minute, Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(0)}})
		for n := range 3 {
			kit.PutJob(t, q, n, 0)
		}
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 0, 1, 2}, order)
	})
}

// A handler that ended its goroutine prevented later futures from being
// settled.
func TestTrapHandlerThatExitsLosesNoWaiter(t *testing.T) {
	for name, end := range map[string]func(*twill.ResizableDispatchQueue[int, int], *twill.Job[int, int]){
		"cancel": func(_ *twill.ResizableDispatchQueue[int, int], j *twill.Job[int, int]) { j.Cancel(nil) },
		"clear":  func(q *twill.ResizableDispatchQueue[int, int], _ *twill.Job[int, int]) { q.Clear() },
		"expiry": func(*twill.ResizableDispatchQueue[int, int], *twill.Job[int, int]) {
			time.Sleep(2 * time.Hour)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
				q.Pause()
				j := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Expires: time.Now().Add(time.Hour)})
				j.Tap(func(int, error) { runtime.Goexit() })
				empty := q.Empty()
				done := make(chan struct{})
				go func() {
					defer close(done)
					end(q, j)
				}()
				<-done
				synctest.Wait()
				kit.RequireValue(t, struct{}{}, empty)
			})
		})
	}
}

// A job that failed between two attempts kept its context.
func TestTrapJobFailedInItsPauseReleasesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &countingContext{Context: t.Context()}
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
			require.Equal(t, 1, base.children)
			return 0, kit.ErrFirst
		}, &twill.DispatchOptions{Context: base})
		j := kit.PutOpts(t, q, 1, 0, twill.JobOptions{
			Timeout: time.Minute, Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour)},
		})
		_, err := j.Await(t.Context())
		require.ErrorIs(t, err, kit.ErrFirst)
		require.ErrorAs(t, err, new(*twill.TimeoutError))
		synctest.Wait()
		require.Zero(t, base.children)
	})
}

// So did a job that was left over before a retry.
func TestTrapJobLeftOverReleasesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := &countingContext{Context: t.Context()}
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, kit.ErrFirst },
			&twill.DispatchOptions{Context: base, Retry: &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour)}})
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

// countingContext counts the contexts that watch it.
type countingContext struct {
	context.Context
	children int
}

func (c *countingContext) Done() <-chan struct{} { return make(chan struct{}) }

func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.children++
	return func() bool { c.children--; return true }
}

// A drain that had given up was reported as an unhandled failure.
func TestTrapDrainThatGaveUpIsNotUnhandled(t *testing.T) {
	r := kit.CollectReports(t)
	func() {
		fn, gate := kit.Gated()
		q := twill.NewResizableDispatchQueue(fn, nil)
		kit.PutAll(t, q, 1, 2)
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

// A call ended its goroutine, and so did a handler of its job during that exit:
// then no goroutine continued.
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

// The same fault with a limiter that ends its goroutine at every other call.
func TestTrapLimiterAndHandlerBothExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := 0
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Rate: kit.LimiterFunc(func(context.Context) error {
			waits++
			if waits%2 == 1 {
				runtime.Goexit()
			}
			return nil
		})})
		q.Pause()
		for n := range 3 {
			kit.PutJob(t, q, n, 0).Tap(func(int, error) { runtime.Goexit() })
		}
		require.NoError(t, q.Resume())
		time.Sleep(time.Minute)
		synctest.Wait()
		kit.RequireSize(t, q, 0, 0)
		require.EqualValues(t, 3, q.Stats().Finished)
		require.Equal(t, 6, waits, "two for each job")
	})
}

// The timer for a job that was removed kept the queue in memory until it fired.
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

// The timer still fires for the remaining jobs.
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
