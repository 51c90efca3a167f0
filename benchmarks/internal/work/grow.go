package work

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/alitto/pond/v2"
	"github.com/panjf2000/ants/v2"

	"github.com/twillgo/twill"
)

const (
	grown = 100 // the width after growing
	load  = 200 // number of jobs that wait at that time
)

// grow measures the time from resize until the given number of jobs run. submit
// is called for all jobs before, and must not block.
func grow(b *testing.B, setup func() (submit func(job func()), resize, stop func())) {
	for range b.N {
		b.StopTimer()
		submit, resize, stop := setup()
		var running, done sync.WaitGroup
		gate := make(chan struct{})
		var mu sync.Mutex
		left := grown
		running.Add(grown)
		done.Add(load)
		for range load {
			submit(func() {
				defer done.Done()
				mu.Lock()
				if left > 0 {
					left--
					running.Done()
				}
				mu.Unlock()
				<-gate
			})
		}
		b.StartTimer()
		resize()
		running.Wait()
		b.StopTimer()
		close(gate)
		done.Wait()
		stop()
		b.StartTimer()
	}
}

func twillGrow(b *testing.B) {
	grow(b, func() (submit func(job func()), resize, stop func()) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, job func()) (int, error) {
			job()
			return 0, nil
		}, nil)
		return func(job func()) {
				_, err := q.Put(job, 0)
				must(b, err)
			},
			func() { must(b, q.SetWidth(grown)) },
			func() { q.Stop() }
	})
}

func pondGrow(b *testing.B) {
	grow(b, func() (submit func(job func()), resize, stop func()) {
		p := pond.NewPool(1)
		return func(job func()) { must(b, p.Go(job)) },
			func() { p.Resize(grown) },
			p.StopAndWait
	})
}

// Submit of ants blocks when all workers are busy, so each job has a goroutine,
// which grow awaits until it waits for a worker.
func antsGrow(b *testing.B) {
	grow(b, func() (submit func(job func()), resize, stop func()) {
		p, err := ants.NewPool(1)
		must(b, err)
		submitted := 0
		return func(job func()) {
				go func() { _ = p.Submit(job) }()
				for submitted++; p.Running()+p.Waiting() < submitted; {
					runtime.Gosched()
				}
			},
			func() { p.Tune(grown) },
			p.Release
	})
}
