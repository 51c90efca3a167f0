package jetstream

import (
	"sync"
	"sync/atomic"
)

// goroutines runs functions on goroutines that are kept for the next ones: the
// stack of a new goroutine has to grow first, which costs as much as a request.
type goroutines struct {
	next  chan func() // received by an idle goroutine
	idle  atomic.Int32
	done  chan struct{} // closed when no goroutine is kept any longer
	close func()
}

// maxIdle is how many goroutines are kept.
const maxIdle = 64

func newGoroutines() *goroutines {
	g := &goroutines{next: make(chan func()), done: make(chan struct{})}
	g.close = sync.OnceFunc(func() { close(g.done) })
	return g
}

// run calls fn on another goroutine, which fn may end.
func (g *goroutines) run(fn func()) {
	select {
	case g.next <- fn:
	default:
		go g.loop(fn)
	}
}

func (g *goroutines) loop(fn func()) {
	for {
		fn()
		if g.idle.Add(1) > maxIdle {
			g.idle.Add(-1)
			return
		}
		select {
		case fn = <-g.next:
			g.idle.Add(-1)
		case <-g.done:
			return
		}
	}
}
