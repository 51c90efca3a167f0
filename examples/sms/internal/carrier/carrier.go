// Package carrier is a carrier of text messages to test the sender with: an
// HTTP server that is slow, sometimes unavailable, and refuses a sender that
// sends too fast. It does not deliver anything.
package carrier

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const maxBody = 64 << 10

// Options determine how a carrier behaves. The zero value is a carrier that is
// fast, never fails and has no limit.
type Options struct {
	MinLatency, MaxLatency time.Duration // each request takes a time in between
	Trouble                float64       // fraction of requests answered 503: half of them after the delivery, as if its answer had been lost
	PerSecond              int           // more requests than this in a second are answered 429
}

// Usual is a carrier that accepts about 17 messages a second from a sender with
// 5 at a time, and at most 25 a second.
var Usual = Options{MinLatency: 150 * time.Millisecond, MaxLatency: 450 * time.Millisecond, Trouble: 0.05, PerSecond: 25}

// Slow is a carrier to watch: it accepts one or two messages a second from a
// sender with 3 at a time.
var Slow = Options{MinLatency: 800 * time.Millisecond, MaxLatency: 3 * time.Second, Trouble: 0.08, PerSecond: 25}

// Carrier is an [http.Handler]: it accepts POST requests with a JSON object of
// "to" and "text" and a header Idempotency-Key, on any path. A key that was
// delivered before gets the same answer, and is not delivered again.
type Carrier struct {
	opts Options

	mu        sync.Mutex
	delivered map[string]bool // by key; false while it is being delivered
	second    time.Time       // the second that inSecond counts in
	inSecond  int
}

// New returns a carrier.
func New(opts Options) *Carrier {
	return &Carrier{opts: opts, delivered: map[string]bool{}}
}

// Delivered returns how many messages were delivered.
func (c *Carrier) Delivered() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, done := range c.delivered {
		if done {
			n++
		}
	}
	return n
}

func (c *Carrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "POST a message", http.StatusMethodNotAllowed)
		return
	}
	var message struct{ To, Text string }
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&message)
	key := r.Header.Get("Idempotency-Key")
	if err != nil || message.To == "" || message.Text == "" || key == "" {
		http.Error(w, `a message is a JSON object with "to" and "text", and a header Idempotency-Key`, http.StatusBadRequest)
		return
	}
	if wait := c.admit(time.Now()); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(wait))
		http.Error(w, "too many messages", http.StatusTooManyRequests)
		return
	}
	switch known, done := c.begin(key); {
	case done:
		c.accept(w)
		return
	case known:
		http.Error(w, "this message is on its way", http.StatusConflict)
		return
	}
	arrived := false
	defer func() { c.end(key, arrived) }()
	if !sleep(r.Context(), c.latency()) {
		return // the sender has disconnected
	}
	trouble := rand.Float64()
	arrived = trouble >= c.opts.Trouble/2
	if trouble < c.opts.Trouble {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	c.accept(w)
}

func (c *Carrier) accept(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"status":"delivered"}` + "\n"))
}

// admit counts a request, and returns 0 or the seconds after which to try
// again. The more requests are too many, the longer that time is, so that they
// are spread out.
func (c *Carrier) admit(now time.Time) int {
	if c.opts.PerSecond <= 0 {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if second := now.Truncate(time.Second); !second.Equal(c.second) {
		c.second, c.inSecond = second, 0
	}
	c.inSecond++
	return (c.inSecond - 1) / c.opts.PerSecond
}

func (c *Carrier) begin(key string) (known, done bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	done, known = c.delivered[key]
	if !known {
		c.delivered[key] = false
	}
	return known, done
}

func (c *Carrier) end(key string, arrived bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if arrived {
		c.delivered[key] = true
	} else {
		delete(c.delivered, key)
	}
}

func (c *Carrier) latency() time.Duration {
	spread := c.opts.MaxLatency - c.opts.MinLatency
	if spread <= 0 {
		return c.opts.MinLatency
	}
	return c.opts.MinLatency + rand.N(spread)
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
