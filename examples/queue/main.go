// Command queue shows a Queue between producers and consumers: a get returns a
// future, and gets are served in their order; a canceled get loses nothing;
// limits refuse a put or make it wait; and a loop takes items until the queue
// is closed.
//
//	go run ./examples/queue
//
// It prints what happens to the meals of a kitchen. It takes a few
// milliseconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/twillgo/twill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "queue:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer) error {
	if err := waiters(w); err != nil {
		return err
	}
	if err := limits(ctx, w); err != nil {
		return err
	}
	return untilClosed(ctx, w)
}

// waiters makes gets before there is an item.
func waiters(w io.Writer) error {
	fmt.Fprintln(w, "Three wait for meals, one of them leaves, two meals are ready.")
	var meals twill.Queue[string]
	gets := make(map[string]*twill.Future[string])
	for _, waiter := range []string{"Ada", "Bob", "Cleo"} {
		gets[waiter] = meals.Get().Tap(func(meal string, err error) {
			if err != nil {
				fmt.Fprintf(w, "  %s leaves: %v\n", waiter, err)
				return
			}
			fmt.Fprintf(w, "  %s serves %s\n", waiter, meal)
		})
	}
	gets["Bob"].Cancel(errors.New("shift is over"))
	for _, meal := range []string{"soup", "risotto"} {
		if err := meals.Put(meal); err != nil { // the handler runs before Put returns
			return err
		}
	}
	fmt.Fprintf(w, "  %d meals and %d waiters left\n", meals.Len(), meals.Waiting())
	return nil
}

// limits bounds a queue, and its line of gets.
func limits(ctx context.Context, w io.Writer) error {
	fmt.Fprintln(w, "The counter holds two meals, and one may wait for one.")
	meals := twill.NewQueue[string](&twill.QueueOptions{Size: 2, Backlog: 1})
	for _, meal := range []string{"soup", "risotto", "pie"} {
		if err := meals.Put(meal); errors.Is(err, twill.ErrQueueFull) {
			fmt.Fprintf(w, "  no room for %s: %v\n", meal, err)
		} else if err != nil {
			return err
		}
	}

	// PutWait is the put of a producer that can wait until there is room.
	pie := twill.Go(ctx, func(ctx context.Context) (string, error) {
		return "pie", meals.PutWait(ctx, "pie")
	})
	for range 3 {
		meal, err := meals.GetWait(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "  served", meal)
	}
	if _, err := pie.Await(ctx); err != nil {
		return err
	}

	first, second := meals.Get(), meals.Get()
	_, err := second.Await(ctx)
	fmt.Fprintln(w, "  one too many waits:", err)
	first.Cancel(nil)
	return nil
}

// untilClosed is a consumer that takes items until the queue is closed and
// empty.
func untilClosed(ctx context.Context, w io.Writer) error {
	fmt.Fprintln(w, "A cook cooks, a waiter serves, the kitchen closes.")
	var meals twill.Queue[string]
	cook := twill.Go(ctx, func(context.Context) (int, error) {
		defer meals.Close() // queued items are still served
		for i, meal := range []string{"soup", "risotto", "pie"} {
			if err := meals.Put(meal); err != nil {
				return i, err
			}
		}
		return 3, nil
	})
	for meal := range meals.All(ctx) {
		fmt.Fprintln(w, "  served", meal)
	}
	cooked, err := cook.Await(ctx)
	fmt.Fprintf(w, "  %d cooked, and a put now: %v\n", cooked, meals.Put("late snack"))
	return err
}
