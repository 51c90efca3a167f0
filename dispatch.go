package twill

import (
	"cmp"
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

// The reasons why a dispatch queue refuses a call, or why one of its jobs fails
// or is canceled.
var (
	// ErrStopped is returned by Put, SetWidth and Resume when the queue is
	// stopped, and by Put during a Drain. StopNow cancels jobs with it as the
	// cause.
	ErrStopped = errors.New("twill: dispatch queue is stopped")

	// ErrDuplicateJob is returned by Put, with the job that has the key, if a job
	// with the same key is pending or underway and the options have Refuse.
	ErrDuplicateJob = errors.New("twill: duplicate job key")

	// ErrNotPending is returned by Reprioritize for a job that is not pending
	// in the queue.
	ErrNotPending = errors.New("twill: job is not pending")

	// ErrNegativeWidth is returned by SetWidth and ResumeWidth.
	ErrNegativeWidth = errors.New("twill: negative width")

	// ErrResumed is the cancellation cause of the future of a Pause if the queue
	// is resumed before its jobs have ended.
	ErrResumed = errors.New("twill: dispatch queue was resumed")

	// ErrExpired is the failure of a job that was not started before it
	// expired; see JobOptions.
	ErrExpired = errors.New("twill: job expired")
)

// ResizableDispatchQueue runs jobs. A job is one call of the queue's function
// with its own argument. At most Width jobs run at the same time; the others
// wait, ordered by priority. Unlike a worker pool or an errgroup with a limit,
// it can be inspected and controlled while it runs, and each job is a future:
// the width can be changed, jobs can be moved, canceled and listed, and the
// queue can be paused, resumed, stopped and saved. It is the equivalent of the
// ResizableDispatchQueue of txRDQ.
//
// A queue is constructed by [NewResizableDispatchQueue]; the zero value does
// not work. It must not be copied. Its methods may be called concurrently, and
// by the function itself: Put does not block, so a job may put other jobs
// whatever the width. The lists that methods return belong to the caller. The
// queue keeps no job that has ended. A Put synchronizes before the call for its
// job.
//
// Jobs start in order of priority, lowest value first, and in order of Put
// among equals. A job waits while the width is exhausted, the queue is paused
// or stopped, the job is not due, the limit of its group is reached, or the
// rate limit holds it back; [ResizableDispatchQueue.Why] returns the reason.
//
// # Slots
//
// Width bounds the calls that are running. Canceling a job that is underway
// ends its future and its context at once, but its slot is free only after the
// function has returned. A job also holds its slot while the handlers of its
// future run, on the goroutine that ran the job; [Future.Via] moves slow
// handlers elsewhere. A job that awaits another job of the same queue holds its
// slot during the wait: with a width of 1 it waits for itself. Let the job
// return instead, and continue in a handler of the other job. A job that pauses
// before a retry, or returns [Snooze], holds no slot.
//
// Goroutines exist only while they have jobs to run or a rate limit to wait
// for. A queue that is idle, paused or stopped has none, and is garbage
// collected without a Close.
//
// # Time
//
// Delays, timeouts and pauses are measured by the monotonic clock. A time of
// day, such as JobOptions.At, is converted when the job is put: if the wall
// clock is set after that, or the machine sleeps, the job does not move.
// Methods return times of the wall clock at the moment of the call.
//
// # The next day
//
// Stop returns the jobs that were not run, in order. They can be saved as JSON,
// and [ResizableDispatchQueue.Restore] puts them into the queue of the next
// process. [ResizableDispatchQueue.Drain] ends a queue after its work instead,
// within a bounded time.
//
// # Failures
//
// If the function panics, the job fails with a [*PanicError]; if it calls
// [runtime.Goexit], the job fails with [ErrGoexit]. In both cases the slot is
// free afterwards.
type ResizableDispatchQueue[A, R any] struct {
	fn    func(context.Context, A) (R, error)
	opts  DispatchOptions                                              // with the defaults in place
	run   atomic.Pointer[func(context.Context, *Job[A, R]) (R, error)] // fn within its hooks; nil if there are no hooks
	clock clock.Clock

	mu       sched.Mutex                         // guards the fields below and those of the jobs; not held while user code runs
	latest   instant                             // the time at which mu was last locked
	pending  jobHeap[A, R]                       // jobs that may start when a slot is free; of each group at most one
	delayed  jobHeap[A, R]                       // jobs that are not due, by due time, and then the jobs that are held back
	dueTimer dueTimer                            // fires when the first delayed job is due or a group may start a job
	underway list.By[*Job[A, R], jobLinks[A, R]] // jobs whose calls have not returned, in order of start
	seq      uint64                              // number of the last job
	restored uint64                              // number of the first job of the last Restore
	keys     map[string]*Job[A, R]               // jobs with a key, pending or underway
	byID     map[string]*Job[A, R]               // jobs that were restored with an ID or have lost their place, pending or underway
	groups   groupTable[A, R]

	// A job is in pending only if there are at least width workers, the queue is
	// paused or stopped, or the rate limit holds the job back. A method that
	// changes one of these calls advanceLocked, usually through commit, which
	// starts the jobs that may start. A PutWait waits only if there is no room;
	// advanceLocked admits it too.
	width   int
	workers int // goroutines that run jobs
	paused  bool
	stopped bool // by Stop or StopNow
	closing bool // by Drain: no job can be put
	rate    rateLimit
	line    putLine[A, R]

	drained   *Promise[struct{}]         // of Pause, if there are workers
	idle      *Promise[struct{}]         // of NoneUnderway, if there are workers
	empty     *Promise[struct{}]         // of Empty, if there are jobs
	below     map[int]*Promise[struct{}] // of PendingBelow, by n, if at least n jobs are pending
	leftovers *Promise[[]*Job[A, R]]     // of Stop; set by the first call
	killed    []*Job[A, R]               // canceled by StopNow, in order of start
	closed    bool                       // stopped, and the last worker has ended
	failed    []failedJob[A, R]          // jobs that ended without a call, to be settled
	starting  []*Job[A, R]               // jobs underway for which DispatchOptions.Go is still to be called

	hooks  []func(context.Context, *Job[A, R], func(context.Context) (R, error)) (R, error)
	marks  watermark.Marks
	stats  dispatchStats
	events feed.Feeds[DispatchEvent[A, R]]
	ended  feed.Feeds[*Job[A, R]]
}

// DispatchOptions are the settings of a [ResizableDispatchQueue]. The zero
// value of each field is its default.
type DispatchOptions struct {
	// Width is the maximum number of jobs underway; 0 means 1. SetWidth(0) keeps a
	// queue from starting jobs.
	Width int

	// Size is the maximum number of pending jobs; 0 means no limit. With a
	// negative Size no job may be pending, so that a Put succeeds only if a slot
	// is free. A job for which a slot is free, and which only waits for the rate
	// limit, does not count.
	Size int

	// Context is the parent of the jobs' contexts; nil means [context.Background].
	// Its end does not stop the queue: the function receives the ended context and
	// decides.
	Context context.Context

	// Go, if not nil, starts the goroutines that run jobs, in place of a go
	// statement: to give them labels for a profile, to keep goroutines for later
	// work, or to write first that a job starts. It must call work on another
	// goroutine, which runs the job with the argument arg, and then other jobs,
	// until none can start. The call that makes the job start, such as Put, calls
	// Go without a lock, and waits for it. If Go panics, that is reported (see
	// [OnUnhandled]), and the job runs on a goroutine of its own. The time until
	// work is called counts in the Timeout of the job.
	Go func(arg any, work func())

	// Rate limits the rate at which jobs start; nil means no limit. See SetRate.
	Rate Limiter

	// GroupLimit is the limit of every group that has no limit of its own. See
	// JobOptions.Group and SetGroupLimit.
	GroupLimit GroupLimit

	// TakeTurns makes groups take turns among jobs of equal priority: the next job
	// is taken from the group that has waited longest for a start. The jobs
	// without a group are one group. With Ageing no two jobs are equal, and groups
	// do not take turns.
	TakeTurns bool

	// Timeout and Retry are used for jobs without their own; see [JobOptions].
	Timeout time.Duration
	Retry   *RetryOptions

	// Ageing keeps a stream of urgent jobs from holding others back forever: a job
	// that has waited for Ageing starts before a job that was just put with a
	// priority number lower by one. 0 means that only priorities count.
	Ageing time.Duration

	// OnHigh is called when the number of pending jobs reaches High. OnLow is
	// called when the number falls to Low after that; then OnHigh may be called
	// again. The argument is the number at that moment. Calls are made in order
	// and never overlap, on their own goroutine, so the functions must not wait
	// for each other. A nil function is not called. If High is 0 there are no
	// marks.
	High, Low     int
	OnHigh, OnLow func(pending int)
}

// NewResizableDispatchQueue returns a queue that calls fn for each job. The
// context given to fn ends when the job is canceled, with the cause, when its
// time limit is exceeded, and when fn returns. NewResizableDispatchQueue panics
// if fn is nil, if a setting is negative for which that has no meaning, or if
// opts.High is not greater than opts.Low. opts may be nil.
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
		panic("twill: NewResizableDispatchQueue: Width must not be negative")
	case o.Ageing < 0:
		panic("twill: NewResizableDispatchQueue: Ageing must not be negative")
	case o.High != 0 && (o.Low < 0 || o.High <= o.Low):
		panic("twill: NewResizableDispatchQueue: High must be greater than Low, and Low must not be negative")
	}
	if err := o.GroupLimit.check(); err != nil {
		panic("twill: NewResizableDispatchQueue: GroupLimit: " + err.Error())
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
	q.groups.limit = o.GroupLimit
	q.groups.none.q = q
	return q
}

// NewResizableDispatchQueueFuture is [NewResizableDispatchQueue] for a function
// that returns a future. The job settles as that future does, and holds its
// slot until then. When the job is canceled or its time limit is exceeded, the
// future is canceled too unless it has other dependents. If the function
// returns nil, the job fails.
func NewResizableDispatchQueueFuture[A, R any](fn func(context.Context, A) *Future[R], opts *DispatchOptions) *ResizableDispatchQueue[A, R] {
	if fn == nil {
		panic("twill: NewResizableDispatchQueueFuture with a nil function")
	}
	return NewResizableDispatchQueue(func(ctx context.Context, arg A) (R, error) {
		f := fn(ctx, arg)
		if f == nil {
			var zero R
			return zero, errNoFuture
		}
		f = Handle(f, func(v R, err error) (R, error) { return v, err })
		stop := context.AfterFunc(ctx, func() { f.Cancel(context.Cause(ctx)) })
		defer stop()
		return f.Await(context.Background())
	}, opts)
}

// Put adds a job for arg. Jobs with a lower priority number start first, and
// jobs of equal priority in the order of the calls. If a slot is free, the job
// is underway when Put returns, unless a delay or a limit holds it back. Put
// does not block.
//
// Put returns [ErrStopped] after a stop and [ErrQueueFull] if Size jobs are
// pending; in these cases it has added nothing. If there are several opts, the
// fields that are set in a later one replace those of an earlier one. Put
// panics if one of them has both an At and an After.
func (q *ResizableDispatchQueue[A, R]) Put(arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	var all JobOptions
	o := q.merge(opts, &all)
	j := q.newJob(arg, priority, o)
	now := q.lock()
	defer q.commit(now)
	return q.putLocked(j, o, now)
}

// PutWait is Put, but waits while Size jobs are pending. Waiting calls are
// admitted in their order. If ctx ends before there is room, PutWait returns
// [context.Cause] of ctx and has added nothing. If another job takes the Key of
// a waiting PutWait, the call joins that job at once, unless its job has to run
// after that one: see [JobOptions.Again].
//
// Do not call PutWait from a job of the same queue: it may deadlock. Use Put.
func (q *ResizableDispatchQueue[A, R]) PutWait(ctx context.Context, arg A, priority int, opts ...JobOptions) (*Job[A, R], error) {
	if ctx == nil {
		panic("twill: PutWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var all JobOptions
	o := q.merge(opts, &all)
	j := q.newJob(arg, priority, o)
	now := q.lock()
	job, err := q.putLocked(j, o, now)
	if err != ErrQueueFull {
		q.commit(now)
		return job, err
	}
	q.stats.Refused-- // it waits instead
	w := &putWaiter[A, R]{job: j, done: make(chan struct{})}
	if o != nil {
		waits := *o // o stays on the stack of a PutWait that does not wait
		w.opts = &waits
	}
	q.joinLineLocked(w, now)
	q.commit(now)
	ended := false
	select {
	case <-w.done:
	case <-ctx.Done():
		ended = true
	}
	if q.leaveLine(w, ended || ctx.Err() != nil) {
		return w.job, w.err
	}
	return nil, cmp.Or(context.Cause(ctx), context.Canceled)
}

// PutAll adds a job for each of args, in order, all with the same priority and
// options, and starts the first of them after all were added. It returns the
// errors of Put; after an error, none was added.
func (q *ResizableDispatchQueue[A, R]) PutAll(args []A, priority int, opts ...JobOptions) ([]*Job[A, R], error) {
	jobs := make([]*Job[A, R], len(args))
	var all JobOptions
	o := q.merge(opts, &all)
	for i, arg := range args {
		jobs[i] = q.newJob(arg, priority, o)
	}
	now := q.lock()
	defer q.commit(now)
	if err := q.mayPutAllLocked(jobs, o, now); err != nil {
		q.stats.Refused += uint64(len(jobs))
		return nil, err
	}
	for i, j := range jobs {
		if o.key() != "" {
			jobs[i], _ = q.putLocked(j, o, now) // the first is added, the others join it
			continue
		}
		q.seq++
		q.acceptLocked(j, o, q.seq, now)
		q.enqueueLocked(j, now)
	}
	return jobs, nil
}

func (q *ResizableDispatchQueue[A, R]) mayPutAllLocked(jobs []*Job[A, R], o *JobOptions, now instant) error {
	n := len(jobs)
	switch {
	case q.stopped || q.closing:
		return ErrStopped
	case n == 0:
		return nil
	case o.key() != "":
		old := q.keys[o.key()]
		if o.Refuse && (old != nil || n > 1) {
			return ErrDuplicateJob
		}
		if old != nil && !q.needsRunLocked(old, o) {
			return nil
		}
		n = 1
	}
	if n > q.roomLocked(q.usableLocked(jobs[0], o, now)) {
		return ErrQueueFull
	}
	return nil
}

// merge merges opts and the queue's defaults into all, and returns it, or nil
// if a job that is put with opts has no settings.
func (q *ResizableDispatchQueue[A, R]) merge(opts []JobOptions, all *JobOptions) *JobOptions {
	if len(opts) == 0 && q.opts.Timeout <= 0 && q.opts.Retry == nil {
		return nil
	}
	all.merge(opts)
	q.setDefaults(all)
	return all
}

// setDefaults sets the fields of o that are the queue's if they are not set.
func (q *ResizableDispatchQueue[A, R]) setDefaults(o *JobOptions) {
	if o.Timeout == 0 {
		o.Timeout = q.opts.Timeout
	}
	if o.Retry == nil {
		o.Retry = q.opts.Retry
	}
}

// newJob makes a job that is not in a queue yet. o may be nil.
func (q *ResizableDispatchQueue[A, R]) newJob(arg A, priority int, o *JobOptions) *Job[A, R] {
	j := newJob(q, arg, priority)
	if o == nil || o.isPlain() {
		return j
	}
	m := &jobExtra[A, R]{key: o.Key, timeout: o.Timeout, held: o.Held}
	if o.Context != nil {
		m.values = context.WithoutCancel(o.Context) // context.Cause would find its end among its values
	}
	if o.Retry != nil {
		m.retry = &jobRetry{opts: o.Retry}
	}
	switch {
	case !o.At.IsZero():
		m.due = q.clock.At(o.At)
	case o.After > 0:
		m.due = q.clock.Now().Add(o.After)
	}
	if !o.Expires.IsZero() {
		m.expires = q.clock.At(o.Expires)
	}
	j.extra.Store(m)
	return j
}

// putLocked adds j, if possible, and starts it if it need not wait. It returns
// the job that stands for the put, if there is one.
func (q *ResizableDispatchQueue[A, R]) putLocked(j *Job[A, R], o *JobOptions, now instant) (*Job[A, R], error) {
	if q.stopped || q.closing {
		q.stats.Refused++
		return nil, ErrStopped
	}
	if key := o.key(); key != "" {
		if old := q.keys[key]; old != nil {
			return q.joinLocked(old, j, o, now)
		}
	}
	usable := q.usableLocked(j, o, now)
	switch {
	case usable > 0 && q.line.reserved == 0 && q.startsAtOnceLocked(j, now):
		q.seq++
		q.acceptLocked(j, o, q.seq, now)
		q.rate.permit = false
		q.startLocked(j, now)
	case q.roomLocked(usable) > 0:
		q.seq++
		q.acceptLocked(j, o, q.seq, now)
		q.enqueueLocked(j, now)
	default:
		q.stats.Refused++
		return nil, ErrQueueFull
	}
	return j, nil
}

// startsAtOnceLocked reports whether j, for which a slot is free, starts when
// it is put: it does not if other jobs start first, or if it has expired.
func (q *ResizableDispatchQueue[A, R]) startsAtOnceLocked(j *Job[A, R], now instant) bool {
	m := j.extra.Load()
	return q.pending.Len() == 0 && q.rate.open() && (m == nil || !m.expired(j, now))
}

// needsRunLocked reports whether a put with options o needs its own run after
// that of old, which has its key.
func (q *ResizableDispatchQueue[A, R]) needsRunLocked(old *Job[A, R], o *JobOptions) bool {
	return o.Again && old.state == JobUnderway && old.extra.Load().next == nil
}

// joinLocked merges the put of j into old, the job with the same key. It
// returns the job that stands for the put.
func (q *ResizableDispatchQueue[A, R]) joinLocked(old, j *Job[A, R], o *JobOptions, now instant) (*Job[A, R], error) {
	if o.Refuse {
		q.stats.Refused++
		return old, ErrDuplicateJob
	}
	if q.needsRunLocked(old, o) {
		if q.roomLocked(0) == 0 {
			q.stats.Refused++
			return nil, ErrQueueFull
		}
		q.seq++
		q.followLocked(old, j, o, q.seq, now)
		return j, nil
	}
	if next := old.extra.Load().next; next != nil && o.Again {
		old = next // even if old waits for its retry: next runs last, and gets the newest argument
	}
	q.stats.Joined++
	if old.state != JobPending {
		return old, nil
	}
	if o.Again || o.Debounce {
		old.arg = j.arg
	}
	if j.priority < old.priority {
		q.reprioritizeLocked(old, j.priority, now)
	}
	// A job that was called before keeps its pause.
	if m := old.extra.Load(); m.attempts == 0 && (o.Debounce || j.due() < m.due && q.delayed.Has(old)) {
		q.removePendingLocked(old, now)
		old.setDueLocked(j.due())
		q.enqueueLocked(old, now)
	}
	return old, nil
}

// followLocked adds j as the job that runs when old, which has its key, has
// ended.
func (q *ResizableDispatchQueue[A, R]) followLocked(old, j *Job[A, R], o *JobOptions, seq uint64, now instant) {
	j.extra.Load().follows = true
	q.acceptLocked(j, o, seq, now)
	old.extra.Load().next = j
	q.enqueueLocked(j, now)
	q.letJoinLocked(old)
}

// pendingLenLocked returns the number of pending jobs.
func (q *ResizableDispatchQueue[A, R]) pendingLenLocked() int {
	return q.pending.Len() + q.delayed.Len() + q.groups.waiting
}

// usableLocked returns how many slots jobs like j may use now: none if j is not
// due, and no more than its group allows.
func (q *ResizableDispatchQueue[A, R]) usableLocked(j *Job[A, R], o *JobOptions, now instant) int {
	if m := j.extra.Load(); m != nil && (m.due > now || m.held) {
		return 0
	}
	free := q.freeLocked()
	name := o.groupName()
	if free == 0 || !q.isGroup(name) {
		return free
	}
	return min(free, q.groups.usable(name, now))
}

// isGroup reports whether the jobs with that name of a group are one.
func (q *ResizableDispatchQueue[A, R]) isGroup(name string) bool {
	return name != "" || q.opts.TakeTurns
}

// freeLocked returns the number of free slots.
func (q *ResizableDispatchQueue[A, R]) freeLocked() int {
	if q.paused || q.stopped {
		return 0
	}
	return max(q.width-q.workers, 0)
}

// roomLocked returns how many jobs may be added now, if up to usable of them
// may use a free slot.
func (q *ResizableDispatchQueue[A, R]) roomLocked(usable int) int {
	if q.opts.Size == 0 {
		return math.MaxInt
	}
	// Some of the jobs that may start have a free slot, and wait for the rate
	// limit.
	free, starting := q.freeLocked(), q.pending.Len()+q.line.reserved
	waiting := q.delayed.Len() + q.groups.waiting + max(starting-free, 0)
	room := max(max(q.opts.Size, 0)-waiting, 0)
	usable = min(usable, max(free-starting, 0))
	if room > math.MaxInt-usable {
		return math.MaxInt
	}
	return room + usable
}

// acceptLocked makes j a job of q, with a number that determines its place
// among equals.
func (q *ResizableDispatchQueue[A, R]) acceptLocked(j *Job[A, R], o *JobOptions, seq uint64, now instant) {
	if j.queued.IsZero() {
		j.queued = now
	}
	j.seq = seq
	if name := o.groupName(); q.isGroup(name) {
		q.joinGroupLocked(j, name)
	}
	if m := j.extra.Load(); m != nil {
		j.setDueLocked(m.due)
		if m.expires != 0 {
			m.timer = sched.AfterFunc(m.expires.Sub(now), func() { q.expire(j) })
		}
	}
	q.stats.Put++
	q.emitLocked(EventPut, j)
	if m := j.extra.Load(); m != nil && m.key != "" && !m.follows && !m.expired(j, now) {
		q.claimKeyLocked(j, now) // a job that fails at once is none to join
	}
}

// claimKeyLocked gives j its key. Waiting PutWaits with the same key join j
// when the change ends.
func (q *ResizableDispatchQueue[A, R]) claimKeyLocked(j *Job[A, R], now instant) {
	key := j.extra.Load().key
	if q.keys == nil {
		q.keys = make(map[string]*Job[A, R])
	}
	q.keys[key] = j
	if line := q.line.keys[key]; line != nil {
		q.letJoinLocked(j)
		for _, due := range line.due {
			q.parkLocked(due, now)
		}
	}
}

// letJoinLocked makes waiting PutWaits with the key of j join j, if they may,
// when the change ends. It is called when they may begin to: j has got the key,
// is pending again, or has a job that follows it.
func (q *ResizableDispatchQueue[A, R]) letJoinLocked(j *Job[A, R]) {
	if key := j.extra.Load().key; q.line.keys[key] != nil {
		q.line.claimed = append(q.line.claimed, key)
	}
}

// releaseKeyLocked frees the key of j, which has ended, or gives it to the job
// that runs after j.
func (q *ResizableDispatchQueue[A, R]) releaseKeyLocked(j *Job[A, R], now instant) {
	m := j.extra.Load()
	if m == nil || m.key == "" {
		return
	}
	current := q.keys[m.key]
	switch {
	case current == nil:
	case current != j:
		if c := current.extra.Load(); c.next == j {
			c.next = nil
		}
	case m.next != nil:
		next := m.next
		m.next = nil
		q.keys[m.key] = next
		next.extra.Load().follows = false
		q.requeueLocked(next, now)
	default:
		delete(q.keys, m.key)
		if len(q.keys) == 0 {
			q.keys = nil // a map keeps the memory that it once had
		}
		if line := q.line.keys[m.key]; line != nil {
			for _, due := range line.due {
				q.unparkLocked(due, now)
			}
		}
	}
}

// enqueueLocked adds j, which q has accepted, to where jobs wait.
func (q *ResizableDispatchQueue[A, R]) enqueueLocked(j *Job[A, R], now instant) {
	m, g := j.extra.Load(), j.group()
	switch {
	case m != nil && m.expired(j, now) && !q.stopped:
		q.failLocked(j, ErrExpired, now)
	case m != nil && (m.held || m.follows):
		q.delayed.Push(j, heap.Key{Priority: int64(clock.Never), Seq: j.number()})
	case m != nil && m.due > now:
		q.delayed.Push(j, heap.Key{Priority: int64(m.due), Seq: j.number()})
		q.setDueTimerLocked(now)
	case g != nil:
		q.pushGroupLocked(g, j, now)
	default:
		q.pending.Push(j, q.keyLocked(j))
	}
}

// requeueLocked moves j, which is pending and no longer held back, to where it
// now waits.
func (q *ResizableDispatchQueue[A, R]) requeueLocked(j *Job[A, R], now instant) {
	if q.delayed.Has(j) {
		q.delayed.Remove(j)
		q.enqueueLocked(j, now)
	}
}

// keyLocked returns the key by which jobs that are due are ordered.
func (q *ResizableDispatchQueue[A, R]) keyLocked(j *Job[A, R]) heap.Key {
	return heap.Key{Priority: q.rankLocked(j), Seq: j.number()}
}

// rankLocked returns the first part of the key by which jobs that are due are
// ordered. With ageing it is the time at which a job of priority 0 would have
// to be put to have the same place, so that no job moves as time passes.
func (q *ResizableDispatchQueue[A, R]) rankLocked(j *Job[A, R]) int64 {
	priority := int64(j.priority)
	age := int64(q.opts.Ageing)
	if age == 0 {
		return priority
	}
	const limit = math.MaxInt64 / 4 // about 73 years
	since := min(max(int64(j.since()), -limit), limit)
	return since + max(min(priority, limit/age), -limit/age)*age
}

// removePendingLocked removes a pending job from where it waits.
func (q *ResizableDispatchQueue[A, R]) removePendingLocked(j *Job[A, R], now instant) {
	switch {
	case q.delayed.Has(j):
		q.delayed.Remove(j)
		q.setDueTimerLocked(now)
	case j.group() != nil:
		g := j.group()
		q.removeFromGroupLocked(g, j)
		q.updateGroupLocked(g, now)
	default:
		q.pending.Remove(j)
	}
}

// dueTimer is a timer for the first delayed job.
type dueTimer struct {
	timer *time.Timer
	at    instant // when it fires; 0 means never
}

// setDueTimerLocked sets the timer for the first delayed job, the first group
// that its rate holds back, and the first waiting PutWait with a delay. The
// timer may fire too early; then it is set again. If there is nothing to wait
// for it is stopped, as it keeps the queue in memory.
func (q *ResizableDispatchQueue[A, R]) setDueTimerLocked(now instant) {
	at := clock.Never
	if q.delayed.Len() > 0 {
		at = instant(q.delayed.Peek().Priority)
	}
	if q.groups.timed.Len() > 0 {
		at = min(at, instant(q.groups.timed.Peek().Priority))
	}
	if q.line.notDue.Len() > 0 {
		at = min(at, instant(q.line.notDue.Peek().Priority))
	}
	if at == clock.Never || q.stopped {
		if q.dueTimer.at != 0 {
			q.dueTimer.timer.Stop()
			q.dueTimer.at = 0
		}
		return
	}
	if q.dueTimer.at != 0 && q.dueTimer.at <= at {
		return
	}
	q.dueTimer.at = at
	d := at.Sub(now)
	if q.dueTimer.timer == nil {
		q.dueTimer.timer = time.AfterFunc(d, q.onDueTimer)
	} else {
		q.dueTimer.timer.Reset(d)
	}
}

// onDueTimer is the function of the timer.
func (q *ResizableDispatchQueue[A, R]) onDueTimer() {
	now := q.lock()
	q.dueTimer.at = 0
	q.setDueTimerLocked(now)
	q.commit(now)
}

// moveDueLocked moves jobs that are due to where they may start.
func (q *ResizableDispatchQueue[A, R]) moveDueLocked(now instant) {
	if q.stopped {
		return
	}
	for q.delayed.Len() > 0 && instant(q.delayed.Peek().Priority) <= now {
		q.enqueueLocked(q.delayed.Pop().Item, now)
	}
	for q.groups.timed.Len() > 0 && instant(q.groups.timed.Peek().Priority) <= now {
		q.updateGroupLocked(q.groups.timed.Pop().Item, now)
	}
	for q.line.notDue.Len() > 0 && instant(q.line.notDue.Peek().Priority) <= now {
		q.mayUseSlotLocked(q.line.notDue.Pop().Item, now)
	}
}

// instant is a moment in the form that a queue and its jobs use.
type instant = clock.Instant

// lock locks q and returns the time. It reads the clock before locking, as
// reading it takes longer than most changes. If that time is before the time of
// the previous change, that time is used, so that times have the order of the
// changes.
func (q *ResizableDispatchQueue[A, R]) lock() (now instant) {
	now = q.clock.Now()
	q.mu.Lock()
	q.latest = max(q.latest, now)
	return q.latest
}

// commit ends a change that a method has made, and unlocks q.
func (q *ResizableDispatchQueue[A, R]) commit(now instant) {
	q.advance(now).settle()
}

// advance is advanceLocked that unlocks q.
func (q *ResizableDispatchQueue[A, R]) advance(now instant) *signals[A, R] {
	signals := q.advanceLocked(now)
	q.unlock()
	return signals
}

// unlock unlocks q, and starts the goroutines of jobs for which
// DispatchOptions.Go has to be called.
func (q *ResizableDispatchQueue[A, R]) unlock() {
	starting := q.starting
	q.starting = nil
	q.mu.Unlock()
	if starting != nil {
		each(starting, q.startWorker)
	}
}

// advanceLocked does everything that has become possible: it starts jobs,
// admits PutWaits and asks the rate limit for the next start. It returns the
// futures to settle after unlocking. Every change of the queue ends with it, so
// that nothing waits for a signal.
func (q *ResizableDispatchQueue[A, R]) advanceLocked(now instant) *signals[A, R] {
	q.moveDueLocked(now)
	q.joinWaitersLocked(now)
	for q.canBeginLocked(q.workers+1) && q.rate.open() {
		if j := q.popLocked(now); j != nil {
			q.rate.permit = false
			q.startLocked(j, now)
		}
	}
	q.admitWaitersLocked(now)
	q.updateLimiterLocked(now)
	if q.marks.Watch(q.pendingLenLocked(), q.opts.Low, q.opts.High) {
		go q.marks.Call(&q.mu, q.opts.OnHigh, q.opts.OnLow, reportPanic)
	}
	return q.signalsLocked()
}

// canBeginLocked reports whether one of the given number of workers may take a
// job, apart from the rate limit.
func (q *ResizableDispatchQueue[A, R]) canBeginLocked(workers int) bool {
	return workers <= q.width && !q.paused && !q.stopped && q.pending.Len() > 0
}

// popLocked removes the first job that may start. If that job's time limit is
// exceeded, the job ends instead, and popLocked returns nil.
func (q *ResizableDispatchQueue[A, R]) popLocked(now instant) *Job[A, R] {
	j := q.pending.Pop().Item
	if g := j.group(); g != nil {
		g.head = nil
	}
	m := j.extra.Load()
	switch {
	case m == nil:
		return j
	case m.deadline != 0 && now >= m.deadline:
		q.failLocked(j, m.timeoutError(nil), now)
	case m.expired(j, now):
		q.failLocked(j, ErrExpired, now)
	default:
		return j
	}
	return nil
}

// failedJob is a job that has failed without a call.
type failedJob[A, R any] struct {
	job *Job[A, R]
	err error
}

// failLocked fails j, which is pending and was removed from where it waited.
func (q *ResizableDispatchQueue[A, R]) failLocked(j *Job[A, R], err error, now instant) {
	q.endLocked(j, JobFailed, now)
	q.failed = append(q.failed, failedJob[A, R]{j, err})
}

// settle settles f, whose job holds no slot.
func (f failedJob[A, R]) settle() {
	m := f.job.extra.Load()
	fail := settle.NewFailure(f.err)
	_, fail.Expected = f.err.(*TimeoutError) // the end of the job's own context is not reported
	m.release()
	f.job.ctx.End(endCause(fail))
	m.dropContext()
	var zero R
	f.job.settle(zero, fail)
}

// startLocked makes j underway, on its own goroutine. Its caller ends with
// advance or unlock.
func (q *ResizableDispatchQueue[A, R]) startLocked(j *Job[A, R], now instant) {
	q.workers++
	q.beginLocked(j, now)
	if q.opts.Go == nil {
		q.startWorker(j)
	} else {
		q.starting = append(q.starting, j)
	}
}

// startWorker starts a goroutine that runs j, which is underway, and then other
// jobs. It is called without the lock if it has to call DispatchOptions.Go.
func (q *ResizableDispatchQueue[A, R]) startWorker(j *Job[A, R]) {
	if q.opts.Go == nil {
		sched.Go(func() { q.work(j) })
		return
	}
	var begun atomic.Bool
	work := func() {
		if !begun.Swap(true) {
			q.work(j)
		}
	}
	returned := false
	defer func() {
		if !returned {
			reportPanic(recover())
			sched.Go(work)
		}
	}()
	q.opts.Go(j.arg, work) // no put changes the argument while j is underway
	returned = true
}

// beginLocked makes j, which was removed from where it waited, underway.
func (q *ResizableDispatchQueue[A, R]) beginLocked(j *Job[A, R], now instant) {
	first := j.started.IsZero()
	if first {
		q.stats.Waiting.Add(now.Sub(j.since()))
	}
	j.state = JobUnderway
	j.started = now
	q.underway.PushBack(j)
	if m := j.extra.Load(); m != nil {
		m.attempts++
		if first {
			m.stopTimer() // of Expires
			if m.timeout > 0 {
				m.deadline = now.Add(m.timeout)
			}
		}
	}
	if g := j.group(); g != nil {
		q.startInGroupLocked(g, now)
	}
	q.emitLocked(EventStarted, j)
}

// work runs j and then other jobs that may start, and ends when there are none.
func (q *ResizableDispatchQueue[A, R]) work(j *Job[A, R]) {
	returned := false
	defer func() {
		if !returned { // runtime.Goexit: the goroutine ends, but its slot must not be lost
			defer q.replaceWorker() // runs even if a handler calls Goexit again
			var zero R
			q.finishCall(j, zero, ErrGoexit)
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
		if signals != nil { // a handler may end its goroutine
			sched.Go(signals.settle)
		}
		j = next
	}
}

// replaceWorker starts a goroutine that continues the work of a goroutine that
// is exiting.
func (q *ResizableDispatchQueue[A, R]) replaceWorker() {
	next, signals := q.nextJob()
	if next != nil {
		q.startWorker(next)
	}
	signals.settle()
}

// callJob calls the function for j. A panic becomes an error; a Goexit passes
// through.
func (q *ResizableDispatchQueue[A, R]) callJob(j *Job[A, R]) (v R, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = caught(r)
		}
	}()
	if m := j.extra.Load(); m != nil {
		return q.callExtra(j, m)
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

// finishCall records the outcome of j's call and settles its future, or makes
// it pending again. It does nothing if that was done before: a handler of the
// future may have ended the goroutine. If nothing listens to the future, as is
// usual while the queue is busy, everything is done with the lock held once,
// including the work of nextJob; in that case taken is true.
func (q *ResizableDispatchQueue[A, R]) finishCall(j *Job[A, R], v R, err error) (next *Job[A, R], _ *signals[A, R], taken bool) {
	again, snoozed := false, time.Duration(-1)
	if err != nil {
		snoozed = snoozeOf(err)
	}
	if m := j.extra.Load(); m != nil && m.retry != nil {
		if snoozed < 0 {
			again, err = m.retry.after(err)
		} else {
			m.retry.snoozed = time.Now()
		}
	}
	now := q.lock()
	if !q.underway.Remove(j) {
		q.mu.Unlock()
		return nil, nil, false
	}
	q.stats.Running.Add(now.Sub(j.started))
	m, g := j.extra.Load(), j.group()
	if g != nil {
		g.running--
	}
	var fail *settle.Failure
	timedOut := false
	switch {
	case j.state != JobUnderway: // canceled, or timed out
		fail = m.fail
		if g != nil {
			q.updateGroupLocked(g, now)
		}
	case err != nil && m != nil && m.timedOut(err, now):
		err, timedOut = m.timeoutError(err), true
		q.endLocked(j, JobFailed, now)
	case snoozed >= 0:
		q.snoozeLocked(j, snoozed, now)
		q.mu.Unlock()
		return nil, nil, false
	case again:
		q.retryLocked(j, now)
		q.mu.Unlock()
		return nil, nil, false
	case err != nil:
		q.endLocked(j, JobFailed, now)
	default:
		q.endLocked(j, JobFinished, now)
		if m == nil && !j.ctx.Made() {
			j.ctx.End(nil)
			j.val = v
			if j.core.Succeed() {
				next, signals := q.nextJobLocked(now)
				q.unlock()
				return next, signals, true
			}
		}
	}
	q.mu.Unlock()

	m.release()
	cause := context.Canceled
	if fail != nil {
		cause = endCause(fail)
	}
	j.ctx.End(cause)
	m.dropContext()
	switch panicked := panicOf(err); {
	case fail != nil && panicked != nil:
		report(panicked) // as for Go, the future cannot report it
	case fail == nil && err != nil:
		fail = failureOf(q.opts.Context, err)
		fail.Expected = fail.Expected || timedOut // the end of the job's own context is not reported
	}
	if fail != nil {
		var zero R
		v = zero
	}
	// A cancel settles the future of the job, too. The future is also settled
	// here, so that no future is pending when those of Pause and Stop settle.
	j.settle(v, fail)
	return nil, nil, false
}

// panicOf returns the panic of a call that has failed with err, or of a
// function of its RetryOptions, or nil if nothing has panicked.
func panicOf(err error) *PanicError {
	if e, ok := err.(*RetryError); ok && e != nil {
		err = e.Reason
	}
	e, _ := err.(*PanicError)
	return e
}

// endLocked records that j has reached a final state.
func (q *ResizableDispatchQueue[A, R]) endLocked(j *Job[A, R], state JobState, now instant) {
	j.state, j.ended = state, now
	if m := j.extra.Load(); m != nil {
		q.releaseKeyLocked(j, now)
		q.forgetIDLocked(j)
	}
	if g := j.group(); g != nil {
		g.jobs--
		q.updateGroupLocked(g, now)
	}
	q.stats.over(state, now)
	q.emitLocked(EventEnded, j)
	q.ended.Push(j)
}

// nextJob returns the job that a worker runs next. If there is none, the worker
// has ended. The worker settles the signals.
func (q *ResizableDispatchQueue[A, R]) nextJob() (*Job[A, R], *signals[A, R]) {
	now := q.lock()
	defer q.unlock()
	return q.nextJobLocked(now)
}

func (q *ResizableDispatchQueue[A, R]) nextJobLocked(now instant) (j *Job[A, R], _ *signals[A, R]) {
	q.moveDueLocked(now)
	q.joinWaitersLocked(now)
	for j == nil && q.canBeginLocked(q.workers) && q.rate.open() {
		j = q.popLocked(now)
	}
	if j != nil {
		q.rate.permit = false
		q.beginLocked(j, now)
	} else {
		q.workers--
	}
	return j, q.advanceLocked(now)
}
