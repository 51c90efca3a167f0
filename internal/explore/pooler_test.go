//go:build explore

package explore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
)

// flights is a world with a pooler that has a call underway, with two callers.
type flights struct {
	*world
	p       *twill.Pooler[int, int]
	runs    []*flightRun // runs of the function, in their order
	callers []*flightCaller
}

// flightRun is one run of the function; its result is its number.
type flightRun struct {
	p        twill.Promise[int]
	n        int
	canceled bool
}

func (r *flightRun) over() bool {
	_, ok := r.p.Future().Poll()
	return ok
}

type flightCaller struct {
	f     *twill.Future[int]
	after int // the runs that were over or canceled when the caller called
	left  bool
}

// call calls, and records of which runs it must not get the result.
func (x *flights) call(who string) {
	c := new(flightCaller)
	x.Point("note", x)
	for _, r := range x.runs {
		if r.over() || r.canceled {
			c.after = r.n
		}
	}
	c.f = name(x.world, x.p.Call(context.Background(), 1), who)
	x.Point("note", x)
	x.callers = append(x.callers, c)
}

// run is the function.
func (x *flights) run(context.Context, int) *twill.Future[int] {
	x.Point("note", x)
	r := &flightRun{n: len(x.runs) + 1}
	for _, before := range x.runs {
		x.require(before.over(), "run %d begins, and run %d is not over", r.n, before.n)
	}
	x.runs = append(x.runs, r)
	r.p.OnCancel(func(error) {
		x.Point("note", x)
		r.canceled = true
		if r.n == 1 {
			x.require(x.callers[0].left && x.callers[1].left, "canceled, and not all had left")
		}
	})
	return name(x.world, r.p.Future(), fmt.Sprint("run ", r.n))
}

func (x *flights) leave(i int) {
	x.Point("note", x)
	x.callers[i].left = true
	x.callers[i].f.Cancel(nil)
}

// end ends the run underway, if there is one.
func (x *flights) end() {
	x.Point("note", x)
	if r := x.runs[len(x.runs)-1]; !r.over() {
		r.p.Resolve(r.n)
	}
}

var flightActs = map[string]func(*flights){
	"call":   func(x *flights) { x.call("third") },
	"leave":  func(x *flights) { x.leave(0) },
	"leave2": func(x *flights) { x.leave(1) },
	"end":    (*flights).end,
}

func newFlights(w *world, doing []string) func() {
	x := &flights{world: w}
	x.p = twill.NewPoolerFuture(x.run)
	x.call("first")
	x.call("second")
	for _, what := range doing {
		w.Go(what, func() { flightActs[what](x) })
	}
	return x.check
}

func (x *flights) check() {
	if first := x.runs[0]; x.callers[0].left && x.callers[1].left && len(x.callers) == 2 {
		x.require(first.over(), "all have left, and the call goes on")
	}
	for range x.runs { // each run may start another one
		x.end()
	}
	for i, c := range x.callers {
		r, ok := c.f.Poll()
		x.require(ok, "caller %d waits for ever", i)
		if r.Err != nil {
			x.require(c.left && canceled(c.f), "caller %d, who has left: %t, has %v", i, c.left, r.Err)
			continue
		}
		x.require(r.Value > c.after, "caller %d has the result of run %d, which was over when they called", i, r.Value)
		x.require(!x.runs[r.Value-1].canceled, "caller %d has the result of a canceled run", i)
	}
	s := x.p.Stats()
	x.require(s.Underway == 0 && s.Waiting == 0, "in the end %d are underway, %d wait", s.Underway, s.Waiting)
}

// The call ends when the last caller leaves, and not before; no caller joins a
// call that was canceled or is over; and no two runs overlap.
func TestPoolerCalls(t *testing.T) {
	var all totals
	sensible := func(doing []string) bool {
		n := map[string]int{}
		for _, what := range doing {
			n[what]++
		}
		return n["leave"] < 2 && n["leave2"] < 2
	}
	each(t, &all, plan{large: true, Options: explore.Options{Plain: true}}, sensible, newFlights, 3, "call", "leave", "leave2", "end")
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 1_000)
	}
}

// Two calls, each of which calls with the other's key from within: each would
// wait for the other, so one of them is refused.
func TestPoolerKeysThatWaitForEachOther(t *testing.T) {
	stats := search(t, plan{large: true, Options: explore.Options{Plain: true}}, func(w *world) func() {
		var p *twill.Pooler[int, int]
		inside := map[int]context.Context{}
		work := map[int]*twill.Promise[int]{}
		p = twill.NewPoolerFuture(func(ctx context.Context, key int) *twill.Future[int] {
			inside[key] = ctx
			work[key] = new(twill.Promise[int])
			return work[key].Future()
		})
		one, two := name(w, p.Call(context.Background(), 1), "one"), name(w, p.Call(context.Background(), 2), "two")
		refused := [3]bool{}
		for key := 1; key <= 2; key++ {
			other := 3 - key
			w.Go(fmt.Sprint(key, " asks for ", other), func() {
				f := p.Call(inside[key], other)
				refused[key] = errors.Is(failure(f), twill.ErrReentrant)
				work[key].Follow(name(w, f, fmt.Sprint("inner ", other)))
			})
		}
		return func() {
			w.require(refused[1] || refused[2], "of two that wait for each other one is refused: %v", refused)
			for _, f := range []*twill.Future[int]{one, two} {
				w.require(errors.Is(failure(f), twill.ErrReentrant), "%v", f)
			}
			w.require(p.Len() == 0, "calls are underway in the end")
		}
	})
	t.Logf("%+v", stats)
}

// failure returns the error of f, or nil if f is pending or has succeeded.
func failure[T any](f *twill.Future[T]) error {
	r, _ := f.Poll()
	return r.Err
}
