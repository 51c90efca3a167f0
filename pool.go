package twill

import (
	"time"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
	"github.com/twillgo/twill/internal/watermark"
)

// Pool is the set of futures, of any types, that are still in flight, and says
// when it is empty: the piece for a graceful shutdown. Unlike [sync.Pool], it
// keeps nothing for later use; unlike a [sync.WaitGroup], it may be added to at any
// time, be asked what is in it, and cancel it. It mirrors DeferredPool.
//
// The zero value is an empty pool. A Pool must not be copied after first use. All
// methods may be called from any goroutine. A pool only watches: it takes no
// errors, and being in it keeps no future from being cancelled.
type Pool struct {
	mu      sched.Mutex // guards all below
	opts    PoolOptions
	members map[*settle.Core]*poolMember // nil when empty, to give the memory back
	order   list.List[*poolMember]       // the same, in the order of adding
	waiting list.List[*waiter[struct{}]] // for the pool to be empty
	closed  bool
	marks   watermark.Marks
	added   uint64
	peak    int
}

// PoolOptions are the water marks of a pool.
type PoolOptions struct {
	// OnHigh is called when the number of futures in the pool reaches High,
	// OnLow when it is down to Low after that; then OnHigh may be called again. They get the
	// number at that moment and are called in turn, never two at a time, on a
	// goroutine that adds or settles a future, or a fresh one after a panic, which goes to
	// [OnUnhandled]. They may call the pool, but not wait for each other. A nil function is not called.
	High, Low     int
	OnHigh, OnLow func(n int)
}

// PoolStats is what [Pool.Stats] tells.
type PoolStats struct {
	Len     int             // futures in the pool
	Peak    int             // the most there ever were
	Added   uint64          // futures that were ever in it
	Waiting int             // futures of Empty and NextEmpty that wait
	Ages    []time.Duration // time since each was added, longest first
}

// NewPool returns a pool with water marks; nil is none. It panics if High is
// not above Low or Low is negative.
func NewPool(opts *PoolOptions) *Pool {
	p := new(Pool)
	if opts != nil {
		if opts.Low < 0 || opts.High <= opts.Low {
			panic("twill: NewPool: the high mark must be above the low one, and that not negative")
		}
		p.opts = *opts
	}
	return p
}

// Add puts f into the pool until it settles. A future that is settled already,
// or in the pool already, changes nothing. After Close it returns [ErrClosed].
func (p *Pool) Add(f AnyFuture) error {
	var core *settle.Core
	if f != nil {
		core = f.base()
	}
	if core == nil {
		panic("twill: Add of a nil future")
	}
	m := &poolMember{pool: p, f: f, core: core}
	m.link.Do = m
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return ErrClosed
	}
	if p.members[core] != nil || core.Settled() {
		p.mu.Unlock()
		return nil
	}
	if p.members == nil {
		p.members = make(map[*settle.Core]*poolMember)
	}
	m.added = time.Now() // in the order of adding
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
		settle.Run(m, nil) // it settled meanwhile
	}
	return nil
}

// Len returns the number of futures in the pool.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.order.Len()
}

// Empty returns a future that settles when the pool is empty: at once if it is
// so now. It may be asked again and again; futures of Empty and NextEmpty settle
// in the order in which they were asked for.
func (p *Pool) Empty() *Future[struct{}] { return p.wait(true) }

// NextEmpty returns a future that settles the next time the pool becomes empty:
// if it is empty now, only after something was in it.
func (p *Pool) NextEmpty() *Future[struct{}] { return p.wait(false) }

func (p *Pool) wait(now bool) *Future[struct{}] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now && p.order.Len() == 0 {
		return Resolved(struct{}{})
	}
	w := new(waiter[struct{}])
	w.init(p)
	p.waiting.PushBack(w)
	return &w.f
}

// CancelAll cancels every future that is in the pool now, in the order of
// adding, each by its own Cancel(cause).
func (p *Pool) CancelAll(cause error) {
	p.mu.Lock()
	all := make([]AnyFuture, 0, p.order.Len())
	for m := range p.order.All() {
		all = append(all, m.f)
	}
	p.mu.Unlock()
	each(all, func(f AnyFuture) { f.Cancel(cause) })
}

// Close has later calls of Add return [ErrClosed]. What is in the pool stays
// there until it settles. Close may be called again.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
}

// Stats tells how the pool is doing.
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

// poolMember is a future in a pool.
type poolMember struct {
	list.Links[*poolMember]
	link  settle.Link
	pool  *Pool
	f     AnyFuture
	core  *settle.Core // of f
	added time.Time
}

// Fire takes the member out, which may empty the pool.
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
	if tell { // last, and also if a handler ends the goroutine
		defer p.marks.Call(&p.mu, p.opts.OnHigh, p.opts.OnLow, reportPanic)
	}
	each(ready, func(w *waiter[struct{}]) { w.serve(nil, struct{}{}) })
	return nil, nil
}

// Abort has nothing to do: a handler that ended the goroutine has failed its
// own future.
func (m *poolMember) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source is nil: nothing is cancelled by way of a pool.
func (m *poolMember) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// leave takes a future of Empty or NextEmpty out of the line.
func (p *Pool) leave(w *waiter[struct{}]) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting.Remove(w)
}

func (p *Pool) target(w *waiter[struct{}]) *Future[struct{}] { return &w.f }
