package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// service serves values by key on a loopback port. It is slow, fails now and
// then, and counts the outcomes of requests.
type service struct {
	delay    time.Duration // on average
	failures float64       // fraction of requests that fail
	value    func(key string) (string, bool)
	store    func(key, value string) // nil if values cannot be stored

	server *http.Server
	url    string

	mu     sync.Mutex // guards counts, and what value and store use
	counts counts
}

type counts struct {
	answered, missing, failed, canceled, stored int
}

// start starts s, which ends with ctx.
func (s *service) start(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.url = "http://" + listener.Addr().String() + "/"
	s.server = &http.Server{Handler: s}
	context.AfterFunc(ctx, func() { _ = s.server.Close() })
	go func() { _ = s.server.Serve(listener) }()
	return nil
}

// stop waits until no request is underway, and returns the final counts.
func (s *service) stop(ctx context.Context) (counts, error) {
	err := s.server.Shutdown(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts, err
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The server notices that a client leaves only after it has read the body.
	body, err := io.ReadAll(r.Body)
	if err == nil {
		select {
		case <-time.After(s.delay/2 + rand.N(s.delay+1)):
		case <-r.Context().Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.TrimPrefix(r.URL.Path, "/")
	value, ok := s.value(key)
	switch {
	case r.Context().Err() != nil || err != nil: // the client has left
		s.counts.canceled++
	case rand.Float64() < s.failures:
		s.counts.failed++
		http.Error(w, "out of order", http.StatusServiceUnavailable)
	case r.Method == http.MethodPut && s.store != nil:
		s.counts.stored++
		s.store(key, string(body))
	case !ok:
		s.counts.missing++
		http.NotFound(w, r)
	default:
		s.counts.answered++
		fmt.Fprint(w, value)
	}
}
