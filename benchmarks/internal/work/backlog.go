package work

import (
	"context"
	"runtime"
	"testing"

	"github.com/alitto/pond/v2"

	"github.com/twillgo/twill"
)

// DrainedBytes is the number of bytes that a queue keeps after all jobs have
// run, per job that it held.
const DrainedBytes = "B/drained"

// 1M pending: bytes each, with future, behind a job that waits.

func twillBacklog(b *testing.B) {
	for range b.N {
		gate := make(chan struct{})
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			<-gate
			return n, nil
		}, nil)
		backlog(b, func(n int) *twill.Job[int, int] {
			j, err := q.Put(n, 0)
			must(b, err)
			return j
		}, func(j *twill.Job[int, int]) { _, _ = j.Await(context.Background()) }, gate)
		runtime.KeepAlive(q)
	}
}

func pondBacklog(b *testing.B) {
	for range b.N {
		gate := make(chan struct{})
		p := pond.NewResultPool[int](1)
		backlog(b, func(n int) pond.ResultTask[int] {
			return p.SubmitErr(func() (int, error) {
				<-gate
				return n, nil
			})
		}, func(j pond.ResultTask[int]) { _, _ = j.Wait() }, gate)
		p.StopAndWait()
	}
}

func backlog[J any](b *testing.B, put func(n int) J, await func(J), gate chan struct{}) {
	b.StopTimer()
	first := put(0) // what the first job sets up is not counted
	gate <- struct{}{}
	await(first)
	empty := heap()
	pending := make([]J, Many)
	growth(b, EachBytes, func(i int) { pending[i] = put(i) })
	close(gate)
	for _, j := range pending {
		await(j)
	}
	clear(pending)
	pending = nil
	b.ReportMetric(float64(max(heap()-empty, 0))/float64(Many), DrainedBytes)
	b.StartTimer()
}
