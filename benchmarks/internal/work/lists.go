package work

import (
	"context"
	"errors"
	"testing"

	fanliao "github.com/fanliao/go-promise"

	"github.com/twillgo/twill"
)

const (
	members = 1000 // of an All
	runners = 10   // of a First
)

// All over 1000: make them, gather them, resolve each, read the results.

func twillAll(b *testing.B) {
	promises := make([]*twill.Promise[int], members)
	futures := make([]*twill.Future[int], members)
	for range b.N {
		for i := range promises {
			promises[i] = twill.NewPromise[int]()
			futures[i] = promises[i].Future()
		}
		all := twill.All(futures...)
		for i, p := range promises {
			p.Resolve(i)
		}
		r, _ := all.Poll()
		Sink = r.Value[members-1]
	}
}

func chanAll(b *testing.B) {
	chans := make([]chan int, members)
	for range b.N {
		for i := range chans {
			chans[i] = make(chan int, 1)
		}
		for i, c := range chans {
			c <- i
		}
		all := make([]int, members)
		for i, c := range chans {
			all[i] = <-c
		}
		Sink = all[members-1]
	}
}

func fanliaoAll(b *testing.B) {
	promises := make([]*fanliao.Promise, members)
	futures := make([]any, members)
	for range b.N {
		for i := range promises {
			promises[i] = fanliao.NewPromise()
			futures[i] = promises[i].Future
		}
		all := fanliao.WhenAll(futures...)
		for i, p := range promises {
			must(b, p.Resolve(i))
		}
		vs, err := all.Get()
		must(b, err)
		Sink = vs.([]any)[members-1].(int)
	}
}

// First of 10, losers left clean: make them, race them, resolve one, read it.
// The losers have no other dependents, so they are canceled.

func twillFirst(b *testing.B) {
	promises := make([]*twill.Promise[int], runners)
	futures := make([]*twill.Future[int], runners)
	for range b.N {
		for i := range promises {
			promises[i] = twill.NewPromise[int]()
			futures[i] = promises[i].Future()
		}
		first := twill.First(futures...)
		promises[runners/2].Resolve(1)
		r, _ := first.Poll()
		Sink = r.Value
	}
	for i, f := range futures {
		if r, ok := f.Poll(); !ok || (i == runners/2) == errors.Is(r.Err, context.Canceled) {
			b.Fatalf("number %d was left with %v", i, r)
		}
	}
}

// The runners share one channel, with room for all of them, so that nothing
// waits for the losers.
func chanFirst(b *testing.B) {
	for range b.N {
		c := make(chan int, runners)
		c <- 1
		Sink = <-c
	}
}

func fanliaoFirst(b *testing.B) {
	promises := make([]*fanliao.Promise, runners)
	futures := make([]any, runners)
	for range b.N {
		for i := range promises {
			promises[i] = fanliao.NewPromise()
			futures[i] = promises[i].Future
		}
		first := fanliao.WhenAny(futures...)
		must(b, promises[runners/2].Resolve(1))
		v, err := first.Get()
		must(b, err)
		Sink = v.(int)
	}
}
