package torture_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/twillgo/twill"
)

// queueOp is a call of a queue, and its result.
type queueOp struct {
	what     string // "put", "take" or "get"; "" for a get that was given up
	value    int
	priority int
	ok       bool
}

// queued is an item of the model.
type queued struct{ value, priority int }

// queueModel is a queue in which lower priority numbers come first, and among
// equals the item that was put first. In a plain queue all priorities are
// equal.
var queueModel = porcupine.Model{
	Init:  func() any { return []queued(nil) },
	Equal: func(a, b any) bool { return slices.Equal(a.([]queued), b.([]queued)) },
	Step: func(state, _, output any) (bool, any) {
		items, op := state.([]queued), output.(queueOp)
		switch {
		case op.what == "put":
			at := len(items)
			for at > 0 && items[at-1].priority > op.priority {
				at--
			}
			return true, slices.Insert(slices.Clone(items), at, queued{op.value, op.priority})
		case op.ok:
			return len(items) > 0 && items[0].value == op.value, items[min(1, len(items)):]
		}
		return len(items) == 0, items
	},
	DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
}

// A get is one call that waits for some time. A get that was given up has taken
// nothing.
func TestQueueIsLinearizable(t *testing.T) {
	linearizable(t, times(3000, 20), 4, queueModel, func(seed uint64, h *history) func(int) {
		var q twill.Queue[int]
		return func(client int) {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range 4 { // with more, the search may take hours
				value := client*10 + i
				switch n := rnd.IntN(5); n {
				case 0, 1:
					h.call(client, nil, func() any {
						_ = q.Put(value)
						return queueOp{what: "put", value: value}
					})
				case 2:
					h.call(client, nil, func() any {
						v, ok := q.TryGet()
						return queueOp{what: "take", value: v, ok: ok}
					})
				default:
					h.call(client, nil, func() any {
						if op := giveUp(q.Get(), patience(rnd)); op.ok {
							return op
						}
						return nil
					})
				}
			}
		}
	})
}

func TestPriorityQueueIsLinearizable(t *testing.T) {
	linearizable(t, times(3000, 20), 4, queueModel, func(seed uint64, h *history) func(int) {
		var q twill.PriorityQueue[int]
		return func(client int) {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range 4 {
				value, priority := client*10+i, rnd.IntN(2)
				switch n := rnd.IntN(5); n {
				case 0, 1:
					h.call(client, nil, func() any {
						_, _ = q.Put(value, priority)
						return queueOp{what: "put", value: value, priority: priority}
					})
				case 2:
					h.call(client, nil, func() any {
						v, ok := q.TryGet()
						return queueOp{what: "take", value: v, ok: ok}
					})
				default:
					h.call(client, nil, func() any {
						if op := giveUp(q.Get(), patience(rnd)); op.ok {
							return op
						}
						return nil
					})
				}
			}
		}
	})
}

// patience returns how long to wait: not at all, or some time.
func patience(rnd *rand.Rand) time.Duration {
	return 1 + time.Duration(rnd.IntN(2))*50*time.Microsecond
}

// giveUp waits for a get for some time, and then cancels it.
func giveUp(f *twill.Future[int], patience time.Duration) queueOp {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := f.Await(ctx)
	if err != nil {
		if f.Cancel(nil) {
			return queueOp{}
		}
		v, err = f.Await(context.Background())
	}
	return queueOp{what: "get", value: v, ok: err == nil}
}

// Goroutines put, get and give up: each item is received once, or is still
// queued.
func TestQueueLosesNothing(t *testing.T) {
	for seed := range uint64(times(200, 50)) {
		var q twill.Queue[int]
		got := make([]int, 40)
		soon(t, func() {
			conc(4, func(client int) {
				rnd := rand.New(rand.NewPCG(seed, uint64(client)))
				for i := range 20 {
					if client%2 == 0 {
						_ = q.Put(client/2*20 + i)
						continue
					}
					if op := giveUp(q.Get(), patience(rnd)); op.ok {
						got[op.value]++
					}
					if rnd.IntN(4) == 0 {
						if v, ok := q.TryGet(); ok {
							got[v]++
						}
					}
				}
			})
		})
		for v, ok := q.TryGet(); ok; v, ok = q.TryGet() {
			got[v]++
		}
		if slices.ContainsFunc(got, func(n int) bool { return n != 1 }) {
			t.Fatalf("seed %d: the items were got %v times", seed, got)
		}
		if q.Waiting() != 0 {
			t.Fatalf("seed %d: %d gets wait for ever", seed, q.Waiting())
		}
	}
}
