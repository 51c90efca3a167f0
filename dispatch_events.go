package twill

import (
	"context"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
)

// EventKind says what an [Event] tells of.
type EventKind uint8

// What can happen to a job, and to a queue.
const (
	EventPut           EventKind = iota // a job was added
	EventStarted                        // a call of a job was started
	EventRetry                          // it failed, and the job is pending again
	EventEnded                          // a job finished, failed or was cancelled: see State
	EventReprioritized                  // a job has another priority
	EventWidth                          // the width was changed
	EventRate                           // the rate limit was changed
	EventPaused                         // the queue was paused
	EventResumed                        // it was resumed
	EventStopped                        // it was stopped
)

var eventNames = [...]string{"put", "started", "retry", "ended", "reprioritized", "width", "rate", "paused", "resumed", "stopped"}

// String returns the name in small letters, as in "started".
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "EventKind(" + strconv.Itoa(int(k)) + ")"
}

// Event is something that happened in a [ResizableDispatchQueue].
type Event[A, R any] struct {
	Kind EventKind
	Time time.Time
	Job  *Job[A, R] // nil if it is about the queue
	// State and Priority are those the job had then, and Width the queue's.
	State    JobState
	Priority int
	Width    int
	// Lost is how many events before this one the reader was too slow for.
	Lost int
}

// maxEvents is how many events wait for a slow reader.
const maxEvents = 1024

// Events returns what happens in q from now on, in its order. Who reads it does
// not hold q up: up to 1024 events wait, and then the oldest are dropped, which
// the next one says. It ends when ctx does, and when a stopped queue has no more
// job underway; it can be read once. The subscription lasts until it was read
// to its end or ctx has ended.
func (q *ResizableDispatchQueue[A, R]) Events(ctx context.Context) iter.Seq[Event[A, R]] {
	if ctx == nil {
		panic("twill: Events with a nil context")
	}
	f := q.events.subscribe(ctx, &q.mu, maxEvents, q.closedNow)
	return func(yield func(Event[A, R]) bool) {
		for e, lost := range f.all() {
			e.Lost = lost
			if !yield(e) {
				return
			}
		}
	}
}

// Results returns the jobs that end from now on, also by a cancel, in the order
// in which they do: their futures have settled. Nothing is dropped: what was
// not read waits, without a limit. It ends when ctx does, and when a stopped
// queue has no more job underway; it can be read once. The subscription lasts
// until it was read to its end or ctx has ended.
func (q *ResizableDispatchQueue[A, R]) Results(ctx context.Context) iter.Seq[*Job[A, R]] {
	if ctx == nil {
		panic("twill: Results with a nil context")
	}
	f := q.ended.subscribe(ctx, &q.mu, 0, q.closedNow)
	return func(yield func(*Job[A, R]) bool) {
		for j := range f.all() {
			<-j.Done() // whoever ended it is about to settle it
			if !yield(j) {
				return
			}
		}
	}
}

func (q *ResizableDispatchQueue[A, R]) closedNow() bool { return q.closed }

// tell tells those who read the events; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) tell(kind EventKind, j *Job[A, R]) {
	if len(q.events.of) == 0 {
		return
	}
	e := Event[A, R]{Kind: kind, Time: time.Now(), Job: j, Width: q.width}
	if j != nil {
		e.State, e.Priority = j.state, j.priority
	}
	q.events.push(e)
}

// feeds are those who read something; the lock of the queue guards them.
type feeds[E any] struct {
	of []*feed[E]
}

// feed is what waits for one reader.
type feed[E any] struct {
	mu    *sched.Mutex // guards the rest
	from  *feeds[E]
	ctx   context.Context
	limit int // 0 is none
	buf   ring.Buffer[E]
	lost  int           // dropped before the first of buf
	over  bool          // nothing more comes
	more  chan struct{} // holds a token if the reader is to look
	leave func() bool
}

func (fs *feeds[E]) push(e E) {
	for _, f := range fs.of {
		if f.limit > 0 && f.buf.Len() == f.limit {
			f.buf.Pop()
			f.lost++
		}
		f.buf.Push(e)
		f.wake()
	}
}

// close ends the feeds, when what waits was read.
func (fs *feeds[E]) close() {
	for _, f := range fs.of {
		f.over = true
		f.wake()
	}
	fs.of = nil
}

func (fs *feeds[E]) subscribe(ctx context.Context, mu *sched.Mutex, limit int, closed func() bool) *feed[E] {
	f := &feed[E]{mu: mu, from: fs, ctx: ctx, limit: limit, more: make(chan struct{}, 1)}
	mu.Lock()
	if closed() {
		f.over = true
	} else {
		fs.of = append(fs.of, f)
	}
	mu.Unlock()
	f.leave = context.AfterFunc(ctx, f.end)
	return f
}

func (f *feed[E]) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// end forgets the feed and what waits in it.
func (f *feed[E]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.buf = ring.Buffer[E]{}
	if i := slices.Index(f.from.of, f); i >= 0 {
		f.from.of = slices.Delete(f.from.of, i, i+1)
	}
}

// all yields what comes, and how much before it was dropped.
func (f *feed[E]) all() iter.Seq2[E, int] {
	return func(yield func(E, int) bool) {
		defer f.end()
		defer f.leave()
		for f.ctx.Err() == nil {
			f.mu.Lock()
			if f.buf.Len() == 0 {
				over := f.over
				f.mu.Unlock()
				if over {
					return
				}
				select {
				case <-f.more:
				case <-f.ctx.Done():
				}
				continue
			}
			e, lost := f.buf.Pop(), f.lost
			f.lost = 0
			f.mu.Unlock()
			if !yield(e, lost) {
				return
			}
		}
	}
}
