package twill

// waterMarks tell of a queue that fills and empties; the queue's lock guards
// them.
type waterMarks struct {
	high    bool  // the high mark was reached, and the low one not since
	crossed []int // the numbers of jobs at crossings not told yet, high and low in turn
	telling bool  // a goroutine does
	next    bool  // the first of those is a high one
}

// watchMarks notes whether a mark was crossed; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) watchMarks() {
	m := &q.marks
	if q.opts.High == 0 {
		return
	}
	n := q.waiting()
	if m.high && n > q.opts.Low || !m.high && n < q.opts.High {
		return
	}
	m.high = !m.high
	if len(m.crossed) == 0 {
		m.next = m.high
	}
	m.crossed = append(m.crossed, n)
	if !m.telling {
		m.telling = true
		go q.tellMarks()
	}
}

// tellMarks calls OnHigh and OnLow.
func (q *ResizableDispatchQueue[A, R]) tellMarks() {
	told := false
	defer func() {
		if !told { // a panic, or runtime.Goexit
			report(caught(recover()))
			go q.tellMarks()
		}
	}()
	for {
		q.mu.Lock()
		if len(q.marks.crossed) == 0 {
			q.marks.telling = false
			q.mu.Unlock()
			told = true
			return
		}
		n, fn := q.marks.crossed[0], q.opts.OnLow
		if q.marks.next {
			fn = q.opts.OnHigh
		}
		q.marks.crossed, q.marks.next = q.marks.crossed[1:], !q.marks.next
		q.mu.Unlock()
		if fn != nil {
			fn(n)
		}
	}
}
