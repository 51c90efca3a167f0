package twill_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// groupCall records a call.
type groupCall struct {
	arg string
	at  time.Duration
}

// groupCalls records calls, each of which takes a second.
type groupCalls struct {
	start time.Time
	mu    sync.Mutex
	made  []groupCall
}

func (c *groupCalls) fn(ctx context.Context, arg string) (string, error) {
	c.mu.Lock()
	c.made = append(c.made, groupCall{arg, time.Since(c.start)})
	c.mu.Unlock()
	select {
	case <-time.After(time.Second):
		return arg, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (c *groupCalls) at(arg string) (at []time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.made {
		if call.arg == arg {
			at = append(at, call.at)
		}
	}
	return at
}

func (c *groupCalls) order() (args []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.made {
		args = append(args, call.arg)
	}
	return args
}

func inGroup(name string) twill.JobOptions { return twill.JobOptions{Group: name} }

func TestGroupWidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 5, GroupLimit: twill.GroupLimit{Width: 2}})
		for i := range 20 {
			kit.PutOpts(t, q, fmt.Sprint("slow", i), 0, inGroup("slow"))
		}
		other := kit.PutOpts(t, q, "other", 5, inGroup("other"))
		plain := kit.PutJob(t, q, "plain", 9)
		kit.RequireSize(t, q, 4, 18)
		require.Equal(t, twill.JobUnderway, other.State())
		require.Equal(t, twill.JobUnderway, plain.State())
		require.Equal(t, "slow", q.Pending()[0].Group())
		reason, until := q.Why(q.Pending()[0])
		require.Equal(t, twill.WaitGroup, reason)
		require.True(t, until.IsZero())
		require.Equal(t, []string{"slow2", "slow3"}, kit.Args(q.PendingPage(0, 2)))
		require.Equal(t, []string{"slow18", "slow19"}, kit.Args(q.PendingPage(16, 9)))

		require.NoError(t, q.SetGroupLimit("slow", twill.GroupLimit{Width: 4}))
		kit.RequireSize(t, q, 5, 17) // the queue's width is 5
		time.Sleep(time.Second + time.Millisecond)
		kit.RequireSize(t, q, 4, 13)
		require.NoError(t, q.SetGroupLimit("slow", twill.GroupLimit{Width: 1}))
		kit.RequireSize(t, q, 4, 13)
		time.Sleep(time.Second)
		kit.RequireSize(t, q, 1, 12)
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		var slow []string
		for i := range 20 {
			slow = append(slow, fmt.Sprint("slow", i))
		}
		var got []string
		for _, arg := range c.order() {
			if arg != "other" && arg != "plain" {
				got = append(got, arg)
			}
		}
		require.ElementsMatch(t, slow, got)
	})
}

func TestGroupRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 100, GroupLimit: twill.GroupLimit{Rate: 0.5, Burst: 3}})
		for range 5 {
			kit.PutOpts(t, q, "a", 0, inGroup("a"))
		}
		last := kit.PutOpts(t, q, "b", 0, inGroup("b"))
		require.Equal(t, twill.JobUnderway, last.State())
		reason, until := q.Why(q.Pending()[0])
		require.Equal(t, twill.WaitGroup, reason)
		require.Equal(t, c.start.Add(2*time.Second), until)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Equal(t, []time.Duration{0, 0, 0, 2 * time.Second}, c.at("a"))
		require.NoError(t, q.SetGroupLimits(twill.GroupLimit{Rate: 10}))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Len(t, c.at("a"), 5, "what the slower rate has counted does not outlast it")
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)

		// Starts that were counted are not forgotten while the group has no jobs.
		require.NoError(t, q.SetGroupLimits(twill.GroupLimit{Rate: 0.1}))
		kit.PutOpts(t, q, "c", 0, inGroup("c"))
		time.Sleep(5 * time.Second)
		j := kit.PutOpts(t, q, "c", 0, inGroup("c"))
		require.Equal(t, twill.JobPending, j.State())
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, twill.JobUnderway, j.State())
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
	})
}

func TestGroupsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for turns, want := range map[bool]string{
			false: "[u a0 a1 a2 a3 b0 b1 c0 plain]",
			true:  "[u a0 b0 c0 plain a1 b1 a2 a3]",
		} {
			c := &groupCalls{start: time.Now()}
			q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{TakeTurns: turns})
			q.Pause()
			for i := range 4 {
				kit.PutOpts(t, q, fmt.Sprint("a", i), 1, inGroup("a"))
			}
			for i := range 2 {
				kit.PutOpts(t, q, fmt.Sprint("b", i), 1, inGroup("b"))
			}
			kit.PutOpts(t, q, "c0", 1, inGroup("c"))
			kit.PutJob(t, q, "plain", 1)
			kit.PutOpts(t, q, "u", 0, inGroup("a"))
			require.Equal(t, []string{"u", "a0", "a1", "a2", "a3", "b0", "b1", "c0", "plain"}, kit.Args(q.Pending()))
			require.NoError(t, q.Resume())
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
			if turns { // the urgent job used a turn of a
				want = "[u b0 c0 plain a0 b1 a1 a2 a3]"
			}
			require.Equal(t, want, fmt.Sprint(c.order()))
		}
	})
}

func TestGroupLimitsThatAreImpossible(t *testing.T) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	for name, l := range map[string]twill.GroupLimit{
		"Width": {Width: -1}, "Rate": {Rate: -1}, "Burst": {Burst: -1},
	} {
		require.ErrorContains(t, q.SetGroupLimit("g", l), name)
		require.ErrorContains(t, q.SetGroupLimits(l), name)
		require.Panics(t, func() { twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{GroupLimit: l}) })
	}
	for _, rate := range []float64{math.NaN(), math.Inf(1)} {
		require.ErrorContains(t, q.SetGroupLimit("g", twill.GroupLimit{Rate: rate}), "Rate")
	}
	for _, l := range []twill.GroupLimit{{Width: math.MaxInt}, {Rate: math.MaxFloat64}, {Rate: math.SmallestNonzeroFloat64, Burst: math.MaxInt}, {Burst: math.MaxInt}} {
		require.NoError(t, q.SetGroupLimit("g", l))
		_, err := kit.PutOpts(t, q, 1, 0, inGroup("g")).Await(t.Context())
		require.NoError(t, err, "%+v", l)
	}
	q.Stop()
	require.ErrorIs(t, q.SetGroupLimit("g", twill.GroupLimit{}), twill.ErrStopped)
}

// A random sequence of calls with groups: a group never exceeds its limit, no
// job is lost, no job that may start waits, and groups that have ended are
// forgotten.
func TestGroupsAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			var mu sync.Mutex
			running := map[string]int{}
			q := twill.NewResizableDispatchQueue(func(ctx context.Context, g string) (string, error) {
				mu.Lock()
				running[g]++
				n := running[g]
				mu.Unlock()
				defer func() {
					mu.Lock()
					running[g]--
					mu.Unlock()
				}()
				if g != "" && n > 2 {
					return "", errors.New("too many of " + g)
				}
				time.Sleep(time.Duration(1+len(g)) * time.Second)
				return "", ctx.Err()
			}, &twill.DispatchOptions{Width: 4, GroupLimit: twill.GroupLimit{Width: 2}, TakeTurns: seed%2 == 0, Ageing: time.Duration(seed%3) * time.Second})
			var jobs []*twill.Job[string, string]
			for range 300 {
				switch rng.IntN(8) {
				case 0, 1, 2, 3:
					o := inGroup([]string{"", "a", "bb", "ccc"}[rng.IntN(4)])
					o.After = time.Duration(rng.IntN(3)) * time.Second
					jobs = append(jobs, kit.PutOpts(t, q, o.Group, rng.IntN(3), o))
				case 4:
					if len(jobs) > 0 {
						jobs[rng.IntN(len(jobs))].Cancel(nil)
					}
				case 5:
					if len(jobs) > 0 {
						_ = q.Reprioritize(jobs[rng.IntN(len(jobs))], rng.IntN(3))
					}
				case 6:
					require.NoError(t, q.SetWidth(rng.IntN(6)))
				case 7:
					time.Sleep(time.Duration(rng.IntN(3)) * time.Second)
				}
				synctest.Wait()
				underway, pending := q.Size()
				require.Len(t, q.Pending(), pending)
				require.Equal(t, kit.Args(q.Pending()), kit.Args(q.PendingPage(0, pending)))
				for _, j := range q.Pending() {
					reason, _ := q.Why(j)
					require.False(t, reason == twill.WaitWidth && underway < q.Width(), "a job waits beside a free slot")
				}
			}
			require.NoError(t, q.SetWidth(3))
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
			for _, j := range jobs {
				_, err := j.Await(t.Context())
				require.True(t, err == nil || errors.Is(err, twill.ErrCanceled), "%v", err)
			}
			require.Zero(t, twill.Groups(q), "groups are forgotten")
		})
	}
}

func TestGroupsAndTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 3, Size: -1, GroupLimit: twill.GroupLimit{Width: 1}})
		kit.PutOpts(t, q, "a0", 0, inGroup("a"))
		_, err := q.Put("a1", 0, inGroup("a"))
		require.ErrorIs(t, err, twill.ErrQueueFull, "the slots are not for a")
		var mu sync.Mutex
		var admitted []string
		put := func(arg string, o twill.JobOptions) {
			go func() {
				_, err := q.PutWait(t.Context(), arg, 0, o)
				mu.Lock()
				defer mu.Unlock()
				if admitted = append(admitted, arg); err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
		}
		order := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(admitted)
		}
		put("a2", inGroup("a"))
		put("a3", inGroup("a"))
		require.Empty(t, order())
		put("b0", inGroup("b"))
		put("plain", twill.JobOptions{})
		require.Equal(t, []string{"b0", "plain"}, order(), "a slot is free for them")
		time.Sleep(1500 * time.Millisecond)
		require.Equal(t, []string{"b0", "plain", "a2"}, order())
		time.Sleep(time.Second)
		require.Equal(t, []string{"b0", "plain", "a2", "a3"}, order())
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Zero(t, twill.Groups(q))
	})
}

// A waiting PutWait joins a job that takes its key first: the key does not run
// twice.
func TestPutWaitInLineJoinsItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Size: 1})
		kit.PutJob(t, q, "first", 0)
		kit.PutJob(t, q, "second", 0)
		var mu sync.Mutex
		results := map[string]*twill.Job[string, string]{}
		joined := func() map[string]*twill.Job[string, string] {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return maps.Clone(results)
		}
		wait := func(arg string, o twill.JobOptions) {
			go func() {
				j, err := q.PutWait(t.Context(), arg, 0, o)
				mu.Lock()
				defer mu.Unlock()
				if err == nil || errors.Is(err, twill.ErrDuplicateJob) {
					results[arg] = j
				}
			}()
			synctest.Wait()
		}
		wait("k1", twill.JobOptions{Key: "k"})
		wait("k2", twill.JobOptions{Key: "k"})
		wait("refused", twill.JobOptions{Key: "k", Refuse: true})
		wait("other", twill.JobOptions{})
		require.Empty(t, joined())
		restored, err := q.Restore([]twill.JobRecord[string]{{Arg: "restored", Key: "k"}})
		require.NoError(t, err)
		require.Len(t, joined(), 3)
		for _, arg := range []string{"k1", "k2", "refused"} {
			require.Same(t, restored[0], joined()[arg])
		}
		_, err = q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"first", "restored", "second", "other"}, c.order())
	})
}

// A waiting PutWait whose job has to run after the job with its key needs room.
// It waits for that in its turn, and the PutWaits behind it that only join do
// not wait for it.
func TestPutWaitJoinsBesideOneThatNeedsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: -1})
		q.Pause()
		wait, returned := putWaits(t, q)
		wait("first", twill.JobOptions{Key: "k"})
		wait("other", twill.JobOptions{})
		wait("again", twill.JobOptions{Key: "k", Again: true})
		wait("joins", twill.JobOptions{Key: "k"})
		wait("refused", twill.JobOptions{Key: "k", Again: true, Refuse: true})
		wait("joins again", twill.JobOptions{Key: "k", Again: true})
		require.Empty(t, returned())
		require.NoError(t, q.Resume())
		require.ElementsMatch(t, []string{"first", "joins", "refused"}, returned())
		time.Sleep(time.Second + time.Millisecond) // first has ended
		for _, name := range []string{"other", "again", "joins again"} {
			require.Equal(t, []string{name}, returned())
			time.Sleep(time.Second)
		}
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
	})
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Size: 1})
		wait, returned := putWaits(t, q)
		kit.PutJob(t, q, time.Hour, 0)
		kit.PutJob(t, q, time.Hour, 0)
		wait("first", twill.JobOptions{Key: "k"})
		wait("other", twill.JobOptions{})
		wait("again", twill.JobOptions{Key: "k", Again: true})
		require.Empty(t, returned())
		require.NoError(t, q.SetWidth(3)) // one starts, and there is room for another
		require.ElementsMatch(t, []string{"first", "other"}, returned())
		time.Sleep(time.Second + time.Millisecond)
		require.ElementsMatch(t, []string{"again"}, returned())
		q.StopNow()
	})
}

// putWaits returns a function that puts a job of a second by a PutWait on a
// goroutine of its own, and a function that returns the names of the PutWaits
// that have returned since it was called before.
func putWaits(t *testing.T, q *twill.ResizableDispatchQueue[time.Duration, time.Duration]) (wait func(string, twill.JobOptions), returned func() []string) {
	var mu sync.Mutex
	var names []string
	wait = func(name string, o twill.JobOptions) {
		go func() {
			_, err := q.PutWait(t.Context(), time.Second, 0, o)
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, twill.ErrDuplicateJob) == o.Refuse {
				names = append(names, name)
			}
		}()
		synctest.Wait()
	}
	return wait, func() []string {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		now := names
		names = nil
		return now
	}
}

// While a job has a key, a PutWait that would run after it must not use a free
// slot. When the key is free, the first one that is due may, also behind one
// that is not.
func TestPutWaitUsesASlotWhenItsKeyIsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 2, Size: -1})
		key := twill.JobOptions{Key: "k", Again: true}
		kit.PutOpts(t, q, "has the key", 0, key)
		later := key
		later.After = time.Hour
		for arg, o := range map[string]twill.JobOptions{"later": later} {
			go func() { _, _ = q.PutWait(t.Context(), arg, 0, o) }()
			synctest.Wait()
		}
		for _, arg := range []string{"due", "joins"} {
			go func() { _, _ = q.PutWait(t.Context(), arg, 0, key) }()
			synctest.Wait()
		}
		require.Equal(t, 3, twill.InLine(q))
		time.Sleep(2500 * time.Millisecond)
		require.Equal(t, []time.Duration{time.Second}, c.at("due"))
		require.LessOrEqual(t, twill.InLine(q), 1)
		q.StopNow()
	})
}

// The group of a PutWait in line may be forgotten, and then be there again.
func TestPutWaitInLineOutlivesItsGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 5, Size: 1, GroupLimit: twill.GroupLimit{Width: 1}})
		fill := kit.PutOpts(t, q, "fill", 0, twill.JobOptions{Held: true})
		kit.PutOpts(t, q, "has the key", 0, twill.JobOptions{Key: "k"})
		go func() { _, _ = q.PutWait(t.Context(), "waits", 0, twill.JobOptions{Key: "k", Again: true, Group: "g"}) }()
		synctest.Wait()
		require.Equal(t, 1, twill.InLine(q))
		kit.PutOpts(t, q, "a", 0, inGroup("g"))
		fill.Cancel(nil)
		synctest.Wait()
		require.Zero(t, twill.InLine(q))
		require.Equal(t, 1, twill.Groups(q))
		q.Pause()
		require.NoError(t, q.Resume())
		require.Equal(t, 2, maps.Collect(q.Groups())["g"].Jobs)
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, []time.Duration{0}, c.at("a"))
		require.Equal(t, []time.Duration{time.Second}, c.at("waits"))
		require.Zero(t, twill.Groups(q))
	})
}

// A PutWait whose context has ended puts nothing, whichever is noticed first.
func TestPutWaitAfterTheEndOfItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 300 {
			c := &groupCalls{start: time.Now()}
			q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Size: -1})
			first := kit.PutJob(t, q, "first", 0)
			ctx, cancel := context.WithCancelCause(t.Context())
			errs := make(chan error, 2)
			for _, ctx := range []context.Context{ctx, t.Context()} {
				go func() {
					_, err := q.PutWait(ctx, fmt.Sprint("waits", ctx == t.Context()), 0)
					errs <- err
				}()
				synctest.Wait()
			}
			cancel(kit.ErrBoom)
			first.Cancel(nil)
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
			synctest.Wait()
			require.ElementsMatch(t, []error{kit.ErrBoom, nil}, []error{<-errs, <-errs})
			require.Equal(t, []string{"first", "waitstrue"}, c.order())
		}
	})
}

// No step of a queue walks a line of PutWaits: with 16 times as many in line,
// no step visits more than a few more of them. Only a stop visits all.
func TestNoStepWalksALineOfPutWaits(t *testing.T) {
	few, many := 250, 4000
	if kit.Long() && !kit.RaceEnabled { // which allows 8128 goroutines
		few, many = 1000, 16_000
	}
	for kind, options := range lineOptions {
		t.Run(kind, func(t *testing.T) {
			least, most := visitsOfSteps(t, few, options), visitsOfSteps(t, many, options)
			for step, visits := range most {
				require.LessOrEqual(t, visits, least[step]+60, "%s: visits of %d and %d in line", step, few, many)
				require.Less(t, visits, int64(few)/2, step)
			}
		})
	}
}

// lineOptions are the options of the i-th PutWait in a line.
var lineOptions = map[string]func(i int) twill.JobOptions{
	"plain":     func(int) twill.JobOptions { return twill.JobOptions{} },
	"delayed":   func(int) twill.JobOptions { return twill.JobOptions{After: time.Hour} },
	"due later": func(i int) twill.JobOptions { return twill.JobOptions{After: time.Duration(i) * time.Second} },
	"held":      func(int) twill.JobOptions { return twill.JobOptions{Held: true} },
	"one group": func(int) twill.JobOptions { return inGroup("g") },
	"groups":    func(i int) twill.JobOptions { return inGroup(fmt.Sprint("g", i%100)) },
	"one key":   func(int) twill.JobOptions { return twill.JobOptions{Key: "k", Again: true} },
	"keys":      func(i int) twill.JobOptions { return twill.JobOptions{Key: fmt.Sprint("k", i%100), Again: true} },
	"all kinds": func(i int) twill.JobOptions {
		return twill.JobOptions{
			Group: []string{"", "g", "h"}[i%3], Key: []string{"", "", fmt.Sprint("k", i%50)}[i%5%3], Again: i%2 == 0,
			After: time.Duration(i%7/3*i) * time.Second, Held: i%11 == 0,
		}
	},
}

// visitsOfSteps returns the largest number of visits of any step of each kind
// beside a line of n PutWaits.
func visitsOfSteps(t *testing.T, n int, options func(i int) twill.JobOptions) map[string]int64 {
	visits := map[string]int64{}
	synctest.Test(t, func(t *testing.T) {
		var counter atomic.Int64
		twill.CountWaiterVisits(&counter)
		defer twill.CountWaiterVisits(nil)
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 2, Size: 8, GroupLimit: twill.GroupLimit{Width: 1}})
		for _, o := range []twill.JobOptions{{}, {Key: "k"}, {Held: true}, inGroup("g"), inGroup("g"), {After: 24 * time.Hour}} {
			kit.PutOpts(t, q, 24*time.Hour, 1, o)
		}
		var fill []*twill.Job[time.Duration, time.Duration]
		for {
			j, err := q.Put(24*time.Hour, 1)
			if err != nil {
				break
			}
			fill = append(fill, j)
		}
		var leaves []context.CancelFunc
		var wg sync.WaitGroup
		for i := range n {
			ctx, leave := context.WithCancel(t.Context())
			leaves = append(leaves, leave)
			wg.Go(func() { _, _ = q.PutWait(ctx, 24*time.Hour, 1, options(i)) })
		}
		synctest.Wait()
		require.Equal(t, n, twill.InLine(q))

		// A step is what a call causes, until nothing is left to do. One that admits
		// some PutWaits counts for each of them.
		step := func(name string, do func()) {
			before := twill.InLine(q)
			counter.Store(0)
			do()
			synctest.Wait()
			left := int64(1 + max(before-twill.InLine(q), 0))
			visits[name] = max(visits[name], counter.Load()/left)
		}
		for i := range 20 {
			step("Put that is refused", func() {
				_, err := q.Put(time.Second, 1)
				require.ErrorIs(t, err, twill.ErrQueueFull)
			})
			step("Pause", func() { q.Pause() })
			step("Resume", func() { require.NoError(t, q.Resume()) })
			step("width 0", func() { require.NoError(t, q.SetWidth(0)) })
			step("width 2", func() { require.NoError(t, q.SetWidth(2)) })
			step("group limit", func() { require.NoError(t, q.SetGroupLimit("g", twill.GroupLimit{Width: 1, Paused: i%2 == 0})) })
			step("rate", func() { q.SetRate(nil) })
			step("Reprioritize", func() { _ = q.Reprioritize(fill[i%len(fill)], i) })
			step("Why", func() { q.Why(fill[i%len(fill)]) })
			step("Stats", func() { q.Stats() })
			step("PendingBelow", func() { q.PendingBelow(1).Cancel(nil) })
			step("time", func() { time.Sleep(time.Second) })
			step("PutWait and leave", func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				defer cancel()
				_, _ = q.PutWait(ctx, time.Second, 1, options(i))
			})
			step("leave the front", leaves[i])
			step("leave the middle", leaves[n/2+i])
			step("leave the end", leaves[n-1-i])
		}
		for range 5 { // these let some in
			step("Cancel", func() { q.Pending()[0].Cancel(nil) })
			step("Cancel underway", func() {
				if jobs := q.Underway(); len(jobs) > 0 {
					jobs[0].Cancel(nil)
				}
			})
			step("width 3", func() { require.NoError(t, q.SetWidth(3)) })
			step("width 2", func() { require.NoError(t, q.SetWidth(2)) })
			step("Restore", func() {
				_, err := q.Restore([]twill.JobRecord[time.Duration]{{Arg: time.Second}})
				require.NoError(t, err)
			})
			step("run", func() { time.Sleep(2 * time.Second) })
		}
		q.StopNow()
		wg.Wait()
		q.Clear()
	})
	return visits
}

func TestGroupsAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		limit := twill.GroupLimit{Width: 1}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 3, GroupLimit: limit})
		require.Empty(t, maps.Collect(q.Groups()))
		require.Equal(t, limit, q.GroupLimits())
		for range 3 {
			kit.PutOpts(t, q, "a", 0, inGroup("a"))
		}
		time.Sleep(100 * time.Millisecond)
		kit.PutOpts(t, q, "b", 0, twill.JobOptions{Group: "b", After: time.Hour})
		kit.PutJob(t, q, "no group", 0)
		own := twill.GroupLimit{Rate: 2}
		require.NoError(t, q.SetGroupLimit("c", own))
		require.Equal(t, map[string]twill.GroupStats{
			"a": {Limit: limit, Jobs: 3, Underway: 1, Due: 2, Held: true, Since: c.start, NextSince: c.start},
			"b": {Limit: limit, Jobs: 1},
			"c": {Limit: own, Own: true},
		}, maps.Collect(q.Groups()))

		require.Equal(t, c.start, q.Stats().NextSince, "though its group holds it back")

		// One that starts leaves others waiting: they wait as long as before.
		time.Sleep(time.Second)
		kit.PutOpts(t, q, "a", -1, inGroup("a"))
		a := maps.Collect(q.Groups())["a"]
		require.Equal(t, twill.GroupStats{Limit: limit, Jobs: 3, Underway: 1, Due: 2, Held: true, Since: c.start, NextSince: c.start.Add(1100 * time.Millisecond)}, a)
		require.NoError(t, q.Reprioritize(q.Pending()[0], 5))
		require.NoError(t, q.Reprioritize(q.Pending()[0], 5))
		a = maps.Collect(q.Groups())["a"]
		require.Equal(t, c.start, a.Since)
		require.Equal(t, c.start, a.NextSince)

		time.Sleep(time.Minute)
		require.NoError(t, q.ResetGroupLimit("c"))
		require.NoError(t, q.ResetGroupLimit("none"))
		require.Equal(t, map[string]twill.GroupStats{"b": {Limit: limit, Jobs: 1}}, maps.Collect(q.Groups()))
		for range q.Groups() {
			break
		}
		q.Clear()
		q.Stop()
		require.ErrorIs(t, q.ResetGroupLimit("c"), twill.ErrStopped)
	})
}

// TestGroupsHoldsNoLock: the loop over thousands of groups may change them, and
// yields each that lasts once.
func TestGroupsHoldsNoLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{TakeTurns: true})
		q.Pause()
		const n = 3500
		for i := range n {
			kit.PutOpts(t, q, 0, 0, inGroup(fmt.Sprint("group ", i)))
		}
		kit.PutJob(t, q, 0, 0) // of no group
		seen := map[string]int{}
		for name, g := range q.Groups() {
			seen[name]++
			require.Equal(t, g.Jobs, g.Due, name)
			kit.PutOpts(t, q, 0, 0, inGroup(fmt.Sprint("new ", len(seen))))
			if len(seen) < n/2 {
				require.NoError(t, q.SetGroupLimit(name, twill.GroupLimit{Width: 1}))
			}
			if len(seen) == n/2 {
				q.Clear()
				kit.PutOpts(t, q, 0, 0, inGroup("last"))
			}
			if len(seen) > 2*n {
				break
			}
		}
		for name, times := range seen {
			require.Equal(t, 1, times, name)
		}
		require.NotContains(t, seen, "")
		q.StopNow()
	})
}

func TestPausedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &groupCalls{start: time.Now()}
		q := twill.NewResizableDispatchQueue(c.fn, &twill.DispatchOptions{Width: 5, Size: 3})
		kit.PutOpts(t, q, "a", 0, inGroup("a"))
		require.NoError(t, q.SetGroupLimit("a", twill.GroupLimit{Rate: 100, Paused: true}))
		held := kit.PutOpts(t, q, "a", 0, inGroup("a"))
		other := kit.PutOpts(t, q, "b", 5, inGroup("b"))
		require.Equal(t, twill.JobUnderway, other.State())
		reason, until := q.Why(held)
		require.Equal(t, twill.WaitGroup, reason)
		require.Zero(t, until, "it does not end by itself")
		time.Sleep(time.Hour)
		require.Equal(t, twill.JobPending, held.State())
		require.True(t, maps.Collect(q.Groups())["a"].Held)

		// It is no reason to use a free slot: the line for room stays as it is.
		kit.PutOpts(t, q, "a", 0, inGroup("a"))
		kit.PutOpts(t, q, "a", 0, inGroup("a"))
		_, err := q.Put("a", 0, inGroup("a"))
		require.ErrorIs(t, err, twill.ErrQueueFull)
		line := twill.Go(t.Context(), func(ctx context.Context) (string, error) {
			j, err := q.PutWait(ctx, "last", 0, inGroup("a"))
			if err != nil {
				return "", err
			}
			return j.Await(ctx)
		})
		synctest.Wait()
		_, settled := line.Poll()
		require.False(t, settled)

		require.NoError(t, q.SetGroupLimit("a", twill.GroupLimit{Rate: 100}))
		v, err := line.Await(t.Context())
		require.NoError(t, err)
		require.Equal(t, "last", v)
		require.Equal(t, twill.JobFinished, held.State())

		// Likewise for all groups at once.
		require.NoError(t, q.SetGroupLimits(twill.GroupLimit{Paused: true}))
		held = kit.PutOpts(t, q, "new", 0, inGroup("new"))
		time.Sleep(time.Second)
		require.Equal(t, twill.JobPending, held.State())
		require.NoError(t, q.SetGroupLimit("new", twill.GroupLimit{Width: 1}))
		require.Equal(t, twill.JobUnderway, held.State())
		q.StopNow()
	})
}

// A group of jobs that take 16 seconds each, put before all others, delays none
// of them.
func TestASlowGroupDelaysNoOther(t *testing.T) {
	for _, turns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{
				Width: 4, GroupLimit: twill.GroupLimit{Width: 1}, TakeTurns: turns,
			})
			var slow, others []*twill.Job[time.Duration, time.Duration]
			start := time.Now()
			for range 20 {
				slow = append(slow, kit.PutOpts(t, q, 16*time.Second, 0, inGroup("slow")))
			}
			for i := range 100 {
				others = append(others, kit.PutOpts(t, q, time.Millisecond, 0, inGroup([]string{"", "a", "b", "c"}[i%4])))
			}
			_, err := twill.All(twill.Futures(others)...).Await(t.Context())
			require.NoError(t, err)
			require.LessOrEqual(t, time.Since(start), 50*time.Millisecond, "three slots were theirs")
			_, err = twill.All(twill.Futures(slow)...).Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, 20*16*time.Second, time.Since(start))
		})
	}
}

func TestLimitsOfGroupsAreKeptAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewResizableDispatchQueue(kit.Sleep, &twill.DispatchOptions{Width: 9, GroupLimit: twill.GroupLimit{Width: 1}})
		require.ErrorContains(t, q.SetGroupLimit("", twill.GroupLimit{Width: 1}), "group must not be empty")
		require.NoError(t, q.SetGroupLimit("g", twill.GroupLimit{Width: 3}))
		require.Equal(t, 1, twill.Groups(q), "it is kept while there are no jobs")
		for range 5 {
			kit.PutOpts(t, q, time.Second, 0, inGroup("g"))
		}
		kit.RequireSize(t, q, 3, 2)
		require.NoError(t, q.SetGroupLimits(twill.GroupLimit{Width: 4}))
		kit.RequireSize(t, q, 3, 2)
		require.NoError(t, q.ResetGroupLimit("g"))
		kit.RequireSize(t, q, 4, 1)
		_, err := q.Empty().Await(t.Context())
		require.NoError(t, err)
		require.Zero(t, twill.Groups(q))
		require.NoError(t, q.SetGroupLimit("g", twill.GroupLimit{Width: 3}))
		require.NoError(t, q.ResetGroupLimit("g"))
		require.Zero(t, twill.Groups(q))
	})
}

// Where groups take turns, the jobs without a group count for Size as others
// do.
func TestSizeWhereGroupsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		never := kit.LimiterFunc(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		for _, size := range []int{-1, 2} {
			q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 3, Size: size, Rate: never, TakeTurns: true})
			put := 0
			for ; put < 10; put++ {
				if _, err := q.Put(put, 0); err != nil {
					require.ErrorIs(t, err, twill.ErrQueueFull)
					break
				}
			}
			require.LessOrEqual(t, put, 3+max(size, 0))
			waiting := 0
			var wg sync.WaitGroup
			for i := range 5 {
				wg.Go(func() { _, _ = q.PutWait(t.Context(), i, 0) })
				synctest.Wait()
			}
			waiting = twill.InLine(q)
			require.Equal(t, 5, waiting)
			q.SetRate(nil)
			_, err := q.Empty().Await(t.Context())
			require.NoError(t, err)
			wg.Wait()
			q.Stop()
		}
	})
}
