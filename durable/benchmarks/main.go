// Benchmarks runs the same full cycle - a job is put durably, runs, and the
// caller has its result - on durable queues side by side: that of twill, the
// raw store that it is built on, asynq on a Redis that syncs each write, River
// on a PostgreSQL with its defaults, and the queue of jetstream on one server
// that syncs each write. It starts the servers it needs, in temporary folders
// and on free ports of the loopback interface, and ends them.
//
// Each system runs as its documentation shows, with as many workers as callers
// and the same payload. Every caller waits for its job before it puts the next.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "benchmarks:", err)
		os.Exit(1)
	}
}

// settings are what the flags say.
type settings struct {
	callers  []int
	systems  []string
	duration time.Duration
	rounds   int
	payload  int
	json     bool
}

// result is a row of the table: one system with a number of callers.
type result struct {
	System  string        `json:"system"`
	Callers int           `json:"callers"`
	Jobs    int           `json:"jobs"`
	PerSec  float64       `json:"jobsPerSecond"`
	P50     time.Duration `json:"p50Nanoseconds"`
	P99     time.Duration `json:"p99Nanoseconds"`
}

func run(ctx context.Context, args []string, out, progress io.Writer) (err error) {
	o, err := parse(args, progress)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "twill-benchmarks-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	var chosen []system
	for _, name := range o.systems {
		s, err := systemNamed(name)
		if err != nil {
			return err
		}
		if s.start != nil {
			fmt.Fprintf(progress, "starting the server of %s\n", name)
			stop, err := s.start(ctx, dir, &s)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			defer func() {
				if e := stop(); e != nil {
					err = errors.Join(err, fmt.Errorf("%s: %w", name, e))
				}
			}()
		}
		chosen = append(chosen, s)
	}

	var results []result
	for _, callers := range o.callers {
		rounds := make([][]result, len(chosen))
		for round := range o.rounds {
			for i, s := range chosen {
				fmt.Fprintf(progress, "%-9s %4d callers, round %d of %d, %v ... ", s.name, callers, round+1, o.rounds, o.duration)
				r, err := measure(ctx, s, dir, callers, o)
				if err != nil {
					fmt.Fprintln(progress)
					return fmt.Errorf("%s with %d callers: %w", s.name, callers, err)
				}
				fmt.Fprintf(progress, "%.0f jobs/s\n", r.PerSec)
				rounds[i] = append(rounds[i], r)
			}
		}
		for _, rs := range rounds {
			results = append(results, median(rs))
		}
	}
	if o.json {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "\t")
		return enc.Encode(results)
	}
	return table(out, results)
}

func parse(args []string, progress io.Writer) (o settings, err error) {
	var callers, names string
	fs := flag.NewFlagSet("benchmarks", flag.ContinueOnError)
	fs.SetOutput(progress)
	fs.StringVar(&callers, "callers", "1,64,512", "numbers of callers, which are those of workers too")
	fs.StringVar(&names, "systems", "durable,raw,asynq,river,jetstream", "which systems")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "how long a round takes")
	fs.IntVar(&o.rounds, "rounds", 3, "how many rounds; the table has the median one")
	fs.IntVar(&o.payload, "payload", 100, "bytes of an argument")
	fs.BoolVar(&o.json, "json", false, "print an array of objects")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	for part := range strings.SplitSeq(callers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil || n < 1 {
			return o, fmt.Errorf("-callers %q: %q is no positive number", callers, part)
		}
		o.callers = append(o.callers, n)
	}
	for part := range strings.SplitSeq(names, ",") {
		name := strings.TrimSpace(part)
		if _, err := systemNamed(name); err != nil {
			return o, err
		}
		o.systems = append(o.systems, name)
	}
	if o.duration <= 0 || o.rounds < 1 || o.payload < 1 {
		return o, errors.New("-duration, -rounds and -payload must be positive")
	}
	return o, nil
}

// patience is how long a job may take after its round has ended.
const patience = time.Minute

// measure runs one round: each caller runs a cycle that does not count, then
// all run cycles for o.duration.
func measure(ctx context.Context, s system, dir string, callers int, o settings) (r result, err error) {
	dir, err = os.MkdirTemp(dir, "round-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, cancel := context.WithTimeout(ctx, 2*o.duration+patience)
	defer cancel()
	q, err := s.open(ctx, dir, callers)
	if err != nil {
		return r, err
	}
	payload := strings.Repeat("x", o.payload)
	took := make([]time.Duration, 0, 1<<16)
	err = together(ctx, callers, func(ctx context.Context) error { return q.cycle(ctx, payload) })
	began := time.Now()
	if err == nil {
		var mu sync.Mutex
		err = together(ctx, callers, func(ctx context.Context) error {
			var own []time.Duration
			for from := began; from.Before(began.Add(o.duration)); {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := q.cycle(ctx, payload); err != nil {
					return err
				}
				now := time.Now()
				own = append(own, now.Sub(from))
				from = now
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			return nil
		})
	}
	elapsed := time.Since(began)
	if e := q.close(); err == nil {
		err = e
	}
	if err != nil {
		return r, err
	}
	slices.Sort(took)
	return result{
		System: s.name, Callers: callers, Jobs: len(took), PerSec: float64(len(took)) / elapsed.Seconds(),
		P50: took[len(took)/2], P99: took[len(took)*99/100],
	}, nil
}

// together runs fn n times at once, and returns the first error, which ends the
// context of the others.
func together(ctx context.Context, n int, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if err := fn(ctx); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// median is the result in the middle, by jobs a second.
func median(rs []result) result {
	slices.SortFunc(rs, func(a, b result) int { return int(a.PerSec - b.PerSec) })
	return rs[len(rs)/2]
}

// table prints the results. The last column is the throughput divided by that
// of the raw store with as many callers.
func table(out io.Writer, results []result) error {
	raw := make(map[int]float64)
	for _, r := range results {
		if r.System == "raw" {
			raw[r.Callers] = r.PerSec
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "callers\tsystem\tjobs/s\tp50\tp99\tof raw")
	for _, r := range results {
		ratio := "-"
		if raw[r.Callers] > 0 {
			ratio = fmt.Sprintf("%.2f", r.PerSec/raw[r.Callers])
		}
		fmt.Fprintf(w, "%d\t%s\t%.0f\t%s\t%s\t%s\n", r.Callers, r.System, r.PerSec, short(r.P50), short(r.P99), ratio)
	}
	return w.Flush()
}

// short is d with three digits.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 100*unit {
			return d.Round(unit).String()
		}
		if d >= 10*unit {
			return d.Round(unit / 10).String()
		}
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
