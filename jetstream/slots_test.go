package jetstream

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	js "github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// While outcomes cannot be stored, a worker that schedules goes on with fewer
// calls than it has slots, and no more. No more run at once than it has slots,
// nothing counts as ended, and the width of the queue, if it is set, counts
// what waits for its outcome.
func TestSlotsOfCallsWhoseOutcomesAreBeingStored(t *testing.T) {
	for name, c := range map[string]struct {
		slots, width, calls int
		size                int // of a result
	}{
		"the slots of the worker limit":  {3, 0, 5, 1},
		"a width above the slots limits": {3, 4, 4, 1},
		"the width limits":               {3, 2, 2, 1},
		"one slot":                       {1, 0, 1, 1},
		"large results":                  {3, 0, 3, smallResult},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := natstest.Start(t, nil).Connect(t)
			var running, most, calls atomic.Int64
			o := &Options{WorkerWidth: c.slots, Lease: 2 * time.Second}
			o.Width = c.width
			q, err := NewQueue(t.Context(), conn, "slots", func(_ context.Context, n int) (string, error) {
				for r := running.Add(1); r > most.Load(); {
					most.Store(r)
				}
				time.Sleep(time.Millisecond)
				calls.Add(1)
				running.Add(-1)
				return strings.Repeat("x", c.size), nil
			}, o)
			require.NoError(t, err)
			defer q.Close()
			api, err := js.New(conn)
			require.NoError(t, err)
			limit := func(n int64) {
				stream, err := api.Stream(t.Context(), q.n.st.outcomes())
				require.NoError(t, err)
				config := stream.CachedInfo().Config
				config.MaxMsgs = n
				_, err = api.UpdateStream(t.Context(), config)
				require.NoError(t, err)
			}
			job, err := q.Put(0, 0)
			require.NoError(t, err)
			_, err = job.Await(t.Context())
			require.NoError(t, err)
			limit(1) // the outcome that it has
			calls.Store(0)
			var jobs []*Job[int, string]
			for i := range 20 {
				job, err := q.Put(i, 0)
				require.NoError(t, err)
				jobs = append(jobs, job)
			}
			require.Eventually(t, func() bool { return calls.Load() == int64(c.calls) }, time.Minute, time.Millisecond)
			underway, pending := q.Size()
			require.Equal(t, []int{c.calls, 20 - c.calls}, []int{underway, pending})
			require.Len(t, q.Underway(), c.calls)
			workers, _ := q.Workers()
			require.LessOrEqual(t, workers[0].Running, c.slots)
			paused, empty := q.Pause(), q.Empty()
			time.Sleep(200 * time.Millisecond) // for what must not happen
			require.Equal(t, int64(c.calls), calls.Load())
			for _, f := range []*twill.Future[struct{}]{paused, empty} {
				_, settled := f.Poll()
				require.False(t, settled)
			}
			require.NoError(t, q.Resume())
			limit(-1)
			for _, job := range jobs {
				r, err := job.Await(t.Context())
				require.NoError(t, err)
				require.Len(t, r, c.size)
			}
			_, err = empty.Await(t.Context())
			require.NoError(t, err)
			require.Equal(t, int64(20), calls.Load(), "each was called once")
			require.LessOrEqual(t, most.Load(), int64(c.slots))
		})
	}
}
