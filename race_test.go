package twill_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// runner is a function of a race that takes some time and heeds its context.
type runner struct {
	after   time.Duration
	value   int
	err     error
	started time.Time
	cause   error // the cause of its context, if it noticed the end
}

func (r *runner) run(ctx context.Context, _ string) (int, error) {
	r.started = time.Now()
	select {
	case <-time.After(r.after):
		return r.value, r.err
	case <-ctx.Done():
		r.cause = context.Cause(ctx)
		return 0, r.cause
	}
}

func newRace(opts *twill.RaceOptions[int], runners ...*runner) *twill.Race[string, int] {
	r := twill.NewRace[string](opts)
	for _, x := range runners {
		r.Register(x.run)
	}
	return r
}

func TestRaceFirstSuccessWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := &runner{after: time.Second, err: kit.ErrBoom}
		slow := &runner{after: 5 * time.Second, value: 1}
		fast := &runner{after: 2 * time.Second, value: 2}
		r := newRace(nil, slow, fails, fast)
		require.Equal(t, 3, r.Len())
		begin := time.Now()
		kit.AwaitValue(t, r.Execute(t.Context(), "x"), 2)
		require.Equal(t, 2*time.Second, time.Since(begin))
		synctest.Wait()
		require.Equal(t, twill.ErrLost, slow.cause, "a loser hears why")
	})
}

func TestRaceGivesTheArgument(t *testing.T) {
	var r twill.Race[string, string]
	r.Register(func(_ context.Context, arg string) (string, error) { return "hello " + arg, nil })
	kit.AwaitValue(t, r.Execute(t.Context(), "Ada"), "hello Ada")
}

func TestRaceAllFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRace(nil, &runner{after: 2 * time.Second, err: kit.ErrFirst}, &runner{after: time.Second, err: kit.ErrSecond})
		_, err := r.Execute(t.Context(), "").Await(t.Context())
		var re *twill.AllFailedError
		require.ErrorAs(t, err, &re)
		require.Equal(t, []error{kit.ErrFirst, kit.ErrSecond}, re.Errs, "in the order of registration")
		require.ErrorIs(t, err, kit.ErrSecond)
		require.ErrorContains(t, err, "first failure")
	})
}

// JavaScript's race without members never ends.
func TestRaceWithoutFunctions(t *testing.T) {
	var r twill.Race[int, int]
	kit.AwaitError(t, r.Execute(t.Context(), 1), twill.ErrEmpty)
	kit.AwaitError(t, twill.RaceOf[int](t.Context()), twill.ErrEmpty)
}

// With two other hedging libraries for Go the process ends.
func TestRacePanicAndGoexitAreFailures(t *testing.T) {
	f := twill.RaceOf(t.Context(),
		func(context.Context) (int, error) { panic(kit.ErrBoom) },
		func(context.Context) (int, error) { runtime.Goexit(); return 0, nil },
	)
	kit.AwaitError(t, f, kit.ErrBoom)
	kit.AwaitError(t, f, twill.ErrGoexit)
	kit.AwaitValue(t, twill.RaceOf(t.Context(),
		func(context.Context) (int, error) { panic(kit.ErrBoom) },
		func(context.Context) (int, error) { return 3, nil },
	), 3)
}

func TestRaceCancelReturnsAtOnceEvenIfNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		deaf := func(context.Context) (int, error) { time.Sleep(time.Hour); return 1, nil }
		f := twill.RaceOf(t.Context(), deaf, deaf)
		synctest.Wait()
		require.True(t, f.Cancel(kit.ErrBoom))
		kit.AwaitError(t, f, kit.ErrBoom)

		ctx, cancel := context.WithCancelCause(t.Context())
		f = twill.RaceOf(ctx, deaf, deaf)
		synctest.Wait()
		cancel(kit.ErrFirst)
		synctest.Wait()
		r, ok := f.Poll()
		require.True(t, ok)
		require.ErrorIs(t, r.Err, kit.ErrFirst)
		require.ErrorIs(t, r.Err, twill.ErrCanceled)
		time.Sleep(2 * time.Hour)
	})
}

// With another library the error depends on which goroutine notices the cancel
// first.
func TestRaceCancelIsTheSameWhoeverNoticesIt(t *testing.T) {
	for range 200 {
		ctx, cancel := context.WithCancelCause(t.Context())
		heeds := func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) }
		f := twill.RaceOf(ctx, heeds, heeds)
		cancel(kit.ErrBoom)
		_, err := kit.AwaitSoon(f)
		require.ErrorIs(t, err, twill.ErrCanceled)
		require.ErrorIs(t, err, kit.ErrBoom)
		var re *twill.AllFailedError
		require.False(t, errors.As(err, &re))
	}
}

// A function whose own context has ended has failed; that is not a cancel of
// the race.
func TestRaceCancelOfAFunctionIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := &runner{after: time.Second, err: context.Canceled}
		kit.AwaitValue(t, newRace(nil, own, &runner{after: 2 * time.Second, value: 2}).Execute(t.Context(), ""), 2)
		_, err := newRace(nil, own, &runner{after: 2 * time.Second, err: kit.ErrBoom}).Execute(t.Context(), "").Await(t.Context())
		var all *twill.AllFailedError
		require.ErrorAs(t, err, &all)
		require.Equal(t, []error{context.Canceled, kit.ErrBoom}, all.Errs)
	})
}

func TestRaceEndedContextStartsNothing(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrBoom)
	f := twill.RaceOf(ctx, func(context.Context) (int, error) { t.Error("started"); return 0, nil })
	kit.AwaitError(t, f, kit.ErrBoom)
}

func TestRaceDiscardsLateWinners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		discarded := make(chan int, 3)
		r := twill.NewRace[int](&twill.RaceOptions[int]{Discard: func(v int) { discarded <- v }})
		deaf := func(after time.Duration, v int) {
			r.Register(func(context.Context, int) (int, error) { time.Sleep(after); return v, nil })
		}
		deaf(3*time.Second, 3)
		deaf(time.Second, 1)
		deaf(2*time.Second, 2)
		kit.AwaitValue(t, r.Execute(t.Context(), 0), 1)
		require.Equal(t, 2, <-discarded)
		require.Equal(t, 3, <-discarded)

		f := r.Execute(t.Context(), 0)
		f.Cancel(nil) // after this all functions are too late
		for want := 1; want <= 3; want++ {
			require.Equal(t, want, <-discarded)
		}
	})
}

func TestRacePanickingDiscardIsReported(t *testing.T) {
	reports := kit.CollectReports(t)
	r := twill.NewRace[int](&twill.RaceOptions[int]{Discard: func(int) { panic(kit.ErrSecond) }})
	release := make(chan struct{})
	r.Register(func(context.Context, int) (int, error) { <-release; return 1, nil })
	r.Register(func(context.Context, int) (int, error) { return 2, nil })
	kit.AwaitValue(t, r.Execute(t.Context(), 0), 2)
	close(release)
	reports.Await(t, kit.ErrSecond)
}

func TestRaceStagger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &runner{after: 10 * time.Second, value: 1}
		b := &runner{after: 2500 * time.Millisecond, value: 2}
		c := &runner{after: 10 * time.Second, value: 3}
		d := &runner{after: 10 * time.Second, value: 4}
		r := newRace(&twill.RaceOptions[int]{Stagger: time.Second}, a, b, c, d)
		begin := time.Now()
		kit.AwaitValue(t, r.Execute(t.Context(), ""), 2)
		require.Equal(t, 3500*time.Millisecond, time.Since(begin))
		synctest.Wait()
		for i, x := range []*runner{a, b, c, d} {
			require.Equal(t, time.Duration(i)*time.Second, x.started.Sub(begin))
		}
		require.Equal(t, twill.ErrLost, d.cause)
	})
}

func TestRaceStaggerStartsTheNextAtOnceAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &runner{after: time.Second, err: kit.ErrFirst}
		b := &runner{after: time.Second, err: kit.ErrSecond}
		c := &runner{after: time.Second, value: 3}
		r := newRace(&twill.RaceOptions[int]{Stagger: time.Hour}, a, b, c)
		begin := time.Now()
		kit.AwaitValue(t, r.Execute(t.Context(), ""), 3)
		require.Equal(t, 3*time.Second, time.Since(begin))
		c.err = kit.ErrBoom
		_, err := r.Execute(t.Context(), "").Await(t.Context())
		require.ErrorIs(t, err, kit.ErrBoom)
	})
}

func TestRaceStopsStartingWhenItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &runner{after: time.Second, value: 1}, &runner{}
		r := newRace(&twill.RaceOptions[int]{Stagger: 2 * time.Second}, a, b)
		kit.AwaitValue(t, r.Execute(t.Context(), ""), 1)
		f := r.Execute(t.Context(), "")
		f.Cancel(nil)
		time.Sleep(time.Minute)
		require.Zero(t, b.started)
	})
}

// An empty budget allows only the first function, whether the delay or a
// failure is the reason.
func TestRaceBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := twill.NewBudget(4, 0.1)
		a := &runner{after: 3 * time.Second, value: 1}
		b := &runner{after: 6 * time.Second, value: 2}
		r := newRace(&twill.RaceOptions[int]{Stagger: time.Second, Budget: budget}, a, b)
		hedged := 0
		for range 20 {
			b.started = time.Time{}
			kit.AwaitValue(t, r.Execute(t.Context(), ""), 1)
			synctest.Wait()
			if !b.started.IsZero() {
				hedged++
			}
		}
		require.Positive(t, hedged)
		require.Less(t, hedged, 10)

		a.err = kit.ErrBoom
		b.started = time.Time{}
		_, err := r.Execute(t.Context(), "").Await(t.Context())
		var all *twill.AllFailedError
		require.ErrorAs(t, err, &all)
		require.Equal(t, []error{kit.ErrBoom, twill.ErrNoBudget}, all.Errs)
		require.Zero(t, b.started)
	})
}

// A function that the budget had refused was tried again after each delay,
// which may be a few nanoseconds.
func TestRaceBudgetRefusesOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := twill.NewBudget(8, 1)
		spend(budget, twill.Retry[int], 8)
		a := &runner{after: time.Hour, err: kit.ErrFirst}
		b, c := &runner{after: time.Hour, err: kit.ErrSecond}, &runner{after: time.Second, value: 3}
		r := newRace(&twill.RaceOptions[int]{Stagger: time.Second, Budget: budget}, a, b, c)
		begin := time.Now()
		f := r.Execute(t.Context(), "")
		time.Sleep(time.Minute)
		for range 8 {
			fn, _ := failing(0)
			_, err := twill.Retry(t.Context(), fn, &twill.RetryOptions{Budget: budget})
			require.NoError(t, err)
		}
		require.Equal(t, 8.0, budget.Tokens())
		v, err := f.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, v)
		synctest.Wait()
		require.Equal(t, time.Hour, b.started.Sub(begin), "when the first had failed")
		require.Equal(t, time.Hour+time.Second, c.started.Sub(begin), "the budget is asked anew about the one after it")
	})
}

func TestRacePercentile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &runner{value: 1}, &runner{after: time.Hour, value: 2}
		r := newRace(&twill.RaceOptions[int]{Stagger: time.Hour, Percentile: 90}, a, b)
		for i := range 20 {
			a.after = time.Duration(i+1) * 100 * time.Millisecond
			kit.AwaitValue(t, r.Execute(t.Context(), ""), 1)
			synctest.Wait()
		}
		b.after = 0
		a.after = time.Minute
		begin := time.Now()
		kit.AwaitValue(t, r.Execute(t.Context(), ""), 2)
		synctest.Wait()
		require.Equal(t, 1800*time.Millisecond, b.started.Sub(begin), "nine tenths of the winners took no longer")
	})
}

// By the rounding of floats, half a rank too much gave the next rank.
func TestRacePercentileIsTheNearestRank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for p, want := range map[float64]time.Duration{0.001: ms, 7: 7 * ms, 55: 55 * ms, 57: 57 * ms, 57.5: 58 * ms, 99: 99 * ms, 99.5: 100 * ms, 100: 100 * ms} {
			a, b := &runner{value: 1}, &runner{after: time.Hour}
			r := newRace(&twill.RaceOptions[int]{Stagger: time.Hour, Percentile: p}, a, b)
			for i := range 100 {
				a.after = time.Duration(i+1) * ms
				kit.AwaitValue(t, r.Execute(t.Context(), ""), 1)
				synctest.Wait()
			}
			a.after, b.after = time.Minute, 0
			begin := time.Now()
			kit.AwaitValue(t, r.Execute(t.Context(), ""), 0)
			synctest.Wait()
			require.Equal(t, want, b.started.Sub(begin), "percentile %v", p)
		}
	})
}

func TestRaceHeldContextLivesUntilReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r twill.Race[int, context.Context]
		r.Register(func(ctx context.Context, _ int) (context.Context, error) { return ctx, nil })
		r.Register(func(ctx context.Context, _ int) (context.Context, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		})
		held, err := r.ExecuteHeld(t.Context(), 0).Await(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		require.NoError(t, held.Value.Err())
		held.Release()
		held.Release()
		require.Error(t, held.Value.Err())

		plain, err := r.Execute(t.Context(), 0).Await(t.Context())
		require.NoError(t, err)
		require.Error(t, plain.Err(), "without a hold it ends with the race")
	})
}

// Another library keeps a context for each request in a parent that lives on.
func TestRaceLeavesNothingInTheParent(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("too slow under the race detector")
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		run := func(n int) {
			for range n {
				held, err := heldRace.ExecuteHeld(ctx, 0).Await(ctx)
				require.NoError(t, err)
				held.Release()
				_, err = heldRace.Execute(ctx, 0).Await(ctx)
				require.NoError(t, err)
				synctest.Wait() // the losers have ended too
			}
		}
		run(20_000)
		before := kit.HeapInUse()
		run(40_000) // a context kept for each would be several megabytes
		require.Less(t, float64(kit.HeapInUse())-float64(before), 1024*1024.0)
	})
}

// The future of a race that is over keeps nothing of the race, however long the
// future is kept.
func TestRaceIsReleased(t *testing.T) {
	var race twill.Race[*kit.Resource, int]
	race.Register(func(context.Context, *kit.Resource) (int, error) { return 5, nil })
	for name, start := range map[string]func(r *kit.Resource) *twill.Future[int]{
		"the argument": func(r *kit.Resource) *twill.Future[int] { return race.Execute(context.Background(), r) },
		"a function": func(r *kit.Resource) *twill.Future[int] {
			return twill.RaceOf(context.Background(), func(context.Context) (int, error) {
				runtime.KeepAlive(r)
				return 5, nil
			})
		},
		"the context": func(r *kit.Resource) *twill.Future[int] {
			type key struct{}
			return race.Execute(context.WithValue(context.Background(), key{}, r), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var w weak.Pointer[kit.Resource]
			var f *twill.Future[int]
			func() {
				held := new(kit.Resource)
				w = weak.Make(held)
				f = start(held)
			}()
			kit.AwaitValue(t, f, 5)
			require.True(t, kit.Released(w))
			kit.AwaitValue(t, f, 5)
		})
	}
}

var heldRace = func() *twill.Race[int, int] {
	r := twill.NewRace[int, int](nil)
	for i := range 2 {
		r.Register(func(context.Context, int) (int, error) { return i, nil })
	}
	return r
}()

// The original raised an IndexError.
func TestRaceRegisterDuringExecute(t *testing.T) {
	var r twill.Race[int, int]
	var late atomic.Bool
	r.Register(func(context.Context, int) (int, error) {
		r.Register(func(context.Context, int) (int, error) { late.Store(true); return 2, nil })
		return 0, kit.ErrBoom
	})
	kit.AwaitError(t, r.Execute(t.Context(), 0), kit.ErrBoom)
	require.False(t, late.Load())
	kit.AwaitValue(t, r.Execute(t.Context(), 0), 2)
}

func TestRaceMisuse(t *testing.T) {
	var r twill.Race[int, int]
	var none context.Context
	for what, fn := range map[string]func(){
		"twill: Register with a nil function":                           func() { r.Register(nil) },
		"twill: Execute with a nil context":                             func() { r.Execute(none, 1) },
		"twill: ExecuteHeld with a nil context":                         func() { r.ExecuteHeld(none, 1) },
		"twill: RaceOf with a nil context":                              func() { twill.RaceOf[int](none) },
		"twill: RaceOf with a nil function":                             func() { twill.RaceOf[int](t.Context(), nil) },
		"twill: NewRace with a negative Stagger":                        func() { newRace(&twill.RaceOptions[int]{Stagger: -1}) },
		"twill: NewRace with a Percentile of 101":                       func() { newRace(&twill.RaceOptions[int]{Percentile: 101}) },
		"twill: NewRace with a Percentile and no Stagger to begin with": func() { newRace(&twill.RaceOptions[int]{Percentile: 50}) },
	} {
		require.PanicsWithValue(t, what, fn)
	}
}

func TestRaceAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx := context.Background()
	require.LessOrEqual(t, testing.AllocsPerRun(200, func() { _, _ = heldRace.Execute(ctx, 0).Await(ctx) }), 10.0)
}

// K17: in an outage, functions that start because another function has failed
// were not limited: 1000 calls made 3000 attempts.
func TestRaceBudgetInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		r := twill.NewRace[int](&twill.RaceOptions[int]{Stagger: time.Second, Budget: new(twill.Budget)})
		for range 3 {
			r.Register(func(context.Context, int) (int, error) { attempts++; return 0, kit.ErrBoom })
		}
		for range 1000 {
			kit.AwaitError(t, r.Execute(t.Context(), 0), kit.ErrBoom)
		}
		require.Equal(t, 1000+49, attempts, "once, half of the 100 tokens")
	})
}

// K17: the percentile did not include the slow functions, as a hedge overtook
// them: 14 % of the calls were hedged at the 95th percentile.
func TestRacePercentileCountsTheOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		calls := 0
		var mu sync.Mutex // guards the two variables above
		slow := func(ctx context.Context, _ int) (int, error) {
			mu.Lock()
			calls++
			after := time.NewTimer(time.Duration(rnd.ExpFloat64() * float64(time.Second)))
			mu.Unlock()
			defer after.Stop()
			select {
			case <-after.C:
				return 1, nil
			case <-ctx.Done():
				return 0, context.Cause(ctx)
			}
		}
		r := twill.NewRace[int](&twill.RaceOptions[int]{Stagger: time.Hour, Percentile: 95})
		r.Register(slow)
		r.Register(slow)
		const races = 4000
		for range races {
			kit.AwaitValue(t, r.Execute(t.Context(), 0), 1)
			synctest.Wait()
		}
		hedged := float64(calls-races) / races
		require.Less(t, hedged, 0.08)
		require.Greater(t, hedged, 0.03)
	})
}

// K19: reading the winner's body after Execute failed with "lost the race".
func TestRaceContextsSayWhoWon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r twill.Race[int, context.Context]
		lost := make(chan error, 1)
		r.Register(func(ctx context.Context, _ int) (context.Context, error) { return ctx, nil })
		r.Register(func(ctx context.Context, _ int) (context.Context, error) {
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return nil, context.Cause(ctx)
		})
		won, err := r.Execute(t.Context(), 0).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, twill.ErrWon, context.Cause(won))
		require.ErrorIs(t, won.Err(), context.Canceled)
		require.Equal(t, twill.ErrLost, <-lost)

		held, err := r.ExecuteHeld(t.Context(), 0).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, twill.ErrLost, <-lost)
		require.NoError(t, held.Value.Err())
		held.Release()
		require.Equal(t, twill.ErrWon, context.Cause(held.Value))
		new(twill.HeldResult[int]).Release()
	})
}

// unwatchedContext ends while its Done channel is still open.
type unwatchedContext struct {
	context.Context
	end time.Time
}

func (c unwatchedContext) Err() error {
	if time.Now().Before(c.end) {
		return nil
	}
	return context.DeadlineExceeded
}

// K2: a hedge started after the end of the context, because the watch on it was
// late.
func TestRaceHedgesNothingAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			done, cancel := context.WithTimeout(t.Context(), time.Minute)
			ctx := unwatchedContext{done, time.Now().Add(time.Second)}
			discarded := make(chan int, 1)
			r := twill.NewRace[int](&twill.RaceOptions[int]{Stagger: time.Second, Discard: func(v int) { discarded <- v }})
			r.Register(func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 7, nil })
			r.Register(func(context.Context, int) (int, error) { t.Error("started after the end"); return 8, nil })
			_, err := r.Execute(ctx, 0).Await(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NoError(t, done.Err())
			require.Equal(t, 7, <-discarded, "what is returned because of the end does not win")
			cancel()
		}
	})
}

// K6: a settled future keeps only its result.
func TestRaceLetsGoOfItsContext(t *testing.T) {
	type key struct{}
	var gone weak.Pointer[[64]int]
	var f *twill.Future[int]
	func() {
		big := new([64]int)
		gone = weak.Make(big)
		f = twill.RaceOf(context.WithValue(context.Background(), key{}, big), func(context.Context) (int, error) { return 1, nil })
	}()
	kit.AwaitValue(t, f, 1)
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5*time.Second, time.Millisecond)
	runtime.KeepAlive(f)
}
