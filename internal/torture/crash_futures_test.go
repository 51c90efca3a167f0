package torture_test

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/twillgo/twill"
)

// crashes are the places, by name.
var crashes = map[string]crash{
	"then": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return twill.Then(f, func(v int) (int, error) { stop(); return v, nil })
	}),
	"handle": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return twill.Handle(f, func(v int, _ error) (int, error) { stop(); return v, nil })
	}),
	"finally": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] { return f.Finally(stop) }),
	"tap":     handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] { return f.Tap(func(int, error) { stop() }) }),
	"then future": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return twill.ThenFuture(f, func(int) *twill.Future[int] { stop(); return f })
	}),
	"handle future": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return twill.HandleFuture(f, func(int, error) *twill.Future[int] { stop(); return f })
	}),
	"catch": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return failing(f).Catch(func(error) (int, error) { stop(); return 0, nil })
	}),
	"catch future": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return failing(f).CatchFuture(func(error) *twill.Future[int] { stop(); return f })
	}),
	"handler of a cancel": func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		f := p.Future().Catch(func(error) (int, error) { stop(); return 0, nil })
		return func() { f.Cancel(nil) }, func() error { return errors.Join(canceled(p.Future()), told(f)) }
	},
	"handler on a settled future": func(stop func()) (func(), func() error) {
		f := twill.Resolved(1)
		var last atomic.Pointer[twill.Future[int]]
		return func() { last.Store(f.Finally(stop)) }, func() error {
			if f := last.Load(); f != nil { // the goroutine has returned from it
				return told(f)
			}
			return gives(f, 1)
		}
	},
	"canceler": func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		again := make(chan bool, 1)
		p.OnCancel(func(error) { stop() })
		p.OnCancel(func(error) { again <- true })
		f := p.Future().Tap(func(int, error) {})
		return func() { f.Cancel(nil) }, func() error {
			<-again
			return errors.Join(canceled(p.Future()), canceled(f))
		}
	},
	"canceler of a follower": func(stop func()) (func(), func() error) {
		var p, q twill.Promise[int]
		p.OnCancel(func(error) { stop() })
		p.Follow(q.Future())
		return func() { q.Future().Cancel(nil) }, func() error {
			return errors.Join(canceled(p.Future()), canceled(q.Future()))
		}
	},
	"canceler of a loser": func(stop func()) (func(), func() error) {
		var p, q twill.Promise[int]
		q.OnCancel(func(error) { stop() })
		f := twill.Any(p.Future(), q.Future())
		return func() { p.Resolve(1) }, func() error { return errors.Join(gives(f, 1), canceled(q.Future())) }
	},
	"canceler of an adopted future": func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		p.OnCancel(func(error) { stop() })
		f := twill.ThenFuture(twill.Resolved(1), func(int) *twill.Future[int] { return p.Future() })
		return func() { f.Cancel(nil) }, func() error { return errors.Join(canceled(p.Future()), canceled(f)) }
	},
	"go": func(stop func()) (func(), func() error) {
		f := twill.Go(context.Background(), func(context.Context) (int, error) { stop(); return 0, nil })
		return func() {}, func() error { return told(f) }
	},
	"go that was canceled": func(stop func()) (func(), func() error) {
		f := twill.Go(context.Background(), func(ctx context.Context) (int, error) { <-ctx.Done(); stop(); return 0, nil })
		return func() { f.Cancel(nil) }, func() error { return canceled(f) }
	},
	"call": func(stop func()) (func(), func() error) {
		var f atomic.Pointer[twill.Future[int]]
		return func() { f.Store(twill.Call(func() (int, error) { stop(); return 0, nil })) }, func() error {
			if f := f.Load(); f != nil {
				return told(f)
			}
			return nil // the caller's goroutine has ended
		}
	},
	"executor": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return f.Via(func(func()) { stop() })
	}),
	"executor that has run it": func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		f := p.Future().Via(func(fn func()) { fn(); stop() })
		return func() { p.Resolve(1) }, func() error { return gives(f, 1) }
	},
	"handler on an executor": handlerCrash(func(f *twill.Future[int], stop func()) *twill.Future[int] {
		return f.Via(func(f func()) { go f() }).Finally(stop)
	}),
	"unhandled": func(stop func()) (func(), func() error) {
		called := make(chan bool)
		twill.OnUnhandled(func(error) { close(called); stop() })
		f := twill.Go(context.Background(), func(ctx context.Context) (int, error) { <-ctx.Done(); panic("too late") })
		return func() { f.Cancel(nil) }, func() error { <-called; return nil }
	},
	"pool at the high mark": func(stop func()) (func(), func() error) {
		pool := twill.NewPool(&twill.PoolOptions{High: 1, OnHigh: func(int) { stop() }})
		var p twill.Promise[int]
		return func() { recovered(func() { _ = pool.Add(p.Future()) }) }, func() error { return drained(pool, &p) }
	},
	"pool at the low mark": func(stop func()) (func(), func() error) {
		pool := twill.NewPool(&twill.PoolOptions{High: 1, OnLow: func(int) { stop() }})
		var p, q twill.Promise[int]
		_ = pool.Add(p.Future())
		f := p.Future().Tap(func(int, error) {})
		return func() { p.Resolve(1) }, func() error {
			_ = pool.Add(q.Future())
			return errors.Join(gives(f, 1), drained(pool, &q))
		}
	},
}

// handlerCrash is a place on a future that is settled later, between two other
// handlers that must run.
func handlerCrash(add func(f *twill.Future[int], stop func()) *twill.Future[int]) crash {
	return func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		before := twill.Then(p.Future(), func(v int) (int, error) { return v + 1, nil })
		f := add(p.Future(), stop)
		below := f.Catch(func(err error) (int, error) { return 7, nil })
		after := twill.Then(p.Future(), func(v int) (int, error) { return v + 2, nil })
		return func() { p.Resolve(1) }, func() error {
			return errors.Join(told(f), gives(below, 7), gives(before, 2), gives(after, 3))
		}
	}
}

func failing(f *twill.Future[int]) *twill.Future[int] {
	return twill.Then(f, func(int) (int, error) { return 0, errors.New("failing") })
}

// drained is a check: the pool that contains the future of p becomes empty.
func drained(pool *twill.Pool, p *twill.Promise[int]) error {
	if pool.Len() != 1 {
		return errors.New("the pool has lost its member")
	}
	empty := pool.Empty()
	go p.Resolve(2) // may end the goroutine
	return gives(empty, struct{}{})
}
