//go:build explore

package explore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/explore"
	"github.com/twillgo/twill/internal/sched"
)

// featured is a world with one dispatch queue whose jobs have groups, keys, or
// a time at which they expire. Its timers fire when the explorer decides.
type featured struct {
	dispatching
	lock     any // the queue's
	alone    int // the largest number of calls of group g allowed so far
	inGroup  int // calls of group g that run
	snoozes  bool
	under    []*job // whose calls run
	lastArg  int    // of the latest call
	puts     []featuredPut
	watches  []watch
	disturbs bool // an act ends jobs or keeps them from starting
}

// featuredPut is a put of a key that was accepted.
type featuredPut struct {
	arg   int
	again bool
	j     *job
}

// watch is a future of PendingBelow or, with an n of 0, of NoneUnderway.
type watch struct {
	n int
	f *twill.Future[struct{}]
}

func newFeatured(w *world, o twill.DispatchOptions, doing []string) *featured {
	d := &featured{dispatching: dispatching{world: w, doing: doing, canceled: make(map[*job]bool)}, alone: 1, lastArg: -1}
	d.widest = o.Width
	d.hook()
	before := sched.Hooks.Before
	sched.Hooks.Before = func(lock any, read bool) {
		d.lock = lock
		before(lock, read)
	}
	sched.Hooks.AfterFunc = d.afterFunc
	d.q = twill.NewResizableDispatchQueue(d.call, &o)
	d.q.Use(d.watchCall)
	d.q.Pause()
	for _, what := range []string{"pause", "width 0", "clear", "stop", "stop now", "cancel first", "cancel second", "hold g"} {
		d.disturbs = d.disturbs || slices.Contains(doing, what)
	}
	return d
}

// afterFunc makes a timer that fires when the explorer decides, unless it is
// stopped before.
func (d *featured) afterFunc(_ time.Duration, fn func()) *time.Timer {
	timer := time.AfterFunc(time.Hour, func() {})
	d.Go("timer", func() {
		d.Point("fire", d.lock) // timers are stopped with the lock held
		if timer.Stop() {
			fn()
		}
	})
	return timer
}

// run starts the acts.
func (d *featured) run(paused bool, acts map[string]func(*featured)) {
	if !paused {
		d.require(d.q.Resume() == nil, "the first resume failed")
	}
	for _, what := range d.doing {
		if act := acts[what]; act != nil {
			d.Go(what, func() { act(d) })
		}
	}
}

// add puts a job with options o.
func (d *featured) add(o twill.JobOptions) *job {
	arg := len(d.started)
	d.started = append(d.started, 0)
	j, err := d.q.Put(arg, 0, o)
	if err != nil {
		d.require(err == twill.ErrStopped && d.stopping, "a put was refused: %v", err)
		return nil
	}
	if !slices.Contains(d.jobs, j) {
		name(d.world, &j.Future, fmt.Sprint("job ", arg))
		d.jobs = append(d.jobs, j)
	}
	d.puts = append(d.puts, featuredPut{arg, o.Again, j})
	return j
}

// watchCall is a hook of the queue.
func (d *featured) watchCall(ctx context.Context, j *job, next func(context.Context) (int, error)) (int, error) {
	d.Point("call", &d.calls)
	d.running++
	d.require(d.running <= d.widest, "%d calls run at width %d", d.running, d.widest)
	if j.Group() == "g" {
		d.inGroup++
		d.require(d.inGroup <= d.alone, "%d calls of one group run", d.inGroup)
	}
	others := slices.Clone(d.under)
	d.under = append(d.under, j)
	for _, other := range others {
		if j.Key() != "" && j.Key() == other.Key() {
			underway := other.State() == twill.JobUnderway && j.State() == twill.JobUnderway
			d.require(!underway, "two jobs of one key are underway")
		}
	}
	v, err := next(ctx)
	d.Point("return", &d.calls)
	d.running--
	if j.Group() == "g" {
		d.inGroup--
	}
	d.under = slices.DeleteFunc(d.under, func(other *job) bool { return other == j })
	return v, err
}

// call is the function of the queue.
func (d *featured) call(_ context.Context, arg int) (int, error) {
	d.started[arg]++
	d.lastArg = arg
	if arg == 0 && d.started[0] == 1 {
		if d.snoozes {
			return 0, twill.Snooze(0)
		}
		if slices.Contains(d.doing, "finish and again") {
			d.add(twill.JobOptions{Key: "k", Again: true})
		}
	}
	return arg, nil
}

// checkAll checks the state after all threads have ended: each job has ended
// with the outcome of its call or of a cancel, or is pending for a reason.
func (d *featured) checkAll() {
	underway, pending := d.q.Size()
	d.require(underway == 0 && d.running == 0, "%d jobs are underway", underway)
	list := d.q.Pending()
	waits := make(map[*job]bool)
	for _, j := range list {
		waits[j] = true
	}
	for _, f := range d.stops {
		d.checkStop(f, waits)
	}
	d.require(len(list) == pending, "%d jobs are pending, and %d are listed", pending, len(list))
	for _, j := range list {
		reason, _ := d.q.Why(j)
		held := reason == twill.WaitGroup && slices.Contains(d.doing, "hold g")
		d.require(held || d.q.Paused() || d.q.Stopped() || d.q.Width() == 0, "the queue is idle, and job %d waits: %v", j.Arg(), reason)
	}
	for _, j := range d.jobs {
		r, settled := j.Poll()
		state := j.State()
		d.require(settled == (state >= twill.JobFinished), "job %d is %v, settled: %t", j.Arg(), state, settled)
		switch state {
		case twill.JobPending:
			d.require(waits[j], "job %d was lost", j.Arg())
		case twill.JobFinished:
			d.require(r.Err == nil && r.Value == j.Arg(), "job %d has ended with %v", j.Arg(), r)
		case twill.JobCanceled:
			d.require(errors.Is(r.Err, twill.ErrCanceled), "job %d was canceled and has %v", j.Arg(), r)
		default:
			d.require(errors.Is(r.Err, twill.ErrExpired) && j.StartedAt().IsZero(), "job %d has %v, started: %v", j.Arg(), r, j.StartedAt())
		}
	}
	for name, g := range d.q.Groups() {
		n := 0
		for _, j := range list {
			if j.Group() == name {
				n++
			}
		}
		d.require(g.Jobs == n && g.Underway == 0 && g.Due == n, "group %s has %+v, and %d jobs wait", name, g, n)
	}
	d.q.Clear() // jobs left over are canceled here, as every future must settle
	for name, g := range d.q.Groups() {
		d.require(g.Own, "group %s is kept: %+v", name, g)
	}
}

// stop stops the queue. What is left over is that in the end.
func (d *featured) stop(stop func() *twill.Future[[]*job]) {
	d.stopping = true
	f := name(d.world, stop(), "stop")
	d.stops = append(d.stops, f)
}

// inG are the options of jobs of a group.
var inG = twill.JobOptions{Group: "g"}

var groupActs = map[string]func(*featured){
	"put":           func(d *featured) { d.add(inG) },
	"cancel first":  func(d *featured) { d.cancel(d.first) },
	"cancel second": func(d *featured) { d.cancel(d.second) },
	"pause":         func(d *featured) { name(d.world, d.q.Pause(), "pause") },
	"resume":        func(d *featured) { d.require(d.q.Resume() == nil || d.stopping, "resume failed") },
	"width 0":       func(d *featured) { d.setWidth(0) },
	"widen g":       func(d *featured) { d.limit(twill.GroupLimit{Width: 2}) },
	"hold g":        func(d *featured) { d.limit(twill.GroupLimit{Paused: true}) },
	"reset g":       func(d *featured) { d.require(d.q.ResetGroupLimit("g") == nil || d.stopping, "ResetGroupLimit failed") },
	"urgent":        func(d *featured) { d.urgent() },
	"clear":         func(d *featured) { d.q.Clear() },
	"stop now":      func(d *featured) { d.stop(d.q.StopNow) },
}

func (d *featured) limit(l twill.GroupLimit) {
	d.alone = max(d.alone, l.Width)
	d.require(d.q.SetGroupLimit("g", l) == nil || d.stopping, "SetGroupLimit failed")
}

// Two jobs of a group of width 1 and another job share a queue of width 2, and
// the place in the group passes from one to the next, whatever two goroutines
// do at the same time.
func TestDispatchGroups(t *testing.T) {
	for name, kind := range map[string]struct {
		turns, paused, snoozes bool
	}{"running": {}, "paused": {paused: true}, "turns": {turns: true}, "snoozing": {snoozes: true}} {
		features(t, name, sensiblePair, func(w *world, doing []string) func() {
			d := newFeatured(w, twill.DispatchOptions{Width: 2, GroupLimit: twill.GroupLimit{Width: 1}, TakeTurns: kind.turns}, doing)
			d.snoozes = kind.snoozes
			d.first, d.second = d.add(inG), d.add(inG)
			d.add(twill.JobOptions{})
			d.run(kind.paused, groupActs)
			return d.checkAll
		}, "put", "cancel first", "cancel second", "pause", "resume", "width 0", "widen g", "hold g", "reset g", "urgent", "clear", "stop now")
	}
}

var keyActs = map[string]func(*featured){
	"again":        func(d *featured) { d.add(twill.JobOptions{Key: "k", Again: true}) },
	"debounce":     func(d *featured) { d.add(twill.JobOptions{Key: "k", Debounce: true}) },
	"join":         func(d *featured) { d.add(twill.JobOptions{Key: "k"}) },
	"cancel first": func(d *featured) { d.cancel(d.first) },
	"pause":        func(d *featured) { name(d.world, d.q.Pause(), "pause") },
	"resume":       func(d *featured) { d.require(d.q.Resume() == nil || d.stopping, "resume failed") },
	"width 0":      func(d *featured) { d.setWidth(0) },
	"clear":        func(d *featured) { d.q.Clear() },
	"stop now":     func(d *featured) { d.stop(d.q.StopNow) },
}

// Puts of a key meet the start and the end of the job that has it: its calls do
// not overlap, and the last one has the argument of a put that asked for it.
func TestDispatchKeys(t *testing.T) {
	for name, paused := range map[string]bool{"running": false, "paused": true} {
		features(t, name, func([]string) bool { return true }, func(w *world, doing []string) func() {
			d := newFeatured(w, twill.DispatchOptions{Width: 2}, doing)
			d.first = d.add(twill.JobOptions{Key: "k", Again: true})
			d.run(paused, keyActs)
			return func() {
				d.checkKeys()
				d.checkAll()
			}
		}, "again", "debounce", "join", "finish and again", "cancel first", "pause", "resume", "width 0", "clear", "stop now")
	}
}

// checkKeys checks the last call of a key.
func (d *featured) checkKeys() {
	_, pending := d.q.Size()
	found, ok := d.q.Find("k")
	d.require(ok == (pending > 0), "%d jobs are pending, and the key is in use: %t", pending, ok)
	d.require(pending <= 1, "%d jobs of one key are pending", pending)
	if ok {
		d.require(found.State() == twill.JobPending, "job %d is %v", found.Arg(), found.State())
	}
	if d.disturbs || pending > 0 {
		return
	}
	wanted := false
	for _, put := range d.puts[1:] {
		wanted = wanted || put.again
		d.require(put.j.State() == twill.JobFinished, "the job of put %d is %v", put.arg, put.j.State())
	}
	d.require(!wanted || d.lastArg > 0, "the last call has the first argument")
}

var expiryActs = map[string]func(*featured){
	"put":           func(d *featured) { d.add(twill.JobOptions{Expires: time.Now().Add(time.Hour)}) },
	"cancel second": func(d *featured) { d.cancel(d.second) },
	"pause":         func(d *featured) { name(d.world, d.q.Pause(), "pause") },
	"resume":        func(d *featured) { d.require(d.q.Resume() == nil || d.stopping, "resume failed") },
	"width 0":       func(d *featured) { d.setWidth(0) },
	"urgent":        func(d *featured) { d.urgent() },
	"clear":         func(d *featured) { d.q.Clear() },
	"stop":          func(d *featured) { d.stop(d.q.Stop) },
}

// A job expires beside its start: it is called, or fails with ErrExpired, and
// not both. Stopped queues keep it.
func TestDispatchExpiry(t *testing.T) {
	for name, paused := range map[string]bool{"running": false, "paused": true} {
		features(t, name, sensiblePair, func(w *world, doing []string) func() {
			d := newFeatured(w, twill.DispatchOptions{Width: 1}, doing)
			d.first = d.add(twill.JobOptions{})
			d.second = d.add(twill.JobOptions{Expires: time.Now().Add(time.Hour), Group: "g"})
			d.run(paused, expiryActs)
			return func() {
				for _, put := range d.puts {
					r, ok := put.j.Poll()
					expired := ok && errors.Is(r.Err, twill.ErrExpired)
					d.require(!expired || d.started[put.arg] == 0, "job %d was called, and has expired", put.arg)
					d.require(d.started[put.arg] <= 1, "job %d was called %d times", put.arg, d.started[put.arg])
				}
				d.checkAll()
			}
		}, "put", "cancel second", "pause", "resume", "width 0", "urgent", "clear", "stop")
	}
}

var watchActs = map[string]func(*featured){
	"below 1":        func(d *featured) { d.watches = append(d.watches, watch{1, d.q.PendingBelow(1)}) },
	"below 2":        func(d *featured) { d.watches = append(d.watches, watch{2, d.q.PendingBelow(2)}) },
	"none underway":  func(d *featured) { d.watches = append(d.watches, watch{0, d.q.NoneUnderway()}) },
	"put":            func(d *featured) { d.add(twill.JobOptions{}) },
	"put to a group": func(d *featured) { d.add(inG) },
	"cancel second":  func(d *featured) { d.cancel(d.second) },
	"resume":         func(d *featured) { d.require(d.q.Resume() == nil || d.stopping, "resume failed") },
	"clear":          func(d *featured) { d.q.Clear() },
	"stop":           func(d *featured) { d.stop(d.q.Stop) },
	"stop now":       func(d *featured) { d.stop(d.q.StopNow) },
}

// A future for fewer than n pending jobs, or for none underway, settles beside
// puts and starts: it misses no change, and settles not without one.
func TestDispatchWatches(t *testing.T) {
	watched := func(doing []string) bool {
		return sensiblePair(doing) && slices.ContainsFunc(doing, func(what string) bool {
			return slices.Contains([]string{"below 1", "below 2", "none underway"}, what)
		})
	}
	for name, paused := range map[string]bool{"running": false, "paused": true} {
		features(t, name, watched, func(w *world, doing []string) func() {
			d := newFeatured(w, twill.DispatchOptions{Width: 1, GroupLimit: twill.GroupLimit{Width: 1}}, doing)
			d.first, d.second = d.add(inG), d.add(inG)
			d.run(paused, watchActs)
			return func() {
				d.checkWatches(paused)
				d.checkAll()
			}
		}, "below 1", "below 2", "none underway", "put", "put to a group", "cancel second", "resume", "clear", "stop", "stop now")
	}
}

func (d *featured) checkWatches(paused bool) {
	_, pending := d.q.Size()
	shrinks := !paused
	for _, what := range []string{"cancel second", "resume", "clear"} {
		shrinks = shrinks || slices.Contains(d.doing, what)
	}
	for _, x := range d.watches {
		r, ok := x.f.Poll()
		switch {
		case x.n == 0:
			d.require(ok && r.Err == nil, "none is underway, and the future has %v, %t", r, ok)
		case pending < x.n:
			d.require(ok && (r.Err == nil || d.stopping), "%d are pending, and the future for fewer than %d has %v, %t", pending, x.n, r, ok)
		case d.stopping:
			d.require(ok, "the queue is stopped, and the future for fewer than %d is pending", x.n)
		case !shrinks:
			d.require(!ok, "%d are pending, and the future for fewer than %d has %v", pending, x.n, r)
		}
	}
}

// sensiblePair leaves out pairs of equal acts.
func sensiblePair(doing []string) bool {
	return len(slices.Compact(slices.Clone(doing))) == len(doing)
}

// features searches each pair of acts, with schedules that interrupt a
// goroutine twice, or once with -short.
func features(t *testing.T, kind string, sensible func([]string) bool, scenario func(*world, []string) func(), acts ...string) {
	var all totals
	few := explore.Options{Preemptions: 2}
	if testing.Short() {
		few.Preemptions = 1
	}
	t.Run(kind, func(t *testing.T) {
		each(t, &all, plan{Options: few}, sensible, scenario, 2, acts...)
		require.NotZero(t, all.Schedules)
	})
	t.Log(all.String())
}
