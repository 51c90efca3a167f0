package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestProgram runs the program itself, with a carrier of its own.
func TestProgram(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot be sent an interrupt")
	}
	b := build(t)
	for name, test := range map[string]func(*testing.T, binary){
		"an interrupt loses nothing and repeats nothing": func(t *testing.T, b binary) { interrupted(t, b, os.Interrupt) },
		"nor does SIGTERM":                                   func(t *testing.T, b binary) { interrupted(t, b, syscall.SIGTERM) },
		"a crash loses nothing":                              crashed,
		"a second interrupt stops at once":                   interruptedTwice,
		"it does not start over a file it cannot understand": unreadableState,
		"an address that is taken":                           addressTaken,
		"-send sends a file":                                 sendFile,
		"an interrupt of -send":                              sendInterrupted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, b)
		})
	}
}

func interrupted(t *testing.T, b binary, signal os.Signal) {
	state, carrier := stateFile(t), startCounting(t, 7)
	p := b.serve(t, state, carrier, "3")
	ids := p.post(t, 30)
	carrier.await(t, 10, 7)
	_, events := stream(t, p.url)
	require.NoError(t, p.cmd.Process.Signal(signal))
	p.await(t, "stopping: 3 underway are being finished")
	until(t, events, func(s Snapshot) bool { return s.State == "STOPPING" })
	close(carrier.release)
	require.Equal(t, exitOK, p.end(t))
	for events.Scan() {
	}
	require.NoError(t, events.Err(), "the page's stream was ended, not cut off")
	require.Contains(t, p.out.String(), "20 messages wait for the next start")
	require.ElementsMatch(t, ids[:10], carrier.delivered(), "what was begun was finished, and nothing else begun")

	p = b.serve(t, state, carrier, "1")
	require.Contains(t, p.out.String(), "20 messages are back in the queue")
	carrier.await(t, 30, 30)
	require.Equal(t, exitOK, p.stop(t, signal))
	require.Contains(t, p.out.String(), "0 messages wait for the next start")
	require.ElementsMatch(t, ids, carrier.offered(), "every message was sent exactly once")
	require.Equal(t, ids[10:], carrier.delivered()[10:], "and the rest in the order in which they came")
	require.Empty(t, inFile(t, state))
}

func crashed(t *testing.T, b binary) {
	state, carrier := stateFile(t), startCounting(t, 7)
	p := b.serve(t, state, carrier, "3")
	ids := p.post(t, 30)
	carrier.await(t, 10, 7)
	p.stop(t, os.Kill)
	require.Len(t, carrier.delivered(), 7)
	close(carrier.release)

	p = b.serve(t, state, carrier, "3")
	carrier.await(t, 33, 30)
	require.Equal(t, exitOK, p.stop(t, os.Interrupt))
	require.ElementsMatch(t, ids, carrier.delivered(), "every message arrived once, by its key")
	require.Empty(t, inFile(t, state))
}

func interruptedTwice(t *testing.T, b binary) {
	state, carrier := stateFile(t), startCounting(t, 0)
	p := b.serve(t, state, carrier, "2")
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

func unreadableState(t *testing.T, b binary) {
	state := stateFile(t)
	require.NoError(t, os.WriteFile(state, []byte("{"), 0o600))
	out, code := b.run(t, "-addr", "127.0.0.1:0", "-state", state)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "state file "+state)
	content, err := os.ReadFile(state)
	require.NoError(t, err)
	require.Equal(t, "{", string(content))
}

func addressTaken(t *testing.T, b binary) {
	carrier := startCounting(t, 0)
	out, code := b.run(t, "-addr", strings.TrimPrefix(carrier.url, "http://"), "-state", stateFile(t), "-carrier", carrier.url)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "the page cannot be served")
	require.Contains(t, out, "-addr chooses another address")
}

func sendFile(t *testing.T, b binary) {
	carrier := startCounting(t, 1000)
	var file strings.Builder
	for i := range 40 {
		fmt.Fprintf(&file, "+1 212 555 01%02d,Hello %d\n", i, i)
	}
	name := filepath.Join(t.TempDir(), "people.csv")
	send := func(line string) (string, int) {
		require.NoError(t, os.WriteFile(name, []byte(file.String()+line), 0o600))
		return b.run(t, "-send", name, "-carrier", carrier.url, "-width", "4")
	}
	out, code := send("12,too short\n")
	require.Equal(t, exitOK, code, "a line that is skipped is no failure")
	require.Contains(t, out, "people.csv:41: to: begin with a plus and the country code, such as +1 or +44; skipped")
	require.Contains(t, out, "40 of 40, 0 underway, 0 retried, 0 failed")
	require.Contains(t, out, "sent 40, failed 0, retried 0, in ")
	require.Contains(t, out, "at most 4 underway at once")
	require.NotContains(t, out, "\r", "no bar, for this is no terminal")
	require.Len(t, carrier.delivered(), 40)

	out, code = send("+1 212 555 0199,refuse\n")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "people.csv:41: +12125550199: the carrier answered 400 Bad Request: no")
	require.Contains(t, out, "sent 40, failed 1")

	out, code = b.run(t, "-send", name+".missing", "-carrier", carrier.url)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "people.csv.missing")
}

func sendInterrupted(t *testing.T, b binary) {
	carrier := startCounting(t, 10)
	p := b.start(t, "-send", "recipients.csv", "-carrier", carrier.url, "-width", "4")
	carrier.await(t, 14, 10)
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	p.await(t, "stopping: what is underway is being finished")
	close(carrier.release)
	require.Equal(t, exitInterrupted, p.end(t))
	require.Len(t, carrier.offered(), 14)
	require.Len(t, carrier.delivered(), 14)
	require.Contains(t, p.out.String(), "sent 14, failed 0")
	require.Contains(t, p.out.String(), "186 were not sent")
}
