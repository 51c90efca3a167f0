package twill

import (
	"cmp"
	"context"
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
)

// What a dispatch queue answers when it cannot do what it is asked.
var (
	// ErrStopped is returned by Put and Resume once the queue was stopped, or
	// is about to be by Drain, and is the cause with which StopNow cancels.
	ErrStopped = errors.New("twill: dispatch queue is stopped")

	// ErrQueueFull is returned by Put when as many jobs are pending as the
	// queue's Size allows.
	ErrQueueFull = errors.New("twill: dispatch queue is full")

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
	born time.Time                                                    // what the times of jobs are counted from
	run  atomic.Pointer[func(context.Context, *Job[A, R]) (R, error)] // fn within its hooks, if there are any

	mu       sched.Mutex           // guards all below, and the jobs' fields; no user code runs under it
	pending  heap.Heap[*Job[A, R]] // those that may start when there is a slot
	delayed  heap.Heap[*Job[A, R]] // those that are not due yet, by the time at which they are
	alarm    alarm                 // goes off when the first of those is due
	underway list.List[*Job[A, R]] // those whose calls have not returned, in order of start
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
	pace    pacing
	putters list.List[*jobPutter[A, R]] // the PutWaits that wait, in order

	drained   *Promise[struct{}]     // what Pause returned while there are workers
	empty     *Promise[struct{}]     // what Empty returned while there are jobs
	leftovers *Promise[[]*Job[A, R]] // what Stop returned, once it was called
	killed    []*Job[A, R]           // cancelled by StopNow, in order of start
	closed    bool                   // stopped, and the last worker has gone

	hooks  []func(context.Context, *Job[A, R], func(context.Context) (R, error)) (R, error)
	marks  waterMarks
	stats  dispatchStats
	events feeds[Event[A, R]]
	ended  feeds[*Job[A, R]]
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
	q := &ResizableDispatchQueue[A, R]{fn: fn, opts: o, width: o.Width, born: time.Now(), seq: middle, restored: middle}
	q.pace.limiter = o.Rate
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

// now is a moment as a job keeps it: nanoseconds since just before the queue
// was made, so that 0 is no moment.
func (q *ResizableDispatchQueue[A, R]) now() int64 {
	return int64(time.Since(q.born)) + 1
}

// moment is t as a job keeps it.
func (q *ResizableDispatchQueue[A, R]) moment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return cmp.Or(later(1, t.Sub(q.born)), 1)
}

// later is d after a moment, or the last moment there is.
func later(at int64, d time.Duration) int64 {
	if at > 0 && int64(d) > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + int64(d)
}

// time is the other way round.
func (q *ResizableDispatchQueue[A, R]) time(at int64) time.Time {
	if at == 0 {
		return time.Time{}
	}
	return q.born.Add(time.Duration(at - 1))
}

// Reprioritize gives a pending job another priority. Among those of the same
// priority it stands where it would if it had been put with that one. It
// returns [ErrNotPending] if j does not wait in q.
func (q *ResizableDispatchQueue[A, R]) Reprioritize(j *Job[A, R], priority int) error {
	if j == nil || j.q != q {
		return ErrNotPending
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.state != JobPending {
		return ErrNotPending
	}
	q.reprioritize(j, priority)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) reprioritize(j *Job[A, R], priority int) {
	j.priority = priority
	if q.pending.Has(j) {
		q.pending.Reprioritize(j, q.rank(j))
	}
	q.tell(EventReprioritized, j)
}

// rank is what pending jobs are ordered by first. With ageing it is the moment
// at which a job of priority 0 would have to be put to stand in the same place,
// so that nothing moves as time goes by.
func (q *ResizableDispatchQueue[A, R]) rank(j *Job[A, R]) int64 {
	priority := int64(j.priority)
	age := int64(q.opts.Ageing)
	if age == 0 {
		return priority
	}
	since := j.since()
	// Beyond a hundred years nobody waits.
	const most = math.MaxInt64 / 4
	return min(max(since, -most), most) + max(min(priority, most/age), -most/age)*age
}
