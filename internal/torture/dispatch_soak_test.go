package torture_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

var soakFor = flag.Duration("soak", 0, "how long to soak the dispatch queue; 0 is 3s, and 30s with -long")

// TestDispatchSoak makes goroutines call everything that dispatch queues have.
// No job is lost or run twice, no more jobs run than the width allows, no slot
// is idle while work is pending, and nothing is kept of queues that were
// stopped.
func TestDispatchSoak(t *testing.T) {
	d := *soakFor
	switch {
	case d > 0:
	case *long:
		d = 30 * time.Second
	default:
		d = 3 * time.Second
	}
	end := time.Now().Add(d)
	var sizes []uint64
	jobs, rounds := 0, 0
	for ; time.Now().Before(end) || len(sizes) < 2; rounds++ { // at least two, so that they can be compared
		s := newDispatchSoak(t, uint64(rounds))
		s.run(100 * time.Millisecond)
		jobs += len(s.jobs)
		if rounds%5 == 4 {
			sizes = append(sizes, heap())
		}
	}
	t.Logf("%d jobs in %d queues, the heap at times %d bytes", jobs, rounds, sizes)
	require.Less(t, sizes[len(sizes)-1], sizes[0]+1<<20, "the heap has grown")
}

// dispatchSoak is one queue and the goroutines that use it.
type dispatchSoak struct {
	t       *testing.T
	seed    uint64
	q       *twill.ResizableDispatchQueue[*soakJob, int]
	over    chan struct{} // closed when it is stopped
	running atomic.Int32
	allowed atomic.Int32 // the maximum number of running jobs
	changes atomic.Int32 // number of changes of allowed

	mu   sync.Mutex
	jobs []*soakJob
	put  map[*soakJob]*twill.Job[*soakJob, int]
}

// soakJob is the argument of a job.
type soakJob struct {
	kind    int
	retries bool
	calls   atomic.Int32
	inside  atomic.Int32
}

func newDispatchSoak(t *testing.T, seed uint64) *dispatchSoak {
	s := &dispatchSoak{t: t, seed: seed, over: make(chan struct{}), put: make(map[*soakJob]*twill.Job[*soakJob, int])}
	s.allowed.Store(1)
	s.q = twill.NewResizableDispatchQueue(s.call, &twill.DispatchOptions{Size: []int{0, 50, 500}[seed%3], Ageing: time.Duration(seed%2) * time.Millisecond})
	return s
}

func (s *dispatchSoak) call(ctx context.Context, j *soakJob) (int, error) {
	defer s.running.Add(-1)
	defer j.inside.Add(-1)
	changes := s.changes.Load()
	if now, allowed := s.running.Add(1), s.allowed.Load(); now > allowed && changes == s.changes.Load() {
		s.t.Errorf("seed %d: %d calls run, %d may", s.seed, now, allowed)
	}
	if j.inside.Add(1) > 1 || j.calls.Add(1) > 1 && !j.retries {
		s.t.Errorf("seed %d: a job was run twice", s.seed)
	}
	switch j.kind % 16 {
	case 0:
		panic("soak")
	case 1:
		runtime.Goexit()
	case 2, 3:
		return 0, errFailed
	case 4:
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	case 5:
		time.Sleep(time.Duration(j.kind%300) * time.Microsecond) // regardless of the context
	case 6:
		s.add(new(soakJob), 0)
	default:
		runtime.Gosched()
	}
	return j.kind, nil
}

// add puts a job and records it, unless it was refused.
func (s *dispatchSoak) add(arg *soakJob, priority int, opts ...twill.JobOptions) {
	arg.kind += 7
	j, err := s.q.Put(arg, priority, opts...)
	s.note(arg, j, err)
}

func (s *dispatchSoak) note(arg *soakJob, j *twill.Job[*soakJob, int], err error) {
	if err != nil || j.Arg() != arg { // refused, or joined
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.jobs = append(s.jobs, arg)
	s.put[arg] = j
}

// use calls a random method of the queue.
func (s *dispatchSoak) use(random *rand.Rand) {
	arg := &soakJob{kind: random.IntN(1 << 20)}
	priority := random.IntN(5)
	switch random.IntN(12) {
	case 0:
		s.add(arg, priority, twill.JobOptions{After: time.Duration(random.IntN(3)) * time.Millisecond})
	case 1:
		s.add(arg, priority, twill.JobOptions{Timeout: time.Duration(1+random.IntN(2000)) * time.Microsecond})
	case 2:
		arg.retries = true
		s.add(arg, priority, twill.JobOptions{Retry: &twill.RetryOptions{Backoff: twill.LimitBackoff(twill.ConstantBackoff(100*time.Microsecond), 2)}})
	case 3:
		s.add(arg, priority, twill.JobOptions{Key: string(rune('a' + random.IntN(3)))})
	case 4:
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		j, err := s.q.PutWait(ctx, arg, priority)
		cancel()
		s.note(arg, j, err)
	case 5:
		args := []*soakJob{arg, {kind: 8}, {kind: 9}}
		if jobs, err := s.q.PutAll(args, priority); err == nil {
			for i := range args {
				s.note(args[i], jobs[i], nil)
			}
		}
	case 6, 7:
		if j := s.any(random); j != nil {
			j.Cancel(nil)
		}
	case 8:
		if j := s.any(random); j != nil {
			s.q.Reprioritize(j, priority)
		}
	default:
		s.add(arg, priority)
	}
}

func (s *dispatchSoak) any(random *rand.Rand) *twill.Job[*soakJob, int] {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) == 0 {
		return nil
	}
	return s.put[s.jobs[len(s.jobs)-1-random.IntN(min(len(s.jobs), 100))]]
}

// steer changes the width, from 0 to 64, the rate or another setting.
func (s *dispatchSoak) steer(random *rand.Rand) {
	switch random.IntN(12) {
	case 0:
		s.q.Pause()
	case 1:
		s.q.SetRate(yieldLimiter{})
	case 2:
		s.q.SetRate(nil)
	case 3:
		if random.IntN(10) == 0 {
			s.q.Clear()
		}
	default:
		s.setWidth(random.IntN(65))
		s.q.Resume()
	}
	s.watch()
}

// yieldLimiter delays every start a little.
type yieldLimiter struct{}

func (yieldLimiter) Wait(ctx context.Context) error {
	runtime.Gosched()
	return ctx.Err()
}

// setWidth raises allowed before it raises the width, and lowers allowed when
// no more jobs run than the lower width allows.
func (s *dispatchSoak) setWidth(n int) {
	s.changes.Add(1)
	defer s.changes.Add(1)
	if n > int(s.allowed.Load()) {
		s.allowed.Store(int32(n))
	}
	s.q.SetWidth(n)
	for began := time.Now(); len(s.q.Underway()) > n; runtime.Gosched() {
		if time.Since(began) > 10*time.Second {
			s.t.Errorf("seed %d: more than %d jobs stay underway", s.seed, n)
			return
		}
	}
	for int(s.running.Load()) > n { // the last deferred call of a job that is no longer listed
		runtime.Gosched()
	}
	s.allowed.Store(int32(n))
}

// watch fails the test if work waits while a slot is free for a second in which
// nothing happens.
func (s *dispatchSoak) watch() {
	idle := func() (st twill.DispatchStats, is bool) {
		st = s.q.Stats()
		return st, st.Underway < st.Width && st.Pending > st.Delayed && !s.q.Paused() && !s.q.Stopped()
	}
	first, is := idle()
	for began := time.Now(); is; runtime.Gosched() {
		var st twill.DispatchStats
		if st, is = idle(); st.Running.Count() != first.Running.Count() {
			return
		}
		if time.Since(began) > 5*time.Second {
			s.t.Errorf("seed %d: %d jobs wait, and %d of %d are underway", s.seed, st.Pending-st.Delayed, st.Underway, st.Width)
			return
		}
	}
}

// run uses the queue, stops it while it is in use, and counts.
func (s *dispatchSoak) run(d time.Duration) {
	var users sync.WaitGroup
	for u := range 4 {
		random := rand.New(rand.NewPCG(s.seed, uint64(u)))
		users.Go(func() {
			for {
				select {
				case <-s.over:
					return
				default:
				}
				if u == 0 {
					s.steer(random)
				} else {
					s.use(random)
				}
			}
		})
	}
	time.Sleep(d)
	s.q.SetRate(nil)
	var left []*twill.Job[*soakJob, int]
	var err error
	switch s.seed % 4 {
	case 0:
		left, err = await(s.t, s.q.StopNow())
	case 1:
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		s.q.Drain(ctx)
		cancel()
		left, err = await(s.t, s.q.Stop())
	default:
		left, err = await(s.t, s.q.Stop())
	}
	require.NoError(s.t, err)
	require.Zero(s.t, s.running.Load(), "calls run after a stop")
	close(s.over)
	soon(s.t, users.Wait)
	s.count(left)
}

// count finds each job exactly once: ended or left over.
func (s *dispatchSoak) count(left []*twill.Job[*soakJob, int]) {
	over := make(map[*soakJob]bool)
	for _, j := range left {
		require.False(s.t, over[j.Arg()], "a job is left over twice")
		require.Same(s.t, s.put[j.Arg()], j, "a job is left over that was refused")
		over[j.Arg()] = true
	}
	for arg, j := range s.put {
		_, settled := j.Poll()
		state := j.State()
		switch {
		case state == twill.JobPending:
			require.True(s.t, over[arg] && !settled, "seed %d: a job that waits was lost", s.seed)
		case state == twill.JobFinished:
			require.True(s.t, !over[arg] && settled && arg.calls.Load() > 0)
		default:
			require.True(s.t, settled && state >= twill.JobFailed, "seed %d: a job is %v, settled: %t", s.seed, state, settled)
		}
	}
	s.q.Clear()
	for _, j := range s.put {
		_, settled := j.Poll()
		require.True(s.t, settled)
	}
}
