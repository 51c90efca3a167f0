package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// node is one process as a member of one queue: it listens, asks the scheduler,
// and is a candidate for its place.
type node struct {
	opts     *Options
	conn     *nats.Conn
	st       *streams
	id       string // of this process, on the wire
	ctx      context.Context
	end      context.CancelCauseFunc
	maxBatch int // bytes of the effects of one batch
	maxArg   int // bytes of an argument
	worker   *worker
	putter   *putter
	receive  func(*message) // what is about jobs that this process waits for
	lost     func(error)    // fails the jobs that this process waits for: streams are gone
	wake     chan struct{}  // a candidate should look now
	doubt    chan struct{}  // a stream may be missing
	began    time.Time
	running  sync.WaitGroup

	mu         sync.Mutex // guards the fields below
	subs       []*nats.Subscription
	term       term      // the latest that this process has seen
	scheduler  string    // the name of that scheduler
	heard      time.Time // when its last message arrived, zero if it has resigned
	announced  time.Time // when the last announcement of any scheduler arrived
	journalSeq uint64    // the last sequence of the journal that it has named
	inbox      uint64    // the last message of the inbox that this process has published
	inboxMade  int64
	sched      *scheduler // if it runs here
	candidate  bool
	leaving    bool                 // this process is no candidate any longer
	gone       error                // names the streams that are missing
	troubles   map[string]time.Time // when each was reported or suppressed last
}

func newNode(conn *nats.Conn, st *streams, o *Options) *node {
	n := &node{opts: o, conn: conn, st: st, lost: func(error) {}, id: nuid.Next(), wake: make(chan struct{}, 1), doubt: make(chan struct{}, 1), began: time.Now(), troubles: map[string]time.Time{}}
	n.ctx, n.end = context.WithCancelCause(context.Background())
	n.maxBatch = n.maxPayload() / 2
	n.maxArg = n.maxPayload()/2 - 8<<10
	n.putter = &putter{n: n}
	return n
}

// now is the time of day by the clock of this machine, which may be wrong or be
// set at any time: it is shown, and converts the times of day of a put.
// Everything else is measured by time.Since, which that does not change.
func (n *node) now() time.Time {
	if n.opts.clock != nil {
		return n.opts.clock()
	}
	return time.Now()
}

// maxPayload is the limit of the server, less room for headers.
func (n *node) maxPayload() int { return int(n.conn.MaxPayload()) - 4<<10 }

// start begins to listen.
func (n *node) start(ctx context.Context) error {
	made, err := n.st.info(ctx, n.st.inbox())
	if err != nil {
		return err
	}
	n.inboxMade = made.Created.UnixNano()
	handlers := map[string]nats.MsgHandler{n.st.beatSubject(): n.onAnnouncement, n.st.toSubject(n.id): n.onMessage}
	if n.worker != nil {
		handlers[n.worker.answers+"*"] = n.worker.onStored
	}
	for subject, handle := range handlers {
		sub, err := n.conn.Subscribe(subject, handle)
		if err != nil {
			return err
		}
		_ = sub.SetPendingLimits(1<<20, 256<<20)
		n.subs = append(n.subs, sub)
	}
	flush, cancel := context.WithTimeout(ctx, n.opts.Wait)
	defer cancel()
	if err := n.conn.FlushWithContext(flush); err != nil {
		return err
	}
	n.running.Go(n.watchBeats)
	n.running.Go(n.watchStreams)
	if n.candidate {
		n.running.Go(n.elect)
	}
	if n.worker != nil {
		n.running.Go(n.worker.beats)
		n.running.Go(n.worker.watch)
		n.running.Go(n.worker.tell)
	}
	return nil
}

// close ends everything at once.
func (n *node) close(cause error) {
	n.end(cause)
	n.mu.Lock()
	subs := n.subs
	n.subs = nil
	n.mu.Unlock()
	for _, sub := range subs {
		_ = sub.Unsubscribe()
	}
	n.running.Wait()
	n.st.calls.close()
}

// event gives e to the program.
func (n *node) event(e Event) {
	if n.opts.OnEvent == nil {
		return
	}
	e.Time = n.now()
	defer func() { _ = recover() }()
	n.opts.OnEvent(e)
}

// report gives an error that no call returns to the program. One that comes
// again and again is given once, until it has not come for some time.
func (n *node) report(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	const most = 100 // different errors at a time
	text, now := textOf(err), time.Now()
	quiet := max(2*n.opts.Lease, 10*time.Second)
	n.mu.Lock()
	last, known := n.troubles[text]
	if len(n.troubles) >= most {
		clear(n.troubles)
	}
	n.troubles[text] = now
	n.mu.Unlock()
	if !known || now.Sub(last) > quiet {
		n.event(Event{Kind: Trouble, Err: err, Process: n.id})
	}
}

// missingTime is for how long a stream is missing before it counts as deleted.
func (o *Options) missingTime() time.Duration { return max(o.Lease, 3*time.Second) }

// noAnswer notes that a request has found no process or stream to answer it.
func (n *node) noAnswer() {
	select {
	case n.doubt <- struct{}{}:
	default:
	}
}

// watchStreams finds out, when requests are not answered, whether the streams
// were deleted. While they are missing, the jobs that this process waits for
// fail.
func (n *node) watchStreams() {
	for {
		select {
		case <-n.doubt:
		case <-n.ctx.Done():
			return
		}
		gone := n.st.gone(n.ctx, n.opts.missingTime())
		if gone == nil {
			sleep(n.ctx, n.opts.Lease/4)
			continue
		}
		n.setGone(gone)
		n.report(gone)
		for there := false; !there; {
			go n.lost(gone) // those that have come since, too; a handler may call Close
			if !sleep(n.ctx, time.Second) {
				return
			}
			names, err := n.st.missing(n.ctx)
			there = err == nil && names == nil
		}
		n.setGone(nil)
	}
}

// setGone notes that streams are missing or, if err is nil, that they were made
// anew.
func (n *node) setGone(err error) {
	made := int64(0)
	if err == nil {
		if info, err := n.st.info(n.ctx, n.st.inbox()); err == nil {
			made = info.Created.UnixNano()
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = err
	n.setInboxLocked(made)
}

// setInboxLocked notes when the inbox was created, if that is known.
func (n *node) setInboxLocked(made int64) {
	if made != 0 && made != n.inboxMade {
		n.inboxMade, n.inbox = made, 0
	}
}

// streamsGone returns the error of streams that are missing, nil if none is
// known to be.
func (n *node) streamsGone() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.gone
}

// made is when the inbox was created.
func (n *node) made() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inboxMade
}

// onAnnouncement takes an announcement of the scheduler.
func (n *node) onAnnouncement(m *nats.Msg) {
	var a announcement
	if json.Unmarshal(m.Data, &a) != nil || a.Version > wireVersion {
		return
	}
	n.mu.Lock()
	if a.Term.before(n.term) {
		n.mu.Unlock()
		return
	}
	fresh := n.term.before(a.Term)
	n.term, n.scheduler, n.heard, n.announced = a.Term, a.Name, time.Now(), time.Now()
	if fresh {
		n.journalSeq = a.Journal
	}
	n.journalSeq = max(n.journalSeq, a.Journal)
	old := n.sched
	if a.Resigns {
		n.heard = time.Time{}
	}
	n.mu.Unlock()
	if old != nil && old.term.before(a.Term) {
		old.close(errOvertaken)
	}
	if w := n.worker; w != nil && (fresh || w.unanswered.Load()) {
		w.beatNow()
	}
	if a.Resigns {
		n.wakeUp()
	}
}

func (n *node) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// onMessage takes a message to this process.
func (n *node) onMessage(m *nats.Msg) {
	var msg message
	if err := decode(m.Data, &msg); err != nil || msg.Version > wireVersion {
		n.report(&WireError{Subject: m.Subject, Version: msg.Version, Err: err})
		return
	}
	n.take(&msg)
}

// send sends a message to a process, which may be this one: then it does not
// make the way through the server. It may be lost.
func (n *node) send(process string, m *message) error {
	if process == n.id {
		for _, a := range m.Jobs {
			a.Arg = bytes.Clone(a.Arg) // that of the scheduler stays as it is, whatever an UnmarshalJSON does
		}
		n.take(m)
		return nil
	}
	return n.conn.Publish(n.st.toSubject(process), encode(m))
}

// take takes a message to this process.
func (n *node) take(msg *message) {
	n.mu.Lock()
	stale := msg.Term.before(n.term)
	n.mu.Unlock()
	if w := n.worker; w != nil {
		w.confirmed(msg.Known)
		for _, a := range msg.Jobs {
			if a != nil && !stale {
				w.assign(a)
			}
		}
		for _, t := range msg.Cancel {
			w.cancel(t)
		}
	}
	for _, skipped := range msg.Skipped {
		n.report(fmt.Errorf("jetstream: message %d of %s was refused: %w", skipped.Seq, n.st.inbox(), decodeError(skipped.Error)))
	}
	if msg.Outcomes != nil || msg.Ended != nil || msg.Taken != nil {
		n.receive(msg)
	}
}

// tell sends a request to the scheduler that needs no answer. It may be lost.
func (n *node) tell(r *request) {
	n.mu.Lock()
	s := n.sched
	n.mu.Unlock()
	if s != nil && !s.closed.Load() {
		s.take(&nats.Msg{}, r)
		return
	}
	_ = n.conn.Publish(n.st.askSubject(), encode(r))
}

// ask asks the scheduler, until ctx ends, streams are missing or the connection
// is closed for good.
func (n *node) ask(ctx context.Context, r *request) (*reply, error) { return n.askFor(ctx, r, true) }

// askSoon is ask for a call that need not wait for a scheduler if none is to be
// expected.
func (n *node) askSoon(ctx context.Context, r *request) (*reply, error) {
	return n.askFor(ctx, r, false)
}

func (n *node) askFor(ctx context.Context, r *request, patient bool) (*reply, error) {
	r.Version, r.From = wireVersion, n.id
	n.mu.Lock()
	r.Inbox, r.Made = n.inbox, n.inboxMade
	n.mu.Unlock()
	data := encode(r)
	var last error
	for pause := range pauses(ctx) {
		rep, err := n.askOnce(ctx, data)
		if err == nil {
			if rep.Error == codeVersion {
				return nil, &WireError{Subject: n.st.askSubject(), Version: rep.Version}
			}
			return rep, nil
		}
		last = err
		if errors.Is(err, nats.ErrConnectionClosed) {
			break
		}
		if errors.Is(err, nats.ErrNoResponders) {
			n.noAnswer()
			if !patient && !n.expectsScheduler() {
				break
			}
		}
		if n.streamsGone() != nil || !pause() {
			break
		}
	}
	return nil, errors.Join(ErrNoScheduler, n.streamsGone(), last, context.Cause(ctx))
}

// expectsScheduler reports whether a process may soon become the scheduler when
// there is none. That is so if this process is a candidate, and for a lease
// after the last announcement; a process that has just begun to listen waits
// for the first one, of which there are four in a lease.
func (n *node) expectsScheduler() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.candidate && !n.leaving:
		return true
	case n.announced.IsZero():
		return time.Since(n.began) < n.opts.Lease/3
	}
	return time.Since(n.announced) < n.opts.Lease
}

// errStale is the error of an answer of a scheduler whose term is over.
var errStale = errors.New("jetstream: answer of an earlier term")

func (n *node) askOnce(ctx context.Context, data []byte) (*reply, error) {
	ctx, cancel := context.WithTimeout(ctx, max(n.opts.Lease/2, 500*time.Millisecond))
	defer cancel()
	m, err := n.st.request(ctx, &nats.Msg{Subject: n.st.askSubject(), Data: data})
	if err != nil {
		return nil, err
	}
	var rep reply
	if err := json.Unmarshal(m.Data, &rep); err != nil || rep.Version == 0 || rep.Term.Epoch == 0 {
		return nil, errReply
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if rep.Term.before(n.term) {
		return nil, errStale
	}
	return &rep, nil
}

// elect makes this process the scheduler when there is none.
func (n *node) elect() {
	lease := n.opts.Lease
	reported := ""
	for n.ctx.Err() == nil {
		if !n.vacant() {
			select {
			case <-n.wake:
			case <-time.After(lease / 8):
			case <-n.ctx.Done():
			}
			continue
		}
		// Of several candidates one is mostly first.
		if !sleep(n.ctx, rand.N(max(lease/50, time.Millisecond))) || !n.silent() {
			continue
		}
		ctx, cancel := context.WithCancel(n.ctx)
		s, err := n.takeOver(ctx)
		if err != nil {
			cancel()
			if text := textOf(err); !errors.Is(err, errOvertaken) && text != reported {
				reported = text
				n.report(err)
			}
			sleep(n.ctx, lease/8+rand.N(lease/8))
			continue
		}
		n.mu.Lock()
		leaving := n.leaving
		if n.term.before(s.term) {
			n.term, n.scheduler, n.journalSeq = s.term, n.opts.Name, s.seq
		}
		if !leaving {
			n.sched = s
		}
		n.heard = time.Now()
		n.mu.Unlock()
		if leaving {
			s.close(errResigned)
			s.announce(true)
			cancel()
			return
		}
		reported = ""
		err = s.serve()
		cancel()
		n.mu.Lock()
		n.sched = nil
		n.heard = time.Now() // the others first
		leaving = n.leaving
		n.mu.Unlock()
		n.event(Event{Kind: SchedulerEnded, Process: n.id, Term: s.term.Epoch, Err: err})
		if leaving {
			return
		}
	}
}

// silent reports whether no message of a scheduler has arrived in a third of
// the lease.
func (n *node) silent() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.leaving && time.Since(n.heard) > n.opts.Lease/3
}

// vacant reports whether there is no scheduler: none has announced itself in a
// whole lease, or in a third of it and none answers to its subject. Either may
// be wrong: the journal decides.
func (n *node) vacant() bool {
	if !n.silent() {
		return false
	}
	n.mu.Lock()
	silent := time.Since(n.heard)
	never := n.heard.IsZero()
	n.mu.Unlock()
	if silent > n.opts.Lease && !never {
		return true
	}
	ctx, cancel := context.WithTimeout(n.ctx, max(n.opts.Lease/8, 100*time.Millisecond))
	defer cancel()
	rep, err := n.askOnce(ctx, encode(request{Version: wireVersion, Op: opPing, From: n.id}))
	switch {
	case err == nil:
		n.mu.Lock()
		n.heard = time.Now()
		if n.term.before(rep.Term) {
			n.term = rep.Term
		}
		n.mu.Unlock()
		return false
	case errors.Is(err, nats.ErrNoResponders):
		return true
	case never: // it may be frozen: from now on a lease counts
		n.mu.Lock()
		n.heard = time.Now()
		n.mu.Unlock()
	}
	return false
}

// watchBeats reports it to the program when no scheduler announces itself.
func (n *node) watchBeats() {
	reported := false
	for sleep(n.ctx, n.opts.Lease/2) {
		silent := isError(n.trouble(), ErrNoScheduler)
		if silent && !reported {
			n.report(ErrNoScheduler)
		}
		if silent {
			n.noAnswer()
		}
		reported = silent
	}
}

// trouble returns why the queue does not work, nil if it does: streams are
// missing, or no scheduler has announced itself for two leases.
func (n *node) trouble() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := n.announced
	if last.IsZero() {
		last = n.began
	}
	switch {
	case n.gone != nil:
		return n.gone
	case time.Since(last) > 2*n.opts.Lease:
		return ErrNoScheduler
	}
	return nil
}

// leave ends the candidacy, and the term if the scheduler runs here.
func (n *node) leave() {
	n.mu.Lock()
	n.leaving = true
	s := n.sched
	n.mu.Unlock()
	if s != nil {
		s.resign()
		select {
		case <-s.ctx.Done():
		case <-time.After(n.opts.Lease):
		}
	}
	n.wakeUp()
}
