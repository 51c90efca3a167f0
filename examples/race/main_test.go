//go:build suites

package main

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// result is the output of a run.
type result struct {
	cache, origin, computed, nobody, notStored int
	seenByCache, seenByOrigin                  counts
}

func race(t *testing.T, c config) (r result) {
	var out strings.Builder
	require.NoError(t, run(t.Context(), &out, c))
	n, err := fmt.Sscanf(out.String(), `won: cache %d, origin %d, computed %d, nobody %d; not stored %d
cache saw: {answered:%d missing:%d failed:%d canceled:%d stored:%d}
origin saw: {answered:%d missing:%d failed:%d canceled:%d stored:%d}
`, &r.cache, &r.origin, &r.computed, &r.nobody, &r.notStored,
		&r.seenByCache.answered, &r.seenByCache.missing, &r.seenByCache.failed, &r.seenByCache.canceled, &r.seenByCache.stored,
		&r.seenByOrigin.answered, &r.seenByOrigin.missing, &r.seenByOrigin.failed, &r.seenByOrigin.canceled, &r.seenByOrigin.stored)
	require.NoError(t, err, out.String())
	require.Equal(t, 15, n)
	return r
}

func TestSomebodyWinsEachRound(t *testing.T) {
	r := race(t, config{
		rounds: 60, keys: 10, cacheDelay: time.Millisecond, originDelay: 5 * time.Millisecond,
		computeDelay: 5 * time.Millisecond, cacheFail: 0.2, originFail: 0.2, computeFail: 0.2,
	})
	require.Equal(t, 60, r.cache+r.origin+r.computed+r.nobody)
	require.Equal(t, r.origin+r.computed, r.seenByCache.stored+r.notStored, "all that is not from the cache is stored")
}

func TestLosersAreCanceled(t *testing.T) {
	c := config{rounds: 10, keys: 1, originDelay: time.Hour, computeDelay: 100 * time.Millisecond}
	began := time.Now()
	r := race(t, c)
	require.Less(t, time.Since(began), time.Minute)
	require.Equal(t, 10, r.cache+r.computed)
	require.NotZero(t, r.computed, "the cache is empty at first")
	require.Zero(t, r.seenByOrigin.answered)
	for r.seenByOrigin.canceled == 0 { // until a request has reached the origin before it was canceled
		c.computeDelay *= 2
		r = race(t, c)
	}
}

func TestBadFlags(t *testing.T) {
	for want, change := range map[string]func(c *config){
		"-cache-delay is -1ns":              func(c *config) { c.cacheDelay = -1 },
		"-origin-delay is 2562047h47m":      func(c *config) { c.originDelay = math.MaxInt64 },
		"-stagger is -1s":                   func(c *config) { c.stagger = -time.Second },
		"-origin-fail is NaN":               func(c *config) { c.originFail = math.NaN() },
		"-compute-fail is 1.5":              func(c *config) { c.computeFail = 1.5 },
		"-rounds is 1 and -keys is 0":       func(c *config) { c.keys = 0 },
		"-rounds is -1 and -keys is 1: too": func(c *config) { c.rounds = -1 },
	} {
		c := config{rounds: 1, keys: 1}
		change(&c)
		var out strings.Builder
		require.ErrorContains(t, run(t.Context(), &out, c), want)
		require.Empty(t, out.String())
	}
}

func TestOneThatIsNotNeededIsNotAsked(t *testing.T) {
	r := race(t, config{rounds: 5, keys: 1, originFail: 1, computeFail: 1, stagger: time.Hour})
	require.Equal(t, 5, r.nobody)
	require.Equal(t, 5, r.seenByOrigin.failed, "asked when the cache had failed")

	r = race(t, config{rounds: 5, keys: 1, stagger: time.Hour})
	require.Equal(t, 1, r.origin)
	require.Equal(t, 4, r.cache)
	require.Equal(t, counts{answered: 4, missing: 1, stored: 1}, r.seenByCache)
	require.Equal(t, counts{answered: 1}, r.seenByOrigin)
}

func TestNobodyWins(t *testing.T) {
	r := race(t, config{rounds: 5, keys: 2, cacheFail: 1, originFail: 1, computeFail: 1})
	require.Equal(t, 5, r.nobody)
}

func TestInterrupt(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, interrupt)
	var out strings.Builder
	err := run(ctx, &out, config{rounds: 1, keys: 1, cacheDelay: time.Hour, originDelay: time.Hour, computeDelay: time.Hour})
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, out.String())
}
