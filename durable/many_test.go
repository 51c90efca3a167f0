package durable_test

import (
	"context"
	"flag"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/durable"
)

var pending = flag.Int("pending", 50_000, "how many jobs TestManyPending has pending")

// heapInUse is the size of what is left after collections.
func heapInUse() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestManyPending has many jobs with arguments of 4 KB pending: they take some
// hundred bytes each in memory, are there soon when the file is opened, and do
// not make others slower.
func TestManyPending(t *testing.T) {
	many := *pending
	file := tempFile(t)
	fn := func(_ context.Context, s string) (int, error) { return len(s), nil }
	opts := &durable.Options{Keep: -1, Dispatch: twill.DispatchOptions{Width: 64}}
	q, err := durable.Open(file, fn, opts)
	require.NoError(t, err)
	defer func() { shut(t, q) }() // no cleanup of the test may keep the first queue in memory
	q.Pause()
	data := strings.Repeat("x", 4096-2)

	fill := func(n int) time.Duration {
		began := time.Now()
		for n > 0 {
			portion := make([]string, min(n, 1000))
			for i := range portion {
				portion[i] = data
			}
			_, err := q.PutAll(portion, 5)
			require.NoError(t, err)
			n -= len(portion)
		}
		return time.Since(began)
	}
	const few = 10_000
	work := func() time.Duration { // puts and runs some jobs that come before the others
		const n = 2000
		jobs := make([]*durable.Job[string, int], 0, n)
		began := time.Now()
		for range n / 100 {
			portion := make([]string, 100)
			for i := range portion {
				portion[i] = data
			}
			put, err := q.PutAll(portion, 1)
			require.NoError(t, err)
			jobs = append(jobs, put...)
		}
		require.NoError(t, q.Resume())
		for _, j := range jobs {
			_, err := j.Await(within(t))
			require.NoError(t, err)
		}
		q.Pause()
		return time.Since(began) / n
	}
	best := func() time.Duration { return min(work(), work(), work()) } // the disk is still busy with what was filled in
	fill(min(few, many))
	work()
	withFew := best()
	filled := fill(many - min(few, many))
	withMany := best()
	inMemory := heapInUse()
	shut(t, q)
	q = nil
	before := heapInUse()

	began := time.Now()
	q, err = durable.Open(file, fn, opts)
	opened := time.Since(began)
	require.NoError(t, err)
	after := heapInUse()
	_, n := q.Size()
	t.Logf("%d pending: filled in %v, %d bytes a job in memory; opened in %v, %d bytes a job; a job takes %v with %d pending and %v with all",
		n, filled, inMemory/uint64(many), opened, (after-before)/uint64(n), withFew, min(few, many), withMany)
	require.Greater(t, n, many/2)
	require.Less(t, after-before, uint64(n)*400+(16<<20))
	if many >= 1_000_000 {
		require.Less(t, opened, 5*time.Second)
		require.Less(t, float64(withMany), 1.5*float64(withFew))
		require.Less(t, after, uint64(400_000_000))
	}
	runtime.KeepAlive(q)
}
