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

// one is a world with one future: it has a canceler and a handler from the
// start, and each thread does one thing with it.
type one struct {
	*world
	p    twill.Promise[int]
	f    *twill.Future[int]
	end  context.CancelCauseFunc
	ctx  context.Context
	kids []*kid
	log  []*kid // in the order in which their handlers ran

	resolved, rejected, canceled, cancelers int
	ended                                   bool
}

// kid is a handler on the future.
type kid struct {
	f     *twill.Future[int]
	by    int // the thread that added it; -1 for the first of all
	wants func(err error) bool
	runs  int
	left  bool // its own cancel may have fired it
}

// acts are what a thread may do. Each has a letter, for the names of scenarios.
var acts = map[string]func(w *one, thread int){
	"resolve": func(w *one, _ int) { w.count(&w.resolved, w.p.Resolve(1)) },
	"reject":  func(w *one, _ int) { w.count(&w.rejected, w.p.Reject(errTest)) },
	"cancel":  func(w *one, _ int) { w.count(&w.canceled, w.f.Cancel(nil)) },
	"then":    func(w *one, thread int) { w.then(thread) },
	"twice": func(w *one, thread int) {
		w.then(thread)
		w.then(thread)
	},
	"catch": func(w *one, thread int) {
		k := w.kid(thread, func(err error) bool { return err != nil })
		k.f = w.f.Catch(func(err error) (int, error) { w.run(k, err); return 2, nil })
	},
	"finally": func(w *one, thread int) {
		k := w.kid(thread, func(error) bool { return true })
		k.f = w.f.Finally(func() { w.run(k, nil) })
	},
	"nested": func(w *one, thread int) {
		k := w.kid(thread, func(error) bool { return true })
		k.f = w.f.Tap(func(_ int, err error) {
			w.run(k, err)
			w.then(thread)
		})
	},
	"await": func(w *one, _ int) {
		v, err := w.f.Await(w.ctx)
		r, settled := w.f.Poll()
		if settled && v == r.Value && errors.Is(err, r.Err) {
			return
		}
		w.require(w.ended && errors.Is(err, errEnded), "Await returned %d, %v", v, err)
	},
	"end": func(w *one, _ int) {
		w.Point("end", w.ctx)
		w.ended = true
		w.end(errEnded)
	},
	"drop": func(w *one, thread int) {
		k := w.kids[1]
		k.left = true
		k.f.Cancel(nil)
	},
}

var errEnded = errors.New("ended")

func newOne(w *world, doing []string) *one {
	o := &one{world: w}
	o.f = name(w, o.p.Future(), "f")
	o.p.OnCancel(func(error) {
		w.Point("canceler", &o.log)
		o.cancelers++
	})
	o.ctx, o.end = context.WithCancelCause(context.Background())
	o.then(-1)
	if slices.Contains(doing, "drop") {
		o.then(-1)
	}
	for i, what := range doing {
		w.Go(what, func() { acts[what](o, i) })
	}
	return o
}

func (w *one) count(n *int, won bool) {
	if won {
		*n++
	}
}

func (w *one) kid(by int, wants func(error) bool) *kid {
	k := &kid{by: by, wants: wants}
	w.kids = append(w.kids, k)
	return k
}

// then adds a handler that is called with every outcome.
func (w *one) then(by int) {
	k := w.kid(by, func(error) bool { return true })
	k.f = twill.Handle(w.f, func(v int, err error) (int, error) { w.run(k, err); return v, err })
}

// run records that a handler has run.
func (w *one) run(k *kid, err error) {
	w.Point("handler", &w.log)
	w.require(k.wants(err), "a handler ran with %v", err)
	k.runs++
	w.log = append(w.log, k)
}

// check checks the state after all threads have ended.
func (w *one) check() {
	if _, ok := w.f.Poll(); !ok {
		live := 0
		for _, k := range w.kids {
			if _, ok := k.f.Poll(); !ok {
				live++
			}
		}
		w.require(live == coreOf(w.f).Users(), "%d depend on f, which counts %d", live, coreOf(w.f).Users())
		w.require(live == coreOf(w.f).Listeners(), "%d depend on f, which has %d listeners", live, coreOf(w.f).Listeners())
		w.count(&w.resolved, w.p.Resolve(3))
	}
	winners := w.resolved + w.rejected
	if canceled(w.f) {
		winners++
		w.require(w.cancelers == 1, "canceled, and %d cancelers ran", w.cancelers)
	} else {
		w.require(w.canceled == 0, "a cancel won, and f is not canceled")
		w.require(w.cancelers <= 1, "%d cancelers ran", w.cancelers)
	}
	w.require(winners == 1, "settled %d times", winners)
	w.require(w.canceled <= 1, "canceled %d times", w.canceled)
	r, _ := w.f.Poll()
	for i, k := range w.kids {
		_, ok := k.f.Poll()
		w.require(ok, "the future of handler %d is pending", i)
		w.require(coreOf(k.f).Listeners() == 0, "the future of handler %d has listeners", i)
		want := 0
		if k.left || k.wants(r.Err) {
			want = 1
		}
		w.require(k.runs == want, "handler %d ran %d times, not %d", i, k.runs, want)
	}
	w.order()
}

// order checks that handlers of the same thread ran in the order in which they
// were added.
func (w *one) order() {
	at := func(k *kid) int { return slices.Index(w.log, k) }
	for i, k := range w.kids {
		for _, later := range w.kids[i+1:] {
			if k.left || later.left || k.runs == 0 || later.runs == 0 {
				continue
			}
			if k.by == -1 || k.by == later.by {
				w.require(at(k) < at(later), "the handlers ran out of order")
			}
		}
	}
}

// sensible reports whether the threads can end.
func sensible(doing []string) bool {
	await, end := slices.Contains(doing, "await"), slices.Contains(doing, "end")
	if !await {
		return !end
	}
	return end || slices.Contains(doing, "resolve") || slices.Contains(doing, "reject") || slices.Contains(doing, "cancel")
}

// Everything that three goroutines may do with one future concurrently, and two
// goroutines that do more.
func TestOneFuture(t *testing.T) {
	var all totals
	one := func(w *world, doing []string) func() { return newOne(w, doing).check }
	each(t, &all, plan{}, sensible, one, 3, "resolve", "reject", "cancel", "then", "catch", "finally", "await", "end", "drop")
	each(t, &all, plan{}, sensible, one, 2, "resolve", "reject", "cancel", "twice", "nested", "drop", "await")
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 100_000)
	}
}
