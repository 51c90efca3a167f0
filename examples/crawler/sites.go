package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path"
	"strconv"
	"sync"
	"time"
)

// sites are hosts to be crawled. They serve pages /0 to /n-1, of which page i
// links to 2i+1 and 2i+2, and to page i of the next host. The last page of each
// host links to a missing page.
type sites struct {
	hosts   []*site
	byName  map[string]*site
	pages   int
	latency time.Duration
}

// site is one of the hosts.
type site struct {
	in    *sites
	index int
	limit int // maximum number of concurrent requests; others are refused

	mu       sync.Mutex
	requests int
	underway int
	busiest  int
}

func hostName(i int) string { return "host" + strconv.Itoa(i) + ".example" }

func newSites(hosts, pages, limit int, latency time.Duration) *sites {
	s := &sites{byName: make(map[string]*site), pages: pages, latency: latency}
	for i := range hosts {
		host := &site{in: s, index: i, limit: limit}
		s.hosts = append(s.hosts, host)
		s.byName[hostName(i)] = host
	}
	return s
}

func (s *sites) has(host string) bool { return s.byName[host] != nil }

// busiest returns the largest number of concurrent requests of one host.
func (s *sites) busiest() (n int) {
	for _, host := range s.hosts {
		host.mu.Lock()
		n = max(n, host.busiest)
		host.mu.Unlock()
	}
	return n
}

// listen serves the hosts on loopback addresses, and returns a transport that
// finds them by their names.
func (s *sites) listen() (*http.Transport, func(), error) {
	addresses := make(map[string]string)
	var servers []*http.Server
	closeAll := func() {
		for _, server := range servers {
			_ = server.Close()
		}
	}
	for name, host := range s.byName {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		server := &http.Server{Handler: host, ReadHeaderTimeout: time.Minute}
		servers = append(servers, server)
		addresses[name+":80"] = listener.Addr().String()
		go func() { _ = server.Serve(listener) }() // until closeAll
	}
	dialer := new(net.Dialer)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, addresses[address])
	}}
	return transport, func() { transport.CloseIdleConnections(); closeAll() }, nil
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	s.underway++
	s.busiest = max(s.busiest, s.underway)
	// Each host is overloaded once, at its fifth request.
	refused := s.requests == 5 || s.underway > s.limit
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.underway--
	}()
	select {
	case <-r.Context().Done():
		return
	case <-time.After(s.in.latency):
	}
	n, err := strconv.Atoi(path.Base(r.URL.Path))
	switch {
	case refused:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "overloaded", http.StatusServiceUnavailable)
	case err != nil || n < 0 || n >= s.in.pages:
		http.NotFound(w, r)
	default:
		s.write(w, n)
	}
}

func (s *site) write(w http.ResponseWriter, n int) {
	fmt.Fprintf(w, `<!doctype html><title>Page %d</title><a href="/0">Home</a> <a href="#end">End</a>`, n)
	for _, next := range []int{2*n + 1, 2*n + 2} {
		if next < s.in.pages {
			fmt.Fprintf(w, ` <a href="/%d">Page %d</a>`, next, next)
		}
	}
	if n == s.in.pages-1 {
		fmt.Fprint(w, ` <a href="missing">Missing</a>`)
	}
	next := (s.index + 1) % len(s.in.hosts)
	fmt.Fprintf(w, ` <a href="http://%s/%d#top">Next host</a> <a href="https://elsewhere.example/">Elsewhere</a>`, hostName(next), n)
}
