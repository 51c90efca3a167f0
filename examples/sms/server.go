package main

import (
	"context"
	"embed"
	"net/http"
	"time"
)

//go:embed web
var web embed.FS

const maxStreams = 32

// server answers the HTTP requests for the page and the API.
type server struct {
	outbox  *Outbox
	board   *Board
	closing context.Context // ends the streams, which would hold up a shutdown
	streams chan struct{}   // a slot for each
}

// newServer returns an HTTP server for an outbox. The streams end with closing.
func newServer(closing context.Context, addr string, o *Outbox, b *Board) *http.Server {
	s := &server{outbox: o, board: b, closing: closing, streams: make(chan struct{}, maxStreams)}
	return &http.Server{
		Handler:           guard(allowedHosts(addr), s.routes()),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.getPage)
	mux.HandleFunc("GET /events", s.getEvents)
	mux.HandleFunc("GET /healthz", s.getHealth)
	mux.HandleFunc("POST /messages", s.postMessage)
	mux.HandleFunc("GET /messages/{id}", s.getMessage)
	mux.HandleFunc("POST /messages/{id}/cancel", s.postCancel)
	mux.HandleFunc("POST /messages/{id}/priority", s.postPriority)
	mux.HandleFunc("POST /messages/{id}/send-again", s.postSendAgain)
	mux.HandleFunc("POST /width", s.postWidth)
	mux.HandleFunc("POST /pause", s.postPause)
	mux.HandleFunc("POST /resume", s.postResume)
	mux.HandleFunc("GET /static/app.js", asset("web/app.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /static/lists.js", asset("web/lists.js", "text/javascript; charset=utf-8"))
	mux.HandleFunc("GET /static/style.css", asset("web/style.css", "text/css; charset=utf-8"))
	mux.HandleFunc("GET /static/icon.svg", asset("web/icon.svg", "image/svg+xml"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if handler, pattern := mux.Handler(r); pattern == "" {
			handler.ServeHTTP(unrouted{w}, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unrouted turns the plain text with which a ServeMux answers what it has no
// route for, 404 or 405, into a problem document.
type unrouted struct{ http.ResponseWriter }

func (u unrouted) WriteHeader(status int) {
	detail := "there is nothing at this address"
	if status == http.StatusMethodNotAllowed {
		detail = "this address takes " + u.Header().Get("Allow")
	}
	writeProblem(u.ResponseWriter, requestError{status, detail, nil})
}

func (u unrouted) Write(body []byte) (int, error) { return len(body), nil }

// asset serves an embedded file.
func asset(name, contentType string) http.HandlerFunc {
	content, err := web.ReadFile(name)
	if err != nil {
		panic(err) // embedded, or the program would not have been built
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(content)
	}
}
