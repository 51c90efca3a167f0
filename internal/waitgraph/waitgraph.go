// Package waitgraph finds calls that would wait for each other. The nodes are
// calls that are underway; an edge leads from a call to each call that it waits
// for. An edge that would close a cycle is refused.
//
// One lock guards the edges of all graphs, so that calls of different owners
// may wait for each other. It is taken only where a call is made from within
// another one, and nothing else happens while it is held.
package waitgraph

import (
	"slices"
	"sync"
	"sync/atomic"
)

var mu sync.Mutex // guards the edges of all nodes

// Node is a call. The zero value is a call that waits for no other call and was
// not made from within one.
type Node struct {
	// Outer is the call from within which this call was made, or nil. It is set
	// before other goroutines know the node.
	Outer *Node

	returned atomic.Bool
	edges    *[]*Node // the calls for which it waits, each as often as it waits for it
}

// Within reports whether n is call, or was made from within it.
func (n *Node) Within(call *Node) bool {
	for ; n != nil; n = n.Outer {
		if n == call {
			return true
		}
	}
	return false
}

// Wait records that n waits for target, and returns true. If target waits for n
// already, directly or through others, it records nothing and returns false. A
// nil n waits for nothing.
func (n *Node) Wait(target *Node) bool {
	if n == nil {
		return true
	}
	mu.Lock()
	defer mu.Unlock()
	if target.leadsTo(n) {
		return false
	}
	if n.edges == nil {
		n.edges = new([]*Node)
	}
	*n.edges = append(*n.edges, target)
	return true
}

// Done removes one Wait for target.
func (n *Node) Done(target *Node) {
	if n == nil {
		return
	}
	mu.Lock()
	defer mu.Unlock()
	if n.edges == nil {
		return
	}
	if i := slices.Index(*n.edges, target); i >= 0 {
		*n.edges = slices.Delete(*n.edges, i, i+1)
	}
}

// Return records that the call has returned: it no longer waits for anything.
func (n *Node) Return() { n.returned.Store(true) }

// Returned reports whether the call has returned.
func (n *Node) Returned() bool { return n.returned.Load() }

// leadsTo reports whether n is goal or waits for it, directly or through
// others.
func (n *Node) leadsTo(goal *Node) bool {
	if n == goal {
		return true
	}
	if n.edges == nil {
		return false // most calls, for which nothing is allocated here
	}
	seen := map[*Node]bool{n: true}
	for todo := []*Node{n}; len(todo) > 0; {
		at := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if at.edges == nil || at.Returned() {
			continue
		}
		for _, next := range *at.edges {
			if next == goal {
				return true
			}
			if !seen[next] {
				seen[next] = true
				todo = append(todo, next)
			}
		}
	}
	return false
}
