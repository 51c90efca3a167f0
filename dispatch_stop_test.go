package twill_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestDispatchStopAfterNoPuts(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
	requireValue(t, nil, q.Stop())
	requireValue(t, nil, q.StopNow())
}

func TestDispatchStopGivesEveryCallerTheSameList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		for n := range 5 {
			rdqPut(t, q, time.Duration(n+1)*time.Second, -n)
		}
		first, second := q.Stop(), q.Stop()
		require.True(t, first.Cancel(errFirst))
		requireFailure(t, errFirst, first)
		requirePending(t, second)
		q.Pending()[0].Cancel(nil)
		require.NoError(t, q.Reprioritize(q.Pending()[2], -10))
		time.Sleep(time.Second)
		synctest.Wait()

		left, err := second.Await(t.Context())
		require.NoError(t, err)
		want := []time.Duration{2 * time.Second, 4 * time.Second, 3 * time.Second}
		require.Equal(t, want, rdqArgs(left), "as it was when the last call returned")
		left[0] = nil
		left, err = q.Stop().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, rdqArgs(left), "each has a list of its own")

		require.True(t, left[1].Cancel(nil))
		require.NoError(t, q.Reprioritize(left[0], 10))
		require.Equal(t, []time.Duration{3 * time.Second, 2 * time.Second}, rdqArgs(q.Pending()))
		require.Equal(t, 2, q.Clear())
		left, err = q.StopNow().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, want, rdqArgs(left), "the list does not change any more")
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
		rdqPutAll(0, 1, 2)(t, q)
		time.Sleep(100 * time.Millisecond)
		underway := q.Underway()
		stopped := q.StopNow()
		for _, j := range underway {
			requireFailure(t, twill.ErrStopped, &j.Future)
			requireFailure(t, twill.ErrCanceled, &j.Future)
		}
		left, err := stopped.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{0, 1, 2}, rdqArgs(left))
		for i, want := range []twill.JobState{twill.JobCanceled, twill.JobCanceled, twill.JobPending} {
			require.Equal(t, want, left[i].State())
		}
		requirePending(t, &left[2].Future)
		requireSize(t, q, 0, 1)
		require.ErrorIs(t, <-causes, twill.ErrStopped)
		require.ErrorIs(t, <-causes, twill.ErrStopped)
	})
}

func TestDispatchStopNowAfterStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 3})
		quick := rdqPut(t, q, time.Second, 0)
		slow := rdqPut(t, q, time.Hour, 0)
		cancelled := rdqPut(t, q, time.Hour, 0)
		pending := rdqPut(t, q, time.Hour, 0)
		stopped := q.Stop()
		cancelled.Cancel(nil)
		time.Sleep(2 * time.Second)
		requireValue(t, time.Second, &quick.Future)
		requirePending(t, stopped)
		now := q.StopNow()
		synctest.Wait()
		for _, f := range []*twill.Future[[]*twill.Job[time.Duration, time.Duration]]{stopped, now} {
			left, err := f.Await(t.Context())
			require.NoError(t, err)
			require.True(t, slices.Equal([]*twill.Job[time.Duration, time.Duration]{slow, pending}, left),
				"those that StopNow cancelled, then the pending ones")
		}
	})
}

func TestDispatchStopNowLeavesAloneWhatWasCancelledBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := rdqGated()
		q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2})
		before, now := rdqPut(t, q, 1, 0), rdqPut(t, q, 2, 0)
		before.Cancel(errFirst)
		at := before.Stopped()
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
		require.Equal(t, at, before.Stopped())
		requireFailure(t, errFirst, &before.Future)
		requireFailure(t, twill.ErrStopped, &now.Future)
	})
}

func TestDispatchCancelledStopDoesNothingToTheQueue(t *testing.T) {
	fn, gate := rdqGated()
	q := twill.NewResizableDispatchQueue(fn, nil)
	rdqPutAll(1, 2)(t, q)
	only := q.Stop()
	require.True(t, only.Cancel(errFirst))
	requireFailure(t, errFirst, only)
	require.True(t, q.Stopped())
	later := q.Stop()
	gate <- nil
	left, err := later.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int{2}, rdqArgs(left))
}
