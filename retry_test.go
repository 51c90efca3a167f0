package twill_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Y1: an operation whose context had expired was still called once.
func TestRetryExpiredContextCallsNothing(t *testing.T) {
	reason := errors.New("the server goes down")
	everyForm(t, func(t *testing.T, retry retryForm) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(reason)
		fn, calls := failing(0)
		budget := twill.NewBudget(10, 1)
		v, err := retry(ctx, fn, &twill.RetryOptions{Budget: budget, OnRetry: func(twill.RetryEvent) { t.Error("hook") }})
		e := requireRetryError(t, err)
		require.Zero(t, v)
		require.Zero(t, *calls)
		require.Zero(t, e.Attempts)
		require.Zero(t, e.Elapsed)
		require.NoError(t, e.First())
		require.NoError(t, e.Last())
		require.ErrorIs(t, err, reason)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, "twill: not attempted: context canceled: the server goes down", err.Error())
		require.Equal(t, 10.0, budget.Tokens())
	})
}

// Y2: sequences and hints of other code are kept within bounds, too.
func TestRetryPausesAreNeverNegative(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var pauses []time.Duration
		hints := []time.Duration{-1, -longest - 1, 0, 5, longest, 5}
		start, n := time.Now(), 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			n++
			return 0, twill.RetryAfter(hints[n-1], io.EOF)
		}, &twill.RetryOptions{
			Backoff: func(yield func(time.Duration) bool) {
				_ = yield(-1) && yield(3) && yield(-longest-1) && yield(7) && yield(-7)
			},
			MaxRetryAfter: time.Second,
			OnPause:       func(e twill.RetryEvent) { pauses = append(pauses, e.Delay) },
		})
		require.ErrorIs(t, err, twill.ErrRetriesExhausted)
		require.Equal(t, []time.Duration{0, 3, 0, 7, time.Second}, pauses)
		require.Equal(t, time.Second+10, time.Since(start))
	})
}

// Y4: the limit included the pauses or the attempts, but not both, and a call
// slept through a pause after which it had to give up.
func TestRetryDoesNotPausePastTheEnd(t *testing.T) {
	slow := func(context.Context) (int, error) {
		time.Sleep(3 * time.Second)
		return 0, io.EOF
	}
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, c := range []struct {
			most, pause, want time.Duration
			attempts          int
		}{
			{10 * time.Second, 4 * time.Second, 10 * time.Second, 2}, // attempts at 0 and 7; at 10 there is no time for a pause of 4
			{10 * time.Second, 0, 12 * time.Second, 4},               // 0, 3, 6, 9: an attempt is not interrupted
			{6 * time.Second, 3 * time.Second, 9 * time.Second, 2},   // a pause may end exactly at the limit
			{6*time.Second - 1, 3 * time.Second, 3 * time.Second, 1}, // but not after it
			{time.Nanosecond, 0, 3 * time.Second, 1},
		} {
			start := time.Now()
			_, err := retry(t.Context(), slow, &twill.RetryOptions{Backoff: twill.ConstantBackoff(c.pause), MaxElapsed: c.most})
			e := requireRetryError(t, err)
			require.Equal(t, twill.ErrMaxElapsed, e.Reason)
			require.Equal(t, c.attempts, e.Attempts)
			require.Equal(t, c.want, e.Elapsed)
			require.Equal(t, c.want, time.Since(start))
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 12*time.Second)
		defer cancel()
		_, err := retry(ctx, slow, &twill.RetryOptions{Backoff: twill.ConstantBackoff(4 * time.Second)})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, ctx.Err(), "it did not wait for that")
		require.Equal(t, 2, requireRetryError(t, err).Attempts)
		require.Equal(t, 10*time.Second, time.Since(start), "as long as two attempts and one pause")
	})
}

// Y5: the context of an attempt was that of the previous attempt, or was never
// canceled.
func TestRetryAttemptTimeout(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		parent, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all []context.Context
		start := time.Now()
		v, err := retry(parent, func(ctx context.Context) (int, error) {
			all = append(all, ctx)
			if ctx.Err() != nil {
				t.Error("an attempt that begins with an ended context")
			}
			if len(all) == 3 {
				return 5, nil
			}
			<-ctx.Done()
			return 0, context.Cause(ctx)
		}, &twill.RetryOptions{AttemptTimeout: time.Second, Backoff: twill.ConstantBackoff(time.Minute)})
		require.NoError(t, err)
		require.Equal(t, 5, v)
		require.Equal(t, 2*time.Second+2*time.Minute, time.Since(start))
		synctest.Wait()
		for i, ctx := range all {
			require.Error(t, ctx.Err(), "context of attempt %d", i)
			var timeout *twill.TimeoutError
			require.Equal(t, i < 2, errors.As(context.Cause(ctx), &timeout))
		}
		require.NoError(t, parent.Err())
	})
}

// Y7: options used by several concurrent calls were used up by the first call.
func TestRetryOptionsAreSharedByManyCalls(t *testing.T) {
	opts := &twill.RetryOptions{
		Backoff:   twill.LimitBackoff(twill.FullJitter(twill.ExponentialBackoff(1, 2)), 4),
		NewTester: kit.AtMost(3, func(err error) bool { return errors.Is(err, io.EOF) }),
		Budget:    twill.NewBudget(1_000_000, 1),
	}
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			var attempts atomic.Int64
			for range 1000 {
				wg.Go(func() {
					_, err := retry(t.Context(), func(context.Context) (int, error) {
						attempts.Add(1)
						return 0, io.EOF
					}, opts)
					if e := (*twill.RetryError)(nil); !errors.As(err, &e) || e.Attempts != 4 {
						t.Errorf("not 4 attempts: %v", err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 4000, attempts.Load())
		})
	}
}

// Y11: a limit of no attempts ended as a success of a function that was never
// called.
func TestRetryWithoutRetriesMakesOneAttempt(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, seq := range []func(func(time.Duration) bool){kit.Pauses(), twill.LimitBackoff(twill.ConstantBackoff(1), 0), twill.LimitBackoff(twill.ConstantBackoff(1), -1)} {
			fn, calls := failing(-1)
			v, err := retry(t.Context(), fn, &twill.RetryOptions{Backoff: seq})
			e := requireRetryError(t, err)
			require.Equal(t, twill.ErrRetriesExhausted, e.Reason)
			require.ErrorIs(t, err, errOne)
			require.Equal(t, []int{1, 1, 0}, []int{*calls, e.Attempts, v})
			fn, _ = failing(0)
			v, err = retry(t.Context(), fn, &twill.RetryOptions{Backoff: seq})
			require.NoError(t, err)
			require.Equal(t, 5, v)
		}
	})
}

func TestRetryMisuse(t *testing.T) {
	fn, _ := failing(0)
	future, _ := promisedAttempts()
	var noContext context.Context
	for text, fn := range map[string]func(){
		"Retry with a nil context":                    func() { _, _ = twill.Retry(noContext, fn, nil) },
		"Retry with a nil function":                   func() { _, _ = twill.Retry[int](t.Context(), nil, nil) },
		"NewRetryingCall with a nil function":         func() { twill.NewRetryingCall[int](nil, nil) },
		"NewRetryingCallFuture with a nil function":   func() { twill.NewRetryingCallFuture[int](nil, nil) },
		"Start with a nil context":                    func() { twill.NewRetryingCallFuture(future, nil).Start(noContext) },
		"RetryingCall not created by NewRetryingCall": func() { new(twill.RetryingCall[int]).Start(t.Context()) },
		"RetryIf with a nil function":                 func() { twill.RetryIf(nil) },
	} {
		require.PanicsWithValue(t, "twill: "+text, fn)
	}
}

// Faults of other packages that do not belong to another test.

// Failure 28: the contexts of attempts that succeeded stayed with their parent
// for as long as that lived.
func TestRetryLeavesNothingInTheParent(t *testing.T) {
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			parent, cancel := context.WithCancel(t.Context())
			defer cancel()
			opts := &twill.RetryOptions{AttemptTimeout: time.Hour, Backoff: twill.ConstantBackoff(0)}
			calls := func(n int) {
				for range n {
					fn, _ := failing(1)
					_, err := retry(parent, fn, opts)
					require.NoError(t, err)
				}
			}
			calls(100)
			before := kit.HeapInUse()
			calls(5000)
			require.Less(t, kit.HeapInUse(), before+512<<10)
		})
	}
}

// Failure 29: a result that is read after the call, such as the body of a
// response, was cut off by the end of its context. Without an AttemptTimeout,
// Retry does not make a context.
func TestRetryPassesTheContextOn(t *testing.T) {
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, 1)
	_, err := twill.Retry(ctx, func(got context.Context) (int, error) {
		require.Equal(t, ctx, got)
		return 0, nil
	}, nil)
	require.NoError(t, err)
	for _, retry := range retryForms {
		_, err := retry(ctx, func(ctx context.Context) (int, error) {
			require.Equal(t, 1, ctx.Value(key{}))
			return 0, nil
		}, &twill.RetryOptions{AttemptTimeout: time.Hour})
		require.NoError(t, err)
	}
}

// Failure 30: each pause left a timer behind that existed until it fired.
func TestRetryLeavesNoTimers(t *testing.T) {
	before := kit.HeapInUse()
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				fn, _ := failing(-1)
				_, err := retry(ctx, fn, &twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour), OnPause: func(twill.RetryEvent) { cancel() }})
				require.ErrorIs(t, err, context.Canceled)
			}
		})
	}
	require.Less(t, kit.HeapInUse(), before+512<<10)
}

// Failure 36: a call that panicked counted as done. Here a panic is an error
// like any other, and the next call begins anew.
func TestRetryAfterAPanic(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		panics := true
		fn := func(context.Context) (int, error) {
			if panics {
				panic("boom")
			}
			return 5, nil
		}
		opts := &twill.RetryOptions{NewTester: kit.Tester(func(error) error { t.Error("a panic is not for the tester"); return nil })}
		for range 2 {
			v, err := retry(t.Context(), fn, opts)
			var p *twill.PanicError
			require.ErrorAs(t, err, &p)
			require.Equal(t, "boom", p.Value)
			require.Equal(t, 1, requireRetryError(t, err).Attempts)
			require.Zero(t, v)
		}
		// A call is not retried either if its error is that of a call inside that a
		// panic of its hook has ended.
		_, err := retry(t.Context(), func(ctx context.Context) (int, error) {
			return twill.Retry(ctx, func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{
				OnRetry: func(twill.RetryEvent) { panic("boom") },
			})
		}, opts)
		require.Equal(t, 1, requireRetryError(t, err).Attempts)
		panics = false
		v, err := retry(t.Context(), fn, opts)
		require.NoError(t, err)
		require.Equal(t, 5, v)
	})
}

// Failure 37: if a cancel and a success coincide, the first of them is the
// outcome, and in each form the same cancel gives the same error.
func TestRetrySuccessAfterTheContextEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	v, err := twill.Retry(ctx, func(context.Context) (int, error) {
		cancel()
		return 5, nil
	}, nil)
	require.NoError(t, err)
	require.Equal(t, 5, v)

	ctx, cancel = context.WithCancel(t.Context())
	v, err = twill.NewRetryingCall(func(context.Context) (int, error) {
		cancel()
		return 5, nil
	}, nil).Start(ctx).Await(t.Context())
	require.NoError(t, err)
	require.Equal(t, 5, v)
}

// Failure 37: an attempt that was canceled by itself, and not with the call, is
// a failure like any other.
func TestRetryOfACancelThatIsNotTheCalls(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, own := range []error{context.Canceled, context.DeadlineExceeded, &twill.CanceledError{Cause: errOne}} {
			calls := 0
			v, err := retry(t.Context(), func(context.Context) (int, error) {
				if calls++; calls < 3 {
					return 0, own
				}
				return 5, nil
			}, nil)
			require.NoError(t, err)
			require.Equal(t, []int{5, 3}, []int{v, calls})
		}
	})
}

// Y6: hooks and testers run under no lock, and may use the object that calls
// them.
func TestRetryHooksMayRetry(t *testing.T) {
	budget := twill.NewBudget(1000, 1)
	var nested func(twill.RetryEvent)
	opts := &twill.RetryOptions{
		Backoff: kit.Pauses(0), Budget: budget,
		OnPause: func(e twill.RetryEvent) { nested(e) }, OnRetry: func(e twill.RetryEvent) { nested(e) },
		NewTester: kit.Tester(func(err error) error { budget.Tokens(); return nil }),
	}
	call := twill.NewRetryingCall(func(context.Context) (int, error) { return 0, io.EOF }, opts)
	depth := 0
	nested = func(twill.RetryEvent) {
		if depth++; depth < 5 {
			kit.AwaitError(t, call.Start(t.Context()), io.EOF)
			_, err := twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, io.EOF }, opts)
			require.ErrorIs(t, err, io.EOF)
		}
	}
	kit.Watchdog(t, func() { kit.AwaitError(t, call.Start(t.Context()), io.EOF) })
}

// The events have the number of the attempt, the pause after it, the time since
// the start, and the error.
func TestRetryEvents(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var before, after []twill.RetryEvent
		calls := 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			time.Sleep(time.Second)
			calls++
			return calls, []error{errOne, errTwo, nil}[calls-1]
		}, &twill.RetryOptions{
			Backoff: kit.Pauses(time.Minute, 0),
			OnPause: func(e twill.RetryEvent) { before = append(before, e) },
			OnRetry: func(e twill.RetryEvent) { after = append(after, e) },
		})
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, []twill.RetryEvent{{1, time.Minute, time.Second, errOne}, {2, 0, time.Minute + 2*time.Second, errTwo}}, before)
		require.Equal(t, []twill.RetryEvent{{1, time.Minute, time.Minute + time.Second, errOne}, {2, 0, time.Minute + 2*time.Second, errTwo}}, after)
	})
}

// The allocations of a call.
func TestRetryAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	budget := twill.NewBudget(10_000_000, 1)
	opts := &twill.RetryOptions{Backoff: twill.FullJitter(twill.ExponentialBackoff(time.Second, 2)), Budget: budget, MaxElapsed: time.Hour}
	require.Zero(t, testing.AllocsPerRun(200, func() {
		_, _ = twill.Retry(ctx, func(context.Context) (int, error) { return 1, nil }, opts)
	}))
	failure := errors.New("failure")
	cost := func(failures int) float64 {
		return testing.AllocsPerRun(20, func() {
			left := failures
			_, _ = twill.Retry(ctx, func(context.Context) (int, error) {
				if left--; left >= 0 {
					return 0, failure
				}
				return 1, nil
			}, &twill.RetryOptions{Backoff: twill.ConstantBackoff(1), Budget: budget})
		})
	}
	perAttempt := (cost(1000) - cost(200)) / 800
	require.Less(t, perAttempt, 0.01)
}

// retryForm is a way to make a retrying call and wait for it.
type retryForm func(ctx context.Context, fn func(context.Context) (int, error), opts *twill.RetryOptions) (int, error)

// retryForms has all forms; the promises hold for each.
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

// everyForm runs test for each form, in a separate bubble.
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

// failing returns a function that fails n times with the three errors above, or
// always if n is negative, and then returns 5. It also returns the number of
// its calls.
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

// requireRetryError returns err as a *RetryError, which it must be.
func requireRetryError(t testing.TB, err error) *twill.RetryError {
	t.Helper()
	var e *twill.RetryError
	require.ErrorAs(t, err, &e)
	require.Same(t, e, err, "it is not wrapped")
	return e
}

var errTester = errors.New("what the tester says")

// retryReasons are the ways in which a call can end without success. Each makes
// its call end after three attempts, four seconds after it began, without
// changing the other options.
var retryReasons = []struct {
	name   string
	reason error // the error that errors.Is finds besides the attempts' errors
	opts   func(o *twill.RetryOptions, cancel context.CancelCauseFunc)
	fn     func(attempt int, cancel context.CancelCauseFunc) error // nil means the error itself
}{
	{name: "no retries left", reason: twill.ErrRetriesExhausted, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.Backoff = kit.Pauses(2*time.Second, 2*time.Second)
	}},
	{name: "too late for another", reason: twill.ErrMaxElapsed, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.MaxElapsed = 5 * time.Second
	}},
	{name: "no budget", reason: twill.ErrNoBudget, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.Budget = twill.NewBudget(6, 1)
	}},
	{name: "the tester stops", reason: errTester, opts: func(o *twill.RetryOptions, _ context.CancelCauseFunc) {
		o.NewTester = kit.Tester(func(err error) error {
			if errors.Is(err, errMore) {
				return errTester
			}
			return nil
		})
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
		o.Backoff = kit.Pauses(2*time.Second, time.Second, time.Hour)
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

// Y3 and failure 1: an error reported the reason or the error of the operation,
// but not both. Y10: a hook that counts retries was called without a retry.
func TestRetryErrorsTellAll(t *testing.T) {
	for _, c := range retryReasons {
		t.Run(c.name, func(t *testing.T) {
			everyForm(t, func(t *testing.T, retry retryForm) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				hooks, attempts := 0, 0
				opts := &twill.RetryOptions{Backoff: twill.ConstantBackoff(2 * time.Second), OnRetry: func(twill.RetryEvent) { hooks++ }}
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
				if c.name != "the context ends in an attempt" { // its future is canceled
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

// The number of errors that are kept is bounded, so that a call that goes on
// forever does not use up the memory.
func TestRetryErrorKeepsFirstAndLast(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, n := range []int{1, 4, 5, 99, 100, 101, 150, 198, 199, 200, 1000} {
			var all []error
			_, err := retry(t.Context(), func(context.Context) (int, error) {
				all = append(all, errors.New("failure"))
				return 0, all[len(all)-1]
			}, &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(0), n-1)})
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
		"twill: not attempted: context canceled":                                               {Reason: context.Canceled},
		"twill: gave up after 1 attempt in 1s: no retries left; last error: EOF":               {Reason: twill.ErrRetriesExhausted, Attempts: 1, Elapsed: time.Second, Errs: []error{io.EOF}},
		"twill: gave up after 2 attempts in 0s: retry budget used up; last error: EOF":         {Reason: twill.ErrNoBudget, Attempts: 2, Errs: []error{errOne, io.EOF}},
		"twill: gave up after 1 attempt in 0s: EOF":                                            {Reason: io.EOF, Attempts: 1, Errs: []error{io.EOF}},
		"twill: gave up after 3 attempts in 0s: retry time limit exceeded":                     {Reason: twill.ErrMaxElapsed, Attempts: 3},
		"twill: gave up after 1 attempt in 0s: canceled; last error: the first failure":        {Reason: &twill.CanceledError{}, Attempts: 1, Errs: []error{errOne}},
		"twill: gave up after 1 attempt in 0s: panic: boom":                                    {Reason: &twill.PanicError{Value: "boom"}, Attempts: 1, Errs: []error{&twill.PanicError{Value: "boom"}}},
		"twill: gave up after 1 attempt in 0s: function called runtime.Goexit":                 {Reason: twill.ErrGoexit, Attempts: 1, Errs: []error{twill.ErrGoexit}},
		"twill: gave up after 1 attempt in 0s: error is not retryable; last error: unexpected": {Reason: twill.ErrNotRetryable, Attempts: 1, Errs: []error{errors.New("unexpected")}},
	} {
		require.EqualError(t, e, text)
	}
}

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

// Failure 5: a server could request a pause of an hour, of 74 years, or, by an
// overflow, of no time.
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
					Backoff: twill.LimitBackoff(twill.ConstantBackoff(c.pause), 1), MaxRetryAfter: c.limit,
				})
				require.ErrorIs(t, err, twill.ErrRetriesExhausted)
				require.Equal(t, c.want, time.Since(start), "%s, %s", c.name, name)
				start = time.Now()
			}
		}
	})
}

// A hint applies to the pause after it, and not to later pauses.
func TestRetryAfterHoldsOnce(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		start, calls := time.Now(), 0
		inner := func(context.Context) (int, error) {
			if calls++; calls == 1 {
				return 0, twill.RetryAfter(time.Minute, io.EOF)
			}
			return 0, io.EOF
		}
		_, err := retry(t.Context(), inner, &twill.RetryOptions{Backoff: kit.Pauses(time.Second, time.Second)})
		require.Error(t, err)
		require.Equal(t, time.Minute+time.Second, time.Since(start))
		// If there are several hints the first counts, and for a call inside the
		// function the hint of its last attempt.
		for after, errs := range map[time.Duration][]error{
			2 * time.Second: {errors.Join(twill.RetryAfter(2*time.Second, io.EOF), twill.RetryAfter(time.Hour, io.EOF))},
			time.Second:     {twill.RetryAfter(time.Hour, io.EOF), twill.RetryAfter(time.Second, io.EOF)},
			0:               {twill.RetryAfter(time.Hour, io.EOF), io.EOF},
		} {
			start = time.Now()
			_, err = retry(t.Context(), func(context.Context) (int, error) {
				return 0, &twill.RetryError{Reason: io.EOF, Errs: errs}
			}, &twill.RetryOptions{Backoff: kit.Pauses(0)})
			require.Error(t, err)
			require.Equal(t, after, time.Since(start))
		}
	})
}

// Failure 7: a nil pointer of the type of a hint caused a panic.
func TestRetryAfterNil(t *testing.T) {
	var none *twill.RetryAfterError
	require.EqualError(t, none, "twill: server asked to retry later")
	require.EqualError(t, &twill.RetryAfterError{}, "twill: server asked to retry later")
	require.NoError(t, none.Unwrap())
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, err := range []error{none, fmt.Errorf("wrapped: %w", none), &twill.RetryAfterError{}} {
			start := time.Now()
			_, got := retry(t.Context(), func(context.Context) (int, error) { return 0, err }, &twill.RetryOptions{
				Backoff: kit.Pauses(time.Second),
			})
			require.Equal(t, twill.ErrRetriesExhausted, requireRetryError(t, got).Reason)
			require.Equal(t, time.Second, time.Since(start))
			require.NotEmpty(t, got.Error())
		}
	})
}

type statusError int

func (e statusError) Error() string { return fmt.Sprint("status ", int(e)) }

func is404(err error) bool { return errors.Is(err, statusError(404)) }

// The recipe's example: exactly one 404 is tolerated, in each call anew.
func TestRetryTesterWithState(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		opts := &twill.RetryOptions{NewTester: kit.AtMost(1, is404)}
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
}

func TestRetryIf(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		fn, calls := failing(5)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{NewTester: twill.RetryIf(func(err error) bool { return errors.Is(err, errOne) })})
		require.ErrorIs(t, err, twill.ErrNotRetryable)
		require.ErrorIs(t, err, errTwo)
		require.Equal(t, 2, *calls)
		require.Equal(t, "twill: gave up after 2 attempts in 0s: error is not retryable: the second failure", err.Error())
	})
}

// A tester is made once for each call, after the first failure.
func TestRetryTesterIsMadeForEachCall(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		var seen []error
		made := 0
		fn, _ := failing(-1)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{
			NewTester: func() func(error) error {
				made++
				return func(err error) error {
					if errors.Is(err, errMore) {
						return err
					}
					seen = append(seen, err)
					return nil
				}
			},
		})
		require.ErrorIs(t, err, errMore)
		require.Equal(t, []error{errOne, errTwo}, seen)
		require.Equal(t, 1, made)
		fn, _ = failing(0)
		_, err = retry(t.Context(), fn, &twill.RetryOptions{NewTester: func() func(error) error { made++; return nil }})
		require.NoError(t, err)
		require.Equal(t, 1, made, "without a failure none is needed")
	})
}

// Failure 8: with a limit of one attempt, the mark of Permanent was returned.
func TestRetryPermanentWithAllOptions(t *testing.T) {
	require.NoError(t, twill.Permanent(nil))
	require.EqualError(t, twill.Permanent(io.EOF), "EOF")
	require.ErrorIs(t, twill.Permanent(io.EOF), io.EOF)
	hook := func(twill.RetryEvent) {}
	set := []func(o *twill.RetryOptions){
		func(o *twill.RetryOptions) { o.Backoff = twill.LimitBackoff(twill.ConstantBackoff(time.Second), 0) },
		func(o *twill.RetryOptions) { o.NewTester = kit.AtMost(1, is404) },
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

// The mark is found even if it is wrapped, and in the error of a tester.
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
			NewTester: kit.Tester(func(error) error { return permanent }),
		})
		require.ErrorIs(t, err, errTester)
		require.NotErrorIs(t, err, permanent)
	})
}

// K12: MaxElapsed was checked when a pause was planned, and not when it was
// over: an attempt began an hour later.
func TestRetryMaxElapsedHoldsWhenAnAttemptBegins(t *testing.T) {
	late := func(twill.RetryEvent) { time.Sleep(time.Hour) }
	for name, opts := range map[string]twill.RetryOptions{
		"slow OnPause": {OnPause: late},
		"slow OnRetry": {OnRetry: late},
	} {
		t.Run(name, func(t *testing.T) {
			everyForm(t, func(t *testing.T, retry retryForm) {
				opts.MaxElapsed, opts.Backoff = time.Minute, twill.ConstantBackoff(time.Second)
				fn, calls := failing(1)
				_, err := retry(t.Context(), fn, &opts)
				require.Equal(t, twill.ErrMaxElapsed, requireRetryError(t, err).Reason)
				require.ErrorIs(t, err, errOne)
				require.Equal(t, 1, *calls)
			})
		})
	}
	t.Run("paused queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { calls++; return 0, kit.ErrBoom }, &twill.DispatchOptions{
				Retry: &twill.RetryOptions{MaxElapsed: time.Minute, Backoff: twill.ConstantBackoff(30 * time.Second)},
			})
			j := kit.PutJob(t, q, 1, 0)
			time.Sleep(31 * time.Second)
			synctest.Wait()
			require.Equal(t, 2, calls)
			q.Pause()
			time.Sleep(time.Hour)
			require.NoError(t, q.Resume())
			_, err := j.Await(t.Context())
			require.ErrorIs(t, err, twill.ErrMaxElapsed)
			require.ErrorIs(t, err, kit.ErrBoom)
			require.Equal(t, 2, calls)
		})
	})
}

// K17: clients that failed together retried together.
func TestRetryDefaultBackoffHasJitter(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		pauses := func() (all []time.Duration) {
			fn, calls := failing(-1)
			_, err := retry(t.Context(), fn, &twill.RetryOptions{OnPause: func(e twill.RetryEvent) { all = append(all, e.Delay) }})
			require.ErrorIs(t, err, twill.ErrRetriesExhausted)
			require.Equal(t, 11, *calls)
			return all
		}
		one, two := pauses(), pauses()
		require.NotEqual(t, one, two)
		i := 0
		for d := range twill.SimpleBackoff() {
			require.LessOrEqual(t, one[i], d)
			require.GreaterOrEqual(t, one[i], d/2)
			i++
		}
	})
}

// K17: a sequence that reads the clock was read 16 pauses ahead.
func TestRetryBackoffIsReadWhenItIsNeeded(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		toTheMinute := func(yield func(time.Duration) bool) {
			for yield(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute))) {
			}
		}
		calls := 0
		_, err := retry(t.Context(), func(context.Context) (int, error) {
			if calls++; calls > 1 {
				require.Equal(t, time.Now(), time.Now().Truncate(time.Minute))
			}
			time.Sleep(time.Duration(calls) * time.Second)
			return 0, io.EOF
		}, &twill.RetryOptions{Backoff: twill.LimitBackoff(toTheMinute, 30)})
		require.ErrorIs(t, err, twill.ErrRetriesExhausted)
		require.Equal(t, 31, calls)
	})
}

// K9: a last error whose text ends like that of the reason was left out.
func TestRetryErrorHidesNoError(t *testing.T) {
	for last, want := range map[string]string{
		"left":       "no retries left; last error: left",
		"":           "no retries left; last error: ",
		"the policy": "no retries left; last error: the policy",
	} {
		require.EqualError(t, &twill.RetryError{Reason: twill.ErrRetriesExhausted, Attempts: 1, Errs: []error{errors.New(last)}},
			"twill: gave up after 1 attempt in 0s: "+want)
	}
	_, err := twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, errors.New("policy") }, &twill.RetryOptions{
		NewTester: kit.Tester(func(error) error { return errors.New("against the policy") }),
	})
	require.ErrorContains(t, err, "error is not retryable: against the policy; last error: policy")
}

// K13: settings at their extremes are accepted and work.
func TestRetryOptionsAtTheirExtremes(t *testing.T) {
	extremes := []time.Duration{math.MinInt64, -1, 0, 1, math.MaxInt64}
	everyForm(t, func(t *testing.T, retry retryForm) {
		for _, d := range extremes {
			for field, opts := range map[string]twill.RetryOptions{
				"MaxElapsed":     {MaxElapsed: d},
				"AttemptTimeout": {AttemptTimeout: d},
				"MaxRetryAfter":  {MaxRetryAfter: d},
			} {
				fn, calls := failing(1)
				opts.Backoff = kit.Pauses(0)
				v, err := retry(t.Context(), func(ctx context.Context) (int, error) {
					v, err := fn(ctx)
					return v, twill.RetryAfter(0, err)
				}, &opts)
				require.NoError(t, err, "%s %d", field, d)
				require.Equal(t, []int{5, 2}, []int{v, *calls})
			}
			for name, seq := range map[string]iter.Seq[time.Duration]{
				"slice": kit.Pauses(d), "constant": twill.ConstantBackoff(d), "linear": twill.LinearBackoff(d, d),
				"exponential": twill.ExponentialBackoff(d, float64(d)), "cap": twill.CapBackoff(kit.Pauses(d), d),
				"full": twill.FullJitter(kit.Pauses(d)), "equal": twill.EqualJitter(kit.Pauses(d)), "decorrelated": twill.DecorrelatedJitter(d, d),
			} {
				for _, n := range []int{math.MinInt, -1, 0, 1} {
					fn, calls := failing(-1)
					ctx, cancel := context.WithCancel(t.Context())
					_, err := retry(ctx, fn, &twill.RetryOptions{Backoff: twill.LimitBackoff(seq, n), OnPause: func(e twill.RetryEvent) {
						require.GreaterOrEqual(t, e.Delay, time.Duration(0))
						if e.Delay > time.Hour { // centuries, which fit only once into the clock of a test
							cancel()
						}
					}})
					if ctx.Err() != nil {
						require.ErrorIs(t, err, context.Canceled, "%s %d", name, d)
					} else {
						require.ErrorIs(t, err, twill.ErrRetriesExhausted, "%s %d", name, d)
						require.Equal(t, 1+max(n, 0), *calls)
					}
					cancel()
				}
			}
		}
	})
}
