//go:build suites

package dispatchtest_test

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/dispatchtest"
)

func TestMain(m *testing.M) {
	twill.OnUnhandled(nil) // many jobs fail on purpose
	os.Exit(m.Run())
}

func TestRoot(t *testing.T) {
	dispatchtest.Test(t, dispatchtest.Engine{
		Open: func(t *testing.T, fn dispatchtest.Func, opts twill.DispatchOptions) dispatchtest.Queue {
			q := twill.NewResizableDispatchQueue(fn, &opts)
			t.Cleanup(func() { q.StopNow() })
			return root{q}
		},
		Run:  synctest.Test,
		Unit: time.Second,
	})
}

// root is the queue of the root package in the form that the suite uses.
type root struct {
	*twill.ResizableDispatchQueue[dispatchtest.Arg, dispatchtest.Result]
}

type rootJob = twill.Job[dispatchtest.Arg, dispatchtest.Result]

func (q root) Put(arg dispatchtest.Arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return job(q.ResizableDispatchQueue.Put(arg, priority, opts...))
}

func (q root) PutWait(ctx context.Context, arg dispatchtest.Arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return job(q.ResizableDispatchQueue.PutWait(ctx, arg, priority, opts...))
}

func (q root) PutAll(args []dispatchtest.Arg, priority int, opts ...twill.JobOptions) ([]dispatchtest.Job, error) {
	put, err := q.ResizableDispatchQueue.PutAll(args, priority, opts...)
	return jobs(put), err
}

func (q root) Pending() []dispatchtest.Job { return jobs(q.ResizableDispatchQueue.Pending()) }

func (q root) PendingPage(from, n int) []dispatchtest.Job {
	return jobs(q.ResizableDispatchQueue.PendingPage(from, n))
}

func (q root) Underway() []dispatchtest.Job { return jobs(q.ResizableDispatchQueue.Underway()) }

func (q root) Reprioritize(j dispatchtest.Job, priority int) error {
	return q.ResizableDispatchQueue.Reprioritize(j.(*rootJob), priority)
}

func (q root) Find(key string) (dispatchtest.Job, bool) {
	j, ok := q.ResizableDispatchQueue.Find(key)
	return j, ok
}

func (q root) Why(j dispatchtest.Job) (twill.WaitReason, time.Time) {
	return q.ResizableDispatchQueue.Why(j.(*rootJob))
}

func (q root) Stop() *twill.Future[[]dispatchtest.Job] {
	return twill.Then(q.ResizableDispatchQueue.Stop(), func(left []*rootJob) ([]dispatchtest.Job, error) { return jobs(left), nil })
}

func (q root) Drain(ctx context.Context) ([]dispatchtest.Job, error) {
	left, err := q.ResizableDispatchQueue.Drain(ctx)
	return jobs(left), err
}

// job returns a nil interface for a nil job.
func job(j *rootJob, err error) (dispatchtest.Job, error) {
	if j == nil {
		return nil, err
	}
	return j, err
}

func jobs(list []*rootJob) []dispatchtest.Job {
	all := make([]dispatchtest.Job, len(list))
	for i, j := range list {
		all[i] = j
	}
	return all
}
