package jetstream_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
)

// A process puts jobs, another one runs them. Both could do both.
func ExampleNewQueue() {
	ctx := context.Background()
	send := func(_ context.Context, text string) (int, error) { return len(text), nil }
	worker, err := jetstream.NewQueue(ctx, connect(), "sms", send, &jetstream.Options{WorkerWidth: 8})
	if err != nil {
		log.Fatal(err)
	}
	defer worker.Close()

	// In a process that only puts, the function is nil.
	putter, err := jetstream.NewQueue[string, int](ctx, connect(), "sms", nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer putter.Close()
	job, err := putter.Put("good morning", 5)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Await(ctx))
	// Output: 12 <nil>
}

// Any process widens, pauses and looks at the queue of all.
func ExampleQueue() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "letters", func(_ context.Context, to string) (string, error) { return "to " + to, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.SetWidth(100); err != nil {
		log.Fatal(err)
	}
	if _, err := q.Pause().Await(ctx); err != nil {
		log.Fatal(err)
	}
	for i, to := range []string{"Ada", "Bob", "Cid"} {
		if _, err := q.Put(to, 3-i); err != nil {
			log.Fatal(err)
		}
	}
	for _, job := range q.Pending() {
		fmt.Println(job.Arg(), job.Priority())
	}
	if err := q.Resume(); err != nil {
		log.Fatal(err)
	}
	if _, err := q.Empty().Await(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Stats().Finished, "finished")
	// Output:
	// Cid 1
	// Bob 2
	// Ada 3
	// 3 finished
}

// A job is canceled wherever it runs. The outcome that is stored first counts.
func ExampleJob() {
	ctx := context.Background()
	running := make(chan bool)
	q, err := jetstream.NewQueue(ctx, connect(), "calls", func(ctx context.Context, number string) (string, error) {
		running <- true
		<-ctx.Done()
		return "", context.Cause(ctx)
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	job, err := q.Put("+31", 0, twill.JobOptions{Key: "+31"})
	if err != nil {
		log.Fatal(err)
	}
	<-running
	found, ok := q.Find("+31")
	fmt.Println(ok, found.ID() == job.ID(), found.State())
	fmt.Println(job.Cancel(errors.New("hung up")))
	_, err = job.Await(ctx)
	fmt.Println(err, job.State())
	// Output:
	// true true underway
	// true
	// twill: canceled: hung up canceled
}

// An account that refuses a token lower than one it has seen is not charged
// twice.
func ExampleAttemptOf() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "charges", func(ctx context.Context, cents int) (string, error) {
		a, _ := jetstream.AttemptOf(ctx)
		return fmt.Sprintf("charged %d cents with token %d", cents, a.HandOut), nil
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	job, err := q.Put(250, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Await(ctx))
	// Output: charged 250 cents with token 1 <nil>
}

// Options that a service has in all of its processes.
func ExampleOptions() {
	o := &jetstream.Options{
		DispatchOptions: twill.DispatchOptions{
			GroupLimit: twill.GroupLimit{Width: 2, Rate: 10}, // of each customer, in the whole cluster
			Timeout:    time.Minute,
			Retry:      &twill.RetryOptions{Backoff: twill.FullJitter(twill.ExponentialBackoff(time.Second, 2))},
		},
		WorkerWidth: 16,
		Replicas:    3,
		Version:     "v1.4.0",
		OnEvent:     func(e jetstream.Event) { log.Print(e.Kind, " ", e.Job, " ", e.Err) },
		Show:        func(arg json.RawMessage) string { return fmt.Sprint(len(arg), " bytes") },
	}
	fmt.Println(o.Replicas, o.Width)
	// Output: 3 0
}

// The kinds of what a process reports.
func ExampleEventKind() {
	fmt.Println(jetstream.JobLost, jetstream.SchedulerStarted)
	// Output: job lost scheduler started
}

// The workers, and the scheduler.
func ExampleWorker() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "shifts", func(context.Context, int) (int, error) { return 0, nil }, &jetstream.Options{Name: "night"})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	for {
		workers, scheduler := q.Workers()
		if len(workers) == 1 {
			fmt.Println(workers[0].Name, workers[0].Width, scheduler)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	// Output: night 1 night
}

// The text of an error from another process.
func ExampleError() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "doors", func(context.Context, int) (int, error) { return 0, errors.New("locked") }, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	job, err := q.Put(1, 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = job.Await(ctx)
	var remote *jetstream.Error
	fmt.Println(errors.As(err, &remote), err)
	// Output: true locked
}

// Any process reads what happens in the cluster.
func ExampleDispatchEvent() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "parcels", func(_ context.Context, to string) (string, error) { return "to " + to, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.SetWidth(1); err != nil { // returns when there is a scheduler
		log.Fatal(err)
	}
	events := q.Events(ctx)
	if _, err := q.Put("Ada", 3); err != nil {
		log.Fatal(err)
	}
	for e := range events {
		fmt.Println(e.Kind, e.State, e.Priority, e.Err)
		if e.Kind == twill.EventEnded {
			break
		}
	}
	// Output:
	// put pending 3 <nil>
	// started underway 3 <nil>
	// ended finished 3 <nil>
}

// A process that stores the outcomes of all jobs, whichever process has put
// them and whichever has run them.
func ExampleOutcome() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "sums", func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, errors.New("negative")
		}
		return n + n, nil
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	results := q.Results(ctx)
	for _, n := range []int{4, -1} {
		job, err := q.Put(n, 0)
		if err != nil {
			log.Fatal(err)
		}
		_, _ = job.Await(ctx)
	}
	left := 2
	for o, err := range results {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(o.State, o.Value, o.Err)
		if left--; left == 0 {
			break
		}
	}
	// Output:
	// finished 8 <nil>
	// failed 0 negative
}

// A hook around each call that this process makes.
func ExampleQueue_Use() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "logged", func(_ context.Context, n int) (int, error) { return n + 1, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	q.Use(func(ctx context.Context, n int, next func(context.Context) (int, error)) (int, error) {
		a, _ := jetstream.AttemptOf(ctx)
		v, err := next(ctx)
		fmt.Println("attempt", a.Attempt, "with", n, "returns", v, err)
		return v, err
	})
	job, err := q.Put(6, 0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(job.Await(ctx))
	// Output:
	// attempt 1 with 6 returns 7 <nil>
	// 7 <nil>
}

// The gateway takes 50 messages a second from the whole cluster, and 10 at
// once.
func ExampleQueue_SetRate() {
	ctx := context.Background()
	q, err := jetstream.NewQueue(ctx, connect(), "gateway", func(context.Context, int) (int, error) { return 0, nil }, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()
	if err := q.SetRate(50, 10); err != nil {
		log.Fatal(err)
	}
	fmt.Println(q.Rate())
	// Output: 50 10
}
