package twill_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// What Promises/A+ asks for, in terms of typed futures. The numbers are those
// of the sections there.

// aplusLink is one way to add a handler, and on which outcomes that runs.
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

// aplusOutcome settles a promise one way: with 1 or with errFirst.
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

// 2.2.1 to 2.2.3: a handler runs for its side, once, and not before; otherwise the result passes through (2.2.7.3, 2.2.7.4).
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
