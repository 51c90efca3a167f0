package twill_test

import (
	"context"
	"fmt"

	"github.com/twillgo/twill"
)

// Those who ask before there is an answer are told when there is one.
func ExampleDict() {
	var scores twill.Dict[string, int]
	scores.Get("ada").Tap(func(v int, err error) { fmt.Println("first:", v, err) })
	scores.Get("ada").Tap(func(v int, err error) { fmt.Println("second:", v, err) })
	scores.Get("bob").Tap(func(v int, err error) { fmt.Println("bob:", v, err) })
	fmt.Println("waiting:", scores.Waiting())

	scores.Set("ada", 3)
	fmt.Println(scores.Get("ada"), scores.Get("bob"))
	scores.Close(nil)
	// Output:
	// waiting: 3
	// first: 3 <nil>
	// second: 3 <nil>
	// Future[int](3) Future[int](pending)
	// bob: 0 twill: closed
}

// The missing value is made once, however many ask for it.
func ExampleDict_GetOrCompute() {
	ctx := context.Background()
	var pages twill.Dict[string, string]
	fetches := 0
	page := func(url string) *twill.Future[string] {
		return pages.GetOrCompute(ctx, url, func(context.Context) (string, error) {
			fetches++
			return "the page at " + url, nil
		})
	}
	first, second := page("/home"), page("/home")
	fmt.Println(first.Await(ctx))
	fmt.Println(second.Await(ctx))
	fmt.Println(page("/home").Await(ctx))
	fmt.Println("fetched:", fetches)
	// Output:
	// the page at /home <nil>
	// the page at /home <nil>
	// the page at /home <nil>
	// fetched: 1
}

// Counters that several goroutines may change.
func ExampleDict_Update() {
	var words twill.Dict[string, int]
	for _, word := range []string{"to", "be", "or", "not", "to", "be"} {
		words.Update(word, func(n int, _ bool) (int, error) { return n + 1, nil })
	}
	for _, word := range []string{"to", "be", "or"} {
		n, _ := words.Lookup(word)
		fmt.Println(word, n)
	}
	// Output:
	// to 2
	// be 2
	// or 1
}
