package torture_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twillgo/twill"
)

func init() { maps.Copy(crashes, recipeCrashes) }

// recipeCrashes are the places in the types that are built on futures. After
// each crash the object works as before: a second call succeeds.
var recipeCrashes = map[string]crash{
	"dispatch": func(stop func()) (func(), func() error) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) {
			if n == 0 {
				stop()
			}
			return n, nil
		}, nil)
		first, err := q.Put(0, 0)
		second, err2 := q.Put(1, 0)
		return func() {}, func() error {
			return errors.Join(err, err2, told(&first.Future), gives(&second.Future, 1), empty(q))
		}
	},
	"dispatch, handler of a job": func(stop func()) (func(), func() error) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
		_ = q.SetWidth(0)
		first, _ := q.Put(0, 0)
		second, _ := q.Put(1, 0)
		below := first.Finally(stop)
		return func() { _ = q.SetWidth(1) }, func() error {
			return errors.Join(told(below), gives(&second.Future, 1), empty(q))
		}
	},
	"dispatch of futures": func(stop func()) (func(), func() error) {
		q := twill.NewResizableDispatchQueueFuture(func(_ context.Context, n int) *twill.Future[int] {
			if n == 0 {
				stop()
			}
			return twill.Resolved(n)
		}, nil)
		first, err := q.Put(0, 0)
		second, err2 := q.Put(1, 0)
		return func() {}, func() error {
			return errors.Join(err, err2, told(&first.Future), gives(&second.Future, 1), empty(q))
		}
	},
	"dispatch, hook": func(stop func()) (func(), func() error) {
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
		q.Use(func(ctx context.Context, j *twill.Job[int, int], next func(context.Context) (int, error)) (int, error) {
			if j.Arg() == 0 {
				stop()
			}
			return next(ctx)
		})
		first, err := q.Put(0, 0)
		second, err2 := q.Put(1, 0)
		return func() {}, func() error {
			return errors.Join(err, err2, told(&first.Future), gives(&second.Future, 1), empty(q))
		}
	},
	"dispatch, limiter": func(stop func()) (func(), func() error) { // it holds jobs back, and fails none of them
		var waits atomic.Int32
		q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil },
			&twill.DispatchOptions{Rate: limiterFunc(func(context.Context) error {
				if waits.Add(1) == 1 {
					stop()
				}
				return nil
			})})
		first, err := q.Put(0, 0)
		second, err2 := q.Put(1, 0)
		return func() {}, func() error {
			return errors.Join(err, err2, gives(&first.Future, 0), gives(&second.Future, 1), empty(q))
		}
	},
	"pooler": func(stop func()) (func(), func() error) {
		var calls atomic.Int32
		p := twill.NewPooler(func(context.Context, int) (int, error) {
			if calls.Add(1) == 1 {
				stop()
			}
			return 7, nil
		})
		return onceStopped(func() *twill.Future[int] { return p.Call(context.Background(), 1) }, func() bool { return p.Len() == 0 })
	},
	"pooler of futures": func(stop func()) (func(), func() error) {
		var calls atomic.Int32
		p := twill.NewPoolerFuture(func(context.Context, int) *twill.Future[int] {
			if calls.Add(1) == 1 {
				stop()
			}
			return twill.Resolved(7)
		})
		return onceStopped(func() *twill.Future[int] { return p.Call(context.Background(), 1) }, func() bool { return p.Len() == 0 })
	},
	"pooler, key": func(stop func()) (func(), func() error) {
		var calls atomic.Int32
		p := twill.NewPoolerFunc(func(int) int {
			if calls.Add(1) == 1 {
				stop()
			}
			return 1
		}, func(context.Context, int) (int, error) { return 7, nil })
		call := func() *twill.Future[int] { return p.Call(context.Background(), 1) }
		return func() { recovered(func() { call() }) }, func() error { return gives(call(), 7) }
	},
	"dict, compute": func(stop func()) (func(), func() error) {
		var d twill.Dict[int, int]
		var calls atomic.Int32
		return onceStopped(func() *twill.Future[int] {
			return d.GetOrCompute(context.Background(), 1, func(context.Context) (int, error) {
				if calls.Add(1) == 1 {
					stop()
				}
				return 7, nil
			})
		}, func() bool { return d.Len() == 1 })
	},
	"dict, update": func(stop func()) (func(), func() error) {
		var d twill.Dict[int, int]
		waits := d.Get(1)
		return func() {
				recovered(func() { _, _ = d.Update(1, func(int, bool) (int, error) { stop(); return 1, nil }) })
			}, func() error {
				_, err := d.Update(1, func(int, bool) (int, error) { return 7, nil })
				return errors.Join(err, gives(waits, 7))
			}
	},
	"dict, handler": func(stop func()) (func(), func() error) {
		var d twill.Dict[int, int]
		first, next := d.Get(1), d.Get(1)
		below := first.Finally(stop)
		return func() { _ = d.Set(1, 7) }, func() error { return errors.Join(told(below), gives(next, 7)) }
	},
	"queue, handler": func(stop func()) (func(), func() error) {
		var q twill.Queue[int]
		below, next := q.Get().Finally(stop), q.Get()
		return func() { _ = q.Put(1) }, func() error { return errors.Join(told(below), q.Put(7), gives(next, 7)) }
	},
	"lock, run": func(stop func()) (func(), func() error) {
		var l twill.Lock
		first := l.Run(context.Background(), func(context.Context) error { stop(); return nil })
		next := l.Run(context.Background(), func(context.Context) error { return nil })
		return func() {}, func() error { return errors.Join(told(first), gives(next, struct{}{})) }
	},
	"lock, run with a future": func(stop func()) (func(), func() error) {
		var l twill.Lock
		var first atomic.Pointer[twill.Future[int]]
		return func() {
				first.Store(twill.RunWithFuture(&l, func() *twill.Future[int] { stop(); return twill.Resolved(1) }))
			}, func() error {
				next := twill.RunWithFuture(&l, func() *twill.Future[int] { return twill.Resolved(7) })
				if f := first.Load(); f != nil {
					return errors.Join(told(f), gives(next, 7))
				}
				return gives(next, 7)
			}
	},
	"init": func(stop func()) (func(), func() error) {
		in := twill.NewInit(context.Background(), func(context.Context) (int, error) { stop(); return 1, nil })
		f := twill.Then(in.Ready(), func(v int) (int, error) { return v, nil })
		return func() {}, func() error { return told(f) }
	},
	"init, call": func(stop func()) (func(), func() error) {
		ready := make(chan bool)
		in := twill.NewInit(context.Background(), func(context.Context) (int, error) { <-ready; return 7, nil })
		first := twill.Then(in.Ready(), func(v int) (int, error) { stop(); return v, nil })
		next := twill.Then(in.Ready(), func(v int) (int, error) { return v, nil })
		return func() { close(ready) }, func() error {
			later := twill.Then(in.Ready(), func(v int) (int, error) { return v, nil })
			return errors.Join(told(first), gives(next, 7), gives(later, 7))
		}
	},
	"init, retried": func(stop func()) (func(), func() error) {
		in := twill.NewInit(context.Background(), func(ctx context.Context) (int, error) {
			return twill.Retry(ctx, func(context.Context) (int, error) { return 0, errors.New("again") },
				&twill.RetryOptions{Backoff: func(func(time.Duration) bool) { stop() }})
		})
		f := twill.Then(in.Ready(), func(v int) (int, error) { return v, nil })
		return func() {}, func() error { return told(f) }
	},
	"init, call with a future": func(stop func()) (func(), func() error) {
		ready := make(chan bool)
		in := twill.NewInit(context.Background(), func(context.Context) (int, error) { <-ready; return 7, nil })
		first := twill.ThenFuture(in.Ready(), func(v int) *twill.Future[int] { stop(); return twill.Resolved(v) })
		next := twill.Then(in.Ready(), func(v int) (int, error) { return v, nil })
		return func() { close(ready) }, func() error { return errors.Join(told(first), gives(next, 7)) }
	},
	"race": func(stop func()) (func(), func() error) {
		f := twill.RaceOf(context.Background(),
			func(context.Context) (int, error) { stop(); return 1, nil },
			func(context.Context) (int, error) { time.Sleep(time.Millisecond); return 7, nil })
		alone := twill.RaceOf(context.Background(), func(context.Context) (int, error) { stop(); return 1, nil })
		return func() {}, func() error { return errors.Join(gives(f, 7), told(alone)) }
	},
	"race, discard": func(stop func()) (func(), func() error) {
		discarded, won := make(chan bool), make(chan bool)
		r := twill.NewRace[int](&twill.RaceOptions[int]{Discard: func(int) { close(discarded); stop() }})
		r.Register(func(context.Context, int) (int, error) { return 7, nil })
		r.Register(func(context.Context, int) (int, error) { <-won; return 8, nil })
		f := r.Execute(context.Background(), 0)
		return func() {}, func() error {
			err := gives(f, 7)
			close(won)
			<-discarded
			time.Sleep(time.Millisecond)
			return err
		}
	},
	"retrying call": func(stop func()) (func(), func() error) {
		c := twill.NewRetryingCall(func(context.Context) (int, error) { stop(); return 1, nil }, nil)
		f := c.Start(context.Background())
		return func() {}, func() error { return told(f) }
	},
	"retrying call, tester": func(stop func()) (func(), func() error) {
		return failingCall(&twill.RetryOptions{NewTester: func() func(error) error { return func(error) error { stop(); return nil } }})
	},
	"retrying call, hook": func(stop func()) (func(), func() error) {
		return failingCall(&twill.RetryOptions{Backoff: slices.Values([]time.Duration{0, 0}), OnRetry: func(twill.RetryEvent) { stop() }})
	},
	"retrying call, pause hook": func(stop func()) (func(), func() error) {
		return failingCall(&twill.RetryOptions{Backoff: slices.Values([]time.Duration{0, 0}), OnPause: func(twill.RetryEvent) { stop() }})
	},
	"retrying call, new tester": func(stop func()) (func(), func() error) {
		return failingCall(&twill.RetryOptions{NewTester: func() func(error) error { stop(); return nil }})
	},
	"retrying call, backoff": func(stop func()) (func(), func() error) {
		return failingCall(&twill.RetryOptions{Backoff: func(func(time.Duration) bool) { stop() }})
	},
	"retrying call of futures": func(stop func()) (func(), func() error) {
		c := twill.NewRetryingCallFuture(func(context.Context) *twill.Future[int] { stop(); return nil }, nil)
		return started(func() *twill.Future[int] { return c.Start(context.Background()) })
	},
	"series": func(stop func()) (func(), func() error) {
		var p twill.Promise[int]
		f := twill.ThenFuture(p.Future(), func(v int) *twill.Future[int] {
			return twill.Series(v, func(int) *twill.Future[int] { stop(); return nil })
		})
		return func() { p.Resolve(1) }, func() error { return told(f) }
	},
	"map": func(stop func()) (func(), func() error) {
		var errs []error
		return func() {
				for _, err := range twill.Map(context.Background(), slices.Values([]int{0, 1}), 2, func(_ context.Context, n int) (int, error) {
					if n == 0 {
						stop()
					}
					return n, nil
				}) {
					errs = append(errs, err)
				}
			}, func() error {
				if len(errs) != 2 || errs[1] != nil {
					return fmt.Errorf("the loop saw %v", errs)
				}
				return told(twill.Rejected[int](errs[0]))
			}
	},
}

// failingCall is a place in a retrying call whose function always fails.
func failingCall(opts *twill.RetryOptions) (func(), func() error) {
	c := twill.NewRetryingCall(func(context.Context) (int, error) { return 0, errors.New("again") }, opts)
	return started(func() *twill.Future[int] { return c.Start(context.Background()) })
}

// limiterFunc is a [twill.Limiter].
type limiterFunc func(context.Context) error

func (f limiterFunc) Wait(ctx context.Context) error { return f(ctx) }

// started is a place where code stops, perhaps on the caller's goroutine.
func started(call func() *twill.Future[int]) (func(), func() error) {
	var f atomic.Pointer[twill.Future[int]]
	return func() { f.Store(call()) }, func() error {
		if f := f.Load(); f != nil {
			return told(f)
		}
		return nil
	}
}

// onceStopped is a place where the first call stops, perhaps on the caller's
// goroutine, and the second returns 7.
func onceStopped(call func() *twill.Future[int], clean func() bool) (func(), func() error) {
	var first atomic.Pointer[twill.Future[int]]
	return func() { first.Store(call()) }, func() error {
		if f := first.Load(); f != nil {
			if err := told(f); err != nil {
				return err
			}
		}
		if err := gives(call(), 7); err != nil {
			return err
		}
		if !clean() {
			return errors.New("something is left")
		}
		return nil
	}
}

// empty is a check: the queue becomes empty.
func empty[A, R any](q *twill.ResizableDispatchQueue[A, R]) error {
	if err := gives(q.Pause(), struct{}{}); err != nil {
		return err
	}
	if underway, pending := q.Size(); underway != 0 || pending != 0 {
		return fmt.Errorf("%d jobs underway, %d pending", underway, pending)
	}
	return nil
}
