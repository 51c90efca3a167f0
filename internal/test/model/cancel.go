package model

import "github.com/twillgo/twill"

// Cancel requests that f end, and reports whether that ended something.
func (f *Future) Cancel(cause error) bool { return f.cancel(request(cause)) }

// request returns a request to cancel for cause.
func request(cause error) *failure {
	return &failure{err: &twill.CanceledError{Cause: cause}, canceled: true}
}

// again returns another request like fail.
func (fail *failure) again() *failure {
	return &failure{err: fail.err, canceled: true, bound: fail.bound}
}

// cancel goes up from f.
func (f *Future) cancel(fail *failure) bool {
	if f.settled {
		return false
	}
	f.asked = true
	switch {
	case f.list != nil:
		return f.list.cancel(fail)
	case f.wait:
		f.end(fail)
		return f.fail == fail
	case f.src == nil && f.promise == nil:
		f.publish(0, fail).run()
		return true
	case f.src == nil:
		if f.promise.underway {
			return false
		}
		f.promise.underway = true
		f.promise.request = fail
		f.promise.cancel(0, fail).run()
		return f.fail != nil && f.fail.canceled
	}
	if p := f.promise; p != nil && p.ask == nil {
		p.ask = fail
	}
	if f.adopts || f.promise != nil {
		f.asks = append(f.asks, fail)
	}
	switch l := f.link; {
	case f.src.settled || l.on == nil: // the source of f has settled, and f has not continued yet
		return false
	case f.hold || f.src.Users() > 1:
		f.src.remove(l)
		fail.answered = true
		l.fire(fail).run()
		return true
	default:
		return f.src.cancel(fail)
	}
}

// passOn passes the first unanswered cancel to what f now waits for.
func (f *Future) passOn() {
	for _, ask := range f.asks {
		if !ask.answered {
			f.cancel(ask)
			return
		}
	}
}

// leave removes l from f. If it was the last dependent, f is canceled.
func (f *Future) leave(l *listener, fail *failure) {
	if !f.remove(l) || f.Users() > 0 {
		return
	}
	f.cancel(&failure{err: fail.err, canceled: true})
	if fail.bound && f.Users() == 0 {
		f.cancel(&failure{err: fail.err, canceled: true})
	}
}
