//go:build suites

package oracle_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
)

// oracleDefault is the folder with the recordings of real Twisted in this
// repository.
const oracleDefault = "testdata"

// oracleFile is one file of recordings; each line is one program and its trace.
type oracleFile struct {
	name  string
	lines [][]byte
}

// oracleFolder returns the folder to replay and whether it is the project's
// own, whose contents a test can rely on.
func oracleFolder() (folder string, own bool) {
	if folder := os.Getenv("TWILL_ORACLE"); folder != "" {
		return folder, false
	}
	return oracleDefault, true
}

// oracleFiles reads <prefix>*.jsonl and <prefix>*.jsonl.gz from the folder in
// TWILL_ORACLE, or from the project's own folder. If the folder in TWILL_ORACLE
// has no such file, it skips the test.
func oracleFiles(t *testing.T, prefix string) []oracleFile {
	t.Helper()
	folder, own := oracleFolder()
	info, err := os.Stat(folder)
	require.NoError(t, err, "folder of recordings")
	require.True(t, info.IsDir(), "%s is not a folder", folder)

	var files []oracleFile
	for _, pattern := range []string{prefix + "*.jsonl", prefix + "*.jsonl.gz"} {
		paths, err := filepath.Glob(filepath.Join(folder, pattern))
		require.NoError(t, err)
		for _, path := range paths {
			files = append(files, oracleFile{name: filepath.Base(path), lines: oracleLines(t, path)})
		}
	}
	if len(files) == 0 {
		require.False(t, own, "no %s*.jsonl or %s*.jsonl.gz in %s", prefix, prefix, folder)
		t.Skipf("no %s*.jsonl or %s*.jsonl.gz in %s", prefix, prefix, folder)
	}
	return files
}

// oracleLines returns the lines of a file that are not blank.
func oracleLines(t *testing.T, path string) [][]byte {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	var in io.Reader = file
	if strings.HasSuffix(path, ".gz") {
		unzip, err := gzip.NewReader(file)
		require.NoError(t, err, path)
		defer unzip.Close()
		in = unzip
	}
	text, err := io.ReadAll(in)
	require.NoError(t, err, path)

	var lines [][]byte
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	require.NotEmpty(t, lines, "%s holds no program", path)
	return lines
}

// The recordings of deferreds: a program makes deferreds, adds handlers to
// them, fires, cancels and chains them. Its trace records which handler ran
// when, with which argument. testdata/README.md has the format.
//
// One recorded deferred is a chain of futures here. Its first future belongs to
// a promise, each handler adds a link, and the ops of the program on the
// deferred are done to the last link, the tip.
//
// Differences by design: a second callback raises AlreadyCalledError in
// Twisted, and the first late callback after a cancel is swallowed; here
// Resolve or Reject returns false for both. A deferred whose result was passed
// to a chain or a list has the result None in Twisted and keeps its result
// here; the final states of such deferreds are not compared.
//
// A chain is a Follow. While it waits, chainDeferred passes no cancel on, and
// Follow does, both ways. A program in which this makes a difference is
// replayed with chains made by handlers, as chainDeferred makes them.

// oracleReplayed is the number of programs of the project's own files that are
// replayed, and how many of these with chains made by handlers.
var oracleReplayed = map[string][2]int{"linear.jsonl.gz": {1000, 10}, "race.jsonl.gz": {1000, 17}}

func TestOracleLinear(t *testing.T) { replayOracle(t, "linear") }

func TestOracleRace(t *testing.T) { replayOracle(t, "race") }

// A race has canceled deferred 0, and a chain onto it is made later: nothing
// happens in Twisted or here, and there is no difference.
func TestOracleChainOntoALoserOfARace(t *testing.T) {
	var program oracleProgram
	require.NoError(t, json.Unmarshal([]byte(`{"ops":[
		{"op":"new","d":0,"c":"none"},{"op":"new","d":1,"c":"none"},{"op":"race","ds":[0,1]},
		{"op":"fire","d":1,"v":7},{"op":"new","d":3,"c":"none"},{"op":"chain","a":3,"b":0},{"op":"fire","d":3,"v":8}],
		"trace":[["@",0],["@",1],["@",2],["@",3],["r","ok"],["@",4],["@",5],["@",6],["r","ok"]],"final":[]}`), &program))
	difference, _ := program.replay(false)
	require.Empty(t, difference)
}

// replayOracle replays the files of a prefix and reports the first programs
// that differ.
func replayOracle(t *testing.T, prefix string) {
	_, own := oracleFolder()
	for _, file := range oracleFiles(t, prefix) {
		t.Run(file.name, func(t *testing.T) {
			const told = 5
			var replayed, handed, failed int
			for i, line := range file.lines {
				var program oracleProgram
				require.NoError(t, json.Unmarshal(line, &program), "line %d", i+1)
				if !program.replayable() {
					continue
				}
				replayed++
				difference, crossed := program.replay(false)
				if crossed && difference != "" {
					handed++
					difference, _ = program.replay(true)
				}
				if difference == "" {
					continue
				}
				if failed++; failed <= told {
					t.Errorf("line %d, seed %d: %s", i+1, program.Seed, difference)
				}
			}
			t.Logf("%d of %d programs replayed, %d differ; a cancel that crossed a Follow shows in %d",
				replayed, len(file.lines), failed, handed)
			require.Zero(t, failed, "programs that differ")
			require.NotZero(t, replayed, "no program could be replayed")
			if own {
				require.Equal(t, oracleReplayed[file.name], [2]int{replayed, handed}, "programs replayed, and with chains by handlers")
			}
		})
	}
}

// replayable reports whether the replay supports every op of the program.
func (p *oracleProgram) replayable() bool {
	return !slices.ContainsFunc(p.Ops, func(op oracleOp) bool {
		known := oracleOps[op.Op] != nil
		for _, h := range []*oracleHandler{op.H, op.CB, op.EB} {
			known = known && (h == nil || h.FX == nil)
		}
		return !known
	})
}

// replay runs the program and describes the first difference, or returns "". It
// also reports whether a cancel crossed a Follow.
func (p *oracleProgram) replay(handed bool) (difference string, crossed bool) {
	run := &oracleRun{handed: handed}
	step := 0
	defer func() {
		crossed = run.crossed
		if v := recover(); v != nil {
			difference = fmt.Sprintf("panic at op %d: %v\n%s", step, v, p.traces(run.trace))
		}
	}()
	for step = range p.Ops {
		run.record("@", step)
		oracleOps[p.Ops[step].Op](run, &p.Ops[step])
	}
	want, step := p.expected(), 0
	for i := range max(len(want), len(run.trace)) {
		if i < len(want) && i < len(run.trace) && want[i] == run.trace[i] {
			if strings.HasPrefix(want[i], `["@"`) {
				step++
			}
			continue
		}
		return fmt.Sprintf("at op %d, entry %d\n%s", step-1, i, p.traces(run.trace)), false
	}
	for _, final := range p.Final {
		if got, want := run.final(final.D), final.text(); len(final.Consumed) == 0 && got != want {
			return fmt.Sprintf("at the end deferred %d is %s, want %s\n%s", final.D, got, want, p.traces(run.trace)), false
		}
	}
	return "", false
}

// final returns the state of deferred d now, in the form of oracleFinal.text.
func (r *oracleRun) final(d int) string {
	switch result, ok := r.nodes[d].tip.Poll(); {
	case !ok:
		return "pending"
	case result.Err != nil:
		return "err " + oracleText(oraclePayload(result.Err))
	default:
		return "ok " + oracleText(oraclePayload(result.Value))
	}
}

// Lists of deferreds in the recordings. A gather is Twisted's DeferredList with
// fireOnOneErrback and its values. It is a DeferredList here too, because All
// releases the other members when one fails, and gatherResults does not. A race
// is an Any of members that are tagged with their numbers.
//
// A list without members that waits for one callback never fires in Twisted and
// fails at once here. It is replayed as a future that never settles.

func init() {
	oracleOps["list"] = (*oracleRun).opList
	oracleOps["gather"] = (*oracleRun).opGather
	oracleOps["race"] = (*oracleRun).opRace
}

// oracleWin is the result of a race, so that it differs from a list's result.
type oracleWin struct {
	Index int
	Value any
}

// members returns the tips of the deferreds ds.
func (r *oracleRun) members(ds []int) []*twill.Future[any] {
	tips := make([]*twill.Future[any], len(ds))
	for i, d := range ds {
		tips[i] = r.nodes[d].tip
	}
	return tips
}

// list makes a list of the members of op.
func (r *oracleRun) list(op *oracleOp, flags twill.ListFlags) *twill.Future[twill.ListResult[any]] {
	if op.ConsumeErrors {
		flags |= twill.ConsumeErrors
	}
	return &twill.NewDeferredList(r.members(op.Ds), flags).Future
}

func (r *oracleRun) opList(op *oracleOp) {
	var flags twill.ListFlags
	if op.FireOnOneCall {
		flags |= twill.FireOnOneCallback
	}
	if op.FireOnOneErr {
		flags |= twill.FireOnOneErrback
	}
	if op.FireOnOneCall && len(op.Ds) == 0 {
		if result, ok := r.list(op, flags).Poll(); !ok || !errors.Is(result.Err, twill.ErrEmpty) {
			r.record("empty list", ok)
		}
		r.nodes = append(r.nodes, &oracleNode{tip: oracleNever()})
		return
	}
	oracleMade(r, r.list(op, flags), func(result twill.ListResult[any]) any { return result })
}

func (r *oracleRun) opGather(op *oracleOp) {
	oracleMade(r, r.list(op, twill.FireOnOneErrback), func(result twill.ListResult[any]) any {
		values := make([]any, len(result.Results))
		for i, member := range result.Results {
			values[i] = member.Value
		}
		return values
	})
}

func (r *oracleRun) opRace(op *oracleOp) {
	var tagged []*twill.Future[oracleWin]
	for i, member := range r.members(op.Ds) {
		tagged = append(tagged, twill.Then(member, func(v any) (oracleWin, error) { return oracleWin{i, v}, nil }))
	}
	oracleMade(r, twill.Any(tagged...), func(win oracleWin) any { return win })
}

// oracleNever returns a future that never settles: its canceler waits for
// another such future.
func oracleNever() *twill.Future[any] {
	return new(twill.Promise[any]).Future().CatchFuture(func(error) *twill.Future[any] { return oracleNever() })
}

// oracleMade adds a deferred that was made of others; value is the form of its
// result in the program.
func oracleMade[T any](r *oracleRun, f *twill.Future[T], value func(T) any) {
	tip := twill.Then(f, func(v T) (any, error) { return value(v), nil })
	r.nodes = append(r.nodes, &oracleNode{tip: tip})
}

// oracleList returns the result of a list, gather or race in the form of the
// recordings. It returns false if v is not such a result.
func oracleList(v any) (payload any, ok bool) {
	each := func(n int, at func(i int) any) any {
		all := make([]any, n)
		for i := range all {
			all[i] = at(i)
		}
		return all
	}
	switch v := v.(type) {
	case []any:
		return each(len(v), func(i int) any { return oraclePayload(v[i]) }), true
	case oracleWin:
		return map[string]any{"win": []any{v.Index, oraclePayload(v.Value)}}, true
	case *twill.AllFailedError:
		return map[string]any{"group": each(len(v.Errs), func(i int) any { return oraclePayload(v.Errs[i]) })}, true
	case *twill.IndexError:
		return map[string]any{"first": []any{v.Index, oraclePayload(v.Err)}}, true
	case twill.ListResult[any]:
		if v.Index >= 0 {
			return map[string]any{"one": []any{oraclePayload(v.Value), v.Index}}, true
		}
		return each(len(v.Results), func(i int) any {
			if err := v.Results[i].Err; err != nil {
				return map[string]any{"err": oraclePayload(err)}
			}
			return map[string]any{"ok": oraclePayload(v.Results[i].Value)}
		}), true
	}
	return nil, false
}

// oracleNode is one recorded deferred.
type oracleNode struct {
	promise *twill.Promise[any] // nil for a list, gather or race
	tip     *twill.Future[any]
	follows bool // the promise follows another deferred
}

// oracleRun is one replay.
type oracleRun struct {
	nodes   []*oracleNode
	trace   []string
	handed  bool // chains are made by handlers, and not by Follow
	crossed bool // a cancel has crossed a Follow, in either direction
}

// oracleOps are the ops that the replay supports. A program with another op is
// left out, and a test checks the number of programs that were not.
var oracleOps = map[string]func(*oracleRun, *oracleOp){
	"new":    (*oracleRun).opNew,
	"add":    (*oracleRun).opAdd,
	"fire":   func(r *oracleRun, op *oracleOp) { r.outcome(r.nodes[op.D].promise.Resolve(op.V)) },
	"fail":   func(r *oracleRun, op *oracleOp) { r.outcome(r.nodes[op.D].promise.Reject(oracleErr(op.E))) },
	"cancel": func(r *oracleRun, op *oracleOp) { r.nodes[op.D].tip.Cancel(nil) },
	"chain":  (*oracleRun).opChain,
}

// record adds an entry to the trace.
func (r *oracleRun) record(entry ...any) { r.trace = append(r.trace, oracleText(entry)) }

// outcome records whether a fire has settled.
func (r *oracleRun) outcome(settled bool) {
	if settled {
		r.record("r", "ok")
	} else {
		r.record("r", "lost")
	}
}

// opNew makes a promise, with a canceler of the kind in op.
func (r *oracleRun) opNew(op *oracleOp) {
	p := twill.NewPromise[any]()
	node := &oracleNode{promise: p, tip: p.Future()}
	r.nodes = append(r.nodes, node)
	p.OnCancel(func(error) {
		r.crossed = r.crossed || node.follows
		if op.C == "none" {
			return
		}
		r.record("c", op.D)
		switch op.C {
		case "err":
			p.Reject(oracleErr(op.E))
		case "cb":
			p.Resolve(op.V)
		}
	})
}

// opChain makes one deferred's promise follow the tip of another. If handed is
// set, a handler settles the promise, as chainDeferred does.
func (r *oracleRun) opChain(op *oracleOp) {
	source, target := r.nodes[op.A].tip, r.nodes[op.B]
	if r.handed {
		source.Tap(func(v any, err error) { target.promise.Settle(v, err) })
		return
	}
	target.follows = true
	if !target.promise.Follow(source) {
		// A promise that has settled refuses, as documented. If a cancel has settled
		// it, as with a loser of a race, Twisted is silent too: it swallows the first
		// callback after a cancel.
		if result, _ := target.promise.Future().Poll(); !errors.Is(result.Err, twill.ErrCanceled) {
			r.record("Follow refused")
		}
	}
}

// opAdd adds a link of the kind in op to the tip.
func (r *oracleRun) opAdd(op *oracleOp) {
	node := r.nodes[op.D]
	switch op.K {
	case "cb":
		node.tip = r.onValue(node.tip, op.CB)
	case "eb":
		node.tip = r.onError(node.tip, op.EB)
	case "both":
		node.tip = r.onBoth(node.tip, op.H, op.H)
	case "cbs":
		node.tip = r.onBoth(node.tip, op.CB, op.EB)
	default:
		panic("unknown kind of add: " + op.K)
	}
}

// onValue adds h with Then, or ThenFuture if it returns a deferred.
func (r *oracleRun) onValue(tip *twill.Future[any], h *oracleHandler) *twill.Future[any] {
	if h.Do == "ret_d" {
		return twill.ThenFuture(tip, func(v any) *twill.Future[any] { return r.inner(h, v, nil) })
	}
	return twill.Then(tip, func(v any) (any, error) { return r.handle(h, v, nil) })
}

// onError adds h with Catch, or CatchFuture if it returns a deferred.
func (r *oracleRun) onError(tip *twill.Future[any], h *oracleHandler) *twill.Future[any] {
	if h.Do == "ret_d" {
		return tip.CatchFuture(func(err error) *twill.Future[any] { return r.inner(h, nil, err) })
	}
	return tip.Catch(func(err error) (any, error) { return r.handle(h, nil, err) })
}

// onBoth adds a handler for each outcome with one Handle, or HandleFuture if
// one of the handlers returns a deferred.
func (r *oracleRun) onBoth(tip *twill.Future[any], cb, eb *oracleHandler) *twill.Future[any] {
	side := func(err error) *oracleHandler {
		if err != nil {
			return eb
		}
		return cb
	}
	if cb.Do != "ret_d" && eb.Do != "ret_d" {
		return twill.Handle(tip, func(v any, err error) (any, error) { return r.handle(side(err), v, err) })
	}
	return twill.HandleFuture(tip, func(v any, err error) *twill.Future[any] {
		if h := side(err); h.Do == "ret_d" {
			return r.inner(h, v, err)
		}
		out := twill.NewPromise[any]()
		out.Settle(r.handle(side(err), v, err))
		return out.Future()
	})
}

// inner records the argument of a handler and returns the deferred that the
// handler returns.
func (r *oracleRun) inner(h *oracleHandler, v any, err error) *twill.Future[any] {
	r.input(h, v, err)
	return r.nodes[h.D].tip
}

// handle records the argument of a handler and runs the handler.
func (r *oracleRun) handle(h *oracleHandler, v any, err error) (any, error) {
	r.input(h, v, err)
	switch h.Do {
	case "inc":
		if n, ok := v.(int); ok && err == nil {
			return n + h.K, nil
		}
		return v, err
	case "pass":
		return v, err
	case "ret":
		return h.V, nil
	case "raise":
		return nil, oracleErr(h.E)
	default:
		panic("unknown handler: " + h.Do)
	}
}

// input records the argument of a handler.
func (r *oracleRun) input(h *oracleHandler, v any, err error) {
	if err != nil {
		r.record("h", h.ID, "err", oraclePayload(err))
	} else {
		r.record("h", h.ID, "ok", oraclePayload(v))
	}
}

// oracleProgram is one line of a file.
type oracleProgram struct {
	Seed  int               `json:"seed"`
	Ops   []oracleOp        `json:"ops"`
	Trace []json.RawMessage `json:"trace"`
	Final []oracleFinal     `json:"final"`
}

// oracleOp is one step; Op determines which fields are used.
type oracleOp struct {
	Op string `json:"op"`
	D  int    `json:"d"`
	A  int    `json:"a"`
	B  int    `json:"b"`
	C  string `json:"c"` // kind of canceler
	E  string `json:"e"`
	V  int    `json:"v"`
	K  string `json:"k"` // kind of add

	H  *oracleHandler `json:"h"`
	CB *oracleHandler `json:"cb"`
	EB *oracleHandler `json:"eb"`

	Ds            []int `json:"ds"` // members of a list, gather or race
	FireOnOneCall bool  `json:"foc"`
	FireOnOneErr  bool  `json:"foe"`
	ConsumeErrors bool  `json:"ce"`
}

// oracleHandler determines what a handler does after it has recorded its
// argument.
type oracleHandler struct {
	ID int             `json:"id"`
	Do string          `json:"do"`
	K  int             `json:"k"`
	V  int             `json:"v"`
	E  string          `json:"e"`
	D  int             `json:"d"`
	FX json.RawMessage `json:"fx"`
}

// oracleFinal is the final state of a deferred.
type oracleFinal struct {
	D        int             `json:"d"`
	St       string          `json:"st"`
	V        json.RawMessage `json:"v"`
	Consumed []string        `json:"consumed"`
}

// oracleErr is an error of a program, identified by its name.
type oracleErr string

func (e oracleErr) Error() string { return string(e) }

// expected returns the recorded trace, in which the two failing outcomes of a
// fire are one.
func (p *oracleProgram) expected() []string {
	want := make([]string, len(p.Trace))
	for i, entry := range p.Trace {
		switch want[i] = string(entry); want[i] {
		case `["r","already"]`, `["r","swallowed"]`:
			want[i] = `["r","lost"]`
		}
	}
	return want
}

// traces returns the program and both traces as text, one op in a line.
func (p *oracleProgram) traces(got []string) string {
	show := func(trace []string) string {
		return strings.TrimSpace(strings.ReplaceAll(strings.Join(trace, " "), `["@"`, "\n  [\"@\""))
	}
	ops := make([]string, len(p.Ops))
	for i, op := range p.Ops {
		ops[i] = fmt.Sprintf("%d:%s", i, op.Op)
		switch op.Op {
		case "chain":
			ops[i] += fmt.Sprintf(" %d->%d", op.A, op.B)
		case "add":
			ops[i] += fmt.Sprintf(" %d %s", op.D, op.K)
		default:
			ops[i] += fmt.Sprintf(" %d", op.D)
		}
	}
	return fmt.Sprintf("ops: %s\nwant:\n  %s\ngot:\n  %s", strings.Join(ops, ", "), show(p.expected()), show(got))
}

// text returns a final state; a fired deferred that waits for another is
// pending.
func (f *oracleFinal) text() string {
	switch f.St {
	case "ok", "err":
		return f.St + " " + string(f.V)
	default:
		return "pending"
	}
}

// oracleText returns v as the recordings write it: keys sorted, no spaces.
func oracleText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// oraclePayload returns a value or error in the form of the recordings.
func oraclePayload(v any) any {
	if payload, ok := oracleList(v); ok {
		return payload
	}
	err, failed := v.(error)
	if !failed {
		return v
	}
	if errors.Is(err, twill.ErrCanceled) {
		return map[string]any{"e": "Cancelled"}
	}
	var name oracleErr
	if errors.As(err, &name) {
		return map[string]any{"e": string(name)}
	}
	return map[string]any{"e": "unexpected: " + err.Error()}
}
