// Command retry gets objects from a store that fails now and then, like S3: a
// 504 is worth another attempt; so is a 404, but only once, because an object
// that was just put may not be visible yet; other failures are not.
//
//	go run ./examples/retry
//
// It starts the store itself, and prints every attempt and the result for each
// object. It takes less than a second. An interrupt ends the pause or the
// request underway.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "retry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &store{statuses: map[string][]int{
		"photo":  {504, 504, 200},
		"fresh":  {404, 504, 200},
		"gone":   {504, 404, 504, 404, 200}, // the last status is never reached
		"secret": {403},
	}}}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	url := "http://" + listener.Addr().String() + "/"

	for _, name := range []string{"photo", "fresh", "gone", "secret", "down"} {
		fmt.Fprintf(w, "%s:\n", name)
		text, err := get(ctx, w, url+name).Await(ctx)
		var gaveUp *twill.RetryError
		switch {
		case err == nil:
			fmt.Fprintln(w, "  got", text)
		case errors.As(err, &gaveUp):
			fmt.Fprintf(w, "  attempts %d, first %v, last %v\n", gaveUp.Attempts, gaveUp.First(), gaveUp.Last())
			fmt.Fprintln(w, "  gave up:", gaveUp.Reason)
		default:
			return err
		}
	}
	return context.Cause(ctx)
}

// get gets an object, with as many attempts as its failures are worth.
func get(ctx context.Context, w io.Writer, url string) *twill.Future[string] {
	call := twill.NewRetryingCall(func(ctx context.Context) (string, error) {
		return attempt(ctx, url)
	}, &twill.RetryOptions{
		// Four pauses, so five attempts: 0, 10 ms, 20 ms, 40 ms.
		Backoff: twill.LimitBackoff(twill.SimpleBackoff(), 4),
		// A 504 is worth another attempt, and so is the first 404. Any other failure
		// ends the call.
		NewTester: func() func(error) error {
			missing := 0
			return func(err error) error {
				switch {
				case isStatus(err, 504):
					return nil
				case isStatus(err, 404):
					if missing++; missing == 1 {
						return nil
					}
				}
				return err
			}
		},
		AttemptTimeout: 10 * time.Second,
		OnPause: func(e twill.RetryEvent) {
			fmt.Fprintf(w, "  attempt %d: %v, again in %v\n", e.Attempt, e.Err, e.Delay)
		},
	})
	return call.Start(ctx)
}

// statusError is the failure of a request that was answered with an error
// status.
type statusError int

func (e statusError) Error() string { return fmt.Sprint("status ", int(e)) }

func isStatus(err error, status int) bool {
	got, ok := errors.AsType[statusError](err)
	return ok && int(got) == status
}

func attempt(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return "", statusError(resp.StatusCode)
	}
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}
