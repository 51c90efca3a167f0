package jetstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/kv"
)

// How the context of a function that runs under a lease ends, other than by the
// end of the context it was made from.
var (
	// ErrLeaseLost is the cause when the lease may have expired, or another
	// process has it.
	ErrLeaseLost = kv.ErrLost

	// ErrLeaseReleased is the cause when the lease was released.
	ErrLeaseReleased = kv.ErrReleased
)

// ErrStaleToken is returned by [Fence.Admit] for a token that is lower than one
// that was admitted before.
var ErrStaleToken = errors.New("jetstream: stale token")

// ErrNoBucket is returned, after some attempts, by whatever needs a key-value
// bucket that was deleted.
var ErrNoBucket = kv.ErrNoBucket

// LockOptions are the settings of a [Lock] or a [Semaphore].
type LockOptions struct {
	// Lease is for how long a process holds on without a renewal. A holder
	// renews at each third of it, and counts as having lost the lease at two
	// thirds. Another process gets the lock when it has seen no renewal for a
	// whole Lease on its own clock. 0 means 15 seconds, which outlasts the
	// election of a new leader after the crash of a server; one server alone
	// needs 3 to 5 seconds. Less than 100 ms is an error.
	Lease time.Duration

	// Bucket is the name of the key-value bucket that has the locks, by default
	// "twill-locks"; the numbers of slots are in a second one, with "-limits"
	// after that name. All processes have to use the same name. A bucket that
	// does not exist is created.
	Bucket string

	// Replicas is the number of copies of a bucket that is created. 0 means 1.
	Replicas int
}

const (
	defaultLease = 15 * time.Second
	minLease     = 100 * time.Millisecond
	maxLockLease = time.Hour
	lockAge      = 24 * time.Hour // after which the key of a lock that is not used is removed
)

// leaseOf returns the lease that is meant by d.
func leaseOf(d time.Duration) (time.Duration, error) {
	switch {
	case d == 0:
		return defaultLease, nil
	case d < minLease || d > maxLockLease:
		return 0, fmt.Errorf("jetstream: Lease of %v: from %v to %v are allowed", d, minLease, maxLockLease)
	}
	return d, nil
}

// Lock excludes processes from each other. Unlike a [twill.Lock] its holder can
// lose it: it has a lease, which it renews, and which expires if it does not.
//
// A Lock is advisory. No lease can guarantee exclusion: a process that was
// paused goes on without noticing that another one has the lock, until its
// context ends an instant later. Where that matters, the store that the lock
// protects has to compare tokens: each lease has a [Lease.Token], larger than
// those of all earlier leases, and the store refuses a token lower than one
// that it has seen. A [Fence] does so for a store that is a process of its own.
//
// Use [NewLock]; a Lock must not be copied. Its methods may be called by
// several goroutines. Acquires of one Lock value are served in their order;
// among processes there is no order.
//
// Locks of the same name are the same lock in all processes that use the same
// bucket. Whether one has been acquired is decided by a conditional write to
// the bucket, and clocks are not compared. The lock needs what the bucket
// promises: a server that loses acknowledged writes, as one server alone may in
// a power cut unless its sync_interval is always, can lose the fact that a lock
// is held.
type Lock struct{ s *Semaphore }

// NewLock returns the lock called name. Any name is allowed. It returns when
// the bucket answers, or with an error when ctx ends; without a deadline it
// gives up after 30 seconds.
func NewLock(ctx context.Context, conn *nats.Conn, name string, opts *LockOptions) (*Lock, error) {
	s, err := newSemaphore(ctx, conn, "lock", name, opts)
	if err != nil {
		return nil, err
	}
	return &Lock{s}, nil
}

// Acquire returns a future of the lock: of its lease. Canceling the future
// gives up the wait. A lease that is acquired at that moment is released.
//
// Do not bound the wait with an Await that has a deadline: the acquire goes on,
// and its lease would never be released. Use [Lock.AcquireWait].
func (l *Lock) Acquire() *twill.Future[*Lease] { return l.s.Acquire() }

// AcquireWait blocks until it holds the lock, or until ctx ends, and then
// returns [context.Cause] of ctx. While the connection is lost it goes on
// trying. It returns [twill.ErrClosed] after Close, [nats.ErrConnectionClosed]
// if the connection was closed for good, and [ErrNoBucket] if the bucket was
// deleted. An error means that no lease is held; the lock may be taken until
// the lease that was being made has expired.
func (l *Lock) AcquireWait(ctx context.Context) (*Lease, error) { return l.s.AcquireWait(ctx) }

// TryAcquire takes the lock if it is free, and reports whether it did. It does
// not wait for other holders; a lock whose holder has died is not free until an
// acquire that waits has seen its lease expire.
func (l *Lock) TryAcquire(ctx context.Context) (lease *Lease, ok bool, err error) {
	return l.s.TryAcquire(ctx)
}

// Run acquires the lock, calls fn on a goroutine of its own, and releases the
// lock when fn has returned, panicked or ended its goroutine, and not before.
// The context of fn has the token, for [Token]. It ends with ctx, when the
// future is canceled, and when the lease is lost, then with the cause
// [ErrLeaseLost].
//
// If the lease was lost before fn returned, the future fails with an error that
// Is ErrLeaseLost, and Is the error of fn if there is one: what fn did may have
// overlapped with another holder. If ctx ends before the lock is acquired, fn
// is not called, and the future fails with context.Cause of ctx.
func (l *Lock) Run(ctx context.Context, fn func(context.Context) error) *twill.Future[struct{}] {
	return l.s.Run(ctx, fn)
}

// Close makes acquires that wait, and all later ones, fail with
// [twill.ErrClosed]. Leases that are held remain so.
func (l *Lock) Close() { l.s.Close() }

// Semaphore admits a number of holders at a time, in all processes together. It
// is a [Lock] with several slots, each with a lease of its own: which slots are
// used follows from the leases that are alive, and not from a counter, so that
// a process that dies takes none with it.
type Semaphore struct {
	b      *kv.Bucket
	limits *kv.Bucket // has the number of slots; nil for a Lock
	key    string     // of slot 0 and so on, followed by a dot and the number
	lease  time.Duration
	owner  string
	slots  func(ctx context.Context) (int, error)
	wakeup string // subject of messages that say that a slot is free

	turn   twill.Lock // acquires contend one at a time, in their order
	seen   []kv.Observer
	closed context.Context
	close  context.CancelCauseFunc
}

// NewSemaphore returns the semaphore called name. If it does not exist in the
// bucket yet it gets n slots; otherwise it has those that it has, see
// [Semaphore.Resize]. It panics if n is less than one. For the rest see
// [NewLock].
func NewSemaphore(ctx context.Context, conn *nats.Conn, name string, n int, opts *LockOptions) (*Semaphore, error) {
	if n < 1 {
		panic("jetstream: NewSemaphore with fewer than one slot")
	}
	s, err := newSemaphore(ctx, conn, "semaphore", name, opts)
	if err != nil {
		return nil, err
	}
	config := kv.Config{Name: s.b.Name() + "-limits", Description: "numbers of slots of twill's semaphores", Replicas: replicas(opts)}
	if s.limits, err = kv.Open(ctx, conn, config); err != nil {
		return nil, err
	}
	s.slots = s.Limit
	create := func(ctx context.Context) (uint64, error) {
		return s.limits.Write(ctx, kv.Write{Key: s.key, Value: []byte(strconv.Itoa(n)), If: true, What: "limit"})
	}
	if _, err := kv.Retry(ctx, create); err != nil && !errors.Is(err, kv.ErrRefused) {
		return nil, err
	}
	return s, nil
}

func replicas(opts *LockOptions) int {
	if opts == nil {
		return 0
	}
	return opts.Replicas
}

func newSemaphore(ctx context.Context, conn *nats.Conn, kind, name string, opts *LockOptions) (*Semaphore, error) {
	if opts == nil {
		opts = &LockOptions{}
	}
	lease, err := leaseOf(opts.Lease)
	if err != nil {
		return nil, err
	}
	enc, err := kv.EncodeKey(name)
	if err != nil {
		return nil, err
	}
	bucket := opts.Bucket
	if bucket == "" {
		bucket = "twill-locks"
	}
	b, err := kv.Open(ctx, conn, kv.Config{Name: bucket, Description: "leases of twill's locks", MaxAge: lockAge, Replicas: replicas(opts)})
	if err != nil {
		return nil, err
	}
	if age := b.MaxAge(); age > 0 && age < 2*lease {
		return nil, fmt.Errorf("jetstream: bucket %s keeps keys for %v, and a Lease of %v needs twice its time", bucket, age, lease)
	}
	s := &Semaphore{b: b, key: kind + "." + enc, lease: lease, owner: kv.NewID()}
	s.wakeup = "twill.wake." + bucket + "." + s.key
	s.slots = func(context.Context) (int, error) { return 1, nil }
	s.closed, s.close = context.WithCancelCause(context.Background())
	return s, nil
}

// Acquire is [Lock.Acquire].
func (s *Semaphore) Acquire() *twill.Future[*Lease] {
	return twill.GoWith(context.Background(), s.AcquireWait, &twill.GoOptions[*Lease]{
		Discard: func(l *Lease) { _ = l.Release() },
	})
}

// AcquireWait is [Lock.AcquireWait].
func (s *Semaphore) AcquireWait(ctx context.Context) (*Lease, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.closed, func() { cancel(twill.ErrClosed) })()
	if s.closed.Err() != nil {
		return nil, twill.ErrClosed
	}
	done, err := s.turn.AcquireWait(both)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.contend(both)
}

// TryAcquire is [Lock.TryAcquire].
func (s *Semaphore) TryAcquire(ctx context.Context) (lease *Lease, ok bool, err error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	if s.closed.Err() != nil {
		return nil, false, nil
	}
	done, ok := s.turn.TryAcquire()
	if !ok {
		return nil, false, nil // others wait for it
	}
	defer done()
	lease, _, err = s.claim(ctx)
	if lease == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return lease, lease != nil, err
}

// Run is [Lock.Run].
func (s *Semaphore) Run(ctx context.Context, fn func(context.Context) error) *twill.Future[struct{}] {
	if fn == nil {
		panic("jetstream: Run with a nil function")
	}
	return twill.Go(ctx, func(ctx context.Context) (none struct{}, err error) {
		lease, err := s.AcquireWait(ctx)
		if err != nil {
			return none, err
		}
		defer func() { _ = lease.Release() }()
		held, cancel := context.WithCancelCause(context.WithValue(ctx, tokenKey{}, lease.Token()))
		defer cancel(nil)
		stop := context.AfterFunc(lease.Context(), func() { cancel(context.Cause(lease.Context())) })
		defer stop()
		err = fn(held)
		if lease.l.Lost() {
			if err == nil {
				return none, ErrLeaseLost
			}
			return none, fmt.Errorf("%w: %w", ErrLeaseLost, err)
		}
		return none, err
	})
}

// Limit returns the number of slots.
func (s *Semaphore) Limit(ctx context.Context) (int, error) {
	e, err := kv.Retry(ctx, func(ctx context.Context) (kv.Entry, error) { return s.limits.Get(ctx, s.key) })
	if err != nil || !e.Exists {
		return 1, err
	}
	n, err := strconv.Atoi(string(e.Value))
	if err != nil || n < 1 {
		return 0, fmt.Errorf("jetstream: limit %q of a semaphore", e.Value)
	}
	return n, nil
}

// Resize changes the number of slots to n for all processes. If there are
// fewer, no holder loses its lease: the slots that are too many are not used
// again. Resize panics if n is less than one. If ctx ends it returns
// context.Cause of ctx, and the number may have been changed.
func (s *Semaphore) Resize(ctx context.Context, n int) error {
	if n < 1 {
		panic("jetstream: Resize to fewer than one slot")
	}
	id := kv.NewID()
	_, err := kv.Retry(ctx, func(ctx context.Context) (uint64, error) {
		return s.limits.Write(ctx, kv.Write{Key: s.key, Value: []byte(strconv.Itoa(n)), ID: id, What: "limit"})
	})
	if err == nil {
		s.wake()
	}
	return err
}

// Close is [Lock.Close].
func (s *Semaphore) Close() { s.close(twill.ErrClosed) }

// contend claims a slot, and waits until it gets one.
func (s *Semaphore) contend(ctx context.Context) (*Lease, error) {
	lease, _, err := s.claim(ctx)
	if lease != nil || err != nil && kv.Permanent(err) {
		return lease, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	// One process that waits is woken for each slot that becomes free. What is
	// lost on the way is found by a read each second or so.
	wakes := make(chan struct{}, 1)
	sub, err := s.b.Conn().QueueSubscribe(s.wakeup, "waiters", func(*nats.Msg) {
		select {
		case wakes <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	woken := false
	defer func() {
		_ = sub.Unsubscribe()
		if lease == nil && woken || len(wakes) > 0 {
			s.wake() // another process may use the slot
		}
	}()
	for {
		var wait time.Duration
		lease, wait, err = s.claim(ctx)
		switch {
		case ctx.Err() != nil && lease == nil:
			return nil, context.Cause(ctx)
		case lease != nil, err != nil && kv.Permanent(err):
			return lease, err
		}
		woken = false
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-wakes:
			woken = true
		case <-timer.C:
		}
		timer.Stop()
	}
}

// claim makes one attempt at each slot. It returns when to look again if it got
// none. It is called by one goroutine at a time.
func (s *Semaphore) claim(ctx context.Context) (*Lease, time.Duration, error) {
	n, err := s.slots(ctx)
	if err != nil {
		return nil, time.Second, err
	}
	for len(s.seen) < n {
		s.seen = append(s.seen, kv.Observer{})
	}
	wait := min(time.Second, s.lease/4)
	first := rand.IntN(n) // contenders do not all try the same slot
	for i := range n {
		slot := (first + i) % n
		lease, expires, claimErr := s.claimSlot(ctx, slot)
		if lease != nil {
			return lease, 0, nil
		}
		if claimErr != nil {
			err = claimErr
			if ctx.Err() != nil || kv.Permanent(err) {
				return nil, wait, err
			}
		}
		wait = min(wait, expires)
	}
	// Not all at the same time.
	return nil, wait/2 + rand.N(wait/2+1), err
}

// claimSlot makes one attempt at a slot. If another process has it, it returns
// when its lease may have expired.
func (s *Semaphore) claimSlot(ctx context.Context, slot int) (*Lease, time.Duration, error) {
	key, start := s.key+"."+strconv.Itoa(slot), time.Now()
	e, err := s.b.Get(ctx, key)
	if err != nil {
		return nil, time.Second, err
	}
	r, err := kv.ReadRecord(e)
	if err != nil {
		return nil, time.Second, err
	}
	if r.Holder != "" {
		if left := r.Duration() - s.seen[slot].See(e.Rev, start); left > 0 {
			return nil, left + time.Millisecond, nil
		}
	}
	l, err := s.b.Claim(ctx, key, e.Rev, kv.Record{Holder: kv.NewID(), Owner: s.owner, LeaseMS: s.lease.Milliseconds()})
	if errors.Is(err, kv.ErrRefused) {
		return nil, time.Millisecond, nil // another process was faster
	}
	if err != nil {
		return nil, time.Second, err
	}
	return &Lease{s: s, l: l, slot: slot, ctx: context.WithValue(l.Context(), tokenKey{}, l.Token())}, 0, nil
}

// wake makes one process that waits look for a free slot.
func (s *Semaphore) wake() { _ = s.b.Conn().Publish(s.wakeup, nil) }

// Lease is what an acquire of a [Lock] or a [Semaphore] returns: the right to
// one slot, until it is released or lost. It renews itself while it is held.
type Lease struct {
	s    *Semaphore
	l    *kv.Lease
	slot int
	ctx  context.Context // for the user: a lease is made for work to be done under it
	once sync.Once
}

// Token is a number that is larger than the tokens of all leases of this bucket
// that were acquired before. It stays so as long as the bucket is not deleted
// and its servers lose no acknowledged write.
func (l *Lease) Token() uint64 { return l.l.Token() }

// Slot is the number of the slot, from 0. The slot of a [Lock] is 0.
func (l *Lease) Slot() int { return l.slot }

// Context ends when the lease is lost, with the cause [ErrLeaseLost], or
// released, with the cause [ErrLeaseReleased]. Work under the lease should use
// it, and stop when it ends. It has the values of the context of AcquireWait,
// but does not end with that, and has the token, for [Token].
func (l *Lease) Context() context.Context { return l.ctx }

// Release ends the context and gives the slot to others. It returns when the
// bucket has it. If that fails for the time of a lease, the slot becomes free
// when the lease has expired, and Release returns an error; it is ErrLeaseLost
// if the lease was lost. A second Release does nothing and returns nil.
func (l *Lease) Release() (err error) {
	l.once.Do(func() {
		err = l.l.Release()
		l.s.wake()
	})
	return err
}

// tokenKey is the key of the token in a context.
type tokenKey struct{}

// Token returns the token of the lease under which a function runs, from its
// context: that of a [Lease], of [Lock.Run], or of the function of a [Pooler].
// It returns 0 for any other context. The store that the function changes can
// refuse a token that is lower than one it has seen, as a [Fence] does.
func Token(ctx context.Context) uint64 {
	token, _ := ctx.Value(tokenKey{}).(uint64)
	return token
}

// Fence keeps holders of a lease that has expired away from what the lease
// protects: it admits no token that is lower than one admitted before. It
// belongs in the process that has the protected store, where all changes go
// through; a database does the same with a column for the token, and "WHERE
// token <= new_token" in each update.
//
// The zero value admits any token. A Fence must not be copied. Its methods may
// be called by several goroutines. Use one Fence for each Lock, for each slot
// of a Semaphore, and for each key of a Pooler.
type Fence struct {
	mu  sync.Mutex
	max uint64
}

// Admit returns [ErrStaleToken] if token is lower than one that was admitted.
// It has to be called under the same lock, or in the same transaction, as the
// change it guards.
func (f *Fence) Admit(token uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if token < f.max {
		return ErrStaleToken
	}
	f.max = token
	return nil
}
