package twill_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twillgo/twill"
)

func ExamplePool() {
	var pool twill.Pool // of everything that must end before the program does
	mail, order := twill.NewPromise[string](), twill.NewPromise[int]()
	pool.Add(mail.Future())
	pool.Add(order.Future())
	pool.Close()
	fmt.Println(pool.Len())
	go func() {
		mail.Resolve("sent")
		order.Resolve(42)
	}()
	pool.Empty().Await(context.Background())
	fmt.Println(pool.Len())
	// Output:
	// 2
	// 0
}

// Water marks tell a source when to stop giving work, and when to go on.
func ExamplePoolOptions() {
	pool := twill.NewPool(&twill.PoolOptions{
		High: 3, OnHigh: func(n int) { fmt.Println(n, "in flight: stop accepting") },
		Low: 1, OnLow: func(n int) { fmt.Println(n, "in flight: accept again") },
	})
	var requests [3]twill.Promise[int]
	for i := range requests {
		pool.Add(requests[i].Future())
	}
	for i := range requests {
		requests[i].Resolve(200)
	}
	// Output:
	// 3 in flight: stop accepting
	// 1 in flight: accept again
}

// Of what is in flight, the oldest is what a health check asks for.
func ExamplePoolStats() {
	var pool twill.Pool
	stuck, quick := twill.NewPromise[int](), twill.NewPromise[int]()
	pool.Add(stuck.Future())
	pool.Add(quick.Future())
	quick.Resolve(1)
	s := pool.Stats()
	fmt.Println(s.Len, "of", s.Added, "in flight, at most", s.Peak)
	fmt.Println("the oldest for more than a minute:", s.Ages[0] > time.Minute)
	// Output:
	// 1 of 2 in flight, at most 2
	// the oldest for more than a minute: false
}

// Those who ask before there is an answer are told when there is one.
func ExampleDict() {
	var scores twill.Dict[string, int]
	scores.Get("ada").Tap(func(v int, err error) { fmt.Println("first:", v, err) })
	scores.Get("ada").Tap(func(v int, err error) { fmt.Println("second:", v, err) })
	scores.Get("bob").Tap(func(v int, err error) { fmt.Println("bob:", v, err) })
	fmt.Println("waiting:", scores.Waiting())

	scores.Set("ada", 3)
	fmt.Println(scores.Get("ada"), scores.Get("bob"))
	scores.Close(nil)
	// Output:
	// waiting: 3
	// first: 3 <nil>
	// second: 3 <nil>
	// Future[int](3) Future[int](pending)
	// bob: 0 twill: closed
}

// The missing value is made once, however many ask for it.
func ExampleDict_GetOrCompute() {
	ctx := context.Background()
	var pages twill.Dict[string, string]
	fetches := 0
	page := func(url string) *twill.Future[string] {
		return pages.GetOrCompute(ctx, url, func(context.Context) (string, error) {
			fetches++
			return "the page at " + url, nil
		})
	}
	first, second := page("/home"), page("/home")
	fmt.Println(first.Await(ctx))
	fmt.Println(second.Await(ctx))
	fmt.Println(page("/home").Await(ctx))
	fmt.Println("fetched:", fetches)
	// Output:
	// the page at /home <nil>
	// the page at /home <nil>
	// the page at /home <nil>
	// fetched: 1
}

// Counters that several goroutines may change.
func ExampleDict_Update() {
	var words twill.Dict[string, int]
	for _, word := range []string{"to", "be", "or", "not", "to", "be"} {
		words.Update(word, func(n int, _ bool) (int, error) { return n + 1, nil })
	}
	for _, word := range []string{"to", "be", "or"} {
		n, _ := words.Lookup(word)
		fmt.Println(word, n)
	}
	// Output:
	// to 2
	// be 2
	// or 1
}

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
func ExamplePooler_Do() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	users := twill.NewPooler(func(_ context.Context, id int) (string, error) {
		return fmt.Sprint("user ", id), nil // however many requests ask
	})
	name, err := users.Do(ctx, 7)
	fmt.Println(name, err)
	// Output: user 7 <nil>
}

func ExamplePoolerOptions() {
	dials := twill.NewPooler(func(ctx context.Context, host string) (string, error) {
		<-ctx.Done() // too late to stop it
		return "connection to " + host, nil
	}, twill.PoolerOptions[string]{
		Discard: func(conn string) { fmt.Println("closed", conn) },
	})
	dials.Call(context.Background(), "example.org").Cancel(nil)
	_, err := dials.Empty().Await(context.Background())
	fmt.Println(err)
	// Output:
	// closed connection to example.org
	// <nil>
}

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
	fmt.Println(errors.Is(counter.Put("risotto"), twill.ErrQueueFull))

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

	newsletter := twill.Go(ctx, func(ctx context.Context) (*twill.PriorityItem[string], error) {
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
func ExamplePriorityItem() {
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
