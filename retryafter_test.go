package twill_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestRetryAfterHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC() // midnight, 1 January 2000
		for field, want := range map[string]time.Duration{
			"120":                              2 * time.Minute,
			" 7\t":                             7 * time.Second,
			"007":                              7 * time.Second,
			"0":                                0,
			"-5":                               0,
			"1.5":                              0,
			"5s":                               0,
			"+5":                               0,
			"":                                 0,
			" ":                                0,
			"soon":                             0,
			"9223372036":                       9223372036 * time.Second,
			"9223372037":                       longest,
			"99999999999999999999999":          longest,
			"Sat, 01 Jan 2000 00:00:30 GMT":    30 * time.Second,
			"Saturday, 01-Jan-00 00:01:00 GMT": time.Minute,
			"Sat Jan  1 00:00:05 2000":         5 * time.Second,
			"Fri, 31 Dec 1999 23:59:59 GMT":    0,
			"Sat, 01 Jan 2000 00:00:00 GMT":    0,
			"Fri, 31 Dec 9999 23:59:59 GMT":    longest,
			"Sat, 01 Jan 2000 00:00:30 +0100":  0,
			now.Add(time.Hour).Format(http.TimeFormat): time.Hour,
		} {
			header := http.Header{}
			header.Set("retry-after", field)
			err := twill.RetryAfterHeader(header, io.EOF)
			require.ErrorIs(t, err, io.EOF)
			require.EqualError(t, err, "EOF")
			var hint *twill.RetryAfterError
			require.Equal(t, want > 0, errors.As(err, &hint), "%q", field)
			if want > 0 {
				require.Equal(t, want, hint.After, "%q", field)
			}
			require.NoError(t, twill.RetryAfterHeader(header, nil))
		}
		require.Equal(t, io.EOF, twill.RetryAfterHeader(nil, io.EOF))
		require.Equal(t, io.EOF, twill.RetryAfterHeader(http.Header{"Retry-After": nil}, io.EOF))
		require.NoError(t, twill.RetryAfter(time.Second, nil))
	})
}

// Failure 5: a server could ask for a pause of an hour, of 74 years, or, by an
// overflow, for none at all.
func TestRetryAfterIsBounded(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, c := range []struct {
			name         string
			after, limit time.Duration
			pause, want  time.Duration
		}{
			{"what is asked", 5 * time.Second, 30 * time.Second, time.Second, 5 * time.Second},
			{"at least the own pause", 5 * time.Second, 30 * time.Second, 7 * time.Second, 7 * time.Second},
			{"an hour", time.Hour, 30 * time.Second, time.Second, 30 * time.Second},
			{"an hour, by default", time.Hour, 0, time.Second, time.Minute},
			{"an hour, against the wish", time.Hour, -1, time.Second, time.Second},
			{"the longest", longest, 30 * time.Second, time.Second, 30 * time.Second},
			{"0", 0, 30 * time.Second, time.Second, time.Second},
			{"below 0", math.MinInt64, 30 * time.Second, time.Second, time.Second},
			{"below 0, without an own pause", -1, 30 * time.Second, 0, 0},
		} {
			start := time.Now()
			for name, hint := range map[string]error{
				"bare":    twill.RetryAfter(c.after, io.EOF),
				"wrapped": fmt.Errorf("upload: %w", &twill.RetryAfterError{c.after, nil}),
				"joined":  errors.Join(io.EOF, fmt.Errorf("upload: %w", twill.RetryAfter(c.after, io.EOF)), twill.RetryAfter(min(c.after, 0), io.EOF)),
			} {
				_, err := retry(t.Context(), func(context.Context) (int, error) { return 0, hint }, &twill.RetryOptions{
					Backoff: twill.Limit(twill.Constant(c.pause), 1), MaxRetryAfter: c.limit,
				})
				require.ErrorIs(t, err, twill.ErrRetriesExhausted)
				require.Equal(t, c.want, time.Since(start), "%s, %s", c.name, name)
				start = time.Now()
			}
		}
	})
}

// A hint holds for the pause after it, and not for later ones.
func TestRetryAfterHoldsOnce(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		start, calls := time.Now(), 0
		inner := func(context.Context) (int, error) {
			if calls++; calls == 1 {
				return 0, twill.RetryAfter(time.Minute, io.EOF)
			}
			return 0, io.EOF
		}
		_, err := retry(t.Context(), inner, &twill.RetryOptions{Backoff: twill.FromSlice(time.Second, time.Second)})
		require.Error(t, err)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		// Of several hints the first counts, and of a call inside the function that
		// of its last attempt.
		for after, errs := range map[time.Duration][]error{
			2 * time.Second: {errors.Join(twill.RetryAfter(2*time.Second, io.EOF), twill.RetryAfter(time.Hour, io.EOF))},
			time.Second:     {twill.RetryAfter(time.Hour, io.EOF), twill.RetryAfter(time.Second, io.EOF)},
			0:               {twill.RetryAfter(time.Hour, io.EOF), io.EOF},
		} {
			start = time.Now()
			_, err = retry(t.Context(), func(context.Context) (int, error) {
				return 0, &twill.RetryError{Reason: io.EOF, Errs: errs}
			}, &twill.RetryOptions{Backoff: twill.FromSlice(0)})
			require.Error(t, err)
			require.Equal(t, after, time.Since(start))
		}
	})
}

// Failure 7: a nil pointer where a hint is looked for was a panic.
func TestRetryAfterNil(t *testing.T) {
	var none *twill.RetryAfterError
	require.EqualError(t, none, "twill: retry later")
	require.EqualError(t, &twill.RetryAfterError{}, "twill: retry later")
	require.NoError(t, none.Unwrap())
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, err := range []error{none, fmt.Errorf("wrapped: %w", none), &twill.RetryAfterError{}} {
			start := time.Now()
			_, got := retry(t.Context(), func(context.Context) (int, error) { return 0, err }, &twill.RetryOptions{
				Backoff: twill.FromSlice(time.Second),
			})
			require.Equal(t, twill.ErrRetriesExhausted, requireRetryError(t, got).Reason)
			require.Equal(t, time.Second, time.Since(start))
			require.NotEmpty(t, got.Error())
		}
	})
}
