//go:build explore

package explore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

type (
	queue = twill.ResizableDispatchQueue[int, int]
	job   = twill.Job[int, int]
)

// dispatching is a world with one dispatch queue. Its workers are threads, and
// the explorer decides when a call ends.
type dispatching struct {
	*world
	q      *queue
	kind   dispatchKind
	doing  []string
	locked bool // a thread holds the queue's lock
	calls  int  // an object that all steps of calls touch
	jobs   []*job
	first  *job // put before the threads start, as the second job
	second *job

	running, widest int // calls running, and the largest number allowed so far
	refused         int // number of refused puts
	stopping        bool
	started         []int // number of calls of each job
	canceled        map[*job]bool
	pauses, empties []*twill.Future[struct{}]
	stops           []*twill.Future[[]*job]
}

// dispatchKind is the state of the queue when the threads start.
type dispatchKind struct {
	width  int
	paused bool
	asks   bool // the calls check their context
}

func (k dispatchKind) String() string {
	return fmt.Sprintf("width=%d,paused=%t,asks=%t", k.width, k.paused, k.asks)
}

var dispatchActs = map[string]func(*dispatching){
	"put":            func(d *dispatching) { d.put() },
	"cancel first":   func(d *dispatching) { d.cancel(d.first) },
	"cancel second":  func(d *dispatching) { d.cancel(d.second) },
	"finish and put": func(*dispatching) {}, // see call
	"width 0":        func(d *dispatching) { d.setWidth(0) },
	"width 2":        func(d *dispatching) { d.setWidth(2) },
	"pause":          func(d *dispatching) { d.pause() },
	"resume":         func(d *dispatching) { d.require(d.q.Resume() == nil || d.stopping, "resume failed") },
	"clear":          func(d *dispatching) { d.q.Clear() },
	"stop":           func(d *dispatching) { d.stop(d.q.Stop) },
	"stop now":       func(d *dispatching) { d.stop(d.q.StopNow) },
	"empty":          func(d *dispatching) { d.empty() },
	"urgent":         func(d *dispatching) { d.urgent() },
}

func newDispatching(w *world, kind dispatchKind, doing []string) func() {
	d := &dispatching{world: w, kind: kind, doing: doing, canceled: make(map[*job]bool)}
	d.hook()
	d.widest = max(kind.width, 1)
	d.q = twill.NewResizableDispatchQueue(d.call, &twill.DispatchOptions{Width: d.widest})
	d.q.Pause()
	d.first, d.second = d.put(), d.put()
	d.setWidth(kind.width)
	if !kind.paused {
		d.require(d.q.Resume() == nil, "the first resume failed")
	}
	for _, what := range doing {
		if what != "finish and put" {
			w.Go(what, func() { dispatchActs[what](d) })
		}
	}
	return d.check
}

// hook makes everything that is done with the queue's lock held one step, and
// the workers threads. The only core in such a step that other threads touch is
// that of the future of Empty; scenarios with such a future are searched
// without leaving out orders.
func (d *dispatching) hook() {
	sched.Hooks.Before = func(lock any, _ bool) {
		d.free()
		d.Point("lock the queue", lock)
		d.require(!d.locked, "a choice under the queue's lock")
		d.locked = true
	}
	sched.Hooks.After = func(any) {
		d.locked = false
		if d.fine {
			d.Point("unlocked", &d.local)
		}
	}
	for _, hook := range []*func(*settle.Core){&settle.Hooks.Lock, &settle.Hooks.Unlock, &settle.Hooks.Look, &settle.Hooks.Swap} {
		at := *hook
		*hook = func(c *settle.Core) {
			if !d.locked {
				at(c)
			}
		}
	}
	workers := 0
	sched.Hooks.Go = func(fn func()) {
		workers++
		d.Go(fmt.Sprint("worker ", workers), fn)
	}
}

func (d *dispatching) put() *job {
	arg := len(d.started)
	d.started = append(d.started, 0)
	j, err := d.q.Put(arg, 0)
	if err != nil {
		d.require(err == twill.ErrStopped && d.stopping, "a put was refused: %v", err)
		d.refused++
		return nil
	}
	name(d.world, &j.Future, fmt.Sprint("job ", arg))
	d.jobs = append(d.jobs, j)
	return j
}

// call is the function of the queue.
func (d *dispatching) call(ctx context.Context, arg int) (int, error) {
	d.Point("call", &d.calls)
	d.running++
	d.started[arg]++
	d.require(d.running <= d.widest, "%d calls run at width %d", d.running, d.widest)
	d.Point("return", &d.calls)
	if arg == 0 && slices.Contains(d.doing, "finish and put") {
		d.put()
	}
	if d.kind.asks {
		canceled := slices.ContainsFunc(d.jobs, func(j *job) bool { return j.Arg() == arg && d.canceled[j] })
		d.require(ctx.Err() != nil || !canceled, "the context of canceled job %d has not ended", arg)
	}
	d.running--
	return arg, nil
}

func (d *dispatching) cancel(j *job) {
	if j.Cancel(nil) {
		d.Point("canceled", &d.calls)
		d.canceled[j] = true
		r, ok := j.Poll()
		d.require(ok && errors.Is(r.Err, twill.ErrCanceled), "job %d was canceled and has %v, %t", j.Arg(), r, ok)
	}
}

func (d *dispatching) setWidth(n int) {
	d.widest = max(d.widest, n)
	d.require(d.q.SetWidth(n) == nil || d.stopping, "SetWidth failed")
}

func (d *dispatching) urgent() {
	if d.q.Reprioritize(d.second, -1) == nil && d.started[0]+d.started[1] == 0 && !d.canceled[d.second] {
		d.require(d.second.Priority() == -1, "the priority was lost")
	}
}

func (d *dispatching) pause() {
	f := name(d.world, d.q.Pause(), "pause")
	d.pauses = append(d.pauses, f)
	f.Tap(func(_ struct{}, err error) {
		if !slices.Contains(d.doing, "resume") {
			d.require(err == nil, "a pause failed: %v", err)
			d.still("pause")
		}
	})
}

func (d *dispatching) stop(stop func() *twill.Future[[]*job]) {
	d.stopping = true
	f := name(d.world, stop(), "stop")
	d.stops = append(d.stops, f)
	f.Tap(func([]*job, error) { d.still("stop") })
}

func (d *dispatching) empty() {
	f := name(d.world, d.q.Empty(), "empty")
	d.empties = append(d.empties, f)
	f.Tap(func(_ struct{}, err error) {
		if !slices.Contains(d.doing, "put") && !slices.Contains(d.doing, "finish and put") && err == nil {
			d.still("emptying")
		}
	})
}

// still checks that no call runs when a pause or a stop settles, and that the
// futures of the calls that ran have settled.
func (d *dispatching) still(what string) {
	d.Point("look around", &d.calls)
	d.require(d.running == 0, "%d calls run after a %s", d.running, what)
	for _, j := range d.jobs {
		_, ok := j.Poll()
		d.require(ok || d.started[j.Arg()] == 0, "job %d has not settled after a %s", j.Arg(), what)
	}
}

// check checks the state after all threads have ended.
func (d *dispatching) check() {
	d.require(len(d.jobs)+d.refused == len(d.started), "%d jobs put and %d refused of %d", len(d.jobs), d.refused, len(d.started))
	underway, pending := d.q.Size()
	d.require(underway == 0 && d.running == 0, "%d jobs are underway", underway)
	if pending > 0 {
		d.require(d.q.Paused() || d.q.Stopped() || d.q.Width() == 0, "the queue is idle, and %d jobs wait", pending)
	}
	waits := make(map[*job]bool)
	for _, j := range d.q.Pending() {
		waits[j] = true
	}
	for _, j := range d.jobs {
		d.checkJob(j, waits[j])
	}
	for _, f := range d.pauses {
		r, ok := f.Poll()
		d.require(ok && (r.Err == nil || errors.Is(r.Err, twill.ErrResumed)), "a pause has %v, %t", r, ok)
	}
	for _, f := range d.stops {
		d.checkStop(f, waits)
	}
	for _, f := range d.empties {
		_, ok := f.Poll()
		d.require(ok || pending > 0, "the queue is empty, and nobody was told")
	}
	d.q.Clear() // jobs left over are canceled here, as every future must settle
}

func (d *dispatching) checkJob(j *job, waits bool) {
	r, settled := j.Poll()
	calls := d.started[j.Arg()]
	state := j.State()
	d.require(calls <= 1, "job %d was called %d times", j.Arg(), calls)
	d.require(settled == (state >= twill.JobFinished), "job %d is %v, settled: %t", j.Arg(), state, settled)
	switch state {
	case twill.JobPending:
		d.require(waits && calls == 0, "job %d is pending, listed: %t, called %d times", j.Arg(), waits, calls)
	case twill.JobFinished:
		d.require(calls == 1 && r.Value == j.Arg() && r.Err == nil && !d.canceled[j], "job %d finished after %d calls with %v", j.Arg(), calls, r)
	case twill.JobCanceled:
		d.require(errors.Is(r.Err, twill.ErrCanceled), "job %d was canceled and has %v", j.Arg(), r)
		d.require((calls == 1) == !j.StartedAt().IsZero(), "job %d was canceled, started: %v, after %d calls", j.Arg(), j.StartedAt(), calls)
	default:
		d.require(false, "job %d is %v", j.Arg(), state)
	}
}

// checkStop checks that the list of a stop has exactly the jobs left over, each
// of them once.
func (d *dispatching) checkStop(f *twill.Future[[]*job], waits map[*job]bool) {
	r, ok := f.Poll()
	d.require(ok && r.Err == nil, "a stop has %v, %t", r, ok)
	n := 0
	for i, j := range r.Value {
		d.require(!slices.Contains(r.Value[:i], j), "job %d is left over twice", j.Arg())
		d.require(j.State() == twill.JobPending || j.State() == twill.JobCanceled, "job %d is left over and %v", j.Arg(), j.State())
		if waits[j] {
			n++
		}
	}
	d.require(n == len(waits), "%d jobs wait, and %d of them are left over", len(waits), n)
}

// Whatever three goroutines do with a queue, in addition to its workers: no job
// is lost or called twice, no more jobs run than allowed, no job waits while a
// slot is free, the list of a stop is exact, and every future settles. If there
// are four threads or more, only schedules are tried that interrupt one of them
// once.
func TestDispatchQueue(t *testing.T) {
	var all totals
	few := explore.Options{Preemptions: 1}
	for kind, p := range map[dispatchKind]plan{
		{width: 1}:               {large: true},
		{width: 0}:               {large: true},
		{width: 2}:               {Options: few},
		{width: 1, asks: true}:   {Options: few, fine: true},
		{width: 1, paused: true}: {large: true},
	} {
		threads := 2
		if kind.paused { // there is no worker yet
			threads = 3
		}
		sensible := func(doing []string) bool { return len(slices.Compact(slices.Clone(doing))) == len(doing) }
		empties := func(doing []string) bool { return sensible(doing) && slices.Contains(doing, "empty") }
		scenario := func(w *world, doing []string) func() { return newDispatching(w, kind, doing) }
		t.Run(kind.String(), func(t *testing.T) {
			each(t, &all, p, sensible, scenario, threads, "put", "finish and put", "cancel first", "cancel second",
				"width 0", "width 2", "pause", "resume", "clear", "stop", "stop now", "urgent")
			each(t, &all, plan{Options: few}, empties, scenario, 2, "put", "cancel first", "cancel second",
				"clear", "stop", "stop now", "empty")
		})
	}
	t.Log(all.String())
	if !testing.Short() {
		require.Greater(t, all.Schedules, 50_000)
	}
}
