package twill

import (
	"context"
	"fmt"
	"iter"

	"github.com/twillgo/twill/internal/settle"
)

// AsCompleted returns an iterator over the results of fs in the order in which
// they settle, each with its index in fs; it blocks between them. If ctx ends
// before the last, the index -1 and [context.Cause] as the error are yielded after the
// results that are there, and nothing after that. Breaking out, or the end of ctx, leaves nothing behind, and cancels nothing.
//
// The iterator may be used once for each call of AsCompleted; it takes the
// errors that it yields.
func AsCompleted[T any](ctx context.Context, fs ...*Future[T]) iter.Seq2[int, Result[T]] {
	if ctx == nil {
		panic("twill: AsCompleted with a nil context")
	}
	for i, f := range fs {
		if f == nil {
			panic(fmt.Sprintf("twill: list of futures: number %d is nil", i))
		}
	}
	return func(yield func(int, Result[T]) bool) {
		arrived := make(chan int, len(fs)) // never blocks a settler
		nodes := make([]arrival, len(fs))
		for i, f := range fs {
			nodes[i] = arrival{ch: arrived, i: i}
			nodes[i].link.Do = &nodes[i]
			if !f.core.Add(&nodes[i].link, 1) {
				arrived <- i
			}
		}
		defer func() {
			for i, f := range fs {
				f.core.Remove(&nodes[i].link, 1)
			}
		}()
		for range fs {
			var i int
			select {
			case i = <-arrived: // before all, as select has no order of its own
			default:
				select {
				case i = <-arrived:
				case <-ctx.Done():
					yield(-1, Result[T]{Err: context.Cause(ctx)})
					return
				}
			}
			r, _ := fs[i].Poll()
			if !yield(i, r) {
				return
			}
		}
	}
}

// arrival sends its index when its future settles.
type arrival struct {
	link settle.Link
	ch   chan<- int
	i    int
}

// Fire sends the index.
func (a *arrival) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	a.ch <- a.i
	return nil, nil
}

// Abort is not called: Fire runs no user code.
func (a *arrival) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source is nil: nothing is cancelled by way of an arrival.
func (a *arrival) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }
