package twill_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// One test for each promise in the documentation of Future and Promise.

func TestContractSettlesOnce(t *testing.T) {
	for round := range 500 {
		p := twill.NewPromise[int]()
		if round%2 == 1 {
			p.OnCancel(func(error) {})
		}
		var wins atomic.Int32
		var won [3]atomic.Bool
		var wg sync.WaitGroup
		for i, try := range []func() bool{
			func() bool { return p.Resolve(1) },
			func() bool { return p.Reject(kit.ErrBoom) },
			func() bool { return p.Future().Cancel(nil) },
		} {
			for range 3 {
				wg.Go(func() {
					if try() {
						wins.Add(1)
						won[i].Store(true)
					}
				})
			}
		}
		wg.Wait()
		require.EqualValues(t, 1, wins.Load())
		v, err := p.Future().Await(t.Context())
		require.Equal(t, won[0].Load(), v == 1)
		require.Equal(t, won[1].Load(), errors.Is(err, kit.ErrBoom))
		require.Equal(t, won[2].Load(), errors.Is(err, twill.ErrCanceled))
		require.False(t, p.Settle(2, nil))
		again, err2 := p.Future().Await(t.Context())
		require.Equal(t, v, again)
		require.Equal(t, err, err2)
	}
}

func TestContractChainsAreNewFutures(t *testing.T) {
	p := twill.NewPromise[int]()
	f := p.Future()
	double := twill.Then(f, func(v int) (int, error) { return 2 * v, nil })
	text := twill.Then(f, func(v int) (string, error) { return fmt.Sprint(v), nil })
	fails := twill.Then(f, func(int) (int, error) { return 0, kit.ErrBoom })
	p.Resolve(21)
	kit.AwaitValue(t, double, 42)
	kit.AwaitValue(t, text, "21")
	kit.AwaitError(t, fails, kit.ErrBoom)
	kit.AwaitValue(t, f, 21)
}

func TestContractHandlersRunOnceInOrder(t *testing.T) {
	p := twill.NewPromise[int]()
	f := p.Future()
	var order []int
	add := func(n int) { f.Tap(func(int, error) { order = append(order, n) }) }
	add(0)
	f.Tap(func(int, error) {
		order = append(order, 1)
		add(4) // while others run
		add(5)
	})
	add(2)
	twill.Then(f.Tap(func(int, error) { order = append(order, 3) }), kit.Same[int])
	p.Resolve(1)
	add(6)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6}, order)
}

// Handlers that other goroutines add while the settler runs handlers join its
// queue: those of one goroutine run in its order, one at a time.
func TestContractHandlersAddedWhileOthersRun(t *testing.T) {
	const goroutines, each = 4, 200
	p := twill.NewPromise[int]()
	f := p.Future()
	var order [goroutines][]int
	var wg, started sync.WaitGroup
	started.Add(goroutines)
	f.Tap(func(int, error) { started.Wait() })
	for g := range goroutines {
		wg.Go(func() {
			for i := range each {
				f.Tap(func(int, error) { order[g] = append(order[g], i) })
				if i == each/2 {
					started.Done()
				}
			}
		})
	}
	p.Resolve(1)
	wg.Wait()
	for g := range goroutines {
		require.Len(t, order[g], each)
		for i, got := range order[g] {
			require.Equal(t, i, got)
		}
	}
}

func TestContractHandlersRunOnSettlingOrAddingGoroutine(t *testing.T) {
	p := twill.NewPromise[int]()
	var settler, adder, handler int
	twill.Then(p.Future(), func(int) (int, error) { handler = kit.Goid(); return 0, nil })
	var wg sync.WaitGroup
	wg.Go(func() { settler = kit.Goid(); p.Resolve(1) })
	wg.Wait()
	require.Equal(t, settler, handler)
	wg.Go(func() {
		adder = kit.Goid()
		twill.Then(p.Future(), func(int) (int, error) { handler = kit.Goid(); return 0, nil })
	})
	wg.Wait()
	require.Equal(t, adder, handler)
}

// A handler may call anything: if a lock of the library were held, this would
// hang.
func TestContractHandlersRunUnderNoLock(t *testing.T) {
	p, q := twill.NewPromise[int](), twill.NewPromise[int]()
	f := p.Future()
	ran := 0
	f.Tap(func(int, error) {
		require.False(t, p.Resolve(2))
		require.False(t, f.Cancel(nil))
		p.OnCancel(func(error) {})
		require.False(t, p.Follow(q.Future()))
		q.Resolve(3)
		f.Done()
		_, _ = f.Await(t.Context())
		_, ok := f.Poll()
		require.True(t, ok)
		twill.Then(f, func(int) (int, error) { ran++; return 0, nil })
		ran++
	})
	c := twill.NewPromise[int]()
	c.OnCancel(func(error) { c.Future().Tap(func(int, error) { ran++ }); c.Resolve(1) })
	kit.Watchdog(t, func() {
		p.Resolve(1)
		c.Future().Cancel(nil)
	})
	require.Equal(t, 3, ran)
}

func TestContractHandlersMoveToAnExecutor(t *testing.T) {
	var queue []func()
	loop := func(f func()) { queue = append(queue, f) }
	p := twill.NewPromise[int]()
	var ran []int
	f := p.Future().Via(loop)
	last := twill.Then(f, func(v int) (int, error) { ran = append(ran, v); return v + 1, nil })
	p.Resolve(1)
	require.Empty(t, ran)
	require.Len(t, queue, 1)
	queue[0]()
	queue[0]() // running it again does no harm
	require.Equal(t, []int{1}, ran)
	kit.AwaitValue(t, last, 2)
	kit.AwaitError(t, twill.Rejected[int](kit.ErrBoom).Via(func(f func()) { go f() }), kit.ErrBoom)
	var wg sync.WaitGroup
	kit.AwaitValue(t, twill.Resolved(4).Via(wg.Go), 4)
	broken := func(func()) { panic(kit.ErrBoom) }
	kit.AwaitError(t, twill.Resolved(4).Via(broken), kit.ErrBoom)
}

func TestContractHandlerFailuresAreContained(t *testing.T) {
	for name, stop := range map[string]struct {
		fn   func() (int, error)
		want error
	}{
		"error":  {func() (int, error) { return 0, kit.ErrBoom }, kit.ErrBoom},
		"panic":  {func() (int, error) { panic(kit.ErrBoom) }, kit.ErrBoom},
		"goexit": {func() (int, error) { runtime.Goexit(); return 0, nil }, twill.ErrGoexit},
	} {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPromise[int]()
			f := p.Future()
			before := twill.Then(f, kit.Same[int])
			bad := twill.Then(f, func(int) (int, error) { return stop.fn() })
			below := twill.Then(bad, kit.Same[int])
			also := twill.Handle(f, func(int, error) (int, error) { return stop.fn() })
			caught := twill.Rejected[int](kit.ErrBoom).Catch(func(error) (int, error) { return 1, nil })
			inner := twill.ThenFuture(f, func(int) *twill.Future[int] {
				v, err := stop.fn()
				_ = v
				return twill.Rejected[int](err)
			})
			after := twill.Then(f, kit.Same[int])
			var wg sync.WaitGroup
			wg.Go(func() { p.Resolve(7) })
			wg.Wait()
			kit.AwaitValue(t, before, 7)
			kit.AwaitError(t, bad, stop.want)
			kit.AwaitError(t, below, stop.want)
			kit.AwaitError(t, also, stop.want)
			kit.AwaitError(t, inner, stop.want)
			kit.AwaitValue(t, caught, 1)
			kit.AwaitValue(t, after, 7)
		})
	}
	_, err := twill.Then(twill.Resolved(1), func(int) (int, error) { panic("stone") }).Await(t.Context())
	var p *twill.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "stone", p.Value)
	require.Contains(t, string(p.Stack), "TestContractHandlerFailuresAreContained")
}

// More handlers end the goroutine than a drain continues inside one exit.
func TestContractManyGoexits(t *testing.T) {
	const n = 2500
	p := twill.NewPromise[int]()
	var fs [n]*twill.Future[int]
	for i := range fs {
		fs[i] = twill.Then(p.Future(), func(int) (int, error) { runtime.Goexit(); return 0, nil })
	}
	last := twill.Then(p.Future(), kit.Same[int])
	go p.Resolve(1)
	kit.AwaitValue(t, last, 1)
	for _, f := range fs {
		kit.AwaitError(t, f, twill.ErrGoexit)
	}
}

func TestContractCancelGoesUpAndComesDown(t *testing.T) {
	p := twill.NewPromise[int]()
	var log []string
	p.OnCancel(func(cause error) { log = append(log, "canceler: "+cause.Error()) })
	a := twill.Then(p.Future(), kit.Same[int])
	b := a.Catch(func(err error) (int, error) {
		require.ErrorIs(t, err, context.Canceled)
		log = append(log, "handler")
		return 0, err
	})
	tip := b.Finally(func() { log = append(log, "cleanup") })
	require.True(t, tip.Cancel(kit.ErrBoom))
	require.False(t, tip.Cancel(kit.ErrBoom))
	require.Equal(t, []string{"canceler: boom", "handler", "cleanup"}, log)
	for _, f := range []*twill.Future[int]{p.Future(), a, b, tip} {
		_, err := f.Await(t.Context())
		var ce *twill.CanceledError
		require.ErrorAs(t, err, &ce)
		require.Equal(t, kit.ErrBoom, ce.Cause)
		require.ErrorIs(t, err, twill.ErrCanceled)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, kit.ErrBoom)
	}
	require.False(t, p.Resolve(1))
}

func TestContractCancelerMaySettle(t *testing.T) {
	p := twill.NewPromise[int]()
	p.OnCancel(func(error) { p.Resolve(5) })
	tip := twill.Then(p.Future(), kit.Same[int])
	require.False(t, tip.Cancel(nil), "it was the canceler's Resolve that won")
	kit.AwaitValue(t, tip, 5)
}

func TestContractCancelGoesToTheInnerFuture(t *testing.T) {
	outer, inner := twill.NewPromise[int](), twill.NewPromise[int]()
	canceled := 0
	inner.OnCancel(func(error) { canceled++ })
	tip := twill.ThenFuture(outer.Future(), func(int) *twill.Future[int] { return inner.Future() })
	outer.Resolve(1)
	require.True(t, tip.Cancel(nil))
	require.Equal(t, 1, canceled)
	kit.AwaitError(t, inner.Future(), twill.ErrCanceled)
	kit.AwaitError(t, tip, twill.ErrCanceled)
	kit.AwaitValue(t, outer.Future(), 1)
}

// A cancel that arrives while the handler runs is passed on to the future that
// it returns.
func TestContractCancelDuringTheHandlerReachesTheInnerFuture(t *testing.T) {
	outer, inner := twill.NewPromise[int](), twill.NewPromise[int]()
	var tip *twill.Future[int]
	tip = twill.ThenFuture(outer.Future(), func(int) *twill.Future[int] {
		require.False(t, tip.Cancel(kit.ErrBoom))
		return inner.Future()
	})
	outer.Resolve(1)
	kit.AwaitError(t, inner.Future(), kit.ErrBoom)
	kit.AwaitError(t, tip, kit.ErrBoom)
}

func TestContractSharedFuturesAreNotCanceled(t *testing.T) {
	p := twill.NewPromise[int]()
	canceled := 0
	p.OnCancel(func(error) { canceled++ })
	a := twill.Then(p.Future(), kit.Same[int])
	b := twill.Then(p.Future(), kit.Same[int])
	c := p.Future().Catch(func(error) (int, error) { return 9, nil })
	require.True(t, a.Cancel(kit.ErrBoom))
	kit.AwaitError(t, a, kit.ErrBoom)
	require.Zero(t, canceled)
	require.True(t, c.Cancel(nil))
	kit.AwaitValue(t, c, 9) // its handler received the error, and recovers
	_, ok := b.Poll()
	require.False(t, ok)
	require.True(t, b.Cancel(nil), "the last to leave")
	require.Equal(t, 1, canceled)
	kit.AwaitError(t, p.Future(), twill.ErrCanceled)
}

func TestContractAwaitIsInterest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := twill.NewPromise[int]()
		tip := twill.Then(p.Future(), kit.Same[int])
		go func() { _, _ = p.Future().Await(t.Context()) }()
		synctest.Wait()
		require.True(t, tip.Cancel(nil))
		_, ok := p.Future().Poll()
		require.False(t, ok, "somebody waits for it")
		p.Resolve(1)
	})
}

func TestContractShieldRefusesCancel(t *testing.T) {
	p := twill.NewPromise[int]()
	s := p.Future().Shield()
	tip := twill.Then(s, kit.Same[int])
	require.True(t, tip.Cancel(kit.ErrBoom))
	kit.AwaitError(t, s, kit.ErrBoom)
	kit.AwaitError(t, tip, kit.ErrBoom)
	require.True(t, p.Resolve(1))
	kit.AwaitValue(t, p.Future().Shield(), 1)
	kit.AwaitError(t, twill.Rejected[int](kit.ErrBoom).Shield(), kit.ErrBoom)
}

func TestContractPanickingCancelerIsContained(t *testing.T) {
	p := twill.NewPromise[int]()
	ran := false
	p.OnCancel(func(error) { panic("stone") })
	p.OnCancel(func(error) { ran = true })
	cause := errors.New("cause")
	require.True(t, p.Future().Cancel(cause))
	require.True(t, ran, "the others still run")
	_, err := p.Future().Await(t.Context())
	require.ErrorIs(t, err, twill.ErrCanceled)
	require.ErrorIs(t, err, cause)
	var pe *twill.PanicError
	require.ErrorAs(t, err, &pe)
	require.Equal(t, "stone", pe.Value)

	q := twill.NewPromise[int]()
	q.OnCancel(func(error) { runtime.Goexit() })
	var wg sync.WaitGroup
	wg.Go(func() { q.Future().Cancel(nil) })
	wg.Wait()
	kit.AwaitError(t, q.Future(), twill.ErrCanceled)
	kit.AwaitError(t, q.Future(), twill.ErrGoexit)
}

func TestContractAwaitBoundsTheWaiting(t *testing.T) {
	p := twill.NewPromise[int]()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrBoom)
	_, err := p.Future().Await(ctx)
	require.Equal(t, kit.ErrBoom, err)
	require.Zero(t, kit.Listeners(p.Future()))
	require.Zero(t, kit.Users(p.Future()))
	require.True(t, p.Resolve(1), "the work goes on")
	v, err := p.Future().Await(ctx)
	require.NoError(t, err, "a result that is there wins")
	require.Equal(t, 1, v)
}

func TestContractCycleIsAnError(t *testing.T) {
	t.Run("itself", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var f *twill.Future[int]
		f = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return f })
		p.Resolve(1)
		kit.AwaitError(t, f, twill.ErrCycle)
	})
	t.Run("through a chain", func(t *testing.T) {
		p := twill.NewPromise[int]()
		var tip *twill.Future[int]
		f := twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return tip })
		tip = twill.Then(twill.Then(f, kit.Same[int]), kit.Same[int])
		p.Resolve(1)
		kit.AwaitError(t, f, twill.ErrCycle)
		kit.AwaitError(t, tip, twill.ErrCycle)
	})
	t.Run("through two chains", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		var a, b *twill.Future[int]
		a = twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { return b })
		b = twill.ThenFuture(q.Future(), func(int) *twill.Future[int] { return a })
		p.Resolve(1)
		q.Resolve(1)
		kit.AwaitError(t, a, twill.ErrCycle)
		kit.AwaitError(t, b, twill.ErrCycle)
	})
	t.Run("Follow", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		require.True(t, p.Follow(twill.Then(q.Future(), kit.Same[int])))
		require.True(t, q.Follow(twill.Then(p.Future(), kit.Same[int])))
		kit.AwaitError(t, q.Future(), twill.ErrCycle)
		kit.AwaitError(t, p.Future(), twill.ErrCycle)
		r := twill.NewPromise[int]()
		require.True(t, r.Follow(r.Future()))
		kit.AwaitError(t, r.Future(), twill.ErrCycle)
	})
	t.Run("closed from both ends at once", func(t *testing.T) {
		for range 300 {
			p, q := twill.NewPromise[int](), twill.NewPromise[int]()
			fp, fq := twill.Then(p.Future(), kit.Same[int]), twill.Then(q.Future(), kit.Same[int])
			var wg sync.WaitGroup
			wg.Go(func() { p.Follow(fq) })
			wg.Go(func() { q.Follow(fp) })
			wg.Wait()
			kit.AwaitError(t, fp, twill.ErrCycle)
			kit.AwaitError(t, fq, twill.ErrCycle)
		}
	})
}

func TestContractZeroValueWorks(t *testing.T) {
	var p twill.Promise[int]
	f := p.Future()
	require.True(t, p.Resolve(1))
	kit.AwaitValue(t, f, 1)
}

func TestContractHandlersAreReleased(t *testing.T) {
	type big struct{ _ [1 << 10]byte }
	p := twill.NewPromise[int]()
	held := make([]weak.Pointer[big], 0, 4)
	capture := func() *big {
		v := new(big)
		held = append(held, weak.Make(v))
		return v
	}
	a, b, c, d := capture(), capture(), capture(), capture()
	keep := []*twill.Future[int]{
		twill.Then(p.Future(), func(int) (int, error) { runtime.KeepAlive(a); return 0, nil }),
		twill.Handle(p.Future(), func(int, error) (int, error) { runtime.KeepAlive(b); return 0, nil }),
		p.Future().Catch(func(error) (int, error) { runtime.KeepAlive(c); return 0, nil }),
		twill.ThenFuture(p.Future(), func(int) *twill.Future[int] { runtime.KeepAlive(d); return twill.Resolved(0) }),
	}
	p.Resolve(1)
	a, b, c, d = nil, nil, nil, nil
	require.Eventually(t, func() bool {
		runtime.GC()
		for _, w := range held {
			if w.Value() != nil {
				return false
			}
		}
		return true
	}, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(keep)
	runtime.KeepAlive(p)

	// A settled future does not keep the future before it.
	first := twill.NewPromise[*big]()
	source := weak.Make(first.Future())
	second := twill.Then(first.Future(), func(*big) (int, error) { return 1, nil })
	first.Resolve(new(big))
	first = nil
	require.Eventually(t, func() bool { runtime.GC(); return source.Value() == nil }, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(second)
}

// The race detector checks the memory model: the value is written before the
// future is settled and read after that, without other synchronization between
// the goroutines.
func TestContractMemoryModel(t *testing.T) {
	for range 200 {
		p := twill.NewPromise[*int]()
		read := func(v *int) (int, error) { return *v, nil }
		early := twill.Then(p.Future(), read)
		var wg sync.WaitGroup
		wg.Go(func() {
			v := new(int)
			*v = 42
			p.Resolve(v)
		})
		wg.Go(func() { kit.AwaitValue(t, twill.Then(p.Future(), read), 42) })
		wg.Go(func() {
			v, _ := p.Future().Await(context.Background())
			if *v != 42 {
				t.Error("stale value")
			}
		})
		wg.Go(func() {
			if r, ok := p.Future().Poll(); ok && *r.Value != 42 {
				t.Error("stale value")
			}
		})
		wg.Wait()
		kit.AwaitValue(t, early, 42)
	}
}

func TestDone(t *testing.T) {
	p := twill.NewPromise[int]()
	f := p.Future()
	handled := false
	f.Tap(func(int, error) { handled = true })
	done := f.Done()
	require.Equal(t, done, f.Done(), "the same channel")
	require.Equal(t, 2, kit.Listeners(f))
	require.Equal(t, 1, kit.Users(f), "a watcher is no interest")
	select {
	case <-done:
		t.Fatal("closed too early")
	default:
	}
	early := false
	f.Tap(func(int, error) {
		select {
		case <-done:
			early = true
		default:
		}
	})
	p.Resolve(1)
	<-done
	<-f.Done()
	require.True(t, handled)
	require.True(t, early, "it is closed before handlers run")
}

func TestFutureContext(t *testing.T) {
	p := twill.NewPromise[int]()
	ctx := p.Future().Context()
	require.NoError(t, ctx.Err())
	p.Reject(kit.ErrBoom)
	require.ErrorIs(t, ctx.Err(), context.Canceled)
	require.Equal(t, kit.ErrBoom, context.Cause(ctx))
	require.Equal(t, kit.ErrBoom, context.Cause(p.Future().Context()))
	require.Equal(t, context.Canceled, context.Cause(twill.Resolved(1).Context()))
}

func TestFromContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		f, left := twill.FromContext(ctx), twill.FromContext(ctx)
		require.True(t, left.Cancel(kit.ErrFirst))
		kit.AwaitError(t, left, kit.ErrFirst)
		kit.RequirePending(t, f)
		cancel(kit.ErrBoom)
		kit.AwaitError(t, f, kit.ErrBoom)
		kit.AwaitError(t, twill.FromContext(ctx), kit.ErrBoom)
	})
}

func TestFromChan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ch := make(chan int, 1)
		ch <- 1
		f := twill.FromChan(ch)
		r, ok := f.Poll()
		require.True(t, ok, "a value that is there is taken at once")
		require.Equal(t, 1, r.Value)

		f = twill.FromChan(ch)
		synctest.Wait()
		kit.RequirePending(t, f)
		ch <- 2
		kit.AwaitValue(t, f, 2)

		f = twill.FromChan(ch)
		require.True(t, f.Cancel(nil))
		kit.AwaitError(t, f, twill.ErrCanceled)
		ch <- 3
		kit.AwaitValue(t, twill.FromChan(ch), 3)

		f = twill.FromChan(ch)
		close(ch)
		kit.AwaitError(t, f, twill.ErrClosed)
		kit.AwaitError(t, twill.FromChan(ch), twill.ErrClosed)
	})
}

// A value is either in the future or still in the channel.
func TestFromChanLosesNothing(t *testing.T) {
	for range 2000 {
		ch := make(chan int)
		f := twill.FromChan(ch)
		sent := make(chan bool)
		quit := make(chan struct{})
		go func() {
			select {
			case ch <- 1:
				sent <- true
			case <-quit:
				sent <- false
			}
		}()
		canceled := f.Cancel(nil)
		close(quit)
		got := <-sent
		if canceled {
			require.False(t, got, "received, and lost to the cancel")
		} else {
			require.True(t, got)
			kit.AwaitValue(t, f, 1)
		}
	}
}

func TestAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, left := twill.After(time.Minute, "tea"), twill.After(time.Hour, "cake")
		begin := time.Now()
		require.True(t, left.Cancel(nil))
		v, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, "tea", v)
		require.Equal(t, time.Minute, time.Since(begin))
		kit.AwaitError(t, left, twill.ErrCanceled)
	})
}

func TestWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var canceled error
		p := twill.NewPromise[int]()
		p.OnCancel(func(cause error) { canceled = cause })
		f := twill.Then(p.Future(), kit.Same[int]).WithContext(ctx)
		settled := twill.Resolved(1).WithContext(ctx)
		cancel(kit.ErrBoom)
		kit.AwaitError(t, f, kit.ErrBoom)
		kit.AwaitError(t, f, twill.ErrCanceled)
		require.Equal(t, kit.ErrBoom, canceled)
		kit.AwaitValue(t, settled, 1)
		kit.AwaitValue(t, twill.Resolved(2).WithContext(ctx), 2)
		q := twill.NewPromise[int]()
		late := q.Future().WithContext(ctx)
		_, ok := late.Poll()
		require.True(t, ok, "an ended context cancels at once")
		kit.AwaitError(t, q.Future(), kit.ErrBoom)
		kit.AwaitError(t, twill.Rejected[int](kit.ErrFirst).WithContext(context.Background()), kit.ErrFirst)
	})
}

// A value that is returned after the cancel is given to Discard, while the pool
// still has the function. A value that is used is not, and neither is a value
// beside an error.
func TestGoWithDiscardsLateValues(t *testing.T) {
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
				var pool twill.Pool
				var discarded []int
				gate := make(chan struct{})
				f := twill.GoWith(t.Context(), func(context.Context) (int, error) { <-gate; return 7, c.err }, &twill.GoOptions[int]{
					Pool: &pool,
					Discard: func(v int) {
						discarded = append(discarded, v)
						require.Equal(t, 1, pool.Len())
						panic(kit.ErrBoom) // the panic is only reported
					},
				})
				if c.cancel {
					require.True(t, f.Cancel(nil))
				}
				close(gate)
				kit.AwaitValue(t, pool.Empty(), struct{}{})
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

func TestNoValue(t *testing.T) {
	fail := twill.Go(t.Context(), twill.NoValue(func(context.Context) error { return kit.ErrBoom }))
	kit.AwaitError(t, fail, kit.ErrBoom)
	kit.AwaitValue(t, twill.Go(t.Context(), twill.NoValue(func(context.Context) error { return nil })), struct{}{})
	_, err := twill.Retry(t.Context(), twill.NoValue(func(context.Context) error { return nil }), nil)
	require.NoError(t, err)
	send := twill.NewPooler(twill.NoValueArg(func(_ context.Context, to string) error {
		if to == "ann" {
			return nil
		}
		return kit.ErrBoom
	}))
	kit.AwaitValue(t, send.Call(t.Context(), "ann"), struct{}{})
	kit.AwaitError(t, send.Call(t.Context(), "ben"), kit.ErrBoom)
	require.Panics(t, func() { twill.NoValue(nil) })
	require.Panics(t, func() { twill.NoValueArg[int](nil) })
}

// lateContext is a context whose Done is closed, and whose Err is not set.
type lateContext struct{ context.Context }

func (lateContext) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

func (lateContext) Err() error { return nil }

// An Await that gives up returns an error.
func TestAwaitThatGivesUpReturnsAnError(t *testing.T) {
	f := twill.NewPromise[int]().Future()
	_, err := f.Await(lateContext{t.Context()})
	require.Equal(t, context.Canceled, err)
	require.Zero(t, kit.Listeners(f))
}

// The methods of a context are user code, and may use the future that is
// awaited.
func TestAwaitCallsTheContextWithoutALock(t *testing.T) {
	p := twill.NewPromise[int]()
	ctx := &usingContext{Context: t.Context(), f: p.Future()}
	kit.Watchdog(t, func() {
		_, err := p.Future().Await(ctx)
		require.ErrorIs(t, err, kit.ErrBoom)
	})
	require.Zero(t, kit.Listeners(p.Future()))
}

type usingContext struct {
	context.Context
	f *twill.Future[int]
}

func (c *usingContext) use() {
	c.f.Poll()
	c.f.Shield().Cancel(nil)
}

func (c *usingContext) Done() <-chan struct{} { c.use(); return lateContext{}.Done() }

func (c *usingContext) Err() error { c.use(); return kit.ErrBoom }

func (c *usingContext) Value(any) any { c.use(); return nil }

// The cost of a future, in bytes and allocations, which depends only on the
// size of a pointer.

func TestSizes(t *testing.T) {
	sizes := []uintptr{32, 32, 40, 80, 160}
	if unsafe.Sizeof(uintptr(0)) == 4 {
		sizes = []uintptr{20, 20, 24, 44, 104}
	}
	require.Equal(t, sizes, []uintptr{
		unsafe.Sizeof(twill.Future[int]{}),
		unsafe.Sizeof(twill.Promise[int]{}),
		unsafe.Sizeof(twill.Future[string]{}),
		twill.SizeOfThen,
		unsafe.Sizeof(twill.Job[int, int]{}), // 184 bytes with its place in the queue
	})
}

func TestAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	settled := twill.Resolved(1)
	pending := twill.NewPromise[int]().Future()
	ended, end := context.WithCancel(t.Context())
	end()
	handler := func(v int) (int, error) { return v, nil }
	job := kit.PutJob(t, twill.NewResizableDispatchQueue(kit.SameArg, nil), 1, 0)
	<-job.Done()
	list := twill.NewDeferredList([]*twill.Future[int]{settled}, 0)
	plain, paused := twill.NewResizableDispatchQueue(kit.SameArg, nil), twill.NewResizableDispatchQueue(kit.SameArg, nil)
	paused.Pause()
	for _, c := range []struct {
		name string
		want float64
		fn   func()
	}{
		{"create, resolve, read", 1, func() {
			p := twill.NewPromise[int]()
			p.Resolve(1)
			_, _ = p.Future().Await(ctx)
		}},
		{"read a settled one", 0, func() { _, _ = settled.Await(ctx) }},
		{"poll a settled one", 0, func() { settled.Poll() }},
		{"attach a handler, then resolve", 2, func() {
			p := twill.NewPromise[int]()
			twill.Then(p.Future(), handler)
			p.Resolve(1)
		}},
		{"a handler on a settled one", 1, func() { twill.Then(settled, handler) }},
		{"a handler on a job", 1, func() { twill.Then(job, handler) }},
		{"a handler on a list", 1, func() {
			twill.Then(list, func(twill.ListResult[int]) (int, error) { return 0, nil })
		}},
		{"put and await a job", 2, func() {
			j, _ := plain.Put(1, 0)
			_, _ = j.Await(ctx)
		}},
		{"put a job", 1, func() { _, _ = paused.Put(1, 0) }},
		{"chain of 100", 101, func() {
			p := twill.NewPromise[int]()
			f := p.Future()
			for range 100 {
				f = twill.Then(f, handler)
			}
			p.Resolve(1)
		}},
		{"a wait that is given up", 0, func() { _, _ = pending.Await(ended) }},
		{"Done of a settled one", 0, func() { settled.Done() }},
		{"Go and Await", 3, func() {
			_, _ = twill.Go(ctx, func(context.Context) (int, error) { return 1, nil }).Await(ctx)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.LessOrEqual(t, testing.AllocsPerRun(200, c.fn), c.want)
		})
	}
}

// A blocked wait takes its waiter from a pool.
func TestBlockedAwaitAllocatesNothing(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector drops from pools at random")
	}
	promises := make(chan *twill.Promise[int])
	go func() {
		for p := range promises {
			p.Resolve(1)
		}
	}()
	defer close(promises)
	n := testing.AllocsPerRun(1000, func() {
		p := twill.NewPromise[int]()
		promises <- p
		_, _ = p.Future().Await(t.Context())
	})
	require.LessOrEqual(t, n, 1.0, "only the promise")
}
