package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// counting is a carrier that keeps the keys of what it was offered, and of what
// it has delivered. Like a real one it delivers a key once. When it has been
// offered so many messages, it holds those that follow until it is released.
type counting struct {
	url     string
	hold    int
	release chan struct{}

	mu      sync.Mutex
	offers  []string
	arrived []string
}

func startCounting(t *testing.T, hold int) *counting {
	c := &counting{hold: hold, release: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.url = server.URL
	return c
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	var m struct{ Text string }
	if json.NewDecoder(r.Body).Decode(&m) != nil || m.Text == "refuse" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.offers = append(c.offers, key)
	known := slices.Contains(c.arrived, key)
	latency := time.After(20 * time.Millisecond)
	if len(c.offers) > c.hold {
		latency = nil
	}
	c.mu.Unlock()
	if known {
		return
	}
	select {
	case <-r.Context().Done(): // the program has gone
		return
	case <-latency:
	case <-c.release:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.arrived, key) {
		c.arrived = append(c.arrived, key)
	}
}

// offered returns the key of each attempt.
func (c *counting) offered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.offers)
}

// delivered returns the keys that were delivered, in order.
func (c *counting) delivered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.arrived)
}

// await waits until so many messages were offered, and so many delivered.
func (c *counting) await(t *testing.T, offered, delivered int) {
	t.Helper()
	eventually(t, func() bool { return len(c.offered()) >= offered && len(c.delivered()) >= delivered }, "the carrier")
}
