package work

import (
	"context"
	"runtime"
	"testing"

	livekit "github.com/livekit/protocol/utils/promise"
	"github.com/samber/mo"

	"github.com/twillgo/twill"
)

// What some bodies report in addition to EachBytes: the bytes of a future with
// one Then or, for listeners that gave up, the bytes that a Then and a First
// kept.
const (
	ThenBytes  = "B/then"
	FirstBytes = "B/first"
)

// heap returns the size of the reachable heap.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second collection empties what the first left in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// growth calls do Many times and reports how much the heap grows for each call.
// The timer runs during the calls if the benchmark measures their time.
func growth(b *testing.B, metric string, do func(i int)) {
	before := heap()
	if metric == EachBytes {
		b.StartTimer()
	}
	for i := range Many {
		do(i)
	}
	b.StopTimer()
	b.ReportMetric(float64(max(heap()-before, 0))/float64(Many), metric)
	b.ReportMetric(float64(Many), Each)
}

// pending reports the bytes of the futures that one makes, and of the objects
// that would settle them.
func pending[P any](b *testing.B, metric string, one func() P) {
	b.StopTimer()
	kept := make([]P, Many)
	goroutines := runtime.NumGoroutine()
	growth(b, metric, func(i int) { kept[i] = one() })
	b.ReportMetric(float64(max(runtime.NumGoroutine()-goroutines, 0)), Goroutines)
	runtime.KeepAlive(kept)
	b.StartTimer()
}

// 1M pending, bare / with one Then.

func twillPending(b *testing.B) {
	for range b.N {
		pending(b, EachBytes, twill.NewPromise[int])
		pending(b, ThenBytes, func() *twill.Promise[int] {
			p := twill.NewPromise[int]()
			twill.Then(p.Future(), same)
			return p
		})
	}
}

func chanPending(b *testing.B) {
	for range b.N {
		pending(b, EachBytes, func() chan int { return make(chan int, 1) })
	}
}

func livekitPending(b *testing.B) {
	for range b.N {
		pending(b, EachBytes, livekit.New[int])
		pending(b, ThenBytes, func() *livekit.Promise[int] {
			p := livekit.New[int]()
			p.Then(func(v int, _ error) { Sink = v })
			return p
		})
	}
}

func moPending(b *testing.B) {
	type promise struct{ resolve func(int) }
	make := func() (*promise, *mo.Future[int]) {
		p := &promise{}
		set := make(chan struct{})
		f := mo.NewFuture(func(resolve func(int), _ func(error)) {
			p.resolve = resolve
			close(set)
		})
		<-set
		return p, f
	}
	for range b.N {
		pending(b, EachBytes, func() *promise {
			p, _ := make()
			return p
		})
		pending(b, ThenBytes, func() *promise {
			p, f := make()
			f.Then(same)
			return p
		})
	}
}

// Kept by a listener that gave up on a long-lived future.

func twillGivenUp(b *testing.B) {
	ended, end := context.WithCancel(context.Background())
	end()
	var long twill.Promise[int]
	twill.Then(long.Future(), same) // another dependent
	for range b.N {
		b.StopTimer()
		growth(b, EachBytes, func(int) { Sink, _ = long.Future().Await(ended) })
		growth(b, ThenBytes, func(int) { twill.Then(long.Future(), same).Cancel(nil) })
		growth(b, FirstBytes, func(int) {
			r, _ := twill.First(long.Future(), twill.Resolved(1)).Poll()
			Sink = r.Value
		})
		b.StartTimer()
	}
	long.Resolve(1)
}

func chanGivenUp(b *testing.B) {
	ended, end := context.WithCancel(context.Background())
	end()
	long := make(chan int)
	for range b.N {
		b.StopTimer()
		growth(b, EachBytes, func(int) {
			select {
			case Sink = <-long:
			case <-ended.Done():
			}
		})
		b.StartTimer()
	}
}

// The long-lived future is a context, and the listener is a function that runs
// at its end.
func contextGivenUp(b *testing.B) {
	long, end := context.WithCancel(context.Background())
	defer end()
	for range b.N {
		b.StopTimer()
		growth(b, EachBytes, func(int) { context.AfterFunc(long, func() {})() })
		b.StartTimer()
	}
}

func livekitGivenUp(b *testing.B) {
	ended, end := context.WithCancel(context.Background())
	end()
	long := livekit.New[int]()
	for range b.N {
		b.StopTimer()
		growth(b, EachBytes, func(int) { Sink, _ = livekit.Await(ended, long) })
		b.StartTimer()
	}
	long.Resolve(1, nil)
}
