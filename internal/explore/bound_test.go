//go:build explore

package explore_test

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
)

// upstream is a world with a chain that is canceled or bounded at its tip,
// while its root settles and the work that handlers have started goes on.
type upstream struct {
	*world
	root     source
	stages   []*stage
	others   []*twill.Promise[int] // further roots, which end last
	f        *twill.Future[int]    // the chain
	bounds   []*twill.Future[int]
	shielded bool // the work is shielded from cancels
	recovers bool // the work is started in answer to a cancel
	pooled   bool // the work is that of a pooler
	answered bool // the canceler of the root has resolved it
}

// stage is work that a handler starts.
type stage struct {
	p     twill.Promise[int]
	begun bool
	ended int
}

func (x *upstream) stage() *stage {
	s := new(stage)
	s.p.OnCancel(func(error) {
		x.Point("end of work", s)
		s.ended++
	})
	x.stages = append(x.stages, s)
	return s
}

func (x *upstream) start(s *stage) *twill.Future[int] {
	x.Point("start of work", s)
	s.begun = true
	return s.p.Future()
}

func (x *upstream) then(f *twill.Future[int]) *twill.Future[int] {
	s := x.stage()
	return twill.ThenFuture(f, func(int) *twill.Future[int] { return x.start(s) })
}

func (x *upstream) pass(f *twill.Future[int]) *twill.Future[int] {
	return twill.Then(f, func(v int) (int, error) {
		x.Point("handler", x)
		return v, nil
	})
}

func (x *upstream) recover(f *twill.Future[int]) *twill.Future[int] {
	s := x.stage()
	x.recovers = true
	return f.CatchFuture(func(error) *twill.Future[int] {
		inner := x.start(s)
		if x.shielded {
			inner = inner.Shield()
		}
		return inner
	})
}

var upstreamKinds = map[string]func(x *upstream, f *twill.Future[int]) *twill.Future[int]{
	"two stages":   func(x *upstream, f *twill.Future[int]) *twill.Future[int] { return x.then(x.pass(f)) },
	"three stages": func(x *upstream, f *twill.Future[int]) *twill.Future[int] { return x.then(x.pass(x.then(x.pass(f)))) },
	"an executor": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		return x.then(f.Via(func(fn func()) { x.Go("executor", fn) }))
	},
	"a list in the middle": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		return x.then(twill.Any(x.pass(f)))
	},
	"a list of two": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		all := twill.All(x.pass(f), x.then(f))
		return x.then(twill.Then(all, func([]int) (int, error) { return 1, nil }))
	},
	"a recovering list beside the root": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		p := new(twill.Promise[int])
		x.others = append(x.others, p)
		all := twill.All(x.pass(f), x.recover(twill.Any(x.pass(p.Future()))))
		return twill.Then(all, func([]int) (int, error) { return 1, nil })
	},
	"a list at the end": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		return twill.Any(x.then(x.pass(f)))
	},
	"a follower": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		var p twill.Promise[int]
		p.Follow(x.then(x.pass(f)))
		return p.Future()
	},
	"a recovery":           func(x *upstream, f *twill.Future[int]) *twill.Future[int] { return x.recover(f) },
	"a recovery in a list": func(x *upstream, f *twill.Future[int]) *twill.Future[int] { return twill.Any(x.recover(f)) },
	"a shielded recovery": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		x.shielded = true
		return x.recover(f)
	},
	"a pooler": func(x *upstream, f *twill.Future[int]) *twill.Future[int] {
		x.pooled = true
		p := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] { return x.then(x.pass(f)) })
		return p.Call(context.Background(), 1)
	},
}

var upstreamActs = map[string]func(*upstream){
	"resolve": func(x *upstream) { x.root.resolve() },
	"reject":  func(x *upstream) { x.root.reject() },
	"bound":   func(x *upstream) { x.bound() },
	"cancel": func(x *upstream) {
		x.f.Cancel(nil)
	},
	"finish": func(x *upstream) { x.stages[0].p.Resolve(5) },
}

func (x *upstream) bound() {
	f := x.f.Timeout(0)
	_, ok := f.Poll()
	x.require(ok, "a bound has not ended its future by the time its cancel has returned")
	x.Point("bounded", &x.bounds)
	x.bounds = append(x.bounds, f)
}

func newUpstream(w *world, kind, canceler string, doing []string) func() {
	x := &upstream{world: w}
	x.root.init(w, "root", canceler != "")
	if canceler == "answers" {
		x.root.p.OnCancel(func(error) { x.answered = x.root.p.Resolve(7) })
	}
	x.f = upstreamKinds[kind](x, x.root.f)
	for _, what := range doing {
		w.Go(what, func() { upstreamActs[what](x) })
	}
	return func() { x.check(doing) }
}

func (x *upstream) check(doing []string) {
	_, settled := x.f.Poll()
	started := x.recovers || x.answered // in answer to a cancel
	if slices.Contains(doing, "cancel") && !started {
		x.require(settled, "the cancel was lost")
	}
	once := slices.Contains(doing, "cancel") && !slices.Contains(doing, "bound") && doing[0] != doing[1]
	for i, s := range x.stages {
		_, over := s.p.Future().Poll()
		x.require(s.ended <= 1, "work %d was told to end %d times", i, s.ended)
		switch {
		case x.shielded:
			x.require(s.ended == 0, "a shield was not left alone")
		case x.answered && x.pooled:
			// The pooler waits for it, so that the key is free when it has ended.
		case len(x.others) > 0 && slices.Contains(doing, "reject"):
			// The list may have left the other branch by itself, with a plain cancel.
		case s.begun && !over && !slices.Contains(doing, "cancel"):
			x.require(false, "work %d runs on, and nothing waits for it", i)
		case once && (x.answered || x.recovers && x.root.settled == 0):
			x.require(s.ended == 0, "work %d was started in answer to the cancel, and told to end", i)
		case s.begun && !over && !started:
			x.require(false, "work %d did not get the cancel", i)
		}
	}
	x.root.p.Resolve(1)
	for _, p := range x.others {
		p.Resolve(3)
	}
	for _, s := range x.stages {
		s.p.Resolve(2)
	}
	_, settled = x.f.Poll()
	x.require(settled, "the chain is pending, and its work is over")
}

// A bound ends, work that nothing waits for is canceled once, and a shield is
// not canceled, whatever happens upstream.
func TestUpstream(t *testing.T) {
	var all totals
	sensible := func(doing []string) bool {
		return slices.Contains(doing, "bound") || slices.Contains(doing, "cancel")
	}
	for kind := range upstreamKinds {
		for _, canceler := range []string{"", "waits", "answers"} {
			scenario := func(w *world, doing []string) func() { return newUpstream(w, kind, canceler, doing) }
			t.Run(kind, func(t *testing.T) {
				each(t, &all, plan{Options: explore.Options{Preemptions: 2}}, sensible, scenario, 2, "resolve", "reject", "bound", "cancel", "finish")
			})
		}
	}
	t.Log(all.String())
	require.Greater(t, all.Schedules, 1_000)
}
