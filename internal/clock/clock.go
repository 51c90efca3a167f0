// Package clock keeps moments of time by the monotonic clock and tells them by
// the wall clock. A step of the wall clock, as when it is set or when the
// machine has slept, neither moves a moment nor leaves it with the time of
// before.
package clock

import (
	"math"
	"sync/atomic"
	"time"
)

// Instant is a moment, in nanoseconds since just before its [Clock] was made;
// the zero value is no moment.
type Instant int64

// Never is the last instant.
const Never Instant = math.MaxInt64

// IsZero reports whether t is no moment.
func (t Instant) IsZero() bool { return t == 0 }

// Add returns t+d, or Never where that would pass it.
func (t Instant) Add(d time.Duration) Instant {
	if t > 0 && Instant(d) > Never-t {
		return Never
	}
	return t + Instant(d)
}

// Sub returns t-u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Clock makes instants. It may be used by several goroutines.
type Clock struct {
	start time.Time                 // instant 1
	base  atomic.Pointer[time.Time] // the same by the wall clock as it was last seen
}

// Start makes now the instant 1 of c, which is not in use yet.
func (c *Clock) Start() {
	c.start = time.Now()
	base := c.read()
	c.base.Store(&base)
}

// Step is how far the wall clock has been set since the process was started, in
// nanoseconds. Tests change it.
var Step atomic.Int64

// Now returns the present moment.
func (c *Clock) Now() Instant { return Instant(time.Since(c.start)) + 1 }

// At returns the instant of t, the zero one for the zero time. It lies as far from
// now as t from the present time: if t has no monotonic reading, by the wall clock.
func (c *Clock) At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	if at := Instant(1).Add(t.Sub(c.current())); at != 0 {
		return at
	}
	return 1
}

// Time returns the time of t by the wall clock as that goes now, the zero time
// for the zero instant. The result is the same until that clock is set.
func (c *Clock) Time(t Instant) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return c.current().Add(time.Duration(t - 1))
}

// current is instant 1 by the wall clock as that goes now.
func (c *Clock) current() time.Time {
	old := *c.base.Load()
	seen := c.read()
	for !near(seen, old) {
		// time.Now reads two clocks, one after the other, and the thread may lose
		// its processor in between: only what is seen twice is a step.
		again := c.read()
		if near(again, seen) {
			c.base.Store(&again)
			return again
		}
		seen = again
	}
	return old
}

// near reports whether the difference is not a step.
func near(t, u time.Time) bool {
	return t.Round(0).Sub(u.Round(0)).Abs() < time.Millisecond
}

// read is instant 1 by the wall clock as it is.
func (c *Clock) read() time.Time {
	now := time.Now()
	base := now.Add(c.start.Sub(now))
	if step := time.Duration(Step.Load()); step != 0 {
		base = base.Round(0).Add(step) // the two clocks differ
	}
	return base
}
