// Command dict shows a Dict between a producer and a consumer that work in
// different orders: a get of a key that is not set returns a future.
//
//	go run ./examples/dict
//
// It prints what is requested and what is produced while a price list is made,
// and what happens to requests for prices that never come. It takes a few
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
		fmt.Fprintln(os.Stderr, "dict:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	var prices twill.Dict[string, int]

	// The consumer asks in the order of the menu; no price is set yet.
	for _, meal := range []string{"soup", "risotto", "pie", "cake"} {
		ask(w, &prices, meal)
	}
	ask(w, &prices, "pie") // any number of gets may wait for a key
	fmt.Fprintln(w, "waiting:", prices.Waiting())

	// The producer sets the prices in a different order.
	for _, meal := range []string{"pie", "tea", "soup"} {
		fmt.Fprintln(w, "produced", meal)
		if err := prices.Set(meal, 3*len(meal)); err != nil { // the handlers of the gets run inside Set
			return err
		}
	}

	// A get of a key that is set returns a settled future.
	ask(w, &prices, "tea")

	// A value can be replaced; earlier gets keep the old value.
	if err := prices.Set("tea", 4); err != nil {
		return err
	}
	ask(w, &prices, "tea")

	// Two prices are never set: one get fails, and the other ends when the
	// dictionary is closed.
	prices.Fail("cake", errors.New("out of flour"))
	prices.Close(errors.New("the kitchen is closed"))
	ask(w, &prices, "salad")
	fmt.Fprintln(w, "there:", prices.Len(), "waiting:", prices.Waiting())

	return together(w)
}

// ask gets the price of a meal, and prints it when it is set.
func ask(w io.Writer, prices *twill.Dict[string, int], meal string) {
	fmt.Fprintln(w, "asked for", meal)
	twill.Handle(prices.Get(meal), func(price int, err error) (struct{}, error) {
		if err != nil {
			fmt.Fprintf(w, "  no %s: %v\n", meal, err)
		} else {
			fmt.Fprintf(w, "  %s is %d\n", meal, price)
		}
		return struct{}{}, nil // the failure is handled here; with Tap it would be passed on
	})
}

// together runs the producer and the consumer concurrently.
func together(w io.Writer) error {
	ctx := context.Background()
	var squares twill.Dict[int, int]
	producer := twill.Go(ctx, func(context.Context) (struct{}, error) {
		for n := 1; n <= 5; n++ {
			if err := squares.Set(n, n*n); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	for _, n := range []int{4, 2, 5, 1, 3} {
		square, err := squares.Get(n).Await(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d squared is %d\n", n, square)
	}
	_, err := producer.Await(ctx)
	return err
}
