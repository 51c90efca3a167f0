package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// poolers returns poolers of one function, each with a connection of its own as
// if it were a process of its own.
func poolers[V any](t testing.TB, s *natstest.Servers, n int, opts *jetstream.PoolerOptions, fn func(ctx context.Context, key string) (V, error)) (all []*jetstream.Pooler[string, V]) {
	t.Helper()
	for range n {
		all = append(all, pooler(t, s.Connect(t), opts, fn))
	}
	return all
}

func pooler[V any](t testing.TB, conn *nats.Conn, opts *jetstream.PoolerOptions, fn func(ctx context.Context, key string) (V, error)) *jetstream.Pooler[string, V] {
	t.Helper()
	p, err := jetstream.NewPooler(withPatience(t), conn, "p", fn, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close(withPatience(t)) })
	return p
}

// joined waits until so many processes have joined a call of another one.
func joined[V any](t testing.TB, all []*jetstream.Pooler[string, V], n uint64) {
	t.Helper()
	eventually(t, func() bool {
		var sum uint64
		for _, p := range all {
			sum += p.Stats().Joined
		}
		return sum >= n
	}, "processes join")
}

func TestPoolerSharesACallInTheCluster(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx := withPatience(t)
	var runs atomic.Int64
	open := make(chan bool)
	all := poolers(t, s, 3, &jetstream.PoolerOptions{Replicas: 3}, func(ctx context.Context, key string) (map[string]int, error) {
		require.NotZero(t, jetstream.Token(ctx))
		runs.Add(1)
		<-open
		return map[string]int{key: 1}, nil
	})
	var results []*twill.Future[map[string]int]
	for _, p := range all {
		for range 3 {
			results = append(results, p.Call(ctx, "a key"))
		}
	}
	joined(t, all, 2)
	close(open)
	for _, f := range results {
		v, err := f.Await(ctx)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"a key": 1}, v)
	}
	require.EqualValues(t, 1, runs.Load())

	// The next call goes through, wherever it is made.
	for i, p := range all {
		_, err := p.Do(ctx, "a key")
		require.NoError(t, err)
		require.EqualValues(t, i+2, runs.Load())
	}
	require.EqualValues(t, 4, all[0].Stats().Calls)
	require.EqualValues(t, 2, all[0].Stats().Merged)
}

// However calls of a key meet, the function never runs twice at a time, and no
// caller gets a result of a run that had ended before it called.
func TestPoolerNeverRunsTwiceAtATime(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, *natstest.Options) *natstest.Servers{"one server": natstest.Start, "cluster": natstest.StartCluster} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			ctx := withPatience(t)
			var running, overlaps atomic.Int64
			var clock atomic.Int64 // of ends of runs
			all := poolers(t, s, 4, &jetstream.PoolerOptions{Replicas: len(s.Nodes)}, func(ctx context.Context, _ string) (int64, error) {
				if running.Add(1) > 1 {
					overlaps.Add(1)
				}
				defer running.Add(-1)
				select {
				case <-ctx.Done():
					return 0, context.Cause(ctx)
				case <-time.After(time.Millisecond):
				}
				return clock.Add(1), nil
			})
			var callers sync.WaitGroup
			for i, p := range all {
				callers.Go(func() {
					for j := range 30 {
						before := clock.Load()
						call, leave := context.WithCancel(ctx)
						f := p.Call(call, "k")
						if (i+j)%3 == 0 {
							leave()
						}
						v, err := f.Await(ctx)
						if err == nil && v <= before {
							t.Errorf("result %d of a run that had ended before %d", v, before)
						}
						if err != nil && (i+j)%3 != 0 {
							t.Error(err)
						}
						leave()
					}
				})
			}
			callers.Wait()
			require.Zero(t, overlaps.Load())
		})
	}
}

func TestPoolerIsCanceledWhenTheLastCallerLeaves(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	started, ended := make(chan bool, 1), make(chan error, 1)
	all := poolers(t, s, 3, nil, func(ctx context.Context, _ string) (int, error) {
		started <- true
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return 0, context.Cause(ctx)
	})
	ctx := withPatience(t)
	for _, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
		before := all[1].Stats().Joined + all[2].Stats().Joined
		calls := []*twill.Future[int]{all[0].Call(ctx, "k")}
		receive(t, started)
		calls = append(calls, all[1].Call(ctx, "k"), all[2].Call(ctx, "k"))
		joined(t, all, before+2)
		for _, i := range order[:2] {
			require.True(t, calls[i].Cancel(errors.New("enough")))
		}
		select {
		case err := <-ended:
			t.Fatal("canceled although a caller is left: ", err)
		case <-time.After(100 * time.Millisecond):
		}
		_, settled := calls[order[2]].Poll()
		require.False(t, settled)
		require.True(t, calls[order[2]].Cancel(nil))
		require.Error(t, receive(t, ended))
	}
}

// A call that is made while a canceled one still runs waits, and is made then.
func TestPoolerDoesNotJoinACanceledCall(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	started, open := make(chan int, 9), make(chan bool)
	var runs atomic.Int64
	all := poolers(t, s, 2, nil, func(ctx context.Context, _ string) (int, error) {
		run := int(runs.Add(1))
		started <- run
		<-open
		return run, nil
	})
	ctx := withPatience(t)
	first := all[0].Call(ctx, "k")
	require.Equal(t, 1, receive(t, started))
	first.Cancel(nil)
	second := []*twill.Future[int]{all[1].Call(ctx, "k"), all[0].Call(ctx, "k")}
	select {
	case <-started:
		t.Fatal("it runs twice at a time")
	case <-time.After(200 * time.Millisecond):
	}
	open <- true
	require.Equal(t, 2, receive(t, started))
	joined(t, all, 1)
	close(open)
	for _, f := range second {
		v, err := f.Await(ctx)
		require.NoError(t, err)
		require.Equal(t, 2, v)
	}
}

func TestPoolerFailures(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	boom := errors.New("boom")
	var all []*jetstream.Pooler[string, any]
	open := make(chan bool)
	all = poolers(t, s, 2, nil, func(ctx context.Context, key string) (any, error) {
		<-open
		switch key {
		case "error":
			return nil, boom
		case "panic":
			panic("oh")
		case "goexit":
			runtime.Goexit()
		case "no json":
			return func() {}, nil
		case "reentrant":
			return all[0].Do(ctx, "reentrant")
		}
		return nil, nil
	})
	ctx := withPatience(t)
	check := func(key string, here func(err error), elsewhere string) {
		first := all[0].Call(ctx, key)
		eventually(t, func() bool { return all[0].Stats().Runs > 0 }, "it runs")
		second := all[1].Call(ctx, key)
		joined(t, all, 1)
		open <- true
		_, err := first.Await(ctx)
		here(err)
		_, err = second.Await(ctx)
		var remote *jetstream.Error
		require.ErrorAs(t, err, &remote)
		require.Contains(t, remote.Text, elsewhere)
	}
	check("error", func(err error) { require.ErrorIs(t, err, boom) }, "boom")
	go func() { // the rest may run on either node
		for {
			select {
			case open <- true:
			case <-ctx.Done():
				return
			}
		}
	}()
	var panicked *twill.PanicError
	_, err := all[0].Do(ctx, "panic")
	require.ErrorAs(t, err, &panicked)
	require.Equal(t, "oh", panicked.Value)
	require.Contains(t, string(panicked.Stack), "pooler_test.go")
	_, err = all[0].Do(ctx, "goexit")
	require.ErrorIs(t, err, twill.ErrGoexit)
	_, err = all[0].Do(ctx, "no json")
	require.ErrorContains(t, err, "encode result")
	_, err = all[0].Do(ctx, "reentrant")
	require.ErrorIs(t, err, twill.ErrReentrant)
	v, err := all[0].Do(ctx, "nil")
	require.NoError(t, err)
	require.Nil(t, v)
}

// A call within the function is not made, even if the caller that began it has
// left.
func TestPoolerReentrantAfterItsCallerLeft(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	started, open := make(chan bool), make(chan bool)
	var all []*jetstream.Pooler[string, int]
	inner := make(chan error, 1)
	all = poolers(t, s, 2, nil, func(ctx context.Context, key string) (int, error) {
		close(started)
		<-open
		_, err := all[0].Do(ctx, key)
		inner <- err
		return 1, err
	})
	ctx := withPatience(t)
	first := all[0].Call(ctx, "k")
	receive(t, started)
	second := all[1].Call(ctx, "k")
	joined(t, all, 1)
	first.Cancel(nil)
	close(open)
	require.ErrorIs(t, receive(t, inner), twill.ErrReentrant)
	_, err := second.Await(ctx)
	require.ErrorContains(t, err, "reentrant")
}

func TestPoolerResultsOnEachSideOfTheLimit(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, &natstest.Options{MaxPayload: 20_000})
	ctx := withPatience(t)
	open := make(chan bool)
	size := 0
	all := poolers(t, s, 2, nil, func(context.Context, string) (string, error) {
		<-open
		return strings.Repeat("x", size), nil
	})
	for _, size = range []int{19_000, 19_700, 21_000} {
		before := all[0].Stats().Joined + all[1].Stats().Joined
		first, second := all[0].Call(ctx, "k"), all[1].Call(ctx, "k")
		joined(t, all, before+1)
		open <- true
		for _, f := range []*twill.Future[string]{first, second} {
			v, err := f.Await(ctx)
			if size < 20_000 {
				require.NoError(t, err)
				require.Len(t, v, size)
				continue
			}
			var large *jetstream.TooLargeError
			require.ErrorAs(t, err, &large)
			require.Equal(t, 20_000, large.Max)
			require.Greater(t, large.Size, size)
			require.ErrorContains(t, err, "result of")
		}
	}
}

func TestPoolerOfAProcessThatDies(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	for _, end := range []string{"SIGKILL", "SIGSTOP", "close"} {
		t.Run(end, func(t *testing.T) {
			c := startChild(t, "TestChildRunsACall", s.URL())
			p := pooler(t, s.Connect(t), &jetstream.PoolerOptions{Lease: shortLease}, func(ctx context.Context, key string) (string, error) {
				return "taken over", nil
			})
			require.Equal(t, "running", c.line(t))
			f := p.Call(withPatience(t), "k")
			joined(t, []*jetstream.Pooler[string, string]{p}, 1)
			switch end {
			case "SIGKILL":
				c.signal(t, syscall.SIGKILL)
			case "SIGSTOP":
				c.signal(t, syscall.SIGSTOP)
			case "close":
				c.signal(t, syscall.SIGUSR1)
			}
			v, err := f.Await(withPatience(t))
			require.NoError(t, err)
			require.Equal(t, "taken over", v)
			if end == "SIGSTOP" {
				c.signal(t, syscall.SIGCONT)
				require.Equal(t, "ended: jetstream: lease lost", c.line(t))
				require.Equal(t, "got: taken over by the third", c.line(t), "its callers go on")
			}
		})
	}
}

// It calls the function, which runs until its context ends.
func TestChildRunsACall(t *testing.T) {
	conn, err := nats.Connect(isChild(t), natstest.ClientOptions()...)
	require.NoError(t, err)
	go orphaned()
	usr1 := make(chan bool)
	notifyUSR1(func() { close(usr1) })
	go func() {
		<-usr1
		conn.Close()
	}()
	runs := 0
	p := pooler(t, conn, &jetstream.PoolerOptions{Lease: shortLease}, func(ctx context.Context, key string) (string, error) {
		if runs++; runs > 1 {
			return "taken over by the third", nil
		}
		say("running")
		<-ctx.Done()
		say("ended: " + context.Cause(ctx).Error())
		return "a zombie's", nil
	})
	v, _ := p.Do(context.Background(), "k")
	say(fmt.Sprint("got: ", v))
	select {}
}

// The callers of a process that was killed count as having left after a while.
func TestPoolerForgetsCallersThatDied(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	started, ended := make(chan bool), make(chan bool)
	p := pooler(t, s.Connect(t), &jetstream.PoolerOptions{Lease: shortLease}, func(ctx context.Context, key string) (string, error) {
		close(started)
		<-ctx.Done()
		close(ended)
		return "", nil
	})
	f := p.Call(withPatience(t), "k")
	receive(t, started)
	c := startChild(t, "TestChildJoinsACall", s.URL())
	require.Equal(t, "joined", c.line(t))
	f.Cancel(nil)
	select {
	case <-ended:
		t.Fatal("a caller is left")
	case <-time.After(shortLease + shortLease/3):
	}
	c.signal(t, syscall.SIGKILL)
	receive(t, ended)
}

func TestChildJoinsACall(t *testing.T) {
	conn, err := nats.Connect(isChild(t), natstest.ClientOptions()...)
	require.NoError(t, err)
	go orphaned()
	p := pooler(t, conn, &jetstream.PoolerOptions{Lease: shortLease}, func(ctx context.Context, key string) (string, error) {
		return "", errors.New("not called")
	})
	p.Call(context.Background(), "k")
	joined(t, []*jetstream.Pooler[string, string]{p}, 1)
	say("joined")
	select {}
}

func TestPoolerHandsOverWhenItIsClosed(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	var runs atomic.Int64
	started := make(chan bool)
	all := poolers(t, s, 2, nil, func(ctx context.Context, _ string) (string, error) {
		if runs.Add(1) > 1 {
			return "second", nil
		}
		close(started)
		<-ctx.Done()
		return "", context.Cause(ctx)
	})
	ctx := withPatience(t)
	first := all[0].Call(ctx, "k")
	receive(t, started)
	second := all[1].Call(ctx, "k")
	joined(t, all, 1)
	began := time.Now()
	require.NoError(t, all[0].Close(ctx))
	_, err := first.Await(ctx)
	require.ErrorIs(t, err, twill.ErrClosed)
	_, err = all[0].Do(ctx, "k")
	require.ErrorIs(t, err, twill.ErrClosed)
	v, err := second.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, "second", v)
	require.Less(t, time.Since(began), 10*time.Second, "it does not wait for the end of the lease")
	require.NoError(t, all[0].Close(ctx))
}

// A process that is cut off ends its function before others take over, and its
// callers go on when the connection is back.
func TestPoolerCutOff(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	proxy := natstest.StartProxy(t, s.Nodes[0])
	cut := natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers())
	opts := &jetstream.PoolerOptions{Lease: shortLease}
	started := make(chan bool)
	var ended, taken atomic.Int64
	first := pooler(t, cut, opts, func(ctx context.Context, _ string) (string, error) {
		if ended.Load() > 0 {
			return "again", nil
		}
		close(started)
		<-ctx.Done()
		ended.Store(time.Now().UnixNano())
		require.ErrorIs(t, context.Cause(ctx), jetstream.ErrLeaseLost)
		return "", context.Cause(ctx)
	})
	second := pooler(t, s.Connect(t), opts, func(ctx context.Context, _ string) (string, error) {
		taken.Store(time.Now().UnixNano())
		return "taken over", nil
	})
	ctx := withPatience(t)
	here := first.Call(ctx, "k")
	receive(t, started)
	there := second.Call(ctx, "k")
	joined(t, []*jetstream.Pooler[string, string]{second}, 1)
	proxy.Block()
	v, err := there.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, "taken over", v)
	require.Less(t, ended.Load(), taken.Load())
	proxy.Unblock()
	v, err = here.Await(ctx)
	require.NoError(t, err)
	require.Contains(t, []string{"again", "taken over"}, v)
	require.EqualValues(t, 1, first.Stats().Lost)
}

func TestPoolerOverRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx, cancel := context.WithCancel(withPatience(t))
	defer cancel()
	var running, overlaps, results atomic.Int64
	all := poolers(t, s, 3, &jetstream.PoolerOptions{Replicas: 3}, func(context.Context, string) (int, error) {
		if running.Add(1) > 1 {
			overlaps.Add(1)
		}
		time.Sleep(time.Millisecond)
		running.Add(-1)
		return 1, nil
	})
	var callers sync.WaitGroup
	for _, p := range all {
		callers.Go(func() {
			for ctx.Err() == nil {
				if _, err := p.Do(ctx, "k"); err == nil {
					results.Add(1)
				} else if ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for _, node := range s.Nodes {
		seen := results.Load()
		eventually(t, func() bool { return results.Load() > seen+5 }, "calls are answered")
		node.Kill()
		require.NoError(t, node.Restart())
		require.NoError(t, s.WaitReady())
	}
	seen := results.Load()
	eventually(t, func() bool { return results.Load() > seen+5 }, "calls are answered")
	cancel()
	callers.Wait()
	require.Zero(t, overlaps.Load())
}

func TestPoolerWithoutItsBucketOrConnection(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	conn := s.Connect(t)
	fn := func(context.Context, string) (int, error) { return 1, nil }
	p := pooler(t, conn, nil, fn)
	js, err := conn.JetStream()
	require.NoError(t, err)
	require.NoError(t, js.DeleteKeyValue("twill-pooler-p"))
	_, err = p.Do(withPatience(t), "k")
	require.ErrorIs(t, err, jetstream.ErrNoBucket)

	p = pooler(t, conn, nil, fn)
	_, err = p.Do(withPatience(t), "k")
	require.NoError(t, err)
	conn.Close()
	_, err = p.Do(withPatience(t), "k")
	require.ErrorIs(t, err, nats.ErrConnectionClosed)

	_, err = jetstream.NewPooler(withPatience(t), s.Connect(t), "no name", fn, nil)
	require.ErrorContains(t, err, "name")
}

func TestPoolerLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	all := poolers(t, s, 2, nil, func(ctx context.Context, key string) (int, error) {
		if key == "slow" {
			<-ctx.Done()
		}
		return 1, nil
	})
	calls := func() {
		ctx, cancel := context.WithCancel(withPatience(t))
		for i := range 50 {
			_, err := all[i%2].Do(ctx, fmt.Sprint(i%7))
			require.NoError(t, err)
		}
		before := all[1].Stats().Joined
		all[0].Call(ctx, "slow")
		eventually(t, func() bool { return all[0].Stats().Waiting == 1 }, "it waits")
		all[1].Call(ctx, "slow")
		eventually(t, func() bool { return all[0].Stats().Joined+all[1].Stats().Joined > before }, "it joins")
		cancel()
		for _, p := range all {
			eventually(t, func() bool { return p.Stats().Waiting == 0 }, "callers leave")
		}
	}
	calls() // client and server start what they need
	time.Sleep(100 * time.Millisecond)
	before := runtime.NumGoroutine()
	calls()
	settled(t, before)
	for _, p := range all {
		require.NoError(t, p.Close(withPatience(t)))
	}
	settled(t, before-2) // the subscriptions
}
