package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// server lists the followers of a user, a page at a time, and fails in all the
// ways in which such servers fail.
type server struct {
	followers, size int // the number of followers, and of those on a page
	latency         time.Duration
	errors          float64 // fraction of requests that are answered with 500, 502 or 503
	truncated       float64 // fraction of requests whose answer ends in the middle
	resets          float64 // fraction of requests whose connection is reset
	missing         int     // how often the second page is a 404 at first
	garbage         int     // the page, counted from 1, that is not JSON; 0 means none

	mu     sync.Mutex // guards random and missing
	random *rand.Rand
}

// page is a part of the list, with the cursor of the next page. The cursor of
// the first page is -1, and 0 means that there are no more.
type page struct {
	Followers []string `json:"followers"`
	Next      int      `json:"next_cursor"`
	Total     int      `json:"total"`
}

// start starts s on a loopback port; it ends with ctx.
func (s *server) start(ctx context.Context, seed uint64) (url string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s.random = rand.New(rand.NewPCG(seed, 0))
	web := &http.Server{Handler: s}
	context.AfterFunc(ctx, func() { _ = web.Close() })
	go func() { _ = web.Serve(listener) }()
	return "http://" + listener.Addr().String() + "/followers", nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	time.Sleep(s.latency)
	cursor, err := strconv.Atoi(r.FormValue("cursor"))
	if err != nil || cursor > s.followers {
		http.Error(w, "no such cursor", http.StatusBadRequest)
		return
	}
	begin := max(cursor, 0)
	body, err := json.Marshal(s.page(begin))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	switch status, chance := s.fate(begin); {
	case status != http.StatusOK:
		http.Error(w, "out of order", status)
	case chance < s.resets:
		reset(w)
	case chance < s.resets+s.truncated:
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:len(body)/2])
	case begin/s.size+1 == s.garbage:
		fmt.Fprint(w, "<html>Please log in.</html>")
	default:
		_, _ = w.Write(body)
	}
}

// fate returns the status with which the page at begin is answered, and a
// random number that decides what else happens to it.
func (s *server) fate(begin int) (status int, chance float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.missing > 0 && begin/s.size == 1 {
		s.missing--
		return http.StatusNotFound, 0
	}
	if s.random.Float64() < s.errors {
		return []int{500, 502, 503}[s.random.IntN(3)], 0
	}
	return http.StatusOK, s.random.Float64()
}

// page returns the page at begin. It starts with the last followers of the page
// before, as it would if a follower had left in the meantime.
func (s *server) page(begin int) page {
	p := page{Total: s.followers}
	for i := max(begin-3, 0); i < min(begin+s.size, s.followers); i++ {
		p.Followers = append(p.Followers, followerName(i))
	}
	if begin+s.size < s.followers {
		p.Next = begin + s.size
	}
	return p
}

func followerName(i int) string { return fmt.Sprintf("follower-%05d", i) }

// reset ends the connection so that the client sees a reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
