// Command chain goes through the five puzzles of chainDeferred, in which a
// Deferred of Twisted fires another Deferred, with surprising output. Follow is
// the equivalent of chainDeferred here: it makes a promise take the outcome of
// a future.
//
//	go run ./examples/chain
//
// For each puzzle it prints the question, what happens in Twisted, and what
// happens here. It takes a few milliseconds.
package main

import (
	"fmt"
	"io"
	"os"

	"github.com/twillgo/twill"
)

func main() {
	run(os.Stdout)
}

func run(w io.Writer) {
	boom1(w)
	boom2(w)
	uncalled(w)
	unexpected1(w)
	unexpected2(w)
}

func boom1(w io.Writer) {
	fmt.Fprintln(w, "boom1: the one that follows is canceled, then the source fires.")
	fmt.Fprintln(w, "  Twisted: AlreadyCalledError, which ends up in the source.")
	var d1, d2 twill.Promise[string]
	d2.OnCancel(func(error) { fmt.Fprintln(w, "  here: d2's canceler runs") })
	d2.Follow(d1.Future())
	d2.Future().Tap(printOutcome(w, "d2"))
	d2.Future().Cancel(nil) // cancels d1 too, as it has no other dependents
	fmt.Fprintln(w, "  here: resolving d1:", d1.Resolve("hey"))

	fmt.Fprintln(w, "  The same, but somebody else needs the source.")
	var e1, e2 twill.Promise[string]
	e1.Future().Tap(printOutcome(w, "e1"))
	e2.Follow(e1.Future())
	e2.Future().Tap(printOutcome(w, "e2"))
	e2.Future().Cancel(nil) // only detaches
	fmt.Fprintln(w, "  here: resolving e1:", e1.Resolve("hey"))
}

func boom2(w io.Writer) {
	fmt.Fprintln(w, "boom2: one that follows is fired by hand, then the source fires.")
	fmt.Fprintln(w, "  Twisted: AlreadyCalledError again.")
	var d1, d2 twill.Promise[string]
	d2.Follow(d1.Future())
	d2.Future().Tap(printOutcome(w, "d2"))
	fmt.Fprintln(w, "  here: resolving d2:", d2.Resolve("hey"))
	fmt.Fprintln(w, "  here: resolving d1:", d1.Resolve("jude")) // d2 keeps its result
}

func uncalled(w io.Writer) {
	fmt.Fprintln(w, "uncalled: the source is canceled.")
	fmt.Fprintln(w, "  Twisted: d2's canceler never runs.")
	var d1, d2 twill.Promise[string]
	d1.OnCancel(func(error) { fmt.Fprintln(w, "  here: d1's canceler runs") })
	d2.OnCancel(func(error) { fmt.Fprintln(w, "  here: d2's canceler runs") })
	d1.Future().Tap(printOutcome(w, "d1"))
	d2.Future().Tap(printOutcome(w, "d2"))
	d2.Follow(d1.Future())
	d1.Future().Cancel(nil)
	fmt.Fprintln(w, "  here: canceling d2 afterwards:", d2.Future().Cancel(nil))
}

func unexpected1(w io.Writer) {
	fmt.Fprintln(w, "unexpected1: the source has a callback too, after the chaining.")
	fmt.Fprintln(w, "  Twisted: the callback is called with None.")
	var d1, d2 twill.Promise[string]
	d2.Follow(d1.Future())
	d1.Future().Tap(printOutcome(w, "callback")) // Follow has changed nothing
	d1.Resolve("hey")
}

func unexpected2(w io.Writer) {
	fmt.Fprintln(w, "unexpected2: two follow one source.")
	fmt.Fprintln(w, "  Twisted: the second of them gets None.")
	var d1, d2, d3 twill.Promise[string]
	d2.Future().Tap(printOutcome(w, "d2"))
	d3.Future().Tap(printOutcome(w, "d3"))
	d2.Follow(d1.Future())
	d3.Follow(d1.Future())
	d1.Resolve("hey")
}

// printOutcome returns a handler that prints how the future with the given name
// has settled.
func printOutcome(w io.Writer, name string) func(string, error) {
	return func(value string, err error) {
		if err != nil {
			fmt.Fprintf(w, "  here: %s failed: %v\n", name, err)
			return
		}
		fmt.Fprintf(w, "  here: %s got %s\n", name, value)
	}
}
