package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// DispatchEvent is an event of the queue of the whole cluster, as Events yields
// it.
type DispatchEvent struct {
	Kind twill.EventKind
	Time time.Time // of its arrival, by the clock of this process
	Job  string    // the id of the job; "" if the event is about the queue

	// State and Priority are those of the job at that moment, Worker is the name
	// of the process that has it, and Width is the width of the queue.
	State    twill.JobState
	Priority int
	Worker   string
	Width    int

	// Err is the error of the call, for EventRetry, or with which the job has
	// ended, for EventEnded.
	Err error

	// Lost is the number of events before this event that were dropped because the
	// reader was too slow, or whose messages were lost.
	Lost int
}

// maxEvents is the maximum number of events that are buffered for a reader.
const maxEvents = 1024

// Events returns the events of the whole cluster from now on, in their order,
// as in the root package: puts, starts, retries, snoozes and ends of jobs, and
// changes of priorities and settings, in whatever process. There are no events
// for a stop and for a limiter that fails. The scheduler publishes them when
// the journal has them, and only while a process reads events.
//
// A slow reader does not block the queue: at most 1024 events are buffered,
// older events are dropped, and DispatchEvent.Lost counts them. When another
// process becomes the scheduler, the events of that moment may be missing;
// Results misses none. When ctx ends, q is closed or the connection is closed
// for good, the loop yields the events that are available and ends; check
// ctx.Err() to distinguish. The sequence can be used once. The subscription
// lasts until the loop has ended or ctx has ended.
func (q *Queue[A, R]) Events(ctx context.Context) iter.Seq[DispatchEvent] {
	if ctx == nil {
		panic("jetstream: Events with a nil context")
	}
	ctx, leave := context.WithCancel(ctx)
	f := &eventFeed{now: q.n.now, more: make(chan struct{}, 1)}
	sub, err := q.n.conn.Subscribe(q.n.st.eventsSubject(), f.take)
	if err != nil {
		q.n.report(err)
		leave()
	}
	q.wantEvents(ctx)
	closed := context.AfterFunc(q.n.ctx, leave)
	go func() {
		defer closed()
		for sleep(ctx, q.n.opts.Lease/8) && !q.n.conn.IsClosed() {
			q.wantEvents(ctx)
		}
		if sub != nil {
			_ = sub.Unsubscribe()
		}
		f.close()
	}()
	return func(yield func(DispatchEvent) bool) {
		defer leave()
		for e, ok := f.next(); ok; e, ok = f.next() {
			if !yield(e) {
				return
			}
		}
	}
}

// wantEvents asks the scheduler to publish events.
func (q *Queue[A, R]) wantEvents(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, q.n.opts.Lease/2)
	defer cancel()
	_, _ = q.n.askSoon(ctx, &request{Op: opEvents})
}

// eventFeed is the buffer of one reader.
type eventFeed struct {
	now func() time.Time

	mu     sync.Mutex // guards the fields below
	events []DispatchEvent
	lost   int    // before the next event
	term   term   // of the last message
	number uint64 // of the next event of that term
	closed bool
	more   chan struct{} // holds a token if the reader has to look
}

func (f *eventFeed) take(m *nats.Msg) {
	var msg eventsMessage
	if json.Unmarshal(m.Data, &msg) != nil || msg.Version > wireVersion {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case msg.Term.before(f.term):
		return
	case msg.Term == f.term && msg.First > f.number:
		f.lost += int(msg.First - f.number)
	}
	f.term, f.number = msg.Term, msg.First+uint64(len(msg.Events))
	now := f.now()
	for _, e := range msg.Events {
		if len(f.events) == maxEvents {
			dropped := f.events[0].Lost + 1
			f.events = f.events[1:]
			f.events[0].Lost += dropped
		}
		f.events = append(f.events, DispatchEvent{e.Kind, now, e.Job, e.State, e.Priority, e.Worker, e.Width, decodeError(e.Error), f.lost})
		f.lost = 0
	}
	f.wake()
}

func (f *eventFeed) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

func (f *eventFeed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.wake()
}

// next waits for the next event. It reports false when there is none any
// longer.
func (f *eventFeed) next() (e DispatchEvent, ok bool) {
	for {
		f.mu.Lock()
		if len(f.events) > 0 {
			e = f.events[0]
			f.events = f.events[1:]
			f.mu.Unlock()
			return e, true
		}
		closed := f.closed
		f.mu.Unlock()
		if closed {
			return e, false
		}
		<-f.more
	}
}

// eventLocked adds an event about e, or about the queue if e is nil, if a
// process reads events. with has what differs from the present state of e.
func (s *scheduler) eventLocked(kind twill.EventKind, e *entry, with *wireEvent) {
	if !time.Now().Before(s.eventsUntil) {
		return
	}
	event := &wireEvent{}
	if with != nil {
		*event = *with
	}
	event.Kind, event.Width = kind, s.configuredWidth()
	if e != nil {
		event.Job, event.Priority = e.rec.ID, e.rec.Priority
		if e.w != nil {
			event.Worker = e.w.name
			if kind == twill.EventStarted {
				event.State = twill.JobUnderway
			}
		}
	}
	s.addLocked(item{event: event})
}

// publishEvents publishes the events of items, which were committed.
func (s *scheduler) publishEvents(items []item) {
	m := eventsMessage{Version: wireVersion, Term: s.term, First: s.published}
	send := func() {
		if len(m.Events) > 0 && !s.closed.Load() {
			_ = s.n.conn.Publish(s.n.st.eventsSubject(), encode(m))
		}
		m.First, m.Events = s.published, nil
	}
	size := 0
	for _, it := range items {
		if it.event == nil {
			continue
		}
		data := encode(it.event)
		if size += len(data) + 1; size > s.n.maxBatch {
			send()
			size = len(data)
		}
		m.Events = append(m.Events, *it.event)
		s.published++
	}
	send()
}

// Outcome is how a job has ended, as Results yields it.
type Outcome[R any] struct {
	Job      string         // the id
	State    twill.JobState // JobFinished, JobFailed or JobCanceled
	Value    R
	Err      error // nil if State is JobFinished
	Attempts int   // calls that count
}

// Results returns the outcomes that are stored from now on, in the whole
// cluster, in their order: the jobs of all processes that finish, fail or are
// canceled. It reads the stream of outcomes. Nothing is dropped while the
// stream keeps it (Options.Keep), whichever process schedules and however long
// this one was cut off, and each loop begins anew with the first outcome. What
// is stored is not necessarily reported yet: the job may be in lists still.
//
// The sequence yields an error, and ends, if the stream cannot be read, for
// example with [ErrNoStream]. When ctx ends, or q is closed, it ends; check
// ctx.Err() to distinguish the two. The call itself waits for the cluster, at
// most for Options.Wait.
func (q *Queue[A, R]) Results(ctx context.Context) iter.Seq2[Outcome[R], error] {
	if ctx == nil {
		panic("jetstream: Results with a nil context")
	}
	from, err := q.afterOutcomes(ctx)
	return func(yield func(Outcome[R], error) bool) {
		if err != nil {
			if ctx.Err() == nil {
				yield(Outcome[R]{}, err)
			}
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(q.n.ctx, cancel)()
		for next := from; ; {
			err := q.n.st.follow(ctx, q.n.st.outcomes(), next, func(seq uint64, _ time.Time, data []byte) bool {
				next = seq + 1
				o, ok := decodeOutcome[R](data)
				return !ok || yield(o, nil)
			})
			if errors.Is(err, errGap) { // what comes next is older than Keep
				if info, err := q.n.st.info(ctx, q.n.st.outcomes()); err == nil && info.State.First > next {
					next = info.State.First
				} else if err == nil {
					next++ // removed by an operator
				}
				continue
			}
			if isCode(err, codeStreamNotFound) {
				err = noStreams(q.n.st.outcomes())
			}
			if err != nil && ctx.Err() == nil {
				yield(Outcome[R]{}, err)
			}
			return
		}
	}
}

// afterOutcomes returns the sequence that the next outcome will have.
func (q *Queue[A, R]) afterOutcomes(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, q.n.opts.Wait)
	defer cancel()
	var last error
	for pause := range pauses(ctx) {
		info, err := q.n.st.info(ctx, q.n.st.outcomes())
		switch {
		case err == nil:
			return info.State.Last + 1, nil
		case isCode(err, codeStreamNotFound):
			return 0, noStreams(q.n.st.outcomes())
		case errors.Is(err, nats.ErrConnectionClosed):
			return 0, err
		}
		if last = err; !pause() {
			break
		}
	}
	return 0, errors.Join(last, context.Cause(ctx))
}

// decodeOutcome reports whether data is the outcome of a job.
func decodeOutcome[R any](data []byte) (Outcome[R], bool) {
	var o outcome
	if json.Unmarshal(data, &o) != nil || o.Version > wireVersion || o.State == outJoined || o.State == outRefused {
		return Outcome[R]{}, false
	}
	r := Outcome[R]{Job: o.ID, State: o.state(), Err: decodeError(o.Error), Attempts: o.Attempts}
	if o.State == outFinished {
		if err := json.Unmarshal(o.Value, &r.Value); err != nil {
			r.State, r.Err = twill.JobFailed, &Error{"jetstream: result: " + err.Error()}
		}
	}
	return r, true
}
