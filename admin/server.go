package admin

import (
	"net/http"
	"time"
)

// NewServer returns a server for handler with the timeouts and bounds that a
// page needs, so that slow and idle clients are dropped. An empty addr means
// the loopback address "127.0.0.1:8080".
//
// The page extends the write timeout for browsers that watch it, by a deadline
// for each write.
func NewServer(addr string, handler http.Handler) *http.Server {
	if addr == "" {
		addr = "127.0.0.1:8080"
	}
	return &http.Server{
		Addr:              addr,
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       20 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    16 << 10,
	}
}
