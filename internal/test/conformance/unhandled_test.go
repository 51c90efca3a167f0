//go:build suites

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// program is an everyday program that uses futures and drops them in the end.
// When it returns, its contexts have ended and its functions have returned.
type program struct {
	t *testing.T
	// deadline ends after a millisecond. canceled ends, with errCause, when a
	// function of until has begun.
	deadline, canceled context.Context
	cancel             context.CancelCauseFunc
	settled            []<-chan struct{}
	kept               []any
}

var (
	errCause = errors.New("the server shuts down")
	errDisk  = errors.New("no space left on device")
)

// runProgram runs fn, and returns after the futures that it watches have
// settled and garbage was collected.
func runProgram(t *testing.T, fn func(p *program)) *kit.Reports {
	r := kit.CollectReports(t)
	p := &program{t: t}
	var stop context.CancelFunc
	p.deadline, stop = context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	p.canceled, p.cancel = context.WithCancelCause(context.Background())
	defer p.cancel(nil)
	kit.Watchdog(t, func() {
		kit.Drop(func() { fn(p) })
		for _, done := range p.settled {
			<-done
		}
	})
	r.SettleGarbage(t)
	return r
}

// watch waits for f to settle before garbage is collected, and handles nothing.
func (p *program) watch(fs ...twill.AnyFuture) {
	for _, f := range fs {
		p.settled = append(p.settled, f.Done())
	}
}

// until returns a function that waits for its context to end and returns the
// error that err makes of it.
func until(err func(ctx context.Context) error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, err(ctx)
	}
}

func itsErr(ctx context.Context) error { return ctx.Err() }

func giveUp(t *testing.T, f interface {
	Await(context.Context) (int, error)
}) {
	ended, end := context.WithCancel(context.Background())
	end()
	_, err := f.Await(ended)
	require.Equal(t, context.Canceled, err)
}

// sliceError is an error that must not be compared by ==.
type sliceError []string

func (e sliceError) Error() string { return fmt.Sprint([]string(e)) }

func (e sliceError) Is(target error) bool { return target == errDisk }

// Programs whose contexts end, whose callers leave, or that handle a failure in
// one place. None of them reports anything.
func TestNothingIsReportedForNothing(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(p *program)
	}{
		{"an Await and a Go with the same deadline", func(p *program) {
			f := twill.Go(p.deadline, until(itsErr))
			p.watch(f)
			_, err := f.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"an Await and a Go with the same cancelable context", func(p *program) {
			f := twill.Go(p.canceled, until(itsErr))
			p.watch(f)
			p.cancel(errCause)
			_, err := f.Await(p.canceled)
			require.Error(p.t, err)
		}},
		{"a Go whose result is not looked at, when its context ends", func(p *program) {
			p.watch(twill.Go(p.deadline, until(itsErr)), twill.Go(p.canceled, until(itsErr)))
			p.cancel(errCause)
		}},
		{"a function that returns the cause", func(p *program) {
			p.watch(twill.Go(p.canceled, until(context.Cause)))
			p.cancel(errCause)
		}},
		{"a function that wraps the error of its context", func(p *program) {
			p.watch(twill.Go(p.deadline, until(func(ctx context.Context) error { return fmt.Errorf("query: %w", ctx.Err()) })))
		}},
		{"a function that wraps the error of its context with one of its own", func(p *program) {
			p.watch(twill.Go(p.deadline, until(func(ctx context.Context) error { return fmt.Errorf("%w: %w", errDisk, ctx.Err()) })))
		}},
		{"a function that joins error and cause", func(p *program) {
			p.watch(twill.Go(p.canceled, until(func(ctx context.Context) error { return errors.Join(ctx.Err(), context.Cause(ctx)) })))
			p.cancel(errCause)
		}},
		{"a Go within a Go", func(p *program) {
			f := twill.Go(p.deadline, func(ctx context.Context) (int, error) {
				inner := twill.Go(ctx, until(itsErr))
				p.kept = append(p.kept, inner.Done())
				return inner.Await(ctx)
			})
			p.watch(f)
			_, err := f.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"All of three", func(p *program) {
			a, b, c := twill.Go(p.deadline, until(itsErr)), twill.Go(p.deadline, until(itsErr)), twill.Go(p.deadline, until(itsErr))
			all := twill.All(a, b, c)
			p.watch(a, b, c, all)
			_, err := all.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"All and Any that nobody awaits", func(p *program) {
			a, b := twill.Go(p.deadline, until(itsErr)), twill.Go(p.deadline, until(itsErr))
			p.watch(twill.All(a, b), twill.Any(a, b), twill.AllMap(map[int]*twill.Future[int]{1: a}))
		}},
		{"a Timeout and an Await", func(p *program) {
			f := twill.Go(p.deadline, until(itsErr)).Timeout(time.Hour)
			p.watch(f)
			_, err := f.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"a Timeout of work with a context", func(p *program) {
			p.watch(twill.Go(context.Background(), until(itsErr)).Timeout(time.Millisecond))
		}},
		{"WithContext", func(p *program) {
			p.watch(twill.NewPromise[int]().Future().WithContext(p.deadline))
		}},
		{"FromContext", func(p *program) {
			p.watch(twill.FromContext(p.deadline), twill.FromContext(p.canceled))
			p.cancel(errCause)
		}},
		{"RunWith", func(p *program) {
			var l twill.Lock
			f := twill.RunWith(p.deadline, &l, until(itsErr))
			behind := twill.RunWith(p.deadline, &l, until(itsErr))
			p.watch(f, behind)
			_, err := f.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"RetryingCall", func(p *program) {
			call := twill.NewRetryingCall(until(itsErr), nil)
			f := call.Start(p.deadline)
			p.watch(f, call.Start(p.deadline))
			_, err := f.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"Retry within Go", func(p *program) {
			p.watch(twill.Go(p.deadline, func(ctx context.Context) (int, error) { return twill.Retry(ctx, until(itsErr), nil) }))
		}},
		{"a job of a queue whose context ends", func(p *program) {
			q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) { return until(itsErr)(ctx) },
				&twill.DispatchOptions{Context: p.deadline})
			j := kit.PutJob(p.t, q, 1, 0)
			p.watch(j)
			_, err := j.Await(p.deadline)
			require.ErrorIs(p.t, err, context.DeadlineExceeded)
		}},
		{"a job that nobody awaits when the queue's context ends", func(p *program) {
			q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) { return until(itsErr)(ctx) },
				&twill.DispatchOptions{Context: p.deadline})
			p.watch(kit.PutJob(p.t, q, 1, 0))
		}},
		{"a job whose caller gives up before it fails", func(p *program) {
			fn, gate := kit.Gated()
			j := kit.PutJob(p.t, twill.NewResizableDispatchQueue(fn, nil), 1, 0)
			p.watch(j)
			giveUp(p.t, j)
			gate <- errDisk
		}},
		{"a race", func(p *program) {
			var r twill.Race[int, int]
			wait := func(ctx context.Context, _ int) (int, error) { return until(itsErr)(ctx) }
			r.Register(wait)
			r.Register(wait)
			f := twill.Go(p.deadline, func(ctx context.Context) (int, error) { return r.Execute(ctx, 1).Await(ctx) })
			p.watch(f, r.Execute(p.deadline, 1))
		}},
		{"a Pooler whose caller leaves", func(p *program) {
			pooler := twill.NewPooler(func(ctx context.Context, _ int) (int, error) { return until(itsErr)(ctx) })
			f := pooler.Call(p.deadline, 1)
			p.watch(f)
			_, err := f.Await(p.deadline)
			require.Error(p.t, err)
		}},
		{"a Tap for metrics beside an Await", func(p *program) {
			source := twill.NewPromise[int]()
			f := source.Future()
			f.Tap(func(int, error) {})
			source.Reject(errDisk)
			f.Tap(func(int, error) {})
			_, err := f.Await(context.Background())
			require.Equal(p.t, errDisk, err)
		}},
		{"branches that pass the failure on, beside a handler", func(p *program) {
			source := twill.NewPromise[int]()
			f := source.Future()
			same := func(_ int, err error) (int, error) { return 0, err }
			f.Finally(func() {})
			twill.Then(twill.Then(f, kit.Add(1)), kit.Add(1))
			twill.Handle(f, same)
			f.Catch(func(err error) (int, error) { return 0, err })
			twill.HandleFuture(f, func(int, error) *twill.Future[int] { return f })
			f.CatchFuture(func(err error) *twill.Future[int] { return twill.Rejected[int](err) })
			f.Shield()
			f.Via(func(f func()) { go f() })
			twill.NewPromise[int]().Follow(f)
			f.Catch(func(error) (int, error) { return 0, nil })
			source.Reject(errDisk)
		}},
		{"a Tap of an error that cannot be compared, beside an Await", func(p *program) {
			f := twill.Rejected[int](sliceError{"a"})
			f.Tap(func(int, error) {})
			_, err := f.Await(context.Background())
			require.Error(p.t, err)
		}},
		{"a failure handled through the one of two branches that was made later", func(p *program) {
			source := twill.NewPromise[int]()
			branch := twill.Then(source.Future(), kit.Add(1))
			source.Reject(errDisk)
			runtime.GC()
			source.Future().Tap(func(int, error) {}).Catch(func(error) (int, error) { return 0, nil })
			p.kept = append(p.kept, branch)
		}},
		{"a cancel", func(*program) { twill.Then(twill.NewPromise[int]().Future(), kit.Add(1)).Cancel(errCause) }},
		{"a cancel that a handler wraps", func(*program) {
			twill.NewPromise[int]().Future().Catch(func(err error) (int, error) { return 0, fmt.Errorf("load: %w", err) }).Cancel(nil)
		}},
		{"a cancel that an Await has returned and a function passes on", func(p *program) {
			f := twill.NewPromise[int]()
			p.watch(twill.Go(context.Background(), f.Future().Await))
			f.Future().Cancel(nil)
		}},
		{"a member of a list that was canceled", func(p *program) {
			fs := []*twill.Future[int]{twill.NewPromise[int]().Future(), twill.NewPromise[int]().Future()}
			twill.All(fs...)
			twill.Any(fs...)
			fs[0].Cancel(nil)
			fs[1].Cancel(nil)
		}},
		{"a Follow of what is canceled", func(*program) {
			source, p := twill.NewPromise[int](), twill.NewPromise[int]()
			p.Follow(source.Future())
			source.Future().Cancel(errCause)
		}},
		{"an Await that was given up before the failure", func(p *program) {
			source := twill.NewPromise[int]()
			giveUp(p.t, source.Future())
			source.Reject(errDisk)
		}},
		{"an Await that was given up, at the end of a chain", func(p *program) {
			source := twill.NewPromise[int]()
			source.Future().Tap(func(int, error) {})
			f := twill.Then(source.Future(), kit.Add(1))
			giveUp(p.t, f)
			source.Reject(errDisk)
			runtime.KeepAlive(f)
		}},
		{"Map that is broken out of", func(p *program) {
			for _, err := range twill.Map(p.canceled, func(yield func(int) bool) { _ = yield(1) && yield(2) && yield(3) }, 3, func(ctx context.Context, n int) (int, error) {
				if n == 1 {
					return n, nil
				}
				return until(itsErr)(ctx)
			}) {
				require.NoError(p.t, err)
				break
			}
		}},
		{"losers of First and Any", func(p *program) {
			a, b := twill.Go(context.Background(), until(itsErr)), twill.Go(context.Background(), until(itsErr))
			twill.First(a, twill.Resolved(1))
			twill.Any(b, twill.Resolved(1))
			p.watch(a, b)
		}},
		{"an After and a Get that are canceled", func(*program) {
			twill.After(time.Hour, 1).Cancel(nil)
			new(twill.Queue[int]).Get().Cancel(nil)
			new(twill.Pool).NextEmpty().Cancel(nil)
			new(twill.Dict[int, int]).Get(1).Cancel(nil)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runProgram(t, c.run)
			require.Empty(t, without(r, "marker"))
		})
	}
}

// Programs in which something has failed and nothing handles the failure. Each
// reports it, once.
func TestRealFailuresAreReportedOnce(t *testing.T) {
	var leave sync.Mutex // held by functions that must not return yet
	for _, c := range []struct {
		name string
		want error // nil for a panic
		run  func(p *program)
	}{
		{"a failed promise", errDisk, func(*program) { twill.NewPromise[int]().Reject(errDisk) }},
		{"a failed Go", errDisk, func(p *program) {
			p.watch(twill.Go(p.deadline, func(context.Context) (int, error) { return 0, errDisk }))
		}},
		{"context.Canceled where nothing was canceled", context.Canceled, func(p *program) {
			p.watch(twill.Go(context.Background(), func(context.Context) (int, error) { return 0, fmt.Errorf("query: %w", context.Canceled) }))
		}},
		{"a deadline that is the function's own", context.DeadlineExceeded, func(p *program) {
			p.watch(twill.Go(context.Background(), func(context.Context) (int, error) { return until(itsErr)(p.deadline) }))
		}},
		{"a failure during a shutdown", errDisk, func(p *program) {
			p.watch(twill.Go(p.canceled, until(func(context.Context) error { return fmt.Errorf("flush: %w", errDisk) })))
			p.cancel(errCause)
		}},
		{"a failure during a shutdown, joined to the end of the context", errDisk, func(p *program) {
			p.watch(twill.Go(p.canceled, until(func(ctx context.Context) error { return errors.Join(ctx.Err(), errDisk) })))
			p.cancel(errCause)
		}},
		{"Any with a cancel among the failures", errDisk, func(*program) {
			hangs := twill.NewPromise[int]().Future()
			twill.Any(twill.Rejected[int](errDisk), hangs)
			hangs.Cancel(nil)
		}},
		{"Any with the end of a context among the failures", errDisk, func(p *program) {
			p.watch(twill.Any(twill.Rejected[int](errDisk), twill.Go(p.deadline, until(itsErr))))
		}},
		{"a handler that joins its own failure to a cancel", errDisk, func(*program) {
			twill.NewPromise[int]().Future().Catch(func(err error) (int, error) { return 0, errors.Join(err, errDisk) }).Cancel(nil)
		}},
		{"a race with a cancel among the failures", errDisk, func(p *program) {
			var r twill.Race[int, int]
			r.Register(func(context.Context, int) (int, error) { return 0, errDisk })
			r.Register(func(context.Context, int) (int, error) { return 0, &twill.CanceledError{} })
			p.watch(r.Execute(context.Background(), 1))
		}},
		{"a chain with several ends", errDisk, func(*program) {
			source := twill.NewPromise[int]()
			f := twill.Then(source.Future(), kit.Add(1))
			f.Tap(func(int, error) {})
			f.Finally(func() {})
			twill.Then(f, kit.Add(1))
			source.Reject(errDisk)
			twill.Then(f, kit.Add(1))
		}},
		{"a handler that wraps the error", errDisk, func(*program) {
			twill.Rejected[int](errDisk).Catch(func(err error) (int, error) { return 0, fmt.Errorf("load: %w", err) })
		}},
		{"a member of All", errDisk, func(*program) {
			twill.All(twill.Rejected[int](errDisk), twill.NewPromise[int]().Future())
		}},
		{"what only observers see", errDisk, func(p *program) {
			source := twill.NewPromise[int]()
			require.NoError(p.t, new(twill.Pool).Add(source.Future()))
			source.Future().Done()
			twill.NewDeferredList([]*twill.Future[int]{source.Future()}, 0)
			source.Reject(errDisk)
		}},
		{"a promise that follows", errDisk, func(*program) {
			twill.NewPromise[int]().Follow(twill.Rejected[int](errDisk))
		}},
		{"a failed job", errDisk, func(p *program) {
			fn, gate := kit.Gated()
			p.watch(kit.PutJob(p.t, twill.NewResizableDispatchQueue(fn, nil), 1, 0))
			gate <- errDisk
		}},
		{"a promise that is not settled in time", context.DeadlineExceeded, func(p *program) {
			p.watch(twill.NewPromise[int]().Future().Timeout(time.Millisecond))
		}},
		{"a clean-up that fails when a time is over", errDisk, func(p *program) {
			p.watch(twill.Go(context.Background(), until(itsErr)).
				Catch(func(err error) (int, error) { return 0, errors.Join(err, errDisk) }).
				Timeout(time.Millisecond))
		}},
		{"a panic", nil, func(p *program) {
			p.watch(twill.Go(context.Background(), func(context.Context) (int, error) { panic(errDisk) }))
		}},
		{"a panic when the context has ended", nil, func(p *program) {
			p.watch(twill.Go(p.deadline, func(ctx context.Context) (int, error) {
				<-ctx.Done()
				panic(ctx.Err())
			}))
		}},
		{"a panic after every Await was given up", nil, func(p *program) {
			source := twill.NewPromise[int]()
			f := twill.All(twill.Then(source.Future(), func(int) (int, error) { panic(errDisk) }))
			ended, end := context.WithCancel(context.Background())
			end()
			_, err := f.Await(ended)
			require.Error(p.t, err)
			source.Resolve(1)
		}},
		{"a panic after the future was canceled", nil, func(p *program) {
			leave.Lock()
			f := twill.Go(context.Background(), func(context.Context) (int, error) {
				leave.Lock()
				defer leave.Unlock()
				panic(errDisk)
			})
			f.Cancel(nil)
			leave.Unlock()
		}},
		{"a handler that panics with what it was given", nil, func(*program) {
			twill.Rejected[int](errDisk).Catch(func(err error) (int, error) { panic(err) })
		}},
		{"a canceler that panics", nil, func(*program) {
			p := twill.NewPromise[int]()
			p.OnCancel(func(error) { panic(errDisk) })
			twill.Then(p.Future(), kit.Add(1)).Cancel(nil)
		}},
		{"a Goexit", twill.ErrGoexit, func(p *program) {
			p.watch(twill.Go(context.Background(), func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }))
		}},
		{"a Goexit after every Await was given up", twill.ErrGoexit, func(p *program) {
			source := twill.NewPromise[int]()
			f := twill.Then(source.Future(), func(int) (int, error) { runtime.Goexit(); return 0, nil })
			giveUp(p.t, f)
			done := make(chan struct{})
			go func() {
				defer close(done)
				source.Resolve(1)
			}()
			<-done
		}},
		{"a Goexit after the future was canceled", twill.ErrGoexit, func(p *program) {
			leave.Lock()
			f := twill.Go(context.Background(), func(context.Context) (int, error) {
				leave.Lock()
				defer leave.Unlock()
				runtime.Goexit()
				return 0, nil
			})
			f.Cancel(nil)
			leave.Unlock()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runProgram(t, c.run)
			require.Eventually(t, func() bool {
				runtime.GC()
				return len(without(r, "marker")) > 0
			}, 10*time.Second, time.Millisecond, "not reported")
			r.SettleGarbage(t)
			found := without(r, "marker")
			require.Len(t, found, 1)
			if c.want != nil {
				require.ErrorIs(t, found[0], c.want)
				return
			}
			var p *twill.PanicError
			require.ErrorAs(t, found[0], &p)
		})
	}
}

// without returns the reports except those of SettleGarbage.
func without(r *kit.Reports, prefix string) (found []error) {
	for _, err := range r.All() {
		if len(err.Error()) < len(prefix) || err.Error()[:len(prefix)] != prefix {
			found = append(found, err)
		}
	}
	return found
}
