package twill

import (
	"context"

	"github.com/twillgo/twill/internal/settle"
)

// Done returns a channel that is closed when f settles, before any handler
// runs: the bridge to select. Calling it again gives the same channel.
// Watching it is no interest in the sense of [Future.Cancel], and takes no error.
func (f *Future[T]) Done() <-chan struct{} {
	if b := f.bridge(); b != nil {
		return b.ctx.Done()
	}
	return closedChan
}

var closedChan = func() <-chan struct{} {
	ch := make(chan struct{})
	close(ch)
	return ch
}()

// Context returns a context that ends when f settles: with f's error as its
// cause if f failed, [context.Canceled] otherwise. See [Future.Done].
func (f *Future[T]) Context() context.Context {
	if b := f.bridge(); b != nil {
		return b.ctx
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	var err error
	if fail := f.core.Failure(); fail != nil {
		err = fail.Err
	}
	cancel(err)
	return ctx
}

// bridge is the one bridge of f, nil if f is settled.
func (f *Future[T]) bridge() *bridgeNode {
	if f.core.Settled() {
		return nil
	}
	n := f.core.Bridged()
	if n == nil {
		b := &bridgeNode{src: &f.core}
		b.ctx, b.cancel = context.WithCancelCause(context.Background())
		b.link.Do = b
		var ok bool
		if n, ok = f.core.Bridge(&b.link); !ok {
			return nil
		}
	}
	return n.(*bridgeNode)
}

type bridgeNode struct {
	link   settle.Link
	src    *settle.Core
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Fire ends the context.
func (b *bridgeNode) Fire(*settle.Failure) (*settle.Core, *settle.Link) {
	var err error
	if fail := b.src.Failure(); fail != nil {
		err = fail.Err
	}
	b.src = nil
	b.cancel(err)
	return nil, nil
}

// Abort is not called: Fire runs no user code.
func (b *bridgeNode) Abort(error) (*settle.Core, *settle.Link) { return nil, nil }

// Source is nil: nothing is cancelled by way of a bridge.
func (b *bridgeNode) Source(*settle.Failure) (*settle.Core, bool) { return nil, false }

// FromContext returns a future that fails with [context.Cause] when ctx ends. It
// never succeeds. A Cancel of it detaches it from ctx.
func FromContext(ctx context.Context) *Future[struct{}] {
	if ctx == nil {
		panic("twill: FromContext with a nil context")
	}
	n := &fromContext{}
	made(&n.f.core)
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	ended := func() { n.f.settle(struct{}{}, settle.NewFailure(context.Cause(ctx))) }
	if ctx.Err() != nil {
		ended()
	} else {
		n.stop = context.AfterFunc(ctx, ended)
	}
	return &n.f
}

type fromContext struct {
	root[struct{}]
	stop func() bool
}

// Fire detaches n from the context.
func (n *fromContext) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	n.stop()
	return n.end(left)
}

// FromChan returns a future of the next value received from ch; a ch that is
// closed fails it with [ErrClosed]. It receives one value at most, on a goroutine
// that lives until then or until Cancel. No value is lost to a
// cancel: one that was received settles the future, and one that was not is
// still in ch.
func FromChan[T any](ch <-chan T) *Future[T] {
	if ch == nil {
		panic("twill: FromChan with a nil channel")
	}
	n := &chanNode[T]{}
	made(&n.f.core)
	select {
	case v, ok := <-ch:
		n.received(v, ok)
		return &n.f
	default:
	}
	n.quit, n.decided = make(chan struct{}), make(chan struct{})
	n.link.Do = n
	n.f.core.SetUp(&n.link)
	go n.receive(ch)
	return &n.f
}

type chanNode[T any] struct {
	root[T]
	quit    chan struct{} // closed to end receive
	decided chan struct{} // closed when receive has a value, which is published, or none
}

func (n *chanNode[T]) receive(ch <-chan T) {
	select {
	case v, ok := <-ch:
		n.received(v, ok)
	case <-n.quit:
		close(n.decided)
	}
}

func (n *chanNode[T]) received(v T, open bool) {
	var fail *settle.Failure
	if !open {
		fail = settle.NewFailure(ErrClosed)
	}
	w, _ := n.f.core.Begin() // a cancel waits for decided
	n.f.val = v
	list := n.f.core.Publish(w, fail)
	if n.decided != nil {
		close(n.decided)
	}
	if list != nil {
		settle.Drain(&n.f.core, list)
	}
}

// Fire stops the receiving goroutine, and waits for what it has to say, which
// depends on no user code.
func (n *chanNode[T]) Fire(left *settle.Failure) (*settle.Core, *settle.Link) {
	close(n.quit)
	<-n.decided
	return n.end(left)
}
