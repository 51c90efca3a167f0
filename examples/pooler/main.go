// Command pooler alerts the supervisor once: several parts of a program notice
// the same problem, all of them need the supervisor's answer, and the telephone
// rings one time. A Pooler merges calls that are made while an equal call is
// underway.
//
//	go run ./examples/pooler
//
// It prints the callers, the calls and the answers. It takes a few
// milliseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/twillgo/twill"
)

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pooler:", err)
		os.Exit(1)
	}
}

const boiler = "We have a problem in the boiler room!"

func run(w io.Writer) error {
	ctx := context.Background()

	// The line to the supervisor: a telephone that rings until it is answered.
	ringing := make(map[string]*twill.Promise[string])
	line := twill.NewPoolerFuture(func(_ context.Context, message string) *twill.Future[string] {
		fmt.Fprintln(w, "  ring:", message)
		call := twill.NewPromise[string]()
		call.OnCancel(func(cause error) { fmt.Fprintln(w, "  hung up:", cause) })
		ringing[message] = call
		return call.Future()
	})
	alertSupervisor := func(who, message string) *twill.Future[struct{}] {
		fmt.Fprintln(w, who, "alerts the supervisor")
		return twill.Handle(line.Call(ctx, message), func(answer string, err error) (struct{}, error) {
			if err != nil {
				fmt.Fprintf(w, "  %s gets no answer: %v\n", who, err)
			} else {
				fmt.Fprintf(w, "  %s is told: %s\n", who, answer)
			}
			return struct{}{}, nil // the failure is handled here; with Tap it would be passed on
		})
	}

	// Equal messages share a call, a different message is a separate call.
	alertSupervisor("A", boiler)
	alertSupervisor("B", boiler)
	c := alertSupervisor("C", boiler)
	alertSupervisor("D", "The coffee machine is empty.")
	fmt.Fprintf(w, "calls underway: %d\n", line.Len())

	// A caller that leaves does not affect the others.
	c.Cancel(errors.New("saw the smoke"))

	// All callers that are left receive the answer, even if it is a failure.
	ringing["The coffee machine is empty."].Reject(errors.New("engaged"))
	ringing[boiler].Resolve("I am on my way")

	// The call is over: the next caller makes a new call.
	e := alertSupervisor("E", boiler)
	f := alertSupervisor("F", boiler)

	// A call without callers is canceled.
	e.Cancel(errors.New("the fire is out"))
	f.Cancel(errors.New("nothing but smoke"))

	stats := line.Stats()
	fmt.Fprintf(w, "%d alerts, of which %d were merged\n", stats.Calls, stats.Merged)
	return nil
}
