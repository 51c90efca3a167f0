// Package share runs at most one call at a time for each key in a cluster, and
// gives its outcome to all that wait for it. It is the part of a Pooler that
// knows nothing of types.
//
// A bucket has two kinds of keys. "k.KEY" is a lease: it names the last call
// for KEY, and the node that runs it. "r.CALL" is the decision on a call: its
// outcome, or that it was canceled or lost. The first node that writes it
// decides; it is never changed. A call is over when its decision exists; only
// then is another call claimed for the key, by a write that expects the
// revision of "k.KEY".
//
// A node joins a call by a message to the node that runs it, which decides in
// its memory, under one lock, whether the call can still be joined. A node that
// has joined says so again at each third of a lease, and is dropped if it is
// silent for a whole one.
package share

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/kv"
)

// Options are the settings of a node.
type Options struct {
	Lease    time.Duration
	Replicas int
	Memory   bool
	Encode   func(error) json.RawMessage // of the errors of functions
}

// Func is the function of a call. Its context has the token of its lease.
type Func func(ctx context.Context, token uint64) Result

// Result is what a Func returns.
type Result struct {
	Value any    // for callers on the node that has run it
	JSON  []byte // the same, for callers elsewhere
	Err   error
}

// Outcome is the end of a call for a caller: what the function has returned, if
// it ran on this node, and else how that was encoded.
type Outcome struct {
	Here   bool
	Result Result          // without Value if the function ran elsewhere
	Failed json.RawMessage // by Encode on the other node; nil if the function did not fail
}

// The states of a decision.
const (
	stateDone     = "done"     // with Value
	stateFailed   = "failed"   // with Error
	stateTooLarge = "large"    // the result was, with Size and Max
	stateCanceled = "canceled" // all callers have left
	stateLost     = "lost"     // the node that ran it has lost its lease
)

// decision is the value of "r.CALL".
type decision struct {
	Version int             `json:"v"`
	State   string          `json:"state"`
	Value   json.RawMessage `json:"value,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
	Size    int             `json:"size,omitempty"`
	Max     int             `json:"max,omitempty"`
	By      string          `json:"by"` // of one write, so that its author knows it again
}

// message is what nodes send each other, and reply.
type message struct {
	Version int       `json:"v"`
	Op      string    `json:"op"`
	Call    string    `json:"call,omitempty"`
	From    string    `json:"from,omitempty"`
	Outcome *decision `json:"outcome,omitempty"`
}

// Operations, and replies to a join.
const (
	opJoin  = "join"
	opLeave = "leave"
	opOver  = "over" // to those that have joined: the call is decided

	replyJoined  = "joined"
	replyEnding  = "ending"  // it cannot be joined, and is not decided yet
	replyOver    = "over"    // it is decided
	replyUnknown = "unknown" // this node does not run it
)

// notice is what a caller on this node learns of a call.
type notice struct {
	decision decision
	result   *Result // what the function returned, if this node has run it
	refused  bool    // the call was never made: the key has another one
	err      error   // it was never made for this reason
}

// Node is a member of the cluster.
type Node struct {
	b     *kv.Bucket
	name  string
	id    string
	lease time.Duration
	sub   *nats.Subscription

	encode func(error) json.RawMessage

	ctx   context.Context // ends with Close
	close context.CancelCauseFunc
	hard  context.Context // ends when Close no longer waits
	quit  context.CancelFunc

	mu      sync.Mutex // guards the fields below, and those of runs that say so
	runs    map[string]*run
	waits   map[string]chan notice // of callers, by call
	recent  map[string]bool        // calls that were decided here
	lastRev map[string]uint64      // of "k.KEY" after such a call
	ring    []recentCall           // to bound these two
	at      int
	closed  bool
	idle    chan struct{} // closed when there are no runs after Close
	stats   Stats
}

type recentCall struct{ id, key string }

const maxRecent = 4096

// Stats are counts since Open.
type Stats struct {
	Runs   uint64 // functions called on this node
	Joined uint64 // calls joined that ran on another node
	Lost   uint64 // leases lost by this node
}

// run is a call whose function runs on this node, or is about to.
type run struct {
	n     *Node
	id    string
	key   string
	ended chan struct{} // closed when the function has returned

	// Under the lock of the node.
	members  map[string]time.Time // nodes with callers, and the time of their last message
	refused  map[string]bool      // nodes that wait for the end
	over     bool                 // it cannot be joined
	lost     bool                 // its lease was lost
	canceled bool                 // all callers have left
	cancel   context.CancelCauseFunc
}

var errNoCallers = errors.New("jetstream: all callers have left")

// Open returns a node of the cluster called name.
func Open(ctx context.Context, conn *nats.Conn, name string, opts Options) (*Node, error) {
	if !kv.ValidName(name) {
		return nil, fmt.Errorf("jetstream: invalid name %q: letters, digits, - and _ are allowed", name)
	}
	b, err := kv.Open(ctx, conn, kv.Config{
		Name: "twill-pooler-" + name, Description: "calls of a pooler of twill",
		MaxAge: keep(opts.Lease), Replicas: opts.Replicas, Memory: opts.Memory,
	})
	if err != nil {
		return nil, err
	}
	if age := b.MaxAge(); age > 0 && age < keep(opts.Lease)/2 {
		return nil, fmt.Errorf("jetstream: bucket %s keeps keys for %v, too short for a lease of %v", b.Name(), age, opts.Lease)
	}
	n := &Node{
		b: b, name: name, id: kv.NewID(), lease: opts.Lease, encode: opts.Encode,
		runs: map[string]*run{}, waits: map[string]chan notice{}, recent: map[string]bool{}, lastRev: map[string]uint64{},
		idle: make(chan struct{}),
	}
	n.ctx, n.close = context.WithCancelCause(context.Background())
	n.hard, n.quit = context.WithCancel(context.Background())
	if n.sub, err = conn.Subscribe(n.subject(n.id), n.receive); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := conn.FlushWithContext(ctx); err != nil { // requests are to find the subscription
		_ = n.sub.Unsubscribe()
		return nil, err
	}
	return n, nil
}

// keep is how long the bucket keeps keys: much longer than any lease, and than
// a caller waits without looking.
func keep(lease time.Duration) time.Duration { return max(2*time.Minute, 20*lease) }

func (n *Node) subject(id string) string { return "twill.pooler." + n.name + "." + id }

// Stats returns the counts of the node.
func (n *Node) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

// Call returns the outcome of the call for key, which it joins, or makes with
// fn. It is called by one goroutine at a time for each key. It returns
// [context.Cause] of ctx when that ends, at once.
func (n *Node) Call(ctx context.Context, key string, fn Func) (Outcome, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.ctx, func() { cancel(context.Cause(n.ctx)) })()
	if n.ctx.Err() != nil {
		return Outcome{}, context.Cause(n.ctx)
	}
	if rev, ok := n.last(key); ok {
		if out, done, err := n.run(ctx, key, rev, fn); done || err != nil {
			return out, err
		}
	}
	for {
		e, err := kv.Retry(ctx, func(ctx context.Context) (kv.Entry, error) { return n.b.Get(ctx, "k."+key) })
		if err != nil {
			return Outcome{}, err
		}
		record, err := kv.ReadRecord(e)
		if err != nil {
			return Outcome{}, err
		}
		rev := e.Rev
		if record.Holder != "" {
			var out Outcome
			var done bool
			if out, done, rev, err = n.follow(ctx, key, e.Rev, record); done || err != nil {
				return out, err
			}
		}
		if out, done, err := n.run(ctx, key, rev, fn); done || err != nil {
			return out, err
		}
		pause(ctx, rand.N(5*time.Millisecond)) // the read may have been late
	}
}

// last returns the revision of the key after the last call, if that ran here.
func (n *Node) last(key string) (rev uint64, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rev, ok = n.lastRev[key]
	return rev, ok
}

// run makes a call on this node, if the key still has revision rev, and waits
// for its outcome. It reports whether there is one.
func (n *Node) run(ctx context.Context, key string, rev uint64, fn Func) (out Outcome, done bool, err error) {
	if before := n.lostRun(key); before != nil {
		// The function has not noticed yet that it lost its lease. It does not run
		// twice here; but the key may come to have a call elsewhere.
		select {
		case <-before.ended:
		case <-ctx.Done():
		case <-time.After(n.lease / 10):
		}
		if ctx.Err() != nil {
			return Outcome{}, false, context.Cause(ctx)
		}
		return Outcome{}, false, nil
	}
	r := &run{n: n, id: kv.NewID(), key: key, ended: make(chan struct{}), members: map[string]time.Time{n.id: {}}, refused: map[string]bool{}}
	notices, stop := n.listen(r.id)
	defer stop()
	if err := n.add(r); err != nil {
		return Outcome{}, false, err
	}
	go r.execute(context.WithoutCancel(ctx), rev, fn)
	select {
	case got := <-notices:
		out, done = got.outcome()
		return out, done, got.err
	case <-ctx.Done():
		n.leave(r.id, n.id, context.Cause(ctx))
		return Outcome{}, false, context.Cause(ctx)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// lostRun returns a call for key whose function still runs here, without a
// lease.
func (n *Node) lostRun(key string) *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, r := range n.runs {
		if r.key == key && r.lost {
			return r
		}
	}
	return nil
}

func (n *Node) add(r *run) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return context.Cause(n.ctx)
	}
	n.runs[r.id] = r
	return nil
}

// outcome is what the notice says to a caller that has joined, or not done.
func (got *notice) outcome() (out Outcome, done bool) {
	switch {
	case got.err != nil || got.refused:
		return Outcome{}, false
	case got.result != nil:
		return Outcome{Here: true, Result: *got.result}, true
	}
	return got.decision.outcome()
}

func (d *decision) outcome() (out Outcome, done bool) {
	switch d.State {
	case stateDone:
		return Outcome{Result: Result{JSON: d.Value}}, true
	case stateFailed:
		return Outcome{Failed: d.Error}, true
	case stateTooLarge:
		return Outcome{Here: true, Result: Result{Err: d.tooLarge()}}, true
	}
	return Outcome{}, false
}

func (d *decision) tooLarge() error {
	return &kv.TooLargeError{What: "result", Size: d.Size, Max: d.Max}
}

// listen returns a channel with the notice that a call is decided.
func (n *Node) listen(call string) (notices <-chan notice, stop func()) {
	ch := make(chan notice, 1)
	n.mu.Lock()
	n.waits[call] = ch
	n.mu.Unlock()
	return ch, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.waits, call)
	}
}

// deliver gives a notice to the caller on this node, if there is one.
func (n *Node) deliver(call string, got notice) {
	n.mu.Lock()
	ch := n.waits[call]
	n.mu.Unlock()
	if ch != nil {
		select {
		case ch <- got:
		default: // the first notice counts
		}
	}
}

// follow joins the call of record, which runs elsewhere, or runs here for
// callers elsewhere. It reports whether there is an outcome for this caller.
// Otherwise, without an error, the call is decided, and last is the latest
// revision that the key was seen to have with this call.
func (n *Node) follow(ctx context.Context, key string, rev uint64, record kv.Record) (out Outcome, done bool, last uint64, err error) {
	call := record.Holder
	notices, stop := n.listen(call)
	defer stop()
	joined := false
	defer func() {
		if err != nil {
			n.sendLeave(record.Owner, call)
		}
	}()
	settle := func() (Outcome, bool, uint64, error) {
		out, done, err := n.settle(ctx, call, joined)
		return out, done, rev, err
	}
	var seen kv.Observer
	seen.See(rev, time.Now())
	for {
		wait := max(min(n.lease/10, time.Second/4), time.Millisecond)
		switch n.ask(ctx, record.Owner, call) {
		case replyJoined:
			if !joined && record.Owner != n.id {
				n.countJoin()
			}
			joined, wait = true, n.lease/3
		case replyOver:
			if !joined {
				return Outcome{}, false, rev, nil
			}
			return settle()
		case replyUnknown:
			return settle()
		}
		timer := time.NewTimer(wait)
		select {
		case got := <-notices:
			timer.Stop()
			if joined {
				out, done = got.outcome()
			}
			return out, done, rev, nil
		case <-ctx.Done():
			timer.Stop()
			return Outcome{}, false, rev, context.Cause(ctx)
		case <-timer.C:
		}
		start := time.Now()
		e, err := n.b.Get(ctx, "k."+key)
		switch {
		case ctx.Err() != nil:
			return Outcome{}, false, rev, context.Cause(ctx)
		case err != nil && kv.Permanent(err):
			return Outcome{}, false, rev, err
		case err != nil:
			continue
		}
		current, err := kv.ReadRecord(e)
		if err != nil {
			return Outcome{}, false, rev, err
		}
		if current.Holder != call { // e.Rev is that of a call that may run
			return settle()
		}
		rev = e.Rev
		if seen.See(rev, start) >= record.Duration() {
			return settle()
		}
	}
}

func (n *Node) countJoin() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Joined++
}

// settle decides that the call was lost, unless it has been decided, and
// returns its outcome if the caller has joined it.
func (n *Node) settle(ctx context.Context, call string, joined bool) (out Outcome, done bool, err error) {
	d, _, err := n.decide(ctx, call, decision{State: stateLost})
	if err != nil || !joined {
		return Outcome{}, false, err
	}
	out, done = d.outcome()
	return out, done, nil
}

// errDecisionLate is a reason to try again: a decision exists and is not seen.
var errDecisionLate = errors.New("jetstream: decision is not visible yet")

// decide writes the decision on a call, if there is none, and returns the one
// there is, and whether it is this one.
func (n *Node) decide(ctx context.Context, call string, d decision) (stands decision, mine bool, err error) {
	d.Version, d.By = 1, kv.NewID()
	value, err := json.Marshal(d)
	if err != nil {
		return d, false, err
	}
	stands, err = kv.Retry(ctx, func(ctx context.Context) (decision, error) {
		_, err := n.b.Write(ctx, kv.Write{Key: "r." + call, Value: value, If: true, What: "result"})
		if !errors.Is(err, kv.ErrRefused) {
			return d, err
		}
		e, err := n.b.Get(ctx, "r."+call)
		if err != nil {
			return d, err
		}
		if !e.Exists {
			return d, errDecisionLate
		}
		var other decision
		if err := json.Unmarshal(e.Value, &other); err != nil {
			return d, fmt.Errorf("jetstream: record of a result: %w", err)
		}
		return other, nil
	})
	if err == nil {
		err = kv.CheckVersion(stands.Version)
	}
	return stands, stands.By == d.By, err
}

// ask joins a call, or says again that this node has joined it, and returns the
// reply of the node that runs it; "" if there is none.
func (n *Node) ask(ctx context.Context, owner, call string) string {
	if owner == n.id {
		return n.join(call, n.id)
	}
	if !validID(owner) {
		return replyUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, min(2*time.Second, n.lease/3))
	defer cancel()
	data, err := json.Marshal(message{Version: 1, Op: opJoin, Call: call, From: n.id})
	if err != nil {
		return ""
	}
	reply, err := n.b.Conn().RequestWithContext(ctx, n.subject(owner), data)
	if err != nil {
		return ""
	}
	var m message
	if json.Unmarshal(reply.Data, &m) != nil || m.Version != 1 || m.Call != call {
		return "" // of a stranger
	}
	switch m.Op {
	case replyJoined, replyEnding, replyOver, replyUnknown:
		return m.Op
	}
	return ""
}

// sendLeave tells the node that runs a call that this one has no caller left.
func (n *Node) sendLeave(owner, call string) {
	if owner == n.id {
		n.leave(call, n.id, errNoCallers)
		return
	}
	if validID(owner) {
		n.send(owner, message{Op: opLeave, Call: call, From: n.id})
	}
}

// send publishes a message. It is a help only: what is lost is found by reads.
func (n *Node) send(to string, m message) {
	m.Version = 1
	data, err := json.Marshal(m)
	if err != nil {
		return
	}
	if most := n.b.Conn().MaxPayload(); m.Outcome != nil && most > 0 && int64(len(data)) > most {
		m.Outcome = nil // the receiver reads it
		data, _ = json.Marshal(m)
	}
	_ = n.b.Conn().Publish(n.subject(to), data)
}

var idRegexp = regexp.MustCompile(`^[A-Z0-9]{1,64}$`)

func validID(id string) bool { return idRegexp.MatchString(id) }

// receive is called with the messages for this node, one at a time.
func (n *Node) receive(msg *nats.Msg) {
	var m message
	if json.Unmarshal(msg.Data, &m) != nil || m.Version != 1 {
		return
	}
	switch m.Op {
	case opJoin:
		if validID(m.From) && msg.Reply != "" {
			data, err := json.Marshal(message{Version: 1, Op: n.join(m.Call, m.From), Call: m.Call})
			if err == nil {
				_ = msg.Respond(data)
			}
		}
	case opLeave:
		n.leave(m.Call, m.From, errNoCallers)
	case opOver:
		if m.Outcome != nil && m.Outcome.Version == 1 {
			n.deliver(m.Call, notice{decision: *m.Outcome})
			return
		}
		go n.fetch(m.Call)
	}
}

// fetch reads the decision on a call for the caller on this node.
func (n *Node) fetch(call string) {
	n.mu.Lock()
	wanted := n.waits[call] != nil
	n.mu.Unlock()
	if !wanted {
		return
	}
	if d, _, err := n.decide(n.ctx, call, decision{State: stateLost}); err == nil {
		n.deliver(call, notice{decision: d})
	}
}

// join adds a node to a call that runs here, and returns the reply.
func (n *Node) join(call, from string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	r := n.runs[call]
	switch {
	case r == nil && n.recent[call]:
		return replyOver
	case r == nil:
		return replyUnknown
	case r.over:
		r.refused[from] = true
		return replyEnding
	}
	r.members[from] = time.Now()
	return replyJoined
}

// leave takes a node off a call that runs here. When the last one has left, the
// call is canceled.
func (n *Node) leave(call, from string, cause error) {
	n.mu.Lock()
	var cancel context.CancelCauseFunc
	if r := n.runs[call]; r != nil {
		delete(r.members, from)
		if len(r.members) == 0 && !r.over {
			r.over, r.canceled = true, true
			cancel = r.cancel
		}
	}
	n.mu.Unlock()
	if cancel != nil {
		cancel(cause)
	}
}

// expire drops nodes that were silent for a lease.
func (n *Node) expire(r *run) {
	n.mu.Lock()
	var gone []string
	for from, heard := range r.members {
		if from != n.id && time.Since(heard) > n.lease {
			gone = append(gone, from)
		}
	}
	n.mu.Unlock()
	for _, from := range gone {
		n.leave(r.id, from, errNoCallers)
	}
}

// execute claims the key, calls the function, stores its outcome, and delivers
// it.
func (r *run) execute(values context.Context, rev uint64, fn Func) {
	n := r.n
	lease, err := n.b.Claim(n.ctx, "k."+r.key, rev, kv.Record{Holder: r.id, Owner: n.id, LeaseMS: n.lease.Milliseconds()})
	if err != nil {
		close(r.ended)
		n.remove(r, 0, false)
		got := notice{refused: true}
		if kv.Permanent(err) || n.ctx.Err() != nil {
			got = notice{err: err}
		}
		n.deliver(r.id, got)
		return
	}
	ctx, cancel := context.WithCancelCause(values)
	defer cancel(nil)
	defer context.AfterFunc(lease.Context(), func() { r.leaseEnded(lease, cancel) })()
	var result Result
	if r.begin(cancel) {
		stop := every(n.lease/3, func() { n.expire(r) })
		result = protect(ctx, lease.Token(), fn)
		stop()
	}
	got := r.finish(result)
	cancel(nil)
	ctx, stop := n.decideContext(lease)
	defer stop()
	stands, mine, err := n.decide(ctx, r.id, got.decision)
	var large *kv.TooLargeError
	if errors.As(err, &large) {
		got = notice{result: &Result{Err: err}}
		stands, mine, err = n.decide(ctx, r.id, decision{State: stateTooLarge, Size: large.Size, Max: large.Max})
	}
	lease.Stop()
	if err != nil {
		stands = decision{Version: 1, State: stateLost}
	}
	if got.decision = stands; !mine {
		got.result = nil
	}
	if p := (*twill.PanicError)(nil); got.result == nil && errors.As(result.Err, &p) {
		twill.Rejected[struct{}](result.Err) // no caller gets it: it is reported
	}
	for _, to := range n.remove(r, lease.Rev(), err == nil) {
		n.send(to, message{Op: opOver, Call: r.id, Outcome: &stands})
	}
	n.deliver(r.id, got)
}

// begin reports whether the function is to be called.
func (r *run) begin(cancel context.CancelCauseFunc) bool {
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	if r.over {
		return false
	}
	r.cancel = cancel
	r.n.stats.Runs++
	return true
}

// leaseEnded ends the context of a function whose lease was lost. Its caller on
// this node goes on without it.
func (r *run) leaseEnded(lease *kv.Lease, cancel context.CancelCauseFunc) {
	if !lease.Lost() {
		return
	}
	r.n.mu.Lock()
	r.over, r.lost = true, true
	r.n.stats.Lost++
	r.n.mu.Unlock()
	cancel(kv.ErrLost)
	r.n.deliver(r.id, notice{decision: decision{Version: 1, State: stateLost}})
}

// every calls fn at each interval, until stop is called.
func every(interval time.Duration, fn func()) (stop func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				fn()
			}
		}
	}()
	return func() { close(done) }
}

// protect calls fn, and returns when it has returned. A panic is an error, and
// so is the end of its goroutine.
func protect(ctx context.Context, token uint64, fn Func) (result Result) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				result = Result{Err: &twill.PanicError{Value: p, Stack: debug.Stack()}}
			}
		}()
		result.Err = twill.ErrGoexit
		result = fn(ctx, token)
	}()
	<-done
	return result
}

// finish ends the time in which the call can be joined, as its function has
// returned, and returns what is to be decided. There is no result for callers
// that have left.
func (r *run) finish(result Result) notice {
	var encoded json.RawMessage
	if result.Err != nil {
		encoded = r.n.encode(result.Err) // calls the methods of the error
	}
	r.n.mu.Lock()
	defer r.n.mu.Unlock()
	r.over = true
	close(r.ended)
	switch {
	case r.canceled:
		return notice{decision: decision{State: stateCanceled}}
	case result.Err != nil && (r.lost || r.n.closed) || r.cancel == nil:
		// The function was interrupted, and is called elsewhere for those that stay.
		return notice{decision: decision{State: stateLost}}
	case result.Err != nil:
		return notice{decision: decision{State: stateFailed, Error: encoded}, result: &result}
	}
	return notice{decision: decision{State: stateDone, Value: result.JSON}, result: &result}
}

// decideContext bounds the attempts to store an outcome: when the lease was
// lost some time ago, other nodes decide.
func (n *Node) decideContext(lease *kv.Lease) (context.Context, func()) {
	ctx, cancel := context.WithCancel(n.hard)
	stop := context.AfterFunc(lease.Context(), func() {
		timer := time.AfterFunc(n.lease, cancel)
		context.AfterFunc(ctx, func() { timer.Stop() })
	})
	return ctx, func() {
		stop()
		cancel()
	}
}

// remove takes a call that is over off this node, and returns the other nodes
// that wait for its outcome. If it was decided, the node remembers that.
func (n *Node) remove(r *run, rev uint64, decided bool) (nodes []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.runs, r.id)
	for _, set := range []map[string]bool{r.refused, keys(r.members)} {
		for to := range set {
			if to != n.id {
				nodes = append(nodes, to)
			}
		}
	}
	if decided {
		n.rememberLocked(r, rev)
	}
	if n.closed && len(n.runs) == 0 {
		close(n.idle)
	}
	return nodes
}

func keys(members map[string]time.Time) map[string]bool {
	set := make(map[string]bool, len(members))
	for m := range members {
		set[m] = true
	}
	return set
}

func (n *Node) rememberLocked(r *run, rev uint64) {
	if len(n.ring) < maxRecent {
		n.ring = append(n.ring, recentCall{})
	}
	old := n.ring[n.at]
	delete(n.recent, old.id)
	if old.key != r.key {
		delete(n.lastRev, old.key)
	}
	n.ring[n.at] = recentCall{r.id, r.key}
	n.at = (n.at + 1) % maxRecent
	n.recent[r.id] = true
	n.lastRev[r.key] = rev
}

// Close makes calls on this node fail with [twill.ErrClosed], ends the contexts
// of functions, and waits until they have returned and their calls are decided,
// or until ctx ends.
func (n *Node) Close(ctx context.Context) error {
	n.mu.Lock()
	var cancels []context.CancelCauseFunc
	if !n.closed {
		n.closed = true
		for _, r := range n.runs {
			r.over = true
			if r.cancel != nil {
				cancels = append(cancels, r.cancel)
			}
		}
		if len(n.runs) == 0 {
			close(n.idle)
		}
	}
	n.mu.Unlock()
	n.close(twill.ErrClosed)
	for _, cancel := range cancels {
		cancel(twill.ErrClosed)
	}
	var err error
	select {
	case <-n.idle:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	n.quit()
	_ = n.sub.Unsubscribe()
	return err
}
