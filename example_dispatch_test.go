package twill_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twillgo/twill"
)

// A queue runs its jobs a few at a time. Each job is a future.
func ExampleResizableDispatchQueue() {
	square := func(_ context.Context, n int) (int, error) {
		return n * n, nil
	}
	q := twill.NewResizableDispatchQueue(square, &twill.DispatchOptions{Width: 2})
	var jobs []*twill.Job[int, int]
	for n := range 4 {
		job, err := q.Put(n, 0)
		if err != nil {
			fmt.Println(err)
			return
		}
		jobs = append(jobs, job)
	}
	for _, job := range jobs {
		v, err := job.Await(context.Background())
		fmt.Println(job.Arg(), job.State(), v, err)
	}
	// Output:
	// 0 FINISHED 0 <nil>
	// 1 FINISHED 1 <nil>
	// 2 FINISHED 4 <nil>
	// 3 FINISHED 9 <nil>
}

// Jobs with a lower priority number run first. While a job waits it can be
// moved.
func ExampleResizableDispatchQueue_Reprioritize() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		fmt.Println("sending", name)
		return name, nil
	}, nil)
	q.Pause() // to have something to look at
	q.Put("newsletter 1", 10)
	q.Put("newsletter 2", 10)
	urgent, _ := q.Put("password reset", 1)
	late, _ := q.Put("newsletter 3", 10)

	q.Reprioritize(late, 5)
	for i, job := range q.Pending() {
		fmt.Println(i, job.Priority(), job.Arg())
	}
	urgent.Cancel(nil)
	pending := q.Pending()
	q.Resume()
	for _, job := range pending {
		job.Await(context.Background())
	}
	// Output:
	// 0 1 password reset
	// 1 5 newsletter 3
	// 2 10 newsletter 1
	// 3 10 newsletter 2
	// sending newsletter 3
	// sending newsletter 1
	// sending newsletter 2
}

// A stop gives back what was not begun, to be put again another day.
func ExampleResizableDispatchQueue_Stop() {
	sent := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (int, error) {
		<-sent
		return len(name), nil
	}, nil)
	for _, name := range []string{"underway", "second", "third"} {
		q.Put(name, 0)
	}
	stopped := q.Stop()
	close(sent) // the stop waits for what is underway
	left, err := stopped.Await(context.Background())
	for _, job := range left {
		fmt.Println(job.Arg(), job.Priority(), job.State(), err)
	}
	// Output:
	// second 0 PENDING <nil>
	// third 0 PENDING <nil>
}

// A job knows what it is about and where it is in its life, and is the future
// of its result.
func ExampleJob() {
	ctx := context.Background()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, word string) (int, error) {
		return len(word), nil
	}, nil)
	q.Pause()
	job, _ := q.Put("twill", 3)
	fmt.Println(job.Arg(), job.Priority(), job.State())

	length := twill.Then(&job.Future, func(n int) (string, error) { return fmt.Sprint(n, " letters"), nil })
	q.Resume()
	fmt.Println(length.Await(ctx))
	fmt.Println(job.State(), !job.Stopped().Before(job.Started()))
	// Output:
	// twill 3 PENDING
	// 5 letters <nil>
	// FINISHED true
}

func ExampleJobState() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		return 0, errors.New("no such thing")
	}, nil)
	q.Pause()
	tried, _ := q.Put(1, 0)
	withdrawn, _ := q.Put(2, 0)
	withdrawn.Cancel(nil)
	q.Resume()
	tried.Await(context.Background())
	fmt.Println(tried.State(), withdrawn.State())
	fmt.Println(tried.State() == twill.JobFailed)
	// Output:
	// FAILED CANCELED
	// true
}

// A bound on what waits turns a Put away.
func ExampleDispatchOptions() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ string) (int, error) {
		<-ctx.Done()
		return 0, context.Cause(ctx)
	}, &twill.DispatchOptions{Width: 2, Size: 1})
	for _, name := range []string{"underway", "underway too", "pending", "one too many"} {
		if _, err := q.Put(name, 0); err != nil {
			fmt.Println(name, "-", err)
		}
	}
	q.StopNow().Await(context.Background())
	// Output: one too many - twill: dispatch queue is full
}
