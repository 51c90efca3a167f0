package twill

import (
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/clock"
	"github.com/twillgo/twill/internal/feed"
	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
	"github.com/twillgo/twill/internal/watermark"
)

// What a dispatch queue answers when it cannot do what it is asked.
var (
	// ErrStopped is returned by Put and Resume once the queue was stopped, or
	// is about to be by Drain, and is the cause with which StopNow cancels.
	ErrStopped = errors.New("twill: dispatch queue is stopped")

	// ErrDuplicateJob is returned by Put, with the job that is there, if a job
	// of the same key is pending or underway and the new one is not to join it.
	ErrDuplicateJob = errors.New("twill: a job with that key is pending or underway")

	// ErrNotPending is returned by Reprioritize for a job that is not waiting
	// in that queue.
	ErrNotPending = errors.New("twill: job is not pending")

	// ErrNegativeWidth is returned by SetWidth and ResumeWidth.
	ErrNegativeWidth = errors.New("twill: negative width")

	// ErrResumed is the cause with which the future of a Pause is cancelled
	// when the queue is resumed before its jobs have ended.
	ErrResumed = errors.New("twill: dispatch queue was resumed")
)

// ResizableDispatchQueue runs jobs, calls of one function each with an argument
// of its own, so that no more than Width of them run at once; the others wait,
// ordered by priority. Width can be changed while it works, jobs can be moved,
// cancelled and listed, and the whole can be paused, resumed and stopped. It is
// the queue of txRDQ. Unlike a worker pool or an errgroup with a limit it is to
// be looked into and steered while it runs, and a job is a future.
//
// It is made by [NewResizableDispatchQueue]; the zero value does not work. It
// must not be copied. Its methods may be called by several goroutines, and by
// the function itself: a Put does not block, so that a job may put others
// whatever the width. The lists it returns belong to the caller, and it keeps
// no job that has ended. A Put synchronizes before the call for its job.
//
// What may start, starts in this order: the lower priority first and, among equals,
// who was put first. Reasons not to start are that the width is used up, the queue
// paused or stopped, the job not due, or the rate limit.
//
// # Slots
//
// Width bounds the calls that really run. Cancelling a job that is underway
// ends its future and its context at once, but its slot is free only when the
// function has returned. A job holds its slot also while the handlers of its
// future run, on the goroutine that ran it; [Future.Via] moves slow ones
// elsewhere. A job that is to be tried again has no slot in the pause.
// Goroutines exist only while they have jobs to run, or a rate limit to wait for: a queue that
// is idle, paused or stopped has none, and needs no closing to be collected.
//
// # The next day
//
// Stop gives the jobs that were not run, in order. They are saved as JSON, and
// [ResizableDispatchQueue.Restore] puts them back into the queue of the next
// process. [ResizableDispatchQueue.Drain] ends a queue after its work instead, within a
// time.
//
// # Failures
//
// If the function panics the job fails with a [*PanicError], if it calls
// [runtime.Goexit] with [ErrGoexit]; neither takes a slot away.
type ResizableDispatchQueue[A, R any] struct {
	fn   func(context.Context, A) (R, error)
	opts DispatchOptions                                              // with the defaults in place
	run  atomic.Pointer[func(context.Context, *Job[A, R]) (R, error)] // fn within its hooks, if there are any

	mu       sched.Mutex                         // guards all below, and the jobs' fields; no user code runs under it
	pending  jobHeap[A, R]                       // those that may start when there is a slot
	delayed  jobHeap[A, R]                       // those that are not due yet, by the time at which they are
	dueTimer dueTimer                            // goes off when the first of those is due
	underway list.By[*Job[A, R], jobLinks[A, R]] // those whose calls have not returned, in order of start
	clock    clock.Clock
	latest   instant               // at which the lock was taken last
	seq      uint64                // number of the last job
	restored uint64                // number of the first job of the last Restore
	keys     map[string]*Job[A, R] // the jobs with a key, pending or underway

	// A job is in pending only if there are width workers or more, the queue is
	// paused or stopped, or the rate limit holds it back: whoever changes one of
	// these starts what may start, by advance. A PutWait waits only if there is
	// no room: advance lets it in, too.
	width   int
	workers int // goroutines with a job, or between two
	paused  bool
	stopped bool // by Stop or StopNow
	closing bool // by Drain: no more jobs are put
	rate    rateLimit
	putters list.List[*putWaiter[A, R]] // the PutWaits that wait, in order

	drained   *Promise[struct{}]     // what Pause returned while there are workers
	empty     *Promise[struct{}]     // what Empty returned while there are jobs
	leftovers *Promise[[]*Job[A, R]] // what Stop returned, once it was called
	killed    []*Job[A, R]           // cancelled by StopNow, in order of start
	closed    bool                   // stopped, and the last worker has gone

	hooks  []func(context.Context, *Job[A, R], func(context.Context) (R, error)) (R, error)
	marks  watermark.Marks
	stats  dispatchStats
	events feed.Feeds[DispatchEvent[A, R]]
	ended  feed.Feeds[*Job[A, R]]
}

// DispatchOptions are the settings of a [ResizableDispatchQueue]. The zero value
// of each is its default.
type DispatchOptions struct {
	// Width is how many jobs may run at once; 0 means 1. SetWidth(0) keeps a
	// queue from starting any.
	Width int

	// Size is how many jobs may be pending: 0 sets no limit, and with a
	// negative Size none may, so that a Put succeeds only if a slot is free. A job
	// that has a slot and waits for the rate limit only does not count.
	Size int

	// Context is the parent of the jobs' contexts; nil means
	// [context.Background]. Its end does not stop the queue: the function sees
	// it and decides.
	Context context.Context

	// Rate is how fast jobs may start; nil sets no limit. See SetRate.
	Rate Limiter

	// Timeout and Retry are those of jobs that have none of their own; see
	// [JobOptions].
	Timeout time.Duration
	Retry   *RetryOptions

	// Ageing keeps a stream of urgent jobs from holding the others back for ever:
	// a job that has waited so long comes before one that was just put with a
	// priority one lower. 0 lets only priorities count.
	Ageing time.Duration

	// OnHigh is called when the number of pending jobs reaches High, OnLow when
	// it is down to Low after that; then OnHigh may be called again. They get the
	// number, and are called one at a time, in order, on a goroutine of their
	// own; so one must not wait for the other. A High of 0 is none.
	High, Low     int
	OnHigh, OnLow func(pending int)
}

// NewResizableDispatchQueue returns a queue that calls fn for each job. The
// context that fn is given ends when the job is cancelled, with the cause, and
// when fn returns. It panics if fn is nil, opts.Width or opts.Ageing negative,
// or opts.High not above opts.Low; opts may be nil.
func NewResizableDispatchQueue[A, R any](fn func(context.Context, A) (R, error), opts *DispatchOptions) *ResizableDispatchQueue[A, R] {
	if fn == nil {
		panic("twill: NewResizableDispatchQueue with a nil function")
	}
	var o DispatchOptions
	if opts != nil {
		o = *opts
	}
	switch {
	case o.Width < 0:
		panic("twill: NewResizableDispatchQueue with a negative width")
	case o.Ageing < 0:
		panic("twill: NewResizableDispatchQueue with a negative ageing")
	case o.High != 0 && (o.Low < 0 || o.High <= o.Low):
		panic("twill: NewResizableDispatchQueue: the high mark must be above the low one, and that not negative")
	}
	if o.Width == 0 {
		o.Width = 1
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	q := &ResizableDispatchQueue[A, R]{fn: fn, opts: o, width: o.Width, seq: firstSeq, restored: firstSeq}
	q.clock.Start()
	q.rate.limiter = o.Rate
	return q
}

// NewResizableDispatchQueueFuture is [NewResizableDispatchQueue] of a function
// that returns a future. The job settles as that future does, and holds its slot
// until then. When the job is cancelled or times out, the future is too unless
// others depend on it. A nil future is an error.
func NewResizableDispatchQueueFuture[A, R any](fn func(context.Context, A) *Future[R], opts *DispatchOptions) *ResizableDispatchQueue[A, R] {
	if fn == nil {
		panic("twill: NewResizableDispatchQueueFuture with a nil function")
	}
	return NewResizableDispatchQueue(func(ctx context.Context, arg A) (R, error) {
		f := fn(ctx, arg)
		if f == nil {
			var none R
			return none, errNoFuture
		}
		f = Handle(f, func(v R, err error) (R, error) { return v, err })
		stop := context.AfterFunc(ctx, func() { f.Cancel(context.Cause(ctx)) })
		defer stop()
		return f.Await(context.Background())
	}, opts)
}

// Put adds a job for arg. Lower priorities run first, equal ones in the order of the
// calls. If a slot is free the job is underway when Put returns, unless a delay
// or the rate limit holds it back. Put does not block: it returns [ErrStopped] after a stop,
// [ErrQueueFull] if as many jobs are pending as may be, and has added nothing
// then. opts is nothing or one JobOptions; Put panics if there are more, or if
// they have both an At and an After.
func (q *ResizableDispatchQueue[A, R]) Put(arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	j := q.newJob(arg, priority, opts)
	now := q.lock()
	defer q.commit(now)
	return q.putLocked(j, now)
}

// PutWait is Put, and waits while as many jobs are pending as may be. Who came
// first is let in first. It returns [context.Cause] of ctx when that ends
// before there was room, and has added nothing then. A job that calls it may
// limiterLoop for itself: there, use Put.
func (q *ResizableDispatchQueue[A, R]) PutWait(ctx context.Context, arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w := &putWaiter[A, R]{j: q.newJob(arg, priority, opts)}
	now := q.lock()
	j, err := q.putLocked(w.j, now)
	if err != ErrQueueFull {
		q.commit(now)
		return j, err
	}
	q.stats.Refused-- // not yet
	w.done = make(chan struct{})
	q.putters.PushBack(w)
	delay := w.j.due() - now
	q.mu.Unlock()
	if delay > 0 { // after that it may use a free slot
		timer := time.AfterFunc(time.Duration(delay), q.onDueTimer)
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
		jobs[i] = q.newJob(arg, priority, nil)
	}
	now := q.lock()
	defer q.commit(now)
	switch {
	case q.stopped || q.closing:
		q.stats.Refused += uint64(len(jobs))
		return nil, ErrStopped
	case len(jobs) > q.roomLocked(true):
		q.stats.Refused += uint64(len(jobs))
		return nil, ErrQueueFull
	}
	for _, j := range jobs {
		q.seq++
		q.acceptLocked(j, q.seq, now)
		q.enqueueLocked(j, now)
	}
	return jobs, nil
}

// putWaiter is a PutWait that waits.
type putWaiter[A, R any] struct {
	list.Links[*putWaiter[A, R]] // in q.putters

	j    *Job[A, R] // the one to be put, and then the one to return
	err  error
	done chan struct{}
}

// newJob makes a job that is in no queue yet.
func (q *ResizableDispatchQueue[A, R]) newJob(arg A, priority int, opts []JobOptions) *Job[A, R] {
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
	j.extra = &jobExtra{key: o.Key, refuse: o.Refuse, timeout: o.Timeout}
	if o.Retry != nil {
		j.extra.retry = &jobRetry{opts: o.Retry}
	}
	switch {
	case !o.At.IsZero() && o.After != 0:
		panic("twill: JobOptions with both At and After")
	case !o.At.IsZero():
		j.extra.due = q.clock.At(o.At)
	case o.After > 0:
		j.extra.due = q.clock.Now().Add(o.After)
	}
	return j
}

// putLocked adds j, if that may be, and starts it if it need not wait; the lock must
// be held. It returns the job that is in the queue then, if any.
func (q *ResizableDispatchQueue[A, R]) putLocked(j *Job[A, R], now instant) (*Job[A, R], error) {
	if q.stopped || q.closing {
		q.stats.Refused++
		return nil, ErrStopped
	}
	if m := j.extra; m != nil && m.key != "" {
		if old := q.keys[m.key]; old != nil {
			return old, q.joinLocked(old, j, now)
		}
	}
	due := j.due() <= now
	switch {
	case due && q.canStartLocked():
		q.seq++
		q.acceptLocked(j, q.seq, now)
		q.rate.permit = false
		q.startLocked(j, now)
	case q.roomLocked(due) > 0:
		q.seq++
		q.acceptLocked(j, q.seq, now)
		q.enqueueLocked(j, now)
	default:
		q.stats.Refused++
		return nil, ErrQueueFull
	}
	return j, nil
}

// joinLocked has whoever puts j content with old, which has its key; the lock must
// be held.
func (q *ResizableDispatchQueue[A, R]) joinLocked(old, j *Job[A, R], now instant) error {
	if j.extra.refuse {
		q.stats.Refused++
		return ErrDuplicateJob
	}
	q.stats.Joined++
	if old.state != JobPending {
		return nil
	}
	if j.priority < old.priority {
		q.reprioritizeLocked(old, j.priority)
	}
	if old.started == 0 && j.due() < old.due() && q.delayed.Has(old) {
		q.removePendingLocked(old)
		old.setDueLocked(j.due())
		q.enqueueLocked(old, now)
	}
	return nil
}

// canStartLocked reports whether a job that is put now need not wait; the lock must
// be held.
func (q *ResizableDispatchQueue[A, R]) canStartLocked() bool {
	return q.workers < q.width && !q.paused && q.pending.Len() == 0 && q.rate.open()
}

// roomLocked is how many jobs more may be added now: those that are due may use the
// free slots, too. The lock must be held.
func (q *ResizableDispatchQueue[A, R]) roomLocked(due bool) int {
	if q.opts.Size == 0 {
		return math.MaxInt
	}
	n := max(q.opts.Size, 0) - q.pendingLenLocked()
	if due && !q.paused {
		n += max(q.width-q.workers, 0)
	}
	return max(n, 0)
}

// pendingLenLocked is how many jobs are pending; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) pendingLenLocked() int {
	return q.pending.Len() + q.delayed.Len()
}

// acceptLocked makes j a job of q, with a number that tells its place among equals; the
// lock must be held.
func (q *ResizableDispatchQueue[A, R]) acceptLocked(j *Job[A, R], seq uint64, now instant) {
	if j.queued == 0 {
		j.queued = now
	}
	if m := j.extra; m != nil {
		m.seq = seq
		j.setDueLocked(m.due)
		q.claimKeyLocked(j)
	}
	q.stats.Put++
	q.emitLocked(EventPut, j)
}

// claimKeyLocked gives the key of j, which q has accepted, to it; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) claimKeyLocked(j *Job[A, R]) {
	if j.extra.key == "" {
		return
	}
	if q.keys == nil {
		q.keys = make(map[string]*Job[A, R])
	}
	q.keys[j.extra.key] = j
}

// releaseKeyLocked gives the key of j, which has ended, free; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) releaseKeyLocked(j *Job[A, R]) {
	if m := j.extra; m != nil && m.key != "" && q.keys[m.key] == j {
		delete(q.keys, m.key)
		if len(q.keys) == 0 {
			q.keys = nil // a map keeps the room it once had
		}
	}
}

// enqueueLocked puts j, which q has accepted, where jobs wait; the lock must be held.
// It is the last job of all, unless it has a number of its own.
func (q *ResizableDispatchQueue[A, R]) enqueueLocked(j *Job[A, R], now instant) {
	seq := q.seq
	if m := j.extra; m != nil {
		seq = m.seq
		if m.due > now {
			q.delayLocked(j, m.due)
			return
		}
	}
	q.pending.Push(j, heap.Key{Priority: q.rankLocked(j), Seq: seq})
}

// rankLocked is what pending jobs are ordered by first. With ageing it is the moment
// at which a job of priority 0 would have to be put to stand in the same place,
// so that nothing moves as time goes by.
func (q *ResizableDispatchQueue[A, R]) rankLocked(j *Job[A, R]) int64 {
	priority := int64(j.priority)
	age := int64(q.opts.Ageing)
	if age == 0 {
		return priority
	}
	since := j.since()
	// Beyond a hundred years nobody waits.
	const most = math.MaxInt64 / 4
	return int64(min(max(since, -most), most)) + max(min(priority, most/age), -most/age)*age
}

// delayLocked keeps j out of the way until it is due; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) delayLocked(j *Job[A, R], due instant) {
	q.delayed.Push(j, heap.Key{Priority: int64(due), Seq: j.extra.seq})
	q.setDueTimerLocked(q.clock.Now())
}

// dueTimer is a timer for the first of what is delayed.
type dueTimer struct {
	timer *time.Timer
	at    instant // when it goes off; 0 is never
}

// setDueTimerLocked has the dueTimer go off when the first delayed job is due; the lock must be held.
// It may go off too early: then it is set anew. If there is nothing to wait for it
// is stopped, as until it goes off it keeps the queue in memory.
func (q *ResizableDispatchQueue[A, R]) setDueTimerLocked(now instant) {
	if q.delayed.Len() == 0 || q.stopped {
		if q.dueTimer.at != 0 {
			q.dueTimer.timer.Stop()
			q.dueTimer.at = 0
		}
		return
	}
	at := instant(q.delayed.Peek().Priority)
	if q.dueTimer.at != 0 && q.dueTimer.at <= at {
		return
	}
	q.dueTimer.at = at
	d := time.Duration(at - now)
	if q.dueTimer.timer == nil {
		q.dueTimer.timer = time.AfterFunc(d, q.onDueTimer)
	} else {
		q.dueTimer.timer.Reset(d)
	}
}

// onDueTimer is called when a delayed job is due.
func (q *ResizableDispatchQueue[A, R]) onDueTimer() {
	now := q.lock()
	q.dueTimer.at = 0
	for !q.stopped && q.delayed.Len() > 0 && instant(q.delayed.Peek().Priority) <= now {
		q.enqueueLocked(q.delayed.Pop().Item, now)
	}
	q.setDueTimerLocked(now)
	q.commit(now)
}

// removePendingLocked takes a pending job out of the queue; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) removePendingLocked(j *Job[A, R]) {
	if q.pending.Has(j) {
		q.pending.Remove(j)
		return
	}
	q.delayed.Remove(j)
	q.setDueTimerLocked(q.clock.Now())
}

// instant is a moment as a queue and its jobs keep it.
type instant = clock.Instant

// lock takes the lock and returns the present moment. That is read before, and not
// earlier than at the lock of before: what happens first has the earlier time.
func (q *ResizableDispatchQueue[A, R]) lock() (now instant) {
	now = q.clock.Now()
	q.mu.Lock()
	q.latest = max(q.latest, now)
	return q.latest
}

// commit ends a change of the queue that somebody from outside has made.
func (q *ResizableDispatchQueue[A, R]) commit(now instant) {
	signals := q.advanceLocked(now)
	q.mu.Unlock()
	signals.settle()
}

// advanceLocked does what has become possible: it starts jobs, lets PutWaits in, asks the rate
// limit for the next start, and returns what is to be settled after the lock,
// which must be held, was given back. Whatever changes the queue ends with it, mostly by unlock,
// so that nothing waits for a signal.
func (q *ResizableDispatchQueue[A, R]) advanceLocked(now instant) *idleSignals[A, R] {
	for {
		for q.canBeginLocked(q.workers+1) && q.rate.pass() {
			q.startLocked(q.pending.Pop().Item, now)
		}
		if !q.admitPuttersLocked(now) {
			break
		}
	}
	q.updateLimiterLocked()
	if q.marks.Watch(q.pendingLenLocked(), q.opts.Low, q.opts.High) {
		go q.marks.Call(&q.mu, q.opts.OnHigh, q.opts.OnLow, reportPanic)
	}
	return q.idleSignalsLocked()
}

// canBeginLocked reports whether a worker more, or one of those there are, may take
// a job, apart from the rate limit; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) canBeginLocked(workers int) bool {
	return workers <= q.width && !q.paused && !q.stopped && q.pending.Len() > 0
}

// admitPuttersLocked lets PutWaits in while there is room; the lock must be held. It
// reports whether it did.
func (q *ResizableDispatchQueue[A, R]) admitPuttersLocked(now instant) (any bool) {
	for w := q.nextPutterLocked(now); w != nil; w = q.nextPutterLocked(now) {
		q.admitLocked(w, now)
		any = true
	}
	return any
}

// nextPutterLocked is the first PutWait for which there is room, if any: one with a
// delayLocked may not use a free slot, and does not keep those behind it from that.
func (q *ResizableDispatchQueue[A, R]) nextPutterLocked(now instant) *putWaiter[A, R] {
	for w := range q.putters.All() {
		if q.roomLocked(w.j.due() <= now) > 0 {
			return w
		}
		if q.roomLocked(true) == 0 {
			break
		}
	}
	return nil
}

func (q *ResizableDispatchQueue[A, R]) admitLocked(w *putWaiter[A, R], now instant) {
	q.putters.Remove(w)
	w.j, w.err = q.putLocked(w.j, now)
	close(w.done)
}

// refusePuttersLocked lets no PutWait in any more; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) refusePuttersLocked(now instant) {
	for w, ok := q.putters.Front(); ok; w, ok = q.putters.Front() {
		q.admitLocked(w, now)
	}
}

// startLocked makes j underway, on a goroutine of its own; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) startLocked(j *Job[A, R], now instant) {
	q.workers++
	q.beginLocked(j, now)
	sched.Go(func() { q.work(j) })
}

// beginLocked makes j, which is on no list, underway; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) beginLocked(j *Job[A, R], now instant) {
	if j.started == 0 {
		q.stats.Waiting.Add(now.Sub(j.since()))
	}
	j.state = JobUnderway
	j.started = now
	q.underway.PushBack(j)
	if m := j.extra; m != nil {
		m.attempts++
	}
	q.emitLocked(EventStarted, j)
}

// work runs j and then whatever else may start, and ends when nothing may.
func (q *ResizableDispatchQueue[A, R]) work(j *Job[A, R]) {
	returned := false
	defer func() {
		if !returned { // runtime.Goexit: the goroutine is lost, its slot is not
			defer q.replaceWorker() // also if a handler calls it once more
			var none R
			q.finishCall(j, none, ErrGoexit)
		}
	}()
	for {
		v, err := q.callJob(j)
		next, signals, taken := q.finishCall(j, v, err)
		if !taken {
			next, signals = q.nextJob()
		}
		if next == nil {
			returned = true
			signals.settle()
			return
		}
		j = next
	}
}

// replaceWorker has another goroutine go on where one is about to exit.
func (q *ResizableDispatchQueue[A, R]) replaceWorker() {
	next, signals := q.nextJob()
	if next == nil {
		signals.settle()
		return
	}
	sched.Go(func() { q.work(next) })
}

// callJob calls the function for j. A panic becomes an error; a Goexit passes.
func (q *ResizableDispatchQueue[A, R]) callJob(j *Job[A, R]) (v R, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = caught(r)
		}
	}()
	if j.extra != nil {
		return q.callExtra(j, j.extra)
	}
	return q.callHooked(jobContext[A, R]{j}, j)
}

// callHooked calls the function within its hooks.
func (q *ResizableDispatchQueue[A, R]) callHooked(ctx context.Context, j *Job[A, R]) (R, error) {
	if run := q.run.Load(); run != nil {
		return (*run)(ctx, j)
	}
	return q.fn(ctx, j.arg)
}

// finishCall notes the outcome of j's call and settles its future, or has it tried
// retryLocked. It does nothing if that was done before: a handler of the future may
// have ended the goroutine. If nobody listens to the future, as is mostly so
// while the queue is busy, all is done under the lock at once, with what next
// does: then next was taken.
func (q *ResizableDispatchQueue[A, R]) finishCall(j *Job[A, R], v R, err error) (next *Job[A, R], signals *idleSignals[A, R], taken bool) {
	again := false
	if m := j.extra; m != nil && m.retry != nil {
		again, err = m.retry.after(err)
	}
	now := q.lock()
	if !q.underway.Remove(j) {
		q.mu.Unlock()
		return nil, nil, false
	}
	q.stats.Running.Add(now.Sub(j.started))
	var fail *settle.Failure
	switch {
	case j.state != JobUnderway: // cancelled, or timed out
		fail = j.ctx.Load().fail
	case again:
		q.retryLocked(j, now)
		q.mu.Unlock()
		return nil, nil, false
	case err != nil:
		q.endLocked(j, JobFailed, now)
	default:
		q.endLocked(j, JobFinished, now)
		if j.extra == nil && j.ctx.Load() == nil {
			j.val = v
			if j.core.Succeed() {
				next, signals = q.nextJobLocked(now)
				q.mu.Unlock()
				return next, signals, true
			}
		}
	}
	ctx := j.ctx.Load()
	q.mu.Unlock()

	j.extra.release()
	cause := context.Canceled
	if fail != nil {
		cause = endCause(fail)
	}
	if ctx != nil {
		ctx.end(cause)
	}
	switch late := panicOf(err); {
	case fail != nil && late != nil:
		report(late) // as for Go: the future cannot tell of it
	case fail == nil && err != nil:
		fail = failureOf(q.opts.Context, err)
	}
	if fail != nil {
		var none R
		v = none
	}
	// Whoever cancelled the job settles its future too. That it is done here
	// as well is so that no future is pending when those of Pause and Stop
	// settle.
	j.settle(v, fail)
	return nil, nil, false
}

// panicOf is the panic of a call that has failed with err, or of what belongs to
// its retries, nil if there was none.
func panicOf(err error) *PanicError {
	if e, ok := err.(*RetryError); ok && e != nil {
		err = e.Reason
	}
	e, _ := err.(*PanicError)
	return e
}

// endLocked notes that j has reached a state that is final; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) endLocked(j *Job[A, R], state JobState, now instant) {
	j.state, j.ended = state, now
	q.releaseKeyLocked(j)
	q.stats.over(state, now)
	q.emitLocked(EventEnded, j)
	q.ended.Push(j)
}

// nextJob takes the job that a worker runs after the one it has ended. If there is none the
// worker has left, and settles rest.
func (q *ResizableDispatchQueue[A, R]) nextJob() (j *Job[A, R], signals *idleSignals[A, R]) {
	now := q.lock()
	defer q.mu.Unlock()
	return q.nextJobLocked(now)
}

// nextJobLocked is next; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) nextJobLocked(now instant) (j *Job[A, R], signals *idleSignals[A, R]) {
	if q.canBeginLocked(q.workers) && q.rate.pass() {
		j = q.pending.Pop().Item
		q.beginLocked(j, now)
	} else {
		q.workers--
	}
	return j, q.advanceLocked(now)
}
