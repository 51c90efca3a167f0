package work

import (
	stdheap "container/heap"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/twillgo/twill"
)

// A queue holds values in order of priority and, among equals, of arrival.
// Several goroutines may use it. A value that was pushed can be removed.
type queue[H any] interface {
	push(v, priority int) H
	pop() (v int, ok bool)
	remove(H) bool
}

var errQueue = errors.New("the queue does not hold what was put")

// filled is a queue of Many values.
type filled[H any] struct {
	queue[H]
	handles []H
	random  *rand.Rand
	levels  int
}

func (q *filled[H]) fill() {
	for n := range Many {
		q.handles = append(q.handles, q.push(n, q.random.IntN(q.levels)))
	}
}

// start starts the timer, after all garbage was collected.
func start(b *testing.B) {
	runtime.GC()
	b.StartTimer()
}

// prioritized measures what do does to a filled queue. It returns how often it
// did that.
func prioritized[H any](empty func() queue[H], levels int, do func(*testing.B, *filled[H]) int) func(b *testing.B) {
	return func(b *testing.B) {
		times := 0
		for range b.N {
			b.StopTimer()
			times = do(b, &filled[H]{queue: empty(), random: rand.New(rand.NewPCG(1, 2)), levels: levels})
			b.StartTimer()
		}
		b.ReportMetric(float64(times), Each)
	}
}

func popPush[H any](b *testing.B, q *filled[H]) int {
	q.fill()
	times := Many / 3
	start(b)
	defer b.StopTimer()
	for range times {
		v, ok := q.pop()
		if !ok {
			b.Fatal(errQueue)
		}
		q.push(v, q.random.IntN(q.levels))
	}
	return times
}

func fillDrain[H any](b *testing.B, q *filled[H]) int {
	q.handles = make([]H, 0, Many)
	start(b)
	defer b.StopTimer()
	q.fill()
	for range Many {
		if _, ok := q.pop(); !ok {
			b.Fatal(errQueue)
		}
	}
	return Many
}

func cancel[H any](b *testing.B, q *filled[H]) int {
	q.fill()
	times := Many / 100
	start(b)
	defer b.StopTimer()
	for n := range times {
		if !q.remove(q.handles[n*100]) {
			b.Fatal(errQueue)
		}
	}
	return times
}

type twillQueue struct{ twill.PriorityQueue[int] }

func newTwillQueue() queue[*twill.PriorityItem[int]] { return new(twillQueue) }

func (q *twillQueue) push(v, priority int) *twill.PriorityItem[int] {
	item, err := q.Put(v, priority)
	if err != nil {
		panic(err)
	}
	return item
}

func (q *twillQueue) pop() (int, bool)                          { return q.TryGet() }
func (q *twillQueue) remove(item *twill.PriorityItem[int]) bool { return item.Remove() }

// stdQueue is a container/heap under a mutex.
type stdQueue struct {
	mu    sync.Mutex
	items stdItems
	seq   int
}

type stdItem struct {
	v, priority, seq int
	at               int
}

type stdItems []*stdItem

func newStdQueue() queue[*stdItem] { return new(stdQueue) }

func (q *stdQueue) push(v, priority int) *stdItem {
	item := &stdItem{v: v, priority: priority}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seq++
	item.seq = q.seq
	stdheap.Push(&q.items, item)
	return item
}

func (q *stdQueue) pop() (int, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return 0, false
	}
	return stdheap.Pop(&q.items).(*stdItem).v, true
}

func (q *stdQueue) remove(item *stdItem) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if item.at < 0 {
		return false
	}
	stdheap.Remove(&q.items, item.at)
	return true
}

func (s stdItems) Len() int { return len(s) }

func (s stdItems) Less(i, j int) bool {
	a, b := s[i], s[j]
	return a.priority < b.priority || a.priority == b.priority && a.seq < b.seq
}

func (s stdItems) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].at, s[j].at = i, j
}

func (s *stdItems) Push(x any) {
	item := x.(*stdItem)
	item.at = len(*s)
	*s = append(*s, item)
}

func (s *stdItems) Pop() any {
	n := len(*s) - 1
	item := (*s)[n]
	(*s)[n] = nil
	*s = (*s)[:n]
	item.at = -1
	return item
}
