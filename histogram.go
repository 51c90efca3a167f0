package twill

import (
	"iter"
	"math/bits"
	"time"
)

// Histogram counts durations by their size, in four classes for each power of
// two from a microsecond to an hour: what it says is at most an eighth off.
// Its zero value is empty. It is a plain value that belongs to its owner.
type Histogram struct {
	over, sum uint64 // of all, in 128 bits: the waits of a full queue pass 292 years in a day
	max       time.Duration
	counts    [histogramLen]uint64
}

// The classes: one below the first power of two, four between each and the
// next, and one for what is as long as the last or longer.
const (
	histogramFirst = 10 // 2^10 ns
	histogramLast  = 42 // 2^42 ns, 73 minutes
	histogramLen   = 4*(histogramLast-histogramFirst) + 2
)

// Add counts d; less than 0 counts as 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[classOf(d)]++
	var carry uint64
	h.sum, carry = bits.Add64(h.sum, uint64(d), 0)
	h.over += carry
	h.max = max(h.max, d)
}

func classOf(d time.Duration) int {
	power := bits.Len64(uint64(d)) - 1
	switch {
	case power < histogramFirst:
		return 0
	case power >= histogramLast:
		return histogramLen - 1
	}
	quarter := int(d>>(power-2)) & 3
	return 1 + 4*(power-histogramFirst) + quarter
}

// classEnd is where class i ends.
func classEnd(i int) time.Duration {
	power, quarter := histogramFirst+i/4, i%4
	return 1<<power + time.Duration(quarter)<<(power-2)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() (n uint64) {
	for _, k := range h.counts {
		n += k
	}
	return n
}

// Max returns the longest, 0 if there is none.
func (h *Histogram) Max() time.Duration { return h.max }

// Mean returns the mean, 0 if there is none.
func (h *Histogram) Mean() time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	mean, _ := bits.Div64(h.over, h.sum, n) // no more than the longest
	return time.Duration(mean)
}

// Quantile returns about how long all but the longest part 1-p of the durations
// are: Quantile(0.99) is what one in a hundred exceeds. It is 0 if there are
// none; p below 0 counts as 0, and above 1 as 1.
func (h *Histogram) Quantile(p float64) time.Duration {
	n := h.Count()
	if n == 0 {
		return 0
	}
	rank := uint64(min(max(p, 0), 1) * float64(n-1))
	var from time.Duration
	for to, n := range h.Buckets() {
		if rank < n {
			return min(from+(to-from)/2, h.max)
		}
		rank -= n
		from = to
	}
	return h.max
}

// Buckets yields how many durations were less than each limit and not less
// than the one before; the last limit is Max where that is longer than all others. Empty
// classes at the end are left out.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		left := h.Count()
		for i, n := range h.counts {
			if left == 0 {
				return
			}
			left -= n
			to := h.max
			if i < histogramLen-1 {
				to = classEnd(i)
			}
			if !yield(to, n) {
				return
			}
		}
	}
}
