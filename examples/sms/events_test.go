package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

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

// stuck is a connection that nobody reads from.
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
