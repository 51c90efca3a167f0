package twill_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestInitRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pauses := slices.Values([]time.Duration{time.Second, 0, -1, 2 * time.Second})
		began := time.Now()
		var at []time.Duration
		try := func(succeed int) func(context.Context) (int, error) {
			at = nil
			began = time.Now()
			return func(context.Context) (int, error) {
				if at = append(at, time.Since(began)); len(at) == succeed {
					return succeed, nil
				}
				return 0, fmt.Errorf("attempt %d: %w", len(at), errBoom)
			}
		}
		in := twill.NewInitRetry(t.Context(), try(4), pauses)
		early := twill.Do(in, same[int])
		awaitValue(t, early, 4)
		require.Equal(t, []time.Duration{0, time.Second, time.Second, time.Second}, at)

		in = twill.NewInitRetry(t.Context(), try(1), pauses)
		awaitValue(t, in.Ready(), 1)

		in = twill.NewInitRetry(t.Context(), try(0), pauses)
		f := twill.Do(in, unexpected[int](t))
		awaitError(t, f, errBoom)
		require.ErrorContains(t, poll(t, f), "attempt 5")
		require.Equal(t, 3*time.Second, at[4])

		in = twill.NewInitRetry(t.Context(), func(context.Context) (int, error) { panic(errFirst) }, pauses)
		awaitError(t, in.Ready(), errFirst)
	})
}

// An end of the context, or a Cancel, ends the pauses too, and the error tells
// both.
func TestInitRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		fails := func(context.Context) (int, error) { attempts++; return 0, errBoom }
		hourly := func(yield func(time.Duration) bool) {
			for yield(time.Hour) {
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		in := twill.NewInitRetry(ctx, fails, hourly)
		f := twill.Do(in, unexpected[int](t))
		synctest.Wait()
		cancel(errFirst)
		synctest.Wait()
		requireFailure(t, errBoom, f)
		requireFailure(t, errFirst, f)
		require.Equal(t, 1, attempts)

		in = twill.NewInitRetry(t.Context(), fails, hourly)
		synctest.Wait()
		require.True(t, in.Cancel(nil))
		requireFailure(t, twill.ErrCanceled, in.Ready())
		synctest.Wait()
		require.Equal(t, 2, attempts)
	})
}

func TestInitMisuse(t *testing.T) {
	var noContext context.Context
	var zero twill.Init[int]
	in, gate := gated(t)
	f := in.Ready()
	fn := func(context.Context) (int, error) { return 1, nil }
	pauses := slices.Values([]time.Duration{})
	for what, misuse := range map[string]func(){
		"NewInit with a nil context":       func() { twill.NewInit(noContext, fn) },
		"NewInit with a nil function":      func() { twill.NewInit[int](t.Context(), nil) },
		"NewInitRetry with a nil context":  func() { twill.NewInitRetry(noContext, fn, pauses) },
		"NewInitRetry with a nil function": func() { twill.NewInitRetry(t.Context(), fn, nil) },
		"Do with a nil function":           func() { twill.Do[int, int](in, nil) },
		"DoFuture with a nil function":     func() { twill.DoFuture[int, int](in, nil) },
		"Method with a nil function":       func() { twill.Method[int, int, int](in, nil) },
		"an Init is made by NewInit":       func() { zero.Ready() },
	} {
		t.Run(what, func(t *testing.T) { require.PanicsWithValue(t, "twill: "+what, misuse) })
	}
	gate <- 1
	awaitValue(t, f, 1)
}

func TestInitMillionCallsWait(t *testing.T) {
	waiting := 1_000_000
	if testing.Short() {
		waiting = 50_000
	}
	smallStack(t)
	in, gate := gated(t)
	sum := 0
	count := func(n int) {
		for range n {
			twill.Do(in, func(v int) (int, error) { sum += v; return v, nil })
		}
	}
	count(waiting)
	last := twill.Do(in, func(int) (int, error) { return sum, nil })
	gate <- 2
	awaitValue(t, last, 2*waiting)
	if !raceEnabled {
		add := func(v int) (int, error) { return v + 1, nil }
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { twill.Do(in, add) }), 1.0, "only the future")
	}
}

// Calls that are given up leave nothing on an Init that takes long.
func TestInitCancelledCallsLeaveNothing(t *testing.T) {
	in, gate := gated(t)
	leave := func(n int) {
		for range n {
			twill.Do(in, same[int]).Cancel(nil)
			in.Ready().Cancel(nil)
		}
	}
	leave(100)
	before := heapInUse()
	leave(20_000)
	require.Less(t, float64(heapInUse())-float64(before), 128*1024.0)
	gate <- 1
	awaitValue(t, in.Ready(), 1)
}

// poll is the error with which f has failed.
func poll[T any](t *testing.T, f *twill.Future[T]) error {
	t.Helper()
	r, ok := f.Poll()
	require.True(t, ok)
	return r.Err
}
