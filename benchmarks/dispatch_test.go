package benchmarks_test

import (
	"testing"

	"github.com/twillgo/twill/benchmarks/internal/work"
)

func BenchmarkSubmit(b *testing.B) {
	work.Run(b, "submit + run, no result")
}

func BenchmarkPutWidth1(b *testing.B) {
	work.Run(b, "put to settled job, width 1")
}

func BenchmarkPutWidth2(b *testing.B) {
	work.Run(b, "put to settled job, width 2")
}

func BenchmarkPutWidth8(b *testing.B) {
	work.Run(b, "put to settled job, width 8")
}

func BenchmarkPutWidth100(b *testing.B) {
	work.Run(b, "put to settled job, width 100")
}

func BenchmarkRoundTrip(b *testing.B) {
	work.Run(b, "round trip submit -> result")
}

func BenchmarkBacklog(b *testing.B) {
	work.Run(b, "1M pending: bytes each, with future")
}

func BenchmarkGroups(b *testing.B) {
	work.Run(b, "1M pending in 100k groups of limit 1: put + run")
}

func BenchmarkOneGroup(b *testing.B) {
	work.Run(b, "1M pending in one group: put + run")
}

func BenchmarkGrow(b *testing.B) {
	work.Run(b, "grow 1 -> 100 under load, until 100 run")
}

func BenchmarkLevelsPopPush(b *testing.B) {
	work.Run(b, "1M by priority, 8 levels: pop + push")
}

func BenchmarkLevelsFillDrain(b *testing.B) {
	work.Run(b, "1M by priority, 8 levels: fill + drain")
}

func BenchmarkLevelsCancel(b *testing.B) {
	work.Run(b, "1M by priority, 8 levels: cancel 10k")
}

func BenchmarkRandomPopPush(b *testing.B) {
	work.Run(b, "1M by priority, random priorities: pop + push")
}

func BenchmarkRandomFillDrain(b *testing.B) {
	work.Run(b, "1M by priority, random priorities: fill + drain")
}

func BenchmarkRandomCancel(b *testing.B) {
	work.Run(b, "1M by priority, random priorities: cancel 10k")
}
