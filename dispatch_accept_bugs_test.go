package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// TestAcceptBugs are the bugs of txRDQ that its suite does not know of. Others
// of them are TestTrapPauseTwice, TestJobCancelAfterTheEndChangesNothing,
// TestDispatchPauseResumedBeforeDrained, TestTrapCancelledJobsAreNotKept and
// resumeWhenNeverPaused of TestDispatchTiming. A backlog that is less than the
// width, which left workers dead there, is nothing that a queue has here.
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
		require.NoError(t, q.SetWidth(3))
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
