package jetstream

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// A worker that was cut off for less than a lease has ended its calls, and the
// scheduler still counts on them: the worker reports their ends until that is
// confirmed, however often the report is lost.
func TestTheEndOfALostAttemptIsReported(t *testing.T) {
	t.Parallel()
	conn := natstest.Start(t, nil).Connect(t)
	n := candidate(t, conn, "lost")
	n.worker = newWorker(n, 1, func(ctx context.Context, _ json.RawMessage) (json.RawMessage, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
	w := n.worker
	tok := token{"J", 3}
	require.False(t, w.beat(), "there is no scheduler")
	w.assign(&assignment{Token: tok, Beat: w.number})
	w.mu.Lock()
	at := w.attempts[tok]
	require.NotNil(t, at)
	at.lost = true // as watch does
	at.cancel(ErrLost)
	w.mu.Unlock()
	over := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return at.over
	}
	require.Eventually(t, over, time.Minute, time.Millisecond)
	requests := make(chan request, 10)
	_, err := conn.Subscribe(n.st.askSubject(), func(m *nats.Msg) {
		var r request
		if json.Unmarshal(m.Data, &r) == nil && r.Op == opBeat {
			requests <- r
		}
		if len(requests) == 2 { // the answer to the first one is lost
			_ = m.Respond(encode(reply{Version: wireVersion, Term: term{1, 1}, Known: []token{tok}}))
		}
	})
	require.NoError(t, err)
	require.False(t, w.beat())
	require.Eventually(t, w.beat, time.Minute, time.Millisecond)
	for range 2 {
		r := <-requests
		require.Empty(t, r.Worker.Running)
		require.Equal(t, []doneReport{{Token: tok, Back: true}}, r.Worker.Done)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	require.Empty(t, w.attempts)
}

// An outcome whose write is not answered is found in the stream, and the job
// ends with it: it is neither stored twice nor run twice.
func TestAnOutcomeWhoseAnswerIsLostIsFound(t *testing.T) {
	t.Parallel()
	conn := natstest.Start(t, nil).Connect(t)
	n := candidate(t, conn, "answers")
	n.candidate = true
	var calls atomic.Int32
	n.worker = newWorker(n, 4, func(context.Context, json.RawMessage) (json.RawMessage, error) {
		calls.Add(1)
		return json.RawMessage(`2`), nil
	})
	outcomes := make(chan *outcome, 10)
	n.receive = func(m *message) {
		for _, o := range m.Outcomes {
			outcomes <- o
		}
	}
	require.NoError(t, n.start(t.Context()))
	for _, sub := range n.subs {
		if strings.HasPrefix(sub.Subject, n.worker.answers) {
			require.NoError(t, sub.Unsubscribe())
		}
	}
	const jobs = 3
	puts := &wirePut{}
	for i := range jobs {
		puts.Jobs = append(puts.Jobs, putJob{"J" + strconv.Itoa(i), json.RawMessage(`1`)})
	}
	data := putData(n.id, []*waitingPut{{data: encode(puts)}}, false)
	_, err := n.st.publish(t.Context(), n.st.inbox(), n.st.inboxSubject(), data, nil)
	require.NoError(t, err)
	for range jobs {
		select {
		case o := <-outcomes:
			require.Equal(t, outFinished, o.State)
		case <-time.After(time.Minute):
			require.FailNow(t, "a job has not ended")
		}
	}
	require.EqualValues(t, jobs, calls.Load())
	info, err := n.st.info(t.Context(), n.st.outcomes())
	require.NoError(t, err)
	require.EqualValues(t, jobs, info.State.Last)
	n.worker.mu.Lock()
	defer n.worker.mu.Unlock()
	require.Empty(t, n.worker.storing)
}
