package twill

import "context"

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
