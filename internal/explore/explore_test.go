//go:build suites || explore

package explore_test

import (
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/explore"
)

// writers is a scenario of threads that append to a log, steps times each.
func writers(threads, steps int, seen map[string]bool) func(*explore.Run) func() error {
	return func(r *explore.Run) func() error {
		log := new([]int)
		for i := range threads {
			r.Go(fmt.Sprint(i), func() {
				for range steps {
					r.Point("write", log)
					*log = append(*log, i)
				}
			})
		}
		return func() error {
			seen[fmt.Sprint(*log)] = true
			return nil
		}
	}
}

// orders returns the number of interleavings of threads with the given numbers
// of steps.
func orders(steps ...int64) int {
	n, total := big.NewInt(1), int64(0)
	for _, s := range steps {
		total += s
		n.Mul(n, new(big.Int).Binomial(total, s))
	}
	return int(n.Int64())
}

func TestPlainTriesEveryOrder(t *testing.T) {
	seen := map[string]bool{}
	stats, err := explore.All(explore.Options{Plain: true}, writers(2, 3, seen))
	require.NoError(t, err)
	require.Equal(t, orders(4, 4), stats.Schedules, "the start is a step, too")
	require.Len(t, seen, orders(3, 3))

	seen = map[string]bool{}
	stats, err = explore.All(explore.Options{Plain: true}, writers(3, 2, seen))
	require.NoError(t, err)
	require.Equal(t, orders(3, 3, 3), stats.Schedules)
	require.Len(t, seen, orders(2, 2, 2))
}

func TestReducedTriesEveryOrderThatMatters(t *testing.T) {
	seen := map[string]bool{}
	stats, err := explore.All(explore.Options{}, writers(3, 2, seen))
	require.NoError(t, err)
	require.Equal(t, orders(2, 2, 2), stats.Schedules)
	require.Len(t, seen, orders(2, 2, 2))
	require.Equal(t, 9, stats.Longest)
}

func TestReducedLeavesOutWhatCannotMatter(t *testing.T) {
	for _, look := range []bool{false, true} {
		stats, err := explore.All(explore.Options{}, func(r *explore.Run) func() error {
			shared := new(int)
			for i := range 3 {
				r.Go(fmt.Sprint(i), func() {
					own := new(int)
					for range 3 {
						if look {
							r.Look("shared", shared)
						} else {
							r.Point("own", own)
						}
					}
				})
			}
			return func() error { return nil }
		})
		require.NoError(t, err)
		require.Equal(t, 1, stats.Schedules)
	}
}

// Random small programs over a few variables end in the same states with the
// reduction as without it.
func TestReductionLosesNoOutcome(t *testing.T) {
	for seed := range 25 {
		run := func(opts explore.Options) (out []string, schedules int) {
			seen := map[string]bool{}
			stats, err := explore.All(opts, func(r *explore.Run) func() error {
				vars := make([]int, 3)
				for i := range 3 {
					r.Go(fmt.Sprint(i), func() {
						x := seed*7 + i*3
						for range 1 + i/2 {
							v, w := &vars[x%3], &vars[(x/3)%3]
							r.Look("read", v)
							got := *v
							r.Point("write", w)
							*w = *w*3 + got + i + 1
							x = x*5 + 3
						}
					})
				}
				return func() error {
					seen[fmt.Sprint(vars)] = true
					return nil
				}
			})
			require.NoError(t, err)
			for s := range seen {
				out = append(out, s)
			}
			slices.Sort(out)
			return out, stats.Schedules
		}
		reduced, few := run(explore.Options{})
		all, many := run(explore.Options{Plain: true})
		require.Equal(t, all, reduced, "seed %d", seed)
		require.Less(t, few, many)
	}
}

func TestPreemptionsAreBounded(t *testing.T) {
	for bound, want := range map[int]int{1: 2 + 2*3, 2: 2 + 2*3 + 2*9} {
		seen := map[string]bool{}
		stats, err := explore.All(explore.Options{Preemptions: bound}, writers(2, 3, seen))
		require.NoError(t, err)
		require.Equal(t, want, stats.Schedules, "bound %d", bound)
	}
}

func TestChoicesOfTheWorld(t *testing.T) {
	seen := map[[2]int]int{}
	stats, err := explore.All(explore.Options{}, func(r *explore.Run) func() error {
		var got [2]int
		for i := range got {
			r.Go(fmt.Sprint(i), func() {
				r.Point("write", &got)
				got[i] = r.Choose(3)
			})
		}
		return func() error { seen[got]++; return nil }
	})
	require.NoError(t, err)
	require.Equal(t, 18, stats.Schedules)
	require.Len(t, seen, 9)
}

func TestThreadsStartThreads(t *testing.T) {
	stats, err := explore.All(explore.Options{}, func(r *explore.Run) func() error {
		sum := new(int)
		add := func() { r.Point("add", sum); *sum++ }
		r.Go("parent", func() {
			r.Go("child", add)
			add()
		})
		return func() error {
			if *sum != 2 {
				return fmt.Errorf("sum %d", *sum)
			}
			return nil
		}
	})
	require.NoError(t, err)
	require.Equal(t, 2, stats.Schedules)
}

func TestSearchesThatDoNotEnd(t *testing.T) {
	_, err := explore.All(explore.Options{Limit: 10}, writers(3, 3, map[string]bool{}))
	require.ErrorIs(t, err, explore.ErrLimit)

	_, err = explore.All(explore.Options{}, func(r *explore.Run) func() error {
		r.Go("spinner", func() {
			for {
				r.Point("spin", r)
			}
		})
		return func() error { return nil }
	})
	require.ErrorIs(t, err, explore.ErrEndless)
}

func TestAPanicIsAFailure(t *testing.T) {
	_, err := explore.All(explore.Options{}, func(r *explore.Run) func() error {
		r.Go("thread", func() {
			r.Point("about to", r)
			panic("ouch")
		})
		return func() error { return nil }
	})
	require.EqualError(t, err, "explore: thread thread panicked: ouch, after the steps\n\tthread: start\n\tthread: about to")
}

// Schedules that are given up leave no goroutine behind.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 100 {
		_, err := explore.All(explore.Options{}, lostWakeup)
		require.ErrorIs(t, err, explore.ErrDeadlock)
	}
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+5 }, 5*time.Second, time.Millisecond)
}
