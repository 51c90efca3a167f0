package twill_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twillgo/twill"
)

// Each step gets what the one before has made.
func ExampleSeries() {
	step := func(name string) func(string) *twill.Future[string] {
		return func(before string) *twill.Future[string] {
			fmt.Printf("%s after %q\n", name, before)
			return twill.Resolved(name)
		}
	}
	fmt.Println(twill.Series("", step("wash"), step("rinse"), step("dry")))
	// Output:
	// wash after ""
	// rinse after "wash"
	// dry after "rinse"
	// Future[string](dry)
}

// Steps that are made as they are needed: pages, each of which names the next.
func ExampleSeriesOf() {
	next := map[string]string{"first": "second", "second": "third", "third": ""}
	page := "first"
	all := twill.SeriesOf(0, func(yield func(func(int) *twill.Future[int]) bool) {
		for page != "" {
			read := func(pages int) *twill.Future[int] {
				fmt.Println("reading the", page, "page")
				page = next[page]
				return twill.Resolved(pages + 1)
			}
			if !yield(read) {
				return
			}
		}
	})
	fmt.Println(all)
	// Output:
	// reading the first page
	// reading the second page
	// reading the third page
	// Future[int](3)
}

// later gives n back after a moment, and takes no negative ones.
func later(n int) *twill.Future[int] {
	f := twill.After(0, n)
	return twill.Then(f, func(n int) (int, error) {
		if n < 0 {
			return 0, errors.New("negative")
		}
		return n, nil
	})
}

// What @sequential makes of a generator is straight code here: Await waits for
// a future, gives its result and returns its error where the generator's yield
// would raise it. What is no future needs no waiting.
func ExampleSeries_sequential() {
	work := func(ctx context.Context) (string, error) {
		for _, n := range []int{1, 2} {
			v, err := later(n).Await(ctx)
			if err != nil {
				return "", err
			}
			fmt.Println("result", v)
		}
		fmt.Println("immediate", 3)
		v, err := later(4).Await(ctx)
		if err != nil {
			return "", err
		}
		fmt.Println("result", v)
		if _, err := later(-1).Await(ctx); err != nil {
			fmt.Println("caught:", err)
		}
		return "done", nil
	}
	ctx := context.Background()
	main := twill.Go(ctx, func(ctx context.Context) (string, error) {
		fmt.Println("first time")
		if _, err := twill.Go(ctx, work).Await(ctx); err != nil {
			return "", err
		}
		fmt.Println("second time")
		return twill.Go(ctx, work).Await(ctx)
	})
	fmt.Println(main.Await(ctx))
	// Output:
	// first time
	// result 1
	// result 2
	// immediate 3
	// result 4
	// caught: negative
	// second time
	// result 1
	// result 2
	// immediate 3
	// result 4
	// caught: negative
	// done <nil>
}
