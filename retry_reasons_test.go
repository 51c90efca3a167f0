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

var errTester = errors.New("what the tester says")

// retryReasons are the ways in which a call can end without success. Each
// makes, with the rest of the options as they are, its call end after three
// attempts, four seconds after it began.
var retryReasons = []struct {
	name   string
	reason error // what errors.Is finds besides the attempts' errors
	opts   func(o *twill.RetryOptions, cancel context.CancelCauseFunc)
	fn     func(attempt int, cancel context.CancelCauseFunc) error // nil: the error as it is
}{
	{name: "no retries left", reason: twill.ErrRetriesExhausted, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.Backoff = twill.FromSlice(2*time.Second, 2*time.Second)
	}},
	{name: "too late for another", reason: twill.ErrMaxElapsed, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.MaxElapsed = 5 * time.Second
	}},
	{name: "no budget", reason: twill.ErrNoBudget, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.Budget = twill.NewBudget(6, 1)
	}},
	{name: "the tester stops", reason: errTester, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.Tester = func(err error) error {
			if errors.Is(err, errMore) {
				return errTester
			}
			return nil
		}
	}},
	{name: "a permanent error", reason: twill.ErrNotRetryable, fn: func(attempt int, _ context.CancelCauseFunc) error {
		if attempt == 3 {
			return twill.Permanent(errMore)
		}
		return nil
	}},
	{name: "a panic", reason: io.ErrNoProgress, fn: func(attempt int, _ context.CancelCauseFunc) error {
		if attempt == 3 {
			panic(errors.Join(errMore, io.ErrNoProgress))
		}
		return nil
	}},
	{name: "the context ends in an attempt", reason: errTester, fn: func(attempt int, cancel context.CancelCauseFunc) error {
		if attempt == 3 {
			cancel(errTester)
		}
		return nil
	}},
	{name: "the context ends in a pause", reason: errTester, opts: func(o *twill.RetryOptions, cancel context.CancelCauseFunc) {
		o.Backoff = twill.FromSlice(2*time.Second, time.Second, time.Hour)
		time.AfterFunc(4*time.Second, func() { cancel(errTester) })
	}, fn: func(attempt int, _ context.CancelCauseFunc) error {
		return nil
	}},
	{name: "the context ends in a hook", reason: errTester, opts: func(o *twill.RetryOptions, cancel context.CancelCauseFunc) {
		o.OnPause = func(e twill.RetryEvent) {
			if e.Attempt == 3 {
				cancel(errTester)
			}
		}
	}},
}

// Y3 and failure 1: an error told of the reason or of what the operation said,
// but not of both. Y10: a hook that counts retries was called without one.
func TestRetryErrorsTellAll(t *testing.T) {
	for _, c := range retryReasons {
		t.Run(c.name, func(t *testing.T) {
			everyForm(t, func(t *testing.T, retry retryForm) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				hooks, attempts := 0, 0
				opts := &twill.RetryOptions{Backoff: twill.Constant(2 * time.Second), OnRetry: func(twill.RetryEvent) { hooks++ }}
				if c.opts != nil {
					c.opts(opts, cancel)
				}
				start := time.Now()
				v, err := retry(ctx, func(context.Context) (int, error) {
					attempts++
					if c.fn != nil {
						if err := c.fn(attempts, cancel); err != nil {
							return -1, err
						}
					}
					return -1, []error{errOne, errTwo, errMore}[attempts-1]
				}, opts)
				synctest.Wait()

				e := requireRetryError(t, err)
				require.Zero(t, v)
				require.ErrorIs(t, err, c.reason)
				require.ErrorIs(t, e.Reason, c.reason)
				require.ErrorIs(t, err, errOne)
				require.ErrorIs(t, err, errTwo)
				require.ErrorIs(t, e.First(), errOne)
				require.Len(t, e.Errs, 3)
				if c.name != "the context ends in an attempt" { // its future is cancelled
					require.ErrorIs(t, err, errMore)
					require.ErrorIs(t, e.Last(), errMore)
				}
				require.Equal(t, []int{3, 3}, []int{e.Attempts, attempts})
				require.Equal(t, 4*time.Second, e.Elapsed)
				require.Equal(t, 4*time.Second, time.Since(start))
				require.Equal(t, attempts-1, hooks)
				require.Contains(t, err.Error(), "twill: gave up after 3 attempts in 4s: ")
			})
		})
	}
}

// All errors of a long call are kept up to a bound, so that a call that goes
// on for ever does not eat the memory.
func TestRetryErrorKeepsFirstAndLast(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, n := range []int{1, 4, 5, 99, 100, 101, 150, 198, 199, 200, 1000} {
			var all []error
			_, err := retry(t.Context(), func(context.Context) (int, error) {
				all = append(all, errors.New("failure"))
				return 0, all[len(all)-1]
			}, &twill.RetryOptions{Backoff: twill.Limit(twill.Constant(0), n-1)})
			want := all
			if n > 100 {
				want = append([]error{all[0]}, all[n-99:]...)
			}
			e := requireRetryError(t, err)
			require.Equal(t, n, e.Attempts)
			require.Len(t, e.Errs, len(want))
			for i := range want {
				require.Same(t, want[i], e.Errs[i])
			}
			require.Same(t, all[0], e.First())
			require.Same(t, all[n-1], e.Last())
		}
	})
}

func TestRetryErrorText(t *testing.T) {
	for text, e := range map[string]*twill.RetryError{
		"twill: not attempted: context canceled":                                          {Reason: context.Canceled},
		"twill: gave up after 1 attempt in 1s: no retries left; last error: EOF":          {Reason: twill.ErrRetriesExhausted, Attempts: 1, Elapsed: time.Second, Errs: []error{io.EOF}},
		"twill: gave up after 2 attempts in 0s: retry budget used up; last error: EOF":    {Reason: twill.ErrNoBudget, Attempts: 2, Errs: []error{errOne, io.EOF}},
		"twill: gave up after 1 attempt in 0s: EOF":                                       {Reason: io.EOF, Attempts: 1, Errs: []error{io.EOF}},
		"twill: gave up after 3 attempts in 0s: maximal time for attempts is over":        {Reason: twill.ErrMaxElapsed, Attempts: 3},
		"twill: gave up after 1 attempt in 0s: canceled; last error: the first failure":   {Reason: &twill.CanceledError{}, Attempts: 1, Errs: []error{errOne}},
		"twill: gave up after 1 attempt in 0s: panic: boom":                               {Reason: &twill.PanicError{Value: "boom"}, Attempts: 1, Errs: []error{&twill.PanicError{Value: "boom"}}},
		"twill: gave up after 1 attempt in 0s: function called runtime.Goexit":            {Reason: twill.ErrGoexit, Attempts: 1, Errs: []error{twill.ErrGoexit}},
		"twill: gave up after 1 attempt in 0s: not to be retried; last error: unexpected": {Reason: twill.ErrNotRetryable, Attempts: 1, Errs: []error{errors.New("unexpected")}},
	} {
		require.EqualError(t, e, text)
	}
}
