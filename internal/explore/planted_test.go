//go:build suites || explore

package explore_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill/internal/explore"
)

// toy is a minimal future, with the bugs that are usual in such code.
type toy struct {
	r        *explore.Run
	mu       explore.Mutex
	settled  bool
	wins     int
	handlers []func()

	checkThenAct bool // settle checks before it locks, and not again
	lostHandler  bool // add checks, unlocks, and then appends
	underLock    bool // handlers run with the lock held
}

func (f *toy) settle() {
	if f.checkThenAct {
		f.r.Look("settled?", f)
		if f.settled {
			return
		}
	}
	f.mu.Lock(f.r)
	if !f.checkThenAct && f.settled {
		f.mu.Unlock(f.r)
		return
	}
	f.r.Point("settle", f)
	f.settled = true
	f.wins++
	run := f.handlers
	f.handlers = nil
	if !f.underLock {
		f.mu.Unlock(f.r)
	}
	for _, fn := range run {
		fn()
	}
	if f.underLock {
		f.mu.Unlock(f.r)
	}
}

func (f *toy) add(fn func()) {
	f.mu.Lock(f.r)
	settled := f.settled
	if f.lostHandler {
		f.mu.Unlock(f.r)
		f.mu.Lock(f.r)
	}
	if !settled {
		f.handlers = append(f.handlers, fn)
	}
	f.mu.Unlock(f.r)
	if settled {
		fn()
	}
}

// settling makes three threads settle and listen to a toy.
func settling(bug func(*toy)) func(*explore.Run) func() error {
	return func(r *explore.Run) func() error {
		f := &toy{r: r}
		bug(f)
		ran := 0
		r.Go("settler", f.settle)
		r.Go("another", f.settle)
		r.Go("listener", func() { f.add(func() { ran++ }) })
		return func() error {
			if f.wins != 1 || ran != 1 {
				return fmt.Errorf("settled %d times, the handler ran %d times", f.wins, ran)
			}
			return nil
		}
	}
}

func TestASoundToyPasses(t *testing.T) {
	stats, err := explore.All(explore.Options{}, settling(func(*toy) {}))
	require.NoError(t, err)
	require.Greater(t, stats.Schedules, 50)
	t.Logf("%+v", stats)
}

func TestPlantedCheckThenAct(t *testing.T) {
	_, err := explore.All(explore.Options{}, settling(func(f *toy) { f.checkThenAct = true }))
	require.ErrorContains(t, err, "settled 2 times")
}

func TestPlantedLostHandler(t *testing.T) {
	_, err := explore.All(explore.Options{}, settling(func(f *toy) { f.lostHandler = true }))
	require.ErrorContains(t, err, "the handler ran 0 times")
}

func TestPlantedHandlerUnderTheLock(t *testing.T) {
	scenario := func(underLock bool) func(*explore.Run) func() error {
		return func(r *explore.Run) func() error {
			f := &toy{r: r, underLock: underLock}
			r.Go("settler", f.settle)
			r.Go("listener", func() { f.add(func() { f.add(func() {}) }) })
			return func() error { return nil }
		}
	}
	_, err := explore.All(explore.Options{}, scenario(true))
	require.ErrorIs(t, err, explore.ErrDeadlock)
	_, err = explore.All(explore.Options{}, scenario(false))
	require.NoError(t, err)
}

func TestPlantedLockOrder(t *testing.T) {
	scenario := func(swapped bool) func(*explore.Run) func() error {
		return func(r *explore.Run) func() error {
			a, b := explore.Mutex{Name: "a"}, explore.Mutex{Name: "b"}
			both := func(first, second *explore.Mutex) func() {
				return func() {
					first.Lock(r)
					second.Lock(r)
					second.Unlock(r)
					first.Unlock(r)
				}
			}
			r.Go("one", both(&a, &b))
			if swapped {
				r.Go("two", both(&b, &a))
			} else {
				r.Go("two", both(&a, &b))
			}
			return func() error { return nil }
		}
	}
	_, err := explore.All(explore.Options{}, scenario(true))
	require.ErrorIs(t, err, explore.ErrDeadlock)
	require.ErrorContains(t, err, "one waits: lock b; two waits: lock a")
	_, err = explore.All(explore.Options{}, scenario(false))
	require.NoError(t, err)
}

// lostWakeup waits for an event that may have happened between the check and
// the wait.
func lostWakeup(r *explore.Run) func() error {
	var settled, waiting, waked bool
	r.Go("waiter", func() {
		r.Look("settled?", &settled)
		if settled {
			return
		}
		r.Point("wait", &waiting)
		waiting = true
		r.Block("asleep", &waked, func() bool { return waked })
	})
	r.Go("settler", func() {
		r.Point("settle", &settled)
		settled = true
		r.Look("anybody?", &waiting)
		if waiting {
			r.Point("wake", &waked)
			waked = true
		}
	})
	return func() error { return nil }
}

func TestPlantedLostWakeup(t *testing.T) {
	_, err := explore.All(explore.Options{}, lostWakeup)
	require.ErrorIs(t, err, explore.ErrDeadlock)
	require.ErrorContains(t, err, "waiter waits: asleep")
}
