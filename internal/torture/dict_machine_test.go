package torture_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/twillgo/twill"
)

// A random sequence of all calls of a dict, compared with a map with lines of
// gets: after every step the same keys have the same values, the same gets have
// settled, and their handlers ran in the order of the gets.
func TestDictMachine(t *testing.T) {
	inBubble(t, func(rt *rapid.T) {
		m := &dictMachine{values: map[int]int{}, lines: map[int][]*modelGet{}, computing: map[int]*modelCompute{}}
		defer m.end()
		rt.Repeat(rapid.StateMachineActions(m))
	})
}

type dictMachine struct {
	d         twill.Dict[int, int]
	values    map[int]int
	lines     map[int][]*modelGet
	closed    bool
	computing map[int]*modelCompute
	gets      []*modelGet
	told      []int // gets that have settled, in the order of their handlers
	tell      []int // in the expected order
	early     bool  // a handler ran before its value was stored
	unstored  bool  // a value that is not stored is being delivered
	version   int
}

// modelGet is a Get or a GetOrCompute.
type modelGet struct {
	f       *twill.Future[int]
	key, n  int
	compute bool
	done    bool
	value   int
	err     error
}

// modelCompute is the function that computes the value of a key.
type modelCompute struct {
	gate      chan computed
	ctx       context.Context
	needed    bool
	forgotten bool // its value is not stored
}

type computed struct {
	v   int
	err error
}

func (m *dictMachine) key(rt *rapid.T) int { return rapid.IntRange(0, 2).Draw(rt, "key") }

// newValue returns a value that was not used before.
func (m *dictMachine) newValue() int {
	m.version++
	return m.version
}

// serve settles some of the gets that wait for a key.
func (m *dictMachine) serve(key, v int, err error, which func(*modelGet) bool) {
	var rest []*modelGet
	for _, g := range m.lines[key] {
		if !which(g) {
			rest = append(rest, g)
			continue
		}
		g.done, g.value, g.err = true, v, err
		m.tell = append(m.tell, g.n)
	}
	m.lines[key] = rest
	m.release(key)
}

// release ends a function whose value is no longer needed.
func (m *dictMachine) release(key int) {
	c := m.computing[key]
	if c != nil && !slices.ContainsFunc(m.lines[key], func(g *modelGet) bool { return g.compute }) {
		c.needed = false
	}
}

func everybody(*modelGet) bool { return true }

func (m *dictMachine) store(key, v int) error {
	if m.closed {
		return twill.ErrClosed
	}
	m.values[key] = v
	m.serve(key, v, nil, everybody)
	return nil
}

// Set sets a key.
func (m *dictMachine) Set(rt *rapid.T) {
	k, v := m.key(rt), m.newValue()
	if got, want := m.d.Set(k, v), m.store(k, v); got != want {
		rt.Fatalf("Set: %v, not %v", got, want)
	}
}

// Update changes a key, or fails.
func (m *dictMachine) Update(rt *rapid.T) {
	k, fails := m.key(rt), rapid.Bool().Draw(rt, "fails")
	now, there := m.values[k]
	v, err := m.d.Update(k, func(old int, ok bool) (int, error) {
		if old != now || ok != there {
			rt.Fatalf("Update sees %d, %t, not %d, %t", old, ok, now, there)
		}
		if fails {
			return -1, errJob
		}
		return now + 1000, nil
	})
	want := errJob
	if !fails {
		want = m.store(k, now+1000)
	}
	if err != want || err == nil && v != now+1000 {
		rt.Fatalf("Update: %d, %v, not %v", v, err, want)
	}
}

// Delete deletes a key.
func (m *dictMachine) Delete(rt *rapid.T) {
	k := m.key(rt)
	_, there := m.values[k]
	delete(m.values, k)
	if got := m.d.Delete(k); got != there {
		rt.Fatalf("Delete: %t, not %t", got, there)
	}
	if c := m.computing[k]; c != nil {
		c.forgotten = true
	}
}

// Forget makes sure that the value that is being computed is not stored.
func (m *dictMachine) Forget(rt *rapid.T) {
	k := m.key(rt)
	c := m.computing[k]
	if got, want := m.d.Forget(k), c != nil && !c.forgotten; got != want {
		rt.Fatalf("Forget: %t, not %t", got, want)
	}
	if c != nil {
		c.forgotten = true
	}
}

// Fail fails the gets that wait for a key.
func (m *dictMachine) Fail(rt *rapid.T) {
	k := m.key(rt)
	m.serve(k, 0, errJob, everybody)
	m.d.Fail(k, errJob)
}

// Get gets a key, and waits if it is not set.
func (m *dictMachine) Get(rt *rapid.T) {
	g := &modelGet{key: m.key(rt)}
	m.add(g, m.d.Get(g.key))
}

// Compute gets a key, and computes its value if it is not set. It is called
// only while no function for the key has been canceled and is still running:
// the next function would begin when that one returns, which TestPoolerMachine
// tests.
func (m *dictMachine) Compute(rt *rapid.T) {
	g := &modelGet{key: m.key(rt), compute: true}
	c := m.computing[g.key]
	if c != nil && (!c.needed || c.forgotten) {
		rt.Skip("one is on its way out")
	}
	if _, there := m.values[g.key]; c == nil && !there && !m.closed {
		c = &modelCompute{gate: make(chan computed, 1), needed: true}
		m.computing[g.key] = c
	}
	m.add(g, m.d.GetOrCompute(context.Background(), g.key, func(ctx context.Context) (int, error) {
		c.ctx = ctx
		r := <-c.gate
		return r.v, r.err
	}))
	synctest.Wait()
}

func (m *dictMachine) add(g *modelGet, f *twill.Future[int]) {
	g.f, g.n = f, len(m.gets)
	m.gets = append(m.gets, g)
	v, there := m.values[g.key]
	switch {
	case there:
		g.done, g.value = true, v
	case m.closed:
		g.done, g.err = true, errLeft
	default:
		m.lines[g.key] = append(m.lines[g.key], g)
		f.Tap(func(v int, err error) {
			m.told = append(m.told, g.n)
			if now, ok := m.d.Lookup(g.key); err == nil && (!ok || now != v) && !m.unstored {
				m.early = true
			}
		})
	}
}

// Made ends a function, with a value or a failure.
func (m *dictMachine) Made(rt *rapid.T) {
	if len(m.computing) == 0 {
		rt.Skip("nothing is being made")
	}
	k := rapid.SampledFrom(slices.Sorted(maps.Keys(m.computing))).Draw(rt, "key")
	c := m.computing[k]
	delete(m.computing, k)
	r := computed{v: m.newValue()}
	if rapid.Bool().Draw(rt, "fails") {
		r.err = errJob
	}
	m.unstored = c.forgotten
	c.gate <- r
	synctest.Wait()
	m.unstored = false
	switch {
	case !c.needed:
	case r.err != nil || c.forgotten: // the gets of Get continue to wait
		v := r.v
		if r.err != nil {
			v = 0
		}
		m.serve(k, v, r.err, func(g *modelGet) bool { return g.compute })
	default:
		_ = m.store(k, r.v)
	}
}

// Cancel cancels a get, perhaps too late.
func (m *dictMachine) Cancel(rt *rapid.T) {
	if len(m.gets) == 0 {
		rt.Skip("there are no gets")
	}
	g := rapid.SampledFrom(m.gets).Draw(rt, "get")
	// The handler of a get that was settled ran when it was added.
	if got := g.f.Cancel(nil); got == g.done {
		rt.Fatalf("Cancel: %t", got)
	}
	if !g.done {
		m.serve(g.key, 0, twill.ErrCanceled, func(x *modelGet) bool { return x == g })
	}
}

// Close rarely closes the dict, as little happens after that.
func (m *dictMachine) Close(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "close") > 0 || m.closed {
		return
	}
	m.closed = true
	var all []*modelGet
	for _, line := range m.lines {
		all = append(all, line...)
	}
	slices.SortFunc(all, func(a, b *modelGet) int { return a.n - b.n })
	for _, g := range all {
		m.serve(g.key, 0, errLeft, func(x *modelGet) bool { return x == g })
	}
	m.d.Close(errLeft)
}

// Check compares everything that is visible.
func (m *dictMachine) Check(rt *rapid.T) {
	synctest.Wait()
	if got := maps.Collect(m.d.All()); !maps.Equal(got, m.values) || m.d.Len() != len(m.values) {
		rt.Fatalf("there are %d: %v, the model: %v", m.d.Len(), got, m.values)
	}
	waiting := 0
	for k := range 3 {
		v, ok := m.d.Lookup(k)
		if want, there := m.values[k]; v != want || ok != there {
			rt.Fatalf("key %d: %d, %t, the model: %d, %t", k, v, ok, want, there)
		}
		if got := m.d.WaitingFor(k); got != len(m.lines[k]) {
			rt.Fatalf("%d wait for %d, the model: %d", got, k, len(m.lines[k]))
		}
		waiting += len(m.lines[k])
		if c := m.computing[k]; c != nil && (c.ctx.Err() == nil) != c.needed {
			rt.Fatalf("the function for %d goes on: %t", k, c.ctx.Err() == nil)
		}
	}
	if m.d.Waiting() != waiting {
		rt.Fatalf("%d wait, the model: %d", m.d.Waiting(), waiting)
	}
	for i, g := range m.gets {
		r, ok := g.f.Poll()
		if ok != g.done || r.Value != g.value || !errors.Is(r.Err, g.err) {
			rt.Fatalf("get %d: %v, %t, the model: %d, %v, %t", i, r, ok, g.value, g.err, g.done)
		}
	}
	if m.early {
		rt.Fatal("a get was told of a value that was not there yet")
	}
	if fmt.Sprint(m.told) != fmt.Sprint(m.tell) {
		rt.Fatalf("told were %v, the model: %v", m.told, m.tell)
	}
}

// end lets all functions return.
func (m *dictMachine) end() {
	m.d.Close(nil)
	for _, c := range m.computing {
		c.gate <- computed{}
	}
	synctest.Wait()
}
