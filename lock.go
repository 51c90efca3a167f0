package twill

import (
	"context"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// Lock is held by one at a time, and answers one who finds it held with a
// future. Unlike a [sync.Mutex] it blocks nobody, is released by a function
// that works once, and a wait for it can be cancelled. It mirrors
// DeferredLock.
//
// The zero value is a lock that nobody holds. A Lock must not be copied after
// first use. Its methods may be called by several goroutines. Otherwise it is a
// [Semaphore] with one token; what is said there about the order, the
// goroutine that runs handlers, and locks that nobody looks at, holds here too.
type Lock struct{ s Semaphore }

// Acquire returns a future of the lock: of the function that releases it. It is
// settled at once if nobody holds the lock. See [Semaphore.Acquire].
func (l *Lock) Acquire() *Future[func()] { return l.s.Acquire() }

// TryAcquire takes the lock if nobody holds it, and reports whether it did. It
// never waits.
func (l *Lock) TryAcquire() (release func(), ok bool) { return l.s.TryAcquire() }

// AcquireWait blocks until it holds the lock, or until ctx ends; see
// [Semaphore.AcquireWait].
func (l *Lock) AcquireWait(ctx context.Context) (release func(), err error) {
	return l.s.AcquireWait(ctx)
}

// Run is [RunWith] for a function without a value.
func (l *Lock) Run(ctx context.Context, fn func(context.Context) error) *Future[struct{}] {
	return l.s.Run(ctx, fn)
}

// Locked reports whether somebody holds the lock.
func (l *Lock) Locked() bool { return l.s.Tokens() == 0 }

// Waiting returns the number of futures of Acquire that wait for the lock.
func (l *Lock) Waiting() int { return l.s.Waiting() }

// Semaphore hands out a fixed number of tokens, and answers one who finds none
// with a future. Unlike golang.org/x/sync/semaphore it blocks nobody, and
// every token is given back by a function that works once, so that none is
// given back twice. It mirrors DeferredSemaphore.
//
// The zero value has one token: it is a [Lock]. [NewSemaphore] makes one that
// has more. A Semaphore must not be copied after first use. Its methods may be
// called by several goroutines.
//
// Tokens are handed over in the order in which they were asked for, and
// nobody overtakes. A release that finds somebody waiting settles that future
// before it returns: the handlers run on the goroutine that releases, under no
// lock, and may use the semaphore. Only when a hundred releases do that at the
// same time, mostly as each is called by a handler of the one before, the next one
// leaves them to a fresh goroutine. What happened before a release
// synchronizes before what the next holder of the token does.
//
// A token belongs to the future it was handed to, also if nobody looks at that
// any more: it is gone then, as a mutex is that nobody unlocks. Who gives up
// waiting cancels the future; if Cancel reports false the token is there, and
// has to be released. [Semaphore.AcquireWait], [Semaphore.Run] and [RunWith] do that.
type Semaphore struct {
	extra int // tokens besides the first; not changed after NewSemaphore

	mu      sched.Mutex         // guards the two below
	taken   int                 // tokens acquired, and those on their way to the next holder
	waiting list.List[*acquire] // empty unless all tokens are taken

	passing passing
}

// NewSemaphore returns a semaphore with n tokens, all free. It panics if n is
// less than one.
func NewSemaphore(n int) *Semaphore {
	if n < 1 {
		panic("twill: NewSemaphore with fewer than one token")
	}
	return &Semaphore{extra: n - 1}
}

// Acquire returns a future of a token: of the function that releases it. It is
// settled at once if a token is free. The function may be called from any
// goroutine; a second call of it does nothing. A Cancel of the future gives up
// the place in the line; see [Semaphore] for one that comes too late.
func (s *Semaphore) Acquire() *Future[func()] {
	a := &acquire{s: s}
	settle.Made(&a.f.core)
	s.mu.Lock()
	if s.taken <= s.extra {
		s.taken++
		s.mu.Unlock()
		a.f.val = a.release
		a.f.core.Preset(nil)
		return &a.f
	}
	a.link.Do = a
	a.f.core.SetUp(&a.link)
	s.waiting.PushBack(a)
	s.mu.Unlock()
	return &a.f
}

// TryAcquire takes a token if one is free, and reports whether it did. It never
// waits.
func (s *Semaphore) TryAcquire() (release func(), ok bool) {
	s.mu.Lock()
	ok = s.taken <= s.extra
	if ok {
		s.taken++
	}
	s.mu.Unlock()
	if !ok {
		return nil, false
	}
	return (&acquire{s: s}).release, true
}

// AcquireWait blocks until it has a token, or until ctx ends: then it returns
// [context.Cause] of ctx and has no token. A ctx that has ended before gets none.
func (s *Semaphore) AcquireWait(ctx context.Context) (release func(), err error) {
	if ctx == nil {
		panic("twill: AcquireWait with a nil context")
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	f := s.Acquire()
	release, err = f.Await(ctx)
	if err != nil && !f.Cancel(err) {
		return f.Await(context.Background()) // it came at the moment ctx ended
	}
	return release, err
}

// Tokens returns the number of tokens that are free.
func (s *Semaphore) Tokens() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.extra + 1 - s.taken
}

// Limit returns the number of tokens there are, free or taken.
func (s *Semaphore) Limit() int { return s.extra + 1 }

// Waiting returns the number of futures of Acquire that wait for a token.
func (s *Semaphore) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting.Len()
}

// acquire is a token, or the wait for one.
type acquire struct {
	root[func()]
	list.Links[*acquire]
	s        *Semaphore
	released atomic.Bool
}

// Fire is called when a waiting acquire is cancelled. If a release took it out
// of the line before, the two race to settle the future, and the release hears
// who won.
func (a *acquire) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	a.s.mu.Lock()
	a.s.waiting.Remove(a)
	a.s.mu.Unlock()
	return a.end(left)
}

func (a *acquire) release() {
	if !a.released.Swap(true) {
		a.s.release()
	}
}

// release passes a token on to the one who has waited longest, or to the next one
// if that is cancelled at this moment.
func (s *Semaphore) release() {
	for a := s.next(); a != nil && !give(&s.passing, &a.f, a.release); a = s.next() {
	}
}

// next takes the first out of the line; without one, the token is free again.
func (s *Semaphore) next() *acquire {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.waiting.PopFront()
	if !ok {
		s.taken--
	}
	return a
}

// Acquirer is what [RunWith] and [RunWithFuture] wait for: a [*Lock], a
// [*Semaphore], or what a program puts around these. The function that the
// future gives releases what was acquired; it is called once.
type Acquirer interface {
	Acquire() *Future[func()]
}

// Run is [RunWith] for a function without a value.
func (s *Semaphore) Run(ctx context.Context, fn func(context.Context) error) *Future[struct{}] {
	if fn == nil {
		panic("twill: Run with a nil function")
	}
	return RunWith(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
}

// RunWith starts fn, like [Go], as soon as it has acquired a, which it releases
// when fn returns, panics or ends its goroutine, and not before: while fn runs
// the token is taken, even if the future is cancelled.
//
// A Cancel of the future, and an end of ctx, give up the wait: then fn is not
// called. If fn runs, a Cancel ends its context and fails the future at once;
// and an end of ctx ends its context. It mirrors the run method of DeferredLock
// and DeferredSemaphore for functions that block.
func RunWith[T any](ctx context.Context, a Acquirer, fn func(context.Context) (T, error)) *Future[T] {
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
		return Rejected[T](&CanceledError{context.Cause(ctx)})
	}
	token := a.Acquire()
	if ctx.Done() != nil {
		token = token.WithContext(ctx)
	}
	return ThenFuture(token, func(release func()) *Future[T] {
		n := newGoNode[T](ctx)
		go n.runHolding(release, fn)
		return &n.f
	})
}

// runHolding is run for a function that holds a token, which is released before
// the future settles. It settles with what fn returned also if a handler of the
// next one in line ends the goroutine.
func (n *goNode[T]) runHolding(release func(), fn func(context.Context) (T, error)) {
	var v T
	var err, stop error
	defer func() {
		if stop != nil {
			n.stopped(stop)
		} else {
			n.returned(v, err)
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

// RunWithFuture calls fn when it has acquired a, which it releases when the
// future that fn returns has settled. It gives that future's result. fn runs
// on the caller's goroutine if a was free, and otherwise on the one that releases it:
// it should not block.
//
// A Cancel gives up the wait: then fn is not called. If it was called, the
// Cancel goes to its future by the rules of [Future.Cancel]; if others depend
// on that one, it goes on and keeps the token until it settles. It mirrors the
// run method of DeferredLock and DeferredSemaphore.
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
			// The first listener if f is new: released before anybody hears of it.
			onSettled(&f.core, release)
		}
		return f
	})
}
