package main

import (
	"time"

	"github.com/twillgo/twill"
)

const (
	pendingRows = 20
	recentRows  = 10
)

// Snapshot is what the page shows.
type Snapshot struct {
	Now       int64   `json:"now"` // milliseconds since 1970, as all times here
	Width     int     `json:"width"`
	State     string  `json:"state"` // RUNNING, PAUSED or STOPPING
	Trouble   string  `json:"trouble"`
	Waiting   int     `json:"waiting"`
	InFlight  int     `json:"inFlight"`
	Sent      int     `json:"sent"`
	Failures  int     `json:"failures"`
	Canceled  int     `json:"canceled"`
	Retried   int     `json:"retried"`
	PerSecond float64 `json:"perSecond"`
	Underway  []Row   `json:"underway"` // in the order in which they were started
	Pending   []Row   `json:"pending"`  // the next to go, in order
	Failed    []Row   `json:"failed"`   // the latest first
	Recent    []Row   `json:"recent"`   // those that are over, the latest first
}

// Row is a message, as the page and the API show it.
type Row struct {
	ID       string `json:"id"`
	To       string `json:"to"`
	Text     string `json:"text"`
	Priority int    `json:"priority"`
	State    string `json:"state"`
	Since    int64  `json:"since"`    // when it came into this state
	Attempts int    `json:"attempts"` // that failed
	Trouble  string `json:"trouble,omitempty"`
}

// Snapshot returns how things are.
func (o *Outbox) Snapshot() Snapshot {
	now := time.Now()
	s := Snapshot{Now: now.UnixMilli(), Width: o.queue.Width(), State: "RUNNING", Failed: []Row{}, Recent: []Row{}}
	// Pending first: a job that starts between the two lists is in both, not
	// in neither.
	pending, underway := o.queue.Pending(), o.queue.Underway()
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.stopping:
		s.State = "STOPPING"
	case o.queue.Paused():
		s.State = "PAUSED"
	}
	if o.trouble != nil {
		s.Trouble = o.trouble.Error()
	}
	failed := o.ledger.failed()
	s.Waiting, s.InFlight, s.Failures = len(pending), len(underway), len(failed)
	s.Sent, s.Canceled, s.Retried = o.ledger.sent, o.ledger.canceled, o.ledger.retried
	s.PerSecond = o.ledger.perSecond(now)
	s.Underway = o.jobRows(underway, twill.JobUnderway, maxWidth)
	s.Pending = o.jobRows(pending, twill.JobPending, pendingRows)
	for _, e := range failed[:min(len(failed), recentRows)] {
		s.Failed = append(s.Failed, e.row())
	}
	for i := len(o.ledger.history) - 1; i >= 0 && len(s.Recent) < recentRows; i-- {
		s.Recent = append(s.Recent, o.ledger.entries[o.ledger.history[i]].row())
	}
	return s
}

// jobRows returns a row for each of the first jobs that are still in state.
func (o *Outbox) jobRows(jobs []*job, state twill.JobState, most int) []Row {
	rows := []Row{}
	for _, job := range jobs {
		if len(rows) == most {
			break
		}
		if e := o.ledger.entries[job.Arg().ID]; e != nil && e.job == job && e.state() == state {
			rows = append(rows, e.row())
		}
	}
	return rows
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

func (e *entry) row() Row {
	state := e.state()
	since := e.ended
	switch {
	case state == twill.JobPending:
		since = e.Accepted
	case since.IsZero() && e.job != nil:
		since = e.job.Started()
	}
	row := Row{
		ID: e.ID, To: e.To, Text: e.Text, Priority: e.Priority,
		State: state.String(), Since: since.UnixMilli(), Attempts: e.attempts, Trouble: e.trouble,
	}
	if e.failure != "" {
		row.Trouble = e.failure
	}
	return row
}
