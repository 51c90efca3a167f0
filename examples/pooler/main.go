// Command pooler alerts the supervisor once: several parts of a program notice
// the same problem, each wants to know what the supervisor says, and the
// telephone rings one time. A Pooler merges the calls that are made while one
// like them is underway.
//
//	go run ./examples/pooler
//
// It prints who calls, what rings, and who hears what.
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

	// The line to the supervisor: a telephone that rings until somebody answers.
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
			return struct{}{}, nil // the failure ends here; with Tap it would go on
		})
	}

	// Equal messages share a call, another one is a call of its own.
	alertSupervisor("A", boiler)
	alertSupervisor("B", boiler)
	c := alertSupervisor("C", boiler)
	alertSupervisor("D", "The coffee machine is empty.")
	fmt.Fprintf(w, "calls underway: %d\n", line.Len())

	// Who leaves touches nobody else.
	c.Cancel(errors.New("saw the smoke"))

	// All who are left hear the answer, be it one or a failure.
	ringing["The coffee machine is empty."].Reject(errors.New("engaged"))
	ringing[boiler].Resolve("I am on my way")

	// The call is over: the next one gets through again.
	e := alertSupervisor("E", boiler)
	f := alertSupervisor("F", boiler)

	// A call that nobody waits for any more is ended.
	e.Cancel(errors.New("the fire is out"))
	f.Cancel(errors.New("nothing but smoke"))

	stats := line.Stats()
	fmt.Fprintf(w, "%d alerts, of which %d were merged\n", stats.Calls, stats.Merged)
	return nil
}
