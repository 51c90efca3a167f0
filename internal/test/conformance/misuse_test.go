//go:build suites

package conformance_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

// Misuse panics at once, with a message that names the fault. It does not hang
// and changes nothing.
func TestMisuse(t *testing.T) {
	p := twill.NewPromise[int]()
	f := p.Future()
	var noFuture *twill.Future[int]
	var noContext context.Context
	for what, fn := range map[string]func(){
		"Then with a nil function":         func() { twill.Then[int, int](f, nil) },
		"Handle with a nil function":       func() { twill.Handle[int, int](f, nil) },
		"ThenFuture with a nil function":   func() { twill.ThenFuture[int, int](f, nil) },
		"HandleFuture with a nil function": func() { twill.HandleFuture[int, int](f, nil) },
		"Catch with a nil function":        func() { f.Catch(nil) },
		"CatchFuture with a nil function":  func() { f.CatchFuture(nil) },
		"Finally with a nil function":      func() { f.Finally(nil) },
		"Tap with a nil function":          func() { f.Tap(nil) },
		"OnCancel with a nil function":     func() { p.OnCancel(nil) },
		"Go with a nil function":           func() { twill.Go[int](t.Context(), nil) },
		"Call with a nil function":         func() { twill.Call[int](nil) },
		"Reject with a nil error":          func() { p.Reject(nil) },
		"Rejected with a nil error":        func() { twill.Rejected[int](nil) },
		"Await with a nil context":         func() { _, _ = f.Await(noContext) },
		"WithContext with a nil context":   func() { f.WithContext(noContext) },
		"FromContext with a nil context":   func() { twill.FromContext(noContext) },
		"Go with a nil context": func() {
			twill.Go(noContext, func(context.Context) (int, error) { return 0, nil })
		},
		"FromChan with a nil channel": func() { twill.FromChan[int](nil) },
		"Via with a nil function":     func() { f.Via(nil) },
		"Follow of a nil future":      func() { p.Follow(nil) },
		"nil future":                  func() { twill.Then(noFuture, kit.Same[int]) },
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				v, ok := recover().(string)
				require.True(t, ok, "a panic with a string")
				require.True(t, strings.HasPrefix(v, "twill: "+what), "%q", v)
				kit.RequirePending(t, f)
				require.Zero(t, kit.Listeners(f))
			}()
			fn()
		})
	}
	require.True(t, p.Resolve(1))
}

func TestNilFutureFromAHandler(t *testing.T) {
	f := twill.ThenFuture(twill.Resolved(1), func(int) *twill.Future[int] { return nil })
	_, err := kit.AwaitSoon(f)
	require.ErrorContains(t, err, "nil future")
}

// nilError is an error whose methods panic if it is nil. A function that
// returns a pointer as its error returns such an error with every success.
type nilError struct{ cause error }

func (e *nilError) Error() string { return "nil error" }
func (e *nilError) Unwrap() error { return e.cause }

// An error whose methods panic is handled as any other: the library calls these
// methods to recognize a cancel, where no caller could recover.
func TestErrorsWhoseMethodsPanic(t *testing.T) {
	reports := kit.CollectReports(t)
	var typedNil *nilError
	requireIt := func(f *twill.Future[int]) {
		t.Helper()
		_, err := kit.AwaitSoon(f)
		require.Same(t, typedNil, err)
	}
	fail := func(context.Context) (int, error) { return 0, typedNil }
	t.Run("Reject", func(t *testing.T) {
		p := twill.NewPromise[int]()
		require.True(t, p.Reject(typedNil))
		requireIt(p.Future())
	})
	t.Run("Go", func(t *testing.T) { requireIt(twill.Go(t.Context(), fail)) })
	t.Run("Then", func(t *testing.T) {
		requireIt(twill.Then(twill.Resolved(1), func(int) (int, error) { return fail(t.Context()) }))
	})
	t.Run("list", func(t *testing.T) {
		p := twill.NewPromise[int]()
		l := twill.NewDeferredList([]*twill.Future[int]{p.Future()}, 0)
		require.True(t, p.Reject(typedNil))
		requireIt(p.Future())
		r, ok := l.Poll()
		require.True(t, ok)
		require.Same(t, typedNil, r.Value.Results[0].Err)
		requireIt(p.Future()) // handles it, which the list does not
	})
	t.Run("job", func(t *testing.T) {
		var none *twill.RetryError
		q := twill.NewResizableDispatchQueue(func(context.Context, int) (int, error) { return 0, none }, nil)
		_, err := kit.AwaitSoon(&kit.PutJob(t, q, 1, 0).Future)
		require.Same(t, none, err)
	})
	t.Run("Follow", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		require.True(t, p.Follow(q.Future()))
		require.True(t, q.Reject(typedNil))
		requireIt(p.Future())
	})
	t.Run("Follow, canceled", func(t *testing.T) {
		p, q := twill.NewPromise[int](), twill.NewPromise[int]()
		runs := kit.CountCancels(p)
		q.OnCancel(func(error) { q.Reject(typedNil) })
		require.True(t, p.Follow(q.Future()))
		kit.Watchdog(t, func() { require.False(t, p.Future().Cancel(nil)) })
		require.Equal(t, 1, *runs)
		requireIt(p.Future())
	})
	t.Run("Timeout", func(t *testing.T) {
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { p.Reject(typedNil) })
		requireIt(p.Future().Timeout(0))
	})
	// All failures were handled: a report would fail the next test that checks
	// reports.
	reports.SettleGarbage(t)
}
