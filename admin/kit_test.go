package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

var errBoom = errors.New("boom")

// pageKit is a page over one queue, "sms", whose jobs wait for its gate.
type pageKit struct {
	t     testing.TB
	page  *admin.Page
	queue *twill.ResizableDispatchQueue[string, string]
	gate  chan struct{}
}

// newKit returns a kit. A job "fail ..." fails, and "panic ..." panics; the
// others wait for the gate, or for the end of their context.
func newKit(t testing.TB, opts admin.Options) *pageKit {
	k := &pageKit{t: t, gate: make(chan struct{})}
	k.queue = twill.NewResizableDispatchQueue(func(ctx context.Context, arg string) (string, error) {
		switch {
		case strings.HasPrefix(arg, "fail"):
			return "", errors.New("failed with " + arg)
		case strings.HasPrefix(arg, "panic"):
			panic("panicked with " + arg)
		}
		select {
		case <-k.gate:
			return "done " + arg, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}, &twill.DispatchOptions{Width: 2})
	if opts.Authorize == nil && !opts.Insecure {
		opts.Authorize = func(r *http.Request, a admin.Action) (string, error) { return "operator", nil }
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	k.page = admin.New(opts)
	d := admin.Dispatch(k.queue, admin.DispatchOptions[string]{Show: func(s string) string { return s }})
	require.NoError(t, k.page.Add("sms", d))
	t.Cleanup(func() {
		k.page.Close()
		d.Close()
		k.queue.StopNow()
	})
	return k
}

// request makes a request as a program of the same host would.
func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Host = "localhost:8080"
	r.RemoteAddr = "127.0.0.1:5555"
	if r.URL.Path == "/api/events" { // whose answer would not end
		ctx, cancel := context.WithCancel(r.Context())
		cancel()
		r = r.WithContext(ctx)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// form makes a request as a browser would for a form.
func form(target, body string) *http.Request {
	r := request(http.MethodPost, target, body)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://localhost:8080")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// do serves r. What the API answers must be as its description says.
func (k *pageKit) do(r *http.Request) *httptest.ResponseRecorder {
	k.t.Helper()
	w := httptest.NewRecorder()
	k.page.ServeHTTP(w, r)
	requireDescribed(k.t, r, w)
	return w
}

func (k *pageKit) get(target string) *httptest.ResponseRecorder {
	return k.do(request(http.MethodGet, target, ""))
}

func (k *pageKit) post(target, body string) *httptest.ResponseRecorder {
	return k.do(request(http.MethodPost, target, body))
}

// getJSON reads what is at target, which must be there.
func (k *pageKit) getJSON(target string, into any) {
	k.t.Helper()
	w := k.get(target)
	require.Equal(k.t, http.StatusOK, w.Code, w.Body)
	require.NoError(k.t, json.Unmarshal(w.Body.Bytes(), into))
}

// postJSON does what is at target, which must be possible.
func (k *pageKit) postJSON(target, body string) map[string]any {
	k.t.Helper()
	w := k.post(target, body)
	require.Less(k.t, w.Code, 300, w.Body)
	var v map[string]any
	require.NoError(k.t, json.Unmarshal(w.Body.Bytes(), &v))
	return v
}

func (k *pageKit) put(args ...string) []*twill.Job[string, string] {
	k.t.Helper()
	var jobs []*twill.Job[string, string]
	for _, arg := range args {
		j, err := k.queue.Put(arg, 0)
		require.NoError(k.t, err)
		jobs = append(jobs, j)
	}
	return jobs
}

type jobList struct {
	Jobs []struct {
		ID, State, Key, Arg, Error, Stack, Why string
		Priority                               int
	}
	Next    string
	Scanned int
}

func (k *pageKit) jobs(query string) jobList {
	k.t.Helper()
	var l jobList
	k.getJSON("/api/queues/sms/jobs?"+query, &l)
	return l
}

// finished waits until an operation is over and returns it.
func (k *pageKit) finished(op map[string]any) map[string]any {
	k.t.Helper()
	id, _ := op["id"].(string)
	var v map[string]any
	eventually(k.t, func() bool {
		k.getJSON("/api/operations/"+id, &v)
		return v["state"] != "running"
	})
	return v
}

// eventually waits for something that another goroutine is about to do.
func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it has not come about within 30 s")
		}
	}
}

func readAll(t testing.TB, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// fakeQueue is a Queue of another make, with the jobs it was given.
type fakeQueue struct {
	jobs    []fakeJob
	endless bool // has pending jobs without end
	panics  bool

	mu       sync.Mutex
	canceled []string
}

type fakeJob struct {
	id, key, text string
	state         twill.JobState
	err           error
}

func (f *fakeQueue) check() {
	if f.panics {
		panic("hunter2")
	}
}

func (f *fakeQueue) Stats() twill.DispatchStats {
	return twill.DispatchStats{Width: 1, Pending: len(f.jobs)}
}
func (f *fakeQueue) Paused() bool                      { return false }
func (f *fakeQueue) Stopped() bool                     { return false }
func (f *fakeQueue) SetWidth(int) error                { f.check(); return nil }
func (f *fakeQueue) Pause() *twill.Future[struct{}]    { f.check(); return twill.Resolved(struct{}{}) }
func (f *fakeQueue) Resume() error                     { f.check(); return nil }
func (f *fakeQueue) Clear() int                        { f.check(); return 0 }
func (f *fakeQueue) ReprioritizeJob(string, int) error { f.check(); return nil }
func (f *fakeQueue) WhyPending(id string) string       { return id }
func (f *fakeQueue) JobStacks(_ context.Context, id string) (string, error) {
	return id, nil
}

func (f *fakeQueue) in(states ...twill.JobState) iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		f.check()
		for _, j := range f.jobs {
			if slices.Contains(states, j.state) && !yield(j.id, j.record()) {
				return
			}
		}
		for f.endless && slices.Contains(states, twill.JobPending) && yield("again", twill.JobRecord[string]{}) {
		}
	}
}

func (j fakeJob) record() twill.JobRecord[string] {
	return twill.JobRecord[string]{Arg: j.text, Key: j.key + j.text, State: j.state}
}

func (f *fakeQueue) PendingJobs(int) iter.Seq2[string, twill.JobRecord[string]] {
	return f.in(twill.JobPending)
}

func (f *fakeQueue) UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return f.in(twill.JobUnderway)
}

func (f *fakeQueue) EndedJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return f.in(twill.JobFinished, twill.JobFailed, twill.JobCanceled)
}

func (f *fakeQueue) FindJob(id string) (string, twill.JobRecord[string], bool) {
	f.check()
	for _, j := range f.jobs {
		if j.id == id {
			return id, j.record(), true
		}
	}
	return "", twill.JobRecord[string]{}, false
}

func (f *fakeQueue) JobError(id string) error {
	for _, j := range f.jobs {
		if j.id == id {
			return j.err
		}
	}
	return nil
}

func (f *fakeQueue) CancelJob(id string, cause error) error {
	f.check()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.canceled = append(f.canceled, id)
	return nil
}

func (f *fakeQueue) RunJobAgain(id string) (string, error) { f.check(); return id, nil }

type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
