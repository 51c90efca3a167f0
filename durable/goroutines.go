package durable

import "sync"

// goroutines runs functions on goroutines that are kept for the next ones: the
// stack of a new goroutine has to grow first, which costs more than everything
// else that the memory does for a job.
type goroutines struct {
	mu   sync.Mutex
	idle []chan func() // of each idle goroutine, to receive a function or nil, which ends it; the latest last
	over bool
}

// maxIdle is how many goroutines are kept while there is work.
const maxIdle = 512

// run calls fn on another goroutine, which fn may end. It does not wait.
func (g *goroutines) run(fn func()) {
	g.mu.Lock()
	n := len(g.idle)
	if n == 0 {
		g.mu.Unlock()
		go g.loop(fn)
		return
	}
	next := g.idle[n-1] // its stack is the most likely to be in the processor's cache
	g.idle = g.idle[:n-1]
	g.mu.Unlock()
	next <- fn
}

func (g *goroutines) loop(fn func()) {
	next := make(chan func(), 1)
	for fn != nil {
		fn()
		g.mu.Lock()
		if g.over || len(g.idle) == maxIdle {
			g.mu.Unlock()
			return
		}
		g.idle = append(g.idle, next)
		g.mu.Unlock()
		fn = <-next
	}
}

// trim ends those that are idle.
func (g *goroutines) trim() {
	g.mu.Lock()
	idle := g.idle
	g.idle = nil
	g.mu.Unlock()
	for _, next := range idle {
		next <- nil
	}
}

// close ends those that are idle, and keeps none from now on.
func (g *goroutines) close() {
	g.mu.Lock()
	g.over = true
	g.mu.Unlock()
	g.trim()
}
