package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// The bounds of a stream: the duration of one write, the duration of a stream
// after which the browser requests it, and is authorized, again, and the number
// of seconds after which a stream without news sends something.
var (
	streamWrite = 5 * time.Second
	streamLife  = 10 * time.Minute
	streamPulse = 15 * time.Second
)

// startStream counts a client whose response may last long. If there are too
// many such clients, it answers the request and returns false.
func (rq *request) startStream() bool {
	p := rq.page
	if p.streams.Add(1) <= int64(p.opts.Streams) {
		return true
	}
	p.streams.Add(-1)
	rq.w.Header().Set("Retry-After", "30")
	rq.fail(http.StatusServiceUnavailable, "as many clients watch as may")
	return false
}

// getEvents sends the numbers of one queue, or of all queues, once a second as
// server-sent events. They are the numbers that the page reads anyway: a
// browser that watches costs the queue nothing, and a slow browser delays only
// its own goroutine, until its write deadline.
func (rq *request) getEvents() {
	p := rq.page
	if !rq.startStream() {
		return
	}
	defer p.streams.Add(-1)
	entries := rq.visible()
	if name := rq.r.URL.Query().Get("queue"); name != "" {
		for i, e := range entries {
			if e.name == name {
				entries = entries[i : i+1]
				break
			}
		}
		if len(entries) != 1 || entries[0].name != name {
			rq.fail(http.StatusNotFound, "there is no such queue")
			return
		}
	}
	h := rq.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	rq.began = true
	rq.w.WriteHeader(http.StatusOK)
	if rq.r.Method == http.MethodHead {
		return
	}
	rc := http.NewResponseController(rq.w)
	_ = rc.SetReadDeadline(time.Time{}) // the deadline of the request does not apply to the stream
	end := time.NewTimer(streamLife)
	defer end.Stop()
	pulse := time.NewTicker(streamPulse)
	defer pulse.Stop()
	for {
		// One channel is enough: all queues are read once a second.
		var changed <-chan struct{}
		views := []queueView{}
		for i, e := range entries {
			_, _, c, _ := e.history.latest()
			if i == 0 {
				changed = c
			}
			views = append(views, p.view(e, true))
		}
		data, err := json.Marshal(map[string]any{"queues": views})
		if err != nil {
			panic(err)
		}
		_ = rc.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := fmt.Fprintf(rq.w, "event: queues\ndata: %s\n\n", data); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
		select {
		case <-changed:
		case <-pulse.C:
		case <-end.C:
			return
		case <-rq.r.Context().Done():
			return
		case <-p.ctx.Done():
			return
		}
	}
}
