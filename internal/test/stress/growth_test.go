//go:build suites

package stress_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/settle"
	"github.com/twillgo/twill/internal/test/kit"
)

// A line is a future with n handlers above it, and the promise at its top.
func line(n int) (top *twill.Promise[int], tail *twill.Future[int]) {
	top = twill.NewPromise[int]()
	tail = top.Future()
	for range n {
		tail = twill.Then(tail, kit.Same[int])
	}
	return top, tail
}

// segments makes n futures, each of which returns the one before it when its
// own promise is resolved, and resolves the promises in the order given.
func segments(n int, order iter.Seq[int]) {
	starts := make([]twill.Promise[int], n)
	tail := twill.NewPromise[int]().Future()
	for i := range starts {
		before := tail
		tail = twill.ThenFuture(starts[i].Future(), func(int) *twill.Future[int] { return before })
		tail.OnSettled(func(int, error) {})
	}
	for i := range order {
		starts[i].Resolve(i)
	}
}

func every(n, step int, from ...int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, first := range from {
			for i := first; i >= 0 && i < n; i += step {
				if !yield(i) {
					return
				}
			}
		}
	}
}

// growths are ways in which futures come to wait for others, n times.
var growths = map[string]func(n int){
	"the tail of a line, with a listener": func(n int) {
		_, tail := line(n)
		for range n {
			start := twill.NewPromise[int]()
			twill.ThenFuture(start.Future(), func(int) *twill.Future[int] { return tail }).OnSettled(func(int, error) {})
			start.Resolve(1)
		}
	},
	"the tail of a line, with a line below each": func(n int) {
		_, tail := line(n)
		for range n / 50 {
			start := twill.NewPromise[int]()
			f := twill.HandleFuture(start.Future(), func(int, error) *twill.Future[int] { return tail })
			for range 50 {
				f = twill.Then(f, kit.Same[int])
			}
			start.Resolve(1)
		}
	},
	"the tail of a line, with one list below all, and a line below that": func(n int) {
		_, tail := line(n)
		starts := make([]twill.Promise[int], n)
		fs := make([]*twill.Future[int], n)
		for i := range fs {
			fs[i] = twill.ThenFuture(starts[i].Future(), func(int) *twill.Future[int] { return tail })
		}
		below := twill.Then(twill.All(fs...), func([]int) (int, error) { return 1, nil })
		for range n {
			below = twill.Then(below, kit.Same[int])
		}
		for i := range starts {
			starts[i].Resolve(i)
		}
	},
	"Follow of the tail of a line": func(n int) {
		_, tail := line(n)
		for range n {
			p := twill.NewPromise[int]()
			twill.Then(p.Future(), kit.Same[int])
			p.Follow(tail)
		}
	},
	"a line of Follows, from the top":  func(n int) { follows(n, every(n, 1, 0)) },
	"a line of Follows, from the tail": func(n int) { follows(n, every(n, -1, n-1)) },
	"Series that come to the tail of a line": func(n int) {
		_, tail := line(n)
		for range n {
			start := twill.NewPromise[int]()
			step := func(f *twill.Future[int]) func(int) *twill.Future[int] {
				return func(int) *twill.Future[int] { return f }
			}
			twill.Series(0, step(start.Future()), step(tail)).OnSettled(func(int, error) {})
			start.Resolve(1)
		}
	},
	"one Series of n steps, with a line below": func(n int) {
		starts := make([]twill.Promise[int], n)
		steps := make([]func(int) *twill.Future[int], n)
		for i := range steps {
			steps[i] = func(int) *twill.Future[int] { return twill.Then(starts[i].Future(), kit.Same[int]) }
		}
		f := twill.Series(0, steps...)
		for range n {
			f = twill.Then(f, kit.Same[int])
		}
		for i := range starts {
			starts[i].Resolve(i)
		}
	},
	"retries that wait for the tail of a line": func(n int) {
		_, tail := line(n)
		call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return tail }, nil)
		for range n {
			call.Start(context.Background()).OnSettled(func(int, error) {})
		}
	},
	"a line that grows at its top":       func(n int) { segments(n, every(n, -1, n-1)) },
	"a line that grows at its tail":      func(n int) { segments(n, every(n, 1, 0)) },
	"pairs that a line takes at its top": func(n int) { segments(n, every(n, -2, n-2, n-1)) },
	"pairs that a line takes at its tail": func(n int) {
		segments(n, every(n, 2, 1, 0))
	},
	"a line that is joined in any order": func(n int) {
		segments(n, slices.Values(rand.New(rand.NewPCG(1, 2)).Perm(n)))
	},
	"a list that is adopted many times": func(n int) {
		_, fs := kit.Promises(n)
		all := twill.All(fs...)
		for range n {
			start := twill.NewPromise[int]()
			twill.ThenFuture(start.Future(), func(int) *twill.Future[[]int] { return all }).OnSettled(func([]int, error) {})
			start.Resolve(1)
		}
	},
	"nested lists that are adopted many times": func(n int) {
		acc := twill.NewPromise[int]().Future()
		for range n {
			acc = twill.First(twill.NewPromise[int]().Future(), acc)
		}
		for range n {
			start := twill.NewPromise[int]()
			twill.ThenFuture(start.Future(), func(int) *twill.Future[int] { return acc }).OnSettled(func(int, error) {})
			start.Resolve(1)
		}
	},
	"a list of futures of one line": func(n int) {
		top, tail := line(1)
		fs := []*twill.Future[int]{top.Future()}
		for range n {
			fs = append(fs, tail)
			tail = twill.Then(tail, kit.Same[int])
		}
		all := twill.All(fs...)
		for range n {
			start := twill.NewPromise[int]()
			twill.ThenFuture(start.Future(), func(int) *twill.Future[[]int] { return all }).OnSettled(func([]int, error) {})
			start.Resolve(1)
		}
	},
	"members that come to wait for one line": func(n int) {
		_, tail := line(n)
		starts := make([]twill.Promise[int], n)
		fs := make([]*twill.Future[int], n)
		for i := range fs {
			fs[i] = twill.ThenFuture(starts[i].Future(), func(int) *twill.Future[int] { return tail })
		}
		start := twill.NewPromise[int]()
		all := twill.All(fs...)
		twill.ThenFuture(start.Future(), func(int) *twill.Future[[]int] { return all }).OnSettled(func([]int, error) {})
		start.Resolve(1)
		for i := range starts {
			starts[i].Resolve(i)
		}
	},
	"a loop by recursion": func(n int) {
		left := n
		var turn func(int) *twill.Future[int]
		var next *twill.Promise[int]
		turn = func(int) *twill.Future[int] {
			if left--; left == 0 {
				return twill.Resolved(1)
			}
			next = twill.NewPromise[int]()
			return twill.ThenFuture(next.Future(), turn)
		}
		f := turn(0)
		f.OnSettled(func(int, error) {})
		for left > 0 {
			next.Resolve(left)
		}
	},
}

func follows(n int, order iter.Seq[int]) {
	ps := make([]twill.Promise[int], n+1)
	for i := range order {
		ps[i+1].Follow(ps[i].Future())
		ps[i+1].Future().OnSettled(func(int, error) {})
	}
}

// The cycle checks of n futures look at a number of cores that is proportional
// to n, but for a factor that grows like the logarithm.
func TestGrowthOfCycleChecks(t *testing.T) {
	for name, grow := range growths {
		t.Run(name, func(t *testing.T) {
			steps := func(n int) float64 {
				before := settle.Walked()
				grow(n)
				return float64(settle.Walked() - before)
			}
			const n = 1000
			small, large := steps(n), steps(8*n)
			t.Logf("%.1f and %.1f cores for each", small/n, large/(8*n))
			require.Less(t, large, max(8*2*small, 8*n*50.0))
		})
	}
}

// nestings put a list around each other, n times; the innermost has the
// promises first.
var nestings = map[string]func(f, acc *twill.Future[int]) *twill.Future[int]{
	"First": func(f, acc *twill.Future[int]) *twill.Future[int] { return twill.First(f, acc) },
	"Any":   func(f, acc *twill.Future[int]) *twill.Future[int] { return twill.Any(f, acc) },
	"All": func(f, acc *twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.All(f, acc), func(vs []int) (int, error) { return vs[1], nil })
	},
	"All, its inner one first": func(f, acc *twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.All(acc, f), func(vs []int) (int, error) { return vs[0], nil })
	},
	"Some": func(f, acc *twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.Some(1, f, acc), func(vs []int) (int, error) { return vs[0], nil })
	},
	"AllSettled": func(f, acc *twill.Future[int]) *twill.Future[int] {
		return twill.Then(twill.AllSettled(f, acc), func(rs []twill.Result[int]) (int, error) { return rs[1].Value, rs[1].Err })
	},
	"Join": func(f, acc *twill.Future[int]) *twill.Future[int] {
		return twill.Combine(f, acc, func(_, v int) (int, error) { return v, nil })
	},
	"DeferredList": func(f, acc *twill.Future[int]) *twill.Future[int] {
		l := twill.NewDeferredList([]*twill.Future[int]{f, acc}, twill.FireOnOneErrback)
		return twill.Then(l, func(r twill.ListResult[int]) (int, error) { return r.Results[1].Value, nil })
	},
}

// Lists nested a million deep settle, fail and are canceled without a stack
// that grows with them. A stack that grows by 80 bytes a level is full at
// 100,000 levels: the kinds that share the machinery of First and All are as
// deep as that.
func TestScaleNestedLists(t *testing.T) {
	kit.SmallStack(t)
	twill.OnUnhandled(nil)
	ends := map[string]func(ps []twill.Promise[int], outer *twill.Future[int]){
		"settle from inside": func(ps []twill.Promise[int], _ *twill.Future[int]) {
			for i := range ps {
				ps[i].Resolve(i)
			}
		},
		"settle from outside": func(ps []twill.Promise[int], _ *twill.Future[int]) {
			for i := range ps {
				ps[len(ps)-1-i].Resolve(i)
			}
		},
		"fail from inside": func(ps []twill.Promise[int], _ *twill.Future[int]) {
			for i := range ps {
				ps[i].Reject(kit.ErrBoom)
			}
		},
		"fail from outside": func(ps []twill.Promise[int], _ *twill.Future[int]) {
			for i := range ps {
				ps[len(ps)-1-i].Reject(kit.ErrBoom)
			}
		},
		"cancel the outermost":  func(_ []twill.Promise[int], outer *twill.Future[int]) { outer.Cancel(nil) },
		"a bound of it":         func(_ []twill.Promise[int], outer *twill.Future[int]) { outer.Timeout(0) },
		"leave it":              func(_ []twill.Promise[int], outer *twill.Future[int]) { twill.Any(outer, twill.Resolved(1)) },
		"cancel the innermost":  func(ps []twill.Promise[int], _ *twill.Future[int]) { ps[0].Future().Cancel(nil) },
		"cancel a middle one":   func(ps []twill.Promise[int], _ *twill.Future[int]) { ps[len(ps)/2].Future().Cancel(nil) },
		"cancel with cancelers": nil,
	}
	for name, nest := range nestings {
		depth := 100_000
		switch {
		case !kit.Long():
			depth = 20_000
		case name == "First" || name == "All":
			depth = 1_000_000
		}
		for end, act := range ends {
			t.Run(fmt.Sprint(name, "/", end), func(t *testing.T) {
				ps := make([]twill.Promise[int], depth)
				if act == nil {
					for i := range ps {
						ps[i].OnCancel(func(error) {})
					}
				}
				acc := ps[0].Future()
				for i := 1; i < depth; i++ {
					acc = nest(ps[i].Future(), acc)
				}
				if act != nil {
					act(ps, acc)
				} else {
					acc.Cancel(nil)
				}
				if end == "cancel the innermost" || end == "cancel a middle one" {
					for i := range ps {
						ps[i].Resolve(i)
					}
				}
				_, ok := acc.Poll()
				require.True(t, ok, "the outermost is pending")
			})
		}
	}
}
