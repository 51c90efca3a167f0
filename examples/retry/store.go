package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
)

// store answers the requests for each object with the listed statuses, one
// after another, and with 504 after the last.
type store struct {
	mu       sync.Mutex // guards statuses
	statuses map[string][]int
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	status := http.StatusGatewayTimeout
	if left := s.statuses[name]; len(left) > 0 {
		status, s.statuses[name] = left[0], left[1:]
	}
	s.mu.Unlock()
	w.WriteHeader(status)
	if status == http.StatusOK {
		fmt.Fprintf(w, "the bytes of %s", name)
	}
}
