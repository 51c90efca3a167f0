package torture_test

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// dispatchModel is a slow dispatch queue: everything happens at once, and the
// test decides when a job's call ends. Times are counted from the creation of
// the queue.
type dispatchModel struct {
	width, size              int
	ageing                   time.Duration
	paused, stopped, closing bool
	limited                  bool          // starts wait for permits
	failing, retryAt, pause  time.Duration // since when permits fail, until when none is asked for, and the time between
	heldSince                time.Duration // since when a job waits for nothing but a permit
	groupLimit               twill.GroupLimit
	ownLimits                map[string]twill.GroupLimit
	groupNext                map[string]time.Duration // when a group's next start would be without a burst
	turns                    bool                     // groups take turns
	turn                     int
	groupTurn                map[string]int
	now                      time.Duration
	seq, restored            int
	pending                  []*modelJob // in order of dispatch
	delayed                  []*modelJob // by due time
	underway                 []*modelJob // in order of start, including canceled jobs
	putters                  []*modelPut // waiting PutWaits, in order
	drains                   []*modelDrain
	killed                   []*modelJob
	closed                   bool
	leftovers                []*modelJob // when it was closed
	stats                    twill.DispatchStats
	results                  int // number of jobs that ended before it was closed
}

type modelJob struct {
	n, priority, seq int
	state            twill.JobState
	key              string
	arg              int // number of the job whose argument it has
	group            string
	refuse           bool
	again, debounce  bool
	held             bool
	next             *modelJob     // the job that runs after it, with the same key
	follows          bool          // it is the next of another job
	values           bool          // it has a context of its own
	expires          time.Duration // the job is not started at or after this time; 0 means never
	due              time.Duration // 0 means at any time
	since            time.Duration // the time from which it could first be started
	timeout          time.Duration
	pauses           []time.Duration // the pauses before retries
	started          bool
	failing          time.Duration // when its time limit is exceeded; 0 means never
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

var errGone = errors.New("the wait was given up")

func (m *dispatchModel) put(j *modelJob) (*modelJob, error) {
	if m.stopped || m.closing {
		return nil, twill.ErrStopped
	}
	if old := m.keyed(j.key); old != nil {
		if j.refuse {
			return old, twill.ErrDuplicateJob
		}
		if m.needsRun(old, j) {
			if m.room(&modelJob{held: true}, 1) <= 0 {
				return nil, twill.ErrQueueFull
			}
			m.seq++
			m.follow(old, j, m.seq)
			return j, nil
		}
		return m.join(old, j), nil
	}
	starts := m.due(j) && m.opens(j) && len(m.underway) < m.width && !m.paused && !m.limited && len(m.startable()) == 0
	if !starts && m.room(j, 1) <= 0 {
		return nil, twill.ErrQueueFull
	}
	m.seq++
	m.accept(j, m.seq)
	if starts {
		m.begin()
	}
	return j, nil
}

// due reports whether j may start, apart from its group.
func (m *dispatchModel) due(j *modelJob) bool {
	return j.due <= m.now && !j.held && !j.follows
}

// running returns how many calls of a group have not returned.
func (m *dispatchModel) running(group string) (n int) {
	for _, j := range m.underway {
		if j.group == group {
			n++
		}
	}
	return n
}

func (m *dispatchModel) limitOf(group string) twill.GroupLimit {
	if own, ok := m.ownLimits[group]; ok {
		return own
	}
	if group == "" {
		return twill.GroupLimit{}
	}
	return m.groupLimit
}

// rateOf is the time between two starts, and that which Burst starts take.
func rateOf(l twill.GroupLimit) (interval, span time.Duration) {
	interval = time.Duration(float64(time.Second) / l.Rate)
	return interval, time.Duration(max(l.Burst, 1)) * interval
}

// mayStart is how many jobs of a group may start now.
func (m *dispatchModel) mayStart(group string) int {
	n, l := math.MaxInt, m.limitOf(group)
	if l.Width > 0 {
		n = l.Width - m.running(group)
	}
	if l.Rate > 0 {
		interval, span := rateOf(l)
		n = min(n, int((m.now+span-max(m.groupNext[group], m.now))/interval))
	}
	return max(n, 0)
}

// opensAt is when the rate of a group lets a job start.
func (m *dispatchModel) opensAt(group string) time.Duration {
	l := m.limitOf(group)
	if l.Rate == 0 {
		return 0
	}
	interval, span := rateOf(l)
	return m.groupNext[group] + interval - span
}

// opens reports whether a job of j's group may start.
func (m *dispatchModel) opens(j *modelJob) bool { return m.mayStart(j.group) > 0 }

func (m *dispatchModel) inGroup(j *modelJob) bool { return j.group != "" || m.turns }

func (m *dispatchModel) setLimits(group string, l *twill.GroupLimit) {
	switch {
	case group == "":
		m.groupLimit = *l
	case l == nil:
		delete(m.ownLimits, group)
	default:
		m.ownLimits[group] = *l
	}
	for g, next := range m.groupNext {
		_, own := m.ownLimits[g]
		if now := m.limitOf(g); now.Rate > 0 && (group == g || group == "" && !own) {
			_, span := rateOf(now)
			m.groupNext[g] = min(next, m.now+span)
		}
	}
	m.settle()
}

// startable returns the jobs that may start when a slot is free, in that order:
// one job of each group that is not at its limit.
func (m *dispatchModel) startable() (jobs []*modelJob) {
	seen := map[string]bool{}
	for _, j := range m.pending {
		if !seen[j.group] && m.opens(j) {
			jobs = append(jobs, j)
		}
		seen[j.group] = m.inGroup(j)
	}
	if m.turns && m.ageing == 0 {
		slices.SortStableFunc(jobs, func(a, b *modelJob) int {
			return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(m.groupTurn[a.group], m.groupTurn[b.group]))
		})
	}
	return jobs
}

func (m *dispatchModel) waiting() []*modelJob { return slices.Concat(m.pending, m.delayed) }

// needsRun reports whether j must run after old.
func (m *dispatchModel) needsRun(old, j *modelJob) bool {
	return j.again && !j.refuse && old.state == twill.JobUnderway && old.next == nil
}

func (m *dispatchModel) follow(old, j *modelJob, seq int) {
	j.follows = true
	old.next = j
	m.accept(j, seq)
}

func (m *dispatchModel) release(j *modelJob) bool {
	if !j.held || j.state != twill.JobPending {
		return false
	}
	j.held = false
	m.requeue(j)
	m.settle()
	return true
}

// requeue moves j to where it now waits.
func (m *dispatchModel) requeue(j *modelJob) {
	if i := slices.Index(m.delayed, j); i >= 0 {
		m.delayed = slices.Delete(m.delayed, i, i+1)
		m.enqueue(j)
	}
}

func (m *dispatchModel) keyed(key string) *modelJob {
	for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
		if key != "" && j.key == key && j.state <= twill.JobUnderway && !j.follows {
			return j
		}
	}
	return nil
}

// join merges j into old, and returns the job that stands for j.
func (m *dispatchModel) join(old, j *modelJob) *modelJob {
	if j.again && old.next != nil {
		old = old.next
	}
	m.stats.Joined++
	if old.state != twill.JobPending {
		return old
	}
	if j.again || j.debounce {
		old.arg = j.arg
	}
	old.priority = min(old.priority, j.priority)
	if i := slices.Index(m.delayed, old); old.attempts == 0 && (j.debounce || i >= 0 && j.due < old.due) {
		m.withdraw(old)
		old.due = j.due
		m.enqueue(old)
	}
	return old
}

// room returns how many of n jobs like j may be put.
func (m *dispatchModel) room(j *modelJob, n int) int {
	if m.size == 0 {
		return n
	}
	free := 0
	if !m.paused {
		free = max(m.width-len(m.underway), 0)
	}
	starting := len(m.startable())
	waits := len(m.pending) + len(m.delayed) - min(starting, free)
	usable := 0
	if m.due(j) {
		usable = max(free-starting, 0)
		if m.inGroup(j) {
			usable = min(usable, m.groupRoom(j))
		}
	}
	return max(max(m.size, 0)-waits, 0) + usable
}

// groupRoom returns how many more jobs of the group of j could start: none if a
// job of it waits behind another one or for the group.
func (m *dispatchModel) groupRoom(j *modelJob) int {
	n := 0
	for _, k := range m.pending {
		if k.group == j.group {
			n++
		}
	}
	if n > 1 || n == 1 && !m.opens(j) {
		return 0
	}
	return max(m.mayStart(j.group)-n, 0)
}

func (m *dispatchModel) accept(j *modelJob, seq int) {
	j.seq = seq
	j.since = m.now
	m.stats.Put++
	m.enqueue(j)
}

func (m *dispatchModel) enqueue(j *modelJob) {
	if j.due > m.now || j.held || j.follows {
		m.delayed = append(m.delayed, j)
	} else {
		m.push(j)
	}
}

// push makes j one of the jobs that are due.
func (m *dispatchModel) push(j *modelJob) {
	if !slices.ContainsFunc(m.pending, func(k *modelJob) bool { return k.group == j.group }) {
		m.takeTurn(j.group)
	}
	m.pending = append(m.pending, j)
}

func (m *dispatchModel) takeTurn(group string) {
	m.turn++
	m.groupTurn[group] = m.turn
}

// rank returns the key by which jobs are ordered; lower keys come first.
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

// settle sorts the jobs, starts jobs that may start, and ends jobs whose time
// limit is exceeded.
func (m *dispatchModel) settle() {
	for {
		m.expireAtOnce()
		m.joinLine()
		m.order()
		if m.mayBegin() && !m.limited {
			m.begin()
			continue
		}
		more := false
		m.hold()
		for m.letIn() {
			more = true
			m.expireAtOnce()
			m.hold()
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

// hold records whether a job waits for nothing but a permit.
func (m *dispatchModel) hold() {
	switch {
	case !m.limited || !m.mayBegin():
		m.heldSince = -1
	case m.heldSince < 0:
		m.heldSince = m.now
	}
}

// expireAtOnce ends jobs that were put after the time at which they expire.
func (m *dispatchModel) expireAtOnce() {
	for _, j := range m.waiting() {
		if j.expires != 0 && !j.started && j.expires <= m.now && !m.stopped {
			m.withdraw(j)
			m.over(j, twill.JobFailed)
		}
	}
}

func (m *dispatchModel) order() {
	slices.SortFunc(m.pending, func(a, b *modelJob) int {
		return cmp.Or(cmp.Compare(m.rank(a), m.rank(b)), cmp.Compare(a.seq, b.seq))
	})
	slices.SortFunc(m.delayed, func(a, b *modelJob) int {
		return cmp.Or(cmp.Compare(until(a), until(b)), cmp.Compare(a.seq, b.seq))
	})
}

// until returns the time until which j is delayed.
func until(j *modelJob) time.Duration {
	if j.held || j.follows {
		return math.MaxInt64
	}
	return j.due
}

func (m *dispatchModel) mayBegin() bool {
	return !m.paused && !m.stopped && len(m.underway) < m.width && len(m.startable()) > 0
}

func (m *dispatchModel) begin() {
	j := m.startable()[0]
	m.pending = without(m.pending, j)
	if j.expires != 0 && !j.started && j.expires <= m.now {
		m.over(j, twill.JobFailed)
		return
	}
	if !j.started {
		j.since = max(j.since, j.due)
		j.started = true
		if j.timeout > 0 {
			j.failing = m.now + j.timeout
		}
	}
	j.state = twill.JobUnderway
	j.attempts++
	m.takeTurn(j.group)
	if l := m.limitOf(j.group); l.Rate > 0 {
		interval, _ := rateOf(l)
		m.groupNext[j.group] = max(m.groupNext[j.group], m.now) + interval
	}
	m.underway = append(m.underway, j)
}

// roomToPut reports whether there is room for j, which may have to run after
// the job that has its key.
func (m *dispatchModel) roomToPut(j *modelJob) bool {
	if old := m.keyed(j.key); old != nil && m.needsRun(old, j) {
		j = &modelJob{held: true}
	}
	return m.room(j, 1) > 0
}

// letIn admits or refuses one PutWait, and reports whether there was one.
func (m *dispatchModel) letIn() bool {
	for i, w := range m.putters {
		if m.stopped || m.closing || m.roomToPut(w.job) {
			m.putters = slices.Delete(m.putters, i, i+1)
			w.done = true
			w.got, w.err = m.put(w.job)
			m.refused(w.err)
			m.order()
			return true
		}
	}
	return false
}

// joinLine makes the PutWaits whose key now has a job join that job.
func (m *dispatchModel) joinLine() {
	for _, w := range slices.Clone(m.putters) {
		old := m.keyed(w.job.key)
		if old == nil || m.needsRun(old, w.job) { // it takes room, in its turn
			continue
		}
		m.putters = slices.DeleteFunc(m.putters, func(x *modelPut) bool { return x == w })
		w.done = true
		w.got, w.err = m.put(w.job)
		m.refused(w.err)
	}
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
	if next := j.next; next != nil {
		j.next = nil
		if next.state == twill.JobPending {
			next.follows = false
			m.requeue(next)
		}
	}
	for _, k := range slices.Concat(m.pending, m.delayed, m.underway) {
		if k.next == j {
			k.next = nil
		}
	}
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

// finish ends the call of a job. The job is tried again if the call has failed
// with an error.
func (m *dispatchModel) finish(j *modelJob, how string, d time.Duration) {
	m.underway = without(m.underway, j)
	switch {
	case j.state != twill.JobUnderway:
	case how == "value":
		m.over(j, twill.JobFinished)
	case how == "snooze":
		m.stats.Snoozed++
		j.state = twill.JobPending
		j.attempts--
		j.due = m.now + d
		if d == 0 { // it goes behind its equals
			m.seq++
			j.seq, j.since = m.seq, m.now
		}
		m.enqueue(j)
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
	jobs := m.waiting()
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

// asks reports whether the limiter is asked for a permit.
func (m *dispatchModel) asks() bool { return m.limited && m.mayBegin() && m.now >= m.retryAt }

// permit lets one job start, as the limiter does.
func (m *dispatchModel) permit() {
	m.failing, m.retryAt, m.pause = -1, 0, 0
	m.begin()
	m.settle()
}

// deny makes the limiter fail.
func (m *dispatchModel) deny() {
	if m.failing < 0 {
		m.failing = m.now
	}
	m.pause = min(max(2*m.pause, 100*time.Millisecond), 30*time.Second)
	m.retryAt = m.now + m.pause
}

// sleep advances the time by d, event by event.
func (m *dispatchModel) sleep(d time.Duration) {
	for end := m.now + d; ; {
		m.now = min(end, m.next())
		for !m.stopped && len(m.delayed) > 0 && until(m.delayed[0]) <= m.now {
			m.push(m.delayed[0])
			m.delayed = m.delayed[1:]
		}
		for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
			late := j.failing != 0 && j.failing <= m.now || j.expires != 0 && !j.started && j.expires <= m.now
			if !late || j.state > twill.JobUnderway || j.state == twill.JobPending && m.stopped {
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

// next returns the time of the next event that happens by itself.
func (m *dispatchModel) next() time.Duration {
	var times []time.Duration
	for _, w := range m.putters {
		times = append(times, w.job.due)
	}
	for _, j := range slices.Concat(m.pending, m.delayed, m.underway) {
		times = append(times, j.failing, j.expires)
		if j.state == twill.JobPending {
			times = append(times, j.due)
		}
	}
	for group := range m.groupNext {
		times = append(times, m.opensAt(group))
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
		ns = append(ns, j.arg)
	}
	return ns
}
