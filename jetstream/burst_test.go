package jetstream

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// A burst of any kind, whose handling takes longer than two leases, does not
// cost a scheduler its term: it is announced all the time, and a second
// candidate does not take over.
func TestABurstDoesNotEndATerm(t *testing.T) {
	t.Parallel()
	const number = 2000
	ask := func(n *node, r *request) {
		r.Version, r.From = wireVersion, "BURST"
		require.NoError(t, n.conn.Publish(n.st.askSubject(), encode(r)))
	}
	put := func(n *node, i int) {
		p := &wirePut{Jobs: []putJob{{"burst-" + strconv.Itoa(i), json.RawMessage("1")}}}
		require.NoError(t, n.conn.Publish(n.st.inboxSubject(), putData("BURST", []*waitingPut{{data: encode(p)}}, false)))
	}
	for name, c := range map[string]struct {
		step  step
		delay time.Duration
		burst func(n *node, i int)
		until func(s *wireStats) bool
	}{
		"puts": {stepPut, 3 * time.Millisecond, put, func(s *wireStats) bool { return s.Pending == number }},
		"cancels": {stepRequest, 3 * time.Millisecond, func(n *node, i int) {
			if i == 0 {
				for i := range number {
					put(n, i)
				}
			}
			ask(n, &request{Op: opEnded, ID: "burst-" + strconv.Itoa(i), State: outCanceled, Inbox: number, Made: n.made()})
		}, func(s *wireStats) bool { return s.Counters.Canceled == number }},
		"changes of priorities": {stepRequest, 3 * time.Millisecond, func(n *node, i int) {
			ask(n, &request{Op: opPrio, ID: "burst-" + strconv.Itoa(i), N: 1})
		}, func(*wireStats) bool { return true }},
		"ends of calls": {stepRequest, 3 * time.Millisecond, func(n *node, i int) {
			ask(n, &request{Op: opDone, Done: []doneReport{{Token: token{"burst-" + strconv.Itoa(i), 1}, Stored: outFinished}}})
		}, func(*wireStats) bool { return true }},
		"answers": {stepAfter, 3 * time.Millisecond, func(n *node, i int) {
			ask(n, &request{Op: opWidth, N: i})
		}, func(s *wireStats) bool { return s.Width == number-1 }},
		"appends": {stepAppend, 200 * time.Millisecond, func(n *node, i int) {
			if i < 400 { // some in each append, which is small
				put(n, i)
			}
		}, func(s *wireStats) bool { return s.Pending == 400 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := natstest.Start(t, nil)
			a, b := candidate(t, servers.Connect(t), "burst"), candidate(t, servers.Connect(t), "burst")
			ended := make(chan Event, 10)
			var slow atomic.Bool
			a.candidate, b.candidate = true, true
			a.maxBatch = 1000
			a.opts.OnEvent = func(e Event) {
				if e.Kind == SchedulerEnded {
					ended <- e
				}
			}
			a.opts.delay = func(s step) {
				if s == c.step && slow.Load() {
					time.Sleep(c.delay)
				}
			}
			require.NoError(t, a.start(t.Context()))
			_, err := a.ask(t.Context(), &request{Op: opStats})
			require.NoError(t, err)
			require.NoError(t, b.start(t.Context()))
			silence := silences(t, b)
			slow.Store(true)
			began := time.Now()
			for i := range number {
				c.burst(b, i)
			}
			require.Eventually(t, func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				rep, err := b.ask(ctx, &request{Op: opStats})
				if err == nil { // and all that is to be done after that is done
					_, err = b.ask(ctx, &request{Op: opStatus})
				}
				return err == nil && c.until(rep.Stats)
			}, 2*time.Minute, 10*time.Millisecond)
			require.Greater(t, time.Since(began), 2*a.opts.Lease, "it was a burst")
			require.Less(t, silence(), a.opts.Lease, "it was announced all the time")
			select {
			case e := <-ended:
				t.Fatal("the term has ended: ", e.Err)
			default:
			}
		})
	}
}

// silences returns a function that returns the longest time between
// announcements since the call.
func silences(t *testing.T, n *node) func() time.Duration {
	var mu sync.Mutex
	longest, last := time.Duration(0), time.Now()
	next := func() {
		mu.Lock()
		defer mu.Unlock()
		longest, last = max(longest, time.Since(last)), time.Now()
	}
	_, err := n.conn.Subscribe(n.st.beatSubject(), func(*nats.Msg) { next() })
	require.NoError(t, err)
	return func() time.Duration {
		next()
		return longest
	}
}

// A term does not end while it begins: the outcomes since the last one are
// many.
func TestManyOutcomesDoNotEndATermThatBegins(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	a, b := candidate(t, servers.Connect(t), "begins"), candidate(t, servers.Connect(t), "begins")
	const number = 1500
	for i := range number {
		_, err := a.st.decide(t.Context(), &outcome{Version: wireVersion, ID: "o" + strconv.Itoa(i), State: outFinished})
		require.NoError(t, err)
	}
	a.opts.delay = func(s step) {
		if s == stepOutcome {
			time.Sleep(4 * time.Millisecond)
		}
	}
	b.opts.delay = func(step) { t.Error("it has taken over") }
	a.candidate, b.candidate = true, true
	require.NoError(t, a.start(t.Context()))
	require.Eventually(t, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.term.Epoch != 0
	}, time.Minute, time.Millisecond)
	began, silence := time.Now(), silences(t, b)
	require.NoError(t, b.start(t.Context()))
	_, err := b.ask(t.Context(), &request{Op: opStats})
	require.NoError(t, err)
	require.Less(t, silence(), a.opts.Lease)
	require.Greater(t, time.Since(began), 2*a.opts.Lease)
}

// A snapshot of many parts, each of which takes its time, neither ends a term
// nor keeps it from the workers and from a process that stops.
func TestASnapshotDoesNotEndATerm(t *testing.T) {
	defer func(n int) { snapshotAfter = n }(snapshotAfter)
	snapshotAfter = 10
	servers := natstest.Start(t, nil)
	a := candidate(t, servers.Connect(t), "snapshot")
	a.maxBatch = 3000 // two jobs in a part
	s, err := a.takeOver(t.Context())
	require.NoError(t, err)
	s.mu.Lock()
	for i := range 300 {
		s.putLocked("", &wirePut{Jobs: []putJob{{"j" + strconv.Itoa(i), json.RawMessage("1")}}}, s.now())
	}
	s.mu.Unlock()
	_, err = s.commit()
	require.NoError(t, err)
	s.since = 1000
	a.opts.delay = func(s step) {
		if s == stepAppend {
			time.Sleep(100 * time.Millisecond)
		}
	}
	b := candidate(t, servers.Connect(t), "snapshot")
	b.opts.delay = func(step) { t.Error("it has taken over") }
	b.candidate = true
	require.NoError(t, b.start(t.Context()))
	served := make(chan error)
	go func() { served <- s.serve() }()
	s.take(&nats.Msg{}, &request{Version: wireVersion, Op: opBeat, From: "lost", Worker: &workerBeat{Number: 1, Width: 1}})
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.workers["lost"] == nil
	}, time.Minute, time.Millisecond, "the workers are looked after during a snapshot")
	s.resign()
	require.ErrorIs(t, <-served, errResigned)
	require.NotEmpty(t, s.snapshot, "it does not wait for the parts")
	b.opts.delay = nil
	b.end(nil)
}

// A worker whose beats wait behind a burst of requests is not lost.
func TestABurstDoesNotLoseWorkers(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	a := candidate(t, servers.Connect(t), "beats")
	var slow atomic.Bool
	a.candidate = true
	a.opts.OnEvent = func(e Event) {
		if e.Kind == JobLost || e.Kind == SchedulerEnded {
			t.Error(e.Kind, e.Err)
		}
	}
	a.opts.delay = func(s step) {
		if s == stepRequest && slow.Load() {
			time.Sleep(4 * time.Millisecond)
		}
	}
	require.NoError(t, a.start(t.Context()))
	conn := servers.Connect(t)
	called, end := make(chan struct{}, 10), make(chan struct{})
	q, err := NewQueue(t.Context(), conn, "beats", func(ctx context.Context, n int) (int, error) {
		called <- struct{}{}
		select {
		case <-end:
		case <-ctx.Done():
			t.Error(context.Cause(ctx))
		}
		return n, nil
	}, &Options{Lease: a.opts.Lease, NoSchedule: true})
	require.NoError(t, err)
	defer q.Close()
	job, err := q.Put(1, 0)
	require.NoError(t, err)
	<-called
	slow.Store(true)
	data := encode(&request{Version: wireVersion, From: "BURST", Op: opPrio, ID: "none"})
	began := time.Now()
	for range 2000 {
		require.NoError(t, conn.Publish(a.st.askSubject(), data))
	}
	require.Eventually(t, func() bool {
		rep, err := q.n.ask(t.Context(), &request{Op: opStatus, IDs: []string{job.ID()}})
		return err == nil && rep.Gone == nil
	}, 2*time.Minute, time.Millisecond)
	require.Greater(t, time.Since(began), 2*a.opts.Lease, "it was a burst")
	slow.Store(false)
	close(end)
	_, err = job.Await(t.Context())
	require.NoError(t, err)
	require.Empty(t, called, "it was called once")
	a.opts.OnEvent = nil
}

// Commits that follow each other without a pause keep the scheduler neither
// from its workers nor from the end of its process.
func TestASteadyLoadDoesNotHoldUpTheRest(t *testing.T) {
	t.Parallel()
	a := candidate(t, natstest.Start(t, nil).Connect(t), "steady")
	s, err := a.takeOver(t.Context())
	require.NoError(t, err)
	more := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.emitLocked(effect{Snooze: true}, nil)
	}
	a.opts.delay = func(s step) {
		if s == stepAppend {
			more()
		}
	}
	more()
	s.take(&nats.Msg{}, &request{Version: wireVersion, Op: opBeat, From: "lost", Worker: &workerBeat{Number: 1, Width: 1}})
	served := make(chan error)
	go func() { served <- s.serve() }()
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.workers["lost"] == nil
	}, time.Minute, time.Millisecond)
	s.resign()
	select {
	case err := <-served:
		require.ErrorIs(t, err, errResigned)
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// A term that hangs is announced no longer, and does not answer candidates.
func TestATermThatHangsIsLeftToOthers(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	a, b := candidate(t, servers.Connect(t), "hangs"), candidate(t, servers.Connect(t), "hangs")
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	var hangs atomic.Bool
	a.opts.delay = func(s step) {
		if s == stepAppend && hangs.Load() {
			<-hang
		}
	}
	a.candidate, b.candidate = true, true
	require.NoError(t, a.start(t.Context()))
	_, err := a.ask(t.Context(), &request{Op: opStats})
	require.NoError(t, err)
	require.NoError(t, b.start(t.Context()))
	hangs.Store(true)
	require.Eventually(t, func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.sched != nil
	}, time.Minute, time.Millisecond)
}

// However many outcomes are to be stored or read at once, few requests are
// underway at a time: the journal's do not wait behind thousands.
func TestRequestsAboutOutcomesAreLimited(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	o, err := (&Options{}).filled()
	require.NoError(t, err)
	st, err := newStreams(servers.Connect(t), o, "limited") // the test takes the part of the streams
	require.NoError(t, err)
	t.Cleanup(st.calls.close)
	var underway, most, all atomic.Int64
	answer := func(data string) nats.MsgHandler {
		return func(m *nats.Msg) {
			for n := underway.Add(1); n > most.Load(); {
				most.Store(n)
			}
			all.Add(1)
			time.AfterFunc(time.Millisecond, func() {
				underway.Add(-1)
				_ = m.Respond([]byte(data))
			})
		}
	}
	conn := servers.Connect(t)
	_, err = conn.Subscribe(st.outcomeSubject("*"), answer(`{"stream":"TWILL-limited-out","seq":1}`))
	require.NoError(t, err)
	require.NoError(t, conn.Flush())
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			if _, err := st.decide(t.Context(), &outcome{ID: "o" + strconv.Itoa(i), State: outCanceled}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.GreaterOrEqual(t, all.Load(), int64(1000))
	require.LessOrEqual(t, most.Load(), int64(maxOutcomes))
}

// The first process of a queue is in the list of workers as soon as there is an
// answer, and so is one that begins later, which does not wait for a lease.
func TestWorkersAreListedAtOnce(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	join := func(name string) *Queue[int, int] {
		q, err := NewQueue(t.Context(), servers.Connect(t), "listed", func(_ context.Context, n int) (int, error) { return n, nil }, &Options{
			Lease: 10 * time.Minute, Name: name, WorkerWidth: 3, Wait: time.Minute, // with such a lease nothing is seen by chance
		})
		require.NoError(t, err)
		t.Cleanup(q.Close)
		return q
	}
	first := join("first")
	workers, scheduler := first.Workers()
	require.Equal(t, "first", scheduler)
	require.Len(t, workers, 1)
	require.Equal(t, "first", workers[0].Name)
	require.Equal(t, 3, workers[0].Width)
	second := join("second")
	require.Eventually(t, func() bool {
		workers, _ := second.Workers()
		return len(workers) == 2
	}, 30*time.Second, time.Millisecond)
}

// A scheduler knows the worker of its own process before it answers any
// request.
func TestASchedulerKnowsItsOwnWorker(t *testing.T) {
	t.Parallel()
	n := candidate(t, natstest.Start(t, nil).Connect(t), "own")
	n.worker = newWorker(n, 3, nil) // it does not beat by itself
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	served := make(chan error)
	go func() { served <- s.serve() }()
	rep, err := n.ask(t.Context(), &request{Op: opStats})
	require.NoError(t, err)
	require.Len(t, rep.Stats.Workers, 1)
	require.Equal(t, n.id, rep.Stats.Workers[0].Process)
	s.close(nil)
	<-served
}
