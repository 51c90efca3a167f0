package twill_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestDispatchStopFromInsideAJob(t *testing.T) {
	var q *twill.ResizableDispatchQueue[int, int]
	var inside *twill.Future[[]*twill.Job[int, int]]
	q = twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		inside = q.Stop()
		_, settled := inside.Poll()
		require.False(t, settled, "not before the job ends that stops")
		return n, nil
	}, nil)
	q.Pause()
	kit.PutAll(t, q, 1, 2)
	first := q.Pending()[0]
	require.NoError(t, q.Resume())
	kit.Watchdog(t, func() {
		_, err := first.Await(context.Background())
		require.NoError(t, err)
		left, err := q.Stop().Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, []int{2}, kit.Args(left))
	})
	_, err := inside.Await(t.Context())
	require.NoError(t, err)
}

// TestDispatchPutRacingStop: a job runs, is left over, or was refused; never
// two of these and never none.
func TestDispatchPutRacingStop(t *testing.T) {
	for range 300 {
		var mu sync.Mutex
		ran := map[int]bool{}
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[n] = true
			return n, nil
		}, &twill.DispatchOptions{Width: 2})
		refused := map[int]bool{}
		var putters sync.WaitGroup
		const each, putting = 10, 3
		for p := range putting {
			putters.Go(func() {
				for n := range each {
					if _, err := q.Put(p*each+n, 0); err != nil {
						mu.Lock()
						refused[p*each+n] = true
						mu.Unlock()
					}
				}
			})
		}
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		putters.Wait()
		again, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.True(t, slices.Equal(left, again))
		over := map[int]bool{}
		for _, j := range left {
			over[j.Arg()] = true
		}
		for n := range each * putting {
			count := 0
			for _, set := range []map[int]bool{ran, refused, over} {
				if set[n] {
					count++
				}
			}
			require.Equal(t, 1, count, "job %d: ran %v, refused %v, left over %v", n, ran[n], refused[n], over[n])
		}
	}
}

func TestDispatchClear(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	first := kit.PutJob(t, q, 0, 0)
	var order []int
	for n := range 5 {
		kit.PutJob(t, q, n, -n).Tap(func(_ int, err error) {
			require.ErrorIs(t, err, twill.ErrCanceled)
			order = append(order, n)
		})
	}
	require.Equal(t, 5, q.Clear())
	require.Equal(t, []int{4, 3, 2, 1, 0}, order, "in the order of dispatch")
	kit.RequireSize(t, q, 1, 0)
	require.Zero(t, q.Clear())
	again := kit.PutJob(t, q, 6, 0)
	gate <- nil
	gate <- nil
	_, err := again.Await(t.Context())
	require.NoError(t, err)
	kit.RequireValue(t, 0, &first.Future)
}

func TestDispatchEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.RequireValue(t, struct{}{}, q.Empty())
		kit.PutJob(t, q, time.Second, 0)
		_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Minute})
		require.NoError(t, err)
		one, two := q.Empty(), q.Empty()
		one.Cancel(nil)
		start := time.Now()
		_, err = two.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 61*time.Second, time.Since(start), "delayed jobs count")

		// The last job leaves by a cancel.
		q.Pause()
		j := kit.PutJob(t, q, time.Second, 0)
		empty := q.Empty()
		kit.RequirePending(t, empty)
		settledBefore := false
		j.Tap(func(time.Duration, error) { _, settledBefore = empty.Poll() })
		j.Cancel(nil)
		require.False(t, settledBefore, "the job's future settles first")
		kit.RequireValue(t, struct{}{}, empty)

		j = kit.PutJob(t, q, time.Second, 0)
		empty = q.Empty()
		q.Stop()
		kit.RequireFailure(t, twill.ErrStopped, empty)
		kit.RequireFailure(t, twill.ErrStopped, q.Empty())
		j.Cancel(nil)
		kit.RequireValue(t, struct{}{}, q.Empty())
	})
}

func TestDrainRunsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q *timedQueue
		var inside error
		q = twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
			d, err := kit.Sleep(ctx, d)
			_, inside = q.Put(1, 0)
			return d, err
		}, nil)
		jobs, err := q.PutAll([]time.Duration{time.Second, time.Second, time.Second}, 0)
		require.NoError(t, err)
		start := time.Now()
		var second error
		go func() { _, second = q.Drain(t.Context()) }()
		left, err := q.Drain(t.Context())
		require.NoError(t, err)
		require.Empty(t, left)
		require.Equal(t, 3*time.Second, time.Since(start))
		synctest.Wait()
		require.NoError(t, second)
		for _, j := range jobs {
			require.Equal(t, twill.JobFinished, j.State())
		}
		require.ErrorIs(t, inside, twill.ErrStopped)
		require.True(t, q.Stopped())
		_, err = q.Put(1, 0)
		require.ErrorIs(t, err, twill.ErrStopped)
		left, err = q.Drain(t.Context())
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func TestDrainWithADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
			time.Sleep(d) // it does not heed its context
			return d, nil
		}, &twill.DispatchOptions{Width: 2})
		_, err := q.PutAll([]time.Duration{time.Second, time.Hour, time.Hour, 3, 4}, 0)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, kit.ErrBoom)
		defer cancel()
		start := time.Now()
		left, err := q.Drain(ctx)
		require.ErrorIs(t, err, kit.ErrBoom)
		require.Equal(t, 2*time.Second, time.Since(start), "calls that go on are not waited for")
		require.Equal(t, []time.Duration{time.Hour, time.Hour, 3, 4}, kit.Args(left))
		for n, want := range []twill.JobState{twill.JobCanceled, twill.JobCanceled, twill.JobPending, twill.JobPending} {
			require.Equal(t, want, left[n].State())
		}
		again, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, left, again, "and Stop says the same when they have ended")
		require.Greater(t, time.Since(start), time.Hour-time.Minute)
	})
}

// TestDrainWhoseContextSaysStopped: the cause of the context is ErrStopped, but
// the queue was not stopped.
func TestDrainWhoseContextSaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		j := kit.PutJob(t, q, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(twill.ErrStopped)
		start := time.Now()
		left, err := q.Drain(ctx)
		require.ErrorIs(t, err, twill.ErrStopped)
		require.Equal(t, []*twill.Job[time.Duration, time.Duration]{j}, left)
		require.Equal(t, start, time.Now(), "what is underway is canceled, not waited for")
	})
}

// TestDrainOfAQueueThatIsStoppedNow: canceled jobs are left over too, even if
// no job is pending.
func TestDrainOfAQueueThatIsStoppedNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		j := kit.PutJob(t, q, time.Hour, 0)
		var left []*twill.Job[time.Duration, time.Duration]
		var err error
		go func() { left, err = q.Drain(t.Context()) }()
		synctest.Wait()
		q.StopNow()
		synctest.Wait()
		require.Equal(t, []*twill.Job[time.Duration, time.Duration]{j}, left)
		require.ErrorIs(t, err, twill.ErrStopped)
	})
}

func TestDrainOfAQueueThatIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		_, err := q.PutAll([]time.Duration{time.Second, 2, 3}, 0)
		require.NoError(t, err)
		var left []*twill.Job[time.Duration, time.Duration]
		go func() { left, err = q.Drain(t.Context()) }()
		synctest.Wait()
		q.Stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.ErrorIs(t, err, twill.ErrStopped)
		require.Equal(t, []time.Duration{2, 3}, kit.Args(left))
		//lint:ignore SA1012 that is what is tested
		require.Panics(t, func() { q.Drain(nil) }) //nolint:staticcheck
	})
}

// every lets one job start in each interval; the interval may change.
type every struct {
	interval time.Duration
	next     time.Time
	waits    int
	underway int
	given    int
}

func (e *every) Wait(ctx context.Context) error {
	e.waits++
	e.underway++
	defer func() { e.underway-- }()
	if d := time.Until(e.next); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	e.next = time.Now().Add(e.interval)
	e.given++
	return nil
}

func TestRateHoldsStartsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &every{interval: time.Second}
		start := time.Now()
		var order []int
		var at []time.Duration
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			order, at = append(order, n), append(at, time.Since(start))
			return n, nil
		}, &twill.DispatchOptions{Width: 10, Rate: limiter})
		for n := range 4 {
			kit.PutJob(t, q, n, 0)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		kit.PutJob(t, q, 9, -1) // more urgent than the jobs that are pending
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 9, 2, 3}, order)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second}, at)
		require.Equal(t, 5, limiter.given, "one for each start")
		require.Zero(t, limiter.underway, "nobody waits any more")
	})
}

func TestRateCountsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &every{interval: time.Second}
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Rate: limiter, Retry: rdqRetry(0, 0)})
		_, err := kit.PutJob(t, q, 2, 0).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, limiter.given)
	})
}

func TestSetRateCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &every{interval: time.Hour}
		start := time.Now()
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 10, Rate: slow})
		kit.PutJob(t, q, 0, 0)
		for range 4 {
			kit.PutJob(t, q, 0, 0)
		}
		synctest.Wait()
		kit.RequireSize(t, q, 0, 4)
		fast := &every{interval: time.Second}
		q.SetRate(fast)
		synctest.Wait()
		require.Zero(t, slow.underway, "the wait that was underway is given up")
		kit.RequireSize(t, q, 0, 3)
		time.Sleep(time.Second)
		synctest.Wait()
		kit.RequireSize(t, q, 0, 2)
		q.SetRate(nil)
		synctest.Wait()
		kit.RequireSize(t, q, 0, 0)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 2, fast.given)
	})
}

// TestRatePermitIsNotLost: a permit that the limiter gives when no job may
// start is used for the next start.
func TestRatePermitIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		waits := 0
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Rate: kit.LimiterFunc(func(context.Context) error {
			waits++
			<-gate // it does not heed the context
			return nil
		})})
		j := kit.PutJob(t, q, time.Second, 0)
		synctest.Wait()
		require.Equal(t, 1, waits)
		j.Cancel(nil)
		gate <- struct{}{}
		synctest.Wait()
		next := kit.PutJob(t, q, time.Second, 0)
		require.Equal(t, twill.JobUnderway, next.State())
		require.Equal(t, 1, waits)

		// A permit of a limiter that was replaced does not count.
		j = kit.PutJob(t, q, time.Second, 0)
		next.Cancel(nil)
		synctest.Wait()
		require.Equal(t, 2, waits)
		q.SetRate(kit.LimiterFunc(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, twill.JobPending, j.State())
		j.Cancel(nil)
	})
}

func TestRateWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &every{interval: time.Hour}
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2, Rate: limiter})
		kit.PutJob(t, q, time.Minute, 0)
		j := kit.PutJob(t, q, time.Minute, 0)
		synctest.Wait()
		require.Equal(t, 1, limiter.underway)
		for _, end := range []func(){
			func() { q.Pause() },
			func() { require.NoError(t, q.SetWidth(1)) },
			func() { require.NoError(t, q.Reprioritize(j, 3)) },
		} {
			end()
			synctest.Wait()
			switch {
			case q.Paused():
				require.Zero(t, limiter.underway)
				require.NoError(t, q.Resume())
			case q.Width() == 1:
				require.Zero(t, limiter.underway, "no slot is free")
				require.NoError(t, q.SetWidth(2))
			default:
				require.Equal(t, 1, limiter.underway)
			}
			synctest.Wait()
			require.Equal(t, 1, limiter.underway)
		}
		q.Stop()
		synctest.Wait()
		require.Zero(t, limiter.underway)
		q.StopNow()
	})
}

// A limiter that fails holds jobs back, and fails none of them: Wait is called
// again after 100 ms, 200 ms and so on, up to 30 s.
func TestRateErrorHoldsJobsBack(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error":  func() error { return kit.ErrBoom },
		"panic":  func() error { panic(kit.ErrBoom) },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var mu sync.Mutex // guards the three variables below, and start
				var calls []time.Duration
				var failures []twill.DispatchEvent[time.Duration, time.Duration]
				broken := true
				limiter := kit.LimiterFunc(func(context.Context) error {
					mu.Lock()
					calls = append(calls, time.Since(start))
					fails := broken
					mu.Unlock()
					if fails {
						return fail()
					}
					return nil
				})
				q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 3, Rate: limiter})
				events := q.Events(t.Context())
				go func() {
					for e := range events {
						if e.Kind == twill.EventRateFailed {
							mu.Lock()
							failures = append(failures, e)
							mu.Unlock()
						}
					}
				}()
				jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
				require.NoError(t, err)
				time.Sleep(3 * time.Minute)
				synctest.Wait()
				ms := time.Millisecond
				mu.Lock()
				require.Equal(t, []time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms, 3100 * ms, 6300 * ms, 12700 * ms, 25500 * ms,
					51100 * ms, 81100 * ms, 111100 * ms, 141100 * ms, 171100 * ms}, calls)
				broken = false
				mu.Unlock()
				require.False(t, q.Paused())
				s := q.Stats()
				require.Equal(t, []uint64{0, 0}, []uint64{s.Failed, s.Finished})
				require.Equal(t, start, s.RateFailingSince)
				require.Equal(t, start, s.RateHeldSince)
				require.NotEmpty(t, s.RateError)
				require.Contains(t, s.String(), s.RateError)
				reason, _ := q.Why(jobs[0])
				require.Equal(t, twill.WaitRate, reason)

				for _, j := range jobs {
					_, err := j.Await(t.Context())
					require.NoError(t, err)
				}
				require.Equal(t, 201100*ms, time.Since(start).Truncate(ms))
				synctest.Wait()
				mu.Lock()
				require.Len(t, failures, 1, "one event for a row of failures")
				if name != "goexit" {
					require.ErrorIs(t, failures[0].Err, kit.ErrBoom)
				}
				broken, calls, start = true, nil, time.Now()
				mu.Unlock()
				s = q.Stats()
				require.True(t, s.RateFailingSince.IsZero() && s.RateHeldSince.IsZero() && s.RateError == "")

				// A new row of failures begins with the shortest pause, and a new limiter
				// ends the row at once.
				j := kit.PutJob(t, q, 1, 0)
				time.Sleep(150 * ms)
				synctest.Wait()
				mu.Lock()
				require.Equal(t, []time.Duration{0, 100 * ms}, calls)
				mu.Unlock()
				q.SetRate(nil)
				_, err = j.Await(t.Context())
				require.NoError(t, err)
				synctest.Wait()
				mu.Lock()
				defer mu.Unlock()
				require.Len(t, failures, 2)
				q.Stop()
			})
		})
	}
}

// A wait that was given up is not a failure of the limiter.
func TestRateWaitThatIsGivenUpIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Rate: &every{interval: time.Hour}})
		_ = kit.PutJob(t, q, 1, 0)
		j := kit.PutJob(t, q, 1, 0)
		time.Sleep(time.Minute)
		require.True(t, j.Cancel(nil))
		synctest.Wait()
		require.Empty(t, q.Stats().RateError)
		q.Stop()
	})
}

func TestRateWithoutPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2, Size: -1, Rate: &every{interval: time.Second}})
		var errs []error
		for range 3 {
			_, err := q.Put(time.Hour, 0)
			errs = append(errs, err)
		}
		require.Equal(t, []error{nil, nil, twill.ErrQueueFull}, errs, "those with a slot may wait for the limit")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		kit.RequireSize(t, q, 2, 0)
		require.True(t, errors.Is(errs[2], twill.ErrQueueFull))
		q.StopNow()
	})
}

func TestDispatchStopAfterNoPuts(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	kit.RequireValue(t, nil, q.Stop())
	kit.RequireValue(t, nil, q.StopNow())
}

func TestDispatchStopGivesEveryCallerTheSameList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		for n := range 5 {
			kit.PutJob(t, q, time.Duration(n+1)*time.Second, -n)
		}
		first, second := q.Stop(), q.Stop()
		require.True(t, first.Cancel(kit.ErrFirst))
		kit.RequireFailure(t, kit.ErrFirst, first)
		kit.RequirePending(t, second)
		q.Pending()[0].Cancel(nil)
		require.NoError(t, q.Reprioritize(q.Pending()[2], -10))
		time.Sleep(time.Second)
		synctest.Wait()

		left, err := second.Await(t.Context())
		require.NoError(t, err)
		want := []time.Duration{2 * time.Second, 4 * time.Second, 3 * time.Second}
		require.Equal(t, want, kit.Args(left), "as it was when the last call returned")
		left[0] = nil
		left, err = q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, kit.Args(left), "each has a list of its own")

		require.True(t, left[1].Cancel(nil))
		require.NoError(t, q.Reprioritize(left[0], 10))
		require.Equal(t, []time.Duration{3 * time.Second, 2 * time.Second}, kit.Args(q.Pending()))
		require.Equal(t, 2, q.Clear())
		left, err = q.StopNow().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, kit.Args(left), "the list does not change any more")
		for _, j := range left {
			require.Equal(t, twill.JobCanceled, j.State())
		}
	})
}

func TestDispatchStopNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 2)
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return n, nil
		}, &twill.DispatchOptions{Width: 2})
		kit.PutAll(t, q, 0, 1, 2)
		time.Sleep(100 * time.Millisecond)
		underway := q.Underway()
		stopped := q.StopNow()
		for _, j := range underway {
			kit.RequireFailure(t, twill.ErrStopped, &j.Future)
			kit.RequireFailure(t, twill.ErrCanceled, &j.Future)
		}
		left, err := stopped.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 1, 2}, kit.Args(left))
		for i, want := range []twill.JobState{twill.JobCanceled, twill.JobCanceled, twill.JobPending} {
			require.Equal(t, want, left[i].State())
		}
		kit.RequirePending(t, &left[2].Future)
		kit.RequireSize(t, q, 0, 1)
		require.ErrorIs(t, <-causes, twill.ErrStopped)
		require.ErrorIs(t, <-causes, twill.ErrStopped)
	})
}

func TestDispatchStopNowAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 3})
		quick := kit.PutJob(t, q, time.Second, 0)
		slow := kit.PutJob(t, q, time.Hour, 0)
		canceled := kit.PutJob(t, q, time.Hour, 0)
		pending := kit.PutJob(t, q, time.Hour, 0)
		stopped := q.Stop()
		canceled.Cancel(nil)
		time.Sleep(2 * time.Second)
		kit.RequireValue(t, time.Second, &quick.Future)
		kit.RequirePending(t, stopped)
		now := q.StopNow()
		synctest.Wait()
		for _, f := range []*twill.Future[[]*twill.Job[time.Duration, time.Duration]]{stopped, now} {
			left, err := f.Await(t.Context())
			require.NoError(t, err)
			require.True(t, slices.Equal([]*twill.Job[time.Duration, time.Duration]{slow, pending}, left),
				"those that StopNow canceled, then the pending ones")
		}
	})
}

func TestDispatchStopNowLeavesAloneWhatWasCanceledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := kit.Gated()
		q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2})
		before, now := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
		before.Cancel(kit.ErrFirst)
		at := before.EndedAt()
		time.Sleep(time.Second)
		stopped := q.StopNow()
		again := q.StopNow()
		gate <- nil
		gate <- nil
		for _, f := range []*twill.Future[[]*twill.Job[int, int]]{stopped, again} {
			left, err := f.Await(t.Context())
			require.NoError(t, err)
			require.True(t, slices.Equal([]*twill.Job[int, int]{now}, left))
		}
		require.Equal(t, at, before.EndedAt())
		kit.RequireFailure(t, kit.ErrFirst, &before.Future)
		kit.RequireFailure(t, twill.ErrStopped, &now.Future)
	})
}

func TestDispatchCanceledStopDoesNothingToTheQueue(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	kit.PutAll(t, q, 1, 2)
	only := q.Stop()
	require.True(t, only.Cancel(kit.ErrFirst))
	kit.RequireFailure(t, kit.ErrFirst, only)
	require.True(t, q.Stopped())
	later := q.Stop()
	gate <- nil
	left, err := later.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{2}, kit.Args(left))
}

// rdqTimed is a queue of calls that take 200 ms.
type rdqTimed = twill.ResizableDispatchQueue[int, int]

// rdqAt is an action on a queue at a time, in milliseconds.
type rdqAt struct {
	at int
	do func(t *testing.T, q *rdqTimed)
}

func rdqPut(args ...int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { kit.PutAll(t, q, args...) }
}

func rdqWidth(n int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { require.NoError(t, q.SetWidth(n)) }
}

func rdqResume(t *testing.T, q *rdqTimed) { require.NoError(t, q.Resume()) }

func rdqPause(_ *testing.T, q *rdqTimed) { q.Pause() }

func rdqSizes(underway, pending int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { kit.RequireSize(t, q, underway, pending) }
}

func rdqPending(args ...int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { require.Equal(t, args, kit.Args(q.Pending())) }
}

// TestDispatchTiming has the cases of TestTiming in txRDQ's test suite: jobs
// put at the start, later actions, and the jobs that a stop at the end leaves
// over.
func TestDispatchTiming(t *testing.T) {
	for name, c := range map[string]struct {
		width, jobs int
		script      []rdqAt
		stop        int
		left        []int
	}{
		"justOne":                     {1, 3, nil, 1, []int{1, 2}},
		"justOneWithZeroInitialWidth": {0, 3, []rdqAt{{0, rdqWidth(1)}}, 1, []int{1, 2}},
		"oneUnderway":                 {1, 3, nil, 20, []int{1, 2}},
		"sequential":                  {1, 3, nil, 500, []int{}},
		"parallel":                    {3, 3, nil, 1, []int{}},
		"widen":                       {2, 8, []rdqAt{{100, rdqWidth(10)}}, 250, []int{}},
		"narrow":                      {2, 8, []rdqAt{{100, rdqWidth(1)}}, 300, []int{3, 4, 5, 6, 7}},
		"narrowNarrow":                {3, 8, []rdqAt{{100, rdqWidth(2)}, {300, rdqWidth(1)}}, 500, []int{6, 7}},
		"narrowNarrowWiden":           {3, 11, []rdqAt{{100, rdqWidth(2)}, {300, rdqWidth(1)}, {700, rdqWidth(3)}}, 899, []int{10}},
		"pause":                       {1, 3, []rdqAt{{100, rdqPause}, {250, rdqPending(1, 2)}}, 300, []int{1, 2}},
		"pauseStop":                   {1, 3, []rdqAt{{100, rdqPause}}, 150, []int{1, 2}},
		"pauseAddStop":                {1, 3, []rdqAt{{100, rdqPause}, {120, rdqPut(7, 8, 9)}}, 180, []int{1, 2, 7, 8, 9}},
		"pauseResumeStop":             {1, 3, []rdqAt{{100, rdqPause}, {500, rdqResume}}, 600, []int{2}},
		"pauseWidenResumeStop":        {1, 3, []rdqAt{{100, rdqPause}, {200, rdqWidth(2)}, {500, rdqResume}}, 600, []int{}},
		"pausePlayAroundResumeStop":   {1, 3, []rdqAt{{100, rdqPause}, {200, rdqWidth(100)}, {220, rdqWidth(0)}, {240, rdqWidth(2)}, {500, rdqResume}}, 600, []int{}},
		"sizeAfterStarting":           {1, 3, []rdqAt{{40, rdqSizes(1, 2)}}, 100, []int{1, 2}},
		"setWidthToZero":              {3, 0, []rdqAt{{10, rdqWidth(0)}, {20, rdqPut(4, 5)}, {30, rdqSizes(0, 2)}}, 300, []int{4, 5}},
		"puttingMoreThanWidth":        {3, 5, []rdqAt{{0, rdqSizes(3, 2)}}, 1, []int{3, 4}},
		"pauseTwiceResume":            {2, 4, []rdqAt{{100, rdqPause}, {110, rdqPause}, {300, rdqResume}, {310, rdqSizes(2, 0)}}, 320, []int{}},
		"resumeWhenNeverPaused":       {1, 2, []rdqAt{{100, rdqResume}, {110, rdqSizes(1, 1)}}, 120, []int{1}},
		"resumeBeforeDrained":         {1, 2, []rdqAt{{100, rdqPause}, {110, rdqResume}, {250, rdqSizes(1, 0)}}, 260, []int{}},
		"narrowToZeroAndBackAtOnce":   {2, 4, []rdqAt{{100, rdqWidth(0)}, {100, rdqWidth(2)}, {110, rdqSizes(2, 2)}, {210, rdqSizes(2, 0)}}, 220, []int{}},
		"narrowNarrowWidenNarrow":     {3, 14, []rdqAt{{100, rdqWidth(2)}, {100, rdqPending(3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)}, {250, rdqPending(5, 6, 7, 8, 9, 10, 11, 12, 13)}, {300, rdqWidth(1)}, {700, rdqWidth(3)}, {850, rdqWidth(1)}}, 1350, []int{12, 13}},
		"sizeAfterWiden":              {2, 8, []rdqAt{{20, rdqSizes(2, 6)}, {50, rdqWidth(4)}, {70, rdqSizes(4, 4)}, {100, rdqWidth(10)}, {150, rdqSizes(8, 0)}, {240, rdqSizes(6, 0)}, {280, rdqSizes(4, 0)}, {330, rdqSizes(0, 0)}}, 350, []int{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
					time.Sleep(200 * time.Millisecond)
					return n, nil
				}, nil)
				require.NoError(t, q.SetWidth(c.width))
				kit.PutAll(t, q, kit.UpTo(c.jobs)...)
				for _, step := range c.script {
					time.Sleep(time.Until(start.Add(time.Duration(step.at) * time.Millisecond)))
					synctest.Wait()
					step.do(t, q)
				}
				time.Sleep(time.Until(start.Add(time.Duration(c.stop) * time.Millisecond)))
				synctest.Wait()
				stopped := q.Stop()
				require.True(t, q.Stopped())
				require.Zero(t, q.Width())
				require.ErrorIs(t, q.SetWidth(5), twill.ErrStopped)
				left, err := stopped.Await(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.left, kit.Args(left))
				kit.RequireSize(t, q, 0, len(c.left))
				for _, j := range left {
					require.Equal(t, twill.JobPending, j.State())
				}
			})
		})
	}
}

func TestDispatchWidthWhilePaused(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 10})
	q.Pause()
	require.Equal(t, 10, q.Width(), "a pause does not touch the width")
	require.NoError(t, q.SetWidth(3))
	require.Equal(t, 3, q.Width())
	require.NoError(t, q.ResumeWidth(0))
	require.Zero(t, q.Width())
	require.False(t, q.Paused())
	j := kit.PutJob(t, q, 1, 0)
	require.Equal(t, twill.JobPending, j.State())
	require.NoError(t, q.ResumeWidth(10), "also when it is not paused")
	_, err := j.Await(t.Context())
	require.NoError(t, err)
}

func TestDispatchPauseSettlesWhenDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2})
		kit.RequireValue(t, struct{}{}, q.Pause())
		require.NoError(t, q.Resume())
		for range 3 {
			kit.PutJob(t, q, time.Second, 0)
		}
		first, second := q.Pause(), q.Pause()
		kit.RequirePending(t, first)
		first.Cancel(kit.ErrFirst)
		kit.RequireFailure(t, kit.ErrFirst, first)
		require.True(t, q.Paused(), "who waits for a pause does not own it")
		time.Sleep(time.Second)
		synctest.Wait()
		kit.RequireValue(t, struct{}{}, second)
		kit.RequireSize(t, q, 0, 1)
		kit.RequireValue(t, struct{}{}, q.Pause())
	})
}

func TestDispatchPauseResumedBeforeDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.PutJob(t, q, time.Second, 0)
		drained := q.Pause()
		require.NoError(t, q.Resume())
		kit.RequireFailure(t, twill.ErrResumed, drained)
		kit.RequireFailure(t, twill.ErrCanceled, drained)
		again := q.Pause()
		kit.RequirePending(t, again)
		time.Sleep(time.Second)
		synctest.Wait()
		kit.RequireValue(t, struct{}{}, again)
	})
}

func TestDispatchPauseWaitsForCallsThatWereCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := kit.Gated()
		q := twill.NewResizableDispatchQueue(fn, nil)
		j := kit.PutJob(t, q, 1, 0)
		drained, stopped := q.Pause(), q.Stop()
		j.Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, &j.Future)
		synctest.Wait()
		kit.RequirePending(t, drained)
		kit.RequirePending(t, stopped)
		gate <- nil
		synctest.Wait()
		kit.RequireValue(t, struct{}{}, drained)
		kit.RequireValue(t, nil, stopped)
	})
}

// TestDispatchIsDrainedWhenHandlersHaveRun: one job has ended, but a handler of
// its future has not; then another job ends.
func TestDispatchIsDrainedWhenHandlersHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := kit.Gated()
		q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2})
		handler := make(chan struct{})
		kit.PutJob(t, q, 1, 0).Tap(func(int, error) { <-handler })
		kit.PutJob(t, q, 2, 0).Tap(func(int, error) { <-handler })
		pending := kit.PutJob(t, q, 3, 0)
		gate <- nil
		synctest.Wait()
		kit.RequireSize(t, q, 1, 1)
		require.Equal(t, twill.JobPending, pending.State(), "the slot is still in use")
		gate <- nil
		synctest.Wait()
		kit.RequireSize(t, q, 0, 1)
		drained, stopped := q.Pause(), q.Stop()
		kit.RequirePending(t, drained)
		kit.RequirePending(t, stopped)
		handler <- struct{}{}
		synctest.Wait()
		kit.RequirePending(t, drained)
		kit.RequirePending(t, stopped)
		handler <- struct{}{}
		synctest.Wait()
		kit.RequireValue(t, struct{}{}, drained)
		left, err := stopped.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{3}, kit.Args(left))
	})
}
