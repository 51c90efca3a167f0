package twill_test

import (
	"context"
	"fmt"

	"github.com/twillgo/twill"
)

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
