package twill

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
)

// middle is the number before that of the first job put; those of jobs that are
// restored lie below.
const middle = 1 << 63

// JobRecord is what a job is saved as. In JSON, a [Job] is its JobRecord, and a
// list of them, as Stop gives it, is what Restore takes once it was read again.
type JobRecord[A any] struct {
	Arg      A         `json:"arg"`
	Priority int       `json:"priority"`
	State    JobState  `json:"state"`
	Key      string    `json:"key,omitempty"`
	Attempts int       `json:"attempts"`
	Queued   time.Time `json:"queued"`
	Due      time.Time `json:"due,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Stopped  time.Time `json:"stopped,omitzero"`
}

// Record returns what is to be saved of j.
func (j *Job[A, R]) Record() JobRecord[A] {
	q := j.q
	q.mu.Lock()
	defer q.mu.Unlock()
	return JobRecord[A]{
		Arg: j.arg, Priority: j.priority, State: j.state, Key: j.Key(), Attempts: j.attempts(),
		Queued: q.time(j.queued), Due: q.time(j.due()), Started: q.time(j.started), Stopped: q.time(j.stopped),
	}
}

// MarshalJSON returns the Record of j.
func (j *Job[A, R]) MarshalJSON() ([]byte, error) { return json.Marshal(j.Record()) }

// Restore puts jobs that were saved back, to be run again whatever their State
// was: in the order of the records, and before all jobs of the same
// priority that were put or restored earlier; with Ageing, the time since they were
// queued decides among those. They keep the time at which they
// were queued, and the number of attempts; Timeout and Retry are the queue's,
// and a retry begins anew. Size does not count here, as they were let in once.
//
// Restore returns the jobs in the order of the records. If a key is used twice or
// in use, or an attempts' number is negative, the error names the record, and nothing was added; after a stop
// it is [ErrStopped].
func (q *ResizableDispatchQueue[A, R]) Restore(records []JobRecord[A]) ([]*Job[A, R], error) {
	jobs := make([]*Job[A, R], len(records))
	keys := make(map[string]int)
	for i, r := range records {
		if r.Attempts < 0 {
			return nil, fmt.Errorf("twill: restoring record %d: %d attempts", i, r.Attempts)
		}
		if first, used := keys[r.Key]; used && r.Key != "" {
			return nil, fmt.Errorf("twill: restoring record %d: key %q is that of record %d, too", i, r.Key, first)
		}
		keys[r.Key] = i
		j := q.make(r.Arg, r.Priority, []JobOptions{{At: r.Due, Key: r.Key}})
		if j.more == nil {
			j.more = &jobMore{}
		}
		j.more.attempts = r.Attempts
		j.queued = q.moment(r.Queued)
		jobs[i] = j
	}
	now := q.now()
	q.mu.Lock()
	defer q.unlock(now)
	if q.stopped || q.closing {
		return nil, ErrStopped
	}
	for i, r := range records {
		if r.Key != "" && q.keys[r.Key] != nil {
			return nil, fmt.Errorf("twill: restoring record %d: %w: %q", i, ErrDuplicateJob, r.Key)
		}
	}
	q.restored -= uint64(len(jobs))
	for i, j := range jobs {
		q.accept(j, q.restored+uint64(i), now)
	}
	q.keepAge(jobs, now)
	for _, j := range jobs {
		q.enqueue(j, now)
	}
	return jobs, nil
}

// keepAge has a job that was tried before stand behind none that follows it in the
// records. With ageing its age decides, and of that they only tell that it is not
// more than the time since it was queued, nor less than that since its last pause.
// The lock must be held.
func (q *ResizableDispatchQueue[A, R]) keepAge(jobs []*Job[A, R], now int64) {
	if q.opts.Ageing == 0 {
		return
	}
	next := int64(math.MaxInt64 / 2) // no rank is above that
	for _, j := range slices.Backward(jobs) {
		m := j.more
		if m.due > now {
			continue
		}
		if m.attempts > 0 {
			m.since -= min(max(q.rank(j)-next, 0), m.since-j.queued)
		}
		next = q.rank(j)
	}
}
