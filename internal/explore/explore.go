// Package explore runs a small concurrent scenario under every possible
// schedule: a stateless, depth-first search, for tests.
//
// The threads of a scenario are coroutines. One of them runs at a time, and
// another one can continue only at a choice point: where the code under test
// calls [Run.Point], [Run.Look] or [Run.Block]. A schedule is the list of the
// threads chosen there. The next schedule differs at the last choice that has
// an alternative left, and is run from the start.
//
// Orders that make no difference are not tried: two adjacent steps that touch
// different objects have the same effect in either order. Sleep sets leave out
// the second order (Godefroid, "Partial-Order Methods for the Verification of
// Concurrent Systems", 1996). A choice point names what its step touches, so
// the search is complete if every access to shared state follows a choice point
// that names it. Options.Plain tries all orders.
//
// With the build tag "explore" the tests here search what goroutines may do
// with the library's futures, and with what is built on them; internal/settle
// then has a choice point at each access to the word of a core, internal/sched
// at each lock. Two searches are bounded: where a scenario has too many
// schedules, and between two steps on a list's own counters, which are none of
// a core's (see plan in the tests).
package explore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Options say how far to search. The zero value searches everything.
type Options struct {
	// Preemptions bounds how often a schedule switches away from a thread that
	// could continue; 0 means no bound. A bounded search also tries orders that
	// make no difference.
	Preemptions int
	// Plain tries all orders.
	Plain bool
	// Fair, if not 0, is the maximum number of steps that a thread may take while
	// others could, for code that spins until another thread has continued.
	Fair int
	// Limit is the number of schedules after which the search fails with
	// [ErrLimit]; 0 means a million.
	Limit int
}

// Stats has the numbers of a search.
type Stats struct {
	Schedules int // schedules that were run to their end
	Cut       int // schedules that were given up, because all that was left had been tried before
	Steps     int // steps of threads, in all schedules
	Longest   int // steps of the longest schedule
}

// The ways in which a search ends other than by a failure of the scenario.
var (
	// ErrLimit is returned if there are more schedules than the limit.
	ErrLimit = errors.New("explore: more schedules than the limit")

	// ErrDeadlock is the failure of a schedule in which no thread can continue.
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

// All runs the scenario under every schedule, and stops at the first schedule
// that fails, with a [*Failure]. The scenario makes new state, starts threads
// by [Run.Go], and returns a check that is called after all of them have ended.
// It must depend only on the schedule.
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
	data  bool  // made by Choose, and not by the scheduler
	pick  int   // thread, or value
	step  point // the point at which the picked thread was
	rest  []int // still to be picked
	done  []int // picked before
	sleep []int // threads whose next step was tried before, in an equal state
	taken int   // number of preemptions up to here
}

// back changes the path to that of the next schedule, and reports whether there
// is one.
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

// schedule picks a thread at the depth of r, or returns -1 if all have been
// tried.
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

// child returns a new choice below the last one. The threads that were asleep
// or have been tried there are asleep in it, unless the step taken since then
// matters to theirs.
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
