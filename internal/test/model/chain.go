package model

import (
	"errors"

	"github.com/twillgo/twill"
)

// follow makes d wait for f; fire is how it continues.
func (d *Future) follow(f *Future, fire func(left *failure) *Future) *Future {
	d.src, d.link = f, &listener{depends: true, fire: fire}
	if !f.add(d.link) {
		d.link.fire(nil).run()
	}
	return d
}

// incoming returns the outcome with which d continues.
func (d *Future) incoming(left *failure) (int, *failure) {
	if left != nil {
		return 0, left
	}
	return d.src.val, d.src.fail
}

// handled settles d with the result of a handler.
func (d *Future) handled(fn func(int, error) (int, error), v int, fail *failure) *Future {
	var err error
	if fail != nil {
		v, err = 0, fail.err
	}
	out := 0
	var outErr error
	if stopped := protect(func() { out, outErr = fn(v, err) }); stopped != nil {
		out, outErr = 0, stopped
	}
	return d.publish(result(out, outErr))
}

// Then adds a handler for the value.
func (f *Future) Then(fn func(int) (int, error)) *Future {
	d := &Future{}
	return d.follow(f, func(left *failure) *Future {
		v, fail := d.incoming(left)
		if fail != nil {
			return d.publish(0, fail)
		}
		return d.handled(func(v int, _ error) (int, error) { return fn(v) }, v, nil)
	})
}

// Catch adds a handler for the error.
func (f *Future) Catch(fn func(error) (int, error)) *Future {
	d := &Future{}
	return d.follow(f, func(left *failure) *Future {
		v, fail := d.incoming(left)
		if fail == nil {
			return d.publish(v, nil)
		}
		return d.handled(func(_ int, err error) (int, error) { return fn(err) }, 0, fail)
	})
}

// Handle adds a handler for both.
func (f *Future) Handle(fn func(int, error) (int, error)) *Future {
	d := &Future{}
	return d.follow(f, func(left *failure) *Future {
		v, fail := d.incoming(left)
		return d.handled(fn, v, fail)
	})
}

// Shield keeps cancels away from f.
func (f *Future) Shield() *Future {
	d := &Future{hold: true}
	return d.follow(f, func(left *failure) *Future { return d.publish(d.incoming(left)) })
}

// Timeout is a Timeout of no time at all.
func (f *Future) Timeout() *Future {
	expired := false
	d := &Future{}
	d.follow(f, func(left *failure) *Future {
		if d.settled {
			return nil
		}
		v, fail := d.incoming(left)
		if expired && isCancel(fail) {
			err := &twill.TimeoutError{}
			if !fail.canceled {
				err.Err = fail.err
			}
			fail = &failure{err: err}
		}
		return d.publish(v, fail)
	})
	if d.settled {
		return d
	}
	expired = true
	ask := request(&twill.TimeoutError{})
	ask.bound = true
	d.cancel(ask)
	switch {
	case d.settled:
	case f.settled: // d continues later, in its turn
		d.link.fire(nil).run()
	case f.remove(d.link):
		d.link.fire(ask).run()
		if f.Users() == 0 {
			f.cancel(request(&twill.TimeoutError{}))
		}
	}
	return d
}

// Via passes the result through an executor.
func (f *Future) Via(run func(func())) *Future {
	d := &Future{adopts: true}
	return d.follow(f, func(left *failure) *Future {
		v, fail := d.incoming(left)
		if left != nil {
			return d.publish(0, left)
		}
		d.wait, d.end = true, func(fail *failure) { d.deliver(0, fail).run() }
		d.passOn()
		if d.settled {
			return nil
		}
		if err := protect(func() { run(func() { d.deliver(v, fail).run() }) }); err != nil {
			return d.deliver(0, &failure{err: err})
		}
		return nil
	})
}

func (d *Future) deliver(v int, fail *failure) *Future {
	if d.settled {
		return nil
	}
	return d.publish(v, fail)
}

var errNoFuture = errors.New("twill: handler returned a nil future")

// ThenFuture adds a handler for the value that returns a future.
func (f *Future) ThenFuture(fn func(int) *Future) *Future {
	return f.adopting(func(v int, fail *failure) *Future { return fn(v) }, true)
}

// CatchFuture adds a handler for the error that returns a future.
func (f *Future) CatchFuture(fn func(error) *Future) *Future {
	return f.adopting(func(_ int, fail *failure) *Future {
		if fail == nil {
			return f
		}
		return fn(fail.err)
	}, false)
}

// HandleFuture adds a handler for both that returns a future.
func (f *Future) HandleFuture(fn func(int, error) *Future) *Future {
	return f.adopting(func(v int, fail *failure) *Future {
		if fail != nil {
			return fn(0, fail.err)
		}
		return fn(v, nil)
	}, false)
}

func (f *Future) adopting(fn func(int, *failure) *Future, valueOnly bool) *Future {
	d := &Future{adopts: true}
	return d.follow(f, func(left *failure) *Future {
		v, fail := d.incoming(left)
		if valueOnly && fail != nil {
			return d.publish(0, fail)
		}
		var inner *Future
		if err := protect(func() { inner = fn(v, fail) }); err != nil {
			return d.publish(0, &failure{err: err})
		}
		if inner == nil {
			return d.publish(0, &failure{err: errNoFuture})
		}
		return d.adopt(inner)
	})
}

// adopt makes d, whose handler has run, wait for inner.
func (d *Future) adopt(inner *Future) *Future {
	d.src = inner
	d.link = &listener{depends: true, fire: func(left *failure) *Future { return d.publish(d.incoming(left)) }}
	switch {
	case inner.settled:
		return d.publish(inner.val, inner.fail)
	case inner.waitsFor(d):
		return d.publish(0, &failure{err: twill.ErrCycle})
	}
	inner.add(d.link)
	d.passOn()
	return nil
}
