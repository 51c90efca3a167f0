package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	js "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// BenchmarkQueue measures the full cycle of a job, from the call of Put until
// its result is there, beside the raw engine: a work-queue stream whose results
// are kept in a stream, too, with the same replicas and the same sync setting.
// An operation is a job. 64 jobs are underway at a time; in "one at a time" it
// is one. Servers and clients share the machine: read the figures as
// proportions. JETSTREAM_SYNC=always makes the servers write each message to
// the disk before they acknowledge it.
//
// "width change" and "hand-over" measure these while jobs run: there an
// operation is one of them.
func BenchmarkQueue(b *testing.B) {
	opts := &natstest.Options{SyncAlways: os.Getenv("JETSTREAM_SYNC") == "always"}
	for _, replicas := range []int{1, 3} {
		b.Run(fmt.Sprint("R", replicas), func(b *testing.B) {
			start := natstest.Start
			if replicas == 3 {
				start = natstest.StartCluster
			}
			s := &benchServers{Servers: start(b, opts), replicas: replicas}
			for _, workers := range []int{1, 2, 4} {
				b.Run(fmt.Sprint("workers=", workers), func(b *testing.B) {
					b.Run("queue", func(b *testing.B) { s.queue(b, workers, 64) })
					b.Run("raw", func(b *testing.B) { s.raw(b, workers, 64) })
				})
			}
			b.Run("one at a time/queue", func(b *testing.B) { s.queue(b, 1, 1) })
			b.Run("one at a time/raw", func(b *testing.B) { s.raw(b, 1, 1) })
			b.Run("width change", s.widthChange)
			b.Run("hand-over/stop", func(b *testing.B) { s.handOver(b, func(q *benchQueue) { _, _ = q.Stop().Await(b.Context()) }) })
			b.Run("hand-over/loss", func(b *testing.B) { s.handOver(b, func(q *benchQueue) { q.conn.Close() }) })
		})
	}
}

const benchWidth = 16 // of a worker

type benchServers struct {
	*natstest.Servers
	replicas int
}

// benchQueue is one process.
type benchQueue struct {
	*jetstream.Queue[int, int]
	conn      *nats.Conn
	name      string
	schedules atomic.Bool
}

// join makes a process of the queue with that name: a worker, if width is not
// 0.
func (s *benchServers) join(b *testing.B, name string, width int) *benchQueue {
	var fn func(context.Context, int) (int, error)
	if width > 0 {
		fn = func(_ context.Context, n int) (int, error) { return n + 1, nil }
	}
	q := &benchQueue{conn: s.Connect(b), name: strconv.FormatInt(queueNumber.Add(1), 10)}
	var err error
	q.Queue, err = jetstream.NewQueue(b.Context(), q.conn, name, fn, &jetstream.Options{
		Replicas: s.replicas, WorkerWidth: width, Name: q.name, Lease: lease, OnEvent: func(e jetstream.Event) {
			switch e.Kind {
			case jetstream.SchedulerStarted:
				q.schedules.Store(true)
			case jetstream.SchedulerEnded:
				q.schedules.Store(false)
			}
		},
	})
	require.NoError(b, err)
	b.Cleanup(q.Close)
	return q
}

// queue measures the dispatch queue.
func (s *benchServers) queue(b *testing.B, workers, submitters int) {
	name := newName()
	for range workers {
		s.join(b, name, benchWidth)
	}
	putter := s.join(b, name, 0)
	cycle := func(i int) error {
		job, err := putter.Put(i, 0)
		if err != nil {
			return err
		}
		v, err := job.Await(b.Context())
		if err == nil && v != i+1 {
			err = fmt.Errorf("job %d: %d", i, v)
		}
		return err
	}
	require.NoError(b, cycle(0)) // a scheduler is there
	measure(b, submitters, cycle)
}

// raw measures what one builds from the engine's own parts.
func (s *benchServers) raw(b *testing.B, workers, submitters int) {
	ctx, name := b.Context(), newName()
	api, err := js.New(s.Connect(b))
	require.NoError(b, err)
	in, err := api.CreateStream(ctx, js.StreamConfig{Name: name + "-in", Subjects: []string{name + ".in.*"}, Retention: js.WorkQueuePolicy, Replicas: s.replicas})
	require.NoError(b, err)
	_, err = api.CreateStream(ctx, js.StreamConfig{Name: name + "-out", Subjects: []string{name + ".out.*"}, Replicas: s.replicas})
	require.NoError(b, err)
	b.Cleanup(func() {
		_ = api.DeleteStream(context.Background(), name+"-in")
		_ = api.DeleteStream(context.Background(), name+"-out")
	})
	_, err = in.CreateConsumer(ctx, js.ConsumerConfig{Durable: "workers", AckPolicy: js.AckExplicitPolicy, MaxAckPending: workers * benchWidth})
	require.NoError(b, err)
	for range workers {
		api, err := js.New(s.Connect(b))
		require.NoError(b, err)
		consumer, err := api.Consumer(ctx, name+"-in", "workers")
		require.NoError(b, err)
		slots := make(chan struct{}, benchWidth)
		consuming, err := consumer.Consume(func(m js.Msg) {
			slots <- struct{}{}
			go func() {
				defer func() { <-slots }()
				id := m.Subject()[len(name+".in."):]
				n, _ := strconv.Atoi(string(m.Data()))
				if _, err := api.Publish(ctx, name+".out."+id, []byte(strconv.Itoa(n+1))); err == nil {
					_ = m.Ack()
				}
			}()
		}, js.PullMaxMessages(benchWidth))
		require.NoError(b, err)
		b.Cleanup(consuming.Stop)
	}
	conn := s.Connect(b)
	putter, err := js.New(conn)
	require.NoError(b, err)
	var waiting sync.Map // channels by id
	_, err = conn.Subscribe(name+".out.*", func(m *nats.Msg) {
		if done, ok := waiting.LoadAndDelete(m.Subject[len(name+".out."):]); ok {
			done.(chan string) <- string(m.Data)
		}
	})
	require.NoError(b, err)
	measure(b, submitters, func(i int) error {
		id, done := strconv.Itoa(i), make(chan string, 1)
		waiting.Store(id, done)
		if _, err := putter.Publish(ctx, name+".in."+id, []byte(id)); err != nil {
			return err
		}
		select {
		case v := <-done:
			if v != strconv.Itoa(i+1) {
				return fmt.Errorf("job %d: %s", i, v)
			}
			return nil
		case <-time.After(patience):
			return errors.New("no result")
		}
	})
}

// measure makes b.N cycles, of which some are underway at a time.
func measure(b *testing.B, submitters int, cycle func(i int) error) {
	times := make([]time.Duration, b.N)
	var next atomic.Int64
	var wg sync.WaitGroup
	before := cpuTime(b)
	b.ResetTimer()
	for range min(submitters, b.N) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < b.N; i = int(next.Add(1)) - 1 {
				began := time.Now()
				if err := cycle(i); err != nil {
					b.Error(err)
					return
				}
				times[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/job")
	reportTimes(b, times, "")
}

// cpuTime is how long the processors have worked for this process, servers and
// clients.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// reportTimes reports two quantiles of times.
func reportTimes(b *testing.B, times []time.Duration, what string) {
	slices.Sort(times)
	at := func(p float64) float64 {
		return float64(times[min(int(p*float64(len(times))), len(times)-1)]) / float64(time.Millisecond)
	}
	b.ReportMetric(at(0.5), what+"p50-ms")
	b.ReportMetric(at(0.99), what+"p99-ms")
}

// load keeps 32 jobs underway until stop is called; ended returns how many
// have ended. It returns when they end at their pace.
func load(b *testing.B, q *benchQueue) (ended func() int64, stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	var count atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for ctx.Err() == nil {
				job, err := q.Put(1, 0)
				if err != nil {
					continue
				}
				if _, err := job.Await(ctx); err == nil {
					count.Add(1)
				}
			}
		})
	}
	eventually(b, func() bool { return count.Load() > 500 }, "jobs end")
	return count.Load, func() {
		cancel()
		wg.Wait()
	}
}

// widthChange measures changes of the width while jobs run: until the journal
// has them, from when on they hold.
func (s *benchServers) widthChange(b *testing.B) {
	name := newName()
	for range 2 {
		s.join(b, name, benchWidth)
	}
	putter := s.join(b, name, 0)
	require.NoError(b, putter.SetWidth(20))
	ended, stop := load(b, putter)
	defer stop()
	times := make([]time.Duration, b.N)
	before := ended()
	b.ResetTimer()
	for i := range times {
		began := time.Now()
		require.NoError(b, putter.SetWidth(10+i%20))
		times[i] = time.Since(began)
	}
	b.StopTimer()
	b.ReportMetric(float64(ended()-before)/b.Elapsed().Seconds(), "jobs/s")
	reportTimes(b, times, "")
}

// handOver measures, while jobs run, how long it takes from the end of the
// process that schedules until a job has ended that is put then. The lease is
// two seconds.
func (s *benchServers) handOver(b *testing.B, end func(*benchQueue)) {
	name := newName()
	all := []*benchQueue{s.join(b, name, benchWidth), s.join(b, name, benchWidth)}
	putter := s.join(b, name, 0)
	once := func() {
		job, err := putter.Put(1, 0)
		require.NoError(b, err)
		_, err = job.Await(b.Context())
		require.NoError(b, err)
	}
	once()
	_, stop := load(b, putter)
	defer stop()
	times := make([]time.Duration, b.N)
	b.ResetTimer()
	for i := range times {
		at := -1
		for at < 0 {
			at = slices.IndexFunc(all, func(q *benchQueue) bool { return q.schedules.Load() })
		}
		began := time.Now()
		end(all[at])
		once()
		times[i] = time.Since(began)
		b.StopTimer()
		all[at].Close()
		all[at] = s.join(b, name, benchWidth)
		once()
		b.StartTimer()
	}
	b.StopTimer()
	reportTimes(b, times, "")
}
