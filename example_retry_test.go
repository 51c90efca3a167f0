package twill_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
)

func ExampleRetry() {
	attempts := 0
	dial := func(context.Context) (string, error) {
		if attempts++; attempts < 3 {
			return "", errors.New("connection refused")
		}
		return "connected", nil
	}
	v, err := twill.Retry(context.Background(), dial, &twill.RetryOptions{
		Backoff: twill.LimitBackoff(twill.FullJitter(twill.CapBackoff(twill.ExponentialBackoff(time.Millisecond, 2), time.Second)), 8),
		OnRetry: func(e twill.RetryEvent) { fmt.Println("attempt", e.Attempt, "failed:", e.Err) },
	})
	fmt.Println(v, err)
	// Output:
	// attempt 1 failed: connection refused
	// attempt 2 failed: connection refused
	// connected <nil>
}

func ExampleRetryingCall() {
	errDown := errors.New("database is down")
	ping := twill.NewRetryingCall(func(context.Context) (string, error) {
		return "", errDown
	}, &twill.RetryOptions{
		Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Millisecond), 2),
	})
	f := ping.Start(context.Background()) // no goroutine waits during the pauses; f.Cancel ends the call
	_, err := f.Await(context.Background())
	var gaveUp *twill.RetryError
	if errors.As(err, &gaveUp) {
		fmt.Println(gaveUp.Attempts, "attempts:", gaveUp.Reason)
	}
	fmt.Println(errors.Is(err, errDown), errors.Is(err, twill.ErrRetriesExhausted))
	// Output:
	// 3 attempts: twill: no retries left
	// true true
}

func ExampleNewRetryingCallFuture() {
	ctx := context.Background()
	attempts := 0
	call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
		if attempts++; attempts == 1 {
			return twill.Rejected[int](errors.New("busy"))
		}
		return twill.After(time.Millisecond, 42)
	}, nil)
	fmt.Println(call.Start(ctx).Await(ctx))
	// Output: 42 <nil>
}

func ExampleSimpleBackoff() {
	for d := range twill.SimpleBackoff() {
		fmt.Print(d, " ")
	}
	// Output: 0s 10ms 20ms 40ms 80ms 160ms 320ms 640ms 1.28s 2.56s
}

// The failure tester of txretry's example: one 404 is tolerated, as an object
// that was just stored may not be visible yet. Each call has its own tester.
func ExampleRetryOptions_newTester() {
	errNotFound := errors.New("404 not found")
	answers := []error{errors.New("503 unavailable"), errNotFound, errNotFound}
	_, err := twill.Retry(context.Background(), func(context.Context) (string, error) {
		answer := answers[0]
		answers = answers[1:]
		return "", answer
	}, &twill.RetryOptions{
		Backoff: twill.ConstantBackoff(0),
		NewTester: func() func(error) error {
			missing := 0
			return func(err error) error {
				if errors.Is(err, errNotFound) {
					if missing++; missing > 1 {
						return err // stop
					}
				}
				return nil // go on
			}
		},
	})
	var gaveUp *twill.RetryError
	if errors.As(err, &gaveUp) {
		fmt.Println(gaveUp.Attempts, gaveUp.Reason)
	}
	// Output: 3 twill: error is not retryable: 404 not found
}

func ExampleRetryAfterHeader() {
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	status, err := twill.Retry(context.Background(), func(ctx context.Context) (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil)
		if err != nil {
			return "", twill.Permanent(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		if resp.StatusCode >= 500 {
			return "", twill.RetryAfterHeader(resp.Header, errors.New(resp.Status))
		}
		return resp.Status, nil
	}, &twill.RetryOptions{
		MaxRetryAfter: 10 * time.Millisecond, // two minutes are too long for an example
		OnRetry:       func(e twill.RetryEvent) { fmt.Println(e.Err, "- retried after", e.Delay) },
	})
	fmt.Println(status, err)
	// Output:
	// 503 Service Unavailable - retried after 10ms
	// 200 OK <nil>
}

func ExampleBudget() {
	budget := twill.NewBudget(10, 0.1) // shared by all calls to a server
	opts := &twill.RetryOptions{Backoff: twill.ConstantBackoff(0), Budget: budget}
	_, err := twill.Retry(context.Background(), func(context.Context) (int, error) {
		return 0, errors.New("down")
	}, opts)
	var gaveUp *twill.RetryError
	if errors.As(err, &gaveUp) {
		fmt.Println(gaveUp.Attempts, gaveUp.Reason)
	}
	fmt.Println(budget.Tokens(), "tokens left")
	// Output:
	// 5 twill: retry budget used up
	// 5 tokens left
}

func ExamplePermanent() {
	errSyntax := errors.New("syntax error")
	attempts := 0
	_, err := twill.Retry(context.Background(), func(context.Context) (int, error) {
		attempts++
		return 0, twill.Permanent(errSyntax) // another attempt would fail too
	}, nil)
	fmt.Println(attempts, errors.Is(err, errSyntax), errors.Is(err, twill.ErrNotRetryable))
	// Output: 1 true true
}

func ExampleRetryIf() {
	errBusy, errSyntax := errors.New("busy"), errors.New("syntax error")
	answers := []error{errBusy, errSyntax, nil}
	_, err := twill.Retry(context.Background(), func(context.Context) (int, error) {
		answer := answers[0]
		answers = answers[1:]
		return 0, answer
	}, &twill.RetryOptions{
		Backoff:   twill.ConstantBackoff(0),
		NewTester: twill.RetryIf(func(err error) bool { return errors.Is(err, errBusy) }),
	})
	fmt.Println(errors.Is(err, errSyntax), len(answers))
	// Output: true 1
}

// The next attempt is made at the time that the server has asked for.
func ExampleRetryAfter() {
	attempts := 0
	v, err := twill.Retry(context.Background(), func(context.Context) (string, error) {
		if attempts++; attempts == 1 {
			return "", twill.RetryAfter(20*time.Millisecond, errors.New("slow down"))
		}
		return "served", nil
	}, &twill.RetryOptions{
		OnPause: func(e twill.RetryEvent) { fmt.Println(e.Err, "- again in", e.Delay) },
	})
	fmt.Println(v, err)
	// Output:
	// slow down - again in 20ms
	// served <nil>
}

// A client of another protocol reports in its errors when to try again.
func ExampleRetryAfterError() {
	errQuota := errors.New("quota used up")
	var err error = &twill.RetryAfterError{After: time.Minute, Err: errQuota}
	if hint, ok := errors.AsType[*twill.RetryAfterError](err); ok {
		fmt.Println("not before", hint.After)
	}
	fmt.Println(errors.Is(err, errQuota))
	// Output:
	// not before 1m0s
	// true
}

// The error Is the reason and the errors of the attempts.
func ExampleRetryError() {
	errFirst, errLast := errors.New("connection refused"), errors.New("no route")
	attempts := 0
	_, err := twill.Retry(context.Background(), func(context.Context) (int, error) {
		if attempts++; attempts == 1 {
			return 0, errFirst
		}
		return 0, errLast
	}, &twill.RetryOptions{Backoff: slices.Values([]time.Duration{0})})
	if gaveUp, ok := errors.AsType[*twill.RetryError](err); ok {
		fmt.Println(gaveUp.Attempts, "attempts, first:", gaveUp.First(), "- last:", gaveUp.Last())
		fmt.Println(gaveUp.Reason)
	}
	fmt.Println(errors.Is(err, errFirst), errors.Is(err, errLast), errors.Is(err, twill.ErrRetriesExhausted))
	// Output:
	// 2 attempts, first: connection refused - last: no route
	// twill: no retries left
	// true true true
}

// Hooks are useful for logs and metrics.
func ExampleRetryEvent() {
	attempts := 0
	_, _ = twill.Retry(context.Background(), func(context.Context) (int, error) {
		if attempts++; attempts < 3 {
			return 0, errors.New("busy")
		}
		return attempts, nil
	}, &twill.RetryOptions{
		Backoff: twill.LinearBackoff(0, time.Millisecond),
		OnPause: func(e twill.RetryEvent) {
			fmt.Printf("attempt %d: %v, pause of %v\n", e.Attempt, e.Err, e.Delay)
		},
	})
	// Output:
	// attempt 1: busy, pause of 0s
	// attempt 2: busy, pause of 1ms
}

// printFirst prints up to five of the pauses.
func printFirst(pauses iter.Seq[time.Duration]) {
	for d := range twill.LimitBackoff(pauses, 5) {
		fmt.Print(d, " ")
	}
	fmt.Println()
}

func ExampleConstantBackoff() {
	printFirst(twill.ConstantBackoff(time.Second))
	// Output: 1s 1s 1s 1s 1s
}

func ExampleLinearBackoff() {
	printFirst(twill.LinearBackoff(time.Second, 500*time.Millisecond))
	// Output: 1s 1.5s 2s 2.5s 3s
}

func ExampleExponentialBackoff() {
	printFirst(twill.ExponentialBackoff(100*time.Millisecond, 2))
	// Output: 100ms 200ms 400ms 800ms 1.6s
}

func ExampleCapBackoff() {
	printFirst(twill.CapBackoff(twill.ExponentialBackoff(100*time.Millisecond, 2), 500*time.Millisecond))
	// Output: 100ms 200ms 400ms 500ms 500ms
}

// Two retries, and no more.
func ExampleLimitBackoff() {
	printFirst(twill.LimitBackoff(twill.ConstantBackoff(time.Second), 2))
	// Output: 1s 1s
}

// within reports whether each pause is at most the pause of bound, and at least
// share of it.
func within(pauses, bound iter.Seq[time.Duration], share float64) bool {
	next, stop := iter.Pull(bound)
	defer stop()
	for d := range twill.LimitBackoff(pauses, 100) {
		most, _ := next()
		if d > most || float64(d) < share*float64(most) {
			return false
		}
	}
	return true
}

// The jitter is applied after the cap.
func ExampleFullJitter() {
	bound := twill.CapBackoff(twill.ExponentialBackoff(100*time.Millisecond, 2), time.Minute)
	fmt.Println("from 0 to the bound:", within(twill.FullJitter(bound), bound, 0))
	// Output: from 0 to the bound: true
}

func ExampleEqualJitter() {
	bound := twill.CapBackoff(twill.ExponentialBackoff(100*time.Millisecond, 2), time.Minute)
	fmt.Println("from its half to the bound:", within(twill.EqualJitter(bound), bound, 0.5))
	// Output: from its half to the bound: true
}

func ExampleDecorrelatedJitter() {
	pauses := twill.DecorrelatedJitter(time.Second, time.Minute)
	fmt.Println("from 1s to 1m0s:", within(pauses, twill.ConstantBackoff(time.Minute), 1./60))
	// Output: from 1s to 1m0s: true
}

// hang is a server that does not answer.
func hang(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}

// Three sources of a page: the first to succeed wins, and the contexts of the
// others end.
func ExampleRace() {
	ctx := context.Background()
	left := make(chan error, 1)
	var race twill.Race[string, string]
	race.Register(func(context.Context, string) (string, error) {
		return "", errors.New("not in the cache")
	})
	race.Register(func(_ context.Context, url string) (string, error) {
		return url + " from the origin", nil
	})
	race.Register(func(ctx context.Context, url string) (string, error) {
		_, err := hang(ctx, url)
		left <- err
		return "", err
	})
	fmt.Println(race.Execute(ctx, "/home").Await(ctx))
	fmt.Println("the mirror:", <-left)
	// Output:
	// /home from the origin <nil>
	// the mirror: twill: lost the race
}

// A hedged request: the second server is asked if the first has not answered in
// time. A late response of the slower server is closed.
func ExampleRaceOptions() {
	ctx := context.Background()
	race := twill.NewRace[string](&twill.RaceOptions[string]{
		Stagger: 5 * time.Millisecond,
		Discard: func(late string) { fmt.Println("closed", late) },
	})
	race.Register(hang)
	race.Register(func(_ context.Context, url string) (string, error) { return url + " from the second", nil })
	fmt.Println(race.Execute(ctx, "/home").Await(ctx))
	// Output: /home from the second <nil>
}

func ExampleRaceOf() {
	ctx := context.Background()
	answer := twill.RaceOf(ctx,
		func(context.Context) (int, error) { return 0, errors.New("no idea") },
		func(context.Context) (int, error) { return 42, nil },
	)
	fmt.Println(answer.Await(ctx))
	// Output: 42 <nil>
}

func ExampleRace_allFailed() {
	ctx := context.Background()
	errDown := errors.New("origin is down")
	_, err := twill.RaceOf(ctx,
		func(context.Context) (int, error) { return 0, errors.New("not in the cache") },
		func(context.Context) (int, error) { return 0, errDown },
	).Await(ctx)
	if all, ok := errors.AsType[*twill.AllFailedError](err); ok {
		for i, err := range all.Errs {
			fmt.Println(i, err)
		}
	}
	fmt.Println(errors.Is(err, errDown))
	// Output:
	// 0 not in the cache
	// 1 origin is down
	// true
}

// A response whose body is read after the race needs its context until then.
func ExampleHeldResult() {
	ctx := context.Background()
	var race twill.Race[string, context.Context]
	race.Register(func(ctx context.Context, _ string) (context.Context, error) { return ctx, nil })
	body, _ := race.ExecuteHeld(ctx, "/home").Await(ctx)
	fmt.Println("while it is read:", body.Value.Err())
	body.Release()
	fmt.Println("afterwards:", body.Value.Err())
	// Output:
	// while it is read: <nil>
	// afterwards: context canceled
}
