package twill

import (
	"iter"
	"runtime"
	"slices"

	"github.com/twillgo/twill/internal/settle"
)

// Series calls the steps one after another: the first step with first, and each
// other step with the value of the future that the step before it returned. It
// returns a future of the last value or, without steps, of first. [SeriesOf] is
// the form for steps that are made as they are needed. Series is the equivalent
// of Twisted's sequential decorator and of a function under inlineCallbacks.
// Straight code with [Go] and [Future.Await] does the same; a Series needs no
// goroutine. Unlike a chain of [ThenFuture], [SeriesOf] asks for a step only
// after the previous step has succeeded.
//
// The first failure ends the series, which fails with the same error; the steps
// after it are not called. If a step panics, ends its goroutine or returns nil,
// the series fails too.
//
// The first step runs before Series returns. Each other step runs on the
// goroutine that settles the future before it. A step should not block. Steps
// never overlap. The stack does not grow, even if all futures have settled
// already.
//
// Canceling the series cancels the future of the current step, by the rules of
// [Future.Cancel], and no other step is called: if that future succeeds and
// steps are left, the series fails with the [*CanceledError].
//
// steps is copied. A step that has been called is released.
func Series[T any](first T, steps ...func(T) *Future[T]) *Future[T] {
	for _, step := range steps {
		if step == nil {
			panic("twill: Series with a nil step")
		}
	}
	steps = slices.Clone(steps)
	n := new(seriesNode[T])
	n.next = func() (step func(T) *Future[T], ok bool) {
		if len(steps) == 0 {
			return nil, false
		}
		step, steps[0] = steps[0], nil
		steps = steps[1:]
		return step, true
	}
	return n.begin(first)
}

// SeriesOf is [Series] for steps that are made as they are needed: a step is
// taken from the sequence when the step before it has succeeded. The sequence
// runs on the same goroutines as the steps, and is stopped when the series
// settles. If the series and the future that it waits for are both dropped, the
// sequence is stopped some time later, on its own goroutine; a panic of the
// sequence is then reported to [OnUnhandled].
func SeriesOf[T any](first T, steps iter.Seq[func(T) *Future[T]]) *Future[T] {
	if steps == nil {
		panic("twill: SeriesOf with nil steps")
	}
	n := new(seriesNode[T])
	n.next, n.stop = iter.Pull(steps)
	n.dropped = runtime.AddCleanup(n, stopDropped, n.stop)
	return n.begin(first)
}

// stopDropped ends the sequence of a series that can no longer continue. The
// goroutine of the garbage collector calls it, and must not run user code.
func stopDropped(stop func()) {
	go func() {
		defer func() {
			if v := recover(); v != nil {
				report(caught(v))
			}
		}()
		stop()
	}()
}

// seriesNode listens to the future of one step after another, each time with
// the same link: it moves to the next future only after the previous one has
// settled, when nothing reads the link.
type seriesNode[T any] struct {
	f    Future[T]
	link settle.Link
	next func() (func(T) *Future[T], bool)
	stop func()
	// dropped stops the sequence if the node becomes garbage before it settles:
	// the coroutine of an iter.Pull is never collected.
	dropped runtime.Cleanup
	cur     *Future[T] // of the last step called; guarded by the lock of f
	requests
}

func (n *seriesNode[T]) begin(first T) *Future[T] {
	settle.Made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	start := &seriesStart[T]{n: n, first: first}
	settle.Run(start, nil)
	return &n.f
}

// seriesStart makes the first steps run as all others do, with their panics
// contained.
type seriesStart[T any] struct {
	n     *seriesNode[T]
	first T
}

// Fire takes the first step.
func (s *seriesStart[T]) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	return s.n.advance(s.first)
}

// Abort fails the series.
func (s *seriesStart[T]) Abort(err error) (*settle.Core, *settle.Link) { return s.n.Abort(err) }

// Source returns nil: a seriesStart is not a future.
func (s *seriesStart[T]) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// Owner is nil for the same reason.
func (s *seriesStart[T]) Owner() *settle.Core { return nil }

// advance takes steps until it has to wait for the future of one.
func (n *seriesNode[T]) advance(v T) (*settle.Core, *settle.Link) {
	c := &n.f.core
	for {
		step, ok := n.next()
		if !ok {
			return n.end(v, nil)
		}
		if ask := n.asked(); ask != nil {
			return n.fail(ask)
		}
		if step == nil {
			panic("twill: SeriesOf with a nil step") // the panic fails the series
		}
		f := step(v)
		if f == nil {
			return n.fail(settle.NewFailure(errNoFuture))
		}
		w := c.Lock()
		n.cur = f
		c.Unlock(w)
		if f.core.AddPending(&n.link, 1) {
			// From here on other goroutines may fire n.
			if c.Depends(&f.core) && f.core.Remove(&n.link, 1) {
				return n.fail(settle.NewFailure(ErrCycle))
			}
			n.pass(c) // a cancel that arrived while the step ran found no source
			return nil, nil
		}
		if f.core.Failure() != nil {
			return n.taken(f)
		}
		v = f.val
	}
}

// Fire continues with the result of a step.
func (n *seriesNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	switch {
	case left != nil:
		return n.fail(left)
	case n.f.core.Settled():
		return nil, nil // Abort has settled it while it was waiting
	}
	return n.taken(n.cur)
}

// taken continues with the result of f.
func (n *seriesNode[T]) taken(f *Future[T]) (*settle.Core, *settle.Link) {
	if fail := f.core.Failure(); fail != nil {
		return n.fail(fail)
	}
	return n.advance(f.val)
}

func (n *seriesNode[T]) asked() *settle.Failure {
	w := n.f.core.Lock()
	defer n.f.core.Unlock(w)
	return n.ask
}

// Source returns the future of the current step.
func (n *seriesNode[T]) Source(ask *settle.Failure) (*settle.Core, bool) {
	n.note(ask)
	if n.cur == nil {
		return nil, false
	}
	return &n.cur.core, false
}

// Owner is the core of the future.
func (n *seriesNode[T]) Owner() *settle.Core { return &n.f.core }

// Abort fails the series with the panic or exit of a step.
func (n *seriesNode[T]) Abort(err error) (*settle.Core, *settle.Link) {
	return n.fail(settle.NewFailure(err))
}

func (n *seriesNode[T]) fail(fail *settle.Failure) (*settle.Core, *settle.Link) {
	var none T
	return n.end(none, fail)
}

func (n *seriesNode[T]) end(v T, fail *settle.Failure) (*settle.Core, *settle.Link) {
	c := &n.f.core
	w, ok := c.Begin()
	if !ok {
		return nil, nil
	}
	stop := n.stop
	n.next, n.stop = nil, nil
	c.Unlock(w)
	if stop != nil {
		n.dropped.Stop()
		stop() // runs user code, and may panic
	}
	if w, ok = c.Begin(); !ok {
		return nil, nil
	}
	n.cur, n.requests = nil, requests{}
	n.f.val = v
	return c, c.Publish(w, fail)
}
