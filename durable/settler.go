package durable

import (
	"sync"
	"sync/atomic"
	"time"
)

// settler settles the futures of jobs whose ends are on disk. It uses one
// goroutine for those of a transaction, as waking one for each would cost more
// than the settling. Handlers of the futures may block, and may end the
// goroutine: when one takes long, each of the other futures gets a goroutine.
type settler[A, R any] struct {
	q *Queue[A, R]

	mu      sync.Mutex
	list    []*ending[A, R]
	current *settling[A, R] // that will look at list, nil if there is none
}

// settling is the work of one goroutine.
type settling[A, R any] struct {
	s     *settler[A, R]
	ends  atomic.Pointer[ends[A, R]] // what it is at, nil if that is nothing
	timer *time.Timer

	// What the timer has seen.
	seen     *ends[A, R]
	seenNext int64
}

// ends are jobs whose futures are to be settled. Each is taken by one
// goroutine.
type ends[A, R any] struct {
	list []*ending[A, R]
	next atomic.Int64 // of list
}

// take returns the next one, nil if all were taken.
func (e *ends[A, R]) take() *ending[A, R] {
	if i := e.next.Add(1) - 1; i < int64(len(e.list)) {
		return e.list[i]
	}
	return nil
}

// patience is how long a handler may take until the other futures are settled
// without waiting for it. It may take twice as long until that is noticed.
const patience = time.Millisecond

// add settles the future of e soon. It does not wait.
func (s *settler[A, R]) add(e *ending[A, R]) {
	s.mu.Lock()
	s.list = append(s.list, e)
	var begin *settling[A, R]
	if s.current == nil {
		begin = &settling[A, R]{s: s}
		s.current = begin
	}
	s.mu.Unlock()
	if begin != nil {
		s.q.kept.run(begin.run)
	}
}

func (t *settling[A, R]) run() {
	returned := false
	defer func() {
		if !returned { // a handler has ended the goroutine
			t.handOver()
		}
		if t.timer != nil {
			t.timer.Stop()
		}
	}()
	for list := t.following(); list != nil; list = t.following() {
		t.s.q.forget(list)
		all := &ends[A, R]{list: list}
		t.ends.Store(all)
		if t.replaced() { // look was called before the Store
			t.handOver()
			break
		}
		t.watch()
		for e := all.take(); e != nil; e = all.take() {
			e.finish()
		}
	}
	returned = true
}

// watch starts the timer.
func (t *settling[A, R]) watch() {
	if t.timer == nil {
		t.s.mu.Lock() // which look waits for
		t.timer = time.AfterFunc(patience, t.look)
		t.s.mu.Unlock()
	}
}

// replaced reports whether look has handed over, and does not look again.
func (t *settling[A, R]) replaced() bool {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return t.s.current != t
}

// following returns the list, and nil if there is nothing more to do for t.
func (t *settling[A, R]) following() []*ending[A, R] {
	s := t.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != t {
		return nil
	}
	list := s.list
	if len(list) == 0 {
		s.current = nil
		return nil
	}
	s.list = make([]*ending[A, R], 0, len(list))
	return list
}

// look is called by the timer, until t has nothing more to do.
func (t *settling[A, R]) look() {
	all := t.ends.Load()
	next := all.next.Load()
	if all == t.seen && next == t.seenNext && next <= int64(len(all.list)) {
		t.handOver()
		return
	}
	t.seen, t.seenNext = all, next
	t.s.mu.Lock()
	if t.s.current == t {
		t.timer.Reset(patience)
	}
	t.s.mu.Unlock()
}

// handOver gives each of the others a goroutine.
func (t *settling[A, R]) handOver() {
	s := t.s
	s.mu.Lock()
	var list []*ending[A, R]
	if s.current == t {
		list = s.list
		s.list, s.current = nil, nil
	}
	s.mu.Unlock()
	s.q.forget(list)
	all := t.ends.Load()
	if next := all.next.Swap(int64(len(all.list)) + 1); next < int64(len(all.list)) {
		list = append(list, all.list[next:]...)
	}
	for _, e := range list {
		s.q.kept.run(e.finish)
	}
}
