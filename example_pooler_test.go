package twill_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/twillgo/twill"
)

// The supervisor is to hear of a problem once, from whatever part of the
// program notices it first; the others just want to know what came of it.
func ExamplePooler() {
	ctx := context.Background()
	reply := make(chan string)
	supervisor := twill.NewPooler(func(_ context.Context, message string) (string, error) {
		fmt.Println("to the supervisor:", message)
		return <-reply, nil
	})
	alertSupervisor := supervisor.Call

	boiler := "We have a problem in the boiler room!"
	a := alertSupervisor(ctx, boiler) // one part of the program
	b := alertSupervisor(ctx, boiler) // another one, before there is a reply
	reply <- "I am on my way."
	fmt.Println(a.Await(ctx))
	fmt.Println(b.Await(ctx))

	// The same problem later is news again.
	c := alertSupervisor(ctx, boiler)
	reply <- "Not again."
	fmt.Println(c.Await(ctx))
	// Output:
	// to the supervisor: We have a problem in the boiler room!
	// I am on my way. <nil>
	// I am on my way. <nil>
	// to the supervisor: We have a problem in the boiler room!
	// Not again. <nil>
}

// One caller who loses interest does not disturb the others; the last one ends
// the call.
func ExamplePooler_Call_cancel() {
	ctx := context.Background()
	lookups := twill.NewPooler(func(ctx context.Context, host string) (string, error) {
		<-ctx.Done()
		return "", context.Cause(ctx)
	})
	a, b := lookups.Call(ctx, "example.org"), lookups.Call(ctx, "example.org")
	a.Cancel(nil)
	fmt.Println(a)
	fmt.Println(b, lookups.Stats().Waiting)
	b.Cancel(nil)
	_, err := lookups.Empty().Await(ctx)
	fmt.Println("over:", err)
	// Output:
	// Future[string](failed: twill: canceled)
	// Future[string](pending) 1
	// over: <nil>
}

// Arguments that cannot be map keys need a function that makes keys of them.
func ExampleNewPoolerFunc() {
	ctx := context.Background()
	join := func(_ context.Context, words []string) (string, error) {
		return strings.Join(words, "-"), nil
	}
	key := func(words []string) string { return fmt.Sprintf("%q", words) }
	joins := twill.NewPoolerFunc(key, join)
	fmt.Println(joins.Call(ctx, []string{"a", "b"}).Await(ctx))
	// Output:
	// a-b <nil>
}

// A function that returns futures needs no goroutine.
func ExampleNewPoolerFuture() {
	ctx := context.Background()
	var answers []*twill.Promise[int]
	ask := func(context.Context, string) *twill.Future[int] {
		p := twill.NewPromise[int]()
		answers = append(answers, p)
		return p.Future()
	}
	p := twill.NewPoolerFuture(ask)
	a, b := p.Call(ctx, "question"), p.Call(ctx, "question")
	answers[0].Resolve(42)
	fmt.Println(a, b, len(answers))
	// Output:
	// Future[int](42) Future[int](42) 1
}

// How many calls were saved?
func ExamplePoolerStats() {
	ctx := context.Background()
	reply := twill.NewPromise[string]()
	p := twill.NewPoolerFuture(func(context.Context, string) *twill.Future[string] { return reply.Future() })
	for range 5 {
		p.Call(ctx, "/home")
	}
	reply.Resolve("page")
	fmt.Printf("%+v\n", p.Stats())
	// Output: {Calls:5 Merged:4 Underway:0 Waiting:0}
}
