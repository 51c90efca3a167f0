package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

const (
	attemptTimeout = 15 * time.Second
	maxAttempts    = 8
)

// retries determines how the queue repeats an attempt that failed: after a
// quarter of a second, then after twice the time, and so on up to 16 s. Half of
// each pause is random, so that many senders do not return at once. A pause is
// never shorter than the carrier requested in its Retry-After, up to a minute.
// In its pauses a message is pending and holds no slot of the queue.
var retries = &twill.RetryOptions{
	Backoff: twill.EqualJitter(twill.LimitBackoff(twill.CapBackoff(
		twill.ExponentialBackoff(250*time.Millisecond, 2), 16*time.Second), maxAttempts-1)),
	AttemptTimeout: attemptTimeout,
}

// Courier takes messages to the carrier, by an HTTP POST each. The message's
// identifier is its Idempotency-Key, by which a carrier recognizes a message
// that arrives twice: after an answer that was lost, or a crash of this
// program.
type Courier struct {
	url    string
	client *http.Client
}

// NewCourier returns a courier to the carrier at url, for up to width messages
// at a time.
func NewCourier(url string, width int) *Courier {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = width
	return &Courier{url: url, client: &http.Client{
		Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirected POST would become a GET
		},
	}}
}

// Close closes the connections that are kept for the next message.
func (c *Courier) Close() { c.client.CloseIdleConnections() }

// Deliver makes one attempt to deliver m. The error tells whether another
// attempt may succeed: it is a [twill.Permanent] error if not, and a
// [*twill.RetryAfterError] if the carrier has requested a time.
func (c *Courier) Deliver(ctx context.Context, m Message) error {
	body, err := json.Marshal(struct {
		To   string `json:"to"`
		Text string `json:"text"`
	}{m.To, m.Text})
	if err != nil {
		return twill.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return twill.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", m.ID)
	resp, err := c.client.Do(req)
	if err != nil {
		var withURL *url.Error // an address may hold a password
		if errors.As(err, &withURL) {
			err = withURL.Err
		}
		return fmt.Errorf("the carrier cannot be reached: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // to the end, so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return nil
	}
	refusal := &Refusal{resp.StatusCode, detail(resp.Header.Get("Content-Type"), answer)}
	if !refusal.Temporary() {
		return twill.Permanent(refusal)
	}
	return twill.RetryAfterHeader(resp.Header, refusal)
}

// Refusal is an answer of the carrier that is not a success.
type Refusal struct {
	Status int
	Detail string // the first line of the answer, if it is plain text
}

func (e *Refusal) Error() string {
	text := fmt.Sprintf("the carrier answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// Temporary reports whether another attempt may succeed.
func (e *Refusal) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500 && e.Status != http.StatusNotImplemented
}

// detail returns the first line of a plain text, shortened.
func detail(contentType string, body []byte) string {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "text/plain" {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.ToValidUTF8(fmt.Sprintf("%.200s", line), "")
}

// trouble returns what to show and save of the error of a job: that of its last
// attempt, as valid text of a limited length.
func trouble(err error) string {
	var all *twill.RetryError
	if errors.As(err, &all) && all.Last() != nil {
		err = all.Last()
	}
	return fmt.Sprintf("%.300s", strings.ToValidUTF8(err.Error(), "?"))
}

// pace is a rate limit for the queue: messages are started at equal distances.
type pace struct {
	each time.Duration

	mu   sync.Mutex // held during a Wait
	next time.Time  // guarded by mu
}

// newPace returns the limit of n messages a second, or none for 0.
func newPace(n int) twill.Limiter {
	if n == 0 {
		return nil
	}
	return &pace{each: time.Second / time.Duration(n)}
}

// Wait returns when the next message may be started, or ctx ends.
func (p *pace) Wait(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Until(p.next)):
	}
	p.next = time.Now().Add(p.each)
	return nil
}
