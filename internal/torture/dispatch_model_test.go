package torture_test

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// dispatchModel is a dispatch queue, slowly: everything happens at once, and a
// job's call ends when the test says so. Times are counted from the queue's making.
type dispatchModel struct {
	width, size              int
	ageing                   time.Duration
	paused, stopped, closing bool
	limited                  bool // starts wait for permits
	now                      time.Duration
	seq, restored            int
	pending                  []*modelJob // in dispatch order
	delayed                  []*modelJob // by the time at which they are due
	underway                 []*modelJob // in start order, with those that were cancelled
	putters                  []*modelPut // PutWaits that wait, in order
	drains                   []*modelDrain
	killed                   []*modelJob
	closed                   bool
	leftovers                []*modelJob // when closed
	stats                    twill.DispatchStats
	results                  int // jobs that ended before it was closed
}

type modelJob struct {
	n, priority, seq int
	state            twill.JobState
	key              string
	refuse           bool
	due              time.Duration // 0 is at any time
	since            time.Duration // from when on it could be started first
	timeout          time.Duration
	pauses           []time.Duration // before each retry
	started          bool
	failing          time.Duration // when its time is over; 0 is never
	attempts         int
}

// modelPut is a PutWait.
type modelPut struct {
	job  *modelJob
	done bool
	got  *modelJob
	err  error
}

// modelDrain is a Drain.
type modelDrain struct {
	done bool
	left []*modelJob
	err  error
}

var errGone = errors.New("nobody waits any more")

func (m *dispatchModel) put(j *modelJob) (*modelJob, error) {
	if m.stopped || m.closing {
		return nil, twill.ErrStopped
	}
	if old := m.keyed(j.key); old != nil {
		if j.refuse {
			return old, twill.ErrDuplicateJob
		}
		m.join(old, j)
		return old, nil
	}
	due := j.due <= m.now
	starts := due && len(m.underway) < m.width && !m.paused && !m.limited && len(m.pending) == 0
	if !starts && m.room(due) <= 0 {
		return nil, twill.ErrQueueFull
	}
	m.seq++
	m.accept(j, m.seq)
	if starts {
		m.begin()
	}
	return j, nil
}

func (m *dispatchModel) keyed(key string) *modelJob {
	for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
		if key != "" && j.key == key && j.state <= twill.JobUnderway {
			return j
		}
	}
	return nil
}

func (m *dispatchModel) join(old, j *modelJob) {
	m.stats.Joined++
	if old.state != twill.JobPending {
		return
	}
	old.priority = min(old.priority, j.priority)
	if i := slices.Index(m.delayed, old); i >= 0 && !old.started && j.due < old.due {
		m.delayed = slices.Delete(m.delayed, i, i+1)
		old.due = j.due
		m.enqueue(old)
	}
}

func (m *dispatchModel) room(due bool) int {
	if m.size == 0 {
		return 1
	}
	n := max(m.size, 0) - len(m.pending) - len(m.delayed)
	if due && !m.paused {
		n += max(m.width-len(m.underway), 0)
	}
	return n
}

func (m *dispatchModel) accept(j *modelJob, seq int) {
	j.seq = seq
	j.since = m.now
	m.stats.Put++
	m.enqueue(j)
}

func (m *dispatchModel) enqueue(j *modelJob) {
	if j.due > m.now {
		m.delayed = append(m.delayed, j)
	} else {
		m.pending = append(m.pending, j)
	}
}

// rank is what jobs are ordered by; the lower ones come first.
func (m *dispatchModel) rank(j *modelJob) time.Duration {
	if m.ageing == 0 {
		return time.Duration(j.priority)
	}
	since := j.since
	if !j.started {
		since = max(since, j.due)
	}
	return since + time.Duration(j.priority)*m.ageing
}

// settle brings the jobs in order, starts those that may start, and ends what
// has come to its end.
func (m *dispatchModel) settle() {
	for {
		m.order()
		if m.mayBegin() && !m.limited {
			m.begin()
			continue
		}
		more := false
		for m.letIn() {
			more = true
		}
		if !more {
			break
		}
	}
	if m.closing && len(m.underway)+len(m.pending)+len(m.delayed) == 0 && !m.stopped {
		m.halt()
	}
	if m.stopped && !m.closed && len(m.underway) == 0 {
		m.closed = true
		m.leftovers = slices.Concat(m.killed, m.pending, m.delayed)
	}
	if m.closed {
		for _, d := range m.drains {
			if !d.done {
				d.done, d.left = true, m.leftovers
				if len(d.left) > 0 {
					d.err = twill.ErrStopped
				}
			}
		}
	}
}

func (m *dispatchModel) order() {
	slices.SortFunc(m.pending, func(a, b *modelJob) int {
		return cmp.Or(cmp.Compare(m.rank(a), m.rank(b)), cmp.Compare(a.seq, b.seq))
	})
	slices.SortFunc(m.delayed, func(a, b *modelJob) int {
		return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
}

func (m *dispatchModel) mayBegin() bool {
	return !m.paused && !m.stopped && len(m.underway) < m.width && len(m.pending) > 0
}

func (m *dispatchModel) begin() {
	j := m.pending[0]
	m.pending = m.pending[1:]
	if !j.started {
		j.since = max(j.since, j.due)
		j.started = true
		if j.timeout > 0 {
			j.failing = m.now + j.timeout
		}
	}
	j.state = twill.JobUnderway
	j.attempts++
	m.underway = append(m.underway, j)
}

// letIn lets one PutWait in, or sends it away, and reports whether there was one.
func (m *dispatchModel) letIn() bool {
	for i, w := range m.putters {
		if m.stopped || m.closing || m.room(w.job.due <= m.now) > 0 {
			m.putters = slices.Delete(m.putters, i, i+1)
			w.done = true
			w.got, w.err = m.put(w.job)
			m.refused(w.err)
			return true
		}
	}
	return false
}

func (m *dispatchModel) refused(err error) {
	if err != nil {
		m.stats.Refused++
	}
}

func (m *dispatchModel) putWait(w *modelPut) {
	if w.got, w.err = m.put(w.job); w.err == twill.ErrQueueFull {
		m.putters = append(m.putters, w)
		return
	}
	w.done = true
	m.refused(w.err)
}

// over ends j, which is on no list or stays underway until its call returns.
func (m *dispatchModel) over(j *modelJob, state twill.JobState) {
	j.state = state
	j.failing = 0
	if !m.closed {
		m.results++
	}
	switch state {
	case twill.JobFinished:
		m.stats.Finished++
	case twill.JobFailed:
		m.stats.Failed++
	case twill.JobCanceled:
		m.stats.Canceled++
	}
}

// finish ends the call of a job, which is tried again if it has failed with an
// error.
func (m *dispatchModel) finish(j *modelJob, how string) {
	m.underway = without(m.underway, j)
	switch {
	case j.state != twill.JobUnderway:
	case how == "value":
		m.over(j, twill.JobFinished)
	case how == "error" && j.attempts <= len(j.pauses) && (j.failing == 0 || m.now+j.pauses[j.attempts-1] < j.failing):
		m.stats.Retries++
		j.state = twill.JobPending
		j.due = m.now + j.pauses[j.attempts-1]
		m.enqueue(j)
	default:
		m.over(j, twill.JobFailed)
	}
	m.settle()
}

func (m *dispatchModel) withdraw(j *modelJob) {
	m.pending, m.delayed = without(m.pending, j), without(m.delayed, j)
}

func (m *dispatchModel) cancel(j *modelJob) bool {
	if j.state > twill.JobUnderway {
		return false
	}
	m.withdraw(j)
	m.over(j, twill.JobCanceled)
	m.settle()
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
	jobs := slices.Concat(m.pending, m.delayed)
	m.pending, m.delayed = nil, nil
	for _, j := range jobs {
		m.over(j, twill.JobCanceled)
	}
	m.settle()
	return len(jobs)
}

func (m *dispatchModel) halt() {
	if !m.stopped {
		m.stopped = true
		m.width = 0
	}
}

func (m *dispatchModel) stop(now bool) (killed []*modelJob) {
	m.halt()
	for _, j := range m.underway {
		if now && j.state == twill.JobUnderway {
			m.over(j, twill.JobCanceled)
			killed = append(killed, j)
		}
	}
	m.killed = append(m.killed, killed...)
	m.settle()
	return killed
}

// permit is what the limiter says: one job starts, or fails.
func (m *dispatchModel) permit(ok bool) {
	if ok {
		m.begin()
	} else {
		j := m.pending[0]
		m.withdraw(j)
		m.over(j, twill.JobFailed)
	}
	m.settle()
}

// sleep passes d, event by event.
func (m *dispatchModel) sleep(d time.Duration) {
	for end := m.now + d; ; {
		m.now = min(end, m.next())
		for !m.stopped && len(m.delayed) > 0 && m.delayed[0].due <= m.now {
			m.pending = append(m.pending, m.delayed[0])
			m.delayed = m.delayed[1:]
		}
		for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
			if j.failing == 0 || j.failing > m.now || j.state == twill.JobPending && m.stopped {
				continue
			}
			m.withdraw(j)
			m.over(j, twill.JobFailed)
		}
		m.settle()
		if m.now == end {
			return
		}
	}
}

// next is when something happens by itself.
func (m *dispatchModel) next() time.Duration {
	var times []time.Duration
	for _, w := range m.putters {
		times = append(times, w.job.due)
	}
	for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
		times = append(times, j.failing)
		if j.state == twill.JobPending {
			times = append(times, j.due)
		}
	}
	first := time.Duration(1 << 62)
	for _, t := range times {
		if t > m.now {
			first = min(first, t)
		}
	}
	return first
}

func without(jobs []*modelJob, j *modelJob) []*modelJob {
	return slices.DeleteFunc(jobs, func(k *modelJob) bool { return k == j })
}

func numbers(jobs []*modelJob) []int {
	ns := make([]int, 0, len(jobs))
	for _, j := range jobs {
		ns = append(ns, j.n)
	}
	return ns
}
