package twill_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// requireTimedOut fails the test unless f failed by a timeout of d.
func requireTimedOut[T any](t *testing.T, d time.Duration, f *twill.Future[T]) {
	t.Helper()
	kit.RequireFailure(t, context.DeadlineExceeded, f)
	result, _ := f.Poll()
	var late *twill.TimeoutError
	require.ErrorAs(t, result.Err, &late)
	require.Equal(t, d, late.After)
}

// custom stands in for addTimeout's onTimeoutCancel: a Catch below the timeout that makes a value of it.
func custom(f *twill.Future[int]) *twill.Future[int] {
	return f.Catch(func(err error) (int, error) {
		if late := new(twill.TimeoutError); errors.As(err, &late) {
			return -1, nil
		}
		return 0, err
	})
}

// TestAddTimeout has the 18 cases of DeferredAddTimeoutTests, each in a bubble of fake time.
func TestAddTimeout(t *testing.T) {
	const second = time.Second
	// sleep lets time pass in the bubble and all that is due happen.
	sleep := func(d time.Duration) {
		time.Sleep(d)
		synctest.Wait()
	}
	tests := map[string]func(t *testing.T, p *twill.Promise[int]){
		"timeoutChainable": func(t *testing.T, p *twill.Promise[int]) {
			tip := twill.Then(p.Future().Timeout(second), kit.Add(1))
			p.Resolve(1)
			kit.RequireValue(t, 2, tip)
		},
		"successResultBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			p.Resolve(1)
			kit.RequireValue(t, 1, f)
			sleep(2 * second)
			kit.RequireValue(t, 1, f)
		},
		"successResultBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			p.Resolve(1)
			sleep(2 * second)
			kit.RequireValue(t, 1, f)
		},
		"failureBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			p.Reject(kit.ErrFirst)
			kit.RequireFailure(t, kit.ErrFirst, f)
			sleep(2 * second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"failureBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			p.Reject(kit.ErrFirst)
			sleep(2 * second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"timedOut": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			sleep(second - 1)
			kit.RequirePending(t, f)
			sleep(1)
			requireTimedOut(t, second, f)
			kit.RequireFailure(t, twill.ErrCanceled, p.Future())
		},
		"timedOutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			sleep(second)
			kit.RequireValue(t, -1, f)
		},
		"timedOutProvidedCancelSuccess": func(t *testing.T, p *twill.Promise[int]) {
			p.OnCancel(func(error) { p.Resolve(7) })
			f := p.Future().Timeout(second)
			sleep(second)
			kit.RequireValue(t, 7, f)
		},
		"timedOutProvidedCancelFailure": func(t *testing.T, p *twill.Promise[int]) {
			p.OnCancel(func(error) { p.Reject(kit.ErrFirst) })
			f := p.Future().Timeout(second)
			sleep(second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"cancelBeforeTimeout": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second)
			f.Cancel(kit.ErrFirst)
			kit.RequireCanceled(t, kit.ErrFirst, f)
			sleep(2 * second)
			kit.RequireCanceled(t, kit.ErrFirst, f)
		},
		"cancelBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Timeout(second))
			f.Cancel(kit.ErrFirst)
			sleep(2 * second)
			kit.RequireCanceled(t, kit.ErrFirst, f)
		},
		"providedCancelCalledBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			runs := kit.CountCancels(p)
			f := custom(p.Future().Timeout(second))
			f.Cancel(nil)
			sleep(2 * second)
			require.Equal(t, 1, *runs)
			kit.RequireCanceled(t, nil, f)
		},
		"errbackAddedBeforeTimeout: it sees the cancel, what it returns passes": func(t *testing.T, p *twill.Promise[int]) {
			var seen error
			f := p.Future().Catch(func(err error) (int, error) {
				seen = err
				return 0, kit.ErrFirst
			}).Timeout(second)
			sleep(second)
			require.ErrorIs(t, seen, twill.ErrCanceled)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"errbackAddedBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(p.Future().Catch(func(error) (int, error) { return 0, kit.ErrFirst }).Timeout(second))
			sleep(second)
			kit.RequireFailure(t, kit.ErrFirst, f)
		},
		"errbackAddedBeforeTimeoutSuppressesCancellation": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Catch(func(error) (int, error) { return 4, nil }).Timeout(second)
			sleep(second)
			kit.RequireValue(t, 4, f)
		},
		"errbackAddedBeforeTimeoutSuppressesCancellationCustom": func(t *testing.T, p *twill.Promise[int]) {
			ran := false
			f := p.Future().Catch(func(error) (int, error) { return 4, nil }).Timeout(second)
			f = twill.Handle(f, func(v int, err error) (int, error) { ran = true; return v, err })
			sleep(second)
			require.True(t, ran)
			kit.RequireValue(t, 4, f)
		},
		"callbackAddedToCancelerBeforeTimeout: a handler before it passes the cancel on": func(t *testing.T, p *twill.Promise[int]) {
			f := twill.Then(p.Future(), kit.Unexpected[int](t)).Timeout(second)
			sleep(second)
			requireTimedOut(t, second, f)
		},
		"callbackAddedToCancelerBeforeTimeoutCustom": func(t *testing.T, p *twill.Promise[int]) {
			f := custom(twill.Then(p.Future(), kit.Unexpected[int](t)).Timeout(second))
			sleep(second)
			kit.RequireValue(t, -1, f)
		},
		"an inner future that it waits for is cancelled": func(t *testing.T, p *twill.Promise[int]) {
			inner := twill.NewPromise[int]()
			runs := kit.CountCancels(inner)
			f := twill.ThenFuture(p.Future(), kit.Returning(inner.Future())).Timeout(second)
			p.Resolve(1)
			sleep(second)
			require.Equal(t, 1, *runs)
			requireTimedOut(t, second, f)
		},
		"what is added below it is not covered": func(t *testing.T, p *twill.Promise[int]) {
			inner := twill.NewPromise[int]()
			f := twill.ThenFuture(p.Future().Timeout(second), kit.Returning(inner.Future()))
			p.Resolve(1)
			sleep(2 * second)
			kit.RequirePending(t, f)
			inner.Resolve(2)
			kit.RequireValue(t, 2, f)
		},
		"the shorter of two wins": func(t *testing.T, p *twill.Promise[int]) {
			f := p.Future().Timeout(second).Timeout(3 * second)
			sleep(second)
			requireTimedOut(t, second, f)
		},
		"no time at all": func(t *testing.T, p *twill.Promise[int]) {
			kit.RequireValue(t, 1, twill.Resolved(1).Timeout(0))
			requireTimedOut(t, 0, p.Future().Timeout(0))
			requireTimedOut(t, -second, twill.NewPromise[int]().Future().Timeout(-second))
		},
		"one who gives up leaves a future that others need": func(t *testing.T, p *twill.Promise[int]) {
			other := twill.Then(p.Future(), kit.Add(1))
			f := p.Future().Timeout(second)
			sleep(second)
			requireTimedOut(t, second, f)
			kit.RequirePending(t, p.Future())
			p.Resolve(1)
			kit.RequireValue(t, 2, other)
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, twill.NewPromise[int]()) })
		})
	}
}
