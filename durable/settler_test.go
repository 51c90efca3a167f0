package durable

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A handler that blocks does not hold the others, even if the timer hands over
// while the goroutine is about to begin with a list.
func TestHandOverBeforeAList(t *testing.T) {
	q := &Queue[int, int]{kept: new(goroutines)}
	q.over.q = q
	s := &q.over
	block, settled := make(chan struct{}), make(chan struct{})
	for _, settle := range []func(){func() { <-block }, func() { close(settled) }} {
		s.list = append(s.list, &ending[int, int]{job: &Job[int, int]{q: q}, settle: settle})
	}
	defer close(block)
	working := &settling[int, int]{s: s}
	working.ends.Store(new(ends[int, int])) // an earlier list
	s.current = working

	q.mu.Lock() // which forget waits for
	go working.run()
	for taken := false; !taken; runtime.Gosched() {
		s.mu.Lock()
		taken = len(s.list) == 0
		s.mu.Unlock()
	}
	working.handOver()
	q.mu.Unlock()
	select {
	case <-settled:
	case <-time.After(20 * time.Second):
		require.Fail(t, "the second future waits for the handler of the first")
	}
}
