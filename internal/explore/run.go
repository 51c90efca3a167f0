package explore

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// maxSteps is when a schedule is taken for an endless one.
const maxSteps = 10_000

// Run is one run of a scenario, under one schedule. Its methods are called by
// the scenario and its threads only.
type Run struct {
	e         *explorer
	threads   []*thread
	current   *thread // the one running, nil during setup and check
	last      int     // the one that ran before
	depth     int     // choices made
	preempted int
	steps     int
	log       []*thread // the threads, and their
	points    []point   // points, in the order in which they were run
	names     map[any]string
	buf       []int
	dead      bool // the run is given up: its threads end unwatched
}

// thread is a coroutine of the scenario.
type thread struct {
	name  string
	next  func() (point, bool)
	stop  func()
	yield func(point) bool
	at    point // where it stands
	steps int
	ended bool
}

// point is where a thread stands, and what its next step touches.
type point struct {
	what  string
	obj   any
	read  bool        // the step only reads obj
	ready func() bool // the step can be taken when this says so; nil: at any time
}

// matters reports whether two steps of two threads may give something else in
// the other order.
func (p point) matters(q point) bool {
	switch {
	case p.obj == nil || q.obj == nil: // the start of a thread
		return false
	case p.ready != nil || q.ready != nil: // may be made ready by anything
		return true
	}
	return p.obj == q.obj && !(p.read && q.read)
}

// Go adds a thread. A thread may add others.
func (r *Run) Go(name string, fn func()) {
	t := &thread{name: name, at: point{what: "start"}}
	t.next, t.stop = iter.Pull(func(yield func(point) bool) {
		t.yield = yield
		fn()
	})
	r.threads = append(r.threads, t)
}

// Name has obj called so in the steps of a failure.
func (r *Run) Name(obj any, name string) {
	if r.names == nil {
		r.names = make(map[any]string)
	}
	r.names[obj] = name
}

// NameOf is what obj is called.
func (r *Run) NameOf(obj any) string { return r.names[obj] }

// Point is called before obj, a pointer, is changed.
func (r *Run) Point(what string, obj any) { r.pause(point{what: what, obj: obj}) }

// Look is called before obj, a pointer, is read.
func (r *Run) Look(what string, obj any) { r.pause(point{what: what, obj: obj, read: true}) }

// Block has the thread wait until ready says true. A thread that nobody will
// make ready is a deadlock.
func (r *Run) Block(what string, obj any, ready func() bool) {
	r.pause(point{what: what, obj: obj, ready: ready})
	if r.dead && !ready() {
		panic(errDead)
	}
}

var errDead = errors.New("explore: the run was given up")

// Choose is a choice of the world, not of the scheduler: it returns a number
// below n, and each of them in some schedule.
func (r *Run) Choose(n int) int {
	if r.dead || r.current == nil {
		return 0
	}
	return r.e.choose(r, n)
}

func (r *Run) pause(p point) {
	switch {
	case r.dead:
		if r.steps++; r.steps > 2*maxSteps {
			panic(errDead) // it would not end by itself
		}
	case r.current != nil:
		r.current.yield(p)
	}
}

// once runs the scenario under the schedule that the path tells.
func (e *explorer) once(scenario func(*Run) func() error) (err error) {
	r := &Run{e: e, last: -1}
	check := scenario(r)
	cut, err := r.run()
	e.Steps += r.steps
	e.Longest = max(e.Longest, r.steps)
	if cut || err != nil {
		r.end()
	}
	if cut {
		e.Cut++
		return nil
	}
	e.Schedules++
	if err == nil {
		err = check()
	}
	if err != nil {
		return &Failure{err, r.schedule()}
	}
	return nil
}

// run runs the threads to their end, or reports that the schedule is cut.
func (r *Run) run() (cut bool, err error) {
	for {
		ready, left := r.ready()
		switch {
		case left == 0:
			return false, nil
		case len(ready) == 0:
			return false, r.deadlock()
		case r.steps == maxSteps:
			return false, ErrEndless
		}
		t := r.e.schedule(r, ready)
		if t < 0 {
			return true, nil
		}
		if err := r.step(t); err != nil {
			return false, err
		}
	}
}

// ready is the threads that can take a step, and how many have not ended.
func (r *Run) ready() (ready []int, left int) {
	ready = r.buf[:0]
	for i, t := range r.threads {
		if t.ended {
			continue
		}
		left++
		if t.at.ready == nil || t.at.ready() {
			ready = append(ready, i)
		}
	}
	r.buf = ready
	if fair := r.e.opts.Fair; fair > 0 && len(ready) > 1 {
		tired := func(i int) bool { return r.threads[i].steps >= fair }
		if !slices.ContainsFunc(ready, func(i int) bool { return !tired(i) }) {
			return ready, left
		}
		ready = slices.DeleteFunc(ready, tired)
	}
	return ready, left
}

// step lets thread i run up to its next point.
func (r *Run) step(i int) (err error) {
	t := r.threads[i]
	r.log, r.points = append(r.log, t), append(r.points, t.at)
	r.current, r.last = t, i
	t.steps++
	r.steps++
	defer func() {
		r.current = nil
		if v := recover(); v != nil {
			t.ended = true
			err = fmt.Errorf("explore: thread %s panicked: %v", t.name, v)
		}
	}()
	at, ok := t.next()
	t.at, t.ended = at, !ok
	return nil
}

func (r *Run) deadlock() error {
	err := ErrDeadlock
	for _, t := range r.threads {
		if !t.ended {
			err = fmt.Errorf("%w; %s waits: %s", err, t.name, t.at.what)
		}
	}
	return err
}

// end lets the threads of a run that is given up end, so that they leave no
// goroutine behind. What they do is of no interest.
func (r *Run) end() {
	r.dead = true
	for i := 0; i < len(r.threads); i++ { // those that they start, too
		func() {
			defer func() { _ = recover() }()
			r.threads[i].stop()
		}()
	}
}

func (r *Run) schedule() (steps []string) {
	for i, t := range r.log {
		step := t.name + ": " + r.points[i].what
		if name := r.NameOf(r.points[i].obj); name != "" {
			step += " " + name
		}
		steps = append(steps, step)
	}
	return steps
}
