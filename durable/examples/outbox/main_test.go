package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The test binary is the program, too.
func TestMain(m *testing.M) {
	if os.Getenv("OUTBOX_TEST_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// testCarrier lives on when the program is killed.
type testCarrier struct {
	mu         sync.Mutex
	deliveries map[string]int // by text
	keys       map[string]string
	n          int
	more       chan struct{} // holds a token after a delivery
	hold       chan struct{} // closed if deliveries may end
}

func newTestCarrier(t *testing.T) (*testCarrier, string) {
	c := &testCarrier{deliveries: map[string]int{}, keys: map[string]string{}, more: make(chan struct{}, 1)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, server.URL
}

func (c *testCarrier) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m message
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil || r.Header.Get("Idempotency-Key") != m.Key {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	time.Sleep(20 * time.Millisecond) // a carrier is slow
	c.mu.Lock()
	hold := c.hold
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n%10 == 7 {
		http.Error(w, "out of order", http.StatusServiceUnavailable)
		return
	}
	c.deliveries[m.Text]++
	if key := c.keys[m.Text]; key != "" && key != m.Key {
		http.Error(w, "another key", http.StatusBadRequest)
		return
	}
	c.keys[m.Text] = m.Key
	select {
	case c.more <- struct{}{}:
	default:
	}
	fmt.Fprintln(w, "ok")
}

// await returns when so many messages were delivered.
func (c *testCarrier) await(t *testing.T, n int) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		c.mu.Lock()
		have := len(c.deliveries)
		c.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-c.more:
		case <-limit:
			t.Fatalf("%d of %d messages were delivered", have, n)
		}
	}
}

// twice returns how many deliveries were not the first.
func (c *testCarrier) twice() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range c.deliveries {
		n += count - 1
	}
	return n
}

// program is a process of the example.
type program struct {
	cmd   *exec.Cmd
	lines chan string
	url   string
	said  []string
}

func start(t *testing.T, file, carrier string, flags ...string) *program {
	t.Helper()
	p := &program{lines: make(chan string, 1000)}
	p.cmd = exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0", "-file", file, "-carrier", carrier, "-samples", "60"}, flags...)...)
	p.cmd.Env = append(os.Environ(), "OUTBOX_TEST_PROGRAM=1")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go func() {
		defer close(p.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	line := p.wait(t, "http://")
	p.url, _, _ = strings.Cut(line, "/ ")
	return p
}

// wait returns the next line with a text.
func (p *program) wait(t *testing.T, text string) string {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		select {
		case line, ok := <-p.lines:
			require.True(t, ok, "the program has ended: %q", p.said)
			p.said = append(p.said, line)
			if strings.Contains(line, text) {
				return line
			}
		case <-limit:
			t.Fatalf("no line with %q: %q", text, p.said)
		}
	}
}

// end returns all that the program has written, and its error.
func (p *program) end(t *testing.T) (string, error) {
	t.Helper()
	stop := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer stop.Stop()
	for line := range p.lines {
		p.said = append(p.said, line)
	}
	return strings.Join(p.said, "\n"), p.cmd.Wait()
}

// The program is killed twice and started again: each message is sent, and only
// those underway at a kill are sent twice.
func TestKillAndStartAgain(t *testing.T) {
	carrier, carrierURL := newTestCarrier(t)
	file := filepath.Join(t.TempDir(), "folder", "outbox.db")
	for i := range 2 {
		p := start(t, file, carrierURL)
		carrier.await(t, 15+20*i)
		require.NoError(t, p.cmd.Process.Signal(syscall.SIGKILL))
		_, err := p.end(t)
		require.ErrorContains(t, err, "killed")
	}
	said, err := start(t, file, carrierURL, "-exit").end(t)
	require.NoError(t, err, said)
	require.NotContains(t, said, "were put", "the samples are put once")
	require.Contains(t, said, "0 failed")
	require.Contains(t, said, "0 underway, 0 wait")
	require.Len(t, carrier.deliveries, 60)
	require.LessOrEqual(t, carrier.twice(), 2*5)
	said, err = start(t, file, carrierURL, "-exit").end(t)
	require.NoError(t, err, said)
	require.Contains(t, said, "0 messages wait")
	t.Logf("%d sent twice", carrier.twice())
}

// An interrupt ends the program when the messages underway were sent, and none
// is sent twice. A second interrupt ends it at once, and loses none.
func TestInterrupt(t *testing.T) {
	carrier, carrierURL := newTestCarrier(t)
	file := filepath.Join(t.TempDir(), "outbox.db")
	p := start(t, file, carrierURL)
	carrier.await(t, 10)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	said, err := p.end(t)
	require.NoError(t, err, said)
	require.Contains(t, said, "are left for the next start")
	require.Zero(t, carrier.twice())

	carrier.mu.Lock()
	carrier.hold = make(chan struct{})
	carrier.mu.Unlock()
	p = start(t, file, carrierURL)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.wait(t, "stopping")
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	said, err = p.end(t)
	require.NoError(t, err, said)
	close(carrier.hold)
	said, err = start(t, file, carrierURL, "-exit").end(t)
	require.NoError(t, err, said)
	require.Len(t, carrier.deliveries, 60)
}

// The pages show the queue and take messages.
func TestPages(t *testing.T) {
	carrier, carrierURL := newTestCarrier(t)
	p := start(t, filepath.Join(t.TempDir(), "outbox.db"), carrierURL, "-samples", "3")
	carrier.await(t, 3)
	get := func(path string) string {
		resp, err := http.Get(p.url + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		require.Equal(t, http.StatusOK, resp.StatusCode, path)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(text)
	}
	require.Contains(t, get("/"), "sent, 0 failed")
	require.Contains(t, get("/queues/q/messages"), "messages")
	post := func(form url.Values, header ...string) *http.Response {
		req, err := http.NewRequest(http.MethodPost, p.url+"/messages", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i+1 < len(header); i += 2 {
			if header[i] == "Host" {
				req.Host = header[i+1]
			}
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		resp.Body.Close()
		return resp
	}
	good := url.Values{"to": {"+12125550123"}, "text": {"typed <b>here</b>"}, "priority": {"-1"}}
	resp := post(good)
	require.Equal(t, http.StatusSeeOther, resp.StatusCode)
	carrier.await(t, 4)
	require.Equal(t, 1, carrier.deliveries["typed <b>here</b>"])
	require.Contains(t, get(resp.Header.Get("Location")), "typed &lt;b&gt;here&lt;/b&gt;")
	for _, bad := range []url.Values{
		{}, {"to": {"+12125550123"}}, {"to": {"12125550123"}, "text": {"x"}}, {"to": {"+1"}, "text": {"x"}},
		{"to": {"+12125550123"}, "text": {strings.Repeat("x", 161)}}, {"to": {"+12125550123"}, "text": {"\xff"}},
		{"to": {"+12125550123"}, "text": {"x"}, "priority": {"high"}},
	} {
		require.Equal(t, http.StatusUnprocessableEntity, post(bad).StatusCode, bad)
	}
	require.Equal(t, http.StatusForbidden, post(good, "Sec-Fetch-Site", "cross-site").StatusCode)
	require.Equal(t, http.StatusMisdirectedRequest, post(good, "Host", "evil.example").StatusCode)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	said, err := p.end(t)
	require.NoError(t, err, said)
}
