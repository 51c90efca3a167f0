package twill_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// 2.2.7.2: what stops a handler is the failure of its own future, and of no other.
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
			require.Contains(t, string(panicked.Stack), "conformance_aplus_panic_test.go")
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
				go settle(p) // Goexit may take the settler's goroutine with it

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

// A handler that stops short does so alike whether it was added before its future
// settled, while the others ran, or after: whoever adds or settles is not hurt.
// (Python's futures raise in the one case and log in the other.)
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
