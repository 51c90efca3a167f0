package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// lease is that of the tests. It is short, so that they are, and long enough
// for a machine that is busy.
const lease = 2 * time.Second

type fn = func(context.Context, string) (string, error)

// process is one process of a cluster: a connection of its own, so that it can
// be lost.
type process struct {
	*jetstream.Queue[string, string]
	conn   *nats.Conn
	mu     sync.Mutex
	events []jetstream.Event
}

// join makes a process. It is a worker if fn is not nil.
func join(t *testing.T, url, queue, name string, fn fn, change func(o *jetstream.Options)) *process {
	t.Helper()
	p := &process{conn: natstest.Connect(t, url, nats.IgnoreDiscoveredServers())}
	o := &jetstream.Options{Lease: lease, Name: name, WorkerWidth: 4, OnEvent: func(e jetstream.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.events = append(p.events, e)
	}}
	if change != nil {
		change(o)
	}
	q, err := jetstream.NewQueue(t.Context(), p.conn, queue, fn, o)
	require.NoError(t, err)
	p.Queue = q
	t.Cleanup(q.Close)
	return p
}

// lose cuts the process off at once, as its death does.
func (p *process) lose() { p.conn.Close() }

func (p *process) saw(kind jetstream.EventKind) (found []jetstream.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == kind {
			found = append(found, e)
		}
	}
	return found
}

func put(t *testing.T, p *process, arg string, priority int, opts ...twill.JobOptions) *jetstream.Job[string, string] {
	t.Helper()
	j, err := p.Put(arg, priority, opts...)
	require.NoError(t, err)
	return j
}

func await(t *testing.T, j *jetstream.Job[string, string]) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := j.Await(ctx)
	require.NoError(t, ctx.Err(), "job %s", j.Arg())
	return v, err
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, 5*time.Millisecond, what)
}

func echo(_ context.Context, arg string) (string, error) { return "did " + arg, nil }

// scheduler waits until one of the processes schedules.
func scheduler(t *testing.T, ps ...*process) (at *process) {
	until(t, "a process schedules", func() bool {
		for _, p := range ps {
			if len(p.saw(jetstream.SchedulerStarted)) > len(p.saw(jetstream.SchedulerEnded)) {
				at = p
				return true
			}
		}
		return false
	})
	return at
}

func TestAJobSettlesWhereItWasPut(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	early := put(t, putter, "before there is a worker", 0)
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		switch arg {
		case "fail":
			return "", fmt.Errorf("no: %w", context.DeadlineExceeded)
		case "panic":
			panic("boom")
		}
		return echo(ctx, arg)
	}, func(o *jetstream.Options) { o.Version = "v1.2.3" })
	v, err := await(t, early)
	require.NoError(t, err)
	require.Equal(t, "did before there is a worker", v)
	_, err = await(t, put(t, putter, "fail", 0))
	require.EqualError(t, err, "no: context deadline exceeded")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var plain *jetstream.Error
	require.ErrorAs(t, err, &plain)
	_, err = await(t, put(t, putter, "panic", 0))
	var panicked *twill.PanicError
	require.ErrorAs(t, err, &panicked)
	require.ErrorContains(t, err, "boom")
	workers, at := putter.Workers()
	require.Len(t, workers, 1)
	require.Equal(t, "worker", at)
	require.Equal(t, []any{"worker", "v1.2.3", 4}, []any{workers[0].Name, workers[0].Version, workers[0].Width})
	require.Error(t, putter.SetWorkerWidth(3), "it runs no jobs")
	require.NoError(t, worker.SetWorkerWidth(3))
	until(t, "the width is known", func() bool { w, _ := putter.Workers(); return len(w) == 1 && w[0].Width == 3 })
}

func TestTheWidthHoldsInTheWholeCluster(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	var running, most atomic.Int64
	hold := make(chan struct{})
	work := func(ctx context.Context, arg string) (string, error) {
		n := running.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		defer running.Add(-1)
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return arg, nil
	}
	var ps []*process
	for i := range 3 {
		ps = append(ps, join(t, servers.URL(), name, fmt.Sprint("w", i), work, nil))
	}
	require.NoError(t, ps[1].SetWidth(5))
	var all []*jetstream.Job[string, string]
	for i := range 30 {
		all = append(all, put(t, ps[i%3], fmt.Sprint("j", i), 0))
	}
	until(t, "five run", func() bool { return running.Load() == 5 })
	u, p := ps[2].Size()
	require.Equal(t, []int{5, 25}, []int{u, p})
	require.NoError(t, ps[2].SetWidth(7))
	until(t, "seven run", func() bool { return running.Load() == 7 })
	require.NoError(t, ps[0].SetWidth(jetstream.Unlimited))
	until(t, "all workers are busy", func() bool { return running.Load() == 12 })
	require.NoError(t, ps[0].SetWidth(2))
	require.Equal(t, 2, ps[1].Width())
	close(hold)
	for _, j := range all {
		_, err := await(t, j)
		require.NoError(t, err)
	}
	require.Equal(t, int64(12), most.Load())
}

// The jobs of a worker that is lost run elsewhere, and it stops working on
// them.
func TestAWorkerIsLost(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	started, ended := make(chan jetstream.Attempt, 10), make(chan error, 10)
	work := func(ctx context.Context, arg string) (string, error) {
		a, ok := jetstream.AttemptOf(ctx)
		require.True(t, ok)
		started <- a
		if a.HandOut > 1 {
			return "second", nil
		}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return "first", context.Cause(ctx)
	}
	boss := join(t, servers.URL(), name, "boss", work, func(o *jetstream.Options) { o.WorkerWidth = 1 })
	scheduler(t, boss)
	require.NoError(t, boss.SetWorkerWidth(0))
	until(t, "the boss takes none", func() bool { w, _ := boss.Workers(); return len(w) == 1 && w[0].Width == 0 })
	lost := join(t, servers.URL(), name, "lost", work, nil)
	j := put(t, boss, "a", 0)
	first := receive(t, started)
	until(t, "its worker is shown", func() bool { return j.Worker() == "lost" })
	require.NoError(t, boss.SetWorkerWidth(1))
	lost.lose()
	second := receive(t, started)
	require.Equal(t, first.ID, second.ID)
	require.Greater(t, second.HandOut, first.HandOut, "the token grows")
	require.Equal(t, 1, second.Attempt, "the lost call does not count")
	v, err := await(t, j)
	require.NoError(t, err)
	require.Equal(t, "second", v)
	require.ErrorIs(t, receive(t, ended), jetstream.ErrLost)
	require.NotEmpty(t, boss.saw(jetstream.JobLost))
}

// A job that takes each of its workers along fails.
func TestAJobThatLosesItsWorkersFails(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	boss := join(t, servers.URL(), name, "boss", echo, func(o *jetstream.Options) { o.MaxLost = 1; o.WorkerWidth = 1 })
	scheduler(t, boss)
	require.NoError(t, boss.SetWorkerWidth(0))
	until(t, "the boss takes none", func() bool { w, _ := boss.Workers(); return len(w) == 1 && w[0].Width == 0 })
	j := put(t, boss, "a", 0)
	for i := range 2 {
		got := make(chan struct{}, 1)
		p := join(t, servers.URL(), name, fmt.Sprint("w", i), func(ctx context.Context, arg string) (string, error) {
			got <- struct{}{}
			<-ctx.Done()
			return "", ctx.Err()
		}, func(o *jetstream.Options) { o.NoSchedule = true })
		receive(t, got)
		p.lose()
	}
	_, err := await(t, j)
	require.ErrorIs(t, err, jetstream.ErrLost)
	require.Equal(t, twill.JobFailed, j.State())
	require.ErrorIs(t, boss.JobError(j.ID()), jetstream.ErrLost)
}

// When the scheduler is lost another process goes on, with everything that was
// set and put, and with the calls that run.
func TestASchedulerIsLost(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	hold := make(chan struct{})
	var mu sync.Mutex
	var order []string
	work := func(ctx context.Context, arg string) (string, error) {
		mu.Lock()
		order = append(order, arg)
		mu.Unlock()
		if strings.HasPrefix(arg, "hold") {
			<-hold
		}
		return "did " + arg, nil
	}
	first := join(t, servers.URL(), name, "first", echo, nil)
	scheduler(t, first)
	require.NoError(t, first.SetWorkerWidth(0))
	until(t, "the first takes none", func() bool { w, _ := first.Workers(); return len(w) == 1 && w[0].Width == 0 })
	second := join(t, servers.URL(), name, "second", work, nil)
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	require.NoError(t, putter.SetWidth(1))
	require.NoError(t, putter.SetGroupLimit("g", twill.GroupLimit{Width: 1}))
	running := put(t, putter, "hold", 0)
	until(t, "it runs", func() bool { return running.State() == twill.JobUnderway })
	var all []*jetstream.Job[string, string]
	for i, priority := range []int{3, 1, 2, 1} {
		all = append(all, put(t, putter, fmt.Sprint("j", i), priority))
	}
	keyed := put(t, putter, "keyed", 5, twill.JobOptions{Key: "k", Group: "g"})
	held := put(t, putter, "held", 5, twill.JobOptions{Held: true})
	late := put(t, putter, "late", 5, twill.JobOptions{After: time.Hour})
	require.NoError(t, putter.Reprioritize(all[0], 0))
	require.True(t, all[2].Cancel(errors.New("not needed")))

	first.lose()
	require.Same(t, second, scheduler(t, second))
	meanwhile := put(t, putter, "meanwhile", 9)
	require.Equal(t, 1, putter.Width())
	found, ok := putter.Find("k")
	require.True(t, ok)
	require.Equal(t, keyed.ID(), found.ID())
	var pending []string
	for _, j := range putter.Pending() {
		pending = append(pending, j.Arg())
	}
	require.Equal(t, []string{"j0", "j1", "j3", "keyed", "meanwhile"}, pending[:5])
	require.ElementsMatch(t, []string{"held", "late"}, pending[5:])
	reason, _ := putter.Why(held)
	require.Equal(t, twill.WaitHeld, reason)
	require.Equal(t, twill.JobUnderway, running.State(), "its call goes on")
	require.True(t, held.Release())
	require.True(t, late.Cancel(nil))
	close(hold)
	for _, j := range []*jetstream.Job[string, string]{running, all[0], all[1], all[3], keyed, meanwhile, held} {
		v, err := await(t, j)
		require.NoError(t, err)
		require.Equal(t, "did "+j.Arg(), v)
	}
	mu.Lock()
	defer mu.Unlock()
	order = slices.DeleteFunc(order, func(arg string) bool { return arg == "held" }) // released when others had begun
	require.Equal(t, []string{"hold", "j0", "j1", "j3", "keyed", "meanwhile"}, order, "each once, in order")
}

// A process that schedules and stops hands over at once.
func TestASchedulerStops(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	longer := func(o *jetstream.Options) { o.Lease = time.Minute }
	first := join(t, servers.URL(), name, "first", echo, longer)
	scheduler(t, first)
	second := join(t, servers.URL(), name, "second", echo, longer)
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	_, err := first.Stop().Await(ctx)
	require.NoError(t, err)
	j := put(t, second, "a", 0)
	v, err := await(t, j)
	require.NoError(t, err)
	require.Equal(t, "did a", v)
	_, err = first.Put("b", 0)
	require.ErrorIs(t, err, twill.ErrStopped)
}

// StopNow hands calls back at once, and they do not count.
func TestStopNowHandsBack(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	longer := func(o *jetstream.Options) { o.Lease = time.Minute; o.WorkerWidth = 1 }
	started := make(chan string, 10)
	hang := func(ctx context.Context, arg string) (string, error) {
		started <- arg
		<-ctx.Done()
		return "", context.Cause(ctx)
	}
	first := join(t, servers.URL(), name, "first", hang, longer)
	j := put(t, first, "a", 0)
	receive(t, started)
	attempts := make(chan int, 1)
	second := join(t, servers.URL(), name, "second", func(ctx context.Context, arg string) (string, error) {
		a, _ := jetstream.AttemptOf(ctx)
		attempts <- a.Attempt
		return echo(ctx, arg)
	}, longer)
	until(t, "both are known", func() bool { w, _ := second.Workers(); return len(w) == 2 })
	ctx, cancel := context.WithTimeout(t.Context(), patience/2)
	defer cancel()
	_, err := first.StopNow().Await(ctx)
	require.NoError(t, err)
	v, err := await(t, j)
	require.NoError(t, err)
	require.Equal(t, "did a", v)
	require.Equal(t, 1, receive(t, attempts))
}

// A worker that is cut off stops working on its jobs, and takes others when it
// is back.
func TestAWorkerIsCutOff(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	proxy := natstest.StartProxy(t, servers.Nodes[0])
	boss := join(t, servers.URL(), name, "boss", echo, nil)
	scheduler(t, boss)
	require.NoError(t, boss.SetWorkerWidth(0))
	until(t, "the boss takes none", func() bool { w, _ := boss.Workers(); return len(w) == 1 && w[0].Width == 0 })
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	cut := join(t, proxy.URL(), name, "cut", func(ctx context.Context, arg string) (string, error) {
		if arg != "long" {
			return "cut off", nil
		}
		started <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return "", ctx.Err()
	}, func(o *jetstream.Options) { o.NoSchedule = true })
	j := put(t, boss, "long", 0)
	receive(t, started)
	proxy.Block()
	require.NoError(t, boss.SetWorkerWidth(1))
	v, err := await(t, j)
	require.NoError(t, err)
	require.Equal(t, "did long", v, "elsewhere")
	require.ErrorIs(t, receive(t, ended), jetstream.ErrLost)
	proxy.Unblock()
	require.NoError(t, boss.SetWorkerWidth(0))
	until(t, "it is back", func() bool { w, _ := boss.Workers(); return len(w) == 2 })
	v, err = await(t, put(t, boss, "short", 0))
	require.NoError(t, err)
	require.Equal(t, "cut off", v)
	require.True(t, cut.conn.IsConnected())
}

// A scheduler that is cut off ends its term, and is an ordinary process again.
func TestASchedulerIsCutOff(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	proxy := natstest.StartProxy(t, servers.Nodes[0])
	cut := join(t, proxy.URL(), name, "cut", echo, nil)
	scheduler(t, cut)
	other := join(t, servers.URL(), name, "other", echo, nil)
	proxy.Block()
	scheduler(t, other)
	v, err := await(t, put(t, other, "a", 0))
	require.NoError(t, err)
	require.Equal(t, "did a", v)
	until(t, "the term of the first has ended", func() bool { return len(cut.saw(jetstream.SchedulerEnded)) == 1 })
	proxy.Unblock()
	until(t, "the first is a worker", func() bool { w, _ := other.Workers(); return len(w) == 2 })
	v, err = await(t, put(t, cut, "b", 0))
	require.NoError(t, err)
	require.Equal(t, "did b", v)
}

// Messages to a process may be lost: it looks for the outcomes itself.
func TestMessagesAboutOutcomesAreLost(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	worker := join(t, servers.URL(), name, "worker", echo, nil)
	scheduler(t, worker)
	proxy := natstest.StartProxy(t, servers.Nodes[0])
	// The connection of the putter is cut while the jobs end.
	putter := join(t, proxy.URL(), name, "putter", nil, nil)
	require.NoError(t, worker.SetWorkerWidth(0))
	until(t, "none runs", func() bool { w, _ := worker.Workers(); return len(w) == 1 && w[0].Width == 0 })
	var all []*jetstream.Job[string, string]
	for i := range 50 {
		all = append(all, put(t, putter, fmt.Sprint(i), 0))
	}
	proxy.Block()
	proxy.Cut()
	require.NoError(t, worker.SetWorkerWidth(4))
	until(t, "all have ended", func() bool { return worker.Stats().Finished == 50 })
	proxy.Unblock()
	for _, j := range all {
		_, err := await(t, j)
		require.NoError(t, err)
	}
}

// Arguments and results that fit, and that do not.
func TestMaxPayload(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, &natstest.Options{MaxPayload: 64 << 10}), newName()
	grow := 1
	worker := join(t, servers.URL(), name, "worker", func(_ context.Context, arg string) (string, error) {
		return strings.Repeat(arg, grow), nil
	}, nil)
	limit := (64<<10-4<<10)/2 - 8<<10 - len(`""`)
	fits := strings.Repeat("x", limit)
	v, err := await(t, put(t, worker, fits, 0))
	require.NoError(t, err)
	require.Equal(t, fits, v)
	_, err = worker.Put(fits+"x", 0)
	require.ErrorIs(t, err, jetstream.ErrTooLarge)
	require.ErrorContains(t, err, "larger than the limit of")
	_, err = worker.PutAll([]string{fits[:limit/2], fits}, 0)
	require.ErrorIs(t, err, jetstream.ErrTooLarge)
	grow = 4
	_, err = await(t, put(t, worker, fits, 0))
	require.ErrorIs(t, err, jetstream.ErrTooLarge)
	v, err = await(t, put(t, worker, "y", 0)) // and all goes on
	require.NoError(t, err)
	require.Equal(t, "yyyy", v)
}

// A handler that waits for another job, one that blocks for good and one that
// ends its goroutine keep nothing waiting that this process gets: jobs, cancels
// and outcomes.
func TestAHandlerMayBlock(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	done := make(chan struct{})
	defer close(done)
	p := join(t, servers.URL(), name, "both", echo, func(o *jetstream.Options) { o.Lease = time.Minute }) // it looks for lost outcomes after half a minute
	_, err := await(t, put(t, p, "before", 0))                                                            // a scheduler is there
	require.NoError(t, err)
	began := time.Now()
	p.Pause() // until the jobs have their handlers, which this goroutine would call else
	put(t, p, "blocks", 0).Tap(func(string, error) { <-done })
	put(t, p, "exits", 0).Tap(func(string, error) { runtime.Goexit() })
	waits := twill.ThenFuture(put(t, p, "first", 0).Future, func(string) *twill.Future[string] {
		v, err := await(t, put(t, p, "second", 0))
		if err != nil {
			return twill.Rejected[string](err)
		}
		return twill.Resolved(v)
	})
	require.NoError(t, p.Resume())
	v, err := waits.Await(withPatience(t))
	require.NoError(t, err)
	require.Equal(t, "did second", v)
	require.Less(t, time.Since(began), 25*time.Second)
}

// A hook of the retries that panics fails the job.
func TestAPanicOfOnPauseFailsTheJob(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	p := join(t, servers.URL(), name, "worker", func(context.Context, string) (string, error) { return "", errors.New("try again") }, func(o *jetstream.Options) {
		o.Retry = &twill.RetryOptions{OnPause: func(twill.RetryEvent) { panic("in OnPause") }}
	})
	_, err := await(t, put(t, p, "a", 0))
	var panicked *twill.PanicError
	require.ErrorAs(t, err, &panicked)
	require.ErrorContains(t, err, "in OnPause")
}

// A connection that is closed for good ends what reads through it.
func TestReadersEndWithTheConnection(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	join(t, servers.URL(), name, "worker", echo, nil)
	p := join(t, servers.URL(), name, "reader", nil, nil)
	results, events := p.Results(withPatience(t)), p.Events(withPatience(t))
	time.AfterFunc(100*time.Millisecond, p.lose)
	var last error
	for _, err := range results {
		last = err
	}
	require.ErrorIs(t, last, nats.ErrConnectionClosed)
	for range events {
	}
}

// A job is canceled while there is no scheduler: the next one knows.
func TestACancelWithoutAScheduler(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	putter := join(t, servers.URL(), name, "putter", nil, func(o *jetstream.Options) { o.Wait = time.Second })
	a, b := put(t, putter, "a", 0), put(t, putter, "b", 1)
	require.True(t, a.Cancel(errors.New("not needed")))
	_, err := await(t, a)
	require.ErrorIs(t, err, twill.ErrCanceled)
	require.ErrorContains(t, err, "not needed")
	putter.lose() // it cannot tell the scheduler
	var ran atomic.Int64
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		ran.Add(1)
		return arg, nil
	}, nil)
	until(t, "the queue is empty", func() bool { return worker.Stats().Ended() == 2 })
	require.NoError(t, worker.JobError(b.ID()))
	require.ErrorIs(t, worker.JobError(a.ID()), twill.ErrCanceled)
	require.Equal(t, int64(1), ran.Load())
}

// The call of a job that is canceled elsewhere ends.
func TestAJobIsCanceledByAnotherProcess(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		started <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return "", ctx.Err()
	}, nil)
	putter, other := join(t, servers.URL(), name, "putter", nil, nil), join(t, servers.URL(), name, "other", nil, nil)
	j := put(t, putter, "a", 0, twill.JobOptions{Key: "k"})
	receive(t, started)
	found, ok := other.Find("k")
	require.True(t, ok)
	require.True(t, found.Cancel(errors.New("enough")))
	require.ErrorIs(t, receive(t, ended), twill.ErrCanceled)
	_, err := await(t, j)
	require.ErrorIs(t, err, twill.ErrCanceled)
	require.ErrorContains(t, err, "enough")
	require.Equal(t, twill.JobCanceled, j.State())
	require.ErrorIs(t, worker.CancelJob(j.ID(), nil), twill.ErrNotPending)
}

// A connection that is closed for good ends the wait for jobs that run
// elsewhere.
func TestConnectionClosedForGoodHangsNobody(t *testing.T) {
	servers, name := natstest.Start(t, nil), newName()
	release := make(chan struct{})
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		<-release
		return arg, nil
	}, nil)
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	job, err := putter.Put("a", 0)
	require.NoError(t, err)
	putter.conn.Close()
	_, err = job.Await(withPatience(t))
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	_, err = putter.Put("b", 0)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	close(release)
	_, err = worker.Drain(withPatience(t)) // the job itself goes on
	require.NoError(t, err)
}

// What is nested too deeply for encoding/json with a message around it is
// refused: in the journal it would keep every later scheduler from its work.
func TestWhatIsNestedTooDeeplyIsRefused(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	nested := func(depth int) json.RawMessage {
		return json.RawMessage(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	deepen := func(_ context.Context, arg json.RawMessage) (json.RawMessage, error) {
		return slices.Concat([]byte("["), arg, []byte("]")), nil
	}
	ctx := withPatience(t)
	open := func() *jetstream.Queue[json.RawMessage, json.RawMessage] {
		q, err := jetstream.NewQueue(ctx, natstest.Connect(t, servers.URL()), name, deepen, &jetstream.Options{Lease: lease})
		require.NoError(t, err)
		t.Cleanup(q.Close)
		return q
	}
	first := open()
	for _, depth := range []int{9901, 9998, 10000} {
		_, err := first.Put(nested(depth), 0)
		require.ErrorContains(t, err, "nested", "%d deep", depth)
	}
	j, err := first.Put(nested(9899), 0)
	require.NoError(t, err)
	v, err := j.Await(ctx)
	require.NoError(t, err)
	require.Len(t, v, 2*9900)
	j, err = first.Put(nested(9900), 0)
	require.NoError(t, err)
	_, err = j.Await(ctx)
	require.ErrorContains(t, err, "nested")
	// Another program may put it.
	conn := natstest.Connect(t, servers.URL())
	for _, depth := range []int{9995, 9998} {
		m := fmt.Sprintf(`{"v":1,"from":"P","puts":[{"jobs":[{"id":"P-%d","arg":%s}]}]}`, depth, nested(depth))
		_, err = conn.Request("twill."+name+".in", []byte(m), patience)
		require.NoError(t, err)
	}
	// No outcome could be stored under this id.
	_, err = conn.Request("twill."+name+".in", []byte(`{"v":1,"from":"P","puts":[{"jobs":[{"id":"P 1","arg":[]}]}]}`), patience)
	require.NoError(t, err)
	require.NoError(t, errOf(first.Empty().Await(ctx)))
	first.Close()
	j, err = open().Put(nested(1), 0)
	require.NoError(t, err)
	_, err = j.Await(ctx)
	require.NoError(t, err, "the next scheduler")
}

func errOf[T any](_ T, err error) error { return err }

// scribble writes into what it is read from.
type scribble string

func (s *scribble) UnmarshalJSON(data []byte) error {
	*s = scribble(data)
	for i := range data {
		data[i] = 'x'
	}
	return nil
}

// A process that schedules hands itself jobs without the server: the argument
// of the next call is still that of the put.
func TestAnArgumentOutlivesItsReading(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	calls := 0
	work := func(_ context.Context, arg scribble) (string, error) {
		if calls++; calls < 3 {
			return "", twill.Snooze(time.Millisecond)
		}
		return string(arg), nil
	}
	q, err := jetstream.NewQueue(t.Context(), natstest.Connect(t, servers.URL()), name, work, &jetstream.Options{Lease: lease})
	require.NoError(t, err)
	t.Cleanup(q.Close)
	j, err := q.Put("hello", 0)
	require.NoError(t, err)
	v, err := j.Await(withPatience(t))
	require.NoError(t, err)
	require.Equal(t, `"hello"`, v)
}
