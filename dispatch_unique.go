package twill

// reserve gives the key of j, which q has accepted, to it; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) reserve(j *Job[A, R]) {
	if j.more.key == "" {
		return
	}
	if q.keys == nil {
		q.keys = make(map[string]*Job[A, R])
	}
	q.keys[j.more.key] = j
}

// vacate gives the key of j, which has ended, free; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) vacate(j *Job[A, R]) {
	if m := j.more; m != nil && m.key != "" && q.keys[m.key] == j {
		delete(q.keys, m.key)
		if len(q.keys) == 0 {
			q.keys = nil // a map keeps the room it once had
		}
	}
}

// join has whoever puts j content with old, which has its key; the lock must
// be held.
func (q *ResizableDispatchQueue[A, R]) join(old, j *Job[A, R], now int64) error {
	if j.more.refuse {
		q.stats.Refused++
		return ErrDuplicateJob
	}
	q.stats.Joined++
	if old.state != JobPending {
		return nil
	}
	if j.priority < old.priority {
		q.reprioritize(old, j.priority)
	}
	if old.started == 0 && j.due() < old.due() && q.delayed.Has(old) {
		q.withdraw(old)
		old.holdBack(j.due())
		q.enqueue(old, now)
	}
	return nil
}
