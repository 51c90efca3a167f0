// Command init shows a type whose constructor has to wait for its database, and
// whose methods can be called at once: they return futures, and calls that are
// made too early are executed, in their order, when the database is ready.
//
//	go run ./examples/init
//
// It prints calls before and after the database is ready, and what happens if
// the database is ready at the third attempt, or never. It takes less than a
// second.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}

var errNoDatabase = errors.New("no such database")

// db stands for a connection to a database. Its methods block.
type db struct{ cities map[string]string }

func (d *db) insert(name, city string) (int, error) {
	d.cities[name] = city
	return len(d.cities), nil
}

func (d *db) city(name string) (string, error) {
	city, ok := d.cities[name]
	if !ok {
		return "", fmt.Errorf("no %s", name)
	}
	return city, nil
}

// users is the type that needs a database from the start.
type users struct {
	db   *twill.Init[*db]
	city func(name string) *twill.Future[string]
}

// newUsers returns at once; connect runs in the background. If it fails it is
// called again, after each of the pauses.
func newUsers(ctx context.Context, connect func(context.Context) (*db, error), pauses ...time.Duration) *users {
	opts := &twill.RetryOptions{Backoff: slices.Values(pauses)}
	u := &users{db: twill.NewInit(ctx, func(ctx context.Context) (*db, error) { return twill.Retry(ctx, connect, opts) })}
	u.city = twill.Method(u.db, (*db).city) // for a method with one argument
	return u
}

func (u *users) add(name, city string) *twill.Future[int] {
	return twill.Then(u.db.Ready(), func(d *db) (int, error) { return d.insert(name, city) })
}

func run(ctx context.Context, w io.Writer) error {
	up := make(chan struct{}) // closed when the database is ready
	u := newUsers(ctx, func(ctx context.Context) (*db, error) {
		select {
		case <-up:
			return &db{make(map[string]string)}, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	})

	early := u.city("Ada") // runs before Ada is added, and fails
	u.add("Ada", "London")
	count := u.add("Alan", "Wilmslow")
	found := u.city("Ada")
	_, ready := found.Poll()
	fmt.Fprintln(w, "four calls made; done:", ready)

	close(up)
	_, err := early.Await(ctx)
	fmt.Fprintln(w, "the first call:", err)
	n, err := count.Await(ctx)
	fmt.Fprintln(w, "users:", n, err)
	city, err := found.Await(ctx)
	fmt.Fprintln(w, "Ada is in", city, err)

	// After it is ready, a call is made at once.
	city, err = u.city("Alan").Await(ctx)
	fmt.Fprintln(w, "Alan is in", city, err)

	// A database that is not ready at first.
	attempts := 0
	late := newUsers(ctx, func(context.Context) (*db, error) {
		if attempts++; attempts < 3 {
			return nil, errors.New("connection refused")
		}
		return &db{make(map[string]string)}, nil
	}, 10*time.Millisecond, 20*time.Millisecond)
	n, err = late.add("Grace", "New York").Await(ctx)
	fmt.Fprintln(w, "users:", n, err, "after attempts:", attempts)

	// A database that never is: every call fails, now and later.
	never := newUsers(ctx, func(context.Context) (*db, error) { return nil, errNoDatabase })
	_, err = never.add("Edsger", "Nuenen").Await(ctx)
	fmt.Fprintln(w, "no users, as there is no such database:", errors.Is(err, errNoDatabase))
	_, err = never.city("Edsger").Await(ctx)
	fmt.Fprintln(w, "no cities, for the same reason:", errors.Is(err, errNoDatabase))
	return context.Cause(ctx)
}
