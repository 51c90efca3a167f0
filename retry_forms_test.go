package twill_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// retryForm is a way to make a retrying call and wait for it.
type retryForm func(ctx context.Context, fn func(context.Context) (int, error), opts *twill.RetryOptions) (int, error)

// retryForms are all there are; what is promised holds for each.
var retryForms = map[string]retryForm{
	"Retry": twill.Retry[int],
	"RetryingCall": func(ctx context.Context, fn func(context.Context) (int, error), opts *twill.RetryOptions) (int, error) {
		return twill.NewRetryingCall(fn, opts).Start(ctx).Await(context.Background())
	},
	"RetryingCall of futures": func(ctx context.Context, fn func(context.Context) (int, error), opts *twill.RetryOptions) (int, error) {
		return twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
			return twill.Go(ctx, fn)
		}, opts).Start(ctx).Await(context.Background())
	},
	"RetryingCall of settled futures": func(ctx context.Context, fn func(context.Context) (int, error), opts *twill.RetryOptions) (int, error) {
		return twill.NewRetryingCallFuture(func(ctx context.Context) *twill.Future[int] {
			return twill.Call(func() (int, error) { return fn(ctx) })
		}, opts).Start(ctx).Await(context.Background())
	},
}

// everyForm runs test for each form, in a bubble of its own.
func everyForm(t *testing.T, test func(t *testing.T, retry retryForm)) {
	t.Helper()
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, retry) })
		})
	}
}

var (
	errOne  = errors.New("the first failure")
	errTwo  = errors.New("the second failure")
	errMore = errors.New("a later failure")
)

// failing returns a function that fails n times, for ever if n is negative,
// with the three errors above, and then returns 5; and the number of its calls.
func failing(n int) (fn func(context.Context) (int, error), calls *int) {
	calls = new(int)
	return func(context.Context) (int, error) {
		*calls++
		switch {
		case n >= 0 && *calls > n:
			return 5, nil
		case *calls == 1:
			return -1, errOne
		case *calls == 2:
			return -1, errTwo
		}
		return -1, errMore
	}, calls
}

// requireRetryError returns err as what it has to be.
func requireRetryError(t testing.TB, err error) *twill.RetryError {
	t.Helper()
	var e *twill.RetryError
	require.ErrorAs(t, err, &e)
	require.Same(t, e, err, "it is not wrapped")
	return e
}
