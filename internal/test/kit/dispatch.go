package kit

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
)

func SameArg(_ context.Context, n int) (int, error) { return n, nil }

// LimiterFunc is a limiter whose type cannot be compared.
type LimiterFunc func(context.Context) error

func (fn LimiterFunc) Wait(ctx context.Context) error { return fn(ctx) }

func PutAll[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], args ...A) {
	t.Helper()
	for _, arg := range args {
		PutJob(t, q, arg, 0)
	}
}

func UpTo(n int) (args []int) {
	for i := range n {
		args = append(args, i)
	}
	return args
}

// Sleep is a call that takes as long as its argument, and returns it; it ends
// early if its context does.
func Sleep(ctx context.Context, d time.Duration) (time.Duration, error) {
	select {
	case <-time.After(d):
		return d, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Gated is a call that waits until the test sends it an error or nil.
func Gated() (fn func(context.Context, int) (int, error), gate chan error) {
	gate = make(chan error)
	return func(_ context.Context, n int) (int, error) { return 2 * n, <-gate }, gate
}

func Args[A, R any](jobs []*twill.Job[A, R]) []A {
	args := []A{}
	for _, j := range jobs {
		args = append(args, j.Arg())
	}
	return args
}

func PutJob[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], arg A, priority int) *twill.Job[A, R] {
	t.Helper()
	j, err := q.Put(arg, priority)
	require.NoError(t, err)
	return j
}

func RequireSize[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], underway, pending int) {
	t.Helper()
	u, p := q.Size()
	require.Equal(t, []int{underway, pending}, []int{u, p}, "underway and pending")
	require.Len(t, q.Underway(), u)
	require.Len(t, q.Pending(), p)
}

func PutOpts[A, R any](t testing.TB, q *twill.ResizableDispatchQueue[A, R], arg A, priority int, o twill.JobOptions) *twill.Job[A, R] {
	t.Helper()
	j, err := q.Put(arg, priority, o)
	require.NoError(t, err)
	return j
}
