package twill_test

import (
	"context"
	"fmt"
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
