package twill_test

import (
	"fmt"
	"iter"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// steps are the steps of a series whose futures the test settles.
type steps struct {
	promises []*twill.Promise[int]
	got      []int
}

func (s *steps) step(v int) *twill.Future[int] {
	p := twill.NewPromise[int]()
	s.promises, s.got = append(s.promises, p), append(s.got, v)
	return p.Future()
}

func TestSeriesRunsOneAfterAnother(t *testing.T) {
	var s steps
	f := twill.Series(1, s.step, s.step, s.step)
	require.Equal(t, []int{1}, s.got, "the first has begun, the others not")
	s.promises[0].Resolve(10)
	require.Equal(t, []int{1, 10}, s.got)
	s.promises[1].Resolve(20)
	kit.RequirePending(t, f)
	require.Len(t, s.promises, 3)
	s.promises[2].Resolve(30)
	kit.RequireValue(t, 30, f)
	require.Equal(t, []int{1, 10, 20}, s.got)
}

func TestSeriesWithoutSteps(t *testing.T) {
	kit.RequireValue(t, 5, twill.Series(5))
	kit.RequireValue(t, 5, twill.SeriesOf(5, func(func(func(int) *twill.Future[int]) bool) {}))
}

func TestSeriesStopsAtTheFirstError(t *testing.T) {
	var s steps
	never := func(int) *twill.Future[int] { t.Error("called"); return nil }
	f := twill.Series(1, s.step, s.step, never)
	s.promises[0].Resolve(1)
	s.promises[1].Reject(kit.ErrBoom)
	kit.RequireFailure(t, kit.ErrBoom, f)

	kit.RequireFailure(t, kit.ErrBoom, twill.Series(1, func(int) *twill.Future[int] { return twill.Rejected[int](kit.ErrBoom) }, never))
	kit.RequireFailure(t, kit.ErrBoom, twill.Series(1, func(int) *twill.Future[int] { panic(kit.ErrBoom) }, never))
	_, err := kit.AwaitSoon(twill.Series(1, func(int) *twill.Future[int] { return nil }, never))
	require.ErrorContains(t, err, "nil future")

	panics := twill.Series(1, s.step, func(int) *twill.Future[int] { panic(kit.ErrFirst) }, never)
	s.promises[2].Resolve(1)
	kit.RequireFailure(t, kit.ErrFirst, panics)
	exits := twill.Series(1, s.step, func(int) *twill.Future[int] { runtime.Goexit(); return nil }, never)
	var wg sync.WaitGroup
	wg.Go(func() { s.promises[3].Resolve(1) })
	wg.Wait()
	kit.RequireFailure(t, twill.ErrGoexit, exits)
}

func TestSeriesCancelStopsTheCurrentStep(t *testing.T) {
	var s steps
	never := func(int) *twill.Future[int] { t.Error("called"); return nil }
	f := twill.Series(1, s.step, s.step, never)
	s.promises[0].Resolve(1)
	require.True(t, f.Cancel(kit.ErrBoom))
	kit.RequireFailure(t, kit.ErrBoom, s.promises[1].Future())
	kit.RequireFailure(t, kit.ErrBoom, f)
	require.Zero(t, kit.Listeners(s.promises[1].Future()))
}

// A step succeeds although it was canceled: no step comes after it.
func TestSeriesCancelThatAStepSurvives(t *testing.T) {
	survivor := func() (*twill.Promise[int], func(int) *twill.Future[int]) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { p.Resolve(7) })
		return p, func(int) *twill.Future[int] { return p.Future() }
	}
	p, step := survivor()
	f := twill.Series(1, step, func(int) *twill.Future[int] { t.Error("called"); return nil })
	f.Cancel(kit.ErrBoom)
	kit.RequireValue(t, 7, p.Future())
	kit.RequireFailure(t, kit.ErrBoom, f)
	kit.RequireFailure(t, twill.ErrCanceled, f)

	_, step = survivor()
	f = twill.Series(1, step)
	f.Cancel(kit.ErrBoom)
	kit.RequireValue(t, 7, f)
}

// A step with other dependents goes on without the series.
func TestSeriesCancelLeavesASharedStep(t *testing.T) {
	var s steps
	f := twill.Series(1, s.step, s.step)
	other := twill.Then(s.promises[0].Future(), kit.Same[int])
	require.True(t, f.Cancel(nil))
	kit.RequireFailure(t, twill.ErrCanceled, f)
	kit.RequirePending(t, other)
	s.promises[0].Resolve(1)
	kit.RequireValue(t, 1, other)
	require.Len(t, s.promises, 1)
}

// A cancel that arrives while a step function runs goes to the future that it
// returns.
func TestSeriesCancelFromWithinAStep(t *testing.T) {
	var s steps
	var f *twill.Future[int]
	never := func(int) *twill.Future[int] { t.Error("called"); return nil }
	f = twill.Series(1, s.step, func(v int) *twill.Future[int] {
		f.Cancel(kit.ErrBoom)
		return s.step(v)
	}, never)
	s.promises[0].Resolve(1)
	kit.RequireFailure(t, kit.ErrBoom, s.promises[1].Future())
	kit.RequireFailure(t, kit.ErrBoom, f)

	f = twill.Series(1, s.step, func(v int) *twill.Future[int] {
		f.Cancel(kit.ErrBoom)
		return twill.Resolved(v)
	}, never)
	s.promises[2].Resolve(1)
	kit.RequireFailure(t, kit.ErrBoom, f)
}

func TestSeriesThatWaitsForItself(t *testing.T) {
	var s steps
	var f *twill.Future[int]
	f = twill.Series(1, s.step, func(int) *twill.Future[int] { return twill.Then(f, kit.Same[int]) })
	s.promises[0].Resolve(1)
	kit.RequireFailure(t, twill.ErrCycle, f)
}

func TestSeriesFailureIsTakenOverAndReported(t *testing.T) {
	reports := kit.CollectReports(t)
	func() {
		twill.Series(1, func(int) *twill.Future[int] { return twill.Rejected[int](kit.ErrSecond) })
	}()
	reports.Await(t, kit.ErrSecond)
	require.Len(t, reports.Of(kit.ErrSecond), 1)
}

// stepsOf returns n steps that add one, made one by one. made counts them.
func stepsOf(n int, made *int, ended *bool) iter.Seq[func(int) *twill.Future[int]] {
	return func(yield func(func(int) *twill.Future[int]) bool) {
		defer func() { *ended = true }()
		for range n {
			*made++
			if !yield(func(v int) *twill.Future[int] { return twill.Resolved(v + 1) }) {
				return
			}
		}
	}
}

func TestSeriesOfMillionsOfSettledSteps(t *testing.T) {
	n := 1_000_000
	if !kit.Long() {
		n = 100_000
	}
	kit.SmallStack(t)
	made, ended := 0, false
	kit.RequireValue(t, n, twill.SeriesOf(0, stepsOf(n, &made, &ended)))
	require.Equal(t, n, made)
	require.True(t, ended)

	p := twill.NewPromise[int]()
	wait := func(int) *twill.Future[int] { return p.Future() }
	inc := func(v int) *twill.Future[int] { return twill.Resolved(v + 1) }
	f := twill.Series(0, append([]func(int) *twill.Future[int]{wait}, slices.Repeat([]func(int) *twill.Future[int]{inc}, n)...)...)
	p.Resolve(1)
	kit.RequireValue(t, n+1, f)
}

// Two series that take turns, each waiting for the other: nothing nests, and
// nothing is left behind.
func TestSeriesOfPendingSteps(t *testing.T) {
	n := 200_000
	if !kit.Long() {
		n = 20_000
	}
	kit.SmallStack(t)
	var last *twill.Promise[int]
	f := twill.SeriesOf(0, func(yield func(func(int) *twill.Future[int]) bool) {
		for range n {
			step := func(int) *twill.Future[int] {
				last = twill.NewPromise[int]()
				return last.Future()
			}
			if !yield(step) {
				return
			}
		}
	})
	for i := range n {
		kit.RequirePending(t, f)
		last.Resolve(i)
	}
	kit.RequireValue(t, n-1, f)
}

func TestSeriesOfEndsItsSequence(t *testing.T) {
	for name, end := range map[string]func(s *steps, f *twill.Future[int]){
		"an error": func(s *steps, _ *twill.Future[int]) { s.promises[0].Reject(kit.ErrBoom) },
		"a cancel": func(_ *steps, f *twill.Future[int]) { f.Cancel(kit.ErrBoom) },
	} {
		t.Run(name, func(t *testing.T) {
			var s steps
			made, ended := 0, false
			f := twill.SeriesOf(1, func(yield func(func(int) *twill.Future[int]) bool) {
				defer func() { ended = true }()
				for yield(s.step) {
					made++
				}
			})
			require.False(t, ended)
			end(&s, f)
			kit.RequireFailure(t, kit.ErrBoom, f)
			require.True(t, ended)
			require.Zero(t, made, "what follows was not asked for")
		})
	}
	f := twill.SeriesOf(1, func(func(func(int) *twill.Future[int]) bool) { panic(kit.ErrBoom) })
	kit.RequireFailure(t, kit.ErrBoom, f)
}

func TestSeriesLetsGoOfItsSteps(t *testing.T) {
	p := twill.NewPromise[int]()
	var gone weak.Pointer[[64]int]
	var f *twill.Future[int]
	func() {
		big := new([64]int)
		gone = weak.Make(big)
		f = twill.Series(1, func(int) *twill.Future[int] { return p.Future() }, func(int) *twill.Future[int] { return twill.Resolved(big[0]) })
	}()
	p.Resolve(1)
	require.Eventually(t, func() bool { runtime.GC(); return gone.Value() == nil }, 5*time.Second, time.Millisecond)
	kit.RequireValue(t, 0, f)
}

// A sequence that panics when it is ended fails the series.
func TestSeriesOfPanicAtItsEnd(t *testing.T) {
	var s steps
	f := twill.SeriesOf(1, func(yield func(func(int) *twill.Future[int]) bool) {
		defer func() { panic(kit.ErrSecond) }()
		yield(s.step)
	})
	f.Cancel(nil)
	kit.RequireFailure(t, kit.ErrSecond, f)
}

// Settle and cancel race: steps never overlap, and none starts after the end.
func TestSeriesStress(t *testing.T) {
	for round := range 300 {
		running, ended := 0, false
		var mu sync.Mutex
		step := func(v int) *twill.Future[int] {
			mu.Lock()
			defer mu.Unlock()
			if running++; running > 1 || ended {
				t.Errorf("round %d: %d underway, ended: %t", round, running, ended)
			}
			p := twill.NewPromise[int]()
			go func() {
				mu.Lock()
				running--
				mu.Unlock()
				p.Resolve(v + 1)
			}()
			return p.Future()
		}
		f := twill.Series(0, step, step, step, step)
		done := make(chan bool)
		go func() { done <- f.Cancel(nil) }()
		v, err := kit.AwaitSoon(f)
		mu.Lock()
		ended = true
		mu.Unlock()
		<-done
		if err == nil {
			require.Equal(t, 4, v)
		} else {
			require.ErrorIs(t, err, twill.ErrCanceled)
		}
	}
}

func TestSeriesMisuse(t *testing.T) {
	var s steps
	require.PanicsWithValue(t, "twill: Series with a nil step", func() { twill.Series(1, s.step, nil) })
	require.PanicsWithValue(t, "twill: SeriesOf with nil steps", func() { twill.SeriesOf[int](1, nil) })
	require.Empty(t, s.promises)
	requireFailureText(t, "nil step", twill.SeriesOf(1, slices.Values([]func(int) *twill.Future[int]{nil})))
}

func requireFailureText[T any](t *testing.T, want string, f *twill.Future[T]) {
	t.Helper()
	_, err := kit.AwaitSoon(f)
	require.ErrorContains(t, err, want, fmt.Sprint(f))
}

// Series read the caller's slice when a step was due.
func TestSeriesCopiesItsSlice(t *testing.T) {
	var s steps
	all := []func(int) *twill.Future[int]{s.step, s.step}
	f := twill.Series(1, all...)
	all[1] = func(int) *twill.Future[int] { t.Error("called"); return nil }
	s.promises[0].Resolve(2)
	s.promises[1].Resolve(3)
	kit.RequireValue(t, 3, f)
	require.NotNil(t, all[0], "the caller's slice is left alone")
}

// The closure of a step that has run was kept until the series ended.
func TestSeriesReleasesStepsThatHaveRun(t *testing.T) {
	var s steps
	step := func() (func(int) *twill.Future[int], weak.Pointer[kit.Resource]) {
		r := new(kit.Resource)
		return func(v int) *twill.Future[int] { runtime.KeepAlive(r); return s.step(v) }, weak.Make(r)
	}
	var f *twill.Future[int]
	var first, second weak.Pointer[kit.Resource]
	kit.Drop(func() {
		var a, b func(int) *twill.Future[int]
		a, first = step()
		b, second = step()
		f = twill.Series(1, a, b)
	})
	require.True(t, kit.Released(first))
	require.NotNil(t, second.Value())
	s.promises[0].Resolve(2)
	s.promises[1].Resolve(3)
	kit.RequireValue(t, 3, f)
	require.True(t, kit.Released(second))
}

// The goroutine of a sequence outlived everything that could take a step from
// it.
func TestSeriesOfStopsASequenceThatIsDropped(t *testing.T) {
	reports := kit.CollectReports(t)
	ended := make(chan struct{})
	kit.Drop(func() {
		twill.SeriesOf(1, func(yield func(func(int) *twill.Future[int]) bool) {
			defer panic(kit.ErrBoom)
			defer close(ended)
			yield(func(int) *twill.Future[int] { return new(twill.Promise[int]).Future() })
		})
	})
	require.Eventually(t, func() bool {
		runtime.GC()
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}, 10*time.Second, time.Millisecond)
	reports.Await(t, kit.ErrBoom)

	// A series that has yet to settle is not stopped.
	var s steps
	var f *twill.Future[int]
	kit.Drop(func() {
		f = twill.SeriesOf(1, slices.Values([]func(int) *twill.Future[int]{s.step, s.step}))
	})
	runtime.GC()
	runtime.GC()
	s.promises[0].Resolve(2)
	s.promises[1].Resolve(3)
	kit.RequireValue(t, 3, f)
}
