package twill_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

// A queue runs its jobs, a few at a time. Each job is a future.
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
	// 0 finished 0 <nil>
	// 1 finished 1 <nil>
	// 2 finished 4 <nil>
	// 3 finished 9 <nil>
}

// Jobs with a lower priority number start first. A pending job can be moved.
func ExampleResizableDispatchQueue_Reprioritize() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		fmt.Println("sending", name)
		return name, nil
	}, nil)
	q.Pause() // so that the jobs stay pending
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

// A stop returns the jobs that were not started, to be put again later.
func ExampleResizableDispatchQueue_Stop() {
	sent := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		<-sent
		return name + " sent", nil
	}, nil)
	for _, name := range []string{"underway", "second", "third"} {
		q.Put(name, 0)
	}
	stopped := q.Stop()
	close(sent) // the stop waits for the job underway
	left, err := stopped.Await(context.Background())
	for _, job := range left {
		fmt.Println(job.Arg(), job.Priority(), job.State(), err)
	}
	// Output:
	// second 0 pending <nil>
	// third 0 pending <nil>
}

// A job has its argument and its state, and is the future of its result.
func ExampleJob() {
	ctx := context.Background()
	q := twill.NewResizableDispatchQueue(func(_ context.Context, word string) (string, error) {
		return strings.ToUpper(word), nil
	}, nil)
	q.Pause()
	job, _ := q.Put("twill", 3)
	fmt.Println(job.Arg(), job.Priority(), job.State())

	length := twill.Then(&job.Future, func(upper string) (int, error) { return len(upper), nil })
	q.Resume()
	fmt.Println(job.Await(ctx))
	fmt.Println(length.Await(ctx))
	fmt.Println(job.State(), !job.EndedAt().Before(job.StartedAt()))
	// Output:
	// twill 3 pending
	// TWILL <nil>
	// 5 <nil>
	// finished true
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
	// failed canceled
	// true
}

// A full queue refuses a Put.
func ExampleDispatchOptions() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, name string) (string, error) {
		<-ctx.Done()
		return name, context.Cause(ctx)
	}, &twill.DispatchOptions{Width: 2, Size: 1})
	for _, name := range []string{"underway", "underway too", "pending", "one too many"} {
		if _, err := q.Put(name, 0); err != nil {
			fmt.Println(name, "-", err)
		}
	}
	q.StopNow().Await(context.Background())
	// Output: one too many - twill: queue is full
}

// A crawler fetches each page once, at most three at a time, pages near the
// front first. The links of a page are put by the job that has read it.
// In a processor profile, what the jobs of this queue use has the label
// queue=mail: go tool pprof -tagfocus queue=mail cpu.out
func ExampleDispatchOptions_labels() {
	labels := pprof.Labels("queue", "mail")
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, to string) (string, error) {
		return "sent to " + to, nil
	}, &twill.DispatchOptions{
		Width: 5,
		Go: func(_ any, work func()) {
			go pprof.Do(context.Background(), labels, func(context.Context) { work() })
		},
	})
	job, err := q.Put("ada@example.org", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(context.Background()))
	// Output: sent to ada@example.org <nil>
}

func ExampleResizableDispatchQueue_crawl() {
	links := map[string]string{"/": "/news /about", "/news": "/news/1 /news/2 /", "/about": "/", "/news/1": "/news"}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, links[r.URL.Path])
	}))
	defer site.Close()

	var seen sync.Map
	var q *twill.ResizableDispatchQueue[string, string]
	visit := func(path string) {
		if _, before := seen.LoadOrStore(path, true); !before {
			q.Put(path, strings.Count(path, "/"))
		}
	}
	q = twill.NewResizableDispatchQueue(func(ctx context.Context, path string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, site.URL+path, nil)
		if err != nil {
			return "", err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		for _, link := range strings.Fields(string(body)) {
			visit(link)
		}
		return fmt.Sprint(len(body), " bytes"), err
	}, &twill.DispatchOptions{Width: 3})

	ctx := context.Background()
	pages := q.Results(ctx)
	visit("/")
	q.Empty().Await(ctx) // a job ends after it has put its links
	q.Stop()
	for job := range pages {
		size, err := job.Await(ctx)
		fmt.Println(job.Arg(), size, err)
	}
	// Unordered output:
	// / 12 bytes <nil>
	// /about 1 bytes <nil>
	// /news 17 bytes <nil>
	// /news/1 5 bytes <nil>
	// /news/2 0 bytes <nil>
}

// A server that answers at once and works later is shut down: the requests in
// flight get their answers, the jobs underway end, and the other jobs are
// saved.
func ExampleResizableDispatchQueue_shutdown() {
	started, finish := make(chan string), make(chan bool)
	q := twill.NewResizableDispatchQueue(func(_ context.Context, order string) (string, error) {
		started <- order
		<-finish
		return "done", nil
	}, nil)
	waiting := twill.NewPool(nil) // requests that wait for their job
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		job, err := q.Put(r.URL.Path, 0)
		if err != nil {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		if r.Method == http.MethodPost { // the request needs the job only to be queued
			w.WriteHeader(http.StatusAccepted)
			return
		}
		result := job.Tap(func(string, error) {})
		waiting.Add(result)
		v, err := result.Await(r.Context())
		fmt.Fprint(w, v, " ", err)
	}))
	defer server.Close()

	answer := twill.Go(context.Background(), func(context.Context) (string, error) {
		resp, err := http.Get(server.URL + "/order/1")
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	})
	fmt.Println("underway:", <-started)
	for _, path := range []string{"/order/2", "/order/3"} {
		resp, err := http.Post(server.URL+path, "", nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
	}

	// The signal to shut down arrives.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stopped := q.Stop()
	close(finish)
	left, err := stopped.Await(ctx)
	if err != nil { // they take too long
		left, _ = q.StopNow().Await(context.Background())
	}
	waiting.Empty().Await(ctx)
	server.Config.Shutdown(ctx)

	fmt.Println(answer.Await(ctx))
	for _, job := range left {
		var saved struct{ Arg, State string }
		text, _ := json.Marshal(job)
		json.Unmarshal(text, &saved)
		fmt.Println("saved:", saved.Arg, saved.State)
	}
	// Output:
	// underway: /order/1
	// done <nil> <nil>
	// saved: /order/2 pending
	// saved: /order/3 pending
}

// All jobs of a batch are added before the first of them starts.
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

// pacer is a limiter that lets one job start in each interval.
type pacer struct{ tick *time.Ticker }

func (p pacer) Wait(ctx context.Context) error {
	select {
	case <-p.tick.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Any type with a Wait method limits the rate: a *rate.Limiter of
// golang.org/x/time/rate, or three lines of code. The limiter can be changed at
// any time.
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

// Events show an observer what happens. A slow observer does not block the
// queue.
func ExampleDispatchEvent() {
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
	// ended as finished
	// stopped
}

func ExampleEventKind() {
	fmt.Println(twill.EventPut, twill.EventReprioritized, twill.EventWidth)
	// Output: put reprioritized width
}

// The jobs that were left over when a queue was stopped are put into the queue
// of the next process, through a file.
func ExampleJobRecord() {
	send := func(_ context.Context, to string) (string, error) { return "sent to " + to, nil }
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

// The numbers of a queue, for a page, a log line or an alarm.
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

// A job whose function returns a future holds its slot until the future has
// settled.
func ExampleNewResizableDispatchQueueFuture() {
	shouts := twill.NewResizableDispatchQueueFuture(func(ctx context.Context, word string) *twill.Future[string] {
		upper := twill.Go(ctx, func(context.Context) (string, error) { return strings.ToUpper(word), nil })
		return twill.Then(upper, func(s string) (string, error) { return s + "!", nil })
	}, &twill.DispatchOptions{Width: 2})
	job, _ := shouts.Put("twill", 0)
	fmt.Println(job.Await(context.Background()))
	// Output: TWILL! <nil>
}

// During an incident the queue is paused: jobs underway end, new jobs wait, and
// nothing is lost.
func ExampleResizableDispatchQueue_Pause() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, to string) (string, error) {
		return "mail to " + to + " sent", nil
	}, &twill.DispatchOptions{Width: 4})

	drained := q.Pause() // the mail server is down
	first, _ := q.Put("ann", 0)
	second, _ := q.Put("ben", 0)
	drained.Await(context.Background())
	underway, pending := q.Size()
	fmt.Println(q.Paused(), underway, pending)

	q.ResumeWidth(1) // it is back, with less capacity
	fmt.Println(first.Await(context.Background()))
	fmt.Println(second.Await(context.Background()))
	// Output:
	// true 0 2
	// mail to ann sent <nil>
	// mail to ben sent <nil>
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

// A job that does not start before its time, and is tried again if it fails.
func ExampleJobOptions() {
	calls := 0
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) {
		if calls++; calls < 3 {
			return "", errors.New("busy")
		}
		return "hello, " + name, nil
	}, nil)
	q.Pause() // so that the job stays pending
	job, _ := q.Put("world", 0, twill.JobOptions{
		After:   10 * time.Millisecond,
		Timeout: time.Minute,
		Retry:   &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Millisecond), 5)},
		Key:     "greet world", // a second Put with this key returns this job
	})
	same, _ := q.Put("world", 0, twill.JobOptions{After: time.Second, Key: "greet world"})
	fmt.Println(job.State(), same == job)
	q.Resume()
	fmt.Println(job.Await(context.Background()))
	fmt.Println(job.State(), "after", job.Attempts(), "attempts")
	// Output:
	// pending true
	// hello, world <nil>
	// finished after 3 attempts
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
// *rate.Limiter of golang.org/x/time/rate can replace ticks.
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

// A hook is called around every call: this one prints how each call ends.
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

// The events of a queue, for a reader that may be slow.
func ExampleResizableDispatchQueue_Events() {
	q := twill.NewResizableDispatchQueue(func(_ context.Context, name string) (string, error) { return name + " done", nil }, nil)
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
	// put job pending 3
	// started job underway 3
	// ended job finished 3
	// stopped
}

// The jobs in the order in which they end.
func ExampleResizableDispatchQueue_Results() {
	ctx := context.Background()
	answer := make([]chan int, 3) // of three servers
	q := twill.NewResizableDispatchQueue(func(_ context.Context, server int) (int, error) {
		return <-answer[server], nil
	}, &twill.DispatchOptions{Width: 3})
	ended := q.Results(ctx)
	jobs := make([]*twill.Job[int, int], 3)
	for server := range jobs {
		answer[server] = make(chan int)
		jobs[server], _ = q.Put(server, 0)
	}
	for _, server := range []int{2, 0, 1} {
		answer[server] <- 200
		jobs[server].Await(ctx)
	}
	q.Drain(ctx)
	for job := range ended {
		fmt.Println(job.Arg(), job.State())
	}
	// Output:
	// 2 finished
	// 0 finished
	// 1 finished
}

// The jobs that a stop has left over are saved as JSON, and run later in the
// same order.
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

// A drain waits for all jobs, or returns the jobs that are left when the time
// is over.
func ExampleResizableDispatchQueue_Drain() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
		<-ctx.Done() // it does not end by itself
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
	// 1 canceled
	// 2 pending
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

// A histogram estimates how long all but the slowest calls took.
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

// A histogram of another process, from the limits and numbers of its classes.
func ExampleHistogram_AddN() {
	var there, here twill.Histogram
	for i := range 1000 {
		there.Add(time.Duration(i) * time.Millisecond)
	}
	for to, n := range there.Buckets() {
		here.AddN(to-1, n)
	}
	fmt.Println(here.Count(), here.Quantile(0.5) == there.Quantile(0.5))
	// Output: 1000 true
}

// At most one request at a time goes to each host. A slow host delays only its
// own requests.
func ExampleGroupLimit() {
	fetch := func(ctx context.Context, url string) (string, error) { return url, nil }
	q := twill.NewResizableDispatchQueue(fetch, &twill.DispatchOptions{
		Width:      10,
		GroupLimit: twill.GroupLimit{Width: 1, Rate: 100, Burst: 5},
		TakeTurns:  true,
	})
	err := q.SetGroupLimit("slow.example", twill.GroupLimit{Width: 1, Rate: 1})
	fmt.Println(err)
	job, err := q.Put("https://slow.example/a", 0, twill.JobOptions{Group: "slow.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(context.Background()))
	fmt.Println(job.Group())
	fmt.Println(q.SetGroupLimits(twill.GroupLimit{Width: 2}))
	// Output:
	// <nil>
	// https://slow.example/a <nil>
	// slow.example
	// <nil>
}

// A job that is not ready is put off. It holds no slot until then.
func ExampleSnooze() {
	looks := 0
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, build string) (string, error) {
		if looks++; looks < 3 {
			return "", twill.Snooze(time.Millisecond)
		}
		return build + " is done", nil
	}, nil)
	job, err := q.Put("build 7", 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(job.Await(context.Background()))
	fmt.Println(job.Attempts(), "attempt")
	// Output:
	// build 7 is done <nil>
	// 1 attempt
}

// A hook counts the calls that have failed, and not those that are put off.
func ExampleSnoozedFor() {
	err := fmt.Errorf("not built yet: %w", twill.Snooze(time.Minute))
	fmt.Println(twill.SnoozedFor(err))
	fmt.Println(twill.SnoozedFor(errors.New("build failed")))
	// Output:
	// 1m0s true
	// 0s false
}

// Why returns the reason why a job waits.
func ExampleWaitReason() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) { return n, nil }, nil)
	job, err := q.Put(1, 0, twill.JobOptions{Key: "one", Held: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	found, _ := q.Find("one")
	fmt.Println(found == job, job.ID())
	reason, _ := q.Why(job)
	fmt.Println(reason)
	fmt.Println(job.Release())
	fmt.Println(job.Await(context.Background()))
	reason, _ = q.Why(job)
	fmt.Println(reason)
	// Output:
	// true 1
	// held
	// true
	// 1 <nil>
	// none
}

// A producer that loads work in portions.
func ExampleResizableDispatchQueue_PendingBelow() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) { return n * n, nil }, nil)
	for portion := range 3 {
		if _, err := q.PutAll([]int{portion, portion, portion}, 0); err != nil {
			fmt.Println(err)
		}
		if _, err := q.PendingBelow(2).Await(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	q.Empty().Await(context.Background())
	q.NoneUnderway().Await(context.Background())
	fmt.Println(q.Stats().Ended(), "jobs")
	// Output: 9 jobs
}

// A search of the pending jobs ends when it has found enough, and does not
// block the queue, however long the queue is.
func ExampleResizableDispatchQueue_PendingSeq() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, to string) (string, error) { return to, nil }, nil)
	q.Pause()
	for _, to := range []string{"ann@one.example", "bob@two.example", "cid@one.example"} {
		if _, err := q.Put(to, 0); err != nil {
			fmt.Println(err)
		}
	}
	for j := range q.PendingSeq() {
		if strings.HasSuffix(j.Arg(), "@one.example") {
			fmt.Println(j.Arg(), j.Cancel(nil))
		}
	}
	_, pending := q.Size()
	fmt.Println(pending, "left")
	// Output:
	// ann@one.example true
	// cid@one.example true
	// 1 left
}

// A job that an operator names by its ID.
func ExampleResizableDispatchQueue_FindID() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) { return n, nil }, nil)
	q.Pause()
	job, err := q.Put(7, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	found, ok := q.FindID(job.ID())
	fmt.Println(found == job, ok)
	_, ok = q.FindID("12345")
	fmt.Println(ok)
	// Output:
	// true true
	// false
}

// Which groups are at their limits.
func ExampleGroupStats() {
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, url string) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	}, &twill.DispatchOptions{Width: 10, GroupLimit: twill.GroupLimit{Width: 1}})
	defer q.StopNow()
	fmt.Println("each group:", q.GroupLimits().Width)
	for _, path := range []string{"/a", "/b", "/c"} {
		if _, err := q.Put("https://slow.example"+path, 0, twill.JobOptions{Group: "slow.example"}); err != nil {
			fmt.Println(err)
		}
	}
	if err := q.SetGroupLimit("slow.example", twill.GroupLimit{Paused: true}); err != nil {
		fmt.Println(err)
	}
	for name, g := range q.Groups() {
		fmt.Println(name, g.Underway, "underway", g.Due, "due, held:", g.Held, "own limit:", g.Own)
	}
	fmt.Println(q.ResetGroupLimit("slow.example"))
	// Output:
	// each group: 1
	// slow.example 1 underway 2 due, held: true own limit: true
	// <nil>
}
