package twill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/twillgo/twill/internal/lazyctx"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// The cancellation causes with which a [Race] ends the contexts of its
// functions.
var (
	// ErrLost is the cause for the losers.
	ErrLost = errors.New("twill: lost the race")

	// ErrWon is the cause for the winner, once its result was delivered.
	// Results that still need their context are for [Race.ExecuteHeld].
	ErrWon = errors.New("twill: won the race, use ExecuteHeld to keep the context")
)

// Race is a set of functions for the same result, and takes the result of the
// first function that succeeds: a cache, a near server and a far one, a
// computation. Unlike [Any] it starts the functions itself, one after another
// if a Stagger is set, ends the contexts of the losers, and releases results
// that arrive too late. [NewRace] makes a race with options, and [RaceOf] races
// functions once. Race is the equivalent of the DeferredParallelCommandExecutor
// of txdpce.
//
// The zero value is a race without functions that starts all at once. A Race
// must not be copied after first use. Its methods may be called concurrently; a
// function that is registered while a race runs takes part in the next one.
//
// Each function runs on its own goroutine. If it panics or ends that goroutine
// it has failed, with a [*PanicError] or [ErrGoexit].
type Race[A, T any] struct {
	opts RaceOptions[T]

	mu    sync.Mutex // guards the two fields below
	fns   []func(context.Context, A) (T, error)
	times latencies
}

// RaceOptions are the settings of a [Race]. The zero value starts all functions
// at once and drops late results.
type RaceOptions[T any] struct {
	// Stagger is the delay after which the next function starts if none has
	// succeeded: hedging. If a function fails, the next one starts at once. 0
	// starts all functions at once.
	Stagger time.Duration

	// Percentile, if not 0, sets the delay to that percentile, above 0 and up to
	// 100, of the last 100 times that functions took, as soon as there are 10
	// times. Until then the delay is Stagger, which must not be 0. The time of a
	// function counts if it has succeeded, even if too late. If it was canceled
	// because a function started later has won, the time until then counts.
	Percentile float64

	// Budget, if not nil, must allow each function that starts after the first,
	// because of the delay or because another function has failed. If it does not
	// allow a start, it is asked again when the next function fails. If all
	// functions that were started have failed by then, the race has failed, with
	// [ErrNoBudget] for each function that was not started. A race with a Stagger
	// of 0 does not take tokens.
	Budget *Budget

	// Discard, if not nil, is called with each result that arrived too late, to
	// close or release it. It runs on the goroutine of the function that was late.
	// A panic of it goes to [OnUnhandled].
	Discard func(T)
}

// NewRace returns a [Race] without functions; opts may be nil. It panics if
// Stagger is negative, if Percentile is above 100 or below 0, and if Percentile
// is set and Stagger is not.
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

// Register adds a function. Functions start, and their failures are listed, in
// the order of registration.
func (r *Race[A, T]) Register(fn func(ctx context.Context, arg A) (T, error)) {
	if fn == nil {
		panic("twill: Register with a nil function")
	}
	r.mu.Lock()
	r.fns = append(slices.Clip(r.fns), fn) // races that run keep their slice
	r.mu.Unlock()
}

// Len returns the number of functions.
func (r *Race[A, T]) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.fns)
}

// Execute starts a race for arg and returns the future of the first success.
// The contexts of all functions end when the race is decided, with [ErrLost] as
// the cause for the losers and [ErrWon] for the winner. Execute does not wait
// for losers to return. For a result that still needs its context, such as a
// response whose body has not been read, use [Race.ExecuteHeld].
//
// If all functions fail, the future fails with an [*AllFailedError] of their
// errors in the order of registration; without functions it fails with
// [ErrEmpty]. A Cancel fails it at once with a [*CanceledError], and ends the
// functions' contexts with its cause.
//
// If ctx ends first, the future fails at once: with [context.Cause] of ctx if
// that is a deadline, and otherwise with a [*CanceledError] for that cause. No
// function starts after the end of ctx. A function that returns after it does
// not win, whatever it returns, because functions return as a consequence of
// that end. Its value goes to Discard, and its error is dropped.
func (r *Race[A, T]) Execute(ctx context.Context, arg A) *Future[T] {
	if ctx == nil {
		panic("twill: Execute with a nil context")
	}
	return startRace(ctx, r, arg, false, func(v T, _ *lazyctx.Context) T { return v })
}

// ExecuteHeld is Execute for results that need the context of the function that
// returned them. The winner's context lives until [HeldResult.Release] is
// called or ctx ends.
func (r *Race[A, T]) ExecuteHeld(ctx context.Context, arg A) *Future[HeldResult[T]] {
	if ctx == nil {
		panic("twill: ExecuteHeld with a nil context")
	}
	return startRace(ctx, r, arg, true, func(v T, ctx *lazyctx.Context) HeldResult[T] { return HeldResult[T]{v, ctx} })
}

// String returns the type, and how many functions are registered.
func (r *Race[A, T]) String() string {
	return printed("Race", fmt.Sprintf("%d functions", r.Len()), reflect.TypeFor[A](), reflect.TypeFor[T]())
}

// GoString returns the text of String, for %#v.
func (r *Race[A, T]) GoString() string { return r.String() }

// LogValue returns the text of String, for package slog.
func (r *Race[A, T]) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (r *Race[A, T]) Format(s fmt.State, verb rune) { formatText(s, verb, r.String()) }

// HeldResult is a result of [Race.ExecuteHeld], whose context is kept alive.
type HeldResult[T any] struct {
	Value T
	ctx   *lazyctx.Context
}

// Release ends the context, with [ErrWon] as the cause. It must be called, as
// the context uses memory of its parent until then. Further calls do nothing.
func (h HeldResult[T]) Release() {
	if h.ctx != nil {
		h.ctx.End(ErrWon)
	}
}

// RaceOf races fns once, in a [Race] with default options; see [Race.Execute].
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

// raceRun is one run of a Race. The goroutine that sets over decides it: that
// of the first function that succeeds, of the last function that fails, of a
// cancel, or a goroutine that finds that ctx has ended. User code, including
// ctx, is called without the lock.
type raceRun[A, T, R any] struct {
	f     *Future[R] // an allocation of its own, as it may outlive the run
	link  settle.Link
	race  *Race[A, T]
	arg   A
	fns   []func(context.Context, A) (T, error)
	ctx   context.Context
	held  bool // the winner's context outlives the run
	wrap  func(T, *lazyctx.Context) R
	delay time.Duration

	mu      sched.Mutex // guards the six fields below
	racers  []racer     // one for each function; its owner sets began
	started int
	failed  int
	over    bool
	winner  int         // noWinner before there is one
	wonAt   time.Time   // if Percentile is set
	stop    func() bool // ends the watch on ctx
	timer   *time.Timer
}

// racer is the state of one function in a run: its context, which exists before
// it starts, and its result.
type racer struct {
	lazyctx.Context
	began time.Time // if Percentile is set
	paid  bool      // with a token of the budget
	err   error
}

func startRace[A, T, R any](ctx context.Context, r *Race[A, T], arg A, held bool, wrap func(T, *lazyctx.Context) R) *Future[R] {
	r.mu.Lock()
	fns, delay := r.fns, r.opts.Stagger
	if r.opts.Percentile > 0 {
		delay = r.times.percentile(r.opts.Percentile, delay)
	}
	r.mu.Unlock()
	c := &raceRun[A, T, R]{
		f: new(Future[R]), race: r, arg: arg, fns: fns, ctx: ctx, held: held, wrap: wrap, delay: delay,
		racers: make([]racer, len(fns)), winner: noWinner,
	}
	settle.Made(&c.f.core)
	c.link.Do = c
	c.f.core.SetUp(&c.link)
	switch {
	case ctx.Err() != nil:
		c.end(contextFailure(ctx), nil)
	case len(fns) == 0:
		c.end(settle.NewFailure(ErrEmpty), nil)
	default:
		c.begin()
	}
	return c.f
}

// begin starts the first function, or all.
func (c *raceRun[A, T, R]) begin() {
	for i := range c.racers {
		c.racers[i].Base = c.ctx
	}
	var stop func() bool
	if c.ctx.Done() != nil {
		stop = context.AfterFunc(c.ctx, func() { c.checkContext() })
	}
	c.mu.Lock()
	if c.over { // ctx has just ended
		c.mu.Unlock()
		return
	}
	c.stop = stop
	n := len(c.fns)
	if c.delay > 0 {
		n = 1
	}
	for range n {
		c.startLocked(false)
	}
	if c.started < len(c.fns) {
		c.timer = time.AfterFunc(c.delay, c.hedge)
	}
	c.mu.Unlock()
}

// startLocked starts the next function.
func (c *raceRun[A, T, R]) startLocked(paid bool) {
	i := c.started
	c.started++
	c.racers[i].paid = paid
	go c.run(i)
}

// startNextLocked starts the next function, if there is one and the budget
// allows it, and reports whether it did. The delay begins anew.
func (c *raceRun[A, T, R]) startNextLocked() bool {
	if c.started == len(c.fns) {
		return false
	}
	b := c.race.opts.Budget
	if b != nil && !b.allow() {
		return false
	}
	c.startLocked(b != nil)
	if c.started < len(c.fns) {
		c.timer.Reset(c.delay)
	}
	return true
}

// hedge starts the next function because the delay is over. If the budget does
// not allow it, the timer stays off until a function fails: the delay may be
// very short.
func (c *raceRun[A, T, R]) hedge() {
	if c.checkContext() {
		return
	}
	c.mu.Lock()
	if !c.over {
		c.startNextLocked()
	}
	c.mu.Unlock()
}

// run is the goroutine of one function.
func (c *raceRun[A, T, R]) run(i int) {
	r := &c.racers[i]
	if c.checkContext() {
		if r.paid {
			c.race.opts.Budget.refund()
		}
		return
	}
	returned := false
	defer func() {
		if !returned {
			c.lose(i, caught(recover()))
		}
	}()
	if c.race.opts.Percentile > 0 {
		r.began = time.Now()
	}
	v, err := c.fns[i](&r.Context, c.arg)
	returned = true
	c.recordTime(i, err)
	c.checkContext()
	if err != nil {
		c.lose(i, err)
	} else if !c.win(i, v) {
		c.discard(i, v)
	}
}

// recordTime adds the time of function i, which has returned, to the times from
// which Percentile is computed. The times of functions that were overtaken,
// which are the slow ones, must be among them: otherwise the percentile would
// be that of the fast functions.
func (c *raceRun[A, T, R]) recordTime(i int, err error) {
	r := &c.racers[i]
	if r.began.IsZero() {
		return
	}
	took := time.Since(r.began)
	if err != nil {
		c.mu.Lock()
		overtaken := i < c.winner
		wonAt := c.wonAt
		c.mu.Unlock()
		if !overtaken {
			return
		}
		took = wonAt.Sub(r.began)
	}
	c.race.mu.Lock()
	c.race.times.add(took)
	c.race.mu.Unlock()
}

// checkContext ends the race if ctx has ended, and reports whether it has. The
// watch on ctx may be late, so each step checks ctx itself.
func (c *raceRun[A, T, R]) checkContext() bool {
	if c.ctx.Err() == nil {
		return false
	}
	c.end(contextFailure(c.ctx), context.Cause(c.ctx))
	return true
}

// decide reports whether the caller decides the race, and records its winner,
// or noWinner.
func (c *raceRun[A, T, R]) decide(winner int) bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over = true
	if c.winner = winner; winner != noWinner && c.race.opts.Percentile > 0 {
		c.wonAt = time.Now()
	}
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

// release ends the contexts of all functions but the winner.
func (c *raceRun[A, T, R]) release(cause error, winner int) {
	for i := range c.racers {
		if i != winner {
			c.racers[i].End(cause)
		}
	}
}

const noWinner = -1

// win settles the future with v, unless the race is over, and reports whether
// it did.
func (c *raceRun[A, T, R]) win(i int, v T) bool {
	if !c.decide(i) {
		return false
	}
	if b := c.race.opts.Budget; b != nil {
		b.earn()
	}
	ctx := &c.racers[i].Context
	c.release(ErrLost, i)
	if !c.held {
		ctx.End(ErrWon)
	}
	return c.f.settle(c.wrap(v, ctx), nil)
}

// lose records a failure, and starts the next function or ends the race.
func (c *raceRun[A, T, R]) lose(i int, err error) {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		if p, ok := err.(*PanicError); ok {
			report(p) // as for Go: the future cannot report it
		}
		return
	}
	c.racers[i].err = err
	c.failed++
	last := !c.startNextLocked() && c.failed == c.started
	c.mu.Unlock()
	if last {
		c.end(settle.NewFailure(&AllFailedError{Errs: c.errors()}), nil)
	}
}

// errors returns the errors of all functions, in their order.
func (c *raceRun[A, T, R]) errors() []error {
	errs := make([]error, len(c.racers))
	for i := range errs {
		if errs[i] = c.racers[i].err; i >= c.started {
			errs[i] = ErrNoBudget
		}
	}
	return errs
}

// end settles the future with fail, unless the race is over.
func (c *raceRun[A, T, R]) end(fail *settle.Failure, cause error) {
	if !c.decide(noWinner) {
		return
	}
	c.release(cause, noWinner)
	var zero R
	c.f.settle(zero, fail)
}

// discard gives a result that arrived too late to Discard.
func (c *raceRun[A, T, R]) discard(i int, v T) {
	defer c.racers[i].End(ErrLost)
	if discard := c.race.opts.Discard; discard != nil {
		discardLate(discard, v)
	}
}

// Fire ends the race by a cancel of its future.
func (c *raceRun[A, T, R]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	left.EndsWork()
	decided := c.decide(noWinner)
	core, list := settleFailed(&c.f.core, left)
	if decided {
		c.release(causeOf(left.Err), noWinner)
	}
	return core, list
}

// Source returns nil: a race is canceled itself.
func (c *raceRun[A, T, R]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is the core of the future.
func (c *raceRun[A, T, R]) Owner() *settle.Core { return &c.f.core }

// Abort is not called: Fire runs no user code.
func (c *raceRun[A, T, R]) Abort(err error) (*settle.Core, *settle.Link) {
	return settleFailed(&c.f.core, settle.NewFailure(err))
}

// latencies keeps the last times that something took. It is not safe for
// concurrent use.
type latencies struct {
	last   []time.Duration // a ring when it is full
	next   int
	stale  int // additions since sorted was made
	sorted []time.Duration
}

const (
	keptLatencies = 100
	minLatencies  = 10
	// A few additions change a percentile of a hundred times little: the times are
	// not sorted after each of them.
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

// percentile returns the p-th percentile by the nearest-rank method, or initial
// if there are too few times.
func (l *latencies) percentile(p float64, initial time.Duration) time.Duration {
	if len(l.last) < minLatencies {
		return initial
	}
	if l.sorted == nil || l.stale >= maxStale {
		l.sorted = append(l.sorted[:0], l.last...)
		slices.Sort(l.sorted)
		l.stale = 0
	}
	rank := int(math.Ceil(p * float64(len(l.sorted)) / 100))
	return max(1, l.sorted[max(rank, 1)-1])
}
