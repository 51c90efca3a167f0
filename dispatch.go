package twill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/list"
)

// What a dispatch queue answers when it cannot do what it is asked.
var (
	// ErrStopped is returned by Put and Resume once the queue was stopped, and
	// is the cause with which StopNow cancels.
	ErrStopped = errors.New("twill: dispatch queue is stopped")

	// ErrQueueFull is returned by Put when as many jobs are pending as the
	// queue's Size allows.
	ErrQueueFull = errors.New("twill: dispatch queue is full")

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
// # Slots
//
// Width bounds the calls that really run. Cancelling a job that is underway
// ends its future and its context at once, but its slot is free only when the
// function has returned. A job holds its slot also while the handlers of its
// future run, on the goroutine that ran it; [Future.Via] moves slow ones
// elsewhere. Goroutines exist only while they have jobs to run: a queue that
// is idle, paused or stopped has none, and needs no closing to be collected.
//
// # Failures
//
// If the function panics the job fails with a [*PanicError], if it calls
// [runtime.Goexit] with [ErrGoexit]; neither takes a slot away.
type ResizableDispatchQueue[A, R any] struct {
	fn   func(context.Context, A) (R, error)
	size int // as in DispatchOptions
	base context.Context
	born time.Time // what the times of jobs are counted from

	mu       sync.Mutex // guards all below, and the jobs' fields; no user code runs under it
	pending  heap.Heap[*Job[A, R]]
	underway list.List[*Job[A, R]] // those whose calls have not returned, in order of start
	seq      uint64                // number of the last job

	// A job is pending only if there are width workers or more, or the queue is
	// paused or stopped: whoever changes one of these starts what may start.
	width   int
	workers int // goroutines with a job, or between two
	paused  bool
	stopped bool

	drained   *Promise[struct{}]     // what Pause returned while there are workers
	leftovers *Promise[[]*Job[A, R]] // what Stop returned, once it was called
	killed    []*Job[A, R]           // cancelled by StopNow, in order of start
	closed    bool                   // stopped, and the last worker has gone
}

// DispatchOptions are the settings of a [ResizableDispatchQueue]. The zero value
// of each is its default.
type DispatchOptions struct {
	// Width is how many jobs may run at once; 0 means 1. SetWidth(0) keeps a
	// queue from starting any.
	Width int

	// Size is how many jobs may be pending: 0 sets no limit, and with a
	// negative Size none may, so that a Put succeeds only if a slot is free.
	Size int

	// Context is the parent of the jobs' contexts; nil means
	// [context.Background]. Its end does not stop the queue: the function sees
	// it and decides.
	Context context.Context
}

// NewResizableDispatchQueue returns a queue that calls fn for each job. The
// context that fn is given ends when the job is cancelled, with the cause, and
// when fn returns. It panics if fn is nil or opts.Width negative; opts may be
// nil.
func NewResizableDispatchQueue[A, R any](fn func(context.Context, A) (R, error), opts *DispatchOptions) *ResizableDispatchQueue[A, R] {
	if fn == nil {
		panic("twill: NewResizableDispatchQueue with a nil function")
	}
	var o DispatchOptions
	if opts != nil {
		o = *opts
	}
	if o.Width < 0 {
		panic("twill: NewResizableDispatchQueue with a negative width")
	}
	if o.Width == 0 {
		o.Width = 1
	}
	if o.Context == nil {
		o.Context = context.Background()
	}
	return &ResizableDispatchQueue[A, R]{fn: fn, size: o.Size, base: o.Context, width: o.Width, born: time.Now()}
}

// now is a moment as a job keeps it: nanoseconds since just before the queue
// was made, so that 0 is no moment.
func (q *ResizableDispatchQueue[A, R]) now() int64 {
	return int64(time.Since(q.born)) + 1
}

// Put adds a job for arg. Lower priorities run first, equal ones in the order of the
// calls. If a slot is free the job is underway when Put returns. Put does not
// block: it returns [ErrStopped] after a stop, [ErrQueueFull] if as many jobs
// are pending as may be, and has added nothing then.
func (q *ResizableDispatchQueue[A, R]) Put(arg A, priority int) (*Job[A, R], error) {
	now := q.now()
	j := newJob(q, arg, priority, now)
	q.mu.Lock()
	switch {
	case q.stopped:
		q.mu.Unlock()
		return nil, ErrStopped
	case q.workers < q.width && !q.paused:
		q.seq++
		q.workers++
		q.begin(j, now)
		q.mu.Unlock()
		go q.work(j)
	case atLimit(q.pending.Len(), q.size):
		q.mu.Unlock()
		return nil, ErrQueueFull
	default:
		q.seq++
		q.pending.Push(j, heap.Key{Priority: priority, Seq: q.seq})
		q.mu.Unlock()
	}
	return j, nil
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
	q.pending.Reprioritize(j, priority)
	j.priority = priority
	return nil
}
