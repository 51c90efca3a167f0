package durable

import "sync"

// portion gathers what several goroutines add, and does it in portions on one
// goroutine at a time: waking a goroutine for each would cost more than what
// there is to do.
type portion[T any] struct {
	kept *goroutines
	do   func([]T) // must not block, and must not call user code

	mu      sync.Mutex
	list    []T
	spare   []T  // for the next list
	running bool // there is a goroutine that will look at list
}

// add adds v. It does not wait.
func (p *portion[T]) add(v T) {
	p.mu.Lock()
	p.list = append(p.list, v)
	begin := !p.running
	p.running = true
	p.mu.Unlock()
	if begin {
		p.kept.run(p.run)
	}
}

func (p *portion[T]) run() {
	var done []T
	for {
		clear(done)
		p.mu.Lock()
		if done != nil {
			p.spare = done[:0]
		}
		if len(p.list) == 0 {
			p.running = false
			p.mu.Unlock()
			return
		}
		done, p.list, p.spare = p.list, p.spare, nil
		p.mu.Unlock()
		p.do(done)
	}
}
