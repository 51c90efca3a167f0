package twill_test

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestChainBasics(t *testing.T) {
	t.Run("callbackWithoutArgs: a handler gets the value", func(t *testing.T) {
		p := twill.NewPromise[int]()
		child := twill.Then(p.Future(), kit.Add(1))
		kit.RequirePending(t, child)
		require.True(t, p.Resolve(1))
		kit.RequireValue(t, 2, child)
	})
	t.Run("twoCallbacks: each handler gets what the one before returned", func(t *testing.T) {
		p := twill.NewPromise[int]()
		tip := twill.Then(twill.Then(p.Future(), kit.Add(1)), kit.Add(10))
		p.Resolve(1)
		kit.RequireValue(t, 12, tip)
	})
	t.Run("addCallbacksNoneErrback: a missing side passes through", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		failed := twill.Then(p.Future(), kit.Unexpected[int](t))
		fine := q.Future().Catch(kit.Unexpected[error](t))
		p.Reject(kit.ErrFirst)
		q.Resolve(3)
		kit.RequireFailure(t, kit.ErrFirst, failed)
		kit.RequireValue(t, 3, fine)
	})
}

func TestChainImmediate(t *testing.T) {
	t.Run("immediateSuccess", func(t *testing.T) {
		ran := 0
		child := twill.Then(twill.Resolved(1), func(v int) (int, error) { ran++; return v, nil })
		require.Equal(t, 1, ran, "a settled future runs the handler at once")
		kit.RequireValue(t, 1, child)
	})
	t.Run("succeedMatchesManualSuccess", func(t *testing.T) {
		fail := func(int) (int, error) { return 0, kit.ErrFirst }
		p := twill.NewPromise[int]()
		p.Resolve(1)
		kit.RequireFailure(t, kit.ErrFirst, twill.Then(p.Future(), fail))
		kit.RequireFailure(t, kit.ErrFirst, twill.Then(twill.Resolved(1), fail))
	})
	t.Run("immediateFailure", func(t *testing.T) {
		child := twill.Rejected[int](kit.ErrFirst).Catch(func(err error) (int, error) {
			require.Same(t, kit.ErrFirst, err)
			return 4, nil
		})
		kit.RequireValue(t, 4, child)
	})
	t.Run("callbackErrors: returned", func(t *testing.T) {
		child := twill.Then(twill.Resolved(1), func(int) (int, error) { return 0, kit.ErrFirst })
		kit.RequireFailure(t, kit.ErrFirst, child)
	})
	t.Run("callbackErrors: raised", func(t *testing.T) {
		child := twill.Then(twill.Resolved(1), func(int) (int, error) { panic(kit.ErrFirst) })
		kit.RequireFailure(t, kit.ErrFirst, child)
		result, _ := child.Poll()
		var panicked *twill.PanicError
		require.ErrorAs(t, result.Err, &panicked)
		require.Same(t, kit.ErrFirst, panicked.Value)
		require.NotEmpty(t, panicked.Stack)
	})
	t.Run("a failure goes to the next link, not to the other side of its own", func(t *testing.T) {
		calls := 0
		own := twill.Handle(twill.Resolved(1), func(_ int, err error) (int, error) {
			calls++
			require.NoError(t, err)
			return 0, kit.ErrFirst
		})
		kit.RequireValue(t, 5, own.Catch(func(error) (int, error) { return 5, nil }))
		require.Equal(t, 1, calls)
	})
}

func TestChainOrder(t *testing.T) {
	t.Run("callbackOrderPreserved", func(t *testing.T) {
		var order []int
		p := twill.NewPromise[int]()
		for i := range 5 {
			p.Future().Tap(func(int, error) { order = append(order, i) })
		}
		p.Resolve(0)
		require.Equal(t, []int{0, 1, 2, 3, 4}, order)
	})
	t.Run("innerCallbacksPreserved: the inner future keeps its value and its handlers", func(t *testing.T) {
		var order []string
		note := func(name string) func(int, error) {
			return func(v int, err error) {
				require.NoError(t, err)
				require.Equal(t, 7, v)
				order = append(order, name)
			}
		}
		inner := twill.NewPromise[int]()
		inner.Future().Tap(note("before"))
		outer := twill.ThenFuture(twill.Resolved(0), func(int) *twill.Future[int] { return inner.Future() })
		outer.Tap(note("outer"))
		inner.Future().Tap(note("after"))
		inner.Resolve(7)
		require.ElementsMatch(t, []string{"before", "outer", "after"}, order)
		require.Equal(t, "before", order[0])
		kit.RequireValue(t, 7, inner.Future())
		kit.RequireValue(t, 7, outer)
	})
	t.Run("reentrantRunCallbacks: a handler added by a handler runs after those added before", func(t *testing.T) {
		var order []int
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			order = append(order, 1)
			p.Future().Tap(func(int, error) { order = append(order, 3) })
		})
		p.Future().Tap(func(int, error) { order = append(order, 2) })
		p.Resolve(0)
		require.Equal(t, []int{1, 2, 3}, order)
	})
	t.Run("nonReentrantCallbacks: no handler runs inside another one of the same future", func(t *testing.T) {
		var inside, nested bool
		ran := 0
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			inside = true
			p.Future().Tap(func(int, error) { ran, nested = ran+1, inside })
			inside = false
		})
		p.Resolve(0)
		require.Equal(t, 1, ran)
		require.False(t, nested)
	})
	t.Run("reentrantRunCallbacksWithFailure", func(t *testing.T) {
		var child *twill.Future[int]
		p := twill.NewPromise[int]()
		p.Future().Tap(func(int, error) {
			child = twill.Then(p.Future(), func(int) (int, error) { return 0, kit.ErrFirst })
		})
		p.Resolve(0)
		kit.RequireFailure(t, kit.ErrFirst, child)
		kit.RequireValue(t, 0, p.Future())
	})
	t.Run("boundedStackDepth: a handler far down a chain runs as near to the settler", func(t *testing.T) {
		depth := func(links int) (frames int) {
			p := twill.NewPromise[int]()
			tip := p.Future()
			for range links {
				tip = twill.Then(tip, kit.Add(1))
			}
			tip.Tap(func(int, error) { frames = runtime.Callers(0, make([]uintptr, 10_000)) })
			p.Resolve(0)
			return frames
		}
		require.Positive(t, depth(2))
		require.Equal(t, depth(2), depth(1000))
	})
}
