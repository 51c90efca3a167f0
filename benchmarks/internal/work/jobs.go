package work

import (
	"context"
	"sync"
	"testing"

	"github.com/alitto/pond/v2"
	"github.com/bytedance/gopkg/util/gopool"
	"github.com/gammazero/workerpool"
	"github.com/panjf2000/ants/v2"
	"github.com/sourcegraph/conc/pool"
	"golang.org/x/sync/errgroup"

	"github.com/twillgo/twill"
)

const (
	batch = 1000 // number of jobs that are submitted before their end is awaited
	width = 8    // unless the row's name has another width
)

// batches calls submit for b.N jobs and awaits each batch; the jobs call done.
func batches(b *testing.B, submit func(), done *sync.WaitGroup) {
	for rest := b.N; rest > 0; rest -= batch {
		n := min(rest, batch)
		done.Add(n)
		for range n {
			submit()
		}
		done.Wait()
	}
}

// Submit + run, no result. A job of twill always has a result.

func twillSubmit(b *testing.B) {
	var done sync.WaitGroup
	q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) {
		done.Done()
		return 0, nil
	}, &twill.DispatchOptions{Width: width})
	batches(b, func() {
		_, err := q.Put(1, 0)
		must(b, err)
	}, &done)
}

func pondSubmit(b *testing.B) {
	var done sync.WaitGroup
	p := pond.NewPool(width)
	defer p.StopAndWait()
	batches(b, func() { must(b, p.Go(done.Done)) }, &done)
}

func gopoolSubmit(b *testing.B) {
	var done sync.WaitGroup
	p := gopool.NewPool("", width, gopool.NewConfig())
	batches(b, func() { p.Go(done.Done) }, &done)
}

func concSubmit(b *testing.B) {
	var done sync.WaitGroup
	p := pool.New().WithMaxGoroutines(width)
	defer p.Wait()
	batches(b, func() { p.Go(done.Done) }, &done)
}

func errgroupSubmit(b *testing.B) {
	var done sync.WaitGroup
	var g errgroup.Group
	g.SetLimit(width)
	batches(b, func() {
		g.Go(func() error {
			done.Done()
			return nil
		})
	}, &done)
	must(b, g.Wait())
}

func antsSubmit(b *testing.B) {
	var done sync.WaitGroup
	p, err := ants.NewPool(width)
	must(b, err)
	defer p.Release()
	batches(b, func() { must(b, p.Submit(done.Done)) }, &done)
}

func gammazeroSubmit(b *testing.B) {
	var done sync.WaitGroup
	p := workerpool.New(width)
	defer p.StopWait()
	batches(b, func() { p.Submit(done.Done) }, &done)
}

// Put to settled job: each job has an argument and a future of its result, and
// the jobs of a batch are awaited one by one.

func jobs[J any](b *testing.B, put func(n int) J, await func(J) (int, error)) {
	underway := make([]J, 0, batch)
	for rest := b.N; rest > 0; rest -= batch {
		underway = underway[:0]
		for n := range min(rest, batch) {
			underway = append(underway, put(n))
		}
		for _, j := range underway {
			v, err := await(j)
			must(b, err)
			Sink = v
		}
	}
}

func twillJobs(width int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		q := twill.NewResizableDispatchQueue(echo, &twill.DispatchOptions{Width: width})
		jobs(b, func(n int) *twill.Job[int, int] {
			j, err := q.Put(n, 0)
			must(b, err)
			return j
		}, func(j *twill.Job[int, int]) (int, error) { return j.Await(ctx) })
	}
}

func pondJobs(width int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		p := pond.NewResultPool[int](width)
		defer p.StopAndWait()
		jobs(b, func(n int) pond.ResultTask[int] {
			return p.SubmitErr(func() (int, error) { return echo(ctx, n) })
		}, pond.ResultTask[int].Wait)
	}
}

// A group has one future for all its results.
func pondGroups(width int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		p := pond.NewResultPool[int](width)
		defer p.StopAndWait()
		for rest := b.N; rest > 0; rest -= batch {
			group := p.NewGroup()
			for n := range min(rest, batch) {
				group.SubmitErr(func() (int, error) { return echo(ctx, n) })
			}
			vs, err := group.Wait()
			must(b, err)
			Sink = vs[len(vs)-1]
		}
	}
}

func antsJobs(width int) func(b *testing.B) {
	return func(b *testing.B) {
		ctx := context.Background()
		p, err := ants.NewPool(width)
		must(b, err)
		defer p.Release()
		jobs(b, func(n int) chan int {
			c := make(chan int, 1)
			must(b, p.Submit(func() {
				v, _ := echo(ctx, n)
				c <- v
			}))
			return c
		}, func(c chan int) (int, error) { return <-c, nil })
	}
}
