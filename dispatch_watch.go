package twill

import (
	"context"
	"iter"
	"math/bits"
	"slices"
	"strconv"
	"time"

	"github.com/twillgo/twill/internal/heap"
)

// Pending returns the jobs that wait, in the order in which they would start:
// those that are due, and behind them the others, by the time at which they are.
func (q *ResizableDispatchQueue[A, R]) Pending() []*Job[A, R] {
	q.mu.Lock()
	w := q.snapshotLocked()
	q.mu.Unlock()
	return w.inOrder()
}

// PendingPage returns up to n of the jobs that Pending would, without the first
// from. The first pages of a long queue cost a small part of Pending. It panics if
// from or n is negative.
func (q *ResizableDispatchQueue[A, R]) PendingPage(from, n int) []*Job[A, R] {
	if from < 0 || n < 0 {
		panic("twill: PendingPage with a negative number")
	}
	q.mu.Lock()
	w := q.snapshotLocked()
	q.mu.Unlock()
	return w.page(from, n)
}

// snapshotLocked is what is pending at one moment.
type pendingSnapshot[A, R any] struct {
	due, delayed heap.Snapshot[*Job[A, R]]
}

// snapshotLocked is called with the lock, and what it returns used without, as
// sorting takes its time.
func (q *ResizableDispatchQueue[A, R]) snapshotLocked() pendingSnapshot[A, R] {
	return pendingSnapshot[A, R]{q.pending.Snapshot(), q.delayed.Snapshot()}
}

func (w pendingSnapshot[A, R]) len() int { return w.due.Len() + w.delayed.Len() }

func (w pendingSnapshot[A, R]) inOrder() []*Job[A, R] {
	jobs := make([]*Job[A, R], 0, w.len())
	for _, e := range slices.Concat(w.due.Sorted(), w.delayed.Sorted()) {
		jobs = append(jobs, e.Item)
	}
	return jobs
}

func (w pendingSnapshot[A, R]) page(from, n int) []*Job[A, R] {
	if from >= w.len() {
		return nil
	}
	to := from + min(n, w.len()-from)
	jobs := w.due.First(to)
	if more := to - len(jobs); more > 0 {
		jobs = append(jobs, w.delayed.First(more)...)
	}
	return jobs[from:]
}

// Underway returns the jobs whose calls have not returned, in the order in
// which they were started. A job that was cancelled stays among them until its
// callJob returns; its State tells.
func (q *ResizableDispatchQueue[A, R]) Underway() []*Job[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.AppendSeq(make([]*Job[A, R], 0, q.underway.Len()), q.underway.All())
}

// Size returns how many jobs Underway and Pending would list.
func (q *ResizableDispatchQueue[A, R]) Size() (underway, pending int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway.Len(), q.pendingLenLocked()
}

// Width returns how many jobs may run at once. It is not changed by a pause,
// and 0 after a stop.
func (q *ResizableDispatchQueue[A, R]) Width() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.width
}

// Paused reports whether q was paused and not resumed.
func (q *ResizableDispatchQueue[A, R]) Paused() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.paused
}

// Stopped reports whether q was stopped.
func (q *ResizableDispatchQueue[A, R]) Stopped() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stopped
}

// DispatchStats are the numbers of a [ResizableDispatchQueue].
type DispatchStats struct {
	Width    int
	Underway int // jobs whose calls have not returned
	Pending  int // jobs that wait, the delayed ones with them
	Delayed  int // those of them that are not due

	// Since the queue was made:
	Put      uint64 // jobs added
	Joined   uint64 // Puts that found a job of their key
	Refused  uint64 // jobs that Put and its kin returned an error for
	Retries  uint64 // calls that failed and are followed by another
	Finished uint64
	Failed   uint64
	Canceled uint64

	// Waiting is how long jobs have waited for their first start from when they
	// were due, Running how long calls took, each of a job's own.
	Waiting, Running Histogram

	// Throughput is how many jobs have ended in a second, on average over the
	// last minute or, in a younger queue, its age, and at least a second.
	Throughput float64
}

// Stats returns the numbers as they are now.
func (q *ResizableDispatchQueue[A, R]) Stats() DispatchStats {
	now := q.lock()
	defer q.mu.Unlock()
	s := q.stats.DispatchStats
	s.Width, s.Underway = q.width, q.underway.Len()
	s.Pending, s.Delayed = q.pendingLenLocked(), q.delayed.Len()
	s.Throughput = q.stats.throughput(now)
	return s
}

// dispatchStats are the numbers that are counted, under the queue's lock.
type dispatchStats struct {
	last  int64      // the latest second in which a job has ended, or was asked for
	ended [60]uint32 // in each of the last seconds, second s at s%60
	DispatchStats
}

func (s *dispatchStats) over(state JobState, now instant) {
	switch state {
	case JobFinished:
		s.Finished++
	case JobFailed:
		s.Failed++
	case JobCanceled:
		s.Canceled++
	}
	s.turn(now)
	s.ended[s.last%int64(len(s.ended))]++
}

// turn makes the second of now the latest one.
func (s *dispatchStats) turn(now instant) {
	second := int64(now) / int64(time.Second)
	if second-s.last >= int64(len(s.ended)) {
		clear(s.ended[:])
		s.last = second
	}
	for s.last < second {
		s.last++
		s.ended[s.last%int64(len(s.ended))] = 0
	}
}

func (s *dispatchStats) throughput(now instant) float64 {
	s.turn(now)
	var n float64
	for _, ended := range s.ended {
		n += float64(ended)
	}
	return n / min(max(time.Duration(now).Seconds(), 1), float64(len(s.ended)))
}

// Histogram counts durations by their size, in four classes for each power of
// two from a microsecond to an hour: what it says is at most an eighth off.
// Its zero value is empty. It is a plain value that belongs to its owner.
type Histogram struct {
	over, sum uint64 // of all, in 128 bits: the waits of a full queue pass 292 years in a day
	max       time.Duration
	counts    [histogramLen]uint64
}

// The classes: one below the first power of two, four between each and the
// nextJob, and one for what is as long as the last or longer.
const (
	histogramFirst = 10 // 2^10 ns
	histogramLast  = 42 // 2^42 ns, 73 minutes
	histogramLen   = 4*(histogramLast-histogramFirst) + 2
)

// Add counts d; less than 0 counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[classOf(d)]++
	var carry uint64
	h.sum, carry = bits.Add64(h.sum, uint64(d), 0)
	h.over += carry
	h.max = max(h.max, d)
}

func classOf(d time.Duration) int {
	power := bits.Len64(uint64(d)) - 1
	switch {
	case power < histogramFirst:
		return 0
	case power >= histogramLast:
		return histogramLen - 1
	}
	quarter := int(d>>(power-2)) & 3
	return 1 + 4*(power-histogramFirst) + quarter
}

// classEnd is where class i ends.
func classEnd(i int) time.Duration {
	power, quarter := histogramFirst+i/4, i%4
	return 1<<power + time.Duration(quarter)<<(power-2)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() (n uint64) {
	for _, k := range h.counts {
		n += k
	}
	return n
}

// Max returns the longest, 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the mean, 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	mean, _ := bits.Div64(h.over, h.sum, n) // no more than the longest
	return time.Duration(mean)
}

// Quantile returns about how long all but the longest part 1-p of the durations
// are: Quantile(0.99) is what one in a hundred exceeds. It is 0 if there are
// none; p below 0 counts as 0, and above 1 as 1.
func (h *Histogram) Quantile(p float64) time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank := uint64(min(max(p, 0), 1) * float64(n-1))
	var from time.Duration
	for to, n := range h.Buckets() {
		if rank < n {
			return min(from+(to-from)/2, h.max)
		}
		rank -= n
		from = to
	}
	return h.max
}

// Buckets yields how many durations were less than each limit and not less
// than the one before; the last limit is Max where that is longer than all others. Empty
// classes at the end are left out.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		left := h.Count()
		for i, n := range h.counts {
			if left == 0 {
				return
			}
			left -= n
			to := h.max
			if i < histogramLen-1 {
				to = classEnd(i)
			}
			if !yield(to, n) {
				return
			}
		}
	}
}

// EventKind says what a [DispatchEvent] tells of.
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

// DispatchEvent is something that happened in a [ResizableDispatchQueue].
type DispatchEvent[A, R any] struct {
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
// the next one says. It ends with ctx, after what was there to read, and when a
// stopped queue has no more job underway; ctx.Err() tells which. It can be read
// once. The subscription lasts until it was read to its end or ctx has ended.
func (q *ResizableDispatchQueue[A, R]) Events(ctx context.Context) iter.Seq[DispatchEvent[A, R]] {
	if ctx == nil {
		panic("twill: Events with a nil context")
	}
	f := q.events.Subscribe(ctx, &q.mu, maxEvents)
	return func(yield func(DispatchEvent[A, R]) bool) {
		for e, lost := range f.All() {
			e.Lost = lost
			if !yield(e) {
				return
			}
		}
	}
}

// Results returns the jobs that end from now on, also by a cancel, in the order
// in which they do: their futures have settled. Nothing is dropped: what was
// not read waits, without a limit. It ends with ctx, after the jobs that ended
// before, and when a stopped queue has no more job underway; ctx.Err() tells
// which. It can be read once. The subscription lasts until it was read to its end
// or ctx has ended.
func (q *ResizableDispatchQueue[A, R]) Results(ctx context.Context) iter.Seq[*Job[A, R]] {
	if ctx == nil {
		panic("twill: Results with a nil context")
	}
	f := q.ended.Subscribe(ctx, &q.mu, 0)
	return func(yield func(*Job[A, R]) bool) {
		for j := range f.All() {
			<-j.Done() // whoever ended it is about to settle it
			if !yield(j) {
				return
			}
		}
	}
}

// emitLocked tells those who read the events; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) emitLocked(kind EventKind, j *Job[A, R]) {
	if q.events.Len() == 0 {
		return
	}
	e := DispatchEvent[A, R]{Kind: kind, Time: time.Now(), Job: j, Width: q.width}
	if j != nil {
		e.State, e.Priority = j.state, j.priority
	}
	q.events.Push(e)
}
