package twill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

// A DB has to connect before it can be asked.
type DB struct{ name string }

// Query asks the database.
func (db *DB) Query(q string) (string, error) { return q + " from " + db.name, nil }

// DBClient has the methods of a [DB], and they work from the start: those called
// before it is connected wait. It is what the deferredInitMixin makes of a class.
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
	fmt.Println(client.Query("c").Await(ctx)) // made at once
	// Output:
	// Future[string](pending)
	// a from orders <nil>
	// b from orders <nil>
	// c from orders <nil>
}

// NewDB is a constructor whose object is a future: what the metaclass
// TxDeferredInitMeta makes of a class.
func NewDB(ctx context.Context, name string) *twill.Future[*DB] {
	return twill.Go(ctx, func(context.Context) (*DB, error) {
		if name == "" {
			return nil, errors.New("a database needs a name")
		}
		return &DB{name}, nil
	})
}

// A constructor that takes its time returns a future of the object: the
// metaclass. An Init can wait for that one, too.
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

// A failure is everybody's, at once.
func ExampleInit_failure() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return nil, errors.New("no such host") })
	_, err := twill.Do(init, func(db *DB) (string, error) { return db.Query("a") }).Await(ctx)
	fmt.Println(err)
	// Output:
	// no such host
}

// A host that is down for a moment.
func ExampleNewInitRetry() {
	ctx := context.Background()
	attempts := 0
	connect := func(context.Context) (*DB, error) {
		if attempts++; attempts < 3 {
			return nil, errors.New("no such host")
		}
		return &DB{"orders"}, nil
	}
	pauses := slices.Values([]time.Duration{time.Millisecond, 2 * time.Millisecond})
	init := twill.NewInitRetry(ctx, connect, pauses)
	fmt.Println(twill.Do(init, func(db *DB) (string, error) { return db.Query("a") }).Await(ctx))
	fmt.Println(attempts, "attempts")
	// Output:
	// a from orders <nil>
	// 3 attempts
}

func ExampleDo() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	rows := twill.Do(init, func(db *DB) (string, error) { return db.Query("a") })
	fmt.Println(rows.Await(ctx))
	// Output: a from orders <nil>
}

// What blocks is started by Go, so that the calls behind it need not wait.
func ExampleDoFuture() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	query := func(q string) *twill.Future[string] {
		return twill.DoFuture(init, func(db *DB) *twill.Future[string] {
			return twill.Go(ctx, func(context.Context) (string, error) { return db.Query(q) })
		})
	}
	fmt.Println(twill.All(query("a"), query("b")).Await(ctx))
	// Output: [a from orders b from orders] <nil>
}

// A method that works from the start.
func ExampleMethod() {
	ctx := context.Background()
	init := twill.NewInit(ctx, func(context.Context) (*DB, error) { return &DB{"orders"}, nil })
	query := twill.Method(init, (*DB).Query)
	fmt.Println(query("a").Await(ctx))
	// Output: a from orders <nil>
}
