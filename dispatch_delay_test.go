package twill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

type timedQueue = twill.ResizableDispatchQueue[time.Duration, time.Duration]

func TestDelayedJobsStartWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		var at []time.Duration
		q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (int, error) {
			order, at = append(order, name), append(at, time.Since(start))
			return 0, nil
		}, nil)
		put := func(name string, priority int, o twill.JobOptions) *twill.Job[string, int] {
			j, err := q.Put(name, priority, o)
			require.NoError(t, err)
			return j
		}
		put("late", -9, twill.JobOptions{After: 3 * time.Second})
		soon := put("soon", 5, twill.JobOptions{After: time.Second})
		put("then", 0, twill.JobOptions{At: start.Add(2 * time.Second)})
		put("past", 0, twill.JobOptions{At: start.Add(-time.Hour)})
		put("now", 0, twill.JobOptions{After: -time.Hour})
		gone := put("gone", 0, twill.JobOptions{After: 2500 * time.Millisecond})
		require.Equal(t, start.Add(time.Second), soon.Due())
		require.Equal(t, 4, q.Stats().Delayed)
		synctest.Wait()
		require.Equal(t, []string{"soon", "then", "gone", "late"}, rdqArgs(q.Pending()))
		gone.Cancel(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"past", "now", "soon", "then", "late"}, order)
		require.Equal(t, []time.Duration{0, 0, time.Second, 2 * time.Second, 3 * time.Second}, at)
		require.EqualValues(t, 1, q.Stats().Canceled)
	})
}

// TestReadyOrderIgnoresDueTime: what was due first does not come first.
func TestReadyOrderIgnoresDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		rdqPut(t, q, 10*time.Second, 0)
		for n, after := range []time.Duration{3, 2, 1} {
			_, err := q.Put(time.Duration(n), 0, twill.JobOptions{After: after * time.Second})
			require.NoError(t, err)
		}
		_, err := q.Put(9, -1, twill.JobOptions{After: 4 * time.Second})
		require.NoError(t, err)
		rdqPut(t, q, 8, 0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{9, 0, 1, 2, 8}, rdqArgs(q.Pending()))
		q.StopNow()
	})
}

func TestDelayedJobsCountAsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Size: 2})
		for range 2 {
			_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Hour})
			require.NoError(t, err)
		}
		_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Hour})
		require.ErrorIs(t, err, twill.ErrQueueFull)
		rdqPut(t, q, time.Second, 0) // it has a slot
		_, err = q.Put(time.Second, 0)
		require.ErrorIs(t, err, twill.ErrQueueFull)
		requireSize(t, q, 1, 2)
		left, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Len(t, left, 2, "delayed ones are left over, too")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, twill.JobPending, left[0].State())
	})
}

func TestReprioritizeADelayedJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		rdqPut(t, q, 10*time.Second, 0)
		rdqPut(t, q, 1, 5)
		j, err := q.Put(2, 9, twill.JobOptions{After: time.Second})
		require.NoError(t, err)
		require.NoError(t, q.Reprioritize(j, 4))
		require.Equal(t, []time.Duration{1, 2}, rdqArgs(q.Pending()), "not due yet")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{2, 1}, rdqArgs(q.Pending()))
		q.StopNow()
	})
}

func TestTimeoutOfACallThatHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Timeout: time.Second})
		start := time.Now()
		j, next := rdqPut(t, q, time.Hour, 0), rdqPut(t, q, time.Millisecond, 0)
		_, err := j.Await(t.Context())
		require.Equal(t, &twill.TimeoutError{After: time.Second}, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(start))
		require.Equal(t, twill.JobFailed, j.State())
		_, err = next.Await(t.Context())
		require.NoError(t, err, "in time")
		other, err := q.Put(time.Minute, 0, twill.JobOptions{Timeout: -1})
		require.NoError(t, err)
		_, err = other.Await(t.Context())
		require.NoError(t, err, "no limit")
	})
}

// TestTimeoutKeepsTheSlot: a call that ignores its context holds its slot, and
// the job has failed meanwhile.
func TestTimeoutKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, most := 0, 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
			running++
			most = max(most, running)
			time.Sleep(d)
			running--
			if d > time.Second {
				require.Equal(t, &twill.TimeoutError{After: time.Second}, context.Cause(ctx))
			}
			return d, nil
		}, nil)
		slow, err := q.Put(time.Hour, 0, twill.JobOptions{Timeout: time.Second})
		require.NoError(t, err)
		next := rdqPut(t, q, time.Second, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		requireFailure(t, context.DeadlineExceeded, &slow.Future)
		require.Equal(t, twill.JobPending, next.State())
		require.Len(t, q.Underway(), 1)
		_, err = next.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, most)
		s := q.Stats()
		require.Equal(t, []uint64{1, 1, 0}, []uint64{s.Finished, s.Failed, s.Canceled})
	})
}

func TestTimeoutIsStoppedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Timeout: time.Hour})
		for range 10 {
			_, err := rdqPut(t, q, time.Second, 0).Await(t.Context())
			require.NoError(t, err)
		}
		j := rdqPut(t, q, time.Minute, 0)
		synctest.Wait()
		j.Cancel(errBoom)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		requireFailure(t, errBoom, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State())
	})
}

// TestNoStarvationWithAgeing has urgent jobs without end, and one that is not.
func TestNoStarvationWithAgeing(t *testing.T) {
	for ageing, want := range map[time.Duration]bool{0: false, 10 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Ageing: ageing})
			rdqPut(t, q, time.Second, 0)
			low := rdqPut(t, q, 1500*time.Millisecond, 3)
			start := time.Now()
			for range 100 {
				rdqPut(t, q, time.Second, 0)
				rdqPut(t, q, time.Second, 0)
				time.Sleep(time.Second)
			}
			if _, ended := low.Poll(); !want {
				require.False(t, ended)
			} else {
				require.True(t, ended)
				// It comes before those that were put 30 seconds after it: 60 others.
				require.Equal(t, 61*time.Second, low.Started().Sub(start))
			}
			q.Clear()
			q.StopNow()
		})
	}
}

func TestAgeingOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Ageing: time.Second})
		q.Pause()
		a := rdqPut(t, q, 1, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		rdqPut(t, q, 2, 1) // stands where a does, and came later
		rdqPut(t, q, 3, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		rdqPut(t, q, 4, 1)
		require.Equal(t, []time.Duration{3, 1, 2, 4}, rdqArgs(q.Pending()))
		require.NoError(t, q.Reprioritize(a, 5))
		require.Equal(t, []time.Duration{3, 2, 4, 1}, rdqArgs(q.Pending()))
		far := rdqPut(t, q, 5, -1<<31)
		rdqPut(t, q, 6, 1<<31-1)
		require.Equal(t, far.Arg(), q.Pending()[0].Arg(), "whatever the number, it does not overflow")
		require.Equal(t, []time.Duration{5, 3, 2, 4, 1, 6}, rdqArgs(q.Pending()))
	})
	require.Panics(t, func() {
		twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Ageing: -1})
	})
}

func TestDelayWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		for _, o := range []twill.JobOptions{{After: 1<<63 - 1}, {At: time.Now().AddDate(9000, 0, 0)}} {
			j, err := q.Put(1, 0, o)
			require.NoError(t, err)
			time.Sleep(1000 * time.Hour)
			require.Equal(t, twill.JobPending, j.State())
			j.Cancel(nil)
		}
		early, err := q.Put(1, 0, twill.JobOptions{At: time.Now().AddDate(-9000, 0, 0)})
		require.NoError(t, err)
		_, err = early.Await(t.Context())
		require.NoError(t, err)
	})
}

// TestRetriedJobKeepsItsAge: with ageing, too, it keeps its place.
func TestRetriedJobKeepsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Ageing: time.Second, Retry: rdqRetry(time.Second)})
		rdqPut(t, q, 1, 3)
		synctest.Wait()
		q.Pause()
		rdqPut(t, q, 0, 3)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{1, 0}, rdqArgs(q.Pending()))
	})
}
