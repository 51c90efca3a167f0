package work

import (
	"context"
	"testing"

	"golang.org/x/sync/singleflight"
	resenje "resenje.org/singleflight"

	"github.com/twillgo/twill"
)

const key = "key"

// Miss: no concurrent call for the same key.

// With a context that cannot end, Do runs the function on its own goroutine, as
// singleflight always does. With a context that can end, it is the row below.
func twillPoolerCaller(b *testing.B) {
	ctx := context.Background()
	p := twill.NewPooler(func(context.Context, string) (int, error) { return 1, nil })
	for range b.N {
		Sink, _ = p.Do(ctx, key)
	}
}

func singleflightDo(b *testing.B) {
	var g singleflight.Group
	for range b.N {
		v, _, _ := g.Do(key, func() (any, error) { return 1, nil })
		Sink = v.(int)
	}
}

func twillPoolerGoroutine(b *testing.B) {
	ctx := context.Background()
	p := twill.NewPooler(func(context.Context, string) (int, error) { return 1, nil })
	for range b.N {
		Sink, _ = p.Call(ctx, key).Await(ctx)
	}
}

func singleflightDoChan(b *testing.B) {
	var g singleflight.Group
	for range b.N {
		r := <-g.DoChan(key, func() (any, error) { return 1, nil })
		Sink = r.Val.(int)
	}
}

// It counts its callers, as a Pooler does.
func resenjeDo(b *testing.B) {
	ctx := context.Background()
	var g resenje.Group[string, int]
	for range b.N {
		Sink, _, _ = g.Do(ctx, key, func(context.Context) (int, error) { return 1, nil })
	}
}

// 1000 joiners, which share one call and need no goroutine to wait.

const joiners = 1000

func twillJoiners(b *testing.B) {
	ctx := context.Background()
	gate := make(chan struct{})
	p := twill.NewPooler(func(context.Context, string) (int, error) {
		<-gate
		return 1, nil
	})
	calls := make([]*twill.Future[int], joiners)
	for range b.N {
		for i := range calls {
			calls[i] = p.Call(ctx, key)
		}
		gate <- struct{}{}
		for _, f := range calls {
			Sink, _ = f.Await(ctx)
		}
	}
}

func singleflightJoiners(b *testing.B) {
	gate := make(chan struct{})
	var g singleflight.Group
	calls := make([]<-chan singleflight.Result, joiners)
	for range b.N {
		for i := range calls {
			calls[i] = g.DoChan(key, func() (any, error) {
				<-gate
				return 1, nil
			})
		}
		gate <- struct{}{}
		for _, c := range calls {
			Sink = (<-c).Val.(int)
		}
	}
}
