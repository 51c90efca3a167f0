package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// streamWrite is how long a browser may take to read an event.
const streamWrite = 10 * time.Second

var errStreams = requestError{http.StatusServiceUnavailable, "too many pages are open", nil}

// getEvents sends the editions of the board as server-sent events.
func (s *server) getEvents(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return
	}
	select {
	case s.streams <- struct{}{}:
		defer func() { <-s.streams }()
	default:
		writeProblem(w, errStreams)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()

	conn := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 1000\n\n")
	for edition := s.board.Latest(); ; edition = s.board.Latest() {
		// Instead of the server's WriteTimeout, which is for the whole answer.
		// A writer that knows no deadlines has no such timeout either.
		if err := conn.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return
		}
		if _, err := fmt.Fprintf(w, "event: snapshot\ndata: %s\n\n", edition.Data); err != nil {
			return
		}
		if err := conn.Flush(); err != nil {
			return
		}
		if _, err := edition.Next().Await(ctx); err != nil {
			return
		}
	}
}
