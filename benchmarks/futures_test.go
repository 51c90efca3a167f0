package benchmarks_test

import (
	"testing"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func BenchmarkCreateResolveRead(b *testing.B) {
	work.Run(b, "create, resolve, read on one goroutine")
}

func BenchmarkReadSettled(b *testing.B) {
	work.Run(b, "read a settled one")
}

func BenchmarkOnSettled(b *testing.B) {
	work.Run(b, "OnSettled: attach, then resolve")
}

func BenchmarkAttachResolve(b *testing.B) {
	work.Run(b, "attach a handler, then resolve")
}

func BenchmarkChain(b *testing.B) {
	work.Run(b, "chain of 100 handlers, recover in each")
}

func BenchmarkThen(b *testing.B) {
	work.Run(b, "one type-changing Then (create, Then, resolve, read)")
}

func BenchmarkThenTwoChannels(b *testing.B) {
	work.Run(b, "one type-changing Then, beside a second channel")
}

func BenchmarkAll(b *testing.B) {
	work.Run(b, "All over 1000")
}

func BenchmarkFirst(b *testing.B) {
	work.Run(b, "first of 10, losers left clean")
}

func BenchmarkAwait(b *testing.B) {
	work.Run(b, "resolve elsewhere, blocking Await(ctx)")
}

func BenchmarkAwaitSelect(b *testing.B) {
	work.Run(b, "resolve elsewhere, Await(ctx) beside a select")
}

func BenchmarkSpawn(b *testing.B) {
	work.Run(b, "spawn and await")
}

func BenchmarkPending(b *testing.B) {
	work.Run(b, "1M pending, bare / with one Then")
}

func BenchmarkGivenUp(b *testing.B) {
	work.Run(b, "kept by a listener that gave up on a long-lived future")
}
