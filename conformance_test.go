package twill_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// The conformance tests are the cases of Twisted's own test_defer.py and
// test_inlinecb.py that mean something for typed futures, file by theme, under
// the names they have there; and those of Promises/A+.

// errFirst and errSecond are failures to tell apart.
var (
	errFirst  = errors.New("first failure")
	errSecond = errors.New("second failure")
)

// requireValue fails the test unless f is settled with want.
func requireValue[T any](t *testing.T, want T, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.True(t, ok, "the future is pending")
	require.NoError(t, result.Err)
	require.Equal(t, want, result.Value)
}

// requireFailure fails the test unless f is settled with an error that is want.
func requireFailure[T any](t *testing.T, want error, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.True(t, ok, "the future is pending")
	require.ErrorIs(t, result.Err, want)
}

// requirePending fails the test if f is settled.
func requirePending[T any](t *testing.T, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.False(t, ok, "the future is settled: %+v", result)
}

// add returns a handler that adds n.
func add(n int) func(int) (int, error) {
	return func(v int) (int, error) { return v + n, nil }
}

// unexpected returns a handler that fails the test if it runs.
func unexpected[In any](t *testing.T) func(In) (int, error) {
	return func(In) (int, error) {
		t.Error("a handler ran that must not")
		return 0, nil
	}
}
