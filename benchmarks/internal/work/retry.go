package work

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	avast "github.com/avast/retry-go/v5"
	"github.com/cenkalti/backoff/v5"
	"github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/sethvargo/go-retry"

	"github.com/twillgo/twill"
)

// Retry returns the table of retrying calls and races.
func Retry() []Work {
	const group = "retry"
	return []Work{
		{
			Group: group, Name: "retry: success",
			Ours: twillRetry(0),
			Beside: []Peer{
				{"eapache", eapacheRetry(0)},
				{"loop, reused timer", loopRetry(0)},
				{"avast", avastRetry(0)},
				{"sethvargo", sethvargoRetry(0)},
				{"cenkalti", cenkaltiRetry(0)},
				{"failsafe-go", failsafeRetry(0)},
			},
			Goal:   1.9, // 15 ns beside the 8 ns of eapache
			Limits: []Limit{{Allocs, 0}},
		},
		{
			Group: group, Name: "retry: failed attempt",
			Ours: twillRetry(failures),
			Beside: []Peer{
				{"loop, reused timer", loopRetry(failures)},
				{"eapache", eapacheRetry(failures)},
				{"avast", avastRetry(failures)},
				{"sethvargo", sethvargoRetry(failures)},
				{"cenkalti", cenkaltiRetry(failures)},
				{"failsafe-go", failsafeRetry(failures)},
			},
			Goal:   1.13, // 400 ns beside the 355 ns of the loop
			Limits: []Limit{{Allocs, 1}},
		},
		{
			Group: group, Name: "race of two",
			Ours: twillRace,
			Beside: []Peer{
				{"chan + 2 goroutines", chanRace},
				{"failsafe-go hedge", failsafeRace},
				{"hedgedhttp", hedgedhttpRace},
			},
			Goal:   1.34, // 2.5 us beside the 1.86 us of plain Go
			Limits: []Limit{{Allocs, 10}},
		},
	}
}

const (
	failures = 100                // before a success
	pause    = time.Nanosecond    // the shortest possible: the price of a pause is measured
	never    = 1000 * time.Second // how long a context that never ends lasts
)

var errAttempt = errors.New("attempt failed")

// attempts makes a function that fails the given number of times before each
// success. If there are failures, the benchmark counts per failure.
func attempts(b *testing.B, failures int) func() (int, error) {
	b.ReportMetric(float64(max(failures, 1)), Each)
	left := failures
	return func() (int, error) {
		if left > 0 {
			left--
			return 0, errAttempt
		}
		left = failures
		return 1, nil
	}
}

func twillRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		fn := func(context.Context) (int, error) { return try() }
		opts := &twill.RetryOptions{Backoff: twill.ConstantBackoff(pause)}
		for range b.N {
			v, err := twill.Retry(ctx, fn, opts)
			must(b, err)
			Sink = v
		}
	}
}

// What programs write by hand.
func loopRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		fn := func(context.Context) (int, error) { return try() }
		for range b.N {
			v, err := loop(ctx, fn)
			must(b, err)
			Sink = v
		}
	}
}

func loop(ctx context.Context, fn func(context.Context) (int, error)) (int, error) {
	var timer *time.Timer
	for {
		v, err := fn(ctx)
		if err == nil {
			return v, nil
		}
		if timer == nil {
			timer = time.NewTimer(pause)
			defer timer.Stop()
		} else {
			timer.Reset(pause)
		}
		select {
		case <-timer.C:
		case <-ctx.Done():
			return 0, errors.Join(context.Cause(ctx), err)
		}
	}
}

func eapacheRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		fn := func(context.Context) (err error) {
			Sink, err = try()
			return err
		}
		r := retrier.New(slices.Repeat([]time.Duration{pause}, failures+1), nil)
		for range b.N {
			must(b, r.RunCtx(ctx, fn))
		}
	}
}

func avastRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		r := avast.NewWithData[int](avast.Context(ctx), avast.Attempts(uint(failures+1)),
			avast.DelayType(avast.FixedDelay), avast.Delay(pause))
		for range b.N {
			v, err := r.Do(try)
			must(b, err)
			Sink = v
		}
	}
}

func sethvargoRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		fn := func(context.Context) (int, error) {
			v, err := try()
			if err != nil {
				err = retry.RetryableError(err)
			}
			return v, err
		}
		for range b.N {
			v, err := retry.DoValue(ctx, retry.NewConstant(pause), fn)
			must(b, err)
			Sink = v
		}
	}
}

func cenkaltiRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		for range b.N {
			v, err := backoff.Retry(ctx, try, backoff.WithBackOff(backoff.NewConstantBackOff(pause)),
				backoff.WithMaxElapsedTime(never))
			must(b, err)
			Sink = v
		}
	}
}

func failsafeRetry(failures int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		try := attempts(b, failures)
		policy := retrypolicy.NewBuilder[int]().WithMaxRetries(-1).WithDelay(pause).Build()
		executor := failsafe.With(policy).WithContext(ctx)
		for range b.N {
			v, err := executor.Get(try)
			must(b, err)
			Sink = v
		}
	}
}
