//go:build suites

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// asProgram is set in the environment of a test binary that is the program.
const asProgram = "SMS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestParseFlags(t *testing.T) {
	c, err := parseFlags(nil, &bytes.Buffer{})
	if dir, dirErr := stateDir(); dirErr == nil {
		require.NoError(t, err)
		require.Equal(t, config{addr: "127.0.0.1:8025", state: filepath.Join(dir, "sms-state.json")}, c)
	}
	c, err = parseFlags([]string{"-send", "x.csv", "-width", "100", "-carrier", "https://carrier.example/v1"}, &bytes.Buffer{})
	require.NoError(t, err)
	require.Equal(t, config{addr: "127.0.0.1:8025", width: 100, send: "x.csv", carrier: "https://carrier.example/v1"}, c)
}

func TestTheStateFileIsNotInACacheDirectory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the XDG specification")
	}
	t.Setenv("HOME", "/home/ada")
	for xdg, want := range map[string]string{
		"":            "/home/ada/.local/state",
		"relative":    "/home/ada/.local/state", // to be ignored, says the specification
		"/var/states": "/var/states",
	} {
		t.Setenv("XDG_STATE_HOME", xdg)
		dir, err := stateDir()
		require.NoError(t, err)
		require.Equal(t, want, dir)
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_STATE_HOME", "")
	_, err := parseFlags(nil, &bytes.Buffer{})
	require.ErrorContains(t, err, "name a file with -state")
}

func TestWhatMakesNoSenseIsExitCode2(t *testing.T) {
	for args, want := range map[string]string{
		"-width 0":                      "from 1 to 100",
		"-width 101":                    "from 1 to 100",
		"-width x":                      "invalid value",
		"-addr 8025":                    "give a host and a port",
		"-addr=":                        "give a host and a port",
		"-carrier ftp://x/":             "http or https",
		"-carrier carrier.example":      "http or https",
		"-carrier http://u:secret@/":    "http or https",
		"-carrier=":                     "-carrier is empty",
		"-send=":                        "-send is empty",
		"-state=":                       "-state is empty",
		"-send x.csv -addr 127.0.0.1:1": "do not go with -send",
		"-send x.csv -state s.json":     "do not go with -send",
		"-demo -state s.json":           "do not go with it",
		"-demo -send x.csv":             "do not go with it",
		"recipients.csv":                `unexpected argument "recipients.csv"`,
		"-x":                            "not defined",
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, exitUsage, run(strings.Fields(args), &stdout, &stderr, nil), args)
		require.Contains(t, stderr.String(), want, args)
		require.NotContains(t, stderr.String(), "secret")
		require.Empty(t, stdout.String())
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitOK, run([]string{"-help"}, &stdout, &stderr, nil))
	for _, name := range []string{"-addr", "-width", "-state", "-carrier", "-send"} {
		require.Contains(t, stdout.String(), name)
	}
	require.Empty(t, stderr.String())
}

// TestProgram runs the program itself, with a carrier of its own.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt")
	}
	for name, test := range map[string]func(*testing.T){
		"an interrupt loses nothing and repeats nothing": func(t *testing.T) { interrupted(t, os.Interrupt) },
		"nor does SIGTERM":                                   func(t *testing.T) { interrupted(t, syscall.SIGTERM) },
		"a crash loses nothing":                              crashed,
		"a second interrupt stops at once":                   interruptedTwice,
		"it does not start over a file it cannot understand": unreadableState,
		"an address that is taken":                           addressTaken,
		"a pause survives a restart":                         pauseSurvives,
		"the page is back when the disk has room again":      diskFull,
		"-demo fills the queue and keeps nothing":            demo,
		"-send sends a file":                                 sendFile,
		"an interrupt of -send":                              sendInterrupted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func interrupted(t *testing.T, signal os.Signal) {
	state, carrier := stateFile(t), startCounting(t, 7)
	p := serveProgram(t, state, carrier, "3")
	ids := p.post(t, 30)
	carrier.await(t, 10, 7)
	_, events := stream(t, p.url)
	require.NoError(t, p.cmd.Process.Signal(signal))
	p.await(t, "stopping: 3 underway are being finished")
	until(t, events, func(s Snapshot) bool { return s.State == "stopping" })
	close(carrier.release)
	require.Equal(t, exitOK, p.end(t))
	for events.Scan() {
	}
	require.NoError(t, events.Err(), "the page's stream was ended, not cut off")
	require.Contains(t, p.out.String(), "20 messages wait for the next start")
	require.ElementsMatch(t, ids[:10], carrier.delivered(), "what was begun was finished, and nothing else begun")

	p = serveProgram(t, state, carrier, "1")
	require.Contains(t, p.out.String(), "20 messages are back in the queue")
	carrier.await(t, 30, 30)
	require.Equal(t, exitOK, p.stop(t, signal))
	require.Contains(t, p.out.String(), "0 messages wait for the next start")
	require.ElementsMatch(t, ids, carrier.offered(), "every message was sent exactly once")
	require.Equal(t, ids[10:], carrier.delivered()[10:], "and the rest in the order in which they came")
	require.Empty(t, inFile(t, state))
}

func crashed(t *testing.T) {
	state, carrier := stateFile(t), startCounting(t, 7)
	p := serveProgram(t, state, carrier, "3")
	ids := p.post(t, 30)
	carrier.await(t, 10, 7)
	p.stop(t, os.Kill)
	require.Len(t, carrier.delivered(), 7)
	close(carrier.release)

	p = serveProgram(t, state, carrier, "3")
	carrier.await(t, 33, 30)
	require.Equal(t, exitOK, p.stop(t, os.Interrupt))
	require.ElementsMatch(t, ids, carrier.delivered(), "every message arrived once, by its key")
	require.Empty(t, inFile(t, state))
}

func interruptedTwice(t *testing.T) {
	state, carrier := stateFile(t), startCounting(t, 0)
	p := serveProgram(t, state, carrier, "2")
	p.post(t, 5)
	carrier.await(t, 2, 0)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.await(t, "interrupt again to stop at once")
	eventually(t, func() bool {
		answer, err := http.Get(p.url + "/healthz")
		require.NoError(t, err, "the page is there until the end")
		answer.Body.Close()
		return answer.StatusCode == http.StatusServiceUnavailable
	}, "healthz")
	require.Equal(t, exitInterrupted, p.stop(t, os.Interrupt))
	require.Contains(t, p.out.String(), "5 messages wait for the next start")
	require.Len(t, inFile(t, state), 5)
}

// A pause is a safety switch: a crash or a restart does not release it.
func pauseSurvives(t *testing.T) {
	state, carrier := stateFile(t), startCounting(t, 1000)
	p := serveProgram(t, state, carrier, "2")
	p.set(t, "/pause", "{}")
	p.set(t, "/width", `{"width": 7}`)
	p.set(t, "/rate", `{"perSecond": 50}`)
	ids := p.post(t, 3)
	p.stop(t, os.Kill)

	p = startProgram(t, "-addr", "127.0.0.1:0", "-state", state, "-carrier", carrier.url)
	p.await(t, "serving on http")
	p.url = regexp.MustCompile(`serving on (\S+)`).FindStringSubmatch(p.out.String())[1]
	require.Contains(t, p.out.String(), "paused, as at the last stop")
	require.Equal(t, Settings{7, 50, true}, p.set(t, "/width", `{"width": 7}`).Settings)
	require.Empty(t, carrier.offered())
	p.set(t, "/resume", "{}")
	carrier.await(t, 3, 3)
	require.Equal(t, exitOK, p.stop(t, os.Interrupt))
	require.ElementsMatch(t, ids, carrier.delivered())
}

// A save that failed is repeated: another message is not needed for it.
func diskFull(t *testing.T) {
	state, carrier := stateFile(t), startCounting(t, 1000)
	p := serveProgram(t, state, carrier, "2")
	obstacle := filepath.Join(state+".tmp", "in the way")
	require.NoError(t, os.MkdirAll(obstacle, 0o700))
	answer, err := http.Post(p.url+"/messages", typeJSON, strings.NewReader(anyMessage))
	require.NoError(t, err)
	answer.Body.Close()
	require.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	healthy := func(status int) func() bool {
		return func() bool {
			answer, err := http.Get(p.url + "/healthz")
			require.NoError(t, err)
			answer.Body.Close()
			return answer.StatusCode == status
		}
	}
	require.True(t, healthy(http.StatusServiceUnavailable)())
	require.NoError(t, os.RemoveAll(filepath.Dir(obstacle)))
	eventually(t, healthy(http.StatusOK), "healthz recovers by itself")
	require.Empty(t, carrier.offered(), "what was refused is not sent")
	require.Equal(t, exitOK, p.stop(t, os.Interrupt))
}

func unreadableState(t *testing.T) {
	state := stateFile(t)
	require.NoError(t, os.WriteFile(state, []byte("{"), 0o600))
	out, code := runProgram(t, "-addr", "127.0.0.1:0", "-state", state)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "state file "+state)
	content, err := os.ReadFile(state)
	require.NoError(t, err)
	require.Equal(t, "{", string(content))
}

func addressTaken(t *testing.T) {
	carrier := startCounting(t, 0)
	out, code := runProgram(t, "-addr", strings.TrimPrefix(carrier.url, "http://"), "-state", stateFile(t), "-carrier", carrier.url)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "the page cannot be served")
	require.Contains(t, out, "-addr chooses another address")
}

func demo(t *testing.T) {
	p := startProgram(t, "-demo", "-addr", "127.0.0.1:0")
	p.await(t, "200 sample messages are in the queue")
	p.await(t, "serving on")
	require.Zero(t, p.stop(t, os.Interrupt))
	p.await(t, "sample messages were not sent")
}

func sendFile(t *testing.T) {
	carrier := startCounting(t, 1000)
	var file strings.Builder
	for i := range 40 {
		fmt.Fprintf(&file, "+1 212 555 01%02d,Hello %d\n", i, i)
	}
	name := filepath.Join(t.TempDir(), "people.csv")
	send := func(line string) (string, int) {
		require.NoError(t, os.WriteFile(name, []byte(file.String()+line), 0o600))
		return runProgram(t, "-send", name, "-carrier", carrier.url, "-width", "4")
	}
	out, code := send("12,too short\n")
	require.Equal(t, exitSkipped, code)
	require.Contains(t, out, "people.csv:41: to: begin with a plus and the country code, such as +1 or +44; skipped")
	require.Contains(t, out, "40 of 40, 0 underway, 0 retried, 0 failed")
	require.Contains(t, out, "sent 40, failed 0, skipped 1, retried 0, in ")
	require.NotContains(t, out, "\r", "no bar, for this is no terminal")
	require.Len(t, carrier.delivered(), 40)

	out, code = send("+1 212 555 0199,refuse\n")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "people.csv:41: +12125550199: the carrier answered 400 Bad Request: no")
	require.Contains(t, out, "sent 40, failed 1, skipped 0")

	out, code = send("")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "sent 40, failed 0, skipped 0")

	out, code = runProgram(t, "-send", name+".missing", "-carrier", carrier.url)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "people.csv.missing")
}

func sendInterrupted(t *testing.T) {
	carrier := startCounting(t, 10)
	p := startProgram(t, "-send", "recipients.csv", "-carrier", carrier.url, "-width", "4")
	carrier.await(t, 14, 10)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.await(t, "stopping: the attempts underway are being finished")
	close(carrier.release)
	require.Equal(t, exitInterrupted, p.end(t))
	require.Len(t, carrier.offered(), 14)
	require.Len(t, carrier.delivered(), 14)
	require.Contains(t, p.out.String(), "sent 14, failed 0")
	require.Contains(t, p.out.String(), "186 were not sent")
}

// patience is how long a test waits for the program.
const patience = 20 * time.Second

// process is a run of the program.
type process struct {
	cmd   *exec.Cmd
	out   *printed
	url   string        // of the page
	ended chan struct{} // closed when it has ended
}

// printed is what a program prints, readable at any time.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// startProgram starts the program, as the process of another test binary.
func startProgram(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	p := &process{cmd: exec.Command(self, args...), out: &printed{}, ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	require.NoError(t, p.cmd.Start())
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.ended
		require.NotContains(t, p.out.String(), "DATA RACE")
	})
	return p
}

// serveProgram starts the program on a free port with a state file and a
// carrier.
func serveProgram(t *testing.T, state string, c *counting, width string) *process {
	t.Helper()
	p := startProgram(t, "-addr", "127.0.0.1:0", "-state", state, "-carrier", c.url, "-width", width)
	p.await(t, "serving on http")
	p.url = regexp.MustCompile(`serving on (\S+)`).FindStringSubmatch(p.out.String())[1]
	return p
}

// runProgram runs the program to its end, and returns what it printed and its
// exit code.
func runProgram(t *testing.T, args ...string) (string, int) {
	t.Helper()
	p := startProgram(t, args...)
	code := p.end(t)
	return p.out.String(), code
}

// end waits for the end of the program, and returns its exit code.
func (p *process) end(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Fatal("the program does not end; it has printed:\n", p.out)
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop sends the program a signal, and returns its exit code.
func (p *process) stop(t *testing.T, signal os.Signal) int {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(signal))
	return p.end(t)
}

// await waits until the program has printed text.
func (p *process) await(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() bool { return strings.Contains(p.out.String(), text) }, p.out)
}

// post hands n messages in, one after the other, and returns their ids.
func (p *process) post(t *testing.T, n int) (ids []string) {
	t.Helper()
	for range n {
		answer, err := http.Post(p.url+"/messages", typeJSON, strings.NewReader(anyMessage))
		require.NoError(t, err)
		answer.Body.Close()
		require.Equal(t, http.StatusAccepted, answer.StatusCode)
		ids = append(ids, filepath.Base(answer.Header.Get("Location")))
	}
	return ids
}

// set changes a setting, and returns the answer.
func (p *process) set(t *testing.T, path, value string) (h Health) {
	t.Helper()
	answer, err := http.Post(p.url+path, typeJSON, strings.NewReader(value))
	require.NoError(t, err)
	defer answer.Body.Close()
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&h))
	return h
}

// eventually waits until ok.
func eventually(t *testing.T, ok func() bool, more any) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long: ", more)
		}
	}
}

// counting is a carrier that keeps the keys of what it was offered, and of what
// it has delivered. Like a real one it delivers a key once. When it has been
// offered so many messages, it holds those that follow until it is released.
type counting struct {
	url     string
	hold    int
	release chan struct{}

	mu      sync.Mutex
	offers  []string
	arrived []string
}

func startCounting(t *testing.T, hold int) *counting {
	c := &counting{hold: hold, release: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	c.url = server.URL
	return c
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	var m struct{ Text string }
	if json.NewDecoder(r.Body).Decode(&m) != nil || m.Text == "refuse" {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	c.offers = append(c.offers, key)
	known := slices.Contains(c.arrived, key)
	latency := time.After(20 * time.Millisecond)
	if len(c.offers) > c.hold {
		latency = nil
	}
	c.mu.Unlock()
	if known {
		return
	}
	select {
	case <-r.Context().Done(): // the program has gone
		return
	case <-latency:
	case <-c.release:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.Contains(c.arrived, key) {
		c.arrived = append(c.arrived, key)
	}
}

// offered returns the key of each attempt.
func (c *counting) offered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.offers)
}

// delivered returns the keys that were delivered, in order.
func (c *counting) delivered() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.arrived)
}

// await waits until so many messages were offered, and so many delivered.
func (c *counting) await(t *testing.T, offered, delivered int) {
	t.Helper()
	eventually(t, func() bool { return len(c.offered()) >= offered && len(c.delivered()) >= delivered }, "the carrier")
}
