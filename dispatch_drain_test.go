package twill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDispatchEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		requireValue(t, struct{}{}, q.Empty())
		rdqPut(t, q, time.Second, 0)
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
		j := rdqPut(t, q, time.Second, 0)
		empty := q.Empty()
		requirePending(t, empty)
		settledBefore := false
		j.Tap(func(time.Duration, error) { _, settledBefore = empty.Poll() })
		j.Cancel(nil)
		require.False(t, settledBefore, "the job's future settles first")
		requireValue(t, struct{}{}, empty)

		j = rdqPut(t, q, time.Second, 0)
		empty = q.Empty()
		q.Stop()
		requireFailure(t, twill.ErrStopped, empty)
		requireFailure(t, twill.ErrStopped, q.Empty())
		j.Cancel(nil)
		requireValue(t, struct{}{}, q.Empty())
	})
}

func TestDrainRunsWhatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q *timedQueue
		var inside error
		q = twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
			d, err := rdqSleep(ctx, d)
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
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2*time.Second, errBoom)
		defer cancel()
		start := time.Now()
		left, err := q.Drain(ctx)
		require.ErrorIs(t, err, errBoom)
		require.Equal(t, 2*time.Second, time.Since(start), "calls that go on are not waited for")
		require.Equal(t, []time.Duration{time.Hour, time.Hour, 3, 4}, rdqArgs(left))
		for n, want := range []twill.JobState{twill.JobCanceled, twill.JobCanceled, twill.JobPending, twill.JobPending} {
			require.Equal(t, want, left[n].State())
		}
		again, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, left, again, "and Stop says the same when they have ended")
		require.Greater(t, time.Since(start), time.Hour-time.Minute)
	})
}

// TestDrainWhoseContextSaysStopped: that is not the queue's own stop.
func TestDrainWhoseContextSaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		j := rdqPut(t, q, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(twill.ErrStopped)
		start := time.Now()
		left, err := q.Drain(ctx)
		require.ErrorIs(t, err, twill.ErrStopped)
		require.Equal(t, []*twill.Job[time.Duration, time.Duration]{j}, left)
		require.Equal(t, start, time.Now(), "what is underway is cancelled, not waited for")
	})
}

// TestDrainOfAQueueThatIsStoppedNow: what was cancelled is left over too, though
// nothing is pending.
func TestDrainOfAQueueThatIsStoppedNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		j := rdqPut(t, q, time.Hour, 0)
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
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		_, err := q.PutAll([]time.Duration{time.Second, 2, 3}, 0)
		require.NoError(t, err)
		var left []*twill.Job[time.Duration, time.Duration]
		go func() { left, err = q.Drain(t.Context()) }()
		synctest.Wait()
		q.Stop()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.ErrorIs(t, err, twill.ErrStopped)
		require.Equal(t, []time.Duration{2, 3}, rdqArgs(left))
		//lint:ignore SA1012 that is what is tested
		require.Panics(t, func() { q.Drain(nil) }) //nolint:staticcheck
	})
}
