package model

import "github.com/twillgo/twill"

// Cancel asks for f to end, and reports whether that ended something.
func (f *Future) Cancel(cause error) bool {
	return f.cancel(&failure{&twill.CanceledError{Cause: cause}, true})
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
	case f.src == nil && f.promise == nil:
		f.publish(0, fail).run()
		return true
	case f.src == nil:
		if f.promise.underway {
			return false
		}
		f.promise.underway = true
		f.promise.cancel(0, fail).run()
		return f.fail != nil && f.fail.canceled
	}
	if p := f.promise; p != nil && p.ask == nil {
		p.ask = fail
	}
	switch l := f.link; {
	case f.src.settled || l.on == nil: // what f waited for is there, and it has not gone on yet
		if f.missed == nil {
			f.missed = fail
		}
		return false
	case f.hold || f.src.Users() > 1:
		f.src.remove(l)
		l.fire(fail).run()
		return true
	default:
		return f.src.cancel(fail)
	}
}

// leave takes l off f: the last to leave cancels it.
func (f *Future) leave(l *listener, fail *failure) {
	if f.remove(l) && f.Users() == 0 {
		f.cancel(fail)
	}
}
