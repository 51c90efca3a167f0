package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

// This file has every message of the wire format; docs/wire.md describes them,
// and testdata/wire.json has one of each.

// wireVersion is the version of the wire format. A process ignores messages of
// a later major version, and reports them; fields that it does not know are
// ignored.
const wireVersion = 1

// term is the time of one scheduler: the incarnation of the journal stream, by
// the time it was created, and the sequence of the scheduler's epoch record in
// it.
type term struct {
	Journal int64  `json:"journal,omitempty"`
	Epoch   uint64 `json:"epoch,omitempty"`
}

// before reports whether t ended before u began.
func (t term) before(u term) bool {
	return t.Journal < u.Journal || t.Journal == u.Journal && t.Epoch < u.Epoch
}

// putMessage is what is published to the inbox stream: the puts that one
// process has made at about the same time.
type putMessage struct {
	Version int       `json:"v"`
	From    string    `json:"from"` // the process
	Puts    []wirePut `json:"puts"`

	// Again is set if one of the puts may have been published before: the
	// scheduler looks for outcomes of the jobs first.
	Again bool `json:"again,omitempty"`
}

// wirePut is a call of Put or PutAll: its jobs are put together, all or none.
type wirePut struct {
	Jobs    []putJob `json:"jobs"`
	Options putFlags `json:"options,omitzero"`
}

// putJob is one job of a wirePut.
type putJob struct {
	ID  string          `json:"id"`
	Arg json.RawMessage `json:"arg"`
}

// putFlags are the options of a wirePut. Times are durations from when the
// stream took the message: clocks of machines are not compared.
type putFlags struct {
	Priority int           `json:"priority,omitempty"`
	After    time.Duration `json:"after,omitempty"`
	Expires  time.Duration `json:"expires,omitempty"` // 0: never; negative: at once
	Timeout  time.Duration `json:"timeout,omitempty"` // negative: none
	Key      string        `json:"key,omitempty"`
	Group    string        `json:"group,omitempty"`
	Refuse   bool          `json:"refuse,omitempty"`
	Again    bool          `json:"again,omitempty"`
	Debounce bool          `json:"debounce,omitempty"`
	Held     bool          `json:"held,omitempty"`
}

// record is a job as the journal keeps it. Times are nanoseconds since 1970 by
// the clock of the streams, 0 for none.
type record struct {
	ID       string          `json:"id"`
	Arg      json.RawMessage `json:"arg,omitempty"`
	Priority int             `json:"priority,omitempty"`
	Key      string          `json:"key,omitempty"`
	Group    string          `json:"group,omitempty"`
	Order    uint64          `json:"order,omitempty"` // the place among equals
	Queued   int64           `json:"queued,omitempty"`
	Due      int64           `json:"due,omitempty"`
	Expires  int64           `json:"expires,omitempty"`
	Started  int64           `json:"started,omitempty"`  // the first call
	Deadline int64           `json:"deadline,omitempty"` // of all calls
	Timeout  time.Duration   `json:"timeout,omitempty"`
	Held     bool            `json:"held,omitempty"`
	Follows  bool            `json:"follows,omitempty"`  // waits for an earlier run of its key
	Attempts int             `json:"attempts,omitempty"` // calls that count
	HandOuts uint64          `json:"handOuts,omitempty"` // the number of the last attempt
	Lost     int             `json:"lost,omitempty"`     // attempts whose worker was lost
	Worker   string          `json:"worker,omitempty"`   // the process that has the job, "" if none has
	Errs     []*failure      `json:"errs,omitempty"`     // of the calls that have failed, the latest maxErrs
	From     string          `json:"from,omitempty"`     // the process that has put it
	Watch    []string        `json:"watch,omitempty"`    // further processes that wait for it
}

// maxErrs is how many errors of a job's calls are kept.
const maxErrs = 10

// token names one attempt of the job.
func (r *record) token() token { return token{r.ID, r.HandOuts} }

// token names one attempt: the job, and the number of the hand-out, which
// grows.
type token struct {
	ID     string `json:"id"`
	Number uint64 `json:"n"`
}

// batch is one message of the journal: what has changed since the one before.
// It has an epoch record, effects, or a part of a snapshot.
type batch struct {
	Version int               `json:"v"`
	Number  uint64            `json:"number"` // one more than that of the message before
	Nonce   string            `json:"nonce"`  // of the scheduler's term
	Epoch   *epoch            `json:"epoch,omitempty"`
	Time    int64             `json:"time,omitempty"`
	Inbox   uint64            `json:"inbox,omitempty"`   // the last message of the inbox that was taken
	Made    int64             `json:"made,omitempty"`    // when that inbox was created: another one begins with 1 again
	Effects []json.RawMessage `json:"effects,omitempty"` // each is an effect
	Part    *part             `json:"part,omitempty"`
}

// epoch begins the term of a scheduler.
type epoch struct {
	Process string `json:"process"`
	Name    string `json:"name"`
}

// effect is one change. One field is set.
type effect struct {
	Put    *record   `json:"put,omitempty"`    // a job was added
	Change *record   `json:"change,omitempty"` // a job has changed; without Arg, that has not
	End    *endEvent `json:"end,omitempty"`    // a job has ended
	Joined int       `json:"joined,omitempty"` // puts that have joined a job
	Refuse int       `json:"refuse,omitempty"` // puts that were refused
	Retry  bool      `json:"retry,omitempty"`  // a call has failed, and is followed by another
	Snooze bool      `json:"snooze,omitempty"`
	Config *config   `json:"config,omitempty"`
}

// endEvent is the end of a job.
type endEvent struct {
	ID    string         `json:"id"`
	State twill.JobState `json:"state"`
}

// config is what was set on the whole queue.
type config struct {
	Width  *int                        `json:"width,omitempty"`
	Paused bool                        `json:"paused,omitempty"`
	Groups map[string]twill.GroupLimit `json:"groups,omitempty"`
	Others *twill.GroupLimit           `json:"others,omitempty"`
	Rate   *rateConfig                 `json:"rate,omitempty"`
}

// rateConfig is the rate limit of the whole queue.
type rateConfig struct {
	PerSecond float64 `json:"perSecond"` // 0 means no limit
	Burst     int     `json:"burst,omitempty"`
}

// counters are numbers of the queue since it was made.
type counters struct {
	Put      uint64 `json:"put,omitempty"`
	Joined   uint64 `json:"joined,omitempty"`
	Refused  uint64 `json:"refused,omitempty"`
	Retries  uint64 `json:"retries,omitempty"`
	Snoozed  uint64 `json:"snoozed,omitempty"`
	Finished uint64 `json:"finished,omitempty"`
	Failed   uint64 `json:"failed,omitempty"`
	Canceled uint64 `json:"canceled,omitempty"`
}

// part is a part of a snapshot: the state as it was before the first part.
type part struct {
	Index    int       `json:"index"`
	Last     bool      `json:"last,omitempty"`
	Jobs     []*record `json:"jobs,omitempty"`
	Order    uint64    `json:"order,omitempty"` // these are in part 0
	Inbox    uint64    `json:"inbox,omitempty"`
	Config   config    `json:"config,omitzero"`
	Counters counters  `json:"counters,omitzero"`
}

// outcome is what is stored for a job id, once. A put that has joined another
// job, or was refused, has one too.
type outcome struct {
	Version  int             `json:"v"`
	ID       string          `json:"id"`
	State    string          `json:"state"` // "finished", "failed", "canceled", "joined", "refused"
	Value    json.RawMessage `json:"value,omitempty"`
	Error    *failure        `json:"error,omitempty"`
	To       string          `json:"to,omitempty"`       // of one that has joined, or was refused as it has the key: the other job
	Attempt  uint64          `json:"attempt,omitempty"`  // the hand-out
	Attempts int             `json:"attempts,omitempty"` // calls that count
	By       string          `json:"by"`                 // the process
	Nonce    string          `json:"nonce"`              // to recognize an own write
}

// The states of an outcome.
const (
	outFinished = "finished"
	outFailed   = "failed"
	outCanceled = "canceled"
	outJoined   = "joined"
	outRefused  = "refused"
)

func (o *outcome) state() twill.JobState {
	switch o.State {
	case outFinished:
		return twill.JobFinished
	case outCanceled:
		return twill.JobCanceled
	}
	return twill.JobFailed
}

// request is what a process asks the scheduler.
type request struct {
	Version int    `json:"v"`
	Op      string `json:"op"`
	From    string `json:"from"` // the process

	// Inbox is the last message of the inbox that the process has published, and
	// Made when that stream was created: the request is carried out when the
	// scheduler has taken that message.
	Inbox uint64 `json:"inbox,omitempty"`
	Made  int64  `json:"made,omitempty"`

	ID     string            `json:"id,omitempty"`
	IDs    []string          `json:"ids,omitempty"`
	Key    string            `json:"key,omitempty"`
	N      int               `json:"n,omitempty"`
	First  int               `json:"first,omitempty"`
	State  string            `json:"state,omitempty"`
	Set    bool              `json:"set,omitempty"` // N is given
	Limit  *twill.GroupLimit `json:"limit,omitempty"`
	Rate   *rateConfig       `json:"rate,omitempty"`
	Worker *workerBeat       `json:"worker,omitempty"`
	Done   []doneReport      `json:"done,omitempty"`
}

// The operations of a request.
const (
	opPing    = "ping"    // reports the term
	opBeat    = "beat"    // a worker lives
	opDone    = "done"    // attempts have ended
	opEnded   = "ended"   // an outcome was stored by another than a worker
	opStatus  = "status"  // which of IDs are not pending or underway
	opJob     = "job"     // the record of ID, or of the job of Key
	opList    = "list"    // N records in State, without the first First
	opStats   = "stats"   // the numbers
	opWidth   = "width"   // sets the width
	opRate    = "rate"    // sets the rate limit
	opPause   = "pause"   //
	opResume  = "resume"  // and, with Set, sets the width
	opClear   = "clear"   // cancels all pending jobs
	opPrio    = "prio"    // gives ID the priority N
	opRelease = "release" // of a held job
	opGroup   = "group"   // sets the limit of the group Key
	opGroups  = "groups"  // sets the limit of other groups
	opAwait   = "await"   // waits for State: "empty", "idle", "paused", or "below" N
	opWhy     = "why"     // what ID waits for
	opAgain   = "again"   // the argument of an ended job
	opEvents  = "events"  // events are to be published for a lease
)

// workerBeat is what a worker says of itself, at least three times in a lease.
type workerBeat struct {
	Number  uint64       `json:"number"` // grows
	Name    string       `json:"name"`
	Program string       `json:"program,omitempty"` // its version
	Width   int          `json:"width"`             // how many jobs it runs at once
	Running []token      `json:"running,omitempty"`
	Done    []doneReport `json:"done,omitempty"` // not confirmed yet
	Bye     bool         `json:"bye,omitempty"`  // it has stopped, and runs no job
}

// doneReport is the end of one attempt.
type doneReport struct {
	Token    token         `json:"token"`
	Stored   string        `json:"stored,omitempty"` // the state of the outcome that is stored
	Seq      uint64        `json:"seq,omitempty"`    // where
	Back     bool          `json:"back,omitempty"`   // the worker has not run the job, or not to its end
	Again    bool          `json:"again,omitempty"`  // the job is pending again
	After    time.Duration `json:"after,omitempty"`  // and due after that time
	Counts   bool          `json:"counts,omitempty"` // the call counts as an attempt
	Error    *failure      `json:"error,omitempty"`  // it has failed with
	Notified bool          `json:"notified,omitempty"`
}

// reply is the scheduler's answer to a request.
type reply struct {
	Version int    `json:"v"`
	Term    term   `json:"term"`
	Error   string `json:"error,omitempty"` // one of the codes below, or a text

	Record  *jobView   `json:"record,omitempty"`
	Records []jobView  `json:"records,omitempty"`
	Gone    []string   `json:"gone,omitempty"`
	Invalid []string   `json:"invalid,omitempty"` // of Gone, what cannot be the id of a job
	Lost    []token    `json:"lost,omitempty"`
	Known   []token    `json:"known,omitempty"` // reports that need not be repeated
	Inbox   uint64     `json:"inbox,omitempty"`
	Created int64      `json:"created,omitempty"` // of the inbox stream
	N       int        `json:"n,omitempty"`
	Done    bool       `json:"done,omitempty"` // of an await: it has come; of others: something was changed
	Stats   *wireStats `json:"stats,omitempty"`
	Reason  string     `json:"reason,omitempty"`
	Until   int64      `json:"until,omitempty"` // from now
}

// The error codes of replies.
const (
	codeUnknown    = "unknown"     // there is no such job
	codeNotPending = "not pending" //
	codeNegative   = "negative"    // width
	codeVersion    = "version"     // the request is of a later version of the wire format
	codeOp         = "operation"   // not known
	codeRequest    = "request"     // the request cannot be read, or its process id is not one
	codeResumed    = "resumed"     // a pause
)

// jobView is a job as lists show it. Times are durations before now, so that
// clocks are not compared; 0 means that there is no such time.
type jobView struct {
	Record record         `json:"record"`
	State  twill.JobState `json:"state"`
	Error  *failure       `json:"error,omitempty"`
	Worker string         `json:"worker,omitempty"`
	Queued time.Duration  `json:"queued,omitempty"`
	Due    time.Duration  `json:"due,omitempty"` // may lie ahead
	Expire time.Duration  `json:"expire,omitempty"`
	Start  time.Duration  `json:"start,omitempty"` // of the latest call
	End    time.Duration  `json:"end,omitempty"`
}

// wireStats are numbers of the queue.
type wireStats struct {
	Width      int          `json:"width"`
	Paused     bool         `json:"paused,omitempty"`
	Rate       *rateConfig  `json:"rate,omitempty"`
	Underway   int          `json:"underway"`
	Pending    int          `json:"pending"`
	Delayed    int          `json:"delayed"`
	Grouped    int          `json:"grouped"`
	Counters   counters     `json:"counters"`
	Throughput float64      `json:"throughput"`
	Waiting    [][2]int64   `json:"waiting,omitempty"` // limits of classes, and numbers
	Running    [][2]int64   `json:"running,omitempty"`
	Next       int64        `json:"next,omitempty"` // for how long the next job has been due
	RateHeld   int64        `json:"rateHeld,omitempty"`
	RateFails  int64        `json:"rateFails,omitempty"`
	RateError  string       `json:"rateError,omitempty"`
	Scheduler  string       `json:"scheduler"`
	Process    string       `json:"process,omitempty"` // of the scheduler
	Journal    uint64       `json:"journal"`           // its last sequence
	Workers    []workerView `json:"workers,omitempty"`
}

// workerView is a worker as Workers shows it.
type workerView struct {
	Process string        `json:"process"`
	Name    string        `json:"name"`
	Program string        `json:"program,omitempty"`
	Width   int           `json:"width"`
	Running int           `json:"running"`
	Beat    time.Duration `json:"beat"` // since the last
}

// announcement is what the scheduler publishes to all, three times in a lease.
type announcement struct {
	Version int    `json:"v"`
	Term    term   `json:"term"`
	Name    string `json:"name"`
	Process string `json:"process"`
	Journal uint64 `json:"journal"` // the last sequence that it knows
	Resigns bool   `json:"resigns,omitempty"`
}

// eventsMessage has events, which the scheduler publishes for their readers.
type eventsMessage struct {
	Version int         `json:"v"`
	Term    term        `json:"term"`
	First   uint64      `json:"first"` // the number of the first of Events, in the term
	Events  []wireEvent `json:"events"`
}

// wireEvent is an event.
type wireEvent struct {
	Kind     twill.EventKind `json:"kind"`
	Job      string          `json:"job,omitempty"`
	State    twill.JobState  `json:"state"` // of the job
	Priority int             `json:"priority,omitempty"`
	Worker   string          `json:"worker,omitempty"` // the name of the process that has the job
	Width    int             `json:"width"`
	Error    *failure        `json:"error,omitempty"`
}

// message is what is sent to one process.
type message struct {
	Version int  `json:"v"`
	Term    term `json:"term"`

	Jobs     []*assignment `json:"jobs,omitempty"`     // run them
	Cancel   []token       `json:"cancel,omitempty"`   // end their contexts
	Known    []token       `json:"known,omitempty"`    // reports that need not be repeated
	Outcomes []*outcome    `json:"outcomes,omitempty"` // jobs have ended
	Ended    []string      `json:"ended,omitempty"`    // jobs have ended: their outcomes are in the stream
	Taken    []string      `json:"taken,omitempty"`    // puts that have become jobs
	Skipped  []skipped     `json:"skipped,omitempty"`  // messages of the inbox that cannot be read
}

// skipped is a message of the inbox in which the scheduler has found no ids of
// jobs.
type skipped struct {
	Seq   uint64   `json:"seq"`
	Error *failure `json:"error"`
}

// add adds what o has.
func (m *message) add(o message) {
	m.Jobs = append(m.Jobs, o.Jobs...)
	m.Cancel = append(m.Cancel, o.Cancel...)
	m.Known = append(m.Known, o.Known...)
	m.Outcomes = append(m.Outcomes, o.Outcomes...)
	m.Ended = append(m.Ended, o.Ended...)
	m.Taken = append(m.Taken, o.Taken...)
	m.Skipped = append(m.Skipped, o.Skipped...)
}

// size is at least as many bytes as m has on the wire.
func (m *message) size() int {
	n := 128 * (1 + len(m.Cancel) + len(m.Known) + len(m.Ended) + len(m.Taken))
	n += maxFailure * len(m.Skipped)
	for _, a := range m.Jobs {
		n += len(a.Arg) + 512 + maxFailure*len(a.Errs)
	}
	for _, o := range m.Outcomes {
		n += len(o.Value) + 512
		if o.Error != nil {
			n += maxFailure
		}
	}
	return n
}

// maxFailure is about how many bytes an error has on the wire at most.
const maxFailure = 64 << 10

// assignment is a job that is handed to a worker.
type assignment struct {
	Token    token           `json:"token"`
	Beat     uint64          `json:"beat"` // the last beat of the worker that the scheduler knew
	Arg      json.RawMessage `json:"arg"`
	Attempts int             `json:"attempts"` // with this one
	Left     time.Duration   `json:"left,omitempty"`
	Timeout  time.Duration   `json:"timeout,omitempty"` // Left at first
	Elapsed  time.Duration   `json:"elapsed,omitempty"` // since the first call began
	Errs     []*failure      `json:"errs,omitempty"`
	From     string          `json:"from"`
}

// failure is an error on the wire.
type failure struct {
	Kind     string        `json:"kind,omitempty"` // "" is any error, of which only the text is known
	Text     string        `json:"text,omitempty"`
	After    time.Duration `json:"after,omitempty"`
	Attempts int           `json:"attempts,omitempty"`
	Elapsed  time.Duration `json:"elapsed,omitempty"`
	Size     int           `json:"size,omitempty"` // of a message that is too large
	Max      int           `json:"max,omitempty"`  // the limit
	Cause    *failure      `json:"cause,omitempty"`
	Errs     []*failure    `json:"errs,omitempty"`
}

// Error is an error of a job's function, from whatever process ran it: its type
// is lost, and its text is kept. Errors of package twill keep their types.
type Error struct {
	Text string
}

func (e *Error) Error() string { return e.Text }

// sentinels are errors that are known by their names on the wire. Of several
// that an error is, the first one is kept.
var sentinels = []struct {
	kind string
	err  error
}{
	{"exit", twill.ErrGoexit},
	{"expired", twill.ErrExpired},
	{"stopped", twill.ErrStopped},
	{"exhausted", twill.ErrRetriesExhausted},
	{"elapsed", twill.ErrMaxElapsed},
	{"no budget", twill.ErrNoBudget},
	{"not retryable", twill.ErrNotRetryable},
	{"lost", ErrLost},
	{"queue full", twill.ErrQueueFull},
	{"duplicate", twill.ErrDuplicateJob},
	{"too large", ErrTooLarge},
	{"deadline", context.DeadlineExceeded},
	{"context canceled", context.Canceled},
}

func sentinelOf(kind string) error {
	for _, s := range sentinels {
		if s.kind == kind {
			return s.err
		}
	}
	return nil
}

// maxDepth bounds the nesting of errors on the wire.
const maxDepth = 8

func encodeError(err error) *failure { return encodeErrorDepth(err, 0) }

func encodeErrorDepth(err error, depth int) *failure {
	if err == nil {
		return nil
	}
	if depth == maxDepth {
		return &failure{Text: textOf(err)}
	}
	switch e := err.(type) {
	case *twill.TimeoutError:
		return &failure{Kind: "timeout", After: e.After, Cause: encodeErrorDepth(e.Err, depth+1)}
	case *twill.CanceledError:
		return &failure{Kind: "canceled", Cause: encodeErrorDepth(e.Cause, depth+1)}
	case *TooLargeError:
		return &failure{Kind: "too large", Text: e.What, Size: e.Size, Max: e.Max}
	case *twill.PanicError:
		return &failure{Kind: "panic", Text: textOf(fmt.Errorf("%v", e.Value))}
	case *twill.RetryError:
		f := &failure{Kind: "retry", Attempts: e.Attempts, Elapsed: e.Elapsed, Cause: encodeErrorDepth(e.Reason, depth+1)}
		errs := e.Errs
		for _, err := range errs[max(len(errs)-maxErrs, 0):] {
			f.Errs = append(f.Errs, encodeErrorDepth(err, depth+1))
		}
		return f
	}
	f := &failure{Text: textOf(err)}
	for _, s := range sentinels {
		if err == s.err {
			return &failure{Kind: s.kind}
		}
		if f.Kind == "" && isError(err, s.err) {
			f.Kind = "is " + s.kind
		}
	}
	return f
}

// maxText is how long a text of an error may be on the wire.
const maxText = 4 << 10

// textOf is the text of err, even if its method panics.
func textOf(err error) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprintf("%T whose Error method panics", err)
		}
		if len(text) > maxText {
			text = text[:maxText] + "..."
		}
	}()
	return err.Error()
}

func isError(err, target error) (is bool) {
	defer func() { _ = recover() }() // of an error whose methods panic
	return errors.Is(err, target)
}

// markedError is an error that is known to be a sentinel.
type markedError struct {
	plain Error
	is    error
}

func (e *markedError) Error() string { return e.plain.Text }

func (e *markedError) Unwrap() error { return e.is }

// As lets errors.As find the plain form.
func (e *markedError) As(target any) bool {
	if t, ok := target.(**Error); ok {
		*t = &e.plain
		return true
	}
	return false
}

func decodeError(f *failure) error {
	if f == nil {
		return nil
	}
	switch f.Kind {
	case "timeout":
		return &twill.TimeoutError{After: f.After, Err: decodeError(f.Cause)}
	case "canceled":
		return &twill.CanceledError{Cause: decodeError(f.Cause)}
	case "panic":
		return &twill.PanicError{Value: f.Text}
	case "retry":
		e := &twill.RetryError{Reason: decodeError(f.Cause), Attempts: f.Attempts, Elapsed: f.Elapsed}
		for _, err := range f.Errs {
			e.Errs = append(e.Errs, decodeError(err))
		}
		return e
	case "too large":
		if f.Max != 0 {
			return &TooLargeError{What: f.Text, Size: f.Size, Max: f.Max}
		}
	}
	if err := sentinelOf(f.Kind); err != nil {
		return err
	}
	if kind, ok := strings.CutPrefix(f.Kind, "is "); ok {
		if err := sentinelOf(kind); err != nil {
			return &markedError{Error{f.Text}, err}
		}
	}
	return &Error{f.Text}
}
