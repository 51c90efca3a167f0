package twill

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/twillgo/twill/internal/heap"
)

// Pending returns the pending jobs, in the order in which they would start
// without limits and turns of groups: first the jobs that are due, then the
// others by their due time. Jobs that are held, or that wait for an earlier run
// of their key, are last.
func (q *ResizableDispatchQueue[A, R]) Pending() []*Job[A, R] {
	return q.snapshot().inOrder()
}

// PendingPage returns up to n of the jobs that Pending returns, starting with
// the job at index from. The first pages of a long queue cost a small part of
// Pending. It panics if from or n is negative.
func (q *ResizableDispatchQueue[A, R]) PendingPage(from, n int) []*Job[A, R] {
	if from < 0 || n < 0 {
		panic("twill: PendingPage: from and n must not be negative")
	}
	w := q.snapshot()
	if from >= w.len() || n == 0 {
		return nil
	}
	page := make([]*Job[A, R], 0, min(n, w.len()-from))
	for j := range w.seq() {
		if from > 0 {
			from--
			continue
		}
		page = append(page, j)
		if len(page) == cap(page) {
			break
		}
	}
	return page
}

// PendingSeq yields the jobs that Pending returns, to search a long queue: the
// first job is yielded at once, and the order is computed as the loop goes on.
// The loop yields the jobs that were pending when it began; use State to see
// whether a job has started or ended since. The lock of q is not held while the
// body of the loop runs. The jobs stay in memory until the loop ends. Each
// iteration begins anew.
func (q *ResizableDispatchQueue[A, R]) PendingSeq() iter.Seq[*Job[A, R]] {
	return func(yield func(*Job[A, R]) bool) { q.snapshot().seq()(yield) }
}

// pendingSnapshot holds the pending jobs of one moment.
type pendingSnapshot[A, R any] struct {
	due, delayed heap.Snapshot[*Job[A, R]]
	grouped      []heap.Snapshot[*Job[A, R]] // jobs that are due, in the heaps of their groups
	turns        bool                        // due is in the order of the groups' turns
}

func (q *ResizableDispatchQueue[A, R]) snapshot() pendingSnapshot[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.snapshotLocked()
}

// snapshotLocked takes a snapshot. Its result is used without the lock, as
// sorting takes time. It copies a word for 2048 jobs, and a few words for each
// group with jobs in its heap.
func (q *ResizableDispatchQueue[A, R]) snapshotLocked() pendingSnapshot[A, R] {
	w := pendingSnapshot[A, R]{due: q.pending.Snapshot(), delayed: q.delayed.Snapshot(), turns: q.opts.TakeTurns}
	if n := q.groups.behind.Len(); n > 0 {
		w.grouped = make([]heap.Snapshot[*Job[A, R]], 0, n)
	}
	for g := range q.groups.behind.All() {
		w.grouped = append(w.grouped, g.heap.Snapshot())
	}
	return w
}

func (w *pendingSnapshot[A, R]) len() int {
	n := w.due.Len() + w.delayed.Len()
	for _, g := range w.grouped {
		n += g.Len()
	}
	return n
}

// sources returns the jobs that are due, each with its own place in the order.
func (w *pendingSnapshot[A, R]) sources() []heap.Snapshot[*Job[A, R]] {
	due := w.due
	if w.turns {
		entries := make([]heap.Entry[*Job[A, R]], 0, due.Len())
		for e := range due.All() {
			e.Seq = e.Item.number() // in place of the turn
			entries = append(entries, e)
		}
		due = heap.SnapshotOf(entries)
	}
	return append(w.grouped[:len(w.grouped):len(w.grouped)], due)
}

// all returns the jobs in no order.
func (w pendingSnapshot[A, R]) all() []*Job[A, R] {
	jobs := make([]*Job[A, R], 0, w.len())
	for _, s := range append(w.sources(), w.delayed) {
		for e := range s.All() {
			jobs = append(jobs, e.Item)
		}
	}
	return jobs
}

// inOrder returns all jobs in order, in less time than seq.
func (w pendingSnapshot[A, R]) inOrder() []*Job[A, R] {
	due := make([]heap.Entry[*Job[A, R]], 0, w.len())
	for _, s := range w.sources() {
		due = slices.AppendSeq(due, s.All())
	}
	due = heap.Sort(due, func(e heap.Entry[*Job[A, R]]) heap.Key { return e.Key })
	jobs := make([]*Job[A, R], 0, w.len())
	for _, e := range append(due, w.delayed.Sorted()...) {
		jobs = append(jobs, e.Item)
	}
	return jobs
}

// seq yields the jobs in order.
func (w pendingSnapshot[A, R]) seq() iter.Seq[*Job[A, R]] {
	return func(yield func(*Job[A, R]) bool) {
		for e := range heap.Merged(w.sources()...) {
			if !yield(e.Item) {
				return
			}
		}
		for e := range w.delayed.InOrder() {
			if !yield(e.Item) {
				return
			}
		}
	}
}

// Underway returns the jobs whose calls have not returned, in the order in
// which they were started. A job that was canceled is among them until its call
// returns; its State is Canceled.
func (q *ResizableDispatchQueue[A, R]) Underway() []*Job[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.AppendSeq(make([]*Job[A, R], 0, q.underway.Len()), q.underway.All())
}

// Size returns the number of jobs that are underway and the number of jobs that
// are pending.
func (q *ResizableDispatchQueue[A, R]) Size() (underway, pending int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.underway.Len(), q.pendingLenLocked()
}

// Width returns the maximum number of jobs underway. A pause does not change
// it, and after a stop it is 0.
func (q *ResizableDispatchQueue[A, R]) Width() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.width
}

// Paused reports whether q is paused.
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

// Find returns the job with the given key that is pending or underway, and
// reports whether there is one. If another job waits for the end of that job,
// by JobOptions.Again, Find does not return the waiting job.
func (q *ResizableDispatchQueue[A, R]) Find(key string) (*Job[A, R], bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := q.keys[key]
	return j, j != nil
}

// FindID returns the pending or underway job with that [Job.ID], and reports
// whether there is one. It compares the numbers of all pending jobs, without
// the lock of q, which takes some milliseconds for a million jobs. The IDs of
// restored jobs, and keys in Find, are found in constant time.
func (q *ResizableDispatchQueue[A, R]) FindID(id string) (*Job[A, R], bool) {
	number, err := strconv.ParseInt(id, 10, 64)
	seq := firstSeq + uint64(number)
	q.mu.Lock()
	if j := q.byID[id]; j != nil || err != nil {
		q.mu.Unlock()
		return j, j != nil
	}
	for j := range q.underway.All() {
		if j.seq == seq && j.ID() == id && j.state == JobUnderway {
			q.mu.Unlock()
			return j, true
		}
	}
	w := q.snapshotLocked()
	q.mu.Unlock()
	for _, s := range append(w.sources(), w.delayed) {
		for e := range s.All() {
			if e.Seq == seq && e.Item.ID() == id { // "017" and "+17" are other ids than "17"
				return e.Item, true
			}
		}
	}
	return nil, false
}

// WaitReason is what a pending job waits for.
type WaitReason uint8

// The reasons why a pending job waits, as returned by
// [ResizableDispatchQueue.Why]. If a job waits for several reasons, Why returns
// the first of them in this order.
const (
	WaitNone    WaitReason = iota // the job is not pending
	WaitStopped                   // the queue is stopped, and the job will not run
	WaitHeld                      // the job waits for Release
	WaitKey                       // an earlier run of its key has not ended
	WaitDue                       // the job is not due
	WaitPause                     // the queue is paused
	WaitGroup                     // its group is at its limit
	WaitWidth                     // it waits for a slot, behind the jobs before it
	WaitRate                      // it waits for the rate limit
)

var waitReasons = [...]string{"none", "stopped", "held", "key", "due", "pause", "group", "width", "rate"}

// String returns the name, as in "width".
func (r WaitReason) String() string {
	if int(r) < len(waitReasons) {
		return waitReasons[r]
	}
	return "WaitReason(" + strconv.Itoa(int(r)) + ")"
}

// MarshalText returns the name, which JSON uses.
func (r WaitReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the name.
func (r *WaitReason) UnmarshalText(text []byte) error {
	i := slices.Index(waitReasons[:], string(text))
	if i < 0 {
		return fmt.Errorf("twill: unknown wait reason %q", text)
	}
	*r = WaitReason(i)
	return nil
}

// Why returns the reason why j waits. If that is the due time, or the rate of
// the job's group, until is the time at which that wait ends; otherwise until
// is zero.
func (q *ResizableDispatchQueue[A, R]) Why(j *Job[A, R]) (reason WaitReason, until time.Time) {
	if j == nil || j.queue() != q {
		return WaitNone, time.Time{}
	}
	now := q.lock()
	defer q.commit(now)
	q.moveDueLocked(now)
	m, g := j.extra.Load(), j.group()
	switch {
	case j.state != JobPending:
		return WaitNone, time.Time{}
	case q.stopped:
		return WaitStopped, time.Time{}
	case m != nil && m.held:
		return WaitHeld, time.Time{}
	case m != nil && m.follows:
		return WaitKey, time.Time{}
	case m != nil && m.due > now:
		return WaitDue, q.clock.Time(m.due)
	case q.paused:
		return WaitPause, time.Time{}
	case g != nil && !g.open(now):
		if at := g.opens(); at > now && !g.limit.Paused {
			until = q.clock.Time(at)
		}
		return WaitGroup, until
	case q.workers >= q.width || q.rate.open():
		return WaitWidth, time.Time{}
	}
	return WaitRate, time.Time{}
}

// DispatchStats are the numbers of a [ResizableDispatchQueue] at one moment.
// They are a plain value that belongs to the caller. It prints as one line, and
// its JSON has the names of the fields.
type DispatchStats struct {
	Width    int
	Underway int // jobs whose calls have not returned
	Pending  int // jobs that wait, including those that are not due
	Delayed  int // pending jobs that are not due, are held or wait for their key
	Grouped  int // pending jobs that are due and wait behind others of their group, or for its limit

	// Paused reports whether the queue is paused; in a sum, whether one of the
	// queues is.
	Paused bool

	// NextSince is the time since which the job that starts next has been due,
	// the zero time if no job is due. If all jobs have the same priority, no job
	// has been due for longer. If the limits of groups hold back all jobs that
	// are due, it is that of the first job of the group held back longest.
	NextSince time.Time

	// Since the queue was made:
	Put      uint64 // jobs added
	Joined   uint64 // Puts that joined a job with their key
	Refused  uint64 // jobs for which Put, PutWait or PutAll returned an error
	Retries  uint64 // calls that failed and are followed by another call
	Snoozed  uint64 // calls that returned Snooze
	Finished uint64
	Failed   uint64
	Canceled uint64

	// Waiting has the time of jobs from their due time to their first start.
	// Running has the time that each call took.
	Waiting, Running Histogram

	// Throughput is the number of jobs that end per second, on average over the
	// last minute or, in a younger queue, over its age, which counts as at least a
	// second.
	Throughput float64

	// RateHeldSince is the time since which a job waits only for the rate limit,
	// or zero if no job does. RateFailingSince is the time of the first of the
	// latest failures of Wait in a row, or zero if the latest Wait succeeded.
	// RateError is the text of the latest failure.
	RateHeldSince    time.Time
	RateFailingSince time.Time
	RateError        string
}

// Ended returns the number of jobs that have finished, failed or been canceled.
func (s DispatchStats) Ended() uint64 { return s.Finished + s.Failed + s.Canceled }

// Add returns the sum of the numbers of two queues. Its times are the earlier
// ones of the two, and its RateError is that of s, or that of t if s has none.
func (s DispatchStats) Add(t DispatchStats) DispatchStats {
	s.Width = addSaturated(s.Width, t.Width)
	s.Underway += t.Underway
	s.Pending += t.Pending
	s.Delayed += t.Delayed
	s.Grouped += t.Grouped
	s.Paused = s.Paused || t.Paused
	s.NextSince = earlier(s.NextSince, t.NextSince)
	s.Put += t.Put
	s.Joined += t.Joined
	s.Refused += t.Refused
	s.Retries += t.Retries
	s.Snoozed += t.Snoozed
	s.Finished += t.Finished
	s.Failed += t.Failed
	s.Canceled += t.Canceled
	s.Waiting.merge(t.Waiting)
	s.Running.merge(t.Running)
	s.Throughput += t.Throughput
	s.RateHeldSince = earlier(s.RateHeldSince, t.RateHeldSince)
	s.RateFailingSince = earlier(s.RateFailingSince, t.RateFailingSince)
	s.RateError = cmp.Or(s.RateError, t.RateError)
	return s
}

func addSaturated(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// earlier returns the earlier of two times, either of which may be zero.
func earlier(t, u time.Time) time.Time {
	if t.IsZero() || !u.IsZero() && u.Before(t) {
		return u
	}
	return t
}

// String returns the numbers in a line.
func (s DispatchStats) String() string {
	text := fmt.Sprintf("width %d, %d underway, %d pending (%d delayed), %d put, %d finished, %d failed, %d canceled, %d retries, %.3g/s, waiting %v, running %v",
		s.Width, s.Underway, s.Pending, s.Delayed, s.Put, s.Finished, s.Failed, s.Canceled, s.Retries, s.Throughput, s.Waiting, s.Running)
	if s.Paused {
		text += ", paused"
	}
	if s.RateError != "" {
		text += ", rate limit: " + s.RateError
	}
	return text
}

// Stats returns the numbers as they are now.
func (q *ResizableDispatchQueue[A, R]) Stats() DispatchStats {
	now := q.lock()
	s := q.stats.DispatchStats
	s.Width, s.Underway = q.width, q.underway.Len()
	s.Pending, s.Delayed, s.Grouped = q.pendingLenLocked(), q.delayed.Len(), q.groups.waiting
	s.Paused = q.paused
	if q.pending.Len() > 0 {
		s.NextSince = q.clock.Time(q.pending.Peek().Item.since())
	} else if g, ok := q.groups.behind.Front(); ok {
		s.NextSince = q.clock.Time(g.heap.Peek().Item.since())
	}
	s.Throughput = q.stats.throughput(now)
	s.RateHeldSince, s.RateFailingSince = q.clock.Time(q.rate.since), q.clock.Time(q.rate.failing)
	err := q.rate.err
	q.mu.Unlock()
	if err != nil {
		s.RateError = err.Error() // Error is user code, and is not called with the lock held
	}
	return s
}

// dispatchStats are the numbers that are counted with the queue's lock held.
type dispatchStats struct {
	last  int64      // the latest second in which a job has ended, or that was asked for
	ended [60]uint32 // number of jobs in each of the last 60 seconds, second s at s%60
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
// two from a microsecond to an hour. Its estimates have an error of at most an
// eighth. The zero value is empty. A Histogram is a plain value that belongs to
// its owner: only Add changes it.
type Histogram struct {
	over, sum uint64 // the sum of all durations in 128 bits: the waits in a full queue exceed 292 years in a day
	max       time.Duration
	counts    [histogramLen]uint64
}

// The classes: one below the first power of two, four between each power of two
// and the next, and one for durations that are at least the last power.
const (
	histogramFirst = 10 // 2^10 ns
	histogramLast  = 42 // 2^42 ns, 73 minutes
	histogramLen   = 4*(histogramLast-histogramFirst) + 2
)

// Add counts d; a negative d counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[classOf(d)]++
	var carry uint64
	h.sum, carry = bits.Add64(h.sum, uint64(d), 0)
	h.over += carry
	h.max = max(h.max, d)
}

// AddN counts d n times, as n calls of Add do. It makes a histogram of the
// elements that [Histogram.Buckets] has yielded elsewhere.
func (h *Histogram) AddN(d time.Duration, n uint64) {
	if n == 0 {
		return
	}
	d = max(d, 0)
	h.counts[classOf(d)] += n
	over, sum := bits.Mul64(uint64(d), n)
	var carry uint64
	h.sum, carry = bits.Add64(h.sum, sum, 0)
	h.over += over + carry
	h.max = max(h.max, d)
}

// merge adds what other has counted.
func (h *Histogram) merge(other Histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	var carry uint64
	h.sum, carry = bits.Add64(h.sum, other.sum, 0)
	h.over += other.over + carry
	h.max = max(h.max, other.max)
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

// classEnd returns the end of class i.
func classEnd(i int) time.Duration {
	power, quarter := histogramFirst+i/4, i%4
	return 1<<power + time.Duration(quarter)<<(power-2)
}

// Count returns the number of durations.
func (h Histogram) Count() (n uint64) {
	for _, k := range h.counts {
		n += k
	}
	return n
}

// Max returns the longest duration, or 0 if there is none.
func (h Histogram) Max() time.Duration { return h.max }

// Mean returns the mean of the durations, or 0 if there is none.
func (h Histogram) Mean() time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	mean, _ := bits.Div64(h.over, h.sum, n) // the sum is at most n times the longest duration, so the quotient fits
	return time.Duration(mean)
}

// Sum returns the sum of the durations, or the maximum Duration if the sum
// exceeds it.
func (h Histogram) Sum() time.Duration {
	if h.over > 0 || h.sum > math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(h.sum)
}

// String returns the count, the mean, the quantiles and the maximum in a line.
func (h Histogram) String() string {
	return fmt.Sprintf("%d (mean %v, p50 %v, p99 %v, max %v)", h.Count(), h.Mean(), h.Quantile(0.5), h.Quantile(0.99), h.max)
}

// MarshalJSON writes the count and, in nanoseconds, the mean, the quantiles and
// the maximum.
func (h Histogram) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, `{"count":%d,"mean":%d,"p50":%d,"p90":%d,"p99":%d,"max":%d}`,
		h.Count(), h.Mean(), h.Quantile(0.5), h.Quantile(0.9), h.Quantile(0.99), h.max), nil
}

// Quantile returns an estimate of the p-quantile: Quantile(0.99) is exceeded by
// about 1% of the durations. It returns 0 if there are none. A p below 0 counts
// as 0, and a p above 1 as 1.
func (h Histogram) Quantile(p float64) time.Duration {
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

// Buckets yields, for each class, its limit and the number of durations that
// are less than the limit and not less than the limit before it. If the longest
// durations are beyond all classes, the last limit is Max. Empty classes at the
// end are left out.
func (h Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
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

// EventKind is the kind of a [DispatchEvent].
type EventKind uint8

// The kinds of events of jobs and of queues.
const (
	EventPut           EventKind = iota // a job was added
	EventStarted                        // a call of a job was started
	EventRetry                          // a call failed, and the job is pending again
	EventEnded                          // a job finished, failed or was canceled; see State
	EventReprioritized                  // the priority of a job was changed
	EventWidth                          // the width was changed
	EventRate                           // the rate limit was changed
	EventPaused                         // the queue was paused
	EventResumed                        // the queue was resumed
	EventStopped                        // the queue was stopped
	EventSnoozed                        // a call returned Snooze, and the job is pending again
	EventRateFailed                     // the rate limit returned an error, the first in a row; see Err
	EventGroup                          // the limit of a group was changed
)

var eventNames = [...]string{"put", "started", "retry", "ended", "reprioritized", "width", "rate", "paused", "resumed", "stopped",
	"snoozed", "rate failed", "group"}

// String returns the name, as in "started".
func (k EventKind) String() string {
	if int(k) < len(eventNames) {
		return eventNames[k]
	}
	return "EventKind(" + strconv.Itoa(int(k)) + ")"
}

// MarshalText returns the name, which JSON uses.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name.
func (k *EventKind) UnmarshalText(text []byte) error {
	i := slices.Index(eventNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("twill: unknown event kind %q", text)
	}
	*k = EventKind(i)
	return nil
}

// DispatchEvent is an event of a [ResizableDispatchQueue].
type DispatchEvent[A, R any] struct {
	Kind EventKind
	Time time.Time
	Job  *Job[A, R] // nil if the event is about the queue
	// State and Priority are those of the job at that moment, and Width is that of
	// the queue.
	State    JobState
	Priority int
	Width    int
	// Err is the error of the rate limit, for EventRateFailed.
	Err error
	// Lost is the number of events before this event that were dropped because the
	// reader was too slow.
	Lost int
}

// maxEvents is the maximum number of events that are buffered for a reader.
const maxEvents = 1024

// Events returns the events of q from now on, in their order. A slow reader
// does not block q: at most 1024 events are buffered, older events are dropped,
// and DispatchEvent.Lost counts them. When ctx ends, or when q is stopped and
// no job is underway, the loop yields the events that are available and ends;
// check ctx.Err() to distinguish the two. The sequence can be used once. The
// subscription lasts until the loop has ended or ctx has ended.
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

// Results returns the jobs that end from now on, including canceled jobs, in
// the order in which they end. Their futures have settled. Nothing is dropped:
// results that were not read are kept, without a limit. When ctx ends, or when
// q is stopped and no job is underway, the loop yields the jobs that are
// available and ends; check ctx.Err() to distinguish the two. The sequence can
// be used once. The subscription lasts until the loop has ended or ctx has
// ended.
func (q *ResizableDispatchQueue[A, R]) Results(ctx context.Context) iter.Seq[*Job[A, R]] {
	if ctx == nil {
		panic("twill: Results with a nil context")
	}
	f := q.ended.Subscribe(ctx, &q.mu, 0)
	return func(yield func(*Job[A, R]) bool) {
		for j := range f.All() {
			<-j.Done() // the job is about to be settled
			if !yield(j) {
				return
			}
		}
	}
}

// String returns the type, and how many jobs are underway and pending, and
// whether q is paused or stopped.
func (q *ResizableDispatchQueue[A, R]) String() string {
	return printed("ResizableDispatchQueue", q.printedState(), reflect.TypeFor[A](), reflect.TypeFor[R]())
}

// GoString returns the text of String, for %#v.
func (q *ResizableDispatchQueue[A, R]) GoString() string { return q.String() }

// LogValue returns the text of String, for package slog.
func (q *ResizableDispatchQueue[A, R]) LogValue() slog.Value { return slog.StringValue(q.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (q *ResizableDispatchQueue[A, R]) Format(s fmt.State, verb rune) {
	formatText(s, verb, q.String())
}

func (q *ResizableDispatchQueue[A, R]) printedState() string {
	underway, pending := q.Size()
	text := fmt.Sprintf("%d underway, %d pending", underway, pending)
	switch {
	case q.Stopped():
		text += ", stopped"
	case q.Paused():
		text += ", paused"
	}
	return text
}

// emitLocked passes an event to the readers.
func (q *ResizableDispatchQueue[A, R]) emitLocked(kind EventKind, j *Job[A, R]) {
	if q.events.Len() == 0 {
		return
	}
	e := DispatchEvent[A, R]{Kind: kind, Time: q.clock.Time(q.latest), Job: j, Width: q.width}
	if j != nil {
		e.State, e.Priority = j.state, j.priority
	}
	q.events.Push(e)
}

// emitErrorLocked is emitLocked for an event with an error.
func (q *ResizableDispatchQueue[A, R]) emitErrorLocked(kind EventKind, err error) {
	if q.events.Len() > 0 {
		q.events.Push(DispatchEvent[A, R]{Kind: kind, Time: q.clock.Time(q.latest), Width: q.width, Err: err})
	}
}
