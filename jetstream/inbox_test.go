package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream/internal/natstest"
)

// foreign is a program in another language, beside a process that schedules and
// runs nothing.
type foreign struct {
	t       *testing.T
	n       *node
	conn    *nats.Conn
	to      *nats.Subscription
	trouble chan error
}

func newForeign(t *testing.T) *foreign {
	servers := natstest.Start(t, nil)
	f := &foreign{t: t, n: candidate(t, servers.Connect(t), "foreign"), conn: servers.Connect(t), trouble: make(chan error, 100)}
	f.n.opts.OnEvent = func(e Event) {
		if e.Kind == Trouble {
			if s := f.scheduler(); s != nil { // it may be asked
				s.mu.Lock()
				_ = s.config
				s.mu.Unlock()
			}
			f.trouble <- e.Err
		}
	}
	f.n.candidate = true
	require.NoError(t, f.n.start(t.Context()))
	var err error
	f.to, err = f.conn.SubscribeSync("twill.foreign.to.LANG")
	require.NoError(t, err)
	return f
}

func (f *foreign) scheduler() *scheduler {
	f.n.mu.Lock()
	defer f.n.mu.Unlock()
	return f.n.sched
}

// put publishes a message to the inbox.
func (f *foreign) put(data string) (seq uint64) {
	m, err := f.conn.Request("twill.foreign.in", []byte(data), time.Minute)
	require.NoError(f.t, err)
	seq, err = ackOf(m.Data, f.n.st.inbox())
	require.NoError(f.t, err)
	return seq
}

// ask makes a request that the scheduler answers.
func (f *foreign) ask(data string) (r reply) {
	require.Eventually(f.t, func() bool {
		m, err := f.conn.Request("twill.foreign.ask", []byte(data), time.Second)
		return err == nil && json.Unmarshal(m.Data, &r) == nil
	}, time.Minute, time.Millisecond)
	return r
}

// next waits for the next message that holds.
func (f *foreign) next(holds func(*message) bool) *message {
	for {
		m, err := f.to.NextMsg(time.Minute)
		require.NoError(f.t, err)
		var msg message
		require.NoError(f.t, json.Unmarshal(m.Data, &msg))
		if holds(&msg) {
			return &msg
		}
	}
}

// A put that cannot be carried out is refused: the program that has made it
// gets an error for each job, which is stored where the id can be one, and the
// puts beside it are carried out.
func TestAPutThatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	deep := strings.Repeat("[", 9_999) + strings.Repeat("]", 9_999)
	long := strings.Repeat("x", maxID+1)
	refused := 0
	for name, c := range map[string]struct {
		data   string
		stored []string // the ids of the refused puts
		sent   []string // the ids that have no outcomes
		puts   []string // the ids of the jobs
		text   string   // of the error
	}{
		"an id with a space":         {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"a b","arg":1}]},{"jobs":[{"id":"ok-1","arg":1}]}]}`, sent: []string{"a b"}, puts: []string{"ok-1"}, text: `job id "a b"`},
		"an id with a wildcard":      {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"a.>","arg":1}]}]}`, sent: []string{"a.>"}, text: `job id "a.>"`},
		"no id":                      {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"arg":1}]}]}`, sent: []string{""}, text: `job id ""`},
		"a long id":                  {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"` + long + `","arg":1}]}]}`, sent: []string{long}, text: "at most 128"},
		"one of several of a put":    {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"several-1","arg":1},{"id":"a*","arg":1}]}]}`, stored: []string{"several-1"}, sent: []string{"a*"}, text: `job id "a*"`},
		"a field of another type":    {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"type-1","arg":{"id":"no","puts":[[[{"id":"no"}]]]}},{"arg":1,"id":"type-2"}],"options":{"priority":"high"}}]}`, stored: []string{"type-1", "type-2"}, text: "priority"},
		"an argument nested deeply":  {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"deep-1","arg":` + deep + `}]}]}`, stored: []string{"deep-1"}, text: "depth"},
		"a later version":            {data: `{"v":2,"from":"LANG","puts":[{"jobs":[{"id":"later-1","arg":1}]}]}`, stored: []string{"later-1"}, text: "version 2"},
		"a message that is cut off":  {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"cut-1","arg":1},{"id":"cut-`, stored: []string{"cut-1"}, text: "unexpected end"},
		"an argument without room":   {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"large-1","arg":"` + strings.Repeat("x", f.n.maxArg) + `"}]}]}`, stored: []string{"large-1"}, text: "larger than the limit"},
		"a key without room":         {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"large-2","arg":1}],"options":{"key":"` + strings.Repeat("x", f.n.maxArg) + `"}}]}`, stored: []string{"large-2"}, text: "larger than the limit"},
		"a key that grows":           {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"large-4","arg":1}],"options":{"key":"` + strings.Repeat("<", f.n.maxArg/2) + `"}}]}`, stored: []string{"large-4"}, text: "larger than the limit"},
		"an argument that grows":     {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"large-5","arg":"` + strings.Repeat("<", f.n.maxArg/2) + `"}]}]}`, stored: []string{"large-5"}, text: "larger than the limit"},
		"nearly all of a message":    {data: `{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"large-3","arg":"` + strings.Repeat("x", int(f.conn.MaxPayload())-100) + `"}]}]}`, stored: []string{"large-3"}, text: "larger than the limit"},
		"a message that is no JSON":  {data: `put "hello"`, text: "invalid"},
		"a message without ids":      {data: `{"v":1,"from":"LANG","puts":"none"}`, text: "cannot unmarshal"},
		"a process id that is none":  {data: `{"v":1,"from":"a b","puts":[{"jobs":[{"id":"process-1","arg":1}]}]}`, stored: []string{"process-1"}, text: "process id"},
		"a process id of three dots": {data: `{"v":1,"from":"...","puts":[{"jobs":[{"id":"process-2","arg":1}]}]}`, stored: []string{"process-2"}, text: "process id"},
	} {
		ok := t.Run(name, func(t *testing.T) {
			seq := f.put(c.data)
			known := strings.Contains(c.data, `"from":"LANG"`)
			errs := map[string]error{}
			for known && len(errs) < len(c.stored)+len(c.sent) {
				for _, o := range f.next(func(m *message) bool { return m.Outcomes != nil }).Outcomes {
					require.Equal(t, outRefused, o.State)
					errs[o.ID] = decodeError(o.Error)
				}
			}
			for _, id := range append(c.stored, c.sent...) {
				if known {
					require.ErrorContains(t, errs[id], c.text, id)
				}
			}
			for _, id := range c.stored {
				require.Eventually(t, func() bool {
					o, err := f.n.st.outcome(t.Context(), id)
					return err == nil && o != nil && o.State == outRefused && strings.Contains(decodeError(o.Error).Error(), c.text)
				}, time.Minute, time.Millisecond)
			}
			n := len(c.stored) + len(c.sent)
			if n == 0 {
				n = 1
				if known {
					s := f.next(func(m *message) bool { return m.Skipped != nil }).Skipped
					require.Equal(t, seq, s[0].Seq)
					require.ErrorContains(t, decodeError(s[0].Error), c.text)
				}
			}
			refused += n
			ask := func(op string, ids []string) reply {
				return f.ask(fmt.Sprintf(`{"v":1,"op":%q,"from":"LANG","inbox":%d,"made":%d,"ids":%s}`, op, seq, f.n.made(), encode(ids)))
			}
			require.Equal(t, uint64(refused), ask(opStats, nil).Stats.Counters.Refused)
			status := ask(opStatus, append(append(c.stored, c.sent...), c.puts...))
			require.Len(t, status.Gone, len(c.stored)+len(c.sent))
			require.Equal(t, c.sent, status.Invalid)
			select {
			case err := <-f.trouble:
				var wire *WireError
				require.ErrorAs(t, err, &wire)
				require.ErrorContains(t, err, c.text)
			case <-time.After(time.Minute):
				t.Fatal("it is not reported")
			}
		})
		if !ok {
			return
		}
	}
	require.Equal(t, 1, f.ask(`{"v":1,"op":"stats","from":"LANG"}`).Stats.Pending, "what was put beside a refused put")
}

// A message that cannot be read does not refuse a job that is put already.
func TestAJobThatIsPutAgainUnreadablyStays(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.put(`{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"one","arg":1}]}]}`)
	seq := f.put(`{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"one","arg":1}],"options":7}]}`)
	status := f.ask(fmt.Sprintf(`{"v":1,"op":"status","from":"LANG","inbox":%d,"made":%d,"ids":["one"]}`, seq, f.n.made()))
	require.Empty(t, status.Gone)
	o, err := f.n.st.outcome(t.Context(), "one")
	require.NoError(t, err)
	require.Nil(t, o)
}

// A job whose id is twice in one put is put once.
func TestAnIDThatIsTwiceInAPut(t *testing.T) {
	t.Parallel()
	servers := natstest.Start(t, nil)
	q, err := NewQueue(t.Context(), servers.Connect(t), "twice", func(_ context.Context, n int) (int, error) { return n, nil }, nil)
	require.NoError(t, err)
	defer q.Close()
	m, err := servers.Connect(t).Request("twill.twice.in", []byte(`{"v":1,"from":"LANG","puts":[{"jobs":[{"id":"d","arg":1},{"id":"d","arg":2}]}]}`), time.Minute)
	require.NoError(t, err)
	_, err = ackOf(m.Data, q.n.st.inbox())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s := q.Stats()
		return s.Finished == 1 && s.Put == 1 && s.Underway+s.Pending == 0
	}, time.Minute, time.Millisecond)
	workers, _ := q.Workers()
	for _, w := range workers {
		require.Zero(t, w.Running)
	}
}

// A request that cannot be read, or has no valid id of a process, is answered
// with an error.
func TestARequestThatCannotBeReadIsAnswered(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	for _, data := range []string{
		`no JSON`, `{"v":1,"op":7}`, `{"v":1,"op":"stats","from":"a b"}`, `{"v":1,"op":"beat","worker":{"number":1,"width":1}}`,
	} {
		require.Equal(t, codeRequest, f.ask(data).Error, data)
	}
	require.Empty(t, f.ask(`{"v":1,"op":"stats","from":"LANG"}`).Stats.Workers)
}

// An outcome that a program has stored and that cannot be read is the outcome:
// the job has failed.
func TestAnOutcomeThatCannotBeReadFailsTheJob(t *testing.T) {
	t.Parallel()
	for _, data := range []string{`no JSON`, `{"v":1,"state":7}`, `{"v":1,"state":"done"}`, `{"v":1,"state":"failed"}`} {
		t.Run(data, func(t *testing.T) {
			t.Parallel()
			servers := natstest.Start(t, nil)
			called := make(chan struct{})
			q, err := NewQueue(t.Context(), servers.Connect(t), "outcome", func(ctx context.Context, _ int) (int, error) {
				close(called)
				<-ctx.Done()
				return 0, ctx.Err()
			}, &Options{Lease: 2 * time.Second})
			require.NoError(t, err)
			defer q.Close()
			job, err := q.Put(1, 0)
			require.NoError(t, err)
			<-called
			_, err = q.n.st.publish(t.Context(), q.n.st.outcomes(), q.n.st.outcomeSubject(job.ID()), []byte(data), createOnly)
			require.NoError(t, err)
			_, err = q.n.ask(t.Context(), &request{Op: opEnded, ID: job.ID(), State: outFailed})
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err = job.Await(ctx)
			require.ErrorContains(t, err, "outcome")
			require.Equal(t, twill.JobFailed, job.State())
		})
	}
}

// The key and the group count with the argument.
func TestAKeyWithoutRoomIsRefusedAtPut(t *testing.T) {
	t.Parallel()
	q, err := NewQueue[int, int](t.Context(), natstest.Start(t, nil).Connect(t), "key", nil, nil)
	require.NoError(t, err)
	defer q.Close()
	_, err = q.Put(1, 0, twill.JobOptions{Key: strings.Repeat("x", q.n.maxArg)})
	var large *TooLargeError
	require.True(t, errors.As(err, &large), err)
	require.Equal(t, TooLargeError{What: "argument", Size: q.n.maxArg + 1, Max: q.n.maxArg}, *large)
}
