package torture_test

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func init() { maps.Copy(soaks, recipeSoaks) }

// recipeSoaks are soaks of the types that are built on futures. If there are
// keys, each round has a new one: with -long a million.
var recipeSoaks = map[string]func(t *testing.T) func(){
	"keys of a dict": func(t *testing.T) func() {
		d, k := new(twill.Dict[int, int]), 0
		return func() {
			k++
			waits := d.Get(k)
			require.NoError(t, d.Set(k, k))
			require.NoError(t, failure(waits))
			require.True(t, d.Delete(k))
		}
	},
	"gets of a dict that are canceled": func(t *testing.T) func() {
		d, k := new(twill.Dict[int, int]), 0
		return func() {
			k++
			require.True(t, d.Get(k).Cancel(nil))
			require.Zero(t, d.Waiting())
		}
	},
	"keys of a dict that computes": func(t *testing.T) func() {
		d, k := new(twill.Dict[int, int]), 0
		return func() {
			k++
			_, err := d.GetOrCompute(context.Background(), k, func(context.Context) (int, error) { return k, nil }).Await(context.Background())
			require.NoError(t, err)
			require.True(t, d.Delete(k))
		}
	},
	"keys of a pooler": func(t *testing.T) func() {
		p, k := twill.NewPooler(func(_ context.Context, k int) (int, error) { return k, nil }), 0
		return func() {
			k++
			v, err := p.Call(context.Background(), k).Await(context.Background())
			require.NoError(t, err)
			require.Equal(t, k, v)
		}
	},
	"calls of a pooler that are given up": func(t *testing.T) func() {
		p := twill.NewPooler(func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, nil })
		k := 0
		return func() {
			k++
			require.True(t, p.Call(context.Background(), k).Cancel(nil))
			_, err := p.Empty().Await(context.Background())
			require.NoError(t, err)
		}
	},
	"calls of a pooler under one parent": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		p := twill.NewPooler(func(ctx context.Context, k int) (int, error) { return k, ctx.Err() })
		return func() {
			v, err := p.Call(ctx, 1).Await(context.Background())
			require.NoError(t, err)
			require.Equal(t, 1, v)
			_, err = p.Empty().Await(context.Background())
			require.NoError(t, err)
		}
	},
	"puts that wait and give up": func(t *testing.T) func() {
		q, pq := twill.NewQueue[int](&twill.QueueOptions{Size: 1}), twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 1})
		require.NoError(t, q.Put(1))
		_, err := pq.Put(1, 0)
		require.NoError(t, err)
		return func() {
			ctx, cancel := context.WithCancel(context.Background())
			go cancel() // usually while it waits
			require.ErrorIs(t, q.PutWait(ctx, 2), context.Canceled)
			ctx, cancel = context.WithCancel(context.Background())
			go cancel()
			_, err := pq.PutWait(ctx, 2, 0)
			require.ErrorIs(t, err, context.Canceled)
		}
	},
	"gets of a queue that are canceled": func(t *testing.T) func() {
		q, pq := new(twill.Queue[int]), new(twill.PriorityQueue[int])
		return func() {
			require.True(t, q.Get().Cancel(nil))
			require.True(t, pq.Get().Cancel(nil))
		}
	},
	"items of a queue": func(t *testing.T) func() {
		q, pq := new(twill.Queue[*[100]int]), new(twill.PriorityQueue[*[100]int])
		return func() {
			require.NoError(t, q.Put(new([100]int)))
			require.NoError(t, failure(q.Get()))
			item, err := pq.Put(new([100]int), 1)
			require.NoError(t, err)
			require.True(t, item.Remove())
		}
	},
	"jobs of a dispatch queue": func(t *testing.T) func() {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
		return func() {
			j, err := q.Put(1, 0)
			require.NoError(t, err)
			_, err = j.Await(context.Background())
			require.NoError(t, err)
		}
	},
	"jobs that are canceled before they start": func(t *testing.T) func() {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
		require.NoError(t, q.SetWidth(0))
		return func() {
			j, err := q.Put(1, 0)
			require.NoError(t, err)
			require.True(t, j.Cancel(nil))
		}
	},
	"waits for a semaphore": func(t *testing.T) func() {
		s := twill.NewSemaphore(1)
		_, ok := s.TryAcquire()
		require.True(t, ok)
		return func() { require.True(t, s.Acquire().Cancel(nil)) }
	},
	"races under one parent": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		return func() {
			ended := make(chan struct{})
			v, err := twill.RaceOf(ctx,
				func(context.Context) (int, error) { return 1, nil },
				func(ctx context.Context) (int, error) { defer close(ended); <-ctx.Done(); return 2, nil },
			).Await(context.Background())
			require.NoError(t, err)
			require.Equal(t, 1, v)
			<-ended
		}
	},
	"calls of an init that is not ready": func(t *testing.T) func() {
		in := twill.NewInit(context.Background(), func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, nil })
		t.Cleanup(func() { in.Cancel(nil) })
		return func() { require.True(t, twill.Then(in.Ready(), double).Cancel(nil)) }
	},
	"retries that are canceled": func(t *testing.T) func() {
		ctx, cancel := context.WithCancel(context.Background())
		t.Cleanup(cancel)
		c := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { return twill.Rejected[int](errFailed) },
			&twill.RetryOptions{Backoff: twill.ConstantBackoff(time.Hour)})
		return func() { require.True(t, c.Start(ctx).Cancel(nil)) }
	},
}
