package twill

import (
	"iter"
	"math"
	"slices"
	"time"
)

// This file has the sequences of pauses, jitter.go those with chance in them.
//
// Each is a plain iterator that holds its settings and nothing else: where it
// is lies in the loop that runs over it. So one value serves any number of calls at
// the same time, and each of them from the start.
//
// What they yield is never negative: sums and products that would be too large
// end at the largest duration. A negative duration among the settings counts
// as 0.

// SimpleBackoff is the sequence of the recipe: 0, and then 10 milliseconds,
// doubled each time up to 2.56 seconds. These are ten pauses, 5.11 seconds in
// all. It mirrors simpleBackoffIterator.
//
// The recipe makes a pause before the first attempt too, which is 0 there, and so
// comes to ten attempts; here a sequence gives the pauses between attempts, and
// SimpleBackoff allows eleven.
func SimpleBackoff() iter.Seq[time.Duration] { return simpleBackoff }

func simpleBackoff(yield func(time.Duration) bool) {
	if !yield(0) {
		return
	}
	for d := 10 * time.Millisecond; d <= 2560*time.Millisecond; d *= 2 {
		if !yield(d) {
			return
		}
	}
}

// Constant yields d for ever.
func Constant(d time.Duration) iter.Seq[time.Duration] { return Linear(d, 0) }

// Linear yields first, first+step, first+2*step and so on, for ever. With a
// negative step it comes down to 0 and stays there.
func Linear(first, step time.Duration) iter.Seq[time.Duration] {
	first = max(first, 0)
	return func(yield func(time.Duration) bool) {
		for d := first; yield(d); {
			if step > math.MaxInt64-d {
				d = math.MaxInt64
			} else {
				d = max(d+step, 0)
			}
		}
	}
}

// Exponential yields first, first*factor, first*factor*factor and so on, for
// ever. A factor that is not a number above 0 counts as 1.
func Exponential(first time.Duration, factor float64) iter.Seq[time.Duration] {
	first = max(first, 0)
	if !(factor > 0) {
		factor = 1
	}
	factor = min(factor, math.MaxFloat64) // 0 times infinity is not a number
	return func(yield func(time.Duration) bool) {
		// Not rounded between the steps: half of a nanosecond counts too.
		const most = 1 << 63
		for d := float64(first); d < most; d *= factor {
			if !yield(time.Duration(d)) {
				return
			}
		}
		for yield(math.MaxInt64) {
		}
	}
}

// FromSlice yields the delays, in their order.
func FromSlice(delays ...time.Duration) iter.Seq[time.Duration] {
	delays = slices.Clone(delays)
	return func(yield func(time.Duration) bool) {
		for _, d := range delays {
			if !yield(max(d, 0)) {
				return
			}
		}
	}
}

// Limit yields the first n of seq, or all if there are fewer. With it, n is the
// number of retries: Limit(seq, 0) leaves the first attempt alone.
func Limit(seq iter.Seq[time.Duration], n int) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: Limit of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		if n <= 0 {
			return
		}
		left := n
		for d := range seq {
			if left--; !yield(max(d, 0)) || left == 0 {
				return
			}
		}
	}
}

// Cap yields seq with each delay that is above most replaced by that. Jitter
// belongs outside, FullJitter(Cap(seq, most)): a cap around jitter turns what is
// above it to the same value, which is the end of the jitter.
func Cap(seq iter.Seq[time.Duration], most time.Duration) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: Cap of a nil sequence")
	}
	most = max(most, 0)
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			if !yield(min(max(d, 0), most)) {
				return
			}
		}
	}
}
