package twill

import (
	"context"
	"time"

	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// contest is one run of a Race. Whoever sets over decides it: the first to
// succeed, the last to fail, or a cancel.
type contest[A, T, R any] struct {
	f    *Future[R] // apart, as it may be kept for long, but the rest need not
	link settle.Link
	r    *Race[A, T]
	arg  A
	fns  []func(context.Context, A) (T, error)
	ctx  context.Context
	held bool // the winner's context outlives the contest
	wrap func(T, context.CancelCauseFunc) R

	shared context.Context // of all functions, unless held
	cancel context.CancelCauseFunc
	stop   func() bool // ends the watch on ctx
	delay  time.Duration

	mu      sched.Mutex               // guards all below
	cancels []context.CancelCauseFunc // one for each function started, if held
	errs    []error
	started int
	failed  int
	over    bool
	timer   *time.Timer
}

func race[A, T, R any](ctx context.Context, r *Race[A, T], arg A, held bool, wrap func(T, context.CancelCauseFunc) R) *Future[R] {
	r.mu.Lock()
	fns, delay := r.fns, r.opts.Stagger
	if r.opts.Percentile > 0 {
		delay = r.won.percentile(r.opts.Percentile, delay)
	}
	r.mu.Unlock()
	switch {
	case len(fns) == 0:
		return Rejected[R](ErrNoFunctions)
	case ctx.Err() != nil:
		return Rejected[R](&CanceledError{context.Cause(ctx)})
	}
	c := &contest[A, T, R]{
		f: new(Future[R]), r: r, arg: arg, fns: fns, ctx: ctx, held: held, wrap: wrap, delay: delay,
		errs: make([]error, len(fns)),
	}
	made(&c.f.core)
	c.link.Do = c
	c.f.core.SetUp(&c.link)
	if !held {
		c.shared, c.cancel = context.WithCancelCause(ctx)
	}
	c.mu.Lock()
	if ctx.Done() != nil {
		c.stop = context.AfterFunc(ctx, func() { c.f.Cancel(context.Cause(ctx)) })
	}
	n := len(fns)
	if delay > 0 {
		n = 1
	}
	for range n {
		c.start()
	}
	if c.started < len(fns) {
		c.timer = time.AfterFunc(delay, c.hedge)
	}
	c.mu.Unlock()
	return c.f
}

// start starts the next function; the lock must be held.
func (c *contest[A, T, R]) start() {
	ctx := c.shared
	if c.held {
		var cancel context.CancelCauseFunc
		ctx, cancel = context.WithCancelCause(c.ctx)
		c.cancels = append(c.cancels, cancel)
	}
	i := c.started
	c.started++
	go c.run(ctx, i)
}

// hedge starts the next function because the delay is over.
func (c *contest[A, T, R]) hedge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over || c.started == len(c.fns) {
		return
	}
	if b := c.r.opts.Budget; b != nil && !b.allow() {
		return // nor is it asked again until somebody fails: the delay may be very short
	}
	c.start()
	if c.started < len(c.fns) {
		c.timer.Reset(c.delay)
	}
}

// run is the goroutine of one function.
func (c *contest[A, T, R]) run(ctx context.Context, i int) {
	returned := false
	defer func() {
		if !returned {
			c.lose(i, caught(recover()))
		}
	}()
	begin := time.Time{}
	if c.r.opts.Percentile > 0 {
		begin = time.Now()
	}
	v, err := c.fns[i](ctx, c.arg)
	returned = true
	if err != nil {
		c.lose(i, err)
		return
	}
	if !begin.IsZero() {
		took := time.Since(begin)
		c.r.mu.Lock()
		c.r.won.add(took)
		c.r.mu.Unlock()
	}
	if !c.win(i, v) {
		c.discard(i, v)
	}
}

// decide reports whether the caller is the one that decides the contest.
func (c *contest[A, T, R]) decide() bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over = true
	stop, timer := c.stop, c.timer
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	if timer != nil {
		timer.Stop()
	}
	return true
}

// release ends the contexts of a contest that is decided, but not that of the
// winner if it is held: it returns what ends that one.
func (c *contest[A, T, R]) release(cause error, winner int) (own context.CancelCauseFunc) {
	if !c.held {
		c.cancel(cause)
		return nil
	}
	for i, cancel := range c.cancels {
		if i == winner {
			own = cancel
		} else {
			cancel(cause)
		}
	}
	return own
}

const nobody = -1

// win settles the contest with v, unless it is over.
func (c *contest[A, T, R]) win(i int, v T) bool {
	if !c.decide() {
		return false
	}
	if b := c.r.opts.Budget; b != nil {
		b.earn()
	}
	return c.f.settle(c.wrap(v, c.release(ErrLost, i)), nil)
}

// lose notes a failure: the next one's turn comes, or the end.
func (c *contest[A, T, R]) lose(i int, err error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		if p, ok := err.(*PanicError); ok {
			report(p) // as for Go: the future cannot tell of it
		}
		return
	}
	c.errs[i] = err
	c.failed++
	if c.started < len(c.fns) {
		c.start()
		if c.started < len(c.fns) {
			c.timer.Reset(c.delay)
		}
		c.mu.Unlock()
		return
	}
	last := c.failed == len(c.fns)
	c.mu.Unlock()
	if !last || !c.decide() {
		return
	}
	c.release(nil, nobody)
	var none R
	if c.ctx.Err() != nil { // the reason, whoever noticed it first
		c.f.settle(none, canceled(context.Cause(c.ctx)))
		return
	}
	c.f.settle(none, settle.NewFailure(&RaceError{c.errs}))
}

// discard takes care of a result that came too late.
func (c *contest[A, T, R]) discard(i int, v T) {
	if c.held {
		c.mu.Lock()
		cancel := c.cancels[i]
		c.mu.Unlock()
		defer cancel(ErrLost)
	}
	if c.r.opts.Discard == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			report(caught(p))
		}
	}()
	c.r.opts.Discard(v)
}

// Fire ends the contest by a cancel.
func (c *contest[A, T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	decided := c.decide()
	core, list := settleFailed(&c.f.core, left)
	if decided {
		c.release(causeOf(left.Err), nobody)
	}
	return core, list
}

// Source is nil: a contest is cancelled itself.
func (c *contest[A, T, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Abort is not called: Fire runs no user code.
func (c *contest[A, T, R]) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&c.f.core, settle.NewFailure(err))
}
