package twill_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Attempts that are settled, calls that are cancelled and contexts that end,
// all by goroutines of their own at about the same moment: each call ends once,
// leaves no attempt behind, and no token is lost.
func TestRetryingCallStress(t *testing.T) {
	rounds := 1500
	if testing.Short() || kit.RaceEnabled {
		rounds = 500
	}
	budget := twill.NewBudget(1_000_000, 1)
	var others sync.WaitGroup
	var retries atomic.Int64
	for range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var made []*twill.Promise[int]
		call := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] {
			p := twill.NewPromise[int]()
			mu.Lock()
			made = append(made, p)
			n := len(made)
			mu.Unlock()
			others.Go(func() {
				if rand.IntN(2) == 0 {
					time.Sleep(rand.N(20 * time.Microsecond))
				}
				if n == 4 || rand.IntN(8) == 0 {
					p.Resolve(5)
				} else {
					p.Reject(io.EOF)
				}
			})
			return p.Future()
		}, &twill.RetryOptions{
			Backoff: twill.FullJitter(twill.Constant(rand.N(10 * time.Microsecond))), AttemptTimeout: time.Minute, Budget: budget,
			OnRetry: func(twill.RetryEvent) { retries.Add(1) },
		})
		f := call.Start(ctx)
		others.Go(func() {
			time.Sleep(rand.N(40 * time.Microsecond))
			if rand.IntN(2) == 0 {
				f.Cancel(nil)
			} else {
				cancel()
			}
		})
		v, err := kit.AwaitSoon(f)
		var e *twill.RetryError
		switch {
		case err == nil:
			require.Equal(t, 5, v)
		case !errors.As(err, &e) || !errors.Is(e.Reason, context.Canceled):
			t.Fatalf("neither a value nor cancelled: %v", err)
		}
		cancel()
		mu.Lock()
		for _, p := range made {
			_, settled := p.Future().Poll()
			require.True(t, settled)
		}
		mu.Unlock()
	}
	others.Wait()
	require.LessOrEqual(t, 1_000_000-budget.Tokens(), float64(retries.Load()), "only retries that were made cost something")
}
