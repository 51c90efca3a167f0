// Package clock keeps moments by the monotonic clock and converts them to times
// of the wall clock. If the wall clock steps, because it was set or the machine
// has slept, moments do not move, and they are converted by the new wall clock.
package clock

import (
	"math"
	"sync/atomic"
	"time"
)

// Instant is a moment, in nanoseconds since just before its [Clock] was made;
// zero means none.
type Instant int64

// Never is the last instant.
const Never Instant = math.MaxInt64

// IsZero reports whether t is zero.
func (t Instant) IsZero() bool { return t == 0 }

// Add returns t+d, or Never if that would overflow.
func (t Instant) Add(d time.Duration) Instant {
	if t > 0 && Instant(d) > Never-t {
		return Never
	}
	return t + Instant(d)
}

// Sub returns t-u.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// Clock makes instants. It may be used concurrently.
type Clock struct {
	start time.Time                 // instant 1
	base  atomic.Pointer[time.Time] // instant 1 by the wall clock, as of the latest step
}

// Start makes the present moment instant 1 of c, which is not in use yet.
func (c *Clock) Start() {
	c.start = time.Now()
	base := c.read()
	c.base.Store(&base)
}

// Step is the time by which the wall clock was set since the process started,
// in nanoseconds. Tests change it.
var Step atomic.Int64

// Now returns the present moment.
func (c *Clock) Now() Instant { return Instant(time.Since(c.start)) + 1 }

// At returns the instant of t, or zero for the zero time. Its distance from now
// is that of t from the present time, by the wall clock if t has no monotonic
// reading.
func (c *Clock) At(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	if at := Instant(1).Add(t.Sub(c.current())); at != 0 {
		return at
	}
	return 1
}

// Time returns the time of t by the present wall clock, or the zero time if t
// is zero. The result is the same until the wall clock is set.
func (c *Clock) Time(t Instant) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return c.Wall().Time(t)
}

// Wall is the wall clock as it was at one moment. Several instants are
// converted by it with one look at the wall clock.
type Wall struct{ start time.Time } // instant 1

// Wall returns the present wall clock.
func (c *Clock) Wall() Wall { return Wall{c.current()} }

// Time returns what Time of the clock returned at that moment.
func (w Wall) Time(t Instant) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return w.start.Add(time.Duration(t - 1))
}

// current returns instant 1 by the present wall clock.
func (c *Clock) current() time.Time {
	old := *c.base.Load()
	seen := c.read()
	for !near(seen, old) {
		// time.Now reads two clocks, one after the other, and the thread may be
		// preempted in between: only a difference that is seen twice is a step.
		again := c.read()
		if near(again, seen) {
			c.base.Store(&again)
			return again
		}
		seen = again
	}
	return old
}

// near reports whether the difference between t and u is too small to be a
// step.
func near(t, u time.Time) bool {
	return time.Duration(t.UnixNano()-u.UnixNano()).Abs() < time.Millisecond
}

// read returns instant 1 by the wall clock as it reads now.
func (c *Clock) read() time.Time {
	now := time.Now()
	base := now.Add(c.start.Sub(now))
	if step := time.Duration(Step.Load()); step != 0 {
		base = base.Round(0).Add(step) // the two clocks differ
	}
	return base
}
