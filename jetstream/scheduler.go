package jetstream

import (
	"cmp"
	"context"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// scheduler is one term: from the takeover of the journal until the process
// resigns or finds that another has taken over.
//
// It runs the dispatch queue of the root package, whose function hands a job to
// a worker and waits until the worker reports the end of the attempt. What
// happens is an effect; effects are appended to the journal, and only then does
// anything leave this process that depends on them. If the term ends, all of
// this is thrown away, and the next scheduler reads it from the journal.
//
// mu is taken before the lock of the root's queue. No handler of a future of
// the root's queue takes mu, as some run with it.
type scheduler struct {
	n          *node
	term       term
	nonce      string
	ctx        context.Context // ends with the term
	end        context.CancelCauseFunc
	closed     atomic.Bool
	resigning  atomic.Bool
	clock      time.Time // when the clock of the streams was clockBase
	clockBase  int64
	sub        *nats.Subscription
	kick       chan struct{} // there is something to commit
	inboxMade  int64         // when the inbox stream was created
	journalSeq atomic.Uint64 // as seq
	began      time.Time
	step       atomic.Int64 // when the term has made a step last, since began

	announceMu sync.Mutex // is held while an announcement is sent: none follows the last

	backlogMu  sync.Mutex         // guards the fields below; it is taken after mu
	backlog    []asked            // requests that have arrived and wait, in order
	backlogged bool               // a goroutine takes them
	arrived    map[string]arrival // the latest of the beats that may be among them, by process

	mu       sync.Mutex // guards the fields below
	rq       *rootQueue
	jobs     map[string]*entry   // pending or underway
	byJob    map[*rootJob]*entry // the same
	attempts map[token]*entry    // that workers have, even if their jobs were canceled
	workers  map[string]*workerState
	free     []*workerState // with a free slot, in turn; each is there once
	capacity int            // slots of all workers, free or in use
	storing  int            // attempts of all workers that take no slot
	width    int            // of rq
	config   config
	counters counters
	order    uint64 // of the last job
	inbox    uint64 // the last message taken
	waiting  twill.Histogram
	running  twill.Histogram
	ended    []*endedJob // the latest, oldest first
	ticked   time.Time   // when the workers were looked at last
	items    []item      // to commit
	spare    []item      // the memory for the next ones, which have been committed
	deferred []deferredRequest
	early    map[string]*outcome // of jobs that were canceled and whose puts may be in the inbox
	limit    *rateLimit          // as config has it, nil if that was never set

	eventsUntil time.Time // when events need not be published any longer

	// Only the goroutine that commits uses these.
	out       map[string]*outgoing // by process: what is sent after the batch that is committed now
	seq       uint64               // of the last message of the journal
	number    uint64               // of the last batch
	committed uint64               // the inbox position that is in the journal
	acked     time.Time
	since     int     // effects since the last snapshot
	snapshot  []*part // to commit, the next first
	firstPart uint64  // the sequence of the first part of the latest snapshot
	published uint64  // events
	purged    uint64  // the inbox was purged below that
}

type (
	rootQueue = twill.ResizableDispatchQueue[json.RawMessage, struct{}]
	rootJob   = twill.Job[json.RawMessage, struct{}]
)

// entry is a job.
type entry struct {
	rec     record
	job     *rootJob
	w       *workerState // that has the job
	over    bool         // it has ended
	free    bool         // its call has returned, and takes no slot while its outcome is stored
	farDue  bool         // job is held back by a due time that does not come, as the root restores no held jobs
	called  time.Time    // the start of the latest call
	sent    int          // beats of the worker since it was handed over that did not name it
	timer   *time.Timer
	release chan time.Duration // set while the root's function waits: the attempt is over, and the job is put off for so long, or not if it is negative
}

// endedJob is a job that has ended, for lists.
type endedJob struct {
	rec    record
	state  twill.JobState
	err    *failure
	called time.Time
	at     time.Time
}

// workerState is a process that runs jobs.
type workerState struct {
	id      string
	name    string
	program string
	width   int
	running int // attempts, without those whose calls have returned
	storing int // those
	beat    time.Time
	number  uint64 // of the last beat
	queued  bool   // in free
}

// slots is how many jobs w may have, or has.
func (w *workerState) slots() int { return max(w.width, w.running) }

// item is an effect to commit, and what is done after that.
type item struct {
	effect *effect    // nil if it is only something to do
	inbox  uint64     // how far the inbox was taken, 0 if that has not changed
	event  *wireEvent // to publish then
	after  func()
}

// outgoing is what one process is sent after a batch.
type outgoing struct {
	message
	size int // about
}

func newScheduler(n *node, t term, nonce string) *scheduler {
	s := &scheduler{
		n: n, term: t, nonce: nonce, kick: make(chan struct{}, 1),
		jobs: map[string]*entry{}, byJob: map[*rootJob]*entry{}, attempts: map[token]*entry{}, workers: map[string]*workerState{}, early: map[string]*outcome{},
		out: map[string]*outgoing{}, arrived: map[string]arrival{}, backlogged: true, began: time.Now(),
	}
	s.ctx, s.end = context.WithCancelCause(n.ctx)
	o := n.opts.DispatchOptions
	s.rq = twill.NewResizableDispatchQueue(
		func(context.Context, json.RawMessage) (struct{}, error) { return struct{}{}, nil },
		&twill.DispatchOptions{Size: o.Size, TakeTurns: o.TakeTurns, Ageing: o.Ageing, High: o.High, Low: o.Low, OnHigh: o.OnHigh, OnLow: o.OnLow},
	)
	s.rq.Use(s.call)
	return s
}

// now is the time by the clock of the streams.
func (s *scheduler) now() int64 { return s.clockBase + int64(time.Since(s.clock)) }

// local converts a time of the streams' clock.
func (s *scheduler) local(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Now().Add(time.Duration(t - s.now()))
}

// close ends the term.
func (s *scheduler) close(cause error) {
	if s.closed.Swap(true) {
		return
	}
	s.end(cause)
	s.mu.Lock()
	if s.sub != nil {
		_ = s.sub.Unsubscribe()
	}
	for _, e := range s.jobs {
		if e.timer != nil {
			e.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.rq.StopNow()
	s.rq.Clear()
}

// load fills the root's queue with the jobs of the journal. The attempts that
// workers have start first, before any limit holds them back.
func (s *scheduler) load(j *journal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config, s.counters, s.order, s.inbox = j.config, j.counters, j.order, j.inbox
	s.committed = j.inbox
	var live, pending []*entry
	for _, rec := range j.jobs {
		e := &entry{rec: *rec}
		s.jobs[rec.ID] = e
		if rec.Worker != "" {
			live = append(live, e)
		} else {
			pending = append(pending, e)
		}
	}
	byOrder := func(a, b *entry) int { return cmp.Compare(a.rec.Order, b.rec.Order) }
	slices.SortFunc(live, byOrder)
	slices.SortFunc(pending, byOrder)
	now := time.Now()
	for _, e := range live {
		w := s.workers[e.rec.Worker]
		if w == nil { // it has a lease until it is known again
			w = &workerState{id: e.rec.Worker, name: e.rec.Worker, beat: now}
			s.workers[w.id] = w
		}
		w.running++
		e.w, e.called = w, now
		s.attempts[e.rec.token()] = e
	}
	for _, w := range s.workers {
		s.capacity += w.slots()
	}
	// The job that follows another is restored with that.
	first := slices.Clone(live)
	pending = slices.DeleteFunc(pending, func(e *entry) bool {
		follows := e.rec.Follows && slices.ContainsFunc(live, func(l *entry) bool { return l.rec.Key == e.rec.Key })
		if follows {
			first = append(first, e)
		}
		return follows
	})
	_ = s.rq.SetWidth(len(live))
	s.restoreLocked(first)
	_ = s.rq.SetGroupLimits(s.groupLimit())
	for group, limit := range s.config.Groups {
		_ = s.rq.SetGroupLimit(group, limit)
	}
	if s.config.Paused {
		s.rq.Pause()
	}
	s.setRateLocked(false)
	_ = s.rq.SetWidth(0)
	s.restoreLocked(pending)
	for _, e := range s.jobs {
		s.setDeadlineLocked(e)
	}
	s.width = -1
	s.fitWidthLocked()
}

// setRateLocked gives the root's queue the rate limit of the queue. A limit
// that is set while the term goes on begins with all of its burst; one that
// comes from the journal with none, as calls may just have started.
func (s *scheduler) setRateLocked(fresh bool) {
	switch c := s.config.Rate; {
	case c == nil:
		s.rq.SetRate(s.n.opts.Rate)
	case c.PerSecond == 0:
		s.rq.SetRate(nil)
	default:
		if s.limit == nil {
			s.limit = newRateLimit(fresh)
		}
		s.limit.set(*c)
		s.rq.SetRate(s.limit)
	}
}

func (s *scheduler) groupLimit() twill.GroupLimit {
	if s.config.Others != nil {
		return *s.config.Others
	}
	return s.n.opts.GroupLimit
}

func (s *scheduler) restoreLocked(entries []*entry) {
	records := make([]twill.JobRecord[json.RawMessage], len(entries))
	for i, e := range entries {
		records[i] = twill.JobRecord[json.RawMessage]{
			Arg: e.rec.Arg, Priority: e.rec.Priority, Key: e.rec.Key, Group: e.rec.Group, Attempts: e.rec.Attempts,
			Queued: s.local(e.rec.Queued), Due: s.local(e.rec.Due), Again: e.rec.Follows,
		}
		if e.w != nil {
			records[i].State, records[i].Due = twill.JobUnderway, time.Time{}
		}
		if e.rec.Held {
			records[i].Due, e.farDue = time.Now().Add(farDue), true
		}
		if e.rec.Attempts == 0 {
			records[i].Expires = s.local(e.rec.Expires)
		}
	}
	jobs, err := s.rq.Restore(records)
	if err != nil {
		s.close(err) // two records of one key: the journal is not one of a scheduler
		return
	}
	for i, job := range jobs {
		s.bindLocked(entries[i], job)
	}
}

// farDue is a due time that does not come.
const farDue = 100 * 365 * 24 * time.Hour

// bindLocked makes job the one of e.
func (s *scheduler) bindLocked(e *entry, job *rootJob) {
	e.job = job
	s.byJob[job] = e
	if e.rec.Expires != 0 && e.rec.Attempts == 0 {
		job.OnSettled(func(_ struct{}, err error) {
			if err == twill.ErrExpired {
				job.Catch(func(error) (struct{}, error) { return struct{}{}, nil })
				go s.decide(e, &outcome{State: outFailed, Error: encodeError(twill.ErrExpired)})
			}
		})
	}
}

// setDeadlineLocked sees to it that e ends at its deadline.
func (s *scheduler) setDeadlineLocked(e *entry) {
	if e.rec.Deadline == 0 || e.timer != nil {
		return
	}
	e.timer = time.AfterFunc(time.Duration(e.rec.Deadline-s.now()), func() {
		s.mu.Lock()
		err := &twill.TimeoutError{After: e.rec.Timeout}
		if n := len(e.rec.Errs); n > 0 {
			err.Err = decodeError(e.rec.Errs[n-1])
		}
		over := e.over
		s.mu.Unlock()
		if !over {
			s.decide(e, &outcome{State: outFailed, Error: encodeError(err)})
		}
	})
}

// emitLocked adds an effect, and what is to be done after it was committed.
func (s *scheduler) emitLocked(e effect, after func()) {
	s.addLocked(item{effect: &e, after: after})
}

// afterLocked does something when all effects so far were committed.
func (s *scheduler) afterLocked(fn func()) { s.addLocked(item{after: fn}) }

func (s *scheduler) addLocked(it item) {
	s.items = append(s.items, it)
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// changedLocked notes that the record of e has changed; the argument has if arg
// is set.
func (s *scheduler) changedLocked(e *entry, arg bool, after func()) {
	rec := e.rec
	if !arg {
		rec.Arg = nil
	}
	s.emitLocked(effect{Change: &rec}, after)
}

// send sends a message to a process. It may be lost.
func (s *scheduler) send(process string, m message) {
	if process == "" || s.closed.Load() {
		return
	}
	m.Version, m.Term = wireVersion, s.term
	_ = s.n.send(process, &m)
}

// post is send for what is done after a batch: a process gets one message for
// all, or several if one would be too large.
func (s *scheduler) post(process string, m message) {
	if process == "" {
		return
	}
	size := m.size()
	o := s.out[process]
	if o != nil && o.size+size > s.n.maxBatch {
		s.send(process, o.message)
		o = nil
	}
	if o == nil {
		o = &outgoing{}
		s.out[process] = o
	}
	o.add(m)
	o.size += size
}

// sendPosted sends what was posted.
func (s *scheduler) sendPosted() {
	for process, o := range s.out {
		s.send(process, o.message)
	}
	clear(s.out)
}

// call is the function of the root's queue: it hands the job to a worker and
// returns when the worker has reported the end of the attempt, or is lost.
func (s *scheduler) call(_ context.Context, job *rootJob, _ func(context.Context) (struct{}, error)) (struct{}, error) {
	s.mu.Lock()
	e := s.byJob[job]
	if e == nil || e.over || s.closed.Load() {
		s.mu.Unlock()
		return struct{}{}, nil
	}
	if e.rec.Worker == "" {
		if wait := e.rec.Due - s.now(); wait > 0 && e.rec.HandOuts > 0 {
			s.mu.Unlock()
			return struct{}{}, twill.Snooze(time.Duration(wait))
		}
		if !s.handOutLocked(e) {
			s.fitWidthLocked()
			s.mu.Unlock()
			return struct{}{}, twill.Snooze(inPlace)
		}
	}
	release := make(chan time.Duration, 1)
	e.release = release
	s.mu.Unlock()
	select {
	case d := <-release:
		if d >= 0 {
			return struct{}{}, twill.Snooze(d)
		}
	case <-s.ctx.Done():
	}
	return struct{}{}, nil
}

// handOutLocked gives e to a worker with a free slot, and reports whether there
// is one.
func (s *scheduler) handOutLocked(e *entry) bool {
	w := s.nextWorkerLocked()
	if w == nil {
		return false
	}
	w.running++
	s.queueLocked(w)
	now := s.now()
	e.w, e.called, e.sent = w, time.Now(), 0
	e.rec.Worker = w.id
	e.rec.HandOuts++
	e.rec.Attempts++
	e.rec.Follows = false
	if e.rec.Started == 0 {
		e.rec.Started = now
		s.waiting.Add(time.Duration(now - max(e.rec.Queued, e.rec.Due)))
		if e.rec.Timeout > 0 {
			e.rec.Deadline = now + int64(e.rec.Timeout)
			s.setDeadlineLocked(e)
		}
	}
	s.attempts[e.rec.token()] = e
	m, to := s.assignmentLocked(e), w.id
	s.changedLocked(e, false, func() { s.post(to, m) })
	s.eventLocked(twill.EventStarted, e, nil)
	return true
}

func (s *scheduler) assignmentLocked(e *entry) message {
	now := s.now()
	a := &assignment{
		Token: e.rec.token(), Beat: e.w.number, Arg: e.rec.Arg, Attempts: e.rec.Attempts, Timeout: e.rec.Timeout,
		Elapsed: time.Duration(now - e.rec.Started), Errs: e.rec.Errs, From: e.rec.From,
	}
	if e.rec.Deadline != 0 {
		a.Left = max(time.Duration(e.rec.Deadline-now), 1)
	}
	return message{Jobs: []*assignment{a}}
}

// nextWorkerLocked is the next worker with a free slot.
func (s *scheduler) nextWorkerLocked() *workerState {
	for len(s.free) > 0 {
		w := s.free[0]
		s.free = s.free[1:]
		w.queued = false
		if s.workers[w.id] == w && w.running < w.width {
			return w
		}
	}
	return nil
}

// queueLocked puts w where free workers wait if it has a free slot.
func (s *scheduler) queueLocked(w *workerState) {
	if !w.queued && w.running < w.width && s.workers[w.id] == w {
		w.queued = true
		s.free = append(s.free, w)
	}
}

// fitWidthLocked gives the root's queue the width of the queue, or as many
// slots as the workers have and attempts that take none.
func (s *scheduler) fitWidthLocked() {
	width := s.configuredWidth()
	if fit := min(width, s.capacity+s.storing); fit != s.width {
		s.width = fit
		_ = s.rq.SetWidth(fit)
	}
}

func (s *scheduler) configuredWidth() int {
	if s.config.Width != nil {
		return *s.config.Width
	}
	if s.n.opts.Width > 0 {
		return s.n.opts.Width
	}
	return Unlimited
}

// changeWorkerLocked changes w by fn, and what depends on it.
func (s *scheduler) changeWorkerLocked(w *workerState, fn func()) {
	s.capacity -= w.slots()
	fn()
	if s.workers[w.id] == w {
		s.capacity += w.slots()
	}
	s.queueLocked(w)
	s.fitWidthLocked()
}

// inPlace is the pause of a job that is pending again at once. With it the job
// keeps its place among equals, which a Snooze for no time gives up.
const inPlace = time.Nanosecond

// endAttemptLocked ends the attempt of e that t names: its slot is free, and
// the job is pending again after a pause unless that is negative. It does
// nothing if the attempt is over.
func (s *scheduler) endAttemptLocked(e *entry, t token, pause time.Duration) {
	if s.attempts[t] != e {
		return
	}
	delete(s.attempts, t)
	s.running.Add(time.Since(e.called))
	if w := e.w; e.free {
		e.free = false
		w.storing--
		s.storing--
		s.fitWidthLocked()
	} else if s.workers[w.id] == w {
		s.changeWorkerLocked(w, func() { w.running-- })
	}
	e.w, e.rec.Worker = nil, ""
	if e.over {
		pause = -1
	}
	if e.release != nil {
		e.release <- pause
		e.release = nil
	}
}

// returned notes that calls of a worker have returned whose outcomes are being
// stored. Their slots are free: the journal gets the starts of the next jobs
// while the outcomes are stored. The attempts go on, and count in the width of
// the queue. A worker has fewer of them than slots: with one slot, a job starts
// when the one before has ended, and if outcomes cannot be stored, the slots
// stay taken.
func (s *scheduler) returned(worker string, tokens []token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.workers[worker]
	if w == nil || s.closed.Load() {
		return
	}
	s.changeWorkerLocked(w, func() {
		for _, t := range tokens {
			if e := s.attempts[t]; e != nil && e.w == w && !e.free && w.storing < w.width-1 {
				e.free = true
				s.storing++
				w.storing++
				w.running--
			}
		}
	})
}

// endLocked ends e with the outcome o. If a worker runs it, its context ends,
// and the slot stays taken until the worker reports that the call has returned.
// notified says that the process that has put it knows the outcome, and
// returned that the call has returned.
func (s *scheduler) endLocked(e *entry, o *outcome, notified, returned bool) {
	if e.over {
		return
	}
	e.over = true
	state := o.state()
	delete(s.jobs, e.rec.ID)
	if e.timer != nil {
		e.timer.Stop()
	}
	switch state {
	case twill.JobFinished:
		s.counters.Finished++
	case twill.JobFailed:
		s.counters.Failed++
	default:
		s.counters.Canceled++
	}
	s.keepLocked(e, state, o.Error)
	id, from, watch := e.rec.ID, e.rec.From, e.rec.Watch
	s.emitLocked(effect{End: &endEvent{id, state}}, func() {
		if !notified {
			s.post(from, message{Ended: []string{id}})
		}
		for _, process := range watch {
			s.post(process, message{Ended: []string{id}})
		}
	})
	s.eventLocked(twill.EventEnded, e, &wireEvent{State: state, Error: o.Error})
	if e.w != nil && !returned {
		t, to := e.rec.token(), e.w.id
		s.afterLocked(func() { s.post(to, message{Cancel: []token{t}}) })
	}
	// It frees the key at once. What may settle with it are the root's own
	// futures, such as that of a pause.
	e.job.Cancel(nil)
	delete(s.byJob, e.job)
}

// keepLocked keeps e for lists of ended jobs.
func (s *scheduler) keepLocked(e *entry, state twill.JobState, err *failure) {
	const keep = 200
	if len(s.ended) >= 2*keep {
		s.ended = slices.Clone(s.ended[len(s.ended)-keep:])
	}
	s.ended = append(s.ended, &endedJob{e.rec, state, err, e.called, time.Now()})
}

// decide ends e with o, unless it has another outcome, and then with that.
func (s *scheduler) decide(e *entry, o *outcome) {
	o.Version, o.ID, o.By, o.Nonce = wireVersion, e.rec.ID, s.n.id, s.nonce
	got, err := s.n.st.decide(s.ctx, o)
	if err != nil {
		if s.ctx.Err() == nil {
			s.n.report(err)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(e, got, false, false)
}

// doneLocked takes the report of the end of an attempt. It reports whether the
// attempt was underway.
func (s *scheduler) doneLocked(d *doneReport) bool {
	e := s.attempts[d.Token]
	if e == nil {
		return false
	}
	switch {
	case d.Stored != "":
		// The job ends before its slot is free, so that its key is.
		s.endLocked(e, &outcome{ID: e.rec.ID, State: d.Stored, Error: d.Error}, d.Notified, true)
		s.endAttemptLocked(e, d.Token, -1)
	case e.over:
		s.endAttemptLocked(e, d.Token, -1)
	default:
		switch {
		case d.Back:
			e.rec.Attempts--
		case d.Counts:
			s.counters.Retries++
			e.rec.Errs = append(e.rec.Errs, d.Error)
			e.rec.Errs = e.rec.Errs[max(len(e.rec.Errs)-maxErrs, 0):]
		default:
			s.counters.Snoozed++
			e.rec.Attempts--
		}
		e.rec.Due = 0
		if d.After > 0 {
			e.rec.Due = s.now() + int64(d.After)
		}
		least := inPlace
		if !d.Back && !d.Counts { // a Snooze of the function
			least = 0
		}
		s.endAttemptLocked(e, d.Token, max(d.After, least))
		switch {
		case d.Back:
		case d.Counts:
			s.emitLocked(effect{Retry: true}, nil)
			s.eventLocked(twill.EventRetry, e, &wireEvent{Error: d.Error})
		default:
			s.emitLocked(effect{Snooze: true}, nil)
			s.eventLocked(twill.EventSnoozed, e, nil)
		}
		s.changedLocked(e, false, nil)
	}
	return true
}

// allDoneLocked takes reports, and returns their tokens.
func (s *scheduler) allDoneLocked(reports []doneReport) (known []token) {
	for i := range reports {
		s.doneLocked(&reports[i])
		known = append(known, reports[i].Token)
	}
	return known
}

// beatLocked takes a worker's beat, and returns the attempts that it must end,
// and the reports that it need not repeat.
func (s *scheduler) beatLocked(id string, b *workerBeat) (lost, known []token) {
	known = s.allDoneLocked(b.Done)
	if b.Bye {
		if w := s.workers[id]; w != nil {
			s.loseLocked(w, true)
		}
		return nil, known
	}
	w := s.workers[id]
	if w == nil {
		w = &workerState{id: id}
		s.workers[id] = w
		s.capacity += w.slots()
	}
	s.changeWorkerLocked(w, func() {
		w.name, w.program, w.width, w.beat, w.number = b.Name, b.Program, max(b.Width, 0), time.Now(), max(w.number, b.Number)
	})
	named := map[token]bool{}
	for _, t := range b.Running {
		named[t] = true
		if e := s.attempts[t]; e == nil || e.w != w || e.over {
			lost = append(lost, t)
		}
	}
	if w.running+w.storing > len(named) {
		for t, e := range s.attempts {
			if e.w != w || named[t] {
				continue
			}
			// A message that takes so long was lost: that with the job, or that with the
			// end.
			if e.sent++; e.sent >= 2 && time.Since(e.called) > s.n.opts.Lease/2 {
				if e.over {
					s.endAttemptLocked(e, t, -1)
					continue
				}
				m := s.assignmentLocked(e)
				s.afterLocked(func() { s.post(id, m) })
			}
		}
	}
	return lost, known
}

// arrival is that of a beat.
type arrival struct {
	at     time.Time
	number uint64
}

// tick looks for workers that are lost. If this process itself stood still, or
// the stores did, the workers get the time.
func (s *scheduler) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	lease := s.n.opts.Lease
	if late := now.Sub(s.ticked); late > lease/2 {
		for _, w := range s.workers {
			w.beat = w.beat.Add(late)
		}
	}
	s.ticked = now
	s.backlogMu.Lock()
	for id, a := range s.arrived {
		if w := s.workers[id]; w != nil && w.beat.Before(a.at) {
			w.beat, w.number = a.at, max(w.number, a.number)
		}
	}
	clear(s.arrived)
	s.backlogMu.Unlock()
	for _, w := range s.workers {
		if now.Sub(w.beat) > lease {
			s.loseLocked(w, false)
		}
	}
}

// loseLocked gives up w: its attempts are looked after one by one. left says
// that w has left by itself.
func (s *scheduler) loseLocked(w *workerState, left bool) {
	s.capacity -= w.slots()
	delete(s.workers, w.id)
	for t, e := range s.attempts {
		if e.w == w {
			go s.recover(e, t, left)
		}
	}
	s.fitWidthLocked()
}

// recover ends an attempt whose worker is lost, or has left: with its outcome,
// if one is stored, and else so that the job is handed out again.
func (s *scheduler) recover(e *entry, t token, left bool) {
	var o *outcome
	for pause := range pauses(s.ctx) {
		var err error
		if o, err = s.n.st.outcome(s.ctx, t.ID); err == nil {
			break
		}
		if !pause() {
			return
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	worker := e.rec.Worker
	again := s.recoverLocked(e, t, o, left)
	s.mu.Unlock()
	if again && !left {
		s.n.event(Event{Kind: JobLost, Job: t.ID, Process: worker, Term: s.term.Epoch})
	}
}

// recoverLocked ends the attempt with its outcome o, if that is not nil, and
// reports whether the job is handed out again.
func (s *scheduler) recoverLocked(e *entry, t token, o *outcome, left bool) bool {
	if s.attempts[t] != e {
		return false
	}
	if o != nil || e.over {
		if o != nil {
			s.endLocked(e, o, false, true)
		}
		s.endAttemptLocked(e, t, -1)
		return false
	}
	if !left {
		e.rec.Lost++
	}
	e.rec.Attempts--
	if s.n.opts.MaxLost >= 0 && e.rec.Lost > s.n.opts.MaxLost {
		go func() {
			s.decide(e, &outcome{State: outFailed, Error: encodeError(ErrLost)})
			s.mu.Lock()
			defer s.mu.Unlock()
			s.endAttemptLocked(e, t, -1)
		}()
		return false
	}
	s.endAttemptLocked(e, t, inPlace)
	s.changedLocked(e, false, nil)
	return true
}

// Unlimited is the width of a queue that only its workers limit.
const Unlimited = math.MaxInt32
