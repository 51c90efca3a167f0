// Command deferredlist shows what a DeferredList does, in seven small programs:
// a list without members, with one, with two, with two that settle in the other
// order, with a failure that is consumed, with a failure that nothing handles,
// and with a failure that is handled.
//
//	go run ./examples/deferredlist
//
// For each program it prints which futures settle and the result of the list.
// It takes a few milliseconds.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	run(os.Stdout)
}

func run(w io.Writer) {
	for _, program := range []func(io.Writer){empty, one, two, order, consumed, unhandled, handled} {
		program(w)
	}
}

func empty(w io.Writer) {
	fmt.Fprintln(w, "1. No members: the list is settled from the start.")
	printResults(w, 0)
}

func one(w io.Writer) {
	fmt.Fprintln(w, "2. One member: the list settles when that does.")
	a := twill.NewPromise[string]()
	printResults(w, 0, a.Future())
	resolve(w, a, "a")
}

func two(w io.Writer) {
	fmt.Fprintln(w, "3. Two members: the list settles with the last of them.")
	a, b := twill.NewPromise[string](), twill.NewPromise[string]()
	printResults(w, 0, a.Future(), b.Future())
	resolve(w, a, "a")
	resolve(w, b, "b")
}

func order(w io.Writer) {
	fmt.Fprintln(w, "4. The results are in the order of the members, whoever settles first.")
	a, b := twill.NewPromise[string](), twill.NewPromise[string]()
	printResults(w, 0, a.Future(), b.Future())
	resolve(w, b, "b")
	resolve(w, a, "a")
}

func consumed(w io.Writer) {
	fmt.Fprintln(w, "5. A failure is a result like others, and ConsumeErrors takes it.")
	a, b := twill.NewPromise[string](), twill.NewPromise[string]()
	printResults(w, twill.ConsumeErrors, a.Future(), b.Future())
	resolve(w, a, "a")
	reject(w, b, "b is broken")
}

func unhandled(w io.Writer) {
	fmt.Fprintln(w, "6. Without ConsumeErrors the list only watches, so that the failure is reported.")
	reports := make(chan error, 1)
	previous := twill.OnUnhandled(func(err error) { reports <- err }) // by default they are logged
	defer func() { twill.OnUnhandled(previous) }()

	func() {
		a, b := twill.NewPromise[string](), twill.NewPromise[string]()
		printResults(w, 0, a.Future(), b.Future())
		resolve(w, a, "a")
		reject(w, b, "b is broken")
	}()

	// When b is garbage nothing can handle its failure. A program that runs on
	// collects garbage sooner or later; this program does so now.
	for range 1000 {
		runtime.GC()
		select {
		case err := <-reports:
			fmt.Fprintln(w, "   unhandled:", err)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	fmt.Fprintln(w, "   no report")
}

func handled(w io.Writer) {
	fmt.Fprintln(w, "7. A failure handled before the list sees it is none.")
	a, b := twill.NewPromise[string](), twill.NewPromise[string]()
	safe := b.Future().Catch(func(error) (string, error) { return "instead of b", nil })
	printResults(w, 0, a.Future(), safe)
	resolve(w, a, "a")
	reject(w, b, "b is broken")
}

// printResults makes a list of the members, and prints its result when it
// settles.
func printResults(w io.Writer, flags twill.ListFlags, members ...*twill.Future[string]) {
	twill.NewDeferredList(members, flags).Tap(func(l twill.ListResult[string], _ error) {
		words := make([]string, len(l.Results))
		for i, r := range l.Results {
			words[i] = r.Value
			if r.Err != nil {
				words[i] = "failure: " + r.Err.Error()
			}
		}
		fmt.Fprintf(w, "   list: [%s]\n", strings.Join(words, ", "))
	})
}

func resolve(w io.Writer, p *twill.Promise[string], value string) {
	fmt.Fprintln(w, "   resolve", value)
	p.Resolve(value)
}

func reject(w io.Writer, p *twill.Promise[string], reason string) {
	fmt.Fprintln(w, "   reject:", reason)
	p.Reject(errors.New(reason))
}
