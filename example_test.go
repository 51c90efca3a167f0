package twill_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twillgo/twill"
)

var errSoldOut = errors.New("sold out")

func Example() {
	ctx := context.Background()
	price := twill.Go(ctx, func(context.Context) (string, error) { return "42", nil })
	total := twill.Then(price, strconv.Atoi)
	safe := total.Catch(func(error) (int, error) { return 0, nil }).Timeout(time.Second)
	fmt.Println(safe.Await(ctx))
	// Output: 42 <nil>
}

func ExamplePromise() {
	p := twill.NewPromise[string]()
	greeting := twill.Then(p.Future(), func(name string) (string, error) { return "Hello, " + name, nil })
	fmt.Println(p.Resolve("Ada"), p.Resolve("Bob"))
	fmt.Println(greeting.Await(context.Background()))
	// Output:
	// true false
	// Hello, Ada <nil>
}

func ExamplePromise_OnCancel() {
	p := twill.NewPromise[int]()
	p.OnCancel(func(cause error) { fmt.Println("stop the work:", cause) })
	tip := twill.Then(p.Future(), func(n int) (int, error) { return n * 2, nil })
	tip.Cancel(errors.New("the user went away"))
	_, err := tip.Await(context.Background())
	fmt.Println(err, errors.Is(err, context.Canceled))
	// Output:
	// stop the work: the user went away
	// twill: canceled: the user went away true
}

func ExamplePromise_Follow() {
	source, target := twill.NewPromise[int](), twill.NewPromise[int]()
	target.Follow(source.Future())
	source.Resolve(7)
	fmt.Println(target.Future().Await(context.Background()))
	fmt.Println(source.Future().Await(context.Background()))
	// Output:
	// 7 <nil>
	// 7 <nil>
}

func ExampleThen() {
	n := twill.Then(twill.Resolved("21"), strconv.Atoi)
	double := twill.Then(n, func(n int) (int, error) { return 2 * n, nil })
	fmt.Println(double.Await(context.Background()))
	// Output: 42 <nil>
}

func ExampleHandle() {
	text := twill.Handle(twill.Rejected[int](errSoldOut), func(n int, err error) (string, error) {
		if err != nil {
			return "none: " + err.Error(), nil
		}
		return strconv.Itoa(n), nil
	})
	fmt.Println(text.Await(context.Background()))
	// Output: none: sold out <nil>
}

func ExampleThenFuture() {
	ctx := context.Background()
	load := func(id int) *twill.Future[string] {
		return twill.Go(ctx, func(context.Context) (string, error) { return fmt.Sprint("user ", id), nil })
	}
	fmt.Println(twill.ThenFuture(twill.Resolved(5), load).Await(ctx))
	// Output: user 5 <nil>
}

func ExampleHandleFuture() {
	retry := twill.HandleFuture(twill.Rejected[int](errSoldOut), func(n int, err error) *twill.Future[int] {
		if err != nil {
			return twill.After(time.Millisecond, 3) // look elsewhere
		}
		return twill.Resolved(n)
	})
	fmt.Println(retry.Await(context.Background()))
	// Output: 3 <nil>
}

func ExampleFuture_Catch() {
	f := twill.Rejected[int](errSoldOut).Catch(func(err error) (int, error) {
		if errors.Is(err, errSoldOut) {
			return 0, nil
		}
		return 0, err
	})
	fmt.Println(f.Await(context.Background()))
	// Output: 0 <nil>
}

func ExampleFuture_Cancel() {
	ctx := context.Background()
	page := twill.NewPromise[string]()
	title := twill.Then(page.Future(), func(s string) (string, error) { return s[:5], nil })
	size := twill.Then(page.Future(), func(s string) (int, error) { return len(s), nil })

	size.Cancel(nil) // title still needs the page: size only leaves
	_, err := size.Await(ctx)
	fmt.Println(err)

	page.Resolve("Twill weaves.")
	fmt.Println(title.Await(ctx))
	// Output:
	// twill: canceled
	// Twill <nil>
}

func ExampleFuture_Await() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	p := twill.NewPromise[int]()
	_, err := p.Future().Await(ctx) // the waiting is over, the work is not
	fmt.Println(err, p.Resolve(1))
	// Output: context deadline exceeded true
}

func ExampleFuture_Timeout() {
	_, err := twill.After(time.Hour, "tea").Timeout(time.Millisecond).Await(context.Background())
	fmt.Println(err, errors.Is(err, context.DeadlineExceeded))
	// Output: twill: timed out after 1ms true
}

func ExampleFuture_Shield() {
	ctx := context.Background()
	p := twill.NewPromise[string]()
	guarded := p.Future().Shield()
	guarded.Cancel(nil)
	_, err := guarded.Await(ctx)
	fmt.Println(err)
	p.Resolve("still written")
	fmt.Println(p.Future().Await(ctx))
	// Output:
	// twill: canceled
	// still written <nil>
}

func ExampleFuture_Via() {
	events := make(chan func(), 1) // an event loop
	loop := twill.ExecutorFunc(func(f func()) { events <- f })
	p := twill.NewPromise[int]()
	p.Future().Via(loop).Tap(func(n int, _ error) { fmt.Println("on the loop:", n) })
	p.Resolve(1)
	fmt.Println("resolved")
	(<-events)()
	// Output:
	// resolved
	// on the loop: 1
}

func ExampleFuture_Done() {
	f := twill.After(time.Millisecond, 1)
	select {
	case <-f.Done():
		r, _ := f.Poll()
		fmt.Println(r.Value)
	case <-time.After(time.Minute):
		fmt.Println("too late")
	}
	// Output: 1
}

func ExampleGo() {
	ctx := context.Background()
	f := twill.Go(ctx, func(ctx context.Context) (int, error) {
		<-ctx.Done() // a call that takes long, and heeds its context
		return 0, ctx.Err()
	})
	f.Cancel(errors.New("changed my mind"))
	_, err := f.Await(ctx)
	fmt.Println(err)
	// Output: twill: canceled: changed my mind
}

func ExampleCall() {
	_, err := twill.Call(func() (int, error) { panic("no such thing") }).Await(context.Background())
	fmt.Println(err)
	// Output: twill: panic: no such thing
}

func ExampleFromChan() {
	lines := make(chan string, 1)
	lines <- "first"
	fmt.Println(twill.FromChan(lines).Await(context.Background()))
	// Output: first <nil>
}

// One result, two consumers: neither takes it from the other.
func ExampleFuture() {
	ctx := context.Background()
	page := twill.After(time.Millisecond, "Twill weaves.")
	title := twill.Then(page, func(s string) (string, error) { return strings.ToUpper(s), nil })
	size := twill.Then(page, func(s string) (int, error) { return len(s), nil })
	fmt.Println(title.Await(ctx))
	fmt.Println(size.Await(ctx))
	// Output:
	// TWILL WEAVES. <nil>
	// 13 <nil>
}

func ExampleFuture_CatchFuture() {
	ctx := context.Background()
	primary := twill.Rejected[string](errors.New("primary is down"))
	answer := primary.CatchFuture(func(error) *twill.Future[string] {
		return twill.Go(ctx, func(context.Context) (string, error) { return "from the replica", nil })
	})
	fmt.Println(answer.Await(ctx))
	// Output: from the replica <nil>
}

func ExampleFuture_Finally() {
	f := twill.Rejected[int](errSoldOut).Finally(func() { fmt.Println("connection closed") })
	fmt.Println(f.Await(context.Background()))
	// Output:
	// connection closed
	// 0 sold out
}

func ExampleFuture_Tap() {
	f := twill.Resolved(42).Tap(func(n int, err error) { fmt.Println("log:", n, err) })
	fmt.Println(f.Await(context.Background()))
	// Output:
	// log: 42 <nil>
	// 42 <nil>
}

func ExampleFuture_Poll() {
	p := twill.NewPromise[string]()
	_, settled := p.Future().Poll()
	fmt.Println(settled)
	p.Resolve("done")
	r, settled := p.Future().Poll()
	fmt.Println(r.Value, settled)
	// Output:
	// false
	// done true
}

// The work ends with the context. Await would only end the waiting.
func ExampleFuture_WithContext() {
	ctx, leave := context.WithCancelCause(context.Background())
	p := twill.NewPromise[string]()
	p.OnCancel(func(cause error) { fmt.Println("stop the work:", cause) })
	f := p.Future().WithContext(ctx)
	leave(errors.New("the client has left"))
	_, err := f.Await(context.Background())
	fmt.Println(err)
	// Output:
	// stop the work: the client has left
	// twill: canceled: the client has left
}

// Code that knows contexts, and not futures, hears of a failure by the cause.
func ExampleFuture_Context() {
	p := twill.NewPromise[int]()
	ctx := p.Future().Context()
	p.Reject(errSoldOut)
	<-ctx.Done()
	fmt.Println(context.Cause(ctx))
	// Output: sold out
}

func ExampleAfter() {
	fmt.Println(twill.After(time.Millisecond, "tea is ready").Await(context.Background()))
	// Output: tea is ready <nil>
}

// A function that may have its answer at once, or know at once that there is
// none, still returns a future.
func ExampleResolved() {
	stock := map[string]int{"tea": 3}
	count := func(item string) *twill.Future[int] {
		if n, ok := stock[item]; ok {
			return twill.Resolved(n)
		}
		return twill.Rejected[int](errSoldOut)
	}
	fmt.Println(count("tea"))
	fmt.Println(count("cake"))
	// Output:
	// Future[int](3)
	// Future[int](failed: sold out)
}

func ExampleRejected() {
	f := twill.Rejected[int](errSoldOut)
	fmt.Println(f)
	fmt.Println(f.Catch(func(error) (int, error) { return 0, nil }))
	// Output:
	// Future[int](failed: sold out)
	// Future[int](0)
}

func ExampleFromContext() {
	ctx, shutDown := context.WithCancelCause(context.Background())
	ended := twill.FromContext(ctx)
	fmt.Println(ended)
	shutDown(errors.New("shutting down"))
	_, err := ended.Await(context.Background())
	fmt.Println(err)
	// Output:
	// Future[struct {}](pending)
	// shutting down
}

// A sync.WaitGroup is an Executor: it waits for the handlers it runs.
func ExampleExecutor() {
	var handlers sync.WaitGroup
	p := twill.NewPromise[string]()
	p.Future().Via(&handlers).Tap(func(s string, _ error) { fmt.Println("stored", s) })
	p.Resolve("a page") // does not wait for the handler
	handlers.Wait()
	// Output: stored a page
}

// An event loop is a channel of functions.
func ExampleExecutorFunc() {
	events := make(chan func(), 1)
	loop := twill.ExecutorFunc(func(f func()) { events <- f })
	twill.Resolved("click").Via(loop).Tap(func(s string, _ error) { fmt.Println("on the loop:", s) })
	handle := <-events
	handle()
	// Output: on the loop: click
}

// Futures of different types in one collection.
func ExampleAnyFuture() {
	page, size := twill.NewPromise[string](), twill.NewPromise[int]()
	for _, f := range []twill.AnyFuture{page.Future(), size.Future()} {
		f.Cancel(errors.New("shutting down"))
	}
	fmt.Println(page.Future())
	fmt.Println(size.Future())
	// Output:
	// Future[string](failed: twill: canceled: shutting down)
	// Future[int](failed: twill: canceled: shutting down)
}
