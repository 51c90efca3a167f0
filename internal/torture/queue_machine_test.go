package torture_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/twillgo/twill"
)

// A random sequence of all calls of a queue of either kind, compared with a
// model: after every step the same gets and puts have ended, with the same
// results, and the same items are queued.
func TestQueueMachine(t *testing.T) {
	inBubble(t, func(rt *rapid.T) {
		m := newQueueMachine(rt)
		q := twill.NewQueue[int](&twill.QueueOptions{Size: m.size, Backlog: m.backlog})
		m.q = q
		m.put = func(v, _ int) (*twill.PriorityItem[int], error) { return nil, q.Put(v) }
		m.putWait = func(ctx context.Context, v, _ int) (*twill.PriorityItem[int], error) { return nil, q.PutWait(ctx, v) }
		m.snapshot = func() []int { return nil }
		m.walk(rt)
	})
}

func TestPriorityQueueMachine(t *testing.T) {
	inBubble(t, func(rt *rapid.T) {
		m := newQueueMachine(rt)
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: m.size, Backlog: m.backlog})
		m.q, m.put, m.putWait, m.priorities, m.snapshot = q, q.Put, q.PutWait, 3, q.Snapshot
		m.walk(rt)
	})
}

// inBubble checks a property in a bubble, in which everything that waits can be
// detected.
func inBubble(t *testing.T, property func(rt *rapid.T)) {
	synctest.Test(t, func(t *testing.T) { rapid.Check(bubbled{t}, property) })
}

// bubbled hides the deadline of a test, which must not be used in a bubble.
type bubbled struct{ rapid.TB }

// queueMachine is a queue and, in the four slices and the fields below them,
// the model.
type queueMachine struct {
	q interface {
		Get() *twill.Future[int]
		TryGet() (int, bool)
		Len() int
		Waiting() int
		Close()
	}
	put        func(v, priority int) (*twill.PriorityItem[int], error)
	putWait    func(ctx context.Context, v, priority int) (*twill.PriorityItem[int], error)
	snapshot   func() []int // nil for a plain queue
	priorities int          // number of priorities; 1 for a plain queue

	size, backlog int
	items         []*queuePut // queued, in order
	putters       []*queuePut // waiting PutWaits, in order
	getters       []*queueGet // waiting gets, in order
	closed        bool
	gets          []*queueGet
	puts          []*queuePut
}

type queueGet struct {
	f     *twill.Future[int]
	done  bool
	value int
	err   error
}

// queuePut is an item that was put at once or by a PutWait.
type queuePut struct {
	value, priority, seq int
	item                 *twill.PriorityItem[int]
	cancel               context.CancelFunc
	ended                chan error // of a PutWait
	done                 bool
	err                  error
}

var errLeft = errors.New("left")

func newQueueMachine(rt *rapid.T) *queueMachine {
	limit := func(name string) int { return rapid.SampledFrom([]int{0, 0, -1, 1, 2, 3}).Draw(rt, name) }
	return &queueMachine{size: limit("size"), backlog: limit("backlog"), priorities: 1}
}

func (m *queueMachine) walk(rt *rapid.T) {
	defer synctest.Wait()
	defer m.q.Close() // ends everything that waits
	rt.Repeat(rapid.StateMachineActions(m))
}

// add puts an item into the model, and returns what Put should return.
func (m *queueMachine) add(p *queuePut) error {
	switch {
	case m.closed:
		return twill.ErrClosed
	case len(m.getters) > 0:
		m.serve(m.getters[0], p)
		return nil
	case m.size < 0 || m.size > 0 && len(m.items) >= m.size:
		return twill.ErrQueueFull
	}
	m.items = insert(m.items, p)
	return nil
}

// insert inserts p by priority and then by age.
func insert(ps []*queuePut, p *queuePut) []*queuePut {
	ps = append(ps, p)
	slices.SortStableFunc(ps, func(a, b *queuePut) int {
		if a.priority != b.priority {
			return a.priority - b.priority
		}
		return a.seq - b.seq
	})
	return ps
}

func (m *queueMachine) serve(g *queueGet, p *queuePut) {
	m.getters = slices.DeleteFunc(m.getters, func(x *queueGet) bool { return x == g })
	g.done, g.value = true, p.value
}

// admit admits the first PutWait, for which there is room.
func (m *queueMachine) admit() {
	if len(m.putters) > 0 {
		p := m.putters[0]
		m.putters = m.putters[1:]
		m.items = insert(m.items, p)
		p.done = true
	}
}

// take takes an item from the model without waiting.
func (m *queueMachine) take() *queuePut {
	if m.priorities > 1 || len(m.items) == 0 {
		m.admit()
	}
	if len(m.items) == 0 {
		return nil
	}
	p := m.items[0]
	m.items = slices.Clone(m.items[1:])
	if len(m.items) == m.size-1 {
		m.admit()
	}
	return p
}

func (m *queueMachine) newPut(rt *rapid.T) *queuePut {
	p := &queuePut{value: len(m.puts) + 1, seq: len(m.puts)}
	if m.priorities > 1 {
		p.priority = rapid.IntRange(0, m.priorities-1).Draw(rt, "priority")
	}
	m.puts = append(m.puts, p)
	return p
}

// Put puts an item.
func (m *queueMachine) Put(rt *rapid.T) {
	p := m.newPut(rt)
	want := m.add(p)
	var err error
	if p.item, err = m.put(p.value, p.priority); err != want {
		rt.Fatalf("Put: %v, not %v", err, want)
	}
}

// PutWait puts an item, and waits for room.
func (m *queueMachine) PutWait(rt *rapid.T) {
	p := m.newPut(rt)
	ctx, cancel := context.WithCancelCause(context.Background())
	p.cancel, p.ended = func() { cancel(errLeft) }, make(chan error, 1)
	if err := m.add(p); err == twill.ErrQueueFull {
		m.putters = insert(m.putters, p)
	} else {
		p.done, p.err = true, err
	}
	go func() {
		var err error
		p.item, err = m.putWait(ctx, p.value, p.priority)
		cancel(nil)
		p.ended <- err
	}()
}

// Leave ends the context of a PutWait, perhaps too late.
func (m *queueMachine) Leave(rt *rapid.T) {
	waits := slices.DeleteFunc(slices.Clone(m.puts), func(p *queuePut) bool { return p.ended == nil })
	if len(waits) == 0 {
		rt.Skip("there are no PutWaits")
	}
	p := rapid.SampledFrom(waits).Draw(rt, "put")
	if !p.done {
		p.done, p.err = true, errLeft
		m.putters = slices.DeleteFunc(m.putters, func(x *queuePut) bool { return x == p })
	}
	p.cancel()
}

// Get gets an item, or waits.
func (m *queueMachine) Get(*rapid.T) {
	g := &queueGet{f: m.q.Get()}
	m.gets = append(m.gets, g)
	switch p := m.take(); {
	case p != nil:
		m.serve(g, p)
	case m.closed:
		g.done, g.err = true, twill.ErrClosed
	case m.backlog < 0 || m.backlog > 0 && len(m.getters) >= m.backlog:
		g.done, g.err = true, twill.ErrTooManyGets
	default:
		m.getters = append(m.getters, g)
	}
}

// TryGet takes an item, if there is one.
func (m *queueMachine) TryGet(rt *rapid.T) {
	v, ok := m.q.TryGet()
	if p := m.take(); ok != (p != nil) || ok && v != p.value {
		rt.Fatalf("TryGet: %d, %t, the model %+v", v, ok, p)
	}
}

// Cancel cancels a get, perhaps too late.
func (m *queueMachine) Cancel(rt *rapid.T) {
	if len(m.gets) == 0 {
		rt.Skip("there are no gets")
	}
	g := rapid.SampledFrom(m.gets).Draw(rt, "get")
	if got := g.f.Cancel(nil); got == g.done {
		rt.Fatalf("Cancel: %t", got)
	}
	if !g.done {
		g.done, g.err = true, twill.ErrCanceled
		m.getters = slices.DeleteFunc(m.getters, func(x *queueGet) bool { return x == g })
	}
}

func (m *queueMachine) handle(rt *rapid.T) *queuePut {
	handles := slices.DeleteFunc(slices.Clone(m.puts), func(p *queuePut) bool { return p.item == nil })
	if len(handles) == 0 {
		rt.Skip("there are no handles")
	}
	return rapid.SampledFrom(handles).Draw(rt, "item")
}

// Reprioritize moves an item, if it is queued.
func (m *queueMachine) Reprioritize(rt *rapid.T) {
	p := m.handle(rt)
	priority := rapid.IntRange(-1, m.priorities).Draw(rt, "priority")
	queued := slices.Contains(m.items, p)
	if got := p.item.Reprioritize(priority); got != queued {
		rt.Fatalf("Reprioritize: %t, not %t", got, queued)
	}
	if queued {
		p.priority = priority
		m.items = insert(slices.DeleteFunc(m.items, func(x *queuePut) bool { return x == p }), p)
	}
}

// Remove removes an item, if it is queued.
func (m *queueMachine) Remove(rt *rapid.T) {
	p := m.handle(rt)
	queued := slices.Contains(m.items, p)
	if got := p.item.Remove(); got != queued {
		rt.Fatalf("Remove: %t, not %t", got, queued)
	}
	if queued {
		m.items = slices.DeleteFunc(m.items, func(x *queuePut) bool { return x == p })
		m.admit()
	}
}

// Close rarely closes the queue, as little happens after that.
func (m *queueMachine) Close(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "close") > 0 {
		return
	}
	m.q.Close()
	for _, g := range m.getters {
		g.done, g.err = true, twill.ErrClosed
	}
	for _, p := range m.putters {
		p.done, p.err = true, twill.ErrClosed
	}
	m.closed, m.getters, m.putters = true, nil, nil
}

// Check compares everything that is visible.
func (m *queueMachine) Check(rt *rapid.T) {
	synctest.Wait()
	if m.q.Len() != len(m.items) || m.q.Waiting() != len(m.getters) {
		rt.Fatalf("%d items, %d waiting, the model: %d, %d", m.q.Len(), m.q.Waiting(), len(m.items), len(m.getters))
	}
	for i, g := range m.gets {
		r, ok := g.f.Poll()
		if ok != g.done || r.Value != g.value || !errors.Is(r.Err, g.err) {
			rt.Fatalf("get %d: %v, %t, the model: %d, %v, %t", i, r, ok, g.value, g.err, g.done)
		}
	}
	for _, p := range m.puts {
		if p.ended == nil {
			continue
		}
		select {
		case err := <-p.ended:
			if !p.done || err != p.err {
				rt.Fatalf("PutWait of %d: %v, the model: %t, %v", p.value, err, p.done, p.err)
			}
			p.ended <- err
		default:
			if p.done {
				rt.Fatalf("PutWait of %d waits, the model: %v", p.value, p.err)
			}
		}
	}
	if got := m.snapshot(); m.priorities > 1 && fmt.Sprint(got) != fmt.Sprint(values(m.items)) {
		rt.Fatalf("queued are %v, the model: %v", got, values(m.items))
	}
}

func values(ps []*queuePut) []int {
	vs := make([]int, 0, len(ps))
	for _, p := range ps {
		vs = append(vs, p.value)
	}
	return vs
}
