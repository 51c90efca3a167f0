package twill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

	size.Cancel(nil) // title still depends on the page: size only detaches
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
	_, err := p.Future().Await(ctx) // the wait is over, the work is not
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

// A metric watches the result, and does not handle a failure.
func ExampleFuture_OnSettled() {
	p := twill.NewPromise[int]()
	stop := p.Future().OnSettled(func(n int, err error) { fmt.Println("rows:", n, err) })
	p.Resolve(3)
	fmt.Println(stop())
	// Output:
	// rows: 3 <nil>
	// false
}

func ExampleFuture_Via() {
	events := make(chan func(), 1) // an event loop
	loop := func(f func()) { events <- f }
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
		<-ctx.Done() // a slow call that heeds its context
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

// One result with two consumers: both see it.
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

// The work ends with the context. Await would only end the wait.
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

// Code that accepts contexts, and not futures, sees a failure as the cause.
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

// A shutdown cancels what is underway, and closes what the functions use after
// they have returned.
func ExampleGoIn() {
	var requests twill.Pool
	twill.GoIn(&requests, context.Background(), func(ctx context.Context) (string, error) {
		<-ctx.Done()
		fmt.Println("rolled back:", context.Cause(ctx))
		return "", ctx.Err()
	})

	requests.Close()
	requests.CancelAll(errors.New("shutting down"))
	_, err := requests.Empty().Await(context.Background())
	fmt.Println("the database may be closed:", err)
	// Output:
	// rolled back: shutting down
	// the database may be closed: <nil>
}

// A connection that is made after its caller has left is closed.
func ExampleGoWith() {
	var dials twill.Pool
	dial := func(context.Context) (string, error) { return "connection", nil }
	canceled := make(chan struct{})
	f := twill.GoWith(context.Background(), func(ctx context.Context) (string, error) {
		<-canceled
		return dial(ctx)
	}, &twill.GoOptions[string]{
		Pool:    &dials,
		Discard: func(conn string) { fmt.Println("closed the", conn) },
	})
	f.Cancel(nil)
	close(canceled)
	_, err := dials.Empty().Await(context.Background())
	fmt.Println(err)
	// Output:
	// closed the connection
	// <nil>
}

func ExampleGoOptions() {
	conn := twill.GoWith(context.Background(), func(context.Context) (string, error) {
		return "connection", nil
	}, &twill.GoOptions[string]{Discard: func(conn string) { fmt.Println("closed the", conn) }})
	fmt.Println(conn.Await(context.Background()))
	// Output: connection <nil>
}

// A function that returns only an error is used like any other function.
func ExampleNoValue() {
	ctx := context.Background()
	attempts := 0
	flush := func(context.Context) error {
		if attempts++; attempts == 1 {
			return errors.New("busy")
		}
		return nil
	}
	_, err := twill.Go(ctx, twill.NoValue(flush)).Await(ctx)
	fmt.Println(err)
	_, err = twill.Retry(ctx, twill.NoValue(flush), nil)
	fmt.Println(err)
	// Output:
	// busy
	// <nil>
}

func ExampleNoValueArg() {
	ctx := context.Background()
	send := func(_ context.Context, to string) error {
		fmt.Println("sent to", to)
		return nil
	}
	welcome := twill.NewPooler(twill.NoValueArg(send))
	_, err := welcome.Do(ctx, "ada")
	fmt.Println(err)
	// Output:
	// sent to ada
	// <nil>
}

// A function that may have its result at once, or may know at once that there
// is none, still returns a future.
func ExampleResolved() {
	stock := map[string]int{"tea": 3}
	count := func(item string) *twill.Future[int] {
		if n, ok := stock[item]; ok {
			return twill.Resolved(n)
		}
		return twill.Rejected[int](errSoldOut)
	}
	fmt.Println(count("tea").Await(context.Background()))
	fmt.Println(count("cake").Await(context.Background()))
	// Output:
	// 3 <nil>
	// 0 sold out
}

func ExampleRejected() {
	f := twill.Rejected[int](errSoldOut)
	fmt.Println(f)
	fmt.Println(f.Catch(func(error) (int, error) { return 0, nil }).Await(context.Background()))
	// Output:
	// Future[int](failed: *errors.errorString)
	// 0 <nil>
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

// A sync.WaitGroup waits for the handlers that it runs.
func ExampleFuture_Via_waitGroup() {
	var handlers sync.WaitGroup
	p := twill.NewPromise[string]()
	p.Future().Via(handlers.Go).Tap(func(s string, _ error) { fmt.Println("stored", s) })
	p.Resolve("a page") // does not wait for the handler
	handlers.Wait()
	// Output: stored a page
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
	// Future[string](failed: *twill.CanceledError)
	// Future[int](failed: *twill.CanceledError)
}

// A cancel can be distinguished from other failures, and has a cause.
func ExampleCanceledError() {
	f := twill.After(time.Hour, "tea")
	f.Cancel(errors.New("the guest has left"))
	_, err := f.Await(context.Background())
	fmt.Println(errors.Is(err, twill.ErrCanceled), errors.Is(err, context.Canceled))
	if canceled, ok := errors.AsType[*twill.CanceledError](err); ok {
		fmt.Println(canceled.Cause)
	}
	// Output:
	// true true
	// the guest has left
}

func ExampleTimeoutError() {
	_, err := twill.After(time.Hour, "tea").Timeout(time.Millisecond).Await(context.Background())
	if late, ok := errors.AsType[*twill.TimeoutError](err); ok {
		fmt.Println("not there after", late.After)
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	// Output:
	// not there after 1ms
	// true
}

// A panic that is an error can be found by errors.Is; the stack is that of the
// goroutine that panicked.
func ExamplePanicError() {
	f := twill.Then(twill.Resolved(1), func(int) (int, error) { panic(errSoldOut) })
	_, err := f.Await(context.Background())
	fmt.Println(err, errors.Is(err, errSoldOut))
	if p, ok := errors.AsType[*twill.PanicError](err); ok {
		fmt.Println(strings.Contains(string(p.Stack), "ExamplePanicError"))
	}
	// Output:
	// twill: panic: sold out true
	// true
}

// Unhandled failures are logged unless the program sets another function.
func ExampleOnUnhandled() {
	previous := twill.OnUnhandled(func(err error) { fmt.Println("nobody looked at:", err) })
	defer func() { twill.OnUnhandled(previous) }()
}

// Debug mode records where a future was made.
func ExampleSetDebug() {
	twill.SetDebug(true)
	defer twill.SetDebug(false)
	f := twill.Rejected[int](errSoldOut)
	text := fmt.Sprintf("%+v", f)
	fmt.Println(f)
	fmt.Println(strings.Contains(text, "made at:"), strings.Contains(text, "ExampleSetDebug"))
	// Output:
	// Future[int](failed: *errors.errorString)
	// true true
}

// A DB has to connect before it can be queried.
type DB struct{ name string }

// Query queries the database.
func (db *DB) Query(q string) (string, error) { return q + " from " + db.name, nil }

// QueryContext queries the database until ctx ends.
func (db *DB) QueryContext(ctx context.Context, q string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	return db.Query(q)
}

// DBClient has the methods of a [DB]. They can be called at once: calls made
// before it is connected wait. It is the equivalent of a class with the
// deferredInitMixin.
type DBClient struct {
	init  *twill.Init[*DB]
	Query func(q string) *twill.Future[string]
}

// NewDBClient starts to connect and returns at once.
func NewDBClient(ctx context.Context, connect func(context.Context) (*DB, error)) *DBClient {
	init := twill.NewInit(ctx, connect)
	return &DBClient{init: init, Query: twill.Method(init, (*DB).Query)}
}

// Methods that wait until their object is ready: the mixin.
func ExampleInit_mixin() {
	ctx := context.Background()
	connected := make(chan *DB)
	client := NewDBClient(ctx, func(context.Context) (*DB, error) { return <-connected, nil })

	a, b := client.Query("a"), client.Query("b")
	fmt.Println(a)
	connected <- &DB{"orders"}
	fmt.Println(a.Await(ctx))
	fmt.Println(b.Await(ctx))
	fmt.Println(client.Query("c").Await(ctx)) // executed at once
	// Output:
	// Future[string](pending)
	// a from orders <nil>
	// b from orders <nil>
	// c from orders <nil>
}

// NewDB is a constructor that returns a future of its object. It is the
// equivalent of a class with the metaclass TxDeferredInitMeta.
func NewDB(ctx context.Context, name string) *twill.Future[*DB] {
	return twill.Go(ctx, func(context.Context) (*DB, error) {
		if name == "" {
			return nil, errors.New("a database needs a name")
		}
		return &DB{name}, nil
	})
}

// A slow constructor returns a future of the object, as with the metaclass. An
// Init can wait for that future too.
func ExampleInit_metaclass() {
	ctx := context.Background()
	_, err := NewDB(ctx, "").Await(ctx)
	fmt.Println(err)

	db, err := NewDB(ctx, "orders").Await(ctx)
	fmt.Println(db.name, err)

	client := NewDBClient(ctx, func(ctx context.Context) (*DB, error) { return NewDB(ctx, "customers").Await(ctx) })
	fmt.Println(client.Query("all").Await(ctx))
	// Output:
	// a database needs a name
	// orders <nil>
	// all from customers <nil>
}

// A failure fails all calls, at once.
func ExampleInit_failure() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return nil, errors.New("no such host") })
	_, err := twill.Then(init.Ready(), func(db *DB) (string, error) { return db.Query("a") }).Await(ctx)
	fmt.Println(err)
	// Output:
	// no such host
}

// A host that is down for a moment: the construction is retried.
func ExampleNewInit() {
	ctx := context.Background()
	attempts := 0
	connect := func(context.Context) (*DB, error) {
		if attempts++; attempts < 3 {
			return nil, errors.New("no such host")
		}
		return &DB{"orders"}, nil
	}
	init := twill.NewInit(ctx, func(ctx context.Context) (*DB, error) { return twill.Retry(ctx, connect, nil) })
	fmt.Println(twill.Then(init.Ready(), func(db *DB) (string, error) { return db.Query("a") }).Await(ctx))
	fmt.Println(attempts, "attempts")
	// Output:
	// a from orders <nil>
	// 3 attempts
}

// A function that blocks is started by Go, so that it delays no other call.
func ExampleInit_Ready() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	query := func(q string) *twill.Future[string] {
		return twill.ThenFuture(init.Ready(), func(db *DB) *twill.Future[string] {
			return twill.Go(ctx, func(context.Context) (string, error) { return db.Query(q) })
		})
	}
	fmt.Println(twill.All(query("a"), query("b")).Await(ctx))
	// Output: [a from orders b from orders] <nil>
}

// A method that can be called before the value is ready.
func ExampleMethod() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	query := twill.Method(init, (*DB).Query)
	fmt.Println(query("a").Await(ctx))
	// Output: a from orders <nil>
}

// A method that takes a context, and may block.
func ExampleMethodContext() {
	init := twill.NewInit(context.Background(), func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	query := twill.MethodContext(init, (*DB).QueryContext)

	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(query(ctx, "a").Await(ctx))
	// Output: a from orders <nil>
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

func ExampleAllSettled() {
	results, _ := twill.AllSettled(twill.Resolved(1), twill.Rejected[int](errSoldOut)).Await(context.Background())
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
	degrees := map[string]*twill.Future[int]{"Oslo": twill.Resolved(-4), "Rome": twill.Resolved(19)}
	fmt.Println(twill.AllMap(degrees).Await(context.Background()))
	// Output: map[Oslo:-4 Rome:19] <nil>
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
	slow := twill.NewPromise[string]()
	for i, r := range twill.AsCompleted(context.Background(), slow.Future(), twill.Resolved("fast")) {
		fmt.Println(i, r.Value)
		slow.Resolve("slow")
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

// The result that arrives first is yielded first.
func ExampleMapCompleted() {
	awake := make(chan struct{})
	load := func(_ context.Context, disk string) (int, error) {
		if disk == "asleep" {
			<-awake
		}
		return len(disk), nil
	}
	disks := slices.Values([]string{"asleep", "spinning"})
	for disk, r := range twill.MapCompleted(context.Background(), disks, 2, load) {
		fmt.Println(disk, r.Value, r.Err)
		if disk == "spinning" {
			close(awake)
		}
	}
	// Output:
	// spinning 8 <nil>
	// asleep 6 <nil>
}

func ExampleAllSettledMap() {
	degrees := map[string]*twill.Future[int]{
		"Oslo": twill.Resolved(-4),
		"Rome": twill.Rejected[int](errors.New("no signal")),
	}
	report, _ := twill.AllSettledMap(degrees).Await(context.Background())
	fmt.Println(report["Oslo"].Value, report["Rome"].Err)
	// Output: -4 no signal
}

// The members tell which of them has won.
func ExampleAny_which() {
	type answer struct{ page, mirror string }
	ask := func(mirror string, page *twill.Future[string]) *twill.Future[answer] {
		return twill.Then(page, func(p string) (answer, error) { return answer{p, mirror}, nil })
	}
	winner, _ := twill.Any(ask("mirror 0", twill.After(time.Hour, "page")), ask("mirror 1", twill.Resolved("page"))).Await(context.Background())
	fmt.Println(winner.page, "from", winner.mirror)
	// Output: page from mirror 1
}

// A quorum: two of three replicas are enough.
func ExampleSome() {
	ctx := context.Background()
	fmt.Println(twill.Some(2, twill.After(time.Hour, "v7"), twill.Resolved("v7"), twill.Resolved("v6")).Await(ctx))
	down := twill.Rejected[string](errors.New("down"))
	_, err := twill.Some(2, twill.Resolved("v7"), down, down).Await(ctx)
	fmt.Println(err)
	// Output:
	// [v7 v6] <nil>
	// twill: 2 of 3 futures failed, the first with: down
}

// A job and a text: members of different types.
func ExampleJoin() {
	ctx := context.Background()
	resize := func(_ context.Context, width int) (int, error) { return width * 3 / 4, nil }
	q := twill.NewResizableDispatchQueue(resize, nil)
	job, _ := q.Put(640, 0)
	text := twill.Resolved("a caption")

	if _, err := twill.Join(job, text).Await(ctx); err != nil {
		fmt.Println(err)
		return
	}
	image, _ := job.Poll()
	caption, _ := text.Poll()
	fmt.Println("an image of height", image.Value, "with", caption.Value)
	// Output: an image of height 480 with a caption
}

func ExampleCombine() {
	user, orders := twill.Resolved("Ada"), twill.After(time.Millisecond, 3)
	page := twill.Combine(user, orders, func(name string, n int) (string, error) {
		return fmt.Sprintf("%s has %d orders", name, n), nil
	})
	fmt.Println(page.Await(context.Background()))
	// Output: Ada has 3 orders <nil>
}

// All for jobs.
func ExampleFutures() {
	square := func(_ context.Context, n int) (int, error) { return n * n, nil }
	q := twill.NewResizableDispatchQueue(square, nil)
	jobs, _ := q.PutAll([]int{1, 2, 3}, 0)
	fmt.Println(twill.All(twill.Futures(jobs)...).Await(context.Background()))
	// Output: [1 4 9] <nil>
}

// A function that accepts a job as well as a future.
func ExampleFutureOf() {
	sum := func(fs ...twill.FutureOf[int]) *twill.Future[int] {
		return twill.Then(twill.All(twill.Futures(fs)...), func(ns []int) (int, error) {
			total := 0
			for _, n := range ns {
				total += n
			}
			return total, nil
		})
	}
	q := twill.NewResizableDispatchQueue(func(_ context.Context, n int) (int, error) { return n, nil }, nil)
	job, _ := q.Put(40, 0)
	fmt.Println(sum(job, twill.Resolved(2)).Await(context.Background()))
	// Output: 42 <nil>
}

func ExampleResult() {
	results, _ := twill.AllSettled(twill.Resolved(-4), twill.Rejected[int](errors.New("no signal"))).Await(context.Background())
	for _, r := range results {
		if r.Err != nil {
			fmt.Println("failed:", r.Err)
			continue
		}
		fmt.Println(r.Value)
	}
	// Output:
	// -4
	// failed: no signal
}

// A list is a future: it can be awaited, chained, and put into a list.
func ExampleDeferredList() {
	p := twill.NewPromise[int]()
	list := twill.NewDeferredList([]*twill.Future[int]{twill.Resolved(1), p.Future()}, 0)
	sum := twill.Then(&list.Future, func(l twill.ListResult[int]) (int, error) {
		sum := 0
		for _, r := range l.Results {
			sum += r.Value
		}
		return sum, nil
	})
	p.Resolve(2)
	fmt.Println(sum.Await(context.Background()))
	// Output: 3 <nil>
}

// Flags are combined as bits.
func ExampleListFlags() {
	list := twill.NewDeferredList([]*twill.Future[int]{
		twill.NewPromise[int]().Future(), twill.Rejected[int](errSoldOut),
	}, twill.FireOnOneErrback|twill.ConsumeErrors)
	_, err := list.Await(context.Background())
	fmt.Println(err)
	// Output: twill: future 1: sold out
}

func ExampleListResult() {
	list := twill.NewDeferredList([]*twill.Future[int]{
		twill.Resolved(5), twill.Rejected[int](errSoldOut),
	}, twill.ConsumeErrors)
	l, _ := list.Await(context.Background())
	fmt.Println("settled by one:", l.Index >= 0)
	for _, r := range l.Results {
		fmt.Println(r.Value, r.Err)
	}
	// Output:
	// settled by one: false
	// 5 <nil>
	// 0 sold out
}

func ExampleIndexError() {
	_, err := twill.All(twill.Resolved(1), twill.Rejected[int](errSoldOut)).Await(context.Background())
	if blame, ok := errors.AsType[*twill.IndexError](err); ok {
		fmt.Println("member", blame.Index, "is", blame.Err)
	}
	fmt.Println(errors.Is(err, errSoldOut))
	// Output:
	// member 1 is sold out
	// true
}

func ExampleKeyError() {
	_, err := twill.AllMap(map[string]*twill.Future[int]{"cake": twill.Rejected[int](errSoldOut)}).Await(context.Background())
	if blame, ok := errors.AsType[*twill.KeyError](err); ok {
		fmt.Println(blame.Key, "is", blame.Err)
	}
	// Output: cake is sold out
}

func ExampleAllFailedError() {
	_, err := twill.Any(twill.Rejected[int](errSoldOut), twill.Rejected[int](errors.New("closed"))).Await(context.Background())
	if all, ok := errors.AsType[*twill.AllFailedError](err); ok {
		fmt.Println(len(all.Errs), "failed, the last one:", all.Errs[1])
	}
	fmt.Println(errors.Is(err, errSoldOut))
	// Output:
	// 2 failed, the last one: closed
	// true
}

// Each step receives the result of the step before it.
func ExampleSeries() {
	step := func(name string) func(string) *twill.Future[string] {
		return func(before string) *twill.Future[string] {
			fmt.Printf("%s after %q\n", name, before)
			return twill.Resolved(name)
		}
	}
	fmt.Println(twill.Series("", step("wash"), step("rinse"), step("dry")).Await(context.Background()))
	// Output:
	// wash after ""
	// rinse after "wash"
	// dry after "rinse"
	// dry <nil>
}

// Steps that are made as they are needed: pages, each of which has the address
// of the next.
func ExampleSeriesOf() {
	next := map[string]string{"first": "second", "second": "third", "third": ""}
	page := "first"
	all := twill.SeriesOf(0, func(yield func(func(int) *twill.Future[int]) bool) {
		for page != "" {
			read := func(pages int) *twill.Future[int] {
				fmt.Println("reading the", page, "page")
				page = next[page]
				return twill.Resolved(pages + 1)
			}
			if !yield(read) {
				return
			}
		}
	})
	fmt.Println(all.Await(context.Background()))
	// Output:
	// reading the first page
	// reading the second page
	// reading the third page
	// 3 <nil>
}

// later returns n after a moment, and fails if n is negative.
func later(n int) *twill.Future[int] {
	f := twill.After(0, n)
	return twill.Then(f, func(n int) (int, error) {
		if n < 0 {
			return 0, errors.New("negative")
		}
		return n, nil
	})
}

// The equivalent of a generator with @sequential is straight code: Await waits
// for a future, returns its result, and returns its error where the generator's
// yield would raise it. A value that is not a future is used directly.
func ExampleSeries_sequential() {
	work := func(ctx context.Context) (string, error) {
		for _, n := range []int{1, 2} {
			v, err := later(n).Await(ctx)
			if err != nil {
				return "", err
			}
			fmt.Println("result", v)
		}
		fmt.Println("immediate", 3)
		v, err := later(4).Await(ctx)
		if err != nil {
			return "", err
		}
		fmt.Println("result", v)
		if _, err := later(-1).Await(ctx); err != nil {
			fmt.Println("caught:", err)
		}
		return "done", nil
	}
	ctx := context.Background()
	main := twill.Go(ctx, func(ctx context.Context) (string, error) {
		fmt.Println("first time")
		if _, err := twill.Go(ctx, work).Await(ctx); err != nil {
			return "", err
		}
		fmt.Println("second time")
		return twill.Go(ctx, work).Await(ctx)
	})
	fmt.Println(main.Await(ctx))
	// Output:
	// first time
	// result 1
	// result 2
	// immediate 3
	// result 4
	// caught: negative
	// second time
	// result 1
	// result 2
	// immediate 3
	// result 4
	// caught: negative
	// done <nil>
}
