package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// The rate holds for the calls of all workers together, is changed while jobs
// run, and holds over a change of the scheduler.
func TestTheRateHoldsInTheWholeCluster(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	var mu sync.Mutex
	var starts []time.Time
	work := func(_ context.Context, arg string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, time.Now())
		return arg, nil
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(starts)
	}
	first := join(t, servers.URL(), name, "first", work, nil)
	scheduler(t, first)
	second := join(t, servers.URL(), name, "second", work, nil)
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	require.NoError(t, putter.SetRate(10, 3))
	perSecond, burst := second.Rate()
	require.Equal(t, []any{10.0, 3}, []any{perSecond, burst})
	for _, bad := range []func() error{
		func() error { return putter.SetRate(-1, 0) }, func() error { return putter.SetRate(1, -1) },
		func() error { var zero float64; return putter.SetRate(0/zero, 0) }, func() error { var zero float64; return putter.SetRate(1/zero, 0) },
	} {
		require.Error(t, bad())
	}
	began := time.Now()
	jobs, err := putter.PutAll(make([]string, 2000), 0)
	require.NoError(t, err)
	// No more than the burst and what the rate allows have started at any time.
	require.Never(t, func() bool { return float64(count()) > 3+10*time.Since(began).Seconds()+1 }, lease, 5*time.Millisecond)
	require.Greater(t, count(), 3)

	before := count()
	lost := time.Now()
	first.lose()
	require.Same(t, second, scheduler(t, second))
	require.Never(t, func() bool { return float64(count()-before) > 3+10*time.Since(lost).Seconds()+1 }, lease, 5*time.Millisecond)
	until(t, "jobs start under the new scheduler", func() bool { return count() > before+5 })
	perSecond, burst = putter.Rate()
	require.Equal(t, []any{10.0, 3}, []any{perSecond, burst}, "the next scheduler has it from the journal")

	require.NoError(t, putter.SetRate(0, 0))
	for _, j := range jobs {
		_, err := await(t, j)
		require.NoError(t, err)
	}
}

// Hooks are around each call of a process, the first one outermost.
func TestHooksAreAroundEachCall(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	var mu sync.Mutex
	var said []string
	say := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, what)
	}
	type key struct{}
	fails := true
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		say(fmt.Sprint("call ", ctx.Value(key{})))
		if arg == "retry" && fails {
			fails = false
			return "", errors.New("not yet")
		}
		return arg, nil
	}, func(o *jetstream.Options) {
		o.Retry = &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Millisecond)}
		o.WorkerWidth = 1
	})
	worker.Use(func(ctx context.Context, arg string, next func(context.Context) (string, error)) (string, error) {
		a, ok := jetstream.AttemptOf(ctx)
		require.True(t, ok)
		say(fmt.Sprint("outer ", a.Attempt))
		v, err := next(context.WithValue(ctx, key{}, "value"))
		return v + "+", err
	})
	worker.Use(func(ctx context.Context, arg string, next func(context.Context) (string, error)) (string, error) {
		say("inner")
		switch arg {
		case "skip":
			return "skipped", nil
		case "panic":
			panic("hook")
		}
		return next(ctx)
	})
	require.Panics(t, func() { worker.Use(nil) })
	v, err := await(t, put(t, worker, "a", 0))
	require.NoError(t, err)
	require.Equal(t, "a+", v)
	v, err = await(t, put(t, worker, "skip", 0))
	require.NoError(t, err)
	require.Equal(t, "skipped+", v)
	_, err = await(t, put(t, worker, "panic", 0))
	require.ErrorContains(t, err, "hook")
	mu.Lock()
	said = nil
	mu.Unlock()
	v, err = await(t, put(t, worker, "retry", 0))
	require.NoError(t, err)
	require.Equal(t, "retry+", v)
	require.Equal(t, []string{"outer 1", "inner", "call value", "outer 2", "inner", "call value"}, said)
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	putter.Use(func(ctx context.Context, _ string, next func(context.Context) (string, error)) (string, error) {
		return next(ctx)
	})
}

// A process that runs and schedules nothing reads what happens in the cluster,
// in order, and the outcomes of the jobs of all.
func TestEventsAndResultsOfTheCluster(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	fails := errors.New("no route")
	tried := false
	worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
		switch {
		case arg == "fail":
			return "", twill.Permanent(fails)
		case arg == "again" && !tried:
			tried = true
			return "", errors.New("not yet")
		}
		return "did " + arg, nil
	}, func(o *jetstream.Options) {
		o.WorkerWidth = 1
		o.Retry = &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Millisecond)}
	})
	scheduler(t, worker)
	reader := join(t, servers.URL(), name, "reader", nil, nil)
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	ctx, cancel := context.WithCancel(withPatience(t))
	events, results := reader.Events(ctx), reader.Results(ctx)
	require.NoError(t, putter.SetWidth(5))
	_, err := putter.Pause().Await(ctx)
	require.NoError(t, err)
	a, b, c := put(t, putter, "a", 1), put(t, putter, "fail", 2), put(t, putter, "again", 3)
	d := put(t, putter, "canceled", 9)
	require.NoError(t, putter.Reprioritize(d, 8))
	require.True(t, d.Cancel(errors.New("not needed")))
	require.NoError(t, putter.SetRate(1000, 10))
	require.NoError(t, putter.Resume())
	for _, j := range []*jetstream.Job[string, string]{a, b, c} {
		_, _ = await(t, j)
	}
	type seen struct {
		kind  twill.EventKind
		job   string
		state twill.JobState
	}
	var got []seen
	for e := range events {
		require.Zero(t, e.Lost)
		require.Less(t, time.Since(e.Time), patience)
		got = append(got, seen{e.Kind, e.Job, e.State})
		switch e.Kind {
		case twill.EventStarted:
			require.Equal(t, "worker", e.Worker)
		case twill.EventRetry:
			require.EqualError(t, e.Err, "not yet")
		case twill.EventEnded:
			if e.Job == b.ID() {
				require.ErrorContains(t, e.Err, "no route")
			}
		}
		if e.Kind == twill.EventEnded && e.Job == c.ID() {
			break
		}
	}
	require.Equal(t, []seen{
		{twill.EventWidth, "", 0}, {twill.EventPaused, "", 0},
		{twill.EventPut, a.ID(), 0}, {twill.EventPut, b.ID(), 0}, {twill.EventPut, c.ID(), 0}, {twill.EventPut, d.ID(), 0},
		{twill.EventReprioritized, d.ID(), 0}, {twill.EventEnded, d.ID(), twill.JobCanceled}, {twill.EventRate, "", 0}, {twill.EventResumed, "", 0},
		{twill.EventStarted, a.ID(), twill.JobUnderway}, {twill.EventEnded, a.ID(), twill.JobFinished},
		{twill.EventStarted, b.ID(), twill.JobUnderway}, {twill.EventEnded, b.ID(), twill.JobFailed},
		{twill.EventStarted, c.ID(), twill.JobUnderway}, {twill.EventRetry, c.ID(), 0},
		{twill.EventStarted, c.ID(), twill.JobUnderway}, {twill.EventEnded, c.ID(), twill.JobFinished},
	}, got)

	// Results misses nothing, whichever process schedules.
	worker.lose()
	second := join(t, servers.URL(), name, "second", echo, nil)
	scheduler(t, second)
	last, err := second.Put("last", 0)
	require.NoError(t, err)
	_, err = await(t, last)
	require.NoError(t, err)
	for range 2 { // each loop begins anew
		var ids []string
		for o, err := range results {
			require.NoError(t, err)
			ids = append(ids, o.Job)
			switch o.Job {
			case a.ID():
				require.Equal(t, jetstream.Outcome[string]{Job: a.ID(), State: twill.JobFinished, Value: "did a", Attempts: 1}, o)
			case b.ID():
				require.Equal(t, twill.JobFailed, o.State)
				require.ErrorContains(t, o.Err, "no route")
			case d.ID():
				require.Equal(t, twill.JobCanceled, o.State)
				require.ErrorIs(t, o.Err, twill.ErrCanceled)
			}
			if o.Job == last.ID() {
				break
			}
		}
		slices.Sort(ids)
		want := []string{a.ID(), b.ID(), c.ID(), d.ID(), last.ID()}
		slices.Sort(want)
		require.Equal(t, want, ids)
	}
	// Events go on with the next scheduler.
	more := reader.Events(ctx)
	put(t, putter, "more", 0)
	for e := range more {
		if e.Kind == twill.EventEnded {
			break
		}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range reader.Events(ctx) {
		}
		for _, err := range reader.Results(ctx) {
			require.NoError(t, err)
		}
	}()
	cancel()
	receive(t, ended)
	closed := make(chan struct{})
	unread := reader.Events(context.Background())
	go func() {
		defer close(closed)
		for range unread {
		}
	}()
	reader.Close()
	receive(t, closed)
}

// Events of a scheduler whose reader is too slow are dropped, and counted.
func TestASlowReaderOfEventsLosesTheOldest(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	worker := join(t, servers.URL(), name, "worker", echo, func(o *jetstream.Options) { o.WorkerWidth = 64 })
	scheduler(t, worker)
	events := worker.Events(withPatience(t))
	jobs, err := worker.PutAll(make([]string, 1000), 0)
	require.NoError(t, err)
	for _, j := range jobs {
		_, err := await(t, j)
		require.NoError(t, err)
	}
	require.NoError(t, worker.SetWidth(7)) // the last event
	got, lost := 0, 0
	for e := range events {
		got++
		lost += e.Lost
		if e.Kind == twill.EventWidth {
			break
		}
	}
	require.Positive(t, lost)
	require.Equal(t, 3001, got+lost)
}
