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
	"time"
)

const attemptTimeout = 15 * time.Second

// Receipt is the result of a job: the message is with the carrier.
type Receipt struct {
	Attempts int
}

// Courier takes messages to the carrier: an HTTP POST each. The message's
// identifier goes along as Idempotency-Key, so that a carrier knows a message
// that comes twice, after an answer that was lost or a crash of this program.
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
		Timeout:   attemptTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirected POST would become a GET
		},
	}}
}

// Deliver hands m over, with as many attempts as it takes. It calls note after
// each attempt that failed and is to be repeated.
func (c *Courier) Deliver(ctx context.Context, m Message, note func(n int, err error)) (Receipt, error) {
	n, err := Retry(ctx, func(ctx context.Context) error { return c.attempt(ctx, m) }, note)
	return Receipt{Attempts: n}, err
}

// Close closes the connections that are kept for the next message.
func (c *Courier) Close() { c.client.CloseIdleConnections() }

func (c *Courier) attempt(ctx context.Context, m Message) error {
	body, err := json.Marshal(struct {
		To   string `json:"to"`
		Text string `json:"text"`
	}{m.To, m.Text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
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
	return &Refusal{
		Status:     resp.StatusCode,
		Detail:     detail(resp.Header.Get("Content-Type"), answer),
		RetryAfter: parseRetryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
}

// Refusal is an answer of the carrier that is not a success.
type Refusal struct {
	Status     int
	Detail     string        // what the carrier says, if it says so in plain text
	RetryAfter time.Duration // when to come back, 0 if the carrier did not say
}

func (e *Refusal) Error() string {
	text := fmt.Sprintf("the carrier answered %d %s", e.Status, http.StatusText(e.Status))
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return text
}

// detail returns the first line of a plain text, shortened.
func detail(contentType string, body []byte) string {
	if kind, _, err := mime.ParseMediaType(contentType); err != nil || kind != "text/plain" {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
	return strings.ToValidUTF8(fmt.Sprintf("%.200s", line), "")
}
