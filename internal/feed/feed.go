// Package feed passes events to readers that read at their own pace.
package feed

import (
	"context"
	"iter"
	"slices"

	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
)

// Feeds are the readers of one source. The zero value has none. The lock of
// their owner, which is passed to Subscribe, guards them: Push, Close and Len
// are called with that lock held.
type Feeds[E any] struct {
	feeds  []*Feed[E]
	closed bool
}

// Len returns the number of readers.
func (fs *Feeds[E]) Len() int { return len(fs.feeds) }

// Push adds e to what each reader has not read yet.
func (fs *Feeds[E]) Push(e E) {
	for _, f := range fs.feeds {
		if f.limit > 0 && f.buf.Len() == f.limit {
			f.buf.Pop()
			f.lost++
		}
		f.buf.Push(e)
		f.wake()
	}
}

// Close ends all feeds, and feeds that are subscribed later: each reader
// receives what it has not read yet, and nothing after that.
func (fs *Feeds[E]) Close() {
	fs.closed = true
	for _, f := range fs.feeds {
		f.over = true
		f.wake()
	}
	fs.feeds = nil
}

// Subscribe adds a reader that receives what is pushed from now on, until ctx
// ends. If ctx has ended it receives nothing. A limit above 0 bounds the buffer
// of the reader: beyond it the oldest element is dropped. mu is the owner's
// lock; the caller must not hold it.
func (fs *Feeds[E]) Subscribe(ctx context.Context, mu *sched.Mutex, limit int) *Feed[E] {
	f := &Feed[E]{mu: mu, from: fs, ctx: ctx, limit: limit, more: make(chan struct{}, 1)}
	ended := ctx.Err() != nil // user code, which must not be called with the lock held
	mu.Lock()
	if fs.closed || ended {
		f.over = true
	} else {
		fs.feeds = append(fs.feeds, f)
	}
	mu.Unlock()
	f.stop = context.AfterFunc(ctx, f.leave)
	return f
}

// Feed is the buffer of one reader.
type Feed[E any] struct {
	mu    *sched.Mutex // guards the fields below
	from  *Feeds[E]
	ctx   context.Context
	limit int // 0 means no limit
	buf   ring.Buffer[E]
	lost  int           // number dropped before the first of buf
	over  bool          // nothing more is added
	more  chan struct{} // holds a token if the reader has to check buf
	stop  func() bool   // stops the watch of ctx
}

// All yields what was pushed, each with the number of elements that were
// dropped right before it. After the end of ctx, and after a Close, it yields
// what has not been read yet and ends. It can be used once.
func (f *Feed[E]) All() iter.Seq2[E, int] {
	return func(yield func(E, int) bool) {
		defer f.drop()
		defer f.stop()
		for {
			f.mu.Lock()
			if f.buf.Len() > 0 {
				e, lost := f.buf.Pop(), f.lost
				f.lost = 0
				f.mu.Unlock()
				if !yield(e, lost) {
					return
				}
				continue
			}
			over := f.over
			f.mu.Unlock()
			if over {
				return
			}
			if f.ctx.Err() != nil { // the watch of ctx may be late
				f.leave()
				continue
			}
			select {
			case <-f.more:
			case <-f.ctx.Done():
				f.leave()
			}
		}
	}
}

func (f *Feed[E]) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// leave removes the feed: nothing more is added to it.
func (f *Feed[E]) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	if i := slices.Index(f.from.feeds, f); i >= 0 {
		f.from.feeds = slices.Delete(f.from.feeds, i, i+1)
	}
	f.wake()
}

// drop removes the feed and empties its buffer.
func (f *Feed[E]) drop() {
	f.leave()
	f.mu.Lock()
	f.buf = ring.Buffer[E]{}
	f.mu.Unlock()
}
