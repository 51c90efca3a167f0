package twill_test

import (
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// requireUniform fails the test if the delays, all from low to high, are not
// equally likely: by the chi-square test with 64 classes. A value above 150 comes by
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

// skip is seq without its first n.
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

// Y9: a cap must not be the end of the jitter, when clients that failed
// together have all come to it.
func TestJitterStaysAtTheCap(t *testing.T) {
	capped := skip(twill.Cap(twill.Exponential(time.Second, 2), time.Minute), 10)
	requireUniform(t, twill.FullJitter(capped), 0, time.Minute)
	requireUniform(t, twill.EqualJitter(capped), time.Minute/2, time.Minute)
	requireUniform(t, afterHigh(twill.DecorrelatedJitter(time.Second, time.Minute), time.Minute/3), time.Second, time.Minute)
}

func TestJitterIsUniform(t *testing.T) {
	requireUniform(t, twill.FullJitter(twill.Constant(time.Hour)), 0, time.Hour)
	requireUniform(t, twill.FullJitter(twill.Constant(255)), 0, 255)
	requireUniform(t, twill.EqualJitter(twill.Constant(time.Hour)), time.Hour/2, time.Hour)
	firsts := func(yield func(time.Duration) bool) {
		for yield(firstTen(twill.DecorrelatedJitter(time.Second, time.Hour))[0]) {
		}
	}
	requireUniform(t, firsts, time.Second, 3*time.Second)
}

// afterHigh is those of seq that come after one that is above d.
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
