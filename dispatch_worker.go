package twill

import (
	"context"

	"github.com/twillgo/twill/internal/sched"
	"github.com/twillgo/twill/internal/settle"
)

// mayBegin reports whether a worker more, or one of those there are, may take
// a job, apart from the rate limit; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) mayBegin(workers int) bool {
	return workers <= q.width && !q.paused && !q.stopped && q.pending.Len() > 0
}

// advance does what has become possible: it starts jobs, lets PutWaits in, asks the rate
// limit for the next start, and returns what is to be settled after the lock,
// which must be held, was given back. Whatever changes the queue ends with it, mostly by unlock,
// so that nothing waits for a signal.
func (q *ResizableDispatchQueue[A, R]) advance(now int64) *rest[A, R] {
	for {
		for q.mayBegin(q.workers+1) && q.pace.pass() {
			q.start(q.pending.Pop().Item, now)
		}
		if !q.refill(now) {
			break
		}
	}
	q.keepPace()
	if q.marks.watch(q.waiting(), q.opts.Low, q.opts.High) {
		go q.marks.tell(&q.mu, q.opts.OnHigh, q.opts.OnLow)
	}
	return q.rest()
}

// unlock ends a change of the queue that somebody from outside has made.
func (q *ResizableDispatchQueue[A, R]) unlock(now int64) {
	rest := q.advance(now)
	q.mu.Unlock()
	rest.settle()
}

// start makes j underway, on a goroutine of its own; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) start(j *Job[A, R], now int64) {
	q.workers++
	q.begin(j, now)
	sched.Go(func() { q.work(j) })
}

// begin makes j, which is on no list, underway; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) begin(j *Job[A, R], now int64) {
	if j.started == 0 {
		q.stats.waited(now - j.since())
	}
	j.state = JobUnderway
	j.started = now
	q.underway.PushBack(j)
	if m := j.more; m != nil {
		m.attempts++
	}
	q.tell(EventStarted, j)
}

// work runs j and then whatever else may start, and ends when nothing may.
func (q *ResizableDispatchQueue[A, R]) work(j *Job[A, R]) {
	returned := false
	defer func() {
		if !returned { // runtime.Goexit: the goroutine is lost, its slot is not
			defer q.relay() // also if a handler calls it once more
			var none R
			q.end(j, none, ErrGoexit)
		}
	}()
	for {
		v, err := q.call(j)
		next, rest, taken := q.end(j, v, err)
		if !taken {
			next, rest = q.next()
		}
		if next == nil {
			returned = true
			rest.settle()
			return
		}
		j = next
	}
}

// relay has another goroutine go on where one is about to exit.
func (q *ResizableDispatchQueue[A, R]) relay() {
	next, rest := q.next()
	if next == nil {
		rest.settle()
		return
	}
	sched.Go(func() { q.work(next) })
}

// call calls the function for j. A panic becomes an error; a Goexit passes.
func (q *ResizableDispatchQueue[A, R]) call(j *Job[A, R]) (v R, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = caught(r)
		}
	}()
	if j.more != nil {
		return q.callWith(j, j.more)
	}
	return q.hooked(jobContext[A, R]{j}, j)
}

// hooked calls the function within its hooks.
func (q *ResizableDispatchQueue[A, R]) hooked(ctx context.Context, j *Job[A, R]) (R, error) {
	if run := q.run.Load(); run != nil {
		return (*run)(ctx, j)
	}
	return q.fn(ctx, j.arg)
}

// end notes the outcome of j's call and settles its future, or has it tried
// again. It does nothing if that was done before: a handler of the future may
// have ended the goroutine. If nobody listens to the future, as is mostly so
// while the queue is busy, all is done under the lock at once, with what next
// does: then next was taken.
func (q *ResizableDispatchQueue[A, R]) end(j *Job[A, R], v R, err error) (next *Job[A, R], rest *rest[A, R], taken bool) {
	again := false
	if m := j.more; m != nil && m.retry != nil {
		again, err = m.retry.after(err)
	}
	now := q.now()
	q.mu.Lock()
	if !q.underway.Remove(j) {
		q.mu.Unlock()
		return nil, nil, false
	}
	q.stats.ran(now - j.started)
	var fail *settle.Failure
	switch {
	case j.state != JobUnderway: // cancelled, or timed out
		fail = j.ctx.Load().fail
	case again:
		q.again(j, now)
		q.mu.Unlock()
		return nil, nil, false
	case err != nil:
		q.over(j, JobFailed, now)
	default:
		q.over(j, JobFinished, now)
		if j.more == nil && j.ctx.Load() == nil {
			j.val = v
			if j.core.Succeed() {
				next, rest = q.takeNext(now)
				q.mu.Unlock()
				return next, rest, true
			}
		}
	}
	ctx := j.ctx.Load()
	q.mu.Unlock()

	j.more.release()
	cause := context.Canceled
	if fail != nil {
		cause = endCause(fail)
	}
	if ctx != nil {
		ctx.end(cause)
	}
	switch late := panicOf(err); {
	case fail != nil && late != nil:
		report(late) // as for Go: the future cannot tell of it
	case fail == nil && err != nil:
		fail = settle.NewFailure(err)
	}
	if fail != nil {
		var none R
		v = none
	}
	// Whoever cancelled the job settles its future too. That it is done here
	// as well is so that no future is pending when those of Pause and Stop
	// settle.
	j.settle(v, fail)
	return nil, nil, false
}

// panicOf is the panic of a call that has failed with err, or of what belongs to
// its retries, nil if there was none.
func panicOf(err error) *PanicError {
	if e, ok := err.(*RetryError); ok && e != nil {
		err = e.Reason
	}
	e, _ := err.(*PanicError)
	return e
}

// over notes that j has reached a state that is final; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) over(j *Job[A, R], state JobState, now int64) {
	j.state, j.stopped = state, now
	q.vacate(j)
	q.stats.over(state, now)
	q.tell(EventEnded, j)
	q.ended.push(j)
}

// next takes the job that a worker runs after the one it has ended. If there is none the
// worker has left, and settles rest.
func (q *ResizableDispatchQueue[A, R]) next() (j *Job[A, R], rest *rest[A, R]) {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.takeNext(now)
}

// takeNext is next; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) takeNext(now int64) (j *Job[A, R], rest *rest[A, R]) {
	if q.mayBegin(q.workers) && q.pace.pass() {
		j = q.pending.Pop().Item
		q.begin(j, now)
	} else {
		q.workers--
	}
	return j, q.advance(now)
}
