package jetstream

import (
	"context"
	"encoding/json"
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
