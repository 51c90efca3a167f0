//go:build suites

package oracle_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
)

// The recordings of the primitives: a program uses one lock, semaphore or
// queue. Its trace records after each op what happened, and the state of the
// primitive. testdata/README.md has the format. There are no differences by
// design.

// primsProgram is one line of the recordings.
type primsProgram struct {
	Kind    string
	Seed    int
	Tokens  int
	Size    *int
	Backlog *int
	Ops     [][]any
	Trace   []json.RawMessage
}

// primsReplayed is the number of programs of each kind in the project's own
// file.
var primsReplayed = map[string]int{"lock": 50, "sem": 185, "queue": 265}

// primsPlayer plays programs of one kind: ops that record what happens.
type primsPlayer interface {
	op(op []any)
	state() []any
}

// primsTrace is the trace of a replay.
type primsTrace struct{ entries []string }

func (r *primsTrace) record(entry ...any) { r.entries = append(r.entries, oracleText(entry)) }

func TestOracleLock(t *testing.T) {
	replayPrims(t, "lock", func(_ *primsProgram, r *primsTrace) primsPlayer {
		l := new(twill.Lock)
		return &tokensPlayer{primsTrace: r, Acquirer: l, free: func() int {
			if l.Locked() {
				return 0
			}
			return 1
		}, waiting: l.Waiting}
	})
}

func TestOracleSemaphore(t *testing.T) {
	replayPrims(t, "sem", func(p *primsProgram, r *primsTrace) primsPlayer {
		s := twill.NewSemaphore(p.Tokens)
		return &tokensPlayer{primsTrace: r, Acquirer: s, free: s.Tokens, waiting: s.Waiting}
	})
}

// replayPrims replays the programs of a kind and reports the first that differ.
func replayPrims(t *testing.T, kind string, newPlayer func(*primsProgram, *primsTrace) primsPlayer) {
	_, own := oracleFolder()
	for _, file := range oracleFiles(t, "prims") {
		t.Run(file.name, func(t *testing.T) {
			const told = 5
			var replayed, failed int
			for i, line := range file.lines {
				var p primsProgram
				require.NoError(t, json.Unmarshal(line, &p), "line %d", i+1)
				if p.Kind != kind {
					continue
				}
				replayed++
				difference := p.replay(newPlayer)
				if difference == "" {
					continue
				}
				if failed++; failed <= told {
					t.Errorf("line %d, seed %d: %s", i+1, p.Seed, difference)
				}
			}
			t.Logf("%d of %d programs replayed, %d differ", replayed, len(file.lines), failed)
			require.Zero(t, failed, "programs that differ")
			if own {
				require.Equal(t, primsReplayed[kind], replayed, "programs replayed")
			}
		})
	}
}

// replay runs the program and describes the first difference, or returns "".
func (p *primsProgram) replay(newPlayer func(*primsProgram, *primsTrace) primsPlayer) (difference string) {
	trace := new(primsTrace)
	player := newPlayer(p, trace)
	step := 0
	defer func() {
		if v := recover(); v != nil {
			difference = fmt.Sprintf("panic at op %d: %v\n%s", step, v, p.traces(trace.entries))
		}
	}()
	for step = range p.Ops {
		trace.record("@", step)
		player.op(p.Ops[step])
		trace.record(append([]any{"s"}, player.state()...)...)
	}
	step = -1
	for i := range max(len(p.Trace), len(trace.entries)) {
		if i >= len(p.Trace) || i >= len(trace.entries) || string(p.Trace[i]) != trace.entries[i] {
			return fmt.Sprintf("at op %d, entry %d\n%s", step, i, p.traces(trace.entries))
		}
		if strings.HasPrefix(trace.entries[i], `["@"`) {
			step++
		}
	}
	return ""
}

// traces returns the program and both traces as text, one op in a line.
func (p *primsProgram) traces(got []string) string {
	want := make([]string, len(p.Trace))
	for i, entry := range p.Trace {
		want[i] = string(entry)
	}
	show := func(trace []string) string {
		return strings.TrimSpace(strings.ReplaceAll(strings.Join(trace, " "), `["@"`, "\n  [\"@\""))
	}
	return fmt.Sprintf("ops: %s\nwant:\n  %s\ngot:\n  %s", oracleText(p.Ops), show(want), show(got))
}

// tokensPlayer plays locks and semaphores.
type tokensPlayer struct {
	*primsTrace
	twill.Acquirer
	free, waiting func() int

	acquires map[int]*twill.Future[func()]
	held     []func() // release functions of tokens that were acquired, in order
	runs     map[int]*twill.Future[int]
	results  map[int]*twill.Promise[int] // results of the functions of runs
}

func (p *tokensPlayer) state() []any { return []any{p.free(), p.waiting()} }

func (p *tokensPlayer) op(op []any) {
	if p.acquires == nil {
		p.acquires = map[int]*twill.Future[func()]{}
		p.runs, p.results = map[int]*twill.Future[int]{}, map[int]*twill.Promise[int]{}
	}
	n := 0
	if len(op) > 1 {
		n = int(op[1].(float64))
	}
	switch op[0] {
	case "acquire":
		p.acquires[n] = p.Acquire()
		p.acquires[n].Tap(func(release func(), err error) {
			if err != nil {
				p.record("failed", n, primsError(err))
				return
			}
			p.held = append(p.held, release)
			p.record("acquired", n)
		})
	case "release":
		if len(p.held) > 0 {
			release := p.held[0]
			p.held = p.held[1:]
			release()
			release() // works once
		}
	case "run":
		p.run(n)
	case "done":
		if d := p.results[n]; d != nil {
			if op[2].(bool) {
				d.Resolve(100 + n)
			} else {
				d.Reject(oracleErr(fmt.Sprintf("E%d", n)))
			}
		}
	case "cancel":
		if f := p.acquires[n]; f != nil {
			f.Cancel(nil)
		}
	case "cancelrun":
		if f := p.runs[n]; f != nil {
			f.Cancel(nil)
		}
	case "nop":
	default:
		panic(fmt.Sprintf("unknown op %v", op))
	}
}

func (p *tokensPlayer) run(n int) {
	p.results[n] = twill.NewPromise[int]()
	p.runs[n] = twill.RunWithFuture(p.Acquirer, func() *twill.Future[int] {
		p.record("start", n)
		return p.results[n].Future()
	})
	p.runs[n].Tap(func(v int, err error) {
		if err != nil {
			p.record("ranerr", n, primsError(err))
		} else {
			p.record("ran", n, v)
		}
	})
}

// primsError returns the name of an error in the recordings.
func primsError(err error) any {
	return oraclePayload(err).(map[string]any)["e"]
}

// The recordings of queues. With equal priorities a [twill.PriorityQueue] is a
// queue too.

func TestOracleQueue(t *testing.T) {
	replayPrims(t, "queue", func(p *primsProgram, r *primsTrace) primsPlayer {
		q := twill.NewQueue[int](p.queueOptions())
		return &queuePlayer{primsTrace: r, put: q.Put, get: q.Get, len: q.Len, waiting: q.Waiting}
	})
}

func TestOraclePriorityQueue(t *testing.T) {
	replayPrims(t, "queue", func(p *primsProgram, r *primsTrace) primsPlayer {
		q := twill.NewPriorityQueue[int](p.queueOptions())
		return &queuePlayer{
			primsTrace: r, get: q.Get, len: q.Len, waiting: q.Waiting,
			put: func(v int) error { _, err := q.Put(v, 0); return err },
		}
	})
}

// queueOptions returns the limits of the program, which has null for no limit
// and 0 for no items at all.
func (p *primsProgram) queueOptions() *twill.QueueOptions {
	limit := func(n *int) int {
		switch {
		case n == nil:
			return 0
		case *n == 0:
			return -1
		}
		return *n
	}
	return &twill.QueueOptions{Size: limit(p.Size), Backlog: limit(p.Backlog)}
}

// queuePlayer plays queues.
type queuePlayer struct {
	*primsTrace
	put          func(int) error
	get          func() *twill.Future[int]
	len, waiting func() int
	gets         map[int]*twill.Future[int]
}

func (p *queuePlayer) state() []any { return []any{p.len(), p.waiting()} }

func (p *queuePlayer) op(op []any) {
	if p.gets == nil {
		p.gets = map[int]*twill.Future[int]{}
	}
	n := int(op[1].(float64))
	switch op[0] {
	case "put":
		if err := p.put(n); err != nil {
			p.failed(-1, err)
		}
	case "get":
		p.gets[n] = p.get()
		p.gets[n].Tap(func(v int, err error) {
			if err != nil {
				p.failed(n, err)
				return
			}
			p.record("got", n, v)
		})
	case "cancel":
		p.gets[n].Cancel(nil)
	default:
		panic(fmt.Sprintf("unknown op %v", op))
	}
}

func (p *queuePlayer) failed(n int, err error) {
	switch {
	case errors.Is(err, twill.ErrQueueFull):
		p.record("overflow")
	case errors.Is(err, twill.ErrTooManyGets):
		p.record("underflow")
	default:
		p.record("failed", n, primsError(err))
	}
}

// Every program in the file is of a kind that is replayed.
func TestOraclePrimsKinds(t *testing.T) {
	_, own := oracleFolder()
	if !own {
		t.Skip("another folder")
	}
	for _, file := range oracleFiles(t, "prims") {
		all := 0
		for _, n := range primsReplayed {
			all += n
		}
		require.Len(t, file.lines, all)
	}
}
