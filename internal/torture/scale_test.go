package torture_test

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// Neither a long chain nor many listeners deepen a stack, however the futures
// are connected, and whether a value or a cancel passes through.
func TestLongChains(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	n := times(50_000, 100)
	links := map[string]func(f *twill.Future[int]) *twill.Future[int]{
		"then":        func(f *twill.Future[int]) *twill.Future[int] { return twill.Then(f, add) },
		"then future": func(f *twill.Future[int]) *twill.Future[int] { return twill.ThenFuture(f, addLater) },
		"shield":      (*twill.Future[int]).Shield,
		"follow": func(f *twill.Future[int]) *twill.Future[int] {
			var p twill.Promise[int]
			p.Follow(f)
			return p.Future()
		},
		"list": func(f *twill.Future[int]) *twill.Future[int] { return twill.Any(f) },
	}
	for name, link := range links {
		t.Run(name, func(t *testing.T) {
			for _, cancel := range []bool{false, true} {
				var p twill.Promise[int]
				f := p.Future()
				for range n {
					f = link(f)
				}
				if cancel {
					require.True(t, f.Cancel(nil))
				} else {
					require.True(t, p.Resolve(0))
				}
				_, ok := f.Poll()
				require.True(t, ok)
			}
		})
	}
	t.Run("listeners", func(t *testing.T) {
		var p twill.Promise[int]
		last := 0
		for i := range n {
			p.Future().Tap(func(int, error) { require.Equal(t, i, last); last++ })
		}
		p.Resolve(1)
		require.Equal(t, n, last)
	})
}

func add(v int) (int, error) { return v + 1, nil }

func addLater(v int) *twill.Future[int] { return twill.Resolved(v + 1) }
