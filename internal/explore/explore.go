// Package explore runs a small concurrent scenario under every schedule there
// is: a stateless, depth-first search, for tests.
//
// The threads of a scenario are coroutines, so that one runs at a time, and
// they change hands at the choice points only: where the code under test calls
// [Run.Point], [Run.Look] or [Run.Block]. A schedule is the list of the
// threads chosen there; the next one is made by going back to the last choice
// that has an alternative left, and is run from the start.
//
// Orders that cannot matter are not tried: two neighbouring steps that touch
// different objects give the same either way. Sleep sets leave the second one
// out (Godefroid, "Partial-Order Methods for the Verification of Concurrent
// Systems", 1996). What a step touches is what its choice point names, so the
// search is complete if every access to shared state is behind a point that
// names it. Options.Plain tries all orders.
//
// With the build tag "explore" the tests here search what goroutines may do
// with the library's futures, and with what is built on them; internal/settle then
// has a choice point at each access to the word of a core, internal/sched at each lock. Two searches are bounded: where a scenario has
// too many schedules, and between two steps on a list's own counters, which are
// none of a core's (see plan in the tests).
package explore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Options say how far to search. The zero value searches everything.
type Options struct {
	// Preemptions bounds how often a schedule takes the turn from a thread
	// that could go on; 0 sets no bound. A bounded search tries also the orders
	// that cannot matter.
	Preemptions int
	// Plain has all orders tried.
	Plain bool
	// Fair, if not 0, is how many steps a thread may take while others could:
	// for code that spins until another thread has gone on.
	Fair int
	// Limit is the number of schedules at which the search gives up, with
	// [ErrLimit]; 0 means a million.
	Limit int
}

// Stats is what a search has done.
type Stats struct {
	Schedules int // run to their end
	Cut       int // given up, because all that was left to try was tried before
	Steps     int // of threads, in all schedules
	Longest   int // steps of one schedule
}

// How a search ends other than by a failure of the scenario.
var (
	// ErrLimit is returned when there are more schedules than the limit.
	ErrLimit = errors.New("explore: more schedules than the limit")

	// ErrDeadlock is the failure of a schedule in which no thread can go on.
	ErrDeadlock = errors.New("explore: deadlock")

	// ErrEndless is the failure of a schedule that does not end.
	ErrEndless = errors.New("explore: too many steps")
)

// Failure is the first schedule that failed.
type Failure struct {
	Err      error
	Schedule []string // the steps, as "thread: point"
}

func (f *Failure) Error() string {
	return fmt.Sprintf("%v, after the steps\n\t%s", f.Err, strings.Join(f.Schedule, "\n\t"))
}

// Unwrap returns Err.
func (f *Failure) Unwrap() error { return f.Err }

// All runs the scenario under every schedule, and stops at the first that
// fails, with a [*Failure]. The scenario makes new state, starts threads by
// [Run.Go], and returns what is checked when all of them have ended; it must
// depend on nothing but the schedule.
func All(opts Options, scenario func(*Run) (check func() error)) (Stats, error) {
	if opts.Limit == 0 {
		opts.Limit = 1_000_000
	}
	e := &explorer{opts: opts}
	for {
		if err := e.once(scenario); err != nil {
			return e.Stats, err
		}
		if !e.back() {
			return e.Stats, nil
		}
		if e.Schedules >= opts.Limit {
			return e.Stats, ErrLimit
		}
	}
}

type explorer struct {
	Stats
	opts Options
	path []*node // the choices of the schedule underway
}

// node is one choice.
type node struct {
	data  bool  // made by Choose, not by the scheduler
	pick  int   // thread, or value
	step  point // where the picked thread stood
	rest  []int // to be picked later
	done  []int // picked before
	sleep []int // threads whose next step was tried before, in an equal state
	taken int   // preemptions up to here
}

// back makes the path that of the next schedule, and reports whether there is
// one.
func (e *explorer) back() bool {
	for len(e.path) > 0 {
		n := e.path[len(e.path)-1]
		if len(n.rest) > 0 {
			n.done = append(n.done, n.pick)
			n.pick, n.rest = n.rest[0], n.rest[1:]
			return true
		}
		e.path = e.path[:len(e.path)-1]
	}
	return false
}

// schedule picks a thread at the depth of r, -1 if all have been tried.
func (e *explorer) schedule(r *Run, ready []int) int {
	if r.depth == len(e.path) {
		n := e.child(r)
		last := slices.Contains(ready, r.last)
		for _, t := range ready {
			if slices.Contains(n.sleep, t) {
				continue
			}
			if last && t == r.last {
				n.rest = slices.Insert(n.rest, 0, t)
			} else if !last || e.opts.Preemptions == 0 || n.taken < e.opts.Preemptions {
				n.rest = append(n.rest, t)
			}
		}
		if len(n.rest) == 0 {
			return -1
		}
		n.pick, n.rest = n.rest[0], n.rest[1:]
		e.path = append(e.path, n)
	}
	n := e.path[r.depth]
	n.step = r.threads[n.pick].at
	r.preempted = n.taken
	if n.pick != r.last && slices.Contains(ready, r.last) {
		r.preempted++
	}
	r.depth++
	return n.pick
}

// choose picks one of n values at the depth of r.
func (e *explorer) choose(r *Run, n int) int {
	if r.depth == len(e.path) {
		c := e.child(r)
		c.data = true
		for i := 1; i < n; i++ {
			c.rest = append(c.rest, i)
		}
		e.path = append(e.path, c)
	}
	r.depth++
	return e.path[r.depth-1].pick
}

// child is a new choice below the last one: asleep are those that were or have
// been tried there, unless the step taken since matters to theirs.
func (e *explorer) child(r *Run) *node {
	n := &node{taken: r.preempted}
	if len(e.path) == 0 || e.opts.Plain || e.opts.Preemptions > 0 {
		return n
	}
	up := e.path[len(e.path)-1]
	if up.data {
		n.sleep = up.sleep
		return n
	}
	for _, t := range slices.Concat(up.sleep, up.done) {
		if !r.threads[t].at.matters(up.step) {
			n.sleep = append(n.sleep, t)
		}
	}
	return n
}
