// Command fetcher gets all followers of a user from a server that serves them
// in pages, and that is in trouble: it answers with 500, 502 or 503, with 404
// once, stops in the middle of an answer, and resets connections. These
// failures are worth another attempt. Any other error ends the program.
//
//	go run ./examples/fetcher [-followers 5000] [-errors 0.15] [-seed 1] ...
//
// It starts the server itself, shows a progress bar, prints the number of
// followers, and exits with status 0 if it has got all of them. Run it with
// -help for all flags. An interrupt ends it, with status 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"
)

func main() {
	s := &server{missing: 1}
	flag.IntVar(&s.followers, "followers", 5000, "how many followers there are")
	flag.IntVar(&s.size, "page", 100, "how many the server lists on a page, at least 1")
	flag.DurationVar(&s.latency, "latency", 5*time.Millisecond, "how long the server takes")
	flag.Float64Var(&s.errors, "errors", 0.15, "the part of the requests answered with 500, 502 or 503")
	flag.Float64Var(&s.truncated, "truncated", 0.05, "the part whose answer ends in the middle")
	flag.Float64Var(&s.resets, "resets", 0.05, "the part whose connection is reset")
	flag.IntVar(&s.garbage, "garbage", 0, "the page, counted from 1, that is not JSON; 0 is none")
	seed := flag.Uint64("seed", 1, "of the random numbers that decide on the failures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, os.Stderr, s, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "fetcher:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdout, stderr io.Writer, s *server, seed uint64) error {
	switch {
	case s.followers < 0:
		return fmt.Errorf("-followers is %d, and should not be negative", s.followers)
	case s.size < 1:
		return fmt.Errorf("-page is %d, and should be at least 1", s.size)
	}
	serving, stopServer := context.WithCancel(context.Background()) // ends after the client has ended
	defer stopServer()
	url, err := s.start(serving, seed)
	if err != nil {
		return err
	}
	pages, repeated := 0, 0
	f := &fetcher{
		url: url,
		progress: func(got, total int) {
			pages++
			showBar(stderr, got, total)
		},
		repeated: func(error) { repeated++ },
	}
	// The future settles when ctx ends. Waiting for that keeps the progress bar
	// and the error from being printed at the same time.
	followers, err := f.followers(ctx).Await(context.Background())
	fmt.Fprintln(stderr) // ends the line of the bar
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d followers, from %d pages; %d attempts were repeated\n", len(followers), pages, repeated)
	return nil
}

// showBar draws the progress bar over the previous one.
func showBar(w io.Writer, got, total int) {
	const width = 50
	done := width
	if total > 0 {
		done = min(width*got/total, width)
	}
	fmt.Fprintf(w, "\r[%s%s] %d/%d", strings.Repeat("#", done), strings.Repeat(".", width-done), got, total)
}
