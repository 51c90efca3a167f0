package torture_test

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/twillgo/twill"
)

// A get or acquire that is first in a line and leaves just when it is served
// must not take the item or token with it: the next in line gets it.
func TestTheNextInLineIsWoken(t *testing.T) {
	lines := map[string]func() (head *twill.Future[int], next *twill.Future[int], give func()){
		"queue": func() (*twill.Future[int], *twill.Future[int], func()) {
			var q twill.Queue[int]
			return q.Get(), q.Get(), func() { _ = q.Put(1) }
		},
		"priority queue": func() (*twill.Future[int], *twill.Future[int], func()) {
			var q twill.PriorityQueue[int]
			return q.Get(), q.Get(), func() { _, _ = q.Put(1, 0) }
		},
		"semaphore": func() (*twill.Future[int], *twill.Future[int], func()) {
			var s twill.Semaphore
			held, _ := s.TryAcquire()
			return token(s.Acquire()), token(s.Acquire()), held
		},
		"dispatch": func() (*twill.Future[int], *twill.Future[int], func()) {
			ready := make(chan struct{})
			q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
				if n == 0 {
					<-ready
				}
				return 1, nil
			}, nil)
			_, _ = q.Put(0, 0)
			head, _ := q.Put(1, 0)
			next, _ := q.Put(2, 0)
			return &head.Future, &next.Future, func() { close(ready) }
		},
	}
	for name, line := range lines {
		t.Run(name, func(t *testing.T) {
			left := 0
			for range times(2000, 50) {
				head, next, give := line()
				var canceled atomic.Bool
				soon(t, func() {
					conc(2, func(client int) {
						if client == 0 {
							canceled.Store(head.Cancel(nil))
						} else {
							give()
						}
					})
				})
				if canceled.Load() {
					left++
				}
				if canceled.Load() || name == "dispatch" {
					if v, err := await(t, next); v != 1 || err != nil {
						t.Fatalf("the next in line has %d, %v", v, err)
					}
				} else if v, err := await(t, head); v != 1 || err != nil {
					t.Fatalf("the head of the line has %d, %v", v, err)
				}
			}
			t.Logf("the head left in time %d times", left)
		})
	}
}

// token returns a future of 1, and releases the token.
func token(f *twill.Future[func()]) *twill.Future[int] {
	return twill.Then(f, func(release func()) (int, error) { release(); return 1, nil })
}

// At most as many tokens are held as exist, and all are released, however many
// acquires give up.
func TestSemaphoreLosesNoToken(t *testing.T) {
	const tokens = 2
	for seed := range uint64(times(300, 50)) {
		s := twill.NewSemaphore(tokens)
		var held, most atomic.Int32
		soon(t, func() {
			conc(4, func(client int) {
				rnd := rand.New(rand.NewPCG(seed, uint64(client)))
				for range 10 {
					ctx, cancel := context.WithTimeout(context.Background(), patience(rnd))
					release, err := s.AcquireWait(ctx)
					cancel()
					if err != nil {
						continue
					}
					if n := held.Add(1); n > most.Load() {
						most.Store(n)
					}
					held.Add(-1)
					release()
					release()
				}
			})
		})
		if most.Load() > tokens || s.Tokens() != tokens || s.Waiting() != 0 {
			t.Fatalf("seed %d: %d held at once, %d free in the end, %d waiting", seed, most.Load(), s.Tokens(), s.Waiting())
		}
	}
}
