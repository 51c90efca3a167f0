package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// worker runs the jobs that the scheduler hands to this process.
//
// An attempt is over in three steps: the function returns, the outcome is
// stored, and the scheduler knows. Until the last the worker names it in each
// beat.
type worker struct {
	n    *node
	fn   func(ctx context.Context, arg json.RawMessage) (json.RawMessage, error)
	kick chan struct{}

	mu       sync.Mutex // guards the fields below
	width    int
	stopped  bool
	attempts map[token]*attempt
	recent   map[token]bool       // of attempts that were forgotten: a message with the job may arrive twice
	oldest   []token              // of recent, the next to go first
	heard    time.Time            // when the server was reached last
	number   uint64               // of the last beat
	sent     map[uint64]time.Time // when beats were sent, those of the last lease
	idle     chan struct{}        // closed when stopped and no attempt runs
	results  []*storing           // to publish
	storing  map[uint64]*storing  // published and not answered, by their numbers
	stores   uint64               // the number of the last
	ended    []ended              // attempts whose ends were not sent yet
	more     chan struct{}        // there are results or ends to send

	unanswered atomic.Bool // the last beat

	answers string // the prefix of the subjects of the answers to what is published
}

// storing is an outcome that is being stored.
type storing struct {
	at     *attempt
	report callReport
	sent   time.Time
}

// attempt is one call.
type attempt struct {
	a      *assignment
	cancel context.CancelCauseFunc
	lost   bool        // it belongs to this process no longer
	free   bool        // the call has returned, and takes no slot
	over   bool        // it has returned, and what follows from it is stored
	report *doneReport // that the scheduler does not know yet
}

// ended is the end of an attempt.
type ended struct {
	report  doneReport
	from    string   // the process that gets the outcome, "" for none
	outcome *outcome // of the job
}

func newWorker(n *node, width int, fn func(context.Context, json.RawMessage) (json.RawMessage, error)) *worker {
	return &worker{n: n, fn: fn, width: width, kick: make(chan struct{}, 1), more: make(chan struct{}, 1), storing: map[uint64]*storing{}, answers: n.conn.NewInbox() + ".", attempts: map[token]*attempt{}, recent: map[token]bool{}, sent: map[uint64]time.Time{}, heard: time.Now(), idle: make(chan struct{})}
}

// assign takes a job. One that it has already is taken once, and one for which
// it has no slot is handed back. A message that lay in a buffer while this
// process or its connection stood still is dropped: the job may belong to
// another worker. It is in time if the beat that it names was sent less than a
// lease ago, as the scheduler gives up a worker a lease after it got a beat.
func (w *worker) assign(a *assignment) {
	w.mu.Lock()
	sent, ok := w.sent[a.Beat]
	if w.attempts[a.Token] != nil || w.recent[a.Token] || !ok || time.Since(sent) > w.n.opts.Lease {
		w.mu.Unlock()
		return
	}
	running := 0
	for t, other := range w.attempts {
		if t.ID == a.Token.ID && !other.over && t.Number < a.Token.Number {
			other.lost = true // it was given up, and comes back
			other.cancel(ErrLost)
		}
		if !other.over && !other.free {
			running++
		}
	}
	if w.stopped || running >= w.width {
		w.ended = append(w.ended, ended{report: doneReport{Token: a.Token, Back: true}})
		w.mu.Unlock()
		w.tellSoon()
		return
	}
	parent := w.n.opts.Context
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithCancelCause(parent)
	at := &attempt{a: a, cancel: cancel}
	w.attempts[a.Token] = at
	w.mu.Unlock()
	w.n.st.calls.run(func() { w.run(ctx, at) })
}

// cancel ends the context of a call.
func (w *worker) cancel(t token) {
	w.mu.Lock()
	at := w.attempts[t]
	w.mu.Unlock()
	if at != nil {
		at.cancel(twill.ErrCanceled)
	}
}

// run runs one attempt, on a goroutine that the function may end.
func (w *worker) run(ctx context.Context, at *attempt) {
	a := at.a
	if a.Left > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, a.Left, &twill.TimeoutError{After: a.Timeout})
		defer stop()
	}
	ctx = context.WithValue(ctx, attemptKey{}, a)
	returned := false
	defer func() {
		if !returned {
			report := reportOf(ctx, nil, twill.ErrGoexit)
			go w.finish(at, report, context.Cause(ctx))
		}
	}()
	v, err := w.call(ctx, a)
	returned = true
	w.finish(at, reportOf(ctx, v, err), context.Cause(ctx))
}

// finish has the outcome of an attempt stored, and its end reported. cause is
// why its context has ended, nil if it has not.
func (w *worker) finish(at *attempt, report callReport, cause error) {
	at.cancel(context.Canceled)
	w.mu.Lock()
	lost := at.lost
	w.mu.Unlock()
	switch o := report.outcome; {
	case lost: // it is the scheduler's, if that does not know it yet
		report = callReport{done: doneReport{Back: true}}
	case o != nil:
		if o.State == outFailed && cause == twill.ErrStopped {
			// StopNow has ended the call: the job is handed back.
			report = callReport{done: doneReport{Back: true}}
		} else {
			o.Attempts = at.a.Attempts
			o.Version, o.ID, o.Attempt, o.By, o.Nonce = wireVersion, at.a.Token.ID, at.a.Token.Number, w.n.id, at.a.Token.ID
			w.mu.Lock()
			w.results = append(w.results, &storing{at: at, report: report})
			w.mu.Unlock()
			w.tellSoon()
			return
		}
	}
	w.end(at, report)
	w.tellSoon()
}

// freeSlots has the slots of calls that have returned used again, if this
// process schedules. For another process the message would cost as much as is
// gained. A large result keeps its slot until it is stored, so that no more of
// them are on their way than there are slots.
func (w *worker) freeSlots(results []*storing) {
	w.n.mu.Lock()
	s := w.n.sched
	w.n.mu.Unlock()
	if s == nil || len(results) == 0 {
		return
	}
	tokens := make([]token, 0, len(results))
	w.mu.Lock()
	for _, r := range results {
		if len(r.report.outcome.Value) <= smallResult {
			r.at.free = true
			tokens = append(tokens, r.at.a.Token)
		}
	}
	w.mu.Unlock()
	if len(tokens) > 0 {
		s.returned(w.n.id, tokens)
	}
}

// smallResult is the size of the largest result that takes no slot.
const smallResult = 16 << 10

// publish publishes outcomes. What has become of them is known when the answers
// arrive.
func (w *worker) publish(results []*storing) {
	for _, s := range results {
		o := s.report.outcome
		m := &nats.Msg{Subject: w.n.st.outcomeSubject(o.ID), Header: createOnly, Data: encode(o)}
		w.mu.Lock()
		w.stores++
		number := w.stores
		s.sent = time.Now()
		w.storing[number] = s
		w.mu.Unlock()
		m.Reply = w.answers + strconv.FormatUint(number, 10)
		if w.n.conn.PublishMsg(m) != nil {
			w.storeAgain(number)
		}
	}
}

// onStored takes the server's answer to what publish has sent.
func (w *worker) onStored(m *nats.Msg) {
	number, _ := strconv.ParseUint(strings.TrimPrefix(m.Subject, w.answers), 10, 64) // 0 is the number of none
	if _, err := ackOf(m.Data, w.n.st.outcomes()); err != nil {
		w.storeAgain(number)
	} else if s := w.answered(number); s != nil {
		w.stored(s, s.report.outcome)
	}
	// The ends of answers that have come together go in one message.
	if left, _, err := m.Sub.Pending(); err != nil || left <= 1 || number%16 == 0 {
		w.tellSoon()
	}
}

// storeAgain finds out what has become of an outcome that was published, and
// has it stored.
func (w *worker) storeAgain(number uint64) {
	if s := w.answered(number); s != nil {
		w.n.st.calls.run(func() { w.store(s) })
	}
}

// answered returns the outcome that was published with that number, once.
func (w *worker) answered(number uint64) *storing {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.storing[number]
	delete(w.storing, number)
	return s
}

// storeOverdue does that with the outcomes whose answers have not come in time.
func (w *worker) storeOverdue() {
	var overdue []uint64
	w.mu.Lock()
	for number, s := range w.storing {
		if time.Since(s.sent) > w.n.st.try {
			overdue = append(overdue, number)
		}
	}
	w.mu.Unlock()
	for _, number := range overdue {
		w.storeAgain(number)
	}
}

// end ends an attempt, whose outcome is stored if it has one.
func (w *worker) end(at *attempt, report callReport) {
	w.mu.Lock()
	defer w.mu.Unlock()
	d := &report.done
	d.Token = at.a.Token
	at.over, at.report = true, d
	e := ended{report: *d}
	if d.Stored != "" {
		e.from, e.outcome = at.a.From, report.outcome
	}
	w.ended = append(w.ended, e)
	w.checkIdleLocked()
}

// callReport is what has become of a call.
type callReport struct {
	done    doneReport
	outcome *outcome // nil if the job is to be called again
}

// reportOf is what has become of a call that has returned v and err.
func reportOf(ctx context.Context, v json.RawMessage, err error) callReport {
	switch again := (*retryLater)(nil); {
	case err == nil:
		return callReport{outcome: &outcome{State: outFinished, Value: v}}
	case errors.As(err, &again) && again.snooze:
		return callReport{done: doneReport{Again: true, After: again.after}}
	case again != nil:
		return callReport{done: doneReport{Again: true, After: again.after, Counts: true, Error: encodeError(again.err)}}
	}
	if ctx.Err() != nil {
		if timeout, ok := context.Cause(ctx).(*twill.TimeoutError); ok {
			err = &twill.TimeoutError{After: timeout.After, Err: err}
		}
	}
	return callReport{outcome: &outcome{State: outFailed, Error: encodeError(err)}}
}

// retryLater is the error of a call that is followed by another.
type retryLater struct {
	after  time.Duration
	snooze bool
	err    error
}

func (e *retryLater) Error() string { return "jetstream: called again later" }

// call calls the function, under the rules of the Retry options: they decide
// whether there is another call, and after which pause.
func (w *worker) call(ctx context.Context, a *assignment) (v json.RawMessage, err error) {
	call := func(ctx context.Context) (v json.RawMessage, err error) {
		defer func() {
			if r := recover(); r != nil {
				err = &twill.PanicError{Value: r, Stack: debug.Stack()}
			}
		}()
		return w.fn(ctx, a.Arg)
	}
	retry := w.n.opts.Retry
	if retry == nil {
		v, err = call(ctx)
		if d, ok := twill.SnoozedFor(err); ok {
			return nil, &retryLater{after: d, snooze: true}
		}
		return v, err
	}
	o := *retry
	if o.MaxElapsed > 0 {
		o.MaxElapsed = max(o.MaxElapsed-a.Elapsed, 1)
	}
	o.Backoff = nth(retry.Backoff, a.Attempts)
	o.OnRetry = nil
	retryCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var later *retryLater
	o.OnPause = func(e twill.RetryEvent) {
		again := &retryLater{after: e.Delay, err: e.Err}
		e.Attempt = a.Attempts
		e.Elapsed += a.Elapsed
		if retry.OnPause != nil {
			retry.OnPause(e) // its panic fails the job
		}
		later = again
		cancel(errDecided) // the scheduler keeps the pause
	}
	var put *retryLater
	v, err = twill.Retry(retryCtx, func(ctx context.Context) (json.RawMessage, error) {
		if a.Attempts > 1 && retry.OnRetry != nil {
			retry.OnRetry(twill.RetryEvent{Attempt: a.Attempts - 1, Elapsed: a.Elapsed, Err: lastError(a.Errs)})
		}
		v, err := call(ctx)
		if d, ok := twill.SnoozedFor(err); ok {
			put = &retryLater{after: d, snooze: true}
			return nil, twill.Permanent(err)
		}
		return v, err
	}, &o)
	var failed *twill.RetryError
	switch {
	case put != nil:
		return nil, put
	case err == nil:
		return v, nil
	case later != nil && ctx.Err() == nil:
		return nil, later
	case errors.As(err, &failed):
		all := make([]error, 0, len(a.Errs)+1)
		for _, f := range a.Errs {
			all = append(all, decodeError(f))
		}
		failed.Errs = append(all, failed.Errs...)
		failed.Attempts = a.Attempts
		failed.Elapsed += a.Elapsed
	}
	return v, err
}

// errDecided ends the pause that the scheduler keeps.
var errDecided = errors.New("jetstream: the scheduler keeps the pause")

func lastError(all []*failure) error {
	if len(all) == 0 {
		return nil
	}
	return decodeError(all[len(all)-1])
}

// nth yields the n-th pause of all, if there is one.
func nth(all iter.Seq[time.Duration], n int) iter.Seq[time.Duration] {
	if all == nil {
		all = twill.EqualJitter(twill.SimpleBackoff())
	}
	return func(yield func(time.Duration) bool) {
		i := 0
		for d := range all {
			if i++; i >= n {
				yield(d)
				return
			}
		}
	}
}

// store stores the outcome of a call, unless the job has one.
func (w *worker) store(s *storing) {
	o := s.report.outcome
	got, err := w.n.st.decide(w.n.ctx, o)
	if errors.Is(err, ErrTooLarge) { // it cannot be stored: that can
		o.State, o.Value, o.Error = outFailed, nil, encodeError(err)
		got, err = w.n.st.decide(w.n.ctx, o)
	}
	if err != nil {
		if w.n.ctx.Err() == nil {
			w.n.report(err)
		}
		w.end(s.at, s.report)
	} else {
		w.stored(s, got)
	}
	w.tellSoon()
}

// stored ends an attempt whose job has the outcome got.
func (w *worker) stored(s *storing, got *outcome) {
	o := s.report.outcome
	if got != o && (got.By != w.n.id || got.Attempt != o.Attempt) {
		w.n.event(Event{Kind: OutcomeExists, Job: o.ID, Process: w.n.id})
	}
	s.report.outcome, s.report.done.Stored, s.report.done.Error = got, got.State, got.Error
	w.end(s.at, s.report)
}

// tellSoon wakes tell.
func (w *worker) tellSoon() {
	select {
	case w.more <- struct{}{}:
	default:
	}
}

// tell publishes the outcomes of calls, and reports the ends of attempts, in as
// few messages as there are, to the processes that have put the jobs and to the
// scheduler. A report that does not arrive is in the next beat.
func (w *worker) tell() {
	overdue := time.NewTicker(w.n.st.try / 2)
	defer overdue.Stop()
	for {
		select {
		case <-w.more:
		case <-overdue.C:
			w.storeOverdue()
		case <-w.n.ctx.Done():
			return
		}
		runtime.Gosched() // others may just be ending
		w.mu.Lock()
		results, all := w.results, w.ended
		w.results, w.ended = nil, nil
		w.mu.Unlock()
		w.freeSlots(results)
		w.publish(results)
		w.tellPutters(all)
		for len(all) > 0 {
			r := &request{Version: wireVersion, From: w.n.id, Op: opDone}
			for size := 0; len(all) > 0; all = all[1:] {
				if size += 256; all[0].report.Error != nil {
					size += maxFailure
				}
				if size > w.n.maxBatch && r.Done != nil {
					break
				}
				r.Done = append(r.Done, all[0].report)
			}
			w.n.tell(r)
		}
	}
}

// tellPutters sends the outcomes to the processes that have put the jobs. Those
// that do not fit into a message, as they just fit into their own, are not
// noted as sent: the scheduler tells the processes that the jobs have ended.
func (w *worker) tellPutters(all []ended) {
	told, sizes := map[string][]*ended{}, map[string]int{}
	send := func(process string) {
		m := message{Version: wireVersion}
		for _, e := range told[process] {
			m.Outcomes = append(m.Outcomes, e.outcome)
		}
		if w.n.send(process, &m) == nil {
			for _, e := range told[process] {
				e.report.Notified = true
			}
		}
		delete(told, process)
		delete(sizes, process)
	}
	for i := range all {
		e := &all[i]
		if e.from == "" {
			continue
		}
		size := (&message{Outcomes: []*outcome{e.outcome}}).size()
		if sizes[e.from] > 0 && sizes[e.from]+size > w.n.maxBatch {
			send(e.from)
		}
		told[e.from] = append(told[e.from], e)
		sizes[e.from] += size
	}
	for process := range told {
		send(process)
	}
}

// confirmed forgets the attempts whose ends the scheduler knows.
func (w *worker) confirmed(known []token) {
	if len(known) == 0 {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range known {
		if at := w.attempts[t]; at != nil && at.over {
			w.forgetLocked(t)
		}
	}
	w.checkIdleLocked()
}

// keepRecent is how many attempts are remembered that are over.
const keepRecent = 16 << 10

// forgetLocked forgets an attempt that is over, but for its token.
func (w *worker) forgetLocked(t token) {
	delete(w.attempts, t)
	w.recent[t] = true
	w.oldest = append(w.oldest, t)
	if len(w.oldest) > keepRecent {
		delete(w.recent, w.oldest[0])
		w.oldest = w.oldest[1:]
	}
}

func (w *worker) beatNow() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// beats tells the scheduler that this worker lives, until the process has left.
func (w *worker) beats() {
	lease := w.n.opts.Lease
	for w.n.ctx.Err() == nil {
		pause := lease / 4
		w.unanswered.Store(true)
		if w.beat() {
			w.unanswered.Store(false)
		} else {
			pause = lease / 16
		}
		select {
		case <-w.kick:
		case <-time.After(pause):
		case <-w.n.ctx.Done():
		}
	}
}

// watch ends the calls when the server was not reached in two thirds of the
// lease: soon the jobs belong to others. It does not use the connection, whose
// methods may hang then.
func (w *worker) watch() {
	lease := w.n.opts.Lease
	for sleep(w.n.ctx, lease/16) {
		w.mu.Lock()
		if time.Since(w.heard) > lease*2/3 {
			for _, at := range w.attempts {
				if !at.over && !at.lost {
					at.lost = true
					at.cancel(ErrLost)
				}
			}
		}
		w.mu.Unlock()
	}
}

// nextBeat is the next beat.
func (w *worker) nextBeat() *workerBeat {
	lease := w.n.opts.Lease
	b := &workerBeat{Name: w.n.opts.Name, Program: w.n.opts.Version}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.number++
	b.Number = w.number
	w.sent[b.Number] = time.Now()
	for number, at := range w.sent {
		if time.Since(at) > lease {
			delete(w.sent, number)
		}
	}
	b.Width = w.width
	if w.stopped {
		b.Width = 0
	}
	for t, at := range w.attempts {
		if at.over {
			b.Done = append(b.Done, *at.report)
		} else {
			b.Running = append(b.Running, t)
		}
	}
	return b
}

// beat reports whether the scheduler has answered.
func (w *worker) beat() bool {
	lease := w.n.opts.Lease
	b := w.nextBeat()
	began := time.Now()
	ctx, cancel := context.WithTimeout(w.n.ctx, lease/4)
	defer cancel()
	rep, err := w.n.askOnce(ctx, encode(request{Version: wireVersion, From: w.n.id, Op: opBeat, Worker: b}))
	if err != nil {
		// Without a scheduler the jobs go on. Without a server they do not.
		flush, cancel := context.WithTimeout(w.n.ctx, lease/8)
		defer cancel()
		reached := w.n.conn.FlushWithContext(flush) == nil
		w.mu.Lock()
		if reached {
			w.heard = began
		}
		w.mu.Unlock()
		return false
	}
	w.mu.Lock()
	w.heard = began
	for _, t := range rep.Lost {
		if at := w.attempts[t]; at != nil && !at.over {
			at.lost = true
			at.cancel(ErrLost)
		}
	}
	w.mu.Unlock()
	w.confirmed(rep.Known)
	return true
}

// setWidth changes how many jobs run here.
func (w *worker) setWidth(n int) {
	w.mu.Lock()
	w.width = n
	w.mu.Unlock()
	w.beatNow()
}

// stop takes no further jobs. With a cause it ends those that run, which are
// handed back. The channel is closed when none runs and the scheduler knows the
// ends of all, or there is none.
func (w *worker) stop(cause error) <-chan struct{} {
	w.mu.Lock()
	w.stopped = true
	if cause != nil {
		for _, at := range w.attempts {
			if !at.over {
				at.cancel(cause)
			}
		}
	}
	w.checkIdleLocked()
	w.mu.Unlock()
	w.beatNow()
	return w.idle
}

func (w *worker) checkIdleLocked() {
	if !w.stopped {
		return
	}
	for _, at := range w.attempts {
		if !at.over {
			return
		}
	}
	select {
	case <-w.idle:
	default:
		close(w.idle)
	}
}

// bye tells the scheduler that this worker is gone, so that its lease need not
// end.
func (w *worker) bye(ctx context.Context) {
	b := &workerBeat{Name: w.n.opts.Name, Bye: true}
	w.mu.Lock()
	for _, at := range w.attempts {
		if at.report != nil {
			b.Done = append(b.Done, *at.report)
		}
	}
	w.mu.Unlock()
	_, _ = w.n.askOnce(ctx, encode(request{Version: wireVersion, From: w.n.id, Op: opBeat, Worker: b}))
}

// attemptKey is the key of the assignment in the context of a call.
type attemptKey struct{}

// Attempt is what a call knows of its attempt; see [AttemptOf].
type Attempt struct {
	ID      string // of the job
	HandOut uint64 // grows with each time the job is handed to a worker: a token for stores that refuse an older one
	Attempt int    // the number of the call, from 1, as Retry counts
}

// AttemptOf returns the attempt to which the context of a call belongs, and
// reports whether it is one.
func AttemptOf(ctx context.Context) (Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*assignment)
	if !ok {
		return Attempt{}, false
	}
	return Attempt{ID: a.Token.ID, HandOut: a.Token.Number, Attempt: a.Attempts}, true
}
