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

// row has the costs of a job with the given number of pending jobs. Times are
// in nanoseconds.
type row struct {
	pending      int
	bytes        float64 // bytes of a pending job on the heap
	put          float64 // for each job, when all are put one after another
	finish       float64 // for each job, from pending to settled
	cancel       float64 // of a random job
	reprioritize float64 // of a random job
	page         float64 // to list the first hundred in their order
	kept         int64   // bytes on the heap after the last job
}

const (
	levels = 8    // number of priorities, of which few are the common case
	picked = 1000 // jobs at random, half of them to cancel and half to move
	paged  = 100  // jobs on a page of the list
	pages  = 50
)

// measure returns the smallest value of each cost, which other load on the
// machine disturbed least. Each round includes what the queue itself uses.
func measure(n, rounds int) row {
	r := once(n)
	for range rounds*min(max(1, 100_000/n), 20) - 1 { // small sizes take little time
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

// once fills a queue with n jobs, cancels and reprioritizes some of them, and
// runs the others.
func once(n int) row {
	defer debug.FreeOSMemory()
	random := rand.New(rand.NewPCG(1, uint64(n)))
	left := 0 // number of jobs to run; the width is 1, so the jobs may count it
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
	wait(&put(0).Future) // what the first job sets up is not counted
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
	wait(q.Pause()) // including the work after the last job
	r.finish = each(began, ran)
	r.kept = max(heap()-empty, 0)
	underway, pending := q.Size()
	check(underway == 0 && pending == 0)
	runtime.KeepAlive(q)
	return r
}

// places returns random numbers below n, in order.
func places(random *rand.Rand, n int) (ns []int) {
	for range min(picked, n/2) {
		ns = append(ns, random.IntN(n))
	}
	slices.Sort(ns)
	return slices.Compact(ns)
}

// each returns the time since began divided by n.
func each(began time.Time, n int) float64 { return float64(time.Since(began)) / float64(n) }

// heap returns the size of the reachable heap.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the second collection empties what the first left in pools
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
