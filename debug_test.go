package twill_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

func TestFormat(t *testing.T) {
	p := twill.NewPromise[int]()
	require.Equal(t, "Future[int](pending)", p.Future().String())
	p.Resolve(1)
	require.Equal(t, "Future[int](1)", fmt.Sprintf("%v", p.Future()))
	require.Equal(t, "Future[string](failed: boom)", fmt.Sprintf("%s", twill.Rejected[string](errBoom)))
	require.Equal(t, "Future[error](<nil>)", fmt.Sprint(twill.Resolved[error](nil)), "a type without a zero value of its own")
}

func TestDebugShowsPlaces(t *testing.T) {
	require.NotContains(t, fmt.Sprintf("%+v", makePromise().Future()), "made at")
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	p := makePromise()
	f := twill.Then(p.Future(), same[int])
	cancelIt(f)
	text := fmt.Sprintf("%+v", p.Future())
	require.Contains(t, text, "made at:\n\tgithub.com/twillgo/twill_test.makePromise\n")
	require.Contains(t, text, "settled at:\n\tgithub.com/twillgo/twill_test.cancelIt\n")
	text = fmt.Sprintf("%+v", f)
	require.Contains(t, text, "canceled at:\n\tgithub.com/twillgo/twill_test.cancelIt\n")
	require.Contains(t, text, "debug_test.go:")
	require.NotContains(t, fmt.Sprintf("%v", f), "made at")
	var zero twill.Promise[int]
	require.Contains(t, fmt.Sprintf("%+v", zero.Future()), "made at:\n\tgithub.com/twillgo/twill_test.TestDebugShowsPlaces")
}

func TestDebugInTheUnhandledReport(t *testing.T) {
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	reports := collectReports(t)
	func() { makePromise().Reject(errFirst) }()
	reports.await(t, errFirst)
	require.Contains(t, fmt.Sprintf("%+v", reports.of(errFirst)[0]), "makePromise")
	require.Equal(t, errFirst.Error(), fmt.Sprint(reports.of(errFirst)[0]))
}

func TestUnhandledIsLoggedByDefault(t *testing.T) {
	var out safeBuffer
	old := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&out, nil)))
	defer slog.SetDefault(old)
	previous := twill.OnUnhandled(twill.LogUnhandled)
	defer func() { twill.OnUnhandled(previous) }()
	func() { makePromise().Reject(errSecond) }()
	require.Eventually(t, func() bool {
		runtime.GC()
		return bytes.Contains(out.Bytes(), []byte(`msg="unhandled error in future"`))
	}, 10*time.Second, time.Millisecond)
	require.Contains(t, string(out.Bytes()), "level=ERROR")
	require.Contains(t, string(out.Bytes()), errSecond.Error())
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
