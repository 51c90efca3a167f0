package benchmarks_test

import (
	"testing"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func BenchmarkRetrySuccess(b *testing.B) {
	work.Run(b, "retry: success")
}

func BenchmarkRetryFailedAttempt(b *testing.B) {
	work.Run(b, "retry: failed attempt")
}

func BenchmarkRace(b *testing.B) {
	work.Run(b, "race of two")
}
