package twill_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestJobCancelPending(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	rdqPut(t, q, 0, 0)
	j, k := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
	require.True(t, j.Cancel(errFirst))
	requireFailure(t, errFirst, &j.Future)
	requireFailure(t, twill.ErrCanceled, &j.Future)
	require.Equal(t, twill.JobCanceled, j.State())
	require.False(t, j.Stopped().IsZero())
	require.True(t, j.Started().IsZero())
	require.Equal(t, []int{2}, rdqArgs(q.Pending()), "it has left the queue already")
	require.False(t, j.Cancel(nil))
	gate <- nil
	gate <- nil
	_, err := k.Await(t.Context())
	require.NoError(t, err)
}

// TestJobCancelUnderway also is the trap of a timeout that frees the slot while
// the task goes on.
func TestJobCancelUnderwayEndsTheFutureButKeepsTheSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		causes := make(chan error, 1)
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, d time.Duration) (int, error) {
			if d == time.Hour {
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}
			time.Sleep(d)
			return 1, nil
		}, nil)
		j := rdqPut(t, q, time.Hour, 0)
		next := rdqPut(t, q, time.Second, 0)
		time.Sleep(time.Minute)
		require.True(t, j.Cancel(errFirst))
		requireFailure(t, errFirst, &j.Future)
		require.ErrorIs(t, <-causes, errFirst)
		require.Equal(t, twill.JobCanceled, j.State())
		require.Equal(t, time.Minute, j.Stopped().Sub(j.Started()))
		time.Sleep(time.Minute)
		require.Equal(t, twill.JobPending, next.State(), "the slot is in use until the call returns")
		require.Equal(t, []*twill.Job[time.Duration, int]{j}, q.Underway())
		requireSize(t, q, 1, 1)
		_, err := next.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.Hour, next.Started().Sub(j.Stopped()))
		requireFailure(t, errFirst, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State(), "what the call returned late is dropped")
	})
}

func TestJobCancelAfterTheEndChangesNothing(t *testing.T) {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		if n == 2 {
			return 0, errFirst
		}
		return n, nil
	}, nil)
	finished, failed := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
	_, err := failed.Await(t.Context())
	require.ErrorIs(t, err, errFirst)
	at := finished.Stopped()
	require.False(t, finished.Cancel(nil))
	require.False(t, failed.Cancel(nil))
	require.Equal(t, twill.JobFinished, finished.State())
	require.Equal(t, twill.JobFailed, failed.State())
	require.Equal(t, at, finished.Stopped())
	requireValue(t, 1, &finished.Future)
	requireFailure(t, errFirst, &failed.Future)
}

func TestJobCancelFromInside(t *testing.T) {
	var j *twill.Job[int, int]
	put := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-put
		require.True(t, j.Cancel(errFirst))
		require.ErrorIs(t, context.Cause(ctx), errFirst)
		return n, nil
	}, nil)
	j = rdqPut(t, q, 1, 0)
	close(put)
	_, err := j.Await(t.Context())
	require.ErrorIs(t, err, errFirst)
	_, err = q.Stop().Await(t.Context())
	require.NoError(t, err)
}

func TestJobIsCancelledByItsLastWatcher(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	q.Pause()
	j := rdqPut(t, q, 1, 0)
	one := twill.Then(&j.Future, add(1))
	two := twill.Then(twill.Then(&j.Future, add(2)), add(3))
	require.True(t, one.Cancel(errFirst))
	requireFailure(t, errFirst, one)
	require.Equal(t, twill.JobPending, j.State(), "the other still depends on it")
	require.True(t, two.Cancel(errSecond))
	requireFailure(t, errSecond, two)
	require.Equal(t, twill.JobCanceled, j.State())
	requireSize(t, q, 0, 0)
}

func TestJobLatePanicIsReported(t *testing.T) {
	for name, retry := range map[string]*twill.RetryOptions{"once": nil, "with a Retry": rdqRetry(0)} {
		t.Run(name, func(t *testing.T) {
			r := collectReports(t)
			started := make(chan struct{})
			fn := func(ctx context.Context, _ int) (int, error) {
				close(started)
				<-ctx.Done()
				panic(errSecond)
			}
			q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Retry: retry})
			j := rdqPut(t, q, 1, 0)
			<-started // with a Retry, a job that was cancelled before is not attempted
			j.Cancel(errFirst)
			_, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
			requireFailure(t, errFirst, &j.Future)
			r.await(t, errSecond)
		})
	}
}

// TestJobIsReleased: neither the queue nor its heap keeps a job that has left.
func TestJobIsReleased(t *testing.T) {
	type big struct{ _ [1 << 10]byte }
	block := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(_ context.Context, wait *big) (int, error) {
		if wait == nil {
			<-block
		}
		return 0, nil
	}, nil)
	rdqPut(t, q, nil, 0)
	var args []weak.Pointer[big]
	func() {
		for n := range 90 {
			arg := new(big)
			args = append(args, weak.Make(arg))
			j := rdqPut(t, q, arg, n%3)
			if n%3 == 0 {
				j.Cancel(nil)
			}
		}
	}()
	alive := func() (n int) {
		runtime.GC()
		for _, arg := range args {
			if arg.Value() != nil {
				n++
			}
		}
		return n
	}
	require.Eventually(t, func() bool { return alive() == 60 }, 10*time.Second, time.Millisecond, "cancelled ones")
	last := rdqPut(t, q, new(big), 9)
	close(block)
	_, err := last.Await(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool { return alive() == 0 }, 10*time.Second, time.Millisecond, "those that ran")
	require.NotNil(t, last.Arg(), "a job that is held keeps its argument")
	runtime.KeepAlive(q)
}
