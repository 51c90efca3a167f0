//go:build suites

package stress_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
	"golang.org/x/sync/singleflight"
)

// BenchmarkPoolerMiss is a call that is not shared: by a function that returns
// a future, by a function on its own goroutine, and by singleflight.
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

// BenchmarkPoolerJoin is one of a thousand callers that join a call and receive
// its result. It is measured without and with a context that can end.
func BenchmarkPoolerJoin(b *testing.B) {
	const joiners = 1000
	ended, cancel := context.WithCancel(context.Background())
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": context.Background(), "cancelable": ended} {
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

const dictBenchKeys = 1 << 16

// BenchmarkDictHit is a get of a key that is set, from all processors
// concurrently, by Dict and by sync.Map.
func BenchmarkDictHit(b *testing.B) {
	keys := make([]string, dictBenchKeys)
	var d twill.Dict[string, int]
	var m sync.Map
	for i := range keys {
		keys[i] = "key" + strconv.Itoa(i)
		d.Set(keys[i], i)
		m.Store(keys[i], i)
	}
	run := func(name string, get func(k string)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					get(keys[(i*7919)%dictBenchKeys])
				}
			})
		})
	}
	run("Lookup", func(k string) { d.Lookup(k) })
	run("Get", func(k string) { d.Get(k).Poll() })
	run("sync.Map", func(k string) { m.Load(k) })
}

// BenchmarkDictSet is a set of a key that is set already.
func BenchmarkDictSet(b *testing.B) {
	var d twill.Dict[int, int]
	var m sync.Map
	b.Run("Set", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			d.Set(i%1000, i)
		}
	})
	b.Run("sync.Map", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m.Store(i%1000, i)
		}
	})
}

// BenchmarkDictExchange is a get of a missing key, the set that settles it, and
// a delete; and the same for a thousand gets of one key, per get.
func BenchmarkDictExchange(b *testing.B) {
	for _, gets := range []int{1, 1000} {
		b.Run(strconv.Itoa(gets), func(b *testing.B) {
			var d twill.Dict[int, int]
			b.ReportAllocs()
			for n := b.N; n > 0; n -= gets {
				for range gets {
					d.Get(n)
				}
				d.Set(n, n)
				d.Delete(n)
			}
		})
	}
}

// BenchmarkDispatchPut is the time from a Put to a job that has settled, in
// batches of 1000 that are awaited one by one.
func BenchmarkDispatchPut(b *testing.B) {
	for _, width := range []int{1, 2, 8, 100} {
		b.Run(fmt.Sprintf("width=%d", width), func(b *testing.B) {
			benchmarkDispatch(b, width, func(n int) int { return 0 })
		})
	}
	b.Run("width=2/priorities=8", func(b *testing.B) {
		benchmarkDispatch(b, 2, func(n int) int { return n * 7919 % 8 })
	})
}

func benchmarkDispatch(b *testing.B, width int, priority func(n int) int) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: width})
	jobs := make([]*twill.Job[int, int], 0, 1000)
	ctx := context.Background()
	await := func() {
		for _, j := range jobs {
			if _, err := j.Await(ctx); err != nil {
				b.Fatal(err)
			}
		}
		jobs = jobs[:0]
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		j, err := q.Put(n, priority(n))
		if err != nil {
			b.Fatal(err)
		}
		if jobs = append(jobs, j); len(jobs) == cap(jobs) {
			await()
		}
		n++
	}
	await()
}

// BenchmarkDispatchRoundTrip runs one job at a time.
func BenchmarkDispatchRoundTrip(b *testing.B) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, &twill.DispatchOptions{Width: 8})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		j, _ := q.Put(1, 0)
		if _, err := j.Await(ctx); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDispatchCancel puts a job among a hundred thousand and cancels it.
func BenchmarkDispatchCancel(b *testing.B) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	for n := range 100_000 {
		q.Put(n, n%8)
	}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		j, _ := q.Put(n, n%8)
		j.Cancel(nil)
		n++
	}
}

func BenchmarkPriorityQueue(b *testing.B) {
	b.Run("put+tryget", func(b *testing.B) {
		var q twill.PriorityQueue[int]
		b.ReportAllocs()
		for b.Loop() {
			q.Put(1, 0)
			q.TryGet()
		}
	})
	b.Run("get+put", func(b *testing.B) {
		var q twill.PriorityQueue[int]
		b.ReportAllocs()
		for b.Loop() {
			get := q.Get()
			q.Put(1, 0)
			get.Poll()
		}
	})
}

// BenchmarkDispatchPendingPage reads the first hundred of a million jobs.
func BenchmarkDispatchPendingPage(b *testing.B) {
	q := twill.NewResizableDispatchQueue(kit.SameArg, nil)
	q.Pause()
	for n := range 1_000_000 {
		q.Put(n, n*7919%8)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(q.PendingPage(0, 100)) != 100 {
			b.Fatal("not a page")
		}
	}
}

func BenchmarkRetry(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	failure := errors.New("failure")
	b.Run("success", func(b *testing.B) {
		b.ReportAllocs()
		opts := &twill.RetryOptions{Backoff: twill.ExponentialBackoff(time.Millisecond, 2)}
		fn := func(context.Context) (int, error) { return 1, nil }
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	failing := func(d time.Duration) func(b *testing.B) {
		return func(b *testing.B) {
			b.ReportAllocs()
			left := b.N
			opts := &twill.RetryOptions{Backoff: twill.ConstantBackoff(d)}
			_, err := twill.Retry(ctx, func(context.Context) (int, error) {
				if left--; left <= 0 {
					return 1, nil
				}
				return 0, failure
			}, opts)
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("failed attempt, no pause", failing(0))
	b.Run("failed attempt, shortest pause", failing(1))
	b.Run("call that fails once, no pause", failingOnce(ctx, nil))
	b.Run("call that fails once, shortest pause", failingOnce(ctx, &twill.RetryOptions{Backoff: twill.ConstantBackoff(1)}))
}

func failingOnce(ctx context.Context, opts *twill.RetryOptions) func(b *testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		failed, failure := false, errors.New("failure")
		fn := func(context.Context) (int, error) {
			if failed = !failed; failed {
				return 0, failure
			}
			return 1, nil
		}
		for b.Loop() {
			if _, err := twill.Retry(ctx, fn, opts); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkRetryingCall(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for name, call := range map[string]*twill.RetryingCall[int]{
		"future that is settled": twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return twill.Resolved(1) }, nil),
		"function that blocks":   twill.NewRetryingCall(func(context.Context) (int, error) { return 1, nil }, nil),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := call.Start(ctx).Await(ctx); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
