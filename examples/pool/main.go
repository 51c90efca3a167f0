// Command pool shuts down an HTTP server that has requests in flight. Each
// request is answered, and a mail is sent after it, of which the server itself
// does not know. A Pool contains that work, and settles a future when all of it
// is done.
//
//	go run ./examples/pool
//
// It serves three requests, begins to shut down while they are in flight,
// refuses a late request, and ends when all work is done. It prints the answers
// and what is left in the pool. It takes less than a second. An interrupt
// cancels what is in flight.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pool:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	s := &server{begun: make(chan struct{}, 3), backend: make(chan struct{})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	web := &http.Server{Handler: s}
	go func() { _ = web.Serve(listener) }()
	defer func() { _ = web.Close() }()
	url := "http://" + listener.Addr().String()

	// Three requests at the same time.
	var answers []*twill.Future[string]
	for _, name := range []string{"Ada", "Bob", "Cleo"} {
		answers = append(answers, twill.Go(ctx, func(ctx context.Context) (string, error) { return get(ctx, url, name) }))
	}
	for range answers {
		select {
		case <-s.begun:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}

	// Shut down: accept nothing new, and let the work in flight finish.
	s.inFlight.Close()
	fmt.Fprintln(w, "shutting down, in the pool:", s.inFlight.Len())
	late, err := get(ctx, url, "Dora")
	fmt.Fprintln(w, "late request:", late, err)
	close(s.backend)
	for _, answer := range answers {
		text, err := answer.Await(ctx)
		fmt.Fprintln(w, "answer:", text, err)
	}
	if _, err := s.inFlight.Empty().Timeout(time.Minute).Await(ctx); err != nil {
		s.inFlight.CancelAll(err) // the work that would take too long
	}
	fmt.Fprintln(w, "drained, in the pool:", s.inFlight.Len())
	if err := web.Shutdown(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func get(ctx context.Context, url, name string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/?name="+name, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.Status + ": " + strings.TrimSpace(string(text)), err
}
