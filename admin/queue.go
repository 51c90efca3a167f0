package admin

import (
	"context"
	"errors"
	"iter"
	"time"

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
// stops a sequence when it has seen enough. A sequence must not hold a lock of
// the queue while it yields, and should yield the first job at once, however
// many jobs there are.
//
// A queue may also implement [Drainer], [Limited], [Grouped], [Stacker],
// [Explainer], [DeadKeeper], [Clustered] and [Troubled]. The page offers what
// the queue implements.
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
	// start, without the first from. A search reads the sequence to its end.
	PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]]

	// UnderwayJobs yields the jobs that are underway, in the order of start.
	UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]]

	// EndedJobs yields the jobs that have ended and are kept, the latest first.
	EndedJobs() iter.Seq2[string, twill.JobRecord[string]]

	// FindJob returns the job with the given id or, if there is none, the pending
	// or underway job with that key. The key of one job may be the id of another.
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

// Grouped is a [Queue] whose jobs may be in groups with limits.
type Grouped interface {
	// Groups yields the groups that have jobs or their own limit, by name. It is
	// called whenever the page of the queue is shown.
	Groups() iter.Seq2[string, twill.GroupStats]

	// GroupLimits returns the limit of all groups without their own limit.
	GroupLimits() twill.GroupLimit

	// SetGroupLimit gives a group its own limit, ResetGroupLimit removes it, and
	// SetGroupLimits changes the limit of all groups without their own.
	SetGroupLimit(group string, limit twill.GroupLimit) error
	ResetGroupLimit(group string) error
	SetGroupLimits(limit twill.GroupLimit) error
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

// DeadKeeper is a [Queue] that keeps dead jobs: jobs that it no longer
// runs, because they have ended their process too often or cannot be decoded.
// An operator runs them again or discards them.
type DeadKeeper interface {
	// DeadJobs yields the dead jobs, the latest first, with the State
	// [twill.JobFailed]. EndedJobs does not yield them. FindJob finds them,
	// JobError returns why they are dead, and RunJobAgain runs them again, with
	// the same id or a new one.
	DeadJobs() iter.Seq2[string, twill.JobRecord[string]]

	// DiscardJob removes a job that is dead or has ended, and everything that is
	// kept of it. It returns an error if there is no such job.
	DiscardJob(id string) error
}

// Clustered is a [Queue] with workers in several processes.
type Clustered interface {
	// EachWorker calls yield for each worker until yield returns false. The
	// arguments are the name of the worker, the version of its program, the time
	// of its last heartbeat by the clock of this process, the number of jobs that
	// it runs, and whether it schedules the jobs of all workers. EachWorker is
	// called whenever the page of the queue is shown.
	EachWorker(yield func(name, version string, heartbeat time.Time, underway int, schedules bool) bool)
}

// Troubled is a [Queue] that can stop working for a while, for example because
// a disk or a server fails.
type Troubled interface {
	// Trouble returns why the queue does not work, or nil if it works. The page
	// calls it once a second, so it must be cheap.
	Trouble() error
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
