package twill_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// rdqFlaky is a call that fails as often as its argument says.
func rdqFlaky() func(context.Context, int) (int, error) {
	calls := map[int]int{}
	return func(_ context.Context, n int) (int, error) {
		if calls[n]++; calls[n] <= n {
			return 0, errBoom
		}
		return calls[n], nil
	}
}

func rdqRetry(pauses ...time.Duration) *twill.RetryOptions {
	return &twill.RetryOptions{Backoff: twill.FromSlice(pauses...)}
}

func TestRetriedJobHoldsNoSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqFlaky(), &twill.DispatchOptions{Retry: rdqRetry(time.Second, 2*time.Second)})
		j := rdqPut(t, q, 2, 0)
		synctest.Wait()
		require.Equal(t, twill.JobPending, j.State())
		require.Equal(t, 1, j.Attempts())
		require.Equal(t, start.Add(time.Second), j.Due())
		requireSize(t, q, 0, 1)
		_, err := rdqPut(t, q, 0, 9).Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, start, time.Now(), "the slot was free")
		v, err := j.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, 3, v)
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Equal(t, 3, j.Attempts())
		s := q.Stats()
		require.EqualValues(t, 2, s.Retries)
		require.EqualValues(t, 2, s.Waiting.Count(), "only the first start of each")
		require.EqualValues(t, 4, s.Running.Count())
	})
}

func TestRetriedJobGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(rdqFlaky(), nil)
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(0, time.Second)})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		var re *twill.RetryError
		require.ErrorAs(t, err, &re)
		require.ErrorIs(t, err, twill.ErrRetriesExhausted)
		require.ErrorIs(t, err, errBoom)
		require.Equal(t, 3, re.Attempts)
		require.Len(t, re.Errs, 3)
		require.Equal(t, twill.JobFailed, j.State())

		once, err := q.Put(9, 0)
		require.NoError(t, err)
		_, err = once.Await(t.Context())
		require.Equal(t, errBoom, err, "without a Retry the error is the call's own")
	})
}

func TestRetriedJobKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []int
		flaky := rdqFlaky()
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			order = append(order, n)
			time.Sleep(time.Second)
			return flaky(ctx, n%10)
		}, &twill.DispatchOptions{Retry: rdqRetry(500 * time.Millisecond)})
		_, err := q.PutAll([]int{1, 10, 20, 30}, 0)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, []int{1, 10, 1, 20, 30}, order, "the first of equals when it is due")
	})
}

func TestRetryPausesCanBeCut(t *testing.T) {
	type job = *twill.Job[int, int]
	type queue = *twill.ResizableDispatchQueue[int, int]
	for name, cut := range map[string]func(*testing.T, queue, job){
		"cancel": func(t *testing.T, q queue, j job) {
			j.Cancel(errFirst)
			requireFailure(t, errFirst, &j.Future)
		},
		"clear": func(t *testing.T, q queue, j job) {
			require.Equal(t, 1, q.Clear())
			requireFailure(t, twill.ErrCanceled, &j.Future)
		},
		"stop": func(t *testing.T, q queue, j job) {
			left, err := q.Stop().Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, []job{j}, left)
			require.Equal(t, twill.JobPending, j.State())
			require.Equal(t, 1, j.Attempts())
		},
		"timeout": func(t *testing.T, q queue, j job) {
			time.Sleep(time.Minute)
			_, err := j.Await(t.Context())
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, errBoom, "and what the attempts failed with")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := twill.NewBudget(10, 0.1)
				before := budget.Tokens()
				calls := 0
				q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
					calls++
					return 0, errBoom
				}, nil)
				o := twill.JobOptions{Retry: &twill.RetryOptions{Backoff: twill.Constant(time.Hour), Budget: budget}}
				if name == "timeout" {
					// A pause that would pass the deadline is not made.
					o.Retry.Backoff = twill.Constant(50 * time.Second)
					o.Timeout = time.Minute
				}
				j, err := q.Put(1, 0, o)
				require.NoError(t, err)
				synctest.Wait()
				spent := before - budget.Tokens()
				cut(t, q, j)
				time.Sleep(24 * time.Hour)
				if name != "timeout" {
					require.Equal(t, 1, calls)
					require.Less(t, before-budget.Tokens(), spent, "what the retry would have cost is given back")
				}
				require.Zero(t, q.Stats().Underway)
			})
		})
	}
}

func TestRetryDoesNotPassTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		q := twill.NewResizableDispatchQueue(rdqFlaky(), nil)
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(time.Second, time.Hour), Timeout: time.Minute})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errBoom)
		require.Equal(t, time.Second, time.Since(start), "the pause of an hour is not begun")
	})
}

func TestTimeoutInALaterAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			if calls++; calls == 1 {
				return 0, errBoom
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, nil)
		start := time.Now()
		j, err := q.Put(5, 0, twill.JobOptions{Retry: rdqRetry(time.Second, time.Second), Timeout: time.Minute})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		var re *twill.RetryError
		require.ErrorAs(t, err, &re)
		require.Equal(t, &twill.TimeoutError{After: time.Minute}, re.Reason)
		require.ErrorIs(t, err, errBoom)
		require.Equal(t, time.Minute, time.Since(start))
		synctest.Wait()
		require.Equal(t, 2, calls)
	})
}

func TestAttemptTimeoutMakesAFreshContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []context.Context
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			require.NoError(t, ctx.Err())
			if seen = append(seen, ctx); len(seen) == 3 {
				return n, nil
			}
			<-ctx.Done()
			require.Equal(t, &twill.TimeoutError{After: time.Second}, context.Cause(ctx))
			return 0, ctx.Err()
		}, nil)
		retry := rdqRetry(0, 0, 0)
		retry.AttemptTimeout = time.Second
		j, err := q.Put(5, 0, twill.JobOptions{Retry: retry})
		require.NoError(t, err)
		_, err = j.Await(t.Context())
		require.NoError(t, err)
		for _, ctx := range seen {
			require.Error(t, ctx.Err(), "ended with its attempt")
		}
	})
}

func TestRetriedJobIsNotRetriedAfter(t *testing.T) {
	for name, test := range map[string]struct {
		fn    func(calls int) (int, error)
		opts  twill.RetryOptions
		calls int
		want  any
	}{
		"a panic":           {fn: func(int) (int, error) { panic("boom") }, calls: 1, want: new(*twill.PanicError)},
		"Goexit":            {fn: func(int) (int, error) { runtime.Goexit(); return 0, nil }, calls: 1, want: twill.ErrGoexit},
		"a permanent error": {fn: func(int) (int, error) { return 0, twill.Permanent(errBoom) }, calls: 1, want: twill.ErrNotRetryable},
		"a tester's stop": {
			fn:   func(int) (int, error) { return 0, errBoom },
			opts: twill.RetryOptions{Tester: func(error) error { return errFirst }}, calls: 1, want: errFirst,
		},
		"a tester's panic": {
			fn:   func(int) (int, error) { return 0, errBoom },
			opts: twill.RetryOptions{Tester: func(error) error { panic("boom") }}, calls: 1, want: new(*twill.PanicError),
		},
		"a tester's exit": {
			fn:   func(int) (int, error) { return 0, errBoom },
			opts: twill.RetryOptions{Tester: func(error) error { runtime.Goexit(); return nil }}, calls: 1, want: twill.ErrGoexit,
		},
		"a panic in OnRetry": {
			fn:   func(int) (int, error) { return 0, errBoom },
			opts: twill.RetryOptions{OnRetry: func(twill.RetryEvent) { panic("boom") }}, calls: 1, want: new(*twill.PanicError),
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
					calls++
					return test.fn(calls)
				}, nil)
				opts := test.opts
				opts.Budget = twill.NewBudget(10, 0.1)
				before := opts.Budget.Tokens()
				j, err := q.Put(1, 0, twill.JobOptions{Retry: &opts})
				require.NoError(t, err)
				next := rdqPut(t, q, 2, 0)
				_, err = j.Await(t.Context())
				if target, ok := test.want.(error); ok {
					require.ErrorIs(t, err, target)
				} else {
					require.ErrorAs(t, err, test.want)
				}
				_, ok := errors.AsType[*twill.RetryError](err)
				require.True(t, ok, "a job that may be retried fails with a RetryError: %v", err)
				require.Equal(t, test.calls, j.Attempts()-map[bool]int{true: 1}[name == "a panic in OnRetry"])
				next.Await(t.Context())
				require.GreaterOrEqual(t, calls, 2, "the queue goes on")
				require.LessOrEqual(t, before-opts.Budget.Tokens(), 1.0, "no more than what the failed attempt costs")
			})
		})
	}
}

func TestCancelOfARetriedJobUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		paused := 0
		q := twill.NewResizableDispatchQueue(func(ctx context.Context, n int) (int, error) {
			<-ctx.Done()
			return 0, errors.Join(errBoom, ctx.Err())
		}, nil)
		retry := rdqRetry(time.Second, time.Second)
		retry.OnPause = func(twill.RetryEvent) { paused++ }
		j, err := q.Put(1, 0, twill.JobOptions{Retry: retry})
		require.NoError(t, err)
		synctest.Wait()
		j.Cancel(errFirst)
		synctest.Wait()
		requireFailure(t, errFirst, &j.Future)
		require.Equal(t, twill.JobCanceled, j.State())
		require.Zero(t, paused, "no pause is told of that is not made")
		requireSize(t, q, 0, 0)
	})
}

// A retry of a job that was made cost nothing if the job ended with it: a
// server in trouble could be asked again by any number of jobs.
func TestRetriedJobsSpendAsCallsDo(t *testing.T) {
	for name, test := range map[string]struct {
		second func(ctx context.Context) error // what the second attempt does
		spent  float64
	}{
		"no pauses left":       {func(context.Context) error { return errBoom }, 2},
		"a permanent error":    {func(context.Context) error { return twill.Permanent(errBoom) }, 1},
		"the end of the time":  {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 1},
		"a panic in the retry": {func(context.Context) error { panic("boom") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				attempts := func() func(context.Context, int) (int, error) {
					calls := 0
					return func(ctx context.Context, _ int) (int, error) {
						if calls++; calls == 1 {
							return 0, errBoom
						}
						return 0, test.second(ctx)
					}
				}
				opts := &twill.RetryOptions{Backoff: twill.FromSlice(0), Budget: twill.NewBudget(10, 1)}
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				fn := attempts()
				_, err := twill.Retry(ctx, func(ctx context.Context) (int, error) { return fn(ctx, 0) }, opts)
				require.Error(t, err)
				require.Equal(t, 10-test.spent, opts.Budget.Tokens())

				opts.Budget = twill.NewBudget(10, 1)
				q := twill.NewResizableDispatchQueue(attempts(), nil)
				j, err := q.Put(1, 0, twill.JobOptions{Retry: opts, Timeout: time.Hour})
				require.NoError(t, err)
				_, err = j.Await(t.Context())
				require.Error(t, err)
				synctest.Wait()
				require.Equal(t, 10-test.spent, opts.Budget.Tokens())
			})
		})
	}
}
