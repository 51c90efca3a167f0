package admin

import (
	"context"
	"errors"
	"iter"

	"github.com/twillgo/twill"
)

// Queue is a queue that a [Page] can show and control. [Dispatch] makes a Queue
// of a [twill.ResizableDispatchQueue]. Its methods use only types of Go, of its
// standard library and of twill, so that a type of another module can implement
// it without importing this package.
//
// A job is identified by its id, a string that is unique in the queue. The
// argument in a JobRecord is text that may be shown.
//
// The page calls the methods concurrently, and holds no lock during a call. A
// panic of a method is contained and becomes an error of the request. The page
// stops a sequence when it has seen enough; a sequence must not hold a lock of
// the queue while it yields.
//
// A queue may also implement [Drainer], [Limited], [Stacker] and [Explainer].
// The page offers what the queue implements.
type Queue interface {
	// Stats returns the queue's numbers. The page calls it once a second, however
	// many browsers watch, so it must be cheap and must not scan.
	Stats() twill.DispatchStats
	Paused() bool
	Stopped() bool

	// SetWidth changes the maximum number of jobs underway. [Unlimited] means no
	// limit.
	SetWidth(n int) error
	Pause() *twill.Future[struct{}]
	Resume() error

	// Clear cancels every pending job and returns the number of these jobs.
	Clear() int

	// PendingJobs yields the pending jobs in the order in which they would
	// start, without the first from.
	PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]]

	// UnderwayJobs yields the jobs that are underway, in the order of start.
	UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]]

	// EndedJobs yields the jobs that have ended and are kept, the latest first.
	EndedJobs() iter.Seq2[string, twill.JobRecord[string]]

	// FindJob returns the job with the given id or, if there is none, the pending
	// or underway job with that key.
	FindJob(idOrKey string) (id string, job twill.JobRecord[string], found bool)

	// JobError returns the error with which the job has failed or was canceled, or
	// nil if there is none or the job is not kept.
	JobError(id string) error

	// CancelJob cancels a job that is pending or underway, with the cause. It
	// returns [twill.ErrNotPending], or an error that wraps it, if the job has
	// ended or there is none.
	CancelJob(id string, cause error) error

	// ReprioritizeJob changes the priority of a pending job. It returns
	// [twill.ErrNotPending], or an error that wraps it, if the job is not pending.
	ReprioritizeJob(id string, priority int) error

	// RunJobAgain puts the original argument of an ended job once more, and
	// returns the id of the new job.
	RunJobAgain(id string) (newID string, err error)
}

// Drainer is a [Queue] that can be ended after its work.
type Drainer interface {
	// DrainJobs accepts no new jobs and returns when all jobs have ended. If ctx
	// ends first, it cancels the remaining jobs. It returns the number of jobs
	// that are left over.
	DrainJobs(ctx context.Context) (left int, err error)
}

// Limited is a [Queue] with a rate limit that can be changed.
type Limited interface {
	SetRate(limiter twill.Limiter)

	// RateLimiter returns the current limiter, or nil if there is none.
	RateLimiter() twill.Limiter
}

// Stacker is a [Queue] that can find the goroutines of a job.
type Stacker interface {
	// JobStacks returns the stacks of the goroutines of a job that is underway, as
	// text of at most 256 KiB. If it cannot find them, it returns an error with
	// the reason.
	JobStacks(ctx context.Context, id string) (string, error)
}

// Explainer is a [Queue] that can tell why a pending job waits.
type Explainer interface {
	// WhyPending returns the reason why the job waits, in a few words, or "" if it
	// does not wait.
	WhyPending(id string) string
}

// Unlimited is the width of a queue that has no limit.
const Unlimited = 1<<31 - 1

// The errors of requests that cannot be executed.
var (
	// ErrUnauthenticated is returned by [Options.Authorize], alone or wrapped, if
	// the request does not identify the requester. It is answered with status 401
	// instead of 403, and with [Options.Realm] if that is set.
	ErrUnauthenticated = errors.New("admin: unauthenticated")

	// ErrCanceledByOperator is the cause with which the page cancels jobs. The
	// error that wraps it has the name of the operator.
	ErrCanceledByOperator = errors.New("admin: canceled by an operator")
)
