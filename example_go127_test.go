//go:build go1.27

package twill_test

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twillgo/twill"
)

// Chains read from left to right.
func ExampleFuture_Then() {
	double := twill.Resolved("21").
		Then(strconv.Atoi).
		Then(func(n int) (int, error) { return 2 * n, nil }).
		Timeout(time.Second)
	fmt.Println(double.Await(context.Background()))
	// Output: 42 <nil>
}

func ExampleFuture_Handle() {
	text := twill.Rejected[int](errSoldOut).Handle(func(n int, err error) (string, error) {
		if err != nil {
			return "none: " + err.Error(), nil
		}
		return strconv.Itoa(n), nil
	})
	fmt.Println(text.Await(context.Background()))
	// Output: none: sold out <nil>
}

func ExampleFuture_ThenFuture() {
	ctx := context.Background()
	user := twill.Resolved(5).ThenFuture(func(id int) *twill.Future[string] {
		return twill.Go(ctx, func(context.Context) (string, error) { return fmt.Sprint("user ", id), nil })
	})
	fmt.Println(user.Await(ctx))
	// Output: user 5 <nil>
}

func ExampleFuture_HandleFuture() {
	stock := twill.Rejected[int](errSoldOut).HandleFuture(func(n int, err error) *twill.Future[string] {
		if err != nil {
			return twill.After(time.Millisecond, "ordered")
		}
		return twill.Resolved(fmt.Sprint(n, " left"))
	})
	fmt.Println(stock.Await(context.Background()))
	// Output: ordered <nil>
}
