package twill_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// The recordings of txRDQ: a program puts, cancels, moves and finishes jobs of
// one queue, and its trace says after each op what happened and how the queue
// stood then. testdata/oracle/README.md has the format.
//
// Differences by design: a future of a Pause that is resumed before its jobs
// have ended is cancelled with ErrResumed; the original's fires the next time
// the queue stands still, if ever. The replay asserts ours and supplies that
// event itself. CANCELLED is CANCELED here. Calls run on goroutines of their
// own, so that what several of them do in one op is put in the order of
// dispatch before it is compared.

// rdqProgram is one line of the recordings.
type rdqProgram struct {
	Seed  int
	Width int
	Size  *int
	Ops   [][]any
	Trace [][]any
}

// rdqStep is what one op led to.
type rdqStep struct {
	events []string
	state  string
}

func (s rdqStep) String() string { return strings.Join(append(s.events, s.state), " ") }

// rdqRecorded is how many programs the project's own file has.
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

// rdqText is how an entry of a trace is compared and shown.
func rdqText(entry ...any) string {
	text, err := json.Marshal(entry)
	if err != nil {
		panic(err)
	}
	return string(text)
}
