// Package kit has the helpers that the tests of several packages share.
package kit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/settle"
)

// Long reports whether long tests are to run: if TWILL_LONG is set, as by
// .ci/run, and -short is not.
func Long() bool { return os.Getenv("TWILL_LONG") != "" && !testing.Short() }

// WithDebug sets debugging for one test.
func WithDebug(t *testing.T, on bool) {
	t.Helper()
	twill.SetDebug(on)
	t.Cleanup(func() { twill.SetDebug(false) })
}

// RequireCanceled fails the test unless f was canceled with the given cause.
func RequireCanceled[T any](t *testing.T, cause error, f *twill.Future[T]) {
	t.Helper()
	RequireFailure(t, twill.ErrCanceled, f)
	RequireFailure(t, context.Canceled, f)
	result, _ := f.Poll()
	var canceled *twill.CanceledError
	require.ErrorAs(t, result.Err, &canceled)
	require.Equal(t, cause, canceled.Cause)
	if cause != nil {
		require.ErrorIs(t, result.Err, cause)
	}
}

// CountCancels gives p a canceler that counts its runs.
func CountCancels[T any](p *twill.Promise[T]) *int {
	runs := new(int)
	p.OnCancel(func(error) { *runs++ })
	return runs
}

// Returning returns a handler that returns f.
func Returning(f *twill.Future[int]) func(int) *twill.Future[int] {
	return func(int) *twill.Future[int] { return f }
}

// Resource is an object whose release a test can observe.
type Resource struct{ _ [64]byte }

// Released reports whether the target of w was collected.
func Released(w weak.Pointer[Resource]) bool {
	for range 200 {
		runtime.GC()
		if w.Value() == nil {
			return true
		}
		time.Sleep(5 * time.Millisecond) // the collector releases what it has found on a separate goroutine
	}
	return false
}

// ErrFirst and errSecond are failures that can be distinguished.
var (
	ErrFirst  = errors.New("first failure")
	ErrSecond = errors.New("second failure")
)

// RequireValue fails the test unless f is settled with want.
func RequireValue[T any](t *testing.T, want T, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.True(t, ok, "the future is pending")
	require.NoError(t, result.Err)
	require.Equal(t, want, result.Value)
}

// RequireFailure fails the test unless f has failed with an error that Is want.
func RequireFailure[T any](t *testing.T, want error, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.True(t, ok, "the future is pending")
	require.ErrorIs(t, result.Err, want)
}

// RequirePending fails the test if f is settled.
func RequirePending[T any](t *testing.T, f *twill.Future[T]) {
	t.Helper()
	result, ok := f.Poll()
	require.False(t, ok, "the future is settled: %+v", result)
}

// Add returns a handler that adds n.
func Add(n int) func(int) (int, error) {
	return func(v int) (int, error) { return v + n, nil }
}

// Unexpected returns a handler that fails the test if it runs.
func Unexpected[In any](t *testing.T) func(In) (int, error) {
	return func(In) (int, error) {
		t.Error("a handler ran that must not")
		return 0, nil
	}
}

// Promises makes n promises and their futures.
func Promises(n int) ([]*twill.Promise[int], []*twill.Future[int]) {
	ps, fs := make([]*twill.Promise[int], n), make([]*twill.Future[int], n)
	for i := range ps {
		ps[i] = twill.NewPromise[int]()
		fs[i] = ps[i].Future()
	}
	return ps, fs
}

// Reports collects the calls of the function set by OnUnhandled during one
// test.
type Reports struct {
	mu   sync.Mutex
	errs []error
}

// CollectReports installs a collector until the end of the test.
func CollectReports(t *testing.T) *Reports {
	t.Helper()
	r := new(Reports)
	previous := twill.OnUnhandled(func(err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, err)
	})
	t.Cleanup(func() { twill.OnUnhandled(previous) })
	return r
}

// All returns the reports so far.
func (r *Reports) All() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.errs)
}

// Of returns the reports of the given error so far.
func (r *Reports) Of(target error) (found []error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, err := range r.errs {
		if errors.Is(err, target) {
			found = append(found, err)
		}
	}
	return found
}

// Await collects garbage until marker was reported. Cleanups run in no
// particular order, so it waits a little longer for others of the same
// collection.
func (r *Reports) Await(t *testing.T, target error) {
	t.Helper()
	require.Eventually(t, func() bool {
		runtime.GC()
		return len(r.Of(target)) > 0
	}, 10*time.Second, time.Millisecond, "not reported: %v", target)
}

// SettleGarbage makes sure that everything that was unreachable before the call
// was collected and reported: it drops failures on purpose, and waits until the
// third was reported.
func (r *Reports) SettleGarbage(t *testing.T) {
	t.Helper()
	for i := range 3 {
		marker := fmt.Errorf("marker %d", i)
		Drop(func() { twill.Rejected[int](marker) })
		r.Await(t, marker)
	}
}

// Drop runs fn in its own frame, so that no stack slot keeps what it made.
//
//go:noinline
func Drop(fn func()) { fn() }

var ErrBoom = errors.New("boom")

func Same[T any](v T) (T, error) { return v, nil }

// AwaitValue fails the test unless f succeeds with want, soon.
func AwaitValue[T any](t testing.TB, f *twill.Future[T], want T) {
	t.Helper()
	v, err := AwaitSoon(f)
	require.NoError(t, err)
	require.Equal(t, want, v)
}

// AwaitError fails the test unless f fails with an error that Is want, soon.
func AwaitError[T any](t testing.TB, f *twill.Future[T], want error) {
	t.Helper()
	_, err := AwaitSoon(f)
	require.ErrorIs(t, err, want)
}

func AwaitSoon[T any](f *twill.Future[T]) (T, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return f.Await(ctx)
}

// Watchdog fails the test if fn does not return: only a watchdog finds a
// goroutine that is stuck on a lock.
func Watchdog(t testing.TB, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		buf := make([]byte, 1<<16)
		t.Fatalf("stuck:\n%s", buf[:runtime.Stack(buf, true)])
	}
}

// Goid returns the number of the calling goroutine.
func Goid() int {
	buf := make([]byte, 64)
	buf = buf[:runtime.Stack(buf, false)]
	n, err := strconv.Atoi(string(bytes.Fields(buf)[1]))
	if err != nil {
		panic(err)
	}
	return n
}

// Record collects values that several goroutines add.
type Record[T any] struct {
	mu    sync.Mutex
	notes []T
}

func (r *Record[T]) Add(note T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, note)
}

func (r *Record[T]) All() []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes)
}

func PQPut[T any](t testing.TB, q *twill.PriorityQueue[T], v T, priority int) *twill.PriorityItem[T] {
	t.Helper()
	x, err := q.Put(v, priority)
	require.NoError(t, err)
	return x
}

// PQDrain takes all items of q.
func PQDrain[T any](q *twill.PriorityQueue[T]) []T {
	values := []T{}
	for v, ok := q.TryGet(); ok; v, ok = q.TryGet() {
		values = append(values, v)
	}
	return values
}

// SmallStack makes the process crash if a goroutine of the test uses more than
// 8 MiB of stack.
func SmallStack(t *testing.T) {
	old := debug.SetMaxStack(8 << 20)
	t.Cleanup(func() { debug.SetMaxStack(old) })
}

func HeapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Core returns the untyped part of f.
func Core[T any](f *twill.Future[T]) *settle.Core {
	return (*settle.Core)(reflect.ValueOf(f).Elem().FieldByName("core").Addr().UnsafePointer())
}

// Listeners returns the number of links on f's list.
func Listeners[T any](f *twill.Future[T]) int { return Core(f).Listeners() }

// Users returns the number of listeners that depend on f.
func Users[T any](f *twill.Future[T]) int { return Core(f).Users() }

// Pauses returns a backoff of the given pauses.
func Pauses(delays ...time.Duration) iter.Seq[time.Duration] { return slices.Values(delays) }

// Tester makes a NewTester of a failure tester without state.
func Tester(test func(error) error) func() func(error) error {
	return func() func(error) error { return test }
}

// AtMost makes testers that go on with any error, but at most n times in a call
// with an error for which match returns true.
func AtMost(n int, match func(error) bool) func() func(error) error {
	return func() func(error) error {
		left := n
		return func(err error) error {
			if match(err) {
				if left == 0 {
					return err
				}
				left--
			}
			return nil
		}
	}
}
