package twill_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestUnhandled(t *testing.T) {
	t.Run("errorLog: an unhandled failure is reported, once", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("unhandled")
		kit.Drop(func() {
			p := twill.NewPromise[int]()
			p.Reject(failure)
		})
		r.Await(t, failure)
		r.SettleGarbage(t)
		require.Len(t, r.Of(failure), 1)
	})
	t.Run("errorLogWithInnerFrameRef: the failure of a chain is reported at its end only", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("unhandled")
		kit.Drop(func() {
			p := twill.NewPromise[int]()
			twill.Then(twill.Then(p.Future(), kit.Add(1)), kit.Add(1))
			p.Reject(failure)
		})
		r.Await(t, failure)
		r.SettleGarbage(t)
		require.Len(t, r.Of(failure), 1)
	})
	t.Run("errorLogDebugInfo: the report shows where it was made", func(t *testing.T) {
		kit.WithDebug(t, true)
		r := kit.CollectReports(t)
		failure := errors.New("unhandled")
		kit.Drop(func() { twill.NewPromise[int]().Reject(failure) })
		r.Await(t, failure)
		require.Contains(t, fmt.Sprintf("%+v", r.Of(failure)[0]), "errors_test.go")
	})
	t.Run("chainedErrorCleanup: a failure that the outer future handled is not reported", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("taken")
		kit.Drop(func() {
			inner := twill.NewPromise[int]()
			outer := twill.ThenFuture(twill.Resolved(0), kit.Returning(inner.Future()))
			outer.Catch(func(error) (int, error) { return 0, nil })
			inner.Reject(failure)
		})
		r.SettleGarbage(t)
		require.Empty(t, r.Of(failure))
	})
	t.Run("errorClearedByChaining: a failure that passed to an outer future is reported there only", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("passed on")
		kit.Drop(func() {
			inner := twill.Rejected[int](failure)
			twill.ThenFuture(twill.Resolved(0), kit.Returning(inner))
		})
		r.Await(t, failure)
		r.SettleGarbage(t)
		require.Len(t, r.Of(failure), 1)
	})
	t.Run("a failure that was awaited, read or handled is not reported", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("taken")
		kit.Drop(func() {
			_, err := twill.Rejected[int](failure).Await(t.Context())
			require.Same(t, failure, err)
			twill.Rejected[int](failure).Poll()
			twill.Rejected[int](failure).Tap(func(int, error) {}).Catch(func(error) (int, error) { return 0, nil })
		})
		r.SettleGarbage(t)
		require.Empty(t, r.Of(failure))
	})
	t.Run("a cancel that nobody took is no incident", func(t *testing.T) {
		r := kit.CollectReports(t)
		kit.Drop(func() { twill.NewPromise[int]().Future().Cancel(nil) })
		r.SettleGarbage(t)
		require.Empty(t, r.Of(twill.ErrCanceled))
	})
	t.Run("a canceler that panicked at a timeout is one", func(t *testing.T) {
		r := kit.CollectReports(t)
		failure := errors.New("canceler panicked")
		p := twill.NewPromise[int]()
		p.OnCancel(func(error) { panic(failure) })
		_, err := p.Future().Timeout(0).Await(t.Context())
		require.Equal(t, &twill.TimeoutError{}, err)
		r.Await(t, failure)
	})
	t.Run("a canceler that panicked is one, also at the end of a chain", func(t *testing.T) {
		r := kit.CollectReports(t)
		for _, end := range []func(f *twill.Future[int]) *twill.Future[int]{
			func(f *twill.Future[int]) *twill.Future[int] { return f },
			func(f *twill.Future[int]) *twill.Future[int] {
				return twill.Then(twill.Then(f, kit.Add(1)), kit.Add(1))
			},
			func(f *twill.Future[int]) *twill.Future[int] {
				return twill.ThenFuture(twill.Resolved(0), kit.Returning(f))
			},
			func(f *twill.Future[int]) *twill.Future[int] {
				return f.Via(func(f func()) { f() })
			},
		} {
			failure := errors.New("canceler panicked")
			kit.Drop(func() {
				p := twill.NewPromise[int]()
				p.OnCancel(func(error) { panic(failure) })
				require.True(t, end(p.Future()).Cancel(nil))
			})
			r.Await(t, failure)
			r.SettleGarbage(t)
			require.Len(t, r.Of(failure), 1)
		}
	})
}

// The report function may be slow: neither the code that settles nor other
// reports wait for it.
func TestUnhandledReportThatBlocksHoldsUpNobody(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	entered, others, release := make(chan error, 1), make(chan error, 1), make(chan struct{})
	previous := twill.OnUnhandled(func(err error) {
		switch {
		case errors.Is(err, first):
			entered <- err
			<-release
		case errors.Is(err, second):
			others <- err
		}
	})
	defer func() { twill.OnUnhandled(previous) }()
	defer close(release)
	kit.Watchdog(t, func() {
		for _, told := range []struct {
			err error
			by  chan error
		}{{first, entered}, {second, others}} {
			kit.Drop(func() { require.True(t, twill.NewPromise[int]().Reject(told.err)) })
			for done := false; !done; {
				runtime.GC()
				select {
				case err := <-told.by:
					require.ErrorIs(t, err, told.err)
					done = true
				case <-time.After(time.Millisecond):
				}
			}
		}
	})
}

func TestFormat(t *testing.T) {
	p := twill.NewPromise[int]()
	require.Equal(t, "Future[int](pending)", p.Future().String())
	p.Resolve(1)
	require.Equal(t, "Future[int](resolved)", fmt.Sprintf("%v", p.Future()))
	require.Equal(t, "Promise[int](resolved)", fmt.Sprintf("%v", p))
	require.Equal(t, "Future[string](failed: *errors.errorString)", fmt.Sprintf("%s", twill.Rejected[string](kit.ErrBoom)))
	require.Equal(t, "Future[error](resolved)", fmt.Sprint(twill.Resolved[error](nil)), "a type without a zero value of its own")
}

func TestDebugShowsPlaces(t *testing.T) {
	require.NotContains(t, fmt.Sprintf("%+v", makePromise().Future()), "made at")
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	p := makePromise()
	f := twill.Then(p.Future(), kit.Same[int])
	cancelIt(f)
	text := fmt.Sprintf("%+v", p.Future())
	require.Contains(t, text, "made at:\n\tgithub.com/twillgo/twill_test.makePromise\n")
	require.Contains(t, text, "settled at:\n\tgithub.com/twillgo/twill_test.cancelIt\n")
	text = fmt.Sprintf("%+v", f)
	require.Contains(t, text, "canceled at:\n\tgithub.com/twillgo/twill_test.cancelIt\n")
	require.Contains(t, text, "errors_test.go:")
	require.NotContains(t, fmt.Sprintf("%v", f), "made at")
	var zero twill.Promise[int]
	require.Contains(t, fmt.Sprintf("%+v", zero.Future()), "made at:\n\tgithub.com/twillgo/twill_test.TestDebugShowsPlaces")
}

func TestDebugInTheUnhandledReport(t *testing.T) {
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	reports := kit.CollectReports(t)
	func() { makePromise().Reject(kit.ErrFirst) }()
	reports.Await(t, kit.ErrFirst)
	require.Contains(t, fmt.Sprintf("%+v", reports.Of(kit.ErrFirst)[0]), "makePromise")
	require.Equal(t, kit.ErrFirst.Error(), fmt.Sprint(reports.Of(kit.ErrFirst)[0]))
}

func TestUnhandledIsLoggedByDefault(t *testing.T) {
	var out safeBuffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(old)
	previous := twill.OnUnhandled(twill.LogUnhandled)
	defer func() { twill.OnUnhandled(previous) }()
	func() { makePromise().Reject(kit.ErrSecond) }()
	require.Eventually(t, func() bool {
		runtime.GC()
		return bytes.Contains(out.Bytes(), []byte(`msg="unhandled error in future"`))
	}, 10*time.Second, time.Millisecond)
	require.Contains(t, string(out.Bytes()), "level=ERROR")
	require.Contains(t, string(out.Bytes()), kit.ErrSecond.Error())
}

//go:noinline
func makePromise() *twill.Promise[int] { return twill.NewPromise[int]() }

//go:noinline
func cancelIt(f *twill.Future[int]) { f.Cancel(nil) }

type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}

func TestCanceledErrorIs(t *testing.T) {
	var none *nilError
	for _, c := range []struct {
		cause    error
		canceled bool
		text     string
	}{
		{nil, true, "twill: canceled"},
		{kit.ErrBoom, true, "twill: canceled: boom"},
		{twill.ErrNotNeeded, true, "twill: canceled: twill: result no longer needed"},
		{context.Canceled, true, "twill: canceled: context canceled"},
		{context.DeadlineExceeded, false, "twill: canceled: context deadline exceeded"},
		{&twill.TimeoutError{After: time.Second}, false, "twill: canceled: twill: timed out after 1s"},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), false, "twill: canceled: wrapped: context deadline exceeded"},
		{none, true, "twill: canceled: <nil>"},
	} {
		err := &twill.CanceledError{Cause: c.cause}
		require.Equal(t, c.text, err.Error())
		require.ErrorIs(t, err, twill.ErrCanceled)
		require.Equal(t, c.canceled, errors.Is(err, context.Canceled), c.text)
	}
}

// nilError is an error whose methods panic if it is nil.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }

func (e *nilError) Is(error) bool { return e.text == "" }

// The code that prints and classifies an error whose methods panic must not
// panic.
func TestErrorsThatPanic(t *testing.T) {
	var none *nilError
	reports := kit.CollectReports(t)
	for name, err := range map[string]error{
		"canceled": &twill.CanceledError{Cause: none},
		"panicked": &twill.PanicError{Value: none},
		"timeout":  &twill.TimeoutError{Err: none},
		"index":    &twill.IndexError{Err: none},
		"key":      &twill.KeyError{Err: none},
		"all":      &twill.AllFailedError{Errs: []error{none}},
		"retry":    &twill.RetryError{Reason: none, Errs: []error{none}},
	} {
		require.NotPanics(t, func() { _ = err.Error() }, name)
	}
	kit.Drop(func() {
		ended, end := context.WithCancel(context.Background())
		end()
		<-twill.Go(ended, func(context.Context) (int, error) { return 0, none }).Done()
		p := twill.NewPromise[int]()
		f := twill.Then(p.Future(), kit.Same[int])
		_, _ = f.Await(ended)
		p.Reject(none)
	})
	require.Eventually(t, func() bool {
		runtime.GC()
		return len(reports.All()) > 0
	}, 10*time.Second, time.Millisecond)
}

// Only a cancellation counts as canceled: an error that joins a cancel with
// other errors is a failure like any other.
func TestCanceledIsAFact(t *testing.T) {
	hangs := twill.NewPromise[int]().Future()
	among := twill.Any(twill.Rejected[int](kit.ErrBoom), hangs)
	p := twill.NewPromise[int]()
	cancels := kit.CountCancels(p)
	require.True(t, p.Follow(among))
	hangs.Cancel(nil)
	kit.RequireFailure(t, kit.ErrBoom, p.Future())
	require.Zero(t, *cancels, "nothing that p follows was canceled")

	p = twill.NewPromise[int]()
	cancels = kit.CountCancels(p)
	require.True(t, p.Follow(twill.Rejected[int](fmt.Errorf("query: %w", context.Canceled))))
	require.Zero(t, *cancels)

	source, list := twill.NewPromise[int](), twill.NewPromise[[]int]()
	cancels = kit.CountCancels(list)
	list.Follow(twill.All(source.Future()))
	source.Future().Cancel(nil)
	require.Equal(t, 1, *cancels, "all members were")
}

func TestPanicErrorPrintsItsStackForPlusV(t *testing.T) {
	f := twill.Call(func() (int, error) { panic(kit.ErrBoom) })
	_, err := f.Await(t.Context())
	require.Equal(t, "twill: panic: boom", fmt.Sprintf("%v", err))
	require.Equal(t, "twill: panic: boom", fmt.Sprintf("%s", err))
	require.Equal(t, `"twill: panic: boom"`, fmt.Sprintf("%q", err))
	require.Equal(t, 1, strings.Count(fmt.Sprintf("%+v", err), "TestPanicErrorPrintsItsStackForPlusV("))
	var none *twill.PanicError
	require.Equal(t, "<nil>", fmt.Sprintf("%+v", none))
}

// The default report of a panic has its stack, once, with either of slog's
// handlers.
func TestUnhandledPanicIsLoggedWithItsStack(t *testing.T) {
	for name, handler := range map[string]func(io.Writer, *slog.HandlerOptions) slog.Handler{
		"text": func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) },
		"json": func(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) },
	} {
		t.Run(name, func(t *testing.T) {
			var out safeBuffer
			old := slog.Default()
			slog.SetDefault(slog.New(handler(&out, nil)))
			defer slog.SetDefault(old)
			err := &twill.IndexError{Err: &twill.PanicError{Value: "boom", Stack: []byte("the stack")}}
			twill.LogUnhandled(err)
			require.Equal(t, 1, bytes.Count(out.Bytes(), []byte("the stack")), "%s", out.Bytes())
			require.Contains(t, string(out.Bytes()), "twill: panic: boom")
		})
	}
}

// A job that exceeds its time limit fails as a network call does, and its
// context prints none of its values.
func TestTimeoutIsThatOfANetworkError(t *testing.T) {
	type key struct{}
	values := context.WithValue(t.Context(), key{}, "secret")
	printed := make(chan string, 1)
	q := twill.NewResizableDispatchQueue(func(ctx context.Context, _ int) (int, error) {
		require.Equal(t, "secret", ctx.Value(key{}))
		printed <- fmt.Sprint(ctx)
		<-ctx.Done()
		return 0, ctx.Err()
	}, nil)
	j, err := q.Put(1, 0, twill.JobOptions{Timeout: time.Millisecond, Context: values})
	require.NoError(t, err)
	_, err = j.Await(t.Context())
	var timeout interface{ Timeout() bool }
	require.ErrorAs(t, err, &timeout)
	require.True(t, timeout.Timeout())
	require.Equal(t, "twill.Job context", <-printed)

	base := make(chan string, 1)
	q.Use(func(ctx context.Context, _ *twill.Job[int, int], _ func(context.Context) (int, error)) (int, error) {
		base <- fmt.Sprintf("%v", ctx)
		return 0, nil
	})
	_, err = q.Put(2, 0, twill.JobOptions{Context: values})
	require.NoError(t, err)
	require.NotContains(t, <-base, "secret")
}
