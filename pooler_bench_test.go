package twill_test

import (
	"context"
	"strconv"
	"testing"

	"golang.org/x/sync/singleflight"

	"github.com/twillgo/twill"
)

// BenchmarkPoolerMiss is a call that nobody shares: by a function that returns a
// future, by one with a goroutine of its own, and by singleflight.
func BenchmarkPoolerMiss(b *testing.B) {
	ctx := context.Background()
	settled := twill.Resolved(1)
	b.Run("future", func(b *testing.B) {
		p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] { return settled })
		b.ReportAllocs()
		for b.Loop() {
			p.Call(ctx, "key").Poll()
		}
	})
	b.Run("goroutine", func(b *testing.B) {
		p := twill.NewPooler(func(context.Context, string) (int, error) { return 1, nil })
		b.ReportAllocs()
		for b.Loop() {
			p.Call(ctx, "key").Await(ctx)
		}
	})
	b.Run("singleflight.Do", func(b *testing.B) {
		var g singleflight.Group
		b.ReportAllocs()
		for b.Loop() {
			g.Do("key", func() (any, error) { return 1, nil })
		}
	})
	b.Run("singleflight.DoChan", func(b *testing.B) {
		var g singleflight.Group
		b.ReportAllocs()
		for b.Loop() {
			<-g.DoChan("key", func() (any, error) { return 1, nil })
		}
	})
}

// BenchmarkPoolerJoin is one of a thousand who join a call and are told, and
// the same with a context of their own that may end.
func BenchmarkPoolerJoin(b *testing.B) {
	const joiners = 1000
	ended, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancellable": ended} {
		b.Run(name+"/"+strconv.Itoa(joiners), func(b *testing.B) {
			var promise *twill.Promise[int]
			p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[int] {
				promise = twill.NewPromise[int]()
				return promise.Future()
			})
			b.ReportAllocs()
			for n := b.N; n > 0; n -= joiners {
				for range joiners {
					p.Call(ctx, "key")
				}
				promise.Resolve(1)
			}
		})
	}
	b.Run("singleflight.DoChan/"+strconv.Itoa(joiners), func(b *testing.B) {
		var g singleflight.Group
		b.ReportAllocs()
		for n := b.N; n > 0; n -= joiners {
			gate := make(chan struct{})
			var last <-chan singleflight.Result
			for range joiners {
				last = g.DoChan("key", func() (any, error) { <-gate; return 1, nil })
			}
			close(gate)
			<-last
		}
	})
}
