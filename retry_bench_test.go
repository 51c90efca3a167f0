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
	b.Run("one failure, no pause", func(b *testing.B) {
		b.ReportAllocs()
		failed := false
		fn := func(context.Context) (int, error) {
			if failed = !failed; failed {
				return 0, failure
			}
			return 1, nil
		}
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("one failure, shortest pause", func(b *testing.B) {
		b.ReportAllocs()
		failed := false
		fn := func(context.Context) (int, error) {
			if failed = !failed; failed {
				return 0, failure
			}
			return 1, nil
		}
		opts := &twill.RetryOptions{Backoff: twill.Constant(1)}
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
}
