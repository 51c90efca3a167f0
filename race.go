package twill

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// How a race ends other than by a winner.
var (
	// ErrNoFunctions is the failure of a race in which nobody takes part.
	ErrNoFunctions = errors.New("twill: no functions to race")

	// ErrLost is the cause with which the contexts of the losers end.
	ErrLost = errors.New("twill: lost the race")
)

// Race knows several ways to one result, and takes the one that is first to
// succeed: a cache, a near server and a far one, a computation. Unlike [Any] it
// starts them itself, one after the other if asked to, ends the contexts of the losers, and
// takes care of a result that comes too late. It mirrors the
// DeferredParallelCommandExecutor of txdpce.
//
// The zero value is a race without functions that starts all at once. A Race must not
// be copied after first use. Its methods may be called by several goroutines;
// a function that is registered while a race runs takes part in the next.
//
// Each function runs on a goroutine of its own. If it panics or ends that
// goroutine it has failed, with a [*PanicError] or [ErrGoexit].
type Race[A, T any] struct {
	opts RaceOptions[T]

	mu  sync.Mutex // guards the two below
	fns []func(context.Context, A) (T, error)
	won latencies
}

// RaceOptions are the settings of a [Race]. The zero value starts all functions at
// once and drops what comes too late.
type RaceOptions[T any] struct {
	// Stagger is the delay after which the next function is started if none has
	// succeeded: hedging. One is started at once when another fails. 0 starts
	// all at once.
	Stagger time.Duration

	// Percentile, if it is not 0, sets the delay to that percentile, above 0 and
	// up to 100, of the times that the last 100 functions that succeeded took, won
	// or too late, as soon as there are 10; until then it is Stagger, which must
	// not be 0 then.
	Percentile float64

	// Budget, if it is not nil, has to allow each function that is started
	// because of the delay; one that it refuses starts only when another fails,
	// and so do those after it, until then.
	Budget *Budget

	// Discard, if it is not nil, is called with each result that came too late,
	// to close or give back what it holds. It runs on the goroutine of the function
	// that was late.
	Discard func(T)
}

// NewRace returns a race without functions; opts may be nil. It panics if Stagger
// is negative, if Percentile is above 100 or below 0, and if there is a Percentile
// and no Stagger to begin with.
func NewRace[A, T any](opts *RaceOptions[T]) *Race[A, T] {
	r := new(Race[A, T])
	if opts == nil {
		return r
	}
	switch p := opts.Percentile; {
	case opts.Stagger < 0:
		panic("twill: NewRace with a negative Stagger")
	case p != 0 && !(p > 0 && p <= 100):
		panic(fmt.Sprintf("twill: NewRace with a Percentile of %v", p))
	case p != 0 && opts.Stagger == 0:
		panic("twill: NewRace with a Percentile and no Stagger to begin with")
	}
	r.opts = *opts
	return r
}

// Register adds a way to the result. Functions are started, and their failures listed, in the
// order of registration.
func (r *Race[A, T]) Register(fn func(ctx context.Context, arg A) (T, error)) {
	if fn == nil {
		panic("twill: Register with a nil function")
	}
	r.mu.Lock()
	r.fns = append(slices.Clip(r.fns), fn) // races that run keep the slice they have
	r.mu.Unlock()
}

// Len returns the number of functions.
func (r *Race[A, T]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.fns)
}

// Execute starts a race for arg and returns the future of the first success. The
// contexts of all functions end when it is decided, those of losers with [ErrLost] as the cause; it
// does not wait for losers to return. A result that still needs its
// context, such as a response whose body is to be read, is for [Race.ExecuteHeld].
//
// If all fail, the future fails with a [*RaceError]; without functions, with
// [ErrNoFunctions]. If ctx ends, or by a Cancel, it fails at once with a
// [*CanceledError], and the functions' contexts end with the cause. A ctx that has ended starts
// nothing.
func (r *Race[A, T]) Execute(ctx context.Context, arg A) *Future[T] {
	if ctx == nil {
		panic("twill: Execute with a nil context")
	}
	return race(ctx, r, arg, false, func(v T, _ context.CancelCauseFunc) T { return v })
}

// ExecuteHeld is Execute for results that need the context of the function that
// gave them: it lives until [Held.Release] is called or ctx ends.
func (r *Race[A, T]) ExecuteHeld(ctx context.Context, arg A) *Future[Held[T]] {
	if ctx == nil {
		panic("twill: ExecuteHeld with a nil context")
	}
	return race(ctx, r, arg, true, func(v T, cancel context.CancelCauseFunc) Held[T] { return Held[T]{v, cancel} })
}

// Held is a result and its hold on the context it was made with.
type Held[T any] struct {
	Value  T
	cancel context.CancelCauseFunc
}

// Release ends the context. It must be called, as the parent keeps the context
// until then; another call of it does nothing.
func (h Held[T]) Release() {
	if h.cancel != nil {
		h.cancel(nil)
	}
}

// RaceOf races fns once; see [Race.Execute].
func RaceOf[T any](ctx context.Context, fns ...func(context.Context) (T, error)) *Future[T] {
	if ctx == nil {
		panic("twill: RaceOf with a nil context")
	}
	var r Race[struct{}, T]
	for _, fn := range fns {
		if fn == nil {
			panic("twill: RaceOf with a nil function")
		}
		r.fns = append(r.fns, func(ctx context.Context, _ struct{}) (T, error) { return fn(ctx) })
	}
	return r.Execute(ctx, struct{}{})
}

// RaceError is the failure of a race that everybody lost.
type RaceError struct {
	Errs []error // of the functions, in the order of registration
}

func (e *RaceError) Error() string {
	if len(e.Errs) == 0 {
		return "twill: all functions failed"
	}
	return fmt.Sprintf("twill: all %d functions failed, the first with: %v", len(e.Errs), e.Errs[0])
}

// Unwrap returns the functions' errors.
func (e *RaceError) Unwrap() []error { return e.Errs }

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
	settle.Made(&c.f.core)
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
	left.EndsWork()
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

// latencies are the last times that something took. It is not safe for use by
// several goroutines.
type latencies struct {
	last   []time.Duration // a ring, when it is full
	next   int
	stale  int // additions since sorted was made
	sorted []time.Duration
}

const (
	keptLatencies = 100
	minLatencies  = 10
	// A percentile of a hundred moves little by a few more: it is not sorted
	// out anew for each.
	maxStale = 10
)

func (l *latencies) add(d time.Duration) {
	if len(l.last) < keptLatencies {
		l.last = append(l.last, d)
	} else {
		l.last[l.next] = d
		l.next = (l.next + 1) % keptLatencies
	}
	l.stale++
}

// percentile returns the p-th percentile by the nearest-rank method, or
// otherwise if there are too few to tell.
func (l *latencies) percentile(p float64, otherwise time.Duration) time.Duration {
	if len(l.last) < minLatencies {
		return otherwise
	}
	if l.sorted == nil || l.stale >= maxStale {
		l.sorted = append(l.sorted[:0], l.last...)
		slices.Sort(l.sorted)
		l.stale = 0
	}
	rank := int(math.Ceil(p * float64(len(l.sorted)) / 100))
	return max(1, l.sorted[max(rank, 1)-1])
}
