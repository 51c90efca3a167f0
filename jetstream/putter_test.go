package jetstream

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// fakeInbox answers the messages of a putter in place of a stream.
type fakeInbox struct {
	*putter

	mu  sync.Mutex
	all []fakeMessage
}

type fakeMessage struct {
	putMessage
	id string
}

// jobs are the ids of the jobs of m.
func (m *fakeMessage) jobs() (ids []string) {
	for _, p := range m.Puts {
		for _, j := range p.Jobs {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

const accepted = "stored" // the answer of a server that has stored the message

// newFakeInbox gives messages, the first of which is 1, the answers that answer
// returns, if any. A request lasts a sixth of the lease.
func newFakeInbox(t *testing.T, lease time.Duration, answer func(n int, m *fakeMessage) string) *fakeInbox {
	conn := natstest.Start(t, nil).Connect(t)
	o, err := (&Options{Lease: lease}).filled()
	require.NoError(t, err)
	st, err := newStreams(conn, o, "puts")
	require.NoError(t, err)
	in := &fakeInbox{putter: newNode(conn, st, o).putter}
	t.Cleanup(func() { in.n.close(nil) })
	_, err = conn.Subscribe(st.inboxSubject(), func(m *nats.Msg) {
		got := fakeMessage{id: m.Header.Get(headerMessageID)}
		if json.Unmarshal(m.Data, &got.putMessage) != nil {
			return
		}
		in.mu.Lock()
		in.all = append(in.all, got)
		n := len(in.all)
		in.mu.Unlock()
		switch a := answer(n, &got); a {
		case "":
		case accepted:
			_ = m.Respond(fmt.Appendf(nil, `{"stream":%q,"seq":%d}`, st.inbox(), n))
		default:
			_ = m.Respond([]byte(a))
		}
	})
	require.NoError(t, err)
	return in
}

func (in *fakeInbox) messages() []fakeMessage {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.all)
}

type putResult struct {
	seq uint64
	err error
}

// begin puts a job of that id behind those of fill, and waits until n puts wait
// for a message.
func (in *fakeInbox) begin(t *testing.T, id string, d time.Duration, n int) chan putResult {
	done := in.start(id, d)
	in.until(t, n, maxMessages)
	return done
}

// until waits until n puts wait for a message, and some messages are on their
// way.
func (in *fakeInbox) until(t *testing.T, n, messages int) {
	require.Eventually(t, func() bool {
		in.putter.mu.Lock()
		defer in.putter.mu.Unlock()
		return len(in.waiting) == n && in.putter.messages == messages
	}, time.Minute, time.Millisecond)
}

// start puts a job of that id.
func (in *fakeInbox) start(id string, d time.Duration) chan putResult {
	done := make(chan putResult, 1)
	ctx, cancel := context.WithTimeout(in.n.ctx, d)
	go func() {
		defer cancel()
		seq, err := in.put(ctx, &wirePut{Jobs: []putJob{{id, json.RawMessage(`"` + id + `"`)}}}, false)
		done <- putResult{seq, err}
	}()
	return done
}

// fill sends as many messages as are on their way at a time.
func (in *fakeInbox) fill(t *testing.T) {
	for i := range maxMessages {
		in.start(fmt.Sprint("first ", i), time.Minute)
		in.until(t, 0, i+1)
	}
}

// Puts that are made while messages are on their way go together.
func TestPutsShareMessages(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	in := newFakeInbox(t, time.Minute, func(int, *fakeMessage) string {
		<-let
		return accepted
	})
	in.fill(t)
	var ids []string
	var done []chan putResult
	for i := range 50 {
		ids = append(ids, fmt.Sprintf("job %02d", i))
		done = append(done, in.begin(t, ids[i], time.Minute, i+1))
	}
	close(let)
	for _, d := range done {
		require.Equal(t, putResult{seq: maxMessages + 1}, <-d)
	}
	all := in.messages()
	require.Len(t, all, maxMessages+1)
	require.Equal(t, ids, all[maxMessages].jobs())
	require.NotEqual(t, all[0].id, all[maxMessages].id)
	require.Equal(t, uint64(maxMessages+1), in.n.inbox)
}

// If a message with several puts is refused, each of them is tried alone, as
// one of them may be the reason, or the size of all.
func TestARefusedMessageIsTriedInParts(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	in := newFakeInbox(t, time.Minute, func(n int, m *fakeMessage) string {
		<-let
		switch {
		case n > maxMessages && len(m.Puts) > 1, m.jobs()[0] == "large":
			return `{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`
		case m.jobs()[0] == "wrong":
			return `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`
		}
		return accepted
	})
	in.fill(t)
	small, large, wrong, last := in.begin(t, "small", time.Minute, 1), in.begin(t, "large", time.Minute, 2), in.begin(t, "wrong", time.Minute, 3), in.begin(t, "last", time.Minute, 4)
	close(let)
	require.NoError(t, (<-small).err)
	require.ErrorIs(t, (<-large).err, ErrTooLarge)
	require.ErrorIs(t, (<-wrong).err, ErrFull)
	require.NoError(t, (<-last).err)
	ids := map[string]bool{}
	for _, m := range in.messages() {
		require.False(t, ids[m.id], "a message with other puts has an id of its own")
		ids[m.id] = true
	}
}

// A message whose answer is lost is sent again, and says so.
func TestAMessageWhoseAnswerIsLostIsSentAgain(t *testing.T) {
	t.Parallel()
	in := newFakeInbox(t, time.Second, func(n int, _ *fakeMessage) string {
		if n < 3 {
			return ""
		}
		return accepted
	})
	require.Equal(t, putResult{seq: 3}, <-in.start("job", time.Minute))
	all := in.messages()
	require.Len(t, all, 3)
	require.Equal(t, []bool{false, true, true}, []bool{all[0].Again, all[1].Again, all[2].Again})
	require.Equal(t, []string{all[0].id, all[0].id}, []string{all[1].id, all[2].id})
}

// A put whose time is over while its message is on its way is unconfirmed. The
// others of that message go on, in one with another id: the server would take
// it for the same as that before.
func TestAPutWithLessTimeLeavesTheOthers(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	in := newFakeInbox(t, time.Second, func(n int, m *fakeMessage) string {
		<-let
		if slices.Contains(m.jobs(), "short") {
			return ""
		}
		return accepted
	})
	in.fill(t)
	short, long := in.begin(t, "short", 700*time.Millisecond, 1), in.begin(t, "long", time.Minute, 2)
	close(let)
	err := (<-short).err
	require.ErrorIs(t, err, ErrUnconfirmed)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, (<-long).err)
	var with, without fakeMessage
	for _, m := range in.messages() {
		switch strings.Join(m.jobs(), " ") {
		case "short long":
			with = m
		case "long":
			without = m
		}
	}
	require.NotEmpty(t, with.id)
	require.NotEmpty(t, without.id)
	require.NotEqual(t, with.id, without.id)
	require.True(t, without.Again)
}

// When the connection is closed while a message is on its way, the put may be
// stored. Later puts are not.
func TestAPutWhoseConnectionIsClosedIsUnconfirmed(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 1)
	in := newFakeInbox(t, time.Minute, func(int, *fakeMessage) string {
		came <- struct{}{}
		return ""
	})
	put := in.start("job", time.Minute)
	<-came
	in.n.conn.Close()
	err := (<-put).err
	require.ErrorIs(t, err, ErrUnconfirmed)
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	err = (<-in.start("later", time.Minute)).err
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
	require.NotErrorIs(t, err, ErrUnconfirmed)
}

// A put whose time is over before its message is sent was not put.
func TestAPutThatIsNotSentIsNotPut(t *testing.T) {
	t.Parallel()
	let := make(chan struct{})
	in := newFakeInbox(t, time.Minute, func(int, *fakeMessage) string {
		<-let
		return accepted
	})
	in.fill(t)
	late := in.begin(t, "late", 50*time.Millisecond, 1)
	err := (<-late).err
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, ErrUnconfirmed)
	waits := in.begin(t, "waits", time.Minute, 1)
	in.n.end(ErrNoScheduler) // the process ends
	require.ErrorIs(t, (<-waits).err, ErrNoScheduler)
	close(let)
	for _, m := range in.messages() {
		require.NotContains(t, m.jobs(), "late")
		require.NotContains(t, m.jobs(), "waits")
	}
}

// Of jobs that may have been put before, those that have outcomes do not run
// again.
func TestRepeatedPutsThatHaveOutcomesDoNotRun(t *testing.T) {
	t.Parallel()
	n := candidate(t, natstest.Start(t, nil).Connect(t), "repeated")
	s, err := n.takeOver(t.Context())
	require.NoError(t, err)
	defer s.close(nil)
	var puts []*waitingPut
	for first := range 4 {
		var p wirePut
		for i := range 50 {
			id := fmt.Sprint("j", first, "-", i)
			p.Jobs = append(p.Jobs, putJob{id, json.RawMessage(`1`)})
			if (first+i)%2 == 0 {
				_, err := n.st.decide(t.Context(), &outcome{Version: wireVersion, ID: id, State: outFinished, Value: json.RawMessage(`2`)})
				require.NoError(t, err)
			}
		}
		puts = append(puts, &waitingPut{data: encode(p)})
	}
	s.takePuts(1, time.Now(), putData("p", puts, true))
	require.Len(t, s.jobs, 100)
	for first := range 4 {
		for i := range 50 {
			require.Equal(t, (first+i)%2 == 1, s.jobs[fmt.Sprint("j", first, "-", i)] != nil)
		}
	}
	s.takePuts(2, time.Now(), putData("p", puts, false)) // those that are known are not put twice
	require.Len(t, s.jobs, 200)
}

// What is merged says the same as what it was merged from.
func TestMergedChangesSayTheSame(t *testing.T) {
	rec := func(id, arg string, n int) *record {
		r := &record{ID: id, Attempts: n}
		if arg != "" {
			r.Arg = json.RawMessage(arg)
		}
		return r
	}
	items := func() []item {
		return []item{
			{effect: &effect{Put: rec("a", `1`, 0)}}, {inbox: 3}, {effect: &effect{Change: rec("b", "", 4)}}, {effect: &effect{Change: rec("a", "", 1)}},
			{effect: &effect{Change: rec("b", `2`, 5)}}, {effect: &effect{Retry: true}}, {effect: &effect{Change: rec("b", "", 6)}},
			{effect: &effect{Change: rec("a", "", 2)}}, {effect: &effect{End: &endEvent{ID: "a"}}}, {effect: &effect{Put: rec("a", `3`, 0)}}, {effect: &effect{Change: rec("a", "", 7)}},
		}
	}
	state := func(items []item) (j journal, effects int) {
		j.jobs = map[string]*record{"b": rec("b", `0`, 3)}
		for _, it := range items {
			if it.effect != nil {
				effects++
				j.applyEffect(it.effect)
			}
		}
		return j, effects
	}
	plain, before := state(items())
	merged := items()
	mergeChanges(merged)
	got, after := state(merged)
	require.Equal(t, plain, got)
	require.Equal(t, 10, before)
	require.Equal(t, 5, after)
}

// A goroutine that has run a function runs the next one.
func TestGoroutinesAreKept(t *testing.T) {
	g := newGoroutines()
	for range 1000 {
		done := make(chan struct{})
		g.run(func() { close(done) })
		<-done
		require.Eventually(t, func() bool { return g.idle.Load() > 0 }, time.Minute, time.Microsecond)
	}
	require.Less(t, g.idle.Load(), int32(maxIdle))
	var wg sync.WaitGroup
	wg.Add(3 * maxIdle)
	for range 3 * maxIdle {
		g.run(func() {
			wg.Done()
			wg.Wait()
		})
	}
	wg.Wait()
	require.Eventually(t, func() bool { return g.idle.Load() == maxIdle }, time.Minute, time.Millisecond)
	g.close()
	g.close()
	done := make(chan struct{})
	g.run(func() { close(done) })
	<-done
}
