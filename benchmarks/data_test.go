package benchmarks_test

import (
	"testing"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func BenchmarkQueueValues(b *testing.B) {
	work.Run(b, "queue: put + get, values")
}

func BenchmarkQueueFutures(b *testing.B) {
	work.Run(b, "queue: put + get, a future per get")
}

func BenchmarkQueueHandOff(b *testing.B) {
	work.Run(b, "queue: hand-off to a waiter and back")
}

func BenchmarkPoolerCaller(b *testing.B) {
	work.Run(b, "pooler: miss, the caller runs it")
}

func BenchmarkPoolerGoroutine(b *testing.B) {
	work.Run(b, "pooler: miss, a goroutine runs it")
}

func BenchmarkPoolerJoiners(b *testing.B) {
	work.Run(b, "pooler: 1000 joiners")
}

func BenchmarkDictHit(b *testing.B) {
	work.Run(b, "dict: get hit")
}

func BenchmarkDictMiss(b *testing.B) {
	work.Run(b, "dict: miss, set, fire, 1000 keys")
}
