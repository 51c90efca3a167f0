package torture_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// TestServiceSoak serves requests with random deadlines in virtual time, so
// that delays are exact on any machine. No request exceeds its deadline by more
// than the time that its own handlers and cancelers take, and each request
// fails with its deadline or with the error of its backend. At the end no key,
// slot, lock or goroutine is in use: a bubble does not end while a goroutine is
// left. It serves twenty thousand requests, and a million with -long.
func TestServiceSoak(t *testing.T) {
	const clients = 50
	rounds, each := times(4, 50), 100
	var all, timedOut atomic.Int64
	for round := range rounds {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			var wg sync.WaitGroup
			for client := range clients {
				random := rand.New(rand.NewPCG(uint64(round), uint64(client)))
				wg.Go(func() {
					for range times(each, 4) {
						all.Add(1)
						if s.request(random) {
							timedOut.Add(1)
						}
					}
				})
			}
			wg.Wait()
			s.end()
		})
	}
	t.Logf("%d requests, %d ended by their deadlines", all.Load(), timedOut.Load())
	require.Greater(t, timedOut.Load(), all.Load()/20, "too few deadlines to be worth it")
	require.Less(t, timedOut.Load(), all.Load()*19/20, "too few results to be worth it")
}

// service is what the requests share: few keys and slots, so that they collide.
type service struct {
	t     *testing.T
	dict  twill.Dict[int, int]
	pool  *twill.Pooler[int, int]
	lock  twill.Lock
	slots *twill.Semaphore
	queue *twill.ResizableDispatchQueue[time.Duration, int]
	size  *twill.ResizableDispatchQueue[time.Duration, int] // with a bounded size
	inner atomic.Int64                                      // number of backend calls underway
}

var errBackend = errors.New("backend failed")

const queueWidth = 4

func newService(t *testing.T) *service {
	s := &service{t: t, slots: twill.NewSemaphore(3)}
	s.pool = twill.NewPooler(func(ctx context.Context, key int) (int, error) {
		return s.backend(ctx, time.Duration(key)*time.Millisecond)
	})
	job := func(ctx context.Context, d time.Duration) (int, error) { return s.backend(ctx, d) }
	s.queue = twill.NewResizableDispatchQueue(job, &twill.DispatchOptions{Width: queueWidth,
		Retry: &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(time.Millisecond), 3)}})
	s.size = twill.NewResizableDispatchQueue(job, &twill.DispatchOptions{Width: queueWidth, Size: 2})
	return s
}

// backend takes d, or until ctx ends. Some calls of an odd number of
// milliseconds fail.
func (s *service) backend(ctx context.Context, d time.Duration) (int, error) {
	s.inner.Add(1)
	defer s.inner.Add(-1)
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(d):
	}
	if d/time.Millisecond%7 == 5 {
		return 0, errBackend
	}
	return int(d), nil
}

// request serves one request, and reports whether its deadline ended it.
func (s *service) request(random *rand.Rand) bool {
	ms := func(n int) time.Duration { return time.Duration(random.IntN(n)) * time.Millisecond / 2 }
	bound := ms(20)
	deadline := time.Now().Add(bound)
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	kind := random.IntN(len(serviceCalls))
	f, slow := serviceCalls[kind].call(s, ctx, random, ms)
	// There may be more stages between the backend and the end of the request.
	for range random.IntN(3) {
		h := ms(4)
		switch random.IntN(4) {
		case 0:
			slow += h
			f = twill.Then(f, func(v int) (int, error) { time.Sleep(h); return v, nil })
		case 1:
			slow += h
			d := ms(12)
			f = twill.ThenFuture(f, func(int) *twill.Future[int] {
				time.Sleep(h)
				return twill.Go(context.Background(), func(ctx context.Context) (int, error) { return s.backend(ctx, d) })
			})
		case 2: // recovers by starting again, even from a cancel
			d := ms(12)
			f = f.CatchFuture(func(error) *twill.Future[int] {
				return twill.Go(context.Background(), func(ctx context.Context) (int, error) { return s.backend(ctx, d) })
			})
		case 3:
			f = twill.First(f, twill.After(ms(40), 0))
		}
	}
	var err error
	byTimeout := random.IntN(2) == 0
	if byTimeout {
		_, err = f.Timeout(time.Until(deadline)).Await(context.Background())
	} else {
		_, err = f.WithContext(ctx).Await(context.Background())
	}
	if late := time.Since(deadline); late > slow {
		s.t.Errorf("%s: %v late, its handlers take %v: %v", serviceCalls[kind].name, late, slow, err)
	}
	switch {
	case err == nil, errors.Is(err, errBackend) && !errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.Is(err, context.DeadlineExceeded):
		if errors.Is(err, context.Canceled) {
			s.t.Errorf("%s: a deadline that is a cancel, too: %#v", serviceCalls[kind].name, err)
		}
		return true
	}
	s.t.Errorf("%s: neither the deadline nor the backend: %#v: %v", serviceCalls[kind].name, err, err)
	return false
}

// serviceCalls are the first stages of requests. Each returns how long its own
// handlers and cancelers may delay the end of the request.
var serviceCalls = []struct {
	name string
	call func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration)
}{
	{"Dict, then a call", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		key, d, h := random.IntN(8), ms(12), ms(4)
		time.AfterFunc(ms(16), func() { _ = s.dict.Set(key, key) })
		if random.IntN(3) == 0 {
			s.dict.Delete(key)
		}
		return twill.ThenFuture(s.dict.Get(key), func(int) *twill.Future[int] {
			time.Sleep(h)
			return twill.Go(context.Background(), func(ctx context.Context) (int, error) { return s.backend(ctx, d) })
		}), h
	}},
	{"GetOrCompute", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		key, d := 100+random.IntN(8), ms(12)
		if random.IntN(3) == 0 {
			s.dict.Delete(key)
		}
		return s.dict.GetOrCompute(ctx, key, func(ctx context.Context) (int, error) { return s.backend(ctx, d) }), 0
	}},
	{"FromChan", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		ch := make(chan int, 1)
		time.AfterFunc(ms(20), func() { ch <- 1 })
		return twill.FromChan(ch), 0
	}},
	{"Go", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		d := ms(20)
		return twill.Go(ctx, func(ctx context.Context) (int, error) { return s.backend(ctx, d) }), 0
	}},
	{"a worker that its canceler waits for", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		p, stop, gone, d, h := twill.NewPromise[int](), make(chan struct{}), make(chan struct{}), ms(16), ms(4)
		p.OnCancel(func(error) { close(stop); <-gone })
		go func() {
			defer close(gone)
			select {
			case <-stop:
				time.Sleep(h)
			case <-time.After(d):
			}
			p.Resolve(1)
		}()
		e := ms(12)
		return twill.ThenFuture(p.Future(), func(int) *twill.Future[int] {
			return twill.Go(context.Background(), func(ctx context.Context) (int, error) { return s.backend(ctx, e) })
		}), h
	}},
	{"Pooler", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		return s.pool.Call(ctx, random.IntN(12)), 0
	}},
	{"RunWith a lock", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		d := ms(4)
		return twill.RunWith(ctx, &s.lock, func(ctx context.Context) (int, error) { return s.backend(ctx, d) }), 0
	}},
	{"RunWith a semaphore", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		d := ms(6)
		return twill.RunWith(ctx, s.slots, func(ctx context.Context) (int, error) { return s.backend(ctx, d) }), 0
	}},
	{"RetryingCall", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		d, failures := ms(6), random.IntN(4)
		call := twill.NewRetryingCall(func(ctx context.Context) (int, error) {
			if failures--; failures >= 0 {
				return 0, errBackend
			}
			return s.backend(ctx, d)
		}, &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(2*time.Millisecond), 5), AttemptTimeout: 4 * time.Millisecond})
		return call.Start(ctx).Catch(func(err error) (int, error) {
			if context.Cause(ctx) == nil {
				return 0, errBackend // the attempts have timed out, and not the request
			}
			return 0, err
		}), 0
	}},
	{"Race", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		d, e := ms(16), ms(16)
		return twill.RaceOf(ctx,
			func(ctx context.Context) (int, error) { return s.backend(ctx, d) },
			func(ctx context.Context) (int, error) { return s.backend(ctx, e) }), 0
	}},
	{"job", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		job, err := s.queue.Put(ms(4), random.IntN(3))
		if err != nil {
			return twill.Rejected[int](err), 0
		}
		return job.Tap(func(int, error) {}), 0
	}},
	{"PutWait", func(s *service, ctx context.Context, random *rand.Rand, ms func(int) time.Duration) (*twill.Future[int], time.Duration) {
		job, err := s.size.PutWait(ctx, ms(4), random.IntN(3))
		if err != nil {
			return twill.Rejected[int](err), 0
		}
		return job.Tap(func(int, error) {}), 0
	}},
}

// end checks that the requests have left nothing behind.
func (s *service) end() {
	t := s.t
	time.Sleep(time.Minute) // for the timers of tests, and for backends that are still running
	synctest.Wait()
	require.Zero(t, s.inner.Load(), "backend calls that go on")
	require.Zero(t, s.dict.Waiting(), "gets of the dict that wait")
	require.Zero(t, s.pool.Len(), "keys of the pooler")
	release, ok := s.lock.TryAcquire()
	require.True(t, ok, "the lock is held")
	release()
	for range 3 {
		release, ok := s.slots.TryAcquire()
		require.True(t, ok, "a token of the semaphore is gone")
		defer release()
	}
	for name, q := range map[string]*twill.ResizableDispatchQueue[time.Duration, int]{"queue": s.queue, "bounded queue": s.size} {
		underway, pending := q.Size()
		require.Zero(t, underway+pending, name)
		began := time.Now()
		for range queueWidth {
			_, err := q.Put(6*time.Millisecond, 0)
			require.NoError(t, err)
		}
		_, err := q.Drain(context.Background())
		require.NoError(t, err)
		require.Equal(t, 6*time.Millisecond, time.Since(began), fmt.Sprintf("a slot of the %s is gone", name))
	}
}
