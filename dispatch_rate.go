package twill

import (
	"context"
	"fmt"
)

// Limiter says how fast jobs may start: Wait returns when one may, or with an
// error. It must heed the context, which ends when nobody waits any more. A
// *rate.Limiter of golang.org/x/time/rate is one.
type Limiter interface {
	Wait(ctx context.Context) error
}

// SetRate changes how fast jobs may start; nil takes the limit away. Each start of a call, also
// one that is a retry, takes one Wait of the limiter, which is made when a job
// could start otherwise and before it is decided which: a job that is
// more urgent and comes meanwhile is the one to start. A Wait that was
// underway is given up, so that SetRate with the same limiter has a new
// setting of that count at once.
//
// If Wait returns an error, or panics, the job that is the next to start fails
// with that: nothing is lost in silence. One Wait at a time is underway, on a
// goroutine of its own.
func (q *ResizableDispatchQueue[A, R]) SetRate(limiter Limiter) {
	now := q.now()
	q.mu.Lock()
	q.hush()
	q.pace.limiter, q.pace.permit = limiter, false
	q.pace.changes++
	q.tell(EventRate, nil)
	q.unlock(now)
}

// pacing is the rate limit of a queue; the queue's lock guards it.
type pacing struct {
	limiter Limiter // nil: no limit
	changes int     // of the limiter
	permit  bool    // one job may start
	pacer   *pacer  // waits for a permit, if somebody does
}

// open reports whether a job may start.
func (p *pacing) open() bool { return p.limiter == nil || p.permit }

// pass is open, and uses the permit up.
func (p *pacing) pass() bool {
	open := p.open()
	p.permit = false
	return open
}

// pacer is a goroutine that waits for permits.
type pacer struct {
	limiter Limiter
	changes int  // as they were when it began
	waiting bool // in the limiter's Wait
	ctx     context.Context
	cancel  context.CancelFunc
}

// keepPace has a pacer if, and only if, a job waits for nothing but a permit;
// the lock must be held.
func (q *ResizableDispatchQueue[A, R]) keepPace() {
	p := &q.pace
	if p.limiter == nil {
		return
	}
	if !q.mayBegin(q.workers + 1) {
		q.hush()
		return
	}
	if p.pacer != nil {
		return
	}
	w := &pacer{limiter: p.limiter, changes: p.changes}
	w.ctx, w.cancel = context.WithCancel(context.WithoutCancel(q.opts.Context))
	p.pacer = w
	go q.wait(w)
}

// hush sends the pacer away; the lock must be held.
func (q *ResizableDispatchQueue[A, R]) hush() {
	if p := q.pace.pacer; p != nil {
		q.pace.pacer = nil
		p.cancel()
	}
}

// wait gets permits until nobody needs one.
func (q *ResizableDispatchQueue[A, R]) wait(p *pacer) {
	returned := false
	defer func() {
		if returned {
			p.cancel()
			return
		}
		// runtime.Goexit, of the limiter or of a handler of a job that it failed,
		// or of both.
		defer q.relayPacer(p)
		if p.waiting {
			p.waiting = false
			q.permit(p, ErrGoexit)
		}
	}()
	for q.permit(p, p.wait()) {
	}
	returned = true
}

// relayPacer has another goroutine go on with p, if it is still needed.
func (q *ResizableDispatchQueue[A, R]) relayPacer(p *pacer) {
	q.mu.Lock()
	on := q.pace.pacer == p
	q.mu.Unlock()
	if !on {
		p.cancel()
		return
	}
	go q.wait(p)
}

// wait waits for one permit.
func (p *pacer) wait() (err error) {
	defer func() {
		if v := recover(); v != nil {
			p.waiting, err = false, caught(v)
		}
	}()
	p.waiting = true
	err = p.limiter.Wait(p.ctx)
	p.waiting = false
	return err
}

// permit takes what p has waited for, and reports whether p goes on.
func (q *ResizableDispatchQueue[A, R]) permit(p *pacer, err error) (on bool) {
	now := q.now()
	q.mu.Lock()
	on = q.pace.pacer == p
	var failed *Job[A, R]
	switch {
	case err == nil:
		// Also one that nobody needs now is kept: the limiter has counted it.
		q.pace.permit = q.pace.permit || p.changes == q.pace.changes
	case on && q.pending.Len() > 0:
		failed = q.pending.Pop().Item
		q.over(failed, JobFailed, now)
	}
	rest := q.advance(now)
	on = on && q.pace.pacer == p
	q.mu.Unlock()

	defer rest.settle() // also if a handler ends the goroutine
	if failed != nil {
		failed.more.release()
		if ctx := failed.ctx.Load(); ctx != nil {
			ctx.end(context.Canceled)
		}
		var none R
		failed.settleResult(none, fmt.Errorf("twill: rate limit: %w", err))
	}
	return on
}
