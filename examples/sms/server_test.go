//go:build suites

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// paused returns the handler of a server whose outbox sends nothing, and the
// outbox.
func paused(t *testing.T) (http.Handler, *Outbox) {
	t.Helper()
	o := begin(t, stateFile(t), &slow{})
	require.NoError(t, o.Pause())
	t.Cleanup(func() { end(t, o) })
	return newServer(t.Context(), "sms.example:8025", o, NewBoard(o)).Handler, o
}

// request makes a request of a program on this machine.
func request(method, target, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8025"+target, strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	return r
}

func do(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func postJSON(h http.Handler, target, body string) *httptest.ResponseRecorder {
	return do(h, request(http.MethodPost, target, typeJSON, body))
}

// postForm posts as a browser without scripts does.
func postForm(h http.Handler, target string, values url.Values) *httptest.ResponseRecorder {
	r := request(http.MethodPost, target, typeForm, values.Encode())
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	return do(h, r)
}

func body[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &v), w.Body.String())
	return v
}

const anyMessage = `{"to":"+1 212 555 0123","text":"Hello"}`

func TestAMessageIsAcceptedAndCanBeAskedFor(t *testing.T) {
	h, _ := paused(t)
	w := postJSON(h, "/messages", `{"to":"+1 (212) 555-0123","text":"Hello","priority":3}`)
	require.Equal(t, http.StatusAccepted, w.Code)
	require.Equal(t, typeJSON, w.Header().Get("Content-Type"))
	row := body[Row](t, w)
	require.Equal(t, "/messages/"+row.ID, w.Header().Get("Location"))
	require.Equal(t, "+12125550123", row.To)
	require.Equal(t, 3, row.Priority)
	require.Equal(t, "pending", row.State)
	w = do(h, request(http.MethodGet, "/messages/"+row.ID, "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, row, body[Row](t, w))
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	h, o := paused(t)
	id := body[Row](t, postJSON(h, "/messages", anyMessage)).ID
	require.NoError(t, o.Cancel(id))
	for _, c := range []struct {
		name, method, target, contentType, body string
		status                                  int
		field                                   string
	}{
		{"a bad number", "POST", "/messages", typeJSON, `{"to":"12","text":"x"}`, 422, "to"},
		{"no text", "POST", "/messages", typeJSON, `{"to":"+12125550123"}`, 422, "text"},
		{"a number as text", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":7}`, 422, "text"},
		{"a bad priority in a form", "POST", "/messages", typeForm, `to=%2B12125550123&text=x&priority=high`, 422, "priority"},
		{"no JSON", "POST", "/messages", typeJSON, `hello`, 400, ""},
		{"nothing", "POST", "/messages", typeJSON, ``, 400, ""},
		{"more than JSON", "POST", "/messages", typeJSON, anyMessage + anyMessage, 400, ""},
		{"a member nobody knows", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"x","from":"y"}`, 400, ""},
		{"a bad form", "POST", "/messages", typeForm, `to=%zz`, 400, ""},
		{"too large", "POST", "/messages", typeJSON, `{"text":"` + strings.Repeat("x", maxBody) + `"}`, 413, ""},
		{"too large a form", "POST", "/messages", typeForm, `text=` + strings.Repeat("x", maxBody), 413, ""},
		{"another type", "POST", "/messages", "text/plain", anyMessage, 415, ""},
		{"no type", "POST", "/messages", "", anyMessage, 415, ""},
		{"another method", "PUT", "/messages", typeJSON, anyMessage, 405, ""},
		{"a GET that would change something", "GET", "/pause", "", "", 405, ""},
		{"no such address", "GET", "/admin", "", "", 404, ""},
		{"no such message", "GET", "/messages/nobody", "", "", 404, ""},
		{"an encoded path", "GET", "/messages/..%2f..%2fetc%2fpasswd", "", "", 404, ""},
		{"a message nobody has", "POST", "/messages/nobody/cancel", "", "", 404, ""},
		{"a message that is over", "POST", "/messages/" + id + "/cancel", "", "", 409, ""},
		{"a message that has not failed", "POST", "/messages/" + id + "/send-again", "", "", 409, ""},
		{"a width that is too large", "POST", "/width", typeJSON, `{"width":101}`, 422, "width"},
		{"a width that is no number", "POST", "/width", typeForm, `width=wide`, 422, "width"},
		{"a width of another name", "POST", "/width", typeJSON, `{"breadth":5}`, 422, "width"},
		{"a width in words", "POST", "/width", typeJSON, `{"width":"five"}`, 422, "width"},
		{"a width that is null", "POST", "/width", typeJSON, `{"width":null}`, 422, "width"},
		{"a width and more", "POST", "/width", typeJSON, `{"width":5,"priority":5}`, 422, "width"},
		{"a width of bytes that are no text", "POST", "/width", typeJSON, "{\"width\":\"\xff\"}", 422, "width"},
		{"a width of such bytes in a form", "POST", "/width", typeForm, "width=%ff", 422, "width"},
		{"nothing for a width", "POST", "/width", typeJSON, `null`, 422, "width"},
		{"an empty object for a width", "POST", "/width", typeJSON, `{}`, 422, "width"},
		{"half a width", "POST", "/width", typeJSON, `{"width":2.5}`, 422, "width"},
		{"a rate that is too high", "POST", "/rate", typeJSON, `{"perSecond":1001}`, 422, "perSecond"},
		{"a rate that is null", "POST", "/rate", typeJSON, `{"perSecond":null}`, 422, "perSecond"},
		{"a number that is null", "POST", "/messages", typeJSON, `{"to":null,"text":"x"}`, 422, "to"},
		{"a text that is null", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":null}`, 422, "text"},
		{"a priority that is null", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"x","priority":null}`, 422, "priority"},
		{"a text of other bytes", "POST", "/messages", typeJSON, "{\"to\":\"+12125550123\",\"text\":\"a\xff\"}", 422, "text"},
		{"a text of other bytes in a form", "POST", "/messages", typeForm, "to=%2B12125550123&text=a%ff", 422, "text"},
		{"a number of other bytes", "POST", "/messages", typeJSON, "{\"to\":\"+12125550123\xff\",\"text\":\"a\"}", 422, "to"},
		{"a number of other bytes in a form", "POST", "/messages", typeForm, "to=%2B12125550123%ff&text=a", 422, "to"},
		{"a name of other bytes", "POST", "/messages", typeJSON, "{\"to\":\"+12125550123\",\"text\":\"a\",\"\xff\":1}", 422, ""},
		{"half a character", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"\ud83d"}`, 422, "text"},
		{"the other half", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"a\ude00b"}`, 422, "text"},
		{"two halves that do not match", "POST", "/messages", typeJSON, `{"to":"+12125550123","text":"\ud83d\ud83d"}`, 422, "text"},
		{"a priority beyond all", "POST", "/messages/" + id + "/priority", typeJSON, `{"priority":9223372036854775807}`, 422, "priority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := do(h, request(c.method, c.target, c.contentType, c.body))
			require.Equal(t, c.status, w.Code, w.Body.String())
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			p := body[Problem](t, w)
			require.Equal(t, "about:blank", p.Type)
			require.Equal(t, http.StatusText(c.status), p.Title)
			require.Equal(t, c.status, p.Status)
			require.NotEmpty(t, p.Detail)
			if c.field == "" {
				require.Empty(t, p.Errors)
				return
			}
			require.Len(t, p.Errors, 1)
			require.Equal(t, c.field, p.Errors[0].Field)
			require.Equal(t, "#/"+c.field, p.Errors[0].Pointer)
			require.NotEmpty(t, p.Errors[0].Detail)
		})
	}
	require.Zero(t, o.Snapshot().Waiting)
	require.Equal(t, 1, o.Snapshot().Width)
}

func TestTextArrivesAsItWasSent(t *testing.T) {
	h, o := paused(t)
	for sent, want := range map[string]string{
		`\ud83d\ude00 \uD83D\uDE00`: "\U0001f600 \U0001f600",
		`\\ud83d`:                   `\ud83d`,
		`\ufffd`:                    "\ufffd",
		"\ufffd":                    "\ufffd",
		`a\\\ud83d\ude00`:           "a\\\U0001f600",
	} {
		w := postJSON(h, "/messages", `{"to":"+12125550123","text":"`+sent+`"}`)
		require.Equal(t, http.StatusAccepted, w.Code, w.Body.String())
		require.Equal(t, want, body[Row](t, w).Text)
	}
	_, err := decode(must(encode(State{stateVersion, o.settings, o.ledger.messages()})))
	require.NoError(t, err)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestTheOperatorsControls(t *testing.T) {
	h, o := paused(t)
	id := body[Row](t, postJSON(h, "/messages", anyMessage)).ID
	require.Equal(t, Health{"ok", "paused", Settings{7, 0, true}, 1, 0}, body[Health](t, postJSON(h, "/width", `{"width":7}`)))
	require.Equal(t, -4, body[Row](t, postJSON(h, "/messages/"+id+"/priority", `{"priority":-4}`)).Priority)
	require.Equal(t, "canceled", body[Row](t, postJSON(h, "/messages/"+id+"/cancel", ``)).State)
	require.Equal(t, "running", body[Health](t, postJSON(h, "/resume", ``)).State)
	require.Equal(t, 20, body[Health](t, postJSON(h, "/rate", `{"perSecond":20}`)).PerSecond)
	require.Equal(t, "paused", body[Health](t, postJSON(h, "/pause", ``)).State)
	require.Equal(t, http.StatusSeeOther, postForm(h, "/width", url.Values{"width": {" 3 "}}).Code)
	require.Equal(t, 3, o.Snapshot().Width)
}

func TestHealth(t *testing.T) {
	h, o := paused(t)
	w := do(h, request(http.MethodGet, "/healthz", "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, Health{"ok", "paused", Settings{1, 0, true}, 0, 0}, body[Health](t, w))
	o.Stop()
	w = do(h, request(http.MethodGet, "/healthz", "", ""))
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.Equal(t, "stopping", body[Health](t, w).Status)
	w = postJSON(h, "/messages", anyMessage)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
	require.NotEmpty(t, w.Header().Get("Retry-After"))
}

func TestOnlyTheNamesOfThisMachineAreServed(t *testing.T) {
	h, o := paused(t)
	for host, ok := range map[string]bool{
		"localhost": true, "localhost:8025": true, "LOCALHOST:1": true, "localhost.": true, "localhost.:8025": true,
		"127.0.0.1": true, "127.0.0.1:8025": true, "[::1]": true, "[::1]:8025": true,
		"sms.example:8025": true, "SMS.example": true, // what -addr says
		"": false, ":8025": false, "evil.example": false, "evil.example:8025": false, "127.0.0.1.evil.example": false,
		"localhost.evil.example": false, "127.0.0.2": false, "::1]": false, "[": false, "0.0.0.0": false, "localhost..": false,
	} {
		r := request(http.MethodPost, "/resume", "", "")
		r.Host = host
		r.Header.Set("X-Forwarded-Host", "localhost")
		want := http.StatusMisdirectedRequest
		if ok {
			want = http.StatusOK
		}
		require.Equal(t, want, do(h, r).Code, host)
		require.NoError(t, o.Pause())
	}
	require.NotContains(t, allowedHosts(":8025"), "")
}

func TestPagesOfOtherSitesCannotChangeAnything(t *testing.T) {
	h, o := paused(t)
	for _, c := range []struct {
		name, origin, site string
		allowed            bool
	}{
		{"a program", "", "", true},
		{"this page", "http://127.0.0.1:8025", "same-origin", true},
		{"this page, in a browser that says less", "http://127.0.0.1:8025", "", true},
		{"typed into the address bar", "", "none", true},
		{"another site", "http://evil.example", "cross-site", false},
		{"another port", "http://127.0.0.1:9999", "same-site", false},
		{"another site, in a browser that says less", "http://evil.example", "", false},
		{"a frame without an origin", "null", "cross-site", false},
		{"no origin, in a browser that says less", "null", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, o.Pause())
			r := request(http.MethodPost, "/resume", "", "")
			if c.origin != "" {
				r.Header.Set("Origin", c.origin)
			}
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			w := do(h, r)
			if c.allowed {
				require.Equal(t, http.StatusOK, w.Code)
				return
			}
			require.Equal(t, http.StatusForbidden, w.Code)
			require.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			require.Equal(t, "paused", o.Snapshot().State)
		})
	}
}

func TestEveryAnswerHasTheHeadersThatKeepBrowsersSafe(t *testing.T) {
	h, _ := paused(t)
	for _, target := range []string{"/", "/static/app.js", "/healthz", "/nowhere", "/messages/x"} {
		for _, host := range []string{"localhost", "evil.example"} {
			r := request(http.MethodGet, target, "", "")
			r.Host = host
			header := do(h, r).Header()
			require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
			require.Equal(t, "DENY", header.Get("X-Frame-Options"))
			require.Contains(t, header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self'")
			require.Contains(t, header.Get("Cache-Control"), "no-")
			require.NotEmpty(t, header.Get("Content-Type"))
		}
	}
}

func TestThePageIsCompleteWithoutScripts(t *testing.T) {
	h, _ := paused(t)
	for range pendingRows + 3 {
		postJSON(h, "/messages", anyMessage)
	}
	w := do(h, request(http.MethodGet, "/", "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	require.Contains(t, page, `<dd data-count="waiting">23</dd>`)
	require.Contains(t, page, "and 3 more")
	require.Contains(t, page, `action="/resume"`)
	require.Equal(t, pendingRows+1, strings.Count(page, `data-label="Cancel the message to *"`)-1, "one row is the template, one for underway")
	require.NotContains(t, page, " onclick")
	require.NotContains(t, page, "<style")
	require.NotContains(t, page, "<script>")
}

func TestThePageSaysWhatItDoesNotList(t *testing.T) {
	h, o := paused(t)
	page := func() string { return do(h, request(http.MethodGet, "/", "", "")).Body.String() }
	require.Contains(t, page(), `role="status" hidden>The width is 0`)
	o.mu.Lock()
	for range failedRows + 2 {
		o.ledger.enter(Draft{To: "+12125550123", Text: "x"}, time.Now()).failure = "no"
	}
	o.mu.Unlock()
	require.NoError(t, o.SetWidth(0))
	require.NoError(t, o.Resume())
	require.Contains(t, page(), `<p id="more-failed" class="hint">and 2 more</p>`)
	require.Contains(t, page(), `role="status">The width is 0: no message is started.`)
}

func TestAFormThatIsRefusedKeepsWhatWasTyped(t *testing.T) {
	h, o := paused(t)
	w := postForm(h, "/messages", url.Values{"to": {`12"><script>`}, "text": {"\nHello </textarea><script>"}, "priority": {"10"}})
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	require.Contains(t, page, `value="12&#34;&gt;&lt;script&gt;"`)
	require.Contains(t, page, "Hello &lt;/textarea&gt;&lt;script&gt;</textarea>")
	require.Contains(t, page, `<option value="10" selected>`)
	require.Contains(t, page, `<p id="to-error" class="error">&#39;&#34;&#39; cannot be part of a phone number</p>`, "what is wrong, beside the field")
	require.Contains(t, page, `aria-invalid="true"`)
	require.NotContains(t, page, "<script>")
	require.Zero(t, o.Snapshot().Waiting)

	w = postForm(h, "/messages", url.Values{"to": {"+12125550123"}, "text": {"Hello"}})
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/", w.Header().Get("Location"))
	require.Equal(t, 1, o.Snapshot().Waiting)
}

func TestOtherErrorsAreANoticeOnThePage(t *testing.T) {
	h, _ := paused(t)
	w := postForm(h, "/messages/nobody/cancel", nil)
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), `tabindex="-1">there is no such message</p>`)
	w = postForm(h, "/width", url.Values{"width": {"1000"}})
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), `<p id="width-error" class="error">a width is a number from 0 to 100</p>`)
}

func TestWhateverIsInAMessageIsText(t *testing.T) {
	h, _ := paused(t)
	for _, text := range []string{
		`<script>alert(1)</script>`, `" onmouseover="alert(1)`, `' x='`, `javascript:alert(1)`, `</script><b>`,
		`{{.To}}`, `</textarea>`, "<!--", "\u2028<img src=x onerror=alert(1)>",
	} {
		w := postForm(h, "/messages", url.Values{"to": {"+12125550123"}, "text": {text}})
		require.Equal(t, http.StatusSeeOther, w.Code)
	}
	page := do(h, request(http.MethodGet, "/", "", "")).Body.String()
	for _, raw := range []string{"<script>", "<b>", "<img", "<!--", ` onmouseover="`, "' x='"} {
		require.NotContains(t, page, raw)
	}
	require.Contains(t, page, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func TestAssets(t *testing.T) {
	h, _ := paused(t)
	for name, kind := range map[string]string{
		"app.js": "text/javascript; charset=utf-8", "lists.js": "text/javascript; charset=utf-8",
		"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		w := do(h, request(http.MethodGet, "/static/"+name, "", ""))
		require.Equal(t, http.StatusOK, w.Code, name)
		require.Equal(t, kind, w.Header().Get("Content-Type"))
		require.NotEmpty(t, w.Body.String())
	}
	require.Equal(t, http.StatusNotFound, do(h, request(http.MethodGet, "/static/page.html", "", "")).Code)
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 999 * time.Millisecond: "0 s", 59 * time.Second: "59 s",
		time.Minute: "1 min", 3599 * time.Second: "59 min", time.Hour: "1 h", 50 * time.Hour: "50 h",
	} {
		require.Equal(t, want, age(1_000_000_000, 1_000_000_000+d.Milliseconds()), d)
	}
}

// listen serves an outbox on a loopback port, as the program does, and returns
// the address and what ends the streams.
func listen(t *testing.T, adjust func(*http.Server)) (url string, o *Outbox, closeStreams func()) {
	t.Helper()
	o = begin(t, stateFile(t), &slow{})
	require.NoError(t, o.Pause())
	closing, cancel := context.WithCancel(context.Background())
	board := NewBoard(o)
	ran := make(chan struct{})
	go func() { defer close(ran); board.Run(closing) }()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	server := newServer(closing, listener.Addr().String(), o, board)
	adjust(server)
	go server.Serve(listener)
	t.Cleanup(func() {
		cancel()
		<-ran
		require.NoError(t, server.Shutdown(context.Background()), "streams do not hold it up")
		end(t, o)
	})
	return "http://" + listener.Addr().String(), o, cancel
}

// stream opens a stream of events.
func stream(t *testing.T, url string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/events", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	return resp, lines
}

// until reads snapshots until one is as wanted, and fails if none comes.
func until(t *testing.T, lines *bufio.Scanner, wanted func(Snapshot) bool) {
	t.Helper()
	for lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var s Snapshot
			require.NoError(t, json.Unmarshal([]byte(data), &s))
			if wanted(s) {
				return
			}
		}
	}
	t.Fatal("the stream has ended: ", lines.Err())
}

func TestEventsFollowWhatHappens(t *testing.T) {
	// A stream goes on when the time for a request and its answer is long over.
	url, o, closeStreams := listen(t, func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = 200*time.Millisecond, 200*time.Millisecond })
	resp, lines := stream(t, url)
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	until(t, lines, func(s Snapshot) bool { return s.Waiting == 0 })
	accept(t, o, "Hello </script>\n\ndata: {}", 0)
	until(t, lines, func(s Snapshot) bool {
		return s.Waiting == 1 && s.Pending[0].Text == "Hello </script>\n\ndata: {}"
	})
	time.Sleep(500 * time.Millisecond)
	require.NoError(t, o.SetWidth(9))
	until(t, lines, func(s Snapshot) bool { return s.Width == 9 })
	until(t, lines, func(Snapshot) bool { return true }) // though nothing changes
	closeStreams()
	for lines.Scan() {
	}
	require.NoError(t, lines.Err(), "it ends with the program, not with an error")
}

func TestThereAreOnlySoManyStreams(t *testing.T) {
	url, _, _ := listen(t, func(*http.Server) {})
	var first *http.Response
	for range maxStreams {
		resp, _ := stream(t, url)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		first = resp
	}
	resp, _ := stream(t, url)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	first.Body.Close()
	require.Eventually(t, func() bool {
		resp, _ := stream(t, url)
		return resp.StatusCode == http.StatusOK
	}, 5*time.Second, 20*time.Millisecond, "one that has ended makes room")
}

// stuck is a connection whose other end does not read.
type stuck struct {
	httptest.ResponseRecorder
	deadline time.Time
	writes   int
}

func (s *stuck) SetWriteDeadline(at time.Time) error {
	s.deadline = at
	return nil
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.writes++; s.writes == 1 {
		return len(b), nil // into a buffer
	}
	time.Sleep(time.Until(s.deadline))
	return 0, os.ErrDeadlineExceeded
}

func TestAReaderWhoDoesNotReadIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := paused(t)
		begun, w := time.Now(), &stuck{}
		h.ServeHTTP(w, request(http.MethodGet, "/events", "", ""))
		require.Equal(t, streamWrite, time.Since(begun))
		require.Equal(t, 2, w.writes)
		require.Equal(t, http.StatusOK, do(h, request(http.MethodHead, "/events", "", "")).Code, "and HEAD is not a stream")
	})
}

func TestTheBoardIsNotHeldUpByItsReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := begin(t, stateFile(t), &slow{})
		b := NewBoard(o)
		first := b.Latest()
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		time.Sleep(time.Minute)
		require.NotSame(t, first, b.Latest(), "there is an edition now and then")
		next, err := first.Next().Await(ctx) // a reader that slept
		require.NoError(t, err)
		require.NotSame(t, first, next)
		before := b.Latest()
		for range 1000 {
			notify(o.changed)
		}
		synctest.Wait()
		after, err := before.Next().Await(ctx)
		require.NoError(t, err)
		_, more := after.Next().Poll()
		require.False(t, more, "many changes are one edition")
		cancel()
		synctest.Wait()
		end(t, o)
	})
}

func TestAFileOfMessagesIsAccepted(t *testing.T) {
	h, o := paused(t)
	file := "to,text\n+12125550123,Hello\n0123,Wrong number\n+12125550124,\"Hello, too\"\n"
	w := do(h, request(http.MethodPost, filePath, "text/csv", file))
	require.Equal(t, http.StatusAccepted, w.Code)
	taken := body[Taken](t, w)
	require.Equal(t, 2, taken.Accepted)
	require.Len(t, taken.Skipped, 1)
	require.Equal(t, "line 3", taken.Skipped[0].Field)
	require.Len(t, inFile(t, o.store.path), 2)

	form := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\nContent-Type: text/csv\r\n\r\n" + file + "\r\n--b--\r\n"
	r := request(http.MethodPost, filePath, "multipart/form-data; boundary=b", form)
	r.Header.Set("Accept", "text/html")
	w = do(h, r)
	require.Equal(t, http.StatusAccepted, w.Code)
	require.Contains(t, w.Body.String(), "2 messages are in the queue; skipped: line 3")
	require.Equal(t, 4, o.Snapshot().Waiting)

	for name, c := range map[string]struct {
		contentType, body string
		want              int
	}{
		"nothing in it":    {"text/csv", "to,text\n", http.StatusUnprocessableEntity},
		"nothing right":    {"text/csv", "1,\n", http.StatusUnprocessableEntity},
		"another type":     {"text/plain", file, http.StatusUnsupportedMediaType},
		"no file":          {"multipart/form-data; boundary=b", "--b--\r\n", http.StatusUnprocessableEntity},
		"too large a body": {"text/csv", strings.Repeat("+12125550123,Hello\n", maxFileBody/19+1), http.StatusRequestEntityTooLarge},
		"too many for it":  {"text/csv", strings.Repeat("+12125550123,Hello\n", maxUnsent), http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, c.want, do(h, request(http.MethodPost, filePath, c.contentType, c.body)).Code)
			require.Equal(t, 4, o.Snapshot().Waiting, "none of them is accepted")
		})
	}
}

func TestAllThatMatchAreCanceled(t *testing.T) {
	h, o := paused(t)
	for _, text := range []string{"Dentist on Monday", "dentist on Friday", "Library", "Library"} {
		accept(t, o, text, 0)
	}
	accept(t, o, "Dentist, but urgent", -10)
	found := body[[]Row](t, do(h, request(http.MethodGet, "/messages?filter=dentist+pending+normal", "", "")))
	require.Len(t, found, 2)

	for _, filter := range []string{"", "   "} {
		w := postJSON(h, "/matching/cancel", `{"filter":"`+filter+`"}`)
		require.Equal(t, http.StatusUnprocessableEntity, w.Code, "an empty filter is not all messages")
	}
	require.Equal(t, http.StatusUnprocessableEntity, postJSON(h, "/matching/cancel", `{}`).Code)
	require.Equal(t, http.StatusBadRequest, postJSON(h, "/matching/cancel", `{"filters":"a"}`).Code)
	require.Equal(t, 5, o.Snapshot().Waiting)

	w := postJSON(h, "/matching/cancel", `{"filter":"DENTIST normal"}`)
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, Changed{"DENTIST normal", 2, 0}, body[Changed](t, w))
	require.Len(t, inFile(t, o.store.path), 3)
	require.Contains(t, postForm(h, "/matching/cancel", url.Values{"filter": {"library"}}).Body.String(), "2 messages that match")
	require.Equal(t, Changed{"*", 1, 0}, body[Changed](t, postJSON(h, "/matching/cancel", `{"filter":"*"}`)))
	require.Zero(t, o.Snapshot().Waiting)
}

func TestAllThatFailedAndMatchAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier := &slow{}
		o := begin(t, stateFile(t), carrier)
		defer end(t, o)
		for _, text := range []string{"a failed thing", "b", "c"} {
			_, err := o.Accept(Draft{To: "+12125550113", Text: text}) // refused, until it is healed
			require.NoError(t, err)
		}
		time.Sleep(time.Minute)
		require.Equal(t, 3, o.Snapshot().Failures)
		require.NoError(t, o.Pause())
		accept(t, o, "this has not failed", 0)
		carrier.mu.Lock()
		carrier.healed = true
		carrier.mu.Unlock()
		filter, err := ParseFilter("failed")
		require.NoError(t, err)
		require.Len(t, o.Matching(filter), 4)
		again, late, err := o.SendMatchingAgain(filter)
		require.NoError(t, err)
		require.Equal(t, []int{3, 0}, []int{again, late})
		require.Zero(t, o.Snapshot().Failures)
		require.NoError(t, o.Resume())
		time.Sleep(time.Minute)
		require.EqualValues(t, 4, o.Snapshot().Sent)
	})
}

func TestAWrongNumberStaysAsItWasTyped(t *testing.T) {
	h, _ := paused(t)
	w := postForm(h, "/width", url.Values{"width": {"a lot"}})
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), `value="a lot"`)
	require.Contains(t, w.Body.String(), "&#34;a lot&#34; is not a whole number")
	require.Contains(t, postForm(h, "/width", url.Values{"width": {"101"}}).Body.String(), `value="101"`)
	require.Contains(t, postForm(h, "/rate", url.Values{"perSecond": {"-1"}}).Body.String(), `value="-1"`)
}

func TestTheTimeUntilTheQueueIsEmpty(t *testing.T) {
	running := Snapshot{State: "running", Settings: Settings{Width: 1}, Waiting: 10, InFlight: 2, Throughput: 2}
	require.EqualValues(t, 6000, running.emptyIn())
	for what, change := range map[string]func(*Snapshot){
		"paused":     func(s *Snapshot) { s.State = "paused" },
		"width 0":    func(s *Snapshot) { s.Width = 0 },
		"none ended": func(s *Snapshot) { s.Throughput = 0 },
	} {
		s := running
		change(&s)
		require.EqualValues(t, -1, s.emptyIn(), what)
	}
	require.Zero(t, Snapshot{State: "paused"}.emptyIn())
	require.Equal(t, []string{"\u2013", "empty", "6 s", "2 min"}, []string{in(-1), in(0), in(6000), in(150_000)})
}
