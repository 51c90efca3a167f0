//go:build suites

package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// RoundTrip serves a request without a network.
func (s *sites) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.byName[r.URL.Host].ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// crawlOf returns a crawler of sites without a network.
func crawlOf(s *sites, width, perHost int) *crawler {
	return newCrawler(&http.Client{Transport: s}, s.has, width, perHost)
}

// lines has the output of a crawler, readable at any time.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// pages returns the addresses that were printed, in order.
func (l *lines) pages() (pages []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if address, _, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(address, "http") {
			pages = append(pages, address)
		}
	}
	return pages
}

// all returns the addresses of the pages of hosts, including the missing ones.
func all(hosts, pages int) (addresses []string) {
	for h := range hosts {
		for p := range pages {
			addresses = append(addresses, fmt.Sprintf("http://%s/%d", hostName(h), p))
		}
		addresses = append(addresses, fmt.Sprintf("http://%s/missing", hostName(h)))
	}
	slices.Sort(addresses)
	return addresses
}

func TestEachPageIsFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out lines
		s := newSites(3, 20, 2, time.Second)
		c := crawlOf(s, 10, 2)
		printed := c.print(&out)
		require.NoError(t, c.add("http://host0.example/0#top", 0))
		_, err := c.queue.Empty().Await(t.Context())
		require.NoError(t, err)
		c.queue.Stop()
		<-printed.Done()
		got := out.pages()
		require.Equal(t, "http://host0.example/0", got[0])
		slices.Sort(got)
		require.Equal(t, all(3, 20), got)
		require.Contains(t, out.text.String(), "http://host0.example/19: 5 links\n")
		require.Contains(t, out.text.String(), "http://host1.example/missing: 404 Not Found\n")
		require.EqualValues(t, 3, c.queue.Stats().Retries, "each host was overloaded once, and not by this program")
		require.Equal(t, 2, s.busiest())
	})
}

// An interrupt at any time, with any number of restarts: each page was printed,
// once.
func TestARestartLosesNoLink(t *testing.T) {
	for _, patience := range []time.Duration{time.Minute, time.Millisecond} { // so that fetches end, or are canceled
		synctest.Test(t, func(t *testing.T) {
			var out lines
			file := filepath.Join(t.TempDir(), "state.json")
			s := newSites(3, 20, 2, time.Second)
			starts := 0
			for over := false; !over; starts++ {
				c := crawlOf(s, 6, 2)
				printed := c.print(&out)
				old, err := load(file)
				require.NoError(t, err)
				if old == nil {
					require.NoError(t, c.add("http://host0.example/0", 0))
				} else {
					require.NoError(t, c.restore(old))
				}
				ctx, interrupt := context.WithTimeout(t.Context(), 2500*time.Millisecond)
				_, err = c.queue.Empty().Await(ctx)
				interrupt()
				over = err == nil
				require.NoError(t, save(file, c.stop(patience)))
				<-printed.Done()
			}
			got := out.pages()
			slices.Sort(got)
			require.Equal(t, all(3, 20), got)
			require.Greater(t, starts, 3)
		})
	}
}

func TestProgram(t *testing.T) {
	var out lines
	c := config{hosts: 3, pages: 10, width: 6, perHost: 2, latency: time.Millisecond, state: filepath.Join(t.TempDir(), "state.json")}
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, interrupt)
	err := run(ctx, &out, c)
	if err != nil { // on a slow machine it may be over by then
		require.ErrorIs(t, err, errInterrupted)
		require.FileExists(t, c.state)
		require.NoError(t, run(t.Context(), &out, c))
		require.Contains(t, out.text.String(), "continuing: ")
	}
	got := out.pages()
	slices.Sort(got)
	require.Equal(t, all(3, 10), got)
	require.Regexp(t, `, at most [12] at a time from one host\n$`, out.text.String())
	require.NoFileExists(t, c.state)

	require.NoError(t, os.WriteFile(c.state, []byte("{"), 0o600))
	require.ErrorContains(t, run(t.Context(), &out, c), c.state)
	c.width = 0
	require.ErrorContains(t, run(t.Context(), &out, c), "at least 1")
}
