package torture_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/twillgo/twill"
)

// A random walk over all that a dispatch queue can do, next to the model: after
// every step both list the same jobs in the same order and states, and the
// futures of jobs, pauses and stops have settled, or not, alike.
func TestDispatchMachine(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &dispatchMachine{}
		m.model.width = rapid.IntRange(1, 3).Draw(rt, "width")
		m.model.size = rapid.SampledFrom([]int{0, 0, 2, -1}).Draw(rt, "size")
		m.q = twill.NewResizableDispatchQueue(m.call, &twill.DispatchOptions{Width: m.model.width, Size: m.model.size})
		defer m.end(rt)
		rt.Repeat(rapid.StateMachineActions(m))
	})
}

type dispatchMachine struct {
	q      *twill.ResizableDispatchQueue[*realJob, int]
	model  dispatchModel
	jobs   []*realJob
	pauses []*pause
	stops  []*twill.Future[[]*twill.Job[*realJob, int]]
}

// realJob is a job and the argument of its call, which ends as gate says.
type realJob struct {
	modelJob
	job  *twill.Job[*realJob, int]
	gate chan string
}

type pause struct {
	f       *twill.Future[struct{}]
	resumed bool // before it was drained
	drained bool
}

var errJob = errors.New("job failed")

func (m *dispatchMachine) call(_ context.Context, j *realJob) (int, error) {
	switch <-j.gate {
	case "error":
		return 0, errJob
	case "panic":
		panic(errJob)
	case "exit":
		runtime.Goexit()
	}
	return j.n, nil
}

// Put puts a job.
func (m *dispatchMachine) Put(rt *rapid.T) {
	j := &realJob{modelJob: modelJob{n: len(m.jobs), priority: rapid.IntRange(0, 2).Draw(rt, "priority")}, gate: make(chan string, 1)}
	want := m.model.put(&j.modelJob)
	if want == nil {
		m.jobs = append(m.jobs, j)
	}
	var err error
	for began := time.Now(); time.Since(began) < 10*time.Second; runtime.Gosched() {
		// A slot is free only when the handlers of the job before have run, which is
		// after it has left the list.
		if j.job, err = m.q.Put(j, j.priority); err != twill.ErrQueueFull || want != nil {
			break
		}
	}
	if err != want {
		rt.Fatalf("Put: %v, not %v", err, want)
	}
}

// Finish ends a call that is underway.
func (m *dispatchMachine) Finish(rt *rapid.T) {
	if len(m.model.underway) == 0 {
		rt.Skip("nothing is underway")
	}
	j := m.jobs[rapid.SampledFrom(m.model.underway).Draw(rt, "job").n]
	how := rapid.SampledFrom([]string{"value", "value", "error", "panic", "exit"}).Draw(rt, "end")
	state := twill.JobFailed
	if how == "value" {
		state = twill.JobFinished
	}
	m.model.finish(&j.modelJob, state)
	j.gate <- how
}

func (m *dispatchMachine) pick(rt *rapid.T) *realJob {
	if len(m.jobs) == 0 {
		rt.Skip("there are no jobs")
	}
	return rapid.SampledFrom(m.jobs).Draw(rt, "job")
}

// Cancel cancels a job.
func (m *dispatchMachine) Cancel(rt *rapid.T) {
	j := m.pick(rt)
	if got, want := j.job.Cancel(nil), m.model.cancel(&j.modelJob); got != want {
		rt.Fatalf("Cancel of job %d: %t, not %t", j.n, got, want)
	}
}

// Reprioritize moves a job.
func (m *dispatchMachine) Reprioritize(rt *rapid.T) {
	j, priority := m.pick(rt), rapid.IntRange(-1, 3).Draw(rt, "priority")
	if got, want := m.q.Reprioritize(j.job, priority), m.model.reprioritize(&j.modelJob, priority); got != want {
		rt.Fatalf("Reprioritize of job %d: %v, not %v", j.n, got, want)
	}
}

// SetWidth sets the width, also to less than nothing.
func (m *dispatchMachine) SetWidth(rt *rapid.T) {
	n := rapid.IntRange(-1, 4).Draw(rt, "width")
	err := m.q.SetWidth(n)
	if n < 0 {
		if err != twill.ErrNegativeWidth {
			rt.Fatalf("SetWidth: %v", err)
		}
		return
	}
	m.model.setWidth(n)
}

// Pause pauses.
func (m *dispatchMachine) Pause(*rapid.T) {
	m.model.paused = true
	m.pauses = append(m.pauses, &pause{f: m.q.Pause()})
}

// Resume resumes, perhaps with another width.
func (m *dispatchMachine) Resume(rt *rapid.T) {
	var err error
	if n := rapid.IntRange(-1, 3).Draw(rt, "width"); n >= 0 {
		err = m.q.ResumeWidth(n)
		if !m.model.stopped {
			m.model.width = n
		}
	} else {
		err = m.q.Resume()
	}
	for _, p := range m.pauses {
		p.resumed = p.resumed || !p.drained && !m.model.stopped
	}
	if want := m.model.resume(); err != want {
		rt.Fatalf("Resume: %v, not %v", err, want)
	}
}

// Clear cancels what is pending.
func (m *dispatchMachine) Clear(rt *rapid.T) {
	if got, want := m.q.Clear(), m.model.clear(); got != want {
		rt.Fatalf("Clear: %d, not %d", got, want)
	}
}

// Stop stops, now and then: it ends most of what there is to see.
func (m *dispatchMachine) Stop(rt *rapid.T) {
	switch rapid.IntRange(0, 9).Draw(rt, "stop") {
	case 0:
		m.stops = append(m.stops, m.q.Stop())
		m.model.stop(false)
	case 1:
		m.stops = append(m.stops, m.q.StopNow())
		m.model.stop(true)
	}
}

// Check waits until the queue is where the model is.
func (m *dispatchMachine) Check(rt *rapid.T) {
	for _, p := range m.pauses {
		p.drained = p.drained || !p.resumed && len(m.model.underway) == 0
	}
	difference := ""
	for began := time.Now(); time.Since(began) < 10*time.Second; runtime.Gosched() {
		if difference = m.differs(); difference == "" {
			return
		}
	}
	rt.Fatal(difference)
}

func (m *dispatchMachine) differs() string {
	list := func(jobs []*twill.Job[*realJob, int]) []int {
		ns := make([]int, 0, len(jobs))
		for _, j := range jobs {
			ns = append(ns, j.Arg().n)
		}
		return ns
	}
	got := fmt.Sprint(list(m.q.Pending()), list(m.q.Underway()), m.q.Width(), m.q.Paused(), m.q.Stopped())
	want := fmt.Sprint(numbers(m.model.pending), numbers(m.model.underway), m.model.width, m.model.paused, m.model.stopped)
	if got != want {
		return fmt.Sprintf("pending, underway, width, paused, stopped: %s, not %s", got, want)
	}
	for _, j := range m.jobs {
		if j.job.State() != j.state || j.job.Priority() != j.priority {
			return fmt.Sprintf("job %d is %v with priority %d, not %v with %d", j.n, j.job.State(), j.job.Priority(), j.state, j.priority)
		}
		r, ok := j.job.Poll()
		right := !ok
		switch j.state {
		case twill.JobFinished:
			right = ok && r.Value == j.n && r.Err == nil
		case twill.JobFailed:
			right = ok && (errors.Is(r.Err, errJob) || errors.Is(r.Err, twill.ErrGoexit))
		case twill.JobCanceled:
			right = ok && errors.Is(r.Err, twill.ErrCanceled)
		}
		if !right {
			return fmt.Sprintf("job %d is %v, and its future has %v, %t", j.n, j.state, r, ok)
		}
	}
	for i, p := range m.pauses {
		r, ok := p.f.Poll()
		if ok != (p.drained || p.resumed) || p.drained && r.Err != nil || p.resumed && !errors.Is(r.Err, twill.ErrResumed) {
			return fmt.Sprintf("pause %d (resumed %t, drained %t) has %v, %t", i, p.resumed, p.drained, r, ok)
		}
	}
	for i, f := range m.stops {
		r, ok := f.Poll()
		if ok != m.model.closed || ok && !slices.Equal(list(r.Value), numbers(m.model.leftovers)) {
			return fmt.Sprintf("stop %d has %v, %t, not %v", i, list(r.Value), ok, numbers(m.model.leftovers))
		}
	}
	return ""
}

// end lets all calls return.
func (m *dispatchMachine) end(rt *rapid.T) {
	m.q.Stop()
	for _, j := range m.model.underway {
		m.jobs[j.n].gate <- "value"
	}
}
