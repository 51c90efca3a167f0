// Page serves the admin page of a queue of a cluster: its jobs, the workers
// with their versions and last heartbeats, and which process schedules. It is a
// process of its own, which can run anywhere; it runs no jobs.
//
//	go run . -url nats://127.0.0.1:4222 -queue sms
//
// The program examples/cluster starts it with -serve.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill/admin"
	"github.com/twillgo/twill/jetstream"
)

// The page steers whatever admin can show, except for groups and the rate.
var _ interface {
	admin.Queue
	admin.Drainer
	admin.Explainer
	admin.Clustered
	admin.Troubled
} = (*jetstream.Queue[json.RawMessage, json.RawMessage])(nil)

func main() {
	url := flag.String("url", nats.DefaultURL, "`addresses` of the servers")
	queue := flag.String("queue", "", "`name` of the queue")
	lease := flag.Duration("lease", 0, "the Lease of the queue's processes")
	addr := flag.String("addr", "127.0.0.1:8322", "`address` to listen on")
	parent := flag.Bool("stdin", false, "end when the standard input does")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *parent {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	if err := run(ctx, *url, *queue, *addr, &jetstream.Options{Lease: *lease, Name: "page", Wait: 5 * time.Second}); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url, queue, addr string, opts *jetstream.Options) error {
	conn, err := nats.Connect(url, nats.MaxReconnects(-1), nats.PingInterval(2*time.Second))
	if err != nil {
		return err
	}
	defer conn.Close()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	q, err := jetstream.NewQueue[json.RawMessage, json.RawMessage](starting, conn, queue, nil, opts)
	if err != nil {
		return err
	}
	defer q.Close()
	page := admin.New(admin.Options{Insecure: true}) // loopback clients only
	defer page.Close()
	if err := page.Add(queue, q); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/queues/", http.StripPrefix("/queues", page))
	mux.Handle("/{$}", http.RedirectHandler("/queues/", http.StatusSeeOther))
	server := admin.NewServer(addr, mux)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/queues/\n", listener.Addr())
	go func() {
		<-ctx.Done()
		page.Close() // ends the streams, which a shutdown waits for
		_ = server.Shutdown(context.Background())
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
