package work

import (
	"context"
	"strconv"
	"testing"

	fanliao "github.com/fanliao/go-promise"
	livekit "github.com/livekit/protocol/utils/promise"
	"github.com/samber/mo"

	"github.com/twillgo/twill"
)

// Attach a handler, then resolve. The work is done when the handler has run.

func twillAttachResolve(b *testing.B) {
	for range b.N {
		p := twill.NewPromise[int]()
		twill.Then(p.Future(), func(v int) (int, error) {
			Sink = v
			return v, nil
		})
		p.Resolve(1)
	}
}

// A watch, which makes no future.
func twillOnSettled(b *testing.B) {
	for range b.N {
		p := twill.NewPromise[int]()
		p.Future().OnSettled(func(v int, _ error) { Sink = v })
		p.Resolve(1)
	}
}

func chanAttachResolve(b *testing.B) {
	for range b.N {
		c := make(chan int, 1)
		ran := make(chan struct{})
		go func() {
			Sink = <-c
			close(ran)
		}()
		c <- 1
		<-ran
	}
}

func livekitAttachResolve(b *testing.B) {
	for range b.N {
		p := livekit.New[int]()
		p.Then(func(v int, _ error) { Sink = v })
		p.Resolve(1, nil)
	}
}

func contextAttachResolve(b *testing.B) {
	for range b.N {
		ctx, resolve := context.WithCancel(context.Background())
		ran := make(chan struct{})
		context.AfterFunc(ctx, func() {
			Sink = 1
			close(ran)
		})
		resolve()
		<-ran
	}
}

func moAttachResolve(b *testing.B) {
	for range b.N {
		attached := make(chan struct{})
		f := mo.NewFuture(func(resolve func(int), _ func(error)) {
			<-attached
			resolve(1)
		})
		next := f.Then(func(v int) (int, error) { Sink = v; return v, nil })
		close(attached)
		_, err := next.Collect()
		must(b, err)
	}
}

func fanliaoAttachResolve(b *testing.B) {
	for range b.N {
		p := fanliao.NewPromise()
		ran := make(chan struct{})
		p.OnSuccess(func(v any) {
			Sink = v.(int)
			close(ran)
		})
		must(b, p.Resolve(1))
		<-ran
	}
}

// A chain of handlers, built and then resolved. With twill a panic in one of
// them would be its future's failure; the other libraries do not promise that.

const links = 100

func twillChain(b *testing.B) {
	for range b.N {
		p := twill.NewPromise[int]()
		f := p.Future()
		for range links {
			f = twill.Then(f, same)
		}
		p.Resolve(1)
		r, _ := f.Poll()
		Sink = r.Value
	}
}

func moChain(b *testing.B) {
	for range b.N {
		built := make(chan struct{})
		f := mo.NewFuture(func(resolve func(int), _ func(error)) {
			<-built
			resolve(1)
		})
		for range links {
			f = f.Then(same)
		}
		close(built)
		Sink, _ = f.Collect()
	}
}

func fanliaoChain(b *testing.B) {
	for range b.N {
		p := fanliao.NewPromise()
		f := p.Future
		for range links {
			f, _ = f.Pipe(func(v any) (any, error) { return v, nil })
		}
		must(b, p.Resolve(1))
		v, _ := f.Get()
		Sink = v.(int)
	}
}

// One handler that changes the type: create, Then, resolve, read.
func twillThen(b *testing.B) {
	ctx := context.Background()
	for range b.N {
		p := twill.NewPromise[int]()
		f := twill.Then(p.Future(), func(v int) (string, error) { return strconv.Itoa(v), nil })
		p.Resolve(1)
		SinkString, _ = f.Await(ctx)
	}
}

// A channel for the value, and another one for the converted value.
func chanThen(b *testing.B) {
	for range b.N {
		in, out := make(chan int, 1), make(chan string, 1)
		in <- 1
		out <- strconv.Itoa(<-in)
		SinkString = <-out
	}
}
