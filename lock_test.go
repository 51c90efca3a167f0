package twill_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Twisted's test_defer.py: testLock.
func TestLock(t *testing.T) {
	var l twill.Lock
	require.False(t, l.Locked())
	first := acquired(t, l.Acquire())
	require.True(t, l.Locked())
	second, third := l.Acquire(), l.Acquire()
	kit.RequirePending(t, second)
	require.Equal(t, 2, l.Waiting())
	first()
	require.True(t, l.Locked())
	release := acquired(t, second)
	kit.RequirePending(t, third)
	release()
	acquired(t, third)()
	require.False(t, l.Locked())
}

func TestLockAcquireWaitAndTryAcquire(t *testing.T) {
	var l twill.Lock
	release, err := l.AcquireWait(t.Context())
	require.NoError(t, err)
	_, ok := l.TryAcquire()
	require.False(t, ok)
	release()
	release, ok = l.TryAcquire()
	require.True(t, ok)
	release()
}

func TestRunHoldsTheLockWhileTheFunctionRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		var log []string
		run := func(name string, err error) *twill.Future[struct{}] {
			return l.Run(t.Context(), func(context.Context) error {
				log = append(log, name+" begins")
				time.Sleep(time.Second)
				log = append(log, name+" ends")
				return err
			})
		}
		a, b := run("a", kit.ErrBoom), run("b", nil)
		require.True(t, l.Locked())
		require.Equal(t, 1, l.Waiting())
		kit.AwaitValue(t, b, struct{}{})
		kit.AwaitError(t, a, kit.ErrBoom)
		require.Equal(t, []string{"a begins", "a ends", "b begins", "b ends"}, log)
		require.False(t, l.Locked())
	})
}

// A canceled function is still running: it holds the lock until it returns.
func TestRunKeepsTheLockUntilACanceledFunctionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		f := twill.RunWith(t.Context(), &l, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			require.Equal(t, kit.ErrBoom, context.Cause(ctx))
			time.Sleep(time.Second)
			return 1, nil
		})
		synctest.Wait()
		require.True(t, f.Cancel(kit.ErrBoom))
		kit.RequireFailure(t, kit.ErrBoom, f)
		synctest.Wait()
		require.True(t, l.Locked())
		_, err := l.AcquireWait(t.Context())
		require.NoError(t, err)
	})
}

func TestRunInLineIsNotCalledOnceCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		release := acquired(t, l.Acquire())
		ctx, cancel := context.WithCancelCause(t.Context())
		call := func(context.Context) (int, error) {
			t.Error("called")
			return 0, nil
		}
		byCancel := twill.RunWith(t.Context(), &l, call)
		byContext := twill.RunWith(ctx, &l, call)
		require.Equal(t, 2, l.Waiting())
		require.True(t, byCancel.Cancel(kit.ErrFirst))
		cancel(kit.ErrSecond)
		synctest.Wait()
		kit.RequireFailure(t, kit.ErrFirst, byCancel)
		kit.RequireFailure(t, kit.ErrSecond, byContext)
		require.Zero(t, l.Waiting())
		kit.RequireFailure(t, kit.ErrSecond, twill.RunWith(ctx, &l, call))
		release()
		require.False(t, l.Locked())
		kit.RequireFailure(t, kit.ErrSecond, twill.RunWith(ctx, &l, call))
	})
}

func TestRunReleasesAfterAPanicAndAnExit(t *testing.T) {
	var l twill.Lock
	f := l.Run(t.Context(), func(context.Context) error { panic(kit.ErrBoom) })
	kit.AwaitError(t, f, kit.ErrBoom)
	f = l.Run(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
	kit.AwaitError(t, f, twill.ErrGoexit)
	release, err := l.AcquireWait(t.Context())
	require.NoError(t, err)
	release()
}

func TestRunWithDiscardsLateValues(t *testing.T) {
	reports := kit.CollectReports(t)
	for name, c := range map[string]struct {
		cancel bool
		err    error
		want   []int
	}{
		"in time":                 {false, nil, nil},
		"late":                    {true, nil, []int{7}},
		"late, and with an error": {true, kit.ErrFirst, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l twill.Lock
				var discarded []int
				gate := make(chan struct{})
				f := twill.RunWith(t.Context(), &l, func(context.Context) (int, error) { <-gate; return 7, c.err },
					twill.RunOptions[int]{Discard: func(v int) {
						discarded = append(discarded, v)
						require.False(t, l.Locked())
						panic(kit.ErrBoom) // the panic is only reported
					}}, twill.RunOptions[int]{})
				if c.cancel {
					require.True(t, f.Cancel(nil))
				}
				require.True(t, l.Locked())
				close(gate)
				synctest.Wait()
				require.Equal(t, c.want, discarded)
				if !c.cancel {
					kit.RequireValue(t, 7, f)
				}
			})
		})
	}
	reports.Await(t, kit.ErrBoom)
	require.Len(t, reports.Of(kit.ErrBoom), 1)
}

func TestRunWithFuture(t *testing.T) {
	s := twill.NewSemaphore(1)
	var promises [2]twill.Promise[int]
	var log []string
	run := func(i int) *twill.Future[int] {
		return twill.RunWithFuture(s, func() *twill.Future[int] {
			log = append(log, "start")
			return promises[i].Future()
		})
	}
	a, b := run(0), run(1)
	a.Tap(func(int, error) { log = append(log, "ran") })
	require.Equal(t, []string{"start"}, log)
	promises[0].Reject(kit.ErrBoom)
	require.Equal(t, []string{"start", "start", "ran"}, log, "released before anybody hears of it")
	kit.AwaitError(t, a, kit.ErrBoom)
	require.True(t, b.Cancel(nil))
	kit.AwaitError(t, promises[1].Future(), twill.ErrCanceled)
	require.Equal(t, 1, s.Tokens())
}

// A future with other dependents goes on, so the token is still in use.
func TestRunWithFutureKeepsTheTokenOfASharedFuture(t *testing.T) {
	var l twill.Lock
	var p twill.Promise[int]
	shared := twill.Then(p.Future(), kit.Same[int])
	f := twill.RunWithFuture(&l, p.Future)
	require.True(t, f.Cancel(nil))
	kit.AwaitError(t, f, twill.ErrCanceled)
	kit.RequirePending(t, shared)
	require.True(t, l.Locked())
	p.Resolve(1)
	kit.AwaitValue(t, shared, 1)
	require.False(t, l.Locked())
}

func TestRunWithFutureReleasesWhateverTheFunctionDoes(t *testing.T) {
	var l twill.Lock
	f := twill.RunWithFuture(&l, func() *twill.Future[int] { panic(kit.ErrBoom) })
	kit.AwaitError(t, f, kit.ErrBoom)
	f = twill.RunWithFuture(&l, func() *twill.Future[int] { return nil })
	_, err := kit.AwaitSoon(f)
	require.ErrorContains(t, err, "nil future")
	kit.AwaitValue(t, twill.RunWithFuture(&l, func() *twill.Future[int] { return twill.Resolved(1) }), 1)
	require.False(t, l.Locked())

	release := acquired(t, l.Acquire())
	f = twill.RunWithFuture(&l, func() *twill.Future[int] { runtime.Goexit(); return nil })
	go release()
	kit.AwaitError(t, f, twill.ErrGoexit)
	require.Eventually(t, func() bool { return !l.Locked() }, 5*time.Second, time.Millisecond)
}

// Each run in line returns a future that has settled already.
func TestRunWithFutureOfManyInLine(t *testing.T) {
	runs := 200_000
	if !kit.Long() {
		runs = 20_000
	}
	kit.SmallStack(t)
	var l twill.Lock
	release := acquired(t, l.Acquire())
	var last *twill.Future[int]
	for i := range runs {
		last = twill.RunWithFuture(&l, func() *twill.Future[int] { return twill.Resolved(i) })
	}
	release()
	kit.AwaitValue(t, last, runs-1)
}

func TestLockMisuse(t *testing.T) {
	var l twill.Lock
	var noContext context.Context
	nothing := func(context.Context) (int, error) { return 0, nil }
	for what, fn := range map[string]func(){
		"NewSemaphore with fewer than one token": func() { twill.NewSemaphore(0) },
		"Run with a nil function":                func() { l.Run(t.Context(), nil) },
		"RunWith with a nil context":             func() { twill.RunWith(noContext, &l, nothing) },
		"RunWith with a nil function":            func() { twill.RunWith[int](t.Context(), &l, nil) },
		"RunWith with nothing to acquire":        func() { twill.RunWith(t.Context(), nil, nothing) },
		"RunWithFuture with a nil function":      func() { twill.RunWithFuture[int](&l, nil) },
		"RunWithFuture with nothing to acquire":  func() { twill.RunWithFuture(nil, func() *twill.Future[int] { return nil }) },
		"AcquireWait with a nil context":         func() { l.AcquireWait(noContext) },
		"AcquireNWait with a nil context":        func() { new(twill.Semaphore).AcquireNWait(noContext, 1) },
		"AcquireNWait of fewer than one token":   func() { new(twill.Semaphore).AcquireNWait(t.Context(), 0) },
		"AcquireN of fewer than one token":       func() { new(twill.Semaphore).AcquireN(-1) },
		"Resize to fewer than one token":         func() { new(twill.Semaphore).Resize(0) },
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, fn) })
	}
	require.False(t, l.Locked())
}

// TestRunWithIsNotEndedByTheNextInLine: the handler that the release runs ends
// the goroutine, but the result of the function is not lost.
func TestRunWithIsNotEndedByTheNextInLine(t *testing.T) {
	var l twill.Lock
	begin := make(chan struct{})
	f := twill.RunWith(t.Context(), &l, func(context.Context) (int, error) {
		<-begin
		return 7, nil
	})
	next := twill.Then(l.Acquire(), func(release func()) (int, error) {
		release()
		runtime.Goexit()
		return 0, nil
	})
	close(begin)
	v, err := f.Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 7, v)
	kit.AwaitError(t, next, twill.ErrGoexit)
	require.False(t, l.Locked())
}

// badLock panics when it is released.
type badLock struct{}

func (badLock) Acquire() *twill.Future[func()] {
	return twill.Resolved(func() { panic("not held") })
}

func TestRunWithAReleaseThatPanics(t *testing.T) {
	f := twill.RunWith(t.Context(), badLock{}, func(context.Context) (int, error) { return 7, nil })
	_, err := f.Await(t.Context())
	var p *twill.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "not held", p.Value)
}

// acquired returns the release function of a token that f must have acquired.
func acquired(t *testing.T, f *twill.Future[func()]) func() {
	t.Helper()
	r, ok := f.Poll()
	require.True(t, ok, "no token")
	require.NoError(t, r.Err)
	return r.Value
}

func TestSemaphoreHandsOverInOrder(t *testing.T) {
	s := twill.NewSemaphore(2)
	require.Equal(t, 2, s.Limit())
	one, two := acquired(t, s.Acquire()), acquired(t, s.Acquire())
	require.Zero(t, s.Tokens())
	third, fourth := s.Acquire(), s.Acquire()
	kit.RequirePending(t, third)
	require.Equal(t, 2, s.Waiting())
	one()
	three := acquired(t, third)
	kit.RequirePending(t, fourth)
	require.Equal(t, 1, s.Waiting())
	require.Zero(t, s.Tokens())
	two()
	four := acquired(t, fourth)
	three()
	require.Equal(t, 1, s.Tokens())
	four()
	require.Equal(t, 2, s.Tokens())
}

func TestSemaphoreReleaseWorksOnce(t *testing.T) {
	s := twill.NewSemaphore(1)
	release := acquired(t, s.Acquire())
	waiting := s.Acquire()
	release()
	release()
	require.Zero(t, s.Tokens(), "the second holder has it")
	second := acquired(t, waiting)
	second()
	release()
	second()
	require.Equal(t, 1, s.Tokens())
}

func TestSemaphoreTryAcquire(t *testing.T) {
	var s twill.Semaphore // has one token
	release, ok := s.TryAcquire()
	require.True(t, ok)
	none, ok := s.TryAcquire()
	require.False(t, ok)
	require.Nil(t, none)
	waiting := s.Acquire()
	release()
	_, ok = s.TryAcquire()
	require.False(t, ok, "nobody overtakes")
	acquired(t, waiting)()
	release()
	require.Equal(t, 1, s.Tokens())
	release, ok = s.TryAcquire()
	require.True(t, ok)
	release()
}

func TestSemaphoreCanceledWaitLeavesTheLine(t *testing.T) {
	s := twill.NewSemaphore(1)
	release := acquired(t, s.Acquire())
	first, second, third := s.Acquire(), s.Acquire(), s.Acquire()
	require.True(t, second.Cancel(kit.ErrBoom))
	kit.AwaitError(t, second, kit.ErrBoom)
	kit.AwaitError(t, second, twill.ErrCanceled)
	require.Equal(t, 2, s.Waiting())
	require.True(t, first.Cancel(nil))
	release()
	acquired(t, third)()
	require.Equal(t, 1, s.Tokens())
	require.False(t, third.Cancel(nil), "it was handed over")
}

func TestSemaphoreCancelAfterAcquiredKeepsTheToken(t *testing.T) {
	s := twill.NewSemaphore(1)
	f := s.Acquire()
	require.False(t, f.Cancel(nil))
	require.Zero(t, s.Tokens())
	acquired(t, f)()
	require.Equal(t, 1, s.Tokens())
}

// golang/go#63615: a context that has ended must not acquire.
func TestSemaphoreAcquireWaitWithAnEndedContext(t *testing.T) {
	var s twill.Semaphore
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrBoom)
	release, err := s.AcquireWait(ctx)
	require.ErrorIs(t, err, kit.ErrBoom)
	require.Nil(t, release)
	require.Equal(t, 1, s.Tokens())
}

func TestSemaphoreAcquireWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s twill.Semaphore
		release, err := s.AcquireWait(t.Context())
		require.NoError(t, err)
		time.AfterFunc(time.Second, release)
		release, err = s.AcquireWait(t.Context())
		require.NoError(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = s.AcquireWait(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, s.Waiting())
		release()
		require.Equal(t, 1, s.Tokens())
	})
}

// golang/go#37852 and similar: whatever is canceled, no token is lost, none is
// made, and no acquire waits while a token is free.
func TestSemaphoreNeverLosesAToken(t *testing.T) {
	for seed := range uint64(60) {
		limit := 1 + int(seed%3)
		s := twill.NewSemaphore(limit)
		var holders, most atomic.Int64
		hold := func(release func()) {
			n := holders.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			runtime.Gosched()
			holders.Add(-1)
			release()
		}
		kit.Watchdog(t, func() {
			var wg sync.WaitGroup
			for g := range 4 {
				rnd := rand.New(rand.NewPCG(seed, uint64(g)))
				wg.Go(func() {
					for range 60 {
						semaphoreStep(s, rnd, hold)
					}
				})
			}
			wg.Wait()
			for s.Tokens() < limit { // contexts and goroutines of Run may not have ended yet
				runtime.Gosched()
			}
		})
		require.LessOrEqual(t, most.Load(), int64(limit))
		require.Equal(t, limit, s.Tokens())
		require.Zero(t, s.Waiting())
	}
}

// semaphoreStep acquires in a random way, and sometimes cancels that.
func semaphoreStep(s *twill.Semaphore, rnd *rand.Rand, hold func(release func())) {
	switch rnd.IntN(5) {
	case 0:
		f := s.Acquire()
		if !f.Cancel(nil) {
			release, _ := f.Await(context.Background())
			hold(release)
		}
	case 1:
		f := s.Acquire()
		held := make(chan struct{})
		f.Tap(func(release func(), err error) {
			if err == nil {
				hold(release)
			}
			close(held)
		})
		go f.Cancel(nil)
		<-held
	case 2:
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(30))*time.Microsecond)
		defer cancel()
		if release, err := s.AcquireWait(ctx); err == nil {
			hold(release)
		}
	case 3:
		if release, ok := s.TryAcquire(); ok {
			hold(release)
		}
	case 4:
		f := s.Run(context.Background(), func(context.Context) error {
			hold(func() {})
			return nil
		})
		if rnd.IntN(2) == 0 {
			go f.Cancel(nil)
		}
		f.Await(context.Background())
	}
}

func TestSemaphoreHandlersMayUseIt(t *testing.T) {
	var s twill.Semaphore
	release := acquired(t, s.Acquire())
	var again *twill.Future[func()]
	s.Acquire().Tap(func(release func(), _ error) {
		again = s.Acquire()
		release()
	})
	kit.Watchdog(t, release)
	acquired(t, again)()
	require.Equal(t, 1, s.Tokens())
}

// A handler that ends the goroutine of a release still has its token, and the
// acquires behind it get theirs.
func TestSemaphoreGoexitInAHandler(t *testing.T) {
	var s twill.Semaphore
	release := acquired(t, s.Acquire())
	first, second := s.Acquire(), s.Acquire()
	twill.Then(first, func(func()) (int, error) { runtime.Goexit(); return 0, nil })
	var wg sync.WaitGroup
	wg.Go(release)
	wg.Wait()
	kit.RequirePending(t, second)
	acquired(t, first)()
	acquired(t, second)()
	require.Equal(t, 1, s.Tokens())
}

// Each handler releases, which runs the next handler; the stack stays small.
func TestSemaphoreReleasesInHandlersNestABit(t *testing.T) {
	waiters := 300_000
	if !kit.Long() {
		waiters = 50_000
	}
	kit.SmallStack(t)
	s := twill.NewSemaphore(1)
	release := acquired(t, s.Acquire())
	var order atomic.Int64
	last := make(chan struct{})
	for i := range waiters {
		s.Acquire().Tap(func(release func(), _ error) {
			if !order.CompareAndSwap(int64(i), int64(i)+1) {
				t.Errorf("number %d came out of order", i)
			}
			release()
			if i == waiters-1 {
				close(last)
			}
		})
	}
	release()
	<-last
	require.EqualValues(t, waiters, order.Load())
	require.Eventually(t, func() bool { return s.Tokens() == 1 }, 5*time.Second, time.Millisecond)
}

func TestSemaphoreCanceledWaitsLeaveNothing(t *testing.T) {
	waits := 1_000_000
	if !kit.Long() {
		waits = 50_000
	}
	s := twill.NewSemaphore(1)
	release := acquired(t, s.Acquire())
	fs := make([]*twill.Future[func()], 1000)
	round := func() {
		for i := range fs {
			fs[i] = s.Acquire()
		}
		for _, i := range rand.Perm(len(fs)) {
			fs[i].Cancel(nil)
			fs[i] = nil
		}
	}
	round()
	before := kit.HeapInUse()
	for range waits / len(fs) {
		round()
	}
	require.Less(t, float64(kit.HeapInUse())-float64(before), 128*1024.0)
	require.Zero(t, s.Waiting())
	release()
	require.Equal(t, 1, s.Tokens())
}

func TestSemaphoreAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	var s twill.Semaphore
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() {
		r, _ := s.Acquire().Poll()
		r.Value()
	}), 2.0, "the future and its function")
	release, _ := s.TryAcquire()
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { s.Acquire().Cancel(nil) }), 4.0)
	release()
}

// A token was handed out in 299 of 300 rounds, and fn was called in all of
// them.
func TestNothingIsAcquiredAfterTheEndOfTheContext(t *testing.T) {
	called := func(context.Context) error { t.Error("called"); return nil }
	for name, acquire := range map[string]func(ctx context.Context, s *twill.Semaphore) error{
		"AcquireWait":  func(ctx context.Context, s *twill.Semaphore) error { _, err := s.AcquireWait(ctx); return err },
		"AcquireNWait": func(ctx context.Context, s *twill.Semaphore) error { _, err := s.AcquireNWait(ctx, 1); return err },
		"Run": func(ctx context.Context, s *twill.Semaphore) error {
			_, err := s.Run(ctx, called).Await(context.Background())
			return err
		},
		"RunWith": func(ctx context.Context, s *twill.Semaphore) error {
			_, err := twill.RunWith(ctx, s, func(ctx context.Context) (int, error) { return 0, called(ctx) }).Await(context.Background())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 300 {
				var s twill.Semaphore
				release, _ := s.TryAcquire()
				ctx, cancel := context.WithCancelCause(context.Background())
				errs := make(chan error)
				go func() { errs <- acquire(ctx, &s) }()
				for s.Waiting() == 0 {
					runtime.Gosched()
				}
				cancel(kit.ErrBoom)
				release()
				require.ErrorIs(t, <-errs, kit.ErrBoom)
				kit.Watchdog(t, func() {
					for s.Tokens() == 0 { // a wait has received it and returns it at once
						runtime.Gosched()
					}
				})
				require.Zero(t, s.Waiting())
			}
		})
	}
}

// One event is one error, whichever part notices the event first.
func TestRunWithHasOneErrorForTheEndOfItsContext(t *testing.T) {
	for _, cause := range []error{kit.ErrBoom, context.DeadlineExceeded} {
		ctx, cancel := context.WithCancelCause(t.Context())
		var l twill.Lock
		release, _ := l.TryAcquire()
		fn := func(context.Context) (int, error) { return 0, nil }
		inLine := twill.RunWith(ctx, &l, fn)
		cancel(cause)
		release()
		for _, f := range []*twill.Future[int]{inLine, twill.RunWith(ctx, &l, fn)} {
			_, err := kit.AwaitSoon(f)
			require.ErrorIs(t, err, cause)
			var ce *twill.CanceledError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, cause, ce.Cause)
		}
	}
}

func TestSemaphoreAcquireN(t *testing.T) {
	s := twill.NewSemaphore(4)
	three := acquired(t, s.AcquireN(3))
	require.Equal(t, 1, s.Tokens())
	two, one := s.AcquireN(2), s.Acquire()
	kit.RequirePending(t, two)
	kit.RequirePending(t, one)
	_, ok := s.TryAcquire()
	require.False(t, ok, "no acquire overtakes one that wants more")
	require.Equal(t, 2, s.Waiting())
	three()
	three()
	releaseTwo, releaseOne := acquired(t, two), acquired(t, one)
	require.Equal(t, 1, s.Tokens())
	releaseTwo()
	releaseOne()
	require.Equal(t, 4, s.Tokens())

	kit.RequireFailure(t, twill.ErrTooManyTokens, s.AcquireN(5))
	_, err := s.AcquireNWait(t.Context(), 5)
	require.ErrorIs(t, err, twill.ErrTooManyTokens)
	kit.RequireFailure(t, twill.ErrTooManyTokens, s.AcquireN(math.MaxInt))
	all, err := s.AcquireNWait(t.Context(), 4)
	require.NoError(t, err)
	require.Zero(t, s.Tokens())
	all()
	require.Equal(t, 4, s.Tokens())
	require.Equal(t, math.MaxInt, twill.NewSemaphore(math.MaxInt).Tokens())
}

// The first acquire in line waits for many tokens. When it leaves, the acquires
// behind it get the free tokens.
func TestSemaphoreLeaveOfTheFirstInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := twill.NewSemaphore(3)
		held := acquired(t, s.AcquireN(2))
		many, one := s.AcquireN(3), s.Acquire()
		require.True(t, many.Cancel(nil))
		synctest.Wait()
		acquired(t, one)()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		errs := make(chan error)
		go func() {
			_, err := s.AcquireNWait(ctx, 3)
			errs <- err
		}()
		synctest.Wait()
		one = s.Acquire()
		kit.RequirePending(t, one)
		require.Equal(t, context.DeadlineExceeded, <-errs)
		synctest.Wait()
		acquired(t, one)()
		held()
		require.Equal(t, 3, s.Tokens())
	})
}

func TestSemaphoreResize(t *testing.T) {
	s := twill.NewSemaphore(1)
	one := acquired(t, s.Acquire())
	two, three := s.Acquire(), s.Acquire()
	s.Resize(3)
	require.Equal(t, 3, s.Limit())
	releaseTwo, releaseThree := acquired(t, two), acquired(t, three)
	four, many := s.Acquire(), s.AcquireN(2)
	s.Resize(1)
	kit.RequireFailure(t, twill.ErrTooManyTokens, many)
	require.Zero(t, s.Tokens(), "two holders are too many")
	one()
	releaseTwo()
	kit.RequirePending(t, four)
	releaseThree()
	releaseFour := acquired(t, four)
	s.Resize(math.MaxInt)
	require.Equal(t, math.MaxInt-1, s.Tokens())
	releaseFour()
	s.Resize(2)
	require.Equal(t, 2, s.Tokens())

	var zero twill.Semaphore
	zero.Resize(2)
	require.Equal(t, 2, zero.Tokens())
}

func TestSemaphoreClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		release := acquired(t, l.Acquire())
		waiting := l.Acquire()
		run := l.Run(t.Context(), func(context.Context) error { t.Error("called"); return nil })
		errs := make(chan error)
		go func() {
			_, err := l.AcquireWait(t.Context())
			errs <- err
		}()
		synctest.Wait()
		l.Close()
		l.Close()
		kit.RequireFailure(t, twill.ErrClosed, waiting)
		kit.RequireFailure(t, twill.ErrClosed, run)
		require.ErrorIs(t, <-errs, twill.ErrClosed)
		kit.RequireFailure(t, twill.ErrClosed, l.Acquire())
		_, err := l.AcquireWait(t.Context())
		require.ErrorIs(t, err, twill.ErrClosed)
		require.True(t, l.Locked(), "the holder keeps it")
		release()
		require.False(t, l.Locked())
		_, ok := l.TryAcquire()
		require.False(t, ok)
	})
}

// Whatever is acquired, resized and canceled, no token is lost.
func TestSemaphoreResizeStress(t *testing.T) {
	for seed := range uint64(30) {
		s := twill.NewSemaphore(3)
		kit.Watchdog(t, func() {
			var wg sync.WaitGroup
			for g := range 4 {
				rnd := rand.New(rand.NewPCG(seed, uint64(g)))
				wg.Go(func() {
					for range 60 {
						switch rnd.IntN(4) {
						case 0:
							s.Resize(1 + rnd.IntN(4))
						case 1:
							ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(30))*time.Microsecond)
							if release, err := s.AcquireNWait(ctx, 1+rnd.IntN(3)); err == nil {
								release()
							}
							cancel()
						case 2:
							f := s.AcquireN(1 + rnd.IntN(3))
							if !f.Cancel(nil) {
								if release, err := f.Await(context.Background()); err == nil {
									release()
								}
							}
						case 3:
							semaphoreStep(s, rnd, func(release func()) { release() })
						}
					}
				})
			}
			wg.Wait()
			s.Resize(5)
			for s.Tokens() < 5 {
				runtime.Gosched()
			}
		})
		require.Equal(t, 5, s.Tokens())
		require.Zero(t, s.Waiting())
	}
}
