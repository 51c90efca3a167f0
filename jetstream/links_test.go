package jetstream_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// Each process has a link that delays and loses messages both ways: requests,
// acknowledgments, jobs, outcomes and announcements. Now and then a link is cut
// off for longer than a lease. Every job has its own outcome all the same.
func TestLinksDelayAndLoseMessages(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, nil), newName()
	var mu sync.Mutex
	calls := map[string]int{}
	work := func(_ context.Context, arg string) (string, error) {
		mu.Lock()
		defer mu.Unlock()
		calls[arg]++
		return "did " + arg, nil
	}
	var ps []*process
	var links []*natstest.Proxy
	for i := range 4 {
		link := natstest.StartProxy(t, servers.Nodes[0])
		fn := work
		if i == 3 {
			fn = nil
		}
		links = append(links, link)
		ps = append(ps, join(t, link.URL(), name, fmt.Sprint("p", i), fn, func(o *jetstream.Options) { o.Wait = patience }))
	}
	for _, link := range links {
		link.Delay(2 * time.Millisecond)
		link.Lose(0.03)
	}
	const n = 300
	all := make([]*jetstream.Job[string, string], n)
	var puts sync.WaitGroup
	for first := range 10 {
		puts.Go(func() {
			for i := first; i < n; i += 10 {
				if i == n/3 || i == 2*n/3 { // two processes that schedule, one after the other
					link := links[scheduling(ps[:3])]
					link.Block()
					time.AfterFunc(3*lease/2, link.Unblock)
				}
				var err error
				if all[i], err = ps[3].Put(fmt.Sprint(i), 0); err != nil {
					t.Error(err)
				}
			}
		})
	}
	puts.Wait()
	for _, j := range all {
		v, err := await(t, j)
		require.NoError(t, err)
		require.Equal(t, "did "+j.Arg(), v)
	}
	lost := 0
	for _, link := range links {
		lost += link.Lost()
		link.Lose(0)
	}
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range calls {
		twice += n - 1
	}
	require.Len(t, calls, n)
	require.Greater(t, lost, n/20)
	// A worker that cannot report in time is taken for lost, with its four jobs.
	require.Less(t, twice, n/4)
	t.Logf("%d messages lost, %d calls too many", lost, twice)
}

// scheduling is the index of the process that schedules, as far as they know.
func scheduling(ps []*process) int {
	for i, p := range ps {
		if len(p.saw(jetstream.SchedulerStarted)) > len(p.saw(jetstream.SchedulerEnded)) {
			return i
		}
	}
	return 0
}

// A process that does not read what it is sent is cut off by the server. It
// comes back, and learns the outcomes that it has missed.
func TestAProcessIsASlowConsumer(t *testing.T) {
	t.Parallel()
	servers, name := natstest.Start(t, &natstest.Options{Change: func(o *server.Options) {
		o.MaxPending, o.WriteDeadline = 1<<20, 500*time.Millisecond
	}}), newName()
	worker := join(t, servers.URL(), name, "worker", func(_ context.Context, arg string) (string, error) {
		return arg + strings.Repeat("x", 400<<10), nil
	}, nil)
	scheduler(t, worker)
	require.NoError(t, worker.SetWorkerWidth(0))
	until(t, "none runs", func() bool { w, _ := worker.Workers(); return len(w) == 1 && w[0].Width == 0 })
	link := natstest.StartProxy(t, servers.Nodes[0])
	putter := join(t, link.URL(), name, "putter", nil, nil)
	var all []*jetstream.Job[string, string]
	for i := range 60 {
		all = append(all, put(t, putter, fmt.Sprint(i), 0))
	}
	link.Block() // the sockets' buffers fill
	require.NoError(t, worker.SetWorkerWidth(4))
	until(t, "the server has cut it off", func() bool { return servers.Nodes[0].Server().NumSlowConsumers() > 0 })
	link.Unblock()
	for _, j := range all {
		v, err := await(t, j)
		require.NoError(t, err)
		require.Len(t, v, len(j.Arg())+400<<10)
	}
}

// A stream that is full refuses puts with an error that says so. What was put
// is not lost, and puts succeed again when there is room.
func TestAFullInbox(t *testing.T) {
	t.Parallel()
	for what, limit := range map[string]func(*js.StreamConfig){
		"messages": func(c *js.StreamConfig) { c.MaxMsgs = 5 },
		"bytes":    func(c *js.StreamConfig) { c.MaxBytes = 4 << 10 },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			servers, name := natstest.Start(t, nil), newName()
			config := js.StreamConfig{Name: streamNames(name)[0], Subjects: []string{"twill." + name + ".in"}, Discard: js.DiscardNew}
			limit(&config)
			_, err := jetstreamOf(t, servers).CreateStream(t.Context(), config)
			require.NoError(t, err)
			putter := join(t, servers.URL(), name, "putter", nil, nil)
			var all []*jetstream.Job[string, string]
			for len(all) < 100 {
				var j *jetstream.Job[string, string]
				if j, err = putter.Put(fmt.Sprint(len(all)), 0); err != nil {
					require.Nil(t, j)
					break
				}
				all = append(all, j)
			}
			require.GreaterOrEqual(t, len(all), 5)
			require.ErrorIs(t, err, jetstream.ErrFull)
			require.ErrorContains(t, err, "maximum "+what+" exceeded")
			require.ErrorContains(t, err, config.Name)
			_, err = putter.PutAll([]string{"a", "b"}, 0)
			require.ErrorIs(t, err, jetstream.ErrFull)
			_, err = putter.PutWait(withPatience(t), "c", 0, twill.JobOptions{Key: "k"})
			require.ErrorIs(t, err, jetstream.ErrFull)
			worker := join(t, servers.URL(), name, "worker", echo, nil)
			for _, j := range all {
				_, err := await(t, j)
				require.NoError(t, err)
			}
			until(t, "there is room again", func() bool {
				j, err := putter.Put("one more", 0)
				if err != nil {
					return false
				}
				_, err = await(t, j)
				return err == nil
			})
			require.Equal(t, uint64(len(all)+1), worker.Stats().Put, "what was refused is no job")
		})
	}
}

// When the stream of outcomes or the journal is full, no job is lost, and all
// go on when there is room.
func TestAFullStreamHoldsJobsUp(t *testing.T) {
	t.Parallel()
	for which, name := range []string{1: "journal", 2: "outcomes"} {
		if name == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers, name := natstest.Start(t, nil), newName()
			var mu sync.Mutex
			calls := map[string]int{}
			worker := join(t, servers.URL(), name, "worker", func(ctx context.Context, arg string) (string, error) {
				mu.Lock()
				defer mu.Unlock()
				calls[arg]++
				return echo(ctx, arg)
			}, nil)
			_, err := await(t, put(t, worker, "first", 0))
			require.NoError(t, err)
			api := jetstreamOf(t, servers)
			stream, err := api.Stream(t.Context(), streamNames(name)[which])
			require.NoError(t, err)
			config, last := stream.CachedInfo().Config, stream.CachedInfo().State.Msgs
			config.MaxMsgs = int64(last) + 3
			_, err = api.UpdateStream(t.Context(), config)
			require.NoError(t, err)
			var all []*jetstream.Job[string, string]
			for i := range 20 {
				all = append(all, put(t, worker, fmt.Sprint(i), 0)) // the inbox has room
			}
			until(t, "the stream is full", func() bool {
				info, err := stream.Info(t.Context())
				return err == nil && info.State.Msgs >= uint64(config.MaxMsgs)
			})
			pending := 0
			for _, j := range all {
				if _, ended := j.Poll(); !ended {
					pending++
				}
			}
			require.Positive(t, pending)
			config.MaxMsgs = -1
			_, err = api.UpdateStream(t.Context(), config)
			require.NoError(t, err)
			for _, j := range all {
				v, err := await(t, j)
				require.NoError(t, err)
				require.Equal(t, "did "+j.Arg(), v)
			}
			mu.Lock()
			defer mu.Unlock()
			require.Len(t, calls, 21)
		})
	}
}

// A putter dies with many jobs under way: they run, and their outcomes are
// there for others. JETSTREAM_LONG makes it 10,000.
func TestAPutterDies(t *testing.T) {
	t.Parallel()
	n := 2000
	if long, _ := strconv.Atoi(os.Getenv("JETSTREAM_LONG")); long > 0 {
		n = 10_000
	}
	servers, name := natstest.Start(t, nil), newName()
	reader := join(t, servers.URL(), name, "reader", nil, nil)
	results := reader.Results(withPatience(t))
	putter := join(t, servers.URL(), name, "putter", nil, nil)
	args := make([]string, n/10)
	ids := map[string]string{}
	for i := range 10 {
		for k := range args {
			args[k] = fmt.Sprint(i*len(args) + k)
		}
		jobs, err := putter.PutAll(args, 0)
		require.NoError(t, err)
		for _, j := range jobs {
			ids[j.ID()] = j.Arg()
		}
	}
	putter.lose()
	worker := join(t, servers.URL(), name, "worker", echo, func(o *jetstream.Options) { o.WorkerWidth = 32 })
	v, err := await(t, put(t, worker, "last", 9))
	require.NoError(t, err)
	require.Equal(t, "did last", v)
	until(t, "all have ended", func() bool { return worker.Stats().Finished == uint64(n+1) })
	for o, err := range results {
		require.NoError(t, err)
		if arg, ok := ids[o.Job]; ok {
			require.Equal(t, "did "+arg, o.Value)
			delete(ids, o.Job)
		}
		if len(ids) == 0 {
			break
		}
	}
}
