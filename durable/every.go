package durable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// EveryOptions are the settings of a periodic job; see [Queue.Every]. The zero
// value of each field is its default.
type EveryOptions struct {
	// Priority, Group, Timeout and Retry are those of each run; see
	// [twill.JobOptions]. Retry must be one of Options.Retries.
	Priority int
	Group    string
	Timeout  time.Duration
	Retry    *twill.RetryOptions

	// CatchUp is the greatest number of runs, of the latest times, that are made
	// up for when times were missed. 0 means one, and a negative value none: a
	// time has no run then if it is more than a minute ago, or has passed while
	// the run before had not ended.
	CatchUp int

	// Window is how long ago a time may be that is made up for; 0 means no
	// limit.
	Window time.Duration

	// Overlap lets a run start while an earlier one has not ended.
	Overlap bool
}

// Periodic is a periodic job of a [Queue], as [Queue.Periodics] lists it.
type Periodic struct {
	Name     string `json:"name"`
	Schedule string `json:"schedule"` // its text

	// Active is whether this process runs it: Every was called for it.
	Active bool `json:"active"`

	// Last is the time of the latest run, or a later one up to which times have
	// no run. Next is the time of the next run, zero if there is none or the job
	// is not active. A Next in the past waits: for the end of the run before, for
	// space in a queue with Options.Dispatch.Size, or for the disk.
	Last time.Time `json:"last"`
	Next time.Time `json:"next,omitzero"`

	// Job is the id of the latest run, "" if there was none. Live is how many
	// runs have not ended.
	Job  string `json:"job,omitempty"`
	Live int    `json:"live"`

	// Trouble is why the run that is due could not be put, as text, or why the
	// schedule has ended by a panic; "" if there is nothing.
	Trouble string `json:"trouble,omitempty"`

	schedule Schedule
	now      time.Time
}

// Upcoming returns the next n times of the schedule, in the time zone of a cron
// line; fewer if the schedule ends. It begins after the present time, and after
// Last if that is later. A [Times] schedule has none unless the job is active.
func (p Periodic) Upcoming(n int) (times []time.Time) {
	s, now := p.schedule, p.now
	if s.after == nil {
		s = Cron(p.Schedule)
	}
	if now.IsZero() {
		now = time.Now()
	}
	from := p.Last
	if s.skip != nil {
		from = s.skip(from, now, 1)
	}
	for t := range s.After(from) {
		if len(times) >= n {
			break
		}
		if t.After(now) {
			times = append(times, t)
		}
	}
	return times
}

// PeriodicRun is which run of a periodic job a job is; see [JobRun].
type PeriodicRun struct {
	Name string    // of the periodic job
	Due  time.Time // the time of the schedule, in UTC
}

// JobRun returns which run of a periodic job it is in whose call ctx is, and
// reports whether it is one. It is the same in all calls of the job, and no
// other run of the periodic job has this time, unless the clock was set back.
func JobRun(ctx context.Context) (PeriodicRun, bool) {
	if c := callOf(ctx); c != nil {
		return runOfKey(c.key)
	}
	return PeriodicRun{}, false
}

// runKey is the key of the jobs of periodic jobs, before the name, an @ and the
// time.
const runKey = "every:"

const runTime = "2006-01-02T15:04:05.000Z"

func keyOfRun(name string, due time.Time) string {
	return runKey + name + "@" + due.UTC().Format(runTime)
}

func runOfKey(key string) (PeriodicRun, bool) {
	rest, ok := strings.CutPrefix(key, runKey)
	i := strings.LastIndexByte(rest, '@')
	if !ok || i < 0 {
		return PeriodicRun{}, false
	}
	due, err := time.Parse(runTime, rest[i+1:])
	return PeriodicRun{rest[:i], due}, err == nil
}

const (
	// pollEvery is how often the clock is read while a run is waited for: it may
	// have been set, or the machine may have slept.
	pollEvery = 5 * time.Second

	// lateAfter is how long ago a time is that was missed, where that is asked.
	lateAfter = time.Minute

	// setBack is how far the clock is set back if the times that come again are
	// to have runs again.
	setBack = 3 * time.Hour

	// maxCatchUp bounds EveryOptions.CatchUp.
	maxCatchUp = 100_000
)

// periodics are the periodic jobs of a queue. One goroutine, which is started
// by the first Every and ends with the queue, waits for their times and puts
// the runs. That a time is over is written in the transaction that inserts its
// run, if the row is still as this process has read or written it.
type periodics[A, R any] struct {
	setting sync.Mutex    // held by Every and RemovePeriodic, while the disk writes
	wake    chan struct{} // holds a token if there is something to look at
	stop    chan struct{} // closed by Close

	// The mutex of the queue guards the fields below.
	byName  map[string]*periodic[A, R]
	live    map[string]int // runs that have not ended, by name; no zeros
	started bool           // the goroutine
}

// periodic is a periodic job. Every makes a new one also for a name that there
// is.
type periodic[A, R any] struct {
	schedule Schedule
	data     []byte // the argument
	opts     EveryOptions
	active   bool

	// The mutex of the queue guards these, and only the goroutine writes them.
	row     store.Periodic
	listed  time.Time // the time of the next run
	trouble string
	retryAt time.Time // when a run that could not be put is tried again

	// Of the goroutine.
	looked  bool
	next    time.Time   // the first time that was not looked at
	from    time.Time   // the time of the schedule before next, or that from which it was begun
	passed  time.Time   // the latest time that was looked at, zero if there was none
	waiting []time.Time // those that are to have a run yet
}

// Every makes the queue put a job for arg at each time of the schedule, from
// now on, and returns when that is on disk:
//
//	q.Every("report", durable.Cron("CRON_TZ=Europe/Berlin 0 6 * * mon-fri"), arg)
//
// The name identifies the periodic job in the file. Call Every for it in each
// process, after Open: the schedule, the argument and the options are those of
// the latest call, and the file knows which times are over. A run is a job like
// others, with an id, and a key that begins with "every:", which other jobs
// should not have; [JobRun] returns its time.
//
// # Missed times
//
// If several times are due at once, all but the latest are missed, and have no
// run. They are, if they pass while no process has the queue open or none has
// called Every for the job; while the run before is pending, parked or
// underway, as a run waits for its end; or while the machine sleeps.
// EveryOptions.CatchUp, Window and Overlap change that. A queue that is paused
// or full delays runs.
//
// A time has at most one run, and one that was not missed has one, even if the
// process is killed: that the time is over, and the job of its run, are written
// in one transaction. After Stop, Drain or Close, and when the disk has failed,
// there are no runs; the next process makes up for them.
//
// The first call for a name begins at the present time, and so does a call with
// a schedule of another text: a new schedule has missed nothing. A call with
// the same text continues.
//
// # If the clock is set
//
// The wall clock is read at least every five seconds while a run is waited for.
// If it is set forward, or the machine has slept, the times that it has passed
// are missed. If it is set back, the times that come again have no second run,
// and the schedule goes on where it was; but after more than three hours it is
// taken to have been wrong before, and the schedule begins anew at the present
// time. See [Cron] for summer time.
//
// # Errors
//
// The error is [ErrSchedule], [ErrNotKept] for an argument or an
// EveryOptions.Retry that cannot be kept, [ErrDiskFull], [ErrBroken] or
// [ErrClosed], wrapped or not. A call with an error that is not ErrBroken has
// no effect. Several options are merged: the set fields of a later one replace
// those of an earlier one. Every panics if the name is empty.
func (q *Queue[A, R]) Every(name string, schedule Schedule, arg A, opts ...EveryOptions) error {
	if name == "" {
		panic("durable: Every with an empty name")
	}
	o := mergeEvery(opts)
	if err := schedule.Err(); err != nil {
		return err
	}
	if o.Retry != nil && o.Retry != q.opts.Dispatch.Retry && q.policyOf(o.Retry) == "" {
		return fmt.Errorf("%w: EveryOptions.Retry is not one of Options.Retries", ErrNotKept)
	}
	data, err := q.args.encode(&arg)
	if err != nil {
		return err
	}
	p := &periodic[A, R]{schedule: schedule, data: data, opts: o, active: true}
	now := q.now().UnixMilli()
	q.mu.Lock()
	last := now
	if old := q.every.byName[name]; old != nil && old.row.Text == schedule.text {
		last = old.row.Last
	}
	q.mu.Unlock()
	// This may run user code: under no lock, and before anything is written.
	times, next := schedule.due(toTime(last), time.UnixMilli(now), 1)
	if p.listed = next; len(times) > 0 {
		p.listed = times[0]
	}
	q.every.setting.Lock()
	defer q.every.setting.Unlock()
	err = q.setPeriodic(func(tx *store.Tx) error {
		row, err := tx.Periodic(name)
		if err != nil && !errors.Is(err, ErrNoJob) && !errors.Is(err, ErrDamaged) {
			return err
		}
		p.row = store.Periodic{Name: name, Text: schedule.text, Last: now}
		if err == nil {
			p.row.Job = row.Job
		}
		if err == nil && row.Text == schedule.text {
			p.row.Last = row.Last
		}
		return tx.SetPeriodic(&p.row)
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.every.byName[name] = p
	if !q.every.started {
		q.every.started = true
		go q.runPeriodics()
	}
	q.every.wakeUp()
	return nil
}

func mergeEvery(opts []EveryOptions) (all EveryOptions) {
	for _, o := range opts {
		all.Priority = cmp.Or(o.Priority, all.Priority)
		all.Group = cmp.Or(o.Group, all.Group)
		all.Timeout = cmp.Or(o.Timeout, all.Timeout)
		all.Retry = cmp.Or(o.Retry, all.Retry)
		all.CatchUp = cmp.Or(o.CatchUp, all.CatchUp)
		all.Window = cmp.Or(o.Window, all.Window)
		all.Overlap = o.Overlap || all.Overlap
	}
	return all
}

// setPeriodic runs an operation of Every or RemovePeriodic.
func (q *Queue[A, R]) setPeriodic(do func(tx *store.Tx) error) error {
	q.mu.Lock()
	if err := q.endedLocked(); err != nil {
		q.mu.Unlock()
		return err
	}
	wait := q.submitLocked(false, 0, do)
	q.mu.Unlock()
	return wait()
}

// RemovePeriodic removes a periodic job from the queue and the file, and
// returns when that is on disk. It has no more runs; those that are pending or
// underway stay. The error is [ErrNoJob], wrapped, if there is none of that
// name, or one that Put returns.
func (q *Queue[A, R]) RemovePeriodic(name string) error {
	q.every.setting.Lock()
	defer q.every.setting.Unlock()
	found := false
	err := q.setPeriodic(func(tx *store.Tx) (err error) {
		found, err = tx.UnsetPeriodic(name)
		return err
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	delete(q.every.byName, name)
	q.mu.Unlock()
	if !found {
		return fmt.Errorf("%w: periodic job %q", ErrNoJob, name)
	}
	return nil
}

// Periodics returns the periodic jobs in the order of their names, with those
// that are in the file and do not run, as Every was not called for them in this
// process. Damaged rows are in [Queue.Found] instead.
func (q *Queue[A, R]) Periodics() []Periodic {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	all := make([]Periodic, 0, len(q.every.byName))
	for _, name := range slices.Sorted(maps.Keys(q.every.byName)) {
		p := q.every.byName[name]
		l := Periodic{
			Name: name, Schedule: p.row.Text, Active: p.active, Last: toTime(p.row.Last), Next: p.listed,
			Live: q.every.live[name], Trouble: p.trouble, schedule: p.schedule, now: now,
		}
		if p.row.Job != 0 {
			l.Job = strconv.FormatInt(p.row.Job, 10)
		}
		all = append(all, l)
	}
	return all
}

// restorePeriodics reads what the file has, before the store is started.
func (q *Queue[A, R]) restorePeriodics() error {
	rows, damaged, err := q.store.Periodics()
	q.damaged(damaged)
	for _, row := range rows {
		q.every.byName[row.Name] = &periodic[A, R]{row: row}
	}
	return err
}

func newPeriodics[A, R any]() periodics[A, R] {
	return periodics[A, R]{
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
		byName: make(map[string]*periodic[A, R]), live: make(map[string]int),
	}
}

func (e *periodics[A, R]) wakeUp() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// runBegunLocked counts a job that may be a run.
func (e *periodics[A, R]) runBegunLocked(key string) {
	if run, ok := runOfKey(key); ok {
		e.live[run.Name]++
	}
}

// runEnded is called for each job with a key when its end is on its way to the
// disk: the next run must not be there before.
func (q *Queue[A, R]) runEnded(key string) {
	run, ok := runOfKey(key)
	if !ok {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.every.live[run.Name]--; q.every.live[run.Name] <= 0 {
		delete(q.every.live, run.Name)
	}
	q.every.wakeUp()
}

// now is the present time by the wall clock.
func (q *Queue[A, R]) now() time.Time {
	if q.opts.clock != nil {
		return q.opts.clock().Round(0)
	}
	return time.Now().Round(0)
}

// runPeriodics is the goroutine of the periodic jobs.
func (q *Queue[A, R]) runPeriodics() {
	var looking *periodic[A, R]
	ended := false
	defer func() {
		if !ended { // a schedule has called runtime.Goexit
			q.endPeriodic(looking, "the schedule has called runtime.Goexit")
			go q.runPeriodics()
		}
	}()
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	for {
		q.mu.Lock()
		names := slices.Sorted(maps.Keys(q.every.byName))
		q.mu.Unlock()
		var wait time.Duration
		for _, name := range names {
			q.mu.Lock()
			looking = q.every.byName[name]
			q.mu.Unlock()
			if looking == nil {
				continue
			}
			d, err := q.step(looking)
			if err != nil {
				ended = true
				return
			}
			if d > 0 && (wait == 0 || d < wait) {
				wait = d
			}
		}
		timer.Stop()
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-q.every.stop:
			ended = true
			return
		case <-q.every.wake:
		case <-timer.C:
		}
	}
}

// step puts the runs of p that are due. It returns how long to wait until it
// has to be called again, 0 if only a wake is waited for, and an error if the
// queue accepts no more runs.
func (q *Queue[A, R]) step(p *periodic[A, R]) (time.Duration, error) {
	q.mu.Lock()
	active, row, retryAt := p.active, p.row, p.retryAt
	busy := !p.opts.Overlap && q.every.live[row.Name] > 0
	err := q.endedLocked()
	q.mu.Unlock()
	switch {
	case err != nil:
		return 0, err
	case q.inner.Stopped():
		return 0, twill.ErrStopped
	case !active:
		return 0, nil
	case time.Now().Before(retryAt): // the end of a run that was not put has woken this
		return max(time.Until(retryAt), time.Millisecond), nil
	}
	now := q.now()
	if last := toTime(row.Last); last.Sub(now) > setBack {
		q.log(slog.LevelWarn, "durable: the clock was set back: a periodic job begins anew", "periodic", row.Name, "was", last, "now", now)
		if err := q.advance(p, now); err != nil {
			return q.troubled(p, err)
		}
		p.looked, p.waiting, p.passed = false, nil, time.Time{}
	}
	if !q.look(p, now) {
		return 0, nil
	}
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if p.listed = p.next; len(p.waiting) > 0 {
			p.listed = p.waiting[0]
		}
	}()
	p.leaveOut(now, busy)
	for len(p.waiting) > 0 && !busy {
		err := q.putRun(p, p.waiting[0])
		if errors.Is(err, twill.ErrDuplicateJob) { // it was run again by hand, and has not ended
			err = q.advance(p, p.waiting[0])
		}
		if err == errRunIsLive {
			break
		}
		if err != nil {
			return q.troubled(p, err)
		}
		p.waiting = p.waiting[1:]
		busy = !p.opts.Overlap
	}
	if len(p.waiting) == 0 && p.passed.UnixMilli() > p.row.Last {
		if err := q.advance(p, p.passed); err != nil { // times were left out
			return q.troubled(p, err)
		}
	}
	q.mu.Lock()
	p.trouble = ""
	q.mu.Unlock()
	if p.next.IsZero() {
		return 0, nil
	}
	return min(max(p.next.Sub(now), time.Millisecond), pollEvery), nil
}

// look finds the times that have become due, and reports whether p is active
// still: the schedule may panic.
func (q *Queue[A, R]) look(p *periodic[A, R], now time.Time) (ok bool) {
	switch {
	case !p.looked:
		p.from = toTime(p.row.Last)
	case p.next.IsZero() || p.next.After(now):
		return true
	}
	defer func() {
		if e := recover(); e != nil {
			q.endPeriodic(p, fmt.Sprintf("the schedule has panicked: %v", e))
		}
	}()
	times, next := p.schedule.due(p.from, now, p.most())
	p.looked = true
	if len(times) > 0 {
		p.passed = times[len(times)-1]
		p.from = p.passed // from which "@every" counts
	}
	p.waiting, p.next = append(p.waiting, times...), next
	return true
}

// most is how many times may wait.
func (p *periodic[A, R]) most() int { return min(max(p.opts.CatchUp, 1), maxCatchUp) }

// leaveOut drops the times that are not to have a run.
func (p *periodic[A, R]) leaveOut(now time.Time, busy bool) {
	p.waiting = p.waiting[max(len(p.waiting)-p.most(), 0):]
	window := p.opts.Window
	if p.opts.CatchUp < 0 {
		if busy {
			p.waiting = nil
		}
		if window <= 0 || window > lateAfter {
			window = lateAfter
		}
	}
	for window > 0 && len(p.waiting) > 0 && now.Sub(p.waiting[0]) > window {
		p.waiting = p.waiting[1:]
	}
}

var (
	errRunIsLive = errors.New("durable: an earlier run has not ended")
	errReplaced  = errors.New("durable: periodic job was changed")
)

// putRun puts the run that is due, within the transaction that writes that its
// time is over.
func (q *Queue[A, R]) putRun(p *periodic[A, R], due time.Time) error {
	o := twill.JobOptions{Key: keyOfRun(p.row.Name, due), Refuse: true, Group: p.opts.Group, Timeout: p.opts.Timeout, Retry: p.opts.Retry}
	run, err := q.newPutData(p.data, []twill.JobOptions{o})
	if err != nil {
		return err
	}
	id := run.job.id
	row := p.row
	_, err = q.put(run, p.opts.Priority, &insert{
		data: p.data,
		readyLocked: func() error {
			switch {
			case q.every.byName[p.row.Name] != p:
				return errReplaced
			case !p.opts.Overlap && q.every.live[p.row.Name] > 0:
				return errRunIsLive
			}
			return nil
		},
		also: func(tx *store.Tx) error { return replace(tx, p.row, &row, due, id) },
	})
	if err == nil {
		q.mu.Lock()
		p.row = row
		q.mu.Unlock()
	}
	return err
}

// advance writes that the times up to one are over, without a run.
func (q *Queue[A, R]) advance(p *periodic[A, R], to time.Time) error {
	row := p.row
	q.mu.Lock()
	wait := q.submitLocked(false, 0, func(tx *store.Tx) error { return replace(tx, p.row, &row, to, p.row.Job) })
	q.mu.Unlock()
	err := wait()
	if err == nil {
		q.mu.Lock()
		p.row = row
		q.mu.Unlock()
	}
	return err
}

// replace writes a periodic job, unless another process or call has changed it.
func replace(tx *store.Tx, old store.Periodic, row *store.Periodic, last time.Time, job int64) error {
	have, err := tx.Periodic(old.Name)
	if errors.Is(err, ErrNoJob) || err == nil && have.Seq != old.Seq {
		return errReplaced
	}
	if err != nil {
		return err
	}
	*row = old
	row.Last, row.Job = last.UnixMilli(), job
	return tx.SetPeriodic(row)
}

// troubled notes why a run could not be put, and returns what step is to
// return: it is tried again unless the queue has ended.
func (q *Queue[A, R]) troubled(p *periodic[A, R], err error) (time.Duration, error) {
	for _, end := range []error{twill.ErrStopped, ErrClosed, ErrBroken} {
		if errors.Is(err, end) {
			return 0, err
		}
	}
	q.mu.Lock()
	replaced := q.every.byName[p.row.Name] != p
	first := p.trouble == ""
	p.trouble, p.retryAt = err.Error(), time.Now().Add(pollEvery)
	q.mu.Unlock()
	if first && !replaced && err != errReplaced { // otherwise a call of Every is about to replace it
		q.log(slog.LevelWarn, "durable: the run of a periodic job was not put, and is tried again", "periodic", p.row.Name, "error", err)
	}
	return pollEvery, nil
}

// endPeriodic ends the runs of p in this process.
func (q *Queue[A, R]) endPeriodic(p *periodic[A, R], why string) {
	q.mu.Lock()
	p.active, p.trouble, p.listed = false, why, time.Time{}
	q.mu.Unlock()
	q.log(slog.LevelError, "durable: a periodic job has no more runs", "periodic", p.row.Name, "error", why)
}
