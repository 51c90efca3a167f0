package main

import (
	"flag"
	"fmt"
	"time"
)

// config has the values of the flags.
type config struct {
	rounds, keys                          int
	cacheDelay, originDelay, computeDelay time.Duration
	cacheFail, originFail, computeFail    float64
	stagger                               time.Duration
}

// define defines the flags.
func (c *config) define(flags *flag.FlagSet) {
	flags.IntVar(&c.rounds, "rounds", 40, "how many values to get")
	flags.IntVar(&c.keys, "keys", 10, "how many different ones there are")
	flags.DurationVar(&c.cacheDelay, "cache-delay", 2*time.Millisecond, "how long the cache takes, on average")
	flags.DurationVar(&c.originDelay, "origin-delay", 30*time.Millisecond, "how long the origin takes, on average")
	flags.DurationVar(&c.computeDelay, "compute-delay", 40*time.Millisecond, "how long the computation takes")
	flags.Float64Var(&c.cacheFail, "cache-fail", 0.1, "the part of the requests in which the cache fails")
	flags.Float64Var(&c.originFail, "origin-fail", 0.2, "the same for the origin")
	flags.Float64Var(&c.computeFail, "compute-fail", 0.1, "the same for the computation")
	flags.DurationVar(&c.stagger, "stagger", 0, "how long each is waited for before the next is asked; 0 asks all at once")
}

// check returns an error that names a flag with an invalid value.
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
