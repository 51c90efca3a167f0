package twill_test

import (
	"context"
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

// The traps into which other queues fall, each as a test.

// A worker's capacity is raised beside a put, and nobody is woken.
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

// A worker whose task panics or exits leaves without telling the others.
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

// It is checked that a job can be cancelled, and it is started before it is.
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
		case j.Started().IsZero():
			require.Equal(t, twill.JobCanceled, state)
			require.Zero(t, calls[i].Load(), "cancelled before its start and started all the same")
		default:
			require.Equal(t, twill.JobCanceled, state)
		}
	}
	kit.RequireSize(t, q, 0, 0)
}

// A resume while the queue still drains is refused, and it stays paused.
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

// A second pause notes the width 0 that the first one set.
func TestTrapPauseTwice(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 3})
	q.Pause()
	q.Pause()
	require.NoError(t, q.Resume())
	require.Equal(t, 3, q.Width())
	_, err := kit.PutJob(t, q, 1, 0).Await(t.Context())
	require.NoError(t, err)
}

// A pause waits its turn behind everything that is queued.
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

// Narrowing waits for the workers that are too many.
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

// Cancelled jobs stay in the queue until their turn comes.
func TestTrapCancelledJobsAreNotKept(t *testing.T) {
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

// Who waits for a cancelled job waits until a worker is free.
func TestTrapCancelledQueueDoesNotWaitForDeadEntries(t *testing.T) {
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

// A put from inside a job waits for the slot that the job holds.
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

// A full queue that is changed from inside a job says so and does not wait.
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

// What is called back runs under a lock, and may not call.
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

// Goroutines wait for jobs that may never come.
func TestTrapNoGoroutineOfAnIdleQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble fails if one is left
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 50})
		for n := range 1000 {
			kit.PutJob(t, q, n, 0)
		}
		synctest.Wait()
		q.Pause()
		kit.PutJob(t, q, 0, 0)
	})
}
