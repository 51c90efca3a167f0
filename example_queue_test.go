package twill_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/twillgo/twill"
)

// Who asks first is served first, also before there is anything.
func ExampleQueue() {
	var meals twill.Queue[string]
	for _, waiter := range []string{"Ada", "Bob"} {
		meals.Get().Tap(func(meal string, _ error) { fmt.Println(waiter, "serves", meal) })
	}
	meals.Put("soup")
	meals.Put("risotto")
	meals.Put("pie")
	meals.Close()
	for meal := range meals.All(context.Background()) {
		fmt.Println("left:", meal)
	}
	// Output:
	// Ada serves soup
	// Bob serves risotto
	// left: pie
}

// A full queue turns a Put away, and has a PutWait wait for room.
func ExampleQueueOptions() {
	ctx := context.Background()
	counter := twill.NewQueue[string](&twill.QueueOptions{Size: 1})
	counter.Put("soup")
	fmt.Println(errors.Is(counter.Put("risotto"), twill.ErrQueueOverflow))

	risotto := twill.Go(ctx, func(ctx context.Context) (string, error) {
		return "risotto", counter.PutWait(ctx, "risotto")
	})
	fmt.Println(counter.Get().Await(ctx))
	fmt.Println(counter.Get().Await(ctx))
	fmt.Println(risotto.Await(ctx))
	// Output:
	// true
	// soup <nil>
	// risotto <nil>
	// risotto <nil>
}

func ExamplePriorityQueue() {
	var q twill.PriorityQueue[string]
	early := q.Get() // waits for whatever comes first
	q.Put("first", 9)
	v, err := early.Await(context.Background())
	fmt.Println(v, err)

	q.Put("low", 9)
	q.Put("high", 1)
	item, _ := q.Put("was low", 9)
	item.Reprioritize(0)
	q.Close()
	for v := range q.All(context.Background()) {
		fmt.Println(v)
	}
	// Output:
	// first <nil>
	// was low
	// high
	// low
}

// A Put to a full queue fails, a PutWait waits for room.
func ExamplePriorityQueue_PutWait() {
	ctx := context.Background()
	q := twill.NewPriorityQueue[string](&twill.QueueOptions{Size: 1})
	q.Put("report", 5)
	_, err := q.Put("newsletter", 9)
	fmt.Println(err)

	newsletter := twill.Go(ctx, func(ctx context.Context) (*twill.Item[string], error) {
		return q.PutWait(ctx, "newsletter", 9)
	})
	fmt.Println(q.Get().Await(ctx)) // makes room
	newsletter.Await(ctx)
	fmt.Println(q.Snapshot())
	// Output:
	// twill: queue is full
	// report <nil>
	// [newsletter]
}

// Put returns the handle of what was put.
func ExampleItem() {
	var q twill.PriorityQueue[string]
	newsletter, _ := q.Put("newsletter", 9)
	reset, _ := q.Put("password reset", 5)
	reset.Reprioritize(1)
	fmt.Println(q.Snapshot(), reset.Priority())

	fmt.Println(newsletter.Remove(), newsletter.Remove())
	_, queued := newsletter.Value()
	fmt.Println(q.Snapshot(), queued)
	// Output:
	// [password reset newsletter] 1
	// true false
	// [password reset] false
}
