// Command dict shows a Dict between a producer and a consumer who work in
// different orders: who asks for a key that is not there gets a future.
//
//	go run ./examples/dict
//
// It prints what is asked for and what is produced, as a price list is made,
// and what becomes of those who ask for something that never comes.
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

	// The consumer asks in the order of the menu; nothing is there.
	for _, meal := range []string{"soup", "risotto", "pie", "cake"} {
		ask(w, &prices, meal)
	}
	ask(w, &prices, "pie") // any number may wait for a key
	fmt.Fprintln(w, "waiting:", prices.Waiting())

	// The producer makes the prices in an order of its own.
	for _, meal := range []string{"pie", "tea", "soup"} {
		fmt.Fprintln(w, "produced", meal)
		if err := prices.Set(meal, 3*len(meal)); err != nil { // the askers' handlers run in here
			return err
		}
	}

	// A key that is there is a future that is settled.
	ask(w, &prices, "tea")

	// A value can be replaced; who has asked before keeps the old one.
	if err := prices.Set("tea", 4); err != nil {
		return err
	}
	ask(w, &prices, "tea")

	// Two prices will not come: of one this is known, for the other the
	// dictionary is closed.
	prices.Fail("cake", errors.New("out of flour"))
	prices.Close(errors.New("the kitchen is closed"))
	ask(w, &prices, "salad")
	fmt.Fprintln(w, "there:", prices.Len(), "waiting:", prices.Waiting())

	return together(w)
}

// ask asks for the price of a meal, and has it printed when it is there.
func ask(w io.Writer, prices *twill.Dict[string, int], meal string) {
	fmt.Fprintln(w, "asked for", meal)
	twill.Handle(prices.Get(meal), func(price int, err error) (struct{}, error) {
		if err != nil {
			fmt.Fprintf(w, "  no %s: %v\n", meal, err)
		} else {
			fmt.Fprintf(w, "  %s is %d\n", meal, price)
		}
		return struct{}{}, nil // the failure ends here; with Tap it would go on
	})
}

// together has the producer and the consumer at work at the same time.
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
