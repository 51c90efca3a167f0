package main

import (
	"context"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// row is what a job costs when so many are pending. Times are in nanoseconds.
type row struct {
	pending      int
	bytes        float64 // that a pending job takes on the heap
	put          float64 // for each job, all of them one after another
	finish       float64 // likewise, from pending to settled
	cancel       float64 // of a job somewhere among all
	reprioritize float64 // likewise
	page         float64 // to list the first hundred in their order
	kept         int64   // bytes on the heap after the last job
}

const (
	levels = 8    // of priority: few are the common case
	picked = 1000 // jobs at random, half of them to cancel and half to move
	paged  = 100  // jobs on a page of the list
	pages  = 50
)

// measure returns the least of each cost: that of the round which others on the
// machine disturbed least. What the queue itself takes or keeps is there in
// every round.
func measure(n, rounds int) row {
	r := once(n)
	for range rounds*min(max(1, 100_000/n), 20) - 1 { // small sizes are soon over
		next := once(n)
		r.bytes = min(r.bytes, next.bytes)
		r.put = min(r.put, next.put)
		r.finish = min(r.finish, next.finish)
		r.cancel = min(r.cancel, next.cancel)
		r.reprioritize = min(r.reprioritize, next.reprioritize)
		r.page = min(r.page, next.page)
		r.kept = min(r.kept, next.kept)
	}
	return r
}

// once fills a queue with n jobs, cancels and moves some of them, and has it
// run the others.
func once(n int) row {
	defer debug.FreeOSMemory()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	left := 0 // jobs to run; the width is 1, so that they may count
	drained := make(chan struct{})
	q := twill.NewResizableDispatchQueue(func(_ context.Context, v int) (int, error) {
		if left--; left == 0 {
			close(drained)
		}
		return v, nil
	}, nil)
	put := func(v int) *twill.Job[int, int] {
		j, err := q.Put(v, random.IntN(levels))
		must(err)
		return j
	}
	wait(&put(0).Future) // what a first job sets up is not counted
	wait(q.Pause())
	chosen := places(random, n)
	jobs := make([]*twill.Job[int, int], 0, len(chosen))
	empty := heap()

	r := row{pending: n}
	began := time.Now()
	for v := range n {
		j := put(v)
		if k := len(jobs); k < len(chosen) && chosen[k] == v {
			jobs = append(jobs, j)
		}
	}
	r.put = each(began, n)
	r.bytes = float64(heap()-empty) / float64(n)

	random.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	moved, canceled := jobs[:len(jobs)/2], jobs[len(jobs)/2:]
	began = time.Now()
	for _, j := range moved {
		must(q.Reprioritize(j, random.IntN(levels)))
	}
	r.reprioritize = each(began, len(moved))
	began = time.Now()
	for _, j := range canceled {
		check(j.Cancel(nil))
	}
	r.cancel = each(began, len(canceled))
	began = time.Now()
	for range pages {
		check(len(q.PendingPage(0, paged)) == min(paged, n-len(canceled)))
	}
	r.page = each(began, pages)

	left = n - len(canceled)
	jobs, moved, canceled = nil, nil, nil
	began = time.Now()
	ran := left
	must(q.Resume())
	<-drained
	wait(q.Pause()) // also for what the last one has to do
	r.finish = each(began, ran)
	r.kept = max(heap()-empty, 0)
	underway, pending := q.Size()
	check(underway == 0 && pending == 0)
	runtime.KeepAlive(q)
	return r
}

// places are random numbers below n, in order.
func places(random *rand.Rand, n int) (ns []int) {
	for range min(picked, n/2) {
		ns = append(ns, random.IntN(n))
	}
	slices.Sort(ns)
	return slices.Compact(ns)
}

// each is the time since began for each of n.
func each(began time.Time, n int) float64 { return float64(time.Since(began)) / float64(n) }

// heap is what is reachable on the heap now.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second empties what the first left in pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func wait[T any](f *twill.Future[T]) {
	_, err := f.Await(context.Background())
	must(err)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func check(ok bool) {
	if !ok {
		panic("scale: the work was not done")
	}
}
