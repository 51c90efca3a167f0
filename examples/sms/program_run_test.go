package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long a test waits for the program.
const patience = 20 * time.Second

// binary is the file of the program, as go build has made it.
type binary string

// build builds the program, with the race detector if the tests have it.
func build(t *testing.T) binary {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sms")
	args := []string{"build", "-o", file}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-race" && s.Value == "true" {
				args = append(args, s.Key)
			}
		}
	}
	out, err := exec.Command("go", append(args, ".")...).CombinedOutput()
	require.NoError(t, err, string(out))
	return binary(file)
}

// process is a run of the program.
type process struct {
	cmd   *exec.Cmd
	out   *printed
	url   string        // of the page
	ended chan struct{} // closed when it has ended
}

// printed is what a program prints, readable meanwhile.
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

// start starts the program.
func (b binary) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(string(b), args...), out: &printed{}, ended: make(chan struct{})}
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

// serve starts the program on a free port with a state file and a carrier.
func (b binary) serve(t *testing.T, state string, c *counting, width string) *process {
	t.Helper()
	p := b.start(t, "-addr", "127.0.0.1:0", "-state", state, "-carrier", c.url, "-width", width)
	p.await(t, "serving on http")
	p.url = regexp.MustCompile(`serving on (\S+)`).FindStringSubmatch(p.out.String())[1]
	return p
}

// run runs the program to its end, and returns what it printed and its exit
// code.
func (b binary) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	p := b.start(t, args...)
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

// eventually waits until ok.
func eventually(t *testing.T, ok func() bool, more any) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited too long: ", more)
		}
	}
}
