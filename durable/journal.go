package durable

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable/internal/store"
)

// What happens to a job in memory, and what is written of it:
//
//	put         Held in memory; its row; then released
//	start       its row, with the attempt counted, before the call; the argument
//	            is read in the same transaction if it is not in memory
//	retry       its row, when the pause begins
//	end         its row moves to the ended ones; then its future settles
//	interrupted its row, pending again, without the attempt
//
// A row that says underway when the file is opened is that of a call that has
// ended with the process.

// jobKey is the key of a callContext in the context of a call.
type jobKey struct{}

// callContext is the context of a call.
type callContext struct {
	context.Context
	id       int64
	key      string
	attempts int
	crashes  int
}

// Value returns the values of the queue's context, and c itself.
func (c *callContext) Value(key any) any {
	if key == (jobKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// callOf returns what is known of the call in whose context ctx is, nil if that
// is none.
func callOf(ctx context.Context) *callContext {
	c, _ := ctx.Value(jobKey{}).(*callContext)
	return c
}

// JobID returns the id of the job in whose call ctx is, "" in none. It is the
// same in all calls of the job, those of other processes among them.
func JobID(ctx context.Context) string {
	if c := callOf(ctx); c != nil {
		return strconv.FormatInt(c.id, 10)
	}
	return ""
}

// JobAttempt returns the number of the call in which ctx is, from 1, and how
// many calls of the job have ended with the process.
func JobAttempt(ctx context.Context) (attempt, crashes int) {
	if c := callOf(ctx); c != nil {
		return c.attempts, c.crashes
	}
	return 0, 0
}

// forever is how long a parked job waits.
const forever = 100 * 365 * 24 * time.Hour

// run is the function of the queue in memory: a call of one job.
func (q *Queue[A, R]) run(ctx context.Context, h *Job[A, R]) (zero R, err error) {
	c, err := q.start(h)
	h = c.job
	switch {
	case errors.Is(err, ErrDamaged):
		h.set(bitDead)
		q.log(slog.LevelError, "durable: the argument of a job is damaged", "job", h.ID(), "error", err)
		return zero, twill.Permanent(fmt.Errorf("%w: %w", ErrDead, err))
	case err != nil:
		return zero, twill.Permanent(err)
	case h.inner.State() != twill.JobUnderway: // canceled while its start was written
		return zero, twill.Permanent(twill.ErrCanceled)
	}
	arg := c.arg
	if arg == nil {
		read, err := q.args.decode(c.data)
		if err != nil {
			return zero, q.park(h, fmt.Errorf("reading the argument: %w", err))
		}
		arg = &read
	}
	ctx = &callContext{ctx, h.id, h.inner.Key(), c.attempts, int(h.crashes)}
	var v R
	if hooked := q.hooked.Load(); hooked != nil {
		v, err = (*hooked)(ctx, h, *arg)
	} else {
		v, err = q.fn(ctx, *arg)
	}
	if err == nil {
		result, err := q.results.encode(&v)
		if err != nil {
			return zero, twill.Permanent(fmt.Errorf("durable: result: %w", err))
		}
		c.more.result.Store(&result)
		return v, nil
	}
	if d, ok := twill.SnoozedFor(err); ok {
		q.mu.Lock()
		q.requeueLocked(h, d, func(row *store.Job) { row.Attempts-- })
		q.mu.Unlock()
		return zero, err
	}
	if errors.Is(err, ErrUnknownKind) {
		return zero, q.park(h, err)
	}
	return zero, err
}

// call is what is known of a call that begins.
type call[A, R any] struct {
	job      *Job[A, R] // itself
	more     *more      // of job
	attempts int        // its number
	arg      *A         // nil if it is to be read from data
	data     []byte
}

// start returns what is known of a call of h when its start is on disk. It
// writes that unless it was done before, as for a job whose goroutine is
// started for it.
func (q *Queue[A, R]) start(h *Job[A, R]) (c call[A, R], err error) {
	q.mu.Lock()
	h = q.itselfLocked(h)
	c.job, c.more = h, h.moreLocked()
	s := c.more.begun
	if s != nil {
		c.more.begun = nil
		q.mu.Unlock()
	} else {
		s = q.starts.Get().(*start)
		q.submitStartLocked(h, s)
		q.mu.Unlock()
		<-s.done
	}
	c.attempts, c.data, err = int(s.row.Attempts), s.data, s.err
	c.arg, _ = s.arg.(*A)
	s.clear()
	q.starts.Put(s)
	return c, err
}

// itselfLocked is the job whose argument in memory h is: that of a put that was
// merged is not the job.
func (q *Queue[A, R]) itselfLocked(h *Job[A, R]) *Job[A, R] {
	if real := q.jobs.get(h.id); real != nil {
		return real
	}
	return h
}

// begin is called by the queue in memory to run work, which begins with a call
// of the job arg, on another goroutine. That goroutine is woken when the start
// is on disk.
func (q *Queue[A, R]) begin(arg any, work func()) {
	s := q.starts.Get().(*start)
	s.job, s.work, s.kept = arg, work, q.kept
	q.begun.add(s)
}

// callGo is begin if Options.Dispatch has a Go, which is called on a goroutine
// of its own: the queue in memory calls this while mu may be held.
func (q *Queue[A, R]) callGo(arg any, work func()) {
	called := twill.Go(context.Background(), func(context.Context) (struct{}, error) {
		q.mu.Lock()
		h := q.itselfLocked(arg.(*Job[A, R]))
		q.mu.Unlock()
		q.opts.Dispatch.Go(h, work)
		return struct{}{}, nil
	})
	called.OnSettled(func(_ struct{}, err error) { // a failure is left to be reported
		if err != nil {
			q.kept.run(work)
		}
	})
}

// submitStarts sends starts to the disk.
func (q *Queue[A, R]) submitStarts(starts []*start) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, s := range starts {
		h := q.itselfLocked(s.job.(*Job[A, R]))
		h.moreLocked().begun = s
		q.submitStartLocked(h, s)
	}
}

// submitStartLocked sends the start of a call of h to the disk, unless h has
// ended.
func (q *Queue[A, R]) submitStartLocked(h *Job[A, R], s *start) {
	s.row = h.rowLocked()
	if s.row.State != store.Underway { // its end may be on its way
		s.written(twill.ErrCanceled)
		return
	}
	s.data, s.arg = q.recent.take(h.id)
	q.store.Submit(store.Op{Must: true, Do: s.do, Done: s.report})
}

// start is the start of a call on its way to the disk. It is used again.
type start struct {
	row    store.Job
	data   []byte // the argument, which is read with the row if it is not in memory
	arg    any    // a pointer to the argument, if that is in memory and need not be decoded
	err    error
	done   chan struct{} // has a token when it is on disk, if there is no work
	do     func(tx *store.Tx) error
	report func(err error)

	job  any    // of work
	work func() // nil or what is to run when it is on disk
	kept *goroutines
}

func newStart() *start {
	s := &start{done: make(chan struct{}, 1)}
	s.do, s.report = s.write, s.written
	return s
}

// clear makes s as good as new.
func (s *start) clear() { *s = start{done: s.done, do: s.do, report: s.report} }

func (s *start) write(tx *store.Tx) error {
	found, err := tx.Update(s.row)
	if err != nil {
		return err
	}
	// If the argument cannot be read, nothing is written, because a transaction
	// that has met a page that cannot be read may not be committed.
	if s.data == nil && s.arg == nil {
		s.data, err = tx.Arg(s.row.ID)
	}
	if err == nil && !found {
		err = fmt.Errorf("%w: no row of job %d", ErrDamaged, s.row.ID)
	}
	return err
}

func (s *start) written(err error) {
	if s.err = err; s.work != nil {
		s.kept.run(s.work)
	} else {
		s.done <- struct{}{}
	}
}

// log reports what no call returns. A logger that panics changes nothing else.
func (q *Queue[A, R]) log(level slog.Level, text string, args ...any) {
	defer func() { _ = recover() }()
	q.opts.Logger.Log(context.Background(), level, text, args...)
}

// requeueLocked writes that h, whose call has returned, is pending for d.
func (q *Queue[A, R]) requeueLocked(h *Job[A, R], d time.Duration, change func(row *store.Job)) {
	row := h.rowLocked()
	row.State = store.Pending
	row.Due = toMillis(time.Now().Add(d))
	change(&row)
	q.store.Submit(store.Op{Must: true, Do: func(tx *store.Tx) error {
		_, err := tx.Update(row)
		return err
	}})
}

// park puts h aside until a process knows its kind, and returns what its call
// is to return.
func (q *Queue[A, R]) park(h *Job[A, R], why error) error {
	text, _ := describe(why)
	h.set(bitParked)
	q.log(slog.LevelWarn, "durable: job parked", "job", h.ID(), "error", text)
	q.mu.Lock()
	h.moreLocked().lastErr = text
	q.requeueLocked(h, 0, func(row *store.Job) {
		row.State, row.Due = store.Parked, 0
		row.Attempts--
	})
	q.mu.Unlock()
	return twill.Snooze(forever)
}

// retry returns the settings of the retrying of h: those of o, after the first
// pauses were used, and with the journal.
func (h *Job[A, R]) retry(o *twill.RetryOptions, used int64) *twill.RetryOptions {
	own := *o
	if used > 0 {
		own.Backoff = skip(backoffOf(o), used)
	}
	own.OnPause = func(e twill.RetryEvent) {
		text, _ := describe(e.Err)
		h.q.mu.Lock()
		m := h.moreLocked()
		m.retries++
		m.lastErr = text
		h.q.requeueLocked(h, e.Delay, func(*store.Job) {})
		h.q.mu.Unlock()
		if o.OnPause != nil {
			o.OnPause(e)
		}
	}
	return &own
}

func backoffOf(o *twill.RetryOptions) iter.Seq[time.Duration] {
	if o.Backoff == nil {
		return twill.EqualJitter(twill.SimpleBackoff())
	}
	return o.Backoff
}

// skip is pauses without the first n.
func skip(pauses iter.Seq[time.Duration], n int64) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		i := int64(0)
		for d := range pauses {
			if i++; i > n && !yield(d) {
				return
			}
		}
	}
}

// deliver is called when h has ended in memory, on the goroutine that has ended
// it, with the function that settles its future.
func (h *Job[A, R]) deliver(settle func()) {
	// A watch does not handle a failure: the future is yet to report it. This
	// one is called when deliver has returned.
	h.inner.OnSettled(func(_ R, err error) {
		if h.has(bitAdopting) { // it had ended before it was known here, as one that expires at once
			go h.ended(err, settle)
			return
		}
		h.ended(err, settle)
	})
}

// ended sends the end of h, which has failed with err if that is not nil, to
// the disk, and settles the future when it is there.
func (h *Job[A, R]) ended(err error, settle func()) {
	q := h.q
	r := h.inner.Record()
	e := q.endings.Get().(*ending[A, R])
	e.job, e.settle = h, settle
	row := &e.row
	*row = h.baseRow(&r)
	row.State, row.Ended = store.Finished, toMillis(r.Stopped)
	if err != nil {
		row.Error, row.Kind = describe(err)
		switch {
		case r.State == twill.JobCanceled:
			row.State = store.Canceled
		case h.has(bitDead):
			row.State = store.Dead
		default:
			row.State = store.Failed
		}
	}
	q.mu.Lock()
	q.recent.take(h.id)
	if m := h.more; m != nil {
		row.Timeout, row.Policy, row.Retries, row.Held = int64(m.timeout), m.policy, m.retries, m.held
		if result := m.result.Swap(nil); result != nil {
			row.Result = *result
		}
		q.dropKeyLocked(h, m.key)
	}
	// Its call was canceled, or never made, because the queue ended.
	stopped := row.State == store.Canceled && !h.has(bitCanceled) && errors.Is(err, twill.ErrStopped)
	e.interrupted = q.stopping && stopped && !r.Started.IsZero()
	closed := q.closed
	prune := false
	if q.ends++; q.ends >= pruneEvery {
		q.ends, prune = 0, true
	}
	q.mu.Unlock()

	if closed {
		// Nothing is written any longer, and the job goes on in the next process:
		// a result that is not on disk is not shown.
		h.set(bitSubmitted)
		if stopped {
			settle()
		} else {
			go h.Future.Cancel(ErrClosed)
		}
		return
	}
	if e.interrupted {
		row.State, row.Due, row.Ended, row.Error, row.Kind = store.Pending, 0, 0, "", ""
		row.Attempts--
	}
	key := row.Key
	q.store.Submit(store.Op{Must: true, Size: len(row.Result) + 100, Do: e.do, Done: e.report})
	h.set(bitSubmitted)
	q.runEnded(key)
	if prune {
		q.store.Submit(store.Op{Do: func(tx *store.Tx) error {
			_, err := q.prune(tx, 2*pruneEvery)
			return err
		}})
	}
	if q.opts.Early {
		settle()
	}
}

// ending is the end of a job on its way to the disk. It is used again.
type ending[A, R any] struct {
	job         *Job[A, R]
	row         store.Job
	settle      func() // the future of the job
	interrupted bool   // the job goes on in the next process
	err         error  // of the writing
	do          func(tx *store.Tx) error
	report      func(err error)
}

func newEnding[A, R any]() *ending[A, R] {
	e := new(ending[A, R])
	e.do, e.report = e.write, e.written
	return e
}

func (e *ending[A, R]) write(tx *store.Tx) (err error) {
	if e.interrupted {
		_, err = tx.Update(e.row)
	} else {
		_, err = tx.End(e.row, e.job.q.opts.Keep >= 0 || e.row.State == store.Dead)
	}
	return err
}

func (e *ending[A, R]) written(err error) {
	e.err = err
	e.job.q.over.add(e)
}

// forget removes jobs from the table whose ends are on disk, or cannot be
// written.
func (q *Queue[A, R]) forget(ends []*ending[A, R]) {
	if len(ends) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range ends {
		if !e.interrupted { // else it goes on in the next process
			q.jobs.delete(e.row.ID)
		}
	}
}

// finish settles the future of a job that forget has removed.
func (e *ending[A, R]) finish() {
	h, settle, err := e.job, e.settle, e.err
	*e = ending[A, R]{do: e.do, report: e.report}
	h.q.endings.Put(e)
	if err != nil {
		h.Future.Cancel(err)
		return
	}
	settle()
}

// dropKeyLocked forgets that h has its key.
func (q *Queue[A, R]) dropKeyLocked(h *Job[A, R], key string) {
	if key == "" {
		return
	}
	// It is dropped when its end is on its way: a Put may look for it until
	// then.
	left := slices.DeleteFunc(q.keys[key], func(e *Job[A, R]) bool { return e != h && e.has(bitSubmitted) })
	if len(left) == 1 && left[0] == h {
		delete(q.keys, key)
		return
	}
	q.keys[key] = left
}

// pruneEvery is after how many ends those that are beyond the bounds are
// deleted.
const pruneEvery = 64

// prune deletes ended jobs that are not to be kept any longer, and reports
// whether there may be more.
func (q *Queue[A, R]) prune(tx *store.Tx, n int64) (more bool, err error) {
	keep := store.Retention{Count: int64(max(q.opts.Keep, 0))}
	if q.opts.KeepFor > 0 {
		keep.After = time.Now().Add(-q.opts.KeepFor).UnixMilli()
	}
	deleted, err := tx.Prune(0, keep, n)
	if err != nil || q.opts.KeepDead < 0 {
		return deleted == n, err
	}
	dead, err := tx.Prune(1, store.Retention{Count: int64(q.opts.KeepDead)}, n)
	return deleted == n || dead == n, err
}

// tidy is called by the store when there is nothing to do.
func (q *Queue[A, R]) tidy(tx *store.Tx) error {
	q.kept.trim()
	_, err := q.prune(tx, 10_000)
	return err
}

// restorePortion is how many jobs are restored at a time. With more, what
// Restore allocates for a portion is large, and takes longer.
const restorePortion = 128

// restore puts the jobs of the file into the queue in memory.
func (q *Queue[A, R]) restore() error {
	q.inner.Pause()
	settings, damaged, err := q.store.Settings()
	if err != nil {
		return err
	}
	q.damaged(damaged)
	paused := q.applySettings(settings)
	if err := q.restorePeriodics(); err != nil {
		return err
	}

	r := restoring[A, R]{q: q}
	if damaged, err = r.load(); err != nil {
		return err
	}
	q.damaged(damaged)
	q.lastID = q.store.LastID()
	about := q.store.About()
	q.found.Missing, q.found.Extra = int(about.Missing), int(about.Extra)
	q.found.DroppedFrames, q.found.DroppedCommits = int(about.DroppedFrames), int(about.DroppedCommits)
	if about.Missing+about.Extra+about.DroppedFrames > 0 {
		q.log(slog.LevelError, "durable: jobs of the file were lost", "file", about.Path, "missing", about.Missing, "extra", about.Extra,
			"dropped transactions", about.DroppedCommits)
	}
	q.store.Start(q.tidy, func(err error) {
		q.log(slog.LevelError, "durable: the disk has failed, and nothing more is acknowledged", "file", q.store.Path(), "error", err)
		go func() {
			q.inner.Stop()  // no job may start whose start cannot be written
			q.inner.Clear() // the futures fail with err: their ends cannot be written either
		}()
	})
	if err := q.writeCrashes(r.crashed, r.dead); err != nil {
		return err
	}
	if !paused {
		return q.inner.Resume()
	}
	return nil
}

func (q *Queue[A, R]) damaged(damaged []store.Damage) {
	for _, d := range damaged {
		q.found.Damaged = append(q.found.Damaged, d.Err)
		q.log(slog.LevelError, "durable: damaged row", "file", q.store.Path(), "error", d.Err)
	}
}

// restoring is the work of restore. Portions of jobs go from the latest to the
// first, as each is put before those that are restored already. Jobs of one key
// are in one portion. While a portion is put into the queue in memory, the next
// one is read.
type restoring[A, R any] struct {
	q       *Queue[A, R]
	rows    []store.Job    // of the portion, descending
	shared  map[string]int // keys of more than one job, and of how many
	left    map[string]int // how many of them are yet to be read, of keys that were met
	opened  int            // keys of which some are in the portion and some are to be read
	crashed []store.Job
	dead    []store.Job
	records []twill.JobRecord[*Job[A, R]] // of flush
}

func (r *restoring[A, R]) load() (damaged []store.Damage, err error) {
	if r.shared, err = r.q.store.SharedKeys(); err != nil {
		return nil, err
	}
	r.left = make(map[string]int)
	portions := make(chan []store.Job, 4)
	used := make(chan []store.Job, 6) // to be filled again
	flushed := make(chan error, 1)
	go func() {
		var err error
		for rows := range portions {
			if err == nil {
				err = r.flush(rows)
			}
			select {
			case used <- rows[:0]:
			default:
			}
		}
		flushed <- err
	}()
	damaged, err = r.q.store.Load(func(row store.Job) {
		if r.add(row); len(r.rows) >= restorePortion && r.opened == 0 {
			portions <- r.rows
			select {
			case r.rows = <-used:
			default:
				r.rows = nil
			}
		}
	})
	portions <- r.rows
	close(portions)
	return damaged, cmp.Or(err, <-flushed)
}

// add takes a row of the file.
func (r *restoring[A, R]) add(row store.Job) {
	q := r.q
	if n := r.shared[row.Key]; row.Key != "" && n > 0 {
		left, begun := r.left[row.Key]
		if !begun {
			left = n
			r.opened++
		}
		if left--; left == 0 {
			r.opened--
		}
		r.left[row.Key] = left
	}
	switch row.State {
	case store.Underway:
		q.found.Interrupted++
		row.Crashes++
		row.State, row.Due = store.Pending, 0
		if q.opts.MaxCrashes > 0 && row.Crashes >= int64(q.opts.MaxCrashes) {
			row.State, row.Ended, row.Kind = store.Dead, time.Now().UnixMilli(), "d"
			row.Error = fmt.Sprintf("durable: job is dead: %d of its calls have ended with the process", row.Crashes)
			r.dead = append(r.dead, row)
			return
		}
		r.crashed = append(r.crashed, row)
	case store.Parked:
		q.found.Parked++
	}
	r.rows = append(r.rows, row)
}

// flush restores a portion.
func (r *restoring[A, R]) flush(rows []store.Job) error {
	q := r.q
	slices.Reverse(rows)
	records := r.records[:0]
	kept := rows[:0]
	ofKey := make(map[string]int)
	for i := range rows {
		row := &rows[i]
		if row.Key != "" {
			if ofKey[row.Key]++; ofKey[row.Key] > 2 {
				err := fmt.Errorf("%w: job %d: its key is that of two others", ErrDamaged, row.ID)
				q.damaged([]store.Damage{{ID: row.ID, Err: err}})
				continue
			}
		}
		_, record := q.restored(row)
		if row.Key != "" && ofKey[row.Key] == 2 { // the other one has to end first
			record.Again = true
		}
		records = append(records, record)
		kept = append(kept, *row)
	}
	r.records = records
	jobs, err := q.inner.Restore(records)
	if err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	for i, j := range jobs {
		h := records[i].Arg
		h.inner = j
		h.Future = j.Via(h.deliver)
		q.jobs.set(h.id, h)
		if key := kept[i].Key; key != "" {
			q.keys[key] = append(q.keys[key], h)
			q.every.runBegunLocked(key)
		}
	}
	q.found.Restored += len(jobs)
	return nil
}

// restored is a row as the queue in memory is to have it.
func (q *Queue[A, R]) restored(row *store.Job) (*Job[A, R], twill.JobRecord[*Job[A, R]]) {
	h := &Job[A, R]{q: q, id: row.ID, crashes: uint16(min(row.Crashes, 1<<16-1))}
	record := twill.JobRecord[*Job[A, R]]{
		Arg: h, Priority: int(row.Priority), Key: row.Key, Group: row.Group, Attempts: int(row.Attempts),
		Queued: toTime(row.Queued), Due: toTime(row.Due), Expires: toTime(row.Expires),
	}
	retry := q.opts.Dispatch.Retry
	if row.Policy != "" {
		if named := q.opts.Retries[row.Policy]; named != nil {
			retry = named
		}
	}
	if retry != nil {
		record.Options.Retry = h.retry(retry, row.Retries)
	}
	record.Options.Timeout, record.Options.Held = time.Duration(row.Timeout), row.Held
	if row.Timeout != 0 || row.Policy != "" || row.Retries != 0 || row.Held || row.Key != "" || row.Error != "" {
		h.more = &more{timeout: time.Duration(row.Timeout), policy: row.Policy, retries: row.Retries, held: row.Held, key: row.Key, lastErr: row.Error}
	}
	return h, record
}

// writeCrashes writes which jobs were underway when the last process ended, and
// which of them are dead.
func (q *Queue[A, R]) writeCrashes(crashed, dead []store.Job) error {
	for _, row := range dead {
		id := strconv.FormatInt(row.ID, 10)
		q.found.Dead = append(q.found.Dead, id)
		q.log(slog.LevelError, "durable: job is dead", "job", id, "crashes", row.Crashes)
	}
	if len(crashed)+len(dead) == 0 {
		return nil
	}
	return q.store.Run(func(tx *store.Tx) error {
		for _, row := range crashed {
			if _, err := tx.Update(row); err != nil {
				return err
			}
		}
		for _, row := range dead {
			if _, err := tx.End(row, true); err != nil {
				return err
			}
		}
		return nil
	})
}
