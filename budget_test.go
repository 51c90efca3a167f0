package twill_test

import (
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// spend uses n tokens of b by calls that fail, and returns how many retries
// there were.
func spend(b *twill.Budget, retry retryForm, n int) (retries int) {
	for range n {
		_, _ = retry(context.Background(), func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{
			Budget: b, Backoff: twill.FromSlice(), OnRetry: func(twill.RetryEvent) { retries++ },
		})
	}
	return retries
}

func TestBudgetIsTheBucketOfA6(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(10, 0.5)
		require.Equal(t, 10.0, b.Tokens())
		fn, calls := failing(-1)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, twill.ErrNoBudget)
		require.Equal(t, 5, *calls, "retries as long as more than half of the tokens are there")
		require.Equal(t, 5.0, b.Tokens())
		spend(b, retry, 3)
		require.Equal(t, 2.0, b.Tokens(), "also failures that nobody may repeat take one")
		spend(b, retry, 10)
		require.Zero(t, b.Tokens(), "but there are never fewer than none")
		fn, _ = failing(0)
		for range 11 {
			_, err = retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
			require.NoError(t, err)
		}
		require.Equal(t, 5.5, b.Tokens())
		fn, calls = failing(-1)
		_, err = retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, twill.ErrNoBudget)
		require.Equal(t, 1, *calls, "4.5 of 10 are left")
	})
}

// Failure 9: a bucket once drained stayed so; tokens of errors that are not
// to be retried were kept.
func TestBudgetRefills(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(100, 0.3)
		spend(b, retry, 200)
		for range 400 {
			fn, _ := failing(0)
			_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
			require.NoError(t, err)
		}
		require.Equal(t, 100.0, b.Tokens(), "and not above what there were")
		fn, _ := failing(2)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.NoError(t, err)
		require.Equal(t, 98.3, b.Tokens(), "a success after retries counts too")
		_, err = retry(t.Context(), func(context.Context) (int, error) { return 0, twill.Permanent(io.EOF) }, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 98.3, b.Tokens())
	})
}

// Y6 and failure 10: after a few panics the budget was used up for good.
func TestBudgetAndPanics(t *testing.T) {
	boom := func() { panic(errMore) }
	isFirst := func(err error) bool { return errors.Is(err, errOne) }
	second := func(err error) error {
		if errors.Is(err, errTwo) {
			boom()
		}
		return nil
	}
	for name, opts := range map[string]twill.RetryOptions{
		"the function":         {},
		"the tester":           {Tester: func(error) error { panic(errMore) }},
		"the tester, later":    {Tester: second},
		"the maker of testers": {NewTester: func() func(error) error { panic(errMore) }},
		"the tester made":      {NewTester: func() func(error) error { return second }},
		"the hook before":      {OnPause: func(twill.RetryEvent) { boom() }},
		"the hook after":       {OnRetry: func(twill.RetryEvent) { boom() }},
		"the sequence":         {Backoff: func(func(time.Duration) bool) { boom() }},
		"the sequence, later":  {Backoff: func(yield func(time.Duration) bool) { yield(1); boom() }},
		"a sequence that goes on": {
			Tester: twill.RetryIf(isFirst),
			Backoff: func(yield func(time.Duration) bool) {
				for {
					yield(1)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyForm(t, func(t *testing.T, retry retryForm) {
				b, failed := twill.NewBudget(1000, 1), 0
				opts := opts
				opts.Budget = b
				for range 100 {
					calls := 0
					_, err := retry(t.Context(), func(context.Context) (int, error) {
						if calls++; name == "the function" && calls == 2 {
							boom()
						}
						return 0, []error{errOne, errTwo}[calls-1]
					}, &opts)
					var p *twill.PanicError
					require.ErrorAs(t, requireRetryError(t, err).Reason, &p)
					require.NotEmpty(t, p.Stack)
					failed += calls - 1
				}
				if !strings.Contains(name, "sequence") {
					failed = 0
				}
				require.Equal(t, 1000-float64(failed), b.Tokens(), "only what a retry took that was made and has failed")
			})
		})
	}
}

// Goexit ends the goroutine, so that nobody is there to give the token back.
func TestBudgetAndGoexit(t *testing.T) {
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			b := twill.NewBudget(10, 1)
			for _, opts := range []*twill.RetryOptions{
				{Budget: b, Backoff: twill.Constant(1)},
				{Budget: b, Backoff: twill.Constant(0), OnRetry: func(twill.RetryEvent) { runtime.Goexit() }},
				{Budget: b, Backoff: twill.Constant(1), OnPause: func(twill.RetryEvent) { runtime.Goexit() }},
			} {
				done := make(chan struct{})
				go func() {
					defer close(done)
					calls := 0
					_, err := retry(context.Background(), func(context.Context) (int, error) {
						if calls++; calls == 2 {
							runtime.Goexit()
						}
						return 0, io.EOF
					}, opts)
					if !errors.Is(err, twill.ErrGoexit) {
						t.Errorf("not an exit: %v", err)
					}
				}()
				<-done
				require.Equal(t, 10.0, b.Tokens())
			}
		})
	}
}

// A cancel while a call pauses leaves the bucket as it was.
func TestBudgetAndCancels(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(10, 1)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			fn, _ := failing(-1)
			_, err := retry(ctx, fn, &twill.RetryOptions{Budget: b, Backoff: twill.Constant(time.Minute)})
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, 10.0, b.Tokens())
	})
}

func TestBudgetLimits(t *testing.T) {
	var zero twill.Budget
	require.Equal(t, 100.0, zero.Tokens())
	_, err := twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{Budget: &zero, Backoff: twill.Constant(0)})
	require.Equal(t, 50, requireRetryError(t, err).Attempts)
	_, err = twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, nil }, &twill.RetryOptions{Budget: &zero})
	require.NoError(t, err)
	require.Equal(t, 50.1, zero.Tokens())

	huge := twill.NewBudget(math.MaxInt, math.Inf(1))
	require.GreaterOrEqual(t, huge.Tokens(), min(1e12, float64(math.MaxInt)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { spend(huge, twill.Retry[int], 1000) })
	}
	wg.Wait()
	tiny := twill.NewBudget(3, math.SmallestNonzeroFloat64)
	require.Equal(t, 3.0, tiny.Tokens())

	require.PanicsWithValue(t, "twill: NewBudget with 2 tokens", func() { twill.NewBudget(2, 1) })
	require.PanicsWithValue(t, "twill: NewBudget with a ratio of 0", func() { twill.NewBudget(3, 0) })
	require.PanicsWithValue(t, "twill: NewBudget with a ratio of NaN", func() { twill.NewBudget(3, math.NaN()) })
}
