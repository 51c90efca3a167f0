package work

import (
	"context"
	"testing"

	"github.com/alitto/pond/v2"
	"github.com/gammazero/workerpool"
	"github.com/panjf2000/ants/v2"

	"github.com/twillgo/twill"
)

// Round trip: one job at a time.

func twillRoundTrip(b *testing.B) {
	ctx := context.Background()
	q := twill.NewResizableDispatchQueue(echo, &twill.DispatchOptions{Width: width})
	for n := range b.N {
		j, err := q.Put(n, 0)
		must(b, err)
		Sink, _ = j.Await(ctx)
	}
}

func pondRoundTrip(b *testing.B) {
	ctx := context.Background()
	p := pond.NewResultPool[int](width)
	defer p.StopAndWait()
	for n := range b.N {
		Sink, _ = p.SubmitErr(func() (int, error) { return echo(ctx, n) }).Wait()
	}
}

func antsRoundTrip(b *testing.B) {
	ctx := context.Background()
	p, err := ants.NewPool(width)
	must(b, err)
	defer p.Release()
	for n := range b.N {
		c := make(chan int, 1)
		must(b, p.Submit(func() {
			v, _ := echo(ctx, n)
			c <- v
		}))
		Sink = <-c
	}
}

func gammazeroRoundTrip(b *testing.B) {
	ctx := context.Background()
	p := workerpool.New(width)
	defer p.StopWait()
	for n := range b.N {
		c := make(chan int, 1)
		p.Submit(func() {
			v, _ := echo(ctx, n)
			c <- v
		})
		Sink = <-c
	}
}
