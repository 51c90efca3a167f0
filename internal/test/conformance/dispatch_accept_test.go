//go:build suites

package conformance_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// The test cases of txRDQ's test suite, by their names. The cases of TestTiming
// are subtests of TestDispatchTiming, except for the cases in TestAcceptTiming.
// The cases of its priority queue and its pool are at the end of this file.
//
// The following cases are left out. nonNumericStartWidth,
// widenWithNonNumericWidth and pauseResumeWithNonNumericWidth: Go's types
// exclude such widths. launchLaunchFails: a job has no method to launch it.
// clearQueue without a cancel: every future settles. zeroOnDefaultCreation and
// similar cases count workers that have been asked to exit, of which there are
// none; their effects on the width are in PendingStops.

func TestAcceptJob(t *testing.T) {
	paused := func(fn func(context.Context, int) (int, error)) (*twill.ResizableDispatchQueue[int, int], *twill.Job[int, int]) {
		q := twill.NewResizableDispatchQueue(fn, nil)
		q.Pause()
		return q, kit.PutJob(t, q, 6, 0)
	}
	seven := func(_ context.Context, n int) (int, error) { return 7 * n, nil }
	fails := func(context.Context, int) (int, error) { return 0, kit.ErrFirst }
	watch := func(j *twill.Job[int, int]) *twill.Future[int] { return j.Tap(func(int, error) {}) }
	launch := func(t *testing.T, q *twill.ResizableDispatchQueue[int, int], j *twill.Job[int, int]) {
		require.NoError(t, q.Resume())
		kit.AwaitSoon(&j.Future)
		kit.AwaitSoon(q.Empty()) // its worker has run all handlers
	}

	t.Run("initiallyPending", func(t *testing.T) {
		_, j := paused(seven)
		require.Equal(t, twill.JobPending, j.State())
	})
	for name, cancel := range map[string]func(j *twill.Job[int, int], watcher *twill.Future[int]){
		"":         func(j *twill.Job[int, int], _ *twill.Future[int]) { j.Cancel(nil) },
		"Deferred": func(_ *twill.Job[int, int], watcher *twill.Future[int]) { watcher.Cancel(nil) },
	} {
		t.Run("watchCancel"+name, func(t *testing.T) {
			_, j := paused(seven)
			w := watch(j)
			cancel(j, w)
			kit.RequireFailure(t, twill.ErrCanceled, w)
			require.Equal(t, twill.JobCanceled, j.State())
		})
		t.Run("watchLaunchSucceedCancel"+name, func(t *testing.T) {
			q, j := paused(seven)
			w := watch(j)
			launch(t, q, j)
			cancel(j, w)
			kit.AwaitValue(t, w, 42)
			require.Equal(t, twill.JobFinished, j.State())
		})
		t.Run("watchLaunchFailCancel"+name, func(t *testing.T) {
			q, j := paused(fails)
			w := watch(j)
			launch(t, q, j)
			cancel(j, w)
			kit.AwaitError(t, w, kit.ErrFirst)
			require.Equal(t, twill.JobFailed, j.State())
		})
		t.Run("launchFailWatchCancel"+name, func(t *testing.T) {
			q, j := paused(fails)
			launch(t, q, j)
			w := watch(j)
			cancel(j, w)
			kit.RequireFailure(t, kit.ErrFirst, w)
			require.Equal(t, twill.JobFailed, j.State())
		})
		t.Run("watchLaunchUnderwayCancel"+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewResizableDispatchQueue(kit.Sleep, nil)
				j := kit.PutJob(t, q, time.Hour, 0)
				w := j.Tap(func(time.Duration, error) {})
				synctest.Wait()
				if name == "" {
					j.Cancel(nil)
				} else {
					w.Cancel(nil)
				}
				synctest.Wait() // the call returns now, and settles the job if it is the first to do so
				kit.RequireFailure(t, twill.ErrCanceled, w)
				require.Equal(t, twill.JobCanceled, j.State())
			})
		})
	}
	t.Run("watchLaunchSucceedCheckResult, watchLaunchSucceed", func(t *testing.T) {
		q, j := paused(seven)
		w := watch(j)
		launch(t, q, j)
		kit.AwaitValue(t, w, 42)
		require.Equal(t, twill.JobFinished, j.State())
	})
	t.Run("launchSucceedWatch", func(t *testing.T) {
		q, j := paused(seven)
		launch(t, q, j)
		kit.RequireValue(t, 42, watch(j))
	})
	t.Run("watchLaunchFail", func(t *testing.T) {
		q, j := paused(func(context.Context, int) (int, error) { var zero int; return 1 / zero, nil })
		w := watch(j)
		launch(t, q, j)
		_, err := kit.AwaitSoon(w)
		require.ErrorContains(t, err, "divide by zero")
		require.Equal(t, twill.JobFailed, j.State())
	})
	t.Run("launchFailWatch", func(t *testing.T) {
		q, j := paused(fails)
		launch(t, q, j)
		kit.RequireFailure(t, kit.ErrFirst, watch(j))
	})
}

func TestAcceptPendingStops(t *testing.T) {
	for name, widths := range map[string][]int{
		"zeroOnDefaultCreation": {1}, "zeroOnExplicitCreation": {10}, "narrow": {5, 3}, "narrowWiden": {10, 7, 8},
		"setImmediatelyToZero": {10, 0}, "incrementToVeryHighValue": {10, 1000},
		"incrementToVeryHighValueThenSetToLowValue":              {10, 1000, 100},
		"incrementToVeryHighValueThenSetToLowValueThenIncrement": {10, 1000, 100, 500},
	} {
		t.Run(name, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: widths[0]})
			for _, width := range widths {
				require.NoError(t, q.SetWidth(width))
				require.Equal(t, width, q.Width())
			}
		})
	}
}

// TestAcceptSimple tests what happens to pending jobs.
func TestAcceptSimple(t *testing.T) {
	type queue = twill.ResizableDispatchQueue[int, int]
	for name, check := range map[string]func(t *testing.T, q *queue){
		"unstarted": func(t *testing.T, q *queue) {
			kit.RequireSize(t, q, 0, 0)
			require.False(t, q.Stopped() || q.Paused())
		},
		"numericStartWidth": func(t *testing.T, _ *queue) {
			require.Equal(t, 10, twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 10}).Width())
		},
		"negativeStartWidth": func(t *testing.T, _ *queue) {
			require.Panics(t, func() { twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: -1}) })
		},
		"simplePending": func(t *testing.T, q *queue) {
			kit.PutAll(t, q, 1, 2, 3)
			kit.RequireSize(t, q, 0, 3)
		},
		"setWidthToZeroAfterInitiallyNonZero": func(t *testing.T, q *queue) {
			require.NoError(t, q.SetWidth(3))
			require.NoError(t, q.SetWidth(0))
			kit.PutAll(t, q, 1, 2)
			kit.RequireSize(t, q, 0, 2)
		},
		"setWidthToZeroAfterInitiallyNonZeroThenStop": func(t *testing.T, q *queue) {
			kit.PutAll(t, q, 1, 2)
			left, err := kit.AwaitSoon(q.Stop())
			require.NoError(t, err)
			require.Equal(t, []int{1, 2}, kit.Args(left))
		},
		"stopSetsStopped": func(t *testing.T, q *queue) {
			q.Stop()
			require.True(t, q.Stopped())
		},
		"stopAfterNoPuts": func(t *testing.T, q *queue) { kit.RequireValue(t, nil, q.Stop()) },
		"clearQueueCancelPending": func(t *testing.T, q *queue) {
			j, k := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
			require.Equal(t, 2, q.Clear())
			for _, j := range []*twill.Job[int, int]{j, k} {
				kit.RequireFailure(t, twill.ErrCanceled, &j.Future)
				require.Equal(t, twill.JobCanceled, j.State())
			}
			kit.RequireSize(t, q, 0, 0)
		},
		"putRaisesWhenStopped": func(t *testing.T, q *queue) {
			q.Stop()
			_, err := q.Put(1, 0)
			require.ErrorIs(t, err, twill.ErrStopped)
		},
		"widenWithNegativeWidth": func(t *testing.T, q *queue) { require.ErrorIs(t, q.SetWidth(-1), twill.ErrNegativeWidth) },
		"getPausedWidth": func(t *testing.T, q *queue) {
			require.NoError(t, q.SetWidth(1))
			q.Pause()
			require.Equal(t, 1, q.Width())
			require.NoError(t, q.SetWidth(3))
			require.Equal(t, 3, q.Width())
		},
		"pauseResumeWithZeroWidth": func(t *testing.T, q *queue) {
			q.Pause()
			require.NoError(t, q.ResumeWidth(0))
			require.Zero(t, q.Width())
		},
		"pauseResumeWithNonZeroWidth": func(t *testing.T, q *queue) {
			q.Pause()
			require.NoError(t, q.ResumeWidth(10))
			require.Equal(t, 10, q.Width())
		},
		"pauseResumeWithNegativeWidth": func(t *testing.T, q *queue) {
			q.Pause()
			require.ErrorIs(t, q.ResumeWidth(-1), twill.ErrNegativeWidth)
		},
		"deferredFromPutFiresWithCorrectResult": func(t *testing.T, _ *queue) {
			q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return 2 * n, nil }, nil)
			j := kit.PutJob(t, q, 6, 0)
			kit.AwaitValue(t, &j.Future, 12)
		},
		"reprioritizeNonExistentJob": func(t *testing.T, q *queue) {
			require.ErrorIs(t, q.Reprioritize(nil, 1), twill.ErrNotPending)
		},
		"reprioritizeNonPendingJob": func(t *testing.T, q *queue) {
			j := kit.PutJob(t, q, 1, 0)
			require.NoError(t, q.SetWidth(1))
			kit.AwaitValue(t, &j.Future, 1)
			require.ErrorIs(t, q.Reprioritize(j, 10), twill.ErrNotPending)
		},
		"reprioritizePending": func(t *testing.T, q *queue) {
			j := kit.PutJob(t, q, 1, 0)
			require.NoError(t, q.Reprioritize(j, 10))
			require.Equal(t, 10, j.Priority())
		},
		"raiseFailsWithJob, raiseFailsWithCorrectJobArgument": func(t *testing.T, _ *queue) {
			q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, errors.New("raised") }, nil)
			j := kit.PutJob(t, q, 17, 0)
			_, err := kit.AwaitSoon(&j.Future)
			require.EqualError(t, err, "raised")
			require.Equal(t, 17, j.Arg())
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
			require.NoError(t, q.SetWidth(0))
			check(t, q)
		})
	}
}

// TestAcceptTiming has the cases that do not fit the table of
// TestDispatchTiming.
func TestAcceptTiming(t *testing.T) {
	const ms = time.Millisecond
	for name, check := range map[string]func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]){
		"stopAndCancelWithOneUnderway": func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			require.NoError(t, q.SetWidth(2))
			jobs, err := q.PutAll([]time.Duration{200 * ms, 200 * ms, 200 * ms}, 0)
			require.NoError(t, err)
			time.Sleep(100 * ms)
			left, err := q.StopNow().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, jobs, left)
			for i, state := range []twill.JobState{twill.JobCanceled, twill.JobCanceled, twill.JobPending} {
				require.Equal(t, state, left[i].State())
			}
			kit.RequireFailure(t, twill.ErrCanceled, &jobs[0].Future)
			kit.RequireFailure(t, twill.ErrCanceled, &jobs[1].Future)
			kit.RequireSize(t, q, 0, 1)
		},
		"pauseStopResume": func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			jobs, err := q.PutAll([]time.Duration{200 * ms, 200 * ms, 200 * ms}, 0)
			require.NoError(t, err)
			time.Sleep(100 * ms)
			q.Pause()
			time.Sleep(100 * ms)
			left, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, jobs[1:], left)
			time.Sleep(100 * ms)
			require.ErrorIs(t, q.Resume(), twill.ErrStopped)
		},
		"cancelRemovesFromQueue": func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			a, b := kit.PutJob(t, q, 200*ms, 0), kit.PutJob(t, q, 200*ms, 0)
			require.True(t, b.Cancel(nil))
			require.Equal(t, twill.JobCanceled, b.State())
			require.Empty(t, q.Pending())
			kit.AwaitValue(t, &a.Future, 200*ms)
		},
		"setWidthToZeroAfterInitiallyNonZero": func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			require.NoError(t, q.SetWidth(3))
			time.Sleep(10 * ms)
			require.NoError(t, q.SetWidth(0))
			jobs, err := q.PutAll([]time.Duration{1, 2}, 0)
			require.NoError(t, err)
			kit.RequireSize(t, q, 0, 2)
			kit.RequireValue(t, jobs, q.Stop())
		},
		"puttingMoreThanWidthOnlyDispatchesWidth": func(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) {
			require.NoError(t, q.SetWidth(3))
			for range 5 {
				kit.PutJob(t, q, 200*ms, 0)
			}
			kit.RequireSize(t, q, 3, 2)
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { check(t, twill.NewResizableDispatchQueue(kit.Sleep, nil)) })
		})
	}
}

// TestAcceptBugs has the bugs of txRDQ that its test suite does not find. Other
// such bugs are in TestTrapPauseTwice, TestJobCancelAfterTheEndChangesNothing,
// TestDispatchPauseResumedBeforeDrained, TestTrapCanceledJobsAreNotKept and
// resumeWhenNeverPaused of TestDispatchTiming. A backlog smaller than the
// width, which ends workers there, does not exist here.
func TestAcceptBugs(t *testing.T) {
	t.Run("a pool takes what has fired already, and the same twice", func(t *testing.T) {
		p := twill.NewPool(nil)
		fired, twice := twill.Resolved(1), twill.NewPromise[int]()
		for _, f := range []*twill.Future[int]{fired, twice.Future(), twice.Future()} {
			require.NoError(t, p.Add(f))
		}
		kit.RequireValue(t, 1, fired)
		empty := p.Empty()
		kit.RequirePending(t, empty)
		twice.Resolve(2)
		kit.RequireValue(t, struct{}{}, empty)
		kit.RequireValue(t, 2, twice.Future())
	})
	t.Run("moving a job leaves nothing behind and loses no place", func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Size: 2})
		q.Pause()
		a, b := kit.PutJob(t, q, 1, 0), kit.PutJob(t, q, 2, 0)
		require.NoError(t, q.Reprioritize(a, 5), "also of a full queue")
		kit.RequireSize(t, q, 0, 2)
		require.NoError(t, q.Resume())
		kit.AwaitValue(t, &b.Future, 2)
		kit.AwaitValue(t, &a.Future, 1)
		kit.RequireSize(t, q, 0, 0)
	})
	t.Run("an argument can be put again after a cancel, and after a clear", func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		first := kit.PutJob(t, q, 1, 0)
		require.True(t, first.Cancel(nil))
		second := kit.PutJob(t, q, 1, 0)
		q.Clear()
		require.False(t, second.Cancel(nil))
		third := kit.PutJob(t, q, 1, 0)
		kit.RequireSize(t, q, 0, 1)
		require.NoError(t, q.Resume())
		kit.AwaitValue(t, &third.Future, 1)
	})
	t.Run("a width set after a stop starts nothing", func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		j := kit.PutJob(t, q, 1, 0)
		q.Stop()
		require.ErrorIs(t, q.SetWidth(3), twill.ErrStopped)
		require.ErrorIs(t, q.ResumeWidth(3), twill.ErrStopped)
		kit.RequireSize(t, q, 0, 1)
		kit.RequirePending(t, &j.Future)
	})
	t.Run("pending jobs are listed in the order of dispatch", func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
		q.Pause()
		for _, priority := range []int{0, 2, 1, 5, 3, 4} {
			kit.PutJob(t, q, priority, priority)
		}
		require.Equal(t, kit.UpTo(6), kit.Args(q.Pending()))
	})
}

// TestAcceptPriorityQueue has the cases of DeferredPriorityQueue. There, an
// object is its own handle: repeatedPut, which must fail there, is allowed
// here, and attrs, lessThan and reprioritizeNonexistent have no equivalent.
func TestAcceptPriorityQueue(t *testing.T) {
	put := func(t *testing.T, q *twill.PriorityQueue[string], v string, priority int) *twill.PriorityItem[string] {
		item, err := q.Put(v, priority)
		require.NoError(t, err)
		return item
	}
	drain := func(q *twill.PriorityQueue[string]) (all []string) {
		for v, ok := q.TryGet(); ok; v, ok = q.TryGet() {
			all = append(all, v)
		}
		return all
	}
	for name, check := range map[string]func(t *testing.T, q *twill.PriorityQueue[string]){
		"simplePriorities": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 20)
			put(t, q, "b", 10)
			put(t, q, "c", 15)
			require.Equal(t, []string{"b", "c", "a"}, drain(q))
		},
		"simpleReprioritize": func(t *testing.T, q *twill.PriorityQueue[string]) {
			a := put(t, q, "a", 20)
			put(t, q, "b", 10)
			c := put(t, q, "c", 15)
			require.True(t, c.Reprioritize(7))
			require.True(t, a.Reprioritize(8))
			require.Equal(t, 3, q.Len())
			require.Equal(t, []string{"c", "a", "b"}, drain(q))
		},
		"reprioritizeToSameValue": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 10)
			b := put(t, q, "b", 10)
			put(t, q, "c", 10)
			require.True(t, b.Reprioritize(10))
			require.Equal(t, []string{"a", "b", "c"}, drain(q))
		},
		"reprioritizeDeleted, deleteAlreadyDeleted": func(t *testing.T, q *twill.PriorityQueue[string]) {
			a := put(t, q, "a", 10)
			require.True(t, a.Remove())
			require.False(t, a.Reprioritize(1))
			require.False(t, a.Remove())
		},
		"delete": func(t *testing.T, q *twill.PriorityQueue[string]) {
			require.True(t, put(t, q, "a", 10).Remove())
			put(t, q, "b", 10)
			kit.RequireValue(t, "b", q.Get())
			require.Zero(t, q.Len())
		},
		"stable": func(t *testing.T, q *twill.PriorityQueue[string]) {
			names := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
			rand.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
			for _, name := range names {
				put(t, q, name, 5)
			}
			require.Equal(t, names, drain(q))
		},
		"testQueue": func(t *testing.T, _ *twill.PriorityQueue[string]) {
			q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 2, Backlog: 2})
			first, second := q.Get(), q.Get()
			kit.RequireFailure(t, twill.ErrTooManyGets, q.Get())
			put(t, q, "a", 9)
			kit.RequireValue(t, "a", first)
			put(t, q, "b", 1)
			kit.RequireValue(t, "b", second)
			put(t, q, "c", 1)
			put(t, q, "d", 1)
			_, err := q.Put("e", 1)
			require.ErrorIs(t, err, twill.ErrQueueFull)
			require.Equal(t, []string{"c", "d"}, drain(q))
			_, err = twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1}).Put(1, 1)
			require.ErrorIs(t, err, twill.ErrQueueFull)
			kit.RequireFailure(t, twill.ErrTooManyGets, twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1}).Get())
		},
		"cancelQueueAfterSynchronousGet": func(t *testing.T, q *twill.PriorityQueue[string]) {
			put(t, q, "a", 1)
			f := q.Get()
			require.False(t, f.Cancel(nil))
			kit.RequireValue(t, "a", f)
		},
		"cancelQueueAfterGet": func(t *testing.T, q *twill.PriorityQueue[string]) {
			f := q.Get()
			require.True(t, f.Cancel(nil))
			kit.RequireFailure(t, twill.ErrCanceled, f)
			put(t, q, "a", 1)
			kit.RequireValue(t, "a", q.Get())
		},
	} {
		t.Run(name, func(t *testing.T) { check(t, new(twill.PriorityQueue[string])) })
	}
}

// TestAcceptPool has the cases of DeferredPool. Its status also counts waits
// for the pool to be empty, which here are pending futures.
func TestAcceptPool(t *testing.T) {
	for name, c := range map[string]struct {
		members, fired int
		fails, next    bool // the fired members fail; the waits are for the next time
		waits          int
		settled        bool // the waits have settled
	}{
		"emptyPoolStatus":                     {},
		"poolDeferredCount":                   {members: 2},
		"poolWaitingCount":                    {waits: 2, next: true},
		"poolStatus":                          {members: 2, waits: 1},
		"statusAfterDeferredIsCallbacked":     {members: 2, fired: 1},
		"statusAfterDeferredIsErrbacked":      {members: 2, fired: 1, fails: true},
		"emptyPoolWithTestImmediatelyTrue":    {waits: 1, settled: true},
		"emptyPoolWithTestImmediatelyFalse":   {waits: 1, next: true},
		"nonEmptyPoolWithTestImmediatelyTrue": {members: 1, waits: 1},
		"poolEmpties":                         {members: 3, fired: 3},
		"notifyWhenPoolEmpties, not yet":      {members: 3, fired: 2, waits: 2},
		"notifyWhenPoolEmpties":               {members: 3, fired: 3, waits: 2, settled: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPool(nil)
			members := make([]twill.Promise[int], c.members)
			for i := range members {
				require.NoError(t, p.Add(members[i].Future()))
			}
			wait := p.Empty
			if c.next {
				wait = p.NextEmpty
			}
			var waits []*twill.Future[struct{}]
			for range c.waits {
				waits = append(waits, wait())
			}
			for i := range c.fired {
				if c.fails {
					members[i].Reject(kit.ErrFirst)
					kit.RequireFailure(t, kit.ErrFirst, members[i].Future()) // errbackedDeferredFiresWithTheRightResult
				} else {
					members[i].Resolve(42)
					kit.RequireValue(t, 42, members[i].Future()) // callbackedDeferredFiresWithTheRightResult
				}
			}
			require.Equal(t, c.members-c.fired, p.Len())
			for _, f := range waits {
				_, settled := f.Poll()
				require.Equal(t, c.settled, settled)
			}
		})
	}
}
