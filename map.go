package twill

import (
	"context"
	"fmt"
	"iter"
)

// Map calls fn for each value of seq, at most width at a time, each on a
// goroutine of its own, and yields the results in the order of seq. An error does not
// end it: break out of the loop to do that.
//
// Up to width values are taken from seq ahead of the result that the loop waits
// for. When the loop is broken out of, or ctx ends, the contexts of the calls underway end,
// and no new ones begin; what they return is dropped. At the end of ctx the
// results still missing are [context.Cause].
//
// Map panics if width is less than 1. A panic of fn is a [*PanicError]. seq is used on
// the goroutine of the loop.
func Map[A, R any](ctx context.Context, seq iter.Seq[A], width int, fn func(ctx context.Context, a A) (R, error)) iter.Seq2[R, error] {
	checkMap("Map", ctx, seq == nil, width, fn == nil)
	return func(yield func(R, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		var window []*Future[R] // underway, in the order of seq
		drop := func(f *Future[R]) {
			if !f.Cancel(ErrNotNeeded) {
				f.Poll() // so that nobody misses its error
			}
		}
		defer func() {
			for _, f := range window {
				drop(f)
			}
			cancel(ErrNotNeeded)
		}()
		next := func() bool {
			f := window[0]
			window[0] = nil
			window = window[1:]
			v, err := f.Await(ctx)
			drop(f) // it may be the context that has ended
			return yield(v, err)
		}
		for a := range seq {
			if len(window) == width && !next() {
				return
			}
			if ctx.Err() != nil {
				break
			}
			window = append(window, Go(ctx, func(ctx context.Context) (R, error) { return fn(ctx, a) }))
		}
		for len(window) > 0 {
			if !next() {
				return
			}
		}
	}
}

// MapCompleted is [Map] that yields the results in the order in which they are
// there, each with the value it belongs to.
func MapCompleted[A, R any](ctx context.Context, seq iter.Seq[A], width int, fn func(ctx context.Context, a A) (R, error)) iter.Seq2[A, Result[R]] {
	checkMap("MapCompleted", ctx, seq == nil, width, fn == nil)
	return func(yield func(A, Result[R]) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(ErrNotNeeded)
		type done struct {
			a A
			r Result[R]
		}
		var results Queue[done] // a put waits for nobody: it may be the loop itself that makes it
		n := 0
		next := func() bool {
			n--
			d, _ := results.Get().Await(context.Background())
			return yield(d.a, d.r)
		}
		for a := range seq {
			if n == width && !next() {
				return
			}
			if ctx.Err() != nil {
				break
			}
			n++
			Go(ctx, func(ctx context.Context) (R, error) { return fn(ctx, a) }).
				WithContext(ctx).
				Tap(func(v R, err error) {
					if _, ok := err.(*CanceledError); ok && ctx.Err() != nil {
						err = context.Cause(ctx)
					}
					_ = results.Put(done{a, Result[R]{v, err}})
				}).
				Catch(func(error) (R, error) { var none R; return none, nil })
		}
		for n > 0 {
			if !next() {
				return
			}
		}
	}
}

func checkMap(name string, ctx context.Context, noSeq bool, width int, noFunc bool) {
	switch {
	case ctx == nil:
		panic("twill: " + name + " with a nil context")
	case noSeq:
		panic("twill: " + name + " with a nil sequence")
	case width < 1:
		panic(fmt.Sprintf("twill: %s with a width of %d", name, width))
	case noFunc:
		panic("twill: " + name + " with a nil function")
	}
}
