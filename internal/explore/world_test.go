//go:build explore

package explore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

var errTest = errors.New("test")

// world is one run of the library under the explorer.
type world struct {
	*explore.Run
	fine    bool // the steps after an unlock are choices too
	holding any  // the lock that is held, or the core whose lock is: the thread must not be interrupted then
	local   int  // the object that those steps touch

	futures []*settle.Core
	cycles  map[*settle.Core]int // by core that is checked; see hook
	wrong   []string
}

// plan determines how a scenario is searched.
type plan struct {
	explore.Options
	// large is for scenarios that may have too many schedules.
	large bool
	// fine is for scenarios whose threads share more than cores, such as the
	// members of a list. What a thread does between two locks is then a step too,
	// which touches an object that all such steps touch.
	fine bool
}

// search runs a scenario under all schedules, and returns their number. The
// scenario starts threads and returns a check.
func search(t *testing.T, p plan, scenario func(*world) func()) explore.Stats {
	t.Helper()
	twill.OnUnhandled(nil)
	t.Cleanup(func() {
		settle.Hooks.Lock, settle.Hooks.Unlock, settle.Hooks.Look = nil, nil, nil
		settle.Hooks.Swap, settle.Hooks.Cycle, settle.Hooks.Wake, settle.Hooks.Park = nil, nil, nil, nil
		sched.Hooks.Before, sched.Hooks.After, sched.Hooks.Go, sched.Hooks.AfterFunc = nil, nil, nil, nil
	})
	if p.large && p.Preemptions == 0 {
		p.Limit = *tried
		if p.fine {
			p.Limit /= 3
		}
	}
	stats, err := explore.All(p.Options, func(r *explore.Run) func() error {
		w := &world{Run: r, fine: p.fine, cycles: map[*settle.Core]int{}}
		w.hook()
		check := scenario(w)
		return func() error {
			check()
			for _, c := range w.futures {
				w.require(c.Settled(), "%s is pending in the end", r.NameOf(c))
				w.require(c.Listeners() == 0, "%s has listeners left", r.NameOf(c))
			}
			if len(w.wrong) > 0 {
				return errors.New(w.wrong[0])
			}
			return nil
		}
	})
	if err != explore.ErrLimit || p.Preemptions > 0 {
		require.NoError(t, err)
		return stats
	}
	t.Logf("more than %d schedules: those with up to %d preemptions only", stats.Schedules, *bounded)
	p.Preemptions, p.Limit = *bounded, 0
	return search(t, p, scenario)
}

// If there are too many schedules to try all of them, only schedules are tried
// that switch away from a running thread a few times at most.
var (
	tried   = flag.Int("schedules", 8_000, "the most schedules to try of a scenario of several futures")
	bounded = flag.Int("preemptions", 2, "the preemptions in a schedule of a scenario that has more")
)

// hook makes the locks of the cores and others, and the reads of cores, choice
// points of this run, and the goroutines that the library starts threads of it.
func (w *world) hook() {
	settle.Hooks.Lock = func(c *settle.Core) {
		w.free()
		w.Point("lock", c)
		w.free()
		w.holding = c
	}
	settle.Hooks.Unlock = func(c *settle.Core) { w.unlocked(c) }
	sched.Hooks.Before = func(lock any, read bool) {
		w.free()
		if read {
			w.Look("read", lock)
		} else {
			w.Point("lock", lock)
		}
		w.free()
		w.holding = lock
	}
	sched.Hooks.After = w.unlocked
	settle.Hooks.Look = func(c *settle.Core) {
		w.free()
		w.Look("look at", c)
	}
	settle.Hooks.Swap = func(c *settle.Core) {
		w.free()
		w.Point("swap", c)
	}
	settle.Hooks.Cycle = func(c *settle.Core) {
		// The cycle may have been opened while the check went on. If no other
		// thread has taken a step since the last one began, one has to now.
		w.free()
		others := w.Others()
		last, again := w.cycles[c]
		w.cycles[c] = others()
		if again {
			w.Block("a cycle of others", c, func() bool { return others() > last })
		}
	}
	started := 0
	sched.Hooks.Go = func(fn func()) {
		started++
		w.Go(fmt.Sprint("goroutine ", started), fn)
	}
	settle.Hooks.Wake = func(p *settle.Parker) {
		w.free()
		w.Point("wake", p)
	}
	settle.Hooks.Park = func(of any, woken <-chan struct{}, ctx context.Context) bool {
		w.free()
		w.Block("wait for", of, func() bool { return len(woken) > 0 || ctx.Err() != nil })
		if len(woken) > 0 && ctx.Err() != nil {
			return w.Choose(2) == 1
		}
		return ctx.Err() != nil
	}
}

func (w *world) unlocked(lock any) {
	w.require(w.holding == lock, "a lock is given back that is not held")
	w.holding = nil
	if w.fine {
		w.Point("unlocked", &w.local)
	}
}

// free checks the rule by which locking is a step, and not a wait: a thread
// that holds a lock does nothing else before it unlocks.
func (w *world) free() {
	w.require(w.holding == nil, "a choice under a lock") // a panic would be contained, as that of a handler
}

func (w *world) require(ok bool, format string, args ...any) {
	if !ok {
		w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
	}
}

// name sets the name of f in failures, and checks in the end that f has settled
// and has no listeners left.
func name[T any](w *world, f *twill.Future[T], name string) *twill.Future[T] {
	c := coreOf(f)
	w.Name(c, name)
	w.futures = append(w.futures, c)
	return f
}

// coreOf returns the core of f, its first field.
func coreOf[T any](f *twill.Future[T]) *settle.Core {
	return (*settle.Core)(reflect.ValueOf(f).Elem().Field(0).Addr().UnsafePointer())
}

// canceled reports whether a cancel has settled f.
func canceled[T any](f *twill.Future[T]) bool {
	r, ok := f.Poll()
	return ok && errors.Is(r.Err, twill.ErrCanceled)
}

func TestTheCoreIsTheFirstField(t *testing.T) {
	require.Equal(t, reflect.TypeFor[settle.Core](), reflect.TypeFor[twill.Future[string]]().Field(0).Type)
}

// totals adds up the numbers of several searches.
type totals struct {
	explore.Stats
	scenarios int
}

func (s *totals) String() string {
	return fmt.Sprintf("%d scenarios, %d schedules (%d more cut short), %d steps, the longest %d",
		s.scenarios, s.Schedules, s.Cut, s.Steps, s.Longest)
}

// each searches the scenario for every choice of up to n acts that is sensible,
// including equal acts; with -short of up to two.
func each(t *testing.T, all *totals, p plan, sensible func([]string) bool, scenario func(*world, []string) func(), n int, acts ...string) {
	if testing.Short() {
		n = min(n, 2)
	}
	var next func(doing []string, acts []string)
	next = func(doing []string, acts []string) {
		if len(doing) > 1 && sensible(doing) {
			t.Run(strings.Join(doing, ","), func(t *testing.T) {
				s := search(t, p, func(w *world) func() { return scenario(w, doing) })
				t.Logf("%+v", s)
				all.scenarios++
				all.Schedules += s.Schedules
				all.Cut += s.Cut
				all.Steps += s.Steps
				all.Longest = max(all.Longest, s.Longest)
			})
		}
		if len(doing) < n {
			for i, act := range acts {
				next(append(slices.Clone(doing), act), acts[i:])
			}
		}
	}
	next(nil, acts)
}
