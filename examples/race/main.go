// Command race gets each value from the fastest source: a cache, which may not
// have it, an origin, which is slow, or a computation on this machine. The
// requests of the losers are canceled, which the servers notice, and a value
// that does not come from the cache is written to it.
//
//	go run ./examples/race [-rounds 40] [-cache-delay 2ms] [-origin-fail 0.2] ...
//
// It starts the cache and the origin itself, and prints how often each source
// has won, and what the servers have seen. Run it with -help for all flags. An
// interrupt ends it.
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

func main() {
	var c config
	c.define(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, c); err != nil {
		fmt.Fprintln(os.Stderr, "race:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, c config) error {
	if err := c.check(); err != nil {
		return err
	}
	serving, stopServices := context.WithCancel(context.Background()) // ends after the last race
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

	// Three sources of a value. The context of each ends when another one has won.
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
		if _, ok := errors.AsType[*twill.AllFailedError](err); ok {
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
			notStored++ // it will be stored the next time
		}
	}

	// A connection that was opened for a request that was canceled before it was
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
