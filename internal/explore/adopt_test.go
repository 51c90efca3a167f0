//go:build explore

package explore_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// source is a promise that may have a canceler.
type source struct {
	p         twill.Promise[int]
	f         *twill.Future[int]
	settled   int // by hand
	canceled  int // by a cancel of f
	cancelers int
	kids      []*twill.Future[int]
}

func (s *source) init(w *world, n string, canceler bool) {
	s.f = name(w, s.p.Future(), n)
	if canceler {
		s.p.OnCancel(func(error) {
			w.Point("canceler", s)
			s.cancelers++
		})
	}
}

func (s *source) resolve() { s.count(&s.settled, s.p.Resolve(1)) }

func (s *source) reject() { s.count(&s.settled, s.p.Reject(errTest)) }

func (s *source) cancel() { s.count(&s.canceled, s.f.Cancel(nil)) }

func (s *source) then() {
	s.kids = append(s.kids, twill.Handle(s.f, func(v int, err error) (int, error) { return v, err }))
}

func (s *source) count(n *int, won bool) {
	if won {
		*n++
	}
}

// users returns the number of kids that still depend on s.
func (s *source) users() (n int) {
	for _, k := range s.kids {
		if _, ok := k.Poll(); !ok {
			n++
		}
	}
	return n
}

// check checks s by itself. If s is pending, live is the number of its
// dependents.
func (s *source) check(w *world, n string, live int) {
	if _, ok := s.f.Poll(); !ok {
		w.require(coreOf(s.f).Users() == live, "%s has %d users, not %d", n, coreOf(s.f).Users(), live)
		w.require(coreOf(s.f).Listeners() == live, "%s has %d listeners, not %d", n, coreOf(s.f).Listeners(), live)
	}
	w.require(s.settled <= 1, "%s was settled %d times", n, s.settled)
	w.require(s.cancelers <= 1, "%s ran its canceler %d times", n, s.cancelers)
	if canceled(s.f) {
		w.require(s.settled == 0, "%s is canceled, and was settled", n)
	} else {
		w.require(s.canceled == 0, "a cancel of %s won, and it is not canceled", n)
	}
}

// adoption is a world with a future whose handler returns another future.
type adoption struct {
	*world
	outer, inner source
	tip          *twill.Future[int]
	runs         int // of the handler
	tipCanceled  bool
	end          context.CancelCauseFunc
	ctx          context.Context
	ended        bool
}

var adoptActs = map[string]func(*adoption){
	"resolve outer": func(a *adoption) { a.outer.resolve() },
	"cancel outer":  func(a *adoption) { a.outer.cancel() },
	"resolve inner": func(a *adoption) { a.inner.resolve() },
	"reject inner":  func(a *adoption) { a.inner.reject() },
	"cancel inner":  func(a *adoption) { a.inner.cancel() },
	"then inner":    func(a *adoption) { a.inner.then() },
	"drop inner":    func(a *adoption) { a.inner.kids[0].Cancel(nil) },
	"cancel tip":    func(a *adoption) { a.tipCanceled = a.tip.Cancel(nil) || a.tipCanceled },
	"await tip": func(a *adoption) {
		v, err := a.tip.Await(a.ctx)
		if r, ok := a.tip.Poll(); !ok || v != r.Value || !errors.Is(err, r.Err) {
			a.require(a.ended && errors.Is(err, errEnded), "Await returned %d, %v", v, err)
		}
	},
	"end": func(a *adoption) {
		a.Point("end", a.ctx)
		a.ended = true
		a.end(errEnded)
	},
}

func newAdoption(w *world, doing []string, cancelers bool) func() {
	a := &adoption{world: w}
	a.outer.init(w, "outer", cancelers)
	a.inner.init(w, "inner", cancelers)
	a.ctx, a.end = context.WithCancelCause(context.Background())
	if slices.Contains(doing, "drop inner") {
		a.inner.then()
	}
	a.tip = name(w, twill.ThenFuture(a.outer.f, func(int) *twill.Future[int] {
		w.Point("handler", a)
		a.runs++
		return a.inner.f
	}), "tip")
	for _, what := range doing {
		w.Go(what, func() { adoptActs[what](a) })
	}
	return func() { a.check(doing, cancelers) }
}

func (a *adoption) check(doing []string, cancelers bool) {
	_, ended := a.tip.Poll()
	// A canceled future ends, unless the work had ended before the cancelers ran.
	a.require(ended || cancelers || !slices.Contains(doing, "cancel tip"), "the cancel was lost")
	outer, inner := 0, a.inner.users()
	if !ended {
		outer = 1
		if a.runs > 0 {
			inner++
		}
	}
	a.outer.check(a.world, "outer", outer)
	a.inner.check(a.world, "inner", inner)
	a.outer.p.Resolve(1)
	a.inner.p.Resolve(2)
	r, ok := a.tip.Poll()
	a.require(ok, "the tip is pending")
	a.require(!a.tipCanceled || canceled(a.tip), "a cancel of the tip won, and it is not canceled")
	o, _ := a.outer.f.Poll()
	i, _ := a.inner.f.Poll()
	switch {
	case a.runs > 1:
		a.require(false, "the handler ran %d times", a.runs)
	case canceled(a.tip):
	case a.runs == 1:
		a.require(r == i, "the tip is %v, the inner future %v", r, i)
	default:
		a.require(r.Err != nil && r.Err == o.Err, "the tip is %v, the outer future %v", r, o)
	}
}

func TestAdoption(t *testing.T) {
	var all totals
	sensible := func(doing []string) bool {
		await, end := slices.Contains(doing, "await tip"), slices.Contains(doing, "end")
		outer := slices.Contains(doing, "resolve outer") || slices.Contains(doing, "cancel outer")
		return await == end && (outer || slices.Contains(doing, "cancel tip"))
	}
	for cancelers, n := range map[bool]int{true: 2, false: 3} {
		scenario := func(w *world, doing []string) func() { return newAdoption(w, doing, cancelers) }
		each(t, &all, plan{large: true}, sensible, scenario, n, "resolve outer", "cancel outer", "resolve inner", "reject inner",
			"cancel inner", "then inner", "drop inner", "cancel tip", "await tip", "end")
	}
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 20_000)
	}
}
