package torture_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/anishathalye/porcupine"

	"github.com/twillgo/twill"
)

// A future is a register that is written once, by one of the calls that
// resolve, reject or cancel it. All reads return that outcome from then on.
func TestFutureIsLinearizable(t *testing.T) {
	linearizable(t, times(5000, 100), 4, registerModel, func(seed uint64, h *history) func(int) {
		var p twill.Promise[int]
		if seed%2 == 0 {
			p.OnCancel(func(error) {})
		}
		return func(client int) {
			rnd := rand.New(rand.NewPCG(seed, uint64(client)))
			for i := range 4 {
				act := registerActs[rnd.IntN(len(registerActs))]
				if act.name == "cancel" && seed%2 == 0 {
					act.name = "cancel, perhaps later"
				}
				h.call(client, act.name, func() any { return act.do(&p, client*10+i) })
			}
		}
	})
}

// outcome is the result of a call: whether it settled the future, or the state
// of the future.
type outcome struct {
	won   bool
	known bool // value is known
	value int  // 0 for canceled, negative for rejected
}

var registerActs = []struct {
	name string
	do   func(p *twill.Promise[int], n int) outcome
}{
	{"resolve", func(p *twill.Promise[int], n int) outcome { return outcome{won: p.Resolve(n + 1), value: n + 1} }},
	{"reject", func(p *twill.Promise[int], n int) outcome {
		return outcome{won: p.Reject(registerError(n + 1)), value: -n - 1}
	}},
	{"cancel", func(p *twill.Promise[int], _ int) outcome { return outcome{won: p.Future().Cancel(nil)} }},
	{"poll", func(p *twill.Promise[int], _ int) outcome {
		r, ok := p.Future().Poll()
		return seen(r.Value, r.Err, ok)
	}},
	{"await", func(p *twill.Promise[int], _ int) outcome {
		ctx, cancel := context.WithTimeoutCause(context.Background(), 1, errGaveUp)
		defer cancel()
		v, err := p.Future().Await(ctx)
		return seen(v, err, err != errGaveUp)
	}},
	{"handle", func(p *twill.Promise[int], _ int) (o outcome) {
		f := twill.Handle(p.Future(), func(v int, err error) (outcome, error) { return seen(v, err, true), nil })
		r, ok := f.Poll()
		if !ok {
			return outcome{}
		}
		return r.Value
	}},
	{"done", func(p *twill.Promise[int], _ int) outcome {
		select {
		case <-p.Future().Done():
			r, ok := p.Future().Poll()
			return seen(r.Value, r.Err, ok)
		default:
			return outcome{}
		}
	}},
}

var errGaveUp = errors.New("gave up")

type registerError int

func (e registerError) Error() string { return fmt.Sprint("error ", int(e)) }

func seen(v int, err error, ok bool) outcome {
	var rejected registerError
	switch {
	case !ok:
		return outcome{}
	case errors.As(err, &rejected):
		v = -int(rejected)
	case err != nil:
		v = 0
	}
	return outcome{known: true, value: v}
}

// registerModel has the outcome as its state, or nil if there is none.
var registerModel = porcupine.Model{
	Init: func() any { return outcome{} },
	Step: func(state, input, output any) (bool, any) {
		now, got := state.(outcome), output.(outcome)
		switch input {
		case "resolve", "reject":
			if now.known {
				return !got.won, now
			}
			return got.won, outcome{known: true, value: got.value}
		case "cancel", "cancel, perhaps later":
			if now.known {
				return !got.won, now
			}
			if !got.won { // another cancel may be underway, whose canceler has begun
				return input != "cancel", now
			}
			return true, outcome{known: true}
		case "await", "done", "handle": // these calls may be too early, and give up
			return !got.known || now == got, now
		}
		return now == got, now
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%v: %+v", input, output) },
}
