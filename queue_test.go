package twill_test

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestQueueIsFirstInFirstOut(t *testing.T) {
	var q twill.Queue[int]
	for i := range 3 {
		require.NoError(t, q.Put(i))
	}
	require.Equal(t, 3, q.Len())
	kit.AwaitValue(t, q.Get(), 0)
	v, ok := q.TryGet()
	require.True(t, ok)
	require.Equal(t, 1, v)
	kit.AwaitValue(t, q.Get(), 2)
	_, ok = q.TryGet()
	require.False(t, ok)
	require.Zero(t, q.Len())
}

func TestQueueServesTheLongestWaiting(t *testing.T) {
	var q twill.Queue[string]
	a, b := q.Get(), q.Get()
	require.Equal(t, 2, q.Waiting())
	require.NoError(t, q.Put("x"))
	kit.AwaitValue(t, a, "x")
	kit.RequirePending(t, b)
	require.NoError(t, q.Put("y"))
	kit.AwaitValue(t, b, "y")
	require.Zero(t, q.Waiting())
	require.Zero(t, q.Len())
}

func TestQueueLimits(t *testing.T) {
	q := twill.NewQueue[int](&twill.QueueOptions{Size: 2, Backlog: 2})
	a, b := q.Get(), q.Get()
	kit.AwaitError(t, q.Get(), twill.ErrTooManyGets)
	for i := range 4 {
		require.NoError(t, q.Put(i))
	}
	require.ErrorIs(t, q.Put(4), twill.ErrQueueFull)
	kit.AwaitValue(t, a, 0)
	kit.AwaitValue(t, b, 1)
	require.Equal(t, 2, q.Len())

	none := twill.NewQueue[int](&twill.QueueOptions{Size: -1, Backlog: -1})
	require.ErrorIs(t, none.Put(1), twill.ErrQueueFull)
	kit.AwaitError(t, none.Get(), twill.ErrTooManyGets)

	onlyWaiting := twill.NewQueue[int](&twill.QueueOptions{Size: -1})
	get := onlyWaiting.Get()
	require.NoError(t, onlyWaiting.Put(5))
	kit.AwaitValue(t, get, 5)
}

func TestQueueCanceledGetLosesNothing(t *testing.T) {
	var q twill.Queue[int]
	a, b := q.Get(), q.Get()
	require.True(t, a.Cancel(nil))
	require.Equal(t, 1, q.Waiting())
	require.NoError(t, q.Put(1))
	kit.AwaitValue(t, b, 1)
	require.False(t, b.Cancel(nil), "after delivery it does nothing")

	// The same through a chain.
	c := q.Get()
	require.True(t, twill.Then(c, kit.Same[int]).Cancel(nil))
	require.NoError(t, q.Put(2))
	require.Equal(t, 1, q.Len())
}

func TestQueueHandlersMayUseTheQueue(t *testing.T) {
	var q twill.Queue[int]
	var got []int
	var again func(v int, err error)
	again = func(v int, err error) {
		got = append(got, v)
		if v < 3 {
			q.Get().Tap(again)
			require.NoError(t, q.Put(v+1))
		}
	}
	q.Get().Tap(again)
	kit.Watchdog(t, func() { require.NoError(t, q.Put(1)) })
	require.Equal(t, []int{1, 2, 3}, got)
}

func TestQueueClose(t *testing.T) {
	var q twill.Queue[int]
	waiting := q.Get()
	q.Close()
	q.Close()
	kit.AwaitError(t, waiting, twill.ErrClosed)
	require.ErrorIs(t, q.Put(1), twill.ErrClosed)
	require.ErrorIs(t, q.PutWait(t.Context(), 1), twill.ErrClosed)
	kit.AwaitError(t, q.Get(), twill.ErrClosed)

	var full twill.Queue[int]
	require.NoError(t, full.Put(1))
	full.Close()
	kit.AwaitValue(t, full.Get(), 1)
	kit.AwaitError(t, full.Get(), twill.ErrClosed)
	_, ok := full.TryGet()
	require.False(t, ok)
}

func TestQueuePutWait(t *testing.T) {
	for name, size := range map[string]int{"of one": 1, "of none": -1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := twill.NewQueue[int](&twill.QueueOptions{Size: size})
				if size > 0 {
					require.NoError(t, q.PutWait(t.Context(), 0))
				}
				var order []int
				for i := 1; i <= 3; i++ {
					go func() {
						require.NoError(t, q.PutWait(t.Context(), i))
						order = append(order, i)
					}()
					synctest.Wait()
				}
				require.Empty(t, order)
				first := 0
				if size < 0 {
					first = 1
				}
				for i := first; i <= 3; i++ {
					synctest.Wait()
					kit.AwaitValue(t, q.Get(), i)
				}
				synctest.Wait()
				require.Equal(t, []int{1, 2, 3}, order)
			})
		})
	}
}

// The waiter of a blocked GetWait is kept for the next one.
func TestBlockedGetWaitAllocatesNothing(t *testing.T) {
	var there, back twill.Queue[*string]
	go func() {
		for v := range there.All(t.Context()) {
			_ = back.Put(v)
		}
	}()
	v := new(string)
	n := testing.AllocsPerRun(1000, func() {
		_ = there.Put(v)
		_, _ = back.GetWait(t.Context())
	})
	require.Zero(t, n)
	item := weak.Make(v)
	v = nil
	require.Eventually(t, func() bool { runtime.GC(); return item.Value() == nil }, 10*time.Second, time.Millisecond,
		"a waiter that is kept refers to no item")
	runtime.KeepAlive(&there)
	runtime.KeepAlive(&back)
}

// A queue that is used by several bubbles of testing/synctest and outside of
// them, as that of a package may be, keeps no waiter from one to the other.
func TestGetWaitInAndOutOfABubble(t *testing.T) {
	var q twill.Queue[int]
	wait := func(t *testing.T, putter func()) {
		go putter()
		v, err := q.GetWait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, v)
	}
	for range 2 {
		wait(t, func() {
			for q.Waiting() == 0 {
				runtime.Gosched()
			}
			require.NoError(t, q.Put(1))
		})
		synctest.Test(t, func(t *testing.T) {
			wait(t, func() {
				time.Sleep(time.Hour) // ends only if GetWait blocks durably
				require.NoError(t, q.Put(1))
			})
		})
	}
}

// askingContext is a context whose methods use what is waited for.
type askingContext struct {
	context.Context
	ask func()
}

func (c askingContext) Done() <-chan struct{} { c.ask(); return c.Context.Done() }
func (c askingContext) Err() error            { c.ask(); return c.Context.Err() }
func (c askingContext) Value(key any) any     { c.ask(); return c.Context.Value(key) }

// The methods of a context are user code: they are called without a lock.
func TestContextsMayUseWhatIsWaitedFor(t *testing.T) {
	full := &twill.QueueOptions{Size: 1}
	for name, wait := range map[string]func() (ask func(), wait func(context.Context) error, end func()){
		"Queue.PutWait": func() (func(), func(context.Context) error, func()) {
			q := twill.NewQueue[int](full)
			_ = q.Put(1)
			return func() { q.Len() }, func(ctx context.Context) error { return q.PutWait(ctx, 2) }, func() { q.TryGet() }
		},
		"PriorityQueue.PutWait": func() (func(), func(context.Context) error, func()) {
			q := twill.NewPriorityQueue[int](full)
			_, _ = q.Put(1, 0)
			return func() { q.Len() }, func(ctx context.Context) error { _, err := q.PutWait(ctx, 2, 0); return err }, func() { q.TryGet() }
		},
		"Queue.GetWait": func() (func(), func(context.Context) error, func()) {
			q := new(twill.Queue[int])
			return func() { q.Len() }, func(ctx context.Context) error { _, err := q.GetWait(ctx); return err }, func() { _ = q.Put(1) }
		},
		"PriorityQueue.GetWait": func() (func(), func(context.Context) error, func()) {
			q := new(twill.PriorityQueue[int])
			return func() { q.Len() }, func(ctx context.Context) error { _, err := q.GetWait(ctx); return err }, func() { _, _ = q.Put(1, 0) }
		},
		"GetAny": func() (func(), func(context.Context) error, func()) {
			q := new(twill.Queue[int])
			return func() { q.Len() }, func(ctx context.Context) error { _, err := twill.GetAny(ctx, q, new(twill.Queue[int])); return err }, func() { _ = q.Put(1) }
		},
		"Semaphore.AcquireWait": func() (func(), func(context.Context) error, func()) {
			var s twill.Semaphore
			release, _ := s.TryAcquire()
			return func() { s.Waiting() }, func(ctx context.Context) error { _, err := s.AcquireWait(ctx); return err }, release
		},
		"Pool.EmptyWait": func() (func(), func(context.Context) error, func()) {
			var p twill.Pool
			work := twill.NewPromise[int]()
			_ = p.Add(work.Future())
			return func() { p.Len() }, p.EmptyWait, func() { work.Resolve(1) }
		},
		"Dict.GetWait": func() (func(), func(context.Context) error, func()) {
			d := new(twill.Dict[int, int])
			return func() { d.Len() }, func(ctx context.Context) error { _, err := d.GetWait(ctx, 1); return err }, func() { _ = d.Set(1, 1) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, served := range []bool{true, false} {
				base, cancel := context.WithCancel(t.Context())
				ask, wait, end := wait()
				ended := make(chan error, 1)
				go func() { ended <- wait(askingContext{base, ask}) }()
				select {
				case err := <-ended:
					t.Fatal("ended at once: ", err)
				case <-time.After(time.Millisecond):
				}
				if served {
					go end()
				} else {
					cancel()
				}
				select {
				case err := <-ended:
					require.Equal(t, served, err == nil, err)
				case <-time.After(20 * time.Second):
					t.Fatal("a method of the context waits for the lock")
				}
				cancel()
			}
		})
	}
}

// Several calls wait at once, so that some of them have the kept waiter and
// others do not, and give up at any moment: each item is taken once.
func TestGetWaitOfManyThatGiveUp(t *testing.T) {
	const getters, items = 8, 5000
	var q twill.Queue[int]
	var taken [items]atomic.Int32
	var wg sync.WaitGroup
	left := make(chan struct{}) // closed when all items were taken
	var n atomic.Int32
	for i := range getters {
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*10*time.Microsecond)
				v, err := q.GetWait(ctx)
				cancel()
				if err == nil {
					taken[v].Add(1)
					if n.Add(1) == items {
						close(left)
					}
				}
				select {
				case <-left:
					return
				default:
				}
			}
		})
	}
	for i := range items {
		require.NoError(t, q.Put(i))
		if i%50 == 0 {
			time.Sleep(10 * time.Microsecond)
		}
	}
	wg.Wait()
	for i := range items {
		require.EqualValues(t, 1, taken[i].Load(), "item %d", i)
	}
	require.Zero(t, q.Waiting())
}

// The handlers of the get that it serves do not block other puts.
func TestQueuePutWaitOfAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Size: 3})
		gate := make(chan struct{})
		q.Get().Tap(func(int, error) {
			require.NoError(t, q.PutWait(t.Context(), 2))
			<-gate
		})
		go func() { require.NoError(t, q.PutWait(t.Context(), 1)) }()
		synctest.Wait()
		go func() { require.NoError(t, q.PutWait(t.Context(), 3)) }()
		synctest.Wait()
		require.Equal(t, 2, q.Len())
		close(gate)
		synctest.Wait()
		kit.AwaitValue(t, q.Get(), 2)
		kit.AwaitValue(t, q.Get(), 3)
	})
}

func TestQueuePutWaitGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Size: 1})
		require.NoError(t, q.Put(1))
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error, 3)
		for i := range 2 { // the first in line and the one behind it
			go func() { errs <- q.PutWait(ctx, 10+i) }()
			synctest.Wait()
		}
		go func() { errs <- q.PutWait(t.Context(), 2) }()
		synctest.Wait()
		cancel(kit.ErrBoom)
		require.ErrorIs(t, <-errs, kit.ErrBoom)
		require.ErrorIs(t, <-errs, kit.ErrBoom)
		require.ErrorIs(t, q.PutWait(ctx, 3), kit.ErrBoom)
		synctest.Wait()
		kit.AwaitValue(t, q.Get(), 1)
		require.NoError(t, <-errs)
		kit.AwaitValue(t, q.Get(), 2)

		require.NoError(t, q.Put(4))
		go func() { errs <- q.PutWait(t.Context(), 5) }()
		go func() { errs <- q.PutWait(t.Context(), 6) }()
		synctest.Wait()
		q.Close()
		require.ErrorIs(t, <-errs, twill.ErrClosed)
		require.ErrorIs(t, <-errs, twill.ErrClosed)
	})
}

func TestQueueAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewQueue[int](&twill.QueueOptions{Backlog: -1})
		go func() {
			for i := range 5 {
				time.Sleep(time.Second)
				require.NoError(t, q.Put(i))
			}
			q.Close()
		}()
		require.Equal(t, []int{0, 1, 2, 3, 4}, slices.Collect(q.All(t.Context())))

		var p twill.Queue[int]
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.Empty(t, slices.Collect(p.All(ctx)))
		require.Zero(t, p.Waiting())
		require.NoError(t, p.Put(1))
		for v := range p.All(t.Context()) {
			require.Equal(t, 1, v)
			break
		}
	})
}

// Every item is received once, whatever is canceled, given up or closed.
func TestQueueFromManyGoroutines(t *testing.T) {
	q := twill.NewQueue[int](&twill.QueueOptions{Size: 8})
	const putters, each = 4, 500
	var got [putters * each]atomic.Int32
	var wg, puts sync.WaitGroup
	for p := range putters {
		puts.Go(func() {
			for i := range each {
				if err := q.PutWait(t.Context(), p*each+i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for g := range 4 {
		wg.Go(func() {
			switch g % 2 {
			case 0:
				for v := range q.All(t.Context()) {
					got[v].Add(1)
				}
			case 1:
				for {
					f := q.Get()
					f.Tap(func(v int, err error) {
						if err == nil {
							got[v].Add(1)
						}
					})
					f.Cancel(nil)
					if r, _ := f.Poll(); r.Err == twill.ErrClosed {
						return
					}
					runtime.Gosched()
				}
			}
		})
	}
	puts.Wait()
	q.Close()
	kit.Watchdog(t, wg.Wait)
	for v := range got {
		require.EqualValues(t, 1, got[v].Load(), "item %d", v)
	}
}

func TestQueueScales(t *testing.T) {
	n := 1_000_000
	if !kit.Long() {
		n = 50_000
	}
	var q twill.Queue[int]
	gets := make([]*twill.Future[int], n)
	for i := range gets {
		gets[i] = q.Get()
	}
	for i := n - 1; i > 0; i -= 2 { // from the middle, in O(1)
		require.True(t, gets[i].Cancel(nil))
	}
	for i := range n {
		require.NoError(t, q.Put(i))
	}
	require.Equal(t, n/2, q.Len())
	for i := range n / 2 {
		v, ok := q.TryGet()
		require.True(t, ok)
		require.Equal(t, n/2+i, v)
	}
}

func TestQueueMisuse(t *testing.T) {
	var q twill.Queue[int]
	var none context.Context
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { _ = q.PutWait(none, 1) })
	require.PanicsWithValue(t, "twill: All with a nil context", func() { q.All(none) })
	require.PanicsWithValue(t, "twill: GetWait with a nil context", func() { _, _ = q.GetWait(none) })
}

func TestQueueAllocations(t *testing.T) {
	if kit.RaceEnabled {
		t.Skip("the race detector allocates")
	}
	var q twill.Queue[int]
	require.NoError(t, q.Put(0))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_ = q.Put(1)
		q.TryGet()
	}))
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_ = q.Put(1)
		q.Get()
	}), 1.0)
	q.TryGet()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		q.Get()
		_ = q.Put(1)
	}), 1.0)
}

// TestQueuePutsInHandlersNestABit: a queue is a pool of objects that the
// handlers of gets put back; the stack stays small.
func TestQueuePutsInHandlersNestABit(t *testing.T) {
	gets := 300_000
	if !kit.Long() {
		gets = 50_000
	}
	kit.SmallStack(t)
	var q twill.Queue[int]
	var pq twill.PriorityQueue[int]
	var line twill.Queue[int]
	for name, c := range map[string]struct {
		get func() *twill.Future[int]
		put func(int)
	}{
		"Queue":         {q.Get, func(v int) { q.Put(v) }},
		"PutWait":       {line.Get, func(v int) { line.PutWait(context.Background(), v) }},
		"PriorityQueue": {pq.Get, func(v int) { pq.Put(v, 0) }},
	} {
		t.Run(name, func(t *testing.T) {
			last := make(chan struct{})
			for i := range gets {
				c.get().Tap(func(v int, _ error) {
					if v != i {
						t.Errorf("number %d came out of order", i)
					}
					if i == gets-1 {
						close(last)
						return
					}
					c.put(v + 1)
				})
			}
			c.put(0)
			<-last
		})
	}
}

func TestPriorityQueuePutWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 1})
		ctx, cancel := context.WithCancelCause(t.Context())
		put := func(ctx context.Context, v string, priority int) (err *error) {
			err = new(error)
			*err = kit.ErrSecond // still waiting
			go func() {
				item, e := q.PutWait(ctx, v, priority)
				require.Equal(t, e == nil, item != nil)
				*err = e
			}()
			synctest.Wait()
			return err
		}
		require.NoError(t, *put(ctx, "a", 5))
		b, c, d, e := put(t.Context(), "b", 5), put(t.Context(), "c", 1), put(ctx, "d", 0), put(t.Context(), "e", 5)
		for _, err := range []*error{b, c, d, e} {
			require.ErrorIs(t, *err, kit.ErrSecond, "the queue is full")
		}
		_, err := q.Put("f", 0)
		require.ErrorIs(t, err, twill.ErrQueueFull)
		require.Equal(t, 1, q.Len())

		cancel(kit.ErrFirst)
		synctest.Wait()
		require.ErrorIs(t, *d, kit.ErrFirst)

		kit.RequireValue(t, "c", q.Get())
		synctest.Wait()
		require.NoError(t, *c, "it came in before a, which stays")
		require.ErrorIs(t, *b, kit.ErrSecond)
		require.Equal(t, []string{"a"}, q.Snapshot())
		kit.RequireValue(t, "a", q.Get())
		synctest.Wait()
		require.NoError(t, *b)
		require.Equal(t, []string{"b"}, q.Snapshot())

		q.Close()
		synctest.Wait()
		require.ErrorIs(t, *e, twill.ErrClosed)
		_, err = q.PutWait(t.Context(), "g", 0)
		require.ErrorIs(t, err, twill.ErrClosed)
		require.Equal(t, []string{"b"}, kit.PQDrain(q))
	})
}

func TestPriorityQueuePutWaitComesInWhenAnItemIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 1})
		first := kit.PQPut(t, q, 1, 0)
		var second *twill.PriorityItem[int]
		go func() { second, _ = q.PutWait(t.Context(), 2, 0) }()
		synctest.Wait()
		require.True(t, first.Remove())
		synctest.Wait()
		require.Equal(t, []int{2}, q.Snapshot())
		require.True(t, second.Reprioritize(4))
	})
}

func TestPriorityQueuePutWaitWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1})
		go func() { q.PutWait(t.Context(), 1, 0) }()
		synctest.Wait()
		require.Zero(t, q.Len())
		kit.RequireValue(t, 1, q.Get())
		get := q.Get()
		_, err := q.PutWait(t.Context(), 2, 0)
		require.NoError(t, err)
		kit.RequireValue(t, 2, get)
	})
}

func TestPriorityQueuePutWaitWithAnEndedContext(t *testing.T) {
	var q twill.PriorityQueue[int]
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(kit.ErrFirst)
	_, err := q.PutWait(ctx, 1, 0)
	require.ErrorIs(t, err, kit.ErrFirst)
	require.Zero(t, q.Len())
}

func TestPriorityQueueMisuse(t *testing.T) {
	var q twill.PriorityQueue[int]
	var none context.Context
	require.PanicsWithValue(t, "twill: PutWait with a nil context", func() { _, _ = q.PutWait(none, 1, 0) })
	require.PanicsWithValue(t, "twill: GetWait with a nil context", func() { _, _ = q.GetWait(none) })
	require.PanicsWithValue(t, "twill: All with a nil context", func() { q.All(none) })
}

// TestPriorityQueueStress moves numbers through a queue between several
// goroutines, with gets that are given up: each number arrives once.
func TestPriorityQueueStress(t *testing.T) {
	const putters, puts = 4, 500
	for _, size := range []int{0, 1, -1} {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: size})
		var arrived [putters * puts]atomic.Int32
		var got atomic.Int32
		var put, taken sync.WaitGroup
		for p := range putters {
			put.Go(func() {
				for n := range puts {
					v := p*puts + n
					item, err := q.PutWait(context.Background(), v, rand.IntN(5))
					if err != nil {
						t.Error(err)
					}
					if n%7 == 0 && item.Remove() {
						arrived[v].Add(1)
						got.Add(1)
					}
					item.Reprioritize(rand.IntN(5))
				}
			})
		}
		take := func(v int) { arrived[v].Add(1); got.Add(1) }
		taken.Go(func() {
			for v := range q.All(context.Background()) {
				take(v)
			}
		})
		taken.Go(func() {
			for {
				get := q.Get()
				if rand.IntN(2) == 0 && get.Cancel(nil) {
					continue
				}
				v, err := get.Await(context.Background())
				if err != nil {
					return
				}
				take(v)
			}
		})
		taken.Go(func() {
			for got.Load() < putters*puts {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Microsecond)
				for v := range q.All(ctx) {
					take(v)
				}
				cancel()
			}
		})
		kit.Watchdog(t, func() { put.Wait(); q.Close(); taken.Wait() })
		for v := range arrived {
			require.Equal(t, int32(1), arrived[v].Load(), "size %d: arrivals of %d", size, v)
		}
	}
}

func TestPriorityQueueEmpty(t *testing.T) {
	var q twill.PriorityQueue[int]
	require.Zero(t, q.Len())
	require.Zero(t, q.Waiting())
	require.Empty(t, q.Snapshot())
	_, ok := q.TryGet()
	require.False(t, ok)
}

func TestPriorityQueueSimplePriorities(t *testing.T) {
	var q twill.PriorityQueue[string]
	kit.PQPut(t, &q, "a", 20)
	kit.PQPut(t, &q, "b", 10)
	kit.PQPut(t, &q, "c", 15)
	require.Equal(t, 3, q.Len())
	require.Equal(t, []string{"b", "c", "a"}, q.Snapshot())
	require.Equal(t, 3, q.Len(), "a snapshot takes nothing")
	for _, want := range []string{"b", "c", "a"} {
		kit.RequireValue(t, want, q.Get())
	}
}

func TestPriorityQueueSameValueTwice(t *testing.T) {
	var q twill.PriorityQueue[string]
	kit.PQPut(t, &q, "a", 1)
	kit.PQPut(t, &q, "a", 0)
	require.Equal(t, []string{"a", "a"}, kit.PQDrain(&q))
}

func TestPriorityQueueStable(t *testing.T) {
	var q twill.PriorityQueue[int]
	values := rand.Perm(100)
	for _, v := range values {
		kit.PQPut(t, &q, v, 5)
	}
	require.Equal(t, values, q.Snapshot())
	require.Equal(t, values, kit.PQDrain(&q))
}

func TestPriorityQueueReprioritize(t *testing.T) {
	var q twill.PriorityQueue[string]
	a, b, c := kit.PQPut(t, &q, "a", 20), kit.PQPut(t, &q, "b", 10), kit.PQPut(t, &q, "c", 15)
	require.True(t, c.Reprioritize(7))
	require.True(t, a.Reprioritize(8))
	require.Equal(t, 8, a.Priority())
	require.Equal(t, []string{"c", "a", "b"}, q.Snapshot())

	require.True(t, a.Reprioritize(10))
	require.True(t, c.Reprioritize(10))
	require.Equal(t, []string{"a", "b", "c"}, q.Snapshot(), "among equals, the order of putting")
	require.True(t, b.Reprioritize(10))
	require.Equal(t, []string{"a", "b", "c"}, q.Snapshot(), "the same priority changes nothing")

	require.True(t, b.Remove())
	require.False(t, b.Remove())
	require.False(t, b.Reprioritize(1))
	kit.RequireValue(t, "a", q.Get())
	require.False(t, a.Remove())
	require.False(t, a.Reprioritize(1))
	require.Equal(t, 10, a.Priority())
	require.Equal(t, []string{"c"}, kit.PQDrain(&q))
}

// Bugs of the original: moving an item left its old place behind, so that the
// count was one too high and a later get failed; in a full queue the item was
// lost, because there was no room for it.
func TestPriorityQueueReprioritizeKeepsTheCountAlsoWhenFull(t *testing.T) {
	q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 2})
	a, b := kit.PQPut(t, q, "a", 1), kit.PQPut(t, q, "b", 2)
	for range 10 {
		require.True(t, a.Reprioritize(3))
		require.Equal(t, []string{"b", "a"}, q.Snapshot())
		require.True(t, a.Reprioritize(1))
		require.Equal(t, []string{"a", "b"}, q.Snapshot())
		require.Equal(t, 2, q.Len())
	}
	require.True(t, a.Reprioritize(9))
	_, err := q.Put("c", 0)
	require.Equal(t, twill.ErrQueueFull, err, "it is as full as before")
	require.True(t, b.Remove())
	kit.PQPut(t, q, "b", 10) // the same again
	kit.RequireValue(t, "a", q.Get())
	kit.RequireValue(t, "b", q.Get())
	kit.RequirePending(t, q.Get())
}

func TestPriorityQueueRemove(t *testing.T) {
	var q twill.PriorityQueue[string]
	a := kit.PQPut(t, &q, "a", 0)
	require.True(t, a.Remove())
	kit.PQPut(t, &q, "b", 0)
	kit.RequireValue(t, "b", q.Get())
	require.Zero(t, q.Len())
}

func TestPriorityQueueItemSpeaksOfWhatIsQueued(t *testing.T) {
	var q twill.PriorityQueue[string]
	a := kit.PQPut(t, &q, "a", 3)
	v, queued := a.Value()
	require.True(t, queued)
	require.Equal(t, "a", v)
	kit.RequireValue(t, "a", q.Get())
	v, queued = a.Value()
	require.False(t, queued)
	require.Empty(t, v)

	get := q.Get()
	handed := kit.PQPut(t, &q, "b", 4)
	kit.RequireValue(t, "b", get)
	_, queued = handed.Value()
	require.False(t, queued, "it never waited")
	require.False(t, handed.Remove())
	require.False(t, handed.Reprioritize(1))
	require.Equal(t, 4, handed.Priority())
}

// TestPriorityQueueLimits is testQueue of the original.
func TestPriorityQueueLimits(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: 2, Backlog: 2})
	first, second := q.Get(), q.Get()
	kit.RequireFailure(t, twill.ErrTooManyGets, q.Get())
	require.Equal(t, 2, q.Waiting())
	kit.PQPut(t, q, 1, 9)
	kit.RequireValue(t, 1, first)
	kit.RequirePending(t, second)
	kit.PQPut(t, q, 2, 0)
	kit.RequireValue(t, 2, second)

	kit.PQPut(t, q, 3, 9)
	kit.PQPut(t, q, 4, 9)
	_, err := q.Put(5, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	require.Equal(t, []int{3, 4}, kit.PQDrain(q))

	unlimited := twill.NewPriorityQueue[int](nil)
	for n := range 100 {
		unlimited.Get()
		require.Equal(t, n+1, unlimited.Waiting())
	}
}

func TestPriorityQueueNegativeLimits(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Size: -1})
	_, err := q.Put(1, 0)
	require.ErrorIs(t, err, twill.ErrQueueFull)
	get := q.Get()
	kit.PQPut(t, q, 2, 0)
	kit.RequireValue(t, 2, get)

	q = twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1})
	kit.RequireFailure(t, twill.ErrTooManyGets, q.Get())
	kit.PQPut(t, q, 3, 0)
	kit.RequireValue(t, 3, q.Get())
}

// TestPriorityQueueSnapshotWhileItIsEmptied: an item that is taken while a
// Snapshot reads is in the snapshot, complete, and is not kept afterwards.
func TestPriorityQueueSnapshotWhileItIsEmptied(t *testing.T) {
	var q twill.PriorityQueue[*int]
	const n = 4000
	items := make([]*twill.PriorityItem[*int], n)
	gone := make([]weak.Pointer[int], n)
	for i := range n {
		v := new(int)
		*v = i
		gone[i] = weak.Make(v)
		items[i], _ = q.Put(v, 0)
	}
	var emptying sync.WaitGroup
	emptying.Go(func() {
		for i := 0; i < n; i += 2 {
			_, ok := q.TryGet()
			if !ok || !items[n-1-i/2].Remove() {
				t.Error("half are got, half removed")
				return
			}
		}
	})
	for q.Len() > 0 {
		values := q.Snapshot()
		for i, v := range values {
			require.Equal(t, *values[0]+i, *v, "a snapshot is of one moment")
		}
	}
	emptying.Wait()
	require.Eventually(t, func() bool {
		runtime.GC()
		return !slices.ContainsFunc(gone, func(w weak.Pointer[int]) bool { return w.Value() != nil })
	}, 10*time.Second, time.Millisecond, "an item keeps no value that has left")
	runtime.KeepAlive(items)
	runtime.KeepAlive(&q)
}

func TestPriorityQueueLongestWaitingIsServedFirst(t *testing.T) {
	var q twill.PriorityQueue[int]
	var gets []*twill.Future[int]
	for range 4 {
		gets = append(gets, q.Get())
	}
	require.True(t, gets[1].Cancel(kit.ErrFirst))
	require.Equal(t, 3, q.Waiting())
	for n, i := range []int{0, 2, 3} {
		kit.PQPut(t, &q, n, -n)
		kit.RequireValue(t, n, gets[i])
	}
	kit.RequireFailure(t, kit.ErrFirst, gets[1])
	require.Zero(t, q.Waiting())
}

func TestPriorityQueueCanceledGetLosesNothing(t *testing.T) {
	var q twill.PriorityQueue[int]
	get := q.Get()
	require.True(t, get.Cancel(nil))
	kit.RequireFailure(t, twill.ErrCanceled, get)
	kit.PQPut(t, &q, 1, 0)
	require.Equal(t, 1, q.Len())
	kit.RequireValue(t, 1, q.Get())

	get = q.Get()
	kit.PQPut(t, &q, 2, 0)
	require.False(t, get.Cancel(nil), "it has the item already")
	kit.RequireValue(t, 2, get)
}

// TestPriorityQueueAbandonedGetsLeaveNothing: even if there is a limit.
func TestPriorityQueueAbandonedGetsLeaveNothing(t *testing.T) {
	q := twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: 1000})
	for range 1600 {
		get := q.Get()
		kit.RequirePending(t, get)
		get.Cancel(nil)
	}
	require.Zero(t, q.Waiting())
	kit.RequirePending(t, q.Get())
}

// TestPriorityQueueCancelRacesPut: each item is received once, whichever is
// first.
func TestPriorityQueueCancelRacesPut(t *testing.T) {
	for range 300 {
		var q twill.PriorityQueue[int]
		var gets []*twill.Future[int]
		for range 8 {
			gets = append(gets, q.Get())
		}
		var all sync.WaitGroup
		for p := range 2 {
			all.Go(func() {
				for n := range 5 {
					q.Put(5*p+n, n%2)
				}
			})
		}
		all.Go(func() {
			for i, get := range gets {
				if i%2 == 0 {
					get.Cancel(nil)
				}
			}
		})
		all.Wait()
		got := kit.PQDrain(&q)
		for _, get := range gets {
			if r, ok := get.Poll(); ok && r.Err == nil {
				got = append(got, r.Value)
			}
		}
		slices.Sort(got)
		require.Equal(t, kit.UpTo(10), got)
	}
}

func TestPriorityQueueClose(t *testing.T) {
	var q twill.PriorityQueue[int]
	waiting := []*twill.Future[int]{q.Get(), q.Get()}
	q.Close()
	q.Close()
	for _, get := range waiting {
		kit.RequireFailure(t, twill.ErrClosed, get)
	}
	_, err := q.Put(1, 0)
	require.ErrorIs(t, err, twill.ErrClosed)
	kit.RequireFailure(t, twill.ErrClosed, q.Get())

	var filled twill.PriorityQueue[int]
	kit.PQPut(t, &filled, 2, 2)
	one := kit.PQPut(t, &filled, 1, 3)
	filled.Close()
	require.True(t, one.Reprioritize(1))
	kit.RequireValue(t, 1, filled.Get())
	kit.RequireValue(t, 2, filled.Get())
	kit.RequireFailure(t, twill.ErrClosed, filled.Get())
}

func TestPriorityQueueAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := twill.NewPriorityQueue[int](&twill.QueueOptions{Backlog: -1})
		for _, n := range []int{3, 1, 2} {
			kit.PQPut(t, q, n, n)
		}
		go func() {
			time.Sleep(time.Second)
			q.Put(4, 0)
			q.Put(5, 0)
			time.Sleep(time.Second)
			q.Close()
		}()
		require.Equal(t, []int{1, 2, 3, 4, 5}, slices.Collect(q.All(t.Context())))
		require.Empty(t, slices.Collect(q.All(t.Context())), "closed and empty")
	})
}

func TestPriorityQueueAllEndsAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q twill.PriorityQueue[int]
		for n := range 3 {
			kit.PQPut(t, &q, n, 0)
		}
		for v := range q.All(t.Context()) {
			require.Zero(t, v)
			break
		}
		require.Equal(t, 2, q.Len())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, []int{1, 2}, slices.Collect(q.All(ctx)))
		require.Zero(t, q.Waiting(), "it left no get behind")
		kit.PQPut(t, &q, 3, 0)
		require.Empty(t, slices.Collect(q.All(ctx)), "ended before it began")
		require.Equal(t, 1, q.Len())
	})
}

// aQueue has the methods of both kinds of queue.
type aQueue interface {
	twill.AnyQueue[int]
	Waiting() int
	Clear() []int
	Close()
	put(v int) error
	putWait(ctx context.Context, v int) error
}

type plainQueue struct{ *twill.Queue[int] }

func (q plainQueue) put(v int) error { return q.Put(v) }

func (q plainQueue) putWait(ctx context.Context, v int) error { return q.PutWait(ctx, v) }

type priorityQueue struct{ *twill.PriorityQueue[int] }

func (q priorityQueue) put(v int) error {
	_, err := q.Put(v, 0)
	return err
}

func (q priorityQueue) putWait(ctx context.Context, v int) error {
	_, err := q.PutWait(ctx, v, 0)
	return err
}

// bothQueues runs a test for a queue of each kind.
func bothQueues(t *testing.T, opts *twill.QueueOptions, test func(t *testing.T, q aQueue)) {
	t.Run("plain", func(t *testing.T) { test(t, plainQueue{twill.NewQueue[int](opts)}) })
	t.Run("priority", func(t *testing.T) { test(t, priorityQueue{twill.NewPriorityQueue[int](opts)}) })
}

func TestGetWait(t *testing.T) {
	bothQueues(t, &twill.QueueOptions{Backlog: -1}, func(t *testing.T, q aQueue) {
		require.NoError(t, q.put(1))
		v, err := q.GetWait(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, v)

		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(kit.ErrBoom)
		require.NoError(t, q.put(2))
		_, err = q.GetWait(ctx)
		require.Equal(t, kit.ErrBoom, err)
		require.Equal(t, 1, q.Len(), "nothing is taken after the end")
		require.Equal(t, []int{2}, q.Clear())

		q.Close()
		_, err = q.GetWait(t.Context())
		require.ErrorIs(t, err, twill.ErrClosed)
	})
}

func TestGetWaitWaits(t *testing.T) {
	bothQueues(t, &twill.QueueOptions{Backlog: 1}, func(t *testing.T, q aQueue) {
		synctest.Test(t, func(t *testing.T) {
			got := make(chan error, 3)
			var order []int
			for range 2 {
				go func() {
					v, err := q.GetWait(t.Context())
					order = append(order, v)
					got <- err
				}()
				synctest.Wait()
			}
			future := q.Get()
			kit.RequirePending(t, future) // gets that block do not count towards Backlog
			kit.RequireFailure(t, twill.ErrTooManyGets, q.Get())
			require.Equal(t, 3, q.Waiting())
			for i := 1; i <= 3; i++ {
				require.NoError(t, q.put(i))
				synctest.Wait()
			}
			require.NoError(t, <-got)
			require.NoError(t, <-got)
			require.Equal(t, []int{1, 2}, order)
			kit.RequireValue(t, 3, future)

			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := q.GetWait(ctx)
			require.Equal(t, context.DeadlineExceeded, err)
			require.Zero(t, q.Waiting())

			go func() {
				_, err := q.GetWait(t.Context())
				got <- err
			}()
			synctest.Wait()
			q.Close()
			require.ErrorIs(t, <-got, twill.ErrClosed)
		})
	})
}

// In a loop with deadlines, gets that had given up took items, which were lost.
func TestGetWaitLosesNothing(t *testing.T) {
	const items = 2000
	bothQueues(t, nil, func(t *testing.T, q aQueue) {
		var got [items]atomic.Int32
		var over atomic.Bool
		var wg, puts sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(g*10)*time.Microsecond)
					v, err := q.GetWait(ctx)
					cancel()
					if err == nil {
						got[v].Add(1)
					} else if err != context.DeadlineExceeded || over.Load() {
						return
					}
				}
			})
		}
		puts.Go(func() {
			for v := range items {
				if v%16 == 0 {
					runtime.Gosched()
				}
				if err := q.put(v); err != nil {
					t.Error(err)
				}
			}
		})
		puts.Wait()
		kit.Watchdog(t, func() {
			for q.Len() > 0 {
				runtime.Gosched()
			}
			over.Store(true)
			q.Close()
			wg.Wait()
		})
		for v := range got {
			require.EqualValues(t, 1, got[v].Load(), "item %d", v)
		}
	})
}

// The put of the goroutine that had ended the context reached the waiting get
// first in most rounds.
func TestGetWaitTakesNothingAfterTheEnd(t *testing.T) {
	bothQueues(t, nil, func(t *testing.T, q aQueue) {
		for range 300 {
			ctx, cancel := context.WithCancelCause(context.Background())
			errs := make(chan error)
			go func() {
				_, err := q.GetWait(ctx)
				errs <- err
			}()
			go func() {
				_, err := twill.GetAny(ctx, q, q)
				errs <- err
			}()
			for q.Waiting() < 3 {
				runtime.Gosched()
			}
			cancel(kit.ErrBoom)
			require.NoError(t, q.put(1))
			require.Equal(t, kit.ErrBoom, <-errs)
			require.Equal(t, kit.ErrBoom, <-errs)
			require.Equal(t, []int{1}, q.Clear())
			require.Zero(t, q.Waiting())
		}
	})
}

// A settled future keeps only its value.
func TestGetKeepsNoQueue(t *testing.T) {
	type big struct {
		twill.Queue[int]
		_ [1 << 10]byte
	}
	q := new(big)
	served, canceled, closed := q.Get(), q.Get(), q.Get()
	canceled.Cancel(nil)
	require.NoError(t, q.Put(1))
	q.Close()
	gone := weak.Make(q)
	q = nil
	require.Eventually(t, func() bool {
		runtime.GC()
		return gone.Value() == nil
	}, 10*time.Second, time.Millisecond)
	kit.RequireValue(t, 1, served)
	kit.RequireFailure(t, twill.ErrCanceled, canceled)
	kit.RequireFailure(t, twill.ErrClosed, closed)
}

func TestGetAny(t *testing.T) {
	ctx := t.Context()
	var urgent twill.PriorityQueue[int]
	var normal twill.Queue[int]
	take := func() (int, error) { return twill.GetAny(ctx, &urgent, &normal) }

	require.NoError(t, normal.Put(2))
	_, err := urgent.Put(1, 0)
	require.NoError(t, err)
	for _, want := range []int{1, 2} { // in the order of the queues
		v, err := take()
		require.NoError(t, err)
		require.Equal(t, want, v)
	}

	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var a, b twill.Queue[int]
		got := make(chan int, 1)
		wait := func() {
			go func() {
				v, err := twill.GetAny(ctx, &a, &b)
				require.NoError(t, err)
				got <- v
			}()
			synctest.Wait()
			require.Equal(t, 1, a.Waiting())
			require.Equal(t, 1, b.Waiting())
		}
		wait()
		require.NoError(t, b.Put(3))
		require.Equal(t, 3, <-got)
		synctest.Wait()
		require.Zero(t, a.Waiting(), "no place is left")
		require.NoError(t, a.Put(4))
		require.Equal(t, 1, a.Len())
		a.Clear()

		wait()
		a.Close() // the other queue may still have items
		synctest.Wait()
		require.NoError(t, b.Put(5))
		require.Equal(t, 5, <-got)

		timeout, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := twill.GetAny(timeout, &a, &b)
		require.Equal(t, context.DeadlineExceeded, err)
		require.Zero(t, b.Waiting())

		errs := make(chan error, 1)
		go func() {
			_, err := twill.GetAny(ctx, &a, &b)
			errs <- err
		}()
		synctest.Wait()
		b.Close()
		require.ErrorIs(t, <-errs, twill.ErrClosed)
		_, err = twill.GetAny(ctx, &a, &b)
		require.ErrorIs(t, err, twill.ErrClosed)
	})

	_, err = twill.GetAny[int](ctx)
	require.ErrorIs(t, err, twill.ErrEmpty)
	ended, cancel := context.WithCancelCause(ctx)
	cancel(kit.ErrBoom)
	require.NoError(t, normal.Put(6))
	_, err = twill.GetAny(ended, &urgent, &normal)
	require.Equal(t, kit.ErrBoom, err)
	require.Equal(t, 1, normal.Len())

	var noContext context.Context
	require.PanicsWithValue(t, "twill: GetAny with a nil context", func() { twill.GetAny(noContext, &urgent) })
	require.PanicsWithValue(t, "twill: GetAny with a nil queue", func() { twill.GetAny[int](ctx, nil) })
}

// Each item is received once, whatever ends, closes or waits elsewhere.
func TestGetAnyLosesNothing(t *testing.T) {
	const items = 1500
	var a twill.Queue[int]
	var b twill.PriorityQueue[int]
	var got [items]atomic.Int32
	var over atomic.Bool
	var wg, puts sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(g)*20*time.Microsecond)
				var v int
				var err error
				switch g {
				case 0:
					v, err = a.GetWait(context.Background())
				case 1, 2:
					v, err = twill.GetAny(ctx, &a, &b)
				case 3:
					v, err = twill.GetAny(context.Background(), &b, &a)
				}
				cancel()
				if err == nil {
					got[v].Add(1)
				} else if err != context.DeadlineExceeded || over.Load() {
					return
				}
			}
		})
	}
	for p := range 3 {
		puts.Go(func() {
			for v := p; v < items; v += 3 {
				var err error
				if v%2 == 0 {
					err = a.Put(v)
				} else {
					_, err = b.Put(v, v%5)
				}
				if err != nil {
					t.Error(err)
				}
				if v%8 == p {
					runtime.Gosched()
				}
			}
		})
	}
	puts.Wait()
	kit.Watchdog(t, func() {
		for a.Len()+b.Len() > 0 {
			runtime.Gosched()
		}
		over.Store(true)
		a.Close()
		b.Close()
		wg.Wait()
	})
	for v := range got {
		require.EqualValues(t, 1, got[v].Load(), "item %d", v)
	}
	require.Zero(t, a.Waiting()+b.Waiting())
}

// With three PutWaits in line, two gets and a Put gave 3 99 4 5, and a loop of
// get and Put kept the PutWaits out.
func TestPutDoesNotOvertakePutWait(t *testing.T) {
	bothQueues(t, &twill.QueueOptions{Size: 2}, func(t *testing.T, q aQueue) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			require.NoError(t, q.put(1))
			require.NoError(t, q.put(2))
			for v := 3; v <= 5; v++ {
				go func() { require.NoError(t, q.putWait(ctx, v)) }()
				synctest.Wait()
			}
			take := func(want int) {
				v, ok := q.TryGet()
				require.True(t, ok)
				require.Equal(t, want, v)
			}
			take(1)
			take(2)
			require.ErrorIs(t, q.put(99), twill.ErrQueueFull, "4 has the room")
			for want := 3; want <= 5; want++ {
				take(want)
				if want == 3 {
					require.ErrorIs(t, q.put(99), twill.ErrQueueFull, "5 has the room")
				}
			}
			require.Zero(t, q.Len())

			// A put for each get: the waiting put is admitted first.
			require.NoError(t, q.put(1))
			require.NoError(t, q.put(2))
			go func() { require.NoError(t, q.putWait(ctx, 3)) }()
			synctest.Wait()
			for range 3 {
				q.TryGet()
				_ = q.put(9)
			}
			require.Equal(t, []int{9, 9}, q.Clear(), "3 came in at the first get, and is gone")
		})
	})
}

// The put was admitted although its context had ended before there was room.
func TestPutWaitPutsNothingAfterTheEnd(t *testing.T) {
	for _, size := range []int{1, -1} {
		bothQueues(t, &twill.QueueOptions{Size: size}, func(t *testing.T, q aQueue) {
			synctest.Test(t, func(t *testing.T) {
				for range 300 {
					if size > 0 {
						require.NoError(t, q.put(1))
					}
					ctx, cancel := context.WithCancelCause(t.Context())
					errs, second := make(chan error), make(chan error)
					go func() { errs <- q.putWait(ctx, 2) }()
					synctest.Wait()
					go func() { second <- q.putWait(t.Context(), 3) }()
					synctest.Wait()
					cancel(kit.ErrBoom)
					v, ok := q.TryGet()
					require.True(t, ok)
					require.Equal(t, kit.ErrBoom, <-errs)
					require.NoError(t, <-second)
					if size > 0 {
						require.Equal(t, 1, v)
						require.Equal(t, []int{3}, q.Clear())
					} else {
						require.Equal(t, 3, v)
					}
					require.Zero(t, q.Len())
				}
			})
		})
	}
}

func TestQueueClear(t *testing.T) {
	bothQueues(t, &twill.QueueOptions{Size: 3}, func(t *testing.T, q aQueue) {
		synctest.Test(t, func(t *testing.T) {
			require.Empty(t, q.Clear())
			for v := range 3 {
				require.NoError(t, q.put(v))
			}
			go func() { require.NoError(t, q.putWait(t.Context(), 3)) }()
			synctest.Wait()
			require.Equal(t, []int{0, 1, 2}, q.Clear())
			synctest.Wait()
			require.Equal(t, 1, q.Len(), "the put in line has come in")
			require.Equal(t, []int{3}, q.Clear())
			require.Zero(t, q.Len())
		})
	})

	var q twill.PriorityQueue[string]
	low, high := kit.PQPut(t, &q, "low", 9), kit.PQPut(t, &q, "high", 1)
	require.Equal(t, []string{"high", "low"}, q.Clear())
	for _, item := range []*twill.PriorityItem[string]{low, high} {
		v, queued := item.Value()
		require.False(t, queued)
		require.Empty(t, v)
		require.False(t, item.Remove())
		require.False(t, item.Reprioritize(1))
	}
}

// Concurrent snapshots, clears and removals: each value is taken once.
func TestPriorityQueueClearAndSnapshot(t *testing.T) {
	var q twill.PriorityQueue[int]
	const items = 3000
	var got [items]atomic.Int32
	var puts, wg sync.WaitGroup
	done := make(chan struct{})
	puts.Go(func() {
		for v := range items {
			item, err := q.Put(v, v%7)
			if err != nil {
				t.Error(err)
			}
			if v%11 == 0 && item.Remove() {
				got[v].Add(1)
			}
		}
	})
	wg.Go(func() {
		for {
			for _, v := range q.Clear() {
				got[v].Add(1)
			}
			select {
			case <-done:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	wg.Go(func() {
		for {
			q.Snapshot()
			select {
			case <-done:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	puts.Wait()
	close(done)
	wg.Wait()
	for _, v := range q.Clear() {
		got[v].Add(1)
	}
	for v := range got {
		require.EqualValues(t, 1, got[v].Load(), "item %d", v)
	}
}
