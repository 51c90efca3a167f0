package twill_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twillgo/twill"
)

// hang is a server that does not answer.
func hang(ctx context.Context, _ string) (string, error) {
	<-ctx.Done()
	return "", context.Cause(ctx)
}

// Three ways to a page: the first to succeed wins, and the contexts of the
// others end.
func ExampleRace() {
	ctx := context.Background()
	left := make(chan error, 1)
	var race twill.Race[string, string]
	race.Register(func(context.Context, string) (string, error) {
		return "", errors.New("not in the cache")
	})
	race.Register(func(_ context.Context, url string) (string, error) {
		return url + " from the origin", nil
	})
	race.Register(func(ctx context.Context, url string) (string, error) {
		_, err := hang(ctx, url)
		left <- err
		return "", err
	})
	fmt.Println(race.Execute(ctx, "/home").Await(ctx))
	fmt.Println("the mirror:", <-left)
	// Output:
	// /home from the origin <nil>
	// the mirror: twill: lost the race
}

// A hedged request: the second server is asked when the first has not answered
// in time. What the slower one brings after all is closed.
func ExampleRaceOptions() {
	ctx := context.Background()
	race := twill.NewRace[string](&twill.RaceOptions[string]{
		Stagger: 5 * time.Millisecond,
		Discard: func(late string) { fmt.Println("closed", late) },
	})
	race.Register(hang)
	race.Register(func(_ context.Context, url string) (string, error) { return url + " from the second", nil })
	fmt.Println(race.Execute(ctx, "/home").Await(ctx))
	// Output: /home from the second <nil>
}

func ExampleRaceOf() {
	ctx := context.Background()
	answer := twill.RaceOf(ctx,
		func(context.Context) (int, error) { return 0, errors.New("no idea") },
		func(context.Context) (int, error) { return 42, nil },
	)
	fmt.Println(answer.Await(ctx))
	// Output: 42 <nil>
}

func ExampleRaceError() {
	ctx := context.Background()
	errDown := errors.New("origin is down")
	_, err := twill.RaceOf(ctx,
		func(context.Context) (int, error) { return 0, errors.New("not in the cache") },
		func(context.Context) (int, error) { return 0, errDown },
	).Await(ctx)
	if all, ok := errors.AsType[*twill.RaceError](err); ok {
		for i, err := range all.Errs {
			fmt.Println(i, err)
		}
	}
	fmt.Println(errors.Is(err, errDown))
	// Output:
	// 0 not in the cache
	// 1 origin is down
	// true
}

// A response whose body is read after the race needs its context until then.
func ExampleHeld() {
	ctx := context.Background()
	var race twill.Race[string, context.Context]
	race.Register(func(ctx context.Context, _ string) (context.Context, error) { return ctx, nil })
	body, _ := race.ExecuteHeld(ctx, "/home").Await(ctx)
	fmt.Println("while it is read:", body.Value.Err())
	body.Release()
	fmt.Println("afterwards:", body.Value.Err())
	// Output:
	// while it is read: <nil>
	// afterwards: context canceled
}
