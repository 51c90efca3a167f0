package twill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

// A cancel is told from other failures, and says why it came.
func ExampleCanceledError() {
	f := twill.After(time.Hour, "tea")
	f.Cancel(errors.New("the guest has left"))
	_, err := f.Await(context.Background())
	fmt.Println(errors.Is(err, twill.ErrCanceled), errors.Is(err, context.Canceled))
	if canceled, ok := errors.AsType[*twill.CanceledError](err); ok {
		fmt.Println(canceled.Cause)
	}
	// Output:
	// true true
	// the guest has left
}

func ExampleTimeoutError() {
	_, err := twill.After(time.Hour, "tea").Timeout(time.Millisecond).Await(context.Background())
	if late, ok := errors.AsType[*twill.TimeoutError](err); ok {
		fmt.Println("not there after", late.After)
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// not there after 1ms
	// true
}

// A panic that is an error can be found by errors.Is; the stack is that of the
// goroutine that panicked.
func ExamplePanicError() {
	f := twill.Then(twill.Resolved(1), func(int) (int, error) { panic(errSoldOut) })
	_, err := f.Await(context.Background())
	fmt.Println(err, errors.Is(err, errSoldOut))
	if p, ok := errors.AsType[*twill.PanicError](err); ok {
		fmt.Println(strings.Contains(string(p.Stack), "ExamplePanicError"))
	}
	// Output:
	// twill: panic: sold out true
	// true
}

// Failures that nobody took are logged unless a program wants something else.
func ExampleOnUnhandled() {
	previous := twill.OnUnhandled(func(err error) { fmt.Println("nobody looked at:", err) })
	defer func() { twill.OnUnhandled(previous) }()
}

// Where was it made? Debug mode knows.
func ExampleSetDebug() {
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	f := twill.Rejected[int](errSoldOut)
	text := fmt.Sprintf("%+v", f)
	fmt.Println(f)
	fmt.Println(strings.Contains(text, "made at:"), strings.Contains(text, "ExampleSetDebug"))
	// Output:
	// Future[int](failed: sold out)
	// true true
}
