package twill

import (
	"context"
	"iter"
	"slices"

	"github.com/twillgo/twill/internal/ring"
	"github.com/twillgo/twill/internal/sched"
)

// feeds are those who read something; the lock of the queue guards them.
type feeds[E any] struct {
	of []*feed[E]
}

// feed is what waits for one reader.
type feed[E any] struct {
	mu    *sched.Mutex // guards the rest
	from  *feeds[E]
	ctx   context.Context
	limit int // 0 is none
	buf   ring.Buffer[E]
	lost  int           // dropped before the first of buf
	over  bool          // nothing more comes
	more  chan struct{} // holds a token if the reader is to look
	leave func() bool
}

func (fs *feeds[E]) push(e E) {
	for _, f := range fs.of {
		if f.limit > 0 && f.buf.Len() == f.limit {
			f.buf.Pop()
			f.lost++
		}
		f.buf.Push(e)
		f.wake()
	}
}

// close ends the feeds, when what waits was read.
func (fs *feeds[E]) close() {
	for _, f := range fs.of {
		f.over = true
		f.wake()
	}
	fs.of = nil
}

func (fs *feeds[E]) subscribe(ctx context.Context, mu *sched.Mutex, limit int, closed func() bool) *feed[E] {
	f := &feed[E]{mu: mu, from: fs, ctx: ctx, limit: limit, more: make(chan struct{}, 1)}
	mu.Lock()
	if closed() {
		f.over = true
	} else {
		fs.of = append(fs.of, f)
	}
	mu.Unlock()
	f.leave = context.AfterFunc(ctx, f.end)
	return f
}

func (f *feed[E]) wake() {
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// end forgets the feed and what waits in it.
func (f *feed[E]) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
	f.buf = ring.Buffer[E]{}
	if i := slices.Index(f.from.of, f); i >= 0 {
		f.from.of = slices.Delete(f.from.of, i, i+1)
	}
}

// all yields what comes, and how much before it was dropped.
func (f *feed[E]) all() iter.Seq2[E, int] {
	return func(yield func(E, int) bool) {
		defer f.end()
		defer f.leave()
		for f.ctx.Err() == nil {
			f.mu.Lock()
			if f.buf.Len() == 0 {
				over := f.over
				f.mu.Unlock()
				if over {
					return
				}
				select {
				case <-f.more:
				case <-f.ctx.Done():
				}
				continue
			}
			e, lost := f.buf.Pop(), f.lost
			f.lost = 0
			f.mu.Unlock()
			if !yield(e, lost) {
				return
			}
		}
	}
}
