package main

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twillgo/twill"
)

// goodbye is the time that open requests have after everything else has ended.
const goodbye = 5 * time.Second

// serve serves the page until an interrupt. After that it accepts no messages
// and finishes the attempts underway, while the page shows the progress; the
// next start sends the other messages. After a second interrupt it finishes
// nothing.
func serve(cfg config, stdout, stderr io.Writer, interrupts <-chan os.Signal) (int, error) {
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return exitFailed, fmt.Errorf("the page cannot be served: %w; -addr chooses another address", err)
	}
	defer func() { _ = listener.Close() }()
	store, err := OpenStore(cfg.state)
	if err != nil {
		return exitFailed, err
	}
	courier := NewCourier(cfg.carrier, maxWidth)
	defer courier.Close()
	outbox, err := NewOutbox(store, courier, cfg.width)
	if err != nil {
		return exitFailed, errors.Join(err, store.Close())
	}
	greet(outbox.Snapshot(), outbox.restored, cfg.state, stdout)
	if cfg.demo {
		if err := fill(outbox, stdout); err != nil {
			return exitFailed, errors.Join(err, store.Close())
		}
	}

	closing, closeStreams := context.WithCancel(context.Background())
	defer closeStreams()
	board := NewBoard(outbox)
	server := newServer(closing, cfg.addr, outbox, board)
	group, running := errgroup.WithContext(context.Background())
	group.Go(func() error { board.Run(closing); return nil })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	fmt.Fprintf(stdout, "serving on http://%s\n", listener.Addr())
	if at, ok := listener.Addr().(*net.TCPAddr); ok && !at.IP.IsLoopback() {
		fmt.Fprintln(stderr, "sms: there is no login: everyone who reaches this address can send messages")
	}

	code := exitOK
	select {
	case <-interrupts:
		code = stop(outbox, interrupts, stdout)
	case <-running.Done(): // the listener broke
		<-outbox.Stop().Done()
		code = exitFailed
	}
	closeStreams()
	patience, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if server.Shutdown(patience) != nil {
		_ = server.Close()
	}
	err = group.Wait()
	left, saving := outbox.Close()
	if cfg.demo {
		fmt.Fprintf(stdout, "stopped; %d sample messages were not sent\n", left)
	} else {
		fmt.Fprintf(stdout, "stopped; %d messages wait for the next start\n", left)
	}
	if err = errors.Join(err, saving); err != nil {
		return exitFailed, err
	}
	return code, nil
}

// greet prints what was read from the state file.
func greet(s Snapshot, restored int, file string, stdout io.Writer) {
	if restored > 0 {
		fmt.Fprintf(stdout, "%d messages are back in the queue, from %s\n", restored, file)
	}
	switch {
	case s.Paused:
		fmt.Fprintln(stdout, "paused, as at the last stop: no message is started until you resume")
	case s.Width == 0:
		fmt.Fprintln(stdout, "width 0, as at the last stop: no message is started")
	}
}

//go:embed recipients.csv
var samples []byte

// fill puts sample messages into the queue, of every priority, and makes the
// pipeline narrow.
func fill(outbox *Outbox, stdout io.Writer) error {
	recipients, _, err := ReadRecipients(bytes.NewReader(samples))
	if err != nil {
		return err
	}
	var drafts []Draft
	for i, r := range recipients {
		drafts = append(drafts, Draft{To: r.Message.To, Text: r.Message.Text, Priority: priorities[[]int{1, 1, 2, 1, 0}[i%5]].Value})
	}
	if err := outbox.SetWidth(3); err != nil {
		return err
	}
	_, err = outbox.AcceptAll(drafts)
	fmt.Fprintf(stdout, "demo: %d sample messages are in the queue; nothing is kept when the program ends\n", len(drafts))
	return err
}

// stop stops the outbox. It returns the exit code.
func stop(outbox *Outbox, interrupts <-chan os.Signal, stdout io.Writer) int {
	stopped := outbox.Stop()
	underway, _ := outbox.queue.Size()
	fmt.Fprintf(stdout, "stopping: %d underway are being finished; interrupt again to stop at once\n", underway)
	select {
	case <-stopped.Done():
		return exitOK
	case <-interrupts:
		<-outbox.StopNow().Done()
		return exitInterrupted
	}
}

//go:embed web
var web embed.FS

const maxStreams = 32

// server answers the HTTP requests for the page and the API.
type server struct {
	outbox  *Outbox
	board   *Board
	closing context.Context // ends the streams, which would delay a shutdown
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
	mux.HandleFunc("GET /messages", s.getMessages)
	mux.HandleFunc("POST "+filePath, s.postFile)
	mux.HandleFunc("POST /matching/cancel", s.postCancelMatching)
	mux.HandleFunc("POST /matching/send-again", s.postSendMatchingAgain)
	mux.HandleFunc("GET /messages/{id}", s.getMessage)
	mux.HandleFunc("POST /messages/{id}/cancel", s.postCancel)
	mux.HandleFunc("POST /messages/{id}/priority", s.postPriority)
	mux.HandleFunc("POST /messages/{id}/send-again", s.postSendAgain)
	mux.HandleFunc("POST /width", s.postWidth)
	mux.HandleFunc("POST /rate", s.postRate)
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

// unrouted turns the plain text of a ServeMux without a route for a request,
// 404 or 405, into a problem document.
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

const (
	maxBody     = 64 << 10
	maxFileBody = 2 << 20 // of a request to filePath
	filePath    = "/messages/file"
)

const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard admits the requests of programs, and of a browser on this machine for
// this page. There is no login: a page of another site must neither read nor
// send anything here, even if its name was made to point here.
func guard(hosts map[string]bool, next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	crossOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, requestError{http.StatusForbidden, "a page of another site cannot do this", nil})
	}))
	next = crossOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentSecurity)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !hosts[hostname(r.Host)] {
			writeProblem(w, requestError{http.StatusMisdirectedRequest, "this server does not go by that name", nil})
			return
		}
		limit := int64(maxBody)
		if r.URL.Path == filePath {
			limit = maxFileBody
		}
		r.Body = http.MaxBytesReader(w, r.Body, limit)
		next.ServeHTTP(w, r)
	})
}

// allowedHosts returns the names that a request may be for: those of this
// machine to itself, and the name of the address that the server listens on.
func allowedHosts(addr string) map[string]bool {
	hosts := map[string]bool{"localhost": true, "127.0.0.1": true, "::1": true}
	if name := hostname(addr); name != "" {
		hosts[name] = true
	}
	return hosts
}

// hostname returns the host of "host" or "host:port" as it is compared: no
// brackets, no trailing dot, lower case.
func hostname(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// pageView has the data of the page. Scripts keep it up to date later; it is
// complete without them.
type pageView struct {
	Snapshot
	Typed  Draft   // in the form
	Notice string  // what belongs to no field
	Wrong  Invalid // errors beside their fields
	Filter string  // as it was typed
	Found  []Row   // the first messages that match it
	Match  int     // how many match
	Again  int     // how many of them have failed
	Wide   string  // the width as it was typed, if that is wrong
	Rate   string  // the rate as it was typed, if that is wrong
	Empty  Row     // for the rows that scripts make
	Max    int     // characters of a message
}

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{
	"age":      age,
	"outcome":  outcome,
	"add":      func(a, b int) int { return a + b },
	"rate":     func(perSecond float64) string { return fmt.Sprintf("%.1f", perSecond) },
	"priority": priorityName,
	"in":       in,
	"row":      func(v pageView, r Row) map[string]any { return map[string]any{"Now": v.Now, "R": r} },
}).ParseFS(web, "web/page.html"))

// age writes the time from since to now as the page's script does.
func age(since, now int64) string {
	switch d := time.Duration(max(now-since, 0)) * time.Millisecond; {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	default:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
}

// in writes the time until the queue is empty as the page's script does.
func in(milliseconds int64) string {
	switch {
	case milliseconds < 0:
		return "\u2013"
	case milliseconds == 0:
		return "empty"
	}
	return age(0, milliseconds)
}

// MoreFound returns how many messages match and have no row.
func (v pageView) MoreFound() int { return v.Match - len(v.Found) }

// Or returns what was typed, or the number n.
func (v pageView) Or(typed string, n int) string {
	if typed != "" {
		return typed
	}
	return fmt.Sprint(n)
}

// MorePending returns how many pending messages have no row.
func (v pageView) MorePending() int { return v.Waiting - len(v.Pending) }

// MoreFailed returns how many failed messages have no row.
func (v pageView) MoreFailed() int { return v.Failures - len(v.Failed) }

// Idle reports whether messages are not started because the width is 0.
func (v pageView) Idle() bool { return v.Width == 0 && v.State == "running" }

// outcome describes how a message ended, in the words of the page.
func outcome(state string) string {
	if state == stateName(twill.JobFinished) {
		return "sent"
	}
	return state
}

func (s *server) getPage(w http.ResponseWriter, r *http.Request) {
	s.writePage(w, http.StatusOK, pageView{Filter: r.FormValue("filter")})
}

const foundRows = 20

// find adds the messages that match the filter of the page.
func (s *server) find(v *pageView) {
	if v.Filter == "" {
		return
	}
	filter, err := ParseFilter(v.Filter)
	if err != nil {
		v.Wrong.note("filter", err)
		return
	}
	rows := s.outbox.Matching(filter)
	for _, r := range rows {
		if r.State == stateName(twill.JobFailed) {
			v.Again++
		}
	}
	v.Match, v.Found = len(rows), rows[:min(len(rows), foundRows)]
}

func (s *server) writePage(w http.ResponseWriter, status int, v pageView) {
	v.Snapshot, v.Max = s.outbox.Snapshot(), maxText
	s.find(&v)
	var b bytes.Buffer
	if err := page.Execute(&b, v); err != nil {
		writeProblem(w, fmt.Errorf("the page cannot be made: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes())
}

// fail refuses a request. A program receives a problem document, a browser the
// page with what was typed and with each error beside its field.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error, typed Draft) {
	if !wantsPage(r) {
		writeProblem(w, err)
		return
	}
	p := problemOf(err)
	v := pageView{Typed: typed}
	for _, f := range p.Errors {
		v.Wrong = append(v.Wrong, f.FieldError)
	}
	if v.Wrong.Of("width")+v.Wrong.Of("perSecond")+v.Wrong.Of("filter") != "" {
		v.Wide, v.Rate, v.Filter = r.PostForm.Get("width"), r.PostForm.Get("perSecond"), r.PostForm.Get("filter")
	} else if v.Wrong == nil || strings.HasPrefix(v.Wrong[0].Field, "line ") {
		v.Notice = p.Detail
	}
	s.writePage(w, p.Status, v)
}

// streamWrite is the time that a browser has to read an event.
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
		// It replaces the server's WriteTimeout, which is for a whole response.
		// A writer without deadlines has no such timeout either.
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

const (
	editionGap  = 200 * time.Millisecond // between two editions, at least
	editionBeat = 2 * time.Second        // after which there is another without a change
)

// Edition is a snapshot as it is sent to the browsers.
type Edition struct {
	Data []byte
	next *twill.Promise[*Edition]
}

// Next returns a future of the edition after this one.
func (e *Edition) Next() *twill.Future[*Edition] { return e.next.Future() }

// Board publishes snapshots. A slow reader misses editions, and delays neither
// the board nor another reader.
type Board struct {
	outbox *Outbox

	mu     sync.Mutex // guards latest
	latest *Edition
}

// NewBoard returns a board with a first edition.
func NewBoard(o *Outbox) *Board {
	b := &Board{outbox: o}
	b.latest = b.edition()
	return b
}

// Latest returns the newest edition.
func (b *Board) Latest() *Edition {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.latest
}

// Run publishes an edition after each change, until ctx ends.
func (b *Board) Run(ctx context.Context) {
	beat := time.NewTicker(editionBeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.outbox.changed:
		case <-beat.C:
		}
		b.publish()
		select {
		case <-ctx.Done():
		case <-time.After(editionGap):
		}
	}
}

func (b *Board) publish() {
	next := b.edition()
	b.mu.Lock()
	last := b.latest
	b.latest = next
	b.mu.Unlock()
	last.next.Resolve(next)
}

func (b *Board) edition() *Edition {
	data, err := json.Marshal(b.outbox.Snapshot())
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return &Edition{Data: data, next: twill.NewPromise[*Edition]()}
}
