package twill_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// load is what a simulated server has seen of its clients.
type load struct{ calls, attempts, successes atomic.Int64 }

func (l *load) extra() float64 {
	return float64(l.attempts.Load()-l.calls.Load()) / float64(l.calls.Load())
}

// simulate has 1000 clients call a server for a minute, each a second after its last call
// has ended. failing is the part of the attempts that fail, at a time since the start.
func simulate(t *testing.T, budget *twill.Budget, failing func(time.Duration) float64) *load {
	t.Helper()
	seen := new(load)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		opts := &twill.RetryOptions{
			Backoff: twill.Limit(twill.FullJitter(twill.Exponential(100*time.Millisecond, 2)), 3), Budget: budget,
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 1000 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				time.Sleep(rand.N(time.Second))
				for ctx.Err() == nil {
					seen.calls.Add(1)
					_, err := twill.Retry(ctx, func(context.Context) (int, error) {
						seen.attempts.Add(1)
						time.Sleep(10 * time.Millisecond)
						if rnd.Float64() < failing(time.Since(start)) {
							return 0, io.EOF
						}
						return 1, nil
					}, opts)
					if err == nil {
						seen.successes.Add(1)
					}
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
	})
	return seen
}

// Y8: retries multiply the load of a server that is down already.
func TestBudgetBoundsTheExtraLoad(t *testing.T) {
	const ratio, tokens = 0.1, 100
	for _, p := range []float64{1, 0.9, 0.5, 0.2, 0.05, 0} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			seen := simulate(t, twill.NewBudget(tokens, ratio), func(time.Duration) float64 { return p })
			calls := seen.calls.Load()
			require.Greater(t, calls, int64(40_000))
			require.LessOrEqual(t, float64(seen.attempts.Load()-calls), ratio*float64(seen.successes.Load())+tokens/2)
			require.Less(t, seen.extra(), ratio+tokens/2/float64(calls))
			switch p {
			case 1:
				require.Less(t, seen.extra(), 0.002, "a server that is down gets half of the tokens, once")
			case 0.05:
				require.Greater(t, seen.extra(), 0.045, "what the budget covers is retried")
				require.Greater(t, float64(seen.successes.Load()), 0.998*float64(calls))
			case 0:
				require.Zero(t, seen.extra())
			}
		})
	}
	without := simulate(t, nil, func(time.Duration) float64 { return 1 })
	require.Greater(t, without.extra(), 2.9, "without a budget it is three retries for each call")
}

// Y8 and failure 9: after an outage the retries come back.
func TestBudgetComesBackAfterAnOutage(t *testing.T) {
	const ratio, tokens = 0.1, 100
	budget := twill.NewBudget(tokens, ratio)
	seen := simulate(t, budget, func(d time.Duration) float64 {
		if d < 20*time.Second {
			return 1
		}
		return 0.02
	})
	require.Less(t, seen.extra(), ratio)
	require.Greater(t, budget.Tokens(), float64(tokens)/2)
	// Of some 38000 calls after the outage 2 % fail at first: few of these may
	// fail in the end.
	require.Greater(t, seen.extra(), 0.01)
}
