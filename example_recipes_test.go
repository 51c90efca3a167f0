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

// A health check waits a moment for the pool to be empty, and leaves nothing
// behind if it gives up.
func ExamplePool_EmptyWait() {
	var pool twill.Pool
	request := twill.NewPromise[int]()
	pool.Add(request.Future())
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	fmt.Println(pool.EmptyWait(ctx), pool.Stats().Waiting)
	request.Resolve(200)
	fmt.Println(pool.EmptyWait(context.Background()))
	// Output:
	// context deadline exceeded 0
	// <nil>
}

// Water marks make a source stop adding work, and continue later.
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

// A health check reads the age of the oldest future in flight.
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

// Gets of a missing key are settled when the key is set.
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
	// Future[int](resolved) Future[int](pending)
	// bob: 0 twill: closed
}

// GetWait waits for a key until a context ends.
func ExampleDict_GetWait() {
	var addresses twill.Dict[string, string]
	time.AfterFunc(time.Millisecond, func() { addresses.Set("db", "10.0.0.7:5432") })
	fmt.Println(addresses.GetWait(context.Background(), "db"))

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := addresses.GetWait(ctx, "cache")
	fmt.Println(err, addresses.Waiting())
	// Output:
	// 10.0.0.7:5432 <nil>
	// context deadline exceeded 0
}

// A value that was being computed before a Delete is not stored after it.
// Forget does the same without removing a value.
func ExampleDict_Forget() {
	ctx := context.Background()
	var prices twill.Dict[string, int]
	price := make(chan int)
	fetch := func(context.Context) (int, error) { return <-price, nil }

	old := prices.GetOrCompute(ctx, "tea", fetch)
	prices.Forget("tea") // the price has changed
	price <- 3
	fmt.Println(old.Await(ctx))
	_, stored := prices.Lookup("tea")
	fmt.Println("stored:", stored)
	// Output:
	// 3 <nil>
	// stored: false
}

// The missing value is computed once for all callers.
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

// Counters that several goroutines change.
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

// Two writers of the same account take turns.
func ExampleLock() {
	ctx := context.Background()
	var lock twill.Lock
	balance := 100
	withdraw := func(amount int) *twill.Future[int] {
		return twill.RunWith(ctx, &lock, func(context.Context) (int, error) {
			if balance < amount {
				return balance, fmt.Errorf("no %d in the account", amount)
			}
			time.Sleep(time.Millisecond) // a bank is slow
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

// Without a function to run, the value of the future is a release function that
// works once.
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

// Closing a lock refuses waiting acquires; its holder keeps the lock.
func ExampleLock_Close() {
	var lock twill.Lock
	release, _ := lock.TryAcquire()
	waiting := lock.Acquire()
	lock.Close()
	_, err := waiting.Await(context.Background())
	fmt.Println(err, lock.Locked())
	release()
	fmt.Println(lock.Locked())
	// Output:
	// twill: closed true
	// false
}

// A large job acquires several tokens together, and is not overtaken by small
// jobs.
func ExampleSemaphore_AcquireN() {
	memory := twill.NewSemaphore(8) // gigabytes
	small, _ := memory.TryAcquire()
	large := memory.AcquireN(8)
	_, ok := memory.TryAcquire()
	fmt.Println("free:", memory.Tokens(), "taken by a later one:", ok)

	small()
	release, err := large.Await(context.Background())
	fmt.Println("free:", memory.Tokens(), err)
	release()
	_, err = memory.AcquireN(9).Await(context.Background())
	fmt.Println(err)
	// Output:
	// free: 7 taken by a later one: false
	// free: 0 <nil>
	// twill: more tokens than the semaphore has
}

// The number of tokens changes while some are taken.
func ExampleSemaphore_Resize() {
	slots := twill.NewSemaphore(1)
	slots.TryAcquire()
	second := slots.Acquire()
	_, ok := second.Poll()
	fmt.Println(ok)
	slots.Resize(2)
	_, ok = second.Poll()
	fmt.Println(ok)
	// Output:
	// false
	// true
}

// A closed semaphore hands out no token.
func ExampleSemaphore_Close() {
	slots := twill.NewSemaphore(2)
	slots.Close()
	_, err := slots.AcquireWait(context.Background())
	fmt.Println(err)
	// Output: twill: closed
}

// Use whichever of two locks is free first: a lock that AcquireWait acquires
// too late goes to Discard. Any would drop it.
func ExampleSemaphore_AcquireWait_any() {
	var printers [2]twill.Lock
	first, _ := printers[0].TryAcquire() // in use
	race := twill.NewRace[struct{}, func()](&twill.RaceOptions[func()]{
		Discard: func(release func()) { release() },
	})
	for i := range printers {
		race.Register(func(ctx context.Context, _ struct{}) (func(), error) { return printers[i].AcquireWait(ctx) })
	}
	release, err := race.Execute(context.Background(), struct{}{}).Await(context.Background())
	fmt.Println(printers[0].Locked(), printers[1].Locked(), err)
	release()
	first()
	// Output: true true <nil>
}

// At most two downloads at a time.
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

// A function that returns a future keeps its token until the future settles.
func ExampleRunWithFuture() {
	slots := twill.NewSemaphore(1)
	var reply twill.Promise[string]
	ask := func() *twill.Future[string] { return reply.Future() }

	first := twill.RunWithFuture(slots, ask)
	second := twill.RunWithFuture(slots, ask)
	fmt.Println("waiting:", slots.Waiting())
	second.Cancel(nil) // gives up its place; ask is not called for it
	reply.Resolve("pong")
	fmt.Println(first.Await(context.Background()))
	fmt.Println(second)
	fmt.Println("free:", slots.Tokens())
	// Output:
	// waiting: 1
	// pong <nil>
	// Future[string](failed: *twill.CanceledError)
	// free: 1
}

// The token is held exactly while the function runs.
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

// A connection that is opened after a cancel is closed.
func ExampleRunOptions() {
	var slots twill.Semaphore
	opened, closed := make(chan struct{}), make(chan string)
	f := twill.RunWith(context.Background(), &slots, func(context.Context) (string, error) {
		<-opened
		return "connection 1", nil
	}, twill.RunOptions[string]{Discard: func(conn string) { closed <- conn }})
	f.Cancel(nil)
	close(opened)
	fmt.Println("closed", <-closed)
	// Output: closed connection 1
}

// counted is an Acquirer that counts the acquires of a semaphore.
type counted struct {
	*twill.Semaphore
	asked int
}

// Acquire acquires the semaphore.
func (c *counted) Acquire() *twill.Future[func()] {
	c.asked++
	return c.Semaphore.Acquire()
}

// RunWith accepts any type whose Acquire returns a future of a release
// function.
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

// The supervisor is alerted once of a problem, by the first part of the program
// that notices it; the other parts only need the answer.
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
	b := alertSupervisor(ctx, boiler) // another part, before there is a reply
	reply <- "I am on my way."
	fmt.Println(a.Await(ctx))
	fmt.Println(b.Await(ctx))

	// The same problem later makes a new call.
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

// A caller that leaves does not affect the others; the last caller to leave
// ends the call.
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
	// Future[string](failed: *twill.CanceledError)
	// Future[string](pending) 1
	// over: <nil>
}

// Arguments that cannot be map keys need a function that makes keys of them.
func ExamplePooler_Do() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	users := twill.NewPooler(func(_ context.Context, id string) (string, error) {
		return "user " + id, nil // once, for all callers
	})
	name, err := users.Do(ctx, "7")
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
	fmt.Println(a.Await(ctx))
	fmt.Println(b.Await(ctx))
	fmt.Println("calls:", len(answers))
	// Output:
	// 42 <nil>
	// 42 <nil>
	// calls: 1
}

// The statistics show how many calls were saved.
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

// Gets are served in their order, even if they are made before there is an
// item.
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

// A consumer with a deadline: items that it has not taken are still queued.
func ExampleQueue_GetWait() {
	var meals twill.Queue[string]
	meals.Put("soup")
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	for {
		meal, err := meals.GetWait(ctx)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println("served", meal)
	}
	meals.Put("pie")
	fmt.Println(meals.Len(), "left")
	// Output:
	// served soup
	// context deadline exceeded
	// 1 left
}

// A consumer of two queues takes an item from the first queue that has one.
func ExampleGetAny() {
	ctx := context.Background()
	var urgent twill.PriorityQueue[string]
	var normal twill.Queue[string]
	normal.Put("newsletter")
	urgent.Put("password reset", 1)
	urgent.Close()
	normal.Close()
	for {
		mail, err := twill.GetAny(ctx, &urgent, &normal)
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println(mail)
	}
	// Output:
	// password reset
	// newsletter
	// twill: closed
}

// Queues of both kinds in one slice.
func ExampleAnyQueue() {
	queues := []twill.AnyQueue[int]{new(twill.PriorityQueue[int]), new(twill.Queue[int])}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := twill.GetAny(ctx, queues...)
	fmt.Println(err)
	// Output: context canceled
}

// Clear removes all queued items.
func ExampleQueue_Clear() {
	var q twill.Queue[int]
	q.Put(1)
	q.Put(2)
	fmt.Println(q.Clear(), q.Len())
	// Output: [1 2] 0
}

// The values are in the order in which they would have been taken.
func ExamplePriorityQueue_Clear() {
	var q twill.PriorityQueue[string]
	q.Put("newsletter", 9)
	q.Put("password reset", 1)
	fmt.Println(q.Clear(), q.Len())
	// Output: [password reset newsletter] 0
}

// GetWait takes the most urgent item, and waits if there is none.
func ExamplePriorityQueue_GetWait() {
	var q twill.PriorityQueue[string]
	q.Put("newsletter", 9)
	q.Put("password reset", 1)
	fmt.Println(q.GetWait(context.Background()))
	// Output: password reset <nil>
}

// A full queue refuses a Put, and lets a PutWait wait for room.
func ExampleQueueOptions() {
	ctx := context.Background()
	counter := twill.NewQueue[string](&twill.QueueOptions{Size: 1})
	counter.Put("soup")
	fmt.Println(errors.Is(counter.Put("risotto"), twill.ErrQueueFull))

	risotto := twill.Go(ctx, func(ctx context.Context) (string, error) {
		return "risotto", counter.PutWait(ctx, "risotto")
	})
	fmt.Println(counter.GetWait(ctx))
	fmt.Println(counter.GetWait(ctx))
	fmt.Println(risotto.Await(ctx))
	// Output:
	// true
	// soup <nil>
	// risotto <nil>
	// risotto <nil>
}

func ExamplePriorityQueue() {
	var q twill.PriorityQueue[string]
	early := q.Get() // waits for the first item
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
	fmt.Println(q.GetWait(ctx)) // makes room
	newsletter.Await(ctx)
	fmt.Println(q.Snapshot())
	// Output:
	// twill: queue is full
	// report <nil>
	// [newsletter]
}

// Put returns the handle of the value.
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
