package admin

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

// The numbers of a queue are read every liveInterval, and a sample is kept
// every sampleInterval, for the last hour.
const (
	liveInterval   = time.Second
	sampleInterval = 5 * time.Second
	samples        = 720
)

// sample has the numbers of a queue at one time, with the rates and durations
// since the previous sample.
type sample struct {
	Time     time.Time
	Pending  int
	Underway int
	Width    int
	Put      float64 // jobs put per second
	Ended    float64 // jobs ended per second
	Failed   float64 // jobs failed per second
	Waiting  quantiles
	Running  quantiles
}

// quantiles of durations, in seconds, or 0 if there were none.
type quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
}

// history has the numbers of a queue over the last hour.
type history struct {
	mu      sync.Mutex // guards the fields below
	now     reading
	at      time.Time // the time of now, or zero if now is out of date
	err     error     // of the last reading
	last    twill.DispatchStats
	lastAt  time.Time
	samples []sample // a ring
	next    int
	changed chan struct{} // closed at the next reading
}

// reading is the result of reading a queue, which is done once a second.
type reading struct {
	twill.DispatchStats
	paused, stopped bool
	rate            string
	trouble         string
}

// record reads the queue once a second until ctx ends.
func (h *history) record(ctx context.Context, read func() (reading, error)) {
	t := time.NewTicker(liveInterval)
	defer t.Stop()
	for {
		r, err := read()
		h.add(r, err, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (h *history) add(r reading, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed != nil {
		close(h.changed)
		h.changed = nil
	}
	h.err = err
	if err != nil {
		return
	}
	h.now, h.at = r, now
	if h.lastAt.IsZero() {
		h.last, h.lastAt = r.DispatchStats, now
		return
	}
	// A ticker may be late, but not by half a second for each tick.
	if d := now.Sub(h.lastAt); d >= sampleInterval-liveInterval/2 {
		h.keep(between(&h.last, &r.DispatchStats, now, d))
		h.last, h.lastAt = r.DispatchStats, now
	}
}

func (h *history) keep(s sample) {
	if len(h.samples) < samples {
		h.samples = append(h.samples, s)
		return
	}
	h.samples[h.next] = s
	h.next = (h.next + 1) % samples
}

// between returns the sample of what has happened from before to s, within d.
func between(before, s *twill.DispatchStats, now time.Time, d time.Duration) sample {
	rate := func(a, b uint64) float64 { return float64(b-min(a, b)) / d.Seconds() }
	return sample{
		Time: now, Pending: s.Pending, Underway: s.Underway, Width: s.Width,
		Put:     rate(before.Put, s.Put),
		Ended:   rate(before.Finished+before.Failed+before.Canceled, s.Finished+s.Failed+s.Canceled),
		Failed:  rate(before.Failed, s.Failed),
		Waiting: quantilesBetween(&before.Waiting, &s.Waiting),
		Running: quantilesBetween(&before.Running, &s.Running),
	}
}

// quantilesBetween returns the quantiles of the durations that b has and a has
// not.
func quantilesBetween(a, b *twill.Histogram) quantiles {
	type class struct {
		from, to time.Duration
		n        uint64
	}
	var old []uint64
	for _, n := range a.Buckets() {
		old = append(old, n)
	}
	var classes []class
	var all uint64
	var from time.Duration
	i := 0
	for to, n := range b.Buckets() {
		if i < len(old) {
			n -= min(old[i], n)
		}
		i++
		if n > 0 {
			classes = append(classes, class{from, to, n})
			all += n
		}
		from = to
	}
	at := func(p float64) float64 {
		if all == 0 {
			return 0
		}
		rank := uint64(p * float64(all-1))
		for _, c := range classes {
			if rank < c.n {
				return min(c.from+(c.to-c.from)/2, b.Max()).Seconds()
			}
			rank -= c.n
		}
		return b.Max().Seconds()
	}
	return quantiles{at(0.5), at(0.9), at(0.99)}
}

// list returns the samples, oldest first.
func (h *history) list() []sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Concat(h.samples[h.next:], h.samples[:h.next])
}

// latest returns the numbers that were read last, and a channel that is closed
// when there are new ones.
func (h *history) latest() (r reading, at time.Time, changed <-chan struct{}, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changed == nil {
		h.changed = make(chan struct{})
	}
	return h.now, h.at, h.changed, h.err
}

// rates returns how many jobs were put and have ended per second, over about
// the last minute.
func (h *history) rates() (put, ended float64) {
	all := h.list()
	all = all[max(0, len(all)-12):]
	if len(all) == 0 {
		return 0, 0
	}
	for _, s := range all {
		put += s.Put
		ended += s.Ended
	}
	return put / float64(len(all)), ended / float64(len(all))
}

// forget makes the next view read the queue's numbers again, after an action.
func (h *history) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = time.Time{}
}
