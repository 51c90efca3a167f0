package twill

import (
	"context"
	"sync/atomic"

	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

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
	made(&a.f.core)
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
