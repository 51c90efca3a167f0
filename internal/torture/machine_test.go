package torture_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/model"
)

// A random sequence of calls of futures and promises, in the library and in the
// slow model: after every step the same handlers have run, and every future is
// in the same state by each of its methods.
func TestFutureMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &futureMachine{t: t}
		m.promise(rt)
		rt.Repeat(rapid.StateMachineActions(m))
	})
}

type futureMachine struct {
	t     *testing.T
	pairs []futurePair
	made  []promisePair
	here  []string // arguments of the handlers
	model []string
}

type futurePair struct {
	here  *twill.Future[int]
	model *model.Future
}

type promisePair struct {
	here  *twill.Promise[int]
	model *model.Promise
}

// Promise makes a promise.
func (m *futureMachine) Promise(rt *rapid.T) { m.promise(rt) }

func (m *futureMachine) promise(*rapid.T) {
	p := promisePair{twill.NewPromise[int](), model.NewPromise()}
	m.made = append(m.made, p)
	m.pairs = append(m.pairs, futurePair{p.here.Future(), p.model.Future()})
}

func (m *futureMachine) pick(rt *rapid.T) futurePair {
	return m.pairs[rapid.IntRange(0, len(m.pairs)-1).Draw(rt, "future")]
}

func (m *futureMachine) pickPromise(rt *rapid.T) promisePair {
	return m.made[rapid.IntRange(0, len(m.made)-1).Draw(rt, "promise")]
}

// both runs a step in the library and in the model, and compares what it
// returns.
func (m *futureMachine) both(rt *rapid.T, here, model func() bool) {
	var a, b bool
	soon(m.t, func() { a, b = here(), model() })
	if a != b {
		rt.Fatalf("reports %t, the model %t", a, b)
	}
}

// Settle settles a promise by hand.
func (m *futureMachine) Settle(rt *rapid.T) {
	p := m.pickPromise(rt)
	if v := rapid.IntRange(-2, 5).Draw(rt, "value"); v < 0 {
		err := fmt.Errorf("e%d", v)
		m.both(rt, func() bool { return p.here.Reject(err) }, func() bool { return p.model.Reject(err) })
	} else {
		m.both(rt, func() bool { return p.here.Resolve(v) }, func() bool { return p.model.Resolve(v) })
	}
}

// Cancel cancels a future.
func (m *futureMachine) Cancel(rt *rapid.T) {
	f := m.pick(rt)
	m.both(rt, func() bool { return f.here.Cancel(nil) }, func() bool { return f.model.Cancel(nil) })
}

// Follow makes a promise follow a future.
func (m *futureMachine) Follow(rt *rapid.T) {
	p, f := m.pickPromise(rt), m.pick(rt)
	m.both(rt, func() bool { return p.here.Follow(f.here) }, func() bool { return p.model.Follow(f.model) })
}

// OnCancel adds a canceler that settles, panics or does nothing.
func (m *futureMachine) OnCancel(rt *rapid.T) {
	p := m.pickPromise(rt)
	does := rapid.SampledFrom([]string{"nothing", "resolve", "panic"}).Draw(rt, "canceler")
	canceler := func(log *[]string, resolve func(int) bool) func(error) {
		return func(error) {
			*log = append(*log, "canceler "+does)
			switch does {
			case "resolve":
				resolve(9)
			case "panic":
				panic("canceler")
			}
		}
	}
	p.here.OnCancel(canceler(&m.here, p.here.Resolve))
	p.model.OnCancel(canceler(&m.model, p.model.Resolve))
}

// Handle adds a handler that returns or panics.
func (m *futureMachine) Handle(rt *rapid.T) {
	f := m.pick(rt)
	n := len(m.pairs)
	does := rapid.SampledFrom([]string{"pass", "value", "error", "panic"}).Draw(rt, "handler")
	handler := func(log *[]string) func(int, error) (int, error) {
		return func(v int, err error) (int, error) {
			*log = append(*log, fmt.Sprint(n, v, errors.Is(err, twill.ErrCanceled), does))
			switch does {
			case "value":
				return n, nil
			case "error":
				return 0, fmt.Errorf("handler %d", n)
			case "panic":
				panic(n)
			}
			return v, err
		}
	}
	m.add(func() *twill.Future[int] { return twill.Handle(f.here, handler(&m.here)) }, f.model.Handle(handler(&m.model)))
}

// Exit adds a future whose handler has ended the goroutine. The model only has
// the failure.
func (m *futureMachine) Exit(rt *rapid.T) {
	var p twill.Promise[int]
	f := twill.Handle(p.Future(), func(int, error) (int, error) { runtime.Goexit(); return 0, nil })
	after := p.Future().Finally(func() {})
	returned := false
	soon(m.t, func() { p.Resolve(1); returned = true })
	if _, ok := after.Poll(); !ok || returned {
		rt.Fatalf("the next handler ran: %t; the goroutine went on: %t", ok, returned)
	}
	m.add(func() *twill.Future[int] { return f }, model.Rejected(twill.ErrGoexit))
}

// Adopt adds a handler that returns another future.
func (m *futureMachine) Adopt(rt *rapid.T) {
	f, inner := m.pick(rt), m.pick(rt)
	m.add(func() *twill.Future[int] {
		return twill.HandleFuture(f.here, func(int, error) *twill.Future[int] { return inner.here })
	}, f.model.HandleFuture(func(int, error) *model.Future { return inner.model }))
}

// List makes an Any of two futures.
func (m *futureMachine) List(rt *rapid.T) {
	f, g := m.pick(rt), m.pick(rt)
	opts := model.ListOptions{OnValue: true, Leaves: true, Takes: true, Ends: true,
		All: func(rs []twill.Result[int]) (int, error) {
			return 0, &twill.AllFailedError{Errs: []error{rs[0].Err, rs[1].Err}}
		}}
	m.add(func() *twill.Future[int] { return twill.Any(f.here, g.here) }, model.NewList(opts, f.model, g.model))
}

// Shield shields a future.
func (m *futureMachine) Shield(rt *rapid.T) {
	f := m.pick(rt)
	m.add(f.here.Shield, f.model.Shield())
}

func (m *futureMachine) add(here func() *twill.Future[int], model *model.Future) {
	var f *twill.Future[int]
	soon(m.t, func() { f = here() })
	m.pairs = append(m.pairs, futurePair{f, model})
}

// Check compares everything that is visible.
func (m *futureMachine) Check(rt *rapid.T) {
	require.Equal(rt, m.model, m.here, "handlers")
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for i, p := range m.pairs {
		v, err, settled := p.model.Result()
		r, ok := p.here.Poll()
		if ok != settled || r.Value != v || describe(r.Err) != describe(err) {
			rt.Fatalf("future %d: %v %v %t, the model: %v %v %t", i, r.Value, describe(r.Err), ok, v, describe(err), settled)
		}
		av, aerr := p.here.Await(ended)
		if settled && (av != r.Value || aerr != r.Err) || !settled && aerr != context.Canceled {
			rt.Fatalf("future %d: Await gives %v, %v", i, av, aerr)
		}
	}
}

// describe describes an error as far as the library and the model must agree.
func describe(err error) string {
	var stopped *twill.PanicError
	switch {
	case err == nil:
		return ""
	case errors.Is(err, twill.ErrCanceled) && errors.As(err, &stopped):
		return fmt.Sprint("canceled, panic ", stopped.Value)
	case errors.Is(err, twill.ErrCanceled):
		return "canceled"
	case errors.As(err, &stopped):
		return fmt.Sprint("panic ", stopped.Value)
	}
	return err.Error()
}
