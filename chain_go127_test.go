//go:build go1.27

package twill_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/internal/test/kit"
)

func TestFluentChain(t *testing.T) {
	f := twill.Resolved("20").
		Then(strconv.Atoi).
		ThenFuture(func(n int) *twill.Future[int] { return twill.Resolved(n + 1) }).
		Then(func(n int) (float64, error) { return float64(2 * n), nil })
	kit.AwaitValue(t, f, 42.0)

	fallback := twill.Resolved("many").
		Then(strconv.Atoi).
		Catch(func(error) (int, error) { return -1, nil })
	kit.AwaitValue(t, fallback, -1)
}

func TestFluentHandle(t *testing.T) {
	text := func(n int, err error) (string, error) {
		if err != nil {
			return "none", nil
		}
		return strconv.Itoa(n), nil
	}
	kit.AwaitValue(t, twill.Resolved(1).Handle(text), "1")
	kit.AwaitValue(t, twill.Rejected[int](kit.ErrBoom).Handle(text), "none")
	f := twill.Rejected[int](kit.ErrBoom).HandleFuture(func(_ int, err error) *twill.Future[string] {
		return twill.Rejected[string](errors.Join(err, kit.ErrFirst))
	})
	kit.AwaitError(t, f, kit.ErrBoom)
	kit.AwaitError(t, f, kit.ErrFirst)
}

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
