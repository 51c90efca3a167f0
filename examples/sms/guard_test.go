package main

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

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
			require.Equal(t, "PAUSED", o.Snapshot().State)
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
