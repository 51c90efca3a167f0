// Command sequential calls slow functions one after another, as straight code:
// each result is available before the next call is made, a failure is an error
// where it is awaited, and a sequence can be a step of another sequence. Go
// with Await is the equivalent of Twisted's sequential decorator for
// generators.
//
//	go run ./examples/sequential [-delay 200ms]
//
// It prints the results of two runs of the same work. An interrupt ends it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	delay := flag.Duration("delay", 200*time.Millisecond, "how long a call takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *delay); err != nil {
		fmt.Fprintln(os.Stderr, "sequential:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, delay time.Duration) error {
	_, err := twice(ctx, w, delay, "going").Await(context.Background()) // the future settles when ctx ends
	return err
}

// twice is a sequence whose steps are sequences. It returns at once, with a
// future that settles at the end.
func twice(ctx context.Context, w io.Writer, delay time.Duration, message string) *twill.Future[struct{}] {
	return twill.Go(ctx, func(ctx context.Context) (struct{}, error) {
		fmt.Fprintln(w, message, "once...")
		if _, err := work(ctx, w, delay).Await(ctx); err != nil {
			return struct{}{}, err
		}
		fmt.Fprintln(w, message, "twice...")
		return work(ctx, w, delay).Await(ctx)
	})
}

// work is a sequence of five steps, the last of which fails.
func work(ctx context.Context, w io.Writer, delay time.Duration) *twill.Future[struct{}] {
	return twill.Go(ctx, func(ctx context.Context) (struct{}, error) {
		var done struct{}
		x, err := triple(3, delay).Await(ctx)
		if err != nil {
			return done, err
		}
		fmt.Fprintln(w, x)
		if x, err = triple(4, delay).Await(ctx); err != nil {
			return done, err
		}
		fmt.Fprintln(w, x)

		// A value that exists already is awaited like the others.
		word, err := twill.Resolved("immediate").Await(ctx)
		if err != nil {
			return done, err
		}
		fmt.Fprintln(w, word)
		if x, err = triple(6, delay).Await(ctx); err != nil {
			return done, err
		}
		fmt.Fprintln(w, x)

		_, err = triple(-7, delay).Await(ctx)
		if errors.Is(err, errNegative) {
			fmt.Fprintln(w, "failed:", err)
			return done, nil
		}
		return done, err // or the error of ctx, if it was interrupted here
	})
}

var errNegative = errors.New("negative value")

// triple is the slow function: it returns three times x, or fails if x is
// negative.
func triple(x int, delay time.Duration) *twill.Future[int] {
	return twill.Then(twill.After(delay, x), func(x int) (int, error) {
		if x < 0 {
			return 0, fmt.Errorf("%w: %d", errNegative, x)
		}
		return 3 * x, nil
	})
}
