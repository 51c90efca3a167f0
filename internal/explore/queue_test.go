//go:build explore

package explore_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// aQueue has the methods that the two kinds of queue share.
type aQueue interface {
	twill.AnyQueue[int]
	Waiting() int
	Close()
	put(v int) error
}

type plainQueue struct{ twill.Queue[int] }

func (q *plainQueue) put(v int) error { return q.Put(v) }

type priorityQueue struct{ twill.PriorityQueue[int] }

func (q *priorityQueue) put(v int) error {
	_, err := q.Put(v, 0)
	return err
}

// exchange is a world with a queue for which two gets wait. Another queue is
// empty at first.
type exchange struct {
	*world
	q     aQueue
	other twill.Queue[int]
	ctx   context.Context
	end   context.CancelCauseFunc
	ended bool
	gets  []*twill.Future[int]
	left  [2]bool // the gets that a Cancel has ended
	put   []int   // values that Put has accepted
	got   []int
	shut  bool
}

var exchangeActs = map[string]func(*exchange){
	"put 1":       func(x *exchange) { x.add(1) },
	"put 2":       func(x *exchange) { x.add(2) },
	"take":        func(x *exchange) { x.take(x.q.TryGet()) },
	"get":         func(x *exchange) { x.get("third") },
	"cancel head": func(x *exchange) { x.left[0] = x.gets[0].Cancel(nil) },
	"cancel next": func(x *exchange) { x.left[1] = x.gets[1].Cancel(nil) },
	"close": func(x *exchange) {
		x.shut = true
		x.q.Close()
	},
	"wait": func(x *exchange) { x.waited(x.q.GetWait(x.ctx)) },
	"any":  func(x *exchange) { x.waited(twill.GetAny(x.ctx, &x.other, x.q)) },
	"put other": func(x *exchange) {
		x.require(x.other.Put(3) == nil, "Put failed")
		x.Point("note", x)
		x.put = append(x.put, 3)
	},
	"end": func(x *exchange) {
		x.Point("end", x.ctx)
		x.ended = true
		x.end(errEnded)
	},
}

func (x *exchange) add(v int) {
	if err := x.q.put(v); err == nil {
		x.Point("note", x)
		x.put = append(x.put, v)
	} else {
		x.require(err == twill.ErrClosed, "Put: %v", err)
	}
}

func (x *exchange) take(v int, ok bool) {
	if ok {
		x.Point("note", x)
		x.got = append(x.got, v)
	}
}

// waited records the result of a wait. One of the two queues is never closed.
func (x *exchange) waited(v int, err error) {
	if err != nil {
		x.require(x.ended && err == errEnded || x.shut && err == twill.ErrClosed, "the wait gave %v", err)
		return
	}
	x.take(v, true)
}

func (x *exchange) get(who string) {
	f := x.q.Get()
	x.Name(coreOf(f), who)
	x.Point("note", x)
	x.gets = append(x.gets, f)
}

func newExchange(w *world, q aQueue, doing []string) func() {
	x := &exchange{world: w, q: q}
	x.ctx, x.end = context.WithCancelCause(context.Background())
	x.get("head")
	x.get("next")
	for _, what := range doing {
		w.Go(what, func() { exchangeActs[what](x) })
	}
	return x.check
}

func (x *exchange) check() {
	waiting := 0
	for _, f := range x.gets {
		r, ok := f.Poll()
		switch {
		case !ok:
			waiting++
		case r.Err == nil:
			x.got = append(x.got, r.Value)
		default:
			x.require(canceled(f) || x.shut && errors.Is(r.Err, twill.ErrClosed), "a get failed with %v", r.Err)
		}
	}
	x.require(x.other.Waiting() == 0, "a wait has left its place in the other queue")
	x.require(x.q.Waiting() == waiting, "%d gets wait, the queue counts %d", waiting, x.q.Waiting())
	x.require(waiting == 0 || x.q.Len() == 0, "%d gets wait for %d items", waiting, x.q.Len())
	x.require(waiting == 0 || !x.shut, "%d gets wait for what never comes", waiting)
	if _, served := x.gets[0].Poll(); !served && !x.left[0] {
		r, ok := x.gets[1].Poll()
		x.require(!ok || r.Err != nil, "the second in line was served, and the first waits")
	}
	for v, ok := x.q.TryGet(); ok; v, ok = x.q.TryGet() {
		x.got = append(x.got, v)
	}
	x.got = append(x.got, x.other.Clear()...)
	slices.Sort(x.put)
	slices.Sort(x.got)
	x.require(slices.Equal(x.put, x.got), "%v were put, %v were got", x.put, x.got)
}

// No item is lost and none is received twice, whichever gets leave the line;
// the next in line is woken.
func TestQueues(t *testing.T) {
	var all totals
	once := func(doing []string) bool { return len(slices.Compact(slices.Clone(doing))) == len(doing) }
	acts := []string{"put 1", "put 2", "take", "get", "cancel head", "cancel next", "close"}
	t.Run("plain", func(t *testing.T) {
		scenario := func(w *world, doing []string) func() { return newExchange(w, new(plainQueue), doing) }
		each(t, &all, plan{}, once, scenario, 3, acts...)
	})
	t.Run("priority", func(t *testing.T) {
		scenario := func(w *world, doing []string) func() { return newExchange(w, new(priorityQueue), doing) }
		each(t, &all, plan{}, once, scenario, 3, acts...)
	})
	// A thread that waits must be woken in the end.
	waits := func(doing []string) bool {
		has := func(what string) bool { return slices.Contains(doing, what) }
		return once(doing) && (has("wait") || has("any")) && (has("end") || has("close") && !has("any"))
	}
	acts = []string{"wait", "any", "end", "put 1", "put other", "take", "cancel head", "close"}
	t.Run("plain waits", func(t *testing.T) {
		scenario := func(w *world, doing []string) func() { return newExchange(w, new(plainQueue), doing) }
		each(t, &all, plan{large: true}, waits, scenario, 3, acts...)
	})
	t.Run("priority waits", func(t *testing.T) {
		scenario := func(w *world, doing []string) func() { return newExchange(w, new(priorityQueue), doing) }
		each(t, &all, plan{large: true}, waits, scenario, 3, acts...)
	})
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 1_000)
	}
}
