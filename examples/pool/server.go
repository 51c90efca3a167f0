package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/twillgo/twill"
)

// server keeps the futures of its work in a pool.
type server struct {
	inFlight twill.Pool
	begun    chan struct{} // receives a value for each request in flight
	backend  chan struct{} // the slow part: all work waits until it is closed
}

func (s *server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	name := r.FormValue("name")
	// The work must outlive the request, so the future does not get the request's
	// context.
	answer := twill.Go(context.Background(), func(ctx context.Context) (string, error) {
		return "Hello, " + name, s.slow(ctx)
	})
	mail := twill.ThenFuture(answer, func(string) *twill.Future[time.Time] {
		return twill.Go(context.Background(), func(ctx context.Context) (time.Time, error) { return time.Now(), s.slow(ctx) })
	})
	if err := s.inFlight.Add(mail); err != nil { // the pool is closed
		mail.Cancel(err)
		http.Error(rw, "shutting down", http.StatusServiceUnavailable)
		return
	}
	s.begun <- struct{}{}

	text, err := answer.Await(r.Context())
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(rw, text)
}

func (s *server) slow(ctx context.Context) error {
	select {
	case <-s.backend:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
