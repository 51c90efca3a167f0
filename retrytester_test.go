package twill_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

type statusError int

func (e statusError) Error() string { return fmt.Sprint("status ", int(e)) }

func is404(err error) bool { return errors.Is(err, statusError(404)) }

// The recipe's example: exactly one 404 is allowed, and in each call anew.
func TestRetryTesterWithState(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		opts := &twill.RetryOptions{NewTester: twill.RetryAtMost(1, is404)}
		for _, c := range []struct {
			statuses []int
			reason   error
		}{
			{[]int{404, 200}, nil},
			{[]int{404, 404}, twill.ErrNotRetryable},
			{[]int{500, 404, 500, 500, 404}, twill.ErrNotRetryable},
			{[]int{500, 500, 500, 200}, nil},
			{[]int{404, 200}, nil},
		} {
			calls := 0
			_, err := retry(t.Context(), func(context.Context) (int, error) {
				if calls++; c.statuses[calls-1] != 200 {
					return 0, statusError(c.statuses[calls-1])
				}
				return 1, nil
			}, opts)
			require.Len(t, c.statuses, calls)
			if c.reason == nil {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, c.reason)
				require.ErrorIs(t, requireRetryError(t, err).Reason, statusError(404))
			}
		}
	})
	none := twill.RetryAtMost(0, is404)()
	require.NoError(t, none(io.EOF))
	require.Equal(t, statusError(404), none(statusError(404)))
}

func TestRetryIf(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		fn, calls := failing(5)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{Tester: twill.RetryIf(func(err error) bool { return errors.Is(err, errOne) })})
		require.ErrorIs(t, err, twill.ErrNotRetryable)
		require.ErrorIs(t, err, errTwo)
		require.Equal(t, 2, *calls)
		require.Equal(t, "twill: gave up after 2 attempts in 0s: not to be retried: the second failure", err.Error())
	})
}

// Both testers are asked, the common one first, and the one with state only about what it
// lets pass.
func TestRetryTwoTesters(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var seen []error
		made := 0
		fn, _ := failing(-1)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{
			Tester: twill.RetryIf(func(err error) bool { return !errors.Is(err, errMore) }),
			NewTester: func() func(error) error {
				made++
				return func(err error) error {
					seen = append(seen, err)
					return nil
				}
			},
		})
		require.ErrorIs(t, err, errMore)
		require.Equal(t, []error{errOne, errTwo}, seen)
		require.Equal(t, 1, made)
	})
}

// Failure 8: with a limit of one attempt, the mark of Permanent came out.
func TestRetryPermanentWithAllOptions(t *testing.T) {
	require.NoError(t, twill.Permanent(nil))
	require.EqualError(t, twill.Permanent(io.EOF), "EOF")
	require.ErrorIs(t, twill.Permanent(io.EOF), io.EOF)
	hook := func(twill.RetryEvent) {}
	set := []func(o *twill.RetryOptions){
		func(o *twill.RetryOptions) { o.Backoff = twill.Limit(twill.Constant(time.Second), 0) },
		func(o *twill.RetryOptions) { o.Tester = func(error) error { return nil } },
		func(o *twill.RetryOptions) { o.NewTester = twill.RetryAtMost(1, is404) },
		func(o *twill.RetryOptions) { o.MaxElapsed = 1 },
		func(o *twill.RetryOptions) { o.AttemptTimeout = time.Second },
		func(o *twill.RetryOptions) { o.MaxRetryAfter = 1 },
		func(o *twill.RetryOptions) { o.Budget = twill.NewBudget(3, 1) },
		func(o *twill.RetryOptions) { o.OnPause, o.OnRetry = hook, hook },
	}
	failure := errors.New("failure")
	everyForm(t, func(t *testing.T, retry retryForm) {
		for chosen := range 1 << len(set) {
			opts := new(twill.RetryOptions)
			for i, set := range set {
				if chosen>>i&1 == 1 {
					set(opts)
				}
			}
			for _, permanent := range []error{twill.Permanent(failure), twill.Permanent(twill.Permanent(failure))} {
				_, err := retry(t.Context(), func(context.Context) (int, error) { return 0, permanent }, opts)
				e := requireRetryError(t, err)
				require.Equal(t, 1, e.Attempts)
				require.Same(t, failure, e.Last())
				require.ErrorIs(t, e.Reason, twill.ErrNotRetryable)
				require.NotErrorIs(t, err, permanent, "the mark is gone")
			}
		}
	})
}

// The mark is found, too, where it is wrapped, and in what a tester says.
func TestRetryPermanentInside(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		calls := 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			calls++
			return 0, fmt.Errorf("upload: %w", errors.Join(io.EOF, twill.Permanent(errOne)))
		}, nil)
		require.ErrorIs(t, err, twill.ErrNotRetryable)
		require.ErrorIs(t, err, errOne)
		require.Equal(t, 1, calls)
		permanent := twill.Permanent(errTester)
		_, err = retry(t.Context(), func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{
			Tester: func(error) error { return permanent },
		})
		require.ErrorIs(t, err, errTester)
		require.NotErrorIs(t, err, permanent)
	})
}
