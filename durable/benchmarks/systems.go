package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/store"
	"github.com/twillgo/twill/jetstream"
)

// system is one of the queues that are compared.
type system struct {
	name string

	// start starts the server that the system needs and sets its address; nil if
	// it needs none. The function that it returns stops the server.
	start   func(ctx context.Context, dir string, s *system) (stop func() error, err error)
	address string

	// connect returns an empty queue with that many workers. It may use dir.
	connect func(ctx context.Context, address, dir string, workers int) (*queue, error)
}

func (s *system) open(ctx context.Context, dir string, workers int) (*queue, error) {
	return s.connect(ctx, s.address, dir, workers)
}

// queue is a queue of a system. cycle is called by many goroutines: it puts a
// job and returns when the job's result is known.
type queue struct {
	cycle func(ctx context.Context, payload string) error
	close func() error
}

var systems = []system{
	{name: "durable", connect: openDurable},
	{name: "raw", connect: openRaw},
	{name: "asynq", start: startRedis, connect: openAsynq},
	{name: "river", start: startPostgres, connect: openRiver},
	{name: "jetstream", start: startNATS, connect: openJetstream},
}

func systemNamed(name string) (system, error) {
	for _, s := range systems {
		if s.name == name {
			return s, nil
		}
	}
	return system{}, fmt.Errorf("unknown system %q", name)
}

// work is the function of all jobs.
func work(payload string) int { return len(payload) }

// openDurable opens a queue of this library.
func openDurable(_ context.Context, _, dir string, workers int) (*queue, error) {
	q, err := durable.Open(filepath.Join(dir, "jobs.db"), func(_ context.Context, s string) (int, error) { return work(s), nil },
		&durable.Options{Dispatch: twill.DispatchOptions{Width: workers}})
	if err != nil {
		return nil, err
	}
	return &queue{
		cycle: cycleOf(func(payload string) (*durable.Job[string, int], error) { return q.Put(payload, 0) }),
		close: func() error { return q.Close(context.Background()) },
	}, nil
}

// cycleOf returns the full cycle of a queue of this library.
func cycleOf[J interface {
	Await(ctx context.Context) (int, error)
}](put func(payload string) (J, error)) func(context.Context, string) error {
	return func(ctx context.Context, payload string) error {
		job, err := put(payload)
		if err != nil {
			return err
		}
		n, err := job.Await(ctx)
		return check(n, payload, err)
	}
}

func check(n int, payload string, err error) error {
	if err == nil && n != work(payload) {
		err = fmt.Errorf("the result is %d, not %d", n, work(payload))
	}
	return err
}

// openRaw opens the store of durable without the queue: for each job the same
// rows, in the same number of transactions that are waited for.
func openRaw(_ context.Context, _, dir string, _ int) (*queue, error) {
	s, err := store.Open(filepath.Join(dir, "jobs.db"), store.Options{})
	if err != nil {
		return nil, err
	}
	s.Start(nil, nil)
	var ids atomic.Int64
	return &queue{close: s.Close, cycle: func(_ context.Context, payload string) error {
		data, err := json.Marshal(payload)
		if err != nil {
			return err
		}
		j := store.Job{ID: ids.Add(1), Queued: time.Now().UnixMilli()}
		if err := s.Run(func(tx *store.Tx) error { return tx.Insert(j, data) }); err != nil {
			return err
		}
		j.State, j.Attempts, j.Started = store.Underway, 1, time.Now().UnixMilli()
		if err := s.Run(func(tx *store.Tx) error {
			_, err := tx.Update(j)
			return err
		}); err != nil {
			return err
		}
		var arg string
		if err := json.Unmarshal(data, &arg); err != nil {
			return err
		}
		if j.Result, err = json.Marshal(work(arg)); err != nil {
			return err
		}
		j.State, j.Ended = store.Finished, time.Now().UnixMilli()
		return s.Run(func(tx *store.Tx) error {
			if _, err := tx.End(j, true); err != nil {
				return err
			}
			if j.ID%64 == 0 { // as often as the queue does
				_, err := tx.Prune(0, store.Retention{Count: 1000}, 128)
				return err
			}
			return nil
		})
	}}, nil
}

// waiters are the callers that wait for jobs, by a number that the job carries.
// Either side may come first.
type waiters[K comparable] struct {
	mu   sync.Mutex
	jobs map[K]chan struct{}
}

func (w *waiters[K]) of(job K) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.jobs[job]
	if c == nil {
		if w.jobs == nil {
			w.jobs = make(map[K]chan struct{})
		}
		c = make(chan struct{}, 1)
		w.jobs[job] = c
	}
	return c
}

func (w *waiters[K]) done(job K) { w.of(job) <- struct{}{} }

func (w *waiters[K]) wait(ctx context.Context, job K) error {
	c := w.of(job)
	defer func() {
		w.mu.Lock()
		delete(w.jobs, job)
		w.mu.Unlock()
	}()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// message is the argument where a job has to name the caller that waits for it.
type message struct {
	N    int64  `json:"n"`
	Text string `json:"text"`
}

// Kind is the name of such jobs in River.
func (message) Kind() string { return "message" }

// openAsynq opens a queue of asynq. A submitter of asynq has no future: the
// function wakes the caller, before the end of the job is in Redis, which is
// earlier than in the other systems. By default, a server that has found no
// work looks for it again after a second; here, after a millisecond.
func openAsynq(_ context.Context, address, _ string, workers int) (*queue, error) {
	redis := asynq.RedisClientOpt{Addr: address, PoolSize: workers + 10}
	var ended waiters[int64]
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency: workers, TaskCheckInterval: time.Millisecond, LogLevel: asynq.ErrorLevel, ShutdownTimeout: 5 * time.Second,
	})
	mux := asynq.NewServeMux()
	mux.HandleFunc("message", func(_ context.Context, t *asynq.Task) error {
		var m message
		if err := json.Unmarshal(t.Payload(), &m); err != nil {
			return err
		}
		work(m.Text)
		ended.done(m.N)
		return nil
	})
	if err := server.Start(mux); err != nil {
		return nil, err
	}
	client := asynq.NewClient(redis)
	var n atomic.Int64
	return &queue{
		cycle: func(ctx context.Context, payload string) error {
			m := message{n.Add(1), payload}
			data, err := json.Marshal(m)
			if err != nil {
				return err
			}
			if _, err := client.EnqueueContext(ctx, asynq.NewTask("message", data)); err != nil {
				return err
			}
			return ended.wait(ctx, m.N)
		},
		close: func() error {
			server.Shutdown()
			return client.Close()
		},
	}, nil
}

type riverWorker struct {
	river.WorkerDefaults[message]
}

func (riverWorker) Work(_ context.Context, job *river.Job[message]) error {
	work(job.Args.Text)
	return nil
}

// openRiver opens a queue of River. The caller waits for the event that the job
// has ended, which River sends when that is in the database. The pauses between
// fetches are those of River's own benchmark: its defaults are 100 ms and a
// second.
func openRiver(ctx context.Context, address, _ string, workers int) (_ *queue, err error) {
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, err
	}
	config.MaxConns = 64 // of the 100 that PostgreSQL allows; the default is 4
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			pool.Close()
		}
	}()
	driver := riverpgxv5.New(pool)
	logger := slog.New(slog.NewTextHandler(io.Discard, nil))
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	if _, err := pool.Exec(ctx, "TRUNCATE river_job"); err != nil {
		return nil, err
	}
	all := river.NewWorkers()
	river.AddWorker(all, riverWorker{})
	client, err := river.NewClient(driver, &river.Config{
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		Workers:       all,
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	events, cancel := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 100_000, Kinds: []river.EventKind{river.EventKindJobCompleted, river.EventKindJobFailed},
	})
	var ended waiters[int64]
	var failed atomic.Int64
	go func() {
		for e := range events {
			if e.Kind == river.EventKindJobFailed {
				failed.Add(1)
			}
			ended.done(e.Job.ID)
		}
	}()
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		cancel()
		return nil, err
	}
	var n atomic.Int64
	return &queue{
		cycle: func(ctx context.Context, payload string) error {
			r, err := client.Insert(ctx, message{n.Add(1), payload}, nil)
			if err != nil {
				return err
			}
			return ended.wait(ctx, r.Job.ID)
		},
		close: func() error {
			stop, done := context.WithTimeout(context.Background(), 10*time.Second)
			defer done()
			err := client.Stop(stop)
			cancel()
			pool.Close()
			if n := failed.Load(); n > 0 {
				err = errors.Join(err, fmt.Errorf("%d jobs have failed", n))
			}
			return err
		},
	}, nil
}

var natsQueues atomic.Int64

// openJetstream opens a queue of jetstream, with a scheduler and workers in
// this process.
func openJetstream(ctx context.Context, address, _ string, workers int) (*queue, error) {
	conn, err := nats.Connect(address)
	if err != nil {
		return nil, err
	}
	q, err := jetstream.NewQueue(ctx, conn, fmt.Sprint("bench", natsQueues.Add(1)),
		func(_ context.Context, s string) (int, error) { return work(s), nil }, &jetstream.Options{WorkerWidth: workers})
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &queue{
		cycle: cycleOf(func(payload string) (*jetstream.Job[string, int], error) { return q.Put(payload, 0) }),
		close: func() error {
			q.Close()
			conn.Close()
			return nil
		},
	}, nil
}
