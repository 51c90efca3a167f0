package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
)

// The journal is a chain: each message is stored only if the last sequence of
// the stream is that of the message before, and one is in flight at a time. A
// scheduler that has taken over has added its epoch record to the chain, and
// then nothing that an earlier one sends fits.

// journal is the state that the messages of the journal add up to.
type journal struct {
	jobs     map[string]*record
	order    uint64
	inbox    uint64
	made     int64 // when that inbox was created
	config   config
	counters counters
	number   uint64 // of the last batch
	time     int64  // of the last batch

	started bool     // the first message was read
	loading bool     // the journal begins with a snapshot, of which parts are missing
	parts   int      // read
	later   []*batch // between the parts
}

// read takes the next message.
func (j *journal) read(b *batch) error {
	switch {
	case b.Version > wireVersion:
		return &WireError{Version: b.Version}
	case j.started && b.Number != j.number+1:
		return fmt.Errorf("%w: number %d after %d", ErrJournal, b.Number, j.number)
	}
	if !j.started {
		j.started = true
		j.jobs = map[string]*record{}
		switch {
		case b.Part != nil && b.Part.Index == 0:
			j.loading = true
		case b.Number != 1:
			return fmt.Errorf("%w: it begins with number %d and no snapshot", ErrJournal, b.Number)
		}
	}
	j.number, j.time = b.Number, max(j.time, b.Time)
	switch {
	case j.loading && b.Part != nil:
		if b.Part.Index == 0 {
			j.made = b.Made
		}
		return j.load(b.Part)
	case j.loading:
		j.later = append(j.later, b)
	default:
		return j.apply(b)
	}
	return nil
}

func (j *journal) load(p *part) error {
	if p.Index != j.parts {
		return fmt.Errorf("%w: part %d of a snapshot after %d", ErrJournal, p.Index, j.parts)
	}
	j.parts++
	if p.Index == 0 {
		j.order, j.inbox, j.config, j.counters = p.Order, p.Inbox, p.Config, p.Counters
	}
	for _, rec := range p.Jobs {
		j.jobs[rec.ID] = rec
	}
	if p.Last {
		j.loading = false
		for _, b := range j.later {
			if err := j.apply(b); err != nil {
				return err
			}
		}
		j.later = nil
	}
	return nil
}

func (j *journal) apply(b *batch) error {
	if b.Made != 0 && b.Made != j.made {
		j.made, j.inbox = b.Made, 0
	}
	j.inbox = max(j.inbox, b.Inbox)
	for _, data := range b.Effects {
		var e effect
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("%w: number %d: %w", ErrJournal, b.Number, err)
		}
		j.applyEffect(&e)
	}
	return nil
}

func (j *journal) applyEffect(e *effect) {
	switch {
	case e.Put != nil:
		j.counters.Put++
		j.order = max(j.order, e.Put.Order)
		j.jobs[e.Put.ID] = e.Put
	case e.Change != nil:
		if old := j.jobs[e.Change.ID]; old != nil {
			if e.Change.Arg == nil {
				e.Change.Arg = old.Arg
			}
			j.jobs[e.Change.ID] = e.Change
		}
	case e.End != nil:
		if j.jobs[e.End.ID] == nil {
			return
		}
		delete(j.jobs, e.End.ID)
		switch e.End.State {
		case twill.JobFinished:
			j.counters.Finished++
		case twill.JobFailed:
			j.counters.Failed++
		default:
			j.counters.Canceled++
		}
	case e.Joined > 0:
		j.counters.Joined += uint64(e.Joined)
	case e.Refuse > 0:
		j.counters.Refused += uint64(e.Refuse)
	case e.Retry:
		j.counters.Retries++
	case e.Snooze:
		j.counters.Snoozed++
	case e.Config != nil:
		j.config = *e.Config
	}
}

// takeOver begins a term: it adds an epoch record to the journal and replays
// the journal up to it. errOvertaken means that another process writes the
// journal.
func (n *node) takeOver(ctx context.Context) (*scheduler, error) {
	if names, err := n.st.missing(ctx); err != nil || names != nil {
		if names != nil {
			err = noStreams(names...)
		}
		return nil, err
	}
	info, err := n.st.info(ctx, n.st.journal())
	if err != nil {
		return nil, err
	}
	incarnation := info.Created.UnixNano()
	last, err := n.st.get(ctx, n.st.journal(), bySubject{n.st.journalSubject()})
	if err != nil {
		return nil, err
	}
	var before batch
	var seq uint64
	if last != nil {
		if err := json.Unmarshal(last.data, &before); err != nil || before.Version > wireVersion {
			return nil, &WireError{Subject: n.st.journalSubject(), Version: before.Version, Err: err}
		}
		seq = last.Seq
	}
	n.mu.Lock()
	lost := n.term.Journal == incarnation && seq < n.journalSeq
	n.mu.Unlock()
	if lost || last == nil && info.State.Last > 0 {
		return nil, fmt.Errorf("%w: it ends at %d, and there were messages after that", ErrJournal, max(seq, info.State.Last))
	}
	nonce := nats.NewInbox()
	b := &batch{Version: wireVersion, Number: before.Number + 1, Nonce: nonce, Epoch: &epoch{Process: n.id, Name: n.opts.Name}}
	epochSeq, err := n.st.appendTo(ctx, b, seq)
	if err != nil {
		return nil, err
	}
	s := newScheduler(n, term{incarnation, epochSeq}, nonce)
	if err := s.replay(ctx, max(info.State.First, 1), epochSeq); err != nil {
		s.close(err)
		return nil, err
	}
	return s, nil
}

// errOvertaken is the end of a term: another process has written the journal.
var errOvertaken = errors.New("jetstream: another scheduler has taken over")

// appendTo appends b to the journal behind last, and returns its sequence. It
// tries until ctx ends. An attempt whose answer is lost is read back: the
// message behind last is either b, or of another process.
func (s *streams) appendTo(ctx context.Context, b *batch, last uint64) (uint64, error) {
	data := encode(b)
	header := nats.Header{headerExpectedSeq: {strconv.FormatUint(last, 10)}}
	var failed error
	for pause := range pauses(ctx) {
		seq, err := s.publish(ctx, s.journal(), s.journalSubject(), data, header)
		if err == nil {
			return seq, nil
		}
		failed = err
		if isTooLarge(err) || errors.Is(err, nats.ErrConnectionClosed) {
			return 0, err
		}
		m, err := s.get(ctx, s.journal(), bySeq{last + 1})
		if err == nil && m != nil {
			var got batch
			if json.Unmarshal(m.data, &got) == nil && got.Nonce == b.Nonce && got.Number == b.Number {
				return m.Seq, nil
			}
			return 0, errOvertaken
		}
		if err == nil && isCode(failed, codeWrongSequence) {
			// Nothing is behind last, and yet it is not the last: the stream was made
			// anew, or its messages were purged.
			info, err := s.info(ctx, s.journal())
			if err == nil && info.State.Last != last {
				return 0, errOvertaken
			}
		}
		if !pause() {
			break
		}
	}
	return 0, errors.Join(failed, context.Cause(ctx))
}

// replay reads the journal from its first message up to the term's own epoch
// record. While it does, it announces the term and answers the candidates, so
// that none of them takes over. Other requests wait until it is done.
func (s *scheduler) replay(ctx context.Context, first, epochSeq uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var j journal
	var failed error
	reached := false
	s.seq = epochSeq
	s.journalSeq.Store(epochSeq)
	sub, err := s.n.conn.Subscribe(s.n.st.askSubject(), s.onRequest)
	if err != nil {
		return err
	}
	_ = sub.SetPendingLimits(1<<20, 256<<20)
	s.mu.Lock()
	s.sub = sub
	s.mu.Unlock()
	s.announce(false)
	go s.announces()
	err = s.n.st.follow(ctx, s.n.st.journal(), first, func(seq uint64, at time.Time, data []byte) bool {
		var b batch
		if failed = json.Unmarshal(data, &b); failed != nil {
			failed = fmt.Errorf("%w: message %d: %w", ErrJournal, seq, failed)
			return false
		}
		if failed = j.read(&b); failed != nil {
			return false
		}
		s.moved()
		if seq < epochSeq {
			return true
		}
		reached = seq == epochSeq
		s.clock, s.clockBase = time.Now(), max(at.UnixNano(), j.time)
		return false
	})
	switch {
	case failed != nil:
		return failed
	case errors.Is(err, errGap):
		if info, err := s.n.st.info(ctx, s.n.st.journal()); err != nil || info.State.First > first {
			return errPurged
		}
		return fmt.Errorf("%w: %w", ErrJournal, err)
	case !reached && err != nil:
		return err
	case !reached || j.loading:
		return fmt.Errorf("%w: the epoch record is missing", ErrJournal)
	}
	info, err := s.n.st.info(ctx, s.n.st.inbox())
	if err != nil {
		return err
	}
	s.inboxMade = info.Created.UnixNano()
	if j.made != 0 && j.made != s.inboxMade || info.State.Last < j.inbox {
		j.inbox = 0 // it is another one
	}
	s.number, s.acked, s.ticked = j.number, time.Now(), time.Now()
	s.moved()
	s.load(&j)
	s.moved()
	// What was decided while there was no scheduler, or was not in the journal
	// when the last one ended.
	since := time.Time{}
	if j.time != 0 {
		since = time.Unix(0, j.time).Add(-2 * s.n.opts.Lease)
	}
	if err := s.n.st.outcomesSince(ctx, since, s.reconcile); err != nil {
		return err
	}
	return context.Cause(s.ctx)
}

// errPurged ends a replay of messages that the last scheduler has purged since,
// behind a snapshot. The next replay begins with that.
var errPurged = errors.New("jetstream: the journal was purged during a replay")

// reconcile ends the job of o, or keeps o until the put of that job is taken.
func (s *scheduler) reconcile(o *outcome) {
	s.n.opts.delayed(stepOutcome)
	s.moved()
	if o.State == outJoined || o.State == outRefused {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.jobs[o.ID]; e != nil {
		s.endLocked(e, o, false, false)
		return
	}
	if o.State == outCanceled {
		s.early[o.ID] = o
	}
}

// serve runs the term until it ends, and returns why.
func (s *scheduler) serve() error {
	if w := s.n.worker; w != nil { // lists have it from the first answer on
		s.take(&nats.Msg{}, &request{Version: wireVersion, From: s.n.id, Op: opBeat, Worker: w.nextBeat()})
	}
	go s.takeBacklog()
	var err error
	var followers sync.WaitGroup
	followers.Go(s.followInbox)
	followers.Go(s.watchStreams)
	defer followers.Wait()
	s.announce(false)
	s.n.event(Event{Kind: SchedulerStarted, Process: s.n.id, Term: s.term.Epoch})
	pause := s.n.opts.Lease / 8
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for looked := time.Now(); ; {
		select {
		case <-s.kick:
			runtime.Gosched() // more may just be coming
		case <-tick.C:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		}
		for more := true; more; {
			resigning := s.resigning.Load()
			if time.Since(looked) >= pause/2 { // however much there is to commit
				looked = time.Now()
				s.tick()
				s.purgeInbox()
			}
			if more, err = s.commit(); err != nil {
				s.close(err)
				return err
			}
			if resigning {
				s.close(errResigned)
				s.announce(true) // when nothing is sent to this process any longer
				return errResigned
			}
		}
	}
}

// announces announces the term until it ends, however much there is to do, as
// long as it moves: a term that hangs is left to others.
func (s *scheduler) announces() {
	for sleep(s.ctx, s.n.opts.Lease/8) {
		if s.moves() {
			s.announce(false)
		}
	}
}

// moved notes that the term has made a step: it has read or written a message,
// or sent what follows from one.
func (s *scheduler) moved() { s.step.Store(int64(time.Since(s.began))) }

// moves reports whether the term has made a step within a lease.
func (s *scheduler) moves() bool {
	return time.Since(s.began)-time.Duration(s.step.Load()) < s.n.opts.Lease
}

// errResigned ends a term that another process should go on with at once.
var errResigned = errors.New("jetstream: the scheduler has resigned")

// resign ends the term when what waits is committed.
func (s *scheduler) resign() {
	s.resigning.Store(true)
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

func (s *scheduler) followInbox() {
	for s.ctx.Err() == nil {
		s.mu.Lock()
		from := s.inbox + 1
		s.mu.Unlock()
		err := s.n.st.follow(s.ctx, s.n.st.inbox(), from, func(seq uint64, at time.Time, data []byte) bool {
			s.takePuts(seq, at, data)
			return s.ctx.Err() == nil
		})
		if s.ctx.Err() != nil {
			return
		}
		if errors.Is(err, errGap) { // the operator has removed messages: their puts are lost
			if info, err := s.n.st.info(s.ctx, s.n.st.inbox()); err == nil {
				s.mu.Lock()
				s.inbox = max(s.inbox, info.State.First-1)
				s.mu.Unlock()
			}
		}
		s.n.report(err)
		sleep(s.ctx, time.Second)
	}
}

// watchStreams ends the term if streams are missing, or if the inbox is another
// one: then what was taken of it means nothing.
func (s *scheduler) watchStreams() {
	for sleep(s.ctx, s.n.opts.Lease/4) {
		if err := s.n.st.gone(s.ctx, s.n.opts.missingTime()); err != nil {
			s.close(err)
			return
		}
		if info, err := s.n.st.info(s.ctx, s.n.st.inbox()); err == nil && info.Created.UnixNano() != s.inboxMade {
			s.close(errAnotherInbox)
			return
		}
	}
}

// errAnotherInbox ends a term whose inbox was deleted and made anew.
var errAnotherInbox = errors.New("jetstream: the inbox was made anew")

// commit appends the effects that wait to the journal, and does what is to be
// done after that. It reports whether there may be more.
func (s *scheduler) commit() (more bool, err error) {
	s.mu.Lock()
	items := s.items
	s.items, s.spare = s.spare, nil
	mergeChanges(items)
	var parts []*part
	if s.snapshot == nil && s.since > snapshotAfter+2*len(s.jobs) {
		parts = s.snapshotLocked()
		s.since = 0
	}
	s.mu.Unlock()

	for left := items; len(left) > 0; {
		n, size := 0, 0
		b := &batch{Inbox: s.committed}
		for _, it := range left {
			if it.effect != nil {
				data := encode(it.effect)
				if size > 0 && size+len(data) > s.n.maxBatch {
					break
				}
				size += len(data)
				b.Effects = append(b.Effects, data)
			}
			n++
			b.Inbox = max(b.Inbox, it.inbox)
		}
		if len(b.Effects) > 0 || b.Inbox > s.committed {
			if err := s.append(b); err != nil {
				return false, err
			}
		}
		s.publishEvents(left[:n])
		for _, it := range left[:n] {
			if it.after != nil {
				s.n.opts.delayed(stepAfter)
				it.after()
				s.moved()
			}
		}
		s.sendPosted()
		left = left[n:]
	}
	if clear(items); cap(items) <= maxSpare {
		s.mu.Lock()
		s.spare = items[:0]
		s.mu.Unlock()
	}
	if parts != nil {
		s.snapshot = parts
	}
	if len(s.snapshot) > 0 {
		if err := s.appendPart(); err != nil {
			return false, err
		}
		return true, nil
	}
	if time.Since(s.acked) > s.n.opts.Lease/3 { // it lives
		if err := s.append(&batch{Inbox: s.committed}); err != nil {
			return false, err
		}
	}
	return len(items) > 0, nil
}

// maxSpare is for how many items memory is kept.
const maxSpare = 4 << 10

// mergeChanges leaves one record of each job that was put or has changed, the
// last, in the place of its first. That says no more than the journal may: a
// worker gets its jobs after the batch.
func mergeChanges(items []item) {
	last := map[string]*record{}
	for i := range items {
		switch e := items[i].effect; {
		case e == nil:
		case e.Put != nil:
			last[e.Put.ID] = e.Put
		case e.Change != nil:
			first := last[e.Change.ID]
			if first == nil {
				last[e.Change.ID] = e.Change
				continue
			}
			if e.Change.Arg == nil {
				e.Change.Arg = first.Arg
			}
			*first = *e.Change
			items[i].effect = nil
		case e.End != nil:
			delete(last, e.End.ID)
		}
	}
}

// append appends b. The term ends if that does not succeed within two thirds of
// the lease: by then another process may have taken over.
func (s *scheduler) append(b *batch) error {
	began := time.Now()
	s.n.opts.delayed(stepAppend)
	ctx, cancel := context.WithTimeout(s.ctx, s.n.opts.Lease*2/3)
	defer cancel()
	b.Version, b.Nonce, b.Time, b.Number, b.Made = wireVersion, s.nonce, s.now(), s.number+1, s.inboxMade
	seq, err := s.n.st.appendTo(ctx, b, s.seq)
	if err != nil {
		return err
	}
	s.seq, s.number, s.committed, s.acked = seq, b.Number, b.Inbox, began
	s.journalSeq.Store(seq)
	s.moved()
	s.since += len(b.Effects) + 1
	return nil
}

// purgeInbox removes the messages of the inbox that are in the journal.
func (s *scheduler) purgeInbox() {
	below := s.committed + 1
	if below <= s.purged {
		return
	}
	s.purged = below
	go func() {
		if err := s.n.st.purge(s.ctx, s.n.st.inbox(), below); err != nil && s.ctx.Err() == nil {
			s.n.report(err)
		}
	}()
}

// snapshotAfter is after how many effects a snapshot is written, beside twice
// the number of jobs.
var snapshotAfter = 20_000 // tests change it

// room is at least the number of bytes that r takes in a message. It is found
// without writing r, as this is done under the lock.
func (r *record) room() int {
	n := len(r.Arg) + textSize(r.Key) + textSize(r.Group) + (maxID+3)*len(r.Watch) + 1024
	for _, err := range r.Errs {
		n += len(appendFailure(nil, err))
	}
	return n
}

// snapshotLocked is the state as the parts of a snapshot. All effects so far
// are committed before the parts.
func (s *scheduler) snapshotLocked() []*part {
	first := &part{Order: s.order, Inbox: s.inbox, Config: s.config, Counters: s.counters}
	parts := []*part{first}
	size := 0
	last := first
	for _, e := range s.jobs {
		n := e.rec.room()
		if size > 0 && size+n > s.n.maxBatch {
			last = &part{Index: len(parts)}
			parts = append(parts, last)
			size = 0
		}
		size += n
		rec := e.rec
		last.Jobs = append(last.Jobs, &rec)
	}
	last.Last = true
	return parts
}

// appendPart appends the next part of the snapshot. After the last one, the
// journal and the inbox are purged.
func (s *scheduler) appendPart() error {
	p := s.snapshot[0]
	s.snapshot = s.snapshot[1:]
	if err := s.append(&batch{Inbox: s.committed, Part: p}); err != nil {
		return err
	}
	if p.Index == 0 {
		s.firstPart = s.seq
	}
	if !p.Last {
		return nil
	}
	s.snapshot = nil
	first := s.firstPart
	go func() {
		for pause := range pauses(s.ctx) {
			if s.n.st.purge(s.ctx, s.n.st.journal(), first) == nil || !pause() {
				return
			}
		}
	}()
	return nil
}

// announce publishes that the term lives.
func (s *scheduler) announce(resigns bool) {
	s.announceMu.Lock()
	defer s.announceMu.Unlock()
	if s.closed.Load() && !resigns {
		return
	}
	_ = s.n.conn.Publish(s.n.st.beatSubject(), encode(announcement{
		Version: wireVersion, Term: s.term, Name: s.n.opts.Name, Process: s.n.id, Journal: s.journalSeq.Load(), Resigns: resigns,
	}))
}
