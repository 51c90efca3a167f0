package torture_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
)

// crashVariable has the name of the case for a child process of this test, as
// "place/way".
const crashVariable = "TORTURE_CRASH"

// ways are the ways in which user code may fail to return.
var ways = map[string]func(){
	"panic":       func() { panic("stopped") },
	"panic error": func() { panic(errStopped) },
	"panic nil":   func() { panic(nil) }, //nolint:govet // on purpose
	"exit":        runtime.Goexit,
}

var errStopped = errors.New("stopped")

// A crash is a place where user code runs. do runs code there, on its own
// goroutine, that calls stop; check is called afterwards and returns what is
// wrong.
type crash func(stop func()) (do func(), check func() error)

// In every place where the library calls user code, that code may panic or end
// its goroutine: the process goes on, everything that waits for the code fails,
// and the rest continues. Each case has its own process, since a panic that is
// not contained ends it.
func TestCrashes(t *testing.T) {
	for place := range crashes {
		for way := range ways {
			t.Run(place+"/"+way, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^$")
				cmd.Env = append(os.Environ(), crashVariable+"="+place+"/"+way, "GORACE=atexit_sleep_ms=0")
				out, err := cmd.CombinedOutput()
				require.NoError(t, err, "%s", out)
				require.Contains(t, string(out), "alive")
			})
		}
	}
}

// crashChild is the main function of the child process.
func crashChild(name string) (code int) {
	place, way, _ := strings.Cut(name, "/")
	do, check := crashes[place](ways[way])
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
	time.Sleep(2 * time.Millisecond) // other goroutines may still crash
	if err := check(); err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("alive")
	return 0
}

// told is a check: f has failed with what stopped the code.
func told[T any](f *twill.Future[T]) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := f.Await(ctx)
	var stopped *twill.PanicError
	if errors.As(err, &stopped) || errors.Is(err, twill.ErrGoexit) {
		return nil
	}
	return fmt.Errorf("the future has %v, %v", v, err)
}

// gives is a check: f settles with a value.
func gives[T comparable](f *twill.Future[T], want T) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	v, err := f.Await(ctx)
	if err != nil || v != want {
		return fmt.Errorf("the future has %v, %v, not %v", v, err, want)
	}
	return nil
}

// canceled is a check: f was canceled.
func canceled[T any](f *twill.Future[T]) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if v, err := f.Await(ctx); !errors.Is(err, twill.ErrCanceled) {
		return fmt.Errorf("the future has %v, %v, and is not canceled", v, err)
	}
	return nil
}

// recovered calls fn, and recovers from a panic that the caller has to expect.
func recovered(fn func()) {
	defer func() { _ = recover() }()
	fn()
}
