package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// slow is a carrier that takes a second for each message, and keeps them in the
// order of arrival. Numbers that end in 13 are refused, until heal.
type slow struct {
	mu      sync.Mutex
	arrived []string // texts
	healed  bool
}

func (s *slow) carry(r *http.Request) (*http.Response, error) {
	var m struct{ To, Text string }
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
		return nil, err
	}
	select {
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	case <-time.After(time.Second):
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.healed && m.To[len(m.To)-2:] == "13" {
		return answer(400), nil
	}
	s.arrived = append(s.arrived, m.Text)
	return answer(200), nil
}

func (s *slow) texts() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.arrived...)
}

// begin starts an outbox on the state file at path, with a width of 1.
func begin(t *testing.T, path string, carrier *slow) *Outbox {
	t.Helper()
	store, err := OpenStore(path)
	require.NoError(t, err)
	o, err := NewOutbox(store, courierOf(carrier.carry), 1)
	require.NoError(t, err)
	return o
}

// end stops an outbox as an interrupt does.
func end(t *testing.T, o *Outbox) (left int) {
	t.Helper()
	_, err := o.Stop().Await(t.Context())
	require.NoError(t, err)
	left, err = o.Close()
	require.NoError(t, err)
	return left
}

func accept(t *testing.T, o *Outbox, text string, priority int) string {
	t.Helper()
	m, err := o.Accept(Draft{To: "+12125550123", Text: text, Priority: priority})
	require.NoError(t, err)
	return m.ID
}

func stateFile(t *testing.T) string { return filepath.Join(t.TempDir(), "state.json") }

// inFile returns the texts in a state file.
func inFile(t *testing.T, path string) []string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	messages, err := decode(content)
	require.NoError(t, err)
	var texts []string
	for _, m := range messages {
		texts = append(texts, m.Text)
	}
	return texts
}
