package twill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

// All of a batch is in before the first of it starts.
func ExampleResizableDispatchQueue_PutAll() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n * n, nil }, nil)
	jobs, err := q.PutAll([]int{1, 2, 3}, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, job := range jobs {
		fmt.Println(job.Await(context.Background()))
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 9 <nil>
}

// pacer is a limiter that lets one start in each interval.
type pacer struct{ tick *time.Ticker }

func (p pacer) Wait(ctx context.Context) error {
	select {
	case <-p.tick.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Anything with a Wait limits the rate: a *rate.Limiter of
// golang.org/x/time/rate, or three lines of one's own. It can be changed at any time.
func ExampleLimiter() {
	start := time.Now()
	slow := time.NewTicker(5 * time.Millisecond)
	defer slow.Stop()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil },
		&twill.DispatchOptions{Width: 10, Rate: pacer{slow}})
	jobs, _ := q.PutAll(make([]int, 4), 0)
	jobs[3].Await(context.Background())
	fmt.Println("four take three intervals:", time.Since(start) > 15*time.Millisecond)

	q.SetRate(nil)
	jobs, _ = q.PutAll(make([]int, 1000), 0)
	jobs[999].Await(context.Background())
	fmt.Println("no limit any more")
	// Output:
	// four take three intervals: true
	// no limit any more
}

// Events tell an observer what happens. They hold the queue up in no way.
func ExampleEvent() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
	events := q.Events(context.Background())
	job, _ := q.Put(1, 5)
	job.Await(context.Background())
	q.Stop()
	for e := range events {
		switch e.Kind {
		case twill.EventEnded:
			fmt.Println(e.Kind, "as", e.State)
		default:
			fmt.Println(e.Kind)
		}
	}
	// Output:
	// put
	// started
	// ended as FINISHED
	// stopped
}

func ExampleEventKind() {
	fmt.Println(twill.EventPut, twill.EventReprioritized, twill.EventWidth)
	// Output: put reprioritized width
}

// What a queue had left when it was stopped goes into the queue of the next
// process, by way of a file.
func ExampleJobRecord() {
	send := func(_ context.Context, to string) (int, error) { return len(to), nil }
	q := twill.NewResizableDispatchQueue(send, nil)
	q.Pause()
	q.Put("ann", 2)
	q.Put("ben", 1)
	left, _ := q.Stop().Await(context.Background())
	saved, err := json.Marshal(left)
	if err != nil {
		fmt.Println(err)
		return
	}

	var records []twill.JobRecord[string]
	if err := json.Unmarshal(saved, &records); err != nil {
		fmt.Println(err)
		return
	}
	next := twill.NewResizableDispatchQueue(send, nil)
	next.Pause()
	next.Put("cy", 1)
	if _, err := next.Restore(records); err != nil {
		fmt.Println(err)
		return
	}
	for _, job := range next.Pending() {
		fmt.Println(job.Priority(), job.Arg())
	}
	// Output:
	// 1 ben
	// 1 cy
	// 2 ann
}

// The numbers of a queue: for a page, a log line or an alarm.
func ExampleDispatchStats() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		if n%5 == 0 {
			return 0, errors.New("divisible by five")
		}
		return n, nil
	}, &twill.DispatchOptions{Width: 4})
	jobs, _ := q.PutAll([]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 0)
	for _, job := range jobs {
		job.Await(context.Background())
	}
	q.Empty().Await(context.Background())
	s := q.Stats()
	fmt.Println(s.Put, "put,", s.Finished, "finished,", s.Failed, "failed,", s.Pending, "pending")
	fmt.Println("half of them waited less than a minute:", s.Waiting.Quantile(0.5) < time.Minute)
	// Output:
	// 10 put, 8 finished, 2 failed, 0 pending
	// half of them waited less than a minute: true
}

// A function that returns a future holds its slot until that has settled.
func ExampleNewResizableDispatchQueueFuture() {
	lengths := twill.NewResizableDispatchQueueFuture(func(ctx context.Context, word string) *twill.Future[int] {
		upper := twill.Go(ctx, func(context.Context) (string, error) { return strings.ToUpper(word), nil })
		return twill.Then(upper, func(s string) (int, error) { return len(s), nil })
	}, &twill.DispatchOptions{Width: 2})
	job, _ := lengths.Put("twill", 0)
	fmt.Println(job.Await(context.Background()))
	// Output: 5 <nil>
}
