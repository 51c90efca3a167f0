package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

const (
	maxUnsent   = 10_000 // messages that are pending, underway or failed
	maxHistory  = 1000   // messages that are over and can still be asked for
	pendingRows = 20
	failedRows  = 10
	recentRows  = 10
)

type job = twill.Job[Message, struct{}]

// entry is a message: its job while the queue has it and after the job has
// ended, and otherwise the record of it.
type entry struct {
	saved   twill.JobRecord[Message] // if there is no job
	job     *job
	trouble string // of the latest attempt that failed
	failure string // why the message failed for good
	over    bool   // sent, canceled or dismissed
}

func (e *entry) record() twill.JobRecord[Message] {
	if e.job != nil {
		return e.job.Record()
	}
	return e.saved
}

// release separates the entry from its job, as a record in another state.
func (e *entry) release(state twill.JobState) {
	e.saved, e.job = e.record(), nil
	e.saved.State = state
}

// ledger has every message that is not over, and the latest of those that are.
// The queue has the jobs that are still to be done. It is not safe for
// concurrent use.
type ledger struct {
	entries map[string]*entry
	history []string // of the messages that are over, oldest first
	number  int64    // of the latest message
}

func newLedger() *ledger { return &ledger{entries: map[string]*entry{}} }

// unsent returns how many messages still need the state file.
func (l *ledger) unsent() int { return len(l.entries) - len(l.history) }

// enter makes an entry for a new message.
func (l *ledger) enter(d Draft, now time.Time) *entry {
	l.number++
	m := Message{ID: newID(), Number: l.number, To: d.To, Text: d.Text}
	e := &entry{saved: twill.JobRecord[Message]{Arg: m, Priority: d.Priority, Queued: now}}
	l.entries[m.ID] = e
	return e
}

// restore makes an entry for a message of the state file.
func (l *ledger) restore(m Saved) *entry {
	l.number = max(l.number, m.Arg.Number)
	e := &entry{saved: m.JobRecord, failure: m.Failure}
	l.entries[m.Arg.ID] = e
	return e
}

// again makes a message that failed a pending one, the last of all.
func (l *ledger) again(e *entry, now time.Time) {
	r := e.record()
	l.number++
	r.Arg.Number = l.number
	*e = entry{saved: twill.JobRecord[Message]{Arg: r.Arg, Priority: r.Priority, Queued: now}}
}

// close records that a message is over: sent, canceled or dismissed.
func (l *ledger) close(e *entry) {
	e.over, e.failure = true, ""
	l.history = append(l.history, e.record().Arg.ID)
	if len(l.history) > maxHistory {
		delete(l.entries, l.history[0])
		l.history = slices.Delete(l.history, 0, 1)
	}
}

// messages returns what belongs in the state file.
func (l *ledger) messages() []Saved {
	messages := []Saved{}
	for _, e := range l.entries {
		if !e.over {
			messages = append(messages, Saved{e.record(), e.failure})
		}
	}
	return messages
}

// failed returns the messages that failed for good, the latest first.
func (l *ledger) failed() []Row {
	failed := []Row{}
	for _, e := range l.entries {
		if e.failure != "" {
			failed = append(failed, e.row())
		}
	}
	slices.SortFunc(failed, func(a, b Row) int { return cmp.Compare(b.Since, a.Since) })
	return failed
}

// Snapshot is what the page shows.
type Snapshot struct {
	Now int64 `json:"now"` // milliseconds since 1970, as all times here
	Settings
	State      string  `json:"state"`   // running, paused or stopping
	Trouble    string  `json:"trouble"` // why the state file could not be written
	Waiting    int     `json:"waiting"`
	InFlight   int     `json:"inFlight"`
	Sent       uint64  `json:"sent"` // since the start, as the next three
	Canceled   uint64  `json:"canceled"`
	Retried    uint64  `json:"retried"`    // attempts that failed and were repeated
	Throughput float64 `json:"throughput"` // messages that ended in a second, in the last minute
	EmptyIn    int64   `json:"emptyIn"`    // milliseconds until the queue is empty at that pace; -1 if unknown
	Failures   int     `json:"failures"`
	Underway   []Row   `json:"underway"` // in the order in which they were started
	Pending    []Row   `json:"pending"`  // the next to be started, in order
	Failed     []Row   `json:"failed"`   // the latest first
	Recent     []Row   `json:"recent"`   // messages that are over, the latest first
}

// Row is a message, as the page and the API show it.
type Row struct {
	ID       string `json:"id"`
	To       string `json:"to"`
	Text     string `json:"text"`
	Priority int    `json:"priority"`
	State    string `json:"state"`
	Since    int64  `json:"since"`    // the time at which it reached this state
	Attempts int    `json:"attempts"` // number of attempts that were begun
	Trouble  string `json:"trouble,omitempty"`
}

// Snapshot returns the present state.
func (o *Outbox) Snapshot() (s Snapshot) {
	s = Snapshot{Now: time.Now().UnixMilli(), State: "running", Recent: []Row{}}
	// Pending first: a job that starts between the two lists is in both, not
	// in neither.
	pending, underway, stats := o.queue.PendingPage(0, pendingRows), o.queue.Underway(), o.queue.Stats()
	s.Waiting, s.InFlight = stats.Pending, stats.Underway
	s.Sent, s.Canceled, s.Retried, s.Throughput = stats.Finished, stats.Canceled, stats.Retries, stats.Throughput
	o.mu.Lock()
	defer o.mu.Unlock()
	s.Settings = o.settings
	defer func() { s.EmptyIn = s.emptyIn() }()
	switch {
	case o.stopping:
		s.State = "stopping"
	case s.Paused:
		s.State = "paused"
	}
	if o.trouble != nil {
		s.Trouble = o.trouble.Error()
	}
	s.Underway = o.rows(underway, twill.JobUnderway)
	s.Pending = o.rows(pending, twill.JobPending)
	failed := o.ledger.failed()
	s.Failures, s.Failed = len(failed), failed[:min(len(failed), failedRows)]
	for _, id := range slices.Backward(o.ledger.history[max(0, len(o.ledger.history)-recentRows):]) {
		s.Recent = append(s.Recent, o.ledger.entries[id].row())
	}
	return s
}

// emptyIn estimates when the queue will be empty, in milliseconds: at the pace
// of the last minute, as long as nothing keeps messages from being started.
func (s Snapshot) emptyIn() int64 {
	left := s.Waiting + s.InFlight
	switch {
	case left == 0:
		return 0
	case s.State != "running", s.Width == 0, s.Throughput == 0:
		return -1
	}
	return int64(1000 * float64(left) / s.Throughput)
}

// rows returns a row for each of the jobs that are still in state.
func (o *Outbox) rows(jobs []*job, state twill.JobState) []Row {
	rows := []Row{}
	for _, job := range jobs {
		if e := o.ledger.entries[job.Arg().ID]; e != nil && e.job == job && job.State() == state {
			rows = append(rows, e.row())
		}
	}
	return rows
}

// Matching returns the messages that are not over and match a filter: those
// that failed, those underway, and those pending, each in the order of their
// lists.
func (o *Outbox) Matching(f Filter) []Row {
	pending, underway := o.queue.Pending(), o.queue.Underway()
	o.mu.Lock()
	defer o.mu.Unlock()
	rows := slices.Concat(o.ledger.failed(), o.rows(underway, twill.JobUnderway), o.rows(pending, twill.JobPending))
	return slices.DeleteFunc(rows, func(r Row) bool { return !f.Match(r) })
}

// Message returns the row of a message, and whether there is one.
func (o *Outbox) Message(id string) (Row, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.ledger.entries[id]
	if e == nil {
		return Row{}, false
	}
	return e.row(), true
}

// stateName returns the name of a state as the page and the API show it.
func stateName(s twill.JobState) string { return strings.ToLower(s.String()) }

func (e *entry) row() Row {
	r := e.record()
	since := r.Stopped
	switch r.State {
	case twill.JobPending:
		since = r.Queued
	case twill.JobUnderway:
		since = r.Started
	}
	row := Row{
		ID: r.Arg.ID, To: r.Arg.To, Text: r.Arg.Text, Priority: r.Priority,
		State: stateName(r.State), Since: since.UnixMilli(), Attempts: r.Attempts, Trouble: e.trouble,
	}
	if e.failure != "" {
		row.Trouble = e.failure
	}
	return row
}
