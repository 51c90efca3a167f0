package twill

import (
	"context"
	"math"
	"time"

	"github.com/twillgo/twill/internal/heap"
)

// JobOptions are the settings of one job. The zero value of each is its default.
type JobOptions struct {
	// At and After delay a job: it is not started before that time, or before that
	// much time has passed. Only one of the two may be set. Until then it is
	// pending, behind all jobs that are due; the order among those has
	// nothing to do with when they became so.
	At    time.Time
	After time.Duration

	// Timeout bounds the time from the start of the job's first call, with all
	// others and the pauses between them: then the job fails with a
	// [*TimeoutError] and the call's context ends. The slot is free when the call has
	// returned. 0 is the queue's Timeout, and less is no limit.
	Timeout time.Duration

	// Retry says how a job whose call fails is tried again; nil is the queue's
	// Retry. In the pauses the job is pending and holds no slot; afterwards it
	// has the place among equals that it had at first. In the end it fails with a
	// [*RetryError].
	Retry *RetryOptions

	// Key, if it is not empty, makes the job the only one of that key: while it is
	// pending or underway, a Put with the same key adds none but returns it.
	// If that Put has a lower priority and the job is pending, the job gets
	// that priority; if it comes with a shorter delay, that too. The argument stays
	// as it was. Who wants to leave such a job without ending it for the others
	// cancels a future derived from it, as by Tap.
	//
	// The key is free when the job's future settles. The call of a job that was
	// cancelled may go on until it heeds its context.
	Key string

	// Refuse has a Put whose Key is in use return ErrDuplicateJob with the job.
	Refuse bool
}

// Put adds a job for arg. Lower priorities run first, equal ones in the order of the
// calls. If a slot is free the job is underway when Put returns, unless a delay
// or the rate limit holds it back. Put does not block: it returns [ErrStopped] after a stop,
// [ErrQueueFull] if as many jobs are pending as may be, and has added nothing
// then. opts is nothing or one JobOptions; Put panics if there are more, or if
// they have both an At and an After.
func (q *ResizableDispatchQueue[A, R]) Put(arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	j := q.make(arg, priority, opts)
	now := q.now()
	q.mu.Lock()
	defer q.unlock(now)
	return q.put(j, now)
}

// PutWait is Put, and waits while as many jobs are pending as may be. Who came
// first is let in first. It returns [context.Cause] of ctx when that ends
// before there was room, and has added nothing then. A job that calls it may
// wait for itself: there, use Put.
func (q *ResizableDispatchQueue[A, R]) PutWait(ctx context.Context, arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w := &jobPutter[A, R]{j: q.make(arg, priority, opts)}
	now := q.now()
	q.mu.Lock()
	j, err := q.put(w.j, now)
	if err != ErrQueueFull {
		q.unlock(now)
		return j, err
	}
	q.stats.Refused-- // not yet
	w.done = make(chan struct{})
	q.putters.PushBack(w)
	delay := w.j.due() - now
	q.mu.Unlock()
	if delay > 0 { // after that it may use a free slot
		timer := time.AfterFunc(time.Duration(delay), q.ring)
		defer timer.Stop()
	}
	select {
	case <-w.done:
		return w.j, w.err
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.putters.Remove(w) {
		q.stats.Refused++
		return nil, context.Cause(ctx)
	}
	return w.j, w.err
}

// PutAll adds a job for each of args, all of one priority and in that order,
// and starts the first of them when all are in. If there is an error, one of
// those of Put, none is added.
func (q *ResizableDispatchQueue[A, R]) PutAll(args []A, priority int) ([]*Job[A, R], error) {
	jobs := make([]*Job[A, R], len(args))
	for i, arg := range args {
		jobs[i] = q.make(arg, priority, nil)
	}
	now := q.now()
	q.mu.Lock()
	defer q.unlock(now)
	switch {
	case q.stopped || q.closing:
		q.stats.Refused += uint64(len(jobs))
		return nil, ErrStopped
	case len(jobs) > q.room(true):
		q.stats.Refused += uint64(len(jobs))
		return nil, ErrQueueFull
	}
	for _, j := range jobs {
		q.seq++
		q.accept(j, q.seq, now)
		q.enqueue(j, now)
	}
	return jobs, nil
}

// jobPutter is a PutWait that waits.
type jobPutter[A, R any] struct {
	//lint:ignore U1000 internal/list uses it
	links[*jobPutter[A, R]] //nolint:unused // in q.putters

	j    *Job[A, R] // the one to be put, and then the one to return
	err  error
	done chan struct{}
}

// make makes a job that is in no queue yet.
func (q *ResizableDispatchQueue[A, R]) make(arg A, priority int, opts []JobOptions) *Job[A, R] {
	var o JobOptions
	switch len(opts) {
	case 0:
	case 1:
		o = opts[0]
	default:
		panic("twill: Put with more than one JobOptions")
	}
	j := newJob(q, arg, priority)
	if o.Timeout == 0 {
		o.Timeout = q.opts.Timeout
	}
	if o.Retry == nil {
		o.Retry = q.opts.Retry
	}
	if o.Timeout <= 0 && o.Retry == nil && o.Key == "" && o.At.IsZero() && o.After <= 0 {
		return j
	}
	j.more = &jobMore{key: o.Key, refuse: o.Refuse, timeout: o.Timeout}
	if o.Retry != nil {
		j.more.retry = &jobRetry{opts: o.Retry}
	}
	switch {
	case !o.At.IsZero() && o.After != 0:
		panic("twill: JobOptions with both At and After")
	case !o.At.IsZero():
		j.more.due = q.moment(o.At)
	case o.After > 0:
		j.more.due = later(q.now(), o.After)
	}
	return j
}

// put adds j, if that may be, and starts it if it need not wait; the lock must
// be held. It returns the job that is in the queue then, if any.
func (q *ResizableDispatchQueue[A, R]) put(j *Job[A, R], now int64) (*Job[A, R], error) {
	if q.stopped || q.closing {
		q.stats.Refused++
		return nil, ErrStopped
	}
	if m := j.more; m != nil && m.key != "" {
		if old := q.keys[m.key]; old != nil {
			return old, q.join(old, j, now)
		}
	}
	due := j.due() <= now
	switch {
	case due && q.mayStart():
		q.seq++
		q.accept(j, q.seq, now)
		q.pace.permit = false
		q.start(j, now)
	case q.room(due) > 0:
		q.seq++
		q.accept(j, q.seq, now)
		q.enqueue(j, now)
	default:
		q.stats.Refused++
		return nil, ErrQueueFull
	}
	return j, nil
}

// mayStart reports whether a job that is put now need not wait; the lock must
// be held.
func (q *ResizableDispatchQueue[A, R]) mayStart() bool {
	return q.workers < q.width && !q.paused && q.pending.Len() == 0 && q.pace.open()
}

// room is how many jobs more may be added now: those that are due may use the
// free slots, too. The lock must be held.
func (q *ResizableDispatchQueue[A, R]) room(due bool) int {
	if q.opts.Size == 0 {
		return math.MaxInt
	}
	n := max(q.opts.Size, 0) - q.waiting()
	if due && !q.paused {
		n += max(q.width-q.workers, 0)
	}
	return max(n, 0)
}

// waiting is how many jobs are pending; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) waiting() int {
	return q.pending.Len() + q.delayed.Len()
}

// accept makes j a job of q, with a number that tells its place among equals; the
// lock must be held.
func (q *ResizableDispatchQueue[A, R]) accept(j *Job[A, R], seq uint64, now int64) {
	if j.queued == 0 {
		j.queued = now
	}
	if m := j.more; m != nil {
		m.seq = seq
		j.holdBack(m.due)
		q.reserve(j)
	}
	q.stats.Put++
	q.tell(EventPut, j)
}

// enqueue puts j, which q has accepted, where jobs wait; the lock must be held.
// It is the last job of all, unless it has a number of its own.
func (q *ResizableDispatchQueue[A, R]) enqueue(j *Job[A, R], now int64) {
	seq := q.seq
	if m := j.more; m != nil {
		seq = m.seq
		if m.due > now {
			q.delay(j, m.due)
			return
		}
	}
	q.pending.Push(j, heap.Key{Priority: q.rank(j), Seq: seq})
}

// withdraw takes a pending job out of the queue; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) withdraw(j *Job[A, R]) {
	if q.pending.Has(j) {
		q.pending.Remove(j)
		return
	}
	q.delayed.Remove(j)
	q.setAlarm(q.now())
}

// refill lets PutWaits in while there is room; the lock must be held. It
// reports whether it did.
func (q *ResizableDispatchQueue[A, R]) refill(now int64) (any bool) {
	for w := q.nextPutter(now); w != nil; w = q.nextPutter(now) {
		q.letIn(w, now)
		any = true
	}
	return any
}

// nextPutter is the first PutWait for which there is room, if any: one with a
// delay may not use a free slot, and does not keep those behind it from that.
func (q *ResizableDispatchQueue[A, R]) nextPutter(now int64) *jobPutter[A, R] {
	for w := range q.putters.All() {
		if q.room(w.j.due() <= now) > 0 {
			return w
		}
		if q.room(true) == 0 {
			break
		}
	}
	return nil
}

// refuseAll lets no PutWait in any more; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) refuseAll(now int64) {
	for w, ok := q.putters.Front(); ok; w, ok = q.putters.Front() {
		q.letIn(w, now)
	}
}

func (q *ResizableDispatchQueue[A, R]) letIn(w *jobPutter[A, R], now int64) {
	q.putters.Remove(w)
	w.j, w.err = q.put(w.j, now)
	close(w.done)
}
