package torture_test

import (
	"context"
	"flag"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/twillgo/twill"
)

// long runs the tests in full, and not in the short form that every change has
// to pass.
var long = flag.Bool("long", false, "run the soaks and the random tests in full")

// times returns n, and with -long n times more.
func times(n, more int) int {
	if *long {
		return n * more
	}
	return n
}

func TestMain(m *testing.M) {
	flag.Parse()
	byDefault("rapid.checks", times(500, 100))
	if !*long {
		byDefault("rapid.seed", 1) // whether a change passes must not depend on luck
	}
	twill.OnUnhandled(nil) // many tests drop failures on purpose
	if name := os.Getenv(crashVariable); name != "" {
		os.Exit(crashChild(name))
	}
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/twillgo/twill/internal/torture_test.plantedLeak"))
}

// byDefault sets a flag that the command line has not set.
func byDefault(name string, n int) {
	if f := flag.Lookup(name); f.Value.String() == f.DefValue {
		_ = f.Value.Set(strconv.Itoa(n))
	}
}

// await returns the result of f, and fails the test if f does not settle soon.
func await[T any](t testing.TB, f *twill.Future[T]) (T, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	v, err := f.Await(ctx)
	require.NotErrorIs(t, err, context.DeadlineExceeded, "pending for ever")
	return v, err
}

// soon fails the test if fn does not return: only a watchdog finds a goroutine
// that is stuck on a lock.
func soon(t testing.TB, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done) // runs even if fn ends its goroutine
		fn()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("stuck")
	}
}
