package twill_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestDispatchUnstarted(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	kit.RequireSize(t, q, 0, 0)
	require.Equal(t, 1, q.Width())
	require.False(t, q.Paused())
	require.False(t, q.Stopped())
	require.Zero(t, q.Clear())
}

func TestDispatchBadInput(t *testing.T) {
	require.PanicsWithValue(t, "twill: NewResizableDispatchQueue with a nil function", func() {
		twill.NewResizableDispatchQueue[int, int](nil, nil)
	})
	require.PanicsWithValue(t, "twill: NewResizableDispatchQueue: Width must not be negative", func() {
		twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: -1})
	})
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 10})
	require.Equal(t, 10, q.Width())
	q.Pause()
	require.ErrorIs(t, q.SetWidth(-1), twill.ErrNegativeWidth)
	require.ErrorIs(t, q.ResumeWidth(-1), twill.ErrNegativeWidth)
	require.Equal(t, 10, q.Width())
	require.True(t, q.Paused(), "a bad width changes nothing")

	other := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	j := kit.PutJob(t, q, 1, 0)
	require.ErrorIs(t, q.Reprioritize(nil, 1), twill.ErrNotPending)
	require.ErrorIs(t, other.Reprioritize(j, 1), twill.ErrNotPending)
	require.Zero(t, j.Priority())

	q.Stop()
	_, err := q.Put(2, 0)
	require.ErrorIs(t, err, twill.ErrStopped)
	require.ErrorIs(t, q.Resume(), twill.ErrStopped)
	require.ErrorIs(t, q.ResumeWidth(3), twill.ErrStopped)
	kit.RequireSize(t, q, 0, 1)
}

func TestJobStateNames(t *testing.T) {
	var names []string
	for s := twill.JobPending; s <= twill.JobCanceled+1; s++ {
		names = append(names, s.String())
	}
	require.Equal(t, []string{"pending", "underway", "finished", "failed", "canceled", "JobState(5)"}, names)
}

func TestDispatchLifeOfAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		start := time.Now()
		first := kit.PutJob(t, q, time.Second, 3)
		require.Equal(t, twill.JobUnderway, first.State(), "a free slot is used before Put returns")
		require.Equal(t, start, first.StartedAt())
		time.Sleep(300 * time.Millisecond)
		second := kit.PutJob(t, q, 2*time.Second, 7)
		require.Equal(t, twill.JobPending, second.State())
		require.Equal(t, 300*time.Millisecond, second.QueuedAt().Sub(start))
		require.True(t, second.StartedAt().IsZero())
		require.True(t, second.EndedAt().IsZero())
		require.Equal(t, time.Second, first.Arg())
		require.Equal(t, 3, first.Priority())
		kit.RequirePending(t, &first.Future)

		v, err := second.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, v)
		kit.RequireValue(t, time.Second, &first.Future)
		require.Equal(t, twill.JobFinished, second.State())
		require.Equal(t, start.Add(time.Second), first.EndedAt())
		require.Equal(t, start.Add(time.Second), second.StartedAt())
		require.Equal(t, start.Add(3*time.Second), second.EndedAt())
		require.Equal(t, 2*time.Second, second.Arg())
		require.Equal(t, 7, second.Priority())
	})
}

func TestDispatchFailedJob(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, arg string) (string, error) {
		return "17", kit.ErrFirst
	}, nil)
	j := kit.PutJob(t, q, "argument", 0)
	v, err := j.Await(t.Context())
	require.ErrorIs(t, err, kit.ErrFirst)
	require.Zero(t, v, "a failed call has no value")
	require.Equal(t, twill.JobFailed, j.State())
	require.False(t, j.EndedAt().IsZero())
	require.Equal(t, "argument", j.Arg())
}

func TestDispatchPanicAndGoexitFailTheJobAndKeepTheSlot(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		switch n % 3 {
		case 0:
			panic(kit.ErrSecond)
		case 1:
			runtime.Goexit()
		}
		return n, nil
	}, &twill.DispatchOptions{Width: 2})
	var jobs []*twill.Job[int, int]
	for n := range 999 {
		jobs = append(jobs, kit.PutJob(t, q, n, 0))
	}
	kit.Watchdog(t, func() {
		for n, j := range jobs {
			v, err := j.Await(context.Background())
			switch n % 3 {
			case 0:
				var p *twill.PanicError
				require.ErrorAs(t, err, &p)
				require.ErrorIs(t, err, kit.ErrSecond)
				require.Contains(t, string(p.Stack), "dispatch_test.go")
				require.Equal(t, twill.JobFailed, j.State())
			case 1:
				require.ErrorIs(t, err, twill.ErrGoexit)
				require.Equal(t, twill.JobFailed, j.State())
			default:
				require.NoError(t, err)
				require.Equal(t, n, v)
			}
		}
	})
}

func TestDispatchHandlerThatEndsItsGoroutineCostsNoSlot(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	first, second := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
	twill.Handle(&first.Future, func(int, error) (int, error) {
		runtime.Goexit()
		return 0, nil
	})
	drained := q.Pause()
	drained.Tap(func(struct{}, error) { runtime.Goexit() })
	stopped := q.Stop()
	gate <- nil
	kit.Watchdog(t, func() {
		left, err := stopped.Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, []int{2}, kit.Args(left))
	})
	kit.RequireValue(t, 2, &first.Future)
	require.Equal(t, twill.JobFinished, first.State())
	require.Equal(t, twill.JobPending, second.State())
}

func TestDispatchFailedJobNobodyLooksAtIsReported(t *testing.T) {
	r := kit.CollectReports(t)
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, kit.ErrSecond }, nil)
	func() {
		kit.PutJob(t, q, 1, 0)
		_, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
	}()
	r.Await(t, kit.ErrSecond)
	require.Len(t, r.Of(kit.ErrSecond), 1)
	runtime.KeepAlive(q)
}

type timedQueue = twill.ResizableDispatchQueue[time.Duration, time.Duration]

func TestDelayedJobsStartWhenTheyAreDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var order []string
		var at []time.Duration
		q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
			order, at = append(order, name), append(at, time.Since(start))
			return "", nil
		}, nil)
		put := func(name string, priority int, o twill.JobOptions) *twill.Job[string, string] {
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
		require.Equal(t, start.Add(time.Second), soon.DueAt())
		require.Equal(t, 4, q.Stats().Delayed)
		synctest.Wait()
		require.Equal(t, []string{"soon", "then", "gone", "late"}, kit.Args(q.Pending()))
		gone.Cancel(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []string{"past", "now", "soon", "then", "late"}, order)
		require.Equal(t, []time.Duration{0, 0, time.Second, 2 * time.Second, 3 * time.Second}, at)
		require.EqualValues(t, 1, q.Stats().Canceled)
	})
}

// TestReadyOrderIgnoresDueTime: the job that was due first does not start
// first.
func TestReadyOrderIgnoresDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.PutJob(t, q, 10*time.Second, 0)
		for n, after := range []time.Duration{3, 2, 1} {
			_, err := q.Put(time.Duration(n), 0, twill.JobOptions{After: after * time.Second})
			require.NoError(t, err)
		}
		_, err := q.Put(9, -1, twill.JobOptions{After: 4 * time.Second})
		require.NoError(t, err)
		kit.PutJob(t, q, 8, 0)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{9, 0, 1, 2, 8}, kit.Args(q.Pending()))
		q.StopNow()
	})
}

func TestDelayedJobsCountAsPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 2})
		for range 2 {
			_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Hour})
			require.NoError(t, err)
		}
		_, err := q.Put(time.Second, 0, twill.JobOptions{After: time.Hour})
		require.ErrorIs(t, err, twill.ErrQueueFull)
		kit.PutJob(t, q, time.Second, 0) // it uses a slot
		_, err = q.Put(time.Second, 0)
		require.ErrorIs(t, err, twill.ErrQueueFull)
		kit.RequireSize(t, q, 1, 2)
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
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		kit.PutJob(t, q, 10*time.Second, 0)
		kit.PutJob(t, q, 1, 5)
		j, err := q.Put(2, 9, twill.JobOptions{After: time.Second})
		require.NoError(t, err)
		require.NoError(t, q.Reprioritize(j, 4))
		require.Equal(t, []time.Duration{1, 2}, kit.Args(q.Pending()), "not due yet")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{2, 1}, kit.Args(q.Pending()))
		q.StopNow()
	})
}

func TestTimeoutOfACallThatHeedsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Timeout: time.Second})
		start := time.Now()
		j, next := kit.PutJob(t, q, time.Hour, 0), kit.PutJob(t, q, time.Millisecond, 0)
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

// TestTimeoutKeepsTheSlot: a call that ignores its context holds its slot after
// the job has failed.
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
		next := kit.PutJob(t, q, time.Second, 0)
		time.Sleep(time.Minute)
		synctest.Wait()
		kit.RequireFailure(t, context.DeadlineExceeded, &slow.Future)
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
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Timeout: time.Hour})
		for range 10 {
			_, err := kit.PutJob(t, q, time.Second, 0).Await(t.Context())
			require.NoError(t, err)
		}
		j := kit.PutJob(t, q, time.Minute, 0)
		synctest.Wait()
		j.Cancel(kit.ErrBoom)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrBoom, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State())
	})
}

// TestNoStarvationWithAgeing puts an endless stream of urgent jobs, and one
// that is not urgent.
func TestNoStarvationWithAgeing(t *testing.T) {
	for ageing, want := range map[time.Duration]bool{0: false, 10 * time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Ageing: ageing})
			kit.PutJob(t, q, time.Second, 0)
			low := kit.PutJob(t, q, 1500*time.Millisecond, 3)
			start := time.Now()
			for range 100 {
				kit.PutJob(t, q, time.Second, 0)
				kit.PutJob(t, q, time.Second, 0)
				time.Sleep(time.Second)
			}
			if _, ended := low.Poll(); !want {
				require.False(t, ended)
			} else {
				require.True(t, ended)
				// It starts before the jobs that were put 30 seconds after it, and after 60
				// others.
				require.Equal(t, 61*time.Second, low.StartedAt().Sub(start))
			}
			q.Clear()
			q.StopNow()
		})
	}
}

func TestAgeingOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Ageing: time.Second})
		q.Pause()
		a := kit.PutJob(t, q, 1, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		kit.PutJob(t, q, 2, 1) // has the place of a, and was put later
		kit.PutJob(t, q, 3, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		kit.PutJob(t, q, 4, 1)
		require.Equal(t, []time.Duration{3, 1, 2, 4}, kit.Args(q.Pending()))
		require.NoError(t, q.Reprioritize(a, 5))
		require.Equal(t, []time.Duration{3, 2, 4, 1}, kit.Args(q.Pending()))
		far := kit.PutJob(t, q, 5, -1<<31)
		kit.PutJob(t, q, 6, 1<<31-1)
		require.Equal(t, far.Arg(), q.Pending()[0].Arg(), "whatever the number, it does not overflow")
		require.Equal(t, []time.Duration{5, 3, 2, 4, 1, 6}, kit.Args(q.Pending()))
	})
	require.Panics(t, func() {
		twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Ageing: -1})
	})
}

func TestDelayWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
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

// TestRetriedJobKeepsItsAge: with ageing, a retried job keeps its place.
func TestRetriedJobKeepsItsAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Ageing: time.Second, Retry: rdqRetry(time.Second)})
		kit.PutJob(t, q, 1, 3)
		synctest.Wait()
		q.Pause()
		kit.PutJob(t, q, 0, 3)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{1, 0}, kit.Args(q.Pending()))
	})
}

func TestDispatchOrder(t *testing.T) {
	var order []string
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		order = append(order, name)
		return "", nil
	}, nil)
	q.Pause()
	a := kit.PutJob(t, q, "a20", 20)
	for name, priority := range map[string]int{"b10": 10, "c15": 15, "d-1": -1} {
		kit.PutJob(t, q, name, priority)
	}
	for n := range 10 {
		kit.PutJob(t, q, fmt.Sprint("equal", n), 12)
	}
	last := kit.PutJob(t, q, "e99", 99)
	want := []string{"d-1", "b10"}
	for n := range 10 {
		want = append(want, fmt.Sprint("equal", n))
	}
	want = append(want, "c15", "a20", "e99")
	require.Equal(t, want, kit.Args(q.Pending()), "pending in dispatch order")

	require.NoError(t, q.Reprioritize(a, 12))
	require.Equal(t, 12, a.Priority())
	want = slices.Insert(slices.Delete(want, 13, 14), 2, "a20")
	require.Equal(t, want, kit.Args(q.Pending()), "the one put first stands first among equals")
	require.NoError(t, q.Reprioritize(a, 12))
	require.Equal(t, want, kit.Args(q.Pending()), "the same priority changes nothing")

	require.NoError(t, q.Resume())
	_, err := last.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, order)
	require.ErrorIs(t, q.Reprioritize(a, 1), twill.ErrNotPending, "finished")
}

func TestDispatchReprioritizeUnderwayAndCanceled(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	underway, canceled := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
	canceled.Cancel(nil)
	require.ErrorIs(t, q.Reprioritize(underway, 1), twill.ErrNotPending)
	require.ErrorIs(t, q.Reprioritize(canceled, 1), twill.ErrNotPending)
	gate <- nil
}

func TestDispatchSize(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 1, Size: 2})
	kit.PutJob(t, q, 1, 0)
	kit.PutJob(t, q, 2, 0)
	third := kit.PutJob(t, q, 3, 0)
	_, err := q.Put(4, -1)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	require.NoError(t, q.Reprioritize(third, -1), "a full queue can be put in another order")
	require.Equal(t, []int{3, 2}, kit.Args(q.Pending()))
	third.Cancel(nil)
	kit.PutJob(t, q, 5, 0)
	for range 3 {
		gate <- nil
	}
}

func TestDispatchNegativeSizeTakesWhatFindsASlot(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 1, Size: -1})
	j := kit.PutJob(t, q, 1, 0)
	_, err := q.Put(2, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	gate <- nil
	_, err = j.Await(t.Context())
	require.NoError(t, err)
}

func TestDispatchPuttingMoreThanWidthDispatchesWidth(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 3})
	for n := range 5 {
		kit.PutJob(t, q, n, 0)
	}
	kit.RequireSize(t, q, 3, 2)
	require.Equal(t, []int{0, 1, 2}, kit.Args(q.Underway()), "in order of start")
	for range 5 {
		gate <- nil
	}
}

func TestPutAllStartsNothingBeforeAllAreIn(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
	q.Pause()
	first := kit.PutJob(t, q, 9, 5)
	jobs, err := q.PutAll([]int{1, 2, 3}, 5)
	require.NoError(t, err)
	require.Equal(t, []int{9, 1, 2, 3}, kit.Args(q.Pending()))
	require.Equal(t, []int{1, 2, 3}, kit.Args(jobs))
	require.NoError(t, q.Resume())
	_, err = jobs[2].Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, twill.JobFinished, first.State())

	// With two free slots, the first two jobs of a batch start at once, and the
	// third is pending.
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2})
		jobs, err := q.PutAll([]time.Duration{1, 2, 3}, 0)
		require.NoError(t, err)
		kit.RequireSize(t, q, 2, 1)
		require.Equal(t, twill.JobPending, jobs[2].State())
		time.Sleep(time.Second)
		synctest.Wait()
		kit.RequireSize(t, q, 0, 0)
	})
}

func TestPutAllIsAllOrNothing(t *testing.T) {
	fn, gate := kit.Gated()
	q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2, Size: 3})
	_, err := q.PutAll([]int{1, 2, 3, 4, 5, 6}, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	kit.RequireSize(t, q, 0, 0)
	_, err = q.PutAll([]int{1, 2, 3, 4, 5}, 0)
	require.NoError(t, err, "two slots and three places")
	kit.RequireSize(t, q, 2, 3)
	for range 5 {
		gate <- nil
	}
	q.Stop()
	_, err = q.PutAll([]int{1}, 0)
	require.ErrorIs(t, err, twill.ErrStopped)
	require.EqualValues(t, 7, q.Stats().Refused)
}

func TestPutWaitLetsInInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 1})
		kit.PutJob(t, q, time.Second, 0)
		kit.PutJob(t, q, time.Second, 0)
		_, err := q.Put(time.Second, 0)
		require.ErrorIs(t, err, twill.ErrQueueFull)
		var order kit.Record[int]
		start := time.Now()
		for n := range 3 {
			go func() {
				_, err := q.PutWait(t.Context(), time.Second, 0)
				require.NoError(t, err)
				require.Equal(t, time.Duration(n+1)*time.Second, time.Since(start))
				order.Add(n)
			}()
			synctest.Wait()
		}
		_, err = q.Put(time.Second, -1)
		require.ErrorIs(t, err, twill.ErrQueueFull, "others wait longer")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2}, order.All())
		require.EqualValues(t, 5, q.Stats().Finished)
	})
}

// TestPutWaitIsLetInBy tests every way in which room is made.
func TestPutWaitIsLetInBy(t *testing.T) {
	type queue = twill.ResizableDispatchQueue[time.Duration, time.Duration]
	for name, makeRoom := range map[string]func(t *testing.T, q *queue, pending *twill.Job[time.Duration, time.Duration]){
		"a job that ends": func(*testing.T, *queue, *twill.Job[time.Duration, time.Duration]) { time.Sleep(time.Hour) },
		"a cancel":        func(_ *testing.T, _ *queue, j *twill.Job[time.Duration, time.Duration]) { j.Cancel(nil) },
		"Clear":           func(_ *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) { q.Clear() },
		"SetWidth": func(t *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) {
			require.NoError(t, q.SetWidth(2))
		},
		"Resume after Pause": func(t *testing.T, q *queue, _ *twill.Job[time.Duration, time.Duration]) {
			q.Pause()
			require.NoError(t, q.ResumeWidth(2))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 1})
				kit.PutJob(t, q, time.Hour, 0)
				pending := kit.PutJob(t, q, time.Hour, 0)
				in := false
				go func() {
					j, err := q.PutWait(t.Context(), time.Minute, 0)
					require.NoError(t, err)
					require.Equal(t, time.Minute, j.Arg())
					in = true
				}()
				synctest.Wait()
				require.False(t, in)
				makeRoom(t, q, pending)
				synctest.Wait()
				require.True(t, in)
				q.Clear()
				q.StopNow()
			})
		})
	}
}

func TestPutWaitWithoutPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		start := time.Now()
		for n := range 3 {
			_, err := q.PutWait(t.Context(), time.Second, 0)
			require.NoError(t, err)
			require.Equal(t, time.Duration(n)*time.Second, time.Since(start), "the slot is free, and none may wait")
			kit.RequireSize(t, q, 1, 0)
		}
		time.Sleep(time.Second)
		synctest.Wait()
	})
}

func TestPutWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 1})
		ended, cancel := context.WithCancelCause(t.Context())
		cancel(kit.ErrBoom)
		_, err := q.PutWait(ended, time.Second, 0)
		require.ErrorIs(t, err, kit.ErrBoom, "also if there is room")
		kit.RequireSize(t, q, 0, 0)

		kit.PutJob(t, q, time.Hour, 0)
		kit.PutJob(t, q, time.Hour, 0)
		ctx, cancel := context.WithCancelCause(t.Context())
		var errs kit.Record[error]
		go func() {
			_, err := q.PutWait(ctx, time.Second, 0)
			errs.Add(err)
		}()
		synctest.Wait()
		go func() {
			_, err := q.PutWait(t.Context(), time.Second, 0)
			errs.Add(err)
		}()
		synctest.Wait()
		cancel(kit.ErrBoom)
		synctest.Wait()
		require.Equal(t, []error{kit.ErrBoom}, errs.All())
		require.Equal(t, 1, q.Clear(), "who gave up is not let in")
		synctest.Wait()
		require.Equal(t, []error{kit.ErrBoom, nil}, errs.All(), "the next one is")
		q.StopNow()
	})
}

func TestPutWaitEndsWithTheQueue(t *testing.T) {
	for name, end := range map[string]func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]){
		"Stop":    func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) { q.Stop() },
		"StopNow": func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) { q.StopNow() },
		"Drain": func(q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			q.Drain(ctx)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 1})
				kit.PutJob(t, q, time.Hour, 0)
				kit.PutJob(t, q, time.Hour, 0)
				var refused atomic.Int32
				for range 3 {
					go func() {
						_, err := q.PutWait(t.Context(), time.Second, 0)
						require.ErrorIs(t, err, twill.ErrStopped)
						refused.Add(1)
					}()
				}
				synctest.Wait()
				end(q)
				synctest.Wait()
				require.EqualValues(t, 3, refused.Load())
				q.StopNow()
			})
		})
	}
}

func TestPutWithBadOptions(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	require.PanicsWithValue(t, "twill: JobOptions with both At and After", func() {
		q.Put(1, 0, twill.JobOptions{At: time.Now(), After: time.Second})
	})
	//lint:ignore SA1012 that is what is tested
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { q.PutWait(nil, 1, 0) }) //nolint:staticcheck
	kit.RequireSize(t, q, 0, 0)
}

func TestPendingPage(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	for n := range 50 {
		kit.PutJob(t, q, n, n*37%50)
	}
	for n := range 5 {
		_, err := q.Put(100+n, -1, twill.JobOptions{After: time.Duration(5-n) * time.Hour})
		require.NoError(t, err)
	}
	all := kit.Args(q.Pending())
	require.Len(t, all, 55)
	require.Equal(t, []int{104, 103, 102, 101, 100}, all[50:], "those that are not due come last")
	for _, page := range [][2]int{{0, 10}, {10, 10}, {45, 10}, {50, 10}, {0, 1000}, {54, 1}, {55, 1}, {99, 3}, {0, 0}} {
		from, n := page[0], page[1]
		want := all[min(from, 55):min(from+n, 55)]
		require.Equal(t, slices.Clone(want), append([]int{}, kit.Args(q.PendingPage(from, n))...), "page %v", page)
	}
	require.Panics(t, func() { q.PendingPage(-1, 1) })
	require.Panics(t, func() { q.PendingPage(0, -1) })
}

// TestFuturesHoldTheirSlot: a function that returns futures.
func TestFuturesHoldTheirSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var promises []*twill.Promise[int]
		q := twill.NewResizableDispatchQueueFuture(func(_ context.Context, n int) *twill.Future[int] {
			if n < 0 {
				return nil
			}
			p := twill.NewPromise[int]()
			promises = append(promises, p)
			return p.Future()
		}, nil)
		one, two, three := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0), kit.PutJob(t, q, 3, 0)
		none := kit.PutJob(t, q, -1, 0)
		synctest.Wait()
		kit.RequireSize(t, q, 1, 3)
		promises[0].Resolve(7)
		synctest.Wait()
		kit.RequireValue(t, 7, &one.Future)
		kit.RequireSize(t, q, 1, 2)
		var cause error
		promises[1].OnCancel(func(err error) { cause = err })
		two.Cancel(kit.ErrBoom)
		synctest.Wait()
		require.ErrorIs(t, cause, kit.ErrBoom, "a cancel goes on to the future")
		kit.RequireFailure(t, kit.ErrBoom, &two.Future)
		promises[2].Reject(kit.ErrFirst)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, &three.Future)
		_, err := none.Await(t.Context())
		require.ErrorContains(t, err, "nil future")
	})
}

func TestAFutureThatOthersNeedIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twill.NewPromise[int]()
		shared := twill.Then(p.Future(), func(n int) (int, error) { return n, nil })
		q := twill.NewResizableDispatchQueueFuture(func(context.Context, int) *twill.Future[int] { return p.Future() }, nil)
		j, next := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
		synctest.Wait()
		j.Cancel(nil)
		synctest.Wait()
		kit.RequirePending(t, shared)
		require.Equal(t, twill.JobUnderway, next.State(), "the slot is free")
		p.Resolve(3)
		synctest.Wait()
		kit.RequireValue(t, 3, shared)
		kit.RequireValue(t, 3, &next.Future)
	})
}

func TestHooksGoAroundCalls(t *testing.T) {
	var order []string
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		order = append(order, "call "+ctx.Value(hookKey{}).(string))
		return n, nil
	}, nil)
	q.Use(func(ctx context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		order = append(order, "outer")
		v, err := next(context.WithValue(ctx, hookKey{}, "with value"))
		order = append(order, "after")
		return v + j.Arg(), err
	})
	q.Use(func(ctx context.Context, _ *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		order = append(order, "inner")
		return next(ctx)
	})
	v, err := kit.PutJob(t, q, 21, 0).Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 42, v)
	require.Equal(t, []string{"outer", "inner", "call with value", "after"}, order)

	q.Use(func(_ context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		if j.Arg() < 0 {
			return 0, kit.ErrBoom
		}
		panic("hook")
	})
	_, err = kit.PutJob(t, q, -1, 0).Await(t.Context())
	require.ErrorIs(t, err, kit.ErrBoom, "a hook may refuse")
	_, err = kit.PutJob(t, q, 1, 0).Await(t.Context())
	_, panicked := errors.AsType[*twill.PanicError](err)
	require.True(t, panicked)
	require.Panics(t, func() { q.Use(nil) })
}

type hookKey struct{}

func TestKeyJoinsTheJobThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		a := twill.JobOptions{Key: "a"}
		underway := kit.PutOpts(t, q, time.Second, 0, a)
		require.Equal(t, "a", underway.Key())
		require.Same(t, underway, kit.PutOpts(t, q, 2*time.Second, -5, a), "underway")
		require.Equal(t, 0, underway.Priority(), "it has started: no priority helps any more")
		refused := a
		refused.Refuse = true
		there, err := q.Put(time.Second, 0, refused)
		require.ErrorIs(t, err, twill.ErrDuplicateJob)
		require.Same(t, underway, there)

		b := kit.PutOpts(t, q, time.Second, 5, twill.JobOptions{Key: "b"})
		c := kit.PutJob(t, q, time.Second, 3)
		require.Same(t, b, kit.PutOpts(t, q, time.Second, 7, twill.JobOptions{Key: "b"}))
		require.Equal(t, 5, b.Priority(), "a less urgent one changes nothing")
		require.Same(t, b, kit.PutOpts(t, q, time.Second, 1, twill.JobOptions{Key: "b"}))
		require.Equal(t, 1, b.Priority(), "it is as urgent as whoever needs it most")
		require.Equal(t, b, q.Pending()[0])
		kit.RequireSize(t, q, 1, 2)

		time.Sleep(time.Second)
		synctest.Wait()
		again := kit.PutOpts(t, q, time.Second, 9, a)
		require.NotSame(t, underway, again, "the key is free when the job has ended")
		s := q.Stats()
		require.Equal(t, []uint64{4, 3, 1}, []uint64{s.Put, s.Joined, s.Refused})
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, twill.JobFinished, c.State())
		require.Equal(t, twill.JobFinished, again.State())
	})
}

func TestKeyedJobTakesTheShorterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		start := time.Now()
		j := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: time.Hour})
		kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: time.Minute})
		kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "a", After: 2 * time.Minute})
		require.Equal(t, start.Add(time.Minute), j.DueAt())
		k := kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "b", After: time.Hour})
		kit.PutOpts(t, q, 1, 0, twill.JobOptions{Key: "b"})
		_, err := k.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, k.StartedAt())
		_, err = j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start.Add(time.Minute), j.StartedAt())
	})
}

// TestKeyIsFreeAfter tests every way in which a job ends.
func TestKeyIsFreeAfter(t *testing.T) {
	type job = *twill.Job[time.Duration, time.Duration]
	for name, test := range map[string]struct {
		paused bool
		arg    time.Duration
		opts   twill.JobOptions
		end    func(q *timedQueue, j job)
	}{
		"success":               {arg: time.Second},
		"panic":                 {arg: -1},
		"goexit":                {arg: -2},
		"a timeout":             {arg: time.Hour, opts: twill.JobOptions{Timeout: time.Second}},
		"a cancel when pending": {paused: true, end: func(_ *timedQueue, j job) { j.Cancel(nil) }},
		"a cancel underway":     {arg: time.Hour, end: func(_ *timedQueue, j job) { j.Cancel(nil) }},
		"Clear":                 {paused: true, end: func(q *timedQueue, _ job) { q.Clear() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (time.Duration, error) {
					time.Sleep(time.Second)
					switch d {
					case -1:
						panic("boom")
					case -2:
						runtime.Goexit()
					}
					return kit.Sleep(ctx, d)
				}, nil)
				if test.paused {
					q.Pause()
				}
				o := test.opts
				o.Key, o.Refuse = "k", true
				j := kit.PutOpts(t, q, test.arg, 0, o)
				_, err := q.Put(0, 0, o)
				require.ErrorIs(t, err, twill.ErrDuplicateJob)
				synctest.Wait()
				if test.end != nil {
					test.end(q, j)
				} else {
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				_, ended := j.Poll()
				require.True(t, ended)
				kit.PutOpts(t, q, 0, 0, o)
				time.Sleep(time.Minute)
				q.StopNow()
			})
		})
	}
}

// TestLeavingAJoinedJobAlone: each caller has its own future.
func TestLeavingAJoinedJobAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
		watch := func() *twill.Future[time.Duration] {
			return kit.PutOpts(t, q, time.Second, 0, twill.JobOptions{Key: "a"}).Tap(func(time.Duration, error) {})
		}
		one, two, three := watch(), watch(), watch()
		one.Cancel(nil)
		kit.RequireFailure(t, twill.ErrCanceled, one)
		kit.RequirePending(t, two)
		two.Cancel(nil)
		kit.RequirePending(t, three)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		kit.RequireValue(t, time.Second, three)

		one, two = watch(), watch()
		one.Cancel(nil)
		two.Cancel(kit.ErrBoom)
		synctest.Wait() // the worker may settle the job, as its context has ended
		kit.RequireFailure(t, kit.ErrBoom, two)
		kit.RequireSize(t, q, 0, 0)
		require.EqualValues(t, 1, q.Stats().Canceled, "the last one to leave takes it down")
	})
}

// Go may use the queue, and a Go that panics, exits or calls work twice loses
// no job and runs none twice.
func TestDispatchOptionsGoMisbehaves(t *testing.T) {
	for name, end := range map[string]func(work func()){
		"panic":                 func(func()) { panic(kit.ErrBoom) },
		"exit":                  func(func()) { runtime.Goexit() },
		"panic after the start": func(work func()) { go work(); panic(kit.ErrBoom) },
		"two starts":            func(work func()) { go work(); go work() },
	} {
		t.Run(name, func(t *testing.T) {
			reports := kit.CollectReports(t)
			synctest.Test(t, func(t *testing.T) {
				var q *twill.ResizableDispatchQueue[int, int]
				var calls atomic.Int32
				q = twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
					calls.Add(1)
					time.Sleep(time.Second)
					return n, nil
				}, &twill.DispatchOptions{Width: 3, Size: 10, Go: func(_ any, work func()) {
					require.NotZero(t, q.Stats().Underway)
					_, _ = q.Put(0, 0, twill.JobOptions{Key: "from Go", After: time.Minute})
					end(work)
				}})
				q.Pause()
				jobs, err := q.PutAll([]int{1, 2, 3, 4, 5}, 0)
				require.NoError(t, err)
				resumed := make(chan struct{})
				go func() {
					defer close(resumed)
					_ = q.Resume()
				}()
				<-resumed
				for i, j := range jobs {
					kit.AwaitValue(t, &j.Future, i+1)
				}
				_, err = q.Empty().Await(t.Context())
				require.NoError(t, err)
				require.EqualValues(t, 6, calls.Load())
			})
			require.Equal(t, name == "two starts", len(reports.All()) == 0)
		})
	}
}

// Go gets the argument of the job that comes first, which does not begin before
// work is called.
func TestDispatchOptionsGoGetsTheArgument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var args []any
		var last atomic.Int64
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			if n == 1 {
				runtime.Goexit()
			}
			last.Store(int64(n))
			return n, nil
		}, &twill.DispatchOptions{
			Go: func(arg any, work func()) {
				args = append(args, arg)
				go func() {
					time.Sleep(time.Second)
					if last.Load() == int64(arg.(int)) {
						t.Error("a job runs before its work")
					}
					work()
				}()
			},
		})
		jobs, err := q.PutAll([]int{1, 2, 3}, 0)
		require.NoError(t, err)
		kit.AwaitError(t, &jobs[0].Future, twill.ErrGoexit)
		kit.AwaitValue(t, &jobs[1].Future, 2)
		kit.AwaitValue(t, &jobs[2].Future, 3)
		synctest.Wait()
		require.Equal(t, []any{1, 2}, args, "the third job runs on the goroutine of the second")
		require.True(t, jobs[2].StartedAt().After(jobs[0].StartedAt()))
	})
}

// All jobs run on goroutines that Go has started, even after a job has ended
// its goroutine.
func TestDispatchOptionsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started, ended atomic.Int32
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			if started.Load() == ended.Load() {
				t.Error("a job runs on another goroutine")
			}
			if n == 0 {
				runtime.Goexit()
			}
			time.Sleep(time.Second)
			return n, nil
		}, &twill.DispatchOptions{Width: 2, Go: func(_ any, work func()) {
			started.Add(1)
			go func() {
				defer ended.Add(1)
				work()
			}()
		}})
		jobs, err := q.PutAll([]int{0, 1, 2, 0, 3}, 0)
		require.NoError(t, err)
		for i, n := range []int{0, 1, 2, 0, 3} {
			if n == 0 {
				kit.AwaitError(t, &jobs[i].Future, twill.ErrGoexit)
			} else {
				kit.AwaitValue(t, &jobs[i].Future, n)
			}
		}
		synctest.Wait()
		require.Equal(t, started.Load(), ended.Load())
		require.EqualValues(t, 4, started.Load(), "two for the width, and one in place of each that has exited")
	})
}
