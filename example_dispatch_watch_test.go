package twill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// What happens in a queue, told to somebody who may be slow.
func ExampleResizableDispatchQueue_Events() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (int, error) { return len(name), nil }, nil)
	events := q.Events(context.Background())
	q.Put("job", 3)
	q.Drain(context.Background())
	for e := range events {
		if e.Job != nil {
			fmt.Println(e.Kind, e.Job.Arg(), e.State, e.Priority)
		} else {
			fmt.Println(e.Kind)
		}
	}
	// Output:
	// put job PENDING 3
	// started job UNDERWAY 3
	// ended job FINISHED 3
	// stopped
}

// The jobs in the order in which they end.
func ExampleResizableDispatchQueue_Results() {
	ctx := context.Background()
	answer := make([]chan string, 3) // of three servers
	q := twill.NewResizableDispatchQueue(func(_ context.Context, server int) (string, error) {
		return <-answer[server], nil
	}, &twill.DispatchOptions{Width: 3})
	ended := q.Results(ctx)
	jobs := make([]*twill.Job[int, string], 3)
	for server := range jobs {
		answer[server] = make(chan string)
		jobs[server], _ = q.Put(server, 0)
	}
	for _, server := range []int{2, 0, 1} {
		answer[server] <- "hello"
		jobs[server].Await(ctx)
	}
	q.Drain(ctx)
	for job := range ended {
		fmt.Println(job.Arg(), job.State())
	}
	// Output:
	// 2 FINISHED
	// 0 FINISHED
	// 1 FINISHED
}

// What a stop has left over is saved as JSON, and runs another day in the same order.
func ExampleResizableDispatchQueue_Restore() {
	send := func(_ context.Context, to string) (string, error) {
		fmt.Println("to", to)
		return to, nil
	}
	today := twill.NewResizableDispatchQueue(send, nil)
	today.Pause()
	today.Put("bob", 2)
	today.Put("alice", 1)
	today.Put("carol", 2)
	left, _ := today.Stop().Await(context.Background())
	text, err := json.Marshal(left)
	if err != nil {
		fmt.Println(err)
		return
	}

	tomorrow := twill.NewResizableDispatchQueue(send, nil)
	var records []twill.JobRecord[string]
	if err := json.Unmarshal(text, &records); err != nil {
		fmt.Println(err)
		return
	}
	tomorrow.Restore(records)
	tomorrow.Drain(context.Background())
	// Output:
	// to alice
	// to bob
	// to carol
}

// A drain waits for all that was put, or gives back what is left when the time
// is over.
func ExampleResizableDispatchQueue_Drain() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-ctx.Done() // it has no end of its own
		return n, nil
	}, nil)
	q.Put(1, 0)
	q.Put(2, 0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	left, err := q.Drain(ctx)
	for _, job := range left {
		fmt.Println(job.Arg(), job.State())
	}
	fmt.Println(err)
	// Output:
	// 1 CANCELED
	// 2 PENDING
	// context deadline exceeded
}

// The numbers of a queue, for a page that shows them.
func ExampleResizableDispatchQueue_Stats() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		time.Sleep(2 * time.Millisecond)
		if n == 3 {
			return 0, errors.New("three is not a number")
		}
		return n, nil
	}, &twill.DispatchOptions{Width: 2})
	q.PutAll([]int{1, 2, 3, 4}, 0)
	q.Drain(context.Background())
	s := q.Stats()
	fmt.Println("put", s.Put, "finished", s.Finished, "failed", s.Failed)
	fmt.Println("calls", s.Running.Count(), "took 2ms or more:", s.Running.Quantile(0) >= 1792*time.Microsecond)
	// Output:
	// put 4 finished 3 failed 1
	// calls 4 took 2ms or more: true
}

// A histogram tells how long all but the slowest took.
func ExampleHistogram() {
	var h twill.Histogram
	for ms := range 100 {
		h.Add(time.Duration(ms) * time.Millisecond)
	}
	fmt.Println(h.Count(), h.Mean(), h.Max())
	fmt.Println("most within 100ms:", h.Quantile(0.9) < 100*time.Millisecond)
	// Output:
	// 100 49.5ms 99ms
	// most within 100ms: true
}
