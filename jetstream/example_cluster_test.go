package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/jetstream"
)

// exampleServer is a server with JetStream for the examples of this package.
var exampleServer = sync.OnceValue(func() *server.Server {
	dir, err := os.MkdirTemp("", "twill-example")
	if err != nil {
		log.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	s.ReadyForConnections(time.Minute)
	return s
})

// connect is what a program does with nats.Connect(url).
func connect() *nats.Conn {
	conn, err := nats.Connect(exampleServer().ClientURL(), nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	return conn
}

// Two processes ask for the same user. The function runs in one of them.
func ExamplePooler() {
	ctx := context.Background()
	asked := make(chan bool)
	load := func(_ context.Context, id int) (string, error) {
		fmt.Println("loading", id)
		<-asked
		return fmt.Sprint("user ", id), nil
	}
	here, err := jetstream.NewPooler(ctx, connect(), "users", load, nil)
	if err != nil {
		log.Fatal(err)
	}
	there, err := jetstream.NewPooler(ctx, connect(), "users", load, nil) // in another process
	if err != nil {
		log.Fatal(err)
	}
	first, second := here.Call(ctx, 7), there.Call(ctx, 7)
	for here.Stats().Joined+there.Stats().Joined == 0 {
		time.Sleep(time.Millisecond)
	}
	close(asked)
	fmt.Println(first.Await(ctx))
	fmt.Println(second.Await(ctx))
	fmt.Println(here.Close(ctx), there.Close(ctx))
	// Output:
	// loading 7
	// user 7 <nil>
	// user 7 <nil>
	// <nil> <nil>
}

// Do waits for the result. A result that does not fit into a message is
// refused.
func ExamplePooler_Do() {
	ctx := context.Background()
	p, err := jetstream.NewPooler(ctx, connect(), "files", func(_ context.Context, size int) ([]byte, error) {
		return make([]byte, size), nil
	}, &jetstream.PoolerOptions{Lease: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	content, err := p.Do(ctx, 1000)
	fmt.Println(len(content), err)
	_, err = p.Do(ctx, 10_000_000)
	var large *jetstream.TooLargeError
	fmt.Println(errors.As(err, &large), large.What, errors.Is(err, jetstream.ErrTooLarge))
	// Output:
	// 1000 <nil>
	// true result true
}

// One process waits for a value that another one sets.
func ExampleDict() {
	ctx := context.Background()
	here, err := jetstream.NewDict[string, []string](ctx, connect(), "services", nil)
	if err != nil {
		log.Fatal(err)
	}
	there, err := jetstream.NewDict[string, []string](ctx, connect(), "services", nil) // in another process
	if err != nil {
		log.Fatal(err)
	}
	hosts := here.Get("mail")
	if err := there.Set(ctx, "mail", []string{"10.0.0.7"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(hosts.Await(ctx))
	// Output: [10.0.0.7] <nil>
}

// Fail ends the gets that wait. A get that is bounded by a context leaves
// nothing behind.
func ExampleDict_Fail() {
	ctx := context.Background()
	d, err := jetstream.NewDict[int, string](ctx, connect(), "answers", nil)
	if err != nil {
		log.Fatal(err)
	}
	f := d.Get(42)
	for d.Waiting() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := d.Fail(ctx, 42, errors.New("not known")); err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Await(ctx))
	short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	_, err = d.GetWait(short, 42)
	fmt.Println(err)
	// Output:
	//  not known
	// context deadline exceeded
}

// Update changes a value that several processes change.
func ExampleDict_Update() {
	ctx := context.Background()
	d, err := jetstream.NewDict[string, int](ctx, connect(), "counters", nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		fmt.Println(d.Update(ctx, "visits", func(n int, _ bool) (int, error) { return n + 1, nil }))
	}
	fmt.Println(d.Delete(ctx, "visits"))
	fmt.Println(d.Lookup(ctx, "visits"))
	d.Close(nil)
	fmt.Println(d.Set(ctx, "visits", 1))
	// Output:
	// 1 <nil>
	// 2 <nil>
	// true <nil>
	// 0 false <nil>
	// twill: closed
}

// The function runs in one process at a time, and is stopped if the process
// loses the lock.
func ExampleLock_Run() {
	ctx := context.Background()
	l, err := jetstream.NewLock(ctx, connect(), "nightly report", nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = l.Run(ctx, func(ctx context.Context) error {
		fmt.Println("token:", jetstream.Token(ctx) > 0)
		return ctx.Err()
	}).Await(ctx)
	fmt.Println(err)
	// Output:
	// token: true
	// <nil>
}

// A lease is held until it is released or lost. Work under it uses its context.
func ExampleLease() {
	ctx := context.Background()
	l, err := jetstream.NewLock(ctx, connect(), "migration", &jetstream.LockOptions{Lease: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	lease, err := l.AcquireWait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	_, ok, err := l.TryAcquire(ctx)
	fmt.Println(ok, err, lease.Slot(), lease.Context().Err())
	fmt.Println(lease.Release(), context.Cause(lease.Context()))
	again := l.Acquire()
	second, err := again.Await(ctx)
	fmt.Println(second.Token() > lease.Token(), err)
	// Output:
	// false <nil> 0 <nil>
	// <nil> jetstream: lease released
	// true <nil>
}

// At most two processes at a time use the service; later three do.
func ExampleSemaphore() {
	ctx := context.Background()
	sem, err := jetstream.NewSemaphore(ctx, connect(), "service", 2, nil)
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := sem.AcquireWait(ctx); err != nil {
			log.Fatal(err)
		}
	}
	_, ok, err := sem.TryAcquire(ctx)
	fmt.Println(ok, err)
	if err := sem.Resize(ctx, 3); err != nil {
		log.Fatal(err)
	}
	_, ok, err = sem.TryAcquire(ctx)
	fmt.Println(ok, err)
	fmt.Println(sem.Limit(ctx))
	// Output:
	// false <nil>
	// true <nil>
	// 3 <nil>
}

// A store that is protected by a lock refuses a holder whose lease has expired,
// and that has not noticed.
func ExampleFence() {
	var fence jetstream.Fence // of the store
	write := func(token uint64, text string) error {
		if err := fence.Admit(token); err != nil {
			return err
		}
		fmt.Println("written:", text)
		return nil
	}
	fmt.Println(write(17, "first holder"))
	fmt.Println(write(23, "second holder"))
	fmt.Println(write(17, "first holder, too late"))
	// Output:
	// written: first holder
	// <nil>
	// written: second holder
	// <nil>
	// jetstream: stale token
}

// A function takes its token from its context, under a lock as in a pooler.
func ExampleToken() {
	ctx := context.Background()
	p, err := jetstream.NewPooler(ctx, connect(), "tokens", func(ctx context.Context, _ string) (uint64, error) {
		return jetstream.Token(ctx), nil
	}, nil)
	if err != nil {
		log.Fatal(err)
	}
	both := twill.All(p.Call(ctx, "a"), p.Call(ctx, "b"))
	tokens, err := both.Await(ctx)
	fmt.Println(tokens[0] != tokens[1], err, jetstream.Token(ctx))
	// Output: true <nil> 0
}
