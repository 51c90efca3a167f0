package work

import (
	"context"
	"testing"

	fanliao "github.com/fanliao/go-promise"
	livekit "github.com/livekit/protocol/utils/promise"
	"github.com/samber/lo"
	"github.com/samber/mo"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/errgroup"

	"github.com/twillgo/twill"
)

// elsewhere starts a goroutine that calls resolve with everything that it
// receives.
func elsewhere[P any](resolve func(P)) chan<- P {
	pending := make(chan P, 1)
	go func() {
		for p := range pending {
			resolve(p)
		}
	}()
	return pending
}

// Resolve elsewhere, blocking Await(ctx). A new future each time.

func twillAwait(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pending := elsewhere(func(p *twill.Promise[int]) { p.Resolve(1) })
	defer close(pending)
	for range b.N {
		p := twill.NewPromise[int]()
		pending <- p
		Sink, _ = p.Future().Await(ctx)
	}
}

// A plain receive: no context bounds it.
func chanAwait(b *testing.B) {
	pending := elsewhere(func(c chan int) { c <- 1 })
	defer close(pending)
	for range b.N {
		c := make(chan int, 1)
		pending <- c
		Sink = <-c
	}
}

func chanAwaitContext(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pending := elsewhere(func(c chan int) { c <- 1 })
	defer close(pending)
	for range b.N {
		c := make(chan int, 1)
		pending <- c
		select {
		case Sink = <-c:
		case <-ctx.Done():
			b.Fatal(context.Cause(ctx))
		}
	}
}

func livekitAwait(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	pending := elsewhere(func(p *livekit.Promise[int]) { p.Resolve(1, nil) })
	defer close(pending)
	for range b.N {
		p := livekit.New[int]()
		pending <- p
		Sink, _ = livekit.Await(ctx, p)
	}
}

// No context here either.
func fanliaoAwait(b *testing.B) {
	pending := elsewhere(func(p *fanliao.Promise) { _ = p.Resolve(1) })
	defer close(pending)
	for range b.N {
		p := fanliao.NewPromise()
		pending <- p
		v, _ := p.Get()
		Sink = v.(int)
	}
}

// Spawn and await.

func twillSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		Sink, _ = twill.Go(ctx, one).Await(ctx)
	}
}

func errgroupContextSpawn(b *testing.B) {
	for range b.N {
		var v int
		g, ctx := errgroup.WithContext(context.Background())
		g.Go(func() (err error) {
			v, err = one(ctx)
			return err
		})
		must(b, g.Wait())
		Sink = v
	}
}

func errgroupSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		var v int
		var g errgroup.Group
		g.Go(func() (err error) {
			v, err = one(ctx)
			return err
		})
		must(b, g.Wait())
		Sink = v
	}
}

func chanSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		c := make(chan int, 1)
		go func() {
			v, _ := one(ctx)
			c <- v
		}()
		Sink = <-c
	}
}

func loSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		r := <-lo.Async2(func() (int, error) { return one(ctx) })
		Sink = r.A
	}
}

func livekitSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		Sink, _ = livekit.Await(ctx, livekit.Go(func() (int, error) { return one(ctx) }))
	}
}

func moSpawn(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		Sink, _ = mo.NewFuture(func(resolve func(int), _ func(error)) {
			v, _ := one(ctx)
			resolve(v)
		}).Collect()
	}
}

func concSpawn(b *testing.B) {
	for range b.N {
		p := pool.NewWithResults[int]().WithContext(context.Background())
		p.Go(one)
		vs, err := p.Wait()
		must(b, err)
		Sink = vs[0]
	}
}
