package twill

import (
	"context"

	"github.com/twillgo/twill/internal/settle"
)

// mayBegin reports whether a worker more, or one of those there are, may take
// a job; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) mayBegin(workers int) bool {
	return workers <= q.width && !q.paused && !q.stopped && q.pending.Len() > 0
}

// beginAll starts what may start; the lock must be held. It is called by
// whatever may have made room, so that nothing waits for a signal.
func (q *ResizableDispatchQueue[A, R]) beginAll() {
	for q.mayBegin(q.workers + 1) {
		j := q.pending.Pop().Item
		q.workers++
		q.begin(j, q.now())
		go q.work(j)
	}
}

// begin makes j, which is on no list, underway; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) begin(j *Job[A, R], now int64) {
	j.state = JobUnderway
	j.started = now
	q.underway.PushBack(j)
}

// work runs j and then whatever else may start, and ends when nothing may.
func (q *ResizableDispatchQueue[A, R]) work(j *Job[A, R]) {
	returned := false
	defer func() {
		if !returned { // runtime.Goexit: the goroutine is lost, its slot is not
			var none R
			q.end(j, none, ErrGoexit)
			if next, rest := q.next(); next != nil {
				go q.work(next)
			} else {
				rest.settle()
			}
		}
	}()
	for {
		v, err := q.call(j)
		q.end(j, v, err)
		next, rest := q.next()
		if next == nil {
			returned = true
			rest.settle()
			return
		}
		j = next
	}
}

// call calls the function for j. A panic becomes an error; a Goexit passes.
func (q *ResizableDispatchQueue[A, R]) call(j *Job[A, R]) (v R, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = caught(r)
		}
	}()
	return q.fn(jobContext[A, R]{j}, j.arg)
}

// end notes the outcome of j's call and settles its future. It does nothing if
// that was done before: a handler of the future may have ended the goroutine.
func (q *ResizableDispatchQueue[A, R]) end(j *Job[A, R], v R, err error) {
	now := q.now()
	q.mu.Lock()
	if !q.underway.Remove(j) {
		q.mu.Unlock()
		return
	}
	ctx := j.ctx.Load()
	cause := context.Canceled
	var fail *settle.Failure
	switch {
	case j.state == JobCanceled:
		fail = ctx.fail
		cause = causeOf(fail.Err)
	case err != nil:
		j.state, j.stopped = JobFailed, now
	default:
		j.state, j.stopped = JobFinished, now
	}
	q.mu.Unlock()

	if ctx != nil {
		ctx.end(cause)
	}
	switch late, panicked := err.(*PanicError); {
	case fail != nil && panicked:
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
}

// next takes the job that a worker runs after the one it has ended. If there is none the
// worker has left, and settles rest.
func (q *ResizableDispatchQueue[A, R]) next() (j *Job[A, R], rest rest[A, R]) {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.mayBegin(q.workers) {
		j = q.pending.Pop().Item
		q.begin(j, now)
		return j, rest
	}
	q.workers--
	return nil, q.rest()
}
