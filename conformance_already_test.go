package twill_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Where Twisted raises AlreadyCalledError, the late call is told false.
func TestAlreadySettled(t *testing.T) {
	settle := map[byte]func(p *twill.Promise[int], n int) bool{
		'C': func(p *twill.Promise[int], n int) bool { return p.Resolve(n) },
		'E': func(p *twill.Promise[int], n int) bool { return p.Reject(fmt.Errorf("failure %d", n)) },
	}
	for _, debug := range []bool{false, true} {
		for _, calls := range []string{"CC", "CE", "EE", "EC"} {
			t.Run(fmt.Sprintf("%s debug=%v", calls, debug), func(t *testing.T) {
				kit.WithDebug(t, debug)
				p := twill.NewPromise[int]()
				require.True(t, settle[calls[0]](p, 1))
				before, _ := p.Future().Poll()
				require.False(t, settle[calls[1]](p, 2))
				after, _ := p.Future().Poll()
				require.Equal(t, before, after)
				if calls[0] == 'E' {
					require.EqualError(t, after.Err, "failure 1")
				} else {
					require.Equal(t, 1, after.Value)
				}
			})
		}
	}
}

func TestDebugShowsWhere(t *testing.T) {
	const here = "conformance_already_test.go"
	t.Run("NoDebugging", func(t *testing.T) {
		kit.WithDebug(t, false)
		p := twill.NewPromise[int]()
		p.Resolve(1)
		require.NotContains(t, fmt.Sprintf("%+v", p.Future()), here)
	})
	t.Run("where it was made and settled", func(t *testing.T) {
		kit.WithDebug(t, true)
		p := twill.NewPromise[int]()
		made := fmt.Sprintf("%+v", p.Future())
		require.Contains(t, made, here)
		p.Resolve(1)
		require.Greater(t, len(fmt.Sprintf("%+v", p.Future())), len(made), "the settler is shown too")
	})
	t.Run("SwitchDebugging: the settler is shown though debugging came later", func(t *testing.T) {
		kit.WithDebug(t, false)
		p := twill.NewPromise[int]()
		twill.SetDebug(true)
		p.Resolve(1)
		require.Contains(t, fmt.Sprintf("%+v", p.Future()), here)
	})
}
