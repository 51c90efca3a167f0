package twill_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// Y1: an operation whose context had expired was called once all the same.
func TestRetryExpiredContextCallsNothing(t *testing.T) {
	reason := errors.New("the server goes down")
	everyForm(t, func(t *testing.T, retry retryForm) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		fn, calls := failing(0)
		budget := twill.NewBudget(10, 1)
		v, err := retry(ctx, fn, &twill.RetryOptions{Budget: budget, OnRetry: func(twill.RetryEvent) { t.Error("hook") }})
		e := requireRetryError(t, err)
		require.Zero(t, v)
		require.Zero(t, *calls)
		require.Zero(t, e.Attempts)
		require.Zero(t, e.Elapsed)
		require.NoError(t, e.First())
		require.NoError(t, e.Last())
		require.ErrorIs(t, err, reason)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "twill: not attempted: context canceled: the server goes down", err.Error())
		require.Equal(t, 10.0, budget.Tokens())
	})
}

// Y2: also sequences and hints of others are kept within bounds.
func TestRetryPausesAreNeverNegative(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var pauses []time.Duration
		hints := []time.Duration{-1, -longest - 1, 0, 5, longest, 5}
		start, n := time.Now(), 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			n++
			return 0, twill.RetryAfter(hints[n-1], io.EOF)
		}, &twill.RetryOptions{
			Backoff: func(yield func(time.Duration) bool) {
				_ = yield(-1) && yield(3) && yield(-longest-1) && yield(7) && yield(-7)
			},
			MaxRetryAfter: time.Second,
			OnPause:       func(e twill.RetryEvent) { pauses = append(pauses, e.Delay) },
		})
		require.ErrorIs(t, err, twill.ErrRetriesExhausted)
		require.Equal(t, []time.Duration{0, 3, 0, 7, time.Second}, pauses)
		require.Equal(t, time.Second+10, time.Since(start))
	})
}

// Y4: the limit counted the pauses, or the attempts, but not both; and a call
// slept through a pause at whose end it had to give up.
func TestRetryDoesNotPausePastTheEnd(t *testing.T) {
	slow := func(context.Context) (int, error) {
		time.Sleep(3 * time.Second)
		return 0, io.EOF
	}
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, c := range []struct {
			most, pause, want time.Duration
			attempts          int
		}{
			{10 * time.Second, 4 * time.Second, 10 * time.Second, 2}, // attempts at 0 and 7; at 10 there is no time for a pause of 4
			{10 * time.Second, 0, 12 * time.Second, 4},               // 0, 3, 6, 9: an attempt is not cut off
			{6 * time.Second, 3 * time.Second, 3 * time.Second, 1},   // a pause right up to the end leaves no time for an attempt
			{time.Nanosecond, 0, 3 * time.Second, 1},
		} {
			start := time.Now()
			_, err := retry(t.Context(), slow, &twill.RetryOptions{Backoff: twill.Constant(c.pause), MaxElapsed: c.most})
			e := requireRetryError(t, err)
			require.Equal(t, twill.ErrMaxElapsed, e.Reason)
			require.Equal(t, c.attempts, e.Attempts)
			require.Equal(t, c.want, e.Elapsed)
			require.Equal(t, c.want, time.Since(start))
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		_, err := retry(ctx, slow, &twill.RetryOptions{Backoff: twill.Constant(4 * time.Second)})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, ctx.Err(), "it did not wait for that")
		require.Equal(t, 2, requireRetryError(t, err).Attempts)
		require.Equal(t, 10*time.Second, time.Since(start), "as long as two attempts and one pause")
	})
}

// Y5: the context of an attempt was that of the one before, or was never
// cancelled.
func TestRetryAttemptTimeout(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all []context.Context
		start := time.Now()
		v, err := retry(parent, func(ctx context.Context) (int, error) {
			all = append(all, ctx)
			if ctx.Err() != nil {
				t.Error("an attempt that begins with an ended context")
			}
			if len(all) == 3 {
				return 5, nil
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, &twill.RetryOptions{AttemptTimeout: time.Second, Backoff: twill.Constant(time.Minute)})
		require.NoError(t, err)
		require.Equal(t, 5, v)
		require.Equal(t, 2*time.Second+2*time.Minute, time.Since(start))
		synctest.Wait()
		for i, ctx := range all {
			require.Error(t, ctx.Err(), "context of attempt %d", i)
			var timeout *twill.TimeoutError
			require.Equal(t, i < 2, errors.As(context.Cause(ctx), &timeout))
		}
		require.NoError(t, parent.Err())
	})
}

// Y7: options used by several calls at a time were used up by the first.
func TestRetryOptionsAreSharedByManyCalls(t *testing.T) {
	opts := &twill.RetryOptions{
		Backoff:   twill.Limit(twill.FullJitter(twill.Exponential(1, 2)), 4),
		NewTester: twill.RetryAtMost(3, func(err error) bool { return errors.Is(err, io.EOF) }),
		Budget:    twill.NewBudget(1_000_000, 1),
	}
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			var attempts atomic.Int64
			for range 1000 {
				wg.Go(func() {
					_, err := retry(t.Context(), func(context.Context) (int, error) {
						attempts.Add(1)
						return 0, io.EOF
					}, opts)
					if e := (*twill.RetryError)(nil); !errors.As(err, &e) || e.Attempts != 4 {
						t.Errorf("not 4 attempts: %v", err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 4000, attempts.Load())
		})
	}
}

// Y11: a limit of no attempts ended as a success of something that never ran.
func TestRetryWithoutRetriesMakesOneAttempt(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, seq := range []func(func(time.Duration) bool){twill.FromSlice(), twill.Limit(twill.Constant(1), 0), twill.Limit(twill.Constant(1), -1)} {
			fn, calls := failing(-1)
			v, err := retry(t.Context(), fn, &twill.RetryOptions{Backoff: seq})
			e := requireRetryError(t, err)
			require.Equal(t, twill.ErrRetriesExhausted, e.Reason)
			require.ErrorIs(t, err, errOne)
			require.Equal(t, []int{1, 1, 0}, []int{*calls, e.Attempts, v})
			fn, _ = failing(0)
			v, err = retry(t.Context(), fn, &twill.RetryOptions{Backoff: seq})
			require.NoError(t, err)
			require.Equal(t, 5, v)
		}
	})
}

func TestRetryMisuse(t *testing.T) {
	fn, _ := failing(0)
	future, _ := promisedAttempts()
	var noContext context.Context
	for text, fn := range map[string]func(){
		"Retry with a nil context":                  func() { _, _ = twill.Retry(noContext, fn, nil) },
		"Retry with a nil function":                 func() { _, _ = twill.Retry[int](t.Context(), nil, nil) },
		"NewRetryingCall with a nil function":       func() { twill.NewRetryingCall[int](nil, nil) },
		"NewRetryingCallFuture with a nil function": func() { twill.NewRetryingCallFuture[int](nil, nil) },
		"Start with a nil context":                  func() { twill.NewRetryingCallFuture(future, nil).Start(noContext) },
		"a RetryingCall is made by NewRetryingCall": func() { new(twill.RetryingCall[int]).Start(t.Context()) },
		"RetryIf with a nil function":               func() { twill.RetryIf(nil) },
		"RetryAtMost with a nil function":           func() { twill.RetryAtMost(1, nil) },
	} {
		require.PanicsWithValue(t, "twill: "+text, fn)
	}
}
