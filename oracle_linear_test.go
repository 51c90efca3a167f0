package twill_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The recordings of deferreds: a program makes deferreds, adds handlers to
// them, fires, cancels and chains them, and its trace says which handler ran
// when, with what. testdata/oracle/README.md has the format.
//
// One recorded deferred is a chain of futures here. Its first future belongs
// to a promise, each handler adds a link, and what the program does to the
// deferred is done to the last link, the tip.
//
// Differences by design: a second callback raises AlreadyCalledError in
// Twisted, and the first late one after a cancel is swallowed; here both are a
// false from Resolve or Reject. A deferred whose result was taken by a chain
// or a list is None in Twisted and keeps its result here: such are not compared
// at the end.
//
// A chain is a Follow. Of one that waits, chainDeferred lets no cancel across,
// and Follow does, both ways; a program in which that happens, and shows, is
// replayed with chains made by handlers, as chainDeferred makes them.

// oracleReplayed is how many programs of the project's own files are replayed,
// and how many of these with chains made by handlers.
var oracleReplayed = map[string][2]int{"linear.jsonl.gz": {1000, 10}, "race.jsonl.gz": {1000, 17}}

func TestOracleLinear(t *testing.T) { replayOracle(t, "linear") }

func TestOracleRace(t *testing.T) { replayOracle(t, "race") }

// replayOracle replays the files of a prefix and tells of the first programs that differ.
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

// replayable reports whether the replay knows every op of the program.
func (p *oracleProgram) replayable() bool {
	return !slices.ContainsFunc(p.Ops, func(op oracleOp) bool {
		known := oracleOps[op.Op] != nil
		for _, h := range []*oracleHandler{op.H, op.CB, op.EB} {
			known = known && (h == nil || h.FX == nil)
		}
		return !known
	})
}

// replay runs the program and describes the first difference, "" if there is
// none. It also reports whether a cancel crossed a Follow.
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

// final is the state of deferred d now, in the form of oracleFinal.text.
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
