package twill

import (
	"iter"
	"math/rand/v2"
	"time"
)

// FullJitter yields, for each delay of seq, one between 0 and that, all equally
// likely: the best spread of clients that failed at the same moment.
func FullJitter(seq iter.Seq[time.Duration]) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: FullJitter of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			if !yield(between(0, max(d, 0))) {
				return
			}
		}
	}
}

// EqualJitter yields, for each delay of seq, one between its half and the whole,
// all equally likely: it never comes back at once.
func EqualJitter(seq iter.Seq[time.Duration]) iter.Seq[time.Duration] {
	if seq == nil {
		panic("twill: EqualJitter of a nil sequence")
	}
	return func(yield func(time.Duration) bool) {
		for d := range seq {
			d = max(d, 0)
			if !yield(between(d/2, d)) {
				return
			}
		}
	}
}

// DecorrelatedJitter yields, for ever, delays that grow by chance: each is
// between first and three times the one before, all equally likely, and at most
// most. The bound is applied before the draw, so that the delays are still
// spread when they have come to it. With a first of 0 they are all 0.
func DecorrelatedJitter(first, most time.Duration) iter.Seq[time.Duration] {
	most = max(most, 0)
	first = min(max(first, 0), most)
	return func(yield func(time.Duration) bool) {
		for d := first; ; {
			to := most
			if d <= most/3 {
				to = max(3*d, first)
			}
			if d = between(first, to); !yield(d) {
				return
			}
		}
	}
}

// between draws a duration from low to high, both included and not negative.
func between(low, high time.Duration) time.Duration {
	return low + time.Duration(rand.Uint64N(uint64(high-low)+1))
}
