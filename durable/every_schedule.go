package durable

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// ErrSchedule is returned by [Queue.Every] for a schedule that [Cron] could not
// parse, and for the zero value of Schedule.
var ErrSchedule = errors.New("durable: invalid schedule")

// Schedule is the times at which a periodic job is due. It is made by [Cron] or
// [Times]; the zero value has no times, and [Queue.Every] refuses it. It does
// not change, and may be copied and used by several goroutines.
type Schedule struct {
	text  string
	err   error
	after func(t time.Time) iter.Seq[time.Time]

	// skip returns t, or a later time with at least n times of the schedule
	// from there to end. Nil is none.
	skip func(t, end time.Time, n int) time.Time
}

// String returns the line of [Cron] or the text of [Times].
func (s Schedule) String() string { return s.text }

// Err returns why the line of [Cron] cannot be used, and nil if it can.
func (s Schedule) Err() error {
	if s.err == nil && s.after == nil {
		return fmt.Errorf("%w: no times", ErrSchedule)
	}
	return s.err
}

// After returns the times of s after t, in their order, as whole milliseconds.
// Those of [Cron] have the time zone of the line. The sequence of a cron line
// does not end.
func (s Schedule) After(t time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		if s.after == nil {
			return
		}
		last := t.Truncate(time.Millisecond)
		for next := range s.after(t) {
			if next = next.Truncate(time.Millisecond); !next.After(last) {
				continue
			}
			if last = next; !yield(next) {
				return
			}
		}
	}
}

// due returns the latest n times of s that are after t and not after now, and
// the first time after now, which is zero if there is none. It calls user code.
func (s Schedule) due(t, now time.Time, n int) (times []time.Time, next time.Time) {
	if s.skip != nil {
		t = s.skip(t, now, n)
	}
	for u := range s.After(t) {
		if u.After(now) {
			next = u
			break
		}
		if times = append(times, u); len(times) >= 2*n {
			times = append(times[:0], times[len(times)-n:]...)
		}
	}
	return times[max(len(times)-n, 0):], next
}

// Times returns the schedule with the times of a sequence, which must ascend: a
// time that is not after the one before ends the schedule. The text names the
// schedule in lists. A change of the text is a change of the schedule; see
// [Queue.Every].
//
// The sequence is iterated from its beginning by [Queue.Every], by the
// goroutine of the periodic jobs after each run, and by [Schedule.After]. It
// must yield the same times each time, quickly, and may be iterated by several
// goroutines at once. An empty sequence has no runs. If it panics on the
// goroutine of the periodic jobs, that is logged, and the job has no more runs
// in this process. Times panics if times is nil.
func Times(text string, times iter.Seq[time.Time]) Schedule {
	if times == nil {
		panic("durable: Times with a nil sequence")
	}
	return Schedule{text: text, after: func(t time.Time) iter.Seq[time.Time] {
		return func(yield func(time.Time) bool) {
			var last time.Time
			first := true
			for u := range times {
				if !first && !u.After(last) {
					return
				}
				if last, first = u, false; u.After(t) && !yield(u) {
					return
				}
			}
		}
	}}
}

// Cron returns the schedule of a cron line: minute, hour, day of the month,
// month and day of the week, with a field for the second before them if there
// are six. [github.com/robfig/cron/v3] parses it. "@hourly", "@daily",
// "@weekly", "@monthly" and "@yearly" are such lines, too. "@every 90m" is due
// each 90 minutes, in whole seconds, from the call of [Queue.Every].
//
// Times of day are those of the zone [time.Local], or of the zone that the line
// begins with, as in "CRON_TZ=Europe/Berlin 30 2 * * *".
//
// # Clock changes
//
// Where summer time begins or ends, a line with an hour field that matches
// every hour, as in "*/5 * * * *", goes by the hours as they are: it is not due
// in the hour that is left out, and due in both of the hours that are equal.
// Any other line has one run for each of its times of day: what is left out is
// due when the clock has changed, once for all of it, and what comes twice is
// due the first time. In Berlin "30 2 * * *" is due at 3:00 on the day when
// summer time begins, and at the first 2:30 on the day when it ends. "@every"
// does not depend on the time of day.
//
// If the clock is set, see [Queue.Every].
//
// A line that cannot be parsed, or that no date matches, makes a schedule whose
// [Schedule.Err] is [ErrSchedule], wrapped; Every returns that error.
func Cron(line string) Schedule {
	text := strings.Join(strings.Fields(line), " ")
	s, err := parseCron(text)
	if err != nil {
		return Schedule{text: text, err: fmt.Errorf("%w %q: %w", ErrSchedule, text, err)}
	}
	s.text = text
	return s
}

// cronParser parses what is left of a line without its time zone.
var cronParser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// parseCron parses a line without spaces that are not needed.
func parseCron(line string) (s Schedule, err error) {
	zone := time.Local
	if strings.HasPrefix(line, "CRON_TZ=") || strings.HasPrefix(line, "TZ=") {
		name, rest, found := strings.Cut(line, " ")
		if !found {
			return s, errors.New("missing fields after the time zone")
		}
		_, name, _ = strings.Cut(name, "=")
		if zone, err = time.LoadLocation(name); err != nil {
			return s, err
		}
		line = rest
	}
	if text, ok := strings.CutPrefix(line, "@every "); ok {
		d, err := time.ParseDuration(text)
		if err == nil && (d < time.Second || d%time.Second != 0) {
			err = errors.New("interval is not a number of whole seconds")
		}
		return interval(d, zone), err
	}
	if strings.HasPrefix(line, "TZ=") || strings.HasPrefix(line, "CRON_TZ=") {
		return s, errors.New("two time zones")
	}
	parsed, err := cronParser.Parse(line)
	if err != nil {
		return s, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return s, fmt.Errorf("unsupported %T", parsed) // none is known
	}
	c := cronLine{zone: zone, spec: *spec, hourly: spec.Hour&allHours == allHours}
	c.spec.Location = time.UTC
	if c.nextWall(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return s, errors.New("no such date")
	}
	return Schedule{after: c.after, skip: c.skip}, nil
}

// interval is the schedule of "@every".
func interval(d time.Duration, zone *time.Location) Schedule {
	return Schedule{
		after: func(t time.Time) iter.Seq[time.Time] {
			return func(yield func(time.Time) bool) {
				for t = t.In(zone).Add(d); yield(t); t = t.Add(d) {
				}
			}
		},
		skip: func(t, end time.Time, n int) time.Time {
			if k := int64(end.Sub(t) / d); k > int64(n) {
				t = t.Add(time.Duration(k-int64(n)) * d)
			}
			return t
		},
	}
}

// allHours are the bits of the hours of a cron line.
const allHours = 1<<24 - 1

// cronLine is a parsed cron line. The parser's own search skips hours and
// repeats them where the clock changes, so that it is used with walls only: a
// wall is a time of day as a time in UTC, where nothing changes.
type cronLine struct {
	spec   cron.SpecSchedule
	zone   *time.Location
	hourly bool // the line matches every hour
}

// nextWall returns the first wall after one, zero if there is none.
func (c cronLine) nextWall(wall time.Time) time.Time {
	next := c.spec.Next(wall)
	if next.IsZero() { // within five years, which is too few for 29 February around 2100
		next = c.spec.Next(wall.AddDate(4, 0, 0))
	}
	return next
}

func (c cronLine) after(t time.Time) iter.Seq[time.Time] {
	return func(yield func(time.Time) bool) {
		for t = c.next(t); !t.IsZero() && yield(t); t = c.next(t) {
		}
	}
}

// next returns the first time after t, zero if there is none. It looks at one
// period after the other in which the zone's distance from UTC is the same.
func (c cronLine) next(t time.Time) time.Time {
	for inclusive := false; ; inclusive = true {
		t = t.In(c.zone)
		start, end := t.ZoneBounds()
		_, offset := t.Zone()
		from := wallAt(t, offset)
		if !c.hourly && !start.IsZero() {
			_, before := start.Add(-1).Zone()
			if shown := wallAt(start, before); from.Before(shown) { // has come before the clock was set back
				from, inclusive = shown, true
			}
		}
		if inclusive {
			from = from.Add(-1)
		}
		wall := c.nextWall(from)
		if wall.IsZero() {
			return wall
		}
		due := wall.Add(time.Duration(-offset) * time.Second).In(c.zone)
		if end.IsZero() || due.Before(end) {
			return due
		}
		if _, after := end.Zone(); !c.hourly && wall.Before(wallAt(end, after)) { // the clock leaves it out
			return end
		}
		t = end
	}
}

// wallAt is the wall at t where the zone is offset seconds east of UTC.
func wallAt(t time.Time, offset int) time.Time {
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// skip looks back from end, twice as far each time.
func (c cronLine) skip(t, end time.Time, n int) time.Time {
	const far = 100 * 365 * 24 * time.Hour
	for back := time.Duration(n+1) * time.Second; back < far; back *= 2 {
		from := end.Add(-back)
		if !from.After(t) {
			break
		}
		found := 0
		for u := c.next(from); found < n && !u.IsZero() && !u.After(end); u = c.next(u) {
			found++
		}
		if found == n {
			return from
		}
	}
	return t
}
