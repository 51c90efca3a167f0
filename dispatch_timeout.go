package twill

import (
	"time"

	"github.com/twillgo/twill/internal/heap"
	"github.com/twillgo/twill/internal/settle"
)

// expire fails j, whose time is over. It runs on the goroutine of the timer.
func (q *ResizableDispatchQueue[A, R]) expire(j *Job[A, R]) {
	timeout := &TimeoutError{After: j.more.timeout}
	now := q.now()
	q.mu.Lock()
	var err error = timeout
	if sofar := j.more.soFar; sofar != nil {
		all := *sofar
		all.Reason, all.Elapsed = timeout, j.more.timeout
		err = &all
	}
	fail := settle.NewFailure(err)
	waits := j.state == JobPending
	switch j.state {
	case JobUnderway:
		q.giveUp(j, JobFailed, fail, now)
	case JobPending:
		if q.stopped { // it is left over
			q.mu.Unlock()
			return
		}
		q.withdraw(j)
		q.over(j, JobFailed, now)
	default:
		q.mu.Unlock()
		return
	}
	ctx := j.ctx.Load()
	rest := q.advance(now)
	q.mu.Unlock()

	if waits {
		j.more.release()
	}
	if ctx != nil {
		ctx.end(timeout)
	}
	defer rest.settle() // also if a handler ends the goroutine
	var none R
	j.settle(none, fail)
}

// delay keeps j out of the way until it is due; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) delay(j *Job[A, R], due int64) {
	q.delayed.Push(j, heap.Key{Priority: due, Seq: j.more.seq})
	q.setAlarm(q.now())
}

// alarm is a timer for the first of what is delayed.
type alarm struct {
	timer *time.Timer
	at    int64 // when it goes off; 0 is never
}

// setAlarm has the alarm go off when the first delayed job is due; the lock must be held.
// It may go off too early: then it is set anew. If there is nothing to wait for it
// is stopped, as until it goes off it keeps the queue in memory.
func (q *ResizableDispatchQueue[A, R]) setAlarm(now int64) {
	if q.delayed.Len() == 0 || q.stopped {
		if q.alarm.at != 0 {
			q.alarm.timer.Stop()
			q.alarm.at = 0
		}
		return
	}
	at := q.delayed.Peek().Priority
	if q.alarm.at != 0 && q.alarm.at <= at {
		return
	}
	q.alarm.at = at
	d := time.Duration(at - now)
	if q.alarm.timer == nil {
		q.alarm.timer = time.AfterFunc(d, q.ring)
	} else {
		q.alarm.timer.Reset(d)
	}
}

// ring is called when a delayed job is due.
func (q *ResizableDispatchQueue[A, R]) ring() {
	now := q.now()
	q.mu.Lock()
	q.alarm.at = 0
	for !q.stopped && q.delayed.Len() > 0 && q.delayed.Peek().Priority <= now {
		q.enqueue(q.delayed.Pop().Item, now)
	}
	q.setAlarm(now)
	q.unlock(now)
}
