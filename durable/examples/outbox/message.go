package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

// message is the argument of a job. It is in the file as JSON.
type message struct {
	Key  string `json:"key"` // by which the carrier recognizes it if it comes twice
	To   string `json:"to"`
	Text string `json:"text"`
}

func (m message) String() string { return m.To + ": " + m.Text }

type queue = durable.Queue[message, string]

func newMessage(to, text string) message { return message{rand.Text(), to, text} }

// sample is the nth sample message.
func sample(n int) message {
	return newMessage(fmt.Sprintf("+1212555%04d", n), fmt.Sprintf("Your parcel %d has arrived.", n))
}

// courier takes messages to the carrier.
type courier struct{ url string }

// deliver makes one attempt. A message is sent again if the process ends before
// its end is on disk: the carrier knows it by its Idempotency-Key.
func (c courier) deliver(ctx context.Context, m message) (string, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return "", twill.Permanent(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return "", twill.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", m.Key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
	text := strings.TrimSpace(string(answer))
	switch {
	case resp.StatusCode/100 == 2:
		return text, nil
	case resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests:
		return "", twill.Permanent(fmt.Errorf("the carrier answered %d: %s", resp.StatusCode, text))
	}
	return "", twill.RetryAfterHeader(resp.Header, fmt.Errorf("the carrier answered %d: %s", resp.StatusCode, text))
}

// startCarrier serves a carrier on a loopback port that is slow, sometimes out
// of order, and delivers no message.
func startCarrier() (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	var mu sync.Mutex
	delivered := map[string]int{}
	server := &http.Server{ReadTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(100*time.Millisecond + mathrand.N(300*time.Millisecond)):
		case <-r.Context().Done():
			return
		}
		if mathrand.IntN(20) == 0 {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		key := r.Header.Get("Idempotency-Key")
		if delivered[key] == 0 {
			delivered[key] = len(delivered) + 1
		}
		fmt.Fprintln(w, "delivery", delivered[key])
	})}
	go func() { _ = server.Serve(listener) }() // until stop
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}

// form is a page to enter messages.
type form struct{ q *queue }

func (f *form) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", f.show)
	mux.HandleFunc("POST /messages", f.accept)
	return mux
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Outbox</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 2rem auto; padding: 0 1rem }
label { display: block; margin: 0.5rem 0 } input, textarea { width: 100%; box-sizing: border-box; font: inherit }</style>
<h1>Outbox</h1>
<p>{{.}}. <a href="/queues/q/messages">The queue</a></p>
<form method="post" action="/messages">
<label>To <input name="to" type="tel" required placeholder="+12125550123"></label>
<label>Text <textarea name="text" required maxlength="160"></textarea></label>
<label>Priority, lower goes first <input name="priority" type="number" value="0"></label>
<button>Send</button>
</form></html>
`))

func (f *form) show(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'")
	w.Header().Set("Cache-Control", "no-store")
	_ = page.Execute(w, progress(f.q.Stats()))
}

// accept answers when the message is on disk.
func (f *form) accept(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	m := newMessage(strings.TrimSpace(r.PostFormValue("to")), strings.TrimSpace(r.PostFormValue("text")))
	priority, err := strconv.Atoi(r.PostFormValue("priority"))
	if err != nil && r.PostFormValue("priority") != "" || !isPhone(m.To) || m.Text == "" || utf8.RuneCountInString(m.Text) > 160 || !utf8.ValidString(m.Text) {
		http.Error(w, "a message has a phone number such as +12125550123, a text of at most 160 characters, and a number as its priority", http.StatusUnprocessableEntity)
		return
	}
	job, err := f.q.Put(m, priority)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/queues/q/messages/job/"+job.ID(), http.StatusSeeOther)
}

func isPhone(s string) bool {
	digits, ok := strings.CutPrefix(s, "+")
	return ok && len(digits) >= 8 && len(digits) <= 15 && strings.Trim(digits, "0123456789") == ""
}

// loopbackHost refuses requests for other host names than those of this
// machine, as pages of other sites could make them by their own name servers.
func loopbackHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(strings.Trim(host, "[]")); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "this host name is not served", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
