package twill_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// rdqAt is something done to a queue at a time, in milliseconds.
type rdqAt struct {
	at int
	do func(t *testing.T, q *rdqTimed)
}

// rdqTimed is a queue of calls that take 200 ms.
type rdqTimed = twill.ResizableDispatchQueue[int, int]

func rdqWidth(n int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { require.NoError(t, q.SetWidth(n)) }
}

func rdqResume(t *testing.T, q *rdqTimed) { require.NoError(t, q.Resume()) }

func rdqPause(_ *testing.T, q *rdqTimed) { q.Pause() }

func rdqSizes(underway, pending int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { requireSize(t, q, underway, pending) }
}

func rdqPending(args ...int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) { require.Equal(t, args, rdqArgs(q.Pending())) }
}

func rdqPutAll(args ...int) func(*testing.T, *rdqTimed) {
	return func(t *testing.T, q *rdqTimed) {
		for _, arg := range args {
			rdqPut(t, q, arg, 0)
		}
	}
}

func rdqUpTo(n int) (args []int) {
	for i := range n {
		args = append(args, i)
	}
	return args
}

// TestDispatchTiming are the cases of TestTiming in txRDQ's own tests: jobs put
// at the start, things done meanwhile, and what a stop at the end leaves over.
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
		"pauseAddStop":                {1, 3, []rdqAt{{100, rdqPause}, {120, rdqPutAll(7, 8, 9)}}, 180, []int{1, 2, 7, 8, 9}},
		"pauseResumeStop":             {1, 3, []rdqAt{{100, rdqPause}, {500, rdqResume}}, 600, []int{2}},
		"pauseWidenResumeStop":        {1, 3, []rdqAt{{100, rdqPause}, {200, rdqWidth(2)}, {500, rdqResume}}, 600, []int{}},
		"pausePlayAroundResumeStop":   {1, 3, []rdqAt{{100, rdqPause}, {200, rdqWidth(100)}, {220, rdqWidth(0)}, {240, rdqWidth(2)}, {500, rdqResume}}, 600, []int{}},
		"sizeAfterStarting":           {1, 3, []rdqAt{{40, rdqSizes(1, 2)}}, 100, []int{1, 2}},
		"setWidthToZero":              {3, 0, []rdqAt{{10, rdqWidth(0)}, {20, rdqPutAll(4, 5)}, {30, rdqSizes(0, 2)}}, 300, []int{4, 5}},
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
				rdqPutAll(rdqUpTo(c.jobs)...)(t, q)
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
				require.NoError(t, q.SetWidth(5))
				left, err := stopped.Await(t.Context())
				require.NoError(t, err)
				require.Equal(t, c.left, rdqArgs(left))
				requireSize(t, q, 0, len(c.left))
				for _, j := range left {
					require.Equal(t, twill.JobPending, j.State())
				}
			})
		})
	}
}

func TestDispatchWidthWhilePaused(t *testing.T) {
	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Width: 10})
	q.Pause()
	require.Equal(t, 10, q.Width(), "a pause does not touch the width")
	require.NoError(t, q.SetWidth(3))
	require.Equal(t, 3, q.Width())
	require.NoError(t, q.ResumeWidth(0))
	require.Zero(t, q.Width())
	require.False(t, q.Paused())
	j := rdqPut(t, q, 1, 0)
	require.Equal(t, twill.JobPending, j.State())
	require.NoError(t, q.ResumeWidth(10), "also when it is not paused")
	_, err := j.Await(t.Context())
	require.NoError(t, err)
}

func TestDispatchPauseSettlesWhenDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, &twill.DispatchOptions{Width: 2})
		requireValue(t, struct{}{}, q.Pause())
		require.NoError(t, q.Resume())
		for range 3 {
			rdqPut(t, q, time.Second, 0)
		}
		first, second := q.Pause(), q.Pause()
		requirePending(t, first)
		first.Cancel(errFirst)
		requireFailure(t, errFirst, first)
		require.True(t, q.Paused(), "who waits for a pause does not own it")
		time.Sleep(time.Second)
		synctest.Wait()
		requireValue(t, struct{}{}, second)
		requireSize(t, q, 0, 1)
		requireValue(t, struct{}{}, q.Pause())
	})
}

func TestDispatchPauseResumedBeforeDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqSleep, nil)
		rdqPut(t, q, time.Second, 0)
		drained := q.Pause()
		require.NoError(t, q.Resume())
		requireFailure(t, twill.ErrResumed, drained)
		requireFailure(t, twill.ErrCanceled, drained)
		again := q.Pause()
		requirePending(t, again)
		time.Sleep(time.Second)
		synctest.Wait()
		requireValue(t, struct{}{}, again)
	})
}

func TestDispatchPauseWaitsForCallsThatWereCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := rdqGated()
		q := twill.NewResizableDispatchQueue(fn, nil)
		j := rdqPut(t, q, 1, 0)
		drained, stopped := q.Pause(), q.Stop()
		j.Cancel(nil)
		requireFailure(t, twill.ErrCanceled, &j.Future)
		synctest.Wait()
		requirePending(t, drained)
		requirePending(t, stopped)
		gate <- nil
		synctest.Wait()
		requireValue(t, struct{}{}, drained)
		requireValue(t, nil, stopped)
	})
}

// TestDispatchIsDrainedWhenHandlersHaveRun: one job has ended, but a handler of
// its future has not; then another one ends.
func TestDispatchIsDrainedWhenHandlersHaveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn, gate := rdqGated()
		q := twill.NewResizableDispatchQueue(fn, &twill.DispatchOptions{Width: 2})
		handler := make(chan struct{})
		rdqPut(t, q, 1, 0).Tap(func(int, error) { <-handler })
		rdqPut(t, q, 2, 0).Tap(func(int, error) { <-handler })
		pending := rdqPut(t, q, 3, 0)
		gate <- nil
		synctest.Wait()
		requireSize(t, q, 1, 1)
		require.Equal(t, twill.JobPending, pending.State(), "the slot is still in use")
		gate <- nil
		synctest.Wait()
		requireSize(t, q, 0, 1)
		drained, stopped := q.Pause(), q.Stop()
		requirePending(t, drained)
		requirePending(t, stopped)
		handler <- struct{}{}
		synctest.Wait()
		requirePending(t, drained)
		requirePending(t, stopped)
		handler <- struct{}{}
		synctest.Wait()
		requireValue(t, struct{}{}, drained)
		left, err := stopped.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []int{3}, rdqArgs(left))
	})
}
