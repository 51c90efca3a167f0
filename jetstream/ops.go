package jetstream

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// deferredRequest waits until the scheduler has taken a message of the inbox.
type deferredRequest struct {
	inbox uint64
	run   func() // with mu
}

func (s *scheduler) runDeferredLocked() {
	s.deferred = slices.DeleteFunc(s.deferred, func(d deferredRequest) bool {
		if d.inbox > s.inbox {
			return false
		}
		d.run()
		return true
	})
}

// onRequest answers a request. It is called by one goroutine. After a burst of
// requests, what this process has to know at once does not wait for them: that
// a candidate asks whether the scheduler lives, and that a worker does.
func (s *scheduler) onRequest(m *nats.Msg) {
	if s.closed.Load() {
		return
	}
	var r request
	err := decode(m.Data, &r)
	switch {
	case err == nil && r.Version > wireVersion:
		s.respond(m, reply{Error: codeVersion})
		return
	case err != nil || r.From != "" && !isID(r.From) || r.From == "" && r.Op == opBeat:
		s.respond(m, reply{Error: codeRequest})
		s.n.report(&WireError{Subject: s.n.st.askSubject(), Version: r.Version, Err: cmp.Or(err, errProcess)})
		return
	case r.Op == opPing:
		if s.moves() {
			s.respond(m, reply{})
		}
		return
	}
	behind := false
	if m.Sub != nil {
		left, _, err := m.Sub.Pending()
		behind = err == nil && left > inTime
	}
	s.backlogMu.Lock()
	if !s.backlogged && !behind {
		s.backlogMu.Unlock()
		s.take(m, &r)
		return
	}
	defer s.backlogMu.Unlock()
	if r.Op == opBeat {
		a := arrival{at: time.Now()}
		if r.Worker != nil {
			a.number = r.Worker.Number
		}
		s.arrived[r.From] = a
	}
	if len(s.backlog) < maxBacklog { // else the process asks again
		s.backlog = append(s.backlog, asked{m, &r})
	}
	if !s.backlogged {
		s.backlogged = true
		go s.takeBacklog()
	}
}

const (
	inTime     = 64      // how many requests may wait for the goroutine that receives them
	maxBacklog = 1 << 20 // requests
)

// asked is a request that waits.
type asked struct {
	m *nats.Msg
	r *request
}

// errProcess is the error of a request whose process has no valid id.
var errProcess = errors.New("jetstream: request without the id of a process")

// takeBacklog takes the requests that wait until there are none.
func (s *scheduler) takeBacklog() {
	for {
		s.backlogMu.Lock()
		some := s.backlog
		s.backlog = nil
		s.backlogged = some != nil
		s.backlogMu.Unlock()
		if some == nil {
			return
		}
		for _, a := range some {
			s.take(a.m, a.r)
		}
	}
}

// take takes the request r, whose message is m.
func (s *scheduler) take(m *nats.Msg, r *request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return
	}
	s.n.opts.delayed(stepRequest)
	if r.Inbox > s.inbox && r.Made == s.inboxMade {
		s.deferred = append(s.deferred, deferredRequest{r.Inbox, func() { s.requestLocked(m, r) }})
		return
	}
	s.requestLocked(m, r)
}

func (s *scheduler) respond(m *nats.Msg, r reply) {
	if m.Reply == "" || s.closed.Load() {
		return
	}
	r.Version, r.Term = wireVersion, s.term
	data := encode(r)
	if len(data) > s.n.maxPayload() {
		data = encode(reply{Version: wireVersion, Term: s.term, Error: "the answer is too large"})
	}
	_ = s.n.conn.Publish(m.Reply, data)
}

func (s *scheduler) requestLocked(m *nats.Msg, r *request) {
	now := func(r reply) { s.respond(m, r) }
	committed := func(r reply) { s.afterLocked(func() { s.respond(m, r) }) }
	switch r.Op {
	case opBeat:
		if r.Worker == nil {
			return
		}
		lost, known := s.beatLocked(r.From, r.Worker)
		committed(reply{Lost: lost, Known: known})
	case opDone:
		known := s.allDoneLocked(r.Done)
		if m.Reply != "" {
			committed(reply{Known: known})
			return
		}
		s.afterLocked(func() { s.post(r.From, message{Known: known}) })
	case opEnded:
		if e := s.jobs[r.ID]; e != nil {
			s.endLocked(e, &outcome{ID: r.ID, State: r.State}, false, false)
		}
		committed(reply{})
	case opStatus:
		rep := reply{Inbox: s.inbox, Created: s.inboxMade}
		for _, id := range r.IDs {
			if s.jobs[id] == nil {
				rep.Gone = append(rep.Gone, id)
			}
			if !isID(id) {
				rep.Invalid = append(rep.Invalid, id)
			}
		}
		committed(rep)
	case opJob:
		s.jobLocked(r, now)
	case opList:
		now(reply{Records: s.listLocked(r)})
	case opStats:
		now(reply{Stats: s.statsLocked()})
	case opWidth, opRate, opPause, opResume, opGroup, opGroups:
		committed(s.configureLocked(r))
	case opPrio, opRelease:
		committed(s.steerLocked(r))
	case opClear:
		s.clearLocked(now)
	case opAwait:
		s.awaitLocked(r, now)
	case opWhy:
		s.whyLocked(r, now)
	case opEvents:
		s.eventsUntil = time.Now().Add(s.n.opts.Lease)
		now(reply{})
	case opAgain:
		i := slices.IndexFunc(s.ended, func(d *endedJob) bool { return d.rec.ID == r.ID })
		if i < 0 {
			now(reply{Error: codeUnknown})
			return
		}
		now(reply{Record: s.viewEnded(s.ended[i], true)})
	default:
		now(reply{Error: codeOp})
	}
}

func (s *scheduler) jobLocked(r *request, answer func(reply)) {
	e := s.jobs[r.ID]
	if r.Key != "" {
		e = nil
		if job, ok := s.rq.Find(r.Key); ok {
			e = s.byJob[job]
		}
	}
	if e != nil {
		answer(reply{Record: s.viewLocked(e, true)})
		return
	}
	for _, d := range slices.Backward(s.ended) {
		if r.ID != "" && d.rec.ID == r.ID {
			answer(reply{Record: s.viewEnded(d, true)})
			return
		}
	}
	answer(reply{Error: codeUnknown})
}

// viewLocked is e as lists show it.
func (s *scheduler) viewLocked(e *entry, arg bool) *jobView {
	v := s.view(&e.rec, arg)
	if e.w != nil {
		v.State, v.Worker = twill.JobUnderway, e.w.name
	}
	if e.over {
		v.State = twill.JobCanceled
	}
	if !e.called.IsZero() {
		v.Start = max(time.Since(e.called), 1)
	}
	return v
}

func (s *scheduler) view(rec *record, arg bool) *jobView {
	v := &jobView{Record: *rec}
	if !arg {
		v.Record.Arg = nil
	}
	since := func(t int64) time.Duration {
		if t == 0 {
			return 0
		}
		return nonZero(time.Duration(s.now() - t))
	}
	v.Queued, v.Due, v.Expire = since(rec.Queued), since(rec.Due), since(rec.Expires)
	return v
}

// nonZero keeps a duration from meaning none.
func nonZero(d time.Duration) time.Duration {
	if d == 0 {
		return 1
	}
	return d
}

func (s *scheduler) viewEnded(d *endedJob, arg bool) *jobView {
	v := s.view(&d.rec, arg)
	v.State, v.Error, v.End = d.state, d.err, nonZero(time.Since(d.at))
	if !d.called.IsZero() {
		v.Start = nonZero(time.Since(d.called))
	}
	return v
}

// listLocked is a page of a list, as much of it as fits into an answer.
func (s *scheduler) listLocked(r *request) (views []jobView) {
	n := min(max(r.N, 0), 1000)
	size := 0
	add := func(v *jobView) bool {
		size += len(v.Record.Arg) + 1024
		if len(views) > 0 && size > s.n.maxBatch {
			return false
		}
		views = append(views, *v)
		return len(views) < n
	}
	if n == 0 {
		return nil
	}
	switch r.State {
	case "pending":
		for _, job := range s.rq.PendingPage(max(r.First, 0), n) {
			e := s.byJob[job]
			if e == nil { // it has just ended
				e = &entry{rec: record{Arg: job.Arg(), Priority: job.Priority()}}
			}
			if !add(s.viewLocked(e, true)) {
				break
			}
		}
	case "underway":
		all := make([]*entry, 0, len(s.attempts))
		for _, e := range s.attempts {
			all = append(all, e)
		}
		slices.SortFunc(all, func(a, b *entry) int { return a.called.Compare(b.called) })
		for _, e := range all[min(max(r.First, 0), len(all)):] {
			if !add(s.viewLocked(e, true)) {
				break
			}
		}
	case "ended":
		for i := len(s.ended) - 1 - max(r.First, 0); i >= 0; i-- {
			if !add(s.viewEnded(s.ended[i], true)) {
				break
			}
		}
	}
	return views
}

func (s *scheduler) statsLocked() *wireStats {
	d := s.rq.Stats()
	_, pending := s.rq.Size()
	w := &wireStats{
		Width: s.configuredWidth(), Paused: s.config.Paused, Rate: s.config.Rate, Underway: len(s.attempts), Pending: pending, Delayed: d.Delayed, Grouped: d.Grouped,
		Counters: s.counters, Throughput: d.Throughput, Waiting: classes(s.waiting), Running: classes(s.running), RateError: d.RateError,
		Scheduler: s.n.opts.Name, Process: s.n.id, Journal: s.journalSeq.Load(),
	}
	if !d.NextSince.IsZero() {
		w.Next = int64(nonZero(time.Since(d.NextSince)))
	}
	if !d.RateHeldSince.IsZero() {
		w.RateHeld = int64(nonZero(time.Since(d.RateHeldSince)))
	}
	if !d.RateFailingSince.IsZero() {
		w.RateFails = int64(nonZero(time.Since(d.RateFailingSince)))
	}
	for _, state := range s.workers {
		w.Workers = append(w.Workers, workerView{state.id, state.name, state.program, state.width, state.running, time.Since(state.beat)})
		if len(w.Workers) == maxWorkersShown {
			break
		}
	}
	return w
}

// maxWorkersShown bounds an answer.
const maxWorkersShown = 1000

// classes is a histogram on the wire.
func classes(h twill.Histogram) (all [][2]int64) {
	for to, n := range h.Buckets() {
		if n > 0 {
			all = append(all, [2]int64{int64(to), int64(n)})
		}
	}
	return all
}

// configureLocked changes the settings of the whole queue.
func (s *scheduler) configureLocked(r *request) (rep reply) {
	c := s.config
	switch r.Op {
	case opWidth:
		if r.N < 0 {
			return reply{Error: codeNegative}
		}
		c.Width = &r.N
	case opRate:
		if r.Rate == nil || r.Rate.check() != nil {
			return reply{Error: codeOp}
		}
		c.Rate = r.Rate
	case opPause:
		c.Paused = true
	case opResume:
		if r.Set {
			if r.N < 0 {
				return reply{Error: codeNegative}
			}
			c.Width = &r.N
		}
		c.Paused = false
	case opGroup, opGroups:
		if r.Limit == nil {
			return reply{Error: codeOp}
		}
		err := s.rq.SetGroupLimits(*r.Limit)
		if r.Op == opGroup {
			_ = s.rq.SetGroupLimits(s.groupLimit())
			err = s.rq.SetGroupLimit(r.Key, *r.Limit)
		}
		if err != nil {
			return reply{Error: err.Error()}
		}
		if r.Op == opGroups {
			c.Others = r.Limit
			break
		}
		groups := map[string]twill.GroupLimit{r.Key: *r.Limit}
		for group, limit := range c.Groups {
			if group != r.Key {
				groups[group] = limit
			}
		}
		c.Groups = groups
	}
	s.config = c
	s.emitLocked(effect{Config: &c}, nil)
	if r.Op == opRate {
		s.setRateLocked(true)
	}
	s.fitWidthLocked()
	if kind, ok := configEvents[r.Op]; ok {
		s.eventLocked(kind, nil, nil)
	}
	if c.Paused != s.rq.Paused() {
		if c.Paused {
			s.rq.Pause()
		} else {
			_ = s.rq.Resume()
		}
	}
	return reply{Done: true}
}

// configEvents are the events of changes of settings.
var configEvents = map[string]twill.EventKind{
	opWidth: twill.EventWidth, opRate: twill.EventRate, opPause: twill.EventPaused, opResume: twill.EventResumed,
	opGroup: twill.EventGroup, opGroups: twill.EventGroup,
}

// steerLocked changes one job.
func (s *scheduler) steerLocked(r *request) reply {
	e := s.jobs[r.ID]
	if e == nil || e.w != nil {
		return reply{Error: codeNotPending}
	}
	if r.Op == opPrio {
		if err := s.rq.Reprioritize(e.job, r.N); err != nil {
			return reply{Error: codeNotPending}
		}
		e.rec.Priority = r.N
		s.changedLocked(e, false, nil)
		s.eventLocked(twill.EventReprioritized, e, nil)
		return reply{Done: true}
	}
	if !e.rec.Held {
		return reply{}
	}
	e.rec.Held = false
	if e.farDue {
		old := e.job
		delete(s.byJob, old)
		old.Cancel(nil) // its place is that of the job restored now
		e.farDue = false
		s.restoreLocked([]*entry{e})
	} else {
		e.job.Release()
	}
	s.changedLocked(e, false, nil)
	return reply{Done: true}
}

// clearLocked cancels what is pending. Each job that has another outcome ends
// with that.
func (s *scheduler) clearLocked(answer func(reply)) {
	n := s.rq.Clear()
	var all []*entry
	for job, e := range s.byJob {
		if !e.over && e.w == nil && job.State() == twill.JobCanceled {
			all = append(all, e)
		}
	}
	go func() {
		var wg sync.WaitGroup
		slots := make(chan struct{}, 64)
		for _, e := range all {
			slots <- struct{}{}
			wg.Go(func() {
				s.decide(e, &outcome{State: outCanceled, Error: encodeError(&twill.CanceledError{})})
				<-slots
			})
		}
		wg.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.afterLocked(func() { answer(reply{N: n, Done: true}) })
	}()
}

// awaitLocked answers when a future of the root's queue settles, or after a
// while: then the process asks again.
func (s *scheduler) awaitLocked(r *request, answer func(reply)) {
	var f *twill.Future[struct{}]
	switch r.State {
	case "empty":
		f = s.rq.Empty()
	case "idle":
		f = s.rq.NoneUnderway()
	case "below":
		f = s.rq.PendingBelow(r.N)
	case "paused":
		if !s.config.Paused {
			answer(reply{Error: codeResumed})
			return
		}
		f = s.rq.Pause()
	default:
		answer(reply{Error: codeOp})
		return
	}
	var once sync.Once
	timer := time.AfterFunc(s.n.opts.Lease/4, func() {
		once.Do(func() { answer(reply{}) })
		f.Cancel(nil)
	})
	f.OnSettled(func(_ struct{}, err error) {
		timer.Stop()
		rep := reply{Done: err == nil}
		if isError(err, twill.ErrResumed) {
			rep.Error = codeResumed
		}
		once.Do(func() { answer(rep) })
	})
	f.Catch(func(error) (struct{}, error) { return struct{}{}, nil })
}

func (s *scheduler) whyLocked(r *request, answer func(reply)) {
	e := s.jobs[r.ID]
	if e == nil || e.w != nil {
		answer(reply{Reason: twill.WaitNone.String()})
		return
	}
	reason, until := s.rq.Why(e.job)
	if e.rec.Held {
		reason, until = twill.WaitHeld, time.Time{}
	}
	rep := reply{Reason: reason.String()}
	if !until.IsZero() {
		rep.Until = int64(nonZero(time.Until(until)))
	}
	answer(rep)
}
