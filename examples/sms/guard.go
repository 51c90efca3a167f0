package main

import (
	"net"
	"net/http"
	"strings"
)

const maxBody = 64 << 10

const contentSecurity = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard lets through what a browser on this machine sends on behalf of this
// page, and programs. There is no login: a page of another site must neither
// read nor send anything here, also if its name has been made to point here.
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
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// allowedHosts returns the names that a request may be for: those of this
// machine to itself, and the one the server was told to listen on.
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
