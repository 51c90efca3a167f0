package twill

import (
	"math"
	"slices"
	"time"
)

// latencies are the last times that something took. It is not safe for use by
// several goroutines.
type latencies struct {
	last   []time.Duration // a ring, when it is full
	next   int
	stale  int // additions since sorted was made
	sorted []time.Duration
}

const (
	keptLatencies = 100
	minLatencies  = 10
	// A percentile of a hundred moves little by a few more: it is not sorted
	// out anew for each.
	maxStale = 10
)

func (l *latencies) add(d time.Duration) {
	if len(l.last) < keptLatencies {
		l.last = append(l.last, d)
	} else {
		l.last[l.next] = d
		l.next = (l.next + 1) % keptLatencies
	}
	l.stale++
}

// percentile returns the p-th percentile by the nearest-rank method, or
// otherwise if there are too few to tell.
func (l *latencies) percentile(p float64, otherwise time.Duration) time.Duration {
	if len(l.last) < minLatencies {
		return otherwise
	}
	if l.sorted == nil || l.stale >= maxStale {
		l.sorted = append(l.sorted[:0], l.last...)
		slices.Sort(l.sorted)
		l.stale = 0
	}
	rank := int(math.Ceil(p * float64(len(l.sorted)) / 100))
	return max(1, l.sorted[max(rank, 1)-1])
}
