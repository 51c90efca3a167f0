//go:build suites

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhatWaitsGoesOnAfterARestartInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		for i := range 5 {
			accept(t, o, strconv.Itoa(i), 0)
		}
		accept(t, o, "urgent", -10)
		moved := accept(t, o, "moved", 5)
		require.NoError(t, o.Reprioritize(moved, 0))
		time.Sleep(1500 * time.Millisecond) // "0" is sent, "urgent" half way
		require.Equal(t, 5, end(t, o))
		require.Equal(t, []string{"0", "urgent"}, carrier.texts(), "what is underway is finished")
		require.Equal(t, []string{"1", "2", "3", "4", "moved"}, inFile(t, path))

		o = begin(t, path, carrier)
		require.Equal(t, 5, o.restored)
		accept(t, o, "new", 0)
		accept(t, o, "first", -1)
		time.Sleep(10 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"0", "urgent", "1", "first", "2", "3", "4", "moved", "new"}, carrier.texts())
		require.Empty(t, inFile(t, path))
	})
}

func TestAnAcceptedMessageIsInTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := stateFile(t)
		o := begin(t, path, &slow{})
		a := accept(t, o, "a", 0)
		accept(t, o, "b", 0)
		require.Equal(t, []string{"a", "b"}, inFile(t, path))
		time.Sleep(time.Second + 2*lazily)
		require.Equal(t, []string{"b"}, inFile(t, path), "what is sent leaves it soon")
		row, ok := o.Message(a)
		require.True(t, ok)
		require.Equal(t, "finished", row.State)
		end(t, o)
	})
}

func TestWhatCannotBeSavedIsNotAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		obstacle := path + ".tmp"
		require.NoError(t, os.MkdirAll(filepath.Join(obstacle, "x"), 0o700))
		_, err := o.Accept(Draft{To: "+12125550123", Text: "lost?"})
		require.ErrorIs(t, err, ErrNotSaved)
		require.Contains(t, o.Snapshot().Trouble, path)
		require.NoError(t, os.RemoveAll(obstacle))
		accept(t, o, "saved", 0)
		require.Empty(t, o.Snapshot().Trouble)
		time.Sleep(5 * time.Second)
		end(t, o)
		require.Equal(t, []string{"saved"}, carrier.texts())
	})
}

func TestStopNowLeavesWhatWasUnderwayToTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		accept(t, o, "underway", 0)
		accept(t, o, "waiting", 0)
		time.Sleep(500 * time.Millisecond)
		o.Stop()
		_, err := o.StopNow().Await(t.Context())
		require.NoError(t, err)
		left, err := o.Close()
		require.NoError(t, err)
		require.Equal(t, 2, left)
		require.Empty(t, carrier.texts())
		require.Equal(t, []string{"underway", "waiting"}, inFile(t, path))
	})
}

func TestAStoppingOutboxTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := begin(t, stateFile(t), &slow{})
		id := accept(t, o, "underway", 0)
		waiting := accept(t, o, "waiting", 0)
		drained := o.Stop()
		_, err := o.Accept(Draft{To: "+12125550123", Text: "late"})
		require.ErrorIs(t, err, ErrStopping)
		require.ErrorIs(t, o.Reprioritize(waiting, 1), ErrStopping)
		require.ErrorIs(t, o.Resume(), ErrStopping)
		require.ErrorIs(t, o.Pause(), ErrStopping)
		require.ErrorIs(t, o.SetWidth(9), ErrStopping)
		require.Equal(t, "stopping", o.Snapshot().State)
		require.NoError(t, o.Cancel(waiting))
		_, err = drained.Await(t.Context())
		require.NoError(t, err)
		left, err := o.Close()
		require.NoError(t, err)
		require.Zero(t, left)
		row, _ := o.Message(id)
		require.Equal(t, "finished", row.State)
	})
}

func TestAFullOutboxRefuses(t *testing.T) {
	o := begin(t, stateFile(t), &slow{})
	o.Pause()
	for i := range maxUnsent {
		o.ledger.enter(Draft{To: "+12125550123", Text: strconv.Itoa(i)}, time.Now())
	}
	_, err := o.Accept(Draft{To: "+12125550123", Text: "one more"})
	require.ErrorIs(t, err, ErrFull)
	require.False(t, errors.Is(err, ErrNotSaved))
	end(t, o)
}

func TestTheOperatorSteersThePipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		carrier := &slow{}
		o := begin(t, stateFile(t), carrier)
		require.NoError(t, o.Pause())
		for _, text := range []string{"a", "b", "c", "d"} {
			accept(t, o, text, 0)
		}
		time.Sleep(time.Minute)
		s := o.Snapshot()
		require.Equal(t, "paused", s.State)
		require.Equal(t, 4, s.Waiting)
		require.Empty(t, carrier.texts())

		require.NoError(t, o.SetWidth(3))
		require.NoError(t, o.Resume())
		synctest.Wait()
		s = o.Snapshot()
		require.Equal(t, "running", s.State)
		require.Equal(t, 3, s.Width)
		require.Equal(t, []int{3, 1}, []int{s.InFlight, s.Waiting})
		require.Equal(t, "a", s.Underway[0].Text)
		require.Equal(t, "d", s.Pending[0].Text)

		for _, n := range []int{-1, maxWidth + 1} {
			require.ErrorAs(t, o.SetWidth(n), new(Invalid))
		}
		require.Equal(t, 3, o.Snapshot().Width)
		time.Sleep(5 * time.Second)
		require.InDelta(t, 4./60, o.Snapshot().Throughput, 0.01)
		end(t, o)
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		underway := accept(t, o, "underway", 0)
		waiting := accept(t, o, "waiting", 0)
		accept(t, o, "stays", 0)
		time.Sleep(500 * time.Millisecond)
		require.NoError(t, o.Cancel(waiting))
		require.NoError(t, o.Cancel(underway))
		require.Equal(t, []string{"stays"}, inFile(t, path), "at once: a crash does not bring them back")
		for _, id := range []string{underway, waiting} {
			row, _ := o.Message(id)
			require.Equal(t, "canceled", row.State)
			require.ErrorIs(t, o.Cancel(id), ErrOver)
		}
		require.ErrorIs(t, o.Cancel("nobody"), ErrUnknown)
		require.ErrorIs(t, o.Reprioritize(waiting, 1), ErrOver)
		time.Sleep(5 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"stays"}, carrier.texts())
		require.EqualValues(t, 2, o.Snapshot().Canceled)
	})
}

func TestReprioritize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		first := accept(t, o, "first", 0)
		a, b := accept(t, o, "a", 0), accept(t, o, "b", 0)
		require.NoError(t, o.Reprioritize(b, -1))
		require.ErrorIs(t, o.Reprioritize(first, -1), ErrOver, "it is underway")
		require.ErrorAs(t, o.Reprioritize(a, maxPriority+1), new(Invalid))
		require.Equal(t, "b", o.Snapshot().Pending[0].Text)
		require.Equal(t, -1, o.Snapshot().Pending[0].Priority)
		end(t, o)

		o = begin(t, path, carrier) // and after a restart
		synctest.Wait()
		require.Equal(t, "b", o.Snapshot().Underway[0].Text)
		require.NoError(t, o.Reprioritize(a, -5))
		time.Sleep(5 * time.Second)
		end(t, o)
		require.Equal(t, []string{"first", "b", "a"}, carrier.texts())
	})
}

func TestAMessageThatFailedWaitsForSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := begin(t, path, carrier)
		m, err := o.Accept(Draft{To: "+12125550113", Text: "refused"})
		require.NoError(t, err)
		other, err := o.Accept(Draft{To: "+12125550113", Text: "refused too"})
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		require.Equal(t, 2, o.Snapshot().Failures)
		require.Zero(t, end(t, o), "it is not sent again by itself")

		o = begin(t, path, carrier)
		require.Zero(t, o.restored)
		row, _ := o.Message(m.ID)
		require.Equal(t, "failed", row.State)
		require.Contains(t, row.Trouble, "400 Bad Request")
		require.NoError(t, o.Cancel(other.ID), "dismissed")
		accept(t, o, "meanwhile", 0)
		carrier.mu.Lock()
		carrier.healed = true
		carrier.mu.Unlock()
		require.NoError(t, o.SendAgain(m.ID))
		require.ErrorIs(t, o.SendAgain(m.ID), ErrOver)
		require.Equal(t, []string{"meanwhile", "refused"}, inFile(t, path))
		time.Sleep(5 * time.Second)
		require.Zero(t, end(t, o))
		require.Equal(t, []string{"meanwhile", "refused"}, carrier.texts())
		require.Empty(t, inFile(t, path))
	})
}

func TestSettingsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, carrier := stateFile(t), &slow{}
		o := again(t, path, carrier)
		require.Equal(t, Settings{Width: firstWidth}, o.Snapshot().Settings)
		require.NoError(t, o.Pause())
		require.NoError(t, o.SetWidth(2))
		require.NoError(t, o.SetRate(1))
		for _, text := range []string{"a", "b", "c"} {
			accept(t, o, text, 0)
		}
		require.Equal(t, 3, end(t, o))

		o = again(t, path, carrier)
		time.Sleep(time.Hour)
		require.Equal(t, Settings{2, 1, true}, o.Snapshot().Settings)
		require.Equal(t, "paused", o.Snapshot().State)
		require.Empty(t, carrier.texts())
		begun := time.Now()
		require.NoError(t, o.Resume())
		for o.Snapshot().Sent < 3 {
			time.Sleep(100 * time.Millisecond)
		}
		require.InDelta(t, 3, time.Since(begun).Seconds(), 0.2, "one a second")
		require.NoError(t, o.SetWidth(0))
		require.NoError(t, o.SetRate(0))
		end(t, o)

		o = again(t, path, carrier)
		require.Equal(t, Settings{}, o.Snapshot().Settings)
		accept(t, o, "d", 0)
		time.Sleep(time.Hour)
		require.Len(t, carrier.texts(), 3, "a width of 0 starts none")
		end(t, o)
		o = begin(t, path, carrier)
		require.Equal(t, 1, o.Snapshot().Width, "what the command line says wins")
		time.Sleep(2 * time.Second)
		require.Zero(t, end(t, o))
	})
}

func TestAnAttemptThatFailedIsRepeatedAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path, calls := stateFile(t), 0
		store, err := OpenStore(path)
		require.NoError(t, err)
		o, err := NewOutbox(store, courierOf(func(*http.Request) (*http.Response, error) {
			if calls++; calls == 1 {
				return answer(429, "Retry-After", "20"), nil
			}
			return answer(200), nil
		}), 1)
		require.NoError(t, err)
		id := accept(t, o, "twice", 0)
		synctest.Wait()
		row, _ := o.Message(id)
		require.Equal(t, "pending", row.State, "in the pause it holds no slot")
		require.Equal(t, 1, row.Attempts)
		require.Contains(t, row.Trouble, "429 Too Many Requests")
		require.Equal(t, 1, end(t, o), "and a stop does not wait for it")

		o = again(t, path, &slow{})
		row, _ = o.Message(id)
		require.Equal(t, 1, row.Attempts, "the attempts are kept")
		time.Sleep(19 * time.Second)
		require.Zero(t, o.Snapshot().Sent, "and so is the time that the carrier asked for")
		time.Sleep(3 * time.Second)
		require.Equal(t, uint64(1), o.Snapshot().Sent)
		require.Zero(t, end(t, o))
	})
}

func TestASaveThatFailedIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := stateFile(t)
		o := begin(t, path, &slow{})
		require.NoError(t, o.Pause())
		id := accept(t, o, "pending", 0)
		obstacle := path + ".tmp"
		for name, change := range map[string]func() error{
			"a message": func() error {
				_, err := o.Accept(Draft{To: "+12125550123", Text: "refused"})
				return err
			},
			"a pause":  o.Pause,
			"a width":  func() error { return o.SetWidth(9) },
			"a cancel": func() error { return o.Cancel(id) },
		} {
			require.NoError(t, os.MkdirAll(filepath.Join(obstacle, "x"), 0o700))
			require.ErrorIs(t, change(), ErrNotSaved, name)
			time.Sleep(time.Minute)
			require.NotEmpty(t, o.Snapshot().Trouble, name)
			require.NoError(t, os.RemoveAll(obstacle))
			time.Sleep(10 * time.Second)
			require.Empty(t, o.Snapshot().Trouble, name)
		}
		require.Empty(t, inFile(t, path))
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		state, err := decode(content)
		require.NoError(t, err)
		require.Equal(t, Settings{9, 0, true}, state.Settings, "the changes were made, and are in the file now")
		end(t, o)
	})
}

func TestHistoryIsBounded(t *testing.T) {
	l := newLedger()
	for range maxHistory + 10 {
		l.close(l.enter(Draft{}, time.Now()))
	}
	require.Len(t, l.entries, maxHistory)
	require.Len(t, l.history, maxHistory)
	require.Zero(t, l.unsent())
	require.Empty(t, l.messages())
}

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

// again starts an outbox on the state file at path, with the width it had.
func again(t *testing.T, path string, carrier *slow) *Outbox {
	t.Helper()
	store, err := OpenStore(path)
	require.NoError(t, err)
	o, err := NewOutbox(store, courierOf(carrier.carry), 0)
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
	state, err := decode(content)
	require.NoError(t, err)
	var texts []string
	for _, m := range state.Messages {
		texts = append(texts, m.Arg.Text)
	}
	return texts
}
