package twill_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// Twisted's test_defer.py: testLock.
func TestLock(t *testing.T) {
	var l twill.Lock
	require.False(t, l.Locked())
	first := acquired(t, l.Acquire())
	require.True(t, l.Locked())
	second, third := l.Acquire(), l.Acquire()
	requirePending(t, second)
	require.Equal(t, 2, l.Waiting())
	first()
	require.True(t, l.Locked())
	release := acquired(t, second)
	requirePending(t, third)
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
		a, b := run("a", errBoom), run("b", nil)
		require.True(t, l.Locked())
		require.Equal(t, 1, l.Waiting())
		awaitValue(t, b, struct{}{})
		awaitError(t, a, errBoom)
		require.Equal(t, []string{"a begins", "a ends", "b begins", "b ends"}, log)
		require.False(t, l.Locked())
	})
}

// A cancelled function still runs: the lock is its until it returns.
func TestRunKeepsTheLockUntilACancelledFunctionReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l twill.Lock
		f := twill.RunWith(t.Context(), &l, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			require.Equal(t, errBoom, context.Cause(ctx))
			time.Sleep(time.Second)
			return 1, nil
		})
		synctest.Wait()
		require.True(t, f.Cancel(errBoom))
		requireFailure(t, errBoom, f)
		synctest.Wait()
		require.True(t, l.Locked())
		_, err := l.AcquireWait(t.Context())
		require.NoError(t, err)
	})
}

func TestRunInLineIsNotCalledOnceCancelled(t *testing.T) {
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
		require.True(t, byCancel.Cancel(errFirst))
		cancel(errSecond)
		synctest.Wait()
		requireFailure(t, errFirst, byCancel)
		requireFailure(t, errSecond, byContext)
		require.Zero(t, l.Waiting())
		requireFailure(t, errSecond, twill.RunWith(ctx, &l, call))
		release()
		require.False(t, l.Locked())
		requireFailure(t, errSecond, twill.RunWith(ctx, &l, call))
	})
}

func TestRunReleasesAfterAPanicAndAnExit(t *testing.T) {
	var l twill.Lock
	f := l.Run(t.Context(), func(context.Context) error { panic(errBoom) })
	awaitError(t, f, errBoom)
	f = l.Run(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
	awaitError(t, f, twill.ErrGoexit)
	release, err := l.AcquireWait(t.Context())
	require.NoError(t, err)
	release()
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
	promises[0].Reject(errBoom)
	require.Equal(t, []string{"start", "start", "ran"}, log, "released before anybody hears of it")
	awaitError(t, a, errBoom)
	require.True(t, b.Cancel(nil))
	awaitError(t, promises[1].Future(), twill.ErrCanceled)
	require.Equal(t, 1, s.Tokens())
}

// A future that others depend on goes on, and so the token is still used.
func TestRunWithFutureKeepsTheTokenOfASharedFuture(t *testing.T) {
	var l twill.Lock
	var p twill.Promise[int]
	shared := twill.Then(p.Future(), same[int])
	f := twill.RunWithFuture(&l, p.Future)
	require.True(t, f.Cancel(nil))
	awaitError(t, f, twill.ErrCanceled)
	requirePending(t, shared)
	require.True(t, l.Locked())
	p.Resolve(1)
	awaitValue(t, shared, 1)
	require.False(t, l.Locked())
}

func TestRunWithFutureReleasesWhateverTheFunctionDoes(t *testing.T) {
	var l twill.Lock
	f := twill.RunWithFuture(&l, func() *twill.Future[int] { panic(errBoom) })
	awaitError(t, f, errBoom)
	f = twill.RunWithFuture(&l, func() *twill.Future[int] { return nil })
	_, err := awaitSoon(f)
	require.ErrorContains(t, err, "nil future")
	awaitValue(t, twill.RunWithFuture(&l, func() *twill.Future[int] { return twill.Resolved(1) }), 1)
	require.False(t, l.Locked())

	release := acquired(t, l.Acquire())
	f = twill.RunWithFuture(&l, func() *twill.Future[int] { runtime.Goexit(); return nil })
	go release()
	awaitError(t, f, twill.ErrGoexit)
	require.Eventually(t, func() bool { return !l.Locked() }, 5*time.Second, time.Millisecond)
}

// Each run in line has a future that is settled already.
func TestRunWithFutureOfManyInLine(t *testing.T) {
	runs := 200_000
	if testing.Short() {
		runs = 20_000
	}
	smallStack(t)
	var l twill.Lock
	release := acquired(t, l.Acquire())
	var last *twill.Future[int]
	for i := range runs {
		last = twill.RunWithFuture(&l, func() *twill.Future[int] { return twill.Resolved(i) })
	}
	release()
	awaitValue(t, last, runs-1)
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
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, fn) })
	}
	require.False(t, l.Locked())
}

// TestRunWithIsNotEndedByTheNextInLine: the handler that the release runs ends
// the goroutine, but not what the function returned.
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
	awaitError(t, next, twill.ErrGoexit)
	require.False(t, l.Locked())
}

// badLock panics as it is released.
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
