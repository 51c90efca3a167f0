package admin

import (
	"context"
	"errors"
	"iter"

	"github.com/twillgo/twill"
)

// Queue is a queue that a [Page] can show and steer. [Dispatch] makes one of a
// [twill.ResizableDispatchQueue]. It uses types of Go, of its standard library
// and of twill only, so that a type of another module can implement it without
// importing this package.
//
// A job is named by its id, a string that is unique in the queue. The string in
// a JobRecord is the argument as text, as it may be shown.
//
// The page calls the methods from several goroutines at the same time, and
// holds no lock meanwhile. A panic of a method is contained and becomes an
// error of the request. Sequences are stopped early when the page has seen
// enough; they must not hold a lock of the queue while they yield.
//
// A queue may have the further methods of [Drainer], [Limited], [Stacker] and
// [Explainer]. The page offers what belongs to them if it has.
type Queue interface {
	// Stats returns the queue's numbers. The page calls it once a second,
	// however many browsers watch, so it must be cheap and must not scan.
	Stats() twill.DispatchStats
	Paused() bool
	Stopped() bool

	// SetWidth changes how many jobs may run at once. [Unlimited] sets no limit.
	SetWidth(n int) error
	Pause() *twill.Future[struct{}]
	Resume() error

	// Clear cancels every pending job and returns how many there were.
	Clear() int

	// PendingJobs yields the pending jobs in the order in which they would
	// start, without the first from.
	PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]]

	// UnderwayJobs yields the jobs that are underway, in the order of start.
	UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]]

	// EndedJobs yields the jobs that have ended and are kept, the latest first.
	EndedJobs() iter.Seq2[string, twill.JobRecord[string]]

	// FindJob returns the job with that id or, if there is none, the pending or
	// underway job with that key.
	FindJob(idOrKey string) (id string, job twill.JobRecord[string], found bool)

	// JobError returns the error with which the job has failed or was
	// canceled, nil if there is none or the job is not kept.
	JobError(id string) error

	// CancelJob cancels a job that is pending or underway, with the cause. It
	// returns [twill.ErrNotPending], or an error that wraps it, if the job has
	// ended or there is none.
	CancelJob(id string, cause error) error

	// ReprioritizeJob gives a pending job another priority. It returns
	// [twill.ErrNotPending], or an error that wraps it, if it does not wait.
	ReprioritizeJob(id string, priority int) error

	// RunJobAgain puts the argument of an ended job once more, as it was given
	// and not as it is shown, and returns the id of the new job.
	RunJobAgain(id string) (newID string, err error)
}

// Drainer is a [Queue] that can be ended after its work.
type Drainer interface {
	// DrainJobs lets no job in and returns when all have ended. When ctx ends
	// before that it cancels the rest. It returns how many jobs are left over.
	DrainJobs(ctx context.Context) (left int, err error)
}

// Limited is a [Queue] with a rate limit that can be changed.
type Limited interface {
	SetRate(limiter twill.Limiter)

	// RateLimiter returns the limiter that is in use, nil if there is none.
	RateLimiter() twill.Limiter
}

// Stacker is a [Queue] that can find the goroutines of a job.
type Stacker interface {
	// JobStacks returns the stacks of the goroutines of a job that is underway,
	// as text of at most 256 KiB. If it cannot find them, the error says why.
	JobStacks(ctx context.Context, id string) (string, error)
}

// Explainer is a [Queue] that knows what a pending job waits for.
type Explainer interface {
	// WhyPending returns what the job waits for, in a few words, "" if it does
	// not wait.
	WhyPending(id string) string
}

// Unlimited is the width of a queue that has no limit.
const Unlimited = 1<<31 - 1

// The errors of requests that cannot be carried out.
var (
	// ErrUnauthenticated is returned by [Options.Authorize], alone or wrapped,
	// if the request does not say who made it. It is answered with status 401
	// instead of 403, and with [Options.Realm] if that is set.
	ErrUnauthenticated = errors.New("admin: unauthenticated")

	// ErrCanceledByOperator is the cause with which the page cancels jobs. The
	// error that wraps it names the operator.
	ErrCanceledByOperator = errors.New("admin: canceled by an operator")
)
