package twill_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// calls is a function to pool: every call of it waits for a result, or for the
// end of its context, and is counted.
type calls struct {
	mu       sync.Mutex
	results  map[string]chan int
	ctxs     []context.Context
	stubborn bool // waits for the result even if the context ends
}

func (c *calls) result(key string) chan int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.results == nil {
		c.results = map[string]chan int{}
	}
	if c.results[key] == nil {
		c.results[key] = make(chan int)
	}
	return c.results[key]
}

func (c *calls) fn(ctx context.Context, key string) (int, error) {
	result := c.result(key)
	c.mu.Lock()
	c.ctxs = append(c.ctxs, ctx)
	c.mu.Unlock()
	done := ctx.Done()
	if c.stubborn {
		done = nil
	}
	select {
	case v := <-result:
		if v < 0 {
			return 0, errBoom
		}
		return v, nil
	case <-done:
		return 0, context.Cause(ctx)
	}
}

func (c *calls) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ctxs)
}

func TestPoolerSharesTheCallUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		ctx := t.Context()
		one, two, other := p.Call(ctx, "a"), p.Call(ctx, "a"), p.Call(ctx, "b")
		require.NotSame(t, one, two)
		synctest.Wait()
		require.Equal(t, 2, c.count())
		require.Equal(t, twill.PoolerStats{Calls: 3, Merged: 1, Underway: 2, Waiting: 3}, p.Stats())
		require.Equal(t, []string{"a", "b"}, slices.Collect(p.All()))
		require.Equal(t, 2, p.Len())
		for range p.All() {
			break
		}

		c.result("a") <- 7
		synctest.Wait()
		requireValue(t, 7, one)
		requireValue(t, 7, two)
		requirePending(t, other)

		again := p.Call(ctx, "a")
		synctest.Wait()
		require.Equal(t, 3, c.count(), "the next call goes through")
		c.result("a") <- -1
		c.result("b") <- 8
		synctest.Wait()
		requireFailure(t, errBoom, again)
		requireValue(t, 8, other)
		require.Equal(t, twill.PoolerStats{Calls: 4, Merged: 1}, p.Stats())
	})
}

// The end of a forgotten call leaves the new one alone.
func TestPoolerForgottenCallEndsFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c promised
		p := twill.NewPoolerFuture(c.fn)
		p.Call(t.Context(), "a")
		p.Forget("a")
		p.Call(t.Context(), "a")
		c.promises[0].Resolve(1)
		joined := p.Call(t.Context(), "a")
		require.Len(t, c.promises, 2)
		c.promises[1].Resolve(2)
		requireValue(t, 2, joined)
	})
}

// Bug of the original: a follower that asked again when it was told got the
// old value, for ever.
func TestPoolerKeyIsFreeBeforeResultsAreDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		var again [2]*twill.Future[int]
		for i := range again {
			p.Call(t.Context(), "a").Tap(func(int, error) { again[i] = p.Call(t.Context(), "a") })
		}
		synctest.Wait()
		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, 2, c.count())
		requirePending(t, again[0])
		c.result("a") <- 2
		synctest.Wait()
		requireValue(t, 2, again[0])
		requireValue(t, 2, again[1])
	})
}

// Bug of the original: the first caller was told last.
func TestPoolerTellsInTheOrderOfCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c calls
		p := twill.NewPooler(c.fn)
		var order []int
		for i := range 10 {
			f := p.Call(t.Context(), "a")
			f.Tap(func(int, error) { order = append(order, i) })
			if i == 4 {
				f.Cancel(nil)
				order = nil
			}
		}
		synctest.Wait()
		c.result("a") <- 1
		synctest.Wait()
		require.Equal(t, []int{0, 1, 2, 3, 5, 6, 7, 8, 9}, order)
	})
}

type request struct {
	user string
	tags []string // no map key can have these
}

func TestPoolerFunc(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		p := twill.NewPoolerFunc(
			func(r request) string { return r.user },
			func(_ context.Context, r request) (int, error) { <-gate; return len(r.tags), nil })
		one := p.Call(t.Context(), request{"ada", []string{"x", "y"}})
		two := p.Call(t.Context(), request{"ada", nil})
		three := p.Call(t.Context(), request{"bob", nil})
		require.Equal(t, 2, p.Len())
		require.Equal(t, []request{{"ada", []string{"x", "y"}}, {"bob", nil}}, slices.Collect(p.All()))
		close(gate)
		awaitValue(t, one, 2)
		awaitValue(t, two, 2)
		awaitValue(t, three, 0)
	})
}

// Bugs of the original: two objects with a method of the same name shared their
// calls, and so did arguments whose hashes were equal.
func TestPoolersShareOnlyEqualKeysOfTheirOwn(t *testing.T) {
	type key struct{ user, tag string }
	gate := make(chan struct{})
	fn := func(by string) func(context.Context, key) (string, error) {
		return func(_ context.Context, k key) (string, error) { <-gate; return by + k.user + k.tag, nil }
	}
	one, two := twill.NewPooler(fn("1")), twill.NewPooler(fn("2"))
	var fs []*twill.Future[string]
	for _, p := range []*twill.Pooler[key, string]{one, two} {
		for _, k := range []key{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "b"}} {
			fs = append(fs, p.Call(t.Context(), k))
		}
	}
	require.Equal(t, twill.PoolerStats{Calls: 4, Merged: 1, Underway: 3, Waiting: 4}, one.Stats())
	require.Equal(t, one.Stats(), two.Stats())
	close(gate)
	for i, f := range fs {
		awaitValue(t, f, []string{"1ab", "2ab"}[i/4])
	}
}
