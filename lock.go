package twill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// ErrTooManyTokens is the failure of an acquire of more tokens than the
// [Semaphore] has.
var ErrTooManyTokens = errors.New("twill: more tokens than the semaphore has")

// Lock has at most one holder at a time; acquiring it returns a future. Unlike
// a [sync.Mutex] it blocks no goroutine, it is released by a function that
// works once, and a wait for it can be canceled. [RunWith], [RunWithFuture] and
// [Lock.Run] acquire it for a function. Lock is the equivalent of Twisted's
// DeferredLock.
//
// The zero value is a lock without a holder. A Lock must not be copied after
// first use. Its methods may be called concurrently. A Lock is a [Semaphore]
// with one token: what is said there about order, goroutines and dropped tokens
// holds for a Lock.
//
// A Lock is not reentrant: a holder that acquires it again waits for itself. In
// particular, a function called by [Lock.Run] must not wait for another Run of
// the same lock.
type Lock struct{ s Semaphore }

// Acquire returns a future of the function that releases the lock. The future
// is settled at once if the lock is free. See [Semaphore.Acquire].
func (l *Lock) Acquire() *Future[func()] { return l.s.Acquire() }

// AcquireWait blocks until the caller holds the lock, or until ctx ends; see
// [Semaphore.AcquireWait].
func (l *Lock) AcquireWait(ctx context.Context) (release func(), err error) {
	return l.s.AcquireWait(ctx)
}

// TryAcquire takes the lock if it is free, and reports whether it did. It never
// waits.
func (l *Lock) TryAcquire() (release func(), ok bool) { return l.s.TryAcquire() }

// Run is [RunWith] for a function that returns only an error.
func (l *Lock) Run(ctx context.Context, fn func(context.Context) error) *Future[struct{}] {
	return l.s.Run(ctx, fn)
}

// Locked reports whether the lock has a holder.
func (l *Lock) Locked() bool { return l.s.Tokens() == 0 }

// Waiting returns the number of acquires that wait for the lock.
func (l *Lock) Waiting() int { return l.s.Waiting() }

// Close closes the lock; see [Semaphore.Close].
func (l *Lock) Close() { l.s.Close() }

// String returns the type, and whether l is held.
func (l *Lock) String() string {
	return printed("Lock", l.printedState())
}

// GoString returns the text of String, for %#v.
func (l *Lock) GoString() string { return l.String() }

// LogValue returns the text of String, for package slog.
func (l *Lock) LogValue() slog.Value { return slog.StringValue(l.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (l *Lock) Format(s fmt.State, verb rune) { formatText(s, verb, l.String()) }

func (l *Lock) printedState() string {
	if l.Locked() {
		return fmt.Sprintf("held, %d waiting", l.Waiting())
	}
	return "free"
}

// Semaphore hands out a limited number of tokens; acquiring one returns a
// future. Unlike golang.org/x/sync/semaphore it blocks no goroutine, and each
// token is released by a function that works once, so that no token is released
// twice. [RunWith], [RunWithFuture] and [Semaphore.Run] acquire a token for a
// function. Semaphore is the equivalent of Twisted's DeferredSemaphore.
//
// The zero value has one token, as a [Lock] has. [NewSemaphore] makes a
// semaphore with more. A Semaphore must not be copied after first use. Its
// methods may be called concurrently.
//
// Tokens are handed out in the order of the acquires, and no acquire overtakes
// another. A release settles the future of the first acquire in line before it
// returns: the handlers run on the goroutine that releases, under no lock, and
// may use the semaphore. To bound the stack, handlers run on a new goroutine
// when 100 such calls are nested. A release synchronizes before the acquire
// that gets the token.
//
// A token belongs to the future that received it, even if that future is
// dropped: like a mutex that is never unlocked, it is then lost. To stop
// waiting, cancel the future; if Cancel returns false, the token was acquired
// and must be released. [Semaphore.AcquireWait], [Semaphore.Run] and [RunWith]
// do so. To take whichever of two tokens is free first, do not use [Any], which
// drops the other token. Use a [Race] of calls of AcquireWait whose Discard
// releases the token.
type Semaphore struct {
	mu      sched.Mutex                // guards the fields below
	extra   int                        // tokens besides the first, so that the zero value has one
	taken   int                        // tokens acquired or being handed over; after a Resize maybe more than exist
	waiting list.List[*waiter[func()]] // acquires in line, in their order
	closed  bool

	deliveries deliveries
}

// NewSemaphore returns a [Semaphore] with n tokens, all free. It panics if n is
// less than one.
func NewSemaphore(n int) *Semaphore {
	if n < 1 {
		panic("twill: NewSemaphore with fewer than one token")
	}
	return &Semaphore{extra: n - 1}
}

// Acquire returns a future of the function that releases a token. The future is
// settled at once if a token is free. The function may be called from any
// goroutine; a second call does nothing. If the semaphore is closed, the future
// fails with [ErrClosed]. Canceling the future gives up the place in line.
//
// Do not bound the wait by the context of an Await: when the Await gives up,
// the acquire is still in line, and receives a token that is never released.
// Use [Semaphore.AcquireWait].
func (s *Semaphore) Acquire() *Future[func()] { return s.acquire(1) }

// AcquireN is Acquire for n tokens, which are acquired and released together.
// An acquire that waits for several tokens is not overtaken by acquires that
// need fewer. If n is more than the semaphore has, now or after a Resize, the
// future fails with [ErrTooManyTokens]. AcquireN panics if n is less than one.
func (s *Semaphore) AcquireN(n int) *Future[func()] {
	if n < 1 {
		panic("twill: AcquireN of fewer than one token")
	}
	return s.acquire(n)
}

// AcquireWait blocks until it has acquired a token, or until ctx ends, and then
// returns [context.Cause] of ctx. It returns [ErrClosed] if the semaphore is
// closed. An error means that no token was acquired; none is acquired after ctx
// has ended.
func (s *Semaphore) AcquireWait(ctx context.Context) (release func(), err error) {
	if ctx == nil {
		panic("twill: AcquireWait with a nil context")
	}
	return s.acquireWait(ctx, 1)
}

// AcquireNWait is AcquireWait for n tokens; see [Semaphore.AcquireN].
func (s *Semaphore) AcquireNWait(ctx context.Context, n int) (release func(), err error) {
	if ctx == nil {
		panic("twill: AcquireNWait with a nil context")
	}
	if n < 1 {
		panic("twill: AcquireNWait of fewer than one token")
	}
	return s.acquireWait(ctx, n)
}

// TryAcquire takes a token if one is free and no acquire is in line, and
// reports whether it did. It never waits.
func (s *Semaphore) TryAcquire() (release func(), ok bool) {
	s.mu.Lock()
	ok, _ = s.takeLocked(1)
	s.mu.Unlock()
	if !ok {
		return nil, false
	}
	return (&token{s: s, n: 1}).release, true
}

// Run is [RunWith] for a function that returns only an error.
func (s *Semaphore) Run(ctx context.Context, fn func(context.Context) error) *Future[struct{}] {
	if fn == nil {
		panic("twill: Run with a nil function")
	}
	return RunWith(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

// Tokens returns the number of free tokens.
func (s *Semaphore) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(0, s.freeLocked())
}

// Limit returns the number of tokens, free or taken.
func (s *Semaphore) Limit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extra + 1
}

// Waiting returns the number of acquires in line.
func (s *Semaphore) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.Len()
}

// Resize changes the number of tokens to n. Additional tokens go to the
// acquires in line. If there are fewer tokens than before, no holder loses its
// tokens, and excess tokens are not handed out again after their release.
// Acquires in line for more than n tokens fail with [ErrTooManyTokens]. Resize
// panics if n is less than one.
func (s *Semaphore) Resize(n int) {
	if n < 1 {
		panic("twill: Resize to fewer than one token")
	}
	s.mu.Lock()
	shrinks := n-1 < s.extra
	s.extra = n - 1
	var tooMany []*waiter[func()]
	if shrinks {
		for w := range s.waiting.All() {
			if acquireOf(w).n > n {
				tooMany = append(tooMany, w)
			}
		}
		for _, w := range tooMany {
			s.waiting.Remove(w)
		}
	}
	s.mu.Unlock()
	defer s.handOver() // runs even if a handler ends the goroutine
	each(tooMany, func(w *waiter[func()]) { w.refuse(ErrTooManyTokens) })
}

// Close closes the semaphore: the acquires in line, and all later ones, fail
// with [ErrClosed]; TryAcquire returns false. Holders keep their tokens, and
// may release them as before. A second Close does nothing.
func (s *Semaphore) Close() {
	s.mu.Lock()
	s.closed = true
	waiting := make([]*waiter[func()], 0, s.waiting.Len())
	for w, ok := s.waiting.PopFront(); ok; w, ok = s.waiting.PopFront() {
		waiting = append(waiting, w)
	}
	s.mu.Unlock()
	each(waiting, func(w *waiter[func()]) { w.refuse(ErrClosed) })
}

// String returns the type, and how many tokens are free.
func (s *Semaphore) String() string {
	return printed("Semaphore", fmt.Sprintf("%d of %d free, %d waiting", s.Tokens(), s.Limit(), s.Waiting()))
}

// GoString returns the text of String, for %#v.
func (s *Semaphore) GoString() string { return s.String() }

// LogValue returns the text of String, for package slog.
func (s *Semaphore) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Format implements [fmt.Formatter]: the text of String for every verb.
func (s *Semaphore) Format(state fmt.State, verb rune) { formatText(state, verb, s.String()) }

// token stands for n tokens that were acquired together.
type token struct {
	s        *Semaphore
	n        int
	released atomic.Bool
}

func (t *token) release() {
	if !t.released.Swap(true) {
		t.s.giveBack(t.n)
	}
}

// acquire implements Acquire and AcquireN.
func (s *Semaphore) acquire(n int) *Future[func()] {
	s.mu.Lock()
	ok, err := s.takeLocked(n)
	if ok || err != nil {
		s.mu.Unlock()
		if err != nil {
			return Rejected[func()](err)
		}
		return acquired(s, n)
	}
	a := &acquireWaiter{token: token{s: s, n: n}}
	a.init(a)
	a.served = a // from which acquireOf has its tokens
	s.waiting.PushBack(&a.waiter)
	s.mu.Unlock()
	return &a.f
}

// acquireWait implements AcquireWait and AcquireNWait.
func (s *Semaphore) acquireWait(ctx context.Context, n int) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	ok, err := s.takeLocked(n)
	if ok || err != nil {
		s.mu.Unlock()
		if err != nil {
			return nil, err
		}
		return (&token{s: s, n: n}).release, nil
	}
	a := &blockedAcquire{blockedWaiter: blockUntil[func()](ctx), token: token{s: s, n: n}}
	a.served = a // as in acquire
	s.waiting.PushBack(&a.waiter)
	s.mu.Unlock()
	release, err = a.await(s)
	a.end()
	return release, err
}

// takeLocked takes n tokens if they are free and no acquire is in line. It
// returns an error if they can never be taken.
func (s *Semaphore) takeLocked(n int) (ok bool, err error) {
	switch {
	case s.closed:
		return false, ErrClosed
	case n-1 > s.extra:
		return false, ErrTooManyTokens
	case s.waiting.Len() > 0 || n > s.freeLocked():
		return false, nil
	}
	s.taken += n
	return true, nil
}

// freeLocked returns the number of free tokens. It is negative after a Resize
// to fewer tokens than are taken.
func (s *Semaphore) freeLocked() int { return s.extra - s.taken + 1 }

// acquired returns the future of an acquire that did not wait.
func acquired(s *Semaphore, n int) *Future[func()] {
	a := &struct {
		f Future[func()]
		token
	}{token: token{s: s, n: n}}
	settle.Made(&a.f.core)
	a.f.val = a.release
	a.f.core.Preset(nil)
	return &a.f
}

// acquireWaiter is the future of an acquire in line, and blockedAcquire is a
// call that waits there.
type (
	acquireWaiter struct {
		futureWaiter[func()]
		token
	}
	blockedAcquire struct {
		*blockedWaiter[func()]
		token
	}
)

// acquireOf returns the tokens for which w waits.
func acquireOf(w *waiter[func()]) *token {
	if a, ok := w.served.(*acquireWaiter); ok {
		return &a.token
	}
	return &w.served.(*blockedAcquire).token
}

// leave is called when the future is canceled.
func (a *acquireWaiter) leave(w *waiter[func()]) bool {
	waited := a.s.leave(w)
	if waited {
		a.s = nil
	}
	return waited
}

// leave takes w out of the line. If w was the first in line, the acquires
// behind it may now get their tokens. They get them on a new goroutine, as that
// runs handlers.
func (s *Semaphore) leave(w *waiter[func()]) bool {
	waited, more := s.remove(w)
	if more {
		sched.Go(s.handOver)
	}
	return waited
}

// remove takes w out of the line. It reports whether w was in the line, and
// whether tokens are free for others in line.
func (s *Semaphore) remove(w *waiter[func()]) (waited, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited = s.waiting.Remove(w)
	return waited, waited && s.waiting.Len() > 0 && s.freeLocked() > 0
}

// giveBack releases n tokens.
func (s *Semaphore) giveBack(n int) {
	s.mu.Lock()
	s.taken -= n
	s.mu.Unlock()
	s.handOver()
}

// handOver hands free tokens to the acquires in line, in their order. While an
// acquire is served its tokens count as taken, so that no other acquire gets
// them.
func (s *Semaphore) handOver() {
	for w := s.next(); w != nil; w = s.next() {
		a := acquireOf(w)
		n := a.n
		if !w.serve(&s.deliveries, a.release) { // canceled in the meantime, or its context has ended
			s.mu.Lock()
			s.taken -= n
			s.mu.Unlock()
		}
	}
}

// next takes the first acquire out of the line if its tokens are free.
func (s *Semaphore) next() *waiter[func()] {
	s.mu.Lock()
	defer s.mu.Unlock()
	w, ok := s.waiting.Front()
	if !ok || acquireOf(w).n > s.freeLocked() {
		return nil
	}
	s.waiting.Remove(w)
	s.taken += acquireOf(w).n
	return w
}

// Acquirer is the type of what [RunWith] and [RunWithFuture] acquire: a
// [*Lock], a [*Semaphore], or a type of the program that wraps one of them. The
// value of the future is the function that releases what was acquired; it is
// called once.
type Acquirer interface {
	Acquire() *Future[func()]
}

// RunWith acquires a, such as a [Lock] or a [Semaphore], and then starts fn, as
// [Go] does. It releases a after fn has returned, panicked or ended its
// goroutine, and not before: while fn runs the token is taken, even if the
// future is canceled. It is the equivalent of the run method of Twisted's
// DeferredLock and DeferredSemaphore for functions that block.
//
// If the future is canceled or ctx ends during the wait, fn is not called, and
// the future fails with a [*CanceledError] for the cause. While fn runs, a
// Cancel ends its context and fails the future at once, and the end of ctx
// ends its context. A value that fn returns after a Cancel is dropped, or
// passed to the Discard of opts. If there are several opts, fields that are
// set in a later one replace those of an earlier one.
func RunWith[T any](ctx context.Context, a Acquirer, fn func(context.Context) (T, error), opts ...RunOptions[T]) *Future[T] {
	if ctx == nil {
		panic("twill: RunWith with a nil context")
	}
	if a == nil {
		panic("twill: RunWith with nothing to acquire")
	}
	if fn == nil {
		panic("twill: RunWith with a nil function")
	}
	if ctx.Err() != nil {
		return endedFuture[T](ctx)
	}
	var discard func(T)
	for _, o := range opts {
		if o.Discard != nil {
			discard = o.Discard
		}
	}
	return ThenFuture(acquireUntil(ctx, a), func(release func()) *Future[T] {
		if ctx.Err() != nil { // WithContext may notice it later
			release()
			return endedFuture[T](ctx)
		}
		n := newGoNode[T](ctx)
		go n.runHolding(release, fn, discard)
		return n.f
	})
}

// RunOptions are the options of [RunWith].
type RunOptions[T any] struct {
	// Discard, if it is not nil, is called with a value that the function has
	// returned, without an error, after its future was canceled: to release
	// what it holds. It runs on the function's goroutine, after the token was
	// released. A panic of it goes to [OnUnhandled].
	Discard func(v T)
}

// acquireUntil acquires a unless ctx ends first. What a acquires after the end
// is released.
func acquireUntil(ctx context.Context, a Acquirer) *Future[func()] {
	acquired := a.Acquire()
	if ctx.Done() == nil {
		return acquired
	}
	token := acquired.WithContext(ctx)
	switch a.(type) {
	case *Lock, *Semaphore: // which hand nothing out that is too late
		return token
	}
	acquired.OnSettled(func(release func(), err error) {
		if err != nil {
			return
		}
		token.OnSettled(func(_ func(), err error) {
			if err != nil {
				release()
			}
		})
	})
	return token
}

// runHolding runs fn, which holds a token. The token is released before the
// future settles. The future settles with the result of fn even if a handler of
// the next acquire in line ends the goroutine.
func (n *goNode[T]) runHolding(release func(), fn func(context.Context) (T, error), discard func(T)) {
	var v T
	var err, stop error
	defer func() {
		if stop != nil {
			n.stopped(stop)
		} else if !n.returned(v, err) && err == nil && discard != nil {
			discardLate(discard, v)
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			stop = caught(r)
		}
	}()
	defer release()
	stop = ErrGoexit
	v, err = fn(&n.Context)
	stop = nil
}

// RunWithFuture acquires a, such as a [Lock] or a [Semaphore], and then calls
// fn. It releases a when the future that fn returned has settled, and settles
// as that future does. fn runs on the caller's goroutine if a is free, and
// otherwise on the goroutine that releases a; it should not block.
//
// If RunWithFuture's future is canceled during the wait, fn is not called.
// After fn was called, a cancel goes to fn's future by the rules of
// [Future.Cancel]. If that future has other dependents, it goes on and keeps
// the token until it settles. RunWithFuture is the equivalent of the run method
// of Twisted's DeferredLock and DeferredSemaphore.
func RunWithFuture[T any](a Acquirer, fn func() *Future[T]) *Future[T] {
	if a == nil {
		panic("twill: RunWithFuture with nothing to acquire")
	}
	if fn == nil {
		panic("twill: RunWithFuture with a nil function")
	}
	return ThenFuture(a.Acquire(), func(release func()) *Future[T] {
		var f *Future[T]
		defer func() {
			if f == nil { // fn returned nil, panicked or ended its goroutine
				release()
			}
		}()
		if f = fn(); f != nil {
			// This is the first listener if f is new: a is released before other
			// listeners run.
			onSettled(&f.core, release)
		}
		return f
	})
}
