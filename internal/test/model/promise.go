package model

import (
	"errors"

	"github.com/twillgo/twill"
)

// Promise settles a future.
type Promise struct {
	f         Future
	cancelers []func(error)
	underway  bool     // the cancelers were started
	stale     bool     // its source was settled or canceled before it followed
	ask       *failure // the first cancel that passed through it to its source
	request   *failure // the request that has started the cancelers
}

// NewPromise returns a pending promise.
func NewPromise() *Promise { return new(Promise) }

// Future returns the future that p settles.
func (p *Promise) Future() *Future { return &p.f }

// Resolve settles it with a value.
func (p *Promise) Resolve(v int) bool { return p.f.settle(v, nil) }

// Reject settles it with an error.
func (p *Promise) Reject(err error) bool { return p.f.settle(0, &failure{err: err}) }

// OnCancel adds a canceler.
func (p *Promise) OnCancel(fn func(cause error)) {
	if !p.f.settled {
		p.f.promise = p
		p.cancelers = append(p.cancelers, fn)
	}
}

// Follow makes p settle as f does.
func (p *Promise) Follow(f *Future) bool {
	if p.f.settled || p.f.src != nil {
		return false
	}
	p.f.promise = p
	if p.underway {
		v, err, ok := f.Result()
		return ok && p.f.settle(result(v, err))
	}
	p.stale = f.settled || f.asked
	if !f.settled && f.waitsFor(&p.f) {
		p.f.src = f
		p.f.settle(0, &failure{err: twill.ErrCycle})
		return true
	}
	p.f.follow(f, func(left *failure) *Future {
		v, fail := p.f.incoming(left)
		gone := left != nil || !p.stale && (f.asked || isCanceled(fail))
		if gone && !p.f.settled && !p.underway {
			p.underway = true
			return p.cancel(v, fail)
		}
		return p.end(v, fail)
	})
	return true
}

// cancel runs the cancelers, and settles p if none of them has.
func (p *Promise) cancel(v int, fail *failure) *Future {
	cause, asked := twill.ErrCanceled, fail
	if !isCanceled(fail) {
		asked = p.ask
	}
	var ce *twill.CanceledError
	if asked != nil && errors.As(asked.err, &ce) && ce.Cause != nil {
		cause = ce.Cause
	}
	var panics error
	for len(p.cancelers) > 0 {
		fn := p.cancelers[0]
		p.cancelers = p.cancelers[1:]
		panics = errors.Join(panics, protect(func() { fn(cause) }))
	}
	if panics != nil && isCanceled(fail) {
		if cause != twill.ErrCanceled {
			panics = errors.Join(cause, panics)
		}
		fail = request(panics)
	}
	return p.end(v, fail)
}

func (p *Promise) end(v int, fail *failure) *Future {
	if p.f.settled {
		return nil
	}
	if p.request != nil && fail != nil && fail.canceled {
		p.request.answered = true
	}
	next := p.f.publish(v, fail)
	p.leave()
	return next
}

// leave stops following: the future was settled.
func (p *Promise) leave() {
	p.cancelers = nil
	if p.f.src != nil && p.f.link != nil {
		p.f.src.remove(p.f.link)
	}
}
