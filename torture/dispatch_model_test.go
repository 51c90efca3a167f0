package torture_test

import (
	"slices"

	"github.com/twillgo/twill"
)

// dispatchModel is a dispatch queue, slowly: everything happens at once, and a
// job's call ends when the test says so.
type dispatchModel struct {
	width, size     int
	paused, stopped bool
	seq             int
	pending         []*modelJob // in dispatch order
	underway        []*modelJob // in start order, with those that were cancelled
	killed          []*modelJob
	closed          bool
	leftovers       []*modelJob // when closed
}

type modelJob struct {
	n, priority, seq int
	state            twill.JobState
}

func (m *dispatchModel) put(j *modelJob) error {
	switch {
	case m.stopped:
		return twill.ErrStopped
	case len(m.underway) < m.width && !m.paused:
	case m.size < 0 || m.size > 0 && len(m.pending) >= m.size:
		return twill.ErrQueueFull
	}
	m.seq++
	j.seq = m.seq
	m.pending = append(m.pending, j)
	m.settle()
	return nil
}

// settle brings the jobs in order, and starts those that may start.
func (m *dispatchModel) settle() {
	slices.SortFunc(m.pending, func(a, b *modelJob) int {
		if a.priority != b.priority {
			return a.priority - b.priority
		}
		return a.seq - b.seq
	})
	for !m.paused && !m.stopped && len(m.underway) < m.width && len(m.pending) > 0 {
		j := m.pending[0]
		m.pending = m.pending[1:]
		j.state = twill.JobUnderway
		m.underway = append(m.underway, j)
	}
	if m.stopped && !m.closed && len(m.underway) == 0 {
		m.closed = true
		m.leftovers = slices.Concat(m.killed, m.pending)
	}
}

// finish ends the call of a job.
func (m *dispatchModel) finish(j *modelJob, state twill.JobState) {
	m.underway = slices.DeleteFunc(m.underway, func(k *modelJob) bool { return k == j })
	if j.state == twill.JobUnderway {
		j.state = state
	}
	m.settle()
}

func (m *dispatchModel) cancel(j *modelJob) bool {
	switch j.state {
	case twill.JobPending:
		m.pending = slices.DeleteFunc(m.pending, func(k *modelJob) bool { return k == j })
	case twill.JobUnderway:
	default:
		return false
	}
	j.state = twill.JobCanceled
	return true
}

func (m *dispatchModel) reprioritize(j *modelJob, priority int) error {
	if j.state != twill.JobPending {
		return twill.ErrNotPending
	}
	j.priority = priority
	m.settle()
	return nil
}

func (m *dispatchModel) setWidth(n int) {
	m.width = n
	m.settle()
}

func (m *dispatchModel) resume() error {
	if m.stopped {
		return twill.ErrStopped
	}
	m.paused = false
	m.settle()
	return nil
}

func (m *dispatchModel) clear() int {
	n := len(m.pending)
	for _, j := range m.pending {
		j.state = twill.JobCanceled
	}
	m.pending = nil
	return n
}

func (m *dispatchModel) stop(now bool) {
	if !m.stopped {
		m.stopped = true
		m.width = 0
	}
	if now {
		for _, j := range m.underway {
			if j.state == twill.JobUnderway {
				j.state = twill.JobCanceled
				m.killed = append(m.killed, j)
			}
		}
	}
	m.settle()
}

func numbers(jobs []*modelJob) []int {
	ns := make([]int, 0, len(jobs))
	for _, j := range jobs {
		ns = append(ns, j.n)
	}
	return ns
}
