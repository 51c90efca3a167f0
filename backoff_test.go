package twill_test

import (
	"iter"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

const (
	ms      = time.Millisecond
	longest = time.Duration(math.MaxInt64)
)

// firstTen is what seq yields, ten at most.
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
		{"the recipe: never more than maxResults", twill.Limit(twill.SimpleBackoff(), 3), []time.Duration{0, 10 * ms, 20 * ms}},
		{"the recipe: an increment that is constant", twill.Constant(3), same(3)},
		{"the recipe: times 3", twill.Limit(twill.Exponential(1, 3), 3), []time.Duration{1, 3, 9}},
		{"the recipe: plus 3", twill.Limit(twill.Linear(2, 3), 3), []time.Duration{2, 5, 8}},
		{"the recipe: maxDelay", twill.Limit(twill.Cap(twill.Exponential(1, 3), 10), 5), []time.Duration{1, 3, 9, 10, 10}},
		{"exponential keeps fractions", twill.Limit(twill.Exponential(1, 1.5), 6), []time.Duration{1, 1, 2, 3, 5, 7}},
		{"exponential that shrinks", twill.Limit(twill.Exponential(100, 0.5), 3), []time.Duration{100, 50, 25}},
		{"exponential from 0", twill.Exponential(0, 2), same(0)},
		{"exponential from 0 by infinity", twill.Exponential(0, inf), same(0)},
		{"exponential by infinity", twill.Limit(twill.Exponential(1, inf), 3), []time.Duration{1, longest, longest}},
		{"exponential by something that is no number", twill.Exponential(7, nan), same(7)},
		{"exponential by a negative factor", twill.Exponential(7, -2), same(7)},
		{"exponential from below 0", twill.Exponential(-7, 2), same(0)},
		{"exponential from the longest", twill.Exponential(longest, 2), same(longest)},
		{"linear that ends at the longest", twill.Limit(twill.Linear(longest-5, 3), 3), []time.Duration{longest - 5, longest - 2, longest}},
		{"linear that comes down", twill.Limit(twill.Linear(5, -3), 4), []time.Duration{5, 2, 0, 0}},
		{"linear that comes down at once", twill.Limit(twill.Linear(longest, math.MinInt64), 2), []time.Duration{longest, 0}},
		{"a slice", twill.FromSlice(3, -1, 2), []time.Duration{3, 0, 2}},
		{"an empty slice", twill.FromSlice(), nil},
		{"a limit of none", twill.Limit(twill.Constant(1), 0), nil},
		{"a limit below none", twill.Limit(twill.Constant(1), math.MinInt), nil},
		{"a limit that is not reached", twill.Limit(twill.FromSlice(1, 2), math.MaxInt), []time.Duration{1, 2}},
		{"a limit of what is below 0", twill.Limit(slices.Values([]time.Duration{-5}), 1), []time.Duration{0}},
		{"a cap of what is below 0", twill.Cap(slices.Values([]time.Duration{-5, 5}), 3), []time.Duration{0, 3}},
		{"a cap below 0", twill.Cap(twill.Constant(1), -1), same(0)},
		{"full jitter of 0", twill.FullJitter(twill.Constant(0)), same(0)},
		{"equal jitter of 0", twill.EqualJitter(twill.Constant(0)), same(0)},
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

func TestBackoffOwnsItsSlice(t *testing.T) {
	ds := []time.Duration{1, 2}
	seq := twill.FromSlice(ds...)
	ds[0] = 9
	require.Equal(t, []time.Duration{1, 2}, firstTen(seq))
}

func TestBackoffStopsWhereItIsLeft(t *testing.T) {
	for _, seq := range []iter.Seq[time.Duration]{
		twill.SimpleBackoff(), twill.Constant(1), twill.Exponential(1, 2), twill.Exponential(longest, 2), twill.FromSlice(1, 2),
		twill.Limit(twill.Constant(1), 5), twill.Cap(twill.Constant(1), 5), twill.FullJitter(twill.Constant(1)),
		twill.EqualJitter(twill.Constant(1)), twill.DecorrelatedJitter(1, 5),
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

// Failures 2, 3, 4 and 6: shifts and products that overflow after 34 or 63
// steps gave negative pauses, or none, which is a hot loop.
func TestBackoffNeverOverflows(t *testing.T) {
	for name, seq := range map[string]iter.Seq[time.Duration]{
		"exponential":  twill.Exponential(time.Second, 2),
		"capped":       twill.Cap(twill.Exponential(time.Second, 2), longest),
		"linear":       twill.Linear(time.Second, longest/100),
		"full jitter":  twill.FullJitter(twill.Cap(twill.Exponential(time.Second, 2), longest)),
		"equal jitter": twill.EqualJitter(twill.Exponential(time.Second, 2)),
		"decorrelated": twill.DecorrelatedJitter(time.Second, longest),
	} {
		last, n := time.Duration(0), 0
		for d := range twill.Limit(seq, 5000) {
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
	seq := twill.Limit(twill.FullJitter(twill.Cap(twill.SimpleBackoff(), time.Second)), 7)
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
		"Limit":       func() { twill.Limit(nil, 1) },
		"Cap":         func() { twill.Cap(nil, 1) },
		"FullJitter":  func() { twill.FullJitter(nil) },
		"EqualJitter": func() { twill.EqualJitter(nil) },
	} {
		require.PanicsWithValue(t, "twill: "+name+" of a nil sequence", fn)
	}
}

// Y2: whatever goes in, what comes out is within the bounds.
func FuzzBackoff(f *testing.F) {
	f.Add(int64(time.Second), 2.0, int64(time.Minute), uint16(100))
	f.Add(int64(math.MaxInt64), math.Inf(1), int64(math.MaxInt64), uint16(1000))
	f.Add(int64(math.MinInt64), math.NaN(), int64(-1), uint16(3))
	f.Add(int64(1), math.SmallestNonzeroFloat64, int64(0), uint16(70))
	f.Fuzz(func(t *testing.T, first int64, factor float64, bound int64, n uint16) {
		d, most, steps := time.Duration(first), time.Duration(bound), int(n%300)
		for i, seq := range []iter.Seq[time.Duration]{
			twill.Cap(twill.Exponential(d, factor), most),
			twill.Cap(twill.Linear(d, time.Duration(factor)), most),
			twill.Cap(twill.Linear(d, most), most),
			twill.FullJitter(twill.Cap(twill.Exponential(d, factor), most)),
			twill.EqualJitter(twill.Cap(twill.Constant(d), most)),
			twill.Cap(twill.EqualJitter(twill.Linear(d, d)), most),
			twill.DecorrelatedJitter(d, most),
			twill.Cap(twill.FullJitter(slices.Values([]time.Duration{d, most, -d, -most})), most),
		} {
			seen := 0
			for d := range twill.Limit(seq, steps) {
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
