package torture_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/twillgo/twill"
)

// A random sequence of all calls of a pooler, compared with a model: after
// every step the same calls are underway with the same callers, and the same
// callers have left, succeeded or failed.
func TestPoolerMachine(t *testing.T) {
	inBubble(t, func(rt *rapid.T) {
		m := &poolerMachine{joined: map[int]*modelFlight{}}
		m.p = twill.NewPooler(m.call)
		defer m.end()
		rt.Repeat(rapid.StateMachineActions(m))
	})
}

type poolerMachine struct {
	p       *twill.Pooler[int, int]
	begun   []*realFlight // runs in the pooler that are not matched with the model yet
	joined  map[int]*modelFlight
	flights []*modelFlight // calls underway, in the order in which they began
	callers []*modelCaller
	calls   uint64
	merged  uint64
	empties []*modelEmpty
}

// realFlight is a call of the function.
type realFlight struct {
	key  int
	ctx  context.Context
	gate chan string
}

// modelFlight is a call, or a call that waits for the call before it to return.
type modelFlight struct {
	key      int
	real     *realFlight
	callers  []*modelCaller
	deserted bool
	next     *modelFlight
}

type modelCaller struct {
	f      *twill.Future[int]
	cancel context.CancelCauseFunc
	fl     *modelFlight
	done   bool
	value  int
	err    error
}

type modelEmpty struct {
	f    *twill.Future[struct{}]
	done bool
}

// call is the function. It runs until the test ends it, canceled or not.
func (m *poolerMachine) call(ctx context.Context, key int) (int, error) {
	fl := &realFlight{key, ctx, make(chan string, 1)}
	m.begun = append(m.begun, fl) // a step begins at most one call
	switch how := <-fl.gate; how {
	case "error":
		return 0, errJob
	case "panic":
		panic(errJob)
	case "exit":
		runtime.Goexit()
	}
	return key, nil
}

func (m *poolerMachine) begin(fl *modelFlight) {
	m.flights = append(m.flights, fl)
	m.joined[fl.key] = fl
}

// Call adds a caller.
func (m *poolerMachine) Call(rt *rapid.T) {
	key := rapid.IntRange(0, 2).Draw(rt, "key")
	ctx, cancel := context.WithCancelCause(context.Background())
	c := &modelCaller{cancel: cancel}
	m.callers = append(m.callers, c)
	m.calls++
	fl := m.joined[key]
	switch {
	case fl == nil:
		fl = &modelFlight{key: key}
		m.begin(fl)
	case fl.deserted && fl.next == nil:
		fl.next = &modelFlight{key: key}
		fl = fl.next
	default:
		if fl.deserted {
			fl = fl.next
		}
		m.merged++
	}
	c.fl = fl
	fl.callers = append(fl.callers, c)
	c.f = m.p.Call(ctx, key)
}

// Leave makes a caller leave, in one of two ways, perhaps too late.
func (m *poolerMachine) Leave(rt *rapid.T) {
	if len(m.callers) == 0 {
		rt.Skip("there are no callers")
	}
	c := rapid.SampledFrom(m.callers).Draw(rt, "caller")
	if rapid.Bool().Draw(rt, "by its context") {
		c.cancel(errLeft)
	} else if got := c.f.Cancel(errLeft); got == c.done {
		rt.Fatalf("Cancel: %t", got)
	}
	m.leave(c)
}

func (m *poolerMachine) leave(c *modelCaller) {
	if c.done {
		return
	}
	c.done, c.err = true, errLeft
	fl := c.fl
	fl.callers = slices.DeleteFunc(fl.callers, func(x *modelCaller) bool { return x == c })
	if len(fl.callers) > 0 {
		return
	}
	fl.deserted = true
	for _, before := range m.flights {
		if before.next == fl {
			before.next = nil
		}
	}
}

// CancelAll makes all callers leave.
func (m *poolerMachine) CancelAll(rt *rapid.T) {
	if rapid.IntRange(0, 4).Draw(rt, "all") > 0 {
		return
	}
	m.p.CancelAll(errLeft)
	for _, c := range m.callers {
		m.leave(c)
	}
}

// Forget makes the next call start a new run, and starts a call that waits for
// another call to return.
func (m *poolerMachine) Forget(rt *rapid.T) {
	key := rapid.IntRange(0, 2).Draw(rt, "key")
	fl := m.joined[key]
	if got := m.p.Forget(key); got != (fl != nil) {
		rt.Fatalf("Forget: %t", got)
	}
	if fl != nil {
		m.promote(fl)
	}
}

func (m *poolerMachine) promote(fl *modelFlight) {
	next := fl.next
	fl.next = nil
	delete(m.joined, fl.key)
	if next != nil {
		m.begin(next)
	}
}

// Return ends a run of the function.
func (m *poolerMachine) Return(rt *rapid.T) {
	if len(m.flights) == 0 {
		rt.Skip("nothing is underway")
	}
	fl := rapid.SampledFrom(m.flights).Draw(rt, "flight")
	how := rapid.SampledFrom([]string{"value", "value", "error", "panic", "exit"}).Draw(rt, "end")
	err := map[string]error{"error": errJob, "panic": errJob, "exit": twill.ErrGoexit}[how]
	fl.real.gate <- how
	m.flights = slices.DeleteFunc(m.flights, func(x *modelFlight) bool { return x == fl })
	for _, c := range fl.callers {
		c.done, c.err = true, err
		if err == nil {
			c.value = fl.key
		}
	}
	if m.joined[fl.key] == fl {
		m.promote(fl)
	}
}

// Empty makes a future that settles when no function is underway.
func (m *poolerMachine) Empty(*rapid.T) { m.empties = append(m.empties, &modelEmpty{f: m.p.Empty()}) }

// Check compares everything that is visible.
func (m *poolerMachine) Check(rt *rapid.T) {
	synctest.Wait()
	for _, fl := range m.flights {
		if fl.real != nil {
			continue
		}
		i := slices.IndexFunc(m.begun, func(r *realFlight) bool { return r.key == fl.key })
		if i < 0 {
			rt.Fatalf("the function for %d was not called", fl.key)
		}
		fl.real = m.begun[i]
		m.begun = slices.Delete(m.begun, i, i+1)
	}
	if len(m.begun) > 0 {
		rt.Fatalf("the function for %d was called", m.begun[0].key)
	}
	waiting, keys := 0, []int{}
	for i, fl := range m.flights {
		keys = append(keys, fl.key)
		if waiting += len(fl.callers); fl.next != nil {
			waiting += len(fl.next.callers)
		}
		if ended := fl.real.ctx.Err() != nil; ended != fl.deserted {
			rt.Fatalf("the context of call %d has ended: %t, the model: %t", i, ended, fl.deserted)
		}
	}
	want := twill.PoolerStats{Calls: m.calls, Merged: m.merged, Underway: len(m.flights), Waiting: waiting}
	if got := m.p.Stats(); got != want {
		rt.Fatalf("%+v, the model: %+v", got, want)
	}
	if got := slices.Collect(m.p.All()); !slices.Equal(got, keys) {
		rt.Fatalf("underway are %v, the model: %v", got, keys)
	}
	for i, c := range m.callers {
		r, ok := c.f.Poll()
		if ok != c.done || r.Value != c.value || !errors.Is(r.Err, c.err) {
			rt.Fatalf("caller %d has %v, %t, the model: %d, %v, %t", i, r, ok, c.value, c.err, c.done)
		}
	}
	for i, e := range m.empties {
		e.done = e.done || len(m.flights) == 0
		if _, ok := e.f.Poll(); ok != e.done {
			rt.Fatalf("Empty %d has settled: %t", i, ok)
		}
	}
}

// end lets all functions return.
func (m *poolerMachine) end() {
	m.p.CancelAll(nil)
	for _, fl := range m.flights {
		if fl.real != nil {
			fl.real.gate <- "value"
		}
	}
	synctest.Wait()
	for _, r := range m.begun {
		r.gate <- "value"
	}
	for _, c := range m.callers {
		c.cancel(nil)
	}
}
