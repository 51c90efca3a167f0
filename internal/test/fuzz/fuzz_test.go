//go:build suites

package fuzz_test

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// FuzzOps runs programs of operations on futures, in the library and in a slow
// model, and compares every run of a handler, every result of a call and the
// final state of every future. Run it with -fuzztime 200000x: a count, not a
// time.
func FuzzOps(f *testing.F) {
	for kind := range opKinds {
		f.Add([]byte{byte(kind), 0, 1, 2, 3, byte(opCancel), 2, 0, byte(opResolve), 0, 5, byte(opReject), 1, 6})
	}
	for seed := range uint64(20) {
		f.Add(randomProgram(seed))
	}
	for _, data := range onceWrong {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kit.Watchdog(t, func() { compareWithModel(t, data) })
	})
}

// A few thousand random programs in every test run; the seeds of the fuzzer are
// not random.
func TestOpsAgainstModel(t *testing.T) {
	n := uint64(10_000)
	if !kit.Long() {
		n = 1000
	}
	kit.Watchdog(t, func() {
		for seed := range n {
			compareWithModel(t, randomProgram(seed))
			if t.Failed() {
				t.Errorf("seed %d", seed)
				return
			}
		}
	})
}

// onceWrong are programs that have found a bug.
var onceWrong = map[string][]byte{
	"a cycle through a way up that was left": {0, 104, 0, 7, 0, 0, 0, 70, 0, 0, 25, 3, 0, 0, 0, 12, 0, 153},
	"a cancel passed on with an older cause": {92, 0, 0, 4, 0, 0, 10, 0, 160, 0, 3, 14, 1, 3, 94},
}

func randomProgram(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 7))
	data := make([]byte, 10+rnd.IntN(150))
	for i := range data {
		data[i] = byte(rnd.Uint32())
		if rnd.IntN(2) == 0 {
			data[i] %= 16
		}
	}
	return data
}

func compareWithModel(t *testing.T, data []byte) {
	ops := parseFuzz(data)
	got, want := runFuzz(fuzzTwill, ops), runFuzz(fuzzModel, ops)
	if slices.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	t.Errorf("they differ at entry %d\nprogram:\n%s\nhere:  %s\nmodel: %s",
		i, fuzzListing(ops, ""), fuzzMark(got, i), fuzzMark(want, i))
}

// fuzzListing returns a program as text.
func fuzzListing(ops []*fuzzOp, indent string) string {
	var b strings.Builder
	for i, op := range ops {
		fmt.Fprintf(&b, "%s%d: %s f%d g%d v%d %v", indent, i, fuzzNames[op.kind], op.f, op.g, op.v, op.members)
		if op.h != nil {
			fmt.Fprintf(&b, " h%d does %d v%d inner %d", op.h.id, op.h.does, op.h.v, op.h.inner)
		}
		b.WriteString("\n")
		if op.h != nil {
			b.WriteString(fuzzListing(op.h.ops, indent+"    "))
		}
	}
	return b.String()
}

var fuzzNames = []string{
	"new", "resolve", "reject", "cancel", "then", "catch", "handle", "finally", "tap", "thenFuture", "catchFuture",
	"handleFuture", "follow", "onCancel", "list", "shield", "via", "work", "timeout", "watch", "resolved", "rejected",
}

// fuzzMark returns a trace as text, with the entry at which it differs marked.
func fuzzMark(trace []string, at int) string {
	shown := slices.Clone(trace)
	if at < len(shown) {
		shown[at] = ">>>" + shown[at] + "<<<"
	}
	return strings.Join(shown, " | ")
}

// Y2: pauses are within their bounds, whatever the settings are.
func FuzzBackoff(f *testing.F) {
	f.Add(int64(time.Second), 2.0, int64(time.Minute), uint16(100))
	f.Add(int64(math.MaxInt64), math.Inf(1), int64(math.MaxInt64), uint16(1000))
	f.Add(int64(math.MinInt64), math.NaN(), int64(-1), uint16(3))
	f.Add(int64(1), math.SmallestNonzeroFloat64, int64(0), uint16(70))
	f.Fuzz(func(t *testing.T, first int64, factor float64, bound int64, n uint16) {
		d, most, steps := time.Duration(first), time.Duration(bound), int(n%300)
		for i, seq := range []iter.Seq[time.Duration]{
			twill.CapBackoff(twill.ExponentialBackoff(d, factor), most),
			twill.CapBackoff(twill.LinearBackoff(d, time.Duration(factor)), most),
			twill.CapBackoff(twill.LinearBackoff(d, most), most),
			twill.FullJitter(twill.CapBackoff(twill.ExponentialBackoff(d, factor), most)),
			twill.EqualJitter(twill.CapBackoff(twill.ConstantBackoff(d), most)),
			twill.CapBackoff(twill.EqualJitter(twill.LinearBackoff(d, d)), most),
			twill.DecorrelatedJitter(d, most),
			twill.CapBackoff(twill.FullJitter(slices.Values([]time.Duration{d, most, -d, -most})), most),
		} {
			seen := 0
			for d := range twill.LimitBackoff(seq, steps) {
				if seen++; d < 0 || d > max(most, 0) {
					t.Fatalf("sequence %d: pause %d is %d, not from 0 to %d", i, seen, d, most)
				}
			}
			if seen > steps || seen < min(steps, 4) {
				t.Fatalf("sequence %d: %d pauses of %d", i, seen, steps)
			}
		}
	})
}
