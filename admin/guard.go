package admin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"strings"
	"time"
)

// ServeHTTP serves the page, its API and its files. It may be mounted under any
// path by [http.StripPrefix]. Every request passes, in this order: the list of
// hosts, the bounds, the protection against requests of other sites, Authorize
// for reading, the routes, Authorize for the action, and ReadOnly.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rq := &request{page: p, w: w, r: r, nonce: rand.Text()}
	defer rq.contain()
	rq.setHeaders()
	if p.ctx == nil || p.ctx.Err() != nil {
		rq.fail(http.StatusServiceUnavailable, "the page is closed")
		return
	}
	if !p.hosts.allow(r.Host) {
		p.log.Warn("admin: refused host", "host", cut(r.Host, maxPreview), "remote", r.RemoteAddr)
		rq.fail(http.StatusMisdirectedRequest, "this host is not one of Options.Hosts")
		return
	}
	rq.setDeadlines()
	if !rq.withinBounds() || !rq.sameOrigin() || !rq.authorize(Action{Name: "read"}) {
		return
	}
	rt, ok := rq.route()
	if !ok {
		return
	}
	action := rt.actionOf(rq)
	if action.Queue != "" || action.Name != "read" {
		if !rq.authorize(action) {
			return
		}
	}
	if rt.method == http.MethodPost && p.opts.ReadOnly {
		w.Header().Set("Allow", "GET, HEAD")
		rq.fail(http.StatusMethodNotAllowed, "the page is read-only")
		return
	}
	rq.action = action
	if name := rq.params["queue"]; name != "" {
		if rq.entry = p.find(name); rq.entry == nil {
			rq.fail(http.StatusNotFound, "there is no such queue")
			return
		}
	}
	rt.handle(rq)
}

// request is a request in progress.
type request struct {
	page   *Page
	w      http.ResponseWriter
	r      *http.Request
	nonce  string
	who    string            // as Authorize returned it
	path   []string          // of the URL, unescaped, without the prefix
	api    bool              // the answer must be JSON
	params map[string]string // from the path
	action Action
	entry  *entry // the queue that params names, if any
	began  bool   // a header was written
}

// contain answers a request whose handler has panicked, without the stack.
func (rq *request) contain() {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	rq.page.logger().Error("admin: panic while serving", "panic", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
	if rq.began {
		panic(http.ErrAbortHandler)
	}
	rq.fail(http.StatusInternalServerError, "internal error")
}

// setHeaders sets the headers of every answer. Scripts and styles may come only
// from the page's own files, named with a nonce; nothing may be framed, cached
// or sniffed.
func (rq *request) setHeaders() {
	h := rq.w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+rq.nonce+"'; style-src 'nonce-"+rq.nonce+
		"'; connect-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// ioTimeout is the time that a client has to send a body, and to receive an
// answer.
const ioTimeout = 20 * time.Second

// setDeadlines drops slow clients even if the server has no timeouts.
func (rq *request) setDeadlines() {
	server, _ := rq.r.Context().Value(http.ServerContextKey).(*http.Server)
	if server == nil {
		return
	}
	rc := http.NewResponseController(rq.w)
	deadline := time.Now().Add(ioTimeout)
	// A wrapper without deadlines has to bound clients itself.
	if server.WriteTimeout <= 0 {
		_ = rc.SetWriteDeadline(deadline)
	}
	if server.ReadTimeout <= 0 {
		_ = rc.SetReadDeadline(deadline)
	}
}

// withinBounds checks the method and the size of a request.
func (rq *request) withinBounds() bool {
	r := rq.r
	rq.api = rq.isAPI()
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
	default:
		rq.w.Header().Set("Allow", "GET, HEAD, POST")
		rq.fail(http.StatusMethodNotAllowed, "method not allowed")
		return false
	}
	if len(r.URL.EscapedPath())+len(r.URL.RawQuery) > maxURL {
		rq.fail(http.StatusRequestURITooLong, "address too long")
		return false
	}
	if r.ContentLength > maxBody {
		rq.fail(http.StatusRequestEntityTooLarge, "body too large")
		return false
	}
	r.Body = http.MaxBytesReader(rq.w, r.Body, maxBody)
	return true
}

// isAPI reports whether the answer must be JSON. It depends only on the path.
func (rq *request) isAPI() bool {
	path := strings.TrimPrefix(rq.r.URL.EscapedPath(), "/")
	return path == "api" || strings.HasPrefix(path, "api/")
}

// sameOrigin refuses requests that a page of another site has made a browser
// send. The standard library's protection lets a request pass that has neither
// of the headers with its origin, such as a request of a command line. Such a
// request must be one that a form cannot make: JSON, for the API.
func (rq *request) sameOrigin() bool {
	if err := rq.page.cross.Check(rq.r); err != nil {
		rq.fail(http.StatusForbidden, "request of another site")
		return false
	}
	if rq.r.Method != http.MethodPost {
		return true
	}
	kind := mediaType(rq.r)
	if rq.api {
		if kind != "application/json" {
			rq.fail(http.StatusUnsupportedMediaType, "the API takes application/json")
			return false
		}
		return true
	}
	if kind != "application/x-www-form-urlencoded" {
		rq.fail(http.StatusUnsupportedMediaType, "the page takes forms; programs use the API")
		return false
	}
	if rq.r.Header.Get("Origin") == "" && rq.r.Header.Get("Sec-Fetch-Site") == "" {
		rq.fail(http.StatusForbidden, "the page takes forms of browsers; programs use the API")
		return false
	}
	return true
}

func mediaType(r *http.Request) string {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// authorize is the only place where Authorize is called to allow an action. If
// the action is refused, authorize answers the request.
func (rq *request) authorize(action Action) bool {
	who, err := rq.page.ask(rq.r, action)
	if err == nil {
		rq.who = who
		return true
	}
	p := rq.page
	p.log.Warn("admin: refused", "action", action.Name, "queue", cut(action.Queue, maxPreview),
		"job", cut(action.Job, maxPreview), "remote", rq.r.RemoteAddr, "error", p.redact(err.Error()))
	var panicked *authorizePanic
	switch {
	case errors.As(err, &panicked):
		rq.fail(http.StatusInternalServerError, "internal error")
	case errors.Is(err, ErrUnauthenticated):
		if p.opts.Realm != "" {
			rq.w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q, charset=\"UTF-8\"", p.opts.Realm))
		}
		rq.fail(http.StatusUnauthorized, "unauthorized")
	default:
		rq.fail(http.StatusForbidden, "forbidden")
	}
	return false
}

// may reports whether the request may do something, so that a page can offer
// it.
func (rq *request) may(action Action) bool {
	if rq.page.opts.ReadOnly && action.Name != "read" && action.Name != "stack" {
		return false
	}
	_, err := rq.page.ask(rq.r, action)
	return err == nil
}

type authorizePanic struct{ kind string }

func (e *authorizePanic) Error() string { return "panic of a " + e.kind + " in Authorize" }

var errNotLoopback = errors.New("admin: Insecure serves loopback clients only")

// ask calls Authorize.
func (p *Page) ask(r *http.Request, action Action) (who string, err error) {
	if p.opts.Insecure {
		if !isLoopback(r.RemoteAddr) {
			return "", errNotLoopback
		}
		return "anyone on this machine", nil
	}
	defer func() {
		if v := recover(); v != nil {
			who, err = "", &authorizePanic{fmt.Sprintf("%T", v)}
		}
	}()
	who, err = p.opts.Authorize(r, action)
	return cut(who, maxPreview), err
}

func isLoopback(remote string) bool {
	addr, err := netip.ParseAddrPort(remote)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// hostList has the hosts that are allowed.
type hostList struct {
	any   bool
	names map[string]bool // with or without a port
}

func parseHosts(hosts []string) (hostList, error) {
	if len(hosts) == 0 {
		hosts = []string{"localhost", "127.0.0.1", "[::1]"}
	}
	l := hostList{names: make(map[string]bool)}
	for _, h := range hosts {
		if h == "*" {
			l.any = true
			continue
		}
		name, port, ok := splitHost(h)
		if !ok {
			return l, fmt.Errorf("%q in Hosts is not a host", h)
		}
		if port != "" {
			name = net.JoinHostPort(name, port)
		}
		l.names[name] = true
	}
	return l, nil
}

// allow reports whether host, as it is in the request, is in the list. Other
// headers, such as X-Forwarded-Host, are ignored: any client can set them.
func (l *hostList) allow(host string) bool {
	name, port, ok := splitHost(host)
	if !ok {
		return false
	}
	return l.any || l.names[name] || l.names[net.JoinHostPort(name, port)]
}

var hostName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?$`)

// splitHost returns the name in lower case, without brackets and the final dot,
// and the port.
func splitHost(host string) (name, port string, ok bool) {
	if len(host) > 300 {
		return "", "", false
	}
	name = strings.ToLower(host)
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name, port = name[:i], name[i+1:]
		if port == "" || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
			return "", "", false
		}
	}
	if inner, is6 := strings.CutPrefix(name, "["); is6 {
		inner, is6 = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		if !is6 || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", false
		}
		return addr.String(), port, true
	}
	name = strings.TrimSuffix(name, ".")
	if !hostName.MatchString(name) || strings.Contains(name, "..") {
		return "", "", false
	}
	return name, port, true
}

func (p *Page) logger() interface{ Error(string, ...any) } {
	if p.log == nil {
		return discardLog{}
	}
	return p.log
}

type discardLog struct{}

func (discardLog) Error(string, ...any) {}

var urlUser = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s"'@?#]+@`)

// redactURLs replaces the user and password of URLs.
func redactURLs(text string) string {
	if !strings.Contains(text, "://") {
		return text
	}
	return urlUser.ReplaceAllString(text, "${1}[redacted]@")
}

// redact calls Options.Redact; if that panics, it returns nothing of the text.
func (p *Page) redact(text string) (out string) {
	if text == "" {
		return ""
	}
	defer func() {
		if recover() != nil {
			out = "(Redact panicked)"
		}
	}()
	return p.opts.Redact(text)
}

// pathOf splits the path of a URL into segments and unescapes them. A path that
// is not plain - with an empty segment, "." or "..", escaped or not, or a NUL -
// is not valid, and is not cleaned either.
func pathOf(u *url.URL) (segments []string, ok bool) {
	path := u.EscapedPath()
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil, true
	}
	for part := range strings.SplitSeq(path, "/") {
		s, err := url.PathUnescape(part)
		if err != nil || s == "" || s == "." || s == ".." || strings.ContainsRune(s, 0) || len(s) > maxID {
			return nil, false
		}
		segments = append(segments, s)
	}
	return segments, true
}
