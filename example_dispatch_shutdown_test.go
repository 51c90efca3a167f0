package twill_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/twillgo/twill"
)

// A server that answers at once and works later is shut down: the requests that
// are in flight get their answers, the jobs underway end, and the rest is saved.
func ExampleResizableDispatchQueue_shutdown() {
	started, finish := make(chan string), make(chan bool)
	q := twill.NewResizableDispatchQueue(func(_ context.Context, order string) (string, error) {
		started <- order
		<-finish
		return "done", nil
	}, nil)
	waiting := twill.NewPool(nil) // the requests that wait for their job
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		job, err := q.Put(r.URL.Path, 0)
		if err != nil {
			http.Error(w, "shutting down", http.StatusServiceUnavailable)
			return
		}
		if r.Method == http.MethodPost { // it is enough that the job is queued
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

	// The signal to shut down comes.
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
	// saved: /order/2 PENDING
	// saved: /order/3 PENDING
}
