// Command poetry fetches poems from several slow servers at the same time. Some
// of the servers refuse the connection, or break it off.
//
//	go run ./examples/poetry [-bytes 10] [-delay 5ms]
//
// It starts the servers itself, and fetches everything twice. First it prints
// each poem as it arrives, or the error. Then it prints all of them, in the
// order of the requests, after all have arrived. An interrupt ends it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	size := flag.Int("bytes", 10, "how many bytes a server sends at a time")
	delay := flag.Duration("delay", 5*time.Millisecond, "how long the fastest server pauses; the others are slower")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, max(*size, 1), *delay); err != nil {
		fmt.Fprintln(os.Stderr, "poetry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, size int, delay time.Duration) error {
	serving, stopServers := context.WithCancel(context.Background()) // ends after the client has ended
	defer stopServers()
	sources, err := startServers(serving, size, delay)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "Each as it comes:")
	eachAsItComes(ctx, w, sources)
	fmt.Fprintln(w, "All when all are in:")
	if err := allWhenAllAreIn(ctx, w, sources); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// eachAsItComes needs only handlers. They run on this goroutine, as in an event
// loop, so they need no lock.
func eachAsItComes(ctx context.Context, w io.Writer, sources []source) {
	events := make(chan func())
	loop := func(f func()) { events <- f }
	left := len(sources)
	for _, s := range sources {
		twill.Handle(fetch(ctx, s.addr).Via(loop), func(text string, err error) (struct{}, error) {
			printPoem(w, s.title, text, err)
			left--
			return struct{}{}, nil
		})
	}
	for left > 0 {
		handle := <-events
		handle()
	}
}

// allWhenAllAreIn waits for a list. With ConsumeErrors the list handles the
// failures.
func allWhenAllAreIn(ctx context.Context, w io.Writer, sources []source) error {
	var poems []*twill.Future[string]
	for _, s := range sources {
		poems = append(poems, fetch(ctx, s.addr))
	}
	list, err := twill.NewDeferredList(poems, twill.ConsumeErrors).Await(ctx)
	if err != nil {
		return err
	}
	for i, r := range list.Results {
		printPoem(w, sources[i].title, r.Value, r.Err)
	}
	return nil
}

func printPoem(w io.Writer, title, text string, err error) {
	if err != nil {
		fmt.Fprintf(w, "-- %s: failed: %v\n", title, err)
		return
	}
	fmt.Fprintf(w, "-- %s\n%s", title, text)
}

// fetch starts to fetch the poem of the server at addr.
func fetch(ctx context.Context, addr string) *twill.Future[string] {
	return twill.Go(ctx, func(ctx context.Context) (string, error) {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // ends the read
		defer stop()

		in := bufio.NewReader(conn)
		var length int
		if _, err := fmt.Fscanln(in, &length); err != nil {
			return "", err
		}
		text := make([]byte, length)
		if n, err := io.ReadFull(in, text); err != nil {
			return "", fmt.Errorf("broke off after %d of %d bytes: %w", n, length, err)
		}
		return string(text), nil
	})
}
