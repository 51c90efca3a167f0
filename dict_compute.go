package twill

import (
	"context"
	"sync/atomic"

	"github.com/twillgo/twill/internal/settle"
)

// GetOrCompute is Get that has fn called, on a goroutine of its own, to make
// the value of a missing key. Those who ask for the same key while fn runs share
// that one call. Its value is stored, unless the key was set meanwhile: then that is
// what everybody gets, at the time it was set. If fn fails, panics or ends its
// goroutine, the futures of GetOrCompute fail with that and nothing is stored;
// those of Get go on waiting. What fn makes for a key that does not equal itself
// goes to the one who asked, and is not stored.
//
// fn gets a context with the values of ctx, which ends when nobody needs fn any more:
// when the last of these futures was cancelled, or their contexts ended, or the key
// was set. As with a [Pooler], fn is never called twice at a time for a key, and a
// GetOrCompute for a key within fn for the same key fails with [ErrReentrant].
func (d *Dict[K, V]) GetOrCompute(ctx context.Context, k K, fn func(context.Context) (V, error)) *Future[V] {
	if ctx == nil {
		panic("twill: GetOrCompute with a nil context")
	}
	if fn == nil {
		panic("twill: GetOrCompute with a nil function")
	}
	if f := d.value(k); f != nil {
		return f
	}
	pooler, err := d.computing()
	if err != nil {
		return Rejected[V](err)
	}
	w := &computeWaiter[K, V]{dictWaiter: dictWaiter[K, V]{d: d, k: k}}
	w.link.Do = w
	w.f.core.SetUp(&w.link)
	made(&w.f.core)

	f, err := d.wait(&w.dictWaiter)
	if err != nil {
		return Rejected[V](err)
	}
	if f != &w.f {
		return f // it came meanwhile
	}
	w.call.Store(w.ask(ctx, pooler, computation[K, V]{k, fn}))
	if w.f.core.Settled() {
		w.leave() // it was settled before there was a call to leave
	}
	return &w.f
}

// computation is what the Dict's pooler is called with.
type computation[K comparable, V any] struct {
	k  K
	fn func(context.Context) (V, error)
}

// computing is the pooler that calls the functions of GetOrCompute.
func (d *Dict[K, V]) computing() (*Pooler[computation[K, V], V], error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed != nil {
		return nil, d.closed
	}
	if d.pooler == nil {
		d.pooler = NewPoolerFunc(func(c computation[K, V]) K { return c.k }, d.compute)
	}
	return d.pooler, nil
}

func (d *Dict[K, V]) compute(ctx context.Context, c computation[K, V]) (V, error) {
	if v, ok := d.Lookup(c.k); ok {
		return v, nil // set since it was missing
	}
	v, err := c.fn(ctx)
	if err != nil || ctx.Err() != nil { // what nobody needs is not stored
		return v, err
	}
	if !findable(c.k) {
		return v, nil // nobody would find it; each caller gets what it made
	}
	now, waiters, err := d.store(c.k, Resolved(v), func(now *Future[V]) bool { return now == nil })
	tell(waiters, v, nil)
	if err != nil {
		return v, err
	}
	return now.val, nil
}

// computeWaiter is a dictWaiter that keeps a call of the pooler going.
type computeWaiter[K comparable, V any] struct {
	dictWaiter[K, V]
	call atomic.Pointer[Future[struct{}]]
}

// ask calls the function, or joins the call that is underway. Its success comes
// to w by way of the Dict, where it is stored.
func (w *computeWaiter[K, V]) ask(ctx context.Context, pooler *Pooler[computation[K, V], V], c computation[K, V]) *Future[struct{}] {
	return HandleFuture(pooler.Call(ctx, c), func(v V, err error) *Future[struct{}] {
		switch {
		case err == nil && findable(c.k):
			if w.waits() {
				return w.ask(ctx, pooler, c) // stored and deleted again before w came
			}
		case w.part(): // else it gets a value that was stored meanwhile
			w.f.settleResult(v, err)
		}
		return Resolved(struct{}{})
	})
}

// leave is called when the key was set, or the wait failed.
func (w *computeWaiter[K, V]) leave() {
	if call := w.call.Load(); call != nil {
		call.Cancel(ErrNotNeeded)
	}
}

// Fire is called when the wait is cancelled.
func (w *computeWaiter[K, V]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	w.part()
	core, list := w.end(left) // before the call, whose failure would come first
	if call := w.call.Load(); call != nil {
		call.Cancel(causeOf(left.Err))
	}
	return core, list
}
