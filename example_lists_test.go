package twill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twillgo/twill"
)

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

// What comes first is yielded first.
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

func ExampleSettledMap() {
	weather := map[string]*twill.Future[string]{
		"Oslo": twill.Resolved("snow"),
		"Rome": twill.Rejected[string](errors.New("no signal")),
	}
	report, _ := twill.SettledMap(weather).Await(context.Background())
	fmt.Println(report["Oslo"].Value, report["Rome"].Err)
	// Output: snow no signal
}

func ExampleAnyIndexed() {
	mirrors := []string{"mirror 0", "mirror 1"}
	winner, _ := twill.AnyIndexed(twill.After(time.Hour, "page"), twill.Resolved("page")).Await(context.Background())
	fmt.Println(winner.Value, "from", mirrors[winner.Index])
	// Output: page from mirror 1
}

func ExampleFirstIndexed() {
	first, _ := twill.FirstIndexed(twill.After(time.Millisecond, "coffee"), twill.After(time.Hour, "tea")).Await(context.Background())
	fmt.Println(first.Index, first.Value)
	// Output: 0 coffee
}

// Indexed tells the members apart where their values do not.
func ExampleIndexed() {
	var winner twill.Indexed[string]
	winner, _ = twill.AnyIndexed(twill.Resolved("pong"), twill.After(time.Hour, "pong")).Await(context.Background())
	fmt.Printf("%+v\n", winner)
	// Output: {Index:0 Value:pong}
}

func ExampleResult() {
	results, _ := twill.Settled(twill.Resolved("snow"), twill.Rejected[string](errors.New("no signal"))).Await(context.Background())
	for _, r := range results {
		if r.Err != nil {
			fmt.Println("failed:", r.Err)
			continue
		}
		fmt.Println(r.Value)
	}
	// Output:
	// snow
	// failed: no signal
}

// A list is itself a future: it can be waited for, chained, and put in a list.
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
	fmt.Println(sum)
	// Output: Future[int](3)
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
