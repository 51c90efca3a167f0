package twill

// SetWidth changes how many jobs may run at once. Widening starts as many as
// it makes room for; narrowing interrupts none, and as many as are too many are
// not followed by others when they end. With 0 no job is started. While q is
// paused the width is only noted; a stopped q starts nothing whatever it is. A
// negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) SetWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	now := q.now()
	q.mu.Lock()
	q.setWidth(n)
	q.unlock(now)
	return nil
}

func (q *ResizableDispatchQueue[A, R]) setWidth(n int) {
	if q.width != n {
		q.width = n
		q.tell(EventWidth, nil)
	}
}

// Pause keeps q from starting jobs; it may be called again. Jobs that are
// underway go on; the future settles when the calls of all have returned and
// their futures have settled. If q is resumed before, it is cancelled with
// [ErrResumed] as the cause. Cancelling it does nothing to q.
func (q *ResizableDispatchQueue[A, R]) Pause() *Future[struct{}] {
	now := q.now()
	q.mu.Lock()
	if !q.paused {
		q.paused = true
		q.tell(EventPaused, nil)
	}
	if q.workers == 0 {
		q.unlock(now)
		return Resolved(struct{}{})
	}
	if q.drained == nil {
		q.drained = NewPromise[struct{}]()
	}
	drained := q.drained
	q.unlock(now)
	return drained.Future().Shield()
}

// Resume ends a pause and starts as many jobs as the width allows. It does
// nothing if q is not paused, and returns [ErrStopped] if q is stopped.
func (q *ResizableDispatchQueue[A, R]) Resume() error {
	return q.resume(func() {})
}

// ResumeWidth is Resume with a new width; it sets that also if q is not
// paused. A negative n changes nothing and returns [ErrNegativeWidth].
func (q *ResizableDispatchQueue[A, R]) ResumeWidth(n int) error {
	if n < 0 {
		return ErrNegativeWidth
	}
	return q.resume(func() { q.setWidth(n) })
}

func (q *ResizableDispatchQueue[A, R]) resume(change func()) error {
	now := q.now()
	q.mu.Lock()
	if q.stopped {
		q.mu.Unlock()
		return ErrStopped
	}
	change()
	if q.paused {
		q.paused = false
		q.tell(EventResumed, nil)
	}
	drained := q.drained
	q.drained = nil
	q.unlock(now)
	if drained != nil {
		drained.f.settle(struct{}{}, canceled(ErrResumed))
	}
	return nil
}
