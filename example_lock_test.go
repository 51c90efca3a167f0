package twill_test

import (
	"context"
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// Two who write to the same account take turns.
func ExampleLock() {
	ctx := context.Background()
	var lock twill.Lock
	balance := 100
	withdraw := func(amount int) *twill.Future[int] {
		return twill.RunWith(ctx, &lock, func(context.Context) (int, error) {
			if balance < amount {
				return balance, fmt.Errorf("no %d in the account", amount)
			}
			time.Sleep(time.Millisecond) // a bank takes its time
			balance -= amount
			return balance, nil
		})
	}
	first, second := withdraw(70), withdraw(70)
	fmt.Println(first.Await(ctx))
	fmt.Println(second.Await(ctx))
	// Output:
	// 30 <nil>
	// 0 no 70 in the account
}

// Without a function to run, the future gives a release that works once.
func ExampleLock_Acquire() {
	var lock twill.Lock
	first := lock.Acquire()
	second := twill.Then(lock.Acquire(), func(release func()) (string, error) {
		defer release()
		return "the second has had its turn", nil
	})
	fmt.Println(lock.Locked(), lock.Waiting())

	release, _ := first.Await(context.Background())
	release()
	release() // does nothing
	fmt.Println(second.Await(context.Background()))
	fmt.Println(lock.Locked())
	// Output:
	// true 1
	// the second has had its turn <nil>
	// false
}

// No more than two downloads at a time.
func ExampleSemaphore() {
	ctx := context.Background()
	slots := twill.NewSemaphore(2)
	download := func(name string) *twill.Future[string] {
		return twill.RunWith(ctx, slots, func(context.Context) (string, error) {
			return "contents of " + name, nil
		})
	}
	files, err := twill.All(download("a"), download("b"), download("c")).Await(ctx)
	fmt.Println(files, err)
	// Output:
	// [contents of a contents of b contents of c] <nil>
}

// What already returns futures keeps its token until they settle.
func ExampleRunWithFuture() {
	slots := twill.NewSemaphore(1)
	var reply twill.Promise[string]
	ask := func() *twill.Future[string] { return reply.Future() }

	first := twill.RunWithFuture(slots, ask)
	second := twill.RunWithFuture(slots, ask)
	fmt.Println("waiting:", slots.Waiting())
	second.Cancel(nil) // gives up its place; ask is not called for it
	reply.Resolve("pong")
	fmt.Println(first)
	fmt.Println(second)
	fmt.Println("free:", slots.Tokens())
	// Output:
	// waiting: 1
	// Future[string](pong)
	// Future[string](failed: twill: canceled)
	// free: 1
}

// The token is held while the function runs, and not a moment longer.
func ExampleRunWith() {
	ctx := context.Background()
	var printer twill.Lock
	page := twill.RunWith(ctx, &printer, func(context.Context) (string, error) {
		return fmt.Sprint("printed while locked: ", printer.Locked()), nil
	})
	fmt.Println(page.Await(ctx))
	fmt.Println(printer.Locked())
	// Output:
	// printed while locked: true <nil>
	// false
}

// counted is a semaphore that counts who asks for it: an Acquirer.
type counted struct {
	*twill.Semaphore
	asked int
}

// Acquire asks the semaphore.
func (c *counted) Acquire() *twill.Future[func()] {
	c.asked++
	return c.Semaphore.Acquire()
}

// Whatever gives a release when its turn comes can be run with.
func ExampleAcquirer() {
	ctx := context.Background()
	slots := &counted{Semaphore: twill.NewSemaphore(2)}
	greet := func(context.Context) (string, error) { return "hello", nil }
	fmt.Println(twill.All(twill.RunWith(ctx, slots, greet), twill.RunWith(ctx, slots, greet)).Await(ctx))
	fmt.Println("asked", slots.asked, "times")
	// Output:
	// [hello hello] <nil>
	// asked 2 times
}
