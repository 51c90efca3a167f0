package twill_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

const (
	ms      = time.Millisecond
	longest = time.Duration(math.MaxInt64)
)

// firstTen returns up to ten elements of seq.
func firstTen(seq iter.Seq[time.Duration]) []time.Duration {
	var ds []time.Duration
	for d := range seq {
		if ds = append(ds, d); len(ds) == 10 {
			break
		}
	}
	return ds
}

func TestBackoffSequences(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	same := func(d time.Duration) []time.Duration { return slices.Repeat([]time.Duration{d}, 10) }
	for _, c := range []struct {
		name string
		seq  iter.Seq[time.Duration]
		want []time.Duration
	}{
		{"the recipe's own", twill.SimpleBackoff(), []time.Duration{
			0, 10 * ms, 20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1280 * ms, 2560 * ms,
		}},
		{"the recipe: never more than maxResults", twill.LimitBackoff(twill.SimpleBackoff(), 3), []time.Duration{0, 10 * ms, 20 * ms}},
		{"the recipe: an increment that is constant", twill.ConstantBackoff(3), same(3)},
		{"the recipe: times 3", twill.LimitBackoff(twill.ExponentialBackoff(1, 3), 3), []time.Duration{1, 3, 9}},
		{"the recipe: plus 3", twill.LimitBackoff(twill.LinearBackoff(2, 3), 3), []time.Duration{2, 5, 8}},
		{"the recipe: maxDelay", twill.LimitBackoff(twill.CapBackoff(twill.ExponentialBackoff(1, 3), 10), 5), []time.Duration{1, 3, 9, 10, 10}},
		{"exponential keeps fractions", twill.LimitBackoff(twill.ExponentialBackoff(1, 1.5), 6), []time.Duration{1, 1, 2, 3, 5, 7}},
		{"exponential that shrinks", twill.LimitBackoff(twill.ExponentialBackoff(100, 0.5), 3), []time.Duration{100, 50, 25}},
		{"exponential from 0", twill.ExponentialBackoff(0, 2), same(0)},
		{"exponential from 0 by infinity", twill.ExponentialBackoff(0, inf), same(0)},
		{"exponential by infinity", twill.LimitBackoff(twill.ExponentialBackoff(1, inf), 3), []time.Duration{1, longest, longest}},
		{"exponential by something that is no number", twill.ExponentialBackoff(7, nan), same(7)},
		{"exponential by a negative factor", twill.ExponentialBackoff(7, -2), same(7)},
		{"exponential from below 0", twill.ExponentialBackoff(-7, 2), same(0)},
		{"exponential from the longest", twill.ExponentialBackoff(longest, 2), same(longest)},
		{"linear that ends at the longest", twill.LimitBackoff(twill.LinearBackoff(longest-5, 3), 3), []time.Duration{longest - 5, longest - 2, longest}},
		{"linear that comes down", twill.LimitBackoff(twill.LinearBackoff(5, -3), 4), []time.Duration{5, 2, 0, 0}},
		{"linear that comes down at once", twill.LimitBackoff(twill.LinearBackoff(longest, math.MinInt64), 2), []time.Duration{longest, 0}},
		{"a limit of none", twill.LimitBackoff(twill.ConstantBackoff(1), 0), nil},
		{"a limit below none", twill.LimitBackoff(twill.ConstantBackoff(1), math.MinInt), nil},
		{"a limit that is not reached", twill.LimitBackoff(kit.Pauses(1, 2), math.MaxInt), []time.Duration{1, 2}},
		{"a limit of what is below 0", twill.LimitBackoff(slices.Values([]time.Duration{-5}), 1), []time.Duration{0}},
		{"a cap of what is below 0", twill.CapBackoff(slices.Values([]time.Duration{-5, 5}), 3), []time.Duration{0, 3}},
		{"a cap below 0", twill.CapBackoff(twill.ConstantBackoff(1), -1), same(0)},
		{"full jitter of 0", twill.FullJitter(twill.ConstantBackoff(0)), same(0)},
		{"equal jitter of 0", twill.EqualJitter(twill.ConstantBackoff(0)), same(0)},
		{"full jitter of what is below 0", twill.FullJitter(slices.Values([]time.Duration{-5})), []time.Duration{0}},
		{"equal jitter of what is below 0", twill.EqualJitter(slices.Values([]time.Duration{-5})), []time.Duration{0}},
		{"decorrelated jitter without room", twill.DecorrelatedJitter(5, 5), same(5)},
		{"decorrelated jitter, first above most", twill.DecorrelatedJitter(7, 5), same(5)},
		{"decorrelated jitter below 0", twill.DecorrelatedJitter(-1, -1), same(0)},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.want, firstTen(c.seq))
			require.Equal(t, c.want, firstTen(c.seq), "and the same again")
		})
	}
}

func TestBackoffStopsWhereItIsLeft(t *testing.T) {
	for _, seq := range []iter.Seq[time.Duration]{
		twill.SimpleBackoff(), twill.ConstantBackoff(1), twill.ExponentialBackoff(1, 2), twill.ExponentialBackoff(longest, 2), kit.Pauses(1, 2),
		twill.LimitBackoff(twill.ConstantBackoff(1), 5), twill.CapBackoff(twill.ConstantBackoff(1), 5), twill.FullJitter(twill.ConstantBackoff(1)),
		twill.EqualJitter(twill.ConstantBackoff(1)), twill.DecorrelatedJitter(1, 5),
	} {
		for n := range 4 {
			left := n
			seq(func(time.Duration) bool {
				require.GreaterOrEqual(t, left, 0, "called after it was told to stop")
				left--
				return left >= 0
			})
		}
	}
}

// Failures 2, 3, 4 and 6: shifts and products that overflowed after 34 or 63
// steps gave negative pauses, or none, which is a busy loop.
func TestBackoffNeverOverflows(t *testing.T) {
	for name, seq := range map[string]iter.Seq[time.Duration]{
		"exponential":  twill.ExponentialBackoff(time.Second, 2),
		"capped":       twill.CapBackoff(twill.ExponentialBackoff(time.Second, 2), longest),
		"linear":       twill.LinearBackoff(time.Second, longest/100),
		"full jitter":  twill.FullJitter(twill.CapBackoff(twill.ExponentialBackoff(time.Second, 2), longest)),
		"equal jitter": twill.EqualJitter(twill.ExponentialBackoff(time.Second, 2)),
		"decorrelated": twill.DecorrelatedJitter(time.Second, longest),
	} {
		last, n := time.Duration(0), 0
		for d := range twill.LimitBackoff(seq, 5000) {
			grows := name == "exponential" || name == "capped" || name == "linear"
			if n++; d < 0 || grows && d < last {
				t.Fatalf("%s: pause %d is %v after %v", name, n, d, last)
			}
			last = d
		}
		require.Equal(t, 5000, n)
	}
}

// Y7 and failure 35: one sequence used by two calls was used up by the first.
func TestBackoffIsStateless(t *testing.T) {
	seq := twill.LimitBackoff(twill.FullJitter(twill.CapBackoff(twill.SimpleBackoff(), time.Second)), 7)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			n := 0
			for range seq {
				n++
			}
			if n != 7 {
				t.Errorf("%d pauses of 7", n)
			}
		})
	}
	wg.Wait()
}

func TestBackoffMisuse(t *testing.T) {
	for name, fn := range map[string]func(){
		"LimitBackoff": func() { twill.LimitBackoff(nil, 1) },
		"CapBackoff":   func() { twill.CapBackoff(nil, 1) },
		"FullJitter":   func() { twill.FullJitter(nil) },
		"EqualJitter":  func() { twill.EqualJitter(nil) },
	} {
		require.PanicsWithValue(t, "twill: "+name+" of a nil sequence", fn)
	}
}

// load has the numbers of a simulated server.
type load struct{ calls, attempts, successes atomic.Int64 }

func (l *load) extra() float64 {
	return float64(l.attempts.Load()-l.calls.Load()) / float64(l.calls.Load())
}

// simulate makes 1000 clients call a server for a minute, each a second after
// its last call has ended. failing is the fraction of the attempts that fail,
// at a time since the start.
func simulate(t *testing.T, budget *twill.Budget, failing func(time.Duration) float64) *load {
	t.Helper()
	seen := new(load)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		opts := &twill.RetryOptions{
			Backoff: twill.LimitBackoff(twill.FullJitter(twill.ExponentialBackoff(100*time.Millisecond, 2)), 3), Budget: budget,
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				time.Sleep(rand.N(time.Second))
				for ctx.Err() == nil {
					seen.calls.Add(1)
					_, err := twill.Retry(ctx, func(context.Context) (int, error) {
						seen.attempts.Add(1)
						time.Sleep(10 * time.Millisecond)
						if rnd.Float64() < failing(time.Since(start)) {
							return 0, io.EOF
						}
						return 1, nil
					}, opts)
					if err == nil {
						seen.successes.Add(1)
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
	})
	return seen
}

// Y8: retries multiply the load of a server that is down already.
func TestBudgetBoundsTheExtraLoad(t *testing.T) {
	const ratio, tokens = 0.1, 100
	for _, p := range []float64{1, 0.9, 0.5, 0.2, 0.05, 0} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			seen := simulate(t, twill.NewBudget(tokens, ratio), func(time.Duration) float64 { return p })
			calls := seen.calls.Load()
			require.Greater(t, calls, int64(40_000))
			require.LessOrEqual(t, float64(seen.attempts.Load()-calls), ratio*float64(seen.successes.Load())+tokens/2)
			require.Less(t, seen.extra(), ratio+tokens/2/float64(calls))
			switch p {
			case 1:
				require.Less(t, seen.extra(), 0.002, "a server that is down gets half of the tokens, once")
			case 0.05:
				require.Greater(t, seen.extra(), 0.045, "what the budget covers is retried")
				require.Greater(t, float64(seen.successes.Load()), 0.998*float64(calls))
			case 0:
				require.Zero(t, seen.extra())
			}
		})
	}
	without := simulate(t, nil, func(time.Duration) float64 { return 1 })
	require.Greater(t, without.extra(), 2.9, "without a budget it is three retries for each call")
}

// Y8 and failure 9: after an outage there are retries again.
func TestBudgetComesBackAfterAnOutage(t *testing.T) {
	const ratio, tokens = 0.1, 100
	budget := twill.NewBudget(tokens, ratio)
	seen := simulate(t, budget, func(d time.Duration) float64 {
		if d < 20*time.Second {
			return 1
		}
		return 0.02
	})
	require.Less(t, seen.extra(), ratio)
	require.Greater(t, budget.Tokens(), float64(tokens)/2)
	// About 2 % of the 38000 calls after the outage fail at first: few of these
	// may fail in the end.
	require.Greater(t, seen.extra(), 0.01)
}

// spend uses n tokens of b by calls that fail, and returns the number of
// retries.
func spend(b *twill.Budget, retry retryForm, n int) (retries int) {
	for range n {
		_, _ = retry(context.Background(), func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{
			Budget: b, Backoff: kit.Pauses(), OnRetry: func(twill.RetryEvent) { retries++ },
		})
	}
	return retries
}

func TestBudgetIsTheBucketOfA6(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(10, 0.5)
		require.Equal(t, 10.0, b.Tokens())
		fn, calls := failing(-1)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, twill.ErrNoBudget)
		require.Equal(t, 5, *calls, "retries as long as more than half of the tokens are there")
		require.Equal(t, 5.0, b.Tokens())
		spend(b, retry, 3)
		require.Equal(t, 2.0, b.Tokens(), "also failures that nobody may repeat take one")
		spend(b, retry, 10)
		require.Zero(t, b.Tokens(), "but there are never fewer than none")
		fn, _ = failing(0)
		for range 11 {
			_, err = retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
			require.NoError(t, err)
		}
		require.Equal(t, 5.5, b.Tokens())
		fn, calls = failing(-1)
		_, err = retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, twill.ErrNoBudget)
		require.Equal(t, 1, *calls, "4.5 of 10 are left")
	})
}

// Failure 9: an empty bucket was never refilled; tokens of errors that are not
// retried were kept.
func TestBudgetRefills(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(100, 0.3)
		spend(b, retry, 200)
		for range 400 {
			fn, _ := failing(0)
			_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
			require.NoError(t, err)
		}
		require.Equal(t, 100.0, b.Tokens(), "and not above what there were")
		fn, _ := failing(2)
		_, err := retry(t.Context(), fn, &twill.RetryOptions{Budget: b})
		require.NoError(t, err)
		require.Equal(t, 98.3, b.Tokens(), "a success after retries counts too")
		_, err = retry(t.Context(), func(context.Context) (int, error) { return 0, twill.Permanent(io.EOF) }, &twill.RetryOptions{Budget: b})
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 98.3, b.Tokens())
	})
}

// Y6 and failure 10: after a few panics the budget was used up for good.
func TestBudgetAndPanics(t *testing.T) {
	boom := func() { panic(errMore) }
	isFirst := func(err error) bool { return errors.Is(err, errOne) }
	second := func(err error) error {
		if errors.Is(err, errTwo) {
			boom()
		}
		return nil
	}
	for name, opts := range map[string]twill.RetryOptions{
		"the function":         {},
		"the tester":           {NewTester: kit.Tester(func(error) error { panic(errMore) })},
		"the tester, later":    {NewTester: kit.Tester(second)},
		"the maker of testers": {NewTester: func() func(error) error { panic(errMore) }},
		"the hook before":      {OnPause: func(twill.RetryEvent) { boom() }},
		"the hook after":       {OnRetry: func(twill.RetryEvent) { boom() }},
		"the sequence":         {Backoff: func(func(time.Duration) bool) { boom() }},
		"the sequence, later":  {Backoff: func(yield func(time.Duration) bool) { yield(1); boom() }},
		"a sequence that goes on": {
			NewTester: twill.RetryIf(isFirst),
			Backoff: func(yield func(time.Duration) bool) {
				for {
					yield(1)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyForm(t, func(t *testing.T, retry retryForm) {
				b, failed := twill.NewBudget(1000, 1), 0
				opts := opts
				opts.Budget = b
				for range 100 {
					calls := 0
					_, err := retry(t.Context(), func(context.Context) (int, error) {
						if calls++; name == "the function" && calls == 2 {
							boom()
						}
						return 0, []error{errOne, errTwo}[calls-1]
					}, &opts)
					var p *twill.PanicError
					require.ErrorAs(t, requireRetryError(t, err).Reason, &p)
					require.NotEmpty(t, p.Stack)
					failed += calls - 1
				}
				if !strings.Contains(name, "sequence") {
					failed = 0
				}
				require.Equal(t, 1000-float64(failed), b.Tokens(), "only what a retry took that was made and has failed")
			})
		})
	}
}

// Goexit ends the goroutine, which then cannot return the token.
func TestBudgetAndGoexit(t *testing.T) {
	for name, retry := range retryForms {
		t.Run(name, func(t *testing.T) {
			b := twill.NewBudget(10, 1)
			for _, opts := range []*twill.RetryOptions{
				{Budget: b, Backoff: twill.ConstantBackoff(1)},
				{Budget: b, Backoff: twill.ConstantBackoff(0), OnRetry: func(twill.RetryEvent) { runtime.Goexit() }},
				{Budget: b, Backoff: twill.ConstantBackoff(1), OnPause: func(twill.RetryEvent) { runtime.Goexit() }},
			} {
				done := make(chan struct{})
				go func() {
					defer close(done)
					calls := 0
					_, err := retry(context.Background(), func(context.Context) (int, error) {
						if calls++; calls == 2 {
							runtime.Goexit()
						}
						return 0, io.EOF
					}, opts)
					if !errors.Is(err, twill.ErrGoexit) {
						t.Errorf("not an exit: %v", err)
					}
				}()
				<-done
				require.Equal(t, 10.0, b.Tokens())
			}
		})
	}
}

// A cancel during a pause returns the token.
func TestBudgetAndCancels(t *testing.T) {
	everyForm(t, func(t *testing.T, retry retryForm) {
		b := twill.NewBudget(10, 1)
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			fn, _ := failing(-1)
			_, err := retry(ctx, fn, &twill.RetryOptions{Budget: b, Backoff: twill.ConstantBackoff(time.Minute)})
			require.ErrorIs(t, err, context.Canceled)
		}
		require.Equal(t, 10.0, b.Tokens())
	})
}

func TestBudgetLimits(t *testing.T) {
	var zero twill.Budget
	require.Equal(t, 100.0, zero.Tokens())
	_, err := twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, io.EOF }, &twill.RetryOptions{Budget: &zero, Backoff: twill.ConstantBackoff(0)})
	require.Equal(t, 50, requireRetryError(t, err).Attempts)
	_, err = twill.Retry(t.Context(), func(context.Context) (int, error) { return 0, nil }, &twill.RetryOptions{Budget: &zero})
	require.NoError(t, err)
	require.Equal(t, 50.1, zero.Tokens())

	huge := twill.NewBudget(math.MaxInt, math.Inf(1))
	require.GreaterOrEqual(t, huge.Tokens(), min(1e12, float64(math.MaxInt)))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { spend(huge, twill.Retry[int], 1000) })
	}
	wg.Wait()
	tiny := twill.NewBudget(3, math.SmallestNonzeroFloat64)
	require.Equal(t, 3.0, tiny.Tokens())

	require.PanicsWithValue(t, "twill: NewBudget with 2 tokens", func() { twill.NewBudget(2, 1) })
	require.PanicsWithValue(t, "twill: NewBudget with a ratio of 0", func() { twill.NewBudget(3, 0) })
	require.PanicsWithValue(t, "twill: NewBudget with a ratio of NaN", func() { twill.NewBudget(3, math.NaN()) })
}

// requireUniform fails the test if the delays from low to high are not equally
// likely, by the chi-square test with 64 classes. A value above 150 occurs by
// chance in one of 100 million runs.
func requireUniform(t *testing.T, delays iter.Seq[time.Duration], low, high time.Duration) {
	t.Helper()
	const classes, each = 64, 1000
	var count [classes]int
	n := 0
	for d := range delays {
		if d < low || d > high {
			t.Fatalf("%v is not from %v to %v", d, low, high)
		}
		count[int64(d-low)*classes/int64(high-low+1)]++
		if n++; n == classes*each {
			break
		}
	}
	require.Equal(t, classes*each, n)
	sum := 0.0
	for _, c := range count {
		sum += float64(c-each) * float64(c-each) / each
	}
	require.Less(t, sum, 150.0)
	require.Greater(t, sum, 15.0, "more even than chance")
}

// skip returns seq without its first n elements.
func skip(seq iter.Seq[time.Duration], n int) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		left := n
		for d := range seq {
			if left > 0 {
				left--
			} else if !yield(d) {
				return
			}
		}
	}
}

// Y9: a cap must not end the jitter, when all clients that failed together have
// reached it.
func TestJitterStaysAtTheCap(t *testing.T) {
	capped := skip(twill.CapBackoff(twill.ExponentialBackoff(time.Second, 2), time.Minute), 10)
	requireUniform(t, twill.FullJitter(capped), 0, time.Minute)
	requireUniform(t, twill.EqualJitter(capped), time.Minute/2, time.Minute)
	requireUniform(t, afterHigh(twill.DecorrelatedJitter(time.Second, time.Minute), time.Minute/3), time.Second, time.Minute)
}

func TestJitterIsUniform(t *testing.T) {
	requireUniform(t, twill.FullJitter(twill.ConstantBackoff(time.Hour)), 0, time.Hour)
	requireUniform(t, twill.FullJitter(twill.ConstantBackoff(255)), 0, 255)
	requireUniform(t, twill.EqualJitter(twill.ConstantBackoff(time.Hour)), time.Hour/2, time.Hour)
	firsts := func(yield func(time.Duration) bool) {
		for yield(firstTen(twill.DecorrelatedJitter(time.Second, time.Hour))[0]) {
		}
	}
	requireUniform(t, firsts, time.Second, 3*time.Second)
}

// afterHigh returns the elements of seq that follow an element above d.
func afterHigh(seq iter.Seq[time.Duration], d time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		high := false
		for next := range seq {
			if high && !yield(next) {
				return
			}
			high = next > d
		}
	}
}
