package durable_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/internal/test/dispatchtest"
)

func TestMain(m *testing.M) {
	twill.OnUnhandled(nil) // many jobs fail on purpose
	slog.SetDefault(slog.New(slog.DiscardHandler))
	if child := os.Getenv("DURABLE_TEST_CHILD"); child != "" {
		os.Exit(runChild(child))
	}
	os.Exit(m.Run())
}

// The suite of all dispatch queues.
func TestDispatchSuite(t *testing.T) {
	dispatchtest.Test(t, dispatchtest.Engine{
		Open: func(t *testing.T, fn dispatchtest.Func, opts twill.DispatchOptions) dispatchtest.Queue {
			q, err := durable.Open(filepath.Join(t.TempDir(), "jobs.db"), fn, &durable.Options{Dispatch: opts})
			require.NoError(t, err)
			t.Cleanup(func() {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				require.NoError(t, q.Close(ctx))
			})
			return suiteQueue{q}
		},
		// A call to the disk is not a wait: virtual time does not go on.
		Run:  synctest.Test,
		Unit: time.Second,
	})
}

type (
	arg    = dispatchtest.Arg
	result = dispatchtest.Result
)

// suiteQueue is a queue as the suite knows it.
type suiteQueue struct{ *durable.Queue[arg, result] }

// suiteJob is a job as the suite knows it.
type suiteJob struct{ *durable.Job[arg, result] }

func (j suiteJob) Arg() arg {
	a, err := j.Job.Arg()
	if err != nil {
		panic(err)
	}
	return a
}

func toSuite(j *durable.Job[arg, result], err error) (dispatchtest.Job, error) {
	if j == nil {
		return nil, err
	}
	return suiteJob{j}, err
}

func allToSuite(list []*durable.Job[arg, result]) []dispatchtest.Job {
	jobs := make([]dispatchtest.Job, len(list))
	for i, j := range list {
		jobs[i] = suiteJob{j}
	}
	return jobs
}

func (q suiteQueue) Put(a arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return toSuite(q.Queue.Put(a, priority, opts...))
}

func (q suiteQueue) PutWait(ctx context.Context, a arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return toSuite(q.Queue.PutWait(ctx, a, priority, opts...))
}

func (q suiteQueue) PutAll(args []arg, priority int, opts ...twill.JobOptions) ([]dispatchtest.Job, error) {
	jobs, err := q.Queue.PutAll(args, priority, opts...)
	return allToSuite(jobs), err
}

func (q suiteQueue) Pending() []dispatchtest.Job { return allToSuite(q.Queue.Pending()) }

func (q suiteQueue) PendingPage(from, n int) []dispatchtest.Job {
	return allToSuite(q.Queue.PendingPage(from, n))
}

func (q suiteQueue) Underway() []dispatchtest.Job { return allToSuite(q.Queue.Underway()) }

func (q suiteQueue) Reprioritize(j dispatchtest.Job, priority int) error {
	return q.Queue.Reprioritize(j.(suiteJob).Job, priority)
}

func (q suiteQueue) Find(key string) (dispatchtest.Job, bool) {
	j, ok := q.Queue.FindKey(key)
	if !ok {
		return nil, false
	}
	return suiteJob{j}, true
}

func (q suiteQueue) Why(j dispatchtest.Job) (twill.WaitReason, time.Time) {
	return q.Queue.Why(j.(suiteJob).Job)
}

func (q suiteQueue) Stop() *twill.Future[[]dispatchtest.Job] {
	return twill.Then(q.Queue.Stop(), func(left []*durable.Job[arg, result]) ([]dispatchtest.Job, error) {
		return allToSuite(left), nil
	})
}

func (q suiteQueue) Drain(ctx context.Context) ([]dispatchtest.Job, error) {
	left, err := q.Queue.Drain(ctx)
	return allToSuite(left), err
}
