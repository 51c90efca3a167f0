// Package model is a slow and simple implementation of futures: one goroutine,
// slices, closures and recursion, instead of locks, links and loops. Tests
// compare the library with it, run by run and call by call. Values are ints;
// the errors are the library's.
//
// It has two properties that the contract leaves open, because they determine
// the order of handlers: handlers are run depth first, and a future is done
// with its listeners before the listeners of what the last of them has settled
// are run.
package model

import (
	"errors"
	"slices"

	"github.com/twillgo/twill"
)

// Future is a future of an int.
type Future struct {
	settled bool
	wait    bool                // it waits for an executor
	end     func(fail *failure) // ends that wait
	val     int
	fail    *failure

	listeners []*listener // in the order in which they are to be run
	running   bool        // they are being run
	bridged   bool        // Done was called
	asked     bool        // a cancel has passed through

	// The source of a cancel. All fields are zero for a future without a source.
	src     *Future    // the future it waits for
	link    *listener  // its listener on src
	hold    bool       // src must not be canceled from here
	adopts  bool       // it changes its source
	asks    []*failure // the cancels that have passed through it, to be passed on
	list    *list
	promise *Promise
}

// failure is the failure of a future.
type failure struct {
	err      error
	canceled bool // by a cancel, and not by hand

	// Of a request to cancel:
	answered bool // it has caused an outcome, which is passed down
	bound    bool // it comes from a Timeout
}

// listener waits for a future.
type listener struct {
	on      *Future // nil if it is not on the list, or no longer
	depends bool    // its owner needs the result
	// fire continues with the outcome of the future, or with left. It returns the
	// future that it settled, if that has listeners to run.
	fire func(left *failure) *Future
}

// Result returns the value or the error, and whether there is one.
func (f *Future) Result() (int, error, bool) {
	if f.fail != nil {
		return 0, f.fail.err, f.settled
	}
	return f.val, nil, f.settled
}

// Listeners returns the number of listeners of f.
func (f *Future) Listeners() int {
	if f.bridged && !f.settled {
		return len(f.listeners) + 1
	}
	return len(f.listeners)
}

// Users returns the number of listeners that depend on f.
func (f *Future) Users() (n int) {
	for _, l := range f.listeners {
		if l.depends {
			n++
		}
	}
	return n
}

// Watch does what Done does.
func (f *Future) Watch() { f.bridged = f.bridged || !f.settled }

// publish settles f, and returns it if it has listeners.
func (f *Future) publish(val int, fail *failure) *Future {
	f.settled, f.val, f.fail = true, val, fail
	if fail != nil && fail.canceled {
		fail.answered = true
	}
	if len(f.listeners) == 0 {
		return nil
	}
	f.running = true
	return f
}

// run runs the listeners, depth first.
func (f *Future) run() {
	if f == nil {
		return
	}
	for len(f.listeners) > 0 {
		l := f.listeners[0]
		f.listeners, l.on = f.listeners[1:], nil
		next := l.fire(nil)
		if next != nil && len(f.listeners) == 0 {
			f.running = false
		}
		next.run()
	}
	f.running = false
}

// settle settles f by hand.
func (f *Future) settle(val int, fail *failure) bool {
	if f.settled {
		return false
	}
	if p := f.promise; p != nil && p.request != nil {
		p.request.answered = true // there is no other goroutine
	}
	next := f.publish(val, fail)
	if f.promise != nil {
		f.promise.leave()
	}
	next.run()
	return true
}

// add adds l to f's list, and reports whether f will run it; if not, the caller
// does.
func (f *Future) add(l *listener) bool {
	if f.settled && !f.running {
		return false
	}
	f.listeners = append(f.listeners, l)
	l.on = f
	return true
}

// remove removes l from f's list, and reports whether it was there and not
// about to be run.
func (f *Future) remove(l *listener) bool {
	if f.settled || l.on != f {
		return false
	}
	l.on = nil
	for i := range f.listeners {
		if f.listeners[i] == l {
			f.listeners = append(f.listeners[:i:i], f.listeners[i+1:]...)
			break
		}
	}
	return true
}

// waitsFor reports whether f cannot settle before g does.
func (f *Future) waitsFor(g *Future) bool {
	return f.reaches(g, map[*Future]bool{})
}

func (f *Future) reaches(g *Future, seen map[*Future]bool) bool {
	if f == g {
		return true
	}
	if f.settled || seen[f] {
		return false
	}
	seen[f] = true
	if f.list != nil {
		for _, m := range f.list.members {
			if m.link.on != nil && m.src.reaches(g, seen) {
				return true
			}
		}
		return false
	}
	return f.link != nil && f.link.on != nil && f.src.reaches(g, seen)
}

// Resolved returns a future that has a value.
func Resolved(v int) *Future { return &Future{settled: true, val: v} }

// Rejected returns a future that has failed.
func Rejected(err error) *Future { return &Future{settled: true, fail: &failure{err: err}} }

// result makes a failure of an error.
func result(v int, err error) (int, *failure) {
	if err != nil {
		return 0, &failure{err: err}
	}
	return v, nil
}

func isCancel(fail *failure) bool { return fail != nil && errors.Is(fail.err, twill.ErrCanceled) }

// isCanceled reports whether a cancel made this failure. A timeout is a failure
// of its own, which a cancel upstream has led to. A list whose members have all
// failed was canceled if all of them were.
func isCanceled(fail *failure) bool {
	if !isCancel(fail) || fail.canceled {
		return isCancel(fail)
	}
	for err := fail.err; err != nil; err = errors.Unwrap(err) {
		switch e := err.(type) {
		case *twill.CanceledError:
			return true
		case *twill.TimeoutError:
			return false
		case *twill.AllFailedError:
			return !slices.ContainsFunc(e.Errs, func(err error) bool { return !isCanceled(&failure{err: err}) })
		}
	}
	return true
}

// protect calls fn, and makes an error of its panic.
func protect(fn func()) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &twill.PanicError{Value: v}
		}
	}()
	fn()
	return nil
}
