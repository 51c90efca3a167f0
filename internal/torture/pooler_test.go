package torture_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/twillgo/twill"
)

// poolerOp is a call of a Pooler and the number of the run whose result it got,
// or the beginning or the end of a run.
type poolerOp struct {
	what string // "call", "begin", "end"
	key  int
	run  int
}

// poolerModel has the run that is underway for a key as its state, 0 for none.
// A call takes place at a moment within the run whose result it gets.
var poolerModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := make([][]porcupine.Operation, poolerKeys)
		for _, op := range history {
			k := op.Output.(poolerOp).key
			keys[k] = append(keys[k], op)
		}
		return keys
	},
	Init: func() any { return 0 },
	Step: func(state, _, output any) (bool, any) {
		now, op := state.(int), output.(poolerOp)
		switch op.what {
		case "begin":
			return now == 0, op.run
		case "end":
			return now == op.run, 0
		}
		return op.run == now, now
	},
	DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
}

const poolerKeys = 2

// At most one run for a key at a time, whichever callers join and leave. No
// caller gets the result of a run that was over when it called, or of a run
// that was canceled.
func TestPoolerIsLinearizable(t *testing.T) {
	linearizable(t, times(2000, 50), 4, poolerModel, func(seed uint64, h *history) func(int) {
		var runs atomic.Int32
		p := twill.NewPooler(func(ctx context.Context, key int) (int, error) {
			run := int(runs.Add(1))
			h.mark(poolerOp{"begin", key, run}, 0)
			for range run % 4 {
				runtime.Gosched()
			}
			// The run may be over at any time from now on; no goroutine can see when.
			h.mark(poolerOp{"end", key, run}, math.MaxInt64)
			if ctx.Err() != nil {
				return -run, nil
			}
			return run, nil
		})
		return func(client int) {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for range 4 {
				key, wait, polite := rnd.IntN(poolerKeys), patience(rnd), rnd.IntN(2) == 0
				h.call(client, nil, func() any {
					ctx, cancel := context.WithTimeout(context.Background(), wait)
					defer cancel()
					var run int
					if polite {
						run = giveUp(p.Call(context.Background(), key), wait).value
					} else {
						run, _ = p.Call(ctx, key).Await(context.Background())
					}
					if run == 0 {
						return nil // given up
					}
					return poolerOp{"call", key, run}
				})
			}
			if _, err := p.Empty().Await(context.Background()); err != nil { // the run may still write
				t.Error(err)
			}
		}
	})
}

// mark records an event, or an event that took place later but before a given
// time.
func (h *history) mark(output any, until int64) {
	now := h.clock.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: 100 + len(h.ops), Call: now, Output: output, Return: max(until, now)})
}
