package torture_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"
)

// history records the calls of clients and their results. porcupine looks for
// an order in which a single client could have made the same calls with the
// same results. Histories are useful only if calls overlap, which they rarely
// do on few cores: with the build tag "yield" goroutines switch at the
// library's locks.
type history struct {
	clock atomic.Int64
	mu    sync.Mutex
	ops   []porcupine.Operation // guarded by mu
}

// call records one call, unless it returns nil: such a call may have been made
// at any time or never, and would only make the search longer.
func (h *history) call(client int, input any, fn func() any) {
	began := h.clock.Add(1)
	output := fn()
	if output == nil {
		return
	}
	op := porcupine.Operation{ClientId: client, Input: input, Call: began, Output: output, Return: h.clock.Add(1)}
	h.mu.Lock()
	h.ops = append(h.ops, op)
	h.mu.Unlock()
}

// overlaps reports whether two calls have overlapped.
func (h *history) overlaps() bool {
	for i, a := range h.ops {
		for _, b := range h.ops[i+1:] {
			if a.Call < b.Return && b.Call < a.Return {
				return true
			}
		}
	}
	return false
}

// linearizable makes the given number of histories, of clients that start at
// the same time, and checks each against the model.
func linearizable(t *testing.T, histories, clients int, m porcupine.Model, client func(seed uint64, h *history) func(client int)) {
	t.Helper()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))))
	overlapping := 0
	for seed := range uint64(histories) {
		h := new(history)
		do := client(seed, h)
		soon(t, func() { conc(clients, do) })
		if h.overlaps() {
			overlapping++
		}
		switch porcupine.CheckOperationsTimeout(m, h.ops, time.Minute) {
		case porcupine.Illegal:
			for _, op := range h.ops {
				t.Log(op.Call, op.Return, op.ClientId, m.DescribeOperation(op.Input, op.Output))
			}
			t.Fatalf("seed %d: no order explains this", seed)
		case porcupine.Unknown:
			t.Fatalf("seed %d: too hard to check", seed)
		}
	}
	t.Logf("in %d of %d histories calls overlap", overlapping, histories)
	if yields {
		require.Greater(t, overlapping, histories/4, "the histories prove nothing")
	}
}

// conc runs the given number of clients concurrently, and waits for them.
func conc(clients int, do func(client int)) {
	var ready, wg sync.WaitGroup
	start := make(chan struct{})
	for c := range clients {
		ready.Add(1)
		wg.Go(func() {
			ready.Done()
			<-start
			do(c)
		})
	}
	ready.Wait()
	close(start)
	wg.Wait()
}
