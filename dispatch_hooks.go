package twill

import (
	"context"
	"slices"
)

// Use puts a hook around the calls that are started from now on, to time, log,
// limit or change them. It calls next for the call itself, with the context or one made from it, and returns
// what is to count as the call's result; it need not call next, and may call it
// again. The first hook is the outermost. It runs on the goroutine of the call
// and is part of it: it holds the slot, and a panic is the job's failure. With
// a Retry it is around each attempt.
func (q *ResizableDispatchQueue[A, R]) Use(hook func(ctx context.Context, j *Job[A, R], next func(context.Context) (R, error)) (R, error)) {
	if hook == nil {
		panic("twill: Use of a nil function")
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.hooks = append(q.hooks, hook)
	run := func(ctx context.Context, j *Job[A, R]) (R, error) { return q.fn(ctx, j.arg) }
	for _, hook := range slices.Backward(q.hooks) {
		inner := run
		run = func(ctx context.Context, j *Job[A, R]) (R, error) {
			return hook(ctx, j, func(ctx context.Context) (R, error) { return inner(ctx, j) })
		}
	}
	q.run.Store(&run)
}
