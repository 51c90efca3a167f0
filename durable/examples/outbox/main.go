// Command outbox sends text messages through a slow carrier, as the sms example
// of the root module does, but from a queue that is in a file: kill it with
// kill -9 and start it again, and it goes on. A page takes messages, and the
// admin page shows the queue and controls it.
//
//	go -C durable/examples/outbox run .
//
// The first start fills the queue with sample messages. An interrupt ends the
// program when the messages underway have been sent, and a second one at once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
	"github.com/twillgo/twill/durable"
)

// config is the command line.
type config struct {
	addr    string
	file    string
	samples int
	width   int
	carrier string
	exit    bool
}

func main() {
	var c config
	flag.StringVar(&c.addr, "addr", "127.0.0.1:8326", "serve the pages on `host:port`")
	flag.StringVar(&c.file, "file", "", "keep the messages in `file` (default: twill/outbox.db in the user's config directory)")
	flag.IntVar(&c.samples, "samples", 200, "fill an empty file with `n` sample messages")
	flag.IntVar(&c.width, "width", 5, "messages underway at once, at first")
	flag.StringVar(&c.carrier, "carrier", "", "send to the carrier at `URL` (default: one of the program's own, which delivers no message)")
	flag.BoolVar(&c.exit, "exit", false, "end when all messages have been sent")
	flag.Parse()
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	if err := run(c, os.Stdout, interrupts); err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

// retries are the pauses of a message that the carrier did not take: from a
// quarter of a second to 16 seconds. They go on after a restart.
var retries = &twill.RetryOptions{
	Backoff:        twill.EqualJitter(twill.LimitBackoff(twill.CapBackoff(twill.ExponentialBackoff(250*time.Millisecond, 2), 16*time.Second), 9)),
	AttemptTimeout: 15 * time.Second,
}

// run is the program.
func run(c config, out io.Writer, interrupts <-chan os.Signal) error {
	if c.carrier == "" {
		url, stop, err := startCarrier()
		if err != nil {
			return err
		}
		defer stop()
		c.carrier = url
	}
	if c.file == "" {
		folder, err := os.UserConfigDir()
		if err != nil {
			return fmt.Errorf("%w: name a file with -file", err)
		}
		c.file = filepath.Join(folder, "twill", "outbox.db")
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return err
	}
	courier := courier{url: c.carrier}
	q, err := durable.Open(c.file, courier.deliver, &durable.Options{
		Dispatch: twill.DispatchOptions{Width: c.width, Retry: retries},
		Show:     func(arg any) string { return fmt.Sprint(arg) },
	})
	if err != nil {
		return err
	}
	if err := begin(q, c, out); err != nil {
		return errors.Join(err, q.Close(context.Background()))
	}
	stopServer, err := serve(q, c.addr, out)
	if err != nil {
		return errors.Join(err, q.Close(context.Background()))
	}
	defer stopServer()

	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var sent <-chan struct{}
	if c.exit {
		sent = q.Empty().Done()
	}
	shown := ""
	for {
		select {
		case <-tick.C:
			if line := progress(q.Stats()); line != shown {
				shown = line
				fmt.Fprintln(out, line)
			}
		case <-sent:
			return end(q, out, interrupts)
		case <-interrupts:
			fmt.Fprintln(out, "stopping: the messages underway are being sent; interrupt again to stop at once")
			return end(q, out, interrupts)
		}
	}
}

// begin reports what the file has, and fills it if it is empty.
func begin(q *queue, c config, out io.Writer) error {
	found := q.Found()
	fmt.Fprintf(out, "%s: %d messages wait, %d of them were underway when the process before ended\n", c.file, found.Restored, found.Interrupted)
	if len(found.Dead) > 0 {
		fmt.Fprintf(out, "%d messages have ended the process too often: see the admin page\n", len(found.Dead))
	}
	for range q.EndedJobs() {
		return nil
	}
	if found.Restored > 0 || c.samples <= 0 {
		return nil
	}
	messages := make([]message, c.samples)
	for i := range messages {
		messages[i] = sample(i + 1)
	}
	if _, err := q.PutAll(messages, 0); err != nil { // all of them, or none
		return err
	}
	fmt.Fprintf(out, "%d sample messages were put\n", len(messages))
	return nil
}

func progress(s twill.DispatchStats) string {
	return fmt.Sprintf("%d sent, %d failed, %d retried, %d underway, %d wait", s.Finished, s.Failed, s.Retries, s.Underway, s.Pending)
}

// end closes the queue. What is left over is in the file.
func end(q *queue, out io.Writer, interrupts <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-ctx.Done():
		}
	}()
	left, err := q.Stop().Await(ctx)
	if err != nil { // at once: messages underway are sent again by the next start
		left, _ = q.StopNow().Await(context.Background())
	}
	s := q.Stats()
	fmt.Fprintln(out, progress(s))
	if len(left) > 0 {
		fmt.Fprintf(out, "%d messages are left for the next start\n", len(left))
	}
	if err = q.Close(context.Background()); s.Failed > 0 {
		err = errors.Join(fmt.Errorf("%d messages have failed: see the admin page", s.Failed), err)
	}
	return err
}

// serve serves the page for messages and the admin page.
func serve(q *queue, addr string, out io.Writer) (stop func(), err error) {
	page := admin.New(admin.Options{Insecure: true}) // loopback clients only
	if err := page.Add("messages", q); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/queues/", http.StripPrefix("/queues", page))
	mux.Handle("/", http.NewCrossOriginProtection().Handler(loopbackHost((&form{q}).routes())))
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		page.Close()
		return nil, err
	}
	server := admin.NewServer(addr, mux)
	go func() { _ = server.Serve(listener) }() // until stop
	fmt.Fprintf(out, "http://%s/ takes messages, http://%s/queues/ is the admin page\n", listener.Addr(), listener.Addr())
	return func() {
		page.Close() // ends the streams
		_ = server.Close()
	}, nil
}
