package main

import (
	"slices"
	"time"

	"github.com/twillgo/twill"
)

const (
	maxUnsent  = 10_000 // messages that wait, are underway or failed
	maxHistory = 1000   // messages that are over and can still be asked for
	rateWindow = 10 * time.Second
)

type job = twill.Job[Message, Receipt]

// entry is what is known of a message.
type entry struct {
	Message
	job      *job           // nil unless the message is in the queue
	attempts int            // that failed
	trouble  string         // why the last one did
	failure  string         // why the message failed for good
	outcome  twill.JobState // once it is over
	ended    time.Time      // when it was over, or failed
}

// state returns where the message is on its way.
func (e *entry) state() twill.JobState {
	switch {
	case e.failure != "":
		return twill.JobFailed
	case e.over():
		return e.outcome
	case e.job != nil:
		return e.job.State()
	}
	return twill.JobPending
}

// over reports whether nothing more can happen to the message.
func (e *entry) over() bool { return !e.ended.IsZero() && e.failure == "" }

// ledger knows every message there is and the last of those there were. The
// queue knows no more than the jobs that are still to be done. It is not safe
// for concurrent use.
type ledger struct {
	entries  map[string]*entry
	history  []string // of the messages that are over, oldest first
	lately   []time.Time
	number   int64
	sent     int
	canceled int
	retried  int
}

func newLedger() *ledger { return &ledger{entries: map[string]*entry{}} }

// unsent returns how many messages still need the state file.
func (l *ledger) unsent() int { return len(l.entries) - len(l.history) }

// failed returns the messages that failed for good, the latest first.
func (l *ledger) failed() []*entry {
	var failed []*entry
	for _, e := range l.entries {
		if e.failure != "" {
			failed = append(failed, e)
		}
	}
	slices.SortFunc(failed, func(a, b *entry) int { return b.ended.Compare(a.ended) })
	return failed
}

// enter makes an entry for a new message.
func (l *ledger) enter(d Draft, now time.Time) *entry {
	l.number++
	e := &entry{Message: Message{ID: newID(), Number: l.number, To: d.To, Text: d.Text, Priority: d.Priority, Accepted: now}}
	l.entries[e.ID] = e
	return e
}

// restore makes an entry for a message of the state file.
func (l *ledger) restore(m Saved) *entry {
	l.number = max(l.number, m.Number)
	e := &entry{Message: m.Message, failure: m.Failure}
	if m.Failure != "" {
		e.ended = m.Accepted
	}
	l.entries[m.ID] = e
	return e
}

// close notes that a message is over: sent or canceled.
func (l *ledger) close(e *entry, outcome twill.JobState, now time.Time) {
	e.outcome, e.ended, e.failure, e.job = outcome, now, "", nil
	if outcome == twill.JobFinished {
		l.sent++
		l.lately = append(l.trimmed(now), now)
	} else {
		l.canceled++
	}
	l.history = append(l.history, e.ID)
	if len(l.history) > maxHistory {
		delete(l.entries, l.history[0])
		l.history = slices.Delete(l.history, 0, 1)
	}
}

// perSecond returns how many messages a second were sent lately.
func (l *ledger) perSecond(now time.Time) float64 {
	l.lately = l.trimmed(now)
	return float64(len(l.lately)) / rateWindow.Seconds()
}

func (l *ledger) trimmed(now time.Time) []time.Time {
	old := 0
	for old < len(l.lately) && now.Sub(l.lately[old]) > rateWindow {
		old++
	}
	return slices.Delete(l.lately, 0, old)
}

// saved returns what belongs into the state file.
func (l *ledger) saved() []Saved {
	messages := []Saved{}
	for _, e := range l.entries {
		if !e.over() {
			messages = append(messages, Saved{Message: e.Message, Failure: e.failure})
		}
	}
	return messages
}
