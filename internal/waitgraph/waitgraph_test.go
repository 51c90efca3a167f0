package waitgraph_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/waitgraph"
)

func TestCyclesAreRefused(t *testing.T) {
	var a, b, c, d waitgraph.Node
	require.False(t, a.Wait(&a))
	require.True(t, a.Wait(&b))
	require.False(t, b.Wait(&a))
	require.True(t, b.Wait(&c))
	require.True(t, a.Wait(&c), "two ways to one call are no cycle")
	require.True(t, c.Wait(&d))
	require.False(t, d.Wait(&a), "through others")

	b.Done(&c)
	require.False(t, d.Wait(&a), "the other way is still there")
	a.Done(&c)
	require.True(t, d.Wait(&a))
	a.Done(&d) // was never recorded
	new(waitgraph.Node).Done(&d)

	var none *waitgraph.Node
	require.True(t, none.Wait(&a))
	none.Done(&a)
}

func TestWaitsAreCounted(t *testing.T) {
	var a, b waitgraph.Node
	require.True(t, a.Wait(&b))
	require.True(t, a.Wait(&b))
	a.Done(&b)
	require.False(t, b.Wait(&a), "one wait is left")
	a.Done(&b)
	require.True(t, b.Wait(&a))
}

// A call that has returned waits for nothing, even if calls that it has made go
// on.
func TestReturnedCallsWaitForNothing(t *testing.T) {
	var a, b waitgraph.Node
	require.True(t, a.Wait(&b))
	require.False(t, a.Returned())
	a.Return()
	require.True(t, a.Returned())
	require.True(t, b.Wait(&a))
}

func TestWithin(t *testing.T) {
	outer := new(waitgraph.Node)
	middle := &waitgraph.Node{Outer: outer}
	inner := &waitgraph.Node{Outer: middle}
	require.True(t, inner.Within(inner))
	require.True(t, inner.Within(outer))
	require.False(t, outer.Within(inner))
	require.False(t, (*waitgraph.Node)(nil).Within(outer))
}

// A long line of calls needs no stack.
func TestLongLines(t *testing.T) {
	nodes := make([]waitgraph.Node, 100_000)
	for i := range len(nodes) - 1 {
		require.True(t, nodes[i].Wait(&nodes[i+1]))
	}
	require.False(t, nodes[len(nodes)-1].Wait(&nodes[0]))
}

// However goroutines race, the edges never form a cycle: what was accepted can
// be put in an order.
func TestNoCycleWhoeverComesFirst(t *testing.T) {
	for range 200 {
		nodes := make([]waitgraph.Node, 5)
		accepted := make([][]int, len(nodes))
		var wg sync.WaitGroup
		for i := range nodes {
			wg.Go(func() {
				for range 3 {
					if to := rand.IntN(len(nodes)); nodes[i].Wait(&nodes[to]) {
						accepted[i] = append(accepted[i], to)
					}
				}
			})
		}
		wg.Wait()
		state := make([]int, len(nodes))
		var visit func(i int)
		visit = func(i int) {
			require.NotEqual(t, 1, state[i], "a cycle: %v", accepted)
			if state[i] == 0 {
				state[i] = 1
				for _, to := range accepted[i] {
					visit(to)
				}
				state[i] = 2
			}
		}
		for i := range nodes {
			visit(i)
		}
	}
}
