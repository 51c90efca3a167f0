package twill_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// A canceller, and what it holds, is let go as soon as its future is settled.
func TestCancellerIsReleased(t *testing.T) {
	install := func(p *twill.Promise[int]) weak.Pointer[kit.Resource] {
		held := new(kit.Resource)
		p.OnCancel(func(error) { runtime.KeepAlive(held) })
		return weak.Make(held)
	}
	settle := map[string]func(p *twill.Promise[int]){
		"canceller_circular_reference_callback": func(p *twill.Promise[int]) { p.Resolve(1) },
		"canceller_circular_reference_errback":  func(p *twill.Promise[int]) { p.Reject(errors.New("failure")) },
		"cancelled":                             func(p *twill.Promise[int]) { p.Future().Cancel(nil) },
	}
	for name, settle := range settle {
		t.Run(name, func(t *testing.T) {
			p := twill.NewPromise[int]()
			w := install(p)
			runtime.GC()
			require.NotNil(t, w.Value(), "still pending")
			settle(p)
			require.True(t, kit.Released(w))
			runtime.KeepAlive(p)
		})
	}
	t.Run("canceller_circular_reference_non_final: also while the chain goes on", func(t *testing.T) {
		p, inner := twill.NewPromise[int](), twill.NewPromise[int]()
		w := install(p)
		tip := twill.ThenFuture(p.Future(), kit.Returning(inner.Future()))
		p.Resolve(1)
		kit.RequirePending(t, tip)
		require.True(t, kit.Released(w))
		runtime.KeepAlive(p)
		runtime.KeepAlive(inner)
	})
}

// A timer or context that has yet to end does not keep a future that is settled,
// whichever way that was.
func TestSettledLeavesTimersAndContexts(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type fut = *twill.Future[*kit.Resource]
	wraps := map[string]func(f fut) fut{
		"Timeout":     func(f fut) fut { return f.Timeout(time.Hour) },
		"WithContext": func(f fut) fut { return f.WithContext(ctx) },
	}
	settles := map[string]func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool{
		"resolved": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool { return p.Resolve(held) },
		"rejected": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool { return p.Reject(holding{held}) },
		"cancelled": func(p *twill.Promise[*kit.Resource], f fut, held *kit.Resource) bool {
			return f.Cancel(holding{held})
		},
	}
	for name, wrap := range wraps {
		for how, settle := range settles {
			t.Run(name+", "+how, func(t *testing.T) {
				var w weak.Pointer[kit.Resource]
				kit.Drop(func() {
					p := twill.NewPromise[*kit.Resource]()
					f := wrap(p.Future())
					held := new(kit.Resource)
					w = weak.Make(held)
					require.True(t, settle(p, f, held))
					r, ok := f.Poll()
					require.True(t, ok)
					require.Equal(t, how == "resolved", r.Err == nil)
				})
				require.True(t, kit.Released(w))
			})
		}
	}
	require.NoError(t, ctx.Err())
}

// holding is an error that keeps something.
type holding struct{ held *kit.Resource }

func (holding) Error() string { return "holding" }
