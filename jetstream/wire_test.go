package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// vectors are one of each message, as testdata/wire.json has them.
func vectors() map[string]any {
	t := term{Journal: 1764400000000000000, Epoch: 17}
	tok := token{ID: "P1-4", Number: 2}
	width := 8
	rec := record{
		ID: "P1-4", Arg: json.RawMessage(`{"to":"+31"}`), Priority: 5, Key: "k", Group: "g", Order: 12, Queued: 1764400000000000001,
		Due: 1764400000000000002, Expires: 1764400000000000003, Started: 1764400000000000004, Deadline: 1764400000000000005, Timeout: time.Minute,
		Held: true, Follows: true, Attempts: 1, HandOuts: 2, Lost: 1, Worker: "W1", Errs: []*failure{{Text: "no route"}}, From: "P1", Watch: []string{"P2"},
	}
	done := doneReport{Token: tok, Stored: outFailed, Seq: 9, Error: &failure{Text: "no route"}, Notified: true}
	return map[string]any{
		"put": &putMessage{Version: 1, From: "P1", Again: true, Puts: []wirePut{
			{Jobs: []putJob{{"P1-4", json.RawMessage(`{"to":"+31"}`)}}, Options: putFlags{
				Priority: 5, After: time.Second, Expires: time.Hour, Timeout: time.Minute, Key: "k", Group: "g", Refuse: true, Again: true, Debounce: true, Held: true,
			}},
			{Jobs: []putJob{{"P1-5", json.RawMessage(`1`)}, {"P1-6", json.RawMessage(`2`)}}},
		}},
		"batch":         &batch{Version: 1, Number: 3, Nonce: "N", Time: 1764400000000000006, Inbox: 4, Made: 1764400000000000000, Effects: []json.RawMessage{encode(effect{End: &endEvent{"P1-4", twill.JobFinished}})}},
		"batch.epoch":   &batch{Version: 1, Number: 2, Nonce: "N", Epoch: &epoch{Process: "W1", Name: "host/1"}},
		"batch.part":    &batch{Version: 1, Number: 4, Nonce: "N", Part: &part{Index: 0, Last: true, Jobs: []*record{&rec}, Order: 12, Inbox: 4, Config: config{Width: &width, Paused: true, Groups: map[string]twill.GroupLimit{"g": {Width: 1}}}, Counters: counters{Put: 12}}},
		"effect.put":    &effect{Put: &rec},
		"effect.change": &effect{Change: &record{ID: "P1-4", Order: 12, HandOuts: 2, Attempts: 1, Worker: "W1"}},
		"effect.config": &effect{Config: &config{Width: &width, Rate: &rateConfig{PerSecond: 2.5, Burst: 10}}},
		"events": &eventsMessage{Version: 1, Term: t, First: 40, Events: []wireEvent{
			{Kind: twill.EventStarted, Job: "P1-4", State: twill.JobUnderway, Priority: 5, Worker: "host/1", Width: 8},
			{Kind: twill.EventRetry, Job: "P1-4", Priority: 5, Width: 8, Error: &failure{Text: "no route"}},
		}},
		"outcome.large":    &outcome{Version: 1, ID: "P1-6", State: outFailed, Error: &failure{Kind: "too large", Text: "result", Size: 2000000, Max: 1048576}, By: "W1", Nonce: "N"},
		"request.rate":     &request{Version: 1, Op: opRate, From: "P1", Rate: &rateConfig{PerSecond: 2.5, Burst: 10}},
		"outcome":          &outcome{Version: 1, ID: "P1-4", State: outFinished, Value: json.RawMessage(`"sent"`), Attempt: 2, Attempts: 1, By: "W1", Nonce: "N"},
		"outcome.failed":   &outcome{Version: 1, ID: "P1-4", State: outFailed, Error: &failure{Kind: "retry", Attempts: 2, Elapsed: time.Second, Cause: &failure{Kind: "exhausted"}, Errs: []*failure{{Text: "no route"}, {Kind: "is deadline", Text: "slow: context deadline exceeded"}}}, By: "W1", Nonce: "N"},
		"outcome.joined":   &outcome{Version: 1, ID: "P1-5", State: outJoined, To: "P1-4", By: "W1", Nonce: "N"},
		"request.beat":     &request{Version: 1, Op: opBeat, From: "W1", Worker: &workerBeat{Number: 7, Name: "host/1", Program: "v1", Width: 4, Running: []token{tok}, Done: []doneReport{done}}},
		"request.done":     &request{Version: 1, Op: opDone, From: "W1", Done: []doneReport{{Token: tok, Again: true, Counts: true, After: time.Second, Error: &failure{Text: "no route"}}}},
		"request.ended":    &request{Version: 1, Op: opEnded, From: "P1", ID: "P1-4", State: outCanceled, Inbox: 4, Made: 1764400000000000000},
		"reply":            &reply{Version: 1, Term: t, Known: []token{tok}, Lost: []token{tok}},
		"announcement":     &announcement{Version: 1, Term: t, Name: "host/1", Process: "W1", Journal: 40},
		"message.jobs":     &message{Version: 1, Term: t, Jobs: []*assignment{{Token: tok, Beat: 7, Arg: json.RawMessage(`{"to":"+31"}`), Attempts: 1, Left: time.Minute, Timeout: time.Minute, From: "P1"}}},
		"message.cancel":   &message{Version: 1, Term: t, Cancel: []token{tok}},
		"message.known":    &message{Version: 1, Term: t, Known: []token{tok}},
		"message.outcomes": &message{Version: 1, Outcomes: []*outcome{{Version: 1, ID: "P1-4", State: outFinished, Value: json.RawMessage(`"sent"`), Attempt: 2, Attempts: 1, By: "W1", Nonce: "N"}}},
		"message.ended":    &message{Version: 1, Term: t, Ended: []string{"P1-4"}},
		"message.taken":    &message{Version: 1, Term: t, Taken: []string{"P1-4"}},
		"message.skipped":  &message{Version: 1, Term: t, Skipped: []skipped{{Seq: 7, Error: &failure{Text: "jetstream: message on twill.q.in: unexpected end of JSON input"}}}},
		"outcome.refused":  &outcome{Version: 1, ID: "a b", State: outRefused, Error: &failure{Text: "jetstream: job id \"a b\" is not a name of at most 128 letters, digits, - and _"}, By: "W1", Nonce: "N"},
		"reply.status":     &reply{Version: 1, Term: t, Gone: []string{"P1-4", "a b"}, Invalid: []string{"a b"}, Inbox: 4, Created: 1764400000000000000},
	}
}

// The wire format is that of the vectors: a change of a name or a type breaks
// programs in other languages. TWILL_UPDATE=1 writes the file.
func TestWireVectors(t *testing.T) {
	got := map[string]json.RawMessage{}
	for name, v := range vectors() {
		got[name] = encode(v)
	}
	data, err := json.MarshalIndent(got, "", "\t")
	require.NoError(t, err)
	data = append(data, '\n')
	const file = "testdata/wire.json"
	if os.Getenv("TWILL_UPDATE") != "" {
		require.NoError(t, os.WriteFile(file, data, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(data))
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(want, &all))
	for name, v := range vectors() {
		d := json.NewDecoder(bytes.NewReader(all[name]))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(v), name)
		require.JSONEq(t, string(all[name]), string(encode(v)), name)
	}
}

func TestErrorsKeepWhatIsKnownOfThem(t *testing.T) {
	own := errors.New("no route")
	for _, err := range []error{
		own, twill.ErrExpired, twill.ErrGoexit, ErrLost, &TooLargeError{What: "result", Size: 7, Max: 5}, &twill.TimeoutError{After: time.Second, Err: own},
		&twill.CanceledError{Cause: own}, &twill.CanceledError{}, &twill.PanicError{Value: "boom"},
		&twill.RetryError{Reason: twill.ErrRetriesExhausted, Attempts: 2, Elapsed: time.Second, Errs: []error{own, own}},
		errors.Join(own, context.DeadlineExceeded),
	} {
		data := encode(encodeError(err))
		var f failure
		require.NoError(t, json.Unmarshal(data, &f))
		got := decodeError(&f)
		require.Equal(t, err.Error(), got.Error())
		for _, target := range []error{twill.ErrExpired, twill.ErrGoexit, ErrLost, context.DeadlineExceeded, twill.ErrCanceled, twill.ErrRetriesExhausted, ErrTooLarge} {
			require.Equal(t, errors.Is(err, target), errors.Is(got, target), "%v is %v", err, target)
		}
	}
	require.NoError(t, decodeError(encodeError(nil)))
	deep := error(own)
	for range 100 {
		deep = &twill.TimeoutError{Err: deep}
	}
	require.Less(t, len(encode(encodeError(deep))), 2*maxText)
	require.Contains(t, decodeError(encodeError(panicky{})).Error(), "panics")
}

type panicky struct{}

func (panicky) Error() string { panic("no text") }

// A program that has only this document and a client of NATS puts a job and
// runs it.
func TestAProgramInAnotherLanguage(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	n := candidate(t, servers.Connect(t), "other") // it schedules, and runs nothing
	n.candidate = true
	require.NoError(t, n.start(t.Context()))
	conn := servers.Connect(t)
	to, err := conn.SubscribeSync("twill.other.to.LANG")
	require.NoError(t, err)
	ask := func(request string) (r map[string]any) {
		require.Eventually(t, func() bool {
			m, err := conn.Request("twill.other.ask", []byte(request), time.Second)
			return err == nil && json.Unmarshal(m.Data, &r) == nil
		}, time.Minute, time.Millisecond)
		require.NotContains(t, r, "error")
		return r
	}
	store := func(subject, data string, header nats.Header) {
		m, err := conn.RequestMsg(&nats.Msg{Subject: subject, Data: []byte(data), Header: header}, 5*time.Second)
		require.NoError(t, err)
		require.NotContains(t, string(m.Data), "error")
	}
	store("twill.other.in", `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"LANG-1","arg":"hello"}],"options":{"priority":3}}],"unknown":"is ignored"}`, nil)
	ask(`{"v":1,"op":"beat","from":"LANG","worker":{"number":1,"name":"a script","width":1}}`)
	next := func(field string) map[string]any {
		for {
			m, err := to.NextMsg(time.Minute)
			require.NoError(t, err)
			var msg map[string]any
			require.NoError(t, json.Unmarshal(m.Data, &msg))
			if msg[field] != nil {
				return msg
			}
		}
	}
	job := next("jobs")["jobs"].([]any)[0].(map[string]any)
	require.Equal(t, "hello", job["arg"])
	require.Equal(t, map[string]any{"id": "LANG-1", "n": 1.0}, job["token"])
	store("twill.other.out.LANG-1", `{"v":1,"id":"LANG-1","state":"finished","value":"hello you","by":"LANG","nonce":"1"}`,
		nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}})
	ask(`{"v":1,"op":"done","from":"LANG","done":[{"token":{"id":"LANG-1","n":1},"stored":"finished"}]}`)
	require.Equal(t, []any{"LANG-1"}, next("ended")["ended"])
	gone := ask(`{"v":1,"op":"status","from":"LANG","ids":["LANG-1"]}`)
	require.Equal(t, []any{"LANG-1"}, gone["gone"])
}

// A message of a later version is reported and skipped, and a request of one is
// answered so.
func TestLaterVersionsAreReported(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	reported := make(chan error, 10)
	o, err := (&Options{Lease: 2 * time.Second, OnEvent: func(e Event) {
		if e.Kind == Trouble {
			reported <- e.Err
		}
	}}).filled()
	require.NoError(t, err)
	n := candidate(t, servers.Connect(t), "later")
	n.opts = o
	n.candidate = true
	require.NoError(t, n.start(t.Context()))
	_, err = n.st.publish(t.Context(), n.st.inbox(), n.st.inboxSubject(), []byte(`{"v":2,"puts":[{"jobs":[{"id":"x","arg":1}]}]}`), nil)
	require.NoError(t, err)
	seq, err := n.st.publish(t.Context(), n.st.inbox(), n.st.inboxSubject(), []byte(`{"v":1,"puts":[{"jobs":[{"id":"y","arg":1}]}]}`), nil)
	require.NoError(t, err)
	n.inbox = seq
	var wire *WireError
	require.ErrorAs(t, <-reported, &wire)
	require.Equal(t, 2, wire.Version)
	rep, err := n.ask(t.Context(), &request{Op: opStatus, IDs: []string{"x", "y"}})
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, rep.Gone)
	rep, err = n.askOnce(t.Context(), []byte(`{"v":2,"op":"ping"}`))
	require.NoError(t, err)
	require.Equal(t, codeVersion, rep.Error)
}
