package twill_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// More of the traps into which other queues fall: those of delays, timeouts,
// hooks, keys and waits.

// A task that is out of time goes on, and another one has its slot.
func TestTrapTimeoutKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, d time.Duration) (int, error) {
			time.Sleep(d) // whatever its context says
			return 1, nil
		}, &twill.DispatchOptions{Timeout: time.Minute})
		slow, next := kit.PutJob(t, q, time.Hour, 0), kit.PutJob(t, q, time.Second, 0)
		_, err := slow.Await(t.Context())
		var timeout *twill.TimeoutError
		require.ErrorAs(t, err, &timeout)
		require.Equal(t, twill.JobFailed, slow.State())
		kit.RequireSize(t, q, 1, 1)
		awaitAt(t, next, 1)
		require.Equal(t, time.Hour, next.Started().Sub(slow.Started()))
	})
}

func awaitAt[A any](t *testing.T, j *twill.Job[A, int], want int) {
	t.Helper()
	v, err := j.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, v)
}

// Of the jobs that are ready, the one that has been so the longest comes first,
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

// A job of low priority is never run while urgent ones come in without end.
func TestTrapNoStarvationWithAgeing(t *testing.T) {
	served := func(ageing time.Duration) (low int) {
		synctest.Test(t, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(func(_ context.Context, priority int) (int, error) {
				time.Sleep(time.Second)
				low += priority
				return 0, nil
			}, &twill.DispatchOptions{Ageing: ageing})
			random := rand.New(rand.NewPCG(1, 2))
			for n := range 3000 { // each second 1.02 urgent jobs and 0.02 others, for one server
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

// What is called back panics, and takes a worker, a slot or the process with it.
func TestTrapCallerPanicsInHooks(t *testing.T) {
	previous := twill.OnUnhandled(nil)
	t.Cleanup(func() { twill.OnUnhandled(previous) })
	boom := func() { panic(kit.ErrFirst) }
	for name, o := range map[string]twill.DispatchOptions{
		"nothing":  {},
		"marks":    {High: 1, OnHigh: func(int) { boom() }, OnLow: func(int) { runtime.Goexit() }},
		"limiter":  {Rate: panicLimiter{}},
		"tester":   {Retry: &twill.RetryOptions{Tester: func(error) error { panic(kit.ErrFirst) }}},
		"backoff":  {Retry: &twill.RetryOptions{Backoff: func(func(time.Duration) bool) { boom() }}},
		"on pause": {Retry: &twill.RetryOptions{OnPause: func(twill.RetryEvent) { boom() }}},
		"on retry": {Retry: &twill.RetryOptions{Backoff: twill.Constant(0), OnRetry: func(twill.RetryEvent) { runtime.Goexit() }}},
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

// panicLimiter panics.
type panicLimiter struct{}

func (panicLimiter) Wait(context.Context) error { panic(kit.ErrFirst) }

// The queue keeps what it has handed out: delayed, joined, retried and timed out
// jobs, and puts that were given up.
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
			{Retry: &twill.RetryOptions{Backoff: twill.Limit(twill.Constant(time.Microsecond), 2)}},
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

// A waiter in front that gives up keeps those behind it from their turn.
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

// A put whose context has ended takes the room all the same.
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

// Who leaves a job that others have joined ends it for all, or one that comes
// after the end joins what is over.
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

// A stop that a job calls waits for itself, or one beside another.
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
