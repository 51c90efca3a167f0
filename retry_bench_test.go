package twill_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twillgo/twill"
)

func BenchmarkRetry(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	failure := errors.New("failure")
	b.Run("success", func(b *testing.B) {
		b.ReportAllocs()
		opts := &twill.RetryOptions{Backoff: twill.Exponential(time.Millisecond, 2)}
		fn := func(context.Context) (int, error) { return 1, nil }
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	failing := func(d time.Duration) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			left := b.N
			opts := &twill.RetryOptions{Backoff: twill.Constant(d)}
			_, err := twill.Retry(ctx, func(context.Context) (int, error) {
				if left--; left <= 0 {
					return 1, nil
				}
				return 0, failure
			}, opts)
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("failed attempt, no pause", failing(0))
	b.Run("failed attempt, shortest pause", failing(1))
	b.Run("call that fails once, no pause", failingOnce(ctx, nil))
	b.Run("call that fails once, shortest pause", failingOnce(ctx, &twill.RetryOptions{Backoff: twill.Constant(1)}))
}

func failingOnce(ctx context.Context, opts *twill.RetryOptions) func(b *testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		failed, failure := false, errors.New("failure")
		fn := func(context.Context) (int, error) {
			if failed = !failed; failed {
				return 0, failure
			}
			return 1, nil
		}
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, opts); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRetryingCall(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for name, call := range map[string]*twill.RetryingCall[int]{
		"future that is settled": twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return twill.Resolved(1) }, nil),
		"function that blocks":   twill.NewRetryingCall(func(context.Context) (int, error) { return 1, nil }, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := call.Start(ctx).Await(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
