package twill_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// During an incident the queue stands still: what is underway ends, what comes
// in waits, and nothing is lost.
func ExampleResizableDispatchQueue_Pause() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (string, error) {
		return fmt.Sprint("mail ", n, " sent"), nil
	}, &twill.DispatchOptions{Width: 4})

	drained := q.Pause() // the mail server is down
	first, _ := q.Put(1, 0)
	second, _ := q.Put(2, 0)
	drained.Await(context.Background())
	underway, pending := q.Size()
	fmt.Println(q.Paused(), underway, pending)

	q.ResumeWidth(1) // it is back, and still weak
	fmt.Println(first.Await(context.Background()))
	fmt.Println(second.Await(context.Background()))
	// Output:
	// true 0 2
	// mail 1 sent <nil>
	// mail 2 sent <nil>
}

// A producer that is faster than the queue waits for room.
func ExampleResizableDispatchQueue_PutWait() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		time.Sleep(time.Millisecond)
		return n, nil
	}, &twill.DispatchOptions{Size: 2})
	ctx := context.Background()
	for n := range 10 {
		if _, err := q.PutWait(ctx, n, 0); err != nil {
			fmt.Println(err)
		}
		if _, pending := q.Size(); pending > 2 {
			fmt.Println("too many wait:", pending)
		}
	}
	q.Drain(ctx)
	fmt.Println(q.Stats().Finished, "finished")
	// Output: 10 finished
}

// A job that is not to start before its time, and is tried again if it fails.
func ExampleJobOptions() {
	calls := 0
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("busy")
		}
		return "hello, " + name, nil
	}, nil)
	q.Pause() // while we look at the job
	job, _ := q.Put("world", 0, twill.JobOptions{
		After:   10 * time.Millisecond,
		Timeout: time.Minute,
		Retry:   &twill.RetryOptions{Backoff: twill.Limit(twill.Constant(time.Millisecond), 5)},
		Key:     "greet world", // a second Put with this key returns this job
	})
	same, _ := q.Put("world", 0, twill.JobOptions{After: time.Second, Key: "greet world"})
	fmt.Println(job.State(), same == job)
	q.Resume()
	fmt.Println(job.Await(context.Background()))
	fmt.Println(job.State(), "after", job.Attempts(), "attempts")
	// Output:
	// PENDING true
	// hello, world <nil>
	// FINISHED after 3 attempts
}

// ticks is a Limiter that lets one job start for each tick.
type ticks <-chan time.Time

func (t ticks) Wait(ctx context.Context) error {
	select {
	case <-t:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The rate at which jobs start is changed while the queue works. A
// *rate.Limiter of golang.org/x/time/rate does in place of ticks.
func ExampleResizableDispatchQueue_SetRate() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil },
		&twill.DispatchOptions{Width: 100})
	start := time.Now()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	q.SetRate(ticks(ticker.C))
	jobs, _ := q.PutAll([]int{1, 2, 3}, 0)
	jobs[2].Await(context.Background())
	fmt.Println("three took two pauses or more:", time.Since(start) >= 20*time.Millisecond)

	q.SetRate(nil)
	last, _ := q.Put(4, 0)
	fmt.Println(last.Await(context.Background()))
	// Output:
	// three took two pauses or more: true
	// 4 <nil>
}

// A hook is around every call: here it says how each has ended.
func ExampleResizableDispatchQueue_Use() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return 10 / n, nil }, nil)
	q.Use(func(ctx context.Context, job *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		v, err := next(ctx)
		fmt.Println("job", job.Arg(), "returned", v, err)
		return v, err
	})
	q.Put(5, 0)
	q.Drain(context.Background())
	// Output: job 5 returned 2 <nil>
}
