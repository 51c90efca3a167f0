package work

import (
	"context"
	"testing"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"

	"github.com/twillgo/twill"
)

// Race of two: both start at once, the first result counts, and the other's
// context ends.

func twillRace(b *testing.B) {
	ctx := context.Background()
	r := twill.NewRace[int, int](nil)
	r.Register(echo)
	r.Register(echo)
	for n := range b.N {
		v, err := r.Execute(ctx, n).Await(ctx)
		must(b, err)
		Sink = v
	}
}

func chanRace(b *testing.B) {
	for n := range b.N {
		ctx, cancel := context.WithCancel(context.Background())
		results := make(chan int, 2)
		for range 2 {
			go func() {
				v, _ := echo(ctx, n)
				results <- v
			}()
		}
		Sink = <-results
		cancel()
	}
}

// A hedge without a delay.
func failsafeRace(b *testing.B) {
	ctx := context.Background()
	executor := failsafe.With(hedgepolicy.NewBuilderWithDelay[int](0).Build())
	for n := range b.N {
		v, err := executor.Get(func() (int, error) { return echo(ctx, n) })
		must(b, err)
		Sink = v
	}
}
