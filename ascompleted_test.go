package twill_test

import (
	"context"
	"errors"
	"iter"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestAsCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := []*twill.Future[string]{
			twill.After(3*time.Second, "slow"), twill.After(time.Second, "fast"),
			twill.Rejected[string](errBoom), twill.After(2*time.Second, "medium"),
		}
		var order []int
		for i, r := range twill.AsCompleted(t.Context(), fs...) {
			order = append(order, i)
			want, err := fs[i].Await(t.Context())
			require.Equal(t, twill.Result[string]{Value: want, Err: err}, r)
		}
		require.Equal(t, []int{2, 1, 3, 0}, order)
	})
}

func TestAsCompletedLeavesNothing(t *testing.T) {
	ps, fs := promises(3)
	ps[1].Resolve(1)
	for i := range twill.AsCompleted(t.Context(), fs...) {
		require.Equal(t, 1, i)
		break
	}
	for _, i := range []int{0, 2} {
		requirePending(t, fs[i])
		require.Zero(t, twill.Listeners(fs[i]))
		require.Zero(t, twill.Users(fs[i]))
	}
	for range twill.AsCompleted[int](t.Context()) {
		t.Fatal("nothing to yield")
	}
}

func TestAsCompletedEndsWithItsContext(t *testing.T) {
	ps, fs := promises(2)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	ps[0].Resolve(1)
	var got []int
	for i, r := range twill.AsCompleted(ctx, fs...) {
		if got = append(got, i); i == 0 {
			cancel(errBoom)
		} else {
			require.Equal(t, errBoom, r.Err)
		}
	}
	require.Equal(t, []int{0, -1}, got)
	require.Zero(t, twill.Listeners(fs[1]))
}

// What is there is yielded even if the context has ended, and not by chance.
func TestAsCompletedPrefersResults(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	pending := twill.NewPromise[int]().Future()
	for range 20 {
		var got []int
		for i, r := range twill.AsCompleted(ctx, pending, twill.Resolved(1), twill.Resolved(2)) {
			if got = append(got, i); i < 0 {
				require.Equal(t, errBoom, r.Err)
			}
		}
		require.Equal(t, []int{1, 2, -1}, got)
	}
}

func sleepy(ctx context.Context, n int) (int, error) {
	select {
	case <-time.After(time.Duration(10-n) * time.Second):
		if n == 4 {
			return 0, errBoom
		}
		return n * n, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func count(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}
}

func TestMapIsInOrderAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var underway atomic.Int32
		var counts record[int32]
		var got []int
		var failed []int
		n := 0
		for v, err := range twill.Map(t.Context(), count(10), 3, func(ctx context.Context, n int) (int, error) {
			counts.add(underway.Add(1))
			defer underway.Add(-1)
			return sleepy(ctx, n)
		}) {
			if err != nil {
				require.ErrorIs(t, err, errBoom)
				failed = append(failed, n)
			} else {
				got = append(got, v)
			}
			n++
		}
		require.Equal(t, []int{0, 1, 4, 9, 25, 36, 49, 64, 81}, got)
		require.Equal(t, []int{4}, failed)
		require.EqualValues(t, 3, slices.Max(counts.all()))
		require.Less(t, time.Since(begin), 30*time.Second)
	})
}

func TestMapCompletedIsInOrderOfCompletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		for n, r := range twill.MapCompleted(t.Context(), count(4), 4, sleepy) {
			order = append(order, n)
			require.NoError(t, r.Err)
			require.Equal(t, n*n, r.Value)
		}
		require.Equal(t, []int{3, 2, 1, 0}, order)
	})
}

func TestMapEndsWhenTheLoopDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended atomic.Int32
		wait := func(ctx context.Context, n int) (int, error) {
			if n == 0 {
				return 0, nil
			}
			<-ctx.Done()
			require.ErrorIs(t, context.Cause(ctx), twill.ErrNotNeeded)
			ended.Add(1)
			return 0, nil
		}
		for range twill.Map(t.Context(), count(100), 4, wait) {
			break
		}
		synctest.Wait()
		require.EqualValues(t, 3, ended.Load())
		for range twill.MapCompleted(t.Context(), count(100), 4, wait) {
			break
		}
		synctest.Wait()
		require.EqualValues(t, 6, ended.Load())
	})
}

func TestMapEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		stubborn := func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Hour)
			return n, nil
		}
		time.AfterFunc(time.Second, func() { cancel(errBoom) })
		var errs []error
		for _, err := range twill.Map(ctx, count(100), 3, stubborn) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 3)
		n := 0
		for _, r := range twill.MapCompleted(ctx, count(100), 3, stubborn) {
			n++
			errs = append(errs, r.Err)
		}
		require.Zero(t, n, "nothing begins after the end")
		for _, err := range errs {
			require.ErrorIs(t, err, errBoom)
		}
		time.Sleep(2 * time.Hour) // until the calls that were left have returned
	})
}

func TestMapCompletedEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errBoom) })
		seen := make(map[int]bool)
		for n, r := range twill.MapCompleted(ctx, count(100), 3, func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Hour)
			return n, nil
		}) {
			seen[n] = true
			require.Equal(t, errBoom, r.Err)
		}
		require.Equal(t, map[int]bool{0: true, 1: true, 2: true}, seen)
		time.Sleep(2 * time.Hour)
	})
}

// A call that the loop does not wait for any more may fail as it likes.
func TestMapDropsWhatComesTooLate(t *testing.T) {
	reports := collectReports(t)
	late := func(ctx context.Context, n int) (int, error) {
		if n == 0 {
			return 0, nil
		}
		<-ctx.Done()
		return 0, errSecond
	}
	synctest.Test(t, func(t *testing.T) {
		for range twill.Map(t.Context(), count(9), 3, late) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for _, err := range twill.Map(ctx, count(3), 3, late) {
			cancel()
			require.True(t, err == nil || errors.Is(err, context.Canceled) || err == errSecond)
		}
		for range twill.MapCompleted(t.Context(), count(9), 3, late) {
			break
		}
	})
	reports.settleGarbage(t)
	require.Empty(t, reports.of(errSecond))
}

// A width beyond all numbers is no width at all, and costs nothing.
func TestMapOfAnyWidth(t *testing.T) {
	square := func(_ context.Context, n int) (int, error) { return n * n, nil }
	var got []int
	for v, err := range twill.Map(t.Context(), count(5), math.MaxInt, square) {
		require.NoError(t, err)
		got = append(got, v)
	}
	require.Equal(t, []int{0, 1, 4, 9, 16}, got)
	clear(got)
	for n, r := range twill.MapCompleted(t.Context(), count(5), math.MaxInt, square) {
		require.NoError(t, r.Err)
		got[n] = r.Value
	}
	require.Equal(t, []int{0, 1, 4, 9, 16}, got)
}

// A call may have ended before the loop has come to listen to it: then its result
// is put where it is taken from by the same goroutine, which had better not wait.
func TestMapCompletedOfManyThatEndAtOnce(t *testing.T) {
	const width = 3000
	watchdog(t, func() {
		seen := make(map[int]bool)
		for n, r := range twill.MapCompleted(t.Context(), count(2*width), width, func(_ context.Context, n int) (int, error) { return n, nil }) {
			require.Equal(t, n, r.Value)
			seen[n] = true
		}
		require.Len(t, seen, 2*width)
	})
}

func TestMapContainsPanics(t *testing.T) {
	for _, r := range twill.MapCompleted(t.Context(), count(1), 1, func(context.Context, int) (int, error) { panic(errBoom) }) {
		require.ErrorIs(t, r.Err, errBoom)
	}
	for _, err := range twill.Map(t.Context(), count(1), 1, func(context.Context, int) (int, error) {
		runtime.Goexit()
		return 0, nil
	}) {
		require.ErrorIs(t, err, twill.ErrGoexit)
	}
}

func TestMapMisuse(t *testing.T) {
	var none context.Context
	fn := func(context.Context, int) (int, error) { return 0, nil }
	for what, call := range map[string]func(){
		"twill: Map with a nil context":           func() { twill.Map(none, count(1), 1, fn) },
		"twill: Map with a nil sequence":          func() { twill.Map[int](t.Context(), nil, 1, fn) },
		"twill: Map with a width of 0":            func() { twill.Map(t.Context(), count(1), 0, fn) },
		"twill: MapCompleted with a width of -1":  func() { twill.MapCompleted(t.Context(), count(1), -1, fn) },
		"twill: Map with a nil function":          func() { twill.Map[int, int](t.Context(), count(1), 1, nil) },
		"twill: AsCompleted with a nil context":   func() { twill.AsCompleted[int](none) },
		"twill: list of futures: number 0 is nil": func() { twill.AsCompleted[int](t.Context(), nil) },
	} {
		require.PanicsWithValue(t, what, call)
	}
	require.Equal(t, []int{0, 1}, slices.Collect(count(2)))
	require.False(t, errors.Is(twill.ErrNotNeeded, twill.ErrCanceled))
}
