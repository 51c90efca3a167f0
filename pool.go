package twill

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
	"github.com/twillgo/twill/internal/watermark"
)

// Pool is a set of futures of any types. It is not a worker pool: it knows
// which futures have not settled and when there are none left, as a graceful
// shutdown needs. Unlike [sync.Pool] it keeps nothing for later use. Unlike
// with a [sync.WaitGroup], futures may be added at any time, listed and
// canceled. Pool is the equivalent of the recipe DeferredPool.
//
// The zero value is an empty pool. A Pool must not be copied after first use.
// Its methods may be called concurrently. A pool only watches its futures: it
// handles no errors, and does not keep a future from being canceled.
type Pool struct {
	mu      sched.Mutex // guards the fields below
	opts    PoolOptions
	members map[*settle.Core]*poolMember // nil when empty, to release the memory
	order   list.List[*poolMember]       // the members, in the order of Add
	waiting list.List[*waiter[struct{}]] // wait for the pool to be empty
	closed  bool
	marks   watermark.Marks
	added   uint64
	peak    int
}

// PoolOptions are the water marks of a pool.
type PoolOptions struct {
	// OnHigh is called when the number of futures in the pool reaches High. OnLow
	// is called when the number falls to Low after that; then OnHigh may be called
	// again. If High is 0 there are no marks.
	//
	// The argument is the number at that moment. Calls never overlap. They are
	// made on a goroutine that adds or settles a future, or on a new goroutine
	// after a panic, which goes to [OnUnhandled]. The functions may call methods
	// of the pool but must not wait for each other. A nil function is not called.
	High, Low     int
	OnHigh, OnLow func(n int)
}

// PoolStats are the figures of a pool; see [Pool.Stats].
type PoolStats struct {
	Len     int             // futures in the pool
	Peak    int             // maximum of Len so far
	Added   uint64          // futures added so far
	Waiting int             // pending waits of Empty, NextEmpty and EmptyWait
	Ages    []time.Duration // time since each future was added, longest first
}

// NewPool returns a pool with water marks, or without if opts is nil, as in the
// zero value. It panics if Low is negative or High is not greater than Low,
// unless both are 0.
func NewPool(opts *PoolOptions) *Pool {
	p := new(Pool)
	if opts != nil {
		if opts.Low < 0 || opts.High <= opts.Low && (opts.High != 0 || opts.Low != 0) {
			panic("twill: NewPool: High must be greater than Low, and Low must not be negative")
		}
		p.opts = *opts
	}
	return p
}

// Add adds f to the pool until f settles. If f has settled or is in the pool
// already, Add does nothing. After Close it returns [ErrClosed].
func (p *Pool) Add(f AnyFuture) error {
	var core *settle.Core
	if f != nil {
		core = f.base()
	}
	if core == nil {
		panic("twill: Add of a nil future")
	}
	if !p.add(f, core, false) {
		return ErrClosed
	}
	return nil
}

// Len returns the number of futures in the pool.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}

// Empty returns a future that settles when the pool is empty, at once if it is
// empty now. Futures of Empty and NextEmpty settle in the order in which they
// were made.
//
// An Await that gives up does not withdraw the future: the future takes memory
// until the pool is empty or the future is canceled. To bound the wait by a
// context, as in a health check, use [Pool.EmptyWait].
func (p *Pool) Empty() *Future[struct{}] { return p.wait(true) }

// NextEmpty returns a future that settles the next time the pool becomes empty.
// If the pool is empty now, that is only after a future was added.
func (p *Pool) NextEmpty() *Future[struct{}] { return p.wait(false) }

// EmptyWait blocks until the pool is empty, or until ctx ends. In that case it
// returns [context.Cause] of ctx and leaves nothing behind.
func (p *Pool) EmptyWait(ctx context.Context) error {
	if ctx == nil {
		panic("twill: EmptyWait with a nil context")
	}
	ended := ctx.Err() != nil
	p.mu.Lock()
	if p.order.Len() == 0 {
		p.mu.Unlock()
		return nil
	}
	if ended {
		p.mu.Unlock()
		return context.Cause(ctx)
	}
	b := blockUntil[struct{}](ctx)
	p.waiting.PushBack(&b.waiter)
	p.mu.Unlock()
	_, err := b.await(p)
	b.end()
	return err
}

// CancelAll cancels every future that is in the pool now, in the order of Add,
// by calling its Cancel with cause.
func (p *Pool) CancelAll(cause error) {
	p.mu.Lock()
	all := make([]AnyFuture, 0, p.order.Len())
	for m := range p.order.All() {
		all = append(all, m.f)
	}
	p.mu.Unlock()
	each(all, func(f AnyFuture) { f.Cancel(cause) })
}

// Close makes later calls of Add return [ErrClosed]. Futures in the pool stay
// in it until they settle. A second Close does nothing.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// Stats returns the figures of the pool.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	s := PoolStats{
		Len: p.order.Len(), Peak: p.peak, Added: p.added, Waiting: p.waiting.Len(),
		Ages: make([]time.Duration, 0, p.order.Len()),
	}
	for m := range p.order.All() {
		s.Ages = append(s.Ages, now.Sub(m.added))
	}
	return s
}

// String returns the type, and how many futures are in p.
func (p *Pool) String() string {
	return printed("Pool", fmt.Sprintf("%d in the pool", p.Len()))
}

// GoString returns the text of String, for %#v.
func (p *Pool) GoString() string { return p.String() }

// LogValue returns the text of String, for package slog.
func (p *Pool) LogValue() slog.Value { return slog.StringValue(p.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (p *Pool) Format(s fmt.State, verb rune) { formatText(s, verb, p.String()) }

// wait is Empty if now is true, and NextEmpty otherwise.
func (p *Pool) wait(now bool) *Future[struct{}] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now && p.order.Len() == 0 {
		return Resolved(struct{}{})
	}
	w := new(futureWaiter[struct{}])
	w.init(p)
	p.waiting.PushBack(&w.waiter)
	return &w.f
}

// add adds f, whose core is given, to the pool, even to a closed pool if closed
// is true. It reports whether the pool is open.
func (p *Pool) add(f AnyFuture, core *settle.Core, closed bool) (open bool) {
	m := &poolMember{pool: p, f: f, core: core}
	m.link.Do = m
	p.mu.Lock()
	open = !p.closed
	if !open && !closed || p.members[core] != nil || core.Settled() {
		p.mu.Unlock()
		return open
	}
	if p.members == nil {
		p.members = make(map[*settle.Core]*poolMember)
	}
	m.added = time.Now() // with the lock held, so that the order is that of added
	p.members[core] = m
	p.order.PushBack(m)
	p.added++
	p.peak = max(p.peak, p.order.Len())
	tell := p.marks.Watch(p.order.Len(), p.opts.Low, p.opts.High)
	p.mu.Unlock()
	if tell {
		defer p.marks.Call(&p.mu, p.opts.OnHigh, p.opts.OnLow, reportPanic)
	}
	if !core.Add(&m.link, 0) {
		settle.Run(m, nil) // it has settled in the meantime
	}
	return open
}

// running is a function of GoIn in a pool. CancelAll cancels its future.
type running struct {
	AnyFuture
	returned Future[struct{}] // settles when the function has returned
}

func (r *running) base() *settle.Core { return &r.returned.core }

// enter adds the function whose future is f to the pool, and reports whether
// the pool is open.
func (p *Pool) enter(f AnyFuture) (r *running, open bool) {
	r = &running{AnyFuture: f}
	return r, p.add(r, r.base(), true)
}

// poolMember is a future in a pool.
type poolMember struct {
	list.Links[*poolMember]
	link  settle.Link
	pool  *Pool
	f     AnyFuture
	core  *settle.Core // of f
	added time.Time
}

// Fire removes the member, which may empty the pool.
func (m *poolMember) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	p := m.pool
	p.mu.Lock()
	delete(p.members, m.core)
	p.order.Remove(m)
	var ready []*waiter[struct{}]
	if p.order.Len() == 0 {
		p.members = nil
		for w, ok := p.waiting.PopFront(); ok; w, ok = p.waiting.PopFront() {
			ready = append(ready, w)
		}
	}
	tell := p.marks.Watch(p.order.Len(), p.opts.Low, p.opts.High)
	p.mu.Unlock()
	m.f, m.core = nil, nil
	if tell { // runs last, and even if a handler ends the goroutine
		defer p.marks.Call(&p.mu, p.opts.OnHigh, p.opts.OnLow, reportPanic)
	}
	each(ready, func(w *waiter[struct{}]) { w.serve(nil, struct{}{}) })
	return nil, nil
}

// Abort does nothing: a handler that ended the goroutine has failed its own
// future.
func (m *poolMember) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source returns nil: no cancel passes through a pool.
func (m *poolMember) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (m *poolMember) Owner() *settle.Core { return nil }

// leave takes a wait for the pool to be empty out of the line.
func (p *Pool) leave(w *waiter[struct{}]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.Remove(w)
}
