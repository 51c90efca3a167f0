//go:build suites

package oracle_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
)

// The recordings of txRDQ: a program puts, cancels, moves and finishes jobs of
// one queue. Its trace records after each op what happened and the state of the
// queue. testdata/README.md has the format.
//
// Differences by design: a future of a Pause that is resumed before its jobs
// have ended is canceled with ErrResumed; the original's fires the next time no
// job is underway, if ever. The replay checks our behavior and adds the event
// of the original itself. CANCELLED is CANCELED here. Calls run on their own
// goroutines, so the events of several calls in one op are sorted in the order
// of dispatch before they are compared.

// rdqProgram is one line of the recordings.
type rdqProgram struct {
	Seed  int
	Width int
	Size  *int
	Ops   [][]any
	Trace [][]any
}

// rdqStep is the recorded effect of one op.
type rdqStep struct {
	events []string
	state  string
}

func (s rdqStep) String() string { return strings.Join(append(s.events, s.state), " ") }

// rdqRecorded is the number of programs in the project's own file.
const rdqRecorded = 1000

func TestOracleRDQ(t *testing.T) {
	_, own := oracleFolder()
	for _, file := range oracleFiles(t, "rdq") {
		t.Run(file.name, func(t *testing.T) {
			for i, line := range file.lines {
				var p rdqProgram
				require.NoError(t, json.Unmarshal(line, &p), "line %d", i+1)
				want := p.recorded()
				var got []rdqStep
				synctest.Test(t, func(t *testing.T) { got = p.replay(t) })
				for k := range want {
					if want[k].String() != got[k].String() {
						t.Fatalf("line %d, seed %d, op %d %v\nwant %v\ngot  %v\n\nall wanted:\n%v\nall got:\n%v",
							i+1, p.Seed, k, p.Ops[k], want[k], got[k], p.listing(want), p.listing(got))
					}
				}
			}
			t.Logf("%d programs replayed", len(file.lines))
			if own {
				require.Len(t, file.lines, rdqRecorded)
			}
		})
	}
}

func (p rdqProgram) listing(steps []rdqStep) string {
	var b strings.Builder
	for k, step := range steps {
		fmt.Fprintf(&b, "%3d %v: %v\n", k, p.Ops[k], step)
	}
	return b.String()
}

// recorded cuts the recorded trace into steps.
func (p rdqProgram) recorded() []rdqStep {
	steps := make([]rdqStep, len(p.Ops))
	k := -1
	for _, event := range p.Trace {
		switch event[0] {
		case "@":
			k = int(event[1].(float64))
		case "s":
			steps[k].state = rdqText(event...)
		default:
			steps[k].events = append(steps[k].events, rdqText(event...))
		}
	}
	return steps
}

// rdqText returns the text by which an entry of a trace is compared and shown.
func rdqText(entry ...any) string {
	text, err := json.Marshal(entry)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// rdqReplay is the replay of one program.
type rdqReplay struct {
	t        *testing.T
	q        *twill.ResizableDispatchQueue[int, int]
	kind     map[int]string // slow, ok or err
	finish   map[int]chan bool
	jobs     map[int]*twill.Job[int, int]
	priority map[int]int

	mu      sync.Mutex
	running int
	events  []rdqHappened
	resumed []int // pauses that failed with ErrResumed
}

// rdqHappened is one entry of our trace, with the keys by which it is sorted.
type rdqHappened struct {
	phase int // jobs that ran before, then jobs started in this op, then pauses, then stops
	order [3]int
	text  string
}

const (
	rdqBefore = iota
	rdqStarted
	rdqPaused
	rdqStopped
)

func (p rdqProgram) replay(t *testing.T) []rdqStep {
	r := &rdqReplay{
		t: t, kind: map[int]string{}, finish: map[int]chan bool{},
		jobs: map[int]*twill.Job[int, int]{}, priority: map[int]int{},
	}
	opts := &twill.DispatchOptions{Width: p.Width}
	if p.Size != nil {
		if opts.Size = *p.Size; opts.Size == 0 {
			opts.Size = -1
		}
	}
	r.q = twill.NewResizableDispatchQueue(r.call, opts)
	require.NoError(t, r.q.SetWidth(p.Width))
	var steps []rdqStep
	for _, op := range p.Ops {
		before := r.q.Underway()
		r.op(op)
		synctest.Wait()
		r.resupply()
		steps = append(steps, rdqStep{r.trace(op[0].(string), before), r.state()})
		r.events = nil
	}
	r.q.StopNow() // ends the calls that are still waiting
	synctest.Wait()
	return steps
}

// call is the function of the queue.
func (r *rdqReplay) call(ctx context.Context, j int) (int, error) {
	r.mu.Lock()
	r.running++
	r.mu.Unlock()
	r.happened(rdqStarted, j, "start", j)
	defer func() {
		r.mu.Lock()
		r.running--
		r.mu.Unlock()
	}()
	ok := r.kind[j] == "ok"
	if r.kind[j] == "slow" {
		select {
		case ok = <-r.finish[j]:
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if !ok {
		return 0, errors.New("failed on request")
	}
	return 100 + j, nil
}

func (r *rdqReplay) happened(phase, j int, entry ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, rdqHappened{phase, [3]int{r.priority[j], j, len(r.events)}, rdqText(entry...)})
}

func (r *rdqReplay) op(op []any) {
	arg := func(i int) int { return int(op[i].(float64)) }
	switch op[0] {
	case "put":
		r.put(arg(1), arg(2), op[3].(string))
	case "done":
		if j := r.jobs[arg(1)]; j != nil && j.State() == twill.JobUnderway {
			r.finish[arg(1)] <- op[2].(bool)
		}
	case "cancel":
		if j := r.jobs[arg(1)]; j != nil {
			j.Cancel(nil)
		}
	case "reprioritize":
		if j := r.jobs[arg(1)]; j != nil && r.q.Reprioritize(j, arg(2)) == nil {
			r.priority[arg(1)] = arg(2)
			require.Equal(r.t, arg(2), j.Priority())
		}
	case "width":
		if err := r.q.SetWidth(arg(1)); !r.q.Stopped() { // the original accepts it after a stop, and does nothing
			require.NoError(r.t, err)
		}
	case "pause":
		r.pause(arg(1))
	case "resume":
		resume := r.q.Resume
		if op[1] != nil {
			resume = func() error { return r.q.ResumeWidth(arg(1)) }
		}
		if err := resume(); err != nil {
			require.ErrorIs(r.t, err, twill.ErrStopped)
		}
	case "clear":
		r.q.Clear()
	case "stop":
		r.stop(arg(1), op[2].(bool))
	case "nop":
	default:
		r.t.Fatalf("unknown op %v", op)
	}
}

func (r *rdqReplay) put(j, priority int, kind string) {
	r.kind[j], r.finish[j], r.priority[j] = kind, make(chan bool, 1), priority
	job, err := r.q.Put(j, priority)
	switch {
	case errors.Is(err, twill.ErrStopped):
		r.happened(rdqBefore, j, "stopped")
		return
	case errors.Is(err, twill.ErrQueueFull):
		r.happened(rdqBefore, j, "overflow")
		return
	}
	require.NoError(r.t, err)
	r.jobs[j] = job
	job.Tap(func(v int, err error) {
		switch state := job.State(); state {
		case twill.JobFinished:
			r.happened(rdqStarted, j, "end", j, "FINISHED", v)
		case twill.JobCanceled:
			r.happened(rdqStarted, j, "end", j, "CANCELLED")
		default:
			r.happened(rdqStarted, j, "end", j, strings.ToUpper(state.String()))
		}
	})
}

func (r *rdqReplay) pause(n int) {
	r.q.Pause().Tap(func(_ struct{}, err error) {
		if err == nil {
			r.happened(rdqPaused, n, "paused", n)
			return
		}
		require.ErrorIs(r.t, err, twill.ErrResumed)
		r.resumed = append(r.resumed, n)
	})
}

// resupply adds the pauses that would fire in the original now.
func (r *rdqReplay) resupply() {
	underway, _ := r.q.Size()
	if underway == 0 && (r.q.Width() == 0 || r.q.Paused() || r.q.Stopped()) {
		for _, n := range r.resumed {
			r.happened(rdqPaused, n, "paused", n)
		}
		r.resumed = nil
	}
}

func (r *rdqReplay) stop(n int, now bool) {
	stop := r.q.Stop
	if now {
		stop = r.q.StopNow
	}
	stop().Tap(func(left []*twill.Job[int, int], err error) {
		require.NoError(r.t, err)
		pending := r.q.Pending()
		require.True(r.t, slices.Equal(pending, left[len(left)-len(pending):]), "left over in the order of dispatch, at the end")
		slices.SortFunc(left, func(a, b *twill.Job[int, int]) int { return a.Arg() - b.Arg() })
		entries := []any{}
		for _, job := range left {
			state := strings.ReplaceAll(strings.ToUpper(job.State().String()), "CANCELED", "CANCELLED")
			entries = append(entries, []any{job.Arg(), state})
		}
		r.happened(rdqStopped, n, "stopped-with", n, entries)
	})
}

// trace returns the entries of an op, before which the jobs in before ran. The
// recordings list jobs that were canceled together by number.
func (r *rdqReplay) trace(op string, before []*twill.Job[int, int]) (texts []string) {
	ran := map[int]bool{}
	for _, job := range before {
		ran[job.Arg()] = true
	}
	started := false
	for i := range r.events {
		e := &r.events[i]
		switch e.phase {
		case rdqStarted:
			j := e.order[1]
			switch {
			case strings.HasPrefix(e.text, `["start"`):
				started = true
			case op == "stop" || op == "clear":
				e.phase, e.order = rdqBefore, [3]int{j}
			case ran[j]:
				// A cancel runs the handlers on the goroutine that cancels, so only a call
				// that has returned reports its end before its slot is used.
				require.False(r.t, started && op != "cancel", "%v", r.events)
				e.phase, e.order = rdqBefore, [3]int{i}
			}
		case rdqPaused, rdqStopped:
			e.order = [3]int{e.order[1]}
		}
	}
	slices.SortStableFunc(r.events, func(a, b rdqHappened) int {
		if a.phase != b.phase {
			return a.phase - b.phase
		}
		return slices.Compare(a.order[:], b.order[:])
	})
	for _, e := range r.events {
		texts = append(texts, e.text)
	}
	return texts
}

func (r *rdqReplay) state() string {
	args := func(jobs []*twill.Job[int, int]) []int {
		list := []int{}
		for _, job := range jobs {
			list = append(list, job.Arg())
		}
		return list
	}
	bit := map[bool]int{true: 1}
	underway, pending := args(r.q.Underway()), args(r.q.Pending())
	slices.Sort(underway)
	running, waiting := r.q.Size()
	require.Equal(r.t, r.running, running, "calls that run")
	return rdqText("s", underway, pending, r.q.Width(), bit[r.q.Paused()], bit[r.q.Stopped()], []int{running, waiting})
}
