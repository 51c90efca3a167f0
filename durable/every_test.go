package durable_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
	"github.com/twillgo/twill/durable/internal/faultfs"
	"github.com/twillgo/twill/durable/internal/store"
)

// first are the first n times of a schedule after a time.
func first(s durable.Schedule, after string, n int) (times []string) {
	t, err := time.Parse(time.RFC3339, after)
	if err != nil {
		panic(err)
	}
	for t := range s.After(t) {
		if len(times) >= n {
			break
		}
		times = append(times, t.Format(time.RFC3339))
	}
	return times
}

// The rule of Cron for changes of the clock.
func TestCronClockChanges(t *testing.T) {
	for _, c := range []struct{ name, line, after, want string }{
		{"a time that is left out", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T00:00:00Z",
			"2026-03-28T02:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"several are due once", "CRON_TZ=Europe/Berlin */20 2 * * *", "2026-03-28T12:00:00Z",
			"2026-03-29T03:00:00+02:00 2026-03-30T02:00:00+02:00"},
		{"with the time at which the clock changes", "CRON_TZ=Europe/Berlin 0,30 2,3 * * *", "2026-03-28T12:00:00Z",
			"2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00 2026-03-30T02:00:00+02:00"},
		{"from the time at which the clock changes", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-29T01:00:00Z",
			"2026-03-30T02:30:00+02:00"},
		{"a time that comes twice", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z",
			"2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"},
		{"from between the two", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-25T00:45:00Z",
			"2026-10-26T02:30:00+01:00"},
		{"from within the second", "CRON_TZ=Europe/Berlin 30 2,3 * * *", "2026-10-25T01:20:00Z",
			"2026-10-25T03:30:00+01:00"},
		{"every hour where one is left out", "CRON_TZ=Europe/Berlin 30 * * * *", "2026-03-29T00:00:00Z",
			"2026-03-29T01:30:00+01:00 2026-03-29T03:30:00+02:00"},
		{"every hour where one comes twice", "CRON_TZ=Europe/Berlin 30 * * * *", "2026-10-25T00:00:00Z",
			"2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-25T03:30:00+01:00"},
		{"every second hour", "CRON_TZ=Europe/Berlin 0 */2 * * *", "2026-10-24T22:30:00Z",
			"2026-10-25T02:00:00+02:00 2026-10-25T04:00:00+01:00"},
		{"New York", "CRON_TZ=America/New_York 15 1,2 * * *", "2026-03-08T05:00:00Z",
			"2026-03-08T01:15:00-05:00 2026-03-08T03:00:00-04:00 2026-03-09T01:15:00-04:00"},
		{"New York in autumn", "CRON_TZ=America/New_York 15 1,2 * * *", "2026-11-01T05:00:00Z",
			"2026-11-01T01:15:00-04:00 2026-11-01T02:15:00-05:00 2026-11-02T01:15:00-05:00"},
		{"half an hour is left out", "CRON_TZ=Australia/Lord_Howe 15 2 * * *", "2026-10-03T00:00:00Z",
			"2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00"},
		{"half an hour comes twice", "CRON_TZ=Australia/Lord_Howe 45 1 * * *", "2026-04-04T00:00:00Z",
			"2026-04-05T01:45:00+11:00 2026-04-06T01:45:00+10:30"},
		{"midnight is left out", "CRON_TZ=America/Sao_Paulo 0 0 * * *", "2018-11-03T12:00:00Z",
			"2018-11-04T01:00:00-02:00 2018-11-05T00:00:00-02:00"},
		{"a day is left out", "CRON_TZ=Pacific/Apia 0 12 * * *", "2011-12-29T12:00:00Z",
			"2011-12-29T12:00:00-10:00 2011-12-31T00:00:00+14:00 2011-12-31T12:00:00+14:00"},
		{"29 February", "CRON_TZ=UTC 0 0 29 2 *", "2092-03-01T00:00:00Z",
			"2096-02-29T00:00:00Z 2104-02-29T00:00:00Z 2108-02-29T00:00:00Z"},
		{"seconds", "CRON_TZ=UTC 10,20 0 0 1 1 *", "2026-01-01T00:00:10Z",
			"2026-01-01T00:00:20Z 2027-01-01T00:00:10Z"},
		{"a name", "TZ=UTC @monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z 2026-03-01T00:00:00Z"},
		{"an interval", "@every 90m", "2026-01-01T00:00:00Z", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := durable.Cron(c.line)
			require.NoError(t, s.Err())
			require.Equal(t, c.line, s.String())
			if want := strings.Fields(c.want); len(want) > 0 {
				require.Equal(t, want, first(s, c.after, len(want)))
				return
			}
			after, _ := time.Parse(time.RFC3339, c.after)
			n := 0
			for u := range s.After(after) {
				if n++; n > 3 {
					break
				}
				require.Equal(t, time.Duration(n)*90*time.Minute, u.Sub(after))
			}
		})
	}
}

// Random cron lines beside a search that looks at each minute of the days about
// a change.
func TestCronAtRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 1))
	pick := func(n, of int) (list []string, set map[int]bool) {
		set = map[int]bool{}
		for range n {
			set[r.IntN(of)] = true
		}
		for v := range of {
			if set[v] {
				list = append(list, strconv.Itoa(v))
			}
		}
		return list, set
	}
	for _, change := range []struct{ zone, at string }{
		{"Europe/Berlin", "2026-03-29T01:00:00Z"}, {"Europe/Berlin", "2026-10-25T01:00:00Z"},
		{"America/New_York", "2026-03-08T07:00:00Z"}, {"America/New_York", "2026-11-01T06:00:00Z"},
		{"Australia/Lord_Howe", "2026-04-04T15:00:00Z"}, {"Australia/Lord_Howe", "2026-10-03T15:30:00Z"},
		{"Pacific/Apia", "2011-12-30T10:00:00Z"}, {"America/Sao_Paulo", "2018-11-04T03:00:00Z"},
		{"Africa/Casablanca", "2026-02-15T02:00:00Z"}, {"Asia/Kolkata", "2026-05-01T00:00:00Z"},
	} {
		zone, err := time.LoadLocation(change.zone)
		require.NoError(t, err)
		at, err := time.Parse(time.RFC3339, change.at)
		require.NoError(t, err)
		for range 40 {
			minuteList, minutes := pick(1+r.IntN(3), 60)
			hourList, hours := pick(1+r.IntN(6), 24)
			hourField := strings.Join(hourList, ",")
			hourly := r.IntN(4) == 0
			if hourly {
				hourField = "*"
			}
			line := fmt.Sprintf("CRON_TZ=%s %s %s * * *", change.zone, strings.Join(minuteList, ","), hourField)
			matches := func(wall time.Time) bool {
				return minutes[wall.Minute()] && (hourly || hours[wall.Hour()])
			}

			// Walls are minutes as a clock on a wall shows them.
			wallOf := func(u time.Time) time.Time {
				_, offset := u.In(zone).Zone()
				return u.UTC().Add(time.Duration(offset) * time.Second)
			}
			from, to := at.Add(-50*time.Hour), at.Add(50*time.Hour)
			var want []string
			seen := map[time.Time]bool{}
			shown := wallOf(from.Add(-time.Minute)) // the latest wall
			for u := from; !u.After(to); u = u.Add(time.Minute) {
				wall := wallOf(u)
				due := matches(wall) && (hourly || !seen[wall])
				for w := shown.Add(time.Minute); !hourly && w.Before(wall); w = w.Add(time.Minute) {
					due = due || matches(w) // left out
				}
				seen[wall] = true
				if wall.After(shown) {
					shown = wall
				}
				if due {
					want = append(want, u.In(zone).Format(time.RFC3339))
				}
			}
			var got []string
			for u := range durable.Cron(line).After(from.Add(-time.Minute)) {
				if u.After(to) {
					break
				}
				got = append(got, u.Format(time.RFC3339))
			}
			require.Equal(t, want, got, line)

			// The latest of many is found without looking at each.
			const n = 3
			latest, next := durable.Due(durable.Cron(line), from.AddDate(-10, 0, 0), to, n)
			require.Len(t, latest, min(n, len(latest)))
			if len(want) >= n {
				for i, u := range latest {
					require.Equal(t, want[len(want)-n+i], u.Format(time.RFC3339), line)
				}
			}
			require.True(t, next.After(to))
		}
	}
}

// What is not a schedule is refused, and nothing panics.
func TestSchedulesThatAreRefused(t *testing.T) {
	for _, line := range []string{
		"", " ", "x", "* * * *", "60 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "CRON_TZ=Nowhere/Land 0 0 * * *", "TZ=", "TZ=Europe/Berlin",
		"TZ= ", "CRON_TZ=UTC", "CRON_TZ=UTC TZ=UTC 0 0 * * *", "@every", "@every 1ms", "@every -1h", "@every 1500ms", "@every x", "@nope",
		"@reboot", "*/0 * * * *", "5-1 * * * *", "CRON_TZ=../../etc/passwd 0 0 * * *",
	} {
		require.ErrorIs(t, durable.Cron(line).Err(), durable.ErrSchedule, "%q", line)
		require.Empty(t, slices.Collect(durable.Cron(line).After(time.Now())))
	}
	require.ErrorIs(t, durable.Schedule{}.Err(), durable.ErrSchedule)
	require.Panics(t, func() { durable.Times("", nil) })
	r := rand.New(rand.NewPCG(17, 2))
	const letters = "0123456789*/,-? @TZ=CRON_every\x00ä"
	for range 5000 {
		text := make([]byte, r.IntN(20))
		for i := range text {
			text[i] = letters[r.IntN(len(letters))]
		}
		if s := durable.Cron(string(text)); s.Err() == nil {
			for range s.After(time.Unix(0, 0)) {
				break
			}
		}
	}
	q := open(t, tempFile(t), double, nil)
	require.ErrorIs(t, q.Every("a", durable.Cron("x"), 1), durable.ErrSchedule)
	require.ErrorIs(t, q.Every("a", durable.Schedule{}, 1), durable.ErrSchedule)
	require.ErrorIs(t, q.Every("a", durable.Cron("* * * * *"), 1, durable.EveryOptions{Retry: new(twill.RetryOptions)}), durable.ErrNotKept)
	require.Panics(t, func() { _ = q.Every("", durable.Cron("* * * * *"), 1) })
	require.Empty(t, q.Periodics())
	chans := open(t, tempFile(t), func(context.Context, chan int) (int, error) { return 0, nil }, nil)
	require.ErrorIs(t, chans.Every("a", durable.Cron("* * * * *"), make(chan int)), durable.ErrNotKept)
}

// A sequence of times is a schedule; one that does not ascend ends.
func TestTimes(t *testing.T) {
	zero := time.Unix(1000, 0).UTC()
	s := durable.Times("three", slices.Values([]time.Time{
		zero, zero.Add(time.Second), zero.Add(time.Second + time.Microsecond), zero.Add(2 * time.Second), zero, zero.Add(time.Hour),
	}))
	require.Equal(t, "three", s.String())
	require.NoError(t, s.Err())
	require.Equal(t, []time.Time{zero.Add(time.Second), zero.Add(2 * time.Second)}, slices.Collect(s.After(zero)))
	require.Len(t, slices.Collect(s.After(zero.Add(-time.Hour))), 3)
	same := durable.Times("same", func(yield func(time.Time) bool) {
		for yield(zero) {
		}
	})
	require.Len(t, slices.Collect(same.After(time.Time{})), 1, "it ends")
}

// periodicTest is a queue in virtual time, whose wall clock can be set.
type periodicTest struct {
	*testing.T
	file string
	opts durable.Options
	step atomic.Int64 // by which the wall clock was set
	late atomic.Int64 // by which the wall clock goes ahead when it is read next
	q    *durable.Queue[string, string]

	mu    sync.Mutex
	runs  []string // name, time that is due, and how much later it has started
	takes time.Duration
	live  int // calls
	most  int // at the same time
}

// midnight is when the time of a test begins.
var midnight = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func inPeriodicTest(t *testing.T, test func(t *periodicTest)) {
	t.Helper()
	file := tempFile(t)
	synctest.Test(t, func(t *testing.T) {
		p := &periodicTest{T: t, file: file}
		p.open()
		defer func() { shut(t, p.q) }()
		test(p)
	})
}

func (p *periodicTest) now() time.Time {
	defer func() { p.step.Add(p.late.Swap(0)) }()
	return time.Now().Add(time.Duration(p.step.Load()))
}

func (p *periodicTest) open() {
	p.Helper()
	q, err := durable.Open(p.file, func(ctx context.Context, arg string) (string, error) {
		run, ok := durable.JobRun(ctx)
		p.mu.Lock()
		late := p.now().Sub(run.Due)
		p.runs = append(p.runs, strings.TrimSpace(fmt.Sprint(run.Name, " ", run.Due.Format("15:04:05 "), lateness(late))))
		if !ok || arg != "arg of "+run.Name {
			p.Errorf("run %v %v of %q", run, ok, arg)
		}
		p.live++
		p.most = max(p.most, p.live)
		takes := p.takes
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.live--
		}()
		select {
		case <-time.After(takes):
			return "", nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}, durable.WithClock(&p.opts, p.now))
	require.NoError(p, err)
	p.q = q
}

func lateness(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return "+" + d.String()
}

func (p *periodicTest) every(name, line string, opts ...durable.EveryOptions) {
	p.Helper()
	require.NoError(p, p.q.Every(name, durable.Cron(line), "arg of "+name, opts...))
}

// down closes the queue for some time.
func (p *periodicTest) down(d time.Duration) {
	p.Helper()
	shut(p.T, p.q)
	time.Sleep(d)
	p.open()
}

// after returns the runs since the last call, after a time.
func (p *periodicTest) after(d time.Duration) []string {
	p.Helper()
	time.Sleep(d)
	synctest.Wait() // for what is to happen at this moment: a call to the disk is not a wait
	p.mu.Lock()
	defer p.mu.Unlock()
	runs := p.runs
	p.runs = nil
	return runs
}

func (p *periodicTest) periodic(name string) durable.Periodic {
	p.Helper()
	for _, l := range p.q.Periodics() {
		if l.Name == name {
			return l
		}
	}
	p.Fatalf("no periodic job %s", name)
	return durable.Periodic{}
}

const minutely = "CRON_TZ=UTC * * * * *"

// A run starts at each time of the schedule.
func TestEvery(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.every("b", "CRON_TZ=UTC */2 * * * *")
		t.every("a", "@every 90s")
		require.True(t, t.periodic("b").Next.Equal(midnight.Add(2*time.Minute)), "known at once")
		require.Equal(t, []string{"a 00:01:30", "b 00:02:00", "a 00:03:00", "b 00:04:00"}, t.after(4*time.Minute))
		l := t.q.Periodics()
		require.Len(t, l, 2)
		require.Equal(t, []string{"a", "b"}, []string{l[0].Name, l[1].Name})
		b := l[1]
		require.Equal(t, "CRON_TZ=UTC */2 * * * *", b.Schedule)
		require.True(t, b.Active)
		require.True(t, b.Last.Equal(midnight.Add(4*time.Minute)))
		require.True(t, b.Next.Equal(midnight.Add(6*time.Minute)))
		require.Zero(t, b.Live)
		j, err := t.q.Find(b.Job)
		require.NoError(t, err)
		require.Equal(t, twill.JobFinished, j.State())
		require.Equal(t, "every:b@2000-01-01T00:04:00.000Z", j.Key())
		upcoming := b.Upcoming(2)
		require.Len(t, upcoming, 2)
		require.True(t, upcoming[1].Equal(midnight.Add(8*time.Minute)))
		require.True(t, l[0].Upcoming(1)[0].Equal(midnight.Add(270*time.Second)))
		_, ok := durable.JobRun(context.Background())
		require.False(t, ok)
	})
}

// What was missed while no process had the file open is made up for as asked.
func TestEveryCatchesUp(t *testing.T) {
	for _, c := range []struct {
		name string
		opts durable.EveryOptions
		down time.Duration
		want string
	}{
		{"once", durable.EveryOptions{}, 10 * time.Minute, "13:00+30s"},
		{"nothing was missed", durable.EveryOptions{}, 10 * time.Second, ""},
		{"skip", durable.EveryOptions{CatchUp: -1}, 10 * time.Minute, "13:00+30s"},
		{"two", durable.EveryOptions{CatchUp: 2}, 10 * time.Minute, "12:00+1m30s 13:00+30s"},
		{"all", durable.EveryOptions{CatchUp: 100}, 3 * time.Minute, "04:00+2m30s 05:00+1m30s 06:00+30s"},
		{"all, with overlap", durable.EveryOptions{CatchUp: 100, Overlap: true}, 3 * time.Minute, "04:00+2m30s 05:00+1m30s 06:00+30s"},
		{"a window", durable.EveryOptions{CatchUp: 100, Window: 2 * time.Minute}, 10 * time.Minute, "12:00+1m30s 13:00+30s"},
		{"years", durable.EveryOptions{}, 3 * 365 * 24 * time.Hour, "03:00+30s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPeriodicTest(t, func(t *periodicTest) {
				t.every("a", minutely, c.opts)
				require.Len(t, t.after(3*time.Minute+30*time.Second), 3)
				t.down(c.down)
				t.every("a", minutely, c.opts)
				var want []string
				for _, run := range strings.Fields(c.want) {
					due, late, _ := strings.Cut(run, "+")
					want = append(want, fmt.Sprintf("a 00:%s +%s", due, late))
				}
				require.Equal(t, want, t.after(0))
				t.down(0)
				t.every("a", minutely, c.opts)
				require.Empty(t, t.after(10*time.Second), "a second restart repeats nothing")
				require.Len(t, t.after(time.Minute), 1, "and it goes on")
			})
		})
	}
	t.Run("skip, long ago", func(t *testing.T) {
		inPeriodicTest(t, func(t *periodicTest) {
			const hourly = "CRON_TZ=UTC 0 * * * *"
			t.every("a", hourly, durable.EveryOptions{CatchUp: -1})
			t.down(90 * time.Minute)
			t.every("a", hourly, durable.EveryOptions{CatchUp: -1})
			require.Empty(t, t.after(0))
			require.True(t, t.periodic("a").Last.Equal(midnight.Add(time.Hour)), "the time is over")
			t.down(0)
			t.every("a", hourly)
			require.Equal(t, []string{"a 02:00:00"}, t.after(time.Hour), "for another rule, too")
		})
	})
}

// A periodic job for which Every was not called stays in the file, and is
// listed; it does not run.
func TestPeriodicsOfEarlierProcesses(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.every("a", minutely)
		t.every("b", minutely)
		require.Len(t, t.after(time.Minute), 2)
		t.down(time.Minute)
		t.every("b", minutely)
		require.Equal(t, []string{"b 00:02:00", "b 00:03:00"}, t.after(time.Minute))
		a := t.periodic("a")
		require.False(t, a.Active)
		require.True(t, a.Next.IsZero())
		require.Equal(t, minutely, a.Schedule)
		require.True(t, a.Last.Equal(midnight.Add(time.Minute)))
		require.True(t, a.Upcoming(1)[0].Equal(midnight.Add(4*time.Minute)))
		t.every("a", minutely)
		require.Equal(t, []string{"a 00:03:00"}, t.after(0))
		require.NoError(t, t.q.RemovePeriodic("a"))
		require.NoError(t, t.q.RemovePeriodic("b"))
		require.ErrorIs(t, t.q.RemovePeriodic("b"), durable.ErrNoJob)
		require.Empty(t, t.after(5*time.Minute))
		require.Empty(t, t.q.Periodics())
		t.down(0)
		require.Empty(t, t.q.Periodics())
	})
}

// Another schedule for a name takes the place of the first, and has missed
// nothing.
func TestEveryReplaces(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.every("a", minutely)
		require.Len(t, t.after(time.Minute), 1)
		t.every("a", "CRON_TZ=UTC 30 * * * *")
		require.Equal(t, []string{"a 00:30:00"}, t.after(30*time.Minute))
		t.down(time.Hour)
		t.every("a", "CRON_TZ=UTC 15 * * * *")
		require.Empty(t, t.after(10*time.Minute), "it is not made up for")
		require.NoError(t, t.q.RemovePeriodic("a"))
		t.every("a", minutely)
		require.Equal(t, []string{"a 01:42:00"}, t.after(time.Minute), "it begins anew")
		t.every("a", " CRON_TZ=UTC   * * * *   * ")
		require.Equal(t, []string{"a 01:43:00"}, t.after(time.Minute))
		require.Equal(t, minutely, t.periodic("a").Schedule)
	})
}

// A run does not start while an earlier one has not ended, unless that is
// asked.
func TestEveryDoesNotOverlap(t *testing.T) {
	for _, c := range []struct {
		name string
		opts durable.EveryOptions
		most int
		want []string
	}{
		{"once", durable.EveryOptions{}, 1, []string{"a 00:01:00", "a 00:03:00 +30s", "a 00:06:00"}},
		{"skip", durable.EveryOptions{CatchUp: -1}, 1, []string{"a 00:01:00", "a 00:04:00"}},
		{"all", durable.EveryOptions{CatchUp: 9}, 1, []string{"a 00:01:00", "a 00:02:00 +1m30s", "a 00:03:00 +3m0s"}},
		{"overlap", durable.EveryOptions{Overlap: true}, 3, []string{"a 00:01:00", "a 00:02:00", "a 00:03:00", "a 00:04:00", "a 00:05:00", "a 00:06:00"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inPeriodicTest(t, func(t *periodicTest) {
				t.takes = 150 * time.Second
				require.NoError(t, t.q.SetWidth(5))
				t.every("a", minutely, c.opts)
				require.Equal(t, c.want, t.after(6*time.Minute))
				require.Equal(t, c.most, t.most)
			})
		})
	}
	t.Run("after a restart", func(t *testing.T) {
		inPeriodicTest(t, func(t *periodicTest) {
			t.takes = 90 * time.Second
			require.NoError(t, t.q.SetWidth(5))
			t.every("a", minutely)
			require.Equal(t, []string{"a 00:01:00"}, t.after(70*time.Second))
			t.down(time.Minute) // the run is underway, and runs again
			t.every("a", minutely)
			require.Equal(t, []string{"a 00:01:00 +1m10s", "a 00:03:00 +40s"}, t.after(90*time.Second))
			require.Equal(t, 1, t.periodic("a").Live)
			require.Equal(t, 1, t.most)
		})
	})
}

// A run that is run again by hand is the same run, and the next one waits for
// its end.
func TestRunsAgainByHand(t *testing.T) {
	const name = "a@b@" // any text is a name
	inPeriodicTest(t, func(t *periodicTest) {
		t.every(name, minutely)
		require.Equal(t, []string{name + " 00:01:00"}, t.after(time.Minute))
		t.takes = 90 * time.Second
		id, err := t.q.RunAgain(t.periodic(name).Job)
		require.NoError(t, err)
		require.NotEqual(t, t.periodic(name).Job, id)
		require.Equal(t, []string{name + " 00:01:00"}, t.after(0))
		require.Empty(t, t.after(time.Minute))
		require.Equal(t, 1, t.periodic(name).Live)
		require.Equal(t, []string{name + " 00:02:00 +30s"}, t.after(30*time.Second))
		require.Equal(t, 1, t.most)
	})
	inPeriodicTest(t, func(t *periodicTest) {
		const daily = "CRON_TZ=UTC 0 4 * * *"
		require.NoError(t, t.q.SetWidth(5))
		t.every("a", daily, durable.EveryOptions{Overlap: true})
		require.Equal(t, []string{"a 04:00:00"}, t.after(4*time.Hour))
		t.takes = 24 * time.Hour
		_, err := t.q.RunAgain(t.periodic("a").Job)
		require.NoError(t, err)
		require.Len(t, t.after(time.Hour), 1)
		t.step.Add(-int64(5 * time.Hour)) // it is due again, and underway
		require.Empty(t, t.after(5*time.Hour))
		require.Equal(t, 1, t.periodic("a").Live)
		require.Empty(t, t.periodic("a").Trouble)
		require.True(t, t.periodic("a").Last.Equal(midnight.Add(4*time.Hour)))
	})
}

// Calls of Every while the runs are put lose no time and double none.
func TestEveryConcurrently(t *testing.T) {
	const (
		distance = time.Millisecond
		n        = 300
	)
	began := time.Now().Truncate(distance)
	schedule := durable.Times("some", func(yield func(time.Time) bool) {
		for i := 1; i <= n && yield(began.Add(time.Duration(i)*distance)); i++ {
		}
	})
	var mu sync.Mutex
	runs := map[time.Time]int{}
	q := open(t, tempFile(t), func(ctx context.Context, _ int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		run, _ := durable.JobRun(ctx)
		runs[run.Due]++
		return 0, nil
	}, &durable.Options{Dispatch: twill.DispatchOptions{Width: 4}})
	opts := durable.EveryOptions{CatchUp: n, Overlap: true}
	require.NoError(t, q.Every("a", schedule, 0, opts))
	first := q.Periodics()[0].Last
	var callers sync.WaitGroup
	for i := range 4 {
		callers.Go(func() {
			for range 40 {
				if err := q.Every("a", schedule, i, opts); err != nil {
					t.Error(err)
				}
				for _, l := range q.Periodics() {
					l.Upcoming(3)
				}
			}
		})
	}
	callers.Wait()
	until(t, "the last run", func() bool { return q.Periodics()[0].Last.Equal(began.Add(n * distance)) })
	_, err := q.Empty().Await(within(t))
	require.NoError(t, err)
	mu.Lock()
	defer mu.Unlock()
	for i := 1; i <= n; i++ {
		if due := began.Add(time.Duration(i) * distance).UTC(); due.After(first) {
			require.Equal(t, 1, runs[due], "%d", i)
			delete(runs, due)
		}
	}
	require.Empty(t, runs)
}

// A queue that is paused or full delays runs.
func TestEveryWhilePaused(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.q.Pause()
		t.every("a", minutely)
		require.Empty(t, t.after(10*time.Minute+time.Second))
		require.Equal(t, 1, t.periodic("a").Live)
		require.True(t, t.periodic("a").Next.Equal(midnight.Add(10*time.Minute)), "it waits")
		require.NoError(t, t.q.Resume())
		require.Equal(t, []string{"a 00:01:00 +9m1s", "a 00:10:00 +1s"}, t.after(0))
	})
	inPeriodicTest(t, func(t *periodicTest) {
		shut(t.T, t.q)
		t.opts.Dispatch.Size = 1
		t.open()
		t.q.Pause()
		j, err := t.q.Put("arg of ", 0)
		require.NoError(t, err)
		t.every("a", minutely)
		require.Empty(t, t.after(90*time.Second))
		require.Contains(t, t.periodic("a").Trouble, "full")
		require.True(t, j.Cancel(nil))
		require.NoError(t, t.q.Resume())
		require.Equal(t, []string{"a 00:01:00 +35s"}, t.after(10*time.Second))
		require.Empty(t, t.periodic("a").Trouble)
	})
}

// The clock is set, or the machine sleeps.
func TestEveryWhenTheClockIsSet(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.every("a", "CRON_TZ=UTC 0 * * * *")
		synctest.Wait()
		t.step.Add(int64(59 * time.Minute))
		require.Equal(t, []string{"a 01:00:00"}, t.after(time.Minute), "forward, to a minute before")
		t.step.Add(int64(150 * time.Minute))
		require.Equal(t, []string{"a 03:00:00 +30m5s"}, t.after(5*time.Second), "it has missed two times, and is noticed within five seconds")
		t.step.Add(-int64(2 * time.Hour))
		require.Equal(t, []string{"a 04:00:00"}, t.after(150*time.Minute), "back: the times that come again have no run")
		t.step.Add(-int64(200 * time.Minute))
		require.Equal(t, []string{"a 01:00:00", "a 02:00:00"}, t.after(2*time.Hour), "by more than three hours: it begins anew")
		t.down(0)
		t.every("a", "CRON_TZ=UTC 0 * * * *")
		require.Equal(t, []string{"a 03:00:00"}, t.after(time.Hour))
		t.step.Add(-int64(50 * 24 * time.Hour))
		t.down(0)
		t.every("a", "CRON_TZ=UTC 0 * * * *")
		require.Len(t, t.after(time.Hour), 1, "and in another process")
	})
}

// Summer time begins and ends while the queue runs.
func TestEveryInSummerTime(t *testing.T) {
	for _, c := range []struct {
		at   string
		want []string
	}{
		{"2026-03-29T00:00:00Z", []string{"hours 00:30:00", "night 01:00:00", "hours 01:30:00", "hours 02:30:00"}},
		{"2026-10-25T00:00:00Z", []string{"hours 00:30:00", "night 00:30:00", "hours 01:30:00", "hours 02:30:00"}},
	} {
		inPeriodicTest(t, func(t *periodicTest) {
			at, err := time.Parse(time.RFC3339, c.at)
			require.NoError(t, err)
			t.step.Store(int64(at.Sub(midnight)))
			t.every("hours", "CRON_TZ=Europe/Berlin 30 * * * *")
			t.every("night", "CRON_TZ=Europe/Berlin 30 2 * * *")
			require.Equal(t, c.want, t.after(3*time.Hour))
			t.down(0)
			t.every("hours", "CRON_TZ=Europe/Berlin 30 * * * *")
			t.every("night", "CRON_TZ=Europe/Berlin 30 2 * * *")
			require.Empty(t, t.after(time.Minute))
		})
	}
}

// A schedule that panics, or whose goroutine exits, ends its own job only. One
// that ends is listed.
func TestSchedulesThatFail(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		failing := func(fail func()) iter.Seq[time.Time] {
			return func(yield func(time.Time) bool) {
				if yield(midnight.Add(time.Minute)) && yield(midnight.Add(2*time.Minute)) {
					fail()
				}
			}
		}
		arg := "arg of panics"
		require.NoError(t, t.q.Every("panics", durable.Times("p", failing(func() { panic("boom") })), arg))
		require.NoError(t, t.q.Every("exits", durable.Times("e", failing(runtime.Goexit)), "arg of exits"))
		require.NoError(t, t.q.Every("ends", durable.Times("n", failing(func() {})), "arg of ends"))
		t.every("a", minutely)
		require.Equal(t, []string{"a 00:01:00", "ends 00:01:00", "exits 00:01:00", "panics 00:01:00"}, sorted(t.after(time.Minute)))
		require.Equal(t, []string{"a 00:02:00", "a 00:03:00", "ends 00:02:00"}, sorted(t.after(2*time.Minute)))
		for name, trouble := range map[string]string{"panics": "boom", "exits": "Goexit", "ends": ""} {
			l := t.periodic(name)
			require.True(t, l.Next.IsZero())
			require.Contains(t, l.Trouble, trouble)
			require.Equal(t, trouble == "", l.Active, name)
		}
		require.NoError(t, t.q.Every("panics", durable.Times("p", failing(func() {})), arg))
		require.Equal(t, []string{"panics 00:02:00 +1m0s"}, t.after(0), "the time that was due is not lost")
	})
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// After a stop there are no runs, and no goroutine is left: the test would not
// end.
func TestEveryAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(q *durable.Queue[string, string]){
		"Stop":    func(q *durable.Queue[string, string]) { q.Stop() },
		"StopNow": func(q *durable.Queue[string, string]) { q.StopNow() },
		"Drain":   func(q *durable.Queue[string, string]) { _, _ = q.Drain(context.Background()) },
		"Close":   func(q *durable.Queue[string, string]) { _ = q.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inPeriodicTest(t, func(t *periodicTest) {
				t.every("a", minutely)
				end(t.q)
				time.Sleep(10 * time.Minute)
				require.Empty(t, t.runs)
				shut(t.T, t.q)
				require.ErrorIs(t, t.q.Every("b", durable.Cron(minutely), ""), durable.ErrClosed)
				require.ErrorIs(t, t.q.RemovePeriodic("a"), durable.ErrClosed)
				t.open()
				t.every("a", minutely)
				require.Equal(t, []string{"a 00:10:00"}, t.after(0))
			})
		})
	}
}

// A full disk delays a run, and a disk that fails ends them; neither loses one
// or doubles it.
func TestEveryOnAFaultyDisk(t *testing.T) {
	for _, fault := range []faultfs.Fault{faultfs.Full, faultfs.EIO} {
		inPeriodicTest(t, func(t *periodicTest) {
			shut(t.T, t.q)
			disk := faultfs.New()
			t.opts = *durable.WithVFS(&t.opts, disk.Name)
			t.open()
			t.every("a", minutely)
			require.Len(t, t.after(time.Minute), 1)
			disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
				if call == faultfs.Write {
					return fault
				}
				return faultfs.None
			})
			time.Sleep(90 * time.Second)
			err := t.q.Every("b", durable.Cron(minutely), "")
			if fault == faultfs.Full {
				require.ErrorIs(t, err, durable.ErrDiskFull)
				disk.Decide(nil)
				runs := t.after(10 * time.Second)
				require.Len(t, runs, 1)
				require.Contains(t, runs[0], "a 00:02:00 +3")
			} else {
				require.ErrorIs(t, err, durable.ErrBroken)
				disk.Decide(nil)
				shut(t.T, t.q)
				t.open()
				t.every("a", minutely)
				require.Equal(t, []string{"a 00:02:00 +30s"}, t.after(0))
			}
			require.Len(t, t.q.Periodics(), 1)
			require.Equal(t, []string{"a 00:03:00"}, t.after(time.Minute))
		})
	}
}

// Whichever sync of the disk fails, each time has one job when the disk works
// again: the time and the job are written together.
func TestEveryAtEachFailedSync(t *testing.T) {
	for n := 1; ; n++ {
		failed := false
		inPeriodicTest(t, func(t *periodicTest) {
			shut(t.T, t.q)
			disk := faultfs.New()
			t.opts = *durable.WithVFS(&t.opts, disk.Name)
			t.open()
			opts := durable.EveryOptions{CatchUp: 100}
			t.every("a", minutely, opts)
			var syncs atomic.Int64
			disk.Decide(func(call faultfs.Call, _ string, _ int) faultfs.Fault {
				if call == faultfs.Sync && syncs.Add(1) >= int64(n) {
					return faultfs.EIO
				}
				return faultfs.None
			})
			time.Sleep(4*time.Minute + time.Second)
			failed = syncs.Load() >= int64(n)
			disk.Decide(nil)
			shut(t.T, t.q)
			t.open()
			t.every("a", minutely, opts)
			t.after(0)
			var times []string
			for _, r := range t.q.EndedJobs() {
				times = append(times, strings.TrimPrefix(r.Key, "every:a@2000-01-01T"))
			}
			require.Equal(t, []string{"00:01:00.000Z", "00:02:00.000Z", "00:03:00.000Z", "00:04:00.000Z"}, sorted(times), "sync %d", n)
		})
		if t.Failed() || !failed {
			require.Greater(t, n, 8)
			return
		}
	}
}

// change runs a query on a file that is closed.
func change(t testing.TB, file string, queries ...string) {
	t.Helper()
	s, err := store.Open(file, store.Options{})
	require.NoError(t, err)
	s.Start(nil, nil)
	require.NoError(t, s.Run(func(tx *store.Tx) error {
		for _, query := range queries {
			if _, err := tx.Query(query); err != nil {
				return err
			}
		}
		return nil
	}))
	require.NoError(t, s.Close())
}

// A damaged row is named and left out, and Every makes a new one.
func TestDamagedPeriodics(t *testing.T) {
	for _, column := range []string{"seq = seq + 1", "last = last + 1", "job = job + 1", "schedule = x'61'", "name = x'63'"} {
		inPeriodicTest(t, func(t *periodicTest) {
			t.every("a", minutely)
			t.every("b", minutely)
			shut(t.T, t.q)
			change(t, t.file, "UPDATE periodics SET "+column+" WHERE name = x'61'")
			t.open()
			require.Len(t, t.q.Found().Damaged, 1)
			require.ErrorIs(t, t.q.Found().Damaged[0], durable.ErrDamaged)
			require.Len(t, t.q.Periodics(), 1)
			t.every("a", minutely)
			require.Equal(t, []string{"a 00:01:00"}, t.after(time.Minute))
		})
	}
}

// A file of an earlier schema is brought up to date, with its jobs. One of a
// later schema is refused and left as it is.
func TestOlderAndNewerFiles(t *testing.T) {
	file := tempFile(t)
	q := open(t, file, double, nil)
	q.Pause()
	j, err := q.Put(21, 0)
	require.NoError(t, err)
	shut(t, q)
	change(t, file, "DROP TABLE periodics", "PRAGMA user_version = 2")
	q = open(t, file, double, nil)
	require.NoError(t, q.Every("a", durable.Cron(minutely), 1))
	j, err = q.Find(j.ID())
	require.NoError(t, err)
	require.NoError(t, q.Resume())
	v, err := j.Await(within(t))
	require.NoError(t, err)
	require.Equal(t, 42, v)
	shut(t, q)
	q = open(t, file, double, nil)
	require.Len(t, q.Periodics(), 1)
	shut(t, q)

	change(t, file, "DROP TABLE periodics", "DROP INDEX ended_at", "PRAGMA user_version = 1")
	q = open(t, file, double, nil)
	require.Empty(t, q.Periodics())
	shut(t, q)

	change(t, file, "PRAGMA user_version = 1000")
	before, err := os.ReadFile(file)
	require.NoError(t, err)
	_, err = durable.Open(file, double, nil)
	require.ErrorIs(t, err, durable.ErrNewer)
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, before, after)
}

// ticks are the times of a schedule of the processes of TestKillPeriodic.
const tick = 40 * time.Millisecond

func ticks(yield func(time.Time) bool) {
	for t := time.Now().Truncate(10 * time.Minute).Add(-20 * time.Minute); yield(t); t = t.Add(tick) {
	}
}

// Processes are killed at random moments. Each time of a schedule has exactly
// one run, and each one of a schedule that makes up for one time only has at
// most one.
func TestKillPeriodic(t *testing.T) {
	file := tempFile(t)
	for range *kills {
		cmd := child("periodic", file)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			require.Equal(t, "ready", lines.Text())
			time.AfterFunc(time.Duration(rand.IntN(150))*time.Millisecond, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		}
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal())
		stop.Stop()
	}
	q, err := openPeriodic(file)
	require.NoError(t, err)
	defer shut(t, q)
	require.Empty(t, q.Found().Damaged)
	require.Zero(t, q.Found().Missing+q.Found().Extra)
	end := time.Now()
	until(t, "what was missed is made up for", func() bool {
		n := 0
		for _, l := range q.Periodics() {
			if l.Last.After(end) {
				n++
			}
		}
		return n == 2
	})
	_, err = q.Drain(within(t))
	require.NoError(t, err)

	times := map[string][]time.Time{}
	for _, r := range q.EndedJobs() {
		name, due, ok := strings.Cut(strings.TrimPrefix(r.Key, "every:"), "@")
		require.True(t, ok, r.Key)
		u, err := time.Parse(time.RFC3339, due)
		require.NoError(t, err)
		times[name] = append(times[name], u)
	}
	for name, list := range times {
		slices.SortFunc(list, time.Time.Compare)
		for i := 1; i < len(list); i++ {
			require.NotEqual(t, list[i-1], list[i], "%s has run twice", name)
			if name == "all" {
				require.Equal(t, tick, list[i].Sub(list[i-1]), "between %v and %v", list[i-1], list[i])
			}
		}
	}
	t.Logf("%d kills: %d runs of all, %d of once", *kills, len(times["all"]), len(times["once"]))
	require.Greater(t, len(times["all"]), *kills)
	require.NotEmpty(t, times["once"])
}

func openPeriodic(file string) (*durable.Queue[string, int], error) {
	q, err := durable.Open(file, func(_ context.Context, s string) (int, error) { return len(s), nil },
		&durable.Options{Keep: 1 << 30, MaxCrashes: -1, Dispatch: twill.DispatchOptions{Width: 4}})
	if err != nil {
		return nil, err
	}
	return q, errors.Join(
		q.Every("all", durable.Times("ticks", ticks), "all", durable.EveryOptions{CatchUp: 100_000}),
		q.Every("once", durable.Times("ticks", ticks), "once", durable.EveryOptions{Overlap: true}),
	)
}

// periodicChild has periodic jobs until it is killed.
func periodicChild(file string) int {
	if _, err := openPeriodic(file); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	time.Sleep(time.Minute)
	return 1
}

// An interval counts from one of its times to the next, though the goroutine
// wakes up somewhat later than that, as on a real clock.
func TestEveryIntervalCountsFromItsTimes(t *testing.T) {
	inPeriodicTest(t, func(t *periodicTest) {
		t.late.Store(int64(5 * time.Millisecond)) // the first look is later than Every
		t.every("a", "@every 10s")
		var due []time.Time
		for _, run := range t.after(65 * time.Second) {
			at, err := time.Parse("15:04:05", strings.Fields(run)[1])
			require.NoError(t, err)
			due = append(due, at)
		}
		require.Len(t, due, 6)
		for i := range due[1:] {
			require.Equal(t, 10*time.Second, due[i+1].Sub(due[i]))
		}
	})
}

// The sequence of a schedule runs under no lock, and before anything is
// written.
func TestSequencesThatMisbehave(t *testing.T) {
	file := tempFile(t)
	q := open(t, file, double, nil)
	far := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	nested := durable.Times("nested", func(yield func(time.Time) bool) {
		// The queue reads the sequence as well, maybe while it is closed.
		err := q.Every("inner", durable.Times("inner", slices.Values([]time.Time{far})), 1)
		if err != nil && !errors.Is(err, durable.ErrClosed) {
			t.Error(err)
		}
		yield(far)
	})
	require.NoError(t, q.Every("outer", nested, 1))
	require.Len(t, q.Periodics(), 2)

	require.Panics(t, func() {
		_ = q.Every("panics", durable.Times("panics", func(func(time.Time) bool) { panic("boom") }), 1)
	})
	require.Len(t, q.Periodics(), 2)

	fromZero := durable.Times("from zero", slices.Values([]time.Time{{}, far}))
	require.NoError(t, q.Every("zero", fromZero, 1))
	for _, p := range q.Periodics() {
		require.True(t, p.Next.Equal(far), p.Name)
	}
	shut(t, q)
	q = open(t, file, double, nil)
	names := []string{}
	for _, p := range q.Periodics() {
		names = append(names, p.Name)
	}
	require.Equal(t, []string{"inner", "outer", "zero"}, names)
	shut(t, q)
}
