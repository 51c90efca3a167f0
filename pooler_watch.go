package twill

import (
	"github.com/twillgo/twill/internal/list"
	"github.com/twillgo/twill/internal/settle"
)

func (t *table[A, K, V]) empty() *Future[struct{}] {
	w := &idleWaiter[A, K, V]{t: t}
	made(&w.f.core)
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	t.mu.Lock()
	now := t.running.Len() == 0
	if !now {
		t.idle.PushBack(w)
	}
	t.mu.Unlock()
	if now {
		w.f.settle(struct{}{}, nil)
	}
	return &w.f
}

func (t *table[A, K, V]) cancelAll(cause error) {
	t.mu.Lock()
	all := make([]*Future[V], 0, t.waiting)
	for fl := range t.running.All() {
		for at := fl; at != nil; at = at.next {
			for c := at.callers.head; c != nil; c = c.next {
				all = append(all, &c.f)
			}
		}
	}
	t.mu.Unlock()
	each(all, func(f *Future[V]) { f.Cancel(cause) })
}

func (t *table[A, K, V]) underway() []A {
	t.mu.Lock()
	defer t.mu.Unlock()
	args := make([]A, 0, t.running.Len())
	for fl := range t.running.All() {
		args = append(args, fl.arg)
	}
	return args
}

func (t *table[A, K, V]) stats() PoolerStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return PoolerStats{Calls: t.calls, Merged: t.merged, Underway: t.running.Len(), Waiting: t.waiting}
}

// idleWaiter is a future of Empty.
type idleWaiter[A any, K comparable, V any] struct {
	root[struct{}]
	list.Links[*idleWaiter[A, K, V]]
	t *table[A, K, V]
}

// Fire takes a cancelled waiter out.
func (w *idleWaiter[A, K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.t.mu.Lock()
	w.t.idle.Remove(w)
	w.t.mu.Unlock()
	return w.end(left)
}
