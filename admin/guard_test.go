package admin_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

// everyTarget are addresses of all kinds, with those that are not there.
var everyTarget = []string{
	"/", "/audit", "/operations", "/operations/1", "/q/sms", "/q/sms/jobs", "/q/sms/job/1", "/q/sms/job/1/stack",
	"/static/page.css", "/static/page.js", "/static/nothing.js", "/api/openapi.json", "/api/queues", "/api/queues/sms",
	"/api/queues/sms/history", "/api/queues/sms/jobs", "/api/queues/sms/jobs/1", "/api/queues/sms/jobs/1/stack",
	"/api/operations", "/api/operations/1", "/api/audit", "/api/gauges", "/api/events",
	"/nothing", "/q/nothing", "/api/nothing", "/..%2fetc", "/favicon.ico",
}

var everyPost = []string{
	"/api/queues/sms/width", "/api/queues/sms/rate", "/api/queues/sms/pause", "/api/queues/sms/resume", "/api/queues/sms/clear",
	"/api/queues/sms/drain", "/api/queues/sms/jobs/1/cancel", "/api/queues/sms/jobs/1/reprioritize", "/api/queues/sms/jobs/1/run",
	"/api/queues/sms/bulk/cancel", "/api/queues/sms/bulk/reprioritize", "/api/queues/sms/bulk/run", "/api/queues/sms/bulk/count",
	"/api/operations/1/abort", "/api/nothing",
}

var everyForm = []string{
	"/q/sms/width", "/q/sms/rate", "/q/sms/pause", "/q/sms/resume", "/q/sms/clear", "/q/sms/drain", "/q/sms/job/1/cancel",
	"/q/sms/job/1/reprioritize", "/q/sms/job/1/run", "/q/sms/bulk/cancel", "/q/sms/bulk/reprioritize", "/q/sms/bulk/run",
	"/q/sms/bulk/count", "/operations/1/abort", "/nothing",
}

func everyRequest() (all []*http.Request) {
	for _, target := range everyTarget {
		all = append(all, request(http.MethodGet, target, ""), request(http.MethodHead, target, ""))
	}
	for _, target := range everyPost {
		all = append(all, request(http.MethodPost, target, "{}"))
	}
	for _, target := range everyForm {
		all = append(all, form(target, ""))
	}
	return all
}

func TestS1NothingIsServedWithoutAuthorize(t *testing.T) {
	t.Run("a page needs a decision", func(t *testing.T) {
		require.Panics(t, func() { admin.New(admin.Options{}) })
		authorize := func(*http.Request, admin.Action) (string, error) { return "", nil }
		require.Panics(t, func() { admin.New(admin.Options{Authorize: authorize, Insecure: true}) })
		var zero admin.Page
		for _, r := range everyRequest() {
			w := httptest.NewRecorder()
			zero.ServeHTTP(w, r)
			require.Equal(t, http.StatusServiceUnavailable, w.Code)
		}
	})
	t.Run("every route asks, also those that are not there", func(t *testing.T) {
		var asked atomic.Int64
		k := newKit(t, admin.Options{Realm: `the "realm"`, Authorize: func(r *http.Request, a admin.Action) (string, error) {
			asked.Add(1)
			return "", fmt.Errorf("secret reason: %w", admin.ErrUnauthenticated)
		}})
		var bodies []string
		for _, r := range everyRequest() {
			before := asked.Load()
			w := k.do(r)
			require.Equal(t, http.StatusUnauthorized, w.Code, "%s %s", r.Method, r.URL)
			require.Greater(t, asked.Load(), before)
			require.NotEmpty(t, w.Header().Get("WWW-Authenticate"))
			require.NotContains(t, w.Body.String(), "secret")
			if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/") {
				bodies = append(bodies, w.Body.String())
			}
		}
		for _, b := range bodies { // what is there and what is not look alike
			require.Equal(t, bodies[0], b)
		}
	})
	t.Run("a refusal is 403 and a panic 500", func(t *testing.T) {
		k := newKit(t, admin.Options{Authorize: func(r *http.Request, a admin.Action) (string, error) {
			if r.Header.Get("Panic") != "" {
				panic("secret")
			}
			return "", errBoom
		}})
		for _, r := range everyRequest() {
			require.Equal(t, http.StatusForbidden, k.do(r).Code)
		}
		for _, r := range everyRequest() {
			r.Header.Set("Panic", "yes")
			w := k.do(r)
			require.Equal(t, http.StatusInternalServerError, w.Code)
			require.NotContains(t, w.Body.String(), "secret")
		}
	})
	t.Run("each action is asked for by its name", func(t *testing.T) {
		var mu sync.Mutex
		var denied string
		k := newKit(t, admin.Options{Authorize: func(r *http.Request, a admin.Action) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			if a.Name == denied {
				return "", errBoom
			}
			return "operator", nil
		}})
		k.put("a", "b", "c")
		id := k.jobs("state=pending").Jobs[0].ID
		for _, name := range admin.ActionNames {
			mu.Lock()
			denied = name
			mu.Unlock()
			for _, r := range everyRequest() {
				if path := strings.Split(r.URL.Path, "/"); r.Method == http.MethodPost && path[len(path)-1] == name {
					code := k.do(r).Code
					if name == "abort" { // the operation is looked for first; its queue says whether it may be
						require.Contains(t, []int{http.StatusForbidden, http.StatusNotFound}, code)
						continue
					}
					require.Equal(t, http.StatusForbidden, code, "%s %s", r.Method, r.URL)
				}
			}
		}
		require.Equal(t, "pending", k.jobs("filter=id:" + id).Jobs[0].State)
	})
	t.Run("a queue that may not be read is not there", func(t *testing.T) {
		k := newKit(t, admin.Options{Authorize: func(r *http.Request, a admin.Action) (string, error) {
			if a.Queue == "sms" {
				return "", errBoom
			}
			return "tenant", nil
		}})
		k.put("their argument")
		for _, r := range everyRequest() {
			w := k.do(r)
			require.NotContains(t, strings.ReplaceAll(w.Body.String(), "/api/queues/sms", ""), "their argument", "%s", r.URL)
			if strings.Contains(r.URL.Path, "/sms") {
				require.Equal(t, http.StatusForbidden, w.Code, "%s", r.URL)
			}
		}
		require.JSONEq(t, `{"queues":[]}`, k.get("/api/queues").Body.String())
	})
	t.Run("Insecure serves loopback clients", func(t *testing.T) {
		k := newKit(t, admin.Options{Insecure: true})
		for remote, code := range map[string]int{
			"127.0.0.1:1": 200, "[::1]:1": 200, "[::ffff:127.0.0.1]:1": 200,
			"10.0.0.1:1": 403, "[fe80::1]:1": 403, "@": 403, "": 403,
		} {
			r := request(http.MethodGet, "/", "")
			r.RemoteAddr = remote
			require.Equal(t, code, k.do(r).Code, remote)
		}
	})
	t.Run("ReadOnly turns all changes off", func(t *testing.T) {
		k := newKit(t, admin.Options{ReadOnly: true})
		k.put("a", "b", "c")
		before := k.queue.Stats()
		for _, r := range everyRequest() {
			w := k.do(r)
			if r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "nothing") {
				require.Equal(t, http.StatusMethodNotAllowed, w.Code, "%s", r.URL)
			}
		}
		require.Equal(t, before.Canceled, k.queue.Stats().Canceled)
		require.NotContains(t, k.get("/q/sms").Body.String(), `method="post"`)
	})
}

func TestS2RequestsOfOtherSites(t *testing.T) {
	k := newKit(t, admin.Options{Hosts: []string{"localhost", "victim.com"}})
	type header map[string]string
	for name, c := range map[string]struct {
		header header
		host   string
		api    int // for a POST to the API
		form   int
	}{
		"cross-site":                          {header{"Sec-Fetch-Site": "cross-site"}, "", 403, 403},
		"another subdomain":                   {header{"Sec-Fetch-Site": "same-site"}, "", 403, 403},
		"foreign origin":                      {header{"Origin": "http://evil.example"}, "", 403, 403},
		"origin null":                         {header{"Origin": "null"}, "", 403, 403},
		"same origin":                         {header{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8080"}, "", 200, 303},
		"same origin, old browser":            {header{"Origin": "http://localhost:8080"}, "", 200, 303},
		"typed by the user":                   {header{"Sec-Fetch-Site": "none"}, "", 200, 303},
		"a program":                           {header{}, "", 200, 403},
		"DNS rebinding":                       {header{"Origin": "http://evil.example"}, "evil.example", 421, 421},
		"DNS rebinding, same-origin":          {header{"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, "evil.example", 421, 421},
		"http page, same name over https":     {header{"Origin": "http://victim.com"}, "victim.com", 200, 303},
		"a program's origin with a user name": {header{"Origin": "http://evil@victim.com"}, "victim.com", 200, 303},
	} {
		t.Run(name, func(t *testing.T) {
			r := request(http.MethodPost, "/api/queues/sms/resume", "{}")
			f := form("/q/sms/resume", "")
			f.Header.Del("Origin")
			f.Header.Del("Sec-Fetch-Site")
			g := request(http.MethodGet, "/", "")
			for _, r := range []*http.Request{r, f, g} {
				for name, value := range c.header {
					r.Header.Set(name, value)
				}
				if c.host != "" {
					r.Host = c.host
				}
			}
			require.Equal(t, c.api, k.do(r).Code)
			require.Equal(t, c.form, k.do(f).Code)
			if c.host == "evil.example" {
				require.Equal(t, 421, k.do(g).Code)
			} else {
				require.Equal(t, 200, k.do(g).Code, "reading is let pass, so it must not change anything")
			}
		})
	}
	t.Run("a form cannot make a request of the API, nor JSON one of the page", func(t *testing.T) {
		for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"} {
			r := request(http.MethodPost, "/api/queues/sms/pause", "{}")
			r.Header.Set("Content-Type", kind)
			require.Equal(t, http.StatusUnsupportedMediaType, k.do(r).Code, kind)
		}
		r := form("/q/sms/pause", "{}")
		r.Header.Set("Content-Type", "application/json")
		require.Equal(t, http.StatusUnsupportedMediaType, k.do(r).Code)
		require.False(t, k.queue.Paused())
	})
	t.Run("GET and HEAD change nothing", func(t *testing.T) {
		k.put("a", "b", "c", "d")
		state := func() string {
			s := k.queue.Stats()
			return fmt.Sprint(s.Width, s.Pending, s.Underway, s.Put, s.Canceled, s.Finished, s.Failed, k.queue.Paused(), k.queue.Stopped(),
				k.get("/api/audit").Body.String(), k.get("/api/operations").Body.String())
		}
		before := state()
		for _, targets := range [][]string{everyTarget, everyPost, everyForm} {
			for _, target := range targets {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					for _, query := range []string{"", "?width=9&all=yes&action=cancel&filter=all&scope=matching&_method=POST&id=1"} {
						r := request(method, target+query, "{}")
						r.Header.Set("X-HTTP-Method-Override", "POST")
						k.do(r)
					}
				}
			}
		}
		for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WEIRD"} {
			for _, target := range everyPost {
				require.Equal(t, http.StatusMethodNotAllowed, k.do(request(method, target, "{}")).Code)
			}
		}
		require.Equal(t, before, state())
	})
}

func TestS3Hosts(t *testing.T) {
	var asked atomic.Int64
	authorize := func(*http.Request, admin.Action) (string, error) { asked.Add(1); return "operator", nil }
	for name, c := range map[string]struct {
		hosts []string
		host  string
		ok    bool
	}{
		"localhost":                 {nil, "localhost", true},
		"localhost with a port":     {nil, "localhost:1", true},
		"upper case":                {nil, "LocalHost:8080", true},
		"final dot":                 {nil, "localhost.:8080", true},
		"IPv4":                      {nil, "127.0.0.1:8080", true},
		"IPv6":                      {nil, "[::1]:8080", true},
		"IPv6 without a port":       {nil, "[::1]", true},
		"IPv6, long":                {nil, "[0:0:0:0:0:0:0:1]:8080", true},
		"IPv6 without brackets":     {nil, "::1", false},
		"IPv6 with a zone":          {nil, "[::1%25lo]", false},
		"empty":                     {nil, "", false},
		"evil.example":              {nil, "evil.example", false},
		"begins like it":            {nil, "localhost.evil.example", false},
		"ends like it":              {nil, "evil-localhost", false},
		"user":                      {nil, "localhost@evil.example", false},
		"user of evil":              {nil, "evil@localhost", false},
		"another loopback":          {nil, "127.0.0.2", false},
		"two ports":                 {nil, "localhost:1:2", false},
		"no port after a colon":     {nil, "localhost:", false},
		"port that is none":         {nil, "localhost:http", false},
		"blank":                     {nil, "localhost ", false},
		"two final dots":            {nil, "localhost..", false},
		"NUL":                       {nil, "localhost\x00", false},
		"long":                      {nil, strings.Repeat("a", 400), false},
		"another list":              {[]string{"admin.example"}, "localhost", false},
		"of another list":           {[]string{"admin.example"}, "ADMIN.example.:99", true},
		"with its port":             {[]string{"admin.example:99"}, "admin.example:99", true},
		"with another port":         {[]string{"admin.example:99"}, "admin.example:98", false},
		"any":                       {[]string{"*"}, "evil.example", true},
		"any, but not what is none": {[]string{"*"}, "evil example", false},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, admin.Options{Hosts: c.hosts, Authorize: authorize})
			asked.Store(0)
			for _, r := range everyRequest()[:8] {
				r.Host = c.host
				r.Header.Set("X-Forwarded-Host", "localhost")
				r.Header.Set("Forwarded", "host=localhost")
				w := k.do(r)
				require.Equal(t, c.ok, w.Code != http.StatusMisdirectedRequest)
			}
			require.Equal(t, c.ok, asked.Load() > 0, "a host is refused before anyone is asked")
		})
	}
	require.Panics(t, func() { admin.New(admin.Options{Insecure: true, Hosts: []string{"http://localhost/"}}) })
}

// nasty are texts that break out of something.
var nasty = []string{
	`<script>alert(1)</script>`, `"onmouseover="alert(1)`, `'onmouseover='alert(1)`, `javascript:alert(1)`, `</script><script>alert(1)</script>`,
	"a\u2028b\u2029c", "\xff\xfe broken", "nul\x00nul", "\u202egnp.exe\u202c", "\u2066x\u2069", "\x1b[31mred", "a\r\nSet-Cookie: x=1",
	`{{.}}`, `${alert(1)}`, `<!--`, `]]>`, `<img src=x onerror=alert(1)>`, `</textarea></title></style>`, "data: x\n\nevent: evil\n", "&lt;script&gt;",
}

func TestS4NothingBreaksOut(t *testing.T) {
	for i, evil := range nasty {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			name := strings.ReplaceAll(evil, "\x00", "0")
			f := &fakeQueue{jobs: []fakeJob{{id: name, text: evil, state: twill.JobPending}, {id: name + "2", text: evil, state: twill.JobUnderway}, {id: name + "3", text: evil, state: twill.JobFailed,
				err: fmt.Errorf("%s: %w", evil, &twill.PanicError{Value: evil, Stack: []byte(evil)})}}}
			page := admin.New(admin.Options{Logger: slog.New(slog.DiscardHandler), Authorize: func(r *http.Request, a admin.Action) (string, error) { return evil, nil }})
			defer page.Close()
			require.NoError(t, page.Add(name, f))
			page.AddPool(evil, new(twill.Pool))
			do := func(r *http.Request) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				page.ServeHTTP(w, r)
				return w
			}
			q := url.PathEscape(name)
			for _, target := range []string{"pause", "jobs/" + url.PathEscape(name) + "/cancel"} {
				body := fmt.Sprintf(`{"reason":%q}`, "x")
				do(request(http.MethodPost, "/api/queues/"+q+"/"+target, body))
			}
			fm := form("/q/"+q+"/bulk/cancel", url.Values{"id": {name}, "reason": {evil}, "filter": {evil}}.Encode())
			require.Equal(t, http.StatusSeeOther, do(fm).Code)
			query := "?" + url.Values{"filter": {evil}, "state": {evil}, "cursor": {evil}, "limit": {evil}, "search": {evil}, "done": {evil}, "failed": {evil}, "operation": {evil}, "queue": {evil}}.Encode()
			filter := "?" + url.Values{"filter": {`"` + strings.ReplaceAll(evil, `"`, "") + `"`}, "done": {evil}}.Encode()
			for _, prefix := range []string{"/", "/api/"} {
				queue := prefix + "q/" + q
				job := queue + "/job/"
				if prefix == "/api/" {
					queue = prefix + "queues/" + q
					job = queue + "/jobs/"
				}
				for _, path := range []string{prefix, prefix + "audit", prefix + "operations", prefix + "operations/1", prefix + "operations/" + q, queue, queue + "/jobs", queue + "/history", job + url.PathEscape(name), job + url.PathEscape(name+"3"), job + url.PathEscape(name) + "/stack", prefix + q, prefix + "static/" + q} {
					for _, query := range []string{"", query, filter, "?failed=" + url.QueryEscape(evil)} {
						requireHarmless(t, evil, path+query, do(request(http.MethodGet, path+query, "")))
					}
				}
			}
			requireHarmless(t, evil, "form", do(form("/q/"+q+"/width", "width="+url.QueryEscape(evil))))
			requireHarmless(t, evil, "API", do(request(http.MethodPost, "/api/queues/"+q+"/width", fmt.Sprintf(`{"width":%q}`, "x<script>"))))
		})
	}
}

// requireHarmless checks an answer that may contain evil.
func requireHarmless(t *testing.T, evil, target string, w *httptest.ResponseRecorder) {
	t.Helper()
	h := w.Header()
	require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
	require.Equal(t, "DENY", h.Get("X-Frame-Options"))
	require.Equal(t, "no-store", h.Get("Cache-Control"))
	csp := h.Get("Content-Security-Policy")
	require.Regexp(t, `^default-src 'none'; script-src 'nonce-[A-Z2-7]{26}'; style-src 'nonce-[A-Z2-7]{26}'; .*frame-ancestors 'none'; base-uri 'none'$`, csp)
	require.NotContains(t, csp, "unsafe")
	require.Empty(t, h.Get("Set-Cookie"))
	for _, values := range h {
		for _, v := range values {
			require.NotContains(t, v, "\n")
			require.NotContains(t, v, "\r")
		}
	}
	body := w.Body.String()
	kind := h.Get("Content-Type")
	require.True(t, utf8.ValidString(body), target)
	require.NotContains(t, body, "\x00")
	switch {
	case body == "":
	case strings.HasPrefix(kind, "application/json"):
		require.True(t, json.Valid([]byte(body)), target)
		require.NotContains(t, body, "<")
		require.NotContains(t, body, "\u2028")
	case strings.HasPrefix(kind, "text/html"):
		requireHarmlessHTML(t, target, body, csp)
		for _, r := range "\u202e\u202c\u2066\u2069\u2028\u2029\x1b" {
			// Only fields of forms and addresses have texts as they are.
			require.NotContains(t, textOf(t, body), string(r), target)
		}
	default:
		require.Fail(t, "content type", "%s: %s", target, kind)
	}
}

// requireHarmlessHTML checks that a page has no scripts but its own two, no
// handlers, no inline styles and no addresses elsewhere.
func requireHarmlessHTML(t *testing.T, target, body, csp string) {
	t.Helper()
	scripts := 0
	for z := html.NewTokenizer(strings.NewReader(body)); ; {
		switch z.Next() {
		case html.ErrorToken:
			require.LessOrEqual(t, scripts, 2, target)
			return
		case html.StartTagToken, html.SelfClosingTagToken:
			tag := z.Token()
			require.NotContains(t, []string{"iframe", "object", "embed", "base", "style", "img", "svg", "textarea"}, tag.Data, target)
			if tag.Data == "script" {
				scripts++
			}
			for _, a := range tag.Attr {
				require.False(t, strings.HasPrefix(a.Key, "on"), "%s: %s", target, a.Key)
				require.NotEqual(t, "style", a.Key)
				switch a.Key {
				case "href", "src", "action", "formaction":
					require.Regexp(t, `^(\./|(\.\./)*|\?|#)[A-Za-z0-9._~!$&'()*+,;=:@%/?#-]*$`, a.Val, "%s: %s", target, tag)
					require.NotRegexp(t, `(?i)^\s*(javascript|data|http|//)`, a.Val)
				case "nonce":
					require.Contains(t, csp, "'nonce-"+a.Val+"'")
				}
			}
		}
	}
}

// textOf is what of a page is seen.
func textOf(t *testing.T, body string) string {
	t.Helper()
	var text strings.Builder
	for z := html.NewTokenizer(strings.NewReader(body)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return text.String()
		case html.TextToken:
			text.Write(z.Text())
		}
	}
}

func TestS4EventsAreOneLineEach(t *testing.T) {
	evil := strings.Join(nasty[:len(nasty)-1], "")
	page := admin.New(admin.Options{Insecure: true})
	defer page.Close()
	require.NoError(t, page.Add(strings.ReplaceAll(evil, "\x00", "")[:100], &fakeQueue{}))
	server := httptest.NewServer(page)
	defer server.Close()
	res, err := http.Get(server.URL + "/api/events")
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, "text/event-stream; charset=utf-8", res.Header.Get("Content-Type"))
	require.Equal(t, "nosniff", res.Header.Get("X-Content-Type-Options"))
	r := bufio.NewReader(res.Body)
	for _, want := range []string{"event: queues\n", "data: {", "\n", "event: queues\n"} {
		line, err := r.ReadString('\n')
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(line, want), line)
		require.NotContains(t, line, "<")
	}
}

func TestS5SlowClientsAreDropped(t *testing.T) {
	t.Run("the server has bounds", func(t *testing.T) {
		server := admin.NewServer("", nil)
		require.Equal(t, "127.0.0.1:8080", server.Addr)
		require.Positive(t, server.ReadHeaderTimeout)
		require.Positive(t, server.ReadTimeout)
		require.Positive(t, server.WriteTimeout)
		require.Positive(t, server.IdleTimeout)
		require.LessOrEqual(t, server.MaxHeaderBytes, 64<<10)
	})
	t.Run("200 that send half a header, and 200 that send half a body", func(t *testing.T) {
		k := newKit(t, admin.Options{})
		server := admin.NewServer("", k.page)
		server.ReadHeaderTimeout, server.ReadTimeout = 200*time.Millisecond, 400*time.Millisecond // what is left of 5 and 20 s
		addr := serve(t, server)
		before := runtime.NumGoroutine()
		const clients = 200
		for i := range 2 * clients {
			c, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer c.Close()
			if i < clients {
				fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Half: ")
			} else {
				fmt.Fprintf(c, "POST /api/queues/sms/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
			}
		}
		eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 })
		require.False(t, k.queue.Paused())
		require.Equal(t, http.StatusOK, get(t, addr, "/").StatusCode)
	})
	t.Run("as many watch as may, and no more", func(t *testing.T) {
		k := newKit(t, admin.Options{Streams: 3})
		addr := serve(t, admin.NewServer("", k.page))
		var open []*http.Response
		for range 3 {
			res := get(t, addr, "/api/events")
			require.Equal(t, http.StatusOK, res.StatusCode)
			open = append(open, res)
		}
		res := get(t, addr, "/api/events")
		require.Equal(t, http.StatusServiceUnavailable, res.StatusCode)
		require.NotEmpty(t, res.Header.Get("Retry-After"))
		open[0].Body.Close()
		eventually(t, func() bool { return get(t, addr, "/api/events").StatusCode == http.StatusOK })
	})
}

func TestS5SlowWatchersAreDropped(t *testing.T) {
	admin.SetStreamTimes(t, 100*time.Millisecond, time.Millisecond)
	page := admin.New(admin.Options{Insecure: true, Streams: 1000})
	defer page.Close()
	// A long name fills the buffers of a connection soon.
	for i := range 100 {
		require.NoError(t, page.Add(fmt.Sprint(i, strings.Repeat("x", 190)), &fakeQueue{}))
	}
	var begun atomic.Int64
	server := admin.NewServer("", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun.Add(1)
		page.ServeHTTP(w, r)
	}))
	server.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		c.(*net.TCPConn).SetWriteBuffer(4096) // or the kernel takes megabytes
		return ctx
	}
	addr := serve(t, server)
	before := runtime.NumGoroutine()
	for range 200 {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.(*net.TCPConn).SetReadBuffer(1024))
		fmt.Fprintf(c, "GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n") // and reads nothing
	}
	eventually(t, func() bool { return begun.Load() == 200 })
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 })
}

// serve serves on a loopback port until the test ends, and returns its address.
func serve(t *testing.T, server *http.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().String()
}

func get(t *testing.T, addr, path string) *http.Response {
	t.Helper()
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(must(http.NewRequest(http.MethodGet, "http://"+addr+path, nil)))
	require.NoError(t, err)
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestS6Bounds(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("a", "b", "c")
	jobs := "/api/queues/sms/jobs"
	long := func(n int) string { return strings.Repeat("x", n) }
	maxInt := fmt.Sprint(math.MaxInt)
	for _, c := range []struct {
		name string
		r    *http.Request
		code int
	}{
		{"page of 500", request("GET", jobs+"?limit=500", ""), 200},
		{"page of 501", request("GET", jobs+"?limit=501", ""), 400},
		{"page of MaxInt", request("GET", jobs+"?limit="+maxInt, ""), 400},
		{"page beyond MaxInt", request("GET", jobs+"?limit="+maxInt+"0", ""), 400},
		{"page of 0", request("GET", jobs+"?limit=0", ""), 400},
		{"page of -1", request("GET", jobs+"?limit=-1", ""), 400},
		{"cursor 10^9", request("GET", jobs+"?cursor=pending.1000000000", ""), 200},
		{"cursor 10^9+1", request("GET", jobs+"?cursor=pending.1000000001", ""), 400},
		{"cursor MaxInt", request("GET", jobs+"?cursor=pending."+maxInt, ""), 400},
		{"cursor below 0", request("GET", jobs+"?cursor=pending.-1", ""), 400},
		{"filter of 1000", request("GET", jobs+"?filter="+long(1000), ""), 200},
		{"filter of 1001", request("GET", jobs+"?filter="+long(1001), ""), 400},
		{"filter of 32 words", request("GET", jobs+"?filter="+strings.Repeat("x+", 32), ""), 200},
		{"filter of 33 words", request("GET", jobs+"?filter="+strings.Repeat("x+", 33), ""), 400},
		{"id of 500", request("GET", jobs+"/"+long(500), ""), 404},
		{"id of 501", request("GET", jobs+"/"+long(501), ""), 404},
		{"address of 8 KiB", request("GET", "/api/audit?limit=1&x="+long(8<<10-20), ""), 200},
		{"address of more", request("GET", "/api/audit?limit=1&x="+long(8<<10), ""), 414},
		{"audit page of 500", request("GET", "/api/audit?limit=500", ""), 200},
		{"audit page of 501", request("GET", "/api/audit?limit=501", ""), 400},
		{"audit search of 1001", request("GET", "/api/audit?search="+long(1001), ""), 400},
		{"body of 64 KiB", request("POST", "/api/queues/sms/resume", "{"+strings.Repeat(" ", 64<<10-2)+"}"), 200},
		{"body of more", request("POST", "/api/queues/sms/resume", "{"+strings.Repeat(" ", 64<<10)+"}"), 413},
		{"width 1,000,000", request("POST", "/api/queues/sms/width", `{"width":1000000}`), 200},
		{"width 1,000,001", request("POST", "/api/queues/sms/width", `{"width":1000001}`), 400},
		{"width MaxInt", request("POST", "/api/queues/sms/width", `{"width":`+maxInt+`}`), 400},
		{"width -1", request("POST", "/api/queues/sms/width", `{"width":-1}`), 400},
		{"width 1.5", request("POST", "/api/queues/sms/width", `{"width":1.5}`), 400},
		{"width 1e400", request("POST", "/api/queues/sms/width", `{"width":1e400}`), 400},
		{"rate 1e9", request("POST", "/api/queues/sms/rate", `{"per_second":1e9}`), 200},
		{"rate above", request("POST", "/api/queues/sms/rate", `{"per_second":1.1e9}`), 400},
		{"rate 0", request("POST", "/api/queues/sms/rate", `{"per_second":0}`), 400},
		{"burst 10^6", request("POST", "/api/queues/sms/rate", `{"per_second":1,"burst":1000000}`), 200},
		{"burst 10^6+1", request("POST", "/api/queues/sms/rate", `{"per_second":1,"burst":1000001}`), 400},
		{"burst MaxInt", request("POST", "/api/queues/sms/rate", `{"per_second":1,"burst":`+maxInt+`}`), 400},
		{"for 1s", request("POST", "/api/queues/sms/width", `{"width":1,"for":"1s"}`), 200},
		{"for less", request("POST", "/api/queues/sms/width", `{"width":1,"for":"999ms"}`), 400},
		{"for 744h", request("POST", "/api/queues/sms/width", `{"width":1,"for":"744h"}`), 200},
		{"for more", request("POST", "/api/queues/sms/width", `{"width":1,"for":"744h1s"}`), 400},
		{"for MaxInt", request("POST", "/api/queues/sms/width", `{"width":1,"for":"`+maxInt+`h"}`), 400},
		{"reason of 500", request("POST", "/api/queues/sms/resume", `{"reason":"`+long(500)+`"}`), 200},
		{"reason of 501", request("POST", "/api/queues/sms/resume", `{"reason":"`+long(501)+`"}`), 400},
		{"1000 ids", request("POST", "/api/queues/sms/bulk/cancel", `{"ids":["`+strings.Repeat(`x","`, 999)+`x"]}`), 202},
		{"1001 ids", request("POST", "/api/queues/sms/bulk/cancel", `{"ids":["`+strings.Repeat(`x","`, 1000)+`x"]}`), 400},
		{"an id of 501", request("POST", "/api/queues/sms/bulk/cancel", `{"ids":["`+long(501)+`"]}`), 400},
		{"depth", request("POST", "/api/queues/sms/width", `{"width":`+strings.Repeat("[", 20000)), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := k.do(c.r)
			require.Equal(t, c.code, w.Code, w.Body)
		})
	}
	t.Run("names are read as they are written, once", func(t *testing.T) {
		for _, body := range []string{`{"width":1,"WIDTH":9}`, `{"Width":9}`, `{"width":1,"width":9}`, `{"widht":9}`, `[]`, `{} {}`, `null`, `{"width":`, `{"width":null}`, `{"width":""}`} {
			require.Equal(t, http.StatusBadRequest, k.post("/api/queues/sms/width", body).Code, body)
		}
		require.NotEqual(t, 9, k.queue.Width())
	})
	t.Run("queues", func(t *testing.T) {
		page := admin.New(admin.Options{Insecure: true})
		defer page.Close()
		require.NoError(t, page.Add(long(200), &fakeQueue{}))
		for _, name := range []string{long(201), "", ".", "..", "a\x00b", long(200)} {
			require.Error(t, page.Add(name, &fakeQueue{}))
		}
		for i := range 999 {
			require.NoError(t, page.Add(fmt.Sprint(i), &fakeQueue{}))
		}
		require.Error(t, page.Add("one more", &fakeQueue{}))
		page.Close()
		require.Error(t, page.Add("too late", &fakeQueue{}))
	})
	t.Run("ended jobs", func(t *testing.T) {
		for keep, want := range map[int]int{0: 200, 3: 3, -1: 0} {
			q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, nil }, nil)
			d := admin.Dispatch(q, admin.DispatchOptions[int]{Keep: keep})
			defer d.Close()
			for i := range 300 {
				_, err := q.Put(i, 0)
				require.NoError(t, err)
			}
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
			count := func() (n int) {
				for range d.EndedJobs() {
					n++
				}
				return n
			}
			eventually(t, func() bool { return count() == want })
		}
	})
	t.Run("texts", func(t *testing.T) {
		f := &fakeQueue{jobs: []fakeJob{{id: "1", text: long(1 << 20), state: twill.JobFailed, err: errors.New(long(1 << 20))}}}
		page := admin.New(admin.Options{Insecure: true})
		defer page.Close()
		require.NoError(t, page.Add("sms", f))
		for target, most := range map[string]int{jobs + "?state=ended": 2000, jobs + "/1": 200 << 10, "/q/sms": 30_000, "/q/sms/job/1": 250 << 10} {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, request(http.MethodGet, target, ""))
			require.Equal(t, 200, w.Code)
			require.Less(t, w.Body.Len(), most, target)
		}
	})
	t.Run("operations that run", func(t *testing.T) {
		f := &fakeQueue{endless: true}
		page := admin.New(admin.Options{Insecure: true})
		defer page.Close()
		require.NoError(t, page.Add("sms", f))
		for i := range 5 {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, request(http.MethodPost, "/api/queues/sms/bulk/count", `{"filter":"all"}`))
			require.Equal(t, []int{202, 202, 202, 202, 429}[i], w.Code, w.Body)
		}
	})
}

func TestS9Secrets(t *testing.T) {
	var log syncBuffer
	k := newKit(t, admin.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	t.Run("an argument is shown by its type and size", func(t *testing.T) {
		type message struct{ Token [3]string }
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, m message) (int, error) { return 0, nil }, nil)
		q.Pause()
		_, err := q.Put(message{[3]string{"hunter2"}}, 0)
		require.NoError(t, err)
		d := admin.Dispatch(q)
		defer d.Close()
		require.NoError(t, k.page.Add("messages", d))
		for _, target := range []string{"/q/messages", "/q/messages/jobs", "/api/queues/messages/jobs"} {
			body := k.get(target).Body.String()
			require.NotContains(t, body, "hunter2")
			require.Contains(t, body, "admin_test.message, 48 bytes")
		}
		var l jobList
		k.getJSON("/api/queues/messages/jobs?filter=hunter2", &l)
		require.Empty(t, l.Jobs, "a search sees no more than a reader")
	})
	t.Run("users and passwords of URLs", func(t *testing.T) {
		jobs := k.put("fail at https://user:hunter2@gateway.example/x?y", "panic postgres://root:hunter2@db/x")
		for _, j := range jobs {
			<-j.Done()
		}
		eventually(t, func() bool { return len(k.jobs("state=ended").Jobs) == 2 })
		for _, j := range k.jobs("state=ended").Jobs {
			for _, target := range []string{"/q/sms", "/q/sms/job/" + j.ID, "/q/sms/jobs?state=ended", "/api/queues/sms/jobs/" + j.ID} {
				body := k.get(target).Body.String()
				require.NotContains(t, body, "hunter2", target)
				require.Contains(t, body, "[redacted]@")
			}
		}
		require.Empty(t, k.jobs("filter=hunter2").Jobs)
	})
	t.Run("Redact is for all texts, and its panic hides them", func(t *testing.T) {
		k := newKit(t, admin.Options{Redact: func(s string) string {
			if strings.Contains(s, "break") {
				panic(s)
			}
			return strings.ReplaceAll(s, "hunter2", "***")
		}})
		for _, j := range k.put("fail hunter2", "panic hunter2", "fail break hunter2") {
			<-j.Done()
		}
		eventually(t, func() bool { return len(k.jobs("state=ended").Jobs) == 3 })
		for _, j := range k.jobs("state=ended").Jobs {
			require.NotContains(t, k.get("/q/sms/job/"+j.ID).Body.String(), "hunter2")
		}
		require.NotContains(t, k.get("/q/sms").Body.String(), "hunter2")
	})
	t.Run("run again takes the argument as it was given", func(t *testing.T) {
		k := newKit(t, admin.Options{Redact: func(string) string { return "***" }})
		<-k.put("fail hunter2")[0].Done()
		eventually(t, func() bool { return len(k.jobs("state=ended").Jobs) == 1 })
		k.queue.Pause()
		k.postJSON("/api/queues/sms/jobs/"+k.jobs("state=ended").Jobs[0].ID+"/run", "{}")
		require.Equal(t, "fail hunter2", k.queue.Pending()[0].Arg())
	})
	t.Run("errors of requests have no stack", func(t *testing.T) {
		page := admin.New(admin.Options{Insecure: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		defer page.Close()
		require.NoError(t, page.Add("sms", &fakeQueue{panics: true}))
		for _, r := range everyRequest() {
			w := httptest.NewRecorder()
			page.ServeHTTP(w, r)
			require.NotContains(t, w.Body.String(), "hunter2")
			require.NotContains(t, w.Body.String(), ".go:")
		}
	})
	require.NotContains(t, log.String(), "hunter2")
}

func TestS10ImportingHasNoEffects(t *testing.T) {
	w := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(w, request(http.MethodGet, "/", ""))
	require.Equal(t, http.StatusNotFound, w.Code)
	if testing.Short() {
		t.Skip("the list of what the package needs is not read in -short")
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, dep := range []string{"net/http/pprof", "expvar"} {
		require.NotContains(t, strings.Fields(string(out)), dep, "it registers itself")
	}
}

func TestS11Paths(t *testing.T) {
	k := newKit(t, admin.Options{})
	odd := &fakeQueue{jobs: []fakeJob{{id: "a/b", text: "slash", state: twill.JobPending}, {id: "50%", text: "percent", state: twill.JobPending}, {id: "?#", text: "marks", state: twill.JobPending}, {id: "..x", text: "dots", state: twill.JobPending}}}
	require.NoError(t, k.page.Add("a/b c%2f", odd))
	mux := http.NewServeMux()
	mux.Handle("/deep/queues/", http.StripPrefix("/deep/queues", k.page))
	for _, path := range []string{
		"/..", "/../etc", "/%2e%2e", "/%2e%2e/etc", "/q/../sms", "/q/%2e%2e", "/q/sms/%2e", "//", "//q", "/q//sms", "/q/sms/", "/q/sms//jobs",
		"/q/sms%00", "/%00", "/static/..%2fqueue.html", "/static/%2e%2e/queue.html", "/static/../queue.html", "/static/", "/static", "/static/a%2fb",
		"/q/sms/job/%2e%2e", "/q/sms/job/..%2f..", "/q/sms/job/x%00y", `/static/..\queue.html`, "/q/sms%2fjobs", "/api", "/api/", "/api//queues",
	} {
		r := request(http.MethodGet, "/", "")
		u, err := url.Parse("http://localhost" + path)
		require.NoError(t, err)
		r.URL.Path, r.URL.RawPath = u.Path, u.RawPath
		w := k.do(r)
		require.Equal(t, http.StatusNotFound, w.Code, path)
		require.Empty(t, w.Header().Get("Location"), path)
	}
	t.Run("slashes and percents in names, below a prefix", func(t *testing.T) {
		for id, text := range map[string]string{"a/b": "slash", "50%": "percent", "?#": "marks", "..x": "dots"} {
			for _, target := range []string{"/deep/queues/q/", "/deep/queues/api/queues/"} {
				kind := "/job/"
				if strings.Contains(target, "api") {
					kind = "/jobs/"
				}
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, request(http.MethodGet, target+url.PathEscape("a/b c%2f")+kind+url.PathEscape(id), ""))
				require.Equal(t, http.StatusOK, w.Code, "%s %s", target, id)
				require.Contains(t, w.Body.String(), text)
			}
		}
	})
	t.Run("every link of a page leads somewhere, below a prefix", func(t *testing.T) {
		k.put("x", "y", "fail", "z")
		seen := map[string]bool{}
		var walk func(target string)
		walk = func(target string) {
			u := must(url.Parse(target))
			key := u.EscapedPath()
			if seen[key] || len(seen) > 200 {
				return
			}
			seen[key] = true
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, request(http.MethodGet, target, ""))
			require.Equal(t, http.StatusOK, w.Code, target)
			for z := html.NewTokenizer(w.Body); ; {
				kind := z.Next()
				if kind == html.ErrorToken {
					break
				}
				tag := z.Token()
				for _, a := range tag.Attr {
					if a.Key == "href" || a.Key == "src" {
						walk(u.ResolveReference(must(url.Parse(a.Val))).String())
					}
				}
			}
		}
		walk("http://localhost/deep/queues/")
		require.Greater(t, len(seen), 10)
	})
	t.Run("without the slash at the end", func(t *testing.T) {
		mux := http.NewServeMux()
		mux.Handle("/deep/queues", http.StripPrefix("/deep/queues", k.page))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, request(http.MethodGet, "/deep/queues", ""))
		require.Equal(t, http.StatusPermanentRedirect, w.Code)
		require.Equal(t, "./queues/", w.Header().Get("Location"))
	})
	t.Run("after a form", func(t *testing.T) {
		r := form("/deep/queues/q/sms/pause", "")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		require.Equal(t, http.StatusSeeOther, w.Code)
		to := must(url.Parse("http://localhost/deep/queues/q/sms/pause")).ResolveReference(must(url.Parse(w.Header().Get("Location"))))
		require.Equal(t, "/deep/queues/q/sms", to.Path)
		require.True(t, k.queue.Paused())
	})
}

func TestS12Dependencies(t *testing.T) {
	if testing.Short() {
		t.Skip("the list of what the package needs is not read in -short")
	}
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	require.NoError(t, err)
	for _, dep := range strings.Fields(string(out)) {
		ours := strings.HasPrefix(dep, "github.com/twillgo/twill")
		require.True(t, ours || dep == "golang.org/x/time/rate", "%s is not for tests only", dep)
	}
}

// The error of a job that has ended is kept while handlers of the job still
// run: a watch of the job would be called after them.
func TestErrorsOfJobsWhoseHandlersRun(t *testing.T) {
	broken, begin, end := errors.New("broken"), make(chan struct{}), make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
		<-begin
		return 0, broken
	}, nil)
	d := admin.Dispatch(q, admin.DispatchOptions[int]{})
	defer d.Close()
	j, err := q.Put(1, 0)
	require.NoError(t, err)
	handled := j.Catch(func(error) (int, error) { <-end; return 0, nil })
	close(begin)
	eventually(t, func() bool {
		for id := range d.EndedJobs() {
			return id == j.ID()
		}
		return false
	})
	require.ErrorIs(t, d.JobError(j.ID()), broken)
	close(end)
	_, err = handled.Await(t.Context())
	require.NoError(t, err)
}
