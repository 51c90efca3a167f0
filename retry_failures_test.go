package twill_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// Failures of other packages that have no better place.

// Failure 28: the contexts of attempts that succeeded stayed with their parent
// for as long as that lived.
func TestRetryLeavesNothingInTheParent(t *testing.T) {
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			defer cancel()
			opts := &twill.RetryOptions{AttemptTimeout: time.Hour, Backoff: twill.Constant(0)}
			calls := func(n int) {
				for range n {
					fn, _ := failing(1)
					_, err := retry(parent, fn, opts)
					require.NoError(t, err)
				}
			}
			calls(100)
			before := heapInUse()
			calls(5000)
			require.Less(t, heapInUse(), before+512<<10)
		})
	}
}

// Failure 29: a result that is read after the call, like the body of a
// response, was cut off by the end of the context it came with. Without an
// AttemptTimeout, Retry has no context of its own.
func TestRetryPassesTheContextOn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	_, err := twill.Retry(ctx, func(got context.Context) (int, error) {
		require.Equal(t, ctx, got)
		return 0, nil
	}, nil)
	require.NoError(t, err)
	for _, retry := range retryForms {
		_, err := retry(ctx, func(ctx context.Context) (int, error) {
			require.Equal(t, 1, ctx.Value(key{}))
			return 0, nil
		}, &twill.RetryOptions{AttemptTimeout: time.Hour})
		require.NoError(t, err)
	}
}

// Failure 30: each pause left a timer behind that lived until it went off.
func TestRetryLeavesNoTimers(t *testing.T) {
	before := heapInUse()
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				fn, _ := failing(-1)
				_, err := retry(ctx, fn, &twill.RetryOptions{Backoff: twill.Constant(time.Hour), OnPause: func(twill.RetryEvent) { cancel() }})
				require.ErrorIs(t, err, context.Canceled)
			}
		})
	}
	require.Less(t, heapInUse(), before+512<<10)
}

// Failure 36: a call that panicked counted as done. Here it is an error like
// any other, and the next call begins anew.
func TestRetryAfterAPanic(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		panics := true
		fn := func(context.Context) (int, error) {
			if panics {
				panic("boom")
			}
			return 5, nil
		}
		opts := &twill.RetryOptions{Tester: func(error) error { t.Error("a panic is not for the tester"); return nil }}
		for range 2 {
			v, err := retry(t.Context(), fn, opts)
			var p *twill.PanicError
			require.ErrorAs(t, err, &p)
			require.Equal(t, "boom", p.Value)
			require.Equal(t, 1, requireRetryError(t, err).Attempts)
			require.Zero(t, v)
		}
		// Nor is a call inside the function retried that a panic of its hook ended.
		_, err := retry(t.Context(), func(ctx context.Context) (int, error) {
			return twill.Retry(ctx, func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{
				OnRetry: func(twill.RetryEvent) { panic("boom") },
			})
		}, opts)
		require.Equal(t, 1, requireRetryError(t, err).Attempts)
		panics = false
		v, err := retry(t.Context(), fn, opts)
		require.NoError(t, err)
		require.Equal(t, 5, v)
	})
}

// Failure 37: of a cancel and a success, the one that came first is the
// outcome, and in each form the same cancel gives the same error.
func TestRetrySuccessAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v, err := twill.Retry(ctx, func(context.Context) (int, error) {
		cancel()
		return 5, nil
	}, nil)
	require.NoError(t, err)
	require.Equal(t, 5, v)

	ctx, cancel = context.WithCancel(t.Context())
	v, err = twill.NewRetryingCall(func(context.Context) (int, error) {
		cancel()
		return 5, nil
	}, nil).Start(ctx).Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, v)
}

// Failure 37: an attempt that was cancelled by itself, not with the call, is a
// failure like any other.
func TestRetryOfACancelThatIsNotTheCalls(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, own := range []error{context.Canceled, context.DeadlineExceeded, &twill.CanceledError{Cause: errOne}} {
			calls := 0
			v, err := retry(t.Context(), func(context.Context) (int, error) {
				if calls++; calls < 3 {
					return 0, own
				}
				return 5, nil
			}, nil)
			require.NoError(t, err)
			require.Equal(t, []int{5, 3}, []int{v, calls})
		}
	})
}

// Y6: hooks and testers run under no lock, and may use what calls them.
func TestRetryHooksMayRetry(t *testing.T) {
	budget := twill.NewBudget(1000, 1)
	var nested func(twill.RetryEvent)
	opts := &twill.RetryOptions{
		Backoff: twill.FromSlice(0), Budget: budget,
		OnPause: func(e twill.RetryEvent) { nested(e) }, OnRetry: func(e twill.RetryEvent) { nested(e) },
		Tester: func(err error) error { budget.Tokens(); return nil },
	}
	call := twill.NewRetryingCall(func(context.Context) (int, error) { return 0, io.EOF }, opts)
	depth := 0
	nested = func(twill.RetryEvent) {
		if depth++; depth < 5 {
			awaitError(t, call.Start(t.Context()), io.EOF)
			_, err := twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, io.EOF }, opts)
			require.ErrorIs(t, err, io.EOF)
		}
	}
	watchdog(t, func() { awaitError(t, call.Start(t.Context()), io.EOF) })
}

// The events tell the number of the attempt, the pause after it, the time since
// the start, and the error.
func TestRetryEvents(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var before, after []twill.RetryEvent
		calls := 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			time.Sleep(time.Second)
			calls++
			return calls, []error{errOne, errTwo, nil}[calls-1]
		}, &twill.RetryOptions{
			Backoff: twill.FromSlice(time.Minute, 0),
			OnPause: func(e twill.RetryEvent) { before = append(before, e) },
			OnRetry: func(e twill.RetryEvent) { after = append(after, e) },
		})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []twill.RetryEvent{{1, time.Minute, time.Second, errOne}, {2, 0, time.Minute + 2*time.Second, errTwo}}, before)
		require.Equal(t, []twill.RetryEvent{{1, time.Minute, time.Minute + time.Second, errOne}, {2, 0, time.Minute + 2*time.Second, errTwo}}, after)
	})
}

// What a call costs.
func TestRetryAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	budget := twill.NewBudget(10_000_000, 1)
	opts := &twill.RetryOptions{Backoff: twill.FullJitter(twill.Exponential(time.Second, 2)), Budget: budget, MaxElapsed: time.Hour}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, _ = twill.Retry(ctx, func(context.Context) (int, error) { return 1, nil }, opts)
	}))
	failure := errors.New("failure")
	cost := func(failures int) float64 {
		return testing.AllocsPerRun(20, func() {
			left := failures
			_, _ = twill.Retry(ctx, func(context.Context) (int, error) {
				if left--; left >= 0 {
					return 0, failure
				}
				return 1, nil
			}, &twill.RetryOptions{Backoff: twill.Constant(1), Budget: budget})
		})
	}
	perAttempt := (cost(1000) - cost(200)) / 800
	require.Less(t, perAttempt, 0.01)
}
