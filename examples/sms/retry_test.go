package main

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// attempts returns a function that fails with each of errs in turn, and then
// succeeds.
func attempts(errs ...error) func(context.Context) error {
	return func(context.Context) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func unnoted(int, error) {}

func TestRetryGoesOnUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var noted []int
		n, err := Retry(t.Context(), attempts(errors.New("reset"), &Refusal{Status: 503}, &Refusal{Status: 429}),
			func(n int, _ error) { noted = append(noted, n) })
		require.NoError(t, err)
		require.Equal(t, 4, n)
		require.Equal(t, []int{1, 2, 3}, noted)
	})
}

func TestRetryEndsAfterEightAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &Refusal{Status: 503}
		calls, begun := 0, time.Now()
		n, err := Retry(t.Context(), func(context.Context) error { calls++; return out }, unnoted)
		require.Same(t, out, err)
		require.Equal(t, 8, n)
		require.Equal(t, 8, calls)
		// 0.25 + 0.5 + ... + 16 s, half of it at least
		require.GreaterOrEqual(t, time.Since(begun), 15*time.Second)
		require.LessOrEqual(t, time.Since(begun), 32*time.Second)
	})
}

func TestRetryDoesNotRepeatWhatCannotSucceed(t *testing.T) {
	for status, again := range map[int]bool{
		301: false, 400: false, 401: false, 403: false, 404: false, 422: false, 501: false,
		408: true, 409: true, 425: true, 429: true, 500: true, 502: true, 503: true, 504: true,
	} {
		require.Equal(t, again, temporary(&Refusal{Status: status}), status)
	}
	n, err := Retry(t.Context(), attempts(&Refusal{Status: 400}), unnoted)
	require.Error(t, err)
	require.Equal(t, 1, n)
}

func TestRetryWaitsAsLongAsTheCarrierAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		_, err := Retry(t.Context(), attempts(&Refusal{Status: 429, RetryAfter: 7 * time.Second}), unnoted)
		require.NoError(t, err)
		require.GreaterOrEqual(t, time.Since(begun), 7*time.Second)
		require.Less(t, time.Since(begun), 8*time.Second)
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	reason := errors.New("enough")
	t.Run("in a wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			begun := time.Now()
			n, err := Retry(ctx, attempts(&Refusal{Status: 503, RetryAfter: time.Minute}), func(int, error) { cancel(reason) })
			require.ErrorIs(t, err, reason)
			require.Equal(t, 1, n)
			require.Zero(t, time.Since(begun))
		})
	})
	t.Run("in an attempt", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		n, err := Retry(ctx, func(context.Context) error { cancel(reason); return errors.New("reset") }, unnoted)
		require.ErrorIs(t, err, reason)
		require.Equal(t, 1, n)
	})
	t.Run("a success stays one", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		_, err := Retry(ctx, func(context.Context) error { cancel(reason); return nil }, unnoted)
		require.NoError(t, err)
	})
}

func TestDelaysGrowAndAreBounded(t *testing.T) {
	for n := 1; n <= maxAttempts; n++ {
		whole := min(firstDelay<<(n-1), maxDelay)
		for range 100 {
			d := delay(n, errors.New("reset"))
			require.GreaterOrEqual(t, d, whole/2)
			require.Less(t, d, whole)
		}
	}
	require.Less(t, delay(1, &Refusal{Status: 429, RetryAfter: math.MaxInt64}), maxRetryAfter+firstDelay)
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"":                                     0,
		"0":                                    0,
		"3":                                    3 * time.Second,
		"3600":                                 time.Minute,
		"9223372037":                           time.Minute, // overflows as a Duration
		"99999999999999999999999999":           time.Minute,
		strconv.FormatUint(math.MaxUint64, 10): time.Minute,
		"-5":                                   0,
		"1.5":                                  0,
		"soon":                                 0,
		now.Add(5 * time.Second).Format(http.TimeFormat): 5 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		now.AddDate(80, 0, 0).Format(http.TimeFormat):    time.Minute,
	} {
		require.Equal(t, want, parseRetryAfter(header, now), header)
	}
}
