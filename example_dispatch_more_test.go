package twill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
)

// Crawl a site, no more than three pages at a time. A page that is found is put
// by the job that found it.
func ExampleResizableDispatchQueue_crawl() {
	links := map[string]string{"/": "/a /b", "/a": "/b /c", "/b": "/ /c", "/c": ""}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, links[r.URL.Path])
	}))
	defer site.Close()

	var q *twill.ResizableDispatchQueue[string, int]
	var seen sync.Map
	visit := func(page string) {
		if _, known := seen.LoadOrStore(page, true); !known {
			q.Put(page, strings.Count(page, "/")) // pages near the top first
		}
	}
	q = twill.NewResizableDispatchQueue(func(ctx context.Context, page string) (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, site.URL+page, nil)
		if err != nil {
			return 0, err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		for _, link := range strings.Fields(string(body)) {
			visit(link)
		}
		return len(body), err
	}, &twill.DispatchOptions{Width: 3, Retry: &twill.RetryOptions{Backoff: twill.Limit(twill.SimpleBackoff(), 3)}})
	visit("/")
	q.Empty().Await(context.Background())
	fmt.Println(q.Stats().Finished, "pages")
	// Output: 4 pages
}

// During an incident nothing new is begun; what waits can be looked through and
// thinned out, and afterwards the queue goes on, more gently.
func ExampleResizableDispatchQueue_Pause() {
	ctx := context.Background()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, order string) (string, error) {
		return "shipped " + order, nil
	}, &twill.DispatchOptions{Width: 8})
	q.Pause().Await(ctx) // what was underway has ended
	for _, order := range []string{"1001", "1002", "test", "1003"} {
		q.Put(order, 0)
	}
	for _, job := range q.Pending() {
		if job.Arg() == "test" {
			job.Cancel(errors.New("not a real order"))
		}
	}
	fmt.Println(len(q.Pending()), "wait, width", q.Width())
	q.ResumeWidth(1)
	q.Empty().Await(ctx)
	fmt.Println(q.Stats().Finished, "shipped")
	// Output:
	// 3 wait, width 8
	// 3 shipped
}

// A server ends gracefully: it takes no more requests, answers those in flight,
// and then ends the jobs they have put, within a time. What is left over is saved.
func ExampleResizableDispatchQueue_Drain() {
	mail := twill.NewResizableDispatchQueue(func(_ context.Context, to string) (int, error) {
		time.Sleep(time.Millisecond)
		return len(to), nil
	}, nil)
	inFlight := twill.NewPool(nil)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered := twill.NewPromise[struct{}]()
		defer answered.Resolve(struct{}{})
		if err := inFlight.Add(answered.Future()); err != nil {
			http.Error(w, "closing", http.StatusServiceUnavailable)
			return
		}
		mail.Put(r.URL.Query().Get("to"), 0)
	}))
	for _, to := range []string{"ann", "ben", "cy"} {
		response, err := http.Get(server.URL + "?to=" + to)
		if err != nil {
			fmt.Println(err)
			return
		}
		response.Body.Close()
	}

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	inFlight.Close()
	inFlight.Empty().Await(ctx)
	server.Config.Shutdown(ctx)
	left, err := mail.Drain(ctx)
	fmt.Println(len(left), "left over", err)
	fmt.Println(mail.Stats().Finished, "sent")
	// Output:
	// 0 left over <nil>
	// 3 sent
}

// A producer that is faster than the queue waits.
func ExampleResizableDispatchQueue_PutWait() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		time.Sleep(time.Millisecond)
		return n, nil
	}, &twill.DispatchOptions{Width: 2, Size: 3})
	most := 0
	for n := range 20 {
		if _, err := q.PutWait(context.Background(), n, 0); err != nil {
			fmt.Println(err)
			return
		}
		_, pending := q.Size()
		most = max(most, pending)
	}
	q.Empty().Await(context.Background())
	fmt.Println(q.Stats().Finished, "done, and never more than three waiting:", most <= 3)
	// Output: 20 done, and never more than three waiting: true
}

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

// A reminder is sent later, and tried again if that fails.
func ExampleJobOptions() {
	start := time.Now()
	calls := 0
	q := twill.NewResizableDispatchQueue(func(_ context.Context, to string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("busy")
		}
		return "told " + to, nil
	}, nil)
	job, _ := q.Put("ann", 0, twill.JobOptions{
		After:   20 * time.Millisecond,
		Timeout: time.Minute,
		Retry:   &twill.RetryOptions{Backoff: twill.Limit(twill.Constant(time.Millisecond), 5)},
		Key:     "reminder for ann",
	})
	again, _ := q.Put("ann", 0, twill.JobOptions{Key: "reminder for ann"}) // it is wanted at once now
	fmt.Println(again == job)
	fmt.Println(job.Await(context.Background()))
	fmt.Println(job.Attempts(), "attempts, soon:", time.Since(start) < 10*time.Second)
	// Output:
	// true
	// told ann <nil>
	// 3 attempts, soon: true
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
	slow := time.NewTicker(5 * time.Millisecond)
	defer slow.Stop()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil },
		&twill.DispatchOptions{Width: 10, Rate: pacer{slow}})
	start := time.Now()
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

// Jobs come out as they end.
func ExampleResizableDispatchQueue_Results() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, d time.Duration) (string, error) {
		time.Sleep(d)
		return d.String(), nil
	}, &twill.DispatchOptions{Width: 3})
	results := q.Results(ctx)
	q.PutAll([]time.Duration{90 * time.Millisecond, time.Millisecond, 45 * time.Millisecond}, 0)
	q.Empty().Tap(func(struct{}, error) { q.Stop() }) // after which there are no more
	for job := range results {
		fmt.Println(job.Await(ctx))
	}
	// Output:
	// 1ms <nil>
	// 45ms <nil>
	// 90ms <nil>
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

// A hook goes around every call: to time it, to log it, to give it something.
func ExampleResizableDispatchQueue_Use() {
	var failures atomic.Int32
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
		return n, fmt.Errorf("no %d", n)
	}, nil)
	q.Use(func(ctx context.Context, job *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
		v, err := next(ctx)
		if err != nil {
			failures.Add(1)
			err = fmt.Errorf("job with priority %d: %w", job.Priority(), err)
		}
		return v, err
	})
	job, _ := q.Put(7, 3)
	_, err := job.Await(context.Background())
	fmt.Println(err)
	fmt.Println(failures.Load(), "failed")
	// Output:
	// job with priority 3: no 7
	// 1 failed
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

func ExampleHistogram() {
	var h twill.Histogram
	for n := range 100 {
		h.Add(time.Duration(n+1) * time.Millisecond)
	}
	fmt.Println(h.Count(), "durations, the longest", h.Max(), "and the mean", h.Mean())
	fmt.Println("the slowest tenth takes more than", h.Quantile(0.9).Round(10*time.Millisecond))
	// Output:
	// 100 durations, the longest 100ms and the mean 50.5ms
	// the slowest tenth takes more than 90ms
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
