//go:build explore

package explore_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
)

// following is a world with a promise that follows the future of another
// promise.
type following struct {
	*world
	target, source   source
	followed, cycled bool
	again            int // number of cancelers that a thread has added to the target
}

var followActs = map[string]func(*following){
	"follow":         func(f *following) { f.followed = f.target.p.Follow(f.source.f) || f.followed },
	"cycle":          func(f *following) { f.cycled = f.source.p.Follow(f.target.f) || f.cycled },
	"resolve target": func(f *following) { f.target.resolve() },
	"cancel target":  func(f *following) { f.target.cancel() },
	"resolve source": func(f *following) { f.source.resolve() },
	"reject source":  func(f *following) { f.source.reject() },
	"cancel source":  func(f *following) { f.source.cancel() },
	"then source":    func(f *following) { f.source.then() },
	"then target":    func(f *following) { f.target.then() },
	"canceler":       func(f *following) { f.target.p.OnCancel(func(error) { f.again++ }) },
}

func newFollowing(w *world, doing []string, cancelers bool) func() {
	f := &following{world: w}
	f.target.init(w, "target", cancelers)
	f.source.init(w, "source", cancelers)
	for _, what := range doing {
		w.Go(what, func() { followActs[what](f) })
	}
	return func() { f.check(doing) }
}

func (f *following) check(doing []string) {
	t, targetEnded := f.target.f.Poll()
	s, sourceEnded := f.source.f.Poll()
	f.require(targetEnded || !slices.Contains(doing, "cancel target"), "the cancel of the target was lost")
	f.require(sourceEnded || !slices.Contains(doing, "cancel source"), "the cancel of the source was lost")
	f.require(targetEnded || sourceEnded || !f.followed || !f.cycled, "they wait for each other")
	f.require(targetEnded || !sourceEnded || !f.followed, "the target does not follow")
	f.require(f.again <= 1, "a canceler ran %d times", f.again)
	live := func(following, ended bool) int {
		if following && !ended {
			return 1
		}
		return 0
	}
	if f.followed {
		f.target.canceled = 0 // a cancel may have ended only the source
	}
	if f.cycled {
		f.source.canceled = 0
	}
	f.source.check(f.world, "source", f.source.users()+live(f.followed, targetEnded))
	f.target.check(f.world, "target", f.target.users()+live(f.cycled, sourceEnded))
	if f.followed && targetEnded && f.target.settled == 0 && !errors.Is(t.Err, twill.ErrCycle) && !canceled(f.target.f) {
		f.require(sourceEnded && s == t, "the target is %v, the source %v", t, s)
	}
	f.source.p.Resolve(3)
	f.target.p.Resolve(4)
}

// No future waits in a cycle, a cancel is passed on from either side, and a
// promise that was settled by hand no longer follows.
func TestFollowing(t *testing.T) {
	var all totals
	sensible := func(doing []string) bool {
		return slices.Contains(doing, "follow") && (slices.Contains(doing, "cancel target") || !slices.Contains(doing, "canceler"))
	}
	for cancelers, n := range map[bool]int{true: 2, false: 3} {
		scenario := func(w *world, doing []string) func() { return newFollowing(w, doing, cancelers) }
		each(t, &all, plan{large: true, Options: explore.Options{Fair: 40}}, sensible, scenario, n, "follow", "cycle", "resolve target",
			"cancel target", "resolve source", "reject source", "cancel source", "then source", "then target", "canceler")
	}
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 10_000)
	}
}
