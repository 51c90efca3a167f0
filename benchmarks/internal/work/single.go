package work

import (
	"context"
	"sync"
	"testing"

	fanliao "github.com/fanliao/go-promise"
	livekit "github.com/livekit/protocol/utils/promise"
	"github.com/samber/mo"

	"github.com/twillgo/twill"
)

// Create, resolve, read on one goroutine.

func twillCreateResolveRead(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		p := twill.NewPromise[int]()
		p.Resolve(1)
		Sink, _ = p.Future().Await(ctx)
	}
}

func chanCreateResolveRead(b *testing.B) {
	for range b.N {
		c := make(chan int, 1)
		c <- 1
		Sink = <-c
	}
}

func livekitCreateResolveRead(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		p := livekit.New[int]()
		p.Resolve(1, nil)
		Sink, _ = livekit.Await(ctx, p)
	}
}

// A future of mo is resolved by a function that it runs on a goroutine.
func moCreateResolveRead(b *testing.B) {
	for range b.N {
		f := mo.NewFuture(func(resolve func(int), _ func(error)) { resolve(1) })
		Sink, _ = f.Collect()
	}
}

func fanliaoCreateResolveRead(b *testing.B) {
	for range b.N {
		p := fanliao.NewPromise()
		must(b, p.Resolve(1))
		v, _ := p.Get()
		Sink = v.(int)
	}
}

// Read a settled one.

func twillReadSettled(b *testing.B) {
	ctx := context.Background()
	f := twill.Resolved(1)
	for range b.N {
		Sink, _ = f.Await(ctx)
	}
}

func chanReadSettled(b *testing.B) {
	var result int
	done := make(chan struct{})
	result = 1
	close(done)
	for range b.N {
		<-done
		Sink = result
	}
}

func waitGroupReadSettled(b *testing.B) {
	var result int
	var done sync.WaitGroup
	done.Go(func() { result = 1 })
	for range b.N {
		done.Wait()
		Sink = result
	}
}

func livekitReadSettled(b *testing.B) {
	ctx := context.Background()
	p := livekit.NewResolved(1, nil)
	for range b.N {
		Sink, _ = livekit.Await(ctx, p)
	}
}

func moReadSettled(b *testing.B) {
	f := mo.NewFuture(func(resolve func(int), _ func(error)) { resolve(1) })
	for range b.N {
		Sink, _ = f.Collect()
	}
}

func fanliaoReadSettled(b *testing.B) {
	f := fanliao.Wrap(1)
	for range b.N {
		v, _ := f.Get()
		Sink = v.(int)
	}
}
