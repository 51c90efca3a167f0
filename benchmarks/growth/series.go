package main

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/benchmarks/internal/plot"
)

// series is one kind of work at several sizes.
type series struct {
	name  string
	sizes plot.Range
	// run does the work once with n elements, and returns its duration without the
	// preparations.
	run func(n int) time.Duration
}

var all = []series{
	{"All over n futures", plot.Range{First: 10, Last: 1_000_000}, list},
	{"a chain of n handlers", plot.Range{First: 10, Last: 1_000_000}, chain},
	{"n handlers on one future", plot.Range{First: 10, Last: 1_000_000}, handlers},
	{"n goroutines in Await", plot.Range{First: 1, Last: 100_000}, waiters},
	{"n that wait for a line of n", plot.Range{First: 1000, Last: 1_000_000}, adopters},
	{"n that wait for an All of n", plot.Range{First: 1000, Last: 1_000_000}, listAdopters},
	{"a line joined in pairs", plot.Range{First: 1000, Last: 1_000_000}, joins},
}

// each returns the cost of one of n elements, in nanoseconds: that of the
// fastest round, which other load on the machine disturbed least.
func (s series) each(n, rounds int) float64 {
	// Small sizes are repeated so that they can be measured, and so that they have
	// their share of garbage collections.
	repeat := max(100_000/n, 1)
	best := 0.0
	for range rounds {
		runtime.GC()
		var total time.Duration
		for range repeat {
			total += s.run(n)
		}
		if ns := float64(total) / float64(repeat) / float64(n); best == 0 || ns < best {
			best = ns
		}
	}
	return best
}

func same(v int) (int, error) { return v, nil }

// list makes n futures, gathers them with All and resolves each.
func list(n int) time.Duration {
	promises := make([]*twill.Promise[int], n)
	futures := make([]*twill.Future[int], n)
	began := time.Now()
	for i := range promises {
		promises[i] = twill.NewPromise[int]()
		futures[i] = promises[i].Future()
	}
	all := twill.All(futures...)
	for i, p := range promises {
		p.Resolve(i)
	}
	r, ok := all.Poll()
	check(ok && len(r.Value) == n)
	return time.Since(began)
}

// chain builds n handlers on each other and resolves the first future.
func chain(n int) time.Duration {
	began := time.Now()
	p := twill.NewPromise[int]()
	f := p.Future()
	for range n {
		f = twill.Then(f, same)
	}
	p.Resolve(1)
	_, ok := f.Poll()
	check(ok)
	return time.Since(began)
}

// adopters has n handlers return the last future of a line of n, and takes the
// time of that alone: each is checked for a cycle.
func adopters(n int) time.Duration {
	f := new(twill.Promise[int]).Future()
	for range n {
		f = twill.Then(f, same)
	}
	return adopt(n, f)
}

// listAdopters does the same with a list of n.
func listAdopters(n int) time.Duration {
	promises := make([]twill.Promise[int], n)
	futures := make([]*twill.Future[int], n)
	for i := range promises {
		futures[i] = promises[i].Future()
	}
	return adopt(n, twill.All(futures...))
}

func adopt[T any](n int, f *twill.Future[T]) time.Duration {
	starts := make([]twill.Promise[int], n)
	for i := range starts {
		twill.ThenFuture(starts[i].Future(), func(int) *twill.Future[T] { return f }).OnSettled(func(T, error) {})
	}
	began := time.Now()
	for i := range starts {
		starts[i].Resolve(i)
	}
	return time.Since(began)
}

// joins makes n futures that each wait for the one before, first of each pair
// the second, so that a line takes one pair after another.
func joins(n int) time.Duration {
	starts := make([]twill.Promise[int], n)
	tail := new(twill.Promise[int]).Future()
	for i := range starts {
		before := tail
		tail = twill.ThenFuture(starts[i].Future(), func(int) *twill.Future[int] { return before })
		tail.OnSettled(func(int, error) {})
	}
	began := time.Now()
	for _, first := range []int{1, 0} {
		for i := first; i < n; i += 2 {
			starts[i].Resolve(i)
		}
	}
	return time.Since(began)
}

// handlers adds n handlers to one future and resolves it.
func handlers(n int) time.Duration {
	ran := 0
	count := func(v int) (int, error) {
		ran++
		return v, nil
	}
	began := time.Now()
	p := twill.NewPromise[int]()
	for range n {
		twill.Then(p.Future(), count)
	}
	p.Resolve(1)
	check(ran == n)
	return time.Since(began)
}

// waiters makes n goroutines wait, resolves, and measures the time until all
// have returned.
func waiters(n int) time.Duration {
	var p twill.Promise[int]
	var about, done sync.WaitGroup
	about.Add(n)
	for range n {
		done.Go(func() {
			about.Done()
			v, err := p.Future().Await(context.Background())
			check(v == 1 && err == nil)
		})
	}
	about.Wait()
	// They are about to wait; nothing shows when they do.
	for range 10 {
		runtime.Gosched()
	}
	time.Sleep(time.Duration(n) * time.Microsecond / 10)
	began := time.Now()
	p.Resolve(1)
	done.Wait()
	return time.Since(began)
}

func check(ok bool) {
	if !ok {
		panic("growth: the work was not done")
	}
}
