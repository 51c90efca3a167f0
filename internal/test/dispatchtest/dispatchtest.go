// Package dispatchtest is a black-box test suite for dispatch queues: the queue
// of the root package, and queues that keep their jobs on disk or share them.
// An engine determines how to open a queue and which cases it cannot pass, with
// the reason.
package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// Arg is the argument of a job, and determines what its calls do.
type Arg struct {
	Name string        `json:"name"`
	Take time.Duration `json:"take,omitempty"` // duration of a call, unless its context ends first
	Fail int           `json:"fail,omitempty"` // number of calls that fail before one succeeds
	Do   string        `json:"do,omitempty"`   // "panic", "exit", "snooze" once for Take, "wait" until the case lets calls end, or "hang": wait for the end of the context
}

// Result is the result of a job.
type Result struct {
	Name string `json:"name"`
	Call int    `json:"call"` // the number of the call that has succeeded, from 1
}

// Func is the function of a queue.
type Func = func(context.Context, Arg) (Result, error)

// Job is the part of a job that the suite uses. *twill.Job[Arg, Result]
// implements it.
type Job interface {
	twill.AnyFuture
	Await(ctx context.Context) (Result, error)
	Cancel(cause error) bool
	Arg() Arg
	Priority() int
	Key() string
	Attempts() int
	State() twill.JobState
	ID() string
	Group() string
	Release() bool
}

// Queue is the part of a queue that the suite uses.
type Queue interface {
	Put(arg Arg, priority int, opts ...twill.JobOptions) (Job, error)
	PutWait(ctx context.Context, arg Arg, priority int, opts ...twill.JobOptions) (Job, error)
	PutAll(args []Arg, priority int, opts ...twill.JobOptions) ([]Job, error)
	SetWidth(n int) error
	Width() int
	Pause() *twill.Future[struct{}]
	Paused() bool
	Resume() error
	ResumeWidth(n int) error
	Size() (underway, pending int)
	Pending() []Job
	PendingPage(from, n int) []Job
	Underway() []Job
	Reprioritize(j Job, priority int) error
	Clear() int
	Stop() *twill.Future[[]Job]
	Stopped() bool
	Drain(ctx context.Context) ([]Job, error)
	Empty() *twill.Future[struct{}]
	Stats() twill.DispatchStats
	Find(key string) (Job, bool)
	Why(j Job) (twill.WaitReason, time.Time)
	SetGroupLimit(group string, limit twill.GroupLimit) error
	PendingBelow(n int) *twill.Future[struct{}]
	NoneUnderway() *twill.Future[struct{}]
}

// Engine is a kind of queue.
type Engine struct {
	// Open returns a queue that runs fn. It releases its resources by t.Cleanup.
	Open func(t *testing.T, fn Func, opts twill.DispatchOptions) Queue

	// Run runs a case, in a bubble of testing/synctest if the engine works in
	// virtual time; with nil the case runs in real time.
	Run func(t *testing.T, fn func(t *testing.T))

	// Unit is the unit of delays, and half of the time for which the suite waits
	// to see that nothing happens. A slow machine fails no case: a case lets a
	// call end after what has to happen while it runs.
	Unit time.Duration

	// Skip names the cases that the engine cannot pass, with the reasons.
	Skip map[string]string
}

// Test runs the suite.
func Test(t *testing.T, e Engine) {
	for name := range e.Skip {
		require.True(t, slices.ContainsFunc(cases, func(c testCase) bool { return c.name == name }), "there is no case %q to skip", name)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if reason := e.Skip[c.name]; reason != "" {
				t.Skip(reason)
			}
			run := e.Run
			if run == nil {
				run = func(t *testing.T, fn func(*testing.T)) { fn(t) }
			}
			run(t, func(t *testing.T) {
				c.run(&bench{T: t, engine: e, calls: map[string]int{}, released: make(chan struct{})})
			})
		})
	}
}

type testCase struct {
	name string
	run  func(b *bench)
}

// errCall is the error of calls that fail on purpose.
var errCall = errors.New("dispatchtest: this call fails")

// bench is one case: its queue, and a record of its calls.
type bench struct {
	*testing.T
	engine   Engine
	q        Queue
	released chan struct{} // closed by release

	mu      sync.Mutex
	calls   map[string]int // number of started calls, by name
	started []string       // names, in order
	running int
	widest  int // the largest number of concurrent calls
}

// open makes the queue of the case.
func (b *bench) open(opts twill.DispatchOptions) Queue {
	b.q = b.engine.Open(b.T, b.call, opts)
	return b.q
}

func (b *bench) unit() time.Duration { return b.engine.Unit }

// call is the function of the queue.
func (b *bench) call(ctx context.Context, arg Arg) (Result, error) {
	b.mu.Lock()
	b.calls[arg.Name]++
	call := b.calls[arg.Name]
	b.started = append(b.started, arg.Name)
	b.running++
	b.widest = max(b.widest, b.running)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.running--
		b.mu.Unlock()
	}()
	switch arg.Do {
	case "panic":
		panic("dispatchtest: this call panics")
	case "exit":
		runtime.Goexit()
	case "snooze":
		if call == 1 {
			return Result{}, twill.Snooze(arg.Take)
		}
		return Result{Name: arg.Name, Call: call}, nil
	case "wait":
		select {
		case <-b.released:
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	case "hang":
		<-ctx.Done()
		return Result{}, context.Cause(ctx)
	}
	if arg.Take > 0 {
		select {
		case <-time.After(arg.Take):
		case <-ctx.Done():
			return Result{}, context.Cause(ctx)
		}
	}
	if call <= arg.Fail {
		return Result{}, fmt.Errorf("%w: %s, call %d", errCall, arg.Name, call)
	}
	return Result{Name: arg.Name, Call: call}, nil
}

// release lets the calls end that wait, and those that follow.
func (b *bench) release() { close(b.released) }

// order returns the names of the calls that have started, in order.
func (b *bench) order() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.started)
}

// callsOf returns how many calls with a name have started.
func (b *bench) callsOf(name string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[name]
}

func (b *bench) put(arg Arg, priority int, opts ...twill.JobOptions) Job {
	b.Helper()
	j, err := b.q.Put(arg, priority, opts...)
	require.NoError(b, err)
	return j
}

// patience bounds every wait of the suite.
const patience = 2 * time.Minute

// await returns the result of j, which must end soon.
func (b *bench) await(j Job) (Result, error) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := j.Await(ctx)
	require.False(b, ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded), "job %s does not end", j.Arg().Name)
	return r, err
}

// finishes fails the case unless j succeeds with the call of the given number.
func (b *bench) finishes(j Job, call int) {
	b.Helper()
	r, err := b.await(j)
	require.NoError(b, err)
	require.Equal(b, Result{Name: j.Arg().Name, Call: call}, r)
	require.Equal(b, twill.JobFinished, j.State())
}

// fails fails the case unless j ends with an error that Is want, in the given
// state.
func (b *bench) fails(j Job, want error, state twill.JobState) {
	b.Helper()
	_, err := b.await(j)
	require.ErrorIs(b, err, want)
	require.Equal(b, state, j.State())
}

// until waits for a condition.
func (b *bench) until(what string, condition func() bool) {
	b.Helper()
	for began := time.Now(); !condition(); time.Sleep(b.unit() / 20) {
		require.Less(b, time.Since(began), patience, what)
	}
}

// settles waits for a future of the queue.
func (b *bench) settles(what string, f *twill.Future[struct{}]) {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := f.Await(ctx)
	require.NoError(b, err, what)
}

// quiet waits long enough to see an event that should not happen.
func (b *bench) quiet() { time.Sleep(2 * b.unit()) }

func names(jobs []Job) []string {
	names := []string{}
	for _, j := range jobs {
		names = append(names, j.Arg().Name)
	}
	return names
}
