package twill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
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
