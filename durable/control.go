package durable

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// The names of what the file keeps of the queue's settings.
const (
	settingWidth  = "width"
	settingPaused = "paused"
	settingRate   = "rate"
	settingGroups = "groups"
	settingGroup  = "group:" // and the name
)

// change makes a change in memory and writes it as a setting; the value is nil
// if the setting is to be deleted.
func (q *Queue[A, R]) change(do func() error, name string, value []byte) error {
	q.mu.Lock()
	if err := q.endedLocked(); err != nil {
		q.mu.Unlock()
		return err
	}
	if err := do(); err != nil {
		q.mu.Unlock()
		return err
	}
	wait := q.submitLocked(false, len(value), func(tx *store.Tx) error {
		if value == nil {
			return tx.Unset(name)
		}
		return tx.Set(name, value)
	})
	q.mu.Unlock()
	return wait()
}

// baseWidth is the width of Options.
func (q *Queue[A, R]) baseWidth() int { return max(q.opts.Dispatch.Width, 1) }

// SetWidth changes how many jobs may run at once, and returns when the file has
// it; see [twill.ResizableDispatchQueue.SetWidth]. The next process begins with
// that width, unless its Options.Dispatch.Width is another one than now.
func (q *Queue[A, R]) SetWidth(n int) error {
	return q.change(func() error { return q.inner.SetWidth(n) }, settingWidth, writeSetting(q.baseWidth(), n))
}

// Width returns how many jobs may run at once.
func (q *Queue[A, R]) Width() int { return q.inner.Width() }

// Pause keeps the queue from starting jobs, in the next process as well; see
// [twill.ResizableDispatchQueue.Pause]. If that cannot be written, the future
// fails with the error, and the queue is paused in this process.
func (q *Queue[A, R]) Pause() *twill.Future[struct{}] {
	var paused *twill.Future[struct{}]
	err := q.change(func() error { paused = q.inner.Pause(); return nil }, settingPaused, []byte("true"))
	if err != nil {
		return twill.Rejected[struct{}](err)
	}
	return elsewhere(paused)
}

// elsewhere keeps the handlers of a future of the queue in memory from running
// where that settles it, as there the lock of the queue may be held.
func elsewhere[T any](f *twill.Future[T]) *twill.Future[T] {
	return f.Via(func(run func()) { go run() })
}

// Paused reports whether the queue is paused.
func (q *Queue[A, R]) Paused() bool { return q.inner.Paused() }

// Resume ends a pause; see [twill.ResizableDispatchQueue.Resume].
func (q *Queue[A, R]) Resume() error { return q.change(q.inner.Resume, settingPaused, nil) }

// ResumeWidth is Resume with a new width.
func (q *Queue[A, R]) ResumeWidth(n int) error {
	if n < 0 {
		return twill.ErrNegativeWidth
	}
	if err := q.SetWidth(n); err != nil {
		return err
	}
	return q.Resume()
}

// SetRate changes how fast jobs may start; nil removes the limit. See
// [twill.ResizableDispatchQueue.SetRate]. The limit of a *rate.Limiter of
// golang.org/x/time/rate is kept in the file: the next process begins with a
// limiter like it. Other limiters are not kept. If the file cannot be written,
// that is logged.
func (q *Queue[A, R]) SetRate(limiter twill.Limiter) {
	var value []byte
	if l, ok := limiter.(*rate.Limiter); ok && l != nil {
		value, _ = json.Marshal(rateSetting{fmt.Sprint(float64(l.Limit())), l.Burst()})
	} else if limiter == nil {
		value, _ = json.Marshal(rateSetting{"none", 0})
	}
	if err := q.change(func() error { q.setRateLocked(limiter); return nil }, settingRate, value); err != nil {
		q.log(slog.LevelError, "durable: the rate limit was not written", "error", err)
	}
}

func (q *Queue[A, R]) setRateLocked(limiter twill.Limiter) {
	q.limiter = limiter
	q.inner.SetRate(limiter)
}

// RateLimiter returns the limiter that is in use, nil if there is none.
func (q *Queue[A, R]) RateLimiter() twill.Limiter {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limiter
}

type rateSetting struct {
	Limit string `json:"limit"` // a number, which JSON does not have for infinity, or "none"
	Burst int    `json:"burst"`
}

// SetGroupLimit gives a group a limit of its own, which the file keeps; see
// [twill.ResizableDispatchQueue.SetGroupLimit].
func (q *Queue[A, R]) SetGroupLimit(group string, limit twill.GroupLimit) error {
	value, err := json.Marshal(limit)
	if err != nil { // such as NaN
		return q.inner.SetGroupLimit(group, limit)
	}
	return q.change(func() error { return q.inner.SetGroupLimit(group, limit) }, settingGroup+group, value)
}

// SetGroupLimits changes the limit of all groups that have none of their own.
// The next process begins with it, unless its Options.Dispatch.GroupLimit is
// another one than now.
func (q *Queue[A, R]) SetGroupLimits(limit twill.GroupLimit) error {
	return q.change(func() error { return q.inner.SetGroupLimits(limit) }, settingGroups, writeSetting(q.opts.Dispatch.GroupLimit, limit))
}

// ResetGroupLimit removes a group's own limit, and returns when the file has
// none; see [twill.ResizableDispatchQueue.ResetGroupLimit].
func (q *Queue[A, R]) ResetGroupLimit(group string) error {
	return q.change(func() error { return q.inner.ResetGroupLimit(group) }, settingGroup+group, nil)
}

// GroupLimits returns the limit of all groups without their own limit.
func (q *Queue[A, R]) GroupLimits() twill.GroupLimit { return q.inner.GroupLimits() }

// Groups yields the names and the numbers of the groups that have jobs or their
// own limit; see [twill.ResizableDispatchQueue.Groups].
func (q *Queue[A, R]) Groups() iter.Seq2[string, twill.GroupStats] { return q.inner.Groups() }

// applySettings sets what the file has, and reports whether the queue is to be
// paused.
func (q *Queue[A, R]) applySettings(settings map[string]string) (paused bool) {
	warn := func(name string, err error) {
		if err != nil {
			q.log(slog.LevelError, "durable: setting not applied", "setting", name, "error", err)
		}
	}
	for name, text := range settings {
		switch {
		case name == settingWidth:
			if n, kept := readSetting(text, q.baseWidth()); kept {
				warn(name, q.inner.SetWidth(n))
			}
		case name == settingGroups:
			if limit, kept := readSetting(text, q.opts.Dispatch.GroupLimit); kept {
				warn(name, q.inner.SetGroupLimits(limit))
			}
		case name == settingPaused:
			paused = true
		case name == settingRate:
			var s rateSetting
			if err := json.Unmarshal([]byte(text), &s); err != nil {
				warn(name, err)
				continue
			}
			if s.Limit == "none" {
				q.setRateLocked(nil)
				continue
			}
			limit, err := strconv.ParseFloat(s.Limit, 64)
			if warn(name, err); err == nil {
				q.setRateLocked(rate.NewLimiter(rate.Limit(limit), s.Burst))
			}
		case strings.HasPrefix(name, settingGroup):
			var limit twill.GroupLimit
			err := json.Unmarshal([]byte(text), &limit)
			if err == nil {
				err = q.inner.SetGroupLimit(strings.TrimPrefix(name, settingGroup), limit)
			}
			warn(name, err)
		}
	}
	return paused
}

// Reprioritize gives a pending job another priority, and returns when that is
// on disk; see [twill.ResizableDispatchQueue.Reprioritize].
func (q *Queue[A, R]) Reprioritize(j *Job[A, R], priority int) error {
	if j == nil || j.q != q || j.inner == nil {
		return twill.ErrNotPending
	}
	q.mu.Lock()
	if err := q.inner.Reprioritize(j.inner, priority); err != nil {
		q.mu.Unlock()
		return err
	}
	var wait func() error
	if in := j.insertLocked(); in != nil {
		wait = in.wait
	} else {
		wait = q.updateLocked(j)
	}
	q.mu.Unlock()
	return wait()
}

// insertLocked is the write of a new job that is not on its way to the disk
// yet.
func (h *Job[A, R]) insertLocked() *insert {
	if h.more == nil {
		return nil
	}
	return h.more.insert
}

// Clear cancels every pending job, and returns how many there were when that is
// on disk; see [twill.ResizableDispatchQueue.Clear].
func (q *Queue[A, R]) Clear() int {
	n := q.inner.Clear()
	_ = q.Flush()
	return n
}

// Flush returns when everything that was done before the call is on disk. The
// error is the one with which acknowledgments have ended.
func (q *Queue[A, R]) Flush() error { return q.store.Run(func(*store.Tx) error { return nil }) }

// Use puts a hook around the calls that are started from now on; see
// [twill.ResizableDispatchQueue.Use]. The call is on disk before the hook runs,
// with its number, and the context has the id of the job. What the hook returns
// is the result on disk.
func (q *Queue[A, R]) Use(hook func(ctx context.Context, j *Job[A, R], next func(context.Context) (R, error)) (R, error)) {
	if hook == nil {
		panic("durable: Use of a nil function")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hooks = append(q.hooks, hook)
	run := q.callFn
	for _, hook := range slices.Backward(q.hooks) {
		inner := run
		run = func(ctx context.Context, j *Job[A, R], arg A) (R, error) {
			return hook(ctx, j, func(ctx context.Context) (R, error) { return inner(ctx, j, arg) })
		}
	}
	q.hooked.Store(&run)
}

func (q *Queue[A, R]) callFn(ctx context.Context, _ *Job[A, R], arg A) (R, error) {
	return q.fn(ctx, arg)
}

// jobOf is the job whose job in memory is j.
func (q *Queue[A, R]) jobOf(j *twill.Job[*Job[A, R], R]) *Job[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.jobOfLocked(j)
}

func (q *Queue[A, R]) jobOfLocked(j *twill.Job[*Job[A, R], R]) *Job[A, R] {
	h := j.Arg()
	if real := q.jobs.get(h.id); real != nil {
		return real
	}
	return h
}

// jobsOf are the jobs whose jobs in memory are list, without those that are
// about to be put.
func (q *Queue[A, R]) jobsOf(list []*twill.Job[*Job[A, R], R]) []*Job[A, R] {
	q.mu.Lock()
	defer q.mu.Unlock()
	jobs := make([]*Job[A, R], 0, len(list))
	for _, j := range list {
		if h := q.jobOfLocked(j); h.inner == j {
			jobs = append(jobs, h)
		}
	}
	return jobs
}

// Pending returns the jobs that wait, in the order in which they would start;
// see [twill.ResizableDispatchQueue.Pending].
func (q *Queue[A, R]) Pending() []*Job[A, R] { return q.jobsOf(q.inner.Pending()) }

// PendingPage returns up to n of the jobs that Pending returns, without the
// first from.
func (q *Queue[A, R]) PendingPage(from, n int) []*Job[A, R] {
	return q.jobsOf(q.inner.PendingPage(from, n))
}

// Underway returns the jobs whose calls have not returned, in the order of
// start.
func (q *Queue[A, R]) Underway() []*Job[A, R] { return q.jobsOf(q.inner.Underway()) }

// Size returns how many jobs Underway and Pending would list.
func (q *Queue[A, R]) Size() (underway, pending int) { return q.inner.Size() }

// FindKey returns the job with that key that is pending or underway, and
// reports whether there is one.
func (q *Queue[A, R]) FindKey(key string) (*Job[A, R], bool) {
	j, ok := q.inner.Find(key)
	if !ok {
		return nil, false
	}
	return q.jobOf(j), true
}

// Why returns what a pending job waits for; see
// [twill.ResizableDispatchQueue.Why]. A parked job waits for its due time, a
// hundred years ahead.
func (q *Queue[A, R]) Why(j *Job[A, R]) (reason twill.WaitReason, until time.Time) {
	if j == nil || j.q != q || j.inner == nil {
		return twill.WaitNone, time.Time{}
	}
	return q.inner.Why(j.inner)
}

// Stats returns the numbers of the queue in this process.
func (q *Queue[A, R]) Stats() twill.DispatchStats { return q.inner.Stats() }

// Stopped reports whether the queue was stopped.
func (q *Queue[A, R]) Stopped() bool { return q.inner.Stopped() }

// Empty returns a future that settles when no job is pending or underway; see
// [twill.ResizableDispatchQueue.Empty]. The ends of the last jobs may be on
// their way to the disk then.
func (q *Queue[A, R]) Empty() *twill.Future[struct{}] { return elsewhere(q.inner.Empty()) }

// NoneUnderway returns a future that settles when no job is underway.
func (q *Queue[A, R]) NoneUnderway() *twill.Future[struct{}] {
	return elsewhere(q.inner.NoneUnderway())
}

// PendingBelow returns a future that settles when fewer than n jobs are
// pending.
func (q *Queue[A, R]) PendingBelow(n int) *twill.Future[struct{}] {
	return elsewhere(q.inner.PendingBelow(n))
}

// Stop lets no job in and starts none any longer; see
// [twill.ResizableDispatchQueue.Stop]. The jobs left over are in the file, for
// the next process. Call Close to end the queue.
func (q *Queue[A, R]) Stop() *twill.Future[[]*Job[A, R]] {
	return twill.Then(elsewhere(q.inner.Stop()), func(left []*twill.Job[*Job[A, R], R]) ([]*Job[A, R], error) { return q.jobsOf(left), nil })
}

// StopNow is Stop, and cancels the jobs that are underway. They are in the file
// as pending ones, and run again in the next process; the attempt does not
// count.
func (q *Queue[A, R]) StopNow() *twill.Future[[]*Job[A, R]] {
	q.mu.Lock()
	q.stopping = true
	q.mu.Unlock()
	return twill.Then(elsewhere(q.inner.StopNow()), func(left []*twill.Job[*Job[A, R], R]) ([]*Job[A, R], error) { return q.jobsOf(left), nil })
}

// Drain lets no job in and returns when those that are there have ended; see
// [twill.ResizableDispatchQueue.Drain]. What it returns is in the file, for the
// next process. A parked job does not end.
func (q *Queue[A, R]) Drain(ctx context.Context) ([]*Job[A, R], error) {
	if ctx == nil {
		panic("durable: Drain with a nil context")
	}
	q.mu.Lock()
	q.stopping = true
	q.mu.Unlock()
	left, err := q.inner.Drain(ctx)
	_ = q.Flush()
	return q.jobsOf(left), err
}

// Events returns what happens in the queue from now on; see
// [twill.ResizableDispatchQueue.Events]. An event may come before its change is
// on disk.
func (q *Queue[A, R]) Events(ctx context.Context) iter.Seq[Event[A, R]] {
	events := q.inner.Events(ctx)
	return func(yield func(Event[A, R]) bool) {
		for e := range events {
			own := Event[A, R]{Kind: e.Kind, Time: e.Time, State: e.State, Priority: e.Priority, Width: e.Width, Err: e.Err, Lost: e.Lost}
			if e.Job != nil {
				own.Job = q.jobOf(e.Job)
			}
			if !yield(own) {
				return
			}
		}
	}
}

// Event is a [twill.DispatchEvent] of a [Queue].
type Event[A, R any] struct {
	Kind     twill.EventKind
	Time     time.Time
	Job      *Job[A, R] // nil if it is about the queue
	State    twill.JobState
	Priority int
	Width    int
	Err      error
	Lost     int
}

// Results returns the jobs that end from now on, when their ends are on disk;
// see [twill.ResizableDispatchQueue.Results].
func (q *Queue[A, R]) Results(ctx context.Context) iter.Seq[*Job[A, R]] {
	results := q.inner.Results(ctx)
	return func(yield func(*Job[A, R]) bool) {
		for j := range results {
			h := q.jobOf(j)
			<-h.Done()
			if !yield(h) {
				return
			}
		}
	}
}

func parseID(id string) (int64, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != id {
		return 0, fmt.Errorf("%w: %q", ErrNoJob, id)
	}
	return n, nil
}
