package jetstream_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/dispatchtest"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

func TestMain(m *testing.M) {
	natstest.Main()
	if settings := os.Getenv(childEnv); settings != "" {
		if err := runWorker(settings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	twill.OnUnhandled(nil) // many jobs fail on purpose
	flag.Parse()
	if runtime.GOMAXPROCS(0) < 4 { // the tests wait for servers and leases more than they compute
		_ = flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}

// queueNumber makes the names of queues differ that share servers.
var queueNumber atomic.Int64

func newName() string { return "q" + strconv.FormatInt(queueNumber.Add(1), 10) }

// TestDispatch is the suite of all dispatch queues, over one server. Nothing is
// skipped: with one process there is no hand-over.
func TestDispatch(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	conn := servers.Connect(t)
	dispatchtest.Test(t, dispatchtest.Engine{
		Open: func(t *testing.T, fn dispatchtest.Func, opts twill.DispatchOptions) dispatchtest.Queue {
			if opts.Width == 0 {
				opts.Width = 1 // as in the root package
			}
			q, err := jetstream.NewQueue(t.Context(), conn, newName(), fn, &jetstream.Options{
				DispatchOptions: opts, WorkerWidth: 64, OnEvent: func(e jetstream.Event) {
					if e.Kind == jetstream.Trouble {
						t.Log(e.Kind, e.Err)
					}
				},
			})
			require.NoError(t, err)
			t.Cleanup(q.Close)
			return suite{q}
		},
		Unit: 150 * time.Millisecond,
	})
}

// suite is a queue of the cluster as the suite knows queues.
type suite struct {
	*jetstream.Queue[dispatchtest.Arg, dispatchtest.Result]
}

type suiteJob = jetstream.Job[dispatchtest.Arg, dispatchtest.Result]

func (q suite) Put(arg dispatchtest.Arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return job(q.Queue.Put(arg, priority, opts...))
}

func (q suite) PutWait(ctx context.Context, arg dispatchtest.Arg, priority int, opts ...twill.JobOptions) (dispatchtest.Job, error) {
	return job(q.Queue.PutWait(ctx, arg, priority, opts...))
}

func (q suite) PutAll(args []dispatchtest.Arg, priority int, opts ...twill.JobOptions) ([]dispatchtest.Job, error) {
	put, err := q.Queue.PutAll(args, priority, opts...)
	return jobs(put), err
}

func (q suite) Pending() []dispatchtest.Job { return jobs(q.Queue.Pending()) }

func (q suite) PendingPage(from, n int) []dispatchtest.Job { return jobs(q.Queue.PendingPage(from, n)) }

func (q suite) Underway() []dispatchtest.Job { return jobs(q.Queue.Underway()) }

func (q suite) Reprioritize(j dispatchtest.Job, priority int) error {
	return q.Queue.Reprioritize(j.(*suiteJob), priority)
}

func (q suite) Find(key string) (dispatchtest.Job, bool) {
	j, ok := q.Queue.Find(key)
	return j, ok
}

func (q suite) Why(j dispatchtest.Job) (twill.WaitReason, time.Time) {
	return q.Queue.Why(j.(*suiteJob))
}

func (q suite) Stop() *twill.Future[[]dispatchtest.Job] {
	return twill.Then(q.Queue.Stop(), func(left []*suiteJob) ([]dispatchtest.Job, error) { return jobs(left), nil })
}

func (q suite) Drain(ctx context.Context) ([]dispatchtest.Job, error) {
	left, err := q.Queue.Drain(ctx)
	return jobs(left), err
}

// job keeps a nil job from becoming an interface that is not nil.
func job(j *suiteJob, err error) (dispatchtest.Job, error) {
	if j == nil {
		return nil, err
	}
	return j, err
}

func jobs(list []*suiteJob) []dispatchtest.Job {
	all := make([]dispatchtest.Job, len(list))
	for i, j := range list {
		all[i] = j
	}
	return all
}
