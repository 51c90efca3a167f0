package twill_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// 2.3.1: a future that is to be itself fails.
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

// 2.3.2: a future that a handler returns, in each state it can be in.
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
		"cancelled later":   {finish(plain, func(p *twill.Promise[int]) { p.Future().Cancel(kit.ErrFirst) }), twill.ErrCanceled},
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
