package durable

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// The methods in this file make a [Queue] one that the admin page shows and
// steers, without a wrapper: admin.New().Add("name", q). They name jobs by
// their ids. The page shows the argument as it is on disk if Options.Show is
// set, else its size.

// PendingJobs yields the pending jobs in the order in which they would start,
// without the first from.
func (q *Queue[A, R]) PendingJobs(from int) iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		for _, n := range []int{1000, 10_000} {
			page := q.PendingPage(from, n)
			if !q.yieldAll(page, twill.JobPending, yield) || len(page) < n {
				return
			}
			from += n
		}
		rest := q.Pending()
		q.yieldAll(rest[min(from, len(rest)):], twill.JobPending, yield)
	}
}

// UnderwayJobs yields the jobs that are underway, in the order of start.
func (q *Queue[A, R]) UnderwayJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		q.yieldAll(q.Underway(), twill.JobUnderway, yield)
	}
}

// shownAtOnce is how many arguments are read from the file at a time.
const shownAtOnce = 100

// yieldAll yields those of jobs that are in that state still, and reports
// whether more are wanted.
func (q *Queue[A, R]) yieldAll(jobs []*Job[A, R], state twill.JobState, yield func(string, twill.JobRecord[string]) bool) bool {
	for len(jobs) > 0 {
		n := min(shownAtOnce, len(jobs))
		ids := make([]int64, n)
		for i, j := range jobs[:n] {
			ids[i] = j.id
		}
		texts := q.shown(ids)
		for i, j := range jobs[:n] {
			r := j.Record()
			if r.State != state && state == twill.JobPending {
				continue // it was started, or has ended, since the list was made
			}
			if !yield(j.ID(), withText(r, texts[i])) {
				return false
			}
		}
		jobs = jobs[n:]
	}
	return true
}

func withText(r twill.JobRecord[struct{}], text string) twill.JobRecord[string] {
	return twill.JobRecord[string]{
		ID: r.ID, Arg: text, Priority: r.Priority, State: r.State, Key: r.Key, Group: r.Group, Again: r.Again, Attempts: r.Attempts,
		Queued: r.Queued, Due: r.Due, Expires: r.Expires, Started: r.Started, Stopped: r.Stopped,
	}
}

// shown returns the arguments of jobs as they may be shown.
func (q *Queue[A, R]) shown(ids []int64) []string {
	texts := make([]string, len(ids))
	data := make([][]byte, len(ids))
	err := q.store.View(func(tx *store.Tx) error {
		for i, id := range ids {
			var err error
			if data[i], err = tx.Arg(id); err != nil {
				texts[i] = "(cannot be read)"
			}
		}
		return nil
	})
	for i := range data {
		switch {
		case err != nil:
			texts[i] = "(cannot be read)"
		case data[i] != nil:
			texts[i] = q.show(data[i])
		}
	}
	return texts
}

// show is an argument as it may be shown. A panic of Show is contained.
func (q *Queue[A, R]) show(data []byte) (text string) {
	if q.opts.Show == nil {
		return fmt.Sprintf("%d bytes", len(data))
	}
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("(Show panicked with a %T)", p)
		}
	}()
	arg, err := q.args.decode(data)
	if err != nil {
		return "(cannot be decoded)"
	}
	return q.opts.Show(arg)
}

// EndedJobs yields the jobs that have ended and are kept, the latest first,
// without the dead ones.
func (q *Queue[A, R]) EndedJobs() iter.Seq2[string, twill.JobRecord[string]] {
	return q.endedJobs(false)
}

// DeadJobs yields the dead jobs, the latest first. [Queue.JobError] returns why
// they are dead, and [Queue.RunAgain] runs them again.
func (q *Queue[A, R]) DeadJobs() iter.Seq2[string, twill.JobRecord[string]] { return q.endedJobs(true) }

func (q *Queue[A, R]) endedJobs(dead bool) iter.Seq2[string, twill.JobRecord[string]] {
	return func(yield func(string, twill.JobRecord[string]) bool) {
		var last store.Job
		for {
			var page []store.Job
			err := q.store.View(func(tx *store.Tx) (err error) {
				page, err = tx.EndedPage(dead, last, shownAtOnce)
				return err
			})
			if err != nil || len(page) == 0 {
				return
			}
			ids := make([]int64, len(page))
			for i := range page {
				ids[i] = page[i].ID
			}
			texts := q.shown(ids)
			for i := range page {
				if !yield(strconv.FormatInt(ids[i], 10), recordOf(&page[i], texts[i])) {
					return
				}
			}
			last = page[len(page)-1]
		}
	}
}

// DiscardJob removes a job that is dead or has ended from the file, with its
// argument and its result. It returns an error that is [ErrNoJob] if there is
// no such job.
func (q *Queue[A, R]) DiscardJob(id string) error {
	n, err := parseID(id)
	if err != nil {
		return err
	}
	return q.store.Run(func(tx *store.Tx) error { return tx.Forget(n) })
}

// Trouble returns the error that is [ErrBroken] after the disk has failed, else
// nil.
func (q *Queue[A, R]) Trouble() error { return q.store.Broken() }

// FindJob returns the job with that id or, if there is none, the pending or
// underway job with that key.
func (q *Queue[A, R]) FindJob(idOrKey string) (id string, job twill.JobRecord[string], found bool) {
	j, err := q.Find(idOrKey)
	if err != nil {
		if j, found = q.FindKey(idOrKey); !found || idOrKey == "" {
			return "", job, false
		}
	}
	return j.ID(), withText(j.Record(), q.shown([]int64{j.id})[0]), true
}

// JobError returns the error with which the job has failed or was canceled, nil
// if there is none or the job is not kept. Of a pending job that was called
// before it is the last error.
func (q *Queue[A, R]) JobError(id string) error {
	j, err := q.Find(id)
	if err != nil {
		return nil
	}
	if p := j.past(); p != nil {
		if p.State == store.Finished {
			return nil
		}
		return endError(p)
	}
	if r, ok := j.Poll(); ok {
		return r.Err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.more == nil || j.more.lastErr == "" {
		return nil
	}
	return &EndError{ID: id, State: twill.JobPending, Text: j.more.lastErr}
}

// CancelJob cancels a job that is pending or underway, with the cause, and
// returns when that is on disk. The error is [twill.ErrNotPending], wrapped, if
// the job has ended or there is none.
func (q *Queue[A, R]) CancelJob(id string, cause error) error {
	j, err := q.Find(id)
	if err != nil {
		return fmt.Errorf("durable: no such job: %w", twill.ErrNotPending)
	}
	if !j.Cancel(cause) {
		return fmt.Errorf("durable: job has ended: %w", twill.ErrNotPending)
	}
	return nil
}

// ReprioritizeJob gives a pending job another priority.
func (q *Queue[A, R]) ReprioritizeJob(id string, priority int) error {
	j, err := q.Find(id)
	if err != nil {
		return fmt.Errorf("durable: no such job: %w", twill.ErrNotPending)
	}
	return q.Reprioritize(j, priority)
}

// RunJobAgain is [Queue.RunAgain].
func (q *Queue[A, R]) RunJobAgain(id string) (newID string, err error) { return q.RunAgain(id) }

// RunAgain puts the argument of an ended job once more, with its priority, key,
// group and timeout, and returns the id of the new job. A dead job is replaced
// by the new one. It returns an error that is [twill.ErrDuplicateJob] if the
// key is taken.
func (q *Queue[A, R]) RunAgain(id string) (newID string, err error) {
	n, err := parseID(id)
	if err != nil {
		return "", err
	}
	var old store.Job
	if err := q.store.View(func(tx *store.Tx) (err error) {
		old, err = tx.Ended(n)
		return err
	}); err != nil {
		return "", err
	}
	return q.putAgain(&old, old.State == store.Dead)()
}

// putAgain puts the argument of a job that has ended, and forgets that job if
// replace. The function that it returns waits for the disk, and returns the new
// id.
func (q *Queue[A, R]) putAgain(old *store.Job, replace bool) func() (newID string, err error) {
	o := twill.JobOptions{Key: old.Key, Group: old.Group, Refuse: true, Timeout: time.Duration(old.Timeout)}
	if named := q.opts.Retries[old.Policy]; old.Policy != "" && named != nil {
		o.Retry = named
	}
	p, err := q.newPutData(nil, []twill.JobOptions{o})
	if err != nil {
		return func() (string, error) { return "", err }
	}
	wait, j, err := q.beginPut(p, int(old.Priority), &insert{from: old.ID, forget: replace})
	return func() (string, error) {
		j, err := q.written(p, wait, j, err)
		if err != nil {
			return "", err
		}
		return j.ID(), nil
	}
}

// DrainJobs ends the queue as [Queue.Drain] does, and returns how many jobs are
// left over.
func (q *Queue[A, R]) DrainJobs(ctx context.Context) (left int, err error) {
	jobs, err := q.Drain(ctx)
	return len(jobs), err
}

// WhyPending returns what the job waits for, in a few words, "" if it does not
// wait.
func (q *Queue[A, R]) WhyPending(id string) string {
	j, err := q.Find(id)
	if err != nil || j.State() != twill.JobPending {
		return ""
	}
	if j.Parked() {
		return "the program does not know its kind: it is tried again by the next process"
	}
	reason, until := q.Why(j)
	text := waits[reason]
	switch reason {
	case twill.WaitGroup:
		text = fmt.Sprintf("its group, %q, is at its limit", j.Group())
	case twill.WaitWidth:
		text = fmt.Sprintf("all %d slots are used, or jobs come before it", q.Width())
	}
	if text != "" && !until.IsZero() {
		text += ", until " + until.Format("2006-01-02T15:04:05Z07:00")
	}
	return text
}

// waits says what a job waits for.
var waits = map[twill.WaitReason]string{
	twill.WaitStopped: "the queue is stopped",
	twill.WaitHeld:    "it is held back until the program releases it",
	twill.WaitKey:     "an earlier run of its key has not ended",
	twill.WaitDue:     "it is not due",
	twill.WaitPause:   "the queue is paused",
	twill.WaitRate:    "the rate limit",
}
