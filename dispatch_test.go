package twill_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// rdqSleep is a call that takes as long as its argument says, and gives it
// back; it ends early when its context does.
func rdqSleep(ctx context.Context, d time.Duration) (time.Duration, error) {
	select {
	case <-time.After(d):
		return d, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// rdqGated is a call that waits until the test sends it an error or nil.
func rdqGated() (fn func(context.Context, int) (int, error), gate chan error) {
	gate = make(chan error)
	return func(_ context.Context, n int) (int, error) { return 2 * n, <-gate }, gate
}

func rdqArgs[A, R any](jobs []*twill.Job[A, R]) []A {
	args := []A{}
	for _, j := range jobs {
		args = append(args, j.Arg())
	}
	return args
}

func rdqPut[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], arg A, priority int) *twill.Job[A, R] {
	t.Helper()
	j, err := q.Put(arg, priority)
	require.NoError(t, err)
	return j
}

func requireSize[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], underway, pending int) {
	t.Helper()
	u, p := q.Size()
	require.Equal(t, []int{underway, pending}, []int{u, p}, "underway and pending")
	require.Len(t, q.Underway(), u)
	require.Len(t, q.Pending(), p)
}

func TestDispatchUnstarted(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	requireSize(t, q, 0, 0)
	require.Equal(t, 1, q.Width())
	require.False(t, q.Paused())
	require.False(t, q.Stopped())
	require.Zero(t, q.Clear())
}

func TestDispatchBadInput(t *testing.T) {
	require.PanicsWithValue(t, "twill: NewResizableDispatchQueue with a nil function", func() {
		twill.NewResizableDispatchQueue[int, int](nil, nil)
	})
	require.PanicsWithValue(t, "twill: NewResizableDispatchQueue with a negative width", func() {
		twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Width: -1})
	})
	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Width: 10})
	require.Equal(t, 10, q.Width())
	q.Pause()
	require.ErrorIs(t, q.SetWidth(-1), twill.ErrNegativeWidth)
	require.ErrorIs(t, q.ResumeWidth(-1), twill.ErrNegativeWidth)
	require.Equal(t, 10, q.Width())
	require.True(t, q.Paused(), "a bad width changes nothing")

	other := twill.NewResizableDispatchQueue(rdqSame, nil)
	j := rdqPut(t, q, 1, 0)
	require.ErrorIs(t, q.Reprioritize(nil, 1), twill.ErrNotPending)
	require.ErrorIs(t, other.Reprioritize(j, 1), twill.ErrNotPending)
	require.Zero(t, j.Priority())

	q.Stop()
	_, err := q.Put(2, 0)
	require.ErrorIs(t, err, twill.ErrStopped)
	require.ErrorIs(t, q.Resume(), twill.ErrStopped)
	require.ErrorIs(t, q.ResumeWidth(3), twill.ErrStopped)
	requireSize(t, q, 0, 1)
}

func TestJobStateNames(t *testing.T) {
	var names []string
	for s := twill.JobPending; s <= twill.JobCanceled+1; s++ {
		names = append(names, s.String())
	}
	require.Equal(t, []string{"PENDING", "UNDERWAY", "FINISHED", "FAILED", "CANCELED", "JobState(5)"}, names)
}

func TestDispatchLifeOfAJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		start := time.Now()
		first := rdqPut(t, q, time.Second, 3)
		require.Equal(t, twill.JobUnderway, first.State(), "a free slot is used before Put returns")
		require.Equal(t, start, first.Started())
		time.Sleep(300 * time.Millisecond)
		second := rdqPut(t, q, 2*time.Second, 7)
		require.Equal(t, twill.JobPending, second.State())
		require.Equal(t, 300*time.Millisecond, second.Queued().Sub(start))
		require.True(t, second.Started().IsZero())
		require.True(t, second.Stopped().IsZero())
		require.Equal(t, time.Second, first.Arg())
		require.Equal(t, 3, first.Priority())
		requirePending(t, &first.Future)

		v, err := second.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2*time.Second, v)
		requireValue(t, time.Second, &first.Future)
		require.Equal(t, twill.JobFinished, second.State())
		require.Equal(t, start.Add(time.Second), first.Stopped())
		require.Equal(t, start.Add(time.Second), second.Started())
		require.Equal(t, start.Add(3*time.Second), second.Stopped())
		require.Equal(t, 2*time.Second, second.Arg())
		require.Equal(t, 7, second.Priority())
	})
}

func TestDispatchFailedJob(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, arg string) (int, error) {
		return 17, errFirst
	}, nil)
	j := rdqPut(t, q, "argument", 0)
	v, err := j.Await(t.Context())
	require.ErrorIs(t, err, errFirst)
	require.Zero(t, v, "a failed call has no value")
	require.Equal(t, twill.JobFailed, j.State())
	require.False(t, j.Stopped().IsZero())
	require.Equal(t, "argument", j.Arg())
}

func TestDispatchPanicAndGoexitFailTheJobAndKeepTheSlot(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		switch n % 3 {
		case 0:
			panic(errSecond)
		case 1:
			runtime.Goexit()
		}
		return n, nil
	}, &twill.DispatchOptions{Width: 2})
	var jobs []*twill.Job[int, int]
	for n := range 999 {
		jobs = append(jobs, rdqPut(t, q, n, 0))
	}
	watchdog(t, func() {
		for n, j := range jobs {
			v, err := j.Await(context.Background())
			switch n % 3 {
			case 0:
				var p *twill.PanicError
				require.ErrorAs(t, err, &p)
				require.ErrorIs(t, err, errSecond)
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
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	first, second := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
	twill.Handle(&first.Future, func(int, error) (int, error) {
		runtime.Goexit()
		return 0, nil
	})
	drained := q.Pause()
	drained.Tap(func(struct{}, error) { runtime.Goexit() })
	stopped := q.Stop()
	gate <- nil
	watchdog(t, func() {
		left, err := stopped.Await(context.Background())
		require.NoError(t, err)
		require.Equal(t, []int{2}, rdqArgs(left))
	})
	requireValue(t, 2, &first.Future)
	require.Equal(t, twill.JobFinished, first.State())
	require.Equal(t, twill.JobPending, second.State())
}

func TestDispatchFailedJobNobodyLooksAtIsReported(t *testing.T) {
	r := collectReports(t)
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, errSecond }, nil)
	func() {
		rdqPut(t, q, 1, 0)
		_, err := q.Stop().Await(t.Context())
		require.NoError(t, err)
	}()
	r.await(t, errSecond)
	require.Len(t, r.of(errSecond), 1)
	runtime.KeepAlive(q)
}
