package twill_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/twillgo/twill"
)

func rdqSame(_ context.Context, n int) (int, error) { return n, nil }

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
	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Width: width})
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

// BenchmarkDispatchRoundTrip has one job at a time.
func BenchmarkDispatchRoundTrip(b *testing.B) {
	q := twill.NewResizableDispatchQueue(rdqSame, &twill.DispatchOptions{Width: 8})
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
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
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
	q := twill.NewResizableDispatchQueue(rdqSame, nil)
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
