package explore

import (
	"errors"
	"fmt"
	"iter"
	"slices"
)

// maxSteps is the number of steps after which a schedule counts as endless.
const maxSteps = 10_000

// Run is one run of a scenario, under one schedule. Only the scenario and its
// threads call its methods.
type Run struct {
	e         *explorer
	threads   []*thread
	current   *thread // the running thread; nil during setup and check
	last      int     // the thread that ran before
	depth     int     // number of choices made
	preempted int
	steps     int
	log       []*thread // the threads that have run, and
	points    []point   // their points, in order
	names     map[any]string
	buf       []int
	dead      bool // the run was given up: its threads end unobserved
}

// thread is a coroutine of the scenario.
type thread struct {
	name  string
	next  func() (point, bool)
	stop  func()
	yield func(point) bool
	at    point // the point at which it is
	steps int
	ended bool
}

// point is where a thread has stopped, and what its next step touches.
type point struct {
	what  string
	obj   any
	read  bool        // the step only reads obj
	ready func() bool // reports whether the step can be taken; nil means always
}

// matters reports whether the order of two steps of two threads may make a
// difference.
func (p point) matters(q point) bool {
	switch {
	case p.obj == nil || q.obj == nil: // the start of a thread
		return false
	case p.ready != nil || q.ready != nil: // anything may make it ready
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

// Name sets the name of obj in the steps of a failure.
func (r *Run) Name(obj any, name string) {
	if r.names == nil {
		r.names = make(map[any]string)
	}
	r.names[obj] = name
}

// NameOf returns the name of obj.
func (r *Run) NameOf(obj any) string { return r.names[obj] }

// Point must be called before obj, a pointer, is changed.
func (r *Run) Point(what string, obj any) { r.pause(point{what: what, obj: obj}) }

// Look must be called before obj, a pointer, is read.
func (r *Run) Look(what string, obj any) { r.pause(point{what: what, obj: obj, read: true}) }

// Block makes the thread wait until ready returns true. If nothing can make it
// ready, that is a deadlock.
func (r *Run) Block(what string, obj any, ready func() bool) {
	r.pause(point{what: what, obj: obj, ready: ready})
	if r.dead && !ready() {
		panic(errDead)
	}
}

var errDead = errors.New("explore: the run was given up")

// Others returns a function for the calling thread: how many steps the other
// threads have taken.
func (r *Run) Others() func() int {
	t := r.current
	return func() int {
		if t == nil {
			return r.steps
		}
		return r.steps - t.steps
	}
}

// Choose is a choice of the scenario, not of the scheduler: it returns a number
// below n, and each such number in some schedule.
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
			panic(errDead) // otherwise it would not end
		}
	case r.current != nil:
		r.current.yield(p)
	}
}

// once runs the scenario under the schedule of the path.
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

// run runs the threads to their end, or reports that the schedule was cut.
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

// ready returns the threads that can take a step, and the number of threads
// that have not ended.
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

// end makes the threads of a run that was given up end, so that they leave no
// goroutine behind. What they do does not matter.
func (r *Run) end() {
	r.dead = true
	for i := 0; i < len(r.threads); i++ { // including the threads that they start
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
