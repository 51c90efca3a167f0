//go:build suites

package conformance_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// What Promises/A+ requires, in terms of typed futures. The numbers are those
// of its sections.

// aplusLink is one way to add a handler, with the outcomes on which the handler
// runs.
type aplusLink struct {
	name             string
	onValue, onError bool
	observes         bool // the result of the handler is not the result of the link
	add              func(f *twill.Future[int], fn func() (int, error)) *twill.Future[int]
}

func aplusLinks() []aplusLink {
	future := func(fn func() (int, error)) *twill.Future[int] {
		p := twill.NewPromise[int]()
		p.Settle(fn())
		return p.Future()
	}
	type (
		fut = *twill.Future[int]
		fn  = func() (int, error)
	)
	return []aplusLink{
		{"Then", true, false, false, func(f fut, fn fn) fut {
			return twill.Then(f, func(int) (int, error) { return fn() })
		}},
		{"ThenFuture", true, false, false, func(f fut, fn fn) fut {
			return twill.ThenFuture(f, func(int) fut { return future(fn) })
		}},
		{"Catch", false, true, false, func(f fut, fn fn) fut {
			return f.Catch(func(error) (int, error) { return fn() })
		}},
		{"CatchFuture", false, true, false, func(f fut, fn fn) fut {
			return f.CatchFuture(func(error) fut { return future(fn) })
		}},
		{"Handle", true, true, false, func(f fut, fn fn) fut {
			return twill.Handle(f, func(int, error) (int, error) { return fn() })
		}},
		{"HandleFuture", true, true, false, func(f fut, fn fn) fut {
			return twill.HandleFuture(f, func(int, error) fut { return future(fn) })
		}},
		{"Finally", true, true, true, func(f fut, fn fn) fut {
			return f.Finally(func() { fn() })
		}},
		{"Tap", true, true, true, func(f fut, fn fn) fut {
			return f.Tap(func(int, error) { fn() })
		}},
	}
}

// aplusOutcome settles a promise in one way: with 1 or with errFirst.
var aplusOutcomes = map[string]func(p *twill.Promise[int]) bool{
	"value":   func(p *twill.Promise[int]) bool { return p.Resolve(1) },
	"failure": func(p *twill.Promise[int]) bool { return p.Reject(kit.ErrFirst) },
}

// 2.1: a future settles once.
func TestAPlusSettlesOnce(t *testing.T) {
	type call = func(p *twill.Promise[int], n int) bool
	calls := map[string]call{
		"resolve": func(p *twill.Promise[int], n int) bool { return p.Resolve(n) },
		"reject":  func(p *twill.Promise[int], n int) bool { return p.Reject(fmt.Errorf("failure %d", n)) },
		"cancel":  func(p *twill.Promise[int], n int) bool { return p.Future().Cancel(fmt.Errorf("cause %d", n)) },
		"settle":  func(p *twill.Promise[int], n int) bool { return p.Settle(n, nil) },
		"follow":  func(p *twill.Promise[int], n int) bool { return p.Follow(twill.Resolved(n)) },
	}
	for first, winner := range calls {
		for second, loser := range calls {
			t.Run(first+" then "+second, func(t *testing.T) {
				p := twill.NewPromise[int]()
				require.True(t, winner(p, 1))
				before, ok := p.Future().Poll()
				require.True(t, ok)
				require.False(t, loser(p, 2))
				after, _ := p.Future().Poll()
				require.Equal(t, before, after)
			})
		}
		t.Run(first+" refused inside a handler", func(t *testing.T) {
			p := twill.NewPromise[int]()
			late := true
			p.Future().Tap(func(int, error) { late = winner(p, 2) })
			p.Resolve(1)
			require.False(t, late)
			kit.RequireValue(t, 1, p.Future())
		})
	}
}

// 2.2.1 to 2.2.3: a handler runs for its outcome, once, and not before it; the
// other outcome passes through (2.2.7.3, 2.2.7.4).
func TestAPlusHandlerRunsOnce(t *testing.T) {
	for _, link := range aplusLinks() {
		for outcome, settle := range aplusOutcomes {
			runs := link.onValue && outcome == "value" || link.onError && outcome == "failure"
			for _, added := range []string{"before", "after", "during"} {
				t.Run(fmt.Sprintf("%s, %s, added %s", link.name, outcome, added), func(t *testing.T) {
					p := twill.NewPromise[int]()
					calls := 0
					var child *twill.Future[int]
					attach := func() {
						child = link.add(p.Future(), func() (int, error) { calls++; return 5, nil })
					}
					switch added {
					case "before":
						attach()
						require.Zero(t, calls)
						kit.RequirePending(t, child)
					case "during":
						p.Future().Tap(func(int, error) { attach() })
					}
					require.True(t, settle(p))
					if added == "after" {
						attach()
					}
					settle(p)

					require.Equal(t, runs, calls == 1, "%d calls", calls)
					switch {
					case runs && !link.observes:
						kit.RequireValue(t, 5, child)
					case outcome == "value":
						kit.RequireValue(t, 1, child)
					default:
						result, _ := child.Poll()
						require.Same(t, kit.ErrFirst, result.Err)
					}
				})
			}
		}
	}
}

// 2.2.6: any number of handlers, in the order in which they were added.
func TestAPlusOrder(t *testing.T) {
	for outcome, settle := range aplusOutcomes {
		t.Run(outcome+", all kinds", func(t *testing.T) {
			p := twill.NewPromise[int]()
			var got, want []string
			attach := func(round string) {
				for _, link := range aplusLinks() {
					name := round + link.name
					if link.onValue && outcome == "value" || link.onError && outcome == "failure" {
						want = append(want, name)
					}
					link.add(p.Future(), func() (int, error) { got = append(got, name); return 0, nil })
				}
			}
			attach("before ")
			attach("again ")
			settle(p)
			attach("after ")
			require.Equal(t, want, got)
		})
		t.Run(outcome+", one that panics in the middle", func(t *testing.T) {
			p := twill.NewPromise[int]()
			var got []int
			for i := range 3 {
				p.Future().Tap(func(int, error) {
					got = append(got, i)
					if i == 1 {
						panic("in the middle")
					}
				})
			}
			settle(p)
			require.Equal(t, []int{0, 1, 2}, got)
		})
	}
}

// 2.3.1: a future that would adopt itself fails.
func TestAPlusSelfResolution(t *testing.T) {
	type fut = *twill.Future[int]
	tests := map[string]func(f fut, self *fut) fut{
		"ThenFuture":   func(f fut, self *fut) fut { return twill.ThenFuture(f, func(int) fut { return *self }) },
		"HandleFuture": func(f fut, self *fut) fut { return twill.HandleFuture(f, func(int, error) fut { return *self }) },
		"CatchFuture": func(f fut, self *fut) fut {
			failing := twill.Then(f, func(int) (int, error) { return 0, kit.ErrFirst })
			return failing.CatchFuture(func(error) fut { return *self })
		},
		"through a link": func(f fut, self *fut) fut {
			return twill.ThenFuture(f, func(int) fut { return twill.Then(*self, kit.Add(1)) })
		},
		"through a promise": func(f fut, self *fut) fut {
			return twill.ThenFuture(f, func(int) fut {
				p := twill.NewPromise[int]()
				p.Follow(*self)
				return p.Future()
			})
		},
		"through two futures": func(f fut, self *fut) fut {
			return twill.ThenFuture(f, func(int) fut {
				return twill.ThenFuture(twill.Resolved(0), func(int) fut { return *self })
			})
		},
	}
	for name, build := range tests {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPromise[int]()
			var self fut
			self = build(p.Future(), &self)
			p.Resolve(1)
			kit.RequireFailure(t, twill.ErrCycle, self)
		})
	}
}

// 2.3.2: a handler returns a future, in each state that a future can have.
func TestAPlusAdoption(t *testing.T) {
	type fut = *twill.Future[int]
	adopters := map[string]func(inner fut) fut{
		"ThenFuture": func(inner fut) fut {
			return twill.ThenFuture(twill.Resolved(0), func(int) fut { return inner })
		},
		"HandleFuture": func(inner fut) fut {
			return twill.HandleFuture(twill.Rejected[int](kit.ErrSecond), func(int, error) fut { return inner })
		},
		"CatchFuture": func(inner fut) fut {
			return twill.Rejected[int](kit.ErrSecond).CatchFuture(func(error) fut { return inner })
		},
	}
	finish := func(build func(p *twill.Promise[int]) fut, settle func(p *twill.Promise[int])) func() (fut, func()) {
		return func() (fut, func()) {
			p := twill.NewPromise[int]()
			return build(p), func() { settle(p) }
		}
	}
	plain := func(p *twill.Promise[int]) fut { return p.Future() }
	resolve := func(p *twill.Promise[int]) { p.Resolve(7) }
	reject := func(p *twill.Promise[int]) { p.Reject(kit.ErrFirst) }
	states := map[string]struct {
		make func() (inner fut, settle func())
		want error // nil for the value 7
	}{
		"resolved already":  {func() (fut, func()) { return twill.Resolved(7), nil }, nil},
		"rejected already":  {func() (fut, func()) { return twill.Rejected[int](kit.ErrFirst), nil }, kit.ErrFirst},
		"resolved later":    {finish(plain, resolve), nil},
		"rejected later":    {finish(plain, reject), kit.ErrFirst},
		"canceled later":    {finish(plain, func(p *twill.Promise[int]) { p.Future().Cancel(kit.ErrFirst) }), twill.ErrCanceled},
		"tip of a chain":    {finish(func(p *twill.Promise[int]) fut { return p.Future().Finally(func() {}) }, resolve), nil},
		"adopting another":  {finish(func(p *twill.Promise[int]) fut { return adopters["ThenFuture"](p.Future()) }, resolve), nil},
		"adopting, fails":   {finish(func(p *twill.Promise[int]) fut { return adopters["CatchFuture"](p.Future()) }, reject), kit.ErrFirst},
		"following another": {finish(func(p *twill.Promise[int]) fut { q := new(twill.Promise[int]); q.Follow(p.Future()); return q.Future() }, resolve), nil},
	}
	for adopter, adopt := range adopters {
		for state, test := range states {
			t.Run(adopter+", "+state, func(t *testing.T) {
				inner, settle := test.make()
				runs := 0
				outer := adopt(inner).Finally(func() { runs++ })
				if settle != nil {
					kit.RequirePending(t, outer)
					settle()
				}
				require.Equal(t, 1, runs)
				if test.want == nil {
					kit.RequireValue(t, 7, outer)
				} else {
					kit.RequireFailure(t, test.want, outer)
				}
			})
		}
		t.Run(adopter+", no future at all", func(t *testing.T) {
			result, ok := adopt(nil).Poll()
			require.True(t, ok, "pending for ever")
			require.Error(t, result.Err)
			require.NotErrorIs(t, result.Err, kit.ErrSecond, "the handler's own failure is the news")
		})
	}
}

// 2.2.7.2: a panic or exit of a handler fails its own future, and no other.
func TestAPlusPanics(t *testing.T) {
	stops := map[string]struct {
		stop func()
		want func(t *testing.T, err error)
	}{
		"panic with an error": {func() { panic(kit.ErrSecond) }, func(t *testing.T, err error) {
			require.ErrorIs(t, err, kit.ErrSecond)
			var panicked *twill.PanicError
			require.ErrorAs(t, err, &panicked)
		}},
		"panic with a value": {func() { panic(42) }, func(t *testing.T, err error) {
			var panicked *twill.PanicError
			require.ErrorAs(t, err, &panicked)
			require.Equal(t, 42, panicked.Value)
			require.Contains(t, string(panicked.Stack), "aplus_test.go")
		}},
		"Goexit": {runtime.Goexit, func(t *testing.T, err error) { require.ErrorIs(t, err, twill.ErrGoexit) }},
	}
	for _, link := range aplusLinks() {
		for name, stop := range stops {
			t.Run(link.name+", "+name, func(t *testing.T) {
				p := twill.NewPromise[int]()
				child := link.add(p.Future(), func() (int, error) { stop.stop(); return 0, nil })
				sibling := p.Future().Finally(func() {})
				grandchild := child.Catch(func(error) (int, error) { return 6, nil })
				settle := aplusOutcomes["failure"]
				if link.onValue {
					settle = aplusOutcomes["value"]
				}
				go settle(p) // Goexit may end the settler's goroutine

				_, err := child.Await(t.Context())
				stop.want(t, err)
				v, err := grandchild.Await(t.Context())
				require.NoError(t, err)
				require.Equal(t, 6, v)
				v, err = sibling.Await(t.Context())
				if link.onValue {
					require.NoError(t, err)
					require.Equal(t, 1, v)
				} else {
					require.Same(t, kit.ErrFirst, err)
				}
			})
		}
	}
}

// A panic or exit of a handler has the same effect whether the handler was
// added before its future settled, while other handlers ran, or after: the
// goroutine that adds or settles is not affected. (Python's futures raise in
// one case and log in the other.)
func TestAPlusPanicsAlikeWheneverAdded(t *testing.T) {
	for _, link := range aplusLinks() {
		for _, added := range []string{"before", "during", "after"} {
			t.Run(link.name+", added "+added, func(t *testing.T) {
				var child, sibling *twill.Future[int]
				p := twill.NewPromise[int]()
				attach := func() {
					child = link.add(p.Future(), func() (int, error) { panic(kit.ErrSecond) })
					sibling = p.Future().Finally(func() {})
				}
				switch added {
				case "before":
					attach()
				case "during":
					p.Future().Tap(func(int, error) { attach() })
				}
				settle := aplusOutcomes["failure"]
				if link.onValue {
					settle = aplusOutcomes["value"]
				}
				require.True(t, settle(p))
				if added == "after" {
					attach()
				}
				kit.RequireFailure(t, kit.ErrSecond, child)
				r, ok := sibling.Poll()
				require.True(t, ok)
				require.NotErrorIs(t, r.Err, kit.ErrSecond)
			})
		}
	}
}
