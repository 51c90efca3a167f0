package twill_test

import (
	"fmt"
	"iter"
	"time"

	"github.com/twillgo/twill"
)

// printFirst prints up to five of the pauses.
func printFirst(pauses iter.Seq[time.Duration]) {
	for d := range twill.Limit(pauses, 5) {
		fmt.Print(d, " ")
	}
	fmt.Println()
}

func ExampleConstant() {
	printFirst(twill.Constant(time.Second))
	// Output: 1s 1s 1s 1s 1s
}

func ExampleLinear() {
	printFirst(twill.Linear(time.Second, 500*time.Millisecond))
	// Output: 1s 1.5s 2s 2.5s 3s
}

func ExampleExponential() {
	printFirst(twill.Exponential(100*time.Millisecond, 2))
	// Output: 100ms 200ms 400ms 800ms 1.6s
}

func ExampleCap() {
	printFirst(twill.Cap(twill.Exponential(100*time.Millisecond, 2), 500*time.Millisecond))
	// Output: 100ms 200ms 400ms 500ms 500ms
}

// Two retries, and no more.
func ExampleLimit() {
	printFirst(twill.Limit(twill.Constant(time.Second), 2))
	// Output: 1s 1s
}

func ExampleFromSlice() {
	printFirst(twill.FromSlice(0, time.Second, time.Minute))
	// Output: 0s 1s 1m0s
}

// within reports whether each of the pauses is at most that of bound, and at
// least share of it.
func within(pauses, bound iter.Seq[time.Duration], share float64) bool {
	next, stop := iter.Pull(bound)
	defer stop()
	for d := range twill.Limit(pauses, 100) {
		most, _ := next()
		if d > most || float64(d) < share*float64(most) {
			return false
		}
	}
	return true
}

// The jitter goes around the cap.
func ExampleFullJitter() {
	bound := twill.Cap(twill.Exponential(100*time.Millisecond, 2), time.Minute)
	fmt.Println("from 0 to the bound:", within(twill.FullJitter(bound), bound, 0))
	// Output: from 0 to the bound: true
}

func ExampleEqualJitter() {
	bound := twill.Cap(twill.Exponential(100*time.Millisecond, 2), time.Minute)
	fmt.Println("from its half to the bound:", within(twill.EqualJitter(bound), bound, 0.5))
	// Output: from its half to the bound: true
}

func ExampleDecorrelatedJitter() {
	pauses := twill.DecorrelatedJitter(time.Second, time.Minute)
	fmt.Println("from 1s to 1m0s:", within(pauses, twill.Constant(time.Minute), 1./60))
	// Output: from 1s to 1m0s: true
}
