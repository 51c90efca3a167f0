// Command race gets values from whoever is first: a cache, which may not have
// it, an origin, which is slow, or a computation on this machine. The requests
// of the losers are cancelled, which the servers notice, and a value that does
// not come from the cache is written to it.
//
//	go run ./examples/race [-rounds 40] [-cache-delay 2ms] [-origin-fail 0.2] ...
//
// It starts the cache and the origin itself, and prints who won how often, and
// what the servers have seen. Run it with -help for all flags. An interrupt
// ends it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/twillgo/twill"
)

type config struct {
	rounds, keys                          int
	cacheDelay, originDelay, computeDelay time.Duration
	cacheFail, originFail, computeFail    float64
	stagger                               time.Duration
}

func main() {
	var c config
	flag.IntVar(&c.rounds, "rounds", 40, "how many values to get")
	flag.IntVar(&c.keys, "keys", 10, "how many different ones there are")
	flag.DurationVar(&c.cacheDelay, "cache-delay", 2*time.Millisecond, "how long the cache takes, on average")
	flag.DurationVar(&c.originDelay, "origin-delay", 30*time.Millisecond, "how long the origin takes, on average")
	flag.DurationVar(&c.computeDelay, "compute-delay", 40*time.Millisecond, "how long the computation takes")
	flag.Float64Var(&c.cacheFail, "cache-fail", 0.1, "the part of the requests in which the cache fails")
	flag.Float64Var(&c.originFail, "origin-fail", 0.2, "the same for the origin")
	flag.Float64Var(&c.computeFail, "compute-fail", 0.1, "the same for the computation")
	flag.DurationVar(&c.stagger, "stagger", 0, "how long each is waited for before the next is asked; 0 asks all at once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, c); err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

// check returns an error that names a flag whose value makes no sense.
func (c config) check() error {
	const most = 24 * time.Hour
	for flag, d := range map[string]time.Duration{
		"cache-delay": c.cacheDelay, "origin-delay": c.originDelay, "compute-delay": c.computeDelay, "stagger": c.stagger,
	} {
		if d < 0 || d > most {
			return fmt.Errorf("-%s is %v, and should be from 0 to %v", flag, d, most)
		}
	}
	for flag, part := range map[string]float64{"cache-fail": c.cacheFail, "origin-fail": c.originFail, "compute-fail": c.computeFail} {
		if !(part >= 0 && part <= 1) {
			return fmt.Errorf("-%s is %v, and should be from 0 to 1", flag, part)
		}
	}
	if c.rounds < 0 || c.keys < 1 {
		return fmt.Errorf("-rounds is %d and -keys is %d: too few", c.rounds, c.keys)
	}
	return nil
}

func run(ctx context.Context, w io.Writer, c config) error {
	if err := c.check(); err != nil {
		return err
	}
	serving, stopServices := context.WithCancel(context.Background()) // until the last race is over
	defer stopServices()
	values := make(map[string]string)
	cache := &service{
		delay: c.cacheDelay, failures: c.cacheFail,
		value: func(key string) (string, bool) { value, ok := values[key]; return value, ok },
		store: func(key, value string) { values[key] = value },
	}
	origin := &service{
		delay: c.originDelay, failures: c.originFail,
		value: func(key string) (string, bool) { return valueOf(key), true },
	}
	if err := errors.Join(cache.start(serving), origin.start(serving)); err != nil {
		return err
	}

	// Three ways to a value. The context of each ends when another one has won.
	race := twill.NewRace[string](&twill.RaceOptions[answer]{Stagger: c.stagger})
	race.Register(ask("cache", cache))
	race.Register(ask("origin", origin))
	race.Register(func(ctx context.Context, key string) (answer, error) {
		select {
		case <-time.After(c.computeDelay):
		case <-ctx.Done():
			return answer{}, context.Cause(ctx)
		}
		if rand.Float64() < c.computeFail {
			return answer{}, errors.New("miscalculated")
		}
		return answer{"computed", valueOf(key)}, nil
	})

	won, notStored := make(map[string]int), 0
	for range c.rounds {
		key := fmt.Sprint("key-", rand.N(c.keys))
		a, err := race.Execute(ctx, key).Await(ctx)
		if _, ok := errors.AsType[*twill.RaceError](err); ok {
			won["nobody"]++
			continue
		}
		if err != nil {
			return err
		}
		if a.value != valueOf(key) {
			return fmt.Errorf("%s from %s: %q", key, a.from, a.value)
		}
		won[a.from]++
		if a.from == "cache" {
			continue
		}
		if _, err := request(ctx, http.MethodPut, cache.url+key, a.value); err != nil {
			notStored++ // it will be the next time
		}
	}

	// A connection that was opened for a request that was cancelled before it was
	// sent would keep its server waiting.
	http.DefaultClient.CloseIdleConnections()
	seenByCache, err1 := cache.stop(ctx)
	seenByOrigin, err2 := origin.stop(ctx)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	fmt.Fprintf(w, "won: cache %d, origin %d, computed %d, nobody %d; not stored %d\n",
		won["cache"], won["origin"], won["computed"], won["nobody"], notStored)
	fmt.Fprintf(w, "cache saw: %+v\n", seenByCache)
	fmt.Fprintf(w, "origin saw: %+v\n", seenByOrigin)
	return nil
}
