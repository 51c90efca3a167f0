package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// candidate is a node that may schedule, with a connection of its own, and is
// not started: the test makes each step.
func candidate(t *testing.T, conn *nats.Conn, name string) *node {
	o, err := (&Options{Lease: 2 * time.Second, OnEvent: func(e Event) { t.Log(e.Kind, e.Err) }}).filled()
	require.NoError(t, err)
	st, err := newStreams(conn, o, name)
	require.NoError(t, err)
	require.NoError(t, st.ensure(t.Context(), o))
	n := newNode(conn, st, o)
	n.receive = func(*message) {}
	t.Cleanup(func() { n.close(nil) })
	return n
}

// journalOf replays the whole journal of a queue.
func journalOf(t *testing.T, n *node) (j journal, last *batch) {
	info, err := n.st.info(t.Context(), n.st.journal())
	require.NoError(t, err)
	err = n.st.follow(t.Context(), n.st.journal(), 0, func(seq uint64, _ time.Time, data []byte) bool {
		last = new(batch)
		require.NoError(t, json.Unmarshal(data, last))
		require.NoError(t, j.read(last))
		return seq < info.State.Last
	})
	require.NoError(t, err)
	require.False(t, j.loading)
	return j, last
}

// An earlier scheduler, whose process was frozen or cut off, stores nothing
// once another one has taken over, whatever it still had to append.
func TestNothingIsStoredByAnEarlierScheduler(t *testing.T) {
	servers := natstest.Start(t, nil)
	a, b := candidate(t, servers.Connect(t), "fence"), candidate(t, servers.Connect(t), "fence")
	first, err := a.takeOver(t.Context())
	require.NoError(t, err)
	put := func(s *scheduler, id string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.putLocked("", &wirePut{Jobs: []putJob{{id, json.RawMessage(`1`)}}}, s.now())
	}
	put(first, "one")
	_, err = first.commit()
	require.NoError(t, err)

	second, err := b.takeOver(t.Context())
	require.NoError(t, err)
	require.True(t, first.term.before(second.term))
	require.Contains(t, second.jobs, "one", "what the first has committed is known")
	sent := false
	put(first, "two")
	first.mu.Lock()
	first.afterLocked(func() { sent = true })
	first.mu.Unlock()
	_, err = first.commit()
	require.ErrorIs(t, err, errOvertaken)
	require.False(t, sent, "nothing is sent that is not in the journal")
	put(second, "three")
	_, err = second.commit()
	require.NoError(t, err)
	put(first, "four")
	_, err = first.commit()
	require.ErrorIs(t, err, errOvertaken, "it stays so")

	j, last := journalOf(t, b)
	require.Equal(t, second.nonce, last.Nonce)
	require.Contains(t, j.jobs, "three")
	require.NotContains(t, j.jobs, "two")
	require.NotContains(t, j.jobs, "four")
}

// An append whose answer is lost is found in the journal, and not made twice.
func TestAnAppendWhoseAnswerIsLostIsReadBack(t *testing.T) {
	servers := natstest.Start(t, nil)
	n := candidate(t, servers.Connect(t), "lost")
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	b := &batch{Version: wireVersion, Number: s.number + 1, Nonce: s.nonce}
	stored, err := n.st.appendTo(t.Context(), b, s.seq)
	require.NoError(t, err)
	again, err := n.st.appendTo(t.Context(), b, s.seq)
	require.NoError(t, err)
	require.Equal(t, stored, again)
	_, err = n.st.appendTo(t.Context(), &batch{Version: wireVersion, Number: s.number + 1, Nonce: "of another"}, s.seq)
	require.ErrorIs(t, err, errOvertaken)
}

// A worker that leaves hands back its jobs; one that is silent for a lease is
// lost with them, which counts.
func TestAWorkerThatLeavesIsNotLost(t *testing.T) {
	lost := make(chan Event, 10)
	n := candidate(t, natstest.Start(t, nil).Connect(t), "leaves")
	n.opts.OnEvent = func(e Event) {
		if e.Kind == JobLost {
			lost <- e
		}
	}
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	defer s.close(nil)
	locked := func(fn func()) {
		s.mu.Lock()
		defer s.mu.Unlock()
		fn()
	}
	locked(func() {
		s.putLocked("", &wirePut{Jobs: []putJob{{"j", json.RawMessage(`1`)}}}, s.now())
		s.beatLocked("a", &workerBeat{Name: "a", Width: 1})
	})
	e := s.jobs["j"]
	has := func(worker string) {
		require.Eventually(t, func() (yes bool) {
			locked(func() { yes = e.rec.Worker == worker })
			return yes
		}, time.Minute, time.Millisecond)
	}
	has("a")
	locked(func() { s.beatLocked("a", &workerBeat{Bye: true}) })
	has("")
	require.Equal(t, 0, e.rec.Lost)
	require.Equal(t, 0, e.rec.Attempts)
	require.Empty(t, lost)
	locked(func() { s.beatLocked("b", &workerBeat{Name: "b", Width: 1}) })
	has("b")
	locked(func() { s.workers["b"].beat = time.Now().Add(-time.Hour) })
	s.tick()
	has("")
	require.Equal(t, 1, e.rec.Lost)
	got := <-lost
	require.Equal(t, Event{Kind: JobLost, Job: "j", Process: "b", Term: s.term.Epoch}, Event{Kind: got.Kind, Job: got.Job, Process: got.Process, Term: got.Term})
}

// Many candidates at once: the terms follow each other, and the last one
// serves.
func TestCandidatesTakeOverOneAfterTheOther(t *testing.T) {
	servers := natstest.Start(t, nil)
	terms := make(chan term, 5)
	for range 5 {
		n := candidate(t, servers.Connect(t), "many")
		go func() {
			for {
				s, err := n.takeOver(n.ctx)
				if err == nil {
					terms <- s.term
					return
				}
				if !errors.Is(err, errOvertaken) {
					t.Error(err)
					return
				}
			}
		}()
	}
	seen := map[uint64]bool{}
	for range 5 {
		seen[(<-terms).Epoch] = true
	}
	require.Len(t, seen, 5, "each term has its own number")
}

// The parts of a snapshot fit their messages, whatever takes the room in a
// record: keys, errors, or the processes that wait.
func TestPartsOfASnapshotFit(t *testing.T) {
	servers := natstest.Start(t, nil)
	n := candidate(t, servers.Connect(t), "parts")
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	commit := func() {
		for more := true; more; {
			more, err = s.commit()
			require.NoError(t, err)
		}
	}
	for i := range 300 {
		s.mu.Lock()
		s.putLocked("p", &wirePut{Jobs: []putJob{{"j" + strconv.Itoa(i), json.RawMessage("1")}}, Options: putFlags{
			After: time.Hour, Key: strconv.Itoa(i) + strings.Repeat("<", 2000),
		}}, s.now())
		s.mu.Unlock()
	}
	commit()
	for _, e := range s.jobs {
		require.LessOrEqual(t, len(encode(&e.rec)), e.rec.room())
	}
	s.since = 1_000_000
	commit()
	require.Zero(t, s.since/1000, "there is a snapshot")
	require.Nil(t, s.snapshot)
}

// Whatever happens, the journal adds up to what the scheduler has in memory,
// with and without snapshots.
func TestTheJournalAddsUpToTheState(t *testing.T) {
	defer func(n int) { snapshotAfter = n }(snapshotAfter)
	snapshotAfter = 40
	servers := natstest.Start(t, nil)
	n := candidate(t, servers.Connect(t), "sum")
	n.maxBatch = 4000 // several parts
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	commit := func() {
		for more := true; more; {
			more, err = s.commit()
			require.NoError(t, err)
		}
	}
	for i := range 600 {
		s.mu.Lock()
		some := func() *entry {
			for _, e := range s.jobs {
				return e
			}
			return nil
		}
		e := some()
		switch k := rnd.IntN(13); {
		case k < 4 || e == nil:
			s.putLocked("p", &wirePut{Jobs: []putJob{{"j" + strconv.Itoa(i), json.RawMessage(strconv.Itoa(i))}}, Options: putFlags{
				Priority: rnd.IntN(3), After: time.Duration(rnd.IntN(2)) * time.Hour, Held: rnd.IntN(8) == 0,
				Key: []string{"", "", "a", "b"}[rnd.IntN(4)], Again: rnd.IntN(2) == 0, Group: []string{"", "g"}[rnd.IntN(2)],
			}}, s.now())
		case k < 6:
			s.endLocked(e, &outcome{State: []string{outFinished, outFailed, outCanceled}[rnd.IntN(3)]}, false, false)
			if e.w != nil {
				s.endAttemptLocked(e, e.rec.token(), -1)
			}
		case k == 6:
			s.steerLocked(&request{Op: opPrio, ID: e.rec.ID, N: rnd.IntN(5)})
		case k == 7:
			s.steerLocked(&request{Op: opRelease, ID: e.rec.ID})
		case k == 8:
			s.configureLocked(&request{Op: opWidth, N: rnd.IntN(5)})
		case k == 9:
			s.configureLocked(&request{Op: opGroup, Key: "g" + strconv.Itoa(rnd.IntN(3)), Limit: &twill.GroupLimit{Width: 1 + rnd.IntN(3)}})
		case k == 10:
			s.beatLocked("w", &workerBeat{Name: "w", Width: rnd.IntN(4)})
		case k == 11:
			for tok := range s.attempts {
				s.mu.Unlock()
				s.returned("w", []token{tok, tok})
				s.mu.Lock()
				break
			}
		default:
			for tok, e := range s.attempts {
				s.doneLocked(&doneReport{Token: tok, Again: true, Counts: true, After: time.Hour, Error: &failure{Text: "failed " + e.rec.ID}})
				break
			}
		}
		checkSlotsLocked(t, s)
		s.mu.Unlock()
		if rnd.IntN(5) == 0 {
			commit()
		}
	}
	s.mu.Lock()
	require.NoError(t, s.rq.SetWidth(0)) // no call begins any longer
	s.mu.Unlock()
	require.Eventually(t, func() bool {
		commit()
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.items) == 0
	}, 20*time.Second, 10*time.Millisecond)

	info, err := n.st.info(t.Context(), n.st.journal())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err = n.st.info(t.Context(), n.st.journal())
		return err == nil && info.State.First > 1
	}, 20*time.Second, 10*time.Millisecond, "a snapshot was written, and what was before it is gone")
	j, _ := journalOf(t, n)
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Equal(t, s.counters, j.counters)
	require.Equal(t, s.order, j.order)
	require.JSONEq(t, string(encode(s.config)), string(encode(j.config)))
	require.Len(t, j.jobs, len(s.jobs))
	for id, e := range s.jobs {
		require.JSONEq(t, string(encode(e.rec)), string(encode(j.jobs[id])), id)
	}
}

// checkSlotsLocked compares the numbers of slots with the attempts.
func checkSlotsLocked(t *testing.T, s *scheduler) {
	running, storing := map[*workerState]int{}, map[*workerState]int{}
	for _, e := range s.attempts {
		if e.free {
			storing[e.w]++
		} else {
			running[e.w]++
		}
	}
	capacity, all := 0, 0
	for _, w := range s.workers {
		require.Equal(t, running[w], w.running)
		require.Equal(t, storing[w], w.storing)
		capacity += w.slots()
		all += w.storing
	}
	require.Equal(t, capacity, s.capacity)
	require.Equal(t, all, s.storing)
	require.Equal(t, min(s.configuredWidth(), capacity+all), s.width)
}

// A process does not schedule on a journal of which messages are missing.
func TestADamagedJournalIsRefused(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, n *node, s *scheduler){
		"a message is missing": func(t *testing.T, n *node, s *scheduler) {
			require.NoError(t, n.st.call(t.Context(), "STREAM.MSG.DELETE", n.st.journal(), bySeq{s.seq - 1}, &struct{}{}))
		},
		"the beginning is missing": func(t *testing.T, n *node, s *scheduler) {
			require.NoError(t, n.st.purge(t.Context(), n.st.journal(), s.seq-1))
		},
		"all is missing": func(t *testing.T, n *node, s *scheduler) {
			require.NoError(t, n.st.call(t.Context(), "STREAM.PURGE", n.st.journal(), nil, &struct{}{}))
		},
		"a message is not one of a scheduler": func(t *testing.T, n *node, s *scheduler) {
			_, err := n.st.publish(t.Context(), n.st.journal(), n.st.journalSubject(), []byte(`{"v":1,"number":99}`), nil)
			require.NoError(t, err)
		},
		"it is shorter than what was announced": func(t *testing.T, n *node, s *scheduler) {
			n.term, n.journalSeq = s.term, s.seq+1
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := candidate(t, natstest.Start(t, nil).Connect(t), "damaged")
			s, err := n.takeOver(t.Context())
			require.NoError(t, err)
			for i := range 5 {
				s.mu.Lock()
				s.putLocked("", &wirePut{Jobs: []putJob{{fmt.Sprint("j", i), json.RawMessage(`1`)}}}, s.now())
				s.mu.Unlock()
				_, err = s.commit()
				require.NoError(t, err)
			}
			damage(t, n, s)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err = n.takeOver(ctx)
			require.ErrorIs(t, err, ErrJournal)
		})
	}
}
