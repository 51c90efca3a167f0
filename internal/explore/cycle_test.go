//go:build explore

package explore_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
)

// ring is a world of promises that come to follow each other in a circle, each
// on a thread of its own.
type ring struct {
	*world
	ps  []*twill.Promise[int]
	via func(*twill.Future[int]) *twill.Future[int] // what is followed for one of them
}

var ringKinds = map[string]func(*twill.Future[int]) *twill.Future[int]{
	"bare": func(f *twill.Future[int]) *twill.Future[int] { return f },
	"a handler": func(f *twill.Future[int]) *twill.Future[int] {
		return twill.Then(f, func(v int) (int, error) { return v, nil })
	},
	"a list": func(f *twill.Future[int]) *twill.Future[int] {
		all := twill.All(new(twill.Promise[int]).Future(), f)
		return twill.Then(all, func([]int) (int, error) { return 1, nil })
	},
}

func newRing(w *world, n int, kind string, watchers []int) func() {
	x := &ring{world: w, via: ringKinds[kind]}
	for i := range n {
		p := new(twill.Promise[int])
		x.ps = append(x.ps, p)
		w.Name(coreOf(p.Future()), fmt.Sprint("p", i))
	}
	sources := make([]*twill.Future[int], n)
	for i := range n {
		sources[i] = x.via(x.ps[(i+1)%n].Future())
	}
	for i := range n {
		w.Go(fmt.Sprint("follow ", i), func() { x.ps[i].Follow(sources[i]) })
	}
	// Others that come to wait for one of them, so that what that waits for is
	// closed while the circle is.
	for _, i := range watchers {
		var p twill.Promise[int]
		p.Future().OnSettled(func(int, error) {})
		w.Go(fmt.Sprint("watch ", i), func() { p.Follow(x.ps[i].Future()) })
	}
	return x.check
}

func (x *ring) check() {
	cycles := 0
	for i, p := range x.ps {
		r, ok := p.Future().Poll()
		x.require(ok, "promise %d waits for itself", i)
		if errors.Is(r.Err, twill.ErrCycle) {
			cycles++
		}
	}
	x.require(cycles > 0, "none says that there was a cycle")
}

// However goroutines close a cycle together, it is opened.
func TestCycles(t *testing.T) {
	var all totals
	for kind := range ringKinds {
		for n, watchers := range map[int][][]int{2: {nil, {0}, {0, 1}, {0, 0}}, 3: {nil, {0}, {1}}} {
			for _, at := range watchers {
				t.Run(fmt.Sprint(kind, "/", n, "/", at), func(t *testing.T) {
					p := plan{large: true, Options: explore.Options{Fair: 60}}
					if n+len(at) > 3 { // too many schedules, with more
						p.Preemptions = 1
					}
					s := search(t, p, func(w *world) func() { return newRing(w, n, kind, at) })
					t.Logf("%+v", s)
					all.Schedules += s.Schedules
				})
			}
		}
	}
	t.Log(all.String())
	require.Greater(t, all.Schedules, 1_000)
}

// A promise that follows something, and others that join it at its top and at
// its tail: that is no cycle.
func TestLinesAreNoCycles(t *testing.T) {
	stats := search(t, plan{large: true, Options: explore.Options{Fair: 60}}, func(w *world) func() {
		var ps [4]twill.Promise[int]
		for i := range ps {
			name(w, ps[i].Future(), fmt.Sprint("p", i))
		}
		ps[3].Future().OnSettled(func(int, error) {})
		for i := range 3 {
			w.Go(fmt.Sprint("follow ", i), func() { ps[i+1].Follow(ps[i].Future()) })
		}
		return func() {
			ps[0].Resolve(5)
			for i := range ps {
				r, _ := ps[i].Future().Poll()
				w.require(r == twill.Result[int]{Value: 5}, "promise %d has %v", i, r)
			}
		}
	})
	t.Logf("%+v", stats)
}
