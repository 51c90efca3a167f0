package twill_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/twillgo/twill"
)

// oracleProgram is one line of a file.
type oracleProgram struct {
	Seed  int               `json:"seed"`
	Ops   []oracleOp        `json:"ops"`
	Trace []json.RawMessage `json:"trace"`
	Final []oracleFinal     `json:"final"`
}

// oracleOp is one step; which fields count depends on Op.
type oracleOp struct {
	Op string `json:"op"`
	D  int    `json:"d"`
	A  int    `json:"a"`
	B  int    `json:"b"`
	C  string `json:"c"` // kind of canceller
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

// oracleHandler says what a handler does once it has recorded its input.
type oracleHandler struct {
	ID int             `json:"id"`
	Do string          `json:"do"`
	K  int             `json:"k"`
	V  int             `json:"v"`
	E  string          `json:"e"`
	D  int             `json:"d"`
	FX json.RawMessage `json:"fx"`
}

// oracleFinal is how a deferred ended.
type oracleFinal struct {
	D        int             `json:"d"`
	St       string          `json:"st"`
	V        json.RawMessage `json:"v"`
	Consumed []string        `json:"consumed"`
}

// oracleErr is an error of a program, told apart by its name.
type oracleErr string

func (e oracleErr) Error() string { return string(e) }

// expected is the recorded trace, the two losing outcomes of a fire as one.
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

// traces shows program and both traces, one op a line.
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

// text is a final state; a fired deferred that waits for another is pending.
func (f *oracleFinal) text() string {
	switch f.St {
	case "ok", "err":
		return f.St + " " + string(f.V)
	default:
		return "pending"
	}
}

// oracleText is v as the recordings write it: keys sorted, no spaces.
func oracleText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// oraclePayload is a value or error in the form of the recordings.
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
