package twill_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
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

func ExampleAll() {
	ctx := context.Background()
	fmt.Println(twill.All(twill.Resolved(1), twill.After(time.Millisecond, 2)).Await(ctx))
	_, err := twill.All(twill.Resolved(1), twill.Rejected[int](errSoldOut)).Await(ctx)
	fmt.Println(err)
	// Output:
	// [1 2] <nil>
	// twill: future 1: sold out
}

func ExampleSettled() {
	results, _ := twill.Settled(twill.Resolved(1), twill.Rejected[int](errSoldOut)).Await(context.Background())
	for _, r := range results {
		fmt.Println(r.Value, r.Err)
	}
	// Output:
	// 1 <nil>
	// 0 sold out
}

func ExampleAny() {
	slow := twill.After(time.Hour, "slow")
	winner := twill.Any(twill.Rejected[string](errSoldOut), slow, twill.Resolved("fast"))
	fmt.Println(winner.Await(context.Background()))
	_, err := slow.Await(context.Background())
	fmt.Println(err)
	// Output:
	// fast <nil>
	// twill: canceled: twill: result no longer needed
}

func ExampleFirst() {
	fmt.Println(twill.First(twill.After(time.Hour, "tea"), twill.After(time.Millisecond, "coffee")).Await(context.Background()))
	// Output: coffee <nil>
}

func ExampleAllMap() {
	weather := map[string]*twill.Future[string]{"Oslo": twill.Resolved("snow"), "Rome": twill.Resolved("sun")}
	fmt.Println(twill.AllMap(weather).Await(context.Background()))
	// Output: map[Oslo:snow Rome:sun] <nil>
}

func ExampleNewDeferredList() {
	l := twill.NewDeferredList([]*twill.Future[int]{
		twill.Rejected[int](errSoldOut), twill.Resolved(5),
	}, twill.FireOnOneCallback)
	r, _ := l.Await(context.Background())
	fmt.Println(r.Index, r.Value)
	// Output: 1 5
}

func ExampleAsCompleted() {
	fs := []*twill.Future[string]{twill.After(20*time.Millisecond, "slow"), twill.Resolved("fast")}
	for i, r := range twill.AsCompleted(context.Background(), fs...) {
		fmt.Println(i, r.Value)
	}
	// Output:
	// 1 fast
	// 0 slow
}

func ExampleMap() {
	ids := func(yield func(int) bool) {
		for id := 1; id <= 3 && yield(id); id++ {
		}
	}
	load := func(_ context.Context, id int) (string, error) { return fmt.Sprint("user ", id), nil }
	for user, err := range twill.Map(context.Background(), ids, 2, load) {
		fmt.Println(user, err)
	}
	// Output:
	// user 1 <nil>
	// user 2 <nil>
	// user 3 <nil>
}

func ExamplePool() {
	var pool twill.Pool // of everything that must end before the program does
	pool.Add(twill.After(time.Millisecond, "a mail"))
	pool.Add(twill.After(2*time.Millisecond, 42))
	pool.Close()
	fmt.Println(pool.Len())
	pool.Empty().Await(context.Background())
	fmt.Println(pool.Len())
	// Output:
	// 2
	// 0
}

func ExampleOnUnhandled() {
	previous := twill.OnUnhandled(func(err error) { fmt.Println("nobody looked at:", err) })
	defer func() { twill.OnUnhandled(previous) }()
}
