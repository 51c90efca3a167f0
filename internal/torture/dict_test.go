package torture_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/twillgo/twill"
)

// dictOp is a call of a Dict, and its result.
type dictOp struct {
	what  string
	key   int
	value int
	ok    bool
}

// dictModel has one key's value as its state, 0 for none.
var dictModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := make([][]porcupine.Operation, dictKeys)
		for _, op := range history {
			k := op.Output.(dictOp).key
			keys[k] = append(keys[k], op)
		}
		return keys
	},
	Init: func() any { return 0 },
	Step: func(state, _, output any) (bool, any) {
		now, op := state.(int), output.(dictOp)
		switch op.what {
		case "set":
			return true, op.value
		case "delete":
			return op.ok == (now != 0), 0
		case "update": // sets ten times the value, plus one
			return op.value == now*10+1, op.value
		case "lookup":
			return op.ok == (now != 0) && op.value == now, now
		}
		return op.value == now, now // a get
	},
	DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
}

const dictKeys = 2

func TestDictIsLinearizable(t *testing.T) {
	linearizable(t, times(3000, 20), 4, dictModel, func(seed uint64, h *history) func(int) {
		var d twill.Dict[int, int]
		return func(client int) {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range 6 {
				k, v := rnd.IntN(dictKeys), client*10+i+100
				act, wait := rnd.IntN(6), patience(rnd)
				h.call(client, nil, func() any {
					if op := dictAct(&d, act, k, v, wait); op.what != "get" || op.ok {
						return op
					}
					return nil // given up
				})
			}
		}
	})
}

func dictAct(d *twill.Dict[int, int], act, k, v int, patience time.Duration) dictOp {
	switch act {
	case 0:
		_ = d.Set(k, v)
		return dictOp{what: "set", key: k, value: v}
	case 1:
		return dictOp{what: "delete", key: k, ok: d.Delete(k)}
	case 2:
		v, _ := d.Update(k, func(old int, _ bool) (int, error) { return old*10 + 1, nil })
		return dictOp{what: "update", key: k, value: v}
	case 3:
		v, ok := d.Lookup(k)
		return dictOp{what: "lookup", key: k, value: v, ok: ok}
	}
	op := giveUp(d.Get(k), patience)
	return dictOp{what: "get", key: k, value: op.value, ok: op.ok}
}

// Of concurrent computations of a missing key only one runs, and all callers
// get its value.
func TestDictComputesOnce(t *testing.T) {
	for range times(300, 30) {
		var d twill.Dict[int, int]
		calls := make(chan int, 10)
		values := make([]int, 4)
		soon(t, func() {
			conc(4, func(client int) {
				v, err := d.GetOrCompute(context.Background(), 1, func(context.Context) (int, error) {
					calls <- client
					return client + 1, nil
				}).Await(context.Background())
				if err != nil {
					t.Error(err)
				}
				values[client] = v
			})
		})
		if len(calls) != 1 {
			t.Fatalf("computed %d times", len(calls))
		}
		want := <-calls + 1
		for _, v := range values {
			if v != want {
				t.Fatalf("the values are %v, computed was %d", values, want)
			}
		}
	}
}

// Closing a dict that is in use leaves no get waiting.
func TestDictCloseEndsAllWaits(t *testing.T) {
	errEnd := errors.New("end")
	for range times(300, 30) {
		var d twill.Dict[int, int]
		soon(t, func() {
			conc(4, func(client int) {
				if client == 0 {
					d.Close(errEnd)
					return
				}
				for range 5 {
					if _, err := d.Get(client).Await(context.Background()); !errors.Is(err, errEnd) {
						t.Errorf("a get gives %v", err)
					}
				}
			})
		})
		if n := d.Waiting(); n != 0 {
			t.Fatalf("%d wait for ever", n)
		}
	}
}
