package jetstream_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"

	"github.com/twillgo/twill/jetstream"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// shortLease is long enough for a loaded machine, where a renewal at a third of
// it may come late.
const shortLease = 3 * time.Second

func newLock(t testing.TB, conn *nats.Conn, name string, opts *jetstream.LockOptions) *jetstream.Lock {
	t.Helper()
	l, err := jetstream.NewLock(withPatience(t), conn, name, opts)
	require.NoError(t, err)
	return l
}

func TestLockExcludes(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	var holders, most, token atomic.Int64
	var all sync.WaitGroup
	for range 4 { // processes
		l := newLock(t, s.Connect(t), "a lock", nil)
		for range 3 {
			all.Go(func() {
				for range 5 {
					lease, err := l.AcquireWait(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					most.Store(max(most.Load(), holders.Add(1)))
					if last := token.Swap(int64(lease.Token())); last >= int64(lease.Token()) {
						t.Errorf("token %d after %d", lease.Token(), last)
					}
					holders.Add(-1)
					if err := lease.Release(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	require.EqualValues(t, 1, most.Load())
}

func TestLockInOneProcessIsInOrder(t *testing.T) {
	t.Parallel()
	l := newLock(t, natstest.Start(t, nil).Connect(t), "l", nil)
	ctx := withPatience(t)
	lease, err := l.AcquireWait(ctx)
	require.NoError(t, err)
	var order []int
	var mu sync.Mutex
	var all []*twill.Future[struct{}]
	for i := range 5 {
		f := l.Acquire()
		all = append(all, twill.Then(f, func(lease *jetstream.Lease) (struct{}, error) {
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			return struct{}{}, lease.Release()
		}))
		time.Sleep(5 * time.Millisecond) // each acquire runs on a goroutine of its own
	}
	require.NoError(t, lease.Release())
	_, err = twill.All(all...).Await(ctx)
	require.NoError(t, err)
	require.Equal(t, []int{0, 1, 2, 3, 4}, order)
}

func TestLockIsHandedOverAtOnce(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	// No acquire can succeed by looking again after a while: that takes longer
	// than this test waits.
	first, second := newLock(t, s.Connect(t), "l", nil), newLock(t, s.Connect(t), "l", nil)
	ctx := withPatience(t)
	lease, err := first.AcquireWait(ctx)
	require.NoError(t, err)
	var late int
	for range 20 {
		waiting := second.Acquire()
		time.Sleep(20 * time.Millisecond) // until it waits
		released := time.Now()
		require.NoError(t, lease.Release())
		lease, err = waiting.Await(ctx)
		require.NoError(t, err)
		if time.Since(released) > 300*time.Millisecond {
			late++
		}
		first, second = second, first
	}
	require.Less(t, late, 10, "acquires that were not woken")
}

func TestLockOfAProcessThatDies(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	l := newLock(t, s.Connect(t), "l", &jetstream.LockOptions{Lease: shortLease})
	for _, end := range []string{"SIGKILL", "SIGSTOP"} {
		t.Run(end, func(t *testing.T) {
			c := startChild(t, "TestChildHoldsALock", s.URL())
			before, err := strconv.ParseUint(c.line(t), 10, 64)
			require.NoError(t, err)
			_, ok, err := l.TryAcquire(withPatience(t))
			require.NoError(t, err)
			require.False(t, ok)

			began := time.Now()
			if end == "SIGKILL" {
				c.signal(t, syscall.SIGKILL)
			} else {
				c.signal(t, syscall.SIGSTOP)
			}
			lease, err := l.AcquireWait(withPatience(t))
			require.NoError(t, err)
			require.Greater(t, time.Since(began), shortLease/2, "a lease lasts")
			require.Greater(t, lease.Token(), before)
			if end == "SIGSTOP" {
				c.signal(t, syscall.SIGCONT)
				require.Equal(t, "jetstream: lease lost", c.line(t))
				require.NoError(t, lease.Context().Err())
			}
			require.NoError(t, lease.Release())
		})
	}
}

func TestChildHoldsALock(t *testing.T) {
	conn, err := nats.Connect(isChild(t), natstest.ClientOptions()...)
	require.NoError(t, err)
	go orphaned()
	l := newLock(t, conn, "l", &jetstream.LockOptions{Lease: shortLease})
	lease, err := l.AcquireWait(context.Background())
	require.NoError(t, err)
	say(strconv.FormatUint(lease.Token(), 10))
	<-lease.Context().Done()
	say(context.Cause(lease.Context()).Error())
	select {}
}

func TestRunEndsItsFunctionWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	proxy := natstest.StartProxy(t, s.Nodes[0])
	cut := natstest.Connect(t, proxy.URL(), nats.IgnoreDiscoveredServers())
	opts := &jetstream.LockOptions{Lease: shortLease}
	l, other := newLock(t, cut, "l", opts), newLock(t, s.Connect(t), "l", opts)

	var token uint64
	var ended time.Time
	holds := make(chan bool)
	f := l.Run(context.Background(), func(ctx context.Context) error {
		token = jetstream.Token(ctx)
		close(holds)
		<-ctx.Done()
		ended = time.Now()
		require.ErrorIs(t, context.Cause(ctx), jetstream.ErrLeaseLost)
		return errors.New("stopped")
	})
	receive(t, holds)
	proxy.Block()
	lease, err := other.AcquireWait(withPatience(t))
	taken := time.Now()
	require.NoError(t, err)
	require.Greater(t, lease.Token(), token)
	proxy.Unblock()
	_, err = f.Await(withPatience(t))
	require.ErrorIs(t, err, jetstream.ErrLeaseLost)
	require.ErrorContains(t, err, "stopped")
	require.True(t, ended.Before(taken), "the function ends before another process has the lock")
	require.NoError(t, lease.Context().Err(), "the old holder does not take it back")
	require.NoError(t, lease.Release())
}

func TestRunReleases(t *testing.T) {
	t.Parallel()
	l := newLock(t, natstest.Start(t, nil).Connect(t), "l", nil)
	ctx := withPatience(t)
	for _, fn := range []func(context.Context) error{
		func(context.Context) error { return nil },
		func(context.Context) error { panic("boom") },
		func(ctx context.Context) error { return context.Cause(ctx) },
	} {
		_, _ = l.Run(ctx, fn).Await(ctx)
	}
	lease, ok, err := l.TryAcquire(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	require.Zero(t, lease.Slot())
	require.NoError(t, lease.Release())
	require.NoError(t, lease.Release(), "a second one does nothing")
	require.ErrorIs(t, context.Cause(lease.Context()), jetstream.ErrLeaseReleased)
	require.Equal(t, lease.Token(), jetstream.Token(lease.Context()))
	require.Zero(t, jetstream.Token(ctx))
}

func TestAcquireWaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	holder, l := newLock(t, s.Connect(t), "l", nil), newLock(t, s.Connect(t), "l", nil)
	lease, err := holder.AcquireWait(withPatience(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error)
	go func() {
		_, err := l.AcquireWait(ctx)
		done <- err
	}()
	f := l.Acquire()
	boom := errors.New("boom")
	cancel(boom)
	require.ErrorIs(t, receive(t, done), boom)
	_, err = l.AcquireWait(ctx)
	require.ErrorIs(t, err, boom)
	l.Close()
	_, err = f.Await(withPatience(t))
	require.ErrorIs(t, err, twill.ErrClosed)
	_, err = l.AcquireWait(withPatience(t))
	require.ErrorIs(t, err, twill.ErrClosed)
	require.NoError(t, lease.Release())
}

func TestSemaphoreLimitsHoldersInTheCluster(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	ctx := withPatience(t)
	var holders, most atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		sem, err := jetstream.NewSemaphore(ctx, s.Connect(t), "three", 3, &jetstream.LockOptions{Replicas: 3})
		require.NoError(t, err)
		for range 4 {
			all.Go(func() {
				for range 3 {
					_, err := sem.Run(ctx, func(context.Context) error {
						now := holders.Add(1)
						for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
						}
						time.Sleep(5 * time.Millisecond) // so that holders overlap
						holders.Add(-1)
						return nil
					}).Await(ctx)
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	require.LessOrEqual(t, most.Load(), int64(3))
	require.Greater(t, most.Load(), int64(1))
}

func TestSemaphoreResize(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, nil)
	ctx := withPatience(t)
	a, err := jetstream.NewSemaphore(ctx, s.Connect(t), "s", 2, nil)
	require.NoError(t, err)
	b, err := jetstream.NewSemaphore(ctx, s.Connect(t), "s", 7, nil) // it exists
	require.NoError(t, err)
	n, err := b.Limit(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, n)

	var leases []*jetstream.Lease
	for range 2 {
		lease, err := b.AcquireWait(ctx)
		require.NoError(t, err)
		leases = append(leases, lease)
	}
	require.NotEqual(t, leases[0].Slot(), leases[1].Slot())
	waiting := b.Acquire()
	require.NoError(t, a.Resize(ctx, 3))
	lease, err := waiting.Await(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, lease.Slot())
	require.NoError(t, a.Resize(ctx, 1))
	require.NoError(t, lease.Context().Err(), "no holder loses its lease")
	require.NoError(t, lease.Release())
	_, ok, err := a.TryAcquire(ctx)
	require.NoError(t, err)
	require.False(t, ok, "the slot is not used again")
	for _, lease := range leases {
		require.NoError(t, lease.Release())
	}
}

// A lock goes on through the restart of each server of a cluster, and is held
// by one process at a time.
func TestLockOverRestarts(t *testing.T) {
	t.Parallel()
	s := natstest.StartCluster(t, nil)
	opts := &jetstream.LockOptions{Replicas: 3} // the default lease outlasts an election
	ctx, cancel := context.WithCancel(withPatience(t))
	defer cancel()
	var holders, overlaps, turns atomic.Int64
	var all sync.WaitGroup
	for range 3 {
		l := newLock(t, s.Connect(t), "l", opts)
		all.Go(func() {
			for ctx.Err() == nil {
				_, _ = l.Run(ctx, func(context.Context) error {
					if holders.Add(1) > 1 {
						overlaps.Add(1)
					}
					turns.Add(1)
					time.Sleep(time.Millisecond)
					holders.Add(-1)
					return nil
				}).Await(context.Background())
			}
		})
	}
	for _, node := range s.Nodes {
		seen := turns.Load()
		eventually(t, func() bool { return turns.Load() > seen+5 }, "the lock goes round")
		node.Kill()
		require.NoError(t, node.Restart())
		require.NoError(t, s.WaitReady())
	}
	seen := turns.Load()
	eventually(t, func() bool { return turns.Load() > seen+5 }, "the lock goes round")
	cancel()
	all.Wait()
	require.Zero(t, overlaps.Load())
}

func TestFenceRefusesOldTokens(t *testing.T) {
	var f jetstream.Fence
	require.NoError(t, f.Admit(5))
	require.NoError(t, f.Admit(5))
	require.NoError(t, f.Admit(9))
	require.ErrorIs(t, f.Admit(8), jetstream.ErrStaleToken)
	require.NoError(t, f.Admit(9))
}

func TestLockOptionsAreChecked(t *testing.T) {
	t.Parallel()
	conn := natstest.Start(t, nil).Connect(t)
	for _, lease := range []time.Duration{-1, time.Millisecond, 2 * time.Hour} {
		_, err := jetstream.NewLock(withPatience(t), conn, "l", &jetstream.LockOptions{Lease: lease})
		require.ErrorContains(t, err, "Lease")
	}
	_, err := jetstream.NewLock(withPatience(t), conn, "l", &jetstream.LockOptions{Bucket: "no/bucket"})
	require.ErrorContains(t, err, "name")
	_, err = jetstream.NewLock(withPatience(t), conn, "l", &jetstream.LockOptions{Bucket: "three", Replicas: 3})
	require.Error(t, err, "one server has no three replicas")
}

func TestLockWithoutItsBucket(t *testing.T) {
	t.Parallel()
	conn := natstest.Start(t, nil).Connect(t)
	l := newLock(t, conn, "l", nil)
	js, err := conn.JetStream()
	require.NoError(t, err)
	require.NoError(t, js.DeleteKeyValue("twill-locks"))
	_, err = l.AcquireWait(withPatience(t))
	require.ErrorIs(t, err, jetstream.ErrNoBucket)

	l = newLock(t, conn, "l", nil)
	conn.Close()
	_, err = l.AcquireWait(withPatience(t))
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}
