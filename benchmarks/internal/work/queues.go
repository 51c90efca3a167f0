package work

import (
	"context"
	"sync"
	"testing"

	"github.com/twillgo/twill"
)

// Put + get on one goroutine, with some values in the queue.

const queued = 100

func twillQueueValues(b *testing.B) {
	var q twill.Queue[int]
	for n := range queued {
		must(b, q.Put(n))
	}
	b.ResetTimer()
	for n := range b.N {
		must(b, q.Put(n))
		Sink, _ = q.TryGet()
	}
}

func twillQueueFutures(b *testing.B) {
	var q twill.Queue[int]
	for n := range queued {
		must(b, q.Put(n))
	}
	b.ResetTimer()
	for n := range b.N {
		must(b, q.Put(n))
		r, _ := q.Get().Poll()
		Sink = r.Value
	}
}

func chanQueue(b *testing.B) {
	c := make(chan int, 2*queued)
	for n := range queued {
		c <- n
	}
	b.ResetTimer()
	for n := range b.N {
		c <- n
		Sink = <-c
	}
}

// What programs write by hand if a queue must not be bounded.
func sliceQueue(b *testing.B) {
	var mu sync.Mutex
	var items []int
	put := func(n int) {
		mu.Lock()
		items = append(items, n)
		mu.Unlock()
	}
	get := func() int {
		mu.Lock()
		defer mu.Unlock()
		v := items[0]
		items = items[1:]
		return v
	}
	for n := range queued {
		put(n)
	}
	b.ResetTimer()
	for n := range b.N {
		put(n)
		Sink = get()
	}
}

// Hand-off to a waiting goroutine and back: two goroutines, each of which waits
// for the other.

func twillPingPong(b *testing.B) {
	ctx := context.Background()
	var there, back twill.Queue[int]
	go func() {
		for range b.N {
			v, _ := there.GetWait(ctx)
			_ = back.Put(v)
		}
	}()
	for n := range b.N {
		must(b, there.Put(n))
		Sink, _ = back.GetWait(ctx)
	}
}

func chanPingPong(b *testing.B) {
	there, back := make(chan int, 1), make(chan int, 1)
	go func() {
		for range b.N {
			back <- <-there
		}
	}()
	for n := range b.N {
		there <- n
		Sink = <-back
	}
}
