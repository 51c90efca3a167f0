package twill_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// every lets one job start in each interval; it may change.
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

// limiterFunc is a limiter of a type that cannot be compared.
type limiterFunc func(context.Context) error

func (fn limiterFunc) Wait(ctx context.Context) error { return fn(ctx) }

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
			rdqPut(t, q, n, 0)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		rdqPut(t, q, 9, -1) // more urgent than those that wait already
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
		_, err := rdqPut(t, q, 2, 0).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, limiter.given)
	})
}

func TestSetRateCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &every{interval: time.Hour}
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 10, Rate: slow})
		rdqPut(t, q, 0, 0)
		for range 4 {
			rdqPut(t, q, 0, 0)
		}
		synctest.Wait()
		requireSize(t, q, 0, 4)
		fast := &every{interval: time.Second}
		q.SetRate(fast)
		synctest.Wait()
		require.Zero(t, slow.underway, "the wait that was underway is given up")
		requireSize(t, q, 0, 3)
		time.Sleep(time.Second)
		synctest.Wait()
		requireSize(t, q, 0, 2)
		q.SetRate(nil)
		synctest.Wait()
		requireSize(t, q, 0, 0)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, 2, fast.given)
	})
}

// TestRatePermitIsNotLost: what the limiter has given when nothing may start is
// used for the next start.
func TestRatePermitIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		waits := 0
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Rate: limiterFunc(func(context.Context) error {
			waits++
			<-gate // it does not heed the context
			return nil
		})})
		j := rdqPut(t, q, time.Second, 0)
		synctest.Wait()
		require.Equal(t, 1, waits)
		j.Cancel(nil)
		gate <- struct{}{}
		synctest.Wait()
		next := rdqPut(t, q, time.Second, 0)
		require.Equal(t, twill.JobUnderway, next.State())
		require.Equal(t, 1, waits)

		// Given by a limiter that is no longer in force, it counts for nothing.
		j = rdqPut(t, q, time.Second, 0)
		next.Cancel(nil)
		synctest.Wait()
		require.Equal(t, 2, waits)
		q.SetRate(limiterFunc(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }))
		gate <- struct{}{}
		synctest.Wait()
		require.Equal(t, twill.JobPending, j.State())
		j.Cancel(nil)
	})
}

func TestRateWaitsForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &every{interval: time.Hour}
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 2, Rate: limiter})
		rdqPut(t, q, time.Minute, 0)
		j := rdqPut(t, q, time.Minute, 0)
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

func TestRateErrorFailsTheJob(t *testing.T) {
	for name, wait := range map[string]func(context.Context) error{
		"error":  func(context.Context) error { return errBoom },
		"panic":  func(context.Context) error { panic(errBoom) },
		"goexit": func(context.Context) error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 3, Rate: limiterFunc(wait)})
				jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
				require.NoError(t, err)
				for _, j := range jobs {
					_, err := j.Await(t.Context())
					require.ErrorContains(t, err, "twill: rate limit: ")
					if name == "goexit" {
						require.ErrorIs(t, err, twill.ErrGoexit)
					} else {
						require.ErrorIs(t, err, errBoom)
					}
					require.Equal(t, twill.JobFailed, j.State())
					require.Zero(t, j.Started())
				}
				q.SetRate(nil)
				_, err = rdqPut(t, q, 1, 0).Await(t.Context())
				require.NoError(t, err)
			})
		})
	}
}

// TestRateErrorWithAHandlerThatExits: the handler of a job that the limiter
// failed ends the goroutine, and the others are failed nevertheless.
func TestRateErrorWithAHandlerThatExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Rate: limiterFunc(func(context.Context) error { return errBoom })})
		q.Pause()
		jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
		require.NoError(t, err)
		for _, j := range jobs {
			j.Tap(func(time.Duration, error) { runtime.Goexit() }).Catch(func(error) (time.Duration, error) { return 0, nil })
		}
		require.NoError(t, q.Resume())
		synctest.Wait()
		for _, j := range jobs {
			requireFailure(t, errBoom, &j.Future)
		}
	})
}

func TestRateWithoutPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 2, Size: -1, Rate: &every{interval: time.Second}})
		var errs []error
		for range 3 {
			_, err := q.Put(time.Hour, 0)
			errs = append(errs, err)
		}
		require.Equal(t, []error{nil, nil, twill.ErrQueueFull}, errs, "those with a slot may wait for the limit")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		requireSize(t, q, 2, 0)
		require.True(t, errors.Is(errs[2], twill.ErrQueueFull))
		q.StopNow()
	})
}
